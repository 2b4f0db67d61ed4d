"""``l2l train``: train a method on a benchmark's training classes."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import (
    AsJson,
    Backbone,
    Device,
    Devices,
    Root,
    Settings,
    make_folder,
    parse_settings,
    print_json,
    say,
)
from l2l_core.cli.processes import speaks, start_processes

DEFAULT_MINUTES = 10.0


def run(
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    method: Annotated[str, typer.Option(help="As in `l2l list methods`.")],
    minutes: Annotated[float | None, typer.Option(help=f"Time budget. [default: {DEFAULT_MINUTES:g}]")] = None,
    episodes: Annotated[int | None, typer.Option(help="Budget in training episodes, instead of minutes.")] = None,
    examples: Annotated[
        int | None, typer.Option(help="Budget in training examples, to compare methods whose episodes differ.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights and of the episodes.", min=0)] = 0,
    backbone: Backbone = None,
    settings: Settings = None,
    device: Device = None,
    devices: Devices = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. [default: runs/BENCHMARK-METHOD-sSEED]", file_okay=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, instead of going on with the run in the folder.")
    ] = False,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Train a method, keep the weights that do best on the validation classes, and print their file.

    A run that was stopped or killed goes on when it is asked for again. Ctrl-C ends one early and keeps its best.

    Examples:
        l2l train omniglot-5w1s --method protonet --minutes 20
        l2l train glyphs-5w1s --method maml --episodes 32000 --seed 1
        l2l train omniglot-5w1s --method maml --devices 2
        l2l train omniglot-5w5s --method r2d2 --backbone resnet12 --set decay=cosine --set precision=bfloat16
    """
    start_processes(devices)
    from l2l_core.algorithms.methods import get_method
    from l2l_core.allocator import keep_memory
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.distributed import joined
    from l2l_core.evaluation.pictures import draw_training
    from l2l_core.training import train

    keep_memory()
    opened = load_benchmark(benchmark, root=root)
    if minutes is None and episodes is None and examples is None:
        minutes = DEFAULT_MINUTES
    get_method(method)
    folder = out if out is not None else Path("runs") / f"{benchmark}-{method}-s{seed}"
    if speaks():
        make_folder(folder, "--out")
    with joined():
        _, done = train(
            opened,
            method,
            minutes=minutes,
            episodes=episodes,
            examples=examples,
            seed=seed,
            backbone=backbone,
            settings=parse_settings(settings),
            folder=folder,
            fresh=fresh,
            device=device,
            command=shlex.join(["l2l", *sys.argv[1:]]),
            progress=speaks(),
            say=say,
        )
    if not speaks():
        return
    draw_training({method: done.curve}, folder / "training.png")
    best = done.best
    say(
        f"trained {method} on {done.episodes:,} episodes in {done.seconds:.0f} s; best validation accuracy "
        f"{100 * best.accuracy:.2f} ± {100 * best.ci95:.2f} % after {best.episodes:,} episodes"
    )
    weights = folder / "weights.safetensors"
    if as_json:
        print_json({"weights": str(weights), **asdict(done)})
    else:
        print(weights)
