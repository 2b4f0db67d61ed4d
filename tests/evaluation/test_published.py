"""A result beside published ones, worked out by hand."""

import pytest

from l2l_core.errors import CatalogError
from l2l_core.evaluation.published import beside_published
from tests.evaluation.test_report import make_report
from tests.small import SmallData

HEADER = "method,backbone,accuracy,ci95,source,verified\n"


def _publish(small: SmallData, rows: str) -> None:
    folder = small.catalog / "metadata" / "results" / "published"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small-3w2s.csv").write_text(HEADER + rows)


def test_rows_are_sorted_and_set_apart_by_both_intervals(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    rows = [
        "Low,net,0.80,0.125,paper,yes",  # 0.10 away, within 0.125 + 0.03125
        "Near,net,0.875,,paper,no",  # 0.025 away, within our 0.03125 alone
        "Far,net,0.75,,paper,yes",  # 0.15 away, beyond
        "Edge,net,1.0,0.0625,paper,yes",  # 0.10 away, beyond 0.09375
        "Same,net,0.90,0.0,paper,yes",
        "SameToo,net,0.90,0.0,paper,yes",
    ]
    _publish(small, "\n".join(rows) + "\n")
    found = beside_published(make_report(accuracy=0.9, ci95=0.03125))
    assert [(each.published.method, each.within) for each in found] == [
        ("Edge", False),
        ("Same", True),
        ("SameToo", True),
        ("Near", True),
        ("Low", True),
        ("Far", False),
    ]
    assert [each.difference for each in found] == pytest.approx([-0.1, 0, 0, 0.025, 0.1, 0.15])
    assert [each.published.verified for each in found] == [True, True, True, False, True, True]


def test_the_bound_itself_is_within(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    _publish(small, "A,net,0.75,0.125,paper,yes\n")
    assert beside_published(make_report(accuracy=1.0, ci95=0.125))[0].within
    assert not beside_published(make_report(accuracy=1.0, ci95=0.124))[0].within


def test_nothing_published_is_nothing_to_compare(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    assert list(beside_published(make_report())) == []


def test_real_rows_of_omniglot_are_compared() -> None:
    found = beside_published(make_report(benchmark="omniglot-5w1s", accuracy=0.988, ci95=0.001))
    assert len(found) > 10
    accuracies = [each.published.accuracy for each in found]
    assert accuracies == sorted(accuracies, reverse=True)


def test_a_malformed_table_is_refused(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    _publish(small, "A,net,98.8,,paper,yes\n")
    with pytest.raises(CatalogError, match=r"small-3w2s\.csv.*accuracy"):
        beside_published(make_report())
