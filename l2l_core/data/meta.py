"""Data sets made of others: several as one and some classes of one, without copying; and one held on a device."""

import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from l2l_core.data.arrays import check_out, nested
from l2l_core.data.datasets import MetaDataset, stacked
from l2l_core.data.index import ClassIndex, spans
from l2l_core.data.sampling import IntArray
from l2l_core.data.transforms import labels_to_keep, rows_of_labels
from l2l_core.errors import TaskError, UsageError

_PIECE: Final = 1024
"""Examples that are brought to a device at a time: the host need not hold all of them."""


class UnionMetaDataset(MetaDataset):
    """Several data sets as one: classes numbered from 0 in the order of the data sets, examples likewise; no copy.

    ``dataset[i]`` is [input, new label]. Prepared data sets are still gathered from by the batch.

    Once one of them has more or fewer examples than it had, the numbers of examples would mean others; so ``len``, and
    all that asks for it, is a TaskError then. It is the same with `FilteredMetaDataset`.

    Args:
        datasets: at least one; wrapped in a `MetaDataset` where they are none.

    Attributes:
        datasets: the same, each a `MetaDataset`.

    Raises:
        UsageError: there is no data set.
        TypeError: one of them is no torch data set.
        TaskError: all give examples by the batch, but of different types or shapes, or on different devices.
    """

    def __init__(self, datasets: Sequence[Dataset[Any]]) -> None:
        if not datasets:
            raise UsageError("UnionMetaDataset was given no data set; give at least one")
        self.datasets = [_sorted_out(dataset) for dataset in datasets]
        self.dataset = ConcatDataset(self.datasets)
        self._offsets = np.cumsum([0, *map(len, self.datasets)])
        self.class_index = _side_by_side([dataset.class_index for dataset in self.datasets], self._offsets)
        if self.gathers_at_once:
            kinds = dict.fromkeys(map(_kind, self.datasets))
            if len(kinds) > 1:
                raise TaskError(
                    f"the examples of the data sets are {' and '.join(kinds)}, which no task can stack; "
                    "load or prepare them alike"
                )

    def __len__(self) -> int:
        for dataset, examples in zip(self.datasets, np.diff(self._offsets).tolist(), strict=True):
            _check_unchanged(self, dataset, examples)
        return int(self._offsets[-1])

    def __getitem__(self, index: int) -> Any:
        index = _position(index, len(self))
        return [self.dataset[index][0], _row(self.class_index, index)]

    @property
    def gathers_at_once(self) -> bool:
        """Whether each of the data sets gives examples by the batch; else they come one by one."""
        own = type(self).__getitem__ is UnionMetaDataset.__getitem__
        return own and all(dataset.gathers_at_once for dataset in self.datasets)

    def gather(self, ids: IntArray, out: Any = None) -> Any:
        """Inputs of some examples, stacked in the shape of `ids`; of texts nested lists.

        Raises:
            IndexError: some id is not in [0, len).
            TaskError: they are not alike.
            UsageError: as `MetaDataset.gather`.
        """
        if not self.gathers_at_once:
            return super().gather(ids)
        _in_range(ids, len(self))
        ids_M = ids.reshape(-1)
        sources_M = np.searchsorted(self._offsets, ids_M, side="right") - 1
        sources = np.unique(sources_M).tolist()
        if len(sources) < 2:
            source = sources[0] if sources else 0
            return self.datasets[source].gather(ids - self._offsets[source], out)
        spots = [np.flatnonzero(sources_M == source) for source in sources]
        parts = [
            self.datasets[source].gather(ids_M[spot] - self._offsets[source])
            for source, spot in zip(sources, spots, strict=True)
        ]
        order_M = np.argsort(np.concatenate(spots))
        if isinstance(parts[0], list):
            flat = [example for part in parts for example in part]
            return nested([flat[place] for place in order_M.tolist()], ids.shape)
        if isinstance(parts[0], Mapping):
            return {
                key: _taken(torch.cat([part[key] for part in parts]), order_M.reshape(ids.shape), None)
                for key in parts[0]
            }
        # All are copied once more, but example by example: to assign by index takes several times as long.
        return _taken(torch.cat(parts), order_M.reshape(ids.shape), out)

    def as_labels(self, labels: IntArray) -> Tensor:
        """Labels as a tensor, int64, where the inputs are."""
        return self.datasets[0].as_labels(labels)


class FilteredMetaDataset(MetaDataset):
    """Some classes of a data set: labels as they are, examples numbered anew, class by class; no copy.

    Args:
        dataset: wrapped in a `MetaDataset` where it is none.
        labels: of the classes, in the order in which their examples are to come; a set has none that the next process
            would repeat, so its classes come in the order of the data set.

    Raises:
        TypeError: `dataset` is no torch data set.
        TaskError: there is no label, or one that no example has.
    """

    dataset: MetaDataset

    def __init__(self, dataset: Dataset[Any], labels: Iterable[Hashable]) -> None:
        super().__init__(_sorted_out(dataset))
        kept = tuple(dict.fromkeys(labels_to_keep(labels, type(self).__name__)))
        index = self.dataset.class_index
        rows = rows_of_labels(index, kept)
        if isinstance(labels, set | frozenset):
            rows = sorted(rows)
            kept = tuple(index.labels[row] for row in rows)
        self._examples = len(self.dataset)
        counts_C = index.counts_C[rows]
        names = [index.name(row) for row in rows]
        self.class_index = ClassIndex(kept, np.cumsum(counts_C) - counts_C, counts_C, names=names)
        self._shifts_C = index.starts_C[rows] - self.class_index.starts_C

    def __len__(self) -> int:
        _check_unchanged(self, self.dataset, self._examples)
        return self.class_index.examples

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self._ids(np.array([_position(index, len(self))]))[0])]

    @property
    def gathers_at_once(self) -> bool:
        """Whether the data set gives examples by the batch; else they come one by one."""
        return type(self).__getitem__ is FilteredMetaDataset.__getitem__ and self.dataset.gathers_at_once

    def gather(self, ids: IntArray, out: Any = None) -> Any:
        """Inputs of some examples, stacked in the shape of `ids`; of texts nested lists.

        Raises:
            IndexError: some id is not in [0, len).
            TaskError: they are not alike.
        """
        if not self.gathers_at_once:
            return super().gather(ids)
        _in_range(ids, len(self))
        return self.dataset.gather(self._ids(ids), out)

    def as_labels(self, labels: IntArray) -> Tensor:
        """Labels as a tensor, int64, where the inputs are."""
        return self.dataset.as_labels(labels)

    def _ids(self, ids: IntArray) -> IntArray:
        """What examples are called in the data set they are from, same shape."""
        rows = np.searchsorted(self.class_index.starts_C, ids, side="right") - 1
        return self.dataset.class_index.ids(ids + self._shifts_C[rows])


class OnDeviceDataset(MetaDataset):
    """A data set whose inputs are held on a device: tasks are drawn on the host, and gathered there in one step.

    ``dataset[i]`` is [input, label], both on the device. Data sets that know their labels are read once.

    Args:
        dataset: of inputs that are tensors of one shape; a prepared one may be loaded as uint8, to hold four times as
            much.
        device: None for the accelerator, or the CPU where there is none.
        transform: what is done with an input whenever it is taken; inputs are then taken one by one.

    Attributes:
        inputs: all of them, [M, …].
        device: where they are; of an accelerator with its number.

    Raises:
        TypeError: `dataset` is no torch data set.
        TaskError: it has no examples, or they are no tensors of one type and shape.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        device: torch.device | str | None = None,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        device = _default_device() if device is None else torch.device(device)
        self.transform = transform
        if isinstance(getattr(dataset, "class_index", None), ClassIndex):
            super().__init__(dataset)
            self.inputs, _ = _held(_sorted_out(dataset), device)
        elif isinstance(dataset, Dataset):
            self.inputs, labels = _held(dataset, device)
            super().__init__(dataset, indices_to_labels=dict(enumerate(labels)))
        else:
            super().__init__(dataset)
        self.device = self.inputs.device

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        index = _position(index, len(self))
        label = self.class_index.labels[_row(self.class_index, index)]
        value = self.inputs[index]
        return [
            value if self.transform is None else self.transform(value),
            torch.tensor(label, device=self.device) if isinstance(label, int) else label,
        ]

    @property
    def gathers_at_once(self) -> bool:
        """Whether nothing is to be done with inputs one by one."""
        return type(self).__getitem__ is OnDeviceDataset.__getitem__ and self.transform is None

    def gather(self, ids: IntArray, out: Tensor | None = None) -> Any:
        """Inputs of some examples on the device, stacked in the shape of `ids`.

        Args:
            ids: int64, any shape, each in [0, len).
            out: where to put them, contiguous; a new tensor for None.

        Raises:
            IndexError: some id is not.
            TaskError: what the transform makes of them is not alike.
            UsageError: `out` does not fit, or as `MetaDataset.gather`.
        """
        if not self.gathers_at_once:
            return super().gather(ids)
        # An accelerator would not refuse: it stops for good.
        _in_range(ids, len(self))
        return _taken(self.inputs, ids, out)

    def as_labels(self, labels: IntArray) -> Tensor:
        """Labels as a tensor on the device, int64."""
        return torch.from_numpy(labels).to(self.device)


def _sorted_out(dataset: Dataset[Any]) -> MetaDataset:
    return dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)


def _check_unchanged(made: object, dataset: MetaDataset, examples: int) -> None:
    if len(dataset) != examples:
        who = type(made).__name__
        raise TaskError(
            f"the data set had {examples} examples when {who} was made of it, and has {len(dataset)} now; make a new "
            f"{who} of it"
        )


def _kind(dataset: MetaDataset) -> str:
    """What the examples of a data set that gives them by the batch are like."""
    none = dataset.gather(np.empty(0, np.int64))
    if isinstance(none, Mapping):
        return " and ".join(f"{key} {part.dtype} {list(part.shape[1:])}" for key, part in none.items())
    return f"{none.dtype} {list(none.shape[1:])} on {none.device}" if isinstance(none, Tensor) else "texts"


def _side_by_side(indexes: Sequence[ClassIndex], offsets: IntArray) -> ClassIndex:
    """The index of several data sets, classes and examples numbered through.

    Args:
        indexes: one a data set.
        offsets: int64, by how much the examples' numbers of each grow, and how many there are of all.
    """
    pairs = list(zip(indexes, offsets[:-1], np.diff(offsets), strict=True))
    names = [index.name(row) for index in indexes for row in range(len(index))]
    counts_C = np.concatenate([index.counts_C for index in indexes])
    if all(index.order is None and index.examples == length for index, _, length in pairs):
        starts_C, order = np.concatenate([index.starts_C + offset for index, offset, _ in pairs]), None
    else:
        starts_C = np.cumsum(counts_C) - counts_C
        order = np.concatenate(
            [index.ids(spans(index.starts_C, index.counts_C)) + offset for index, offset, _ in pairs]
        )
    return ClassIndex(range(len(counts_C)), starts_C, counts_C, order, names)


def _held(dataset: Any, device: torch.device) -> tuple[Tensor, list[Any]]:
    """All inputs of a data set on a device, and their labels; no labels of a `MetaDataset`, which knows them."""
    held, labels = torch.empty(0, device=device), []
    for start in range(0, len(dataset), _PIECE):
        numbers = np.arange(start, min(start + _PIECE, len(dataset)))
        if isinstance(dataset, MetaDataset):
            piece = dataset.gather(numbers)
        else:
            examples = [dataset[number] for number in numbers.tolist()]
            piece = stacked([example[0] for example in examples])
            labels += [example[1] for example in examples]
        if not isinstance(piece, Tensor):
            raise TaskError("only inputs that are tensors can be held on a device; give the data set a transform")
        if not start:
            held = torch.empty((len(dataset), *piece.shape[1:]), dtype=piece.dtype, device=device)
        kinds = [f"{some.dtype} {list(some.shape[1:])}" for some in (held, piece)]
        if kinds[0] != kinds[1]:
            raise TaskError(
                f"inputs of {kinds[0]} and {kinds[1]} cannot be held as one; give the data set a transform that makes "
                "them alike"
            )
        held[start : start + len(piece)] = piece
    return held, labels


def _taken(inputs: Tensor, ids: IntArray, out: Tensor | None) -> Tensor:
    """Some of the inputs [M, …], stacked in the shape of `ids`, where they are or in `out`."""
    ids_M = torch.from_numpy(np.ascontiguousarray(ids).reshape(-1)).to(inputs.device)
    shape = inputs.shape[1:]
    if out is None:
        return inputs.index_select(0, ids_M).view(*ids.shape, *shape)
    check_out("the data set", out, inputs.dtype, (*ids.shape, *shape))
    torch.index_select(inputs, 0, ids_M, out=out.view(len(ids_M), *shape))
    return out


def _default_device() -> torch.device:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def _position(index: int, length: int) -> int:
    """An index counted from the front, whichever end it was counted from."""
    index = operator.index(index)
    if not -length <= index < length:
        raise IndexError(f"the data set has {length} examples, there is no example {index}")
    return index % length


def _in_range(ids: IntArray, length: int) -> None:
    if ids.size and not 0 <= ids.min() <= ids.max() < length:
        raise IndexError(f"the data set has {length} examples; ids {ids.min()} to {ids.max()} were asked for")


def _row(index: ClassIndex, example: int) -> int:
    row = int(index.rows_of(np.array([example]))[0])
    if row < 0:
        raise IndexError(f"example {example} belongs to no class of this data set")
    return row
