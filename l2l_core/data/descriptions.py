"""A task as learn2learn describes it: a list of examples with functions to apply, which a user's own callable changes.

There is one implementation of every transform, on arrays. What a callable makes of a list is seen by the transforms
behind it as a small data set: its examples are the places of the list, sorted out by label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from l2l_core.data.batches import TaskBatch, whole
from l2l_core.data.index import ClassIndex, spans
from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError, UsageError


@dataclass(eq=False)
class DataDescription:
    """An example of a task, before it is loaded.

    Attributes:
        index: the example's id in the data set.
        transforms: what makes a sample of it, one after another: the first takes the index, each other what the one
            before it gave. `LoadData` adds one that gives (input, label), `RemapLabels` one that changes the label.
    """

    index: int
    transforms: list[Callable[[Any], Any]] = field(default_factory=list)

    def sample(self) -> Any:
        """What the functions make of the index."""
        value: Any = self.index
        for transform in self.transforms:
            value = transform(value)
        return value


class TaskTransform:
    """Base class for a user's own transforms of lists of `DataDescription`, as in learn2learn.

    It need not be used: any callable that takes and returns such a list will do, anywhere among the transforms. The
    first one of all gets None, which means all examples.

    Args:
        dataset: what the tasks are drawn from.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def new_task(self) -> list[DataDescription]:
        """A description of every example."""
        return [DataDescription(index) for index in range(len(self.dataset))]

    def __call__(self, task_description: list[DataDescription] | None) -> list[DataDescription]:
        """The examples that the task is to have; for derived classes to say."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__ of its own")


@dataclass(frozen=True, slots=True)
class Load:
    """Function of a description: index to (input, label), the label being the one that the tasks go by."""

    dataset: Any

    def __call__(self, index: int) -> tuple[Any, Any]:
        """The example; what a data set gives behind the label is left out."""
        value, own = self.dataset[index][:2]
        known: ClassIndex = self.dataset.class_index
        row = int(known.rows_of(np.array([index]))[0])
        if row < 0:
            raise IndexError(f"example {index} has no label in this data set; take another")
        label = known.labels[row]
        return Relabel(label)((value, own)) if isinstance(label, int) else (value, label)


@dataclass(frozen=True, slots=True)
class Relabel:
    """Function of a description: sample to sample with another label."""

    label: int

    def __call__(self, sample: Sequence[Any]) -> tuple[Any, ...]:
        """The sample with that label; a tensor, where its own is one, on the same device."""
        value, own, *more = sample
        return value, own.new_tensor(self.label).long() if hasattr(own, "new_tensor") else self.label, *more


def descriptions_of(batch: TaskBatch, dataset: Any) -> list[DataDescription]:
    """The examples of a single task, with the functions that load and label them.

    Args:
        batch: of one task; its classes may have different numbers of examples.
        dataset: to load from.

    Raises:
        TaskError: an augmentation of the whole task is to be done.
    """
    assert len(batch) == 1
    if batch.augmentations:
        raise TaskError(
            f"{type(batch.augmentations[0]).__name__} changes whole tasks, so it is no part of a description; put "
            "transforms of DataDescription before it"
        )
    ids_M, places_M = _members(batch)
    described = []
    for index, place in zip(ids_M.tolist(), places_M.tolist(), strict=True):
        known = DataDescription(index) if batch.listed is None else batch.listed[index]
        functions = list(known.transforms)
        if batch.load and not any(isinstance(function, Load) for function in functions):
            functions.append(Load(dataset))
        if batch.labels_BN is not None:
            functions.append(Relabel(int(batch.labels_BN[0, place])))
        described.append(DataDescription(known.index, functions))
    return described


def members(batch: TaskBatch) -> tuple[IntArray, IntArray]:
    """The examples of some tasks, class by class, int64 [B, M], and the place of each one's class on the axis N, [M].

    Raises:
        TaskError: there are several tasks, whose classes have different numbers of examples.
    """
    if batch.ids_BNK is not None or len(batch) > 1:
        ids_BNK = batch.all_ids_BNK
        B, N, K = ids_BNK.shape
        return ids_BNK.reshape(B, N * K), np.repeat(np.arange(N), K)
    classes_N = batch.all_classes_BN[0]
    starts_N, counts_N = batch.index.starts_C[classes_N], batch.index.counts_C[classes_N]
    return batch.index.ids(spans(starts_N, counts_N))[None], np.repeat(np.arange(len(classes_N)), counts_N)


def example_ids(batch: TaskBatch, dataset: Any) -> list[int]:
    """The ids of a single task's examples in its data set, in order, whoever has chosen them."""
    if batch.listed is None:
        ids: list[int] = members(batch)[0][0].tolist()
        return ids
    return [each.index for each in descriptions_of(replace(batch, augmentations=()), dataset)]


def _members(batch: TaskBatch) -> tuple[IntArray, IntArray]:
    """The examples of a single task in order, and the place of each one's class on the class axis, both int64 [M]."""
    (ids_M,), places_M = members(batch)
    if batch.classes_BN is None and batch.ids_BNK is None:
        # Nothing has put the examples in the order of their classes yet.
        order_M = np.argsort(ids_M)
        return ids_M[order_M], places_M[order_M]
    return ids_M, places_M


def untouched(batch: TaskBatch) -> bool:
    """Whether nothing has been decided yet, so that all examples are meant."""
    decided = (batch.classes_BN, batch.ids_BNK, batch.labels_BN, batch.listed)
    return not batch.load and all(each is None for each in decided)


def listed(batch: TaskBatch, descriptions: Any, index: ClassIndex, said: str, advice: str) -> TaskBatch:
    """The task whose examples somebody has listed.

    Args:
        batch: of one task, what was decided before.
        descriptions: the list.
        index: of the data set.
        said: who gave or was given it, the beginning of a message.
        advice: what to do where it is no list, the end of that.

    Raises:
        UsageError: that is no list of `DataDescription`, or one has an index that is not whole.
        TaskError: the list is empty.
        IndexError: the data set has no such example.
    """
    if not isinstance(descriptions, list | tuple) or not all(map(_describes, descriptions)):
        raise UsageError(f"{said} {_kind(descriptions)} instead of a list of DataDescription; {advice}")
    if not descriptions:
        raise TaskError(f"{said} no example; a task has at least one")
    ids_M = np.array([whole(f"the index {said}", description.index) for description in descriptions], np.int64)
    rows_M = index.rows_of(ids_M)
    if rows_M.min() < 0:
        raise IndexError(f"{said} example {ids_M[rows_M.argmin()]}, which the data set does not have")
    rows = rows_M.tolist()
    its_index = ClassIndex.of_labels([index.labels[row] for row in rows])
    names = [index.name(row) for row in dict.fromkeys(rows)]
    return replace(
        batch,
        index=replace(its_index, names=names),
        listed=tuple(descriptions),
        classes_BN=None,
        ids_BNK=None,
        labels_BN=None,
    )


def _describes(value: Any) -> bool:
    return hasattr(value, "index") and isinstance(getattr(value, "transforms", None), list)


def _kind(value: Any) -> str:
    wrong = next((each for each in value if not _describes(each)), None) if isinstance(value, list | tuple) else None
    return type(value).__name__ if wrong is None else f"a {type(value).__name__} with a {type(wrong).__name__} in it"
