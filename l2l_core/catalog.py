"""Reading and checking ``catalog/`` and ``metadata/``.

A catalogue root is a folder with ``catalog/`` and ``metadata/`` in it. The package's own root travels in the wheel as
``l2l_core/_data`` and is the source tree otherwise; the folders named in the environment variable ``L2L_CATALOG`` (or
given as an argument) add to it, so that a data set of one's own is two files and no code.

Entries are read when they are asked for; `check_catalog` reads everything and reports every problem in one go.
"""

import csv
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from l2l_core.errors import CatalogError, UnknownNameError, UsageError
from l2l_core.records import (
    SUBSETS,
    BenchmarkRecord,
    DatasetRecord,
    FileRecord,
    LicenceRecord,
    PaperRecord,
    PublishedResult,
    RawRecord,
    Split,
    SplitInfo,
    Subset,
)

T = TypeVar("T")
NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ROTATIONS: Final = (0, 90, 180, 270)
"""Degrees by which a picture is turned, counter-clockwise, when the rotated classes take part."""


class _Fields:
    """One table of a TOML file, taken field by field; what is wrong is noted, not raised, so that all of it is seen."""

    def __init__(self, table: Mapping[str, Any], where: str, problems: list[str]) -> None:
        self._table, self._where, self._problems = dict(table), where, problems
        self._known: list[str] = []

    def problem(self, field: str, text: str) -> None:
        self._problems.append(f"{self._where}{field}: {text}")

    def _take(self, field: str, kind: type[T], fallback: T | None, *, required: bool) -> T | None:
        self._known.append(field)
        value = self._table.pop(field, None)
        if value is None:
            if required:
                self.problem(field, "missing")
            return fallback
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problem(field, f"expected {kind.__name__}, found {value!r}")
            return fallback
        return value

    def text(self, field: str, pattern: str = r"(?s).*\S.*") -> str:
        value = self._take(field, str, "", required=True) or ""
        if value and not re.fullmatch(pattern, value):
            self.problem(field, f"expected text like {pattern}, found {value!r}")
        return value

    def optional_text(self, field: str, pattern: str = r"(?s).*\S.*") -> str | None:
        return self.text(field, pattern) if field in self._table else self._take(field, str, None, required=False)

    def integer(self, field: str, minimum: int = 1) -> int:
        value = self._take(field, int, minimum, required=True)
        if value is None or value < minimum:
            self.problem(field, f"expected at least {minimum}, found {value}")
            return minimum
        return value

    def optional_integer(self, field: str, minimum: int = 1) -> int | None:
        return self.integer(field, minimum) if field in self._table else self._take(field, int, None, required=False)

    def flag(self, field: str) -> bool:
        return bool(self._take(field, bool, False, required=False))

    def texts(self, field: str) -> tuple[str, ...]:
        values = self._take(field, list, [], required=False) or []
        if not all(isinstance(value, str) for value in values):
            self.problem(field, f"expected a list of texts, found {values!r}")
            return ()
        return tuple(values)

    def size(self, field: str) -> tuple[int, int] | None:
        value = self._take(field, list, None, required=False)
        if value is None:
            return None
        if len(value) != 2 or not all(isinstance(side, int) and side > 0 for side in value):
            self.problem(field, f"expected [height, width] in pixels, found {value!r}")
            return None
        return value[0], value[1]

    def table(self, field: str) -> "_Fields":
        return _Fields(self.mapping(field), f"{self._where}{field}.", self._problems)

    def mapping(self, field: str) -> dict[str, Any]:
        return self._take(field, dict, {}, required=True) or {}

    def tables(self, field: str) -> Iterator["_Fields"]:
        for number, table in enumerate(self._take(field, list, [], required=False) or []):
            yield _Fields(table, f"{self._where}{field}[{number}].", self._problems)

    def named_tables(self, field: str) -> Iterator[tuple[str, "_Fields"]]:
        for name, table in self.mapping(field).items():
            yield name, _Fields(table, f"{self._where}{field}.{name}.", self._problems)

    def done(self) -> None:
        """Note the fields that nobody asked for: most are typing errors."""
        for field in self._table:
            near = get_close_matches(field, self._known, n=1)
            self.problem(field, "unknown field" + (f", did you mean {near[0]!r}?" if near else ""))


def _dataset(name: str, fields: _Fields) -> DatasetRecord:
    raw = fields.table("raw")
    record = DatasetRecord(
        name=name,
        title=fields.text("title"),
        description=fields.text("description"),
        licence=fields.text("licence"),
        papers=fields.texts("papers"),
        raw=RawRecord(
            reader=raw.text("reader"),
            classes=raw.integer("classes"),
            examples=raw.integer("examples"),
            superclasses=raw.optional_integer("superclasses"),
            examples_per_class=raw.optional_integer("examples_per_class"),
            image_size=raw.size("image_size"),
            content_sha256=raw.optional_text("content_sha256", "[0-9a-f]{64}"),
            package=raw.optional_text("package"),
            folder=raw.optional_text("folder"),
        ),
        prepared=fields.mapping("prepared"),
        files=tuple(_file(table) for table in fields.tables("files")),
        splits={split: _split_info(split, table) for split, table in fields.named_tables("splits")},
        default_split=fields.text("default_split"),
        rotations=fields.flag("rotations"),
    )
    raw.done()
    if record.default_split not in record.splits:
        fields.problem("default_split", f"{record.default_split!r} is not among the splits {sorted(record.splits)}")
    if record.raw.examples_per_class and record.raw.examples_per_class * record.raw.classes != record.raw.examples:
        fields.problem("raw.examples", f"is {record.raw.examples}, not classes x examples_per_class")
    return record


def _file(fields: _Fields) -> FileRecord:
    record = FileRecord(
        name=fields.text("name", r"[^/\\]+"),
        urls=fields.texts("urls"),
        size_bytes=fields.integer("size_bytes"),
        sha256=fields.text("sha256", "[0-9a-f]{64}"),
        md5=fields.optional_text("md5", "[0-9a-f]{32}"),
    )
    if not record.urls:
        fields.problem("urls", "missing")
    for url in record.urls:
        if not url.startswith("https://"):
            fields.problem("urls", f"expected https, found {url!r}")
    fields.done()
    return record


def _split_info(name: str, fields: _Fields) -> SplitInfo:
    info = SplitInfo(name, fields.text("title"), fields.text("source"), fields.optional_text("paper"))
    fields.done()
    return info


def _benchmark(name: str, fields: _Fields) -> BenchmarkRecord:
    return BenchmarkRecord(
        name=name,
        title=fields.text("title"),
        dataset=fields.text("dataset"),
        split=fields.text("split"),
        subset=cast("Subset", fields.text("subset", "|".join(SUBSETS))),
        ways=fields.integer("ways", 2),
        shots=fields.integer("shots"),
        queries=fields.integer("queries"),
        episodes=fields.integer("episodes", 2),
        seed=fields.integer("seed", 0),
        rotations=fields.flag("rotations"),
        papers=fields.texts("papers"),
    )


def _paper(key: str, fields: _Fields) -> PaperRecord:
    return PaperRecord(
        key=key,
        title=fields.text("title"),
        authors=fields.text("authors"),
        venue=fields.text("venue"),
        year=fields.integer("year", 1900),
        url=fields.optional_text("url", "https://.*"),
    )


def _licence(key: str, fields: _Fields) -> LicenceRecord:
    return LicenceRecord(key=key, name=fields.text("name"), url=fields.optional_text("url", "https://.*"))


def _read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        problems.append(f"{path}: {error}")
        return {}


def _read_csv(path: Path, columns: Sequence[str], problems: list[str]) -> list[dict[str, str]]:
    """Rows of a CSV as column to text; all of `columns` are there, in this order, or the problem is noted."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != list(columns):
                problems.append(f"{path}: line 1: expected the columns {','.join(columns)}, found {','.join(header)}")
                return []
            rows = []
            for row in reader:
                if len(row) == len(columns):
                    rows.append(dict(zip(columns, row, strict=True)))
                else:
                    problems.append(f"{path}: line {reader.line_num}: expected {len(columns)} fields, found {len(row)}")
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path}: {error}")
        return []


def own_root() -> Path:
    """The package's own catalogue root: inside the wheel, or the source tree for an editable install."""
    package = Path(__file__).parent
    inside = package / "_data"
    return inside if inside.is_dir() else package.parent


def _extra_roots() -> list[Path]:
    return [Path(text).expanduser() for text in os.environ.get("L2L_CATALOG", "").split(os.pathsep) if text]


@dataclass(frozen=True)
class Catalog:
    """The entries under some catalogue roots; later roots win over earlier ones of the same name."""

    roots: tuple[Path, ...]

    def _entries(self, kind: str) -> dict[str, Path]:
        return {path.stem: path for root in self.roots for path in sorted((root / "catalog" / kind).glob("*.toml"))}

    @cached_property
    def _dataset_files(self) -> Mapping[str, Path]:
        return self._entries("datasets")

    @cached_property
    def _benchmark_files(self) -> Mapping[str, Path]:
        return self._entries("benchmarks")

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets, sorted."""
        return tuple(sorted(self._dataset_files))

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of the benchmarks: by data set, then by ways and shots."""
        numbers = re.compile(r"\d+")
        return tuple(sorted(self._benchmark_files, key=lambda name: numbers.sub(lambda match: match[0].zfill(4), name)))

    def dataset(self, name: str) -> DatasetRecord:
        """The record of a data set.

        Raises:
            UnknownNameError: no entry of that name.
            CatalogError: the entry is malformed.
        """
        return self._entry("data set", name, self._dataset_files, _dataset)

    def benchmark(self, name: str) -> BenchmarkRecord:
        """The record of a benchmark.

        Raises:
            UnknownNameError: no entry of that name.
            CatalogError: the entry is malformed.
        """
        return self._entry("benchmark", name, self._benchmark_files, _benchmark)

    def _entry(self, kind: str, name: str, files: Mapping[str, Path], build: Callable[[str, _Fields], T]) -> T:
        if name not in files:
            raise UnknownNameError(kind, name, files)
        problems: list[str] = []
        record = self._build(files[name], name, build, problems)
        if problems:
            raise CatalogError(problems)
        return record

    def _build(self, path: Path, name: str, build: Callable[[str, _Fields], T], problems: list[str]) -> T:
        fields = _Fields(_read_toml(path, problems), f"{path}: ", problems)
        record = build(name, fields)
        fields.done()
        return record

    def _shared(self, stem: str, build: Callable[[str, _Fields], T], problems: list[str]) -> dict[str, T]:
        records: dict[str, T] = {}
        for root in self.roots:
            path = root / "metadata" / f"{stem}.toml"
            for key, table in _read_toml(path, problems).items() if path.exists() else ():
                fields = _Fields(table, f"{path}: {key}.", problems)
                records[key] = build(key, fields)
                fields.done()
        return records

    def papers(self) -> Mapping[str, PaperRecord]:
        """Every paper by key.

        Raises:
            CatalogError: a record is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._shared("papers", _paper, problems))

    def licences(self) -> Mapping[str, LicenceRecord]:
        """Every licence by key.

        Raises:
            CatalogError: a record is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._shared("licences", _licence, problems))

    def split(self, dataset: str, name: str | None = None) -> Split:
        """The class list of a data set's split (of its default split for None).

        Raises:
            UnknownNameError: no such data set or split.
            CatalogError: the list is malformed.
        """
        record = self.dataset(dataset)
        name = record.default_split if name is None else name
        if name not in record.splits:
            raise UnknownNameError("split", name, record.splits, where=f"of {dataset}")
        problems: list[str] = []
        return _unless(problems, self._read_split(record, name, problems))

    def _metadata(self, *parts: str) -> Path:
        """The last root's file of that name, or the first root's place for it."""
        places = [root.joinpath("metadata", *parts) for root in self.roots]
        return next((place for place in reversed(places) if place.exists()), places[0])

    def _read_split(self, record: DatasetRecord, name: str, problems: list[str]) -> Split:
        path = self._metadata("splits", record.name, f"{name}.csv")
        rows = _read_csv(path, ("class", "subset", "superclass"), problems)
        split = Split(
            record.name,
            name,
            {row["class"]: cast("Subset", row["subset"]) for row in rows},
            {row["class"]: row["superclass"] for row in rows if row["superclass"]},
        )
        problems.extend(
            f"{path}: {row['class']}: subset: expected one of {', '.join(SUBSETS)}, found {row['subset']!r}"
            for row in rows
            if row["subset"] not in SUBSETS
        )
        if len(split.subset_of) != len(rows):
            problems.append(f"{path}: class: {len(rows) - len(split.subset_of)} of {len(rows)} rows repeat a class")
        if rows and len(split.subset_of) != record.raw.classes:
            problems.append(f"{path}: {len(split.subset_of)} classes, but raw.classes is {record.raw.classes}")
        if rows and len(set(split.superclass_of.values())) != (record.raw.superclasses or 0):
            found = len(set(split.superclass_of.values()))
            problems.append(f"{path}: {found} superclasses, but raw.superclasses is {record.raw.superclasses or 0}")
        return split

    def published(self, benchmark: str) -> tuple[PublishedResult, ...]:
        """Published figures of a benchmark, in file order; none where no file holds any.

        Raises:
            CatalogError: a row is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._read_published(benchmark, problems))

    def _read_published(self, benchmark: str, problems: list[str]) -> tuple[PublishedResult, ...]:
        path = self._metadata("results", f"{benchmark}.csv")
        if not path.exists():
            return ()
        results = []
        columns = ("method", "backbone", "accuracy", "ci95", "source", "verified")
        for row in _read_csv(path, columns, problems):
            try:
                accuracy, ci95 = float(row["accuracy"]), float(row["ci95"]) if row["ci95"] else None
            except ValueError as error:
                problems.append(f"{path}: {row['method']}: {error}")
                continue
            if not 0 <= accuracy <= 1 or not 0 <= (ci95 or 0) <= 1 or row["verified"] not in ("yes", "no"):
                problems.append(f"{path}: {row['method']}: expected fractions in [0, 1] and yes or no, found {row}")
            verified = row["verified"] == "yes"
            results.append(
                PublishedResult(benchmark, row["method"], row["backbone"], accuracy, ci95, row["source"], verified)
            )
        return tuple(results)


def _unless(problems: list[str], value: T) -> T:
    if problems:
        raise CatalogError(problems)
    return value


@cache
def _catalog(roots: tuple[Path, ...]) -> Catalog:
    return Catalog(roots)


def open_catalog(roots: Iterable[str | os.PathLike[str]] | None = None) -> Catalog:
    """The catalogue of the package and of the given roots (None: those that ``L2L_CATALOG`` names).

    Raises:
        UsageError: a root has no folder ``catalog``.
    """
    extra = _extra_roots() if roots is None else [Path(root) for root in roots]
    for root in extra:
        if not (root / "catalog").is_dir():
            raise UsageError(
                f"{root} is no catalogue: it has no folder catalog/; give a folder that holds catalog/ and metadata/"
            )
    return _catalog((own_root(), *extra))


def check_catalog(catalog: Catalog) -> list[str]:
    """Every problem of every entry, one line each: ``file: field: what is wrong``; an empty list where all is well."""
    problems: list[str] = []
    papers = catalog._shared("papers", _paper, problems)
    licences = catalog._shared("licences", _licence, problems)
    datasets: dict[str, DatasetRecord] = {}
    splits: dict[tuple[str, str], Split] = {}

    def refer(where: str, keys: Iterable[str], known: Mapping[str, object], kind: str) -> None:
        problems.extend(f"{where}: {UnknownNameError(kind, key, known)}" for key in keys if key not in known)

    for name, path in catalog._dataset_files.items():
        if not NAME.fullmatch(name):
            problems.append(f"{path}: file name: expected lower-case words joined by hyphens")
        record = datasets[name] = catalog._build(path, name, _dataset, problems)
        refer(f"{path}: licence", [record.licence], licences, "licence")
        refer(f"{path}: papers", record.papers, papers, "paper")
        for split_name, info in record.splits.items():
            refer(f"{path}: splits.{split_name}.paper", [info.paper] if info.paper else [], papers, "paper")
            splits[name, split_name] = catalog._read_split(record, split_name, problems)
        lists = {split_name: set(splits[name, split_name].subset_of) for split_name in record.splits}
        for split_name, classes in lists.items():
            if classes != lists.get(record.default_split, classes):
                problems.append(f"{path}: splits.{split_name}: not the classes of {record.default_split}")
    for name, path in catalog._benchmark_files.items():
        benchmark = catalog._build(path, name, _benchmark, problems)
        refer(f"{path}: papers", benchmark.papers, papers, "paper")
        refer(f"{path}: dataset", [benchmark.dataset], datasets, "data set")
        dataset = datasets.get(benchmark.dataset)
        if dataset is not None:
            refer(f"{path}: split", [benchmark.split], dataset.splits, "split")
            problems.extend(f"{path}: {text}" for text in _impossible(benchmark, dataset, splits))
        catalog._read_published(name, problems)
    return problems


def _impossible(
    benchmark: BenchmarkRecord, dataset: DatasetRecord, splits: Mapping[tuple[str, str], Split]
) -> Iterator[str]:
    """What in a protocol no data of this data set can honour."""
    if benchmark.rotations and not dataset.rotations:
        yield f"rotations: {dataset.name} has no rotated classes"
    split = splits.get((dataset.name, benchmark.split))
    if split is not None:
        classes = len(split.classes(benchmark.subset)) * (len(ROTATIONS) if benchmark.rotations else 1)
        if benchmark.ways > classes:
            yield f"ways: {benchmark.ways}, but the subset {benchmark.subset} has {classes} classes"
    examples = dataset.raw.examples_per_class
    if examples is not None and benchmark.shots + benchmark.queries > examples:
        yield f"queries: shots + queries = {benchmark.shots + benchmark.queries}, but a class has {examples} examples"
