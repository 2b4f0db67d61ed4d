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
from l2l_core.records import RECIPE_FORMS, OwnResult, PublishedResult

OWN_COLUMNS: Final = (
    *("method", "backbone", "recipe", "form", "accuracy", "ci95", "episodes", "seed", "episodes_digest"),
    *("command", "versions", "hardware", "seconds", "date", "note"),
)
"""Columns of a table of our own results."""
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

    def number(column: str, least: int) -> int:
        if re.fullmatch(r"[0-9]{1,20}", cells[column]) and int(cells[column]) >= least:
            return int(cells[column])
        problems.append(f"{where}{column}: expected a whole number from {least}, found {cells[column]!r}")
        return least

    for column in ("method", "command", "hardware"):
        if not cells[column].strip():
            problems.append(f"{where}{column}: expected text, found {cells[column]!r}")
    form = next((each for each in RECIPE_FORMS if each == cells["form"]), None)
    if form is None:
        problems.append(f"{where}form: expected one of {', '.join(RECIPE_FORMS)}, found {cells['form']!r}")
    if not re.fullmatch(_SHA256, cells["episodes_digest"]):
        problems.append(
            f"{where}episodes_digest: expected 64 lower-case hexadecimal digits, found {cells['episodes_digest']!r}"
        )
    versions = [pair.partition("=") for pair in cells["versions"].split(" ")]
    if not all(name and version for name, _, version in versions):
        problems.append(f"{where}versions: expected PACKAGE=VERSION with a space between them")
    if not _is_date(cells["date"]):
        problems.append(f"{where}date: expected YYYY-MM-DD, found {cells['date']!r}")
    return OwnResult(
        benchmark=benchmark,
        method=cells["method"],
        backbone=cells["backbone"],
        recipe=cells["recipe"],
        form=form or RECIPE_FORMS[0],
        accuracy=_fraction(cells["accuracy"], f"{where}accuracy", problems),
        ci95=_fraction(cells["ci95"], f"{where}ci95", problems),
        episodes=number("episodes", 2),
        seed=number("seed", 0),
        episodes_digest=cells["episodes_digest"],
        command=cells["command"],
        versions={name: version for name, _, version in versions},
        hardware=cells["hardware"],
        seconds=_seconds(cells["seconds"], f"{where}seconds", problems),
        date=cells["date"],
        note=cells["note"],
    )


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
