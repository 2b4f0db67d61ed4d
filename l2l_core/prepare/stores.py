"""Which store a data set has: where it lies, what decides its content, and whether it is what it should be."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2l_core.catalog import Catalog
from l2l_core.errors import CacheError, CatalogError, L2LError, StoreError
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.receipts import fault_of
from l2l_core.files import OTHER_ROOT, holds
from l2l_core.prepare.readers import Wanted, get_reader, reader_version
from l2l_core.records import DatasetRecord, FileRecord, FormRecord
from l2l_core.store import FORMAT_VERSION, Store, open_store, verify_store


def options_of(record: DatasetRecord, form: FormRecord) -> dict[str, Any]:
    """The options of a form's reader, with those that hold for every form."""
    return {**record.prepared, **form.options}


def recipe(record: DatasetRecord, form: FormRecord) -> dict[str, Any]:
    """Everything but the raw bytes and the class list, which a store holds itself, that decides a store's content."""
    files = [file.sha256 or file.md5 or file.name for file in form.files]
    return {
        "format_version": FORMAT_VERSION,
        "reader": form.reader,
        "reader_version": reader_version(form.reader),
        "options": options_of(record, form),
        "order": record.order,
        "sample_rate_hz": record.sample_rate_hz,
        "examples": record.raw.examples,
        "tables": form.tables_sha256,
        "source": form.content_sha256 or form.package or files,
    }


def check_recipes(catalog: Catalog) -> list[str]:
    """Every form whose reader is unknown or cannot honour its options, one line a problem."""
    problems: list[str] = []
    for record in map(catalog.dataset, catalog.datasets):
        for form in record.forms.values():
            try:
                get_reader(form.reader).options_of(options_of(record, form), f"{record.name}: {form.name}: ")
                wanted_of(record, form, catalog)
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
    """The form whose store is there; None where none is. (Where somebody put several there, the record's first.)

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


def absent(record: DatasetRecord, cache: Cache) -> str:
    """What to say of a data set that is not prepared."""
    found = f"{record.name} is not in {cache.root}"
    if holds(lambda: any(cache.stores(record.name).glob("*.safetensors"))):
        found = f"the store of {record.name} in {cache.root} was made by another version or recipe"
    return (
        f"{found}; get it with `l2l fetch {record.name}` (in Python: download=True), "
        f"or bring your own copy with `l2l import {record.name} PATH`"
    )


def open_own(record: DatasetRecord, catalog: Catalog, path: Path) -> Store:
    """The store of a record, and not another that was put in its place."""
    store = open_store(path)
    if (store.manifest.dataset, store.manifest.key) != (record.name, path.stem):
        raise StoreError(
            f"{path} is the store {store.manifest.key} of {store.manifest.dataset}, not of {record.name}; "
            f"remove it and prepare {record.name} again"
        )
    if list(store.manifest.classes) != class_order(record, catalog):
        raise StoreError(
            f"{path} holds other classes than the split {record.default_split} of {record.name} lists today; "
            f"remove it and prepare {record.name} again"
        )
    return store


def is_usable(record: DatasetRecord, catalog: Catalog, path: Path) -> bool:
    """Whether a whole store of the record lies there; its data is not read."""
    try:
        open_own(record, catalog, path)
    except StoreError:
        return False
    return True


def class_order(record: DatasetRecord, catalog: Catalog) -> list[str]:
    """Class names in the order of the store: by name, so that it does not depend on which split is the default."""
    return sorted(catalog.split(record.name).classes())


def wanted_of(record: DatasetRecord, form: FormRecord, catalog: Catalog) -> Wanted:
    """What a reader may know of the data set."""
    split, options = catalog.split(record.name), options_of(record, form)
    numbers = options.get("numbers")
    return Wanted(
        dataset=record.name,
        options=options,
        classes=class_order(record, catalog),
        counts=catalog.counts(record.name),
        subset_of=split.subset_of,
        superclass_of=split.superclass_of,
        class_names=catalog.class_names(record.name),
        numbers=catalog.numbers(record.name, numbers) if isinstance(numbers, str) else {},
        image_size=record.raw.image_size,
        modality=record.modality,
        sample_rate_hz=record.sample_rate_hz,
    )


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
            if holds(path.exists):
                found.setdefault(path, []).append(file)
    return found


def is_here(record: DatasetRecord, cache: Cache) -> bool:
    """Whether anything of a data set lies in the cache: its store, or some download."""
    return prepared_form(record, cache) is not None or bool(downloaded(record, cache))


def own_stores(cache: Cache) -> dict[str, list[Path]]:
    """The stores of the user's own files, by the names under which ``l2l cache`` lists them."""
    folders = sorted(cache.stores("").glob("own-*")) if holds(cache.stores("").is_dir) else []
    return {folder.name: sorted(folder.glob("*.safetensors")) for folder in folders}


def verify_own(paths: Sequence[Path]) -> str:
    """Re-hash stores of the user's own files; one sentence on what they are.

    Raises:
        StoreError: one is damaged; names each.
    """
    problems, found = list[str](), list[str]()
    for path in paths:
        try:
            store = open_store(path)
            verify_store(store)
        except StoreError as error:
            problems.append(str(error))
        else:
            found.append(f"{len(store):,} examples of {len(store.manifest.classes):,} classes")
    if problems:
        raise StoreError("; ".join(problems))
    return "; ".join(found) or "no store"


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
        if holds(path.exists):
            try:
                store = open_own(record, catalog, path)
                verify_store(store)
            except StoreError as error:
                problems.append(str(error))
            else:
                found.append(_description(record, form, store))
    if problems:
        raise StoreError("; ".join(problems))
    if not found:
        raise StoreError(absent(record, cache))
    return "; ".join(found)


def _description(record: DatasetRecord, form: FormRecord, store: Store) -> str:
    size = f"{len(store):,} examples of {len(store.manifest.classes):,} classes from {form.name}"
    origin = edition(record, store)
    return f"{size}, sha256 {store.sha256[:16]}" + (f", {origin}" if origin else "")
