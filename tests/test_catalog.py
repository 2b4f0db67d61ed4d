"""The catalogue: read as written, every mistake in it found and named, and its names forgiving of typing errors."""

import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import l2l_core.catalog
from l2l_core.catalog import Catalog, check_catalog, open_catalog, own_root
from l2l_core.errors import CatalogError, L2LError, UnknownNameError, UsageError
from l2l_core.fields import Fields, read_csv, read_toml
from tests.small import CLASSES, write_entry

DATASET = "catalog/datasets/small.toml"
BENCHMARK = "catalog/benchmarks/small-3w2s.toml"
SPLIT = "metadata/splits/small/own.csv"
RESULTS = "metadata/results/small-3w2s.csv"
PAPERS = "metadata/papers.toml"
LICENCES = "metadata/licences.toml"
SHA256, MD5 = "0123456789abcdef" * 4, "0123456789abcdef" * 2

FILES = f"""
[[files]]
name = "small.zip"
urls = ["https://example.org/small.zip", "https://example.com/small.zip"]
size_bytes = 1000
sha256 = "{SHA256}"
md5 = "{MD5}"
"""
ROWS = "method,backbone,accuracy,ci95,source,verified\nA,Conv4,0.95,0.01,here,yes\nB,Conv4,0.9,,there,no\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A good catalogue root in which every optional field and file is there."""
    root = tmp_path / "mine"
    write_full_entry(root)
    return root


def write_full_entry(root: Path) -> None:
    write_entry(root)
    dataset = root / DATASET
    text = dataset.read_text()
    text = text.replace('licence = "mit"', 'licence = "own"\npapers = ["me2020"]')
    text = text.replace("[raw]", f'[raw]\ncontent_sha256 = "{SHA256}"')
    dataset.write_text(text + 'paper = "me2020"\n' + FILES)
    with (root / BENCHMARK).open("a") as stream:
        stream.write('rotations = false\npapers = ["me2020"]\n')
    (root / "metadata/results").mkdir()
    (root / RESULTS).write_text(ROWS)
    (root / PAPERS).write_text(
        '[me2020]\ntitle = "T"\nauthors = "A"\nvenue = "V"\nyear = 2020\nurl = "https://x.org"\n'
    )
    (root / LICENCES).write_text('[own]\nname = "Own"\nurl = "https://x.org"\n')


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def problems_of(root: Path) -> list[str]:
    """The problems of the package's catalogue with this root, each without the root's path."""
    problems = check_catalog(open_catalog([root]))
    assert all(problem.startswith(f"{root}/") for problem in problems)
    return [problem.removeprefix(f"{root}/") for problem in problems]


# What is read


def test_the_bundled_catalogue_has_no_problem() -> None:
    catalog = open_catalog()
    assert check_catalog(catalog) == []
    assert {"glyphs", "omniglot"} <= set(catalog.datasets)
    shown = [name for name in catalog.benchmarks if name.startswith("omniglot")]
    assert shown == ["omniglot-5w1s", "omniglot-5w5s", "omniglot-20w1s", "omniglot-20w5s"]


def test_a_good_root_has_no_problem_and_is_read_as_written(root: Path) -> None:
    assert problems_of(root) == []
    catalog = open_catalog([root])
    record = catalog.dataset("small")
    assert (record.name, record.licence, record.papers, record.rotations) == ("small", "own", ("me2020",), True)
    assert (record.raw.classes, record.raw.superclasses, record.raw.image_size) == (12, 2, (14, 14))
    assert (record.raw.content_sha256, record.raw.package) == (SHA256, None)
    assert record.prepared == tomllib.loads((root / DATASET).read_text())["prepared"]
    (file,) = record.files
    assert (file.name, file.size_bytes, file.sha256, file.md5) == ("small.zip", 1000, SHA256, MD5)
    assert file.urls == ("https://example.org/small.zip", "https://example.com/small.zip")
    assert record.size_bytes == 1000
    assert record.splits["own"].paper == "me2020"
    split = catalog.split("small")
    assert split == catalog.split("small", "own")
    assert split.classes() == CLASSES
    assert (split.classes("train"), split.classes("test")) == (CLASSES[:6], CLASSES[9:])
    assert set(split.superclass_of.values()) == {"Abc", "Xyz"}
    benchmark = catalog.benchmark("small-3w2s")
    assert (benchmark.dataset, benchmark.split, benchmark.subset) == ("small", "own", "test")
    assert (benchmark.ways, benchmark.shots, benchmark.queries, benchmark.episodes, benchmark.seed) == (3, 2, 3, 20, 7)
    assert benchmark.rotations is False
    assert [(row.method, row.accuracy, row.ci95, row.verified) for row in catalog.published("small-3w2s")] == [
        ("A", 0.95, 0.01, True),
        ("B", 0.9, None, False),
    ]
    assert catalog.papers()["me2020"].year == 2020
    assert catalog.licences()["own"].url == "https://x.org"
    assert "lake2015" in catalog.papers()  # beside the package's own


def test_a_benchmark_without_published_figures_has_none(root: Path) -> None:
    (root / RESULTS).unlink()
    assert problems_of(root) == []
    assert open_catalog([root]).published("small-3w2s") == ()


# What is wrong, one mistake at a time


@dataclass(frozen=True)
class Broken:
    """One edit of the good root, and what must be said of it.

    Attributes:
        file: what is edited.
        old, new: the first is replaced by the second; without an old text, the new one is all the file then holds.
        problems: the lines expected, each without the file's name.
    """

    file: str
    old: str
    new: str | bytes
    problems: tuple[str, ...]

    def __init__(self, file: str, old: str, new: str | bytes, *problems: str) -> None:
        for field, value in (("file", file), ("old", old), ("new", new), ("problems", problems)):
            object.__setattr__(self, field, value)

    def __str__(self) -> str:
        return f"{Path(self.file).stem}: {self.problems[0]}"[:60].replace("/", "|")

    def apply(self, root: Path) -> None:
        path = root / self.file
        if isinstance(self.new, bytes):
            path.write_bytes(self.new)
        elif self.old:
            edit(path, self.old, self.new)
        else:
            path.write_text(self.new)


LICENCES_KNOWN = "dejavu, mit, own"
HEX64, HEX32 = "64 lower-case hexadecimal digits", "32 lower-case hexadecimal digits"
FIRST = "set/Abc/character01"

BROKEN = [
    # absent
    Broken(DATASET, 'title = "Small"\n', "", "title: missing"),
    Broken(DATASET, 'licence = "own"\n', "", "licence: missing"),
    Broken(DATASET, 'default_split = "own"\n', "", "default_split: missing"),
    Broken(DATASET, "classes = 12\n", "", "raw.classes: missing"),
    Broken(DATASET, 'reader = "image_folders"\n', "", "raw.reader: missing"),
    Broken(DATASET, "size_bytes = 1000\n", "", "files[0].size_bytes: missing"),
    Broken(DATASET, f'sha256 = "{SHA256}"\nmd5', "md5", "files[0].sha256: missing"),
    Broken(DATASET, 'source = "made up"\n', "", "splits.own.source: missing"),
    Broken(BENCHMARK, "ways = 3\n", "", "ways: missing"),
    Broken(BENCHMARK, 'subset = "test"\n', "", "subset: missing"),
    Broken(BENCHMARK, 'dataset = "small"\n', "", "dataset: missing"),
    Broken(PAPERS, "year = 2020\n", "", "me2020.year: missing"),
    Broken(LICENCES, 'name = "Own"\n', "", "own.name: missing"),
    # unknown fields
    Broken(DATASET, "rotations = true", "rotation = true", "rotation: unknown field, did you mean 'rotations'?"),
    Broken(
        DATASET,
        "superclasses",
        "superklasses = 2\nsuperclasses",
        "raw.superklasses: unknown field, did you mean 'superclasses'?",
    ),
    Broken(DATASET, "md5 =", "crc32 = 1\nmd5 =", "files[0].crc32: unknown field"),
    Broken(
        DATASET,
        'source = "made up"',
        'source = "made up"\nsauce = ""',
        "splits.own.sauce: unknown field, did you mean 'source'?",
    ),
    Broken(BENCHMARK, "seed = 7", "seed = 7\nepisode = 9", "episode: unknown field, did you mean 'episodes'?"),
    Broken(PAPERS, "year", "yeer = 1\nyear", "me2020.yeer: unknown field, did you mean 'year'?"),
    Broken(LICENCES, "url", "colour = 1\nurl", "own.colour: unknown field"),
    # of another type
    Broken(DATASET, '"Small"', "3", "title: expected text, found 3"),
    Broken(DATASET, '"Small"', '""', "title: expected text, found ''"),
    Broken(DATASET, '"Small"', '" \\n"', "title: expected text, found ' \\n'"),
    Broken(DATASET, '["me2020"]', '"me2020"', "papers: expected a list, found 'me2020'"),
    Broken(DATASET, '["me2020"]', '["me2020", 3]', "papers: expected texts, found 3 among them"),
    Broken(DATASET, "rotations = true", "rotations = 1", "rotations: expected true or false, found 1"),
    Broken(DATASET, "classes = 12", "classes = true", "raw.classes: expected a whole number, found True"),
    Broken(DATASET, "classes = 12", "classes = 12.0", "raw.classes: expected a whole number, found 12.0"),
    Broken(DATASET, "classes = 12", "classes = 0", "raw.classes: expected at least 1, found 0"),
    Broken(DATASET, "superclasses = 2", 'superclasses = "2"', "raw.superclasses: expected a whole number, found '2'"),
    Broken(DATASET, "[14, 14]", "14", "raw.image_size: expected a list, found 14"),
    Broken(DATASET, "[14, 14]", "[14]", "raw.image_size: expected [height, width] in pixels, found [14]"),
    Broken(DATASET, "[14, 14]", "[14, true]", "raw.image_size: expected [height, width] in pixels, found [14, True]"),
    Broken(DATASET, "[14, 14]", "[14, -1]", "raw.image_size: expected [height, width] in pixels, found [14, -1]"),
    Broken(DATASET, "[[files]]", "[files]", f"files: expected a list, found {tomllib.loads(FILES)['files'][0]!r}"),
    Broken(DATASET, FILES, "[extra]\nfiles = 3", "extra: unknown field"),
    Broken(
        DATASET,
        f"{FILES}",
        "",
    ),
    Broken(BENCHMARK, "ways = 3", "ways = 3.0", "ways: expected a whole number, found 3.0"),
    Broken(BENCHMARK, "shots = 2", "shots = true", "shots: expected a whole number, found True"),
    Broken(BENCHMARK, "ways = 3", "ways = 1", "ways: expected at least 2, found 1"),
    Broken(BENCHMARK, "seed = 7", "seed = -1", "seed: expected at least 0, found -1"),
    Broken(BENCHMARK, "false", "[]", "rotations: expected true or false, found []"),
    Broken(LICENCES, "", "own = 3", "own: expected a table, found 3"),
]
