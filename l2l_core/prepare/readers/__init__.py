"""Readers: one raw layout each, knowing no data set by name.

A reader is a module of this package with three functions:

- ``options_of(options, where) -> Options`` checks the options that a catalogue entry gives it;
- ``recognises(tree, options) -> bool`` says, from names alone, whether a tree looks like this layout at all;
- ``read(tree, wanted) -> RawDataset`` finds every example and says how to load one. It looks at names, headers and
  tables only; examples are loaded later, one by one and from several threads, through `RawDataset.load`.

To add a layout, write one module and add one line to `VERSIONS`; raise the number there whenever the same raw files
would give other examples, so that prepared stores of the old version are not mistaken for the new.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from l2l_core.errors import ContentError, UnknownNameError
from l2l_core.fetch.archives import Tree
from l2l_core.records import Modality, Subset

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VERSIONS: Final = {
    "array_files": 1,
    "audio_folders": 2,
    "bitmaps": 1,
    "cifar": 1,
    "coco": 1,
    "csv_text": 1,
    "font_glyphs": 2,
    "image_folders": 2,
    "image_table": 1,
    "json_lines": 1,
    "labelled_lists": 1,
    "matlab_labels": 1,
    "png_pickles": 1,
    "text_folders": 1,
}
"""Name of each reader, which is its module's, and the version of its result."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a data set should hold: all that a reader may know of it.

    Attributes:
        dataset: what to call it in messages.
        options: of the reader, as ``[prepared]`` and the form give them together.
        classes: class names, in the order of the store.
        counts: class to its number of examples, for those classes where that is known.
        subset_of: class to subset, by the default split.
        superclass_of: class to its group, where the data set has groups.
        class_names: class to what people call it, where that is not the same.
        numbers: class to the numbers of those of its pictures that are meant, where the form names such a list.
        image_size: height and width in pixels of every raw picture, where they agree.
        modality: what an example is.
        sample_rate_hz: of sounds.
    """

    dataset: str
    options: Mapping[str, Any]
    classes: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)
    subset_of: Mapping[str, Subset] = field(default_factory=dict)
    superclass_of: Mapping[str, str] = field(default_factory=dict)
    class_names: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    modality: Modality = "images"
    sample_rate_hz: int | None = None


@dataclass(frozen=True, slots=True)
class RawDataset:
    """Raw files, understood but not yet decoded.

    Attributes:
        examples: class name to its examples in order; an example is whatever `load` takes.
        load: example to its array: uint8 [C, H, W] for pictures, uint8 [bytes] of UTF-8 for texts, int16 [samples] for
            sounds; safe to call from several threads.
        digest: sha256 of what was read, so that a store names its source; asked for once, after all examples are
            loaded, so that a reader of many files need not read them twice.
        shape: (C, H, W) of every example; None where they are of any length.
    """

    examples: Mapping[str, Sequence[Hashable]]
    load: "Callable[[Any], npt.NDArray[np.generic]]"
    digest: Callable[[], str]
    shape: tuple[int, int, int] | None


class Reader(Protocol):
    """A module of this package; see its docstring."""

    def options_of(self, options: Mapping[str, Any], where: str) -> Any:
        """The options, checked; `where` stands before each field's name in a message."""
        ...

    def recognises(self, tree: Tree, options: Any) -> bool:
        """Whether the names in a tree look like this layout."""
        ...

    def read(self, tree: Tree, wanted: Wanted) -> RawDataset:
        """The examples of `wanted.classes` in a tree."""
        ...


def reader_version(name: str) -> int:
    """The version of a reader's result, without loading the reader.

    Raises:
        UnknownNameError: there is no reader of that name.
    """
    if name not in VERSIONS:
        raise UnknownNameError("reader", name, VERSIONS)
    return VERSIONS[name]


def get_reader(name: str) -> Reader:
    """The reader of that name.

    Raises:
        UnknownNameError: there is none.
    """
    reader_version(name)
    return cast("Reader", import_module(f"{__name__}.{name}"))


def check_classes(wanted: Wanted, found: Mapping[str, Sequence[object]], place: str, advice: str) -> None:
    """Nothing, where every class that is wanted was found, with as many examples as it should have.

    Args:
        wanted: what the data set should hold.
        found: class to its examples.
        place: what was read, as a message calls it.
        advice: what to do, as the end of a sentence.

    Raises:
        ContentError: a class is missing or has another number of examples; names the first.
    """
    missing = [name for name in wanted.classes if not found.get(name)]
    if missing:
        raise ContentError(
            f"{wanted.dataset}: {len(missing):,} of {len(wanted.classes):,} classes are missing from {place} "
            f"(the first is {missing[0]}); {advice}"
        )
    for name in wanted.classes:
        expected = wanted.counts.get(name)
        if expected is not None and len(found[name]) != expected:
            raise ContentError(
                f"{wanted.dataset}: {name} in {place} has {len(found[name]):,} examples instead of {expected:,}; "
                f"{advice}"
            )
