"""Layout ``cifar``: CIFAR-100 as its authors publish it, in the python or the binary edition.

1. Python edition: ``train`` and ``test``, pickles of a dict with ``data``, uint8 (N, 3072), and ``fine_labels``, N
   whole numbers; ``meta``, the pickle of a dict with ``fine_label_names``. Python 2 wrote them.
2. Binary edition: ``train.bin`` and ``test.bin``, rows of a byte for the coarse label, one for the fine label and 3,072
   for the picture; ``fine_label_names.txt``, one name a line.
3. A picture is its red, its green and its blue plane, each 32 rows of 32 pixels.
4. A class is a fine label, by its name; its examples are those of train and then those of test, in the order of rows.
   So both editions give the same. Names that are not wanted are passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, from_pixels, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE
from l2l_core.prepare.readers._tables import (
    Rows,
    content_digest,
    entry,
    find_file,
    matching,
    pickled_table,
    text_lines,
    texts,
    uint8_array,
    whole_numbers,
)

PARTS: Final = ("train", "test")
SHAPE: Final = (3, 32, 32)
_PIXELS: Final = 3072
_BINARY: Final = tuple(f"{part}.bin" for part in PARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What becomes of the pictures.

    Attributes:
        picture: how a picture becomes an array.
    """

    picture: PictureOptions


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of train or test: pixels uint8 [N, 3072], labels int64 [N]."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(picture=picture_options(fields))


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there is a file of either edition's pictures."""
    return bool(matching(tree, PARTS + _BINARY))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures of the wanted classes in a tree; of the binary edition, where both are there.

    Raises:
        ArchiveError: a file is damaged, or a pickle asks for more than plain values and arrays.
        ContentError: a file or entry is missing or is not what it should be; a class is missing or has another number
            of pictures than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    parts, names = (_binary if matching(tree, _BINARY) else _python)(tree, wanted)
    labels = np.concatenate([part.labels for part in parts.values()])
    if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
        raise ContentError(
            f"{wanted.dataset}: {tree.name} has labels from {labels.min()} to {labels.max()}, "
            f"but {len(names)} names, numbered from 0; {ADVICE}"
        )
    number_of = {name: number for number, name in enumerate(names)}
    examples = {
        name: [
            example
            for part, rows in parts.items()
            for example in Rows(part, np.flatnonzero(rows.labels == number_of.get(name)))
        ]
        for name in wanted.classes
    }
    check_classes(wanted, examples, tree.name, ADVICE)

    def planes(example: tuple[str, int]) -> npt.NDArray[np.uint8]:
        part, row = example
        pixels: npt.NDArray[np.uint8] = parts[part].pixels[row].reshape(SHAPE)
        return pixels

    def load(example: tuple[str, int]) -> npt.NDArray[np.uint8]:
        return from_pixels(planes(example).transpose(1, 2, 0), options.picture)

    def digest() -> str:
        return content_digest((name, map(planes, examples[name])) for name in wanted.classes)

    return RawDataset(examples, load, digest, options.picture.shape)


def _python(tree: Tree, wanted: Wanted) -> tuple[dict[str, _Part], list[str]]:
    parts = {}
    for name in PARTS:
        file = find_file(tree, wanted, [name])
        subject = f"{wanted.dataset}: {file} in {tree.name}"
        table = pickled_table(tree, file, subject)
        pixels = uint8_array(entry(table, ["data"], subject), (None, _PIXELS), "its data", subject)
        labels = whole_numbers(entry(table, ["fine_labels"], subject), "its labels", subject)
        if len(pixels) != len(labels):
            raise ContentError(f"{subject} has {len(labels):,} labels for {len(pixels):,} pictures; {ADVICE}")
        parts[name] = _Part(pixels, labels)
    meta = find_file(tree, wanted, ["meta"])
    subject = f"{wanted.dataset}: {meta} in {tree.name}"
    return parts, texts(entry(pickled_table(tree, meta, subject), ["fine_label_names"], subject), "its names", subject)


def _binary(tree: Tree, wanted: Wanted) -> tuple[dict[str, _Part], list[str]]:
    parts = {}
    for name, file_name in zip(PARTS, _BINARY, strict=True):
        file = find_file(tree, wanted, [file_name])
        content = np.frombuffer(tree.view(file), np.uint8)
        if content.size % (2 + _PIXELS):
            raise ContentError(
                f"{wanted.dataset}: {file} in {tree.name} has {content.size:,} bytes, which are no whole rows of "
                f"{2 + _PIXELS:,}; {ADVICE}"
            )
        rows = content.reshape(-1, 2 + _PIXELS)
        parts[name] = _Part(rows[:, 2:], rows[:, 1].astype(np.int64))
    return parts, text_lines(tree, find_file(tree, wanted, ["fine_label_names.txt"]), wanted)
