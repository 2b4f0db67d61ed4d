"""The prefetcher: the same batches, a bounded number ahead, and a thread that is gone whenever its loop is."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count, islice

import pytest
from torch.utils.data import DataLoader

from l2l_core.data.loaders import TaskStream
from l2l_core.data.prefetch import Prefetcher
from l2l_core.errors import TaskError, UsageError
from tests.data.processes import Failing, Numbers

WAIT_S = 20


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "l2l-prefetch"] == []


class Counted:
    """0, 1, 2 and so on; knows how many were taken, where, and whether the last loop over it has been closed."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.taken, self.closed = stop, 0, False
        self.threads: set[str] = set()

    def __iter__(self) -> Iterator[int]:
        self.closed = False
        try:
            for number in count() if self.stop is None else range(self.stop):
                self.taken += 1
                self.threads.add(threading.current_thread().name)
                yield number
        finally:
            self.closed = True


def until(condition: object) -> None:
    """Wait until something holds."""
    stop = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.001)


@pytest.mark.parametrize("depth", [1, 2, 100])
@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_the_batches_are_those_of_the_source_again_and_again(length: int, depth: int) -> None:
    source = Counted(length)
    batches = Prefetcher(source, depth)
    for _ in range(2):
        assert list(batches) == list(range(length))
        assert source.closed
    assert source.threads <= {"l2l-prefetch"}
    once = Prefetcher(iter(range(3)))
    assert (list(once), list(once)) == ([0, 1, 2], [])


@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_so_many_batches_ahead_and_no_more(depth: int) -> None:
    source = Counted()
    loop = iter(Prefetcher(source, depth))
    for used in range(1, 5):
        next(loop)
        until(lambda used=used: source.taken == used + depth + 1)
        time.sleep(0.01)
        assert source.taken == used + depth + 1
    loop.close()


def test_batches_are_made_while_one_is_used() -> None:
    made, used = threading.Event(), threading.Event()

    def two() -> Iterator[int]:
        yield 0
        assert used.wait(WAIT_S)
        made.set()
        yield 1

    loop = iter(Prefetcher(two(), 1))
    assert next(loop) == 0
    used.set()
    assert made.wait(WAIT_S), "the second is made though nobody has asked for it"
    assert list(loop) == [1]


def failing(error: BaseException) -> Iterator[int]:
    yield 0
    yield 1
    raise error


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_comes_after_the_batches_before_it(error: BaseException) -> None:
    found = []
    with pytest.raises(type(error)) as caught:
        found.extend(Prefetcher(failing(error), 5))
    assert caught.value is error
    assert any(entry.name == "failing" for entry in caught.traceback), "it says where it was raised"
    for batch in (taken := iter(Prefetcher(failing(error), 1))):
        found.append(batch)
        if batch == 1:
            break
    taken.close()
    assert found[-2:] == [0, 1]


def test_what_cannot_be_iterated_over_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        next(iter(Prefetcher(3)))
    with pytest.raises(UsageError, match="depth is 0; give at least 1"):
        Prefetcher([], 0)


def test_leaving_early_stops_the_source() -> None:
    source = Counted()
    for batch in Prefetcher(source, 3):
        if batch == 2:
            break
    until(lambda: source.closed)
    taken = source.taken
    assert 3 <= taken <= 7
    with pytest.raises(TaskError):
        for _ in Prefetcher(source):
            raise TaskError("the training broke")
    assert source.closed


def test_leaving_waits_for_the_batch_that_is_being_made() -> None:
    begun, finished = threading.Event(), []

    def slow() -> Iterator[int]:
        yield 0
        begun.set()
        time.sleep(0.05)
        finished.append(True)
        yield 1

    loop = iter(Prefetcher(slow()))
    next(loop)
    assert begun.wait(WAIT_S)
    loop.close()
    assert finished


def test_loops_nest_and_run_side_by_side() -> None:
    batches = Prefetcher(Counted(3), 2)
    assert [(a, b) for a in batches for b in batches] == [(a, b) for a in range(3) for b in range(3)]
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(list(Prefetcher(range(200), 2)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(200))] * 4


def test_a_loop_that_another_thread_began_can_be_gone_on_with() -> None:
    loop = iter(Prefetcher(range(50), 1))
    starter = threading.Thread(target=lambda: next(loop))
    starter.start()
    starter.join()
    time.sleep(0.3)
    assert list(loop) == list(range(1, 50))


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_it_takes_tasks_streams_and_loaders(workers: int | None) -> None:
    tasks = Numbers(9)
    stream: Iterable[object] = TaskStream(tasks, 2)
    source = stream if workers is None else DataLoader(stream, batch_size=None, num_workers=workers)
    batches = Prefetcher(source)
    assert len(batches) == 5
    assert [numbers.tolist() for numbers, _ in batches] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert [int(number) for number, _ in islice(Prefetcher(Numbers()), 4)] == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="generator has no length"):
        len(Prefetcher(number for number in range(3)))
    with pytest.raises(TaskError, match="task 5 cannot be drawn; take another"):
        list(Prefetcher(TaskStream(Failing(9), 2)))


BATCHES = "from itertools import count; from l2l_core.data.prefetch import Prefetcher; batches = Prefetcher(count());"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("loop = iter(batches); print(next(loop))", "0\n"),
        ("import sys\nfor batch in batches: sys.exit(print(batch))", "0\n"),
        (
            "import atexit; loop = iter(batches); print(next(loop)); atexit.register(lambda: print(next(loop)))",
            "0\n1\n",
        ),
        (
            "import threading, time, itertools\n"
            "def use():\n"
            "    loop = iter(batches); next(loop); time.sleep(0.5); print(list(itertools.islice(loop, 9))[-1])\n"
            "threading.Thread(target=use).start()",
            "9\n",
        ),
        (
            "import os, signal, time\n"
            "try:\n"
            "    for batch in batches: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
            "except KeyboardInterrupt: import threading; print(threading.active_count())",
            "1\n",
        ),
        (
            "import os, signal, threading, time\n"
            "def slow():\n"
            "    yield 0\n"
            "    os.kill(os.getpid(), signal.SIGINT); time.sleep(0.3); yield 1\n"
            "try: print(list(Prefetcher(slow())))\n"
            "except KeyboardInterrupt: print(threading.active_count())",
            "1\n",
        ),
    ],
    ids=["dropped", "exit", "atexit", "another-thread", "ctrl-c-while-using", "ctrl-c-while-waiting"],
)
def test_the_interpreter_exits(program: str, said: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{BATCHES}\n{program}"], capture_output=True, text=True, timeout=60
    )
    assert (run.stdout, run.stderr, run.returncode) == (said, "", 0)
