"""Layout ``bitmaps``: a ``.npy`` file of small grey pictures for each class, as Quick, Draw! publishes its drawings.

1. The name of the file, without ``.npy``, is the class. Files of other names are passed over.
2. A file holds uint8 (N, side·side), a picture in each row, line by line.
3. Examples come in the order of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, from_pixels, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, said_of
from l2l_core.prepare.readers._numpy_files import npy_array
from l2l_core.prepare.readers._tables import Rows, content_digest, matching, uint8_array


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is in a row, and how many rows are meant.

    Attributes:
        picture: how a picture becomes an array.
        side: height and width of a raw picture in pixels.
        first: how many rows of each class are meant; all for None.
    """

    picture: PictureOptions
    side: int
    first: int | None


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(
            picture=picture_options(fields),
            side=fields.integer("side"),
            first=fields.optional_integer("first"),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there is a ``.npy`` file."""
    return bool(matching(tree, ["*.npy"]))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures of the wanted classes in a tree.

    Raises:
        ArchiveError: a file is damaged.
        ContentError: a file is not what it should be; a class is missing, stands there twice, or has another number of
            pictures than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    known = set(wanted.classes)
    files: dict[str, str] = {}
    for file in matching(tree, ["*.npy"]):
        name = PurePosixPath(file).stem
        if name in known and files.setdefault(name, file) != file:
            raise ContentError(
                f"{wanted.dataset}: {tree.name} holds both {files[name]} and {file}, of which one can be meant; "
                "leave the other out"
            )
    pixels = {name: _rows(tree, file, options, wanted) for name, file in files.items()}
    examples = {name: Rows(name, range(len(rows))) for name, rows in pixels.items()}
    check_classes(wanted, examples, tree.name, ADVICE)

    def load(example: tuple[str, int]) -> npt.NDArray[np.uint8]:
        name, row = example
        return from_pixels(pixels[name][row].reshape(options.side, options.side), options.picture)

    def digest() -> str:
        # A class at a time: its rows lie one after the other in the mapped file, and there may be 50 million in all.
        return content_digest((name, [pixels[name]]) for name in wanted.classes)

    return RawDataset(examples, load, digest, options.picture.shape)


def _rows(tree: Tree, file: str, options: Options, wanted: Wanted) -> npt.NDArray[np.uint8]:
    subject = f"{wanted.dataset}: {file} in {tree.name}"
    array = said_of(subject, lambda: npy_array(tree.view(file)))
    return np.ascontiguousarray(uint8_array(array, (None, options.side**2), "its pictures", subject)[: options.first])
