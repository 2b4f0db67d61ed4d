"""N-way K-shot episodes, support and query apart: the short way to tasks."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.batches import (
    Augmentation,
    BatchTransform,
    TaskBatch,
    Tasks,
    at_least_one,
    check_length,
    check_seed,
    count_of_tasks,
    describe,
    digest_of,
    load_inputs,
    task_numbers,
)
from l2l_core.data.episodes import Episode
from l2l_core.data.sampling import IntArray
from l2l_core.data.sources import fingerprint_of, source_of
from l2l_core.data.transforms import KShots, LoadData, NWays
from l2l_core.errors import TaskError, UsageError

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class TaskGenerator(Tasks):
    """N-way K-shot episodes of a data set; episode i is a pure function of (seed, i).

    Args:
        dataset: what to draw from; of an `ArrayDataset` the episodes are NumPy arrays, and torch is not imported.
        ways, shots, queries: classes, support examples per class, query examples per class.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).
        num_tasks: how many episodes there are; −1 for endless ones, which have no length.
        augmentations: what is done with the inputs once they are loaded, support and query alike, in order.

    While inputs are loaded one by one, the global generators are seeded from (seed, i) and put back, as `TaskDataset`
    does: an episode stays the same where the data set itself has a random transform.

    ``generator[i]`` is episode i, ``generator.batch(indices)`` stacks several, iteration gives 0, 1, 2 and so on.

    Raises:
        UsageError: ways, shots or queries is below 1, or `augmentations` is a single one.
        TaskError: there are fewer classes than ways, or some class has fewer examples than shots + queries.
    """

    def __init__(
        self,
        dataset: "ArrayDataset | Dataset[Any]",
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        seed: int | None = None,
        *,
        num_tasks: int = -1,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        ways, shots, queries = (
            at_least_one(name, value) for name, value in (("ways", ways), ("shots", shots), ("queries", queries))
        )
        self.dataset = source = source_of(dataset)
        index = source.class_index
        smallest = int(np.argmin(index.counts_C))
        if index.counts_C[smallest] < shots + queries:
            raise TaskError(
                f"class {index.name(smallest)!r} has {index.counts_C[smallest]} examples, but shots + queries = "
                f"{shots + queries}; lower one of them or drop the class"
            )
        self.ways, self.shots, self.queries = ways, shots, queries
        # The classes come in random order already, so label n is the n-th class drawn.
        if isinstance(augmentations, Augmentation):
            raise UsageError(f"augmentations is a {type(augmentations).__name__}; give a list of augmentations")
        self._transforms: list[BatchTransform] = [
            NWays(source, ways),
            KShots(source, shots + queries),
            LoadData(source),
            *augmentations,
        ]
        self._examples = len(source)
        self.num_tasks = count_of_tasks(num_tasks)
        self.seed = check_seed(seed)

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some episodes, nothing loaded: the first `shots` ids of a class are its support."""
        check_length(self.dataset, self._examples)
        return describe(self.dataset.class_index, self.seed, task_numbers(indices, self.num_tasks), self._transforms)

    def batch(self, indices: Sequence[int] | IntArray) -> Episode:
        """Some episodes, each array with an axis B in front."""
        batch = self.describe(indices)
        support, query = slice(self.shots), slice(self.shots, None)
        return Episode(*self._part(batch, 0, support), *self._part(batch, 1, query))

    def _part(self, batch: TaskBatch, number: int, part: slice) -> tuple[Any, Any]:
        """Inputs and labels of a part of some episodes, of which it is number 0 or 1."""
        labels_M = np.repeat(np.arange(self.ways), len(range(self.shots + self.queries)[part]))
        labels_BM = np.tile(labels_M, (len(batch), 1))
        return load_inputs(self._gather(batch, number), batch, part), self.dataset.as_labels(labels_BM)

    def _gather(self, batch: TaskBatch, number: int) -> Callable[[IntArray], Any]:
        """What gives the inputs of a part by their ids."""
        if self.dataset.gathers_at_once:
            return self.dataset.gather
        from l2l_core.data.tasks import gather_of

        return gather_of(self.dataset, batch, number)

    def digest(self, episodes: int) -> str:
        """Sha256 that names the first `episodes` episodes: same data, classes, examples, ways, shots and queries.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name; or there is no such number.
        """
        settings = f"{fingerprint_of(self.dataset)} {self.ways} {self.shots} {self.queries} {episodes}"
        return digest_of(settings, lambda numbers: [self.describe(numbers).all_ids_BNK], episodes)
