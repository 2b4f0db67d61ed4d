"""Prepared examples as NumPy arrays: what the data sets for torch stand on, and all that other frameworks need."""

import hashlib
import operator
import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from l2l_core.catalog import ROTATIONS, open_catalog
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray
from l2l_core.errors import TaskError, UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import load_store
from l2l_core.prepare.held import Held, HeldModality
from l2l_core.records import SUBSETS, Subset
from l2l_core.store import Store


class ArrayDataset:
    """A prepared data set, or some classes of it, as NumPy arrays; from a store, or held in memory.

    Examples lie sorted by class: ``dataset[i]`` is (example, label), with label the position in `classes`. An example
    is an image [C, H, W], a text (str), a sound [samples], or an array of any shape.

    Args:
        store: the examples.
        classes: names of those to take, in the order of the store; all for None.
        superclass_of: class name to the group of the class, where it has one.
        subset: what to call the classes taken.
        rotations: whether each class turned by 90, 180 and 270 degrees counts as a further class; of square images.

    Attributes:
        name: of the data set.
        classes: class names. A rotated class is called like the unrotated one with ``/rot090`` (180, 270) behind it.
        superclasses: the group of each class, "" where there is none.
        modality: what an example is: "images", "texts" or "sounds"; "arrays" of other numbers held in memory.
        sample_rate_hz: of sounds; else None.
        class_index: which examples belong to which class.
        gathers_at_once: whether `gather` takes examples by the batch, which a `MetaDataset` cannot always do.

    Raises:
        UnknownNameError: the store has no class of a name in `classes`.
        UsageError: rotations of anything but square images.
    """

    gathers_at_once: ClassVar = True

    def __init__(
        self,
        store: Store | Held,
        classes: Collection[str] | None = None,
        superclass_of: Mapping[str, str] = MappingProxyType({}),
        *,
        subset: Subset | None = None,
        rotations: bool = False,
    ) -> None:
        about = store if isinstance(store, Held) else store.manifest
        self.name = about.dataset
        self.modality: HeldModality = about.modality
        self.sample_rate_hz = about.sample_rate_hz
        self.subset = subset
        self._store = store
        names, self._starts_C, counts_C = about.classes, store.offsets[:-1], np.diff(store.offsets)
        if classes is not None:
            chosen, known = set(classes), set(names)
            for name in classes:
                if name not in known:
                    raise UnknownNameError("class", name, known, where=f"of {self.name}")
            rows = np.flatnonzero([name in chosen for name in names])
            names, self._starts_C, counts_C = tuple(names[row] for row in rows), self._starts_C[rows], counts_C[rows]
        if rotations:
            self._check_square()
        self._unrotated = int(counts_C.sum())
        # The rotated classes come as whole further rounds, so the turn of example i is i // unrotated examples.
        turns = ROTATIONS if rotations else ROTATIONS[:1]
        self.classes = names + tuple(f"{name}/rot{degrees:03}" for degrees in turns[1:] for name in names)
        self.superclasses = tuple(superclass_of.get(name, "") for name in names) * len(turns)
        self.class_index = ClassIndex.of_counts(np.tile(counts_C, len(turns)), self.classes)

    def __len__(self) -> int:
        return self.class_index.examples

    def __getitem__(self, index: int) -> tuple[Any, int]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no example {index}")
        index %= len(self)
        return self.example(index), int(np.searchsorted(self.class_index.starts_C, index, side="right")) - 1

    def example(self, index: int) -> Any:
        """Example `index`, 0 <= index < len, without its label; a copy."""
        if self.modality == "texts":
            return self.text(index)
        if self.modality == "sounds":
            return self._sound(index)
        return self.arrays(np.array([index]))[0]

    def text(self, index: int) -> str:
        """The text of example `index`, 0 <= index < len."""
        return bytes(self._stored(index)).decode()

    def gather(self, ids: IntArray, out: Any = None) -> Any:
        """Inputs of some examples: `arrays`, or of texts nested lists in the shape of `ids`.

        Raises:
            IndexError: some id is not in [0, len).
            UsageError: `out` does not fit.
        """
        return self._texts(ids) if self.modality == "texts" else self.arrays(ids, out)

    def arrays(self, ids: IntArray, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Some examples as they are stored: [*ids.shape, C, H, W], or [*ids.shape, …].

        Of sounds it is [*ids.shape, longest], with silence behind each; longest is that of the data set, so that what a
        sound is padded to does not depend on its company.

        Args:
            ids: int64, any shape, each in [0, len).
            out: where to put them, contiguous and of that type and shape; a new array for None.

        Raises:
            IndexError: some id is not.
            TypeError: the data set holds texts.
            UsageError: `out` does not fit.
        """
        flat = self._flat(ids)
        shape, dtype = (*ids.shape, *self.example_shape), self._store.examples.dtype
        if out is None:
            out = np.empty(shape, dtype)
        else:
            check_out(self.name, out, dtype, shape)
        self._put(flat, out.reshape(len(flat), *self.example_shape))
        return out

    def as_labels(self, labels: IntArray) -> Any:
        """Labels in the kind of array that `gather` gives."""
        return labels

    @cached_property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of a gathered example."""
        if self.modality != "sounds":
            return tuple(self._store.examples.shape[1:])
        bounds = self._store.bounds
        assert bounds is not None
        return (int(np.diff(bounds)[self._rows(np.arange(self._unrotated))].max(initial=0)),)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the store's data and the classes taken from it: where it is the same, so is every example id."""
        return hashlib.sha256("\n".join([self._store.data_sha256, *self.classes]).encode()).hexdigest()

    def _check_square(self) -> None:
        shape = list(self._store.examples.shape[1:]) if self.modality == "images" else []
        if not shape or shape[-2] != shape[-1]:
            raise UsageError(
                f"{self.name}: only square images can be turned into further classes, and its examples are "
                f"{self.modality}{f' {shape}' if shape else ''}; leave rotations out"
            )

    def _texts(self, ids: IntArray) -> Any:
        self._check(ids)
        return nested([self.text(index) for index in ids.reshape(-1).tolist()], ids.shape)

    def _check(self, ids: IntArray) -> None:
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples; ids {ids.min()} to {ids.max()} were asked for")

    def _flat(self, ids: IntArray) -> IntArray:
        if self.modality == "texts":
            raise TypeError(f"{self.name} holds texts, which no array holds; take them one by one, dataset[i]")
        self._check(ids)
        return ids.reshape(-1)

    def _put(self, ids_M: IntArray, out: npt.NDArray[Any]) -> None:
        """Fill `out` [M, …] with some examples."""
        if self.modality == "sounds":
            for place, index in zip(out, ids_M.tolist(), strict=True):
                sound = self._sound(index)
                place[: len(sound)], place[len(sound) :] = sound, 0
            return
        turns_M = None
        if len(self) != self._unrotated:
            turns_M, ids_M = np.divmod(ids_M, self._unrotated)
        # NumPy copies twice where it has to check the numbers itself.
        np.take(self._store.examples, self._rows(ids_M), axis=0, out=out, mode="clip")
        if turns_M is not None:
            for turn in range(1, len(ROTATIONS)):
                turned = np.flatnonzero(turns_M == turn)
                out[turned] = np.rot90(out[turned], turn, axes=(-2, -1))

    def _sound(self, index: int) -> npt.NDArray[Any]:
        return self._stored(index).copy()

    def _stored(self, index: int) -> npt.NDArray[Any]:
        return self._store.example(int(self._rows(np.array([index]))[0]))

    def _rows(self, ids: IntArray) -> npt.NDArray[np.signedinteger[Any]]:
        """Rows of the store at which unrotated examples lie."""
        if self._shift is not None:
            return ids + self._shift
        return self._rows_M[ids]

    @cached_property
    def _shift(self) -> int | None:
        """What is to be added to an id, where that is the same for all: the classes taken lie side by side."""
        starts_C, shifts_C = self._starts_C, self._starts_C - self.class_index.starts_C[: len(self._starts_C)]
        return int(shifts_C[0]) if len(starts_C) and (shifts_C == shifts_C[0]).all() else None

    @cached_property
    def _rows_M(self) -> npt.NDArray[np.signedinteger[Any]]:
        index, classes = self.class_index, len(self._starts_C)
        shifts_C = self._starts_C - index.starts_C[:classes]
        # Half as wide wherever that will do, since it is kept as long as the data set is.
        dtype: type[np.signedinteger[Any]] = np.int32 if len(self._store.examples) < 2**31 else np.int64
        rows_M: npt.NDArray[np.signedinteger[Any]] = np.repeat(shifts_C.astype(dtype), index.counts_C[:classes])
        rows_M += np.arange(self._unrotated, dtype=dtype)
        return rows_M

    def __repr__(self) -> str:
        subset = self.subset or "all classes"
        return f"{type(self).__name__}({self.name!r}, {subset}: {len(self)} examples of {len(self.classes)} classes)"


def gathers(dataset: object) -> TypeGuard[ArrayDataset]:
    """Whether `gather` gives what ``dataset[i]`` does: nobody has written another way to load an example alone."""
    if not isinstance(dataset, ArrayDataset) or type(dataset).__getitem__ is not ArrayDataset.__getitem__:
        return False
    loads = next(kind for kind in type(dataset).__mro__ if "example" in vars(kind) or "gather" in vars(kind))
    return "gather" in vars(loads)


def check_out(name: str, out: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    """Nothing, where an array or tensor is one to gather into.

    Raises:
        UsageError: it is none, of another type or shape, or not contiguous.
    """
    if not hasattr(out, "dtype"):
        raise UsageError(f"{name}: out is a {type(out).__name__}; give a contiguous {dtype} {list(shape)}")
    alike = tuple(out.shape) == shape and out.dtype == dtype
    if not alike or not (out.flags.c_contiguous if isinstance(out, np.ndarray) else out.is_contiguous()):
        raise UsageError(f"{name}: out is {out.dtype} {list(out.shape)}; give a contiguous {dtype} {list(shape)}")


def nested(items: list[Any], shape: Sequence[int]) -> Any:
    """A flat list as nested lists of that shape."""
    for length in reversed(shape[1:]):
        items = [items[start : start + length] for start in range(0, len(items), length)]
    return items if shape else items[0]


class Chosen(NamedTuple):
    """A store, and which of its classes a split and subset mean; the first arguments of an `ArrayDataset`."""

    store: Store
    classes: Collection[str]
    superclass_of: Mapping[str, str]


def load_chosen(
    name: str,
    subset: Subset | None,
    split: str | None,
    rotations: bool,
    root: str | os.PathLike[str] | None,
    download: bool,
) -> Chosen:
    """What `load_arrays` and `load_dataset` open; see there."""
    catalog = open_catalog()
    record = catalog.dataset(name)
    its_split = catalog.split(name, split)
    if subset is not None and subset not in SUBSETS:
        raise UsageError(f"{name}: subset {subset!r} is none of {', '.join(SUBSETS)}; None takes all classes")
    if rotations and not record.rotations:
        raise UsageError(f"{name}: turning its pictures does not make new classes; leave rotations out")
    classes = its_split.classes(subset)
    if not classes:
        raise TaskError(f"{name}: the split {its_split.name} has no {subset} classes; take another subset or split")
    store = load_store(record, catalog, Cache.at(root), download=download)
    return Chosen(store, classes, its_split.superclass_of)


def load_arrays(
    name: str,
    subset: Subset | None = None,
    split: str | None = None,
    rotations: bool = False,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
) -> ArrayDataset:
    """A prepared data set for those who work without torch; `TaskGenerator` gives episodes of it as NumPy arrays.

    Arguments and errors are those of `load_dataset`; examples come as they are stored: images uint8, sounds int16.
    """
    chosen = load_chosen(name, subset, split, rotations, root, download)
    return ArrayDataset(*chosen, subset=subset, rotations=rotations)
