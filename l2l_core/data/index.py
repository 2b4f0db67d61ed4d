"""Which examples belong to which class, as arrays: all that sampling needs to know of a data set."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError


def plain_labels(labels: Iterable[Any]) -> list[Any]:
    """The labels as dictionaries take them: Python numbers instead of tensors and NumPy scalars."""
    return [_plain(label) if hasattr(label, "item") and hasattr(label, "shape") else label for label in labels]


def _plain(label: Any) -> Any:
    # Of several elements a list, which no dictionary takes; a tensor it would take, and never find again.
    return label.item() if prod(label.shape) == 1 else label.tolist()


def spans(starts_C: IntArray, counts_C: IntArray) -> IntArray:
    """The numbers start to start + count − 1 of each class, end to end, int64 [M].

    Args:
        starts_C, counts_C: int64 [C].
    """
    return np.arange(counts_C.sum()) + np.repeat(starts_C - np.cumsum(counts_C) + counts_C, counts_C)


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """The examples of each class.

    Attributes:
        labels: the data set's own label of each class; the position in it is the class's row.
        starts_C, counts_C: int64 [C]; the examples of row c are the places starts[c] to starts[c] + counts[c] − 1.
        order: int64 [M], example id at each place; None where the examples lie sorted by class, so that place and id
            are the same.
        names: what to call each class in messages; the labels for None.
    """

    labels: Sequence[Hashable]
    starts_C: IntArray
    counts_C: IntArray
    order: IntArray | None = None
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def examples(self) -> int:
        """How many examples there are."""
        return int(self.counts_C.sum())

    def name(self, row: int) -> str:
        """What to call a class in a message."""
        return str(self.labels[row]) if self.names is None else self.names[row]

    def ids(self, places: IntArray) -> IntArray:
        """Example ids at some places, same shape."""
        return places if self.order is None else self.order[places]

    def rows_of(self, ids_M: IntArray) -> IntArray:
        """The row of each example's class, int64 [M]; −1 for numbers of no example.

        Args:
            ids_M: int64 [M].
        """
        if self.order is None:
            # A class without examples starts where the next one does, and the last of those that do is the one meant.
            rows_M = np.searchsorted(self.starts_C, ids_M, side="right") - 1
            return np.where(ids_M < self.examples, rows_M, -1)
        known_M = (ids_M >= 0) & (ids_M < len(self._rows_by_id))
        return np.where(known_M, self._rows_by_id[ids_M * known_M], -1)

    @cached_property
    def _rows_by_id(self) -> IntArray:
        """The row of every number up to the greatest; as large as the index itself."""
        ids_M = self.ids(spans(self.starts_C, self.counts_C))
        rows_X = np.full(ids_M.max() + 1, -1)
        rows_X[ids_M] = np.repeat(np.arange(len(self)), self.counts_C)
        return rows_X

    @cached_property
    def rows(self) -> dict[Hashable, int]:
        """Label to row."""
        return {label: row for row, label in enumerate(self.labels)}

    @cached_property
    def rank_C(self) -> IntArray:
        """Place of each row when the labels are sorted, int64 [C].

        Raises:
            TaskError: the labels cannot be sorted.
        """
        labels: Sequence[Any] = self.labels
        try:
            by_label = sorted(range(len(labels)), key=lambda row: labels[row])
        except TypeError as error:
            raise TaskError(f"the labels cannot be put in order ({error}); give labels of one type") from None
        rank_C = np.empty(len(labels), np.int64)
        rank_C[by_label] = np.arange(len(labels))
        return rank_C

    @cached_property
    def values_C(self) -> IntArray:
        """The labels as integers, int64 [C].

        Raises:
            TaskError: some label is no integer.
        """
        for label in self.labels:
            if not isinstance(label, int | np.integer):
                raise TaskError(f"label {label!r} is no integer, so it cannot be a target; add RemapLabels")
        return np.array(self.labels, np.int64)

    @classmethod
    def of_labels(cls, labels: Sequence[Hashable]) -> "ClassIndex":
        """The index of examples given by their labels, one an example; classes in order of first appearance."""
        rows: dict[Hashable, int] = {}
        rows_M = np.fromiter((rows.setdefault(label, len(rows)) for label in labels), np.int64, len(labels))
        counts_C = np.bincount(rows_M, minlength=len(rows))
        return cls(tuple(rows), np.cumsum(counts_C) - counts_C, counts_C, np.argsort(rows_M, kind="stable"))

    @classmethod
    def of_counts(cls, counts_C: IntArray, names: Sequence[str]) -> "ClassIndex":
        """The index of examples that lie sorted by class; the labels are 0 to C − 1."""
        return cls(range(len(counts_C)), np.cumsum(counts_C) - counts_C, counts_C, None, names)
