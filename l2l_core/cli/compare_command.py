"""``l2l compare``: which of several results on the same episodes is better, and is it beyond noise?"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_core.cli.options import AsJson, print_json, print_table

if TYPE_CHECKING:
    from l2l_core.evaluation.comparison import PairedDifference


def run(
    reports: Annotated[
        list[Path], typer.Argument(help="Reports of `l2l evaluate --json`, or folders of runs; each against the first.")
    ],
    record: Annotated[
        Path | None,
        typer.Option(help="Folder of tables, such as metadata/results/paired: the benchmark's is written anew."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare results episode by episode: the mean difference with its 95% interval, and whether it is beyond noise.

    A recorded run is called like its folder, or like its file.

    Examples:
        l2l compare protonet.json maml.json
        l2l compare runs/a runs/b runs/c --json
        l2l compare runs/* --record metadata/results/paired
    """
    from l2l_core.errors import UsageError
    from l2l_core.evaluation.comparison import paired, read_report
    from l2l_core.evaluation.own_results import write_paired_results
    from l2l_core.evaluation.report import percent

    if len(reports) < 2:
        raise UsageError(f"{reports[0]} alone has nothing to be compared with; give two reports or more")
    first, *others = read = [read_report(path) for path in reports]
    pairs = [paired(first, other) for other in others]
    if record is not None:
        names = [path.stem if path.is_file() else path.resolve().name for path in reports]
        runs = dict(zip(names, read, strict=True))
        if len(runs) < len(names):
            raise UsageError(f"{names} was asked to be recorded, with a name twice; give folders of different names")
        write_paired_results(record / f"{first.benchmark}.csv", runs)
    if as_json:
        print_json(
            [
                {"first": str(reports[0]), "second": str(path), **asdict(pair), "beyond_noise": pair.beyond_noise}
                for path, pair in zip(reports[1:], pairs, strict=True)
            ]
        )
        return
    print(f"{first.benchmark}, {pairs[0].episodes:,} episodes {first.episodes_digest[:16]} (seed {first.seed})")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    labels = [letters[number] if number < len(letters) else str(number + 1) for number in range(len(reports))]
    print_table(
        ["", "method", "accuracy", "report"],
        [
            [label, report.learner, percent(report.accuracy, report.ci95), str(path)]
            for label, report, path in zip(labels, (first, *others), reports, strict=True)
        ],
    )
    for label, pair in zip(labels[1:], pairs, strict=True):
        print(f"{label} minus {labels[0]}: {_in_words(pair, label, labels[0])}")


def _in_words(pair: "PairedDifference", second: str, first: str) -> str:
    """A difference in percentage points, and what it means."""
    difference = f"{100 * pair.difference:+.2f} ± {100 * pair.ci95:.2f} points, "
    if pair.beyond_noise:
        better, worse = (second, first) if pair.difference > 0 else (first, second)
        difference += f"beyond noise: {better} is better than {worse}"
    else:
        difference += "within noise: these episodes do not tell them apart"
    if pair.gain is not None and pair.correlation is not None:
        difference += f" (interval {pair.gain:.1f} times narrower than unpaired, correlation {pair.correlation:.2f})"
    return difference
