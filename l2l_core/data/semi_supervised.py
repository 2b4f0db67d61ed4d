"""Semi-supervised episodes: unlabelled examples beside the support set, some of them of classes not in the episode."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.batches import (
    Augmentation,
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
    whole,
)
from l2l_core.data.choices import finite
from l2l_core.data.episodes import NO_LABEL
from l2l_core.data.index import ClassIndex
from l2l_core.data.loading import Within, gather_from
from l2l_core.data.sampling import IntArray, random_words
from l2l_core.data.sources import all_examples, fingerprint_of, source_of
from l2l_core.data.transforms import KShots, NWays
from l2l_core.errors import TaskError, UsageError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

SPLIT: Final = 37
"""Stream of random words for which examples of a class have labels."""


class SemiSupervisedEpisode(NamedTuple):
    """An episode with unlabelled examples, or B of them stacked along a first axis.

    N ways, K shots, Q queries, D distractor classes, U unlabelled examples of each of the N + D classes.

    Attributes:
        support_x, support_y, query_x, query_y: as of an `Episode`.
        unlabelled_x: inputs [(N+D)·U, …], the U of label 0 first, distractors last; a learner must not use this order.
        unlabelled_y: labels int64 [(N+D)·U] to measure with, not to learn from; `NO_LABEL` for distractors.
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any
    unlabelled_x: Any
    unlabelled_y: Any


class SemiSupervisedTasks(Tasks):
    """Episodes with unlabelled examples and distractor classes; episode i is a pure function of (seed, i).

    The published settings: 5 ways, 5 distractor classes or none. In training, 5 unlabelled examples a class and
    `labelled` 0.1 of Omniglot and tiered-ImageNet, 0.4 of mini-ImageNet. In testing, all examples have labels to draw
    from (`labelled` None), with 20 queries and 20 unlabelled examples a class on the two ImageNets.

    An episode stays the same where the data set itself has a random transform, as of a `TaskGenerator`.

    Args:
        dataset: what to draw from; of an `ArrayDataset` the episodes are NumPy arrays, and torch is not imported.
        ways, shots, queries: classes, support examples per class, query examples per class.
        unlabelled: unlabelled examples of each class, those of distractors too.
        distractors: further classes of which there are unlabelled examples only; 0 for none.
        labelled: which fraction of the examples of each class, rounded down, support and query are drawn from, while
            unlabelled ones are drawn from the rest; in (0, 1). None draws all three from all examples, without overlap.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).
        split_seed: decides which examples are labelled: once for the data set, whatever the episodes' seed.
        num_tasks: how many episodes there are; −1 for endless ones, which have no length.
        augmentations: what is done with the inputs once they are loaded, all three parts alike, in order.

    Raises:
        UsageError: a number is below its least, a seed does not fit, `labelled` is not between 0 and 1, or
            `augmentations` is no list of such.
        TaskError: there are fewer classes than ways + distractors, or a class has too few examples.

    Source: Ren et al. (2018), Meta-Learning for Semi-Supervised Few-Shot Classification, §3 and §5.
    """

    def __init__(
        self,
        dataset: "ArrayDataset | Dataset[Any]",
        ways: int = 5,
        shots: int = 1,
        queries: int = 1,
        unlabelled: int = 5,
        distractors: int = 5,
        labelled: float | None = None,
        seed: int | None = None,
        *,
        split_seed: int = 0,
        num_tasks: int = -1,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        self.ways, self.shots = at_least_one("ways", ways), at_least_one("shots", shots)
        self.queries, self.unlabelled = at_least_one("queries", queries), at_least_one("unlabelled", unlabelled)
        self.distractors = whole("distractors", distractors)
        if self.distractors < 0:
            raise UsageError(f"distractors is {distractors}; give 0 for none, or more")
        if labelled is not None and not (finite(labelled) and 0 < labelled < 1):
            raise UsageError(f"labelled is {labelled!r}; give a fraction between 0 and 1, or None for all examples")
        self.labelled = labelled
        self._augmentations = check_augmentations(augmentations)
        self.num_tasks, self.seed = count_of_tasks(num_tasks), check_seed(seed)
        self.dataset = source_of(dataset)
        self._examples = len(self.dataset)
        index = self.dataset.class_index
        if len(index) < self.ways + self.distractors:
            raise TaskError(
                f"{ways} ways and {distractors} distractors were asked for, but there are {len(index)} classes; lower "
                "one of them"
            )
        self._pools = _pools(index, labelled, check_seed(split_seed))
        examples = self.shots + self.queries
        self._takes = [examples + self.unlabelled] if labelled is None else [examples, self.unlabelled]
        asked = ["shots + queries + unlabelled"] if labelled is None else ["shots + queries", "unlabelled"]
        kinds = ["examples"] if labelled is None else ["labelled examples", "unlabelled examples"]
        for pool, take, sum_of, kind in zip(self._pools, self._takes, asked, kinds, strict=True):
            smallest = int(np.argmin(pool.counts_C))
            if pool.counts_C[smallest] < take:
                raise TaskError(
                    f"class {index.name(smallest)!r} has {pool.counts_C[smallest]} {kind}, but {sum_of} = {take}; "
                    "lower one of them or drop the class"
                )

    def describe(self, indices: Sequence[int] | IntArray) -> TaskBatch:
        """The integer arrays of some episodes, nothing loaded: N + D classes with K + Q + U examples each.

        Of the first N classes the first K ids are support, the next Q query; of all classes the last U are unlabelled.
        What stands there for distractors besides is not used.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
        """
        check_length(self.dataset, self._examples)
        index = self.dataset.class_index
        batch = TaskBatch(index, self.seed, task_numbers(indices, self.num_tasks))
        batch = NWays(self.dataset, self.ways + self.distractors)(batch)
        parts = []
        for pool, take in zip(self._pools, self._takes, strict=True):
            batch = KShots(self.dataset, take)(replace(batch, index=pool, ids_BNK=None))
            parts.append(batch.all_ids_BNK)
        ids_BNK = np.concatenate(parts, axis=2)
        return replace(batch, index=index, ids_BNK=ids_BNK, load=True, augmentations=self._augmentations)

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` episodes: same data, examples of each and parts that they are in.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name.
            TaskError: the data set has another length than it had.
        """
        parts = f"{self.ways} {self.shots} {self.queries} {self.unlabelled} {self.distractors}"
        settings = f"semi-supervised {fingerprint_of(self.dataset)} {parts} {tasks}"
        return digest_of(settings, lambda numbers: [self.describe(numbers).all_ids_BNK], tasks)

    def batch(self, indices: Sequence[int] | IntArray) -> SemiSupervisedEpisode:
        """Some episodes, each array with an axis B in front.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
        """
        batch = self.describe(indices)
        own, shots, examples = slice(self.ways), self.shots, self.shots + self.queries
        labelled = replace(
            batch,
            classes_BN=batch.all_classes_BN[:, own],
            ids_BNK=batch.all_ids_BNK[:, own],
            augmentations=tuple(Within(each, batch, own, own) for each in batch.augmentations),
        )
        return SemiSupervisedEpisode(
            *self._part(labelled, 0, slice(shots)),
            *self._part(labelled, 1, slice(shots, examples)),
            *self._part(batch, 2, slice(examples, None)),
        )

    def _part(self, batch: TaskBatch, number: int, part: slice) -> tuple[Any, Any]:
        """Inputs and labels of a part of some episodes, of which it is number 0, 1 or 2."""
        tasks, classes, examples = batch.all_ids_BNK[:, :, part].shape
        labels_N = np.arange(classes)
        labels_N[self.ways :] = NO_LABEL
        labels_BM = np.tile(np.repeat(labels_N, examples), (tasks, 1))
        return load_inputs(gather_from(self.dataset, batch, number), batch, part), self.dataset.as_labels(labels_BM)


def _pools(index: ClassIndex, labelled: float | None, seed: int) -> list[ClassIndex]:
    """The labelled examples of each class and the others; all as one for None."""
    if labelled is None:
        return [index]
    # Each example gets a word: those of a class with the least words are labelled.
    words_M = random_words(seed, SPLIT, np.zeros(1, np.int64), index.examples)[0]
    ids_M, rows_M = all_examples(index)
    order_M = ids_M[np.lexsort((words_M, rows_M))]
    starts_C = np.cumsum(index.counts_C) - index.counts_C
    labelled_C = np.floor(index.counts_C * labelled).astype(np.int64)
    names = [index.name(row) for row in range(len(index))]
    return [
        ClassIndex(index.labels, starts_C, labelled_C, order_M, names),
        ClassIndex(index.labels, starts_C + labelled_C, index.counts_C - labelled_C, order_M, names),
    ]
