"""Reading and checking ``catalog/`` and ``metadata/``.

A catalogue root is a folder with ``catalog/`` and ``metadata/`` in it. The package's own root travels in the wheel as
``l2l_core/_data`` and is the source tree otherwise; the folders named in the environment variable ``L2L_CATALOG`` (or
given as an argument) add to it, so that a data set of one's own is two files and no code.

Entries are read when they are asked for; `check_catalog` reads everything and reports every problem in one go.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

from l2l_core.errors import CatalogError, ContentError, UnknownNameError, UsageError
from l2l_core.fields import NAME, NAME_MEANING, Fields, read_csv, read_toml
from l2l_core.records import (
    EPISODE_KINDS,
    MODALITIES,
    ORDERS,
    RECIPE_FORMS,
    SUBSETS,
    TRAINING_AUGMENTATIONS,
    BenchmarkRecord,
    DatasetRecord,
    FileRecord,
    FormRecord,
    LicenceRecord,
    OwnResult,
    PairedResult,
    PaperRecord,
    PublishedResult,
    RawRecord,
    RecipeBudget,
    RecipeRecord,
    Split,
    SplitInfo,
    Statistics,
    Subset,
)
from l2l_core.results import read_own_results, read_paired_results, read_published

T = TypeVar("T")
FEWEST_WAYS: Final = 5
"""Of an episode that draws its own number of ways; Meta-Dataset's bound."""
ROTATIONS: Final = (0, 90, 180, 270)
"""Degrees by which a picture is turned, counter-clockwise, when the rotated classes take part."""
_HTTPS: Final = r"https://\S+"
_MD5: Final = r"[0-9a-f]{32}", "32 lower-case hexadecimal digits"
_SHA256: Final = r"[0-9a-f]{64}", "64 lower-case hexadecimal digits"
_FILE_NAME: Final = r"(?!\.)[^/\\\x00-\x1f]+", "a file name without a folder"


def _dataset(name: str, fields: Fields, file_table: Callable[[str], Sequence[Mapping[str, str]]]) -> DatasetRecord:
    raw = fields.table("raw")
    record = DatasetRecord(
        name=name,
        title=fields.text("title"),
        description=fields.text("description"),
        modality=fields.choice("modality", MODALITIES),
        licence=fields.text("licence"),
        papers=fields.texts("papers"),
        raw=RawRecord(
            classes=raw.integer("classes"),
            examples=raw.optional_integer("examples"),
            superclasses=raw.optional_integer("superclasses"),
            examples_per_class=raw.optional_integer("examples_per_class"),
            image_size=raw.optional_size("image_size"),
        ),
        prepared=fields.mapping("prepared"),
        forms={form: _form(form, table, file_table) for form, table in fields.named_tables("forms")},
        splits={split: _split_info(split, table) for split, table in fields.named_tables("splits")},
        default_split=fields.text("default_split"),
        order=fields.choice("order", ORDERS),
        rotations=fields.flag("rotations"),
        sample_rate_hz=fields.optional_integer("sample_rate_hz"),
    )
    raw.done()
    if (record.sample_rate_hz is None) == (record.modality == "sounds"):
        fields.problem("sample_rate_hz", "expected for sounds, and only for sounds")
    if record.default_split and record.splits and record.default_split not in record.splits:
        fields.problem("default_split", str(UnknownNameError("split", record.default_split, record.splits)))
    classes, each, examples = record.raw.classes, record.raw.examples_per_class, record.raw.examples
    if classes and each and examples and classes * each != examples:
        raw.problem("examples", f"is {examples}, but classes x examples_per_class is {classes * each}")
    return record


def _form(name: str, fields: Fields, file_table: Callable[[str], Sequence[Mapping[str, str]]]) -> FormRecord:
    files = [_file(table) for table in fields.tables("files")]
    table = fields.optional_text("file_table", NAME, NAME_MEANING)
    if table is not None:
        url = fields.text("url", r"https://\S*\{name\}\S*", "an https address with {name} in it")
        for row in file_table(table) if table else ():
            file, size, sha256 = row.values()
            if re.fullmatch(_FILE_NAME[0], file) and _is_count(size) and re.fullmatch(_SHA256[0], sha256):
                files.append(FileRecord(file, (url.replace("{name}", quote(file)),), int(size), sha256=sha256))
            else:
                fields.problem("file_table", f"{file} in {table}: expected a name, its size in bytes and its sha256")
    record = FormRecord(
        name=name,
        title=fields.text("title"),
        reader=fields.text("reader"),
        options=fields.mapping("options"),
        files=tuple(files),
        content_sha256=fields.optional_text("content_sha256", *_SHA256),
        package=fields.optional_text("package"),
        folder=fields.optional_text("folder"),
    )
    fields.done()
    repeated = [file for file, count in Counter(file.name for file in files).items() if count > 1]
    if repeated:
        fields.problem("files", f"two are called {repeated[0]!r}")
    return record


def _file(fields: Fields) -> FileRecord:
    record = FileRecord(
        name=fields.text("name", *_FILE_NAME),
        urls=fields.texts("urls", _HTTPS, "https addresses"),
        size_bytes=fields.optional_integer("size_bytes"),
        about_bytes=fields.optional_integer("about_bytes"),
        at_most_bytes=fields.optional_integer("at_most_bytes"),
        sha256=fields.optional_text("sha256", *_SHA256),
        md5=fields.optional_text("md5", *_MD5),
    )
    fields.done()
    if (record.size_bytes, record.about_bytes, record.at_most_bytes) == (None, None, None):
        fields.problem("size_bytes", "missing; about_bytes or at_most_bytes will do where the exact size is not known")
    return record


def _split_info(name: str, fields: Fields) -> SplitInfo:
    examples = fields.optional_table("examples")
    info = SplitInfo(
        name,
        fields.text("title"),
        fields.text("source"),
        fields.optional_text("paper"),
        fields.optional_text("classes_of", NAME, NAME_MEANING),
        {} if examples is None else {subset: examples.integer(subset, 0) for subset in SUBSETS},
    )
    if examples is not None:
        examples.done()
    fields.done()
    return info


def _statistics(fields: Fields) -> Statistics:
    mean, std = fields.numbers("mean"), fields.numbers("std")
    if mean and std and (len(mean) != len(std) or not all(0 < value < 1 for value in (*mean, *std))):
        fields.problem("std", f"expected as many as mean, all between 0 and 1, found {list(mean)} and {list(std)}")
    return Statistics(mean, std, fields.text("source"))


def _benchmark(name: str, fields: Fields) -> BenchmarkRecord:
    kind = fields.choice("kind", EPISODE_KINDS)
    # The sizes of a variable protocol are none of its fields: whoever gives one expects it to count.
    ways = shots = queries = 0
    if kind == "fixed":
        ways, shots, queries = fields.integer("ways", 2), fields.integer("shots"), fields.integer("queries")
    return BenchmarkRecord(
        name=name,
        title=fields.text("title"),
        dataset=fields.text("dataset"),
        split=fields.text("split"),
        subset=cast("Subset", fields.text("subset", "|".join(SUBSETS), f"one of {', '.join(SUBSETS)}")),
        ways=ways,
        shots=shots,
        queries=queries,
        episodes=fields.integer("episodes", 2),
        seed=fields.integer("seed", 0),
        kind=kind,
        rotations=fields.flag("rotations"),
        image_size=fields.optional_size("image_size"),
        augmentation=fields.choice("augmentation", TRAINING_AUGMENTATIONS),
        papers=fields.texts("papers"),
    )


def _recipe(name: str, fields: Fields) -> RecipeRecord:
    trained_by = fields.optional_text("trained_by", NAME, NAME_MEANING)
    published = fields.optional_table("published")
    record = RecipeRecord(
        name=name,
        title=fields.text("title"),
        benchmark=fields.text("benchmark"),
        method=fields.text("method"),
        published=None if published is None else (published.text("method"), published.text("backbone")),
        forms={form: _budget(fields.table(form), trained_by) for form in RECIPE_FORMS},
        trained_by=trained_by,
        papers=fields.texts("papers"),
    )
    if published is not None:
        published.done()
    return record


def _budget(fields: Fields, trained_by: str | None) -> RecipeBudget:
    budget = RecipeBudget(
        # Whose weights are another recipe's has no episodes of its own: whoever gives some expects them to count.
        episodes=0 if trained_by else fields.integer("episodes", 0),
        backbone=None if trained_by else fields.optional_text("backbone"),
        settings={} if trained_by else fields.mapping("settings"),
        expected=fields.optional_number("expected", 0, 1),
        minutes=fields.optional_number("minutes", 0, 1e6),
    )
    fields.done()
    return budget


def _paper(key: str, fields: Fields) -> PaperRecord:
    return PaperRecord(
        key=key,
        title=fields.text("title"),
        authors=fields.text("authors"),
        venue=fields.text("venue"),
        year=fields.integer("year", 1900),
        url=fields.optional_text("url", _HTTPS, "an https address"),
    )


def _licence(key: str, fields: Fields) -> LicenceRecord:
    return LicenceRecord(
        key=key,
        name=fields.text("name"),
        url=fields.optional_text("url", _HTTPS, "an https address"),
        terms=fields.optional_text("terms"),
        consent=fields.flag("consent"),
    )


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

    @cached_property
    def _recipe_files(self) -> Mapping[str, Path]:
        return self._entries("recipes")

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
        return self._entry("data set", name, self._dataset_files, self._build_dataset)

    def benchmark(self, name: str) -> BenchmarkRecord:
        """The record of a benchmark.

        Raises:
            UnknownNameError: no entry of that name.
            CatalogError: the entry is malformed.
        """
        return self._entry("benchmark", name, self._benchmark_files, self._build_benchmark)

    @property
    def recipes(self) -> tuple[str, ...]:
        """Names of the recipes, sorted."""
        return tuple(sorted(self._recipe_files))

    def recipe(self, name: str) -> RecipeRecord:
        """The record of a recipe.

        Raises:
            UnknownNameError: no entry of that name.
            CatalogError: the entry is malformed.
        """
        return self._entry("recipe", name, self._recipe_files, self._build_recipe)

    def _entry(self, kind: str, name: str, files: Mapping[str, Path], build: Callable[[str, Path, list[str]], T]) -> T:
        if name not in files:
            raise UnknownNameError(kind, name, files)
        problems: list[str] = []
        return _unless(problems, build(name, files[name], problems))

    def _build_dataset(self, name: str, path: Path, problems: list[str]) -> DatasetRecord:
        def file_table(table: str) -> Sequence[Mapping[str, str]]:
            return read_csv(self._metadata("files", f"{table}.csv"), ("name", "size_bytes", "sha256"), problems) or []

        fields = Fields(read_toml(path, problems), f"{path}: ", problems)
        record = _dataset(name, fields, file_table)
        fields.done()
        forms = {form.name: replace(form, tables_sha256=self._tables(name, form)) for form in record.forms.values()}
        return replace(record, forms=forms)

    def _tables(self, name: str, form: FormRecord) -> str | None:
        """Sha256 of the tables that decide what is read of a form; None where there are none."""
        numbers = form.options.get("numbers")
        paths = [self._metadata("names", f"{name}.csv")]
        if isinstance(numbers, str) and re.fullmatch(NAME, numbers):
            paths.append(self._metadata("numbers", name, f"{numbers}.csv"))
        contents = [path.read_bytes() for path in paths if path.is_file()]
        return hashlib.sha256(b"\0".join(contents)).hexdigest() if contents else None

    def _build_benchmark(self, name: str, path: Path, problems: list[str]) -> BenchmarkRecord:
        fields = Fields(read_toml(path, problems), f"{path}: ", problems)
        record = _benchmark(name, fields)
        fields.done()
        return record

    def _build_recipe(self, name: str, path: Path, problems: list[str]) -> RecipeRecord:
        fields = Fields(read_toml(path, problems), f"{path}: ", problems)
        record = _recipe(name, fields)
        fields.done()
        return record

    def _shared(self, stem: str, build: Callable[[str, Fields], T], problems: list[str]) -> dict[str, T]:
        records: dict[str, T] = {}
        for root in self.roots:
            path = root / "metadata" / f"{stem}.toml"
            tables = read_toml(path, problems) if path.exists() else None
            file = Fields(tables, f"{path}: ", problems)
            for key in tables or ():
                fields = file.table(key)
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

    def counts(self, dataset: str) -> Mapping[str, int]:
        """Class to its number of examples, for the classes where that is known.

        Raises:
            UnknownNameError: no such data set.
            CatalogError: the table is malformed.
        """
        record = self.dataset(dataset)
        if record.raw.examples_per_class:
            return dict.fromkeys(self.split(dataset).subset_of, record.raw.examples_per_class)
        problems: list[str] = []
        return _unless(problems, self._read_counts(record, problems))

    def _read_counts(self, record: DatasetRecord, problems: list[str]) -> dict[str, int]:
        texts = self._column("stats", record.name, "examples", problems)
        counts = {name: int(text) for name, text in texts.items() if _is_count(text)}
        path = self._metadata("stats", f"{record.name}.csv")
        problems.extend(
            f"{path}: {name}: examples: expected a number above 0, found {text!r}"
            for name, text in texts.items()
            if name not in counts
        )
        return counts

    def class_names(self, dataset: str) -> Mapping[str, str]:
        """Class to what people call it, where that is not the same.

        Raises:
            CatalogError: the table is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._column("names", dataset, "name", problems))

    def numbers(self, dataset: str, name: str) -> Mapping[str, tuple[int, ...]]:
        """Class to the numbers of those of its pictures that a list names.

        Raises:
            CatalogError: there is no such list, or it is malformed.
        """
        path = self._metadata("numbers", dataset, f"{name}.csv")
        problems: list[str] = []
        rows = read_csv(path, ("class", "numbers"), problems) or []
        problems.extend(_repeated(path, rows))
        bad = [row["class"] for row in rows if not re.fullmatch(r"[0-9]{1,18}( [0-9]{1,18})*", row["numbers"])]
        problems.extend(f"{path}: {key}: numbers: expected whole numbers with a space between them" for key in bad)
        return _unless(
            problems, {row["class"]: tuple(map(int, row["numbers"].split())) for row in rows if not problems}
        )

    def graph(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Node to the nodes right below it, of a graph of classes such as WordNet's.

        Raises:
            CatalogError: there is no such graph, or it is malformed.
        """
        problems: list[str] = []
        rows = read_csv(self._metadata("graphs", f"{name}.csv"), ("parent", "child"), problems) or []
        children: dict[str, tuple[str, ...]] = {}
        for row in rows:
            children[row["parent"]] = (*children.get(row["parent"], ()), row["child"])
        return _unless(problems, children)

    def pretrained(self) -> Sequence[Mapping[str, str]]:
        """Published weights of backbones: data set, model, spec, url and source of each.

        Raises:
            CatalogError: the table is malformed.
        """
        problems: list[str] = []
        columns = ("dataset", "model", "spec", "url", "source")
        return _unless(problems, read_csv(self._metadata("weights", "learn2learn.csv"), columns, problems) or [])

    def zoo(self) -> Mapping[str, Path]:
        """The trained weights that travel with the package, name to file; `read_card` says what each is."""
        return {
            path.stem: path for root in self.roots for path in sorted((root / "metadata/zoo").glob("*.safetensors"))
        }

    def statistics(self, dataset: str) -> Statistics | None:
        """Mean and standard deviation of a data set's pictures; None where no source gives them.

        Raises:
            CatalogError: the table is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._read_statistics(dataset, problems))

    def _read_statistics(self, dataset: str, problems: list[str]) -> Statistics | None:
        path = self._metadata("stats", f"{dataset}.toml")
        if not path.exists():
            return None
        fields = Fields(read_toml(path, problems), f"{path}: ", problems)
        statistics = _statistics(fields)
        fields.done()
        return statistics

    def _column(self, folder: str, dataset: str, column: str, problems: list[str]) -> dict[str, str]:
        """Class to the text beside it, of a table that a data set need not have."""
        path = self._metadata(folder, f"{dataset}.csv")
        rows = (read_csv(path, ("class", column), problems) or []) if path.exists() else []
        problems.extend(_repeated(path, rows))
        return {row["class"]: row[column] for row in rows}

    def _metadata(self, *parts: str) -> Path:
        """The last root's file of that name, or its place where no root has one."""
        places = [root.joinpath("metadata", *parts) for root in self.roots]
        return next((place for place in reversed(places) if place.exists()), places[-1])

    def _read_split(self, record: DatasetRecord, name: str, problems: list[str]) -> Split:
        path = self._metadata("splits", record.splits[name].classes_of or record.name, f"{name}.csv")
        rows = read_csv(path, ("class", "subset", "superclass"), problems) or []
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
        problems.extend(_repeated(path, rows))
        groups, raw = len(set(split.superclass_of.values())), record.raw
        # A file that was not read, or a number that is a stand-in, was complained of already.
        if rows and raw.classes and len(split.subset_of) != raw.classes:
            problems.append(f"{path}: class: {len(split.subset_of)} classes, but raw.classes is {raw.classes}")
        if rows and raw.classes and raw.superclasses != 0 and groups != (raw.superclasses or 0):
            problems.append(
                f"{path}: superclass: {groups} superclasses, but raw.superclasses is {raw.superclasses or 0}"
            )
        return split

    def published(self, benchmark: str) -> tuple[PublishedResult, ...]:
        """Published figures of a benchmark, in file order; none where no file holds any.

        Raises:
            CatalogError: a row is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._read_published(benchmark, problems))

    def _read_published(self, benchmark: str, problems: list[str]) -> tuple[PublishedResult, ...]:
        path = self._metadata("results", "published", f"{benchmark}.csv")
        return read_published(path, problems) if path.exists() else ()

    def own_results(self, benchmark: str) -> tuple[OwnResult, ...]:
        """The figures of a benchmark that this package reached, in file order; none where no file holds any.

        Raises:
            CatalogError: a row is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._read_own(benchmark, problems))

    def _read_own(self, benchmark: str, problems: list[str]) -> tuple[OwnResult, ...]:
        path = self._metadata("results", "own", f"{benchmark}.csv")
        return read_own_results(path, problems) if path.exists() else ()

    def paired_results(self, benchmark: str) -> tuple[PairedResult, ...]:
        """The runs that this package compared on a benchmark, the first being what the others are beside.

        Raises:
            CatalogError: a row is malformed.
        """
        problems: list[str] = []
        return _unless(problems, self._read_paired(benchmark, problems))

    def _read_paired(self, benchmark: str, problems: list[str]) -> tuple[PairedResult, ...]:
        path = self._metadata("results", "paired", f"{benchmark}.csv")
        return read_paired_results(path, problems) if path.exists() else ()


def _is_count(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", text) is not None and int(text) > 0


def _repeated(path: Path, rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Each class that a table names more than once."""
    for key, count in Counter(row["class"] for row in rows).items():
        if count > 1:
            yield f"{path}: {key}: class: stands in {count} rows"


def _unless(problems: list[str], value: T) -> T:
    if problems:
        raise CatalogError(problems)
    return value


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
    return Catalog((own_root(), *extra))


def read_card(path: Path) -> dict[str, Any]:
    """What a file of weights says of itself, the card in its header: at least its method and its benchmark.

    Raises:
        ContentError: the file is absent, or holds no weights with a card.
    """
    if not path.is_file():
        raise ContentError(f"there is no file {path}; give a file of weights that `l2l train` wrote")
    try:
        # As safetensors lays a file out: eight bytes that say how long the header is, and the header, JSON.
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("no header")
            card: dict[str, Any] = json.loads(json.loads(stream.read(length))["__metadata__"]["card"])
        card["method"], card["benchmark"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ContentError(
            f"{path} holds no weights with a card ({what}); give a file of weights that `l2l train` wrote"
        ) from None
    return card


def check_catalog(catalog: Catalog) -> list[str]:
    """Every problem of every entry, one line each: ``file: field: what is wrong``; an empty list where all is well."""
    problems: list[str] = []
    papers = catalog._shared("papers", _paper, problems)
    licences = catalog._shared("licences", _licence, problems)
    datasets: dict[str, DatasetRecord] = {}
    splits: dict[tuple[str, str], Split] = {}

    def refer(where: str, keys: Iterable[str], known: Mapping[str, object], kind: str) -> None:
        problems.extend(f"{where}: {UnknownNameError(kind, key, known)}" for key in keys if key and key not in known)

    def check_name(path: Path) -> None:
        if not re.fullmatch(NAME, path.stem):
            problems.append(f"{path}: file name: expected {NAME_MEANING}, found {path.stem!r}")

    for name, path in catalog._dataset_files.items():
        check_name(path)
        record = datasets[name] = catalog._build_dataset(name, path, problems)
        refer(f"{path}: licence", [record.licence], licences, "licence")
        refer(f"{path}: papers", record.papers, papers, "paper")
        for split_name, info in record.splits.items():
            refer(f"{path}: splits.{split_name}.paper", [info.paper or ""], papers, "paper")
            splits[name, split_name] = catalog._read_split(record, split_name, problems)
        lists = {split_name: set(splits[name, split_name].subset_of) for split_name in record.splits}
        default = lists.get(record.default_split)
        for split_name, classes in lists.items():
            if classes and default and classes != default:
                problems.append(f"{path}: splits.{split_name}: not the classes of {record.default_split}")
        problems.extend(_uncounted(catalog, record, path, {name: splits[record.name, name] for name in lists}))
    for name, path in catalog._benchmark_files.items():
        check_name(path)
        benchmark = catalog._build_benchmark(name, path, problems)
        refer(f"{path}: papers", benchmark.papers, papers, "paper")
        refer(f"{path}: dataset", [benchmark.dataset], datasets, "data set")
        dataset = datasets.get(benchmark.dataset)
        if dataset is not None and dataset.splits:
            refer(f"{path}: split", [benchmark.split], dataset.splits, "split")
            problems.extend(f"{path}: {text}" for text in _impossible(benchmark, dataset, splits))
        catalog._read_published(name, problems)
        catalog._read_own(name, problems)
        catalog._read_paired(name, problems)
    for name, path in catalog._recipe_files.items():
        check_name(path)
        recipe = catalog._build_recipe(name, path, problems)
        refer(f"{path}: papers", recipe.papers, papers, "paper")
        refer(f"{path}: benchmark", [recipe.benchmark], catalog._benchmark_files, "benchmark")
        refer(f"{path}: trained_by", [recipe.trained_by or ""], catalog._recipe_files, "recipe")
        rows = catalog._read_published(recipe.benchmark, [])
        if (
            recipe.published
            and all(recipe.published)
            and recipe.published not in {(row.method, row.backbone) for row in rows}
        ):
            problems.append(f"{path}: published: metadata/results has no row {' on '.join(recipe.published)}")
    for path in catalog.zoo().values():
        check_name(path)
        try:
            refer(f"{path}: benchmark", [read_card(path)["benchmark"]], dict.fromkeys(catalog.benchmarks), "benchmark")
        except ContentError as error:
            problems.append(f"{path}: card: {error}")
    problems.extend(_strays(catalog, datasets))
    # A class list that several data sets share is read for each of them.
    return list(dict.fromkeys(problems))


def _uncounted(catalog: Catalog, record: DatasetRecord, path: Path, splits: Mapping[str, Split]) -> Iterator[str]:
    """What the tables of a data set say otherwise than its entry."""
    problems: list[str] = []
    counts = catalog._read_counts(record, problems)
    names = catalog._column("names", record.name, "name", problems)
    catalog._read_statistics(record.name, problems)
    yield from problems
    total, each = record.raw.examples, record.raw.examples_per_class
    if each and counts:
        yield f"{path}: raw.examples_per_class: metadata/stats counts the examples of each class, too; drop one of them"
    default = splits.get(record.default_split)
    # Of a list of the wrong length enough was said.
    known = set(default.subset_of) if default and len(default.subset_of) == record.raw.classes else set()
    if not known:
        return
    for folder, table in (("stats", counts), ("names", names)):
        if not known.issuperset(table):
            yield f"{path}: metadata/{folder} names {min(set(table) - known)!r}, which is none of its classes"
    if each and not counts:
        counts = dict.fromkeys(known, each)
    counted = known.issubset(counts)
    if counted and total and not each and sum(counts[name] for name in known) != total:
        yield f"{path}: raw.examples: {total}, but its classes have {sum(counts[name] for name in known)}"
    for name, split in splits.items():
        examples = record.splits[name].examples
        if set(split.subset_of) != known or not set(split.subset_of.values()).issubset(SUBSETS):
            continue
        if not counted:
            if total and all(examples.values()) and sum(examples.values()) not in (0, total):
                yield f"{path}: splits.{name}.examples: {sum(examples.values())} together, but raw.examples is {total}"
            continue
        for subset, number in examples.items():
            found = sum(counts[its_class] for its_class in split.classes(subset))
            # A 0 may be the stand-in of a field that was complained of already.
            if number and number != found:
                yield f"{path}: splits.{name}.examples.{subset}: {number}, but its classes have {found}"


def _strays(catalog: Catalog, datasets: Mapping[str, DatasetRecord]) -> Iterator[str]:
    """Tables that no entry refers to: most have a typing error in their name."""
    # Of a data set whose record could not be read, any split may be meant.
    unread = {name for name, record in datasets.items() if not record.splits}
    splits = {
        (info.classes_of or name, split) for name, record in datasets.items() for split, info in record.splits.items()
    }
    for root in catalog.roots:
        for path in sorted((root / "metadata/splits").glob("*/*.csv")):
            if path.parent.name not in unread and (path.parent.name, path.stem) not in splits:
                yield f"{path}: file name: no data set {path.parent.name!r} has a split {path.stem!r}"
        tables = (root / "metadata").glob
        for path in sorted(
            [*tables("stats/*.csv"), *tables("stats/*.toml"), *tables("names/*.csv"), *tables("numbers/*")]
        ):
            if path.stem not in datasets:
                yield f"{path}: file name: {UnknownNameError('data set', path.stem, datasets)}"
        for path in sorted((root / "metadata/results").rglob("*.csv")):
            if path.parent.name not in ("published", "own", "paired"):
                yield f"{path}: file name: figures stand in published/, own/ or paired/ of results/"
            elif path.stem not in catalog.benchmarks:
                yield f"{path}: file name: {UnknownNameError('benchmark', path.stem, catalog.benchmarks)}"


def _impossible(
    benchmark: BenchmarkRecord, dataset: DatasetRecord, splits: Mapping[tuple[str, str], Split]
) -> Iterator[str]:
    """What in a protocol no data of this data set can honour."""
    if benchmark.rotations and not dataset.rotations:
        yield f"rotations: {dataset.name} has no rotated classes"
    size, stored = benchmark.image_size, dataset.prepared.get("image_size")
    # A size of 0, or pictures prepared in no way, are stand-ins of what was complained of already.
    known = bool(dataset.prepared) or dataset.modality != "images"
    if size is not None and all(size) and known and list(size) != stored:
        yield f"image_size: {list(size)}, but {dataset.name} is prepared at {stored or 'none'}"
    if benchmark.augmentation != "none" and size is None:
        yield f"augmentation: {benchmark.augmentation} is done to pictures of a known size; give image_size"
    split = splits.get((dataset.name, benchmark.split))
    if split is not None and split.subset_of and benchmark.subset in SUBSETS:
        classes = len(split.classes(benchmark.subset)) * (len(ROTATIONS) if benchmark.rotations else 1)
        if benchmark.ways > classes:
            yield f"ways: {benchmark.ways}, but the subset {benchmark.subset} has {classes} classes"
        if benchmark.kind == "variable" and classes < FEWEST_WAYS:
            yield f"kind: variable needs {FEWEST_WAYS} classes, but the subset {benchmark.subset} has {classes}"
    examples = dataset.raw.examples_per_class
    if examples and benchmark.shots + benchmark.queries > examples:
        yield f"queries: shots + queries = {benchmark.shots + benchmark.queries}, but a class has {examples} examples"
