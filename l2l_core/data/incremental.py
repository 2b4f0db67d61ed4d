"""Class-incremental sessions: many examples of the base classes, then a few of some new classes at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    digest_of,
    task_numbers,
)
from l2l_core.data.episodes import Episode, PaddedEpisodes, pad_episodes
from l2l_core.data.loading import load_uneven
from l2l_core.data.sampling import IntArray, distinct, random_words
from l2l_core.data.sources import fingerprint_of, source_of
from l2l_core.data.transforms import CLASSES, SHOTS
from l2l_core.errors import TaskError

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class IncrementalSessions(Tasks):
    """The sessions of few-shot class-incremental learning; session s is a pure function of (seed, s).

    Session 0 has all examples of `base_classes` classes, save those for testing; each further session `shots` examples
    of `ways` new classes, until no class is left. A session is an `Episode`: its support set is what is new, its query
    set the test examples of all classes seen so far. Labels count the classes in the order in which they appear.

    The published settings: 60 base classes and 8 sessions of 5 ways, 5 shots on CIFAR-100 and mini-ImageNet; 100 base
    classes and 10 sessions of 10 ways, 5 shots on CUB. Their lists of examples are not used: test examples and shots
    are drawn, since a store does not tell a data set's own training and test pictures apart.

    A session stays the same where the data set itself has a random transform, as an episode of a `TaskGenerator` does.

    Args:
        dataset: what to draw from; of an `ArrayDataset` the sessions are NumPy arrays, and torch is not imported.
        base_classes: classes of session 0.
        ways, shots: new classes of each further session, examples of each of them.
        queries: test examples per class, the same ones in all sessions.
        seed: 0 <= seed < 2**64; None draws one from the operating system (read it from ``.seed``).
        shuffle: whether the classes appear in random order; else in that of the data set, as in the paper.
        augmentations: what is done with the inputs once they are loaded, support and query alike, in order. What is
            random in it is drawn once for each class and each example, so that a test set only grows.

    Raises:
        UsageError: a number is below 1, the seed does not fit, or `augmentations` is no list of such.
        TaskError: the classes beyond the base are no whole sessions, or some class has fewer examples than
            shots + queries.

    Source: Tao et al. (2020), Few-Shot Class-Incremental Learning, CVPR, §3 and the settings of §5.
    """

    def __init__(
        self,
        dataset: "ArrayDataset | Dataset[Any]",
        base_classes: int = 60,
        ways: int = 5,
        shots: int = 5,
        queries: int = 100,
        seed: int | None = None,
        *,
        shuffle: bool = False,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        self.base_classes, self.ways = at_least_one("base_classes", base_classes), at_least_one("ways", ways)
        self.shots, self.queries = at_least_one("shots", shots), at_least_one("queries", queries)
        self.seed = check_seed(seed)
        self._augmentations = check_augmentations(augmentations)
        self.dataset = source_of(dataset)
        self._examples = len(self.dataset)
        index = self.dataset.class_index
        left = len(index) - self.base_classes
        if left < 0:
            raise TaskError(
                f"{base_classes} base classes were asked for, but there are {len(index)} classes; lower them"
            )
        sessions, odd = divmod(left, self.ways)
        if odd:
            raise TaskError(
                f"{base_classes} base classes leave {left} of {len(index)}, which are no whole sessions of {ways} "
                "ways; change one of the two"
            )
        self.num_tasks = 1 + sessions
        smallest = int(np.argmin(index.counts_C))
        if index.counts_C[smallest] < self.shots + self.queries:
            raise TaskError(
                f"class {index.name(smallest)!r} has {index.counts_C[smallest]} examples, but shots + queries = "
                f"{self.shots + self.queries}; lower one of them or drop the class"
            )
        self.classes = np.arange(len(index))
        """Rows of the classes in the order in which they appear, int64 [C]; label n is class n of them."""
        if shuffle:
            self.classes = distinct(random_words(self.seed, CLASSES, np.zeros(1, np.int64), len(index)), len(index))[0]
        words_CK = random_words(self.seed, SHOTS, np.arange(len(index)), self.queries + self.shots)
        self._drawn_CK = distinct(words_CK, index.counts_C)

    def describe(self, session: int) -> Episode:
        """A session with example ids in place of the inputs, nothing loaded; all int64 [M].

        One at a time, unlike other tasks: sessions differ in size, so that several fill no array.

        With `ExampleBatches` its support set serves for training on a base session too large to be loaded at once:
        ``ExampleBatches(dataset, 128, ids=base.support_x, labels=base.support_y)``.

        Raises:
            IndexError: there is no such session.
            TaskError: the data set has another length than it had.
        """
        session = int(task_numbers([session], self.num_tasks)[0])
        check_length(self.dataset, self._examples)
        seen = self.base_classes + session * self.ways
        new = range(seen - self.ways, seen) if session else range(seen)
        support = [self._training_ids(self.classes[label], base=not session) for label in new]
        support_y = np.repeat(np.array(new), [len(ids) for ids in support])
        rows = self.classes[:seen]
        index = self.dataset.class_index
        query_ids = index.ids(index.starts_C[rows][:, None] + self._drawn_CK[rows, : self.queries]).reshape(-1)
        return Episode(np.concatenate(support), support_y, query_ids, np.repeat(np.arange(seen), self.queries))

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` sessions: same data, examples and labels.

        Raises:
            UsageError: the data set is not a prepared one, so its bytes have no name.
            TaskError: the data set has another length than it had.
        """

        def arrays_of(numbers: range) -> list[IntArray]:
            return [array for number in numbers for array in self.describe(number)]

        return digest_of(f"incremental {fingerprint_of(self.dataset)} {tasks}", arrays_of, tasks)

    def _training_ids(self, row: int, *, base: bool) -> IntArray:
        """Examples of a class to learn from: all but those to test with, or the shots."""
        index, drawn_K = self.dataset.class_index, self._drawn_CK[row]
        if base:
            places = np.setdiff1d(np.arange(index.counts_C[row]), drawn_K[: self.queries])
        else:
            places = drawn_K[self.queries :]
        return index.ids(index.starts_C[row] + places)

    def batch(self, indices: Sequence[int] | IntArray) -> PaddedEpisodes:
        """Some sessions, filled up to the largest of them.

        Raises:
            IndexError: there is no such session.
            UsageError: there is no number at all, or one that is not whole.
        """
        return pad_episodes(self.__getitems__(indices))

    def __getitems__(self, indices: Sequence[int] | IntArray) -> list[Any]:
        """Several sessions, each of its own size. Raises as `batch` does."""
        return [self._session(number) for number in task_numbers(indices, self.num_tasks).tolist()]

    def _session(self, number: int) -> Episode:
        """A session, loaded."""
        drawn = self.describe(number)
        # All examples in one task, so that what is tested in several sessions has the same random words in all.
        every_BNK = np.arange(self._examples)[None, :, None]
        whole = TaskBatch(self.dataset.class_index, self.seed, np.zeros(1, np.int64), ids_BNK=every_BNK)
        ids_M = np.concatenate([drawn.support_x, drawn.query_x])
        return load_uneven(self.dataset, number, drawn, self._augmentations, whole, ids_M)
