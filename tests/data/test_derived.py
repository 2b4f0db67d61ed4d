"""What is made once: kept, made anew where it is damaged or of another shape, and made by one process of several."""

import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from l2l_core.data.derived import Arrays, made_or_kept
from l2l_core.errors import CacheError
from l2l_core.fetch.cache import Cache

FILE = "vectors/some.safetensors"


class Maker:
    """Makes two arrays, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Arrays:
        self.count += 1
        return {"vectors": np.full((3, 2), self.count, np.float32), "bounds": np.arange(4)}


def fits(found: Arrays) -> bool:
    return found["vectors"].shape == (3, 2) and found["bounds"].dtype == np.int64


def kept(root: Path, make: Maker) -> Arrays:
    return made_or_kept(Cache.at(root), "news", FILE, make, fits)


def test_arrays_are_made_once_and_read_from_then_on(tmp_path: Path) -> None:
    make = Maker()
    first, again = kept(tmp_path, make), kept(tmp_path, make)
    assert make.count == 1
    for name, dtype in (("vectors", np.float32), ("bounds", np.int64)):
        np.testing.assert_array_equal(first[name], again[name])
        assert again[name].dtype == dtype
    assert (Cache.at(tmp_path).stores("news") / FILE).is_file()
    assert not list(tmp_path.rglob("*.part*")), "nothing is left half written"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no safetensors at all",
        safetensors.numpy.save({"vectors": np.zeros((3, 2), np.float32), "bounds": np.arange(4)})[:-1],
        safetensors.numpy.save({"vectors": np.zeros((4, 2), np.float32), "bounds": np.arange(4)}),
        safetensors.numpy.save({"vectors": np.zeros((3, 2), np.float32), "bounds": np.arange(4.0)}),
        safetensors.numpy.save({"vectors": np.zeros((3, 2), np.float32)}),
    ],
    ids=["empty", "other", "cut", "shape", "type", "absent"],
)
def test_a_file_that_is_not_right_is_made_anew(tmp_path: Path, content: bytes) -> None:
    make = Maker()
    kept(tmp_path, make)
    path = Cache.at(tmp_path).stores("news") / FILE
    path.write_bytes(content)
    assert (kept(tmp_path, make)["vectors"] == 2).all()
    assert make.count == 2
    assert (kept(tmp_path, make)["vectors"] == 2).all(), "what was made anew has taken its place"
    assert make.count == 2


def test_what_fails_to_be_made_leaves_nothing_and_the_lock_free(tmp_path: Path) -> None:
    def fail() -> Arrays:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_or_kept(Cache.at(tmp_path), "news", FILE, fail, fits)
    assert not list(tmp_path.rglob("*.safetensors*"))
    make = Maker()
    kept(tmp_path, make)
    assert make.count == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = Cache.at(tmp_path).stores("news")
    folder.mkdir(parents=True)
    (folder / "vectors").write_text("a file stands where the folder would")
    with pytest.raises(CacheError) as caught:
        kept(tmp_path, Maker())
    assert str(folder / FILE) in str(caught.value) or str(folder / "vectors") in str(caught.value)


def _make_slowly(root: Path, both_are_there: Any, made: Any) -> None:
    def make() -> Arrays:
        made.put(1)
        time.sleep(0.5)
        return Maker()()

    both_are_there.wait(60)
    found = made_or_kept(Cache.at(root), "news", FILE, make, fits)
    assert (found["vectors"] == 1).all()


def test_of_two_processes_one_makes_and_the_other_waits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both_are_there, made = context.Barrier(2), context.SimpleQueue()
    processes = [context.Process(target=_make_slowly, args=(tmp_path, both_are_there, made)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert made.get() == 1
    assert made.empty()


def test_who_waited_reads_what_was_made_meanwhile(tmp_path: Path) -> None:
    """One waits for the lock from before the file is there until after."""
    cache, make, waited = Cache.at(tmp_path), Maker(), Maker()
    with cache.lock("news"):
        other = threading.Thread(target=kept, args=(tmp_path, waited))
        other.start()
        time.sleep(0.1)
        assert other.is_alive()
        path = cache.stores("news") / FILE
        path.parent.mkdir(parents=True)
        safetensors.numpy.save_file(dict(make()), path)
    other.join(60)
    assert not other.is_alive()
    assert waited.count == 0
