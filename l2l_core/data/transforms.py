"""Task transforms: each takes B tasks as arrays and decides one thing more about all of them.

A transform is a callable from `TaskBatch` to `TaskBatch` that is marked with `on_batches`; one that is not marked takes
and returns a list of `DataDescription`. Those here carry learn2learn's names and take the data set they work on as
first argument.

They may also be called by a user's own transform, with a list of `DataDescription` or None for all examples, and then
give such a list. The list is taken for a single task of arrays, whose seed comes from Python's `random`: a
`TaskDataset` seeds that from (seed, i) while it calls anybody's callable, so the task stays a function of these;
elsewhere it is up to `random.seed`.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, TypeVar, overload

import numpy as np

from l2l_core.data.batches import Augmentation, TaskBatch, at_least_one, whole
from l2l_core.data.descriptions import DataDescription as DataDescription
from l2l_core.data.descriptions import TaskTransform as TaskTransform
from l2l_core.data.descriptions import descriptions_of, listed
from l2l_core.data.index import ClassIndex, plain_labels
from l2l_core.data.sampling import IntArray, WordArray, bounded, distinct
from l2l_core.errors import TaskError, UsageError

CLASSES: Final = 1
SHOTS: Final = 2
LABELS: Final = 3
"""Streams of random words, one a kind of choice: the same seed chooses the same classes whatever else is chosen."""

_Marked = TypeVar("_Marked", bound=Callable[..., Any])


def on_batches(transform: _Marked) -> _Marked:
    """The same function or class, marked as one that works on a `TaskBatch`, for use as a decorator."""
    # Of a class it is the method that has the mark: a class derived from it may take lists in one of its own.
    marked: Any = transform.__call__ if isinstance(transform, type) else transform
    marked.takes_batches = True
    return transform


def takes_batches(transform: Any) -> bool:
    """Whether a transform works on a `TaskBatch`; else it takes and returns a list of `DataDescription`."""
    if isinstance(transform, Augmentation):
        return True
    return any(getattr(marked, "takes_batches", False) for marked in (transform, transform.__call__))


def _known_index(dataset: object) -> ClassIndex | None:
    """The class index of a data set that has one; to find out that of another would take reading all of it."""
    index = getattr(dataset, "class_index", None)
    return index if isinstance(index, ClassIndex) else None


class ArrayTransform(TaskTransform, ABC):
    """Base of the transforms here, which say `decided` for arrays and thereby take lists as well.

    Args:
        dataset: what the tasks are drawn from.
    """

    @abstractmethod
    def decided(self, batch: TaskBatch) -> TaskBatch:
        """The tasks, one thing more decided about all of them."""

    @overload
    def __call__(self, task_description: TaskBatch) -> TaskBatch: ...
    @overload
    def __call__(self, task_description: list[DataDescription] | None) -> list[DataDescription]: ...
    @on_batches
    def __call__(self, task_description: Any) -> Any:
        """The tasks as `decided`; of a list of `DataDescription`, or None for all examples, a list.

        Raises:
            UsageError: that is none of these.
            TypeError: a list, while the data set is no torch data set.
            TaskError: the data set cannot give such a task, or the list is empty.
            IndexError: the data set has no such example.
        """
        if isinstance(task_description, TaskBatch):
            return self.decided(task_description)
        dataset, who = self._meta_dataset, type(self).__name__
        index = dataset.class_index
        batch = TaskBatch(index, random.getrandbits(63), np.zeros(1, np.int64))
        if task_description is not None:
            batch = listed(batch, task_description, index, f"{who} was given", "give one, or None for all examples")
        return descriptions_of(self.decided(batch), dataset)

    @cached_property
    def _meta_dataset(self) -> Any:
        """The data set with its examples sorted out by label, to which it may have to be read once."""
        if _known_index(self.dataset) is not None:
            return self.dataset
        from l2l_core.data.datasets import MetaDataset

        return MetaDataset(self.dataset)


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


class NWays(ArrayTransform):
    """Keeps `n` classes of each task, chosen uniformly without replacement, in the order drawn.

    Raises:
        UsageError: n is below 1.
        TaskError: there are fewer than n classes to choose from, or `RemapLabels` has numbered them already.
    """

    def __init__(self, dataset: Any, n: int = 2) -> None:
        super().__init__(dataset)
        self.n = at_least_one("ways", n)
        index = _known_index(dataset)
        if index is not None:
            _enough_classes(len(index), self.n)

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Choose the classes."""
        _labels_come_later(batch, self)
        available = len(batch.index) if batch.classes_BN is None else batch.classes_BN.shape[1]
        _enough_classes(available, self.n)
        words_BN, batch = batch.draw(CLASSES, self.n)
        return _choose(batch, distinct(words_BN, available))


def _enough_classes(available: int, ways: int) -> None:
    if available < ways:
        raise TaskError(f"{ways} ways were asked for, but there are {available} classes; lower the ways")


class KShots(ArrayTransform):
    """Keeps `k` examples of each class, chosen uniformly, and `queries` more behind them.

    Args:
        dataset: what the tasks are drawn from.
        k: examples a class; support and query together where nothing is said of queries.
        replacement: whether an example may come more than once.
        queries: how many further examples a class; none of them is among the `k`, even with replacement.

    Raises:
        UsageError: k is below 1, or queries below 0.
        TaskError: a class has too few examples; names it.
    """

    def __init__(self, dataset: Any, k: int = 1, replacement: bool = False, queries: int = 0) -> None:
        super().__init__(dataset)
        self.k, self.replacement, self.queries = at_least_one("shots", k), replacement, whole("queries", queries)
        if self.queries < 0:
            raise UsageError(f"queries is {self.queries}; give 0 or more")

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Choose the examples."""
        classes_BN = batch.all_classes_BN
        B, N = classes_BN.shape
        if batch.ids_BNK is None:
            counts_BN = batch.index.counts_C[classes_BN]
        else:
            counts_BN = np.full((B, N), batch.ids_BNK.shape[2])
        total = self.k + self.queries
        # With replacement, the k may be k different ones, and there must be one left to query.
        needed = (self.k + 1 if self.queries else 1) if self.replacement else total
        if counts_BN.min() < needed:
            smallest = int(counts_BN.argmin())
            name, count = batch.index.name(int(classes_BN.flat[smallest])), counts_BN.flat[smallest]
            apart = " that keep queries apart" if needed != total else ""
            raise TaskError(
                f"{needed} examples a class{apart} were asked for, but class {name!r} has {count}; "
                f"lower shots or queries, or drop the class"
            )
        words_BM, batch = batch.draw(SHOTS, N * total)
        words_RK, counts_R1 = words_BM.reshape(B * N, total), counts_BN.reshape(-1, 1)
        chosen_RK = self._with_replacement(words_RK, counts_R1) if self.replacement else distinct(words_RK, counts_R1)
        chosen_BNK = chosen_RK.reshape(B, N, total)
        if batch.ids_BNK is None:
            ids_BNK = batch.index.ids(batch.index.starts_C[classes_BN][:, :, None] + chosen_BNK)
        else:
            ids_BNK = np.take_along_axis(batch.ids_BNK, chosen_BNK, axis=2)
        return replace(batch, classes_BN=classes_BN, ids_BNK=ids_BNK)

    def _with_replacement(self, words_RK: WordArray, counts_R1: IntArray) -> IntArray:
        """Places in the class, [R, k + queries]; the queries are drawn from those places that are not among the k."""
        if not self.queries:
            return bounded(words_RK, counts_R1)
        shots_RK = np.sort(bounded(words_RK[:, : self.k], counts_R1), axis=1)
        again_RK = np.diff(shots_RK, axis=1, prepend=-1) == 0
        left_R1 = counts_R1 - (~again_RK).sum(axis=1, keepdims=True)
        queries_RQ = bounded(words_RK[:, self.k :], left_R1)
        # The places left are numbered without the taken ones: past each of those, from below, a number is one greater.
        for taken_R, again_R in zip(shots_RK.T, again_RK.T, strict=True):
            queries_RQ += (queries_RQ >= taken_R[:, None]) & ~again_R[:, None]
        return np.concatenate([bounded(words_RK[:, : self.k], counts_R1), queries_RQ], axis=1)


class FilterLabels(ArrayTransform):
    """Keeps the classes with some labels.

    Raises:
        TaskError: there is no label to keep, no example has one, the tasks would have different numbers of classes, or
            `RemapLabels` has numbered the classes already.
    """

    def __init__(self, dataset: Any, labels: Iterable[Hashable]) -> None:
        super().__init__(dataset)
        self.labels = labels_to_keep(labels, type(self).__name__)
        self._kept_of: tuple[ClassIndex, IntArray] | None = None
        index = _known_index(dataset)
        if index is not None:
            rows_of_labels(index, self.labels)

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Drop the other classes."""
        _labels_come_later(batch, self)
        kept_N = self._kept(batch)
        if batch.classes_BN is None:
            return _choose(batch, np.broadcast_to(kept_N, (len(batch), len(kept_N))))
        keep_BN = np.isin(batch.classes_BN, kept_N)
        kept_B = keep_BN.sum(axis=1)
        if kept_B.min() != kept_B.max() or not kept_B.any():
            raise TaskError(
                f"of the chosen classes, FilterLabels would keep {kept_B.min()} to {kept_B.max()} a task; "
                f"put it before NWays"
            )
        return _choose(batch, np.nonzero(keep_BN)[1].reshape(len(batch), -1))

    def _kept(self, batch: TaskBatch) -> IntArray:
        """Rows of the classes to keep, in order."""
        if batch.listed is not None:
            # The list of one task need not have them all.
            labels = [label for label in self.labels if label in batch.index.rows]
            if not labels:
                raise TaskError("no example of the list has a label that FilterLabels keeps; keep others")
            return np.unique(rows_of_labels(batch.index, labels))
        known = self._kept_of
        if known is None or known[0] is not batch.index:
            # Looked up once for all tasks of a data set, as there may be as many labels as classes.
            self._kept_of = known = batch.index, np.unique(rows_of_labels(batch.index, self.labels))
        return known[1]


def labels_to_keep(labels: Iterable[Any], who: str) -> list[Any]:
    """The labels as a data set's index has them.

    Raises:
        TaskError: there is none, or one cannot be a dictionary's key.
        UsageError: that is no list of labels.
    """
    plain = checked_labels(labels, who)
    if not plain:
        raise TaskError(f"{who} was given no label to keep; give at least one")
    return plain


def checked_labels(labels: Iterable[Any], who: str) -> list[Any]:
    """The labels as a data set's index has them.

    Args:
        labels: any number of them.
        who: whose they are, for a message.

    Raises:
        TaskError: one cannot be a dictionary's key.
        UsageError: that is no list of labels.
    """
    if not isinstance(labels, Iterable):
        raise UsageError(f"{who}: {labels!r} is no list of labels; give [{labels!r}] for a single one")
    plain = plain_labels(labels)
    for label in plain:
        try:
            hash(label)
        except TypeError as error:
            raise TaskError(f"{who}: {label!r} cannot be a label ({error}); give integers or texts") from None
    return plain


def rows_of_labels(index: ClassIndex, labels: Iterable[Hashable]) -> list[int]:
    """The rows of the classes with some labels, in that order.

    Raises:
        TaskError: no example has one of them.
    """
    for label in labels:
        if label not in index.rows:
            raise TaskError(
                f"no example has the label {label!r}; the data set has {len(index)} labels, see its .labels"
            )
    return [index.rows[label] for label in labels]


def _labels_come_later(batch: TaskBatch, transform: object) -> None:
    if batch.labels_BN is not None:
        raise TaskError(
            f"{type(transform).__name__} would leave gaps in the labels that RemapLabels has given; put it before that"
        )


class FusedNWaysKShots(ArrayTransform):
    """`FilterLabels`, `NWays` and `KShots` in one, and the same tasks as these three one after the other.

    Raises:
        UsageError: n or k is below 1.
        TaskError: there are fewer than n classes, or a class has fewer than k examples.
    """

    def __init__(
        self,
        dataset: Any,
        n: int = 2,
        k: int = 1,
        replacement: bool = False,
        filter_labels: Iterable[Hashable] | None = None,
    ) -> None:
        super().__init__(dataset)
        self._steps: list[Callable[[TaskBatch], TaskBatch]] = [
            *([] if filter_labels is None else [FilterLabels(dataset, filter_labels)]),
            NWays(dataset, n),
            KShots(dataset, k, replacement),
        ]

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Choose classes and examples."""
        for step in self._steps:
            batch = step(batch)
        return batch


class LoadData(ArrayTransform):
    """Marks the examples for loading; without it a task is the ids of its examples."""

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Mark them."""
        return replace(batch, load=True)


class RemapLabels(ArrayTransform):
    """Calls the classes of a task 0 to N − 1.

    Args:
        dataset: what the tasks are drawn from.
        shuffle: whether at random; else in the order of the data set's labels, sorted. (learn2learn takes a set's order
            there, which is not always sorted.)
    """

    def __init__(self, dataset: Any, shuffle: bool = True) -> None:
        super().__init__(dataset)
        self.shuffle = shuffle

    def decided(self, batch: TaskBatch) -> TaskBatch:
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


class ConsecutiveLabels(ArrayTransform):
    """Puts the classes of a task in the order of the data set's labels, each class's examples together.

    After `RemapLabels` the labels of a task therefore read for example 1 1 0 0 2 2; in either order of the two, the
    examples of a class stay side by side, so that the first K of each are its support set.
    """

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Order the classes."""
        return _choose(batch, np.argsort(batch.index.rank_C[batch.all_classes_BN], axis=1))
