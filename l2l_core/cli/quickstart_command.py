"""``l2l quickstart``: the whole road in under four minutes, without a network."""

from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Root, make_folder, print_json, print_table, say

BENCHMARK = "glyphs-5w1s"
METHODS = ("protonet", "maml")


def run(
    out: Annotated[
        Path, typer.Option(help="Folder to write pictures, weights and reports to.", file_okay=False)
    ] = Path("quickstart"),
    minutes: Annotated[float, typer.Option(help="Training time of each of the two methods.", min=0.001)] = 1.0,
    episodes: Annotated[int, typer.Option(help="Test episodes of each evaluation.", min=2)] = 600,
    seed: Annotated[int, typer.Option(help="Of weights and training episodes.", min=0)] = 0,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Draw the embedded data set, train a ProtoNet and a MAML, and evaluate both beside untrained nets and chance.

    Examples:
        l2l quickstart
        l2l quickstart --minutes 5 --out results
    """
    from l2l_core.allocator import keep_memory
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.data.generator import TaskGenerator
    from l2l_core.evaluation.pictures import draw_episodes, draw_results, draw_training
    from l2l_core.evaluation.report import percent
    from l2l_core.evaluation.run import evaluate
    from l2l_core.training import build_learner, save_weights, train

    make_folder(out, "--out")
    keep_memory()
    benchmark = load_benchmark(BENCHMARK, root=root)
    test = benchmark.dataset()
    say(f"{benchmark.record.dataset}: {len(test.classes)} test classes of scripts that training never shows")
    generator = benchmark.episodes()
    assert isinstance(generator, TaskGenerator), "the ways of this benchmark are fixed"
    names = [test.classes[row] for row in generator.describe([0]).all_classes_BN[0]]
    draw_episodes(
        [(0, generator[0], names)], f"{BENCHMARK}: support and query of one test episode", out / "episode.png"
    )
    say(f"drew an episode into {out / 'episode.png'}")
    reports, runs = {}, {}
    for method in METHODS:
        untrained = build_learner(benchmark, method, seed)
        reports[f"{method}, untrained"] = evaluate(benchmark, untrained, episodes, method=method, progress=True)
        say(f"training {method} for {60 * minutes:.0f} s …")
        learner, runs[method] = train(benchmark, method, minutes=minutes, seed=seed, progress=True)
        weights = out / f"{method}.safetensors"
        save_weights(weights, learner, runs[method])
        say(f"evaluating {method} on {episodes} test episodes …")
        report = evaluate(benchmark, learner, episodes, method=method, weights=str(weights), progress=True)
        report.save(out / f"{method}.json")
        reports[f"{method}, trained"] = report
    draw_training({method: run.curve for method, run in runs.items()}, out / "training.png")
    draw_results(reports, out / "results.png")
    if as_json:
        print_json({name: {"accuracy": report.accuracy, "ci95": report.ci95} for name, report in reports.items()})
    else:
        chance = 1 / benchmark.record.ways
        rows = [["chance", percent(chance), "", ""]]
        for name, report in reports.items():
            trained = f"{runs[report.method].episodes:,}" if report.weights else "0"
            rows.append([name, percent(report.accuracy, report.ci95), trained, f"{report.seconds:.1f} s"])
        print(f"\n{BENCHMARK}, {episodes} test episodes, 95% interval")
        print_table(["method", "accuracy", "training episodes", "evaluation"], rows)
    say(f"pictures, weights and reports are in {out}/")
