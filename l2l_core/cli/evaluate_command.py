"""``l2l evaluate``: the accuracy of a method on a benchmark, beside the published ones."""

from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Backbone, Root, print_table, say


def run(
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    method: Annotated[str, typer.Option(help="As in `l2l list methods`.")],
    weights: Annotated[
        Path | None, typer.Option(help="File that `l2l train` wrote; an untrained net without it.")
    ] = None,
    backbone: Backbone = None,
    episodes: Annotated[int | None, typer.Option(help="How many. [default: the benchmark's number]", min=2)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the episodes. [default: the benchmark's]", min=0)] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a method on the benchmark's test episodes: accuracy with its 95% interval.

    Examples:
        l2l evaluate glyphs-5w1s --method maml
        l2l evaluate glyphs-5w1s --method maml --weights runs/glyphs-5w1s-maml-s0/weights.safetensors
    """
    from l2l_core.allocator import keep_memory
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.evaluation.published import compare
    from l2l_core.evaluation.report import percent
    from l2l_core.evaluation.run import evaluate
    from l2l_core.training import build_learner, load_weights, read_weights

    keep_memory()
    opened = load_benchmark(benchmark, root=root)
    if weights is not None and backbone is None:
        backbone = read_weights(weights)[1].get("backbone")
    learner = build_learner(opened, method, backbone=backbone)
    if weights is None:
        say(f"no --weights given: this is an untrained {method}")
    else:
        trained_on = load_weights(weights, learner, opened, method)["benchmark"]
        if trained_on != benchmark:
            say(f"note: {weights} was trained on {trained_on}, and is evaluated on {benchmark}")
    report = evaluate(
        opened,
        learner,
        episodes,
        seed,
        method=method,
        weights=None if weights is None else str(weights),
        backbone=backbone,
        progress=True,
    )
    if as_json:
        print(report.to_json())
        return
    print(report)
    print(f"{report.seconds:.1f} s, episodes {report.episodes_digest[:16]} (seed {report.seed})")
    comparisons = compare(report)
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
