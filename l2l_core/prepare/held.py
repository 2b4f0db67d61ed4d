"""Examples held in memory in the order of a store: sorted by class, so that a class is a slice."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from l2l_core.errors import TaskError, UsageError
from l2l_core.records import Modality

HeldModality: TypeAlias = Modality | Literal["arrays"]
"""What an example held in memory can be; "arrays" are numbers of any meaning, such as features."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Examples in memory, with the names that a store and its manifest have for them.

    Attributes:
        dataset: what to call the data set.
        classes: class names, in order.
        modality: what an example is.
        examples: of texts their UTF-8 in a row, uint8 [bytes]; else any type [M, …].
        offsets: int64 [classes + 1]; class c is the examples offsets[c]:offsets[c+1].
        bounds: of texts int64 [M + 1], example i is the bytes bounds[i]:bounds[i+1]; else None.
        sample_rate_hz: of sounds; else None.
    """

    dataset: str
    classes: tuple[str, ...]
    modality: HeldModality
    examples: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64] | None = None
    sample_rate_hz: int | None = None

    @property
    def data_sha256(self) -> str:
        """Sha256 over type, shape and content, in hex."""
        digest = hashlib.sha256(f"{self.examples.dtype.str} {self.examples.shape} ".encode())
        for array in (self.offsets, self.examples, self.bounds):
            if array is not None:
                digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def example(self, i: int) -> npt.NDArray[Any]:
        """Example i: a view."""
        view: npt.NDArray[Any] = (
            self.examples[i] if self.bounds is None else self.examples[self.bounds[i] : self.bounds[i + 1]]
        )
        return view


def hold_arrays(dataset: str, examples: npt.NDArray[Any], labels: Sequence[Any], modality: HeldModality) -> Held:
    """Arrays [M, …] sorted by class, copied; examples of a class stay in their order.

    Args:
        dataset: what to call it.
        examples: numbers of any type [M, …].
        labels: M whole numbers, or M texts.
        modality: "images" of uint8 [M, C, H, W], "arrays" of anything else.

    Raises:
        TaskError: there is no example, or a label is neither a whole number nor a text, or some are this, some that.
    """
    classes, order_M, offsets = _sorted_by_class(labels)
    return Held(dataset, classes, modality, np.take(examples, order_M, axis=0), offsets)


def hold_texts(dataset: str, texts: Sequence[str], labels: Sequence[Any]) -> Held:
    """Texts sorted by class; those of a class stay in their order.

    Args:
        dataset: what to call it.
        texts: M of them.
        labels: M whole numbers, or M texts.

    Raises:
        TaskError: as `hold_arrays`.
        UsageError: a text holds half a character, which UTF-8 does not encode.
    """
    classes, order_M, offsets = _sorted_by_class(labels)
    contents = []
    for i in order_M.tolist():
        try:
            contents.append(texts[i].encode())
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{dataset}: text {i} has half a character, {error.object[error.start]!r}; leave it out or mend it"
            ) from None
    bounds = np.concatenate([[0], np.cumsum([len(content) for content in contents])]).astype(np.int64)
    return Held(dataset, classes, "texts", np.frombuffer(b"".join(contents), np.uint8), offsets, bounds)


def _sorted_by_class(labels: Sequence[Any]) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Class names; the examples in the order of their classes, int64 [M]; and where each class begins, int64 [C + 1].

    Numbers are sorted as numbers, texts as texts.
    """
    if not len(labels):
        raise TaskError("the data set has no examples; there is nothing to draw tasks from")
    _check_labels(labels)
    row_of = {label: row for row, label in enumerate(sorted(set(labels)))}
    rows_M = np.array([row_of[label] for label in labels], np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows_M))]).astype(np.int64)
    return tuple(map(str, row_of)), np.argsort(rows_M, kind="stable"), offsets


def _check_labels(labels: Iterable[Any]) -> None:
    kinds: dict[type, Any] = {}
    for label in labels:
        kind = str if isinstance(label, str) else int
        # Python's True is an int, and would be another name of 1.
        if not isinstance(label, kind) or isinstance(label, bool):
            raise TaskError(
                f"label {label!r} is neither a whole number nor a text; give one or the other for each example"
            )
        kinds.setdefault(kind, label)
    for one, other in pairwise(kinds.values()):
        raise TaskError(f"the labels {one!r} and {other!r} cannot be put in order; give labels of one type")
