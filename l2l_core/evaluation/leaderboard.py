"""Our figures of a benchmark beside the published ones."""

from dataclasses import dataclass

from l2l_core.catalog import Catalog
from l2l_core.records import OwnResult, PublishedResult


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of the table.

    Attributes:
        ours: whether this package reached it.
        method, backbone: as their own tables call them.
        accuracy: a fraction in [0, 1].
        ci95: half-width of its 95% interval, a fraction; None where none was published.
        overlaps: whether its interval and that of our best figure meet, a missing one counting as 0; None where we
            have no figure.
        verified: whether the source of a published figure was read; ours are.
        origin: where a published figure was read; the command that gives ours.
        budget: of ours: name and form of the recipe.
    """

    ours: bool
    method: str
    backbone: str
    accuracy: float
    ci95: float | None
    overlaps: bool | None
    verified: bool
    origin: str
    budget: str = ""


def standings(benchmark: str, catalog: Catalog) -> tuple[Standing, ...]:
    """All figures of a benchmark, most accurate first, of equals ours first.

    Raises:
        UnknownNameError: no such benchmark.
        CatalogError: a table of figures is malformed.
    """
    name = catalog.benchmark(benchmark).name
    own = catalog.own_results(name)
    best = max(own, key=lambda row: row.accuracy, default=None)

    def standing(row: OwnResult | PublishedResult) -> Standing:
        overlaps = None if best is None else abs(row.accuracy - best.accuracy) <= best.ci95 + (row.ci95 or 0.0)
        figure = row.method, row.backbone, row.accuracy, row.ci95, overlaps
        if isinstance(row, OwnResult):
            return Standing(True, *figure, True, row.command, f"{row.recipe} {row.form}".strip())
        return Standing(False, *figure, row.verified, row.source)

    rows: list[OwnResult | PublishedResult] = [*own, *catalog.published(name)]
    return tuple(sorted(map(standing, rows), key=lambda row: -row.accuracy))
