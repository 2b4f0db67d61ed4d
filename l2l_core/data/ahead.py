"""Tasks described ahead of their time: over small batches, most of the work is the same for one task as for 256."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from l2l_core.data.batches import BatchTransform, TaskBatch, describe
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError

_TASKS: Final = 256
_IDS: Final = 2**15
"""At most so many tasks are described ahead, and so many example ids: a quarter of a megabyte."""
_LAST: Final = 2**62
"""Task numbers beyond it are left to `describe`, so that none ahead of them overflows."""


class ReadAhead:
    """`describe` for those who mostly ask for the next tasks: it describes more of them at once, and keeps these.

    It gives what `describe` gives, since each task is a function of (seed, number) alone, and it only remembers what
    was asked last. Threads may share it; it pickles without what it keeps.
    """

    def __init__(self) -> None:
        self._next, self._ahead = -1, 0
        self._kept: tuple[tuple[Any, ...], TaskBatch] | None = None

    def __reduce__(self) -> tuple[Callable[[], "ReadAhead"], tuple[()]]:
        return type(self), ()

    def __call__(
        self, index: ClassIndex, seed: int, tasks_B: IntArray, transforms: Sequence[BatchTransform]
    ) -> TaskBatch:
        """The integer arrays of some tasks; arguments and errors are those of `describe`."""
        first, stop = int(tasks_B[0]), int(tasks_B[-1]) + 1
        if stop - first != len(tasks_B) or stop > _LAST or (np.diff(tasks_B) != 1).any():
            return describe(index, seed, tasks_B, transforms)
        expected, self._next = self._next, stop
        # Held by themselves, for a list of transforms may have changed since.
        made_of = (index, seed, *transforms)
        kept = self._kept
        if kept is None or not _alike(kept[0], made_of) or not _holds(kept[1], first, stop):
            kept = None
            if first == expected and len(tasks_B) < self._ahead:
                kept = self._kept = self._described(made_of, first)
        if kept is not None:
            return _cut(kept[1], first, stop)
        batch = describe(index, seed, tasks_B, transforms)
        self._ahead = 0 if batch.ids_BNK is None else min(_TASKS, _IDS // max(1, batch.ids_BNK[0].size))
        return batch

    def _described(self, made_of: tuple[Any, ...], first: int) -> tuple[tuple[Any, ...], TaskBatch] | None:
        index, seed, *transforms = made_of
        try:
            return made_of, describe(index, seed, np.arange(first, first + self._ahead), transforms)
        except TaskError:
            # Of a task that nobody has asked for yet; whoever does is told.
            return None


def _alike(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _holds(batch: TaskBatch, first: int, stop: int) -> bool:
    return bool(batch.tasks_B[0] <= first and stop <= batch.tasks_B[-1] + 1)


def _cut(batch: TaskBatch, first: int, stop: int) -> TaskBatch:
    """Tasks `first` to `stop` − 1 of those of a batch, copied, so that nobody writes into what is kept."""
    part = slice(first - int(batch.tasks_B[0]), stop - int(batch.tasks_B[0]))
    classes, ids, labels = (
        None if values is None else values[part].copy() for values in (batch.classes_BN, batch.ids_BNK, batch.labels_BN)
    )
    return replace(batch, tasks_B=batch.tasks_B[part].copy(), classes_BN=classes, ids_BNK=ids, labels_BN=labels)
