"""Plain batches of examples, without episodes: for training a backbone before, or instead of, few-shot learning."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.batches import (
    Augmentation,
    TaskBatch,
    Tasks,
    at_least_one,
    check_augmentations,
    check_length,
    check_seed,
    digest_of,
    load_inputs,
    task_numbers,
)
from l2l_core.data.loading import gather_from
from l2l_core.data.sampling import IntArray, random_words
from l2l_core.data.sources import all_examples, fingerprint_of, source_of
from l2l_core.errors import TaskError, UsageError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

ORDER: Final = 38
"""Stream of random words for the order of the examples in an epoch."""


class ExampleBatches(Tasks):
    """Batches of (inputs, labels), epoch after epoch; batch i is a pure function of (seed, i).

    Epoch e is the batches e · `per_epoch` to (e + 1) · `per_epoch` − 1, in which each example comes once. So to resume
    is to go on with the number of the next batch. A batch stays the same where the data set itself has a random
    transform, as an episode of a `TaskGenerator` does.

    Args:
        dataset: what to take examples from; of an `ArrayDataset` the batches are NumPy arrays, without torch.
        batch_size: examples a batch.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).
        shuffle: whether each epoch has an order of its own; else that of the ids.
        drop_last: whether to leave out the last batch of an epoch where it is smaller.
        num_epochs: how many epochs there are; −1 for endless ones.
        ids: which examples; all for None.
        labels: what to call them, one whole number for each of `ids`; the places of their classes for None.
        augmentations: what is done with the inputs once they are loaded, in order; each example stands for a class of
            its own.

    Attributes:
        num_tasks: batches of all epochs; −1 for endless ones.
        per_epoch: batches of an epoch.

    ``batches[i]`` is inputs [M, …] and labels int64 [M]: the place of the example's class when the data set's labels
    are sorted, which is the label itself where these are 0 to C − 1. ``batches.epoch(e)`` goes through an epoch.

    Raises:
        UsageError: a number is below 1, the seed does not fit, there is no batch, not one label for each id, or
            `augmentations` is no list of such.
        IndexError: there is no example of some id.
        TaskError: the labels cannot be sorted.
    """

    def __init__(
        self,
        dataset: "ArrayDataset | Dataset[Any]",
        batch_size: int = 64,
        seed: int | None = None,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        num_epochs: int = -1,
        ids: Sequence[int] | IntArray | None = None,
        labels: Sequence[int] | IntArray | None = None,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        self.batch_size, self.seed, self.shuffle = at_least_one("batch_size", batch_size), check_seed(seed), shuffle
        self.dataset = source_of(dataset)
        all_ids_M, all_rows_M = all_examples(self.dataset.class_index)
        by_id = np.argsort(all_ids_M)
        self._ids_M, self._rows_M = all_ids_M[by_id], all_rows_M[by_id]
        self._examples = len(self.dataset)
        if ids is not None:
            places_M = _places(self._ids_M, ids)
            self._ids_M, self._rows_M = self._ids_M[places_M], self._rows_M[places_M]
        self._labels_M = None if labels is None else _labels(labels, len(self._ids_M))
        self._augmentations = check_augmentations(augmentations)
        examples = len(self._ids_M)
        self.per_epoch = examples // self.batch_size if drop_last else -(-examples // self.batch_size)
        if not self.per_epoch:
            raise UsageError(f"{examples} examples make no batch of {batch_size}; lower batch_size or give more")
        self.num_tasks = -1 if num_epochs == -1 else at_least_one("num_epochs", num_epochs) * self.per_epoch
        self._last_order: tuple[int, IntArray] | None = None

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some batches, nothing loaded: tasks with M classes of one example each.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
            TaskError: some batches are smaller than others, or the data set has another length than it had.
        """
        numbers_B = task_numbers(indices, self.num_tasks)
        check_length(self.dataset, self._examples)
        chosen = [self._chosen(number) for number in numbers_B.tolist()]
        sizes = [len(chosen_M) for chosen_M in chosen]
        if min(sizes) != max(sizes):
            raise TaskError(
                f"batch {numbers_B[sizes.index(min(sizes))]}, the last of its epoch, has {min(sizes)} of {max(sizes)} "
                "examples, so it cannot be stacked with others; set drop_last, or take batches one by one"
            )
        chosen_BM = np.stack(chosen)
        rows_BM = self._rows_M[chosen_BM]
        index = self.dataset.class_index
        batch = TaskBatch(
            index,
            self.seed,
            numbers_B,
            classes_BN=rows_BM,
            ids_BNK=self._ids_M[chosen_BM][:, :, None],
            labels_BN=self._labels_M[chosen_BM] if self._labels_M is not None else index.rank_C[rows_BM],
            load=True,
        )
        for augmentation in self._augmentations:
            batch = augmentation(batch)
        return batch

    def _chosen(self, number: int) -> IntArray:
        """Places of the examples of a batch among all ids, int64 [M]."""
        epoch, place = divmod(number, self.per_epoch)
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def _order(self, epoch: int) -> IntArray:
        """The examples in the order of an epoch, that of the last one asked for being at hand; int64 [M]."""
        examples = len(self._ids_M)
        if not self.shuffle:
            return np.arange(examples)
        if self._last_order is None or self._last_order[0] != epoch:
            words_M = random_words(self.seed, ORDER, np.array([epoch]), examples)[0]
            self._last_order = epoch, np.argsort(words_M, kind="stable")
        return self._last_order[1]

    def batch(self, indices: Sequence[int] | IntArray) -> tuple[Any, Any]:
        """Some batches from one gather, inputs [B, M, …] and labels [B, M]; raises as `describe` does."""
        batch = self.describe(indices)
        return load_inputs(gather_from(self.dataset, batch), batch), self.dataset.as_labels(batch.all_labels_BN)

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` batches: same data, examples and labels.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name.
            TaskError: the data set has another length than it had.
        """

        def arrays_of(numbers: range) -> list[IntArray]:
            batches = [self.describe([number]) for number in numbers]
            return [array for batch in batches for array in (batch.all_ids_BNK, batch.all_labels_BN)]

        return digest_of(f"plain {fingerprint_of(self.dataset)} {tasks}", arrays_of, tasks)

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        """The batches of an epoch, one by one.

        Raises:
            IndexError: there is no such epoch.
        """
        first = number * self.per_epoch
        for index in range(first, first + self.per_epoch):
            yield self[index]


def _places(known_M: IntArray, ids: Sequence[int] | IntArray) -> IntArray:
    """Where some ids are among those known, which are sorted."""
    asked = _array(ids)
    if asked.ndim != 1 or (asked.size and asked.dtype.kind not in "iu"):
        raise UsageError(f"ids are {asked.dtype} {list(asked.shape)}; give a list of whole numbers")
    asked = asked.astype(np.int64)
    places = np.searchsorted(known_M, asked).clip(max=len(known_M) - 1)
    unknown = np.flatnonzero(known_M[places] != asked)
    if len(unknown):
        raise IndexError(
            f"the data set has no example {asked[unknown[0]]}; its ids are in {known_M[0]} to {known_M[-1]}"
        )
    return places


def _labels(labels: Sequence[int] | IntArray, examples: int) -> IntArray:
    """Labels of one's own, int64 [M]."""
    labels_M = _array(labels)
    if labels_M.shape != (examples,) or labels_M.dtype.kind not in "iu":
        raise UsageError(
            f"labels are {labels_M.dtype} {list(labels_M.shape)}; give a whole number for each of {examples} examples"
        )
    return labels_M.astype(np.int64)


def _array(values: Any) -> npt.NDArray[Any]:
    """The values as an array; of objects where they are ragged."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.array(values, object)
