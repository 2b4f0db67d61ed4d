"""Tasks as arrays: B of them on their way through the transforms, and which tasks are asked for.

Letters in shapes: B tasks, N ways, K examples a class, M = N·K examples of a task.
"""

import hashlib
import operator
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, SupportsIndex, TypeAlias

import numpy as np

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
        augmentations: what is done with the inputs once they are loaded, in order.
        drawn: how often each stream of random words has been drawn from.
        listed: the examples of a single task where a user's own callable has listed them, each a `DataDescription`; the
            ids are then places in it, and `index` is of them.
    """

    index: ClassIndex
    seed: int
    tasks_B: IntArray
    classes_BN: IntArray | None = None
    ids_BNK: IntArray | None = None
    labels_BN: IntArray | None = None
    load: bool = False
    augmentations: tuple["Augmentation", ...] = ()
    drawn: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    listed: Sequence[Any] | None = None

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


def check_batch(batch: object, transform: object) -> None:
    """Nothing, where a transform of arrays is given what it takes.

    Raises:
        UsageError: it is given something else, such as learn2learn's list of descriptions.
    """
    if not isinstance(batch, TaskBatch):
        who = type(transform).__name__
        raise UsageError(f"{who} was given {type(batch).__name__} instead of a TaskBatch; let a TaskDataset call {who}")


BatchTransform: TypeAlias = Callable[[TaskBatch], TaskBatch]

_EXAMPLES: Final = 16
_CLASSES: Final = 17
"""Streams of random words for augmentations; those below are the transforms' and loading's."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Random words for one augmentation of some tasks: the same ones whatever else is drawn.

    Attributes:
        batch: the tasks.
        place: which of their augmentations it is.
        part: which of the K examples of a class are augmented now, of those that there are.
    """

    batch: TaskBatch
    place: int
    part: slice

    def of_classes(self, words: int) -> WordArray:
        """So many words for each class of each task, uint64 [B, N, words]."""
        B, N, _ = self.batch.all_ids_BNK.shape
        return self._draw(_CLASSES, N * words).reshape(B, N, words)

    def of_examples(self, words: int) -> WordArray:
        """So many words for each example, uint64 [B, N, K, words]."""
        B, N, K = self.batch.all_ids_BNK.shape
        return self._draw(_EXAMPLES, N * K * words).reshape(B, N, K, words)[:, :, self.part]

    def _draw(self, stream: int, words: int) -> WordArray:
        return random_words(self.batch.seed, stream + (self.place << 32), self.batch.tasks_B, words)


class Augmentation(ABC):
    """Something done with loaded inputs, those of all tasks at once; a transform that stands behind `LoadData`."""

    @abstractmethod
    def apply(self, inputs: Any, draws: Draws) -> Any:
        """The inputs, changed.

        Args:
            inputs: [B, N, K, …], as the data set gathers them; they may be changed in place.
            draws: random words, of which alone the change may depend.
        """

    def __call__(self, batch: TaskBatch) -> TaskBatch:
        """Note it for when the inputs are loaded.

        Raises:
            TaskError: they are not going to be.
            UsageError: it is given no `TaskBatch`.
        """
        check_batch(batch, self)
        if not batch.load:
            raise TaskError(f"{type(self).__name__} changes what has been loaded; put it behind LoadData")
        return replace(batch, augmentations=(*batch.augmentations, self))


def check_augmentations(augmentations: Any) -> tuple[Augmentation, ...]:
    """The augmentations of some tasks, in order.

    Raises:
        UsageError: it is a single one instead of a list, or something in it is none.
    """
    if isinstance(augmentations, Augmentation) or not isinstance(augmentations, Iterable):
        raise UsageError(f"augmentations is a {type(augmentations).__name__}; give a list of augmentations")
    steps = tuple(augmentations)
    for step in steps:
        if not isinstance(step, Augmentation):
            raise UsageError(f"{step!r} among the augmentations is none; put a function into TorchvisionTransform")
    return steps


def load_inputs(gather: Callable[[IntArray], Any], batch: TaskBatch, part: slice = slice(None)) -> Any:
    """The inputs of some tasks, augmented, [B, M, …]; of texts B lists of M.

    Args:
        gather: gives the inputs of examples by their ids, stacked.
        batch: the tasks.
        part: which of the K examples of each class; all by default.
    """
    ids_BNK = batch.all_ids_BNK[:, :, part]
    B, N, K = ids_BNK.shape
    inputs = gather(ids_BNK.reshape(B, N * K))
    if not batch.augmentations:
        return inputs
    if not hasattr(inputs, "reshape"):
        raise TaskError(
            f"{type(inputs).__name__} cannot be augmented; give the data set a transform that makes tensors"
        )
    inputs = inputs.reshape(B, N, K, *inputs.shape[2:])
    for place, augmentation in enumerate(batch.augmentations):
        inputs = augmentation.apply(inputs, Draws(batch, place, part))
    return inputs.reshape(B, N * K, *inputs.shape[3:])


class Tasks(ABC):
    """Tasks by their numbers: what loaders and evaluation know of all kinds of them.

    ``tasks[i]`` is task i, a pure function of (seed, i); ``tasks.batch(indices)`` stacks several; iteration gives 0, 1,
    2 and so on, and loops may nest.

    Attributes:
        num_tasks: how many there are; −1 where they are endless.
        seed: of all choices.
    """

    num_tasks: int
    seed: int

    @abstractmethod
    def batch(self, indices: Sequence[int] | IntArray) -> Any:
        """Some tasks, each part stacked along a new first axis B.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            TaskError: the data set cannot give such tasks.
            UsageError: there is no number at all, or one that is not whole.
        """

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several tasks at once, for torch's loaders: those of one `batch`, taken apart; raises as that does."""
        stacked = self.batch(indices)
        make = getattr(type(stacked), "_make", tuple)
        return TaskList([make(parts) for parts in zip(*map(apart, stacked), strict=True)], stacked)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __len__(self) -> int:
        if self.num_tasks == -1:
            raise TypeError(f"an endless {type(self).__name__} has no length; give num_tasks, or iterate over it")
        return self.num_tasks

    def __iter__(self) -> Iterator[Any]:
        index = 0
        while index != self.num_tasks:
            yield self[index]
            index += 1


def apart(stacked: Any) -> Iterable[Any]:
    """A part of each task, from that of all stacked; mappings key by key."""
    if not isinstance(stacked, Mapping):
        return stacked  # type: ignore[no-any-return]  # an array, or a list of texts
    return [dict(zip(stacked, parts, strict=True)) for parts in zip(*map(apart, stacked.values()), strict=True)]


def part_of(inputs: Any, part: slice) -> Any:
    """Some of M examples [M, …]; of mappings key by key."""
    return {key: each[part] for key, each in inputs.items()} if isinstance(inputs, Mapping) else inputs[part]


class TaskList(list[Any]):
    """Tasks side by side that remember how they lay stacked, so that collating them copies nothing.

    Attributes:
        stacked: the same, each part along a first axis B.
    """

    def __init__(self, tasks: Iterable[Any], stacked: Any) -> None:
        super().__init__(tasks)
        self.stacked = stacked


def count_of_tasks(num_tasks: int) -> int:
    """A valid number of tasks.

    Raises:
        UsageError: it is 0, below −1, or not whole.
    """
    num_tasks = whole("num_tasks", num_tasks)
    if num_tasks < -1 or num_tasks == 0:
        raise UsageError(f"num_tasks is {num_tasks}; give a positive number, or -1 for an endless set")
    return num_tasks


def check_seed(seed: int | None) -> int:
    """The seed, or one from the operating system for None.

    Raises:
        UsageError: it is no whole number, negative, or does not fit 64 bits.
    """
    if seed is None:
        return secrets.randbits(63)
    seed = whole("seed", seed)
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed {seed} is not between 0 and 2**64 - 1; give another")
    return seed


def at_least_one(name: str, value: int) -> int:
    """The value as an int, whatever integer type it came in.

    Raises:
        UsageError: it is no whole number, or below 1.
    """
    value = whole(name, value)
    if value < 1:
        raise UsageError(f"{name} is {value}; give at least 1")
    return value


def whole(name: str, value: Any) -> int:
    """The value as an int, whatever integer type it came in.

    Raises:
        UsageError: it is no whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}; give a whole number") from None


def task_numbers(indices: Sequence[SupportsIndex] | IntArray, num_tasks: int = -1) -> IntArray:
    """The numbers of the tasks that are asked for, int64 [B].

    Args:
        indices: whole numbers, in any order, at least one.
        num_tasks: how many tasks there are; −1 for endless ones.

    Raises:
        IndexError: a number is negative or not below `num_tasks`.
        UsageError: there is no number at all, or one that is not whole.
    """
    limit = num_tasks if num_tasks != -1 else 2**63
    if not hasattr(indices, "__len__"):
        raise UsageError(f"found {indices!r} instead of a list of task numbers; give [{indices!r}] for a single task")
    try:
        tasks_B = np.asarray(indices)
    except ValueError:
        tasks_B = np.empty(0, object)
    if tasks_B.dtype.kind != "i" or tasks_B.ndim != 1:
        tasks_B = np.array([whole("task number", index) for index in indices], object)
    if not len(tasks_B):
        raise UsageError("no task was asked for; give at least one task number")
    for number in (tasks_B.min(), tasks_B.max()):
        if not 0 <= number < limit:
            known = "any number from 0" if num_tasks == -1 else f"0 to {limit - 1}"
            raise IndexError(f"there is no task {number}; the tasks of this set are {known}")
    return tasks_B.astype(np.int64, copy=False)


def describe(index: ClassIndex, seed: int, tasks_B: IntArray, transforms: Iterable[BatchTransform]) -> TaskBatch:
    """The integer arrays of some tasks, as the transforms decide them one after another; no example is loaded.

    Raises:
        TaskError: the data set cannot give such tasks.
    """
    batch = TaskBatch(index, seed, tasks_B)
    for transform in transforms:
        batch = transform(batch)
    return batch


def check_length(dataset: Sized, examples: int) -> None:
    """Nothing, where a data set still has as many examples as when tasks were made of it.

    Raises:
        TaskError: it has more or fewer, so that example ids may mean others.
    """
    if len(dataset) != examples:
        raise TaskError(
            f"the data set had {examples} examples when tasks were made of it, and has {len(dataset)} now; "
            "make new tasks of it"
        )


def digest_of(settings: str, arrays_of: Callable[[range], Iterable[IntArray]], tasks: int) -> str:
    """Sha256 in hex that names the first `tasks` tasks.

    Args:
        settings: what the tasks are made of, and how.
        arrays_of: the integers of some tasks by their numbers, which go in block by block.
        tasks: how many.

    Raises:
        UsageError: that is no whole number, or below 1.
    """
    tasks = at_least_one("the number of tasks to digest", tasks)
    total = hashlib.sha256(settings.encode())
    for start in range(0, tasks, 1024):
        for array in arrays_of(range(start, min(start + 1024, tasks))):
            total.update(array.astype("<i8").tobytes())
    return total.hexdigest()
