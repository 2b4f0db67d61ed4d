"""A result beside the published ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from l2l_core.catalog import open_catalog
from l2l_core.evaluation.report import Report
from l2l_core.records import PublishedResult


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published figure beside ours.

    Attributes:
        published: the published figure.
        difference: our accuracy minus the published one, a fraction.
        within: whether the published figure and ours agree within both intervals (a missing one counts as 0).
    """

    published: PublishedResult
    difference: float
    within: bool


def beside_published(report: Report) -> Sequence[Comparison]:
    """The published figures of a report's benchmark, best first, each with its distance from the report's.

    Raises:
        CatalogError: the table of published figures is malformed.
    """
    rows = sorted(open_catalog().published(report.benchmark), key=lambda row: -row.accuracy)
    differences = [report.accuracy - row.accuracy for row in rows]
    return [
        Comparison(row, difference, abs(difference) <= report.ci95 + (row.ci95 or 0.0))
        for row, difference in zip(rows, differences, strict=True)
    ]
