"""Layout ``png_pickles``: tiered-ImageNet as its makers publish it, pictures as PNG files within pickles.

1. For each subset there are two pickles. The pictures are a list of N uint8 arrays, each the bytes of one PNG file, of
   shape (L,) or (L, 1).
2. The labels are a dict with ``label_specific``, N whole numbers, and ``label_specific_str``, the names that they are
   places in. How a file numbers its classes follows no rule, so a class is found by its name alone.
3. ``synsets.txt`` and ``class_names.txt`` pair classes and their names line by line. Where they are not both there, the
   names that the catalogue has for the classes count.
4. Where two classes share a name, it stands for the one that is in the file's subset.
5. Examples of a class come in the order of the list.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fetch.pickles import read_pickle
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, decode, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, said_of
from l2l_core.prepare.readers._tables import (
    Rows,
    content_digest,
    described,
    entry,
    find_file,
    matching,
    pickled_table,
    text_lines,
    texts,
    whole_numbers,
)
from l2l_core.records import SUBSETS

_TEMPLATE: Final = r"[^/{}]*\{subset\}[^/{}]*"
_CLASSES: Final = "synsets.txt"
_NAMES: Final = "class_names.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the files are called.

    Attributes:
        picture: how a picture becomes an array.
        images, labels: the end of a file's name, with ``{subset}`` for train, val, valid, validation or test.
    """

    picture: PictureOptions
    images: str
    labels: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        meaning = "the end of a file's name with {subset} in it"
        return Options(
            picture=picture_options(fields),
            images=fields.text("images", _TEMPLATE, meaning),
            labels=fields.text("labels", _TEMPLATE, meaning),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there is a file of some subset's pictures."""
    return any(matching(tree, _ending(options.images.format(subset=subset))) for subset in SUBSETS)


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures of the wanted classes in a tree.

    Raises:
        ArchiveError: a file is damaged, or a pickle asks for more than plain values and arrays.
        ContentError: a file or entry is missing or is not what it should be; a class is missing, unknown, shares its
            name, or has another number of pictures than it should; or, from `load`, a picture that cannot be decoded or
            has another size than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    called = _class_names(tree, wanted)
    pictures: dict[str, list[Any]] = {}
    examples: dict[str, Rows] = {}
    for subset in SUBSETS:
        if classes := [name for name in wanted.classes if wanted.subset_of.get(name) == subset]:
            file = _find(tree, options.images.format(subset=subset), wanted)
            pictures[file] = _pictures(tree, file, wanted)
            labels = _find(tree, options.labels.format(subset=subset), wanted)
            rows = _rows(tree, labels, len(pictures[file]), {name: called.get(name) for name in classes}, wanted)
            examples |= {name: Rows(file, numbers) for name, numbers in rows.items()}
    check_classes(wanted, examples, tree.name, ADVICE)
    # The files are too large to be read a second time for the digest: 32 bytes a picture are kept instead.
    hashes = {file: np.zeros((len(contents), 32), np.uint8) for file, contents in pictures.items()}

    def load(example: tuple[str, int]) -> npt.NDArray[np.uint8]:
        file, row = example
        content = pictures[file][row]
        subject = f"{wanted.dataset}: picture {row:,} (from 0) of {file} in {tree.name}"
        if (
            not isinstance(content, np.ndarray)
            or content.dtype != np.uint8
            or content.size != max(content.shape, default=0)
        ):
            raise ContentError(f"{subject} is {described(content)} instead of the bytes of a PNG file; {ADVICE}")
        png = content.tobytes()
        hashes[file][row] = np.frombuffer(hashlib.sha256(png).digest(), np.uint8)
        return said_of(subject, lambda: decode(png, options.picture, wanted.image_size))

    def digest() -> str:
        return content_digest((name, (hashes[file][row] for file, row in examples[name])) for name in wanted.classes)

    return RawDataset(examples, load, digest, options.picture.shape)


def _ending(name: str) -> list[str]:
    """Patterns of the name alone, and of others that end in it as a word of its own: trainval is not val."""
    return [name, f"*[!A-Za-z]{name}"]


def _find(tree: Tree, name: str, wanted: Wanted) -> str:
    return find_file(tree, wanted, _ending(name), name)


def _class_names(tree: Tree, wanted: Wanted) -> Mapping[str, str]:
    """Class to its name."""
    if not all(matching(tree, _ending(name)) for name in (_CLASSES, _NAMES)):
        return wanted.class_names
    files = [_find(tree, name, wanted) for name in (_CLASSES, _NAMES)]
    classes, names = (text_lines(tree, file, wanted) for file in files)
    if len(classes) != len(names):
        raise ContentError(
            f"{wanted.dataset}: {files[0]} and {files[1]} in {tree.name} have {len(classes):,} and {len(names):,} "
            f"lines, so they are no pairs; {ADVICE}"
        )
    return dict(zip(classes, names, strict=True))


def _pictures(tree: Tree, file: str, wanted: Wanted) -> list[Any]:
    subject = f"{wanted.dataset}: {file} in {tree.name}"
    value = read_pickle(tree.view(file), subject)
    if not isinstance(value, list):
        raise ContentError(f"{subject} holds {described(value)} instead of a list of pictures; {ADVICE}")
    return value


def _rows(
    tree: Tree, file: str, pictures: int, called: Mapping[str, str | None], wanted: Wanted
) -> dict[str, npt.NDArray[np.int64]]:
    """Class to its rows in a subset's list; `called` has the names of the subset's classes."""
    subject = f"{wanted.dataset}: {file} in {tree.name}"
    table = pickled_table(tree, file, subject)
    labels = whole_numbers(entry(table, ["label_specific"], subject), "label_specific", subject)
    names = texts(entry(table, ["label_specific_str"], subject), "label_specific_str", subject)
    if len(labels) != pictures:
        raise ContentError(f"{subject} has {len(labels):,} labels for {pictures:,} pictures; {ADVICE}")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
        raise ContentError(
            f"{subject} has labels from {labels.min()} to {labels.max()}, but {len(names)} names, numbered from 0; "
            f"{ADVICE}"
        )
    rows: dict[str, npt.NDArray[np.int64]] = {}
    for number, name in enumerate(names):
        classes = [its_class for its_class, its_name in called.items() if its_name == name]
        if not classes:
            raise ContentError(f"{subject} holds {name!r}, which is none of its {len(called):,} classes; {ADVICE}")
        if len(classes) > 1 or names.count(name) > 1:
            raise ContentError(
                f"{subject} holds {name!r}, which stands for more than one class of its subset, so they cannot be told "
                f"apart; {ADVICE}"
            )
        rows[classes[0]] = np.flatnonzero(labels == number)
    return rows
