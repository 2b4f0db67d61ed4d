"""Readers: one raw layout each, knowing no data set by name.

A reader is a module with a function ``read(tree, record, classes) -> RawDataset``, and one ``options_of(record)`` that
checks the ``[prepared]`` table of an entry. It looks at names and headers only;
pictures are decoded later, one by one and from several threads, through `RawDataset.load`. To add a layout, write one
module and add one line to `VERSIONS`; raise the number there whenever the same raw files would give other pixels, so
that prepared stores of the old version are not mistaken for the new.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from l2l_core.errors import UnknownNameError
from l2l_core.fetch.archives import Tree
from l2l_core.records import DatasetRecord

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VERSIONS: Final = {
    "font_glyphs": 1,
    "image_folders": 1,
}
"""Name of each reader, which is its module's, and the version of its result."""


@dataclass(frozen=True, slots=True)
class RawDataset:
    """Raw files, understood but not yet decoded.

    Attributes:
        examples: class name to its examples in order; an example is whatever `load` takes.
        shape: (C, H, W) of every prepared example.
        load: example to uint8 array [C, H, W]; safe to call from several threads.
        digest: sha256 of what was read, so that a store names its source; asked for once, after all examples are
            loaded, so that a reader of many files need not read them twice.
    """

    examples: Mapping[str, Sequence[Hashable]]
    shape: tuple[int, int, int]
    load: "Callable[[Hashable], npt.NDArray[np.uint8]]"
    digest: Callable[[], str]


Reader: TypeAlias = Callable[[Tree, DatasetRecord, Sequence[str]], RawDataset]


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
    return cast("Reader", import_module(f"{__name__}.{name}").read)


def check_options(record: DatasetRecord) -> None:
    """Nothing, where the record's reader exists and can honour its options.

    Raises:
        L2LError: it does not, or cannot; names the field.
    """
    reader_version(record.raw.reader)
    import_module(f"{__name__}.{record.raw.reader}").options_of(record)
