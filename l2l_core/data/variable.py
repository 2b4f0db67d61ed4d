"""Episodes with the variable ways and shots of Meta-Dataset, whose sizes are drawn as well as their content."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
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
    count_of_tasks,
    digest_of,
    task_numbers,
)
from l2l_core.data.choices import FloatArray, distinct_heads
from l2l_core.data.episodes import Episode, PaddedEpisodes, pad_episodes
from l2l_core.data.hierarchy import Hierarchy, as_hierarchy
from l2l_core.data.index import ClassIndex
from l2l_core.data.loading import load_uneven
from l2l_core.data.sampling import IntArray, WordArray, bounded, random_words
from l2l_core.data.sources import fingerprint_of, source_of
from l2l_core.data.transforms import CLASSES, SHOTS
from l2l_core.errors import TaskError, UsageError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

GROUP: Final = 32
WAYS: Final = 33
SUPPORT: Final = 34
PROPORTIONS: Final = 35
"""Streams of random words for what only these episodes choose."""
_FACTOR_BITS: Final = 32
"""How finely `half_to_double` tells factors apart; more would change a share of examples by less than 1e-9."""


@dataclass(frozen=True, slots=True)
class Composition:
    """What B episodes of different sizes consist of; N and K are those of the largest among them.

    Attributes:
        tasks_B: int64 [B], the task numbers.
        classes_BN: int64 [B, N], rows of the classes in the data set's index; −1 behind the last. Label n is class n.
        shots_BN: int64 [B, N], support examples of each class; 0 behind the last.
        queries_B: int64 [B], query examples of every class.
        ids_BNK: int64 [B, N, K], example ids of each class: its support, then its query; −1 behind the last.
    """

    tasks_B: IntArray
    classes_BN: IntArray
    shots_BN: IntArray
    queries_B: IntArray
    ids_BNK: IntArray

    @property
    def support_BNK(self) -> npt.NDArray[np.bool_]:
        """Which of the ids are support examples."""
        support: npt.NDArray[np.bool_] = np.arange(self.ids_BNK.shape[2]) < self.shots_BN[:, :, None]
        return support

    @property
    def query_BNK(self) -> npt.NDArray[np.bool_]:
        """Which of the ids are query examples."""
        return (self.ids_BNK >= 0) & ~self.support_BNK


class VariableTasks(Tasks):
    """Episodes whose ways, shots and queries vary as in Meta-Dataset; episode i is a pure function of (seed, i).

    With the symbols of the paper, |Im(c)| the examples of class c, and the defaults in place of the arguments' names:

    - ways |C|: uniform in [5, min(50, classes)]; with a `hierarchy` from one of its groups, see there;
    - queries of each class: q = min(10, min_c ⌊|Im(c)| / 2⌋);
    - size of the support set: |S| = min(500, Σ_c ⌈β · min(100, |Im(c)| − q)⌉), with one β uniform in (0, 1];
    - share of class c: R_c ∝ exp(α_c) · |Im(c)|, with α_c uniform in [log 0.5, log 2);
    - its shots: k_c = min(⌊R_c · (|S| − |C|)⌋ + 1, |Im(c)| − q).

    ``tasks[i]`` is an `Episode` of its own size, a DataLoader takes ``collate_fn=pad_episodes``, and
    ``tasks.batch(indices)`` is a `PaddedEpisodes`. Support examples of a class come together, classes in random order.
    An episode stays the same where the data set itself has a random transform, as of a `TaskGenerator`.

    Args:
        dataset: what to draw from; of an `ArrayDataset` the episodes are NumPy arrays, and torch is not imported.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).
        hierarchy: groups of related classes, see `superclass_hierarchy` and `graph_hierarchy`, or a mapping of name to
            labels; a single group serves to leave classes out. None draws from all classes.
        num_tasks: how many episodes there are; −1 for endless ones, which have no length.
        min_ways, max_ways: bounds of the ways.
        max_queries: bound of the queries per class.
        max_support: bound of the support set.
        max_contribution: how much a class adds to the size of the support set, at most; it may get more shots.
        augmentations: what is done with the inputs once they are loaded, support and query alike, in order.

    Raises:
        UsageError: a bound is below 1, below another that it must hold, the seed does not fit, or `augmentations` is no
            list of such.
        TaskError: there are fewer classes than `min_ways`, a class has a single example, or the hierarchy names a class
            that is none, or no group of it is large enough.

    Source: Triantafillou et al. (2020), Meta-Dataset, §3.2 and its appendix on the sampling of episodes.
    """

    def __init__(
        self,
        dataset: "ArrayDataset | Dataset[Any]",
        seed: int | None = None,
        *,
        hierarchy: Hierarchy | Mapping[str, Iterable[Hashable]] | None = None,
        num_tasks: int = -1,
        min_ways: int = 5,
        max_ways: int = 50,
        max_queries: int = 10,
        max_support: int = 500,
        max_contribution: int = 100,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        self.min_ways, self.max_ways = at_least_one("min_ways", min_ways), at_least_one("max_ways", max_ways)
        if self.max_ways < self.min_ways:
            raise UsageError(f"max_ways is {max_ways}, below min_ways = {min_ways}; raise it")
        self.max_queries = at_least_one("max_queries", max_queries)
        self.max_support = at_least_one("max_support", max_support)
        self.max_contribution = at_least_one("max_contribution", max_contribution)
        self._augmentations = check_augmentations(augmentations)
        self.num_tasks = count_of_tasks(num_tasks)
        self.seed = check_seed(seed)
        self.dataset = source_of(dataset)
        self._examples = len(self.dataset)
        index = self.dataset.class_index
        self.hierarchy = hierarchy = None if hierarchy is None else as_hierarchy(hierarchy)
        self._whole = hierarchy is not None and hierarchy.whole
        groups = _groups(index, hierarchy, self.min_ways)
        self._rows = np.concatenate(groups)
        self._sizes_G = np.array([len(group) for group in groups])
        self._starts_G = np.cumsum(self._sizes_G) - self._sizes_G
        most_ways = min(self.max_ways, int(self._sizes_G.max()))
        if self.max_support < most_ways:
            raise UsageError(
                f"max_support is {max_support}, less than one example for each of {most_ways} ways; raise it"
            )
        smallest = int(self._rows[np.argmin(index.counts_C[self._rows])])
        if index.counts_C[smallest] < 2:
            raise TaskError(
                f"class {index.name(smallest)!r} has {index.counts_C[smallest]} example, but support and query "
                "need one each; drop the class"
            )

    def describe(self, indices: Sequence[int] | IntArray) -> Composition:
        """The integer arrays of some episodes; no example is loaded.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
            TaskError: the data set has another length than it had.
        """
        tasks_B = task_numbers(indices, self.num_tasks)
        check_length(self.dataset, self._examples)
        index = self.dataset.class_index
        classes_BN = self._classes(tasks_B)
        member_BN = classes_BN >= 0
        counts_BN = np.where(member_BN, index.counts_C[classes_BN], 0)
        smallest_B = np.where(member_BN, counts_BN, counts_BN.max()).min(axis=1)
        queries_B = np.minimum(self.max_queries, smallest_B // 2)
        left_BN = np.where(member_BN, counts_BN - queries_B[:, None], 0)
        shots_BN = self._shots(tasks_B, counts_BN, left_BN)
        ids_BNK = self._ids(tasks_B, classes_BN, np.where(member_BN, shots_BN + queries_B[:, None], 0))
        return Composition(tasks_B, classes_BN, shots_BN, queries_B, ids_BNK)

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` episodes: same data, classes and examples of each.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name.
            TaskError: the data set has another length than it had.
        """

        def arrays_of(numbers: range) -> list[IntArray]:
            drawn = self.describe(numbers)
            member_BN = drawn.classes_BN >= 0
            # Without what fills them up, which depends on the block.
            sizes = [member_BN.sum(axis=1), drawn.shots_BN[member_BN], drawn.queries_B]
            return [*sizes, drawn.classes_BN[member_BN], drawn.ids_BNK[drawn.ids_BNK >= 0]]

        return digest_of(f"variable {fingerprint_of(self.dataset)} {tasks}", arrays_of, tasks)

    def _classes(self, tasks_B: IntArray) -> IntArray:
        """Rows of the classes, [B, N]; −1 behind the last."""
        group_B = bounded(random_words(self.seed, GROUP, tasks_B, 1)[:, 0], len(self._sizes_G))
        sizes_B = self._sizes_G[group_B]
        ways_B = np.minimum(sizes_B, self.max_ways)
        if not self._whole:
            words_B = random_words(self.seed, WAYS, tasks_B, 1)[:, 0]
            ways_B = self.min_ways + bounded(words_B, ways_B - self.min_ways + 1)
        # So many words whatever the largest of the batch needs, since a task's words depend on how many there are.
        words_BN = random_words(self.seed, CLASSES, tasks_B, self.max_ways)[:, : ways_B.max()]
        places_BN = self._starts_G[group_B][:, None] + distinct_heads(words_BN, sizes_B)
        member_BN = np.arange(places_BN.shape[1]) < ways_B[:, None]
        return np.where(member_BN, self._rows[np.where(member_BN, places_BN, 0)], -1)

    def _shots(self, tasks_B: IntArray, counts_BN: IntArray, left_BN: IntArray) -> IntArray:
        """Support examples of each class, [B, N]; 0 behind the last.

        Args:
            tasks_B: the task numbers.
            counts_BN: examples that each class has.
            left_BN: those without its queries; 0 behind the last class.
        """
        N = left_BN.shape[1]
        contribution_BN = np.minimum(self.max_contribution, left_BN)
        beta_BN = np.broadcast_to(random_words(self.seed, SUPPORT, tasks_B, 1), left_BN.shape)
        # β in (0, 1] and rounding up is β in [0, 1), rounding down and one more.
        parts_BN = np.where(left_BN > 0, bounded(beta_BN, np.maximum(contribution_BN, 1)) + 1, 0)
        support_B1 = np.minimum(self.max_support, parts_BN.sum(axis=1, keepdims=True))
        spare_B1 = support_B1 - (left_BN > 0).sum(axis=1, keepdims=True)
        words_BN = random_words(self.seed, PROPORTIONS, tasks_B, self.max_ways)[:, :N]
        weights_BN = half_to_double(words_BN) * counts_BN
        # Added one after the other: a plain sum adds in an order that may differ with the machine and with N.
        total_B1 = np.cumsum(weights_BN, axis=1)[:, -1:]
        shares_BN = np.floor(weights_BN / total_B1 * spare_B1).astype(np.int64)
        shots_BN: IntArray = np.minimum(shares_BN + 1, left_BN)
        return shots_BN

    @property
    def _most_examples(self) -> int:
        """No episode has more than this: its support set and its query set both as large as their bounds."""
        return self.max_support + self.max_ways * self.max_queries

    def _ids(self, tasks_B: IntArray, classes_BN: IntArray, takes_BN: IntArray) -> IntArray:
        """Example ids of each class, [B, N, K]; −1 behind the last.

        Args:
            tasks_B: the task numbers.
            classes_BN: rows of the classes.
            takes_BN: how many examples of each; 0 behind the last class.
        """
        index = self.dataset.class_index
        steps_K = np.arange(takes_BN.max())
        # One word for each example of a task, class after class.
        words_BM = random_words(self.seed, SHOTS, tasks_B, self._most_examples)
        before_BN = np.cumsum(takes_BN, axis=1) - takes_BN
        b_R, n_R = np.nonzero(takes_BN)
        word_RK = np.minimum(before_BN[b_R, n_R][:, None] + steps_K, words_BM.shape[1] - 1)
        rows_R = classes_BN[b_R, n_R]
        chosen_RK = distinct_heads(words_BM[b_R[:, None], word_RK], index.counts_C[rows_R])
        taken_RK = steps_K < takes_BN[b_R, n_R][:, None]
        ids_BNK = np.full((*takes_BN.shape, len(steps_K)), -1, np.int64)
        places_RK = index.starts_C[rows_R][:, None] + np.where(taken_RK, chosen_RK, 0)
        ids_BNK[b_R, n_R] = np.where(taken_RK, index.ids(places_RK), -1)
        return ids_BNK

    def batch(self, indices: Sequence[int] | IntArray) -> PaddedEpisodes:
        """Some episodes, filled up to the largest of them.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
        """
        return pad_episodes(self.__getitems__(indices))

    def __getitems__(self, indices: Sequence[int] | IntArray) -> list[Any]:
        """Several episodes, each of its own size. Raises as `batch` does."""
        drawn = self.describe(indices)
        parts = drawn.tasks_B.tolist(), drawn.ids_BNK, drawn.support_BNK, drawn.query_BNK
        return [self._episode(*each) for each in zip(*parts, strict=True)]

    def _episode(
        self, task: int, ids_NK: IntArray, support_NK: npt.NDArray[np.bool_], query_NK: npt.NDArray[np.bool_]
    ) -> Episode:
        """An episode, of which these are the ids and their parts."""
        drawn = Episode(ids_NK[support_NK], support_NK.nonzero()[0], ids_NK[query_NK], query_NK.nonzero()[0])
        examples = len(drawn.support_x) + len(drawn.query_x)
        # As many places in every episode: random words of tasks that need more or fewer are not apart.
        places_BNK = np.full((1, self._most_examples, 1), -1)
        whole = TaskBatch(self.dataset.class_index, self.seed, np.array([task]), ids_BNK=places_BNK)
        return load_uneven(self.dataset, task, drawn, self._augmentations, whole, slice(examples))


def half_to_double(words: WordArray) -> FloatArray:
    """exp(α) with α uniform in [log 0.5, log 2), same shape: a half times 4 to the power of a uniform number.

    Only products and square roots, which are rounded the same way on every machine; exp and log are not, and a shot
    more or less would be another episode.
    """
    values, root = np.full(words.shape, 0.5), 4.0
    for bit in range(1, _FACTOR_BITS + 1):
        root = sqrt(root)
        values *= np.where(words >> np.uint64(64 - bit) & np.uint64(1), root, 1.0)
    return values


def _groups(index: ClassIndex, hierarchy: Hierarchy | None, min_ways: int) -> list[IntArray]:
    """Rows of the classes of each group that episodes can be drawn from."""
    if hierarchy is None:
        if len(index) < min_ways:
            raise TaskError(f"min_ways is {min_ways}, but there are {len(index)} classes; lower it")
        return [np.arange(len(index))]
    groups, largest = [], 0
    for name, labels in hierarchy.groups.items():
        members = list(dict.fromkeys(labels))
        for label in members:
            if label not in index.rows:
                raise TaskError(f"group {name!r} names the label {label!r}, which no example has; leave it out")
        largest = max(largest, len(members))
        if len(members) >= min_ways:
            groups.append(np.array([index.rows[label] for label in members], np.int64))
        elif not hierarchy.whole:
            raise TaskError(f"group {name!r} has {len(members)} classes, fewer than min_ways = {min_ways}; lower it")
    if not groups:
        raise TaskError(
            f"none of the {len(hierarchy.groups)} groups of the hierarchy has min_ways = {min_ways} classes, the "
            f"largest has {largest}; lower min_ways or give other groups"
        )
    return groups
