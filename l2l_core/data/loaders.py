"""Which tasks a loader gets and in which order, over ranks and worker processes, and where to go on after a stop.

One plan serves every loader. The tasks of an epoch stand in a row and are cut into batches; of R ranks, rank r takes
batches r, r + R, r + 2R and so on, and of W worker processes each takes every W-th of those. So step by step all ranks
together see the tasks that one process would, in batches R times as large, and the workers change nothing at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from torch import distributed
from torch.utils.data import IterableDataset, Sampler, default_collate, get_worker_info

from l2l_core.data.batches import TaskList, Tasks, at_least_one, count_of_tasks, whole
from l2l_core.data.descriptions import example_ids
from l2l_core.data.episodes import Episode, pad_episodes
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.sampling import random_words
from l2l_core.data.tasks import TaskDataset
from l2l_core.errors import UsageError

Batch = TypeVar("Batch")

_ORDER: Final = 32
"""Stream of random words for the order of tasks, apart from those that make the tasks."""
_STATE: Final = {"seed", "epoch", "tasks"}


@dataclass(slots=True)
class _Place:
    """Where a loop stands: so many batches of the rank are done, in this epoch."""

    epoch: int = 0
    step: int = 0


class TaskSampler(Sampler[list[int]]):
    """Batches of task numbers for a map-style loader, which then makes each batch by one gather.

    ``DataLoader(tasks, batch_sampler=TaskSampler(tasks, 16), collate_fn=collate_tasks)``

    An epoch of a finite set is all its tasks, from 0 on, or in an order that is a pure function of (seed, epoch). Epoch
    e of an endless set is tasks e·num_tasks to (e + 1)·num_tasks − 1, new ones each time; without `num_tasks` any epoch
    begins at task 0 and never ends. Loops may nest.

    Ranks see disjoint tasks if their tasks have the same seed: give one where there are several.

    Args:
        tasks: the tasks.
        batch_size: tasks in a batch; the last one of an epoch may have fewer.
        num_tasks: how many tasks of an endless set make an epoch.
        shuffle: whether a finite set comes in another order each epoch; those of an endless set are random as they are.
        rank, world_size: which of how many processes this is; those of `torch.distributed` where that has been
            initialised by now, else 0 of 1.
        drop_last: whether to leave out the tasks at the end that fill no batch for every rank.

    Raises:
        UsageError: a number below 1, a rank that is none, `num_tasks` for a finite set, or an epoch that does not give
            every rank the same number of batches (with `drop_last`: at least one).
    """

    def __init__(
        self,
        tasks: Tasks,
        batch_size: int,
        *,
        num_tasks: int | None = None,
        shuffle: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.tasks, self.shuffle, self.drop_last = tasks, shuffle, drop_last
        self.batch_size = at_least_one("batch_size", batch_size)
        self.rank, self.world_size = _rank(rank, world_size)
        if tasks.num_tasks != -1 and num_tasks is not None:
            raise UsageError(
                f"num_tasks is {num_tasks}, but an epoch of this set is all its {tasks.num_tasks} tasks; leave it out"
            )
        self.num_tasks = count_of_tasks(tasks.num_tasks if num_tasks is None else num_tasks)
        self._steps = self._steps_an_epoch()
        self._place, self._resumes = _Place(), False

    @property
    def sampler(self) -> "TaskSampler":
        """This object: Lightning and Accelerate look here for what they tell the epoch."""
        return self

    @property
    def epoch(self) -> int:
        """The epoch that loops go through."""
        return self._place.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0 <= epoch, for the loops that begin from now on.

        Raises:
            UsageError: it is negative or not whole.
        """
        epoch = whole("epoch", epoch)
        if epoch < 0:
            raise UsageError(f"epoch is {epoch}; give 0 or more")
        if epoch != self.epoch:
            self._place, self._resumes = _Place(epoch), False

    def __len__(self) -> int:
        if self._steps is None:
            raise TypeError("an epoch of an endless set has no length; give num_tasks, or count the steps")
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        return self.share(0, 1)

    def share(self, worker: int, workers: int) -> Iterator[list[int]]:
        """The batches of one worker of several, in a loop of its own."""
        if not self._resumes:
            self._place = _Place(self.epoch)
        self._resumes = False
        return self._batches(self._place, worker, workers)

    def _batches(self, place: _Place, worker: int, workers: int) -> Iterator[list[int]]:
        row = self._row(place.epoch)
        while self._steps is None or place.step + worker < self._steps:
            start = ((place.step + worker) * self.world_size + self.rank) * self.batch_size
            # Of what each worker then says it has done, the loop that goes on makes the same share.
            place.step += workers
            yield list(row[start : start + self.batch_size])

    def _row(self, epoch: int) -> Sequence[int]:
        """The tasks of an epoch in their order."""
        if self.num_tasks == -1:
            return range(2**63)
        if self.tasks.num_tasks == -1:
            return range(epoch * self.num_tasks, (epoch + 1) * self.num_tasks)
        if not self.shuffle:
            return range(self.num_tasks)
        words = random_words(self.tasks.seed, _ORDER, np.array([epoch]), self.num_tasks)
        order: list[int] = words[0].argsort(kind="stable").tolist()
        return order

    def state_dict(self) -> dict[str, int]:
        """Where the loop begun last stands: its seed, epoch, and how many tasks of it all ranks together have taken.

        It fits any batch size and number of ranks whose steps end there. A loader with worker processes takes batches
        ahead of the training; torchdata's StatefulDataLoader allows for that and stores the right place, while with a
        plain one the batches trained on are yours to count: ``{"seed": …, "epoch": …, "tasks": …}``.
        """
        done = self._place.step * self.world_size * self.batch_size
        return {
            "seed": self.tasks.seed,
            "epoch": self.epoch,
            "tasks": done if self.num_tasks == -1 else min(done, self.num_tasks),
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next loop of that epoch go on where the state says; those after it begin at the start.

        Raises:
            UsageError: it is no such state, that of another seed, beyond the end, or within a step of this sampler.
        """
        if not isinstance(state, Mapping):
            raise UsageError(f"a state is a dictionary, found {state!r}; give what state_dict returned")
        if set(state) != _STATE:
            raise UsageError(f"a state has seed, epoch and tasks, found {sorted(state)}; give what state_dict returned")
        if state["seed"] != self.tasks.seed:
            raise UsageError(
                f"the state is one of tasks with seed {state['seed']}, but these have seed {self.tasks.seed}; "
                "make them with the seed of the state"
            )
        done, a_step = whole("tasks", state["tasks"]), self.world_size * self.batch_size
        ends = self.num_tasks != -1 and done == self.num_tasks
        if done < 0 or (self.num_tasks != -1 and done > self.num_tasks):
            raise UsageError(
                f"the state has done {done} tasks, but an epoch has {self.num_tasks}; give num_tasks as then"
            )
        if done % a_step and not ends:
            raise UsageError(
                f"the state has done {done} tasks, which are no whole steps of {a_step} (batch_size · world_size); "
                "take a batch size that divides them"
            )
        self.set_epoch(state["epoch"])
        self._place, self._resumes = _Place(self.epoch, -(-done // a_step)), True

    def _steps_an_epoch(self) -> int | None:
        """How many batches this rank, like every other, has in an epoch; None without end."""
        if self.num_tasks == -1:
            return None
        batches = self.num_tasks // self.batch_size if self.drop_last else -(-self.num_tasks // self.batch_size)
        steps, rest = divmod(batches, self.world_size)
        if self.drop_last and not steps:
            raise UsageError(
                f"{self.num_tasks} tasks do not fill a batch of {self.batch_size} for each of {self.world_size} ranks; "
                "lower batch_size, or take more tasks"
            )
        if rest and not self.drop_last:
            raise UsageError(
                f"{self.num_tasks} tasks make {batches} batches of {self.batch_size}, which {self.world_size} ranks "
                "cannot share evenly; take another number, or drop_last=True"
            )
        return steps


class TasksetSampler(TaskSampler):
    """Batches of example ids, each the examples of one task, for a loader over the data set that tasks are drawn from.

    ``DataLoader(dataset, batch_sampler=TasksetSampler(tasks))`` gives what the data set itself does, with its own
    labels, in the order of the task. Epochs, ranks and states are those of `TaskSampler`.

    Args:
        taskset: the tasks.
        shuffle: whether a finite set comes in another order each epoch.

    Raises:
        UsageError: the tasks are of another kind, or do not give every rank the same number.
        TaskError: while iterating, if the data set cannot give such tasks.
    """

    def __init__(self, taskset: TaskDataset | TaskGenerator, shuffle: bool = True) -> None:
        if not isinstance(taskset, TaskDataset | TaskGenerator):
            raise UsageError(
                "TasksetSampler takes a TaskDataset or a TaskGenerator, found "
                f"{type(taskset).__name__}; give one of them"
            )
        super().__init__(taskset, 1, shuffle=shuffle)
        self.taskset = taskset

    def share(self, worker: int, workers: int) -> Iterator[list[int]]:
        """The batches of one worker of several, in a loop of its own."""
        return map(self._examples, super().share(worker, workers))

    def _examples(self, task: list[int]) -> list[int]:
        return example_ids(self.taskset.describe(task), self.taskset.dataset)


class TaskStream(IterableDataset[Any]):
    """Stacked batches of tasks, as ``tasks.batch`` makes them, for a loader: ``DataLoader(stream, batch_size=None)``.

    The batches and their order are those of `TaskSampler`, whatever ``num_workers``; so are the epochs and the errors.
    What goes wrong in a worker comes out of the loader as the same kind of error, with the worker's traceback; of a
    worker that dies, as torch's RuntimeError, which names the process.

    Args:
        tasks: the tasks.
        batch_size, num_tasks, shuffle, rank, world_size, drop_last: as of `TaskSampler`.
    """

    def __init__(
        self,
        tasks: Tasks,
        batch_size: int,
        *,
        num_tasks: int | None = None,
        shuffle: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self._sampler = TaskSampler(
            tasks,
            batch_size,
            num_tasks=num_tasks,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
        )
        # Workers that persist have a copy of all the rest.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0 <= epoch, for the loops that begin from now on, in worker processes too.

        Raises:
            UsageError: it is negative or not whole.
        """
        self._sampler.set_epoch(epoch)
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        self._sampler.set_epoch(int(self._epoch))
        worker = get_worker_info()
        share = self._sampler.share(0, 1) if worker is None else self._sampler.share(worker.id, worker.num_workers)
        return map(self._sampler.tasks.batch, share)

    def state_dict(self) -> dict[str, int]:
        """Where the loop begun last stands, as of `TaskSampler`; in a loader's worker, where its own loop does.

        Of loops in worker processes only torchdata's StatefulDataLoader knows, with the same number of them throughout.
        """
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next loop of that epoch go on where the state says.

        Worker processes of a plain loader begin there until `set_epoch` names another epoch: each loop has new ones.

        Raises:
            UsageError: as of `TaskSampler`.
        """
        self._sampler.load_state_dict(state)
        self._epoch.fill_(self._sampler.epoch)


class InfiniteIterator(Generic[Batch]):
    """The batches of a loader, from the start again whenever they end; an empty loader ends.

    Args:
        dataloader: anything that can be iterated over again.
    """

    def __init__(self, dataloader: Iterable[Batch]) -> None:
        self.dataloader = dataloader
        self.iterator = iter(dataloader)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        try:
            return next(self.iterator)
        except StopIteration:
            self.iterator = iter(self.dataloader)
        return next(self.iterator)


def _rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Which of how many processes this is.

    Raises:
        UsageError: only one of the two is given, or there is no such rank.
    """
    if rank is None and world_size is None:
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    if rank is None or world_size is None:
        raise UsageError(f"found rank = {rank} and world_size = {world_size}; give both, or neither")
    rank, world_size = whole("rank", rank), at_least_one("world_size", world_size)
    if not 0 <= rank < world_size:
        raise UsageError(f"there is no rank {rank} of {world_size}; ranks are 0 to {world_size - 1}")
    return rank, world_size


def collate_tasks(tasks: Sequence[Any]) -> Any:
    """The ``collate_fn`` for a DataLoader over tasks: what `Tasks.batch` gave, without copying it once more.

    Episodes of different sizes are filled up to the largest, see `pad_episodes`.
    """
    if isinstance(tasks, TaskList):
        return tasks.stacked
    return pad_episodes(tasks) if isinstance(tasks[0], Episode) else default_collate(list(tasks))
