"""Tasks: batches of integer arrays on their way through the transforms, and the data set that yields them.

Letters in shapes: B tasks, N ways, K examples a class, M = N·K examples of a task.
"""

import operator
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray, WordArray, random_words
from l2l_core.errors import TaskError, UsageError


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """B tasks, as the transforms have decided them so far.

    Attributes:
        seed: of all choices.
        tasks_B: int64 [B], the task numbers.
        classes_BN: int64 [B, N], the rows of the chosen classes in `index`; None while all classes are meant.
        ids_BNK: int64 [B, N, K], the chosen examples of each class; None while all examples are meant.
        labels_BN: int64 [B, N], what each class is called in the task; None while the data set's own label is meant.
        load: whether the examples are to be loaded.
        drawn: how often each stream of random words has been drawn from.
    """

    index: ClassIndex
    seed: int
    tasks_B: IntArray
    classes_BN: IntArray | None = None
    ids_BNK: IntArray | None = None
    labels_BN: IntArray | None = None
    load: bool = False
    drawn: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.tasks_B)

    def draw(self, stream: int, words: int) -> tuple[WordArray, "TaskBatch"]:
        """Random words uint64 [B, words], and the batch that remembers the draw.

        A stream drawn from again gives fresh words, so the same transform may stand in a list twice.
        """
        times = self.drawn.get(stream, 0)
        drawn = MappingProxyType({**self.drawn, stream: times + 1})
        return random_words(self.seed, stream + (times << 32), self.tasks_B, words), replace(self, drawn=drawn)

    @property
    def all_classes_BN(self) -> IntArray:
        """`classes_BN`, written out where it is None."""
        if self.classes_BN is not None:
            return self.classes_BN
        return np.broadcast_to(np.arange(len(self.index)), (len(self), len(self.index)))

    @property
    def all_ids_BNK(self) -> IntArray:
        """`ids_BNK`, written out where it is None.

        Raises:
            TaskError: the classes have different numbers of examples, so that they fill no array.
        """
        if self.ids_BNK is not None:
            return self.ids_BNK
        classes_BN = self.all_classes_BN
        counts_BN = self.index.counts_C[classes_BN]
        if counts_BN.min() != counts_BN.max():
            raise TaskError(
                f"the classes of these tasks have {counts_BN.min()} to {counts_BN.max()} examples; "
                f"add KShots to take the same number of each"
            )
        return self.index.ids(self.index.starts_C[classes_BN][:, :, None] + np.arange(counts_BN.flat[0]))

    @property
    def all_labels_BN(self) -> IntArray:
        """`labels_BN`, written out where it is None."""
        return self.index.values_C[self.all_classes_BN] if self.labels_BN is None else self.labels_BN


TaskTransform: TypeAlias = Callable[[TaskBatch], TaskBatch]


def check_seed(seed: int | None) -> int:
    """The seed, or one from the operating system for None.

    Raises:
        UsageError: it is no whole number, negative, or does not fit 64 bits.
    """
    if seed is None:
        return secrets.randbits(63)
    seed = _whole("seed", seed)
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed {seed} is not between 0 and 2**64 - 1; give another")
    return seed


def at_least_one(name: str, value: int) -> int:
    """The value as an int, whatever integer type it came in.

    Raises:
        UsageError: it is no whole number, or below 1.
    """
    value = _whole(name, value)
    if value < 1:
        raise UsageError(f"{name} is {value}; give at least 1")
    return value


def _whole(name: str, value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}; give a whole number") from None


class TaskDataset(Dataset[Any]):
    """Few-shot tasks drawn from a data set; task i is a pure function of (seed, i).

    So it does not matter in which order, batch, worker or process a task is asked for, and nothing is kept.

    Args:
        dataset: what to draw from; wrapped in a `MetaDataset` where it is none.
        task_transforms: what to do, in order (see `l2l_core.data.transforms`); one callable or a list. None loads all.
        num_tasks: how many tasks there are; −1 for an endless set, which has no length.
        task_collate: makes a task of a list of its (input, label) examples; None stacks them.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).

    ``tasks[i]`` is task i: inputs [M, …] (a list of M texts) and labels int64 [M] after `LoadData`, else example ids
    int64 [M]. ``tasks.batch(indices)`` is the same for B tasks at once: [B, M, …] and [B, M]. (Torch's own collating
    turns lists of texts inside out: give a DataLoader of texts ``collate_fn=list``, or take batches here.)

    Different from learn2learn: task i does not depend on the order of access; a number beyond `num_tasks` is an
    IndexError; loops may nest; it pickles; and ``len`` of an endless set is a TypeError instead of 1, since a loader
    that believed the 1 would train on one task for ever.

    Raises:
        ValueError: `num_tasks` is 0 or below −1, or the seed does not fit.
        TypeError: `dataset` is no torch data set.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        task_transforms: TaskTransform | Sequence[TaskTransform] | None = None,
        num_tasks: int = -1,
        task_collate: Callable[[list[Any]], Any] | None = None,
        seed: int | None = None,
    ) -> None:
        num_tasks = _whole("num_tasks", num_tasks)
        if num_tasks < -1 or num_tasks == 0:
            raise UsageError(f"num_tasks is {num_tasks}; give a positive number, or -1 for an endless set")
        self.dataset = dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)
        transforms = [task_transforms] if callable(task_transforms) else list(task_transforms or [])
        self.task_transforms = transforms
        self.num_tasks = num_tasks
        self.task_collate = task_collate
        self.seed = check_seed(seed)
        self._next = 0

    def __len__(self) -> int:
        if self.num_tasks == -1:
            raise TypeError("an endless TaskDataset has no length; give num_tasks, or iterate over it")
        return self.num_tasks

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some tasks; no example is loaded.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            TaskError: the data set cannot give such tasks.
            UsageError: there is no number at all, or one that is not whole.
        """
        numbers = [_whole("task number", index) for index in indices]
        if not numbers:
            raise UsageError("no task was asked for; give at least one task number")
        limit = self.num_tasks if self.num_tasks != -1 else 2**63
        for number in (min(numbers), max(numbers)):
            if not 0 <= number < limit:
                known = "any number from 0" if self.num_tasks == -1 else f"0 to {limit - 1}"
                raise IndexError(f"there is no task {number}; the tasks of this set are {known}")
        tasks_B = np.array(numbers, np.int64)
        batch = TaskBatch(self.dataset.class_index, self.seed, tasks_B)
        for transform in self.task_transforms:
            batch = transform(batch)
        return batch

    def batch(self, indices: Sequence[int] | IntArray) -> Any:
        """Some tasks, stacked: inputs [B, M, …] and labels int64 [B, M] after `LoadData`, else example ids [B, M].

        Texts come as B lists of M.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            TaskError: the data set cannot give such tasks.
        """
        batch = self.describe(indices)
        if not self._loads_singly(batch):
            return self._gathered(batch)
        tasks = self._collated(batch)
        if self.task_collate is None and isinstance(tasks[0][0], list):
            # Torch's own collating would turn lists of texts inside out.
            return [x for x, _ in tasks], torch.stack([y for _, y in tasks])
        return default_collate(tasks)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several tasks at once, for torch's loaders: one gather and a view a task, of a prepared data set.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            TaskError: the data set cannot give such tasks.
        """
        batch = self.describe(indices)
        if self._loads_singly(batch):
            return self._collated(batch)
        gathered = self._gathered(batch)
        return list(gathered) if isinstance(gathered, Tensor) else list(zip(*gathered, strict=True))

    def _loads_singly(self, batch: TaskBatch) -> bool:
        """Whether examples go one by one through the data set's ``__getitem__``, which somebody may have written."""
        inner = self.dataset.dataset
        gathers = type(self.dataset) is MetaDataset and type(inner) is PreparedDataset and inner.modality != "texts"
        return batch.load and not (gathers and self.task_collate is None)

    def _gathered(self, batch: TaskBatch) -> Tensor | tuple[Tensor, Tensor]:
        """Inputs and labels of all tasks, from one gather; only the ids where nothing is to be loaded."""
        ids_BM = batch.all_ids_BNK.reshape(len(batch), -1)
        if not batch.load:
            return torch.from_numpy(ids_BM)
        inner = self.dataset.dataset
        assert isinstance(inner, PreparedDataset)
        return inner.gather(ids_BM), _labels(batch)

    def _collated(self, batch: TaskBatch) -> list[Any]:
        """Each task as the collate function makes it of its examples."""
        collate = self.task_collate or _stacked
        ids_BM = batch.all_ids_BNK.reshape(len(batch), -1)
        return [
            collate([(self.dataset[int(example)][0], label) for example, label in zip(ids_M, labels_M, strict=True)])
            for ids_M, labels_M in zip(ids_BM, _labels(batch), strict=True)
        ]

    def __iter__(self) -> Iterator[Any]:
        index = 0
        while index != self.num_tasks:
            yield self[index]
            index += 1

    def sample(self) -> Any:
        """The next task of this object: 0, then 1, and so on, from the start again after `num_tasks`."""
        task = self[self._next]
        self._next += 1
        if self._next == self.num_tasks:
            self._next = 0
        return task


def _stacked(examples: list[Any]) -> Any:
    """A task of its (input, label) examples: inputs stacked, or a list of texts; and labels, int64 [M].

    Raises:
        TaskError: the inputs are not alike, or nothing that torch can stack.
    """
    try:
        stacked = default_collate(examples)
    except (TypeError, RuntimeError) as error:
        raise TaskError(
            f"the examples of a task cannot be stacked ({str(error).splitlines()[0]}); give the data set a transform "
            "that makes tensors of one shape of them, or give a task_collate"
        ) from error
    return (list(stacked[0]), stacked[1]) if isinstance(examples[0][0], str) else stacked


def _labels(batch: TaskBatch) -> Tensor:
    """The label of every example, int64 [B, M]."""
    return torch.from_numpy(np.repeat(batch.all_labels_BN, batch.all_ids_BNK.shape[2], axis=1))
