"""How the examples of a task come out of its data set: by chance only where the task says so, whatever its form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from l2l_core.data.batches import Augmentation, Draws, TaskBatch, apart, load_inputs, part_of
from l2l_core.data.episodes import Episode
from l2l_core.data.sampling import IntArray, WordArray
from l2l_core.data.sources import Source


def gather_from(source: Source, batch: TaskBatch, part: int = 0) -> Callable[[IntArray], Any]:
    """What gives the inputs of some tasks by their ids [B, M]; by chance, where the source does, only of the task.

    Args:
        source: to load from.
        batch: the tasks.
        part: which part of them is loaded: each has chances of its own.
    """
    if source.gathers_at_once:
        return source.gather
    from l2l_core.data.tasks import gather_of

    return gather_of(source, batch, part)


@dataclass(frozen=True)
class Within(Augmentation):
    """An augmentation of tasks that are cut out of larger ones, by the random words that these have there.

    Attributes:
        augmentation: what is done.
        whole: the larger tasks.
        examples: which of their N rows of examples the tasks consist of.
        classes: which of their N classes those are of.
    """

    augmentation: Augmentation
    whole: TaskBatch
    examples: slice | IntArray
    classes: slice | IntArray

    def apply(self, inputs: Any, draws: Draws) -> Any:
        """The inputs [B, N, K, …], changed."""
        return self.augmentation.apply(inputs, _DrawsWithin(draws.batch, draws.place, draws.part, self))


@dataclass(frozen=True, slots=True)
class _DrawsWithin(Draws):
    """Random words of what is cut out of larger tasks."""

    within: Within

    def of_classes(self, words: int) -> WordArray:
        return self._whole.of_classes(words)[:, self.within.classes]

    def of_examples(self, words: int) -> WordArray:
        return self._whole.of_examples(words)[:, self.within.examples]

    @property
    def _whole(self) -> Draws:
        return Draws(self.within.whole, self.place, self.part)


def load_uneven(
    source: Source,
    task: int,
    drawn: Episode,
    augmentations: Sequence[Augmentation],
    whole: TaskBatch,
    places_M: slice | IntArray,
) -> Episode:
    """An episode with its inputs in place of their ids; the support examples come first among its M.

    Args:
        source: to load from.
        task: its number.
        drawn: ids and labels of both parts, int64 arrays, with labels 0 to N − 1.
        augmentations: what is done with the inputs once they are loaded.
        whole: a task of one example a row, whose random words they have: class n those of row n.
        places_M: in which rows the examples stand.
    """
    ids_M = np.concatenate([drawn.support_x, drawn.query_x])
    labels_M = np.concatenate([drawn.support_y, drawn.query_y])
    batch = replace(
        whole,
        tasks_B=np.array([task]),
        ids_BNK=ids_M[None, :, None],
        labels_BN=labels_M[None],
        augmentations=tuple(Within(each, whole, places_M, labels_M) for each in augmentations),
    )
    (inputs,) = apart(load_inputs(gather_from(source, batch), batch))
    shots, as_labels = len(drawn.support_x), source.as_labels
    support_x, query_x = part_of(inputs, slice(shots)), part_of(inputs, slice(shots, None))
    return Episode(support_x, as_labels(drawn.support_y), query_x, as_labels(drawn.query_y))
