"""Our own table: a row is added or takes the place of the same run's, and nothing wrong gets in."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from l2l_core.catalog import check_catalog, open_catalog
from l2l_core.errors import CacheError, CatalogError, UsageError
from l2l_core.evaluation.own_results import add_own_result
from l2l_core.records import OwnResult
from l2l_core.results import OWN_COLUMNS
from tests.small import SmallData

ROW = OwnResult(
    benchmark="small-3w2s",
    method="maml",
    backbone="",
    recipe="small-maml",
    form="short",
    accuracy=0.912345678,
    ci95=0.0123456789,
    episodes=600,
    seed=2**64 - 1,
    episodes_digest="ab" * 32,
    command="l2l reproduce small-maml --short",
    versions={"l2l_core": "1.0", "torch": "2.13.0+cpu"},
    hardware="two cores, no GPU",
    seconds=61.25,
    date="2026-01-31",
    note='said "so", twice\nin two lines',
)
KEPT = replace(ROW, accuracy=0.912346, ci95=0.012346, seconds=61.2)


@pytest.fixture
def table(small: SmallData) -> Path:
    return small.catalog / "metadata/results/own/small-3w2s.csv"


def found(small: SmallData) -> tuple[OwnResult, ...]:
    catalog = open_catalog([small.catalog])
    assert [problem for problem in check_catalog(catalog) if "results" in problem] == []
    return catalog.own_results("small-3w2s")


def test_rows_are_added_in_order_and_read_as_they_were(small: SmallData, table: Path) -> None:
    assert open_catalog([small.catalog]).own_results("small-3w2s") == ()
    add_own_result(table, ROW)
    assert found(small) == (KEPT,)
    others = [replace(KEPT, method="anil"), replace(KEPT, backbone="conv4"), replace(KEPT, recipe=""), KEPT]
    others[-1] = replace(KEPT, form="full")
    for other in others:
        add_own_result(table, other)
    assert found(small) == (KEPT, *others)
    with table.open(newline="") as stream:
        assert next(csv.reader(stream)) == list(OWN_COLUMNS)


def test_the_same_run_again_takes_the_place_of_the_first(small: SmallData, table: Path) -> None:
    second = replace(KEPT, method="anil")
    for row in (ROW, second, replace(ROW, accuracy=0.5, seed=3, note="again")):
        add_own_result(table, row)
    assert found(small) == (replace(KEPT, accuracy=0.5, seed=3, note="again"), second)


def test_a_table_of_another_benchmark_is_refused(table: Path) -> None:
    path = table.with_stem("small-3w1s")
    with pytest.raises(UsageError) as caught:
        add_own_result(path, ROW)
    assert str(caught.value) == f"{path} holds figures of small-3w1s, not of small-3w2s; give small-3w2s.csv"
    assert not path.exists()


def test_a_row_that_could_not_be_read_is_refused(table: Path) -> None:
    add_own_result(table, ROW)
    before = table.read_bytes()
    wrong = replace(ROW, method="anil", accuracy=91.2, date="today", versions={"torch": "2 13"})
    with pytest.raises(UsageError) as caught:
        add_own_result(table, wrong)
    assert str(caught.value) == (
        "the row of anil cannot be kept: accuracy: expected a fraction in [0, 1], found '91.200000'; "
        "versions: expected PACKAGE=VERSION with a space between them; date: expected YYYY-MM-DD, found 'today'; "
        "correct it"
    )
    assert table.read_bytes() == before


def test_a_malformed_table_stays_as_it_was(table: Path) -> None:
    add_own_result(table, ROW)
    table.write_text(table.read_text().replace("0.912346", "91"))
    before = table.read_bytes()
    with pytest.raises(CatalogError, match=r"small-3w2s\.csv: maml: accuracy: expected a fraction"):
        add_own_result(table, replace(ROW, method="anil"))
    assert table.read_bytes() == before


def test_a_file_in_the_way(table: Path) -> None:
    table.parent.parent.mkdir()
    table.parent.write_text("mine")
    with pytest.raises(CacheError, match="a file stands where a folder should be"):
        add_own_result(table, ROW)
