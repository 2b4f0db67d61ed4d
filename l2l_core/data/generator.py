"""N-way K-shot episodes, support and query apart: the short way to tasks."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from l2l_core.data.ahead import ReadAhead
from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.batches import (
    Augmentation,
    BatchTransform,
    TaskBatch,
    Tasks,
    at_least_one,
    check_augmentations,
    check_length,
    check_seed,
    count_of_tasks,
    digest_of,
    load_inputs,
    task_numbers,
)
from l2l_core.data.episodes import Episode
from l2l_core.data.loading import gather_from
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
        UsageError: ways, shots or queries is below 1, or `augmentations` is no list of such.
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
        self._transforms: list[BatchTransform] = [
            NWays(source, ways),
            KShots(source, shots + queries),
            LoadData(source),
            *check_augmentations(augmentations),
        ]
        self._examples = len(source)
        self._describe = ReadAhead()
        self.num_tasks = count_of_tasks(num_tasks)
        self.seed = check_seed(seed)

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some episodes, nothing loaded: the first `shots` ids of a class are its support."""
        check_length(self.dataset, self._examples)
        tasks_B = task_numbers(indices, self.num_tasks)
        return self._describe(self.dataset.class_index, self.seed, tasks_B, self._transforms)

    def batch(self, indices: Sequence[int] | IntArray, out: Episode | None = None) -> Episode:
        """Some episodes, each array with an axis B in front.

        Args:
            indices: the numbers of B episodes.
            out: whose memory to use again, such as the last batch of as many: its `support_x` [B, N·K, …] and
                `query_x` [B, N·Q, …] are filled, contiguous and of the type that the data set gathers; its labels are
                not looked at. New memory for None.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole; `out` does not fit, or nothing can be
                gathered into it, as inputs are augmented, texts, or loaded one by one.
            TaskError: the data set has another length than it had, or its examples are not alike.
        """
        batch = self.describe(indices)
        support, query = slice(self.shots), slice(self.shots, None)
        support_x, query_x = (None, None) if out is None else self._fillable(out, batch)
        return Episode(*self._part(batch, 0, support, support_x), *self._part(batch, 1, query, query_x))

    def _part(self, batch: TaskBatch, number: int, part: slice, out: Any) -> tuple[Any, Any]:
        """Inputs and labels of a part of some episodes, of which it is number 0 or 1."""
        labels_M = np.repeat(np.arange(self.ways), len(range(self.shots + self.queries)[part]))
        labels_BM = np.tile(labels_M, (len(batch), 1))
        gather = gather_from(self.dataset, batch, number) if out is None else partial(self.dataset.gather, out=out)
        return load_inputs(gather, batch, part), self.dataset.as_labels(labels_BM)

    def _fillable(self, out: Episode, batch: TaskBatch) -> tuple[Any, Any]:
        """The inputs of `out`, where something can be gathered into them."""
        prepared: Any = getattr(self.dataset, "dataset", self.dataset)
        if batch.augmentations:
            what = "augmented inputs"
        elif not self.dataset.gathers_at_once:
            what = "inputs that are loaded one by one"
        elif prepared.modality == "texts":
            what = "texts"
        else:
            return out.support_x, out.query_x
        raise UsageError(f"out was given, but {what} cannot be gathered into it; leave it out")

    def digest(self, episodes: int) -> str:
        """Sha256 that names the first `episodes` episodes: same data, classes, examples, ways, shots and queries.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name; or there is no such number.
        """
        settings = f"{fingerprint_of(self.dataset)} {self.ways} {self.shots} {self.queries} {episodes}"
        return digest_of(settings, lambda numbers: [self.describe(numbers).all_ids_BNK], episodes)
