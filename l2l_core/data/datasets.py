"""Data sets to draw tasks from: prepared ones, and any map-style torch data set seen through its classes."""

import hashlib
import operator
import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.catalog import ROTATIONS, open_catalog
from l2l_core.data.index import ClassIndex
from l2l_core.data.labels import labels_of, plain_labels
from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import load_store
from l2l_core.prepare.held import Held, HeldModality
from l2l_core.records import SUBSETS, Modality, Subset
from l2l_core.store import Store

DTYPES: Final[Mapping[Modality, tuple[torch.dtype, ...]]] = {
    "images": (torch.float32, torch.uint8),
    "sounds": (torch.float32, torch.int16),
    "texts": (torch.float32, torch.uint8),
}
"""What an example can be loaded as; texts are strings, whatever is asked for."""


class PreparedDataset(Dataset[tuple[Any, int]]):
    """A prepared data set, or some classes of it, as a map-style torch data set; from a store, or held in memory.

    Examples lie sorted by class: ``dataset[i]`` is (example, label), with label the position in `classes`. An example
    is an image [C, H, W], a text (str), a sound [samples], or an array of any shape.

    Args:
        store: the examples.
        classes: names of those to take, in the order of the store; all for None.
        superclass_of: class name to the group of the class, where it has one.
        subset: what to call the classes taken.
        rotations: whether each class turned by 90, 180 and 270 degrees counts as a further class; of images only.
        dtype: what examples are loaded as, see below; as stored for None.

    Attributes:
        name: of the data set.
        classes: class names. A rotated class is called like the unrotated one with ``/rot090`` (180, 270) behind it.
        superclasses: the group of each class, "" where there is none.
        modality: what an example is: "images", "texts" or "sounds"; "arrays" of other numbers held in memory.
        sample_rate_hz: of sounds; else None.
        class_index: which examples belong to which class.
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16, and
            whatever arrays held in memory have.
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
        about = store if isinstance(store, Held) else store.manifest
        self.name = about.dataset
        self.modality: HeldModality = about.modality
        self.sample_rate_hz = about.sample_rate_hz
        self.subset = subset
        self.dtype = torch.from_numpy(store.examples[:0].copy()).dtype if dtype is None else dtype
        self._store = store
        chosen = set(about.classes if classes is None else classes)
        rows = np.array([row for row, name in enumerate(about.classes) if name in chosen], np.int64)
        starts_C, stops_C = store.offsets[rows], store.offsets[rows + 1]
        counts_C = stops_C - starts_C
        # Example id to row of the store: ids count through the chosen classes only.
        shift_C = starts_C - (np.cumsum(counts_C) - counts_C)
        self._rows_M = np.arange(counts_C.sum()) + np.repeat(shift_C, counts_C)
        names = [about.classes[row] for row in rows]
        # The rotated classes come as whole further rounds, so the turn of example i is i // unrotated examples.
        turns = ROTATIONS if rotations else ROTATIONS[:1]
        self.classes = tuple(name + (f"/rot{degrees:03}" if degrees else "") for degrees in turns for name in names)
        self.superclasses = tuple(superclass_of.get(name, "") for name in names) * len(turns)
        self.class_index = ClassIndex.of_counts(np.tile(counts_C, len(turns)), self.classes)

    def __len__(self) -> int:
        return int(self.class_index.counts_C.sum())

    def __getitem__(self, index: int) -> tuple[Any, int]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no example {index}")
        index %= len(self)
        label = int(np.searchsorted(self.class_index.starts_C, index, side="right")) - 1
        if self.modality == "texts":
            return self.text(index), label
        if self.modality == "sounds":
            return self._converted(torch.from_numpy(self._store.example(int(self._rows_M[index])).copy())), label
        return self.gather(np.array([index]))[0], label

    def text(self, index: int) -> str:
        """The text of example `index`, 0 <= index < len."""
        return bytes(self._store.example(int(self._rows_M[index]))).decode()

    def gather(self, ids: IntArray) -> Tensor:
        """Some examples, `dtype` [*ids.shape, C, H, W]; of sounds `dtype` [*ids.shape, longest], with silence behind.

        Args:
            ids: int64, any shape, each in [0, len).

        Raises:
            IndexError: some id is not.
            TypeError: the data set holds texts.
        """
        if self.modality == "texts":
            raise TypeError(f"{self.name} holds texts, which no tensor holds; take them one by one, dataset[i]")
        flat = ids.reshape(-1)
        if flat.size and not 0 <= flat.min() <= flat.max() < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples; ids {flat.min()} to {flat.max()} were asked for")
        if self.modality == "sounds":
            sounds = self._padded(self._rows_M[flat])
            return sounds.view(*ids.shape, sounds.shape[1])
        images = np.take(self._store.examples, self._rows_M[flat % len(self._rows_M)], axis=0)
        turns = flat // len(self._rows_M)
        for turn in range(1, len(ROTATIONS)) if turns.any() else ():
            turned = np.flatnonzero(turns == turn)
            images[turned] = np.rot90(images[turned], turn, axes=(-2, -1))
        tensor = torch.from_numpy(images).view(*ids.shape, *images.shape[1:])
        return tensor if self.dtype == tensor.dtype else tensor.to(self.dtype).div_(255)

    @cached_property
    def _longest(self) -> int:
        """Samples of the longest sound, so that what a sound is padded to does not depend on its company."""
        bounds = self._store.bounds
        assert bounds is not None
        return int((bounds[self._rows_M + 1] - bounds[self._rows_M]).max(initial=0))

    def _padded(self, rows_M: IntArray) -> Tensor:
        """Sounds, each from its beginning, `dtype` [M, longest]."""
        sounds = [self._store.example(int(row)) for row in rows_M]
        padded = np.zeros((len(sounds), self._longest), np.int16)
        for place, sound in zip(padded, sounds, strict=True):
            place[: len(sound)] = sound
        return self._converted(torch.from_numpy(padded))

    def _converted(self, samples: Tensor) -> Tensor:
        return samples if self.dtype == torch.int16 else samples.to(self.dtype).div_(2**15)

    @cached_property
    def targets(self) -> Tensor:
        """The label of every example, int64 [M]."""
        return torch.from_numpy(np.repeat(np.arange(len(self.classes)), self.class_index.counts_C))

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the store's data and the classes taken from it: where it is the same, so is every example id."""
        return hashlib.sha256("\n".join([self._store.data_sha256, *self.classes]).encode()).hexdigest()

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
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16.

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
    dtypes = DTYPES[record.modality]
    if dtype not in dtypes:
        raise UsageError(f"{name}: dtype {dtype} is none of {', '.join(map(str, dtypes))}")
    if not its_split.classes(subset):
        raise TaskError(f"{name}: the split {its_split.name} has no {subset} classes; take another subset or split")
    store = load_store(record, catalog, Cache.at(root), download=download)
    classes = its_split.classes(subset)
    return PreparedDataset(store, classes, its_split.superclass_of, subset=subset, rotations=rotations, dtype=dtype)


class MetaDataset(Dataset[Any]):
    """Any map-style data set of (input, label) examples, with its examples sorted out by label.

    A data set that knows its labels, as `l2l_core.data.labels.known_labels` finds them, is not read; any other is read
    once, example by example. (learn2learn reads it up to twice and caches that in a pickle which it never checks.)

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
        index = getattr(dataset, "class_index", None)
        if labels_to_indices is None and indices_to_labels is None and isinstance(index, ClassIndex):
            self.class_index: ClassIndex = index
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


def _index_of(labels: Sequence[Any]) -> ClassIndex:
    plain = plain_labels(labels)
    if not plain:
        raise TaskError("the data set has no examples; there is nothing to draw tasks from")
    try:
        return ClassIndex.of_labels(plain)
    except TypeError as error:
        raise TaskError(f"a label cannot tell classes apart ({error}); give integers or texts") from None
