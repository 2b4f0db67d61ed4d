"""Data sets to draw tasks from: prepared ones, and any map-style torch data set seen through its classes."""

import operator
import os
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from l2l_core.catalog import open_catalog
from l2l_core.data.arrays import ArrayDataset, check_out, gathers, load_chosen
from l2l_core.data.index import ClassIndex, plain_labels
from l2l_core.data.labels import labels_of
from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError, UsageError
from l2l_core.prepare.held import Held
from l2l_core.records import Modality, Subset
from l2l_core.store import Store

DTYPES: Final[Mapping[Modality, tuple[torch.dtype, ...]]] = {
    "images": (torch.float32, torch.uint8),
    "sounds": (torch.float32, torch.int16),
    "texts": (torch.float32, torch.uint8),
}
"""What an example can be loaded as; texts are strings, whatever is asked for."""
_PIECE: Final = 2**18
"""Values that are converted at a time: a megabyte of float32, which stays in the cache of one core."""


class PreparedDataset(ArrayDataset, Dataset[tuple[Any, int]]):
    """A prepared data set, or some classes of it, as a map-style torch data set; see `ArrayDataset`.

    Args:
        store, classes, superclass_of, subset, rotations: as of `ArrayDataset`.
        dtype: what examples are loaded as, see below; as stored for None.

    Attributes:
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16, and
            whatever arrays held in memory have.

    Raises:
        UnknownNameError: the store has no class of a name in `classes`.
        UsageError: rotations of anything but square images, or a dtype that is neither of these.
    """

    def __init__(
        self,
        store: Store | Held,
        classes: Collection[str] | None = None,
        superclass_of: Mapping[str, str] = MappingProxyType({}),
        *,
        subset: Subset | None = None,
        rotations: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(store, classes, superclass_of, subset=subset, rotations=rotations)
        self._stored_dtype = torch.from_numpy(store.examples[:0].copy()).dtype
        self.dtype = self._stored_dtype if dtype is None else dtype
        scaled = self._stored_dtype == (torch.int16 if self.modality == "sounds" else torch.uint8)
        dtypes = (torch.float32, self._stored_dtype) if scaled else (self._stored_dtype,)
        if self.dtype not in dtypes:
            raise UsageError(f"{self.name}: dtype {dtype} is none of {', '.join(map(str, dtypes))}")

    def example(self, index: int) -> Any:
        """Example `index`, 0 <= index < len, without its label: a tensor of `dtype`, or a text."""
        if self.modality == "sounds":
            return self._scaled(torch.from_numpy(self._sound(index)))
        return self.text(index) if self.modality == "texts" else self.gather(np.array([index]))[0]

    def gather(self, ids: IntArray, out: Tensor | None = None) -> Any:
        """Inputs of some examples, as tensors: `dtype` [*ids.shape, C, H, W], of sounds [*ids.shape, longest].

        Sounds have silence behind them, up to the length of the data set's longest. Texts come as nested lists.

        Args:
            ids: int64, any shape, each in [0, len).
            out: where to put them, contiguous and of that type and shape; a new tensor for None.

        Raises:
            IndexError: some id is not.
            UsageError: `out` does not fit.
        """
        if self.modality == "texts":
            return self._texts(ids)
        shape = (*ids.shape, *self.example_shape)
        if out is not None:
            check_out(self.name, out, self.dtype, shape)
        if self.dtype == self._stored_dtype:
            return torch.from_numpy(self.arrays(ids, None if out is None else out.numpy()))
        flat = self._flat(ids)
        if out is None:
            out = torch.from_numpy(np.empty(shape, np.float32))
        # Piece by piece, so that what has been gathered is still in the processor's cache when it is converted.
        out_M = out.view(len(flat), *self.example_shape)
        piece = max(1, _PIECE // max(1, prod(self.example_shape)))
        scratch = np.empty((min(piece, len(flat)), *self.example_shape), self._store.examples.dtype)
        for start in range(0, len(flat), piece):
            ids_M = flat[start : start + piece]
            self._put(ids_M, scratch[: len(ids_M)])
            out_M[start : start + piece].copy_(torch.from_numpy(scratch[: len(ids_M)]))
            self._scaled(out_M[start : start + piece])
        return out

    def as_labels(self, labels: IntArray) -> Tensor:
        """Labels as a tensor, int64."""
        return torch.from_numpy(labels)

    def _scaled(self, values: Tensor) -> Tensor:
        """Stored values brought to `dtype`; in place where they have it."""
        if self.dtype == self._stored_dtype:
            return values
        return values.to(self.dtype).div_(2**15 if self.modality == "sounds" else 255)

    @cached_property
    def targets(self) -> Tensor:
        """The label of every example, int64 [M]."""
        return torch.from_numpy(np.repeat(np.arange(len(self.classes)), self.class_index.counts_C))


def load_dataset(
    name: str,
    subset: Subset | None = None,
    split: str | None = None,
    rotations: bool = False,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    dtype: torch.dtype = torch.float32,
) -> PreparedDataset:
    """A prepared data set, opened from the cache; nothing is read before an example is asked for.

    Args:
        name: of the data set, as in ``l2l list``.
        subset: "train", "validation" or "test"; None for all classes.
        split: which published partition; None for the data set's default.
        rotations: whether each class turned by 90, 180 and 270 degrees counts as a further class.
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.
        download: whether it may be fetched where it is not in the cache. `glyphs` needs no network and is always drawn.
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16.

    Raises:
        UnknownNameError: no such data set or split.
        UsageError: a subset that is none, or rotations of a data set whose record does not allow them.
        StoreError: it is not in the cache (says how to get it), or damaged.
        TaskError: the split has no class in that subset.
        FetchError, ArchiveError, ContentError, CacheError: getting it failed.
    """
    dtypes = DTYPES[open_catalog().dataset(name).modality]
    if dtype not in dtypes:
        raise UsageError(f"{name}: dtype {dtype} is none of {', '.join(map(str, dtypes))}")
    chosen = load_chosen(name, subset, split, rotations, root, download)
    return PreparedDataset(*chosen, subset=subset, rotations=rotations, dtype=dtype)


class MetaDataset(Dataset[Any]):
    """Any map-style data set of (input, label) examples, with its examples sorted out by label.

    A data set that knows its labels, as `l2l_core.data.labels.known_labels` finds them, is not read; any other is read
    once, example by example. (learn2learn reads it up to twice and caches that in a pickle which it never checks.)

    Args:
        dataset: the data set.
        labels_to_indices: label to example ids, where that is known already. Examples may be left out of it.
        indices_to_labels: example id to label, likewise.

    Attributes:
        labels: the labels in the order of their first example.

    Raises:
        TypeError: `dataset` is no torch data set.
        TaskError: it has no examples, or a label that cannot be a dictionary's key; or an id given is no number of an
            example, or stands under two labels.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        labels_to_indices: Mapping[Hashable, Sequence[int]] | None = None,
        indices_to_labels: Mapping[int, Hashable] | None = None,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise TypeError(f"MetaDataset takes a torch.utils.data.Dataset, found {type(dataset).__name__}")
        self.dataset = dataset
        index = getattr(dataset, "class_index", None)
        if labels_to_indices is None and indices_to_labels is None and isinstance(index, ClassIndex):
            self.class_index: ClassIndex = index
            return
        pairs: Iterable[tuple[Any, Hashable]] | None = None
        if indices_to_labels is not None:
            pairs = indices_to_labels.items()
        elif labels_to_indices is not None:
            pairs = ((example, label) for label, ids in labels_to_indices.items() for example in ids)
        if pairs is not None:
            label_of = _one_label_each(pairs, len(dataset))  # type: ignore[arg-type]  # as map-style ones have it
            ids = sorted(label_of)
            index = _index_of([label_of[i] for i in ids])
            places = np.array(ids, np.int64)
            order = None if index.order is None else places[index.order]
            self.class_index = ClassIndex(index.labels, index.starts_C, index.counts_C, order)
        else:
            self.class_index = _index_of(labels_of(dataset))

    @property
    def labels(self) -> list[Hashable]:
        """The labels in the order of their first example."""
        return list(self.class_index.labels)

    @cached_property
    def labels_to_indices(self) -> dict[Hashable, list[int]]:
        """Label to the ids of its examples."""
        index = self.class_index
        spans = zip(index.labels, index.starts_C, index.counts_C, strict=True)
        return {label: index.ids(np.arange(start, start + count)).tolist() for label, start, count in spans}

    @cached_property
    def indices_to_labels(self) -> dict[int, Hashable]:
        """Example id to label."""
        return {index: label for label, ids in self.labels_to_indices.items() for index in ids}

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def gather(self, ids: IntArray, out: Any = None) -> Any:
        """Inputs of some examples, stacked in the shape of `ids`; of texts nested lists.

        Raises:
            TaskError: they are not alike, or nothing that torch can stack.
            UsageError: there is no id, and nothing says what an example is like.
        """
        if self.gathers_at_once:
            return self.dataset.gather(ids, out)  # type: ignore[attr-defined]  # as that is what it says
        if not ids.size:
            raise UsageError("no example was asked for; give at least one id")
        return stacked([self.gather(part) for part in ids] if ids.ndim > 1 else [self[i][0] for i in ids.tolist()])

    @property
    def gathers_at_once(self) -> bool:
        """Whether examples are taken from a prepared data set by the batch; else one by one."""
        return type(self).__getitem__ is MetaDataset.__getitem__ and gathers(self.dataset)

    def as_labels(self, labels: IntArray) -> Tensor:
        """Labels as a tensor, int64."""
        return torch.from_numpy(labels)


def stacked(parts: list[Any]) -> Any:
    """Examples, or (input, label) pairs of them, with a new axis in front; texts stay a list.

    Raises:
        TaskError: they are not alike, or nothing that torch can stack.
    """
    if isinstance(parts[0], str | list):
        return parts
    if isinstance(parts[0], Mapping):
        return {key: stacked([part[key] for part in parts]) for key in parts[0]}
    try:
        return default_collate(parts)
    except (TypeError, RuntimeError) as error:
        raise TaskError(
            f"the examples of a task cannot be stacked ({str(error).splitlines()[0]}); give the data set a transform "
            "that makes tensors of one shape of them, or give a task_collate"
        ) from error


def _one_label_each(pairs: Iterable[tuple[Any, Hashable]], examples: int) -> dict[int, Hashable]:
    """Example id to label.

    Args:
        pairs: of example id and label.
        examples: how many there are.

    Raises:
        TaskError: an id is no whole number from 0 to examples − 1, or stands under two labels.
    """
    label_of: dict[int, Hashable] = {}
    for given, label in pairs:
        try:
            example = operator.index(given)
        except TypeError:
            raise TaskError(f"label {label!r} was given example {given!r}; give whole numbers of examples") from None
        if not 0 <= example < examples:
            raise TaskError(
                f"label {label!r} was given example {example}, but the data set has {examples} examples; give numbers "
                f"from 0 to {examples - 1}"
            )
        if (other := label_of.setdefault(example, label)) is not label:
            raise TaskError(f"example {example} was given the labels {other!r} and {label!r}; give it one of them")
    return label_of


def _index_of(labels: Sequence[Any]) -> ClassIndex:
    plain = plain_labels(labels)
    if not plain:
        raise TaskError("the data set has no examples; there is nothing to draw tasks from")
    try:
        return ClassIndex.of_labels(plain)
    except TypeError as error:
        raise TaskError(f"a label cannot tell classes apart ({error}); give integers or texts") from None
