"""The table of a comparison: written from reports of the same episodes, and read with everything wrong in it named."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from l2l_core.catalog import check_catalog, open_catalog
from l2l_core.errors import CatalogError, UsageError
from l2l_core.evaluation.own_results import write_paired_results
from l2l_core.evaluation.report import Report
from l2l_core.results import PAIRED_COLUMNS
from tests.small import SmallData

FIRST = Report(
    benchmark="small-3w2s",
    dataset="small",
    split="main",
    subset="test",
    method="simpleshot",
    weights=None,
    ways=3,
    shots=2,
    queries=5,
    episodes=4,
    seed=7,
    accuracy=0.5,
    ci95=0.1,
    accuracies=(0.4, 0.5, 0.6, 0.5),
    seconds=1.0,
    episodes_digest="ab" * 32,
    versions={"l2l_core": "1.0", "torch": "2.13.0"},
    backbone="minilm",
    hardware="one core",
    command="l2l evaluate small-3w2s --method simpleshot",
    date="2026-01-31",
)
SECOND = replace(FIRST, method="classemes", accuracy=0.55, accuracies=(0.45, 0.55, 0.6, 0.6), backbone=None)


@pytest.fixture
def table(small: SmallData) -> Path:
    return small.catalog / "metadata/results/paired/small-3w2s.csv"


def test_each_run_stands_beside_the_first(small: SmallData, table: Path) -> None:
    write_paired_results(table, {"plain": FIRST, "with, classemes": SECOND})
    catalog = open_catalog([small.catalog])
    assert [problem for problem in check_catalog(catalog) if "results" in problem] == []
    plain, other = catalog.paired_results("small-3w2s")
    assert (plain.run, plain.difference, plain.difference_ci95) == ("plain", 0.0, 0.0)
    assert (other.run, other.method, other.backbone, other.accuracy) == ("with, classemes", "classemes", "", 0.55)
    # 1.96 times the deviation of 0.05, 0.05, 0 and 0.1 over the root of 4.
    assert (other.difference, other.difference_ci95) == (0.05, 0.040008)
    assert (plain.episodes, plain.seed, plain.versions) == (4, 7, FIRST.versions)


def test_a_table_of_none_is_empty(small: SmallData) -> None:
    assert open_catalog([small.catalog]).paired_results("small-3w2s") == ()


def test_what_cannot_be_kept_leaves_the_table_as_it_was(table: Path) -> None:
    write_paired_results(table, {"plain": FIRST, "other": SECOND})
    before = table.read_bytes()
    with pytest.raises(UsageError, match="only results on the same episodes compare"):
        write_paired_results(table, {"plain": FIRST, "other": replace(SECOND, episodes_digest="cd" * 32)})
    with pytest.raises(UsageError, match="cannot be kept: plain: command: expected text, found ''"):
        write_paired_results(table, {"plain": replace(FIRST, command=None)})
    with pytest.raises(UsageError, match=r"holds figures of other, not of small-3w2s; give small-3w2s\.csv"):
        write_paired_results(table.with_stem("other"), {"plain": FIRST})
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("difference", "0.06", "second: difference: expected its accuracy minus that of first"),
        ("difference", "2", r"second: difference: expected a fraction in \[-1, 1\], found '2'"),
        ("run", "first", "first: run: stands in 2 rows"),
        ("episodes_digest", "cd" * 32, "second: episodes_digest: its episodes are not those of first"),
        ("episodes_digest", "cd", "second: episodes_digest: expected 64 lower-case hexadecimal digits, found 'cd'"),
        ("episodes", "1", "second: episodes: expected a whole number from 2, found '1'"),
        ("date", "yesterday", "second: date: expected YYYY-MM-DD, found 'yesterday'"),
        ("versions", "l2l_core", "second: versions: expected PACKAGE=VERSION"),
    ],
)
def test_a_malformed_table_says_where(small: SmallData, table: Path, column: str, value: str, problem: str) -> None:
    write_paired_results(table, {"first": FIRST, "second": SECOND})
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[1][column] = value
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, PAIRED_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(CatalogError, match=problem):
        open_catalog([small.catalog]).paired_results("small-3w2s")
    assert any("small-3w2s.csv" in each for each in check_catalog(open_catalog([small.catalog])))
