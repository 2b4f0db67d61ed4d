"""Task transforms: each takes B tasks as arrays and decides one thing more about all of them.

A transform is any callable from `TaskBatch` to `TaskBatch`. Those here carry learn2learn's names and take the data set
they work on as first argument.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from torch.utils.data import Dataset

from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.index import ClassIndex
from l2l_core.data.labels import plain_labels
from l2l_core.data.sampling import IntArray, bounded, distinct
from l2l_core.data.tasks import TaskBatch, TaskTransform, at_least_one
from l2l_core.errors import TaskError

CLASSES: Final = 1
SHOTS: Final = 2
LABELS: Final = 3
"""Streams of random words, one a kind of choice: the same seed chooses the same classes whatever else is chosen."""


def _known_index(dataset: Dataset[Any]) -> ClassIndex | None:
    """The class index of a data set that has one; to find out that of another would take reading all of it."""
    return dataset.class_index if isinstance(dataset, MetaDataset | PreparedDataset) else None


def _take(values_BN: IntArray | None, places_BN: IntArray) -> IntArray | None:
    """Entries of the class axis, where there are any."""
    if values_BN is None:
        return None
    places = places_BN.reshape(*places_BN.shape, *[1] * (values_BN.ndim - 2))
    return np.take_along_axis(values_BN, places, axis=1)


def _choose(batch: TaskBatch, places_BN: IntArray) -> TaskBatch:
    """The tasks with the classes at some places of the class axis, in that order."""
    classes_BN = places_BN if batch.classes_BN is None else np.take_along_axis(batch.classes_BN, places_BN, axis=1)
    return replace(
        batch,
        classes_BN=classes_BN,
        ids_BNK=_take(batch.ids_BNK, places_BN),
        labels_BN=_take(batch.labels_BN, places_BN),
    )


class NWays:
    """Keeps `n` classes of each task, chosen uniformly without replacement, in the order drawn.

    Raises:
        UsageError: n is below 1.
        TaskError: there are fewer than n classes to choose from.
    """

    def __init__(self, dataset: Dataset[Any], n: int = 2) -> None:
        self.n = at_least_one("ways", n)
        index = _known_index(dataset)
        if index is not None:
            _enough_classes(len(index), n)

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Choose the classes."""
        available = len(batch.index) if batch.classes_BN is None else batch.classes_BN.shape[1]
        _enough_classes(available, self.n)
        words_BN, batch = batch.draw(CLASSES, self.n)
        return _choose(batch, distinct(words_BN, available))


def _enough_classes(available: int, ways: int) -> None:
    if available < ways:
        raise TaskError(f"{ways} ways were asked for, but there are {available} classes; lower the ways")


class KShots:
    """Keeps `k` examples of each class, chosen uniformly.

    Args:
        dataset: what the tasks are drawn from.
        k: examples a class; support and query together where both are to come from them.
        replacement: whether an example may come more than once.

    Raises:
        UsageError: k is below 1.
        TaskError: a class has fewer than k examples; names it.
    """

    def __init__(self, dataset: Dataset[Any], k: int = 1, replacement: bool = False) -> None:
        self.k, self.replacement = at_least_one("shots", k), replacement

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Choose the examples."""
        classes_BN = batch.all_classes_BN
        B, N = classes_BN.shape
        if batch.ids_BNK is None:
            counts_BN = batch.index.counts_C[classes_BN]
        else:
            counts_BN = np.full((B, N), batch.ids_BNK.shape[2])
        if not self.replacement and counts_BN.min() < self.k:
            smallest = int(counts_BN.argmin())
            row = int(classes_BN.flat[smallest])
            raise TaskError(
                f"{self.k} examples a class were asked for, but class {batch.index.name(row)!r} "
                f"has {counts_BN.flat[smallest]}; lower shots or queries, or drop the class"
            )
        words_BM, batch = batch.draw(SHOTS, N * self.k)
        words_RK, counts_R1 = words_BM.reshape(B * N, self.k), counts_BN.reshape(-1, 1)
        chosen_RK = bounded(words_RK, counts_R1) if self.replacement else distinct(words_RK, counts_R1)
        chosen_BNK = chosen_RK.reshape(B, N, self.k)
        if batch.ids_BNK is None:
            ids_BNK = batch.index.ids(batch.index.starts_C[classes_BN][:, :, None] + chosen_BNK)
        else:
            ids_BNK = np.take_along_axis(batch.ids_BNK, chosen_BNK, axis=2)
        return replace(batch, classes_BN=classes_BN, ids_BNK=ids_BNK)


class FilterLabels:
    """Keeps the classes with some labels.

    Raises:
        TaskError: there is no label to keep, no example has one, or the tasks would have different numbers of classes.
    """

    def __init__(self, dataset: Dataset[Any], labels: Iterable[Hashable]) -> None:
        self.labels = plain_labels(labels)
        if not self.labels:
            raise TaskError("FilterLabels was given no label to keep; give at least one")
        index = _known_index(dataset)
        if index is not None:
            _rows(index, self.labels)

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Drop the other classes."""
        keep_C = np.zeros(len(batch.index), bool)
        keep_C[_rows(batch.index, self.labels)] = True
        if batch.classes_BN is None:
            rows_N = np.flatnonzero(keep_C)
            return _choose(batch, np.broadcast_to(rows_N, (len(batch), len(rows_N))))
        keep_BN = keep_C[batch.classes_BN]
        kept_B = keep_BN.sum(axis=1)
        if kept_B.min() != kept_B.max() or not kept_B.any():
            raise TaskError(
                f"of the chosen classes, FilterLabels would keep {kept_B.min()} to {kept_B.max()} a task; "
                f"put it before NWays"
            )
        return _choose(batch, np.nonzero(keep_BN)[1].reshape(len(batch), -1))


def _rows(index: ClassIndex, labels: Iterable[Hashable]) -> list[int]:
    for label in labels:
        if label not in index.rows:
            raise TaskError(
                f"no example has the label {label!r}; the data set has {len(index)} labels, see its .labels"
            )
    return [index.rows[label] for label in labels]


class FusedNWaysKShots:
    """`FilterLabels`, `NWays` and `KShots` in one, and the same tasks as these three one after the other.

    Raises:
        UsageError: n or k is below 1.
        TaskError: there are fewer than n classes, or a class has fewer than k examples.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        n: int = 2,
        k: int = 1,
        replacement: bool = False,
        filter_labels: Iterable[Hashable] | None = None,
    ) -> None:
        self._steps: list[TaskTransform] = [
            *([] if filter_labels is None else [FilterLabels(dataset, filter_labels)]),
            NWays(dataset, n),
            KShots(dataset, k, replacement),
        ]

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Choose classes and examples."""
        for step in self._steps:
            batch = step(batch)
        return batch


class LoadData:
    """Marks the examples for loading; without it a task is the ids of its examples."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        pass

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Mark them."""
        return replace(batch, load=True)


class RemapLabels:
    """Calls the classes of a task 0 to N − 1.

    Args:
        dataset: what the tasks are drawn from.
        shuffle: whether at random; else in the order of the data set's labels, sorted. (learn2learn takes a set's order
            there, which is not always sorted.)
    """

    def __init__(self, dataset: Dataset[Any], shuffle: bool = True) -> None:
        self.shuffle = shuffle

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Name the classes."""
        classes_BN = batch.all_classes_BN
        ways = classes_BN.shape[1]
        if self.shuffle:
            words_BN, batch = batch.draw(LABELS, ways)
            labels_BN = distinct(words_BN, ways)
        else:
            # The rank of each class among those of its task: the inverse of the sorting permutation.
            labels_BN = np.argsort(np.argsort(batch.index.rank_C[classes_BN], axis=1), axis=1)
        return replace(batch, labels_BN=labels_BN)


class ConsecutiveLabels:
    """Puts the classes of a task in the order of the data set's labels, each class's examples together.

    After `RemapLabels` the labels of a task therefore read for example 1 1 0 0 2 2; in either order of the two, the
    examples of a class stay side by side, so that the first K of each are its support set.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        pass

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Order the classes."""
        return _choose(batch, np.argsort(batch.index.rank_C[batch.all_classes_BN], axis=1))
