"""Layout ``matlab_labels``: numbered pictures, and a MATLAB file with the label of each.

The MATLAB file (up to version 7.2, not HDF5) has a variable of whole numbers, a row or a column of N: the labels of the
pictures 1 to N. A class is the one whose name begins with that number. The examples of a class stand in the order of
the pictures' numbers. Options are the fields of `Options`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, is_picture, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._mat_files import rows_of_numbers
from l2l_core.prepare.readers._members import ADVICE, Finder, MemberPictures, classes_by_number, refuse_absent
from l2l_core.prepare.readers._tables import find_file, matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the labels are, and where the pictures lie.

    Attributes:
        picture: how a picture becomes an array.
        labels_file: name of the MATLAB file.
        variable: its variable of labels.
        images: path of a picture, with ``{:05}`` for its number, from 1, in five digits.
    """

    picture: PictureOptions
    labels_file: str
    variable: str
    images: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(
            picture=picture_options(fields),
            labels_file=fields.text("labels_file"),
            variable=fields.text("variable"),
            images=fields.text("images", r"[^{}]*\{(:0[1-9])?\}[^{}]*", "a path with {:05} in it"),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether the MATLAB file is there."""
    return bool(matching(tree, [options.labels_file]))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures that the MATLAB file gives to the wanted classes.

    Raises:
        ContentError: the MATLAB file is missing, damaged or holds something else; a picture is missing or has no label;
            a class is missing, unknown or has another number of pictures than it should; or, from `load`, a picture
            cannot be decoded.
        CatalogError: the options are malformed, or the classes cannot be told by number.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    class_of = classes_by_number(wanted)
    name = find_file(tree, wanted, [options.labels_file])
    subject = f"{wanted.dataset}: {name} in {tree.name}"
    labels = _numbers(tree.read(name), options.variable, subject)
    finder = Finder(filter(is_picture, tree.names()))
    examples: dict[str, list[str]] = {class_name: [] for class_name in wanted.classes}
    absent: list[str] = []
    for number, label in enumerate(labels.tolist(), 1):
        if label not in class_of:
            raise ContentError(
                f"{subject} gives picture {number} the label {label}, which is none of the {len(class_of):,} classes; "
                f"{ADVICE}"
            )
        path = options.images.format(number)
        member = finder.one(path, f"{wanted.dataset}: {tree.name}")
        if member is None:
            absent.append(path)
        else:
            examples[class_of[label]].append(member)
    refuse_absent(absent, len(labels), wanted, tree)
    if unlabelled := finder.find(options.images.format(len(labels) + 1)):
        raise ContentError(
            f"{subject} has {len(labels):,} labels, but there is a picture {unlabelled[0]}, too; {ADVICE}"
        )
    check_classes(wanted, examples, tree.name, ADVICE)
    pictures = MemberPictures(tree, wanted, options.picture)
    return RawDataset(examples, pictures.load, lambda: pictures.source.of_classes(examples), options.picture.shape)


def _numbers(content: bytes, variable: str, subject: str) -> npt.NDArray[np.int64]:
    """The whole numbers of a variable of a MATLAB file, [N].

    Raises:
        ContentError: there is none of that name, or it is something else.
    """
    try:
        rows = rows_of_numbers(content)
    except ValueError as error:
        raise ContentError(f"{subject} is not a readable MATLAB file ({error}); get the file anew") from None
    values = rows.get(variable)
    if values is None:
        variables = ", ".join(rows) or "none"
        raise ContentError(f"{subject} has no row of numbers {variable!r}; its variables: {variables}; {ADVICE}")
    with np.errstate(invalid="ignore"):  # NaN becomes some number, which it does not equal
        numbers: npt.NDArray[np.int64] = values.astype(np.int64)
    if (numbers != values).any():
        raise ContentError(f"{subject} has {variable!r} that are not whole numbers; {ADVICE}")
    return numbers
