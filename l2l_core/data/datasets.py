"""Data sets to draw tasks from: prepared ones, and any map-style torch data set seen through its classes."""

import hashlib
import operator
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.catalog import ROTATIONS, open_catalog
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import load_store
from l2l_core.records import SUBSETS, Split, Subset
from l2l_core.store import Store

DTYPES: Final = (torch.float32, torch.uint8)


class PreparedDataset(Dataset[tuple[Tensor, int]]):
    """A prepared data set, or the classes of one subset of it, as a map-style torch data set.

    Examples lie sorted by class: ``dataset[i]`` is (image [C, H, W], label), with label the position in `classes`.

    Attributes:
        name: of the data set.
        classes: class names. A rotated class is called like the unrotated one with ``/rot090`` (180, 270) behind it.
        superclasses: the group of each class, "" where there is none.
        class_index: which examples belong to which class.
        dtype: torch.float32, values in [0, 1], or torch.uint8 as stored.
    """

    def __init__(
        self, store: Store, split: Split, subset: Subset | None, *, rotations: bool, dtype: torch.dtype
    ) -> None:
        self.name = store.manifest.dataset
        self.subset = subset
        self.dtype = dtype
        self._store = store
        chosen = set(split.classes(subset))
        rows = np.array([row for row, name in enumerate(store.manifest.classes) if name in chosen], np.int64)
        starts_C, stops_C = store.offsets[rows], store.offsets[rows + 1]
        counts_C = stops_C - starts_C
        # Example id to row of the store: ids count through the chosen classes only.
        shift_C = starts_C - (np.cumsum(counts_C) - counts_C)
        self._rows_M = np.arange(counts_C.sum()) + np.repeat(shift_C, counts_C)
        names = [store.manifest.classes[row] for row in rows]
        # The rotated classes come as whole further rounds, so the turn of example i is i // unrotated examples.
        turns = ROTATIONS if rotations else ROTATIONS[:1]
        self.classes = tuple(name + (f"/rot{degrees:03}" if degrees else "") for degrees in turns for name in names)
        self.superclasses = tuple(split.superclass_of.get(name, "") for name in names) * len(turns)
        self.class_index = ClassIndex.of_counts(np.tile(counts_C, len(turns)), self.classes)

    def __len__(self) -> int:
        return int(self.class_index.counts_C.sum())

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no example {index}")
        index %= len(self)
        label = int(np.searchsorted(self.class_index.starts_C, index, side="right")) - 1
        return self.gather(np.array([index]))[0], label

    def gather(self, ids: IntArray) -> Tensor:
        """The pictures of some examples: `dtype` [*ids.shape, C, H, W].

        Args:
            ids: int64, any shape, each in [0, len).

        Raises:
            IndexError: some id is not.
        """
        flat = ids.reshape(-1)
        if flat.size and not 0 <= flat.min() <= flat.max() < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples; ids {flat.min()} to {flat.max()} were asked for")
        images = np.take(self._store.examples, self._rows_M[flat % len(self._rows_M)], axis=0)
        turns = flat // len(self._rows_M)
        for turn in range(1, len(ROTATIONS)) if turns.any() else ():
            turned = np.flatnonzero(turns == turn)
            images[turned] = np.rot90(images[turned], turn, axes=(-2, -1))
        tensor = torch.from_numpy(images).view(*ids.shape, *images.shape[1:])
        return tensor if self.dtype == torch.uint8 else tensor.to(self.dtype).div_(255)

    @cached_property
    def targets(self) -> Tensor:
        """The label of every example, int64 [M]."""
        return torch.from_numpy(np.repeat(np.arange(len(self.classes)), self.class_index.counts_C))

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the store's bytes and the classes taken from it: where it is the same, so is every example id."""
        return hashlib.sha256("\n".join([self._store.sha256, *self.classes]).encode()).hexdigest()

    def __repr__(self) -> str:
        subset = self.subset or "all classes"
        return f"PreparedDataset({self.name!r}, {subset}: {len(self)} examples of {len(self.classes)} classes)"


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
        dtype: torch.float32, values in [0, 1], or torch.uint8 as stored.

    Raises:
        UnknownNameError: no such data set or split.
        UsageError: a subset that is none, or rotations of a data set whose record does not allow them.
        StoreError: it is not in the cache (says how to get it), or damaged.
        TaskError: the split has no class in that subset.
        FetchError, ArchiveError, ContentError, CacheError: getting it failed.
    """
    catalog = open_catalog()
    record = catalog.dataset(name)
    its_split = catalog.split(name, split)
    if subset is not None and subset not in SUBSETS:
        raise UsageError(f"{name}: subset {subset!r} is none of {', '.join(SUBSETS)}; None takes all classes")
    if rotations and not record.rotations:
        raise UsageError(f"{name}: turning its pictures does not make new classes; leave rotations out")
    if dtype not in DTYPES:
        raise UsageError(f"{name}: dtype {dtype} is none of {', '.join(map(str, DTYPES))}")
    if not its_split.classes(subset):
        raise TaskError(f"{name}: the split {its_split.name} has no {subset} classes; take another subset or split")
    store = load_store(record, catalog, Cache.at(root), download=download)
    return PreparedDataset(store, its_split, subset, rotations=rotations, dtype=dtype)


class MetaDataset(Dataset[Any]):
    """Any map-style data set of (input, label) examples, with its examples sorted out by label.

    A `PreparedDataset`, or a data set with one label an example in ``targets`` or ``labels``, is not read; any other is
    read once, example by example. (learn2learn reads it up to twice and caches that in a pickle which it never checks.)

    Args:
        dataset: the data set.
        labels_to_indices: label to example ids, where that is known already.
        indices_to_labels: example id to label, where that is known already.

    Attributes:
        labels: the labels in the order of their first example.

    Raises:
        TypeError: `dataset` is no torch data set.
        TaskError: it has no examples, or a label that cannot be a dictionary's key.
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
        if (
            labels_to_indices is None
            and indices_to_labels is None
            and isinstance(dataset, PreparedDataset | MetaDataset)
        ):
            self.class_index: ClassIndex = dataset.class_index
            return
        if indices_to_labels is None and labels_to_indices is not None:
            indices_to_labels = {index: label for label, ids in labels_to_indices.items() for index in ids}
        if indices_to_labels is not None:
            ids = sorted(indices_to_labels)
            index = _index_of([indices_to_labels[i] for i in ids])
            places = np.array(ids, np.int64)
            order = None if index.order is None else places[index.order]
            self.class_index = ClassIndex(index.labels, index.starts_C, index.counts_C, order)
        else:
            self.class_index = _index_of(_labels(dataset))

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


def _labels(dataset: Dataset[Any]) -> list[Any]:
    """The label of every example, without loading any where the data set has a list of them."""
    length = len(dataset)  # type: ignore[arg-type]
    # Torchvision applies it to what is in the list.
    transformed = getattr(dataset, "target_transform", None) is not None
    for attribute in () if transformed else ("targets", "labels"):
        known = getattr(dataset, attribute, None)
        if isinstance(known, Tensor | np.ndarray):
            known = known.tolist()
        if isinstance(known, Sequence) and len(known) == length:
            return list(known)
    return [dataset[index][1] for index in range(length)]


def plain_labels(labels: Iterable[Any]) -> list[Any]:
    """The labels as dictionaries take them: Python numbers instead of tensors and NumPy scalars."""
    return [label.item() if isinstance(label, Tensor | np.generic) else label for label in labels]


def _index_of(labels: Sequence[Any]) -> ClassIndex:
    plain = plain_labels(labels)
    if not plain:
        raise TaskError("the data set has no examples; there is nothing to draw tasks from")
    try:
        return ClassIndex.of_labels(plain)
    except TypeError as error:
        raise TaskError(f"a label cannot tell classes apart ({error}); give integers or texts") from None
