"""Classes that come more often than others: a task transform in the place of `NWays`."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from l2l_core.data.batches import TaskBatch, at_least_one
from l2l_core.data.choices import FloatArray, checked_weights, weighted_distinct
from l2l_core.data.index import ClassIndex
from l2l_core.data.transforms import CLASSES, ArrayTransform
from l2l_core.errors import TaskError, UsageError


class WeightedNWays(ArrayTransform):
    """Keeps `n` classes of each task, drawn one after another with chances in proportion to the weights of those left.

    Its cost grows with the number of classes, that of `NWays` does not.

    Args:
        dataset: what the tasks are drawn from.
        n: how many classes.
        weights: label to weight, for every class there is; a class of weight 0 is never drawn.

    Raises:
        UsageError: n is below 1, `weights` is no mapping, or a weight is negative or no finite number.
        TaskError: fewer than n classes have a weight above 0, a class has none, or it stands behind KShots or
            RemapLabels.
    """

    def __init__(self, dataset: Any, n: int = 2, *, weights: Mapping[Hashable, float]) -> None:
        super().__init__(dataset)
        self.n = at_least_one("ways", n)
        if not isinstance(weights, Mapping):
            raise UsageError(f"weights is a {type(weights).__name__}; give a mapping of label to weight")
        self._weights = dict(zip(weights, checked_weights("weights", weights.values(), len(weights)), strict=True))
        index = getattr(dataset, "class_index", None)
        if isinstance(index, ClassIndex):
            self._of_classes(index)

    def decided(self, batch: TaskBatch) -> TaskBatch:
        """Choose the classes."""
        if batch.ids_BNK is not None or batch.labels_BN is not None:
            raise TaskError(
                "WeightedNWays chooses before examples and labels are; put it before KShots and RemapLabels"
            )
        classes_BN = batch.all_classes_BN
        weights_BN = self._of_classes(batch.index)[classes_BN]
        positive = int((weights_BN > 0).sum(axis=1).min())
        if positive < self.n:
            raise TaskError(
                f"{self.n} ways were asked for, but {positive} of the classes have a weight above 0; lower the ways"
            )
        words_BN, batch = batch.draw(CLASSES, classes_BN.shape[1])
        places_BN = weighted_distinct(words_BN, weights_BN, self.n)
        return replace(batch, classes_BN=np.take_along_axis(classes_BN, places_BN, axis=1))

    def _of_classes(self, index: ClassIndex) -> FloatArray:
        for row, label in enumerate(index.labels):
            if label not in self._weights:
                raise TaskError(f"class {index.name(row)!r} has no weight; give one for each label, 0 to leave it out")
        return np.array([self._weights[label] for label in index.labels])
