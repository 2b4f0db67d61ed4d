"""Tables of figures: those that others published, and those that this package reached; a file a benchmark."""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Final

from l2l_core.fields import read_csv
from l2l_core.records import RECIPE_FORMS, OwnResult, PairedResult, PublishedResult

OWN_COLUMNS: Final = (
    *("method", "backbone", "recipe", "form", "accuracy", "ci95", "episodes", "seed", "episodes_digest"),
    *("command", "versions", "hardware", "seconds", "date", "note"),
)
"""Columns of a table of our own results."""
PAIRED_COLUMNS: Final = (
    *("run", "method", "backbone", "accuracy", "ci95", "difference", "difference_ci95"),
    *("episodes", "seed", "episodes_digest", "command", "versions", "hardware", "date"),
)
"""Columns of a table of runs that were compared on the same episodes, each with the first."""
_PUBLISHED: Final = ("method", "backbone", "accuracy", "ci95", "source", "verified")
_SHA256: Final = r"[0-9a-f]{64}"


def read_published(path: Path, problems: list[str]) -> tuple[PublishedResult, ...]:
    """Published figures in a table of the benchmark that it is called after; what is wrong is noted in `problems`."""
    results = []
    for row in read_csv(path, _PUBLISHED, problems) or []:
        where = f"{path}: {row['method']}: "
        accuracy = _fraction(row["accuracy"], f"{where}accuracy", problems)
        ci95 = _fraction(row["ci95"], f"{where}ci95", problems) if row["ci95"] else None
        if row["verified"] not in ("yes", "no"):
            problems.append(f"{where}verified: expected yes or no, found {row['verified']!r}")
        verified = row["verified"] == "yes"
        results.append(
            PublishedResult(path.stem, row["method"], row["backbone"], accuracy, ci95, row["source"], verified)
        )
    return tuple(results)


def read_own_results(path: Path, problems: list[str]) -> tuple[OwnResult, ...]:
    """Our own results in a table of the benchmark that it is called after; what is wrong is noted in `problems`."""
    results = [
        own_result(path.stem, row, f"{path}: {row['method']}: ", problems)
        for row in read_csv(path, OWN_COLUMNS, problems) or []
    ]
    runs = Counter((row.method, row.backbone, row.recipe, row.form) for row in results)
    problems.extend(
        f"{path}: {run[0]}: method, backbone, recipe, form: stand in {count} rows"
        for run, count in runs.items()
        if count > 1
    )
    return tuple(results)


def own_result(benchmark: str, cells: Mapping[str, str], where: str, problems: list[str]) -> OwnResult:
    """One of our own results from the cells of its row.

    Args:
        benchmark: whose figure it is.
        cells: each of `OWN_COLUMNS` to its text.
        where: put before each column's name in a problem.
        problems: where what is wrong is noted.
    """

    for column in ("method", "command", "hardware"):
        _check_text(cells, column, where, problems)
    form = next((each for each in RECIPE_FORMS if each == cells["form"]), None)
    if form is None:
        problems.append(f"{where}form: expected one of {', '.join(RECIPE_FORMS)}, found {cells['form']!r}")
    return OwnResult(
        benchmark=benchmark,
        method=cells["method"],
        backbone=cells["backbone"],
        recipe=cells["recipe"],
        form=form or RECIPE_FORMS[0],
        accuracy=_fraction(cells["accuracy"], f"{where}accuracy", problems),
        ci95=_fraction(cells["ci95"], f"{where}ci95", problems),
        episodes=_number(cells, "episodes", 2, where, problems),
        seed=_number(cells, "seed", 0, where, problems),
        episodes_digest=_digest(cells, where, problems),
        command=cells["command"],
        versions=_versions(cells, where, problems),
        hardware=cells["hardware"],
        seconds=_seconds(cells["seconds"], f"{where}seconds", problems),
        date=_date(cells, where, problems),
        note=cells["note"],
    )


def read_paired_results(path: Path, problems: list[str]) -> tuple[PairedResult, ...]:
    """Runs that were compared on a benchmark, which the table is called after; the first is what the others are beside.

    Args:
        path: the table.
        problems: where what is wrong is noted.
    """
    rows = [
        paired_result(path.stem, row, f"{path}: {row['run']}: ", problems)
        for row in read_csv(path, PAIRED_COLUMNS, problems) or []
    ]
    for run, count in Counter(row.run for row in rows).items():
        if count > 1:
            problems.append(f"{path}: {run}: run: stands in {count} rows")
    for row in rows:
        where = f"{path}: {row.run}: "
        if (row.episodes, row.episodes_digest) != (rows[0].episodes, rows[0].episodes_digest):
            problems.append(f"{where}episodes_digest: its episodes are not those of {rows[0].run}")
        # Both are rounded to the sixth decimal place.
        if abs(row.accuracy - rows[0].accuracy - row.difference) > 2e-6:
            problems.append(f"{where}difference: expected its accuracy minus that of {rows[0].run}")
    return tuple(rows)


def paired_result(benchmark: str, cells: Mapping[str, str], where: str, problems: list[str]) -> PairedResult:
    """One run of a comparison from the cells of its row; arguments as of `own_result`, cells as `PAIRED_COLUMNS`."""
    for column in ("run", "method", "command", "hardware"):
        _check_text(cells, column, where, problems)
    return PairedResult(
        benchmark=benchmark,
        run=cells["run"],
        method=cells["method"],
        backbone=cells["backbone"],
        accuracy=_fraction(cells["accuracy"], f"{where}accuracy", problems),
        ci95=_fraction(cells["ci95"], f"{where}ci95", problems),
        difference=_difference(cells["difference"], f"{where}difference", problems),
        difference_ci95=_fraction(cells["difference_ci95"], f"{where}difference_ci95", problems),
        episodes=_number(cells, "episodes", 2, where, problems),
        seed=_number(cells, "seed", 0, where, problems),
        episodes_digest=_digest(cells, where, problems),
        command=cells["command"],
        versions=_versions(cells, where, problems),
        hardware=cells["hardware"],
        date=_date(cells, where, problems),
    )


def _check_text(cells: Mapping[str, str], column: str, where: str, problems: list[str]) -> None:
    if not cells[column].strip():
        problems.append(f"{where}{column}: expected text, found {cells[column]!r}")


def _number(cells: Mapping[str, str], column: str, least: int, where: str, problems: list[str]) -> int:
    if re.fullmatch(r"[0-9]{1,20}", cells[column]) and int(cells[column]) >= least:
        return int(cells[column])
    problems.append(f"{where}{column}: expected a whole number from {least}, found {cells[column]!r}")
    return least


def _digest(cells: Mapping[str, str], where: str, problems: list[str]) -> str:
    digest = cells["episodes_digest"]
    if not re.fullmatch(_SHA256, digest):
        problems.append(f"{where}episodes_digest: expected 64 lower-case hexadecimal digits, found {digest!r}")
    return digest


def _versions(cells: Mapping[str, str], where: str, problems: list[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in cells["versions"].split(" ")]
    if not all(name and version for name, _, version in pairs):
        problems.append(f"{where}versions: expected PACKAGE=VERSION with a space between them")
    return {name: version for name, _, version in pairs}


def _date(cells: Mapping[str, str], where: str, problems: list[str]) -> str:
    if not _is_date(cells["date"]):
        problems.append(f"{where}date: expected YYYY-MM-DD, found {cells['date']!r}")
    return cells["date"]


def _is_date(text: str) -> bool:
    with suppress(ValueError):
        return date.fromisoformat(text).isoformat() == text
    return False


def _seconds(text: str, where: str, problems: list[str]) -> float:
    with suppress(ValueError):
        if (value := float(text)) >= 0 and isfinite(value):
            return value
    problems.append(f"{where}: expected a number of seconds, found {text!r}")
    return 0.0


def _fraction(text: str, where: str, problems: list[str]) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    problems.append(f"{where}: expected a fraction in [0, 1], found {text!r}")
    return 0.0


def _difference(text: str, where: str, problems: list[str]) -> float:
    with suppress(ValueError):
        if -1 <= (value := float(text)) <= 1:
            return value
    problems.append(f"{where}: expected a fraction in [-1, 1], found {text!r}")
    return 0.0
