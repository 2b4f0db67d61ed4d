"""Layout ``array_files``: pictures in an array for each subset, in a pickle or in NumPy's ``.npz``.

1. A file holds one subset. It is a pickle of a dict, or an ``.npz`` with an array for each key.
2. The pictures are one entry of it, uint8 (N, H, W, 3) in RGB or (N, H, W) in grey.
3. Which rows are of which class says another entry: either a dict from class to its rows (mini-ImageNet's cache), or N
   numbers (MetaOptNet's pickles, TADAM's ``.npz``). A number is the place of its class among all classes, in
   alphabetical order, as in CIFAR-100. Some copies number the classes of each file from 0; what such a number means
   nobody can tell, so the numbers in a file must be exactly those of its subset's classes.
4. Examples of a class come in the order of the dict's list, or of the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fetch.pickles import text
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, from_pixels, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, said_of
from l2l_core.prepare.readers._numpy_files import npz_arrays
from l2l_core.prepare.readers._tables import (
    Rows,
    content_digest,
    entry,
    find_file,
    matching,
    pickled_table,
    uint8_array,
    whole_numbers,
)
from l2l_core.records import SUBSETS, Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the entries stand.

    Attributes:
        picture: how a picture becomes an array.
        images: key of the pictures; alternatives.
        class_rows: key of the dict from class to rows; None where there are labels.
        labels: key of the labels; None where there is such a dict.
        files: subset to the names that its file may have, in whatever folder and however they spell validation.
    """

    picture: PictureOptions
    images: tuple[str, ...]
    class_rows: str | None
    labels: str | None
    files: Mapping[Subset, tuple[str, ...]]


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        class_rows, labels = fields.optional_text("class_rows"), fields.optional_text("labels")
        if (class_rows is None) == (labels is None):
            fields.problem("class_rows", "expected either this field or labels, with labels_of")
        if labels is not None:
            fields.text("labels_of", "alphabetical", "alphabetical")
        files = fields.table("files")
        patterns = {subset: files.texts(subset) for subset in SUBSETS}
        files.done()
        return Options(
            picture=picture_options(fields),
            images=fields.text_or_texts("images"),
            class_rows=class_rows,
            labels=labels,
            files={subset: names for subset, names in patterns.items() if names},
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there is a file of some subset."""
    return any(matching(tree, names) for names in options.files.values())


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures of the wanted classes in a tree.

    Raises:
        ArchiveError: a file is damaged, or a pickle asks for more than plain values and arrays.
        ContentError: a file or entry is missing or is not what it should be; a class is missing, unknown or has another
            number of pictures than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    subsets = {wanted.subset_of.get(name) for name in wanted.classes}
    pixels: dict[str, npt.NDArray[np.uint8]] = {}
    examples: dict[str, Rows] = {}
    for subset, names in options.files.items():
        if subset not in subsets:
            continue
        file = find_file(tree, wanted, names)
        subject = f"{wanted.dataset}: {file} in {tree.name}"
        table = _table(tree, file, options, subject)
        pixels[file] = _pixels(entry(table, options.images, subject), wanted, subject)
        if options.class_rows is not None:
            rows = _by_class(entry(table, [options.class_rows], subject), len(pixels[file]), wanted, subject)
        else:
            rows = _by_label(entry(table, [options.labels or ""], subject), len(pixels[file]), wanted, subset, subject)
        if twice := sorted(set(rows).intersection(examples)):
            raise ContentError(f"{subject} holds {twice[0]}, which is in another file, too; {ADVICE}")
        examples |= {name: Rows(file, numbers) for name, numbers in rows.items()}
    check_classes(wanted, examples, tree.name, ADVICE)

    def load(example: tuple[str, int]) -> npt.NDArray[np.uint8]:
        file, row = example
        return from_pixels(pixels[file][row], options.picture)

    def digest() -> str:
        return content_digest((name, (pixels[file][row] for file, row in examples[name])) for name in wanted.classes)

    return RawDataset(examples, load, digest, options.picture.shape)


def _table(tree: Tree, file: str, options: Options, subject: str) -> dict[str, Any]:
    if not file.lower().endswith(".npz"):
        return pickled_table(tree, file, subject)
    keys = (*options.images, *filter(None, [options.labels]))
    return dict(said_of(subject, lambda: npz_arrays(tree.view(file), keys)))


def _pixels(value: object, wanted: Wanted, subject: str) -> npt.NDArray[np.uint8]:
    height, width = wanted.image_size or (None, None)
    grey = isinstance(value, np.ndarray) and value.ndim == 3
    return uint8_array(value, (None, height, width) if grey else (None, height, width, 3), "its images", subject)


def _by_class(value: object, rows: int, wanted: Wanted, subject: str) -> dict[str, npt.NDArray[np.int64]]:
    """Class to its rows, of a dict."""
    if not isinstance(value, dict) or not all(isinstance(key, str | bytes) for key in value):
        raise ContentError(f"{subject}: its classes are not a dict from name to rows; {ADVICE}")
    found = {text(key): whole_numbers(numbers, f"the rows of {text(key)}", subject) for key, numbers in value.items()}
    if strangers := sorted(set(found).difference(wanted.classes)):
        raise ContentError(
            f"{subject} holds {strangers[0]}, which is none of the {len(wanted.classes):,} classes; {ADVICE}"
        )
    used = np.zeros(rows, bool)
    for name, numbers in found.items():
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < rows:
            raise ContentError(f"{subject}: {name} has a row beyond the {rows:,} pictures; {ADVICE}")
        if len(np.unique(numbers)) < len(numbers) or used[numbers].any():
            raise ContentError(f"{subject}: {name} has a row that was given out before; {ADVICE}")
        used[numbers] = True
    return found


def _by_label(
    value: object, rows: int, wanted: Wanted, subset: Subset, subject: str
) -> dict[str, npt.NDArray[np.int64]]:
    """Class to its rows, of the number of each row's class."""
    labels = whole_numbers(value, "its labels", subject)
    if len(labels) != rows:
        raise ContentError(f"{subject} has {len(labels):,} labels for {rows:,} pictures; {ADVICE}")
    numbers = {
        number: name for number, name in enumerate(sorted(wanted.classes)) if wanted.subset_of.get(name) == subset
    }
    found = set(np.unique(labels).tolist())
    if found != set(numbers):
        raise ContentError(
            f"{subject} has the labels {_listed(found)} where those of its classes, in alphabetical order among all, "
            f"are {_listed(numbers)}, so its classes cannot be told apart; give a copy numbered over all classes"
        )
    return {name: np.flatnonzero(labels == number) for number, name in numbers.items()}


def _listed(numbers: "set[int] | Mapping[int, str]") -> str:
    first = ", ".join(map(str, sorted(numbers)[:3]))
    return f"{first}, … ({len(numbers):,} of them)" if len(numbers) > 3 else first
