"""``l2l train``: train a method on a benchmark's training classes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Backbone, Root, make_folder, print_json, say

DEFAULT_MINUTES = 10.0


def run(
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    method: Annotated[str, typer.Option(help="As in `l2l list methods`.")],
    minutes: Annotated[float | None, typer.Option(help=f"Time budget. [default: {DEFAULT_MINUTES:g}]")] = None,
    episodes: Annotated[int | None, typer.Option(help="Budget in training episodes, instead of minutes.")] = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights and of the episodes.", min=0)] = 0,
    backbone: Backbone = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. [default: runs/BENCHMARK-METHOD-sSEED]", file_okay=False)
    ] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Train a method, keep the weights that do best on the validation classes, and print their file.

    Examples:
        l2l train omniglot-5w1s --method protonet --minutes 20
        l2l train glyphs-5w1s --method maml --episodes 32000 --seed 1
        l2l train omniglot-5w5s --method r2d2 --backbone resnet12
    """
    from l2l_core.algorithms.methods import get_method
    from l2l_core.allocator import keep_memory
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.evaluation.pictures import draw_training
    from l2l_core.training import save_weights, train

    keep_memory()
    opened = load_benchmark(benchmark, root=root)
    if minutes is None and episodes is None:
        minutes = DEFAULT_MINUTES
    get_method(method)
    folder = out if out is not None else Path("runs") / f"{benchmark}-{method}-s{seed}"
    make_folder(folder, "--out")
    weights = folder / "weights.safetensors"
    if weights.exists():
        say(f"note: {weights} of an earlier run will be replaced")
    learner, done = train(
        opened, method, minutes=minutes, episodes=episodes, seed=seed, backbone=backbone, progress=True
    )
    save_weights(weights, learner, done)
    draw_training({method: done.curve}, folder / "training.png")
    best = done.best
    say(
        f"trained {method} on {done.episodes:,} episodes in {done.seconds:.0f} s; best validation accuracy "
        f"{100 * best.accuracy:.2f} ± {100 * best.ci95:.2f} % after {best.episodes:,} episodes"
    )
    if as_json:
        print_json({"weights": str(weights), **asdict(done)})
    else:
        print(weights)
