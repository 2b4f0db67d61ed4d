"""Keeping figures that were reached here: in the table of our own results, and in that of a comparison."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from l2l_core.errors import CatalogError, UsageError
from l2l_core.evaluation.comparison import paired
from l2l_core.evaluation.report import Report
from l2l_core.files import write_file
from l2l_core.records import OwnResult, RecipeForm
from l2l_core.results import OWN_COLUMNS, PAIRED_COLUMNS, own_result, paired_result, read_own_results


def result_row(
    report: Report, seconds: float, command: str, *, recipe: str = "", form: RecipeForm = "short", note: str = ""
) -> OwnResult:
    """A report as a row of our own results, of today.

    Args:
        report: the figure.
        seconds: of training.
        command: what to type to get it.
        recipe, form: what was run; no recipe is "", and then its budget is short of the paper's.
        note: what else a reader should know.
    """
    return OwnResult(
        benchmark=report.benchmark,
        method=report.method,
        backbone=report.backbone or "",
        recipe=recipe,
        form=form,
        accuracy=report.accuracy,
        ci95=report.ci95,
        episodes=report.episodes,
        seed=report.seed,
        episodes_digest=report.episodes_digest,
        command=command,
        versions=report.versions,
        hardware=report.hardware,
        seconds=seconds,
        date=datetime.now(UTC).date().isoformat(),
        note=note,
    )


def add_own_result(path: Path, row: OwnResult) -> None:
    """Write a row into a benchmark's table, which is whole or as it was: the same run's row is replaced.

    The same run is one of the same method, backbone, recipe and form. Accuracies are kept to the sixth decimal place,
    which is far below any interval, and seconds to the first.

    Args:
        path: ``metadata/results/own/BENCHMARK.csv`` of some catalogue; it need not be there.
        row: to be added.

    Raises:
        UsageError: the table is of another benchmark, or a value of the row cannot be.
        CatalogError: the table that is there is malformed.
        CacheError: it cannot be written.
    """
    if path.stem != row.benchmark:
        raise UsageError(f"{path} holds figures of {path.stem}, not of {row.benchmark}; give {row.benchmark}.csv")
    problems: list[str] = []
    own_result(row.benchmark, _cells(row), "", problems)
    if problems:
        raise UsageError(f"the row of {row.method} cannot be kept: {'; '.join(problems)}; correct it")
    rows = {_run(each): each for each in (read_own_results(path, problems) if path.exists() else ())}
    if problems:
        raise CatalogError(problems)
    rows[_run(row)] = row
    _write(path, OWN_COLUMNS, map(_cells, rows.values()))


def write_paired_results(path: Path, runs: Mapping[str, Report]) -> None:
    """Write the table of runs on the same episodes, each beside the first; it is whole or as it was.

    Args:
        path: ``metadata/results/paired/BENCHMARK.csv`` of some catalogue; what it held is replaced.
        runs: what to call each run to its report.

    Raises:
        UsageError: they are of different episodes, the table is of another benchmark, or a value cannot be kept.
        CacheError: it cannot be written.
    """
    first, *_ = runs.values()
    if path.stem != first.benchmark:
        raise UsageError(f"{path} holds figures of {path.stem}, not of {first.benchmark}; give {first.benchmark}.csv")
    problems: list[str] = []
    rows = []
    for run, report in runs.items():
        pair = paired(first, report)
        cells = {name: str(value) for name, value in asdict(report).items() if name in PAIRED_COLUMNS}
        cells |= {
            "run": run,
            "backbone": report.backbone or "",
            "accuracy": f"{report.accuracy:.6f}",
            "ci95": f"{report.ci95:.6f}",
            "difference": f"{pair.difference:.6f}",
            "difference_ci95": f"{pair.ci95:.6f}",
            "command": report.command or "",
            "versions": " ".join(f"{name}={version}" for name, version in report.versions.items()),
        }
        paired_result(first.benchmark, cells, f"{run}: ", problems)
        rows.append(cells)
    if problems:
        raise UsageError(f"the comparison cannot be kept: {'; '.join(problems)}; correct it")
    _write(path, PAIRED_COLUMNS, rows)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, table.getvalue().encode())


def _run(row: OwnResult) -> tuple[str, str, str, str]:
    return row.method, row.backbone, row.recipe, row.form


def _cells(row: OwnResult) -> dict[str, str]:
    """The row as its table has it, column to text."""
    cells = {name: str(value) for name, value in asdict(row).items() if name in OWN_COLUMNS}
    return {
        **cells,
        "accuracy": f"{row.accuracy:.6f}",
        "ci95": f"{row.ci95:.6f}",
        "seconds": f"{row.seconds:.1f}",
        "versions": " ".join(f"{name}={version}" for name, version in row.versions.items()),
    }
