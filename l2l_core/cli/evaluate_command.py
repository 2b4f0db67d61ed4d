"""``l2l evaluate``: the accuracy of a method on a benchmark, beside the published ones."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from l2l_core.cli.options import (
    AsJson,
    Backbone,
    Device,
    Devices,
    Note,
    Record,
    Root,
    Settings,
    make_folder,
    parse_settings,
    print_table,
    say,
)
from l2l_core.cli.processes import speaks, start_processes


def run(
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    method: Annotated[str, typer.Option(help="As in `l2l list methods`.")],
    weights: Annotated[
        str | None,
        typer.Option(help="File or run folder that `l2l train` wrote, or zoo; an untrained net without it."),
    ] = None,
    backbone: Backbone = None,
    settings: Settings = None,
    device: Device = None,
    devices: Devices = 1,
    episodes: Annotated[int | None, typer.Option(help="How many. [default: the benchmark's number]", min=2)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the episodes. [default: the benchmark's]", min=0)] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Also at other ways and shots, some 200 episodes each, for `l2l report`.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the whole report to this file as JSON.", dir_okay=False)
    ] = None,
    record: Record = None,
    note: Note = "",
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a method on the benchmark's test episodes: accuracy with its 95% interval.

    Examples:
        l2l evaluate glyphs-5w1s --method maml
        l2l evaluate glyphs-5w1s --method maml --weights runs/glyphs-5w1s-maml-s0
        l2l evaluate omniglot-5w1s --method protonet --weights zoo
        l2l evaluate omniglot-20w1s --method maml --devices 2
        l2l evaluate glyphs-5w1s --method protonet --grid --out runs/untrained/report.json
    """
    start_processes(devices)
    from l2l_core.allocator import keep_memory
    from l2l_core.catalog import read_card
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.distributed import joined, own_device
    from l2l_core.evaluation.grid import accuracy_grid
    from l2l_core.evaluation.own_results import add_own_result, result_row
    from l2l_core.evaluation.published import beside_published
    from l2l_core.evaluation.report import percent
    from l2l_core.evaluation.run import evaluate
    from l2l_core.training.build import build_learner, settings_of, usable_device
    from l2l_core.training.weights import FILE_NAME, load_weights, zoo_weights

    if out is not None and speaks():
        make_folder(out.parent, "--out")
    keep_memory()
    opened = load_benchmark(benchmark, root=root)
    file, chosen = None, parse_settings(settings)
    card: dict[str, Any] = {}
    if weights is not None:
        file = zoo_weights(benchmark, method) if weights == "zoo" else Path(weights)
        card = read_card(file / FILE_NAME if file.is_dir() else file)
        backbone = card.get("backbone") if backbone is None else backbone
        # What it was trained with, a learner of another method aside, which load_weights refuses.
        chosen = {**(card.get("learner", {}) if card["method"] == method else {}), **chosen}
    with joined():
        learner = build_learner(opened, method, backbone=backbone, settings=chosen)
        learner = learner.to(usable_device(own_device(device)))
        if file is None:
            say(f"no --weights given: this is an untrained {method}")
        else:
            trained_on = load_weights(file, learner, opened, method)["benchmark"]
            if trained_on != benchmark:
                say(f"note: {file} was trained on {trained_on}, and is evaluated on {benchmark}")
        report = evaluate(
            opened,
            learner,
            episodes,
            seed,
            method=method,
            weights=weights,
            backbone=backbone,
            settings=settings_of(opened, method, backbone, chosen),
            # With what trained the weights, so that a reader can do it again from the start.
            command=" && ".join(filter(None, (card.get("command"), shlex.join(["l2l", *sys.argv[1:]])))),
            progress=speaks(),
        )
        if grid:
            say("evaluating at other ways and shots …")
            report = replace(report, grid=accuracy_grid(opened.on(backbone), learner, seed=seed))
    if not speaks():
        return
    if out is not None:
        report.save(out)
    if record is not None:
        row = result_row(report, card.get("seconds", 0.0), report.command or "", note=note)
        add_own_result(record / f"{benchmark}.csv", row)
    if as_json:
        print(report.to_json())
        return
    print(report)
    print(f"{report.seconds:.1f} s, episodes {report.episodes_digest[:16]} (seed {report.seed})")
    comparisons = beside_published(report)
    if comparisons:
        print("\npublished:")
        rows = [
            [
                each.published.method,
                each.published.backbone,
                percent(each.published.accuracy, each.published.ci95),
                f"{100 * each.difference:+.2f}" + (" (within both intervals)" if each.within else ""),
                "" if each.published.verified else "unverified",
            ]
            for each in comparisons
        ]
        print_table(["method", "backbone", "accuracy", "ours minus theirs", ""], rows)
