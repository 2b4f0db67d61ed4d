"""N-way K-shot episodes, support and query apart: the short way to tasks."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.sampling import IntArray
from l2l_core.data.tasks import TaskBatch, TaskDataset, TaskTransform, at_least_one
from l2l_core.data.transforms import KShots, LoadData, NWays
from l2l_core.errors import TaskError, UsageError


class Episode(NamedTuple):
    """A task with its support and query set, or B of them stacked along a first axis.

    Attributes:
        support_x: inputs [N·K, …], the K of label 0 first, then those of label 1, and so on; texts as a list.
        support_y: labels int64 [N·K], 0 to N − 1.
        query_x: inputs [N·Q, …], in the same order.
        query_y: labels int64 [N·Q].
    """

    support_x: Any
    support_y: Tensor
    query_x: Any
    query_y: Tensor


class TaskGenerator:
    """Endless N-way K-shot episodes of a data set; episode i is a pure function of (seed, i).

    Args:
        dataset: what to draw from.
        ways, shots, queries: classes, support examples per class, query examples per class.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).

    ``generator[i]`` is episode i, ``generator.batch(indices)`` stacks several, iteration gives 0, 1, 2 and so on.

    Raises:
        UsageError: ways, shots or queries is below 1.
        TaskError: there are fewer classes than ways, or some class has fewer examples than shots + queries.
    """

    def __init__(
        self, dataset: Dataset[Any], ways: int = 5, shots: int = 1, queries: int = 15, seed: int | None = None
    ) -> None:
        ways, shots, queries = (
            at_least_one(name, value) for name, value in (("ways", ways), ("shots", shots), ("queries", queries))
        )
        meta = dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)
        index = meta.class_index
        smallest = int(np.argmin(index.counts_C))
        if index.counts_C[smallest] < shots + queries:
            raise TaskError(
                f"class {index.name(smallest)!r} has {index.counts_C[smallest]} examples, but shots + queries = "
                f"{shots + queries}; lower one of them or drop the class"
            )
        self.ways, self.shots, self.queries = ways, shots, queries
        # The classes come in random order already, so label n is the n-th class drawn.
        steps: list[TaskTransform] = [
            NWays(meta, ways),
            KShots(meta, shots + queries),
            LoadData(meta),
            _number_classes,
        ]
        self._tasks = TaskDataset(meta, steps, seed=seed)
        self.seed = self._tasks.seed

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some episodes, nothing loaded: the first `shots` ids of a class are its support."""
        return self._tasks.describe(indices)

    def batch(self, indices: Sequence[int] | IntArray) -> Episode:
        """Some episodes, each tensor with an axis B in front."""
        x, y = self._tasks.batch(indices)
        per_class = (self.ways, self.shots + self.queries)
        y = y.unflatten(1, per_class)
        support_y, query_y = y[:, :, : self.shots].flatten(1, 2), y[:, :, self.shots :].flatten(1, 2)
        if isinstance(x, list):
            texts = np.array(x, object).reshape(len(x), *per_class)
            support_x, query_x = (
                part.reshape(len(x), -1).tolist() for part in (texts[:, :, : self.shots], texts[:, :, self.shots :])
            )
        else:
            x = x.unflatten(1, per_class)
            support_x, query_x = x[:, :, : self.shots].flatten(1, 2), x[:, :, self.shots :].flatten(1, 2)
        return Episode(support_x, support_y, query_x, query_y)

    def __getitem__(self, index: int) -> Episode:
        return Episode(*(part[0] for part in self.batch([index])))

    def __iter__(self) -> Iterator[Episode]:
        index = 0
        while True:
            yield self[index]
            index += 1

    def digest(self, episodes: int) -> str:
        """Sha256 that names the first `episodes` episodes: same data, classes, examples, ways, shots and queries.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name.
        """
        dataset = self._tasks.dataset.dataset
        if not isinstance(dataset, PreparedDataset):
            raise UsageError("only episodes of a prepared data set have a digest; load it with load_dataset")
        settings = f"{dataset.fingerprint} {self.ways} {self.shots} {self.queries} {episodes}"
        total = hashlib.sha256(settings.encode())
        for start in range(0, episodes, 1024):
            total.update(self.describe(range(start, min(start + 1024, episodes))).all_ids_BNK.astype("<i8").tobytes())
        return total.hexdigest()


def _number_classes(batch: TaskBatch) -> TaskBatch:
    ways = batch.all_classes_BN.shape[1]
    return replace(batch, labels_BN=np.broadcast_to(np.arange(ways), (len(batch), ways)))
