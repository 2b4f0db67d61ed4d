"""The catalogue: read as written, every mistake in it found and named, an unknown name answered with the nearest."""

import json
import os
import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_core.catalog
from l2l_core.catalog import Catalog, check_catalog, open_catalog, own_root
from l2l_core.errors import CatalogError, L2LError, UnknownNameError, UsageError
from l2l_core.records import FileRecord, OwnResult, Statistics
from l2l_core.results import OWN_COLUMNS
from tests.small import CLASSES, write_entry

DATASET = "catalog/datasets/small.toml"
UNEVEN = "catalog/datasets/uneven.toml"
SOUNDS = "catalog/datasets/noises.toml"
BENCHMARK = "catalog/benchmarks/small-3w2s.toml"
PAPERS = "metadata/papers.toml"
LICENCES = "metadata/licences.toml"
SPLIT = "metadata/splits/small/own.csv"
RESULTS = "metadata/results/published/small-3w2s.csv"
OWN = "metadata/results/own/small-3w2s.csv"
FIRST = CLASSES[0]
SHA256, MD5 = "0123456789abcdef" * 4, "0123456789abcdef" * 2
WANTED = ",".join(OWN_COLUMNS)
OWN_ROW = f"maml,conv4,small-maml,short,0.91,0.02,600,7,{SHA256},l2l x,torch=2.13 numpy=2.0,two cores,61.5,2026-01-31,"
STATISTICS = "metadata/stats/small.toml"
COUNTS = "metadata/stats/uneven.csv"
CALLED = "metadata/names/small.csv"
NUMBERS = "metadata/numbers/small/some.csv"
FILES = "metadata/files/small.csv"
FILE = {
    "name": "small.zip",
    "urls": ["https://example.org/small.zip", "https://example.com/small.zip"],
    "size_bytes": 1000,
    "sha256": SHA256,
    "md5": MD5,
}
GONE = object()
"""Put in the place of a field to take it away."""


def toml(value: Any) -> str:
    """A value as TOML writes it in a line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case date() | time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{toml(key)} = {toml(inner)}' for key, inner in value.items())}}}"
    return repr(value)


def write_toml(path: Path, table: dict[str, Any]) -> None:
    path.write_text("".join(f"{toml(key)} = {toml(value)}\n" for key, value in table.items()), encoding="utf-8")


def put(table: dict[str, Any], field: str, value: Any) -> None:
    """Set a field, named as problems name it (``files[0].name``), or take it away."""
    *outer, last = field.replace("[0]", ".0").split(".")
    at: Any = table
    for key in outer:
        at = at[0] if key == "0" else at[key]
    key = 0 if last == "0" else last
    if value is GONE:
        del at[key]
    else:
        at[key] = value


def change(path: Path, field: str, value: Any) -> None:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    put(table, field, value)
    write_toml(path, table)


def write_full_entry(root: Path) -> None:
    """A good catalogue root in which every optional field and file is there.

    It holds ``small``; ``uneven``, whose classes have 7 or 9 examples, which a table says; and ``noises``, which takes
    the class list of ``small``.
    """
    write_entry(root)
    small = root / DATASET
    change(small, "modality", "images")
    change(small, "order", "content")
    change(small, "forms.pictures.content_sha256", SHA256)
    change(small, "forms.pictures.package", "somewhere")
    change(small, "forms.pictures.folder", "inside")
    change(small, "forms.pictures.files", [FILE])
    change(small, "splits.own.examples", {"train": 48, "validation": 24, "test": 24})
    _write_uneven(root)
    noises = root / SOUNDS
    noises.write_text(small.read_text(encoding="utf-8"), encoding="utf-8")
    change(noises, "modality", "sounds")
    change(noises, "sample_rate_hz", 16000)
    change(noises, "splits.own.classes_of", "small")
    change(small, "licence", "own")
    change(small, "papers", ["nobody2020"])
    change(small, "splits.own.paper", "nobody2020")
    change(small, "forms.listed", {"title": "T", "reader": "image_folders"})
    change(small, "forms.listed.file_table", "small")
    change(small, "forms.listed.url", "https://example.org/{name}")
    change(root / BENCHMARK, "rotations", False)
    change(root / BENCHMARK, "papers", ["nobody2020"])
    change(root / BENCHMARK, "kind", "fixed")
    change(root / BENCHMARK, "image_size", [7, 7])
    change(root / BENCHMARK, "augmentation", "crop-flip-jitter")
    paper = {"title": "T", "authors": "A", "venue": "V", "year": 2020, "url": "https://example.org"}
    write_toml(root / PAPERS, {"nobody2020": paper})
    licence = {"name": "Own", "url": "https://example.org", "terms": "Be kind.", "consent": True}
    write_toml(root / LICENCES, {"own": licence})
    for folder in ("results/published", "results/own", "stats", "names", "numbers/small", "files"):
        (root / "metadata" / folder).mkdir(parents=True, exist_ok=True)
    (root / RESULTS).write_text(
        "method,backbone,accuracy,ci95,source,verified\nA,Conv4,0.95,0.01,here,yes\nB,Conv4,0.9,,there,no\n"
    )
    (root / OWN).write_text(f"{WANTED}\n{OWN_ROW}\n")
    write_toml(root / STATISTICS, {"mean": [0.25], "std": [0.5], "source": "measured"})
    (root / CALLED).write_text(f"class,name\n{FIRST},the first\n")
    (root / NUMBERS).write_text(f"class,numbers\n{FIRST},7 3 12\n{CLASSES[1]},5\n")
    (root / FILES).write_text(f"name,size_bytes,sha256\na b.zip,10,{SHA256}\nc.zip,20,{SHA256[::-1]}\n")


def _write_uneven(root: Path) -> None:
    uneven = root / UNEVEN
    uneven.write_text((root / DATASET).read_text(encoding="utf-8"), encoding="utf-8")
    change(uneven, "raw.examples_per_class", GONE)
    change(uneven, "splits.own.examples", {"train": 48, "validation": 27, "test": 21})
    for folder in ("splits/uneven", "stats"):
        (root / "metadata" / folder).mkdir(parents=True)
    (root / "metadata/splits/uneven/own.csv").write_bytes((root / SPLIT).read_bytes())
    counts = [7, 9] * 3 + [9] * 3 + [7] * 3
    rows = [f"{name},{count}" for name, count in zip(CLASSES, counts, strict=True)]
    (root / COUNTS).write_text("\n".join(["class,examples", *rows]) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_full_entry(tmp_path / "mine")
    return tmp_path / "mine"


def problems_of(root: Path) -> list[str]:
    """The problems of the package's catalogue with this root, each without the root's path."""
    problems = check_catalog(open_catalog([root]))
    assert all(problem.startswith(f"{root}/") for problem in problems), problems
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
    assert (record.name, record.licence, record.papers, record.rotations) == ("small", "own", ("nobody2020",), True)
    assert (record.modality, record.order, record.sample_rate_hz) == ("images", "content", None)
    assert (record.raw.classes, record.raw.superclasses, record.raw.image_size) == (12, 2, (14, 14))
    assert record.prepared == tomllib.loads((root / DATASET).read_text())["prepared"]
    assert list(record.forms) == ["pictures", "listed"]
    pictures, listed = record.forms.values()
    assert (pictures.name, listed.name) == ("pictures", "listed")
    assert (pictures.reader, pictures.options) == ("image_folders", {"class_depth": 3})
    assert (pictures.content_sha256, pictures.package, pictures.folder) == (SHA256, "somewhere", "inside")
    (file,) = pictures.files
    assert (file.name, file.size_bytes, file.sha256, file.md5) == ("small.zip", 1000, SHA256, MD5)
    assert list(file.urls) == FILE["urls"]
    assert pictures.expected_bytes == 1000
    assert listed.files == (
        FileRecord("a b.zip", ("https://example.org/a%20b.zip",), 10, sha256=SHA256),
        FileRecord("c.zip", ("https://example.org/c.zip",), 20, sha256=SHA256[::-1]),
    )
    assert record.download is pictures
    assert record.splits["own"].paper == "nobody2020"
    assert record.splits["own"].examples == {"train": 48, "validation": 24, "test": 24}
    split = catalog.split("small")
    assert split == catalog.split("small", "own")
    assert split.classes() == CLASSES
    assert (split.classes("train"), split.classes("test")) == (CLASSES[:6], CLASSES[9:])
    assert set(split.superclass_of.values()) == {"Abc", "Xyz"}
    benchmark = catalog.benchmark("small-3w2s")
    assert (benchmark.dataset, benchmark.split, benchmark.subset) == ("small", "own", "test")
    assert (benchmark.ways, benchmark.shots, benchmark.queries, benchmark.episodes, benchmark.seed) == (3, 2, 3, 20, 7)
    assert benchmark.rotations is False
    assert (benchmark.kind, benchmark.image_size, benchmark.augmentation) == ("fixed", (7, 7), "crop-flip-jitter")
    assert [(row.method, row.accuracy, row.ci95, row.verified) for row in catalog.published("small-3w2s")] == [
        ("A", 0.95, 0.01, True),
        ("B", 0.9, None, False),
    ]
    assert catalog.own_results("small-3w2s") == (
        OwnResult(
            *("small-3w2s", "maml", "conv4", "small-maml", "short", 0.91, 0.02, 600, 7, SHA256, "l2l x"),
            *({"torch": "2.13", "numpy": "2.0"}, "two cores", 61.5, "2026-01-31", ""),
        ),
    )
    assert catalog.papers()["nobody2020"].year == 2020
    licence = catalog.licences()["own"]
    assert (licence.name, licence.terms, licence.consent) == ("Own", "Be kind.", True)
    assert catalog.counts("small") == dict.fromkeys(CLASSES, 8)
    assert list(catalog.counts("uneven").values()) == [7, 9] * 3 + [9] * 3 + [7] * 3
    assert catalog.class_names("small") == {FIRST: "the first"}
    assert catalog.class_names("uneven") == {}
    assert catalog.numbers("small", "some") == {FIRST: (7, 3, 12), CLASSES[1]: (5,)}
    assert catalog.statistics("small") == Statistics((0.25,), (0.5,), "measured")
    assert catalog.statistics("uneven") is None
    noises = catalog.dataset("noises")
    assert (noises.modality, noises.sample_rate_hz, noises.splits["own"].classes_of) == ("sounds", 16000, "small")
    assert catalog.split("noises").subset_of == split.subset_of
    assert "lake2015" in catalog.papers()  # beside the package's own


@pytest.mark.parametrize(
    ("file", "field"),
    [
        *((DATASET, field) for field in ("papers", "rotations", "modality", "order", "forms.listed")),
        *((DATASET, f"raw.{field}") for field in ("examples", "examples_per_class", "image_size")),
        *(
            (DATASET, f"forms.pictures.{field}")
            for field in ("options", "files", "content_sha256", "package", "folder")
        ),
        *((DATASET, f"forms.pictures.files[0].{field}") for field in ("urls", "sha256", "md5")),
        *((DATASET, f"splits.own.{field}") for field in ("paper", "examples")),
        *((BENCHMARK, field) for field in ("papers", "rotations", "augmentation", "kind")),
        (PAPERS, "nobody2020.url"),
        *((LICENCES, f"own.{field}") for field in ("url", "terms", "consent")),
    ],
)
def test_what_is_optional_may_be_absent(file: str, field: str, root: Path) -> None:
    change(root / file, field, GONE)
    assert problems_of(root) == []


def test_a_data_set_need_not_be_prepared_in_any_way(root: Path) -> None:
    change(root / DATASET, "prepared", GONE)
    assert problems_of(root) == []


@pytest.mark.parametrize("table", [STATISTICS, CALLED, NUMBERS, COUNTS])
def test_a_data_set_need_not_have_tables(table: str, root: Path) -> None:
    (root / table).unlink()
    assert problems_of(root) == []


def test_a_size_that_is_known_roughly_will_do(root: Path) -> None:
    change(root / DATASET, "forms.pictures.files[0].size_bytes", GONE)
    assert problems_of(root) == [
        f"{DATASET}: {ONE_FILE}.size_bytes: missing; about_bytes or at_most_bytes will do where the exact size is "
        "not known"
    ]
    change(root / DATASET, "forms.pictures.files[0].about_bytes", 900)
    assert problems_of(root) == []
    (file,) = open_catalog([root]).dataset("small").forms["pictures"].files
    assert (file.expected_bytes, file.limit_bytes) == (900, 1800)


def test_the_first_form_with_addresses_is_the_one_to_download(root: Path) -> None:
    change(root / DATASET, "forms.pictures.files[0].urls", GONE)
    record = open_catalog([root]).dataset("small")
    assert record.download is record.forms["listed"]
    change(root / DATASET, "forms.listed", GONE)
    assert open_catalog([root]).dataset("small").download is None


def test_a_benchmark_without_published_figures_has_none(root: Path) -> None:
    (root / RESULTS).unlink()
    assert problems_of(root) == []
    assert open_catalog([root]).published("small-3w2s") == ()


ONE_FILE = "forms.pictures.files[0]"

# What is wrong: one edit of the good root, and all that must be said of it

ONE_NAME = "expected lower-case words joined by hyphens, found"
HEX64, HEX32 = "64 lower-case hexadecimal digits", "32 lower-case hexadecimal digits"
SIZE = "expected [height, width] in pixels, found"
NAMES = "expected names of lower-case words joined by hyphens, found"

FIELDS: list[tuple[str, str, Any, str]] = [
    # absent
    *(
        (DATASET, field, GONE, f"{field}: missing")
        for field in ("title", "description", "licence", "default_split", "raw", "forms", "splits", "raw.classes")
    ),
    *((DATASET, field, GONE, f"{field}: missing") for field in ("splits.own.title", "splits.own.source")),
    *((DATASET, field, GONE, f"{field}: missing") for field in ("splits.own.examples.train", f"{ONE_FILE}.name")),
    *((DATASET, field, GONE, f"{field}: missing") for field in ("forms.pictures.title", "forms.pictures.reader")),
    (DATASET, "forms.listed.url", GONE, "forms.listed.url: missing"),
    *(
        (BENCHMARK, field, GONE, f"{field}: missing")
        for field in ("title", "dataset", "split", "subset", "ways", "shots", "queries", "episodes", "seed")
    ),
    *(
        (PAPERS, f"nobody2020.{field}", GONE, f"nobody2020.{field}: missing")
        for field in ("title", "authors", "venue", "year")
    ),
    (LICENCES, "own.name", GONE, "own.name: missing"),
    *((STATISTICS, field, GONE, f"{field}: missing") for field in ("mean", "std", "source")),
    (DATASET, "splits", {}, "splits: expected at least one table, found none"),
    (DATASET, "forms", {}, "forms: expected at least one table, found none"),
    (SOUNDS, "sample_rate_hz", GONE, "sample_rate_hz: expected for sounds, and only for sounds"),
    # unknown
    (DATASET, "rotation", True, "rotation: unknown field, did you mean 'rotations'?"),
    (DATASET, "raw.superklasses", 2, "raw.superklasses: unknown field, did you mean 'superclasses'?"),
    (DATASET, "splits.own.sauce", "", "splits.own.sauce: unknown field, did you mean 'source'?"),
    (DATASET, "splits.own.examples.tset", 1, "splits.own.examples.tset: unknown field, did you mean 'test'?"),
    (DATASET, f"{ONE_FILE}.crc32", 1, f"{ONE_FILE}.crc32: unknown field"),
    (DATASET, "forms.pictures.opitons", {}, "forms.pictures.opitons: unknown field, did you mean 'options'?"),
    (DATASET, "forms.pictures.url", "https://example.org/{name}", "forms.pictures.url: unknown field"),
    (STATISTICS, "standard", [0.5], "standard: unknown field"),
    (BENCHMARK, "episode", 9, "episode: unknown field, did you mean 'episodes'?"),
    (PAPERS, "nobody2020.yeer", 1, "nobody2020.yeer: unknown field, did you mean 'year'?"),
    (LICENCES, "own.colour", 1, "own.colour: unknown field"),
    # of another kind
    (DATASET, "title", 3, "title: expected text, found 3"),
    (DATASET, "title", "", "title: expected text, found ''"),
    (DATASET, "title", " \n", r"title: expected text, found ' \n'"),
    (DATASET, "licence", ["own"], "licence: expected text, found ['own']"),
    (DATASET, "papers", "nobody2020", "papers: expected a list, found 'nobody2020'"),
    (DATASET, "papers", ["nobody2020", 3], "papers: expected texts, found 3 among them"),
    (DATASET, "rotations", 1, "rotations: expected true or false, found 1"),
    (DATASET, "raw", "x", "raw: expected a table, found 'x'"),
    (DATASET, "raw", [], "raw: expected a table, found []"),
    (DATASET, "prepared", 1, "prepared: expected a table, found 1"),
    (DATASET, "modality", 1, "modality: expected text, found 1"),
    (DATASET, "modality", "sound", "modality: expected one of images, texts, sounds, found 'sound'"),
    (DATASET, "order", "name", "order: expected one of files, content, found 'name'"),
    (DATASET, "sample_rate_hz", 16000, "sample_rate_hz: expected for sounds, and only for sounds"),
    (SOUNDS, "sample_rate_hz", "16 kHz", "sample_rate_hz: expected a whole number, found '16 kHz'"),
    (SOUNDS, "sample_rate_hz", 0, "sample_rate_hz: expected at least 1, found 0"),
    (DATASET, "forms", 1, "forms: expected a table, found 1"),
    (DATASET, "forms", {"Pictures": {}}, f"forms: {NAMES} 'Pictures'"),
    (DATASET, "forms", {"../x": {}}, f"forms: {NAMES} '../x'"),
    (DATASET, "forms.pictures", 1, "forms.pictures: expected a table, found 1"),
    (DATASET, "forms.pictures.reader", "", "forms.pictures.reader: expected text, found ''"),
    (DATASET, "forms.pictures.options", [], "forms.pictures.options: expected a table, found []"),
    (DATASET, "forms.pictures.package", "", "forms.pictures.package: expected text, found ''"),
    (DATASET, "forms.listed.file_table", 1, "forms.listed.file_table: expected text, found 1"),
    (DATASET, "forms.listed.file_table", "../x", f"forms.listed.file_table: {ONE_NAME} '../x'"),
    (
        DATASET,
        "forms.listed.url",
        "https://example.org/name",
        "forms.listed.url: expected an https address with {name} in it, found 'https://example.org/name'",
    ),
    (DATASET, "forms.pictures.files", 3, "forms.pictures.files: expected a list, found 3"),
    (DATASET, "forms.pictures.files", ["x"], f"{ONE_FILE}: expected a table, found 'x'"),
    (DATASET, "forms.pictures.files", [[1]], f"{ONE_FILE}: expected a table, found [1]"),
    (DATASET, "forms.pictures.files", {}, "forms.pictures.files: expected a list, found {}"),
    (DATASET, "forms.pictures.files", [FILE, FILE], "forms.pictures.files: two are called 'small.zip'"),
    (DATASET, "splits", 1, "splits: expected a table, found 1"),
    (DATASET, "splits.own", 1, "splits.own: expected a table, found 1"),
    (DATASET, "splits.own.paper", 1, "splits.own.paper: expected text, found 1"),
    (DATASET, "raw.classes", True, "raw.classes: expected a whole number, found True"),
    (DATASET, "raw.classes", 12.0, "raw.classes: expected a whole number, found 12.0"),
    (DATASET, "raw.classes", 0, "raw.classes: expected at least 1, found 0"),
    (DATASET, "raw.superclasses", "2", "raw.superclasses: expected a whole number, found '2'"),
    (DATASET, "raw.examples_per_class", False, "raw.examples_per_class: expected a whole number, found False"),
    (DATASET, "splits.own.examples", 3, "splits.own.examples: expected a table, found 3"),
    (DATASET, "splits.own.examples.train", -1, "splits.own.examples.train: expected at least 0, found -1"),
    (DATASET, "splits.own.classes_of", "../x", f"splits.own.classes_of: {ONE_NAME} '../x'"),
    (LICENCES, "own.consent", "yes", "own.consent: expected true or false, found 'yes'"),
    (LICENCES, "own.terms", "", "own.terms: expected text, found ''"),
    (STATISTICS, "mean", 0.5, "mean: expected a list, found 0.5"),
    (STATISTICS, "mean", [], "mean: expected a list of numbers, found []"),
    (STATISTICS, "mean", [True], "mean: expected a list of numbers, found [True]"),
    (STATISTICS, "std", [10**400], f"std: expected a list of numbers, found [{10**400}]"),
    (STATISTICS, "std", [1.5], "std: expected as many as mean, all between 0 and 1, found [0.25] and [1.5]"),
    (STATISTICS, "std", [0.5, 0.5], "std: expected as many as mean, all between 0 and 1, found [0.25] and [0.5, 0.5]"),
    (DATASET, "raw.image_size", 14, "raw.image_size: expected a list, found 14"),
    (DATASET, "raw.image_size", [14], f"raw.image_size: {SIZE} [14]"),
    (DATASET, "raw.image_size", [14, True], f"raw.image_size: {SIZE} [14, True]"),
    (DATASET, "raw.image_size", [14, -1], f"raw.image_size: {SIZE} [14, -1]"),
    (DATASET, "raw.image_size", ["14", 14], f"raw.image_size: {SIZE} ['14', 14]"),
    (DATASET, f"{ONE_FILE}.size_bytes", "1 kB", f"{ONE_FILE}.size_bytes: expected a whole number, found '1 kB'"),
    (DATASET, f"{ONE_FILE}.about_bytes", 0, f"{ONE_FILE}.about_bytes: expected at least 1, found 0"),
    (
        DATASET,
        f"{ONE_FILE}.urls",
        "https://example.org",
        f"{ONE_FILE}.urls: expected a list, found 'https://example.org'",
    ),
    (BENCHMARK, "ways", 3.0, "ways: expected a whole number, found 3.0"),
    (BENCHMARK, "ways", 1, "ways: expected at least 2, found 1"),
    (BENCHMARK, "shots", True, "shots: expected a whole number, found True"),
    (BENCHMARK, "shots", 0, "shots: expected at least 1, found 0"),
    (BENCHMARK, "episodes", 1, "episodes: expected at least 2, found 1"),
    (BENCHMARK, "seed", -1, "seed: expected at least 0, found -1"),
    (BENCHMARK, "rotations", [], "rotations: expected true or false, found []"),
    (PAPERS, "nobody2020.year", 20, "nobody2020.year: expected at least 1900, found 20"),
    (PAPERS, "extra", 3, "extra: expected a table, found 3"),
    (LICENCES, "own.name", date(2020, 1, 2), "own.name: expected text, found datetime.date(2020, 1, 2)"),
    # of another form
    (DATASET, "forms.pictures.content_sha256", MD5, f"forms.pictures.content_sha256: expected {HEX64}, found '{MD5}'"),
    (DATASET, f"{ONE_FILE}.sha256", SHA256.upper(), f"{ONE_FILE}.sha256: expected {HEX64}, found '{SHA256.upper()}'"),
    (DATASET, f"{ONE_FILE}.sha256", "g" * 64, f"{ONE_FILE}.sha256: expected {HEX64}, found '{'g' * 64}'"),
    (DATASET, f"{ONE_FILE}.md5", "0", f"{ONE_FILE}.md5: expected {HEX32}, found '0'"),
    *(
        (DATASET, f"{ONE_FILE}.name", name, f"{ONE_FILE}.name: expected a file name without a folder, found {name!r}")
        for name in ("../x.zip", "..", ".hidden", "a\\b", "")
    ),
    *(
        (
            DATASET,
            f"{ONE_FILE}.urls",
            ["https://example.org/x", url],
            f"{ONE_FILE}.urls: expected https addresses, found '{url}' among them",
        )
        for url in ("http://example.org/x", "https://example.org/x y", "ftp://example.org")
    ),
    (PAPERS, "nobody2020.url", "http://x.org", "nobody2020.url: expected an https address, found 'http://x.org'"),
    (LICENCES, "own.url", "x.org", "own.url: expected an https address, found 'x.org'"),
    (BENCHMARK, "subset", "tset", "subset: expected one of train, validation, test, found 'tset'"),
    (DATASET, "splits", {"My Own": {}}, f"splits: {NAMES} 'My Own'"),
    (DATASET, "splits", {"../own": {}}, f"splits: {NAMES} '../own'"),
    # that refer to nothing
    (DATASET, "licence", "owm", "licence: unknown licence 'owm'; did you mean 'own'?"),
    (DATASET, "papers", ["nobody2002"], "papers: unknown paper 'nobody2002'; did you mean 'nobody2020'?"),
    (DATASET, "splits.own.paper", "nobody20", "splits.own.paper: unknown paper 'nobody20'; did you mean 'nobody2020'?"),
    (DATASET, "default_split", "Own", "default_split: unknown split 'Own'; did you mean 'own'?"),
    (BENCHMARK, "papers", ["nobody21"], "papers: unknown paper 'nobody21'; did you mean 'nobody2020'?"),
    (BENCHMARK, "dataset", "smal", "dataset: unknown data set 'smal'; did you mean 'small'?"),
    (BENCHMARK, "split", "vinyals", "split: unknown split 'vinyals'; known: own"),
    (SOUNDS, "splits.own.classes_of", "smal", "metadata/splits/smal/own.csv: No such file or directory"),
    (DATASET, "forms.listed.file_table", "smal", "metadata/files/smal.csv: No such file or directory"),
    # that contradict each other
    (DATASET, "splits.own.examples.train", 47, "splits.own.examples.train: 47, but its classes have 48"),
    (UNEVEN, "splits.own.examples.test", 24, "splits.own.examples.test: 24, but its classes have 21"),
    (UNEVEN, "raw.examples", 95, "raw.examples: 95, but its classes have 96"),
    (
        UNEVEN,
        "raw.examples_per_class",
        8,
        "raw.examples_per_class: metadata/stats counts the examples of each class, too; drop one of them",
    ),
    (DATASET, "raw.examples", 95, "raw.examples: is 95, but classes x examples_per_class is 96"),
    (BENCHMARK, "ways", 4, "ways: 4, but the subset test has 3 classes"),
    (BENCHMARK, "shots", 6, "queries: shots + queries = 9, but a class has 8 examples"),
    (BENCHMARK, "image_size", [8, 7], "image_size: [8, 7], but small is prepared at [7, 7]"),
    (BENCHMARK, "image_size", 7, "image_size: expected a list, found 7"),
    (BENCHMARK, "kind", "fixd", "kind: expected one of fixed, variable, found 'fixd'"),
    (BENCHMARK, "augmentation", "crop", "augmentation: expected one of none, crop-flip-jitter, found 'crop'"),
    (
        BENCHMARK,
        "image_size",
        GONE,
        "augmentation: crop-flip-jitter is done to pictures of a known size; give image_size",
    ),
]


@pytest.mark.parametrize(
    ("file", "field", "value", "problem"), FIELDS, ids=[f"{Path(file).stem}-{field}" for file, field, *_ in FIELDS]
)
def test_a_wrong_field_is_named(file: str, field: str, value: object, problem: str, root: Path) -> None:
    change(root / file, field, value)
    assert problems_of(root) == [problem if problem.startswith("metadata/") else f"{file}: {problem}"]


CSVS: list[tuple[str, str, str, str]] = [
    # the class list
    (SPLIT, "subset,", "split,", "line 1: expected the columns class,subset,superclass, found class,split,superclass"),
    (SPLIT, "train", "Train", f"{FIRST}: subset: expected one of train, validation, test, found 'Train'"),
    (SPLIT, f"{FIRST},train,Abc", f"{FIRST},train", "line 2: expected 3 fields, found 2"),
    (SPLIT, "train,Abc", "train,Abc,", "line 2: expected 3 fields, found 4"),
    (SPLIT, "\nset", "\n\nset", "line 2: expected 3 fields, found 0"),
    (SPLIT, "train,Abc", 'train,"Abc', "unexpected end of data"),
    (SPLIT, "Abc", "Abc\udcff", "'utf-8' codec can't decode byte 0xff in position 31: invalid start byte"),
    (SPLIT, f"{FIRST},train,Abc\n", "", "class: 11 classes, but raw.classes is 12"),
    (SPLIT, "Abc\n", "Abd\n", "superclass: 3 superclasses, but raw.superclasses is 2"),
    # the tables beside it
    (COUNTS, "class,", "klass,", "line 1: expected the columns class,examples, found klass,examples"),
    *(
        (COUNTS, f"{FIRST},7", f"{FIRST},{text}", f"{FIRST}: examples: expected a number above 0, found {text!r}")
        for text in ("0", "-7", "7.0", "", "\u00b2", "9" * 5000)
    ),
    (COUNTS, f"{FIRST},7\n", f"{FIRST},7\n" * 2, f"{FIRST}: class: stands in 2 rows"),
    (CALLED, "name", "names", "line 1: expected the columns class,name, found class,names"),
    (CALLED, f"{FIRST},the first\n", f"{FIRST},x\n" * 3, f"{FIRST}: class: stands in 3 rows"),
    (FILES, "size_bytes", "size", "line 1: expected the columns name,size_bytes,sha256, found name,size,sha256"),
    # the published figures
    (RESULTS, "ci95", "ci", "line 1: expected the columns {}, found method,backbone,accuracy,ci,source,verified"),
    (RESULTS, "0.95", "95.0", "A: accuracy: expected a fraction in [0, 1], found '95.0'"),
    (RESULTS, "0.95", "-0.1", "A: accuracy: expected a fraction in [0, 1], found '-0.1'"),
    (RESULTS, "0.95", "nan", "A: accuracy: expected a fraction in [0, 1], found 'nan'"),
    (RESULTS, "0.95", "", "A: accuracy: expected a fraction in [0, 1], found ''"),
    (RESULTS, "0.01", "1%", "A: ci95: expected a fraction in [0, 1], found '1%'"),
    (RESULTS, "there,no", "there,maybe", "B: verified: expected yes or no, found 'maybe'"),
    (RESULTS, "there,no", "there,no,", "line 3: expected 6 fields, found 7"),
    # our own
    (OWN, "hardware,", "", f"line 1: expected the columns {WANTED}, found {WANTED.replace('hardware,', '')}"),
    (OWN, ",0.91,", ",91,", "maml: accuracy: expected a fraction in [0, 1], found '91'"),
    (OWN, ",0.02,", ",,", "maml: ci95: expected a fraction in [0, 1], found ''"),
    (OWN, "short", "shrt", "maml: form: expected one of full, short, found 'shrt'"),
    (OWN, ",600,", ",1,", "maml: episodes: expected a whole number from 2, found '1'"),
    (OWN, ",600,", ",6e2,", "maml: episodes: expected a whole number from 2, found '6e2'"),
    (OWN, ",7,", ",-7,", "maml: seed: expected a whole number from 0, found '-7'"),
    (OWN, SHA256, MD5, f"maml: episodes_digest: expected 64 lower-case hexadecimal digits, found '{MD5}'"),
    (OWN, "l2l x", " ", "maml: command: expected text, found ' '"),
    (OWN, "two cores", "", "maml: hardware: expected text, found ''"),
    (OWN, "torch=2.13", "torch", "maml: versions: expected PACKAGE=VERSION with a space between them"),
    (OWN, "61.5", "nan", "maml: seconds: expected a number of seconds, found 'nan'"),
    (OWN, "2026-01-31", "2026-02-31", "maml: date: expected YYYY-MM-DD, found '2026-02-31'"),
    (OWN, "2026-01-31", "20260131", "maml: date: expected YYYY-MM-DD, found '20260131'"),
    (OWN, OWN_ROW, f"{OWN_ROW}\n{OWN_ROW}", "maml: method, backbone, recipe, form: stand in 2 rows"),
]


@pytest.mark.parametrize(("file", "old", "new", "problem"), CSVS)
def test_a_wrong_table_is_named(file: str, old: str, new: str, problem: str, root: Path) -> None:
    path = root / file
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    assert problems_of(root) == [f"{file}: {problem.format('method,backbone,accuracy,ci95,source,verified')}"]


@pytest.mark.parametrize(
    "row", ["../c.zip,20,{}", ".c,20,{}", "c.zip,\u00b2,{}", "c.zip,0,{}", "c.zip,,{}", "c.zip,20,x{}"]
)
def test_a_wrong_row_of_a_table_of_files_is_named(row: str, root: Path) -> None:
    row = row.format(SHA256)
    (root / FILES).write_text(f"name,size_bytes,sha256\na.zip,10,{SHA256}\n{row}\n")
    said = f"{row.split(',')[0]} in small: expected a name, its size in bytes and its sha256"
    assert problems_of(root) == [f"{DATASET}: forms.listed.file_table: {said}"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("class,numbers\na,1 2,\n", "line 2: expected 2 fields, found 3"),
        ("class,numbers\na,1\na,2\n", "a: class: stands in 2 rows"),
        *(
            (f"class,numbers\na,{text}\n", "a: numbers: expected whole numbers with a space between them")
            for text in ("", "1,2".replace(",", ";"), "1  2", "-1", "1 x", "\u00b2", "9" * 5000)
        ),
    ],
)
def test_a_wrong_list_of_numbers_is_named(table: str, problem: str, root: Path) -> None:
    (root / NUMBERS).write_text(table)
    with pytest.raises(CatalogError) as error:
        open_catalog([root]).numbers("small", "some")
    assert error.value.problems == (f"{root / NUMBERS}: {problem}",)


def test_a_list_of_numbers_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(CatalogError) as error:
        open_catalog([root]).numbers("small", "sum")
    assert error.value.problems == (f"{root / NUMBERS.replace('some', 'sum')}: No such file or directory",)


@pytest.mark.parametrize(("table", "folder"), [(COUNTS, "stats"), (CALLED, "names")])
def test_a_table_names_classes_that_there_are(table: str, folder: str, root: Path) -> None:
    with (root / table).open("a") as stream:
        stream.write("set/Abc/nobody,3\n")
    entry = f"catalog/datasets/{Path(table).stem}.toml"
    assert problems_of(root) == [f"{entry}: metadata/{folder} names 'set/Abc/nobody', which is none of its classes"]


def test_subsets_that_nobody_counted_by_class_add_up_to_all_examples(root: Path) -> None:
    (root / COUNTS).unlink()
    assert problems_of(root) == []
    change(root / UNEVEN, "splits.own.examples.test", 22)
    assert problems_of(root) == [f"{UNEVEN}: splits.own.examples: 97 together, but raw.examples is 96"]
    change(root / UNEVEN, "raw.examples", GONE)
    assert problems_of(root) == []


def test_a_repeated_class_is_named(root: Path) -> None:
    text = (root / SPLIT).read_text()
    (root / SPLIT).write_text(text.replace("character02", "character01", 1))
    assert problems_of(root) == [
        f"{SPLIT}: {FIRST}: class: stands in 2 rows",
        f"{SPLIT}: class: 11 classes, but raw.classes is 12",
    ]


@pytest.mark.parametrize("file", [DATASET, BENCHMARK, PAPERS, LICENCES])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"title = \n", "Invalid value (at line 1, column 9)"),
        (b'x = "\xff"\n', "'utf-8' codec can't decode byte 0xff in position 5: invalid start byte"),
        (b"x = " + b"9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem(file: str, content: bytes, problem: str, root: Path) -> None:
    for name in (DATASET, BENCHMARK):  # so that nothing misses the paper and the licence
        change(root / name, "papers", [])
    change(root / DATASET, "splits.own.paper", GONE)
    change(root / DATASET, "licence", "mit")
    (root / file).write_bytes(content)
    (found,) = problems_of(root)
    assert found.startswith(f"{file}: {problem}")


def test_a_file_that_cannot_be_read_is_one_problem(root: Path) -> None:
    (root / SPLIT).unlink()
    (root / DATASET).with_stem("folder").mkdir()
    folder = "catalog/datasets/folder.toml: Is a directory"
    assert problems_of(root) == [folder, f"{SPLIT}: No such file or directory"]


def test_file_names_are_names(root: Path) -> None:
    (root / BENCHMARK).rename(root / "catalog/benchmarks/Small_3w2.toml")
    assert problems_of(root) == [
        "catalog/benchmarks/Small_3w2.toml: file name: expected lower-case words joined by hyphens, found 'Small_3w2'",
        *(f"{table}: file name: unknown benchmark 'small-3w2s'; did you mean 'Small_3w2'?" for table in (OWN, RESULTS)),
    ]


def test_tables_that_no_entry_refers_to_are_named(root: Path) -> None:
    (root / SPLIT).with_stem("owm").write_bytes((root / SPLIT).read_bytes())
    folder = root / "metadata/splits/smal"
    folder.mkdir()
    (folder / "own.csv").write_bytes((root / SPLIT).read_bytes())
    for table in (STATISTICS, COUNTS, CALLED):
        (root / table).with_stem("smal").write_bytes((root / table).read_bytes())
    (root / NUMBERS).parent.with_name("smal").mkdir()
    unknown = "file name: unknown data set 'smal'; did you mean 'small'?"
    assert problems_of(root) == [
        "metadata/splits/smal/own.csv: file name: no data set 'smal' has a split 'own'",
        "metadata/splits/small/owm.csv: file name: no data set 'small' has a split 'owm'",
        *(
            f"metadata/{path}: {unknown}"
            for path in ("names/smal.csv", "numbers/smal", "stats/smal.csv", "stats/smal.toml")
        ),
    ]


def test_a_table_of_figures_that_stands_elsewhere_is_named(root: Path) -> None:
    (root / RESULTS).rename(root / "metadata/results/small-3w2s.csv")
    (root / OWN).with_stem("small-3w1s").write_bytes((root / OWN).read_bytes())
    assert problems_of(root) == [
        "metadata/results/own/small-3w1s.csv: file name: unknown benchmark 'small-3w1s'; did you mean 'small-3w2s'?",
        "metadata/results/small-3w2s.csv: file name: figures stand in published/, own/ or paired/ of results/",
    ]


def test_a_variable_protocol_has_no_sizes_of_its_own(root: Path) -> None:
    change(root / BENCHMARK, "kind", "variable")
    assert problems_of(root) == [
        *(f"{BENCHMARK}: {field}: unknown field" for field in ("ways", "shots", "queries")),
        f"{BENCHMARK}: kind: variable needs 5 classes, but the subset test has 3",
    ]
    for field in ("ways", "shots", "queries"):
        change(root / BENCHMARK, field, GONE)
    change(root / BENCHMARK, "subset", "train")
    assert problems_of(root) == []
    record = open_catalog([root]).benchmark("small-3w2s")
    assert (record.kind, record.ways, record.shots, record.queries) == ("variable", 0, 0, 0)


def test_every_split_has_the_classes_of_the_default_split(root: Path) -> None:
    change(root / DATASET, "splits.other", {"title": "T", "source": "S"})
    other = root / "metadata/splits/small/other.csv"
    other.write_text((root / SPLIT).read_text().replace("Xyz/character01", "Xyz/character99"))
    assert problems_of(root) == [f"{DATASET}: splits.other: not the classes of own"]
    other.write_text((root / SPLIT).read_text())
    assert problems_of(root) == []


def test_rotated_classes_count_where_the_data_set_has_them(root: Path) -> None:
    change(root / BENCHMARK, "rotations", True)
    change(root / BENCHMARK, "ways", 12)
    assert problems_of(root) == []
    change(root / BENCHMARK, "ways", 13)
    assert problems_of(root) == [f"{BENCHMARK}: ways: 13, but the subset test has 12 classes"]
    change(root / BENCHMARK, "ways", 12)
    change(root / DATASET, "rotations", False)
    assert problems_of(root) == [f"{BENCHMARK}: rotations: small has no rotated classes"]


def test_superclasses_that_nobody_counted_are_a_problem(root: Path) -> None:
    change(root / DATASET, "raw.superclasses", GONE)
    assert problems_of(root) == [f"{SPLIT}: superclass: 2 superclasses, but raw.superclasses is 0"]


def test_all_problems_of_all_files_come_in_one_go(root: Path) -> None:
    change(root / DATASET, "title", GONE)
    change(root / DATASET, "licence", "owm")
    change(root / DATASET, "raw.examples", 95)
    change(root / DATASET, f"{ONE_FILE}.md5", "0")
    change(root / BENCHMARK, "ways", 4)
    change(root / BENCHMARK, "sead", 1)
    change(root / PAPERS, "nobody2020.year", GONE)
    change(root / LICENCES, "own.name", 3)
    (root / SPLIT).write_text((root / SPLIT).read_text().replace("train", "Train", 1))
    (root / RESULTS).write_text((root / RESULTS).read_text().replace("0.95", "95"))
    assert sorted(problems_of(root)) == [
        f"{BENCHMARK}: sead: unknown field, did you mean 'seed'?",
        f"{BENCHMARK}: ways: 4, but the subset test has 3 classes",
        f"{DATASET}: {ONE_FILE}.md5: expected {HEX32}, found '0'",
        f"{DATASET}: licence: unknown licence 'owm'; did you mean 'own'?",
        f"{DATASET}: raw.examples: is 95, but classes x examples_per_class is 96",
        f"{DATASET}: title: missing",
        f"{LICENCES}: own.name: expected text, found 3",
        f"{PAPERS}: nobody2020.year: missing",
        f"{RESULTS}: A: accuracy: expected a fraction in [0, 1], found '95'",
        f"{SPLIT}: {FIRST}: subset: expected one of train, validation, test, found 'Train'",
    ]


def test_a_malformed_entry_cannot_be_used_and_the_others_can(root: Path) -> None:
    change(root / DATASET, "title", GONE)
    change(root / DATASET, "raw.classes", 0)
    catalog = open_catalog([root])
    with pytest.raises(CatalogError) as error:
        catalog.dataset("small")
    lines = (f"{root / DATASET}: raw.classes: expected at least 1, found 0", f"{root / DATASET}: title: missing")
    assert sorted(error.value.problems) == list(lines)
    assert str(error.value) == "the catalogue has 2 problems:\n  " + "\n  ".join(error.value.problems)
    assert isinstance(error.value, L2LError)
    with pytest.raises(CatalogError):
        catalog.split("small")
    assert catalog.dataset("omniglot").name == "omniglot"
    assert catalog.benchmark("small-3w2s").ways == 3


def test_every_reading_refuses_what_is_malformed(root: Path) -> None:
    change(root / BENCHMARK, "ways", GONE)
    change(root / PAPERS, "nobody2020.title", GONE)
    change(root / LICENCES, "own.name", GONE)
    (root / SPLIT).write_text("class\n")
    (root / RESULTS).write_text("method\n")
    catalog = open_catalog([root])
    readings = {
        f"{root / BENCHMARK}: ways: missing": lambda: catalog.benchmark("small-3w2s"),
        f"{root / PAPERS}: nobody2020.title: missing": catalog.papers,
        f"{root / LICENCES}: own.name: missing": catalog.licences,
        f"{root / SPLIT}: line 1: expected the columns class,subset,superclass, found class": lambda: catalog.split(
            "small"
        ),
        f"{root / RESULTS}: line 1: expected the columns method,backbone,accuracy,ci95,source,verified, found method": (
            lambda: catalog.published("small-3w2s")
        ),
    }
    for problem, reading in readings.items():
        with pytest.raises(CatalogError) as error:
            reading()
        assert str(error.value) == f"the catalogue has 1 problem:\n  {problem}"


# Whatever a file says, it is a problem and no crash

ANYTHING = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "own", "https://example.org", SHA256, MD5, "nobody2020", "train"])
    | st.dates()
    | st.times()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def fields(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every field of a table with its value, at every depth, named as problems name it."""
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(f"{name}.{key}".lstrip("."), field) for key, field in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        inner = [(f"{name}[0]", value[0])]
    for field, content in inner:
        yield field, content
        if field != "prepared" and not field.endswith(".options"):  # what is in there is the reader's own business
            yield from fields(content, field)


@pytest.fixture(scope="module")
def fuzz_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz") / "mine"
    write_full_entry(root)
    return root


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_value_in_any_field_is_at_worst_a_problem(data: st.DataObject, fuzz_root: Path) -> None:
    file = data.draw(st.sampled_from([DATASET, DATASET, DATASET, BENCHMARK, PAPERS, LICENCES, STATISTICS]))
    path = fuzz_root / file
    good = path.read_text(encoding="utf-8")
    table = tomllib.loads(good)
    field, before = data.draw(st.sampled_from(list(fields(table))))
    value = data.draw(ANYTHING)
    put(table, field, value)
    try:
        write_toml(path, table)
        problems = check_catalog(Catalog((fuzz_root,)))
    finally:
        path.write_text(good, encoding="utf-8")
    assert all(problem.startswith(f"{fuzz_root}/") for problem in problems)
    if type(value) is not type(before):
        assert any(problem.startswith(f"{path}: {field}") for problem in problems)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    file=st.sampled_from([DATASET, BENCHMARK, PAPERS, LICENCES, STATISTICS]),
    table=st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["raw", "forms", "files", "splits", "own"]), ANYTHING, max_size=4
    ),
)
def test_any_table_is_at_worst_a_problem(file: str, table: dict[str, Any], fuzz_root: Path) -> None:
    path = fuzz_root / file
    good = path.read_text(encoding="utf-8")
    try:
        write_toml(path, table)
        problems = check_catalog(Catalog((fuzz_root,)))
    finally:
        path.write_text(good, encoding="utf-8")
    assert all(problem.startswith(f"{fuzz_root}/") for problem in problems)
    assert problems or not (table or file in (DATASET, BENCHMARK))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    file=st.sampled_from([DATASET, PAPERS, SPLIT, RESULTS, COUNTS, CALLED, FILES]),
    content=st.binary(max_size=40),
    cut=st.integers(0, 700),
)
def test_any_bytes_are_at_worst_a_problem(file: str, content: bytes, cut: int, fuzz_root: Path) -> None:
    path = fuzz_root / file
    good = path.read_bytes()
    try:
        path.write_bytes(good[:cut] + content + good[cut + 10 :])
        problems = check_catalog(Catalog((fuzz_root,)))
    finally:
        path.write_bytes(good)
    assert all(problem.startswith(f"{fuzz_root}/") for problem in problems)


# Names

KNOWN = ["glyphs", "mini-imagenet", "omniglot", "omniglot-5w1s", "omniglot-5w5s", "omniglot-20w1s"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Omniglot", ["omniglot", "omniglot-5w5s", "omniglot-5w1s"]),
        ("omniglt", ["omniglot", "omniglot-5w5s", "omniglot-5w1s"]),
        ("omniglot5w1s", ["omniglot-5w1s", "omniglot-5w5s", "omniglot-20w1s"]),
        ("omniglot-5w-1s", ["omniglot-5w1s", "omniglot-5w5s", "omniglot-20w1s"]),
        ("OMNIGLOT_20W1S", ["omniglot-20w1s", "omniglot-5w1s", "omniglot-5w5s"]),
        ("glyph", ["glyphs"]),
        ("miniImageNet", ["mini-imagenet"]),
        ("mini_imagenet", ["mini-imagenet"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_a_typing_error_is_answered_with_the_nearest_names(name: str, nearest: list[str]) -> None:
    error = UnknownNameError("thing", name, reversed(KNOWN))
    assert (error.name, error.nearest) == (name, nearest)
    advice = f"did you mean {' or '.join(map(repr, nearest))}?" if nearest else f"known: {', '.join(sorted(KNOWN))}"
    assert str(error) == f"unknown thing {name!r}; {advice}"
    assert isinstance(error, ValueError)


def test_where_nothing_is_near_some_are_shown() -> None:
    assert str(UnknownNameError("thing", "x", [])) == "unknown thing 'x'; none is known"
    many = [f"name{number:02}" for number in range(13)]
    assert str(UnknownNameError("thing", "x", many)) == f"unknown thing 'x'; known: {', '.join(many[:12])}, …"


@pytest.mark.parametrize("name", ["Omniglot", "omniglt", "omni-glot", "omniglott"])
def test_an_unknown_data_set_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        open_catalog().dataset(name)
    assert error.value.nearest[0] == "omniglot"
    assert str(error.value).startswith(f"unknown data set {name!r}; did you mean 'omniglot'")


@pytest.mark.parametrize("name", ["omniglot5w1s", "Omniglot-5w1s", "omniglot-5w-1s", "omniglot_5w1s"])
def test_an_unknown_benchmark_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        open_catalog().benchmark(name)
    assert error.value.nearest[0] == "omniglot-5w1s"
    assert str(error.value).startswith(f"unknown benchmark {name!r}; did you mean 'omniglot-5w1s'")


def test_a_path_is_no_name() -> None:
    with pytest.raises(UnknownNameError):
        open_catalog().dataset("../datasets/omniglot")


def test_an_unknown_split_is_answered_with_the_nearest() -> None:
    catalog = open_catalog()
    with pytest.raises(UnknownNameError) as error:
        catalog.split("omniglot", "vinyal")
    assert str(error.value) == "unknown split 'vinyal' of omniglot; did you mean 'vinyals'?"
    with pytest.raises(UnknownNameError, match=r"^unknown data set 'omniglott'; did you mean 'omniglot'\?$"):
        catalog.split("omniglott")


# Roots


def test_the_environment_names_roots(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "small" not in open_catalog().datasets
    monkeypatch.setenv("L2L_CATALOG", str(root))
    assert {"small", "omniglot"} <= set(open_catalog().datasets)
    assert "small-3w2s" in open_catalog().benchmarks
    second = tmp_path / "second"
    write_entry(second)
    (second / DATASET).rename(second / "catalog/datasets/other.toml")
    monkeypatch.setenv("L2L_CATALOG", f"{root}{os.pathsep}{second}")
    assert {"small", "other", "omniglot"} <= set(open_catalog().datasets)
    assert open_catalog([]).datasets == Catalog((own_root(),)).datasets  # an argument, were it empty, is preferred


def test_a_later_root_wins(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tmp_path / "second"
    write_entry(second)
    change(second / DATASET, "title", "Other")
    (second / SPLIT).write_text((second / SPLIT).read_text().replace("train,Abc", "test,Abc", 1))
    write_toml(second / PAPERS, {"nobody2020": {"title": "New", "authors": "A", "venue": "V", "year": 2021}})
    for roots, title, subset, paper in (
        ([root, second], "Other", "test", "New"),
        ([second, root], "Small", "train", "T"),
    ):
        monkeypatch.setenv("L2L_CATALOG", os.pathsep.join(map(str, roots)))
        catalog = open_catalog()
        assert catalog.dataset("small").title == title
        assert catalog.split("small").subset_of[FIRST] == subset
        assert catalog.papers()["nobody2020"].title == paper


def test_a_root_may_replace_an_entry_of_the_package(root: Path) -> None:
    text = (own_root() / "catalog/datasets/glyphs.toml").read_text(encoding="utf-8")
    (root / "catalog/datasets/glyphs.toml").write_text(text.replace("Glyphs", "My glyphs"), encoding="utf-8")
    assert open_catalog([root]).dataset("glyphs").title.startswith("My glyphs")
    assert open_catalog([root]).split("glyphs") == open_catalog().split("glyphs")


def test_a_root_without_a_catalogue_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "is no catalogue: it has no folder catalog/; give a folder that holds catalog/ and metadata/"
    with pytest.raises(UsageError) as error:
        open_catalog([tmp_path])
    assert str(error.value) == f"{tmp_path} {expected}"
    monkeypatch.setenv("L2L_CATALOG", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError) as error:
        open_catalog()
    assert str(error.value) == f"{tmp_path / 'nowhere'} {expected}"


def test_an_entry_that_is_added_is_seen(root: Path) -> None:
    assert "new" not in open_catalog([root]).datasets
    (root / "catalog/datasets/new.toml").write_text((root / DATASET).read_text())
    assert open_catalog([root]).dataset("new").name == "new"


def test_a_relative_root_is_one_of_the_current_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert open_catalog([root.name]).dataset("small").title == "Small"
    elsewhere = root.parent / "elsewhere"
    write_entry(elsewhere / root.name)
    change(elsewhere / root.name / DATASET, "title", "Other")
    monkeypatch.chdir(elsewhere)
    assert open_catalog([root.name]).dataset("small").title == "Other"


def test_the_packages_own_root_is_found_in_the_source_tree_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (own_root() / "catalog/datasets/omniglot.toml").is_file()
    assert (own_root() / "metadata/papers.toml").is_file()
    package = tmp_path / "site/l2l_core"
    package.mkdir(parents=True)
    monkeypatch.setattr(l2l_core.catalog, "__file__", str(package / "catalog.py"))
    assert own_root() == tmp_path / "site"
    (package / "_data").mkdir()
    assert own_root() == package / "_data"
