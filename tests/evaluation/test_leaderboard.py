"""Our figures beside the published: order, overlap, marks."""

from dataclasses import replace

import pytest

from l2l_core.catalog import Catalog, open_catalog
from l2l_core.errors import UnknownNameError
from l2l_core.evaluation.leaderboard import standings
from l2l_core.evaluation.own_results import add_own_result
from tests.evaluation.test_own_results import ROW
from tests.small import SmallData

PUBLISHED = """method,backbone,accuracy,ci95,source,verified
Top,net,0.99,0.01,paper,yes
Near,net,0.875,0.0625,paper,no
Bare,net,0.875,,paper,yes
Equal,net,0.75,0.5,paper,yes
"""


def write(small: SmallData, *accuracies: float) -> Catalog:
    """The catalogue with the published rows, and one of ours of each accuracy, interval 0.0625."""
    folder = small.catalog / "metadata/results"
    (folder / "published").mkdir(parents=True)
    (folder / "published/small-3w2s.csv").write_text(PUBLISHED)
    for number, accuracy in enumerate(accuracies):
        row = replace(ROW, method=f"ours{number}", accuracy=accuracy, ci95=0.0625)
        add_own_result(folder / "own/small-3w2s.csv", row)
    return open_catalog([small.catalog])


def test_rows_stand_by_accuracy_and_overlap_with_our_best(small: SmallData) -> None:
    rows = standings("small-3w2s", write(small, 0.5, 0.75))
    assert [(row.method, row.ours, row.verified, row.overlaps) for row in rows] == [
        ("Top", False, True, False),
        ("Near", False, False, True),  # 0.125 away, just the sum of both intervals
        ("Bare", False, True, False),  # 0.125 away, with our 0.0625 alone
        ("ours1", True, True, True),
        ("Equal", False, True, True),
        ("ours0", True, True, False),
    ]
    best = rows[3]
    assert (best.origin, best.budget) == (ROW.command, "small-maml short")
    assert (rows[0].origin, rows[0].budget) == ("paper", "")


def test_without_a_figure_of_ours_nothing_overlaps(small: SmallData) -> None:
    assert [row.overlaps for row in standings("small-3w2s", write(small))] == [None] * 4


def test_an_unknown_benchmark_is_named(small: SmallData) -> None:
    with pytest.raises(UnknownNameError, match="unknown benchmark 'small-3w3s'; did you mean 'small-3w2s'"):
        standings("small-3w3s", open_catalog([small.catalog]))


def test_a_benchmark_without_figures_has_none(small: SmallData) -> None:
    assert standings("small-3w2s", open_catalog([small.catalog])) == ()
