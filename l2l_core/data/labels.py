"""The label of every example of a map-style data set, without loading any where the data set knows them."""

import contextlib
import json
import random
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset

from l2l_core.data.index import ClassIndex, plain_labels
from l2l_core.errors import TaskError, UsageError
from l2l_core.files import replacing, writing

LabelOf: TypeAlias = int | Callable[[Any], Hashable]
"""Where the label of an example is: its place in the example, or a function from example to label."""

_SPOTS: Final = 16
"""Labels looked at before a remembered list is believed: a few loads instead of all of them."""

_scanned: WeakKeyDictionary[Dataset[Any], tuple[LabelOf, list[Any]]] = WeakKeyDictionary()


def labels_of(dataset: Dataset[Any], label_of: LabelOf | None = None, remembered: Path | None = None) -> list[Any]:
    """The label of every example.

    They are `known_labels`, where nothing else is said; else those of an earlier scan, if a few of them are still
    right; else the data set is read once, with a progress bar.

    Args:
        dataset: map-style.
        label_of: where the label of an example is; None for its second part, if there are no known labels.
        remembered: the file that keeps the labels from one process to the next; None for none.

    Raises:
        TypeError: the data set is not map-style.
        TaskError: an example has no label there.
        UsageError: labels to be kept in a file are neither whole numbers nor texts.
        CacheError: that file cannot be written.
    """
    if isinstance(dataset, IterableDataset):
        raise TypeError(
            f"{type(dataset).__name__} is iterated over, so its examples have no numbers; give a map-style data set"
        )
    if label_of is None and (known := known_labels(dataset)) is not None:
        return known
    look = 1 if label_of is None else label_of
    kept = None if remembered is None else _read(remembered, dataset)
    earlier = (labels for labels in (_earlier(dataset, look), kept) if labels is not None)
    labels = next((labels for labels in earlier if _still_right(labels, dataset, look)), None)
    if labels is None:
        labels = _scan(dataset, look)
    if remembered is not None and labels is not kept:
        _write(remembered, dataset, labels)
    with contextlib.suppress(TypeError):  # one that cannot be hashed or referred to weakly is scanned again next time
        _scanned[dataset] = look, labels
    return labels


def known_labels(dataset: Any) -> list[Any] | None:
    """The label of every example as the data set lists them; None where it does not. No example is loaded.

    The list is ``targets``, ``labels``, ``y``, ``tensors[1]`` or ``get_labels()``, whichever is there first and has one
    entry an example; of a Subset or ConcatDataset, the lists of what it is made of. What the data set has as
    ``target_transform`` is applied, as torchvision does to what it lists.

    Args:
        dataset: map-style; anything else has no list.
    """
    index = getattr(dataset, "class_index", None)
    if isinstance(index, ClassIndex):
        return _of_index(index, len(dataset))
    if (listed := _listed(dataset)) is not None:
        transform = getattr(dataset, "target_transform", None)
        return listed if transform is None else plain_labels(map(transform, listed))
    # Not of classes derived from these, which may give other labels.
    if type(dataset) is Subset:
        inner = known_labels(dataset.dataset)
        return None if inner is None else [inner[int(i)] for i in dataset.indices]
    if type(dataset) is ConcatDataset:
        parts = [known_labels(part) for part in dataset.datasets]
        return None if None in parts else [label for part in parts for label in part or ()]
    return None


def _of_index(index: ClassIndex, length: int) -> list[Any] | None:
    """Labels from a class index, None where it leaves examples out."""
    rows = np.repeat(np.arange(len(index)), index.counts_C)
    ids = index.ids(np.arange(len(rows)))
    if len(ids) != length or not np.array_equal(np.sort(ids), np.arange(length)):
        return None
    row_of = np.empty(length, np.int64)
    row_of[ids] = rows
    return [index.labels[row] for row in row_of.tolist()]


def _listed(dataset: Any) -> list[Any] | None:
    tensors = getattr(dataset, "tensors", None)
    get_labels = getattr(dataset, "get_labels", None)
    candidates = [getattr(dataset, name, None) for name in ("targets", "labels", "y")]
    candidates.append(tensors[1] if isinstance(tensors, Sequence) and len(tensors) > 1 else None)
    candidates.append(get_labels() if callable(get_labels) and all(each is None for each in candidates) else None)
    for labels in candidates:
        if isinstance(labels, Tensor | np.ndarray):
            labels = labels.tolist()
        if isinstance(labels, Sequence) and not isinstance(labels, str | bytes) and len(labels) == len(dataset):
            return plain_labels(labels)
    return None


def _scan(dataset: Any, look: LabelOf) -> list[Any]:
    """The label of every example, read one by one."""
    from tqdm import tqdm

    numbers = tqdm(range(len(dataset)), desc="reading labels", unit=" examples", disable=None)
    return plain_labels(_label(dataset, i, look) for i in numbers)


def _label(dataset: Any, i: int, look: LabelOf) -> Any:
    example = dataset[i]
    if callable(look):
        return look(example)
    try:
        return example[look]
    except (TypeError, LookupError) as error:
        raise TaskError(
            f"example {i} of {type(dataset).__name__} has no label at place {look} ({error}); "
            "say with from_torch(dataset, label_of=…) where it is"
        ) from None


def _earlier(dataset: Dataset[Any], look: LabelOf) -> list[Any] | None:
    """The labels that an earlier scan of this object found in the same place."""
    try:
        its_look, labels = _scanned[dataset]
    except (KeyError, TypeError):
        return None
    return labels if its_look == look else None


def _still_right(labels: Sequence[Any], dataset: Any, look: LabelOf) -> bool:
    """Whether labels are as many as there are examples, and some of them the same."""
    if len(labels) != len(dataset):
        return False
    # At random, since evenly spaced ones may all be of one class; always the same, so that nothing depends on luck.
    spots = random.Random(len(labels)).sample(range(len(labels)), min(_SPOTS, len(labels)))
    found = plain_labels(_label(dataset, i, look) for i in spots)
    return all(type(label) is type(labels[i]) and label == labels[i] for i, label in zip(spots, found, strict=True))


def _kind(dataset: object) -> str:
    return f"{type(dataset).__module__}.{type(dataset).__qualname__}"


def _read(path: Path, dataset: object) -> list[Any] | None:
    """Labels from a file; None where it is absent, damaged, or of another type of data set."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes, rows = content["classes"], content["rows"]
        return [classes[row] for row in rows] if content["type"] == _kind(dataset) else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _write(path: Path, dataset: object, labels: Sequence[Any]) -> None:
    for label in labels:
        if type(label) not in (int, str):
            raise UsageError(
                f"label {label!r} is neither a whole number nor a text, so it cannot be remembered; leave remember out"
            )
    row_of = {label: row for row, label in enumerate(dict.fromkeys(labels))}
    content = {"type": _kind(dataset), "classes": list(row_of), "rows": [row_of[label] for label in labels]}
    with replacing(path) as part, writing(path.name, path):
        part.write_text(json.dumps(content), encoding="utf-8")
