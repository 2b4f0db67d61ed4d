"""A user's own files as stores: folders or archives with a folder a class, and pictures that a CSV file lists.

A store is prepared once. Its name holds a digest of everything that decides its content: names, sizes and times of
change of the files, the options, and the versions of this module and of the format. So what has changed is prepared
anew, in the place of what it was before, and what has not is opened without reading an example.
"""

import csv
import hashlib
import io
import json
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ArchiveError, ContentError, StoreError, UnknownNameError, UsageError
from l2l_core.fetch.archives import open_tree
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.pictures import CHANNELS, FILTERS, MAX_SIDE, PictureOptions, decode, is_picture
from l2l_core.prepare.readers import RawDataset
from l2l_core.prepare.readers._members import SourceDigest, said_of
from l2l_core.prepare.readers.csv_text import long_fields
from l2l_core.prepare.sounds import decode_sound, is_sound
from l2l_core.prepare.write import write_raw
from l2l_core.records import Modality, Subset
from l2l_core.store import FORMAT_VERSION, Manifest, Store, open_store

VERSION: Final = 2
"""Of what this module makes; raised whenever the same files would give other stores."""
CLASSES_FILE: Final = "classes.csv"
CLASSES_COLUMNS: Final = ("folder", "class", "superclass")
"""Of a file beside class folders that says what their classes are called, and in which order they stand."""

_SPELLINGS: Final[Mapping[str, Subset]] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_IS_OF: Final[Mapping[Modality, Callable[[str], bool]]] = {
    "images": is_picture,
    "sounds": is_sound,
    "texts": lambda name: name.lower().endswith(".txt"),
}
"""Whether a file is an example, by its name. The first kind of which there is one counts: notes lie beside pictures."""
Resample: TypeAlias = Callable[[npt.NDArray[np.int16], int, int], npt.NDArray[np.int16]]
"""A sound int16 [samples] at one rate to the same at another; it takes torch, which this half does without."""
_MAX_ENTRIES: Final = 100_000_000
_MAX_INFLATION: Final = 1000
"""Bytes that a byte of an archive may unpack to: what deflate reaches at most."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Examples that were found and not yet loaded.

    Attributes:
        place: what to call where they are.
        examples: class to its files, in order.
        read: gives the bytes of a file; safe to call from several threads.
        modality: what they are.
        superclass_of: class to its group, where it has one.
        sample_rate_hz: what sounds are resampled to; the rate of the first for None.
        resample: how.
    """

    place: str
    examples: Mapping[str, Sequence[str]]
    read: Callable[[str], bytes]
    modality: Modality
    superclass_of: Mapping[str, str] = field(default_factory=dict)
    sample_rate_hz: int | None = None
    resample: Resample | None = None


def subset_called(name: str) -> Subset | None:
    """The subset that people call so, as a folder or a split: validation for ``val``; None for any other name."""
    return _SPELLINGS.get(name.casefold())


def whole_number(value: Any) -> int | None:
    """The value as an int; None where it is no whole number, as 8.0 and True are none, and NumPy's integers are."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def picture_options(image_size: int | tuple[int, int], mode: str, resample: str) -> PictureOptions:
    """How a user's own pictures become arrays.

    Args:
        image_size: height and width in pixels, or the side of a square.
        mode: L or RGB.
        resample: Pillow's name of a filter in lower case.

    Raises:
        UsageError: one of them is nothing of the kind.
    """
    pair = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    sides = [side for side in map(whole_number, pair) if side is not None and 1 <= side <= MAX_SIDE]
    if len(pair) != 2 or len(sides) != 2:
        raise UsageError(f"image_size is {image_size!r}; give (height, width) in pixels, 1 to {MAX_SIDE} each")
    if mode not in CHANNELS:
        raise UsageError(f"mode is {mode!r}; give one of {', '.join(CHANNELS)}")
    if resample not in FILTERS:
        raise UsageError(f"resample is {resample!r}; give one of {', '.join(FILTERS)}")
    return PictureOptions(mode=mode, invert=False, image_size=(sides[0], sides[1]), resample=resample)


def folder_store(
    path: Path,
    cache: Cache,
    *,
    subset: Subset | None,
    class_depth: int,
    pictures: PictureOptions | None,
    sample_rate_hz: int | None,
    resample: Resample,
) -> Store:
    """The store of a folder or archive of class folders, prepared where that has not been done.

    Args:
        path: the folder or archive.
        cache: where the store goes.
        subset: only what lies below a folder of that name; everything for None.
        class_depth: how many folder names make a class.
        pictures: how a picture becomes an array; may be None where there are none.
        sample_rate_hz: what sounds are resampled to; the rate of the first for None.
        resample: how.

    Raises:
        ArchiveError: the path cannot be read, or is an unsafe archive.
        ContentError: there is no example, or one cannot be read; names it.
        UsageError: there are pictures, and nothing was said of their size; or sounds that take the extra ``audio``,
            which is not installed.
        CacheError: the store cannot be written.
    """
    title = path.resolve().name if path.is_dir() else path.name.partition(".")[0]
    options = {
        "kind": "folder",
        "subset": subset,
        "class_depth": class_depth,
        "pictures": None if pictures is None else asdict(pictures),
        "sample_rate_hz": sample_rate_hz,
    }

    @contextmanager
    def find() -> Iterator[_Found]:
        limit = 2**63 if path.is_dir() else _MAX_INFLATION * max(_size_bytes(path), 2**20)
        tree = open_tree(path, max_entries=_MAX_ENTRIES, max_bytes=limit, scratch=cache.root)
        try:
            names = [name for name in tree.names() if not any(map(_is_hidden, name.split("/")[:-1]))]
            tables = {name: tree.read(name) for name in names if name.rpartition("/")[2] == CLASSES_FILE}
            told = _told_classes(tables, title)
            for modality, is_of in _IS_OF.items():
                examples, superclass_of = _by_folder(filter(is_of, names), told, subset, class_depth)
                if examples and modality == "images" and pictures is None:
                    raise UsageError(
                        f"{title} holds pictures; give image_size=(height, width), to which they are resized"
                    )
                if examples:
                    yield _Found(str(path), examples, tree.read, modality, superclass_of, sample_rate_hz, resample)
                    return
            inside = f"{subset}/" if subset else ""
            raise ContentError(
                f"{title}: {path} holds no picture, sound or .txt file in a class folder"
                f"{f' below one called {subset}' if subset else ''}; give a folder or archive with a folder a class, "
                f"such as {inside}cat/1.png"
            )
        finally:
            tree.close()

    return _prepared(title, path, options, _listing(path), cache, pictures, find)


def csv_store(
    path: Path, cache: Cache, *, file_column: str, label_column: str, folder: Path, pictures: PictureOptions
) -> Store:
    """The store of the pictures that a CSV file lists, prepared where that has not been done.

    Args:
        path: the CSV file.
        cache: where the store goes.
        file_column: the column of file names.
        label_column: the column of class names.
        folder: what the file names are relative to.
        pictures: how a picture becomes an array.

    Raises:
        ContentError: the CSV file cannot be read, or a picture; names it.
        UnknownNameError: there is no such column.
        CacheError: the store cannot be written.
    """
    examples: dict[str, list[str]] = {}
    for file, label in read_pairs(path, file_column, label_column):
        examples.setdefault(label, []).append(file)
    ordered = {name: examples[name] for name in sorted(examples)}

    def read(file: str) -> bytes:
        try:
            return (folder / file).read_bytes()
        except OSError as error:
            raise ContentError(
                f"{path.name}: cannot read {file} in {folder}: {error.strerror or error}; correct the column "
                f"{file_column}, or give the folder of the files"
            ) from None

    options = {
        "kind": "csv",
        "file_column": file_column,
        "label_column": label_column,
        "folder": str(folder.absolute()),
        "pictures": asdict(pictures),
    }
    listing = _digest(_line(f"{name}\0{file}", folder / file) for name, files in ordered.items() for file in files)
    found = _Found(str(folder), ordered, read, "images")
    return _prepared(path.stem, path, options, listing, cache, pictures, lambda: nullcontext(found))


def read_pairs(path: Path, value_column: str, label_column: str) -> list[tuple[str, str]]:
    """Value and label of every row of a CSV file (of a ``.tsv``, separated by tabs); the first row names the columns.

    Raises:
        ContentError: it cannot be read, has a row with too few or too many fields, one without a label, or no row.
        UnknownNameError: there is no such column.
    """
    pairs: list[tuple[str, str]] = []
    try:
        # The byte order mark that spreadsheets write would be part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as stream, long_fields():
            reader = csv.reader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            header = next(reader, [])
            for column in (value_column, label_column):
                if column not in header:
                    raise UnknownNameError("column", column, header, where=f"of {path.name}")
            value_at, label_at = header.index(value_column), header.index(label_column)
            for row in filter(None, reader):
                if len(row) != len(header):
                    raise ContentError(
                        f"{path.name}: line {reader.line_num:,}: expected {len(header)} fields, found {len(row)}; "
                        "correct it"
                    )
                if not row[label_at]:
                    raise ContentError(
                        f"{path.name}: line {reader.line_num:,} has no {label_column}; give it one or leave it out"
                    )
                pairs.append((row[value_at], row[label_at]))
    except OSError as error:
        raise ContentError(f"cannot read {path}: {error.strerror or error}; give the path of a CSV file") from None
    except UnicodeDecodeError as error:
        raise ContentError(f"{path.name} is not a readable CSV file ({error}); save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise ContentError(
            f"{path.name}: line {reader.line_num:,} is not a row of CSV ({error}); mend its quotes or leave it out"
        ) from None
    if not pairs:
        raise ContentError(f"{path.name} has no row beside that of the column names; give it one an example")
    return pairs


def _prepared(
    title: str,
    path: Path,
    options: Mapping[str, Any],
    listing: str,
    cache: Cache,
    pictures: PictureOptions | None,
    find: Callable[[], AbstractContextManager[_Found]],
) -> Store:
    """The store of some files, opened, or prepared first; `find` is a context that gives what it is made of."""
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
    slug = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:40]
    # A name as catalogue entries have them, so that `l2l cache` lists it and `l2l remove` takes it.
    name = "-".join(filter(None, ["own", slug, place]))
    # Stores of other options lie side by side; of the same options the newest takes the place of all others.
    asked = _digest([json.dumps([options, VERSION, FORMAT_VERSION], sort_keys=True, ensure_ascii=True)])[:16]
    target = cache.stores(name) / f"{asked}-{listing[:16]}.safetensors"
    if (store := _opened(target)) is not None:
        return store
    # Found before the lock, so that a wrong path leaves no trace in the cache.
    with find() as found, cache.lock(name):
        if (store := _opened(target)) is not None:
            return store
        raw, sample_rate_hz = _raw(title, found, pictures)
        recipe = {
            "reader": "own",
            "reader_version": VERSION,
            "format_version": FORMAT_VERSION,
            "source": str(path),
            "options": options,
            "superclasses": found.superclass_of,
        }
        manifest = Manifest(
            dataset=title,
            key=target.stem,
            classes=tuple(found.examples),
            recipe=recipe,
            versions=_versions(found.modality),
            modality=found.modality,
            sample_rate_hz=sample_rate_hz,
        )
        write_raw(target, manifest, raw)
        # Opened in the lock, before another process can replace it in turn. Whoever has a replaced one open keeps it.
        store = open_store(target)
        for replaced in set(target.parent.glob(f"{asked}-*.safetensors")) - {target}:
            with suppress(OSError):
                replaced.unlink()
    return store


def _opened(target: Path) -> Store | None:
    """The store in that file; None where there is none, or a damaged one, which is then prepared anew."""
    try:
        store = open_store(target)
    except StoreError:
        return None
    return store if store.manifest.key == target.stem else None


def _raw(title: str, found: _Found, pictures: PictureOptions | None) -> tuple[RawDataset, int | None]:
    """The examples as `write_raw` takes them, and the sampling rate of sounds."""
    source = SourceDigest()
    decoded, shape, sample_rate_hz = _text_bytes, None, None
    if found.modality == "images":
        assert pictures is not None
        shape = pictures.shape

        def decoded(content: bytes) -> npt.NDArray[np.generic]:
            return decode(content, pictures)

    elif found.modality == "sounds":
        resample = found.resample
        assert resample is not None
        first = next(iter(found.examples.values()))[0]
        first_hz, _ = said_of(f"{title}: {first} in {found.place}", lambda: decode_sound(found.read(first)))
        rate_hz = sample_rate_hz = found.sample_rate_hz or first_hz

        def decoded(content: bytes) -> npt.NDArray[np.generic]:
            its_hz, samples = decode_sound(content)
            return resample(samples, its_hz, rate_hz)

    def load(file: str) -> npt.NDArray[np.generic]:
        content = found.read(file)
        source.add(file, content)
        return said_of(f"{title}: {file} in {found.place}", lambda: decoded(content))

    return RawDataset(found.examples, load, lambda: source.of_classes(found.examples), shape), sample_rate_hz


def _versions(modality: Modality) -> dict[str, str]:
    """Of the packages that make arrays of such examples, as far as they are installed."""
    versions = {}
    for package in ("numpy", "pillow", *(("soundfile", "torchaudio") if modality == "sounds" else ())):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _text_bytes(content: bytes) -> npt.NDArray[np.generic]:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise ContentError(f"is not UTF-8 ({error.reason} at byte {error.start:,}); save it as UTF-8") from None
    return np.frombuffer(content, np.uint8)


def _by_folder(
    files: Iterable[str], told: Mapping[str, tuple[str, str]], subset: Subset | None, class_depth: int
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Class to its files, and class to superclass.

    Args:
        files: names in a tree, sorted.
        told: class folder to its class and superclass, in the order that the classes shall have, before all others.
        subset: only what lies below a folder of that name.
        class_depth: how many folder names make a class.
    """
    examples: dict[str, list[str]] = {name: [] for name, _ in told.values()}
    superclass_of: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for file in files:
        *folders, _ = file.split("/")
        above, own = folders[:-class_depth], folders[-class_depth:]
        if len(own) < class_depth or (subset and subset not in map(subset_called, above)):
            continue
        name, superclass = told.get("/".join(folders), ("/".join(own), "/".join(own[:-1])))
        if superclass:
            superclass_of[name] = superclass
        (examples if name in examples else others).setdefault(name, []).append(file)
    return {name: found for name, found in (*examples.items(), *sorted(others.items())) if found}, superclass_of


def _told_classes(tables: Mapping[str, bytes], title: str) -> dict[str, tuple[str, str]]:
    """Class folder to class and superclass, from the files of that name which have those columns."""
    told = {}
    for file, content in tables.items():
        prefix = file.removesuffix(CLASSES_FILE)
        try:
            header, *rows = filter(None, csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
            if tuple(header) == CLASSES_COLUMNS:
                told.update({prefix + folder: (name, superclass) for folder, name, superclass in rows})
        except (ValueError, csv.Error) as error:
            raise ContentError(
                f"{title}: {file} is not a table of {','.join(CLASSES_COLUMNS)} ({error}); correct it or take it away"
            ) from None
    return told


def _is_hidden(folder: str) -> bool:
    """Whether a folder holds what programs keep for themselves: drafts of notebooks, half an export of ours."""
    return folder.startswith(".")


def _listing(path: Path) -> str:
    """Digest of the names, sizes and times of change of the files that matter, or of those of an archive."""
    try:
        if not path.is_dir():
            return _digest([_line("", path)])
        lines, pending = [], [""]
        while pending:
            prefix = pending.pop()
            with os.scandir(path / prefix) as entries:
                for entry in entries:
                    inside = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not _is_hidden(entry.name):
                            pending.append(f"{inside}/")
                    # Desktops and editors leave files of theirs in every folder they show. A link matters whatever it
                    # leads to, for reading refuses it.
                    elif (
                        entry.is_symlink()
                        or entry.name == CLASSES_FILE
                        or any(is_of(inside) for is_of in _IS_OF.values())
                    ):
                        state = entry.stat(follow_symlinks=False)
                        lines.append(f"{inside}\0{state.st_size} {state.st_mtime_ns}")
        return _digest(sorted(lines))
    except OSError as error:
        raise ArchiveError(
            f"cannot read {error.filename or path}: {error.strerror or error}; make it readable or give another path"
        ) from error


def _line(name: str, path: Path) -> str:
    """Size and time of change of a file; of one that cannot be read its name alone, for reading it will say why."""
    try:
        state = path.stat()
    except OSError:
        return name
    return f"{name}\0{state.st_size} {state.st_mtime_ns}"


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
