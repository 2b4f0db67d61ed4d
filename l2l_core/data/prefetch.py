"""Batches made ahead of their use by a thread: no worker processes, no pickling, nothing copied between processes."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from typing import Final, Generic, TypeVar

from l2l_core.data.batches import at_least_one

Batch = TypeVar("Batch")

_LOOK_S: Final = 0.1
"""How often a thread with nothing to do looks whether anybody is left to work for."""


class Prefetcher(Generic[Batch]):
    """The same batches, the next ones of which are made in the background while one is used.

    It helps where both sides leave Python's lock alone for most of the time, as gathering and converting arrays and a
    training step on PyTorch do. Each loop has a thread and an iterator of its own, so loops may nest where the source's
    may, and begin again where it can. An error of the source is raised once the batches before it have been given.
    Leaving a loop early, also by an error or Ctrl-C, waits for the batch that is being made, and no other is made; a
    loop that nobody left before the interpreter exits does not hold it up.

    The source is ahead: a `state_dict` taken from it counts up to depth + 1 batches that have not been used.

    Args:
        batches: anything to iterate over: tasks, a `TaskStream`, a loader.
        depth: how many batches may lie ready.

    Raises:
        UsageError: depth is below 1.
    """

    def __init__(self, batches: Iterable[Batch], depth: int = 2) -> None:
        self.batches = batches
        self.depth = at_least_one("depth", depth)

    def __len__(self) -> int:
        if not isinstance(self.batches, Sized):
            raise TypeError(f"{type(self.batches).__name__} has no length")
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        # The iterator belongs to the thread alone, so that it goes when the thread does.
        loop = _Loop[Batch](self.depth)
        thread = threading.Thread(target=loop.fill, args=(iter(self.batches),), name="l2l-prefetch")
        try:
            thread.start()
            yield from loop.take()
        finally:
            loop.leave()
            # The garbage collector may close a loop from any thread, also from this one.
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()


class _Loop(Generic[Batch]):
    """What a thread and the loop it works for share."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._changed = threading.Condition()
        self._ready: deque[Batch] = deque()
        self._error: BaseException | None = None
        self._ended = self._left = False
        self._user = threading.current_thread()

    def fill(self, batches: Iterator[Batch]) -> None:
        """Make batches, as long as there are any and they are wanted."""
        try:
            for batch in batches:
                if not self._put(batch):
                    break
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _put(self, batch: Batch) -> bool:
        """Lay a batch down once there is room; whether to make another."""
        with self._changed:
            while len(self._ready) >= self._depth and not self._left:
                self._changed.wait(_LOOK_S)
                # The interpreter waits for this thread to end before it exits, and nobody may be left to tell it to.
                if not (self._user.is_alive() or threading.main_thread().is_alive()):
                    return False
            self._ready.append(batch)
            self._changed.notify()
            return not self._left

    def take(self) -> Iterator[Batch]:
        """The batches, each as soon as it is there; then the error that ended them, if one did."""
        while True:
            with self._changed:
                self._user = threading.current_thread()
                self._changed.wait_for(lambda: self._ready or self._ended)
                if not self._ready:
                    break
                batch = self._ready.popleft()
                self._changed.notify()
            yield batch
        if self._error is not None:
            try:
                raise self._error
            finally:
                # Its traceback leads back here: what it holds would stay until the garbage is collected.
                self._error = None

    def leave(self) -> None:
        """Tell the thread that no batch is wanted any more."""
        with self._changed:
            self._left = True
            self._ready.clear()
            self._changed.notify()
