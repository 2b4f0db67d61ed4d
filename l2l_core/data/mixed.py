"""Episodes of several sources: a source is drawn for each, as Meta-Dataset trains on all of its data sets."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.data.batches import Tasks, check_seed, count_of_tasks, digest_of, task_numbers
from l2l_core.data.choices import checked_weights, weighted
from l2l_core.data.episodes import PaddedEpisodes, pad_episodes
from l2l_core.data.sampling import IntArray, random_words
from l2l_core.errors import UsageError

SOURCE: Final = 36
"""Stream of random words for the choice between the sources."""


class MixedTasks(Tasks):
    """Episodes of several sources; which one episode i comes from is a pure function of (seed, i).

    Episode i is episode i of its source, so it can be had from there as well.

    Args:
        sources: tasks that give an `Episode` each: `TaskGenerator`, `VariableTasks`; endless ones, or with at least
            `num_tasks` of them.
        seed: of the choice between the sources, 0 <= seed < 2**64; None draws one from the operating system.
        weights: how often each source comes, in proportion; None for all alike.
        num_tasks: how many episodes there are; −1 for endless ones, which have no length.

    Raises:
        UsageError: there is no source, one is none or has too few tasks, or weights are negative, not finite or all 0.

    Source: Triantafillou et al. (2020), Meta-Dataset, §3.
    """

    def __init__(
        self,
        sources: Sequence[Tasks],
        seed: int | None = None,
        *,
        weights: Sequence[float] | npt.NDArray[Any] | None = None,
        num_tasks: int = -1,
    ) -> None:
        self.sources = list(sources)
        if not self.sources:
            raise UsageError("no source was given to draw episodes from; give at least one")
        self.num_tasks = count_of_tasks(num_tasks)
        for number, source in enumerate(self.sources):
            if not isinstance(source, Tasks):
                raise UsageError(
                    f"source {number} is a {type(source).__name__}, which gives no episodes; "
                    "give a TaskGenerator or other tasks"
                )
            if source.num_tasks != -1 and not 0 < self.num_tasks <= source.num_tasks:
                asked = "endless ones" if self.num_tasks == -1 else self.num_tasks
                raise UsageError(
                    f"source {number} has {source.num_tasks} tasks, but {asked} were asked for; raise them"
                )
        self.seed = check_seed(seed)
        self._weights = checked_weights(
            "weights", [1] * len(self.sources) if weights is None else weights, len(self.sources)
        )

    def sources_of(self, indices: Sequence[int] | IntArray) -> IntArray:
        """Which source each of some episodes comes from, int64 [B].

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
        """
        tasks_B = task_numbers(indices, self.num_tasks)
        return weighted(random_words(self.seed, SOURCE, tasks_B, 1)[:, 0], self._weights)

    def digest(self, tasks: int) -> str:
        """Sha256 that names the first `tasks` episodes: same seed and weights, and same tasks of each source.

        Raises:
            UsageError: a source has no digest; of which it is never drawn from, none is needed.
            TaskError: as the sources.
        """
        digests = [self._source_digest(number, tasks) for number in np.flatnonzero(self._weights).tolist()]
        settings = f"mixed {self.seed} {self._weights.tolist()} {' '.join(digests)} {tasks}"
        return digest_of(settings, lambda numbers: [self.sources_of(numbers)], tasks)

    def _source_digest(self, number: int, tasks: int) -> str:
        source = self.sources[number]
        digest = getattr(source, "digest", None)
        if digest is None:
            raise UsageError(f"source {number} is a {type(source).__name__}, which has no digest; leave it out")
        return str(digest(tasks))

    def batch(self, indices: Sequence[int] | IntArray) -> PaddedEpisodes:
        """Some episodes, filled up to the largest of them.

        Raises:
            IndexError: a number is negative or not below `num_tasks`.
            UsageError: there is no number at all, or one that is not whole.
            TaskError: the sources have examples of different shape or type.
        """
        return pad_episodes(self.__getitems__(indices))

    def __getitems__(self, indices: Sequence[int] | IntArray) -> list[Any]:
        """Several episodes, each of its own size, those of one source from one gather. Raises as the source does."""
        tasks_B, sources_B = task_numbers(indices, self.num_tasks), self.sources_of(indices)
        episodes: list[Any] = [None] * len(tasks_B)
        for source in np.unique(sources_B).tolist():
            places = np.flatnonzero(sources_B == source)
            drawn = self.sources[source].__getitems__(tasks_B[places].tolist())
            for place, episode in zip(places.tolist(), drawn, strict=True):
                episodes[place] = episode
        return episodes
