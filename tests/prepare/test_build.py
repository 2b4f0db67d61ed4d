"""Fetching end to end: from addresses to a store, with every step that can fail."""

import hashlib
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from l2l_core.catalog import open_catalog
from l2l_core.errors import ArchiveError, ContentError, FetchError, StoreError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare import write
from l2l_core.prepare.build import fetch, import_files, load_store
from l2l_core.prepare.readers import RawDataset
from l2l_core.prepare.stores import prepared_form, store_path, verify
from l2l_core.records import DatasetRecord, FileRecord
from l2l_core.store import open_store
from tests.small import SmallData, only_form, with_form


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(small: SmallData) -> object:
    """Where a loopback server serves the folder of the small archive."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=small.archive.parent))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def record(small: SmallData, address: str, monkeypatch: pytest.MonkeyPatch) -> DatasetRecord:
    """The small data set with sources: one that does not have it, and one that does."""
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    content = small.archive.read_bytes()
    urls = (f"{address}/absent.zip", f"{address}/small.zip")
    file = FileRecord("small.zip", urls, len(content), sha256=hashlib.sha256(content).hexdigest())
    return with_form(open_catalog().dataset("small"), files=(file,))


def store_of(record: DatasetRecord, cache: Cache) -> Path:
    return store_path(record, only_form(record), cache)


def test_fetched_and_imported_are_the_same_store(record: DatasetRecord, small: SmallData, tmp_path: Path) -> None:
    catalog = open_catalog()
    fetched = fetch(record, catalog, Cache.at(tmp_path / "a"))
    imported = import_files(record, catalog, Cache.at(tmp_path / "b"), [small.folder])
    beside = import_files(record, catalog, Cache.at(tmp_path / "c"), [small.archive.parent])
    assert fetched.read_bytes() == imported.read_bytes() == beside.read_bytes()
    assert fetched.name == imported.name
    assert (tmp_path / "a/downloads/small/small.zip").read_bytes() == small.archive.read_bytes()
    before = fetched.stat().st_mtime_ns
    assert fetch(record, catalog, Cache.at(tmp_path / "a")) == fetched
    assert fetched.stat().st_mtime_ns == before, "what is prepared stays"


def test_damage_to_a_file_placed_by_hand_is_found_later(
    record: DatasetRecord, small: SmallData, tmp_path: Path
) -> None:
    catalog, cache = open_catalog(), Cache.at(tmp_path)
    content = small.archive.read_bytes()
    record = with_form(record, files=(FileRecord("small.zip", (), about_bytes=len(content) + 100),))
    placed = cache.downloads("small") / "small.zip"
    placed.parent.mkdir(parents=True)
    placed.write_bytes(content)
    fetch(record, catalog, cache)
    assert verify(record, catalog, cache).startswith("1 downloaded file as recorded")
    placed.write_bytes(content[:-1] + b"x")
    with pytest.raises(StoreError, match=r"small\.zip is damaged \(wrong content .* by small\.zip\.receipt\.json"):
        verify(record, catalog, cache)


def test_load_store_downloads_only_when_told(record: DatasetRecord, tmp_path: Path) -> None:
    catalog, cache = open_catalog(), Cache.at(tmp_path / "cache")
    with pytest.raises(StoreError, match="small is not in .*; get it with `l2l fetch small`"):
        load_store(record, catalog, cache)
    assert prepared_form(record, cache) is None
    assert len(load_store(record, catalog, cache, download=True).examples) == 96
    assert prepared_form(record, cache) == only_form(record)
    assert load_store(record, catalog, cache).sha256 == open_store(store_of(record, cache)).sha256


def test_a_download_with_the_wrong_checksum_leaves_nothing(record: DatasetRecord, tmp_path: Path) -> None:
    (file,) = only_form(record).files
    record = with_form(record, files=(replace(file, sha256="0" * 64),))
    with pytest.raises(FetchError, match="HTTP status 404; .*wrong content"):
        fetch(record, open_catalog(), Cache.at(tmp_path))
    assert not (tmp_path / "stores").exists()
    assert list((tmp_path / "downloads/small").iterdir()) == []
    assert prepared_form(record, Cache.at(tmp_path)) is None


def test_a_damaged_or_foreign_store_is_not_used_and_fetch_makes_it_anew(record: DatasetRecord, tmp_path: Path) -> None:
    catalog, cache = open_catalog(), Cache.at(tmp_path)
    path = fetch(record, catalog, cache)
    good = path.read_bytes()
    key = path.stem.removeprefix("pictures-")
    path.write_bytes(good.replace(key.encode(), b"0123456789abcdef"))
    with pytest.raises(StoreError, match="is the store pictures-0123456789abcdef of small, not of small; remove it"):
        load_store(record, catalog, cache)
    assert fetch(record, catalog, cache) == path
    assert path.read_bytes() == good
    path.write_bytes(good[:-1])
    assert fetch(record, catalog, cache).read_bytes() == good


def test_what_is_prepared_is_used_without_a_lock_since_the_cache_may_be_read_only(
    record: DatasetRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, cache = open_catalog(), Cache.at(tmp_path)
    path = fetch(record, catalog, cache)

    def locked(*_: object) -> None:
        raise AssertionError("the lock was taken")

    monkeypatch.setattr(Cache, "lock", locked)
    assert fetch(record, catalog, cache) == path
    assert len(load_store(record, catalog, cache).examples) == 96


def test_a_wrong_path_leaves_no_trace_in_the_cache(record: DatasetRecord, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        import_files(record, open_catalog(), Cache.at(tmp_path / "new"), [tmp_path / "absent"])
    assert not (tmp_path / "new").exists()


def test_verify_says_which_edition_it_is(record: DatasetRecord, small: SmallData, tmp_path: Path) -> None:
    catalog, cache = open_catalog(), Cache.at(tmp_path)
    source = open_store(import_files(record, catalog, cache, [small.folder])).source
    for content, words in ((source, ", reference content"), ("0" * 64, ", content of another edition")):
        pinned = with_form(record, content_sha256=content)
        import_files(pinned, catalog, cache, [small.folder])
        assert verify(pinned, catalog, cache).endswith(words)


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    catalog = open_catalog()
    glyphs = catalog.dataset("glyphs")
    absent = with_form(glyphs, package="no_such_package")
    with pytest.raises(ContentError) as caught:
        fetch(absent, catalog, Cache.at(tmp_path))
    assert str(caught.value) == (
        "glyphs is made from the package no_such_package, which is not installed; run `pip install no_such_package`"
    )


def test_too_many_examples_are_refused(record: DatasetRecord, small: SmallData, tmp_path: Path) -> None:
    wrong = replace(record, raw=replace(record.raw, examples=95))
    with pytest.raises(ContentError, match="small: small.zip holds 96 examples instead of 95; give a complete copy"):
        import_files(wrong, open_catalog(), Cache.at(tmp_path), [small.archive])


def _import_once(folder: Path, root: Path, prepared: "multiprocessing.Queue[str]") -> None:
    catalog = open_catalog()
    path = import_files(catalog.dataset("small"), catalog, Cache.at(root), [folder])
    prepared.put(open_store(path).sha256)


def test_two_processes_may_prepare_at_once(small: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    record = open_catalog().dataset("small")
    context = multiprocessing.get_context("spawn")
    prepared: multiprocessing.Queue[str] = context.Queue()
    arguments = small.folder, tmp_path / "cache", prepared
    processes = [context.Process(target=_import_once, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    digests = {prepared.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert digests == {open_store(store_of(record, Cache.at(tmp_path / "cache"))).sha256}
    assert not list(tmp_path.rglob("*.part"))


def test_examples_ahead_of_the_writer_are_bounded() -> None:
    loaded: list[int] = []

    def load(number: int) -> np.ndarray:
        loaded.append(number)
        return np.full(1, number % 256, np.uint8)

    ahead = write._BLOCK * write._WINDOW
    members = {"a": range(ahead + 7), "b": range(ahead + 7, 3 * ahead)}
    raw = RawDataset(members, load, lambda: "", None)
    with ThreadPoolExecutor(2) as pool:
        arrays = write._load_all(raw, members, pool, "loading")
        first = next(arrays)
        pool.submit(int).result()  # it waits for its turn behind all that was handed to the pool
        assert len(loaded) <= ahead
        everything = [int(array[0]) for array in (first, *arrays)]
    assert everything == [number % 256 for number in range(3 * ahead)]
    assert sorted(loaded) == list(range(3 * ahead))
