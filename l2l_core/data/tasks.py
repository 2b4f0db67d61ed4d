"""The data set that yields tasks to torch's loaders."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from l2l_core.data.ahead import ReadAhead
from l2l_core.data.batches import (
    TaskBatch,
    TaskList,
    Tasks,
    apart,
    check_length,
    check_seed,
    count_of_tasks,
    describe,
    digest_of,
    load_inputs,
    task_numbers,
)
from l2l_core.data.datasets import MetaDataset, stacked
from l2l_core.data.descriptions import DataDescription, descriptions_of, listed, members, untouched
from l2l_core.data.global_random import seeding
from l2l_core.data.sampling import IntArray, random_words
from l2l_core.data.sources import fingerprint_of
from l2l_core.data.transforms import takes_batches
from l2l_core.errors import TaskError, UsageError

LOADS: Final = 14
"""Stream of the random words that seed the global generators while inputs are loaded one by one."""
CALLS: Final = 15
"""Stream of the random words that seed the global generators for a user's own callables."""


class TaskDataset(Tasks, Dataset[Any]):
    """Few-shot tasks drawn from a data set; task i is a pure function of (seed, i).

    So it does not matter in which order, batch, worker or process a task is asked for, and nothing is kept.

    Args:
        dataset: what to draw from; wrapped in a `MetaDataset` where it is none.
        task_transforms: what to do, in order (see `l2l_core.data.transforms`); one callable or a list. None loads all.
            A callable that is not marked with `on_batches` takes and returns a list of `DataDescription`; its tasks are
            made one by one, and a task has as many examples, in that order, as it returns. (Of classes with different
            numbers of examples each task can be taken alone, but several fill no array.)
        num_tasks: how many tasks there are; −1 for an endless set, which has no length.
        task_collate: makes a task of a list of its (input, label) examples, the label an int; None stacks them.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).

    ``tasks[i]`` is task i: inputs [M, …] (a list of M texts) and labels int64 [M] after `LoadData`, else example ids
    int64 [M]. ``tasks.batch(indices)`` is the same for B tasks at once: [B, M, …] and [B, M]. (Torch's own collating
    turns lists of texts inside out: give a DataLoader of texts ``collate_fn=list``, or take batches here.)

    Different from learn2learn: task i does not depend on the order of access; a number beyond `num_tasks` is an
    IndexError; loops may nest; it pickles; and ``len`` of an endless set is a TypeError instead of 1, since a loader
    that believed the 1 would train on one task for ever.

    An example is (input, label), and the label the one that the `MetaDataset` goes by; what the data set gives behind
    it is left out.

    While a callable of lists runs, and while examples are loaded one by one (for `task_collate`, or of a data set that
    is not prepared), the global generators of Python, NumPy and torch (that of the CPU) are seeded from (seed, i), and
    put back afterwards: so a random transform of the data set itself gives the same task i again. They belong to the
    whole process: do not train in one thread while another one makes such tasks.

    Raises:
        ValueError: `num_tasks` is 0 or below −1, or the seed does not fit.
        TypeError: `dataset` is no torch data set.
        UsageError: a transform cannot be called, or is a class instead of an object of it.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        task_transforms: Callable[[Any], Any] | Sequence[Callable[[Any], Any]] | None = None,
        num_tasks: int = -1,
        task_collate: Callable[[list[Any]], Any] | None = None,
        seed: int | None = None,
    ) -> None:
        self.dataset = dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)
        self.task_transforms = _as_list(task_transforms)
        self.num_tasks = count_of_tasks(num_tasks)
        self.task_collate = task_collate
        self.seed = check_seed(seed)
        self._next = 0
        self._describe = ReadAhead()
        self._examples = len(self.dataset)

    @property
    def _singly(self) -> bool:
        """Whether tasks are made one by one, as callables of lists take them."""
        return not all(map(takes_batches, self.task_transforms))

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some tasks; no example is loaded.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            TaskError: the data set cannot give such tasks; several are asked for at once, but a transform makes them
                one by one.
            UsageError: there is no number at all, or one that is not whole.
        """
        tasks_B = task_numbers(indices, self.num_tasks)
        check_length(self.dataset, self._examples)
        index, transforms = self.dataset.class_index, self.task_transforms
        if not self._singly:
            return self._describe(index, self.seed, tasks_B, transforms)
        if len(tasks_B) > 1:
            raise TaskError("tasks with a transform of DataDescription are no arrays; describe them one by one")
        transforms = [each if takes_batches(each) else partial(self._called, each) for each in transforms]
        return describe(index, self.seed, tasks_B, transforms)

    def _called(self, transform: Callable[[Any], Any], batch: TaskBatch) -> TaskBatch:
        """A single task as a callable of lists changes it."""
        given = None if untouched(batch) else descriptions_of(batch, self.dataset)
        words_BW, batch = batch.draw(CALLS, 1)
        who = getattr(transform, "__name__", type(transform).__name__)
        with seeding(torch.device("cpu")) as seed:
            seed(int(words_BW[0, 0]))
            try:
                descriptions = transform(given)
            except (AttributeError, TypeError) as error:
                error.add_note(
                    f"{who} was given {'None, for all examples' if given is None else 'a list of DataDescription'}; "
                    "a transform that takes a TaskBatch is to be marked with on_batches"
                )
                raise
        advice = "let it return one, or mark it with on_batches if it takes and returns a TaskBatch"
        said = f"{who}, for task {batch.tasks_B[0]}, gave"
        return listed(batch, descriptions, self.dataset.class_index, said, advice)

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` tasks: same data, examples and labels.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name; a transform takes lists of
                `DataDescription`; or there is no such number.
            TaskError: as `describe`.
        """
        fingerprint = fingerprint_of(self.dataset)
        if self._singly:
            raise UsageError(
                "tasks with a transform of DataDescription have no digest, as it may load something else; "
                "leave that transform out"
            )

        def arrays_of(numbers: range) -> list[IntArray]:
            batch = self.describe(numbers)
            return [batch.all_ids_BNK, batch.all_labels_BN]

        return digest_of(f"{fingerprint} {tasks}", arrays_of, tasks)

    def batch(self, indices: Sequence[int] | IntArray) -> Any:
        """Some tasks, stacked: inputs [B, M, …] and labels int64 [B, M] after `LoadData`, else example ids [B, M].

        Texts come as B lists of M.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            TaskError: the data set cannot give such tasks, or they differ in size.
        """
        if self._singly:
            return _side_by_side(self.__getitems__(indices), "the tasks asked for", "ask for them one by one")
        batch = self.describe(indices)
        if batch.load and self.task_collate is not None:
            return default_collate(self._collated(batch))
        return self._stacked(batch)

    def __getitems__(self, indices: Sequence[int] | IntArray) -> list[Any]:
        """Several tasks at once, for torch's loaders: one gather and a view a task, of a prepared data set."""
        if self._singly:
            return [self._single(number) for number in task_numbers(indices, self.num_tasks).tolist()]
        batch = self.describe(indices)
        if batch.load and self.task_collate is not None:
            return self._collated(batch)
        if batch.load and not batch.augmentations and not self.dataset.gathers_at_once:
            ids_BM, places_M = members(batch)
            labels_BM = self.dataset.as_labels(batch.all_labels_BN.take(places_M, axis=1))
            return list(zip(task_by_task(self.dataset.gather, batch, ids_BM), labels_BM, strict=True))
        tasks = self._stacked(batch)
        return TaskList(tasks if isinstance(tasks, Tensor) else zip(*map(apart, tasks), strict=True), tasks)

    def _stacked(self, batch: TaskBatch) -> Any:
        """Inputs and labels of all tasks, from one gather; only the ids where nothing is to be loaded."""
        ids_BM, places_M = members(batch)
        if not batch.load:
            return torch.from_numpy(ids_BM)
        gather = gather_of(self.dataset, batch)
        inputs = load_inputs(gather, batch) if batch.augmentations else gather(ids_BM)
        return inputs, self.dataset.as_labels(batch.all_labels_BN.take(places_M, axis=1))

    def _collated(self, batch: TaskBatch) -> list[Any]:
        """Each task as the user's function makes it of its examples."""
        self._no_augmentations(batch)
        ids_BM, places_M = members(batch)
        labels_BM = batch.all_labels_BN.take(places_M, axis=1)
        collate = self.task_collate
        assert collate is not None

        def collated(ids_and_labels_2M: IntArray) -> Any:
            return collate([(self.dataset[i][0], label) for i, label in ids_and_labels_2M.T.tolist()])

        return task_by_task(collated, batch, np.stack([ids_BM, labels_BM], axis=1))

    def _no_augmentations(self, batch: TaskBatch) -> None:
        if batch.augmentations:
            raise TaskError(
                f"{type(batch.augmentations[0]).__name__} changes whole tasks, but task_collate is given single "
                "examples; do it in there, or leave task_collate out"
            )

    def _single(self, number: int) -> Any:
        """Task `number`, example by example."""
        batch = self.describe([number])
        if not batch.augmentations:
            return self._loaded(descriptions_of(batch, self.dataset), batch)
        if self.task_collate is not None:
            self._no_augmentations(batch)
        ids_BNK = batch.all_ids_BNK
        by_class = replace(batch, classes_BN=batch.all_classes_BN, ids_BNK=ids_BNK, augmentations=())
        inputs, *labels = self._loaded(descriptions_of(by_class, self.dataset), batch)
        parts = [load_inputs(lambda _: inputs[None] if isinstance(inputs, Tensor) else inputs, batch)[0], *labels]
        if batch.classes_BN is None:
            # Augmentations see the examples class by class; here they come as they were listed.
            order_M = np.argsort(ids_BNK.reshape(-1)).tolist()
            parts = [[part[i] for i in order_M] if isinstance(part, list) else part[order_M] for part in parts]
        return tuple(parts)

    def _loaded(self, descriptions: list[DataDescription], batch: TaskBatch) -> Any:
        """The single task that descriptions stand for, by chances of its own."""
        (task,) = task_by_task(lambda _: self.get_task(descriptions), batch, batch.tasks_B[None])
        return task

    def sample(self) -> Any:
        """The next task of this object: 0, then 1, and so on, from the start again after `num_tasks`."""
        return self[self._advance()]

    def sample_task_description(self) -> list[DataDescription]:
        """The next task of this object, as `sample` counts them, not loaded yet: one description an example.

        Raises:
            TaskError: the data set cannot give such a task, or an augmentation changes it as a whole.
        """
        return descriptions_of(self.describe([self._advance()]), self.dataset)

    def get_task(self, task_description: Sequence[DataDescription]) -> Any:
        """The task that a description stands for: its samples, stacked or as `task_collate` makes a task of them.

        Raises:
            TaskError: the samples are not alike.
            UsageError: there is none.
        """
        if not task_description:
            raise UsageError("a task of no examples was asked for; give at least one DataDescription")
        samples = [description.sample() for description in task_description]
        if self.task_collate is not None:
            return self.task_collate(samples)
        return _side_by_side(
            samples, "the examples of a task", "add a transform that makes tensors of one shape of them"
        )

    def _advance(self) -> int:
        number = self._next
        self._next = 0 if number + 1 == self.num_tasks else number + 1
        return number


def gather_of(dataset: Any, batch: TaskBatch, part: int = 0) -> Callable[[IntArray], Any]:
    """What gives the inputs of some tasks by their ids [B, M]; by chance, where the data set does, only of the task.

    Args:
        dataset: to load from, a `MetaDataset`.
        batch: the tasks.
        part: which part of them is loaded: each has chances of its own.
    """
    if dataset.gathers_at_once:
        gather: Callable[[IntArray], Any] = dataset.gather
        return gather
    return lambda ids_BM: stacked(task_by_task(dataset.gather, batch, ids_BM, part))


def task_by_task(
    load: Callable[[IntArray], Any], batch: TaskBatch, ids_BM: Iterable[IntArray], part: int = 0
) -> list[Any]:
    """What `load` gives for the ids [M] of each task, while the global generators are seeded for it.

    Args:
        load: is given one task's ids at a time.
        batch: the tasks.
        ids_BM: what to give it, one entry a task.
        part: which part of the tasks is loaded: each has chances of its own.
    """
    words_B1 = random_words(batch.seed, LOADS + (part << 32), batch.tasks_B, 1)
    loaded = []
    with seeding(torch.device("cpu")) as seed:
        for (word,), ids_M in zip(words_B1.tolist(), ids_BM, strict=True):
            seed(word)
            loaded.append(load(ids_M))
    return loaded


def _as_list(transforms: Any) -> list[Callable[[Any], Any]]:
    """The transforms of a task, as a list.

    Raises:
        UsageError: one cannot be called, or is a class.
    """
    alone = callable(transforms) or not isinstance(transforms, Iterable | None)
    steps = [transforms] if alone else list(transforms or [])
    for step in steps:
        if isinstance(step, type):
            raise UsageError(f"{step.__name__} among the task_transforms is a class; give {step.__name__}(dataset)")
        if not callable(step):
            raise UsageError(f"{step!r} among the task_transforms cannot be called; give transforms")
    return steps


Taskset = TaskDataset
"""learn2learn's other name for it."""


def _side_by_side(parts: list[Any], what: str, advice: str) -> Any:
    """Samples as a task, or tasks as a batch: (input, label) pairs become a pair of stacks, texts a list."""
    try:
        if isinstance(parts[0], tuple | list):
            return tuple(stacked(list(column)) for column in zip(*parts, strict=True))
        return stacked(parts)
    except (TaskError, ValueError) as error:
        raise TaskError(f"{what} cannot be stacked, since they are not alike; {advice}") from error
