"""Layout ``labelled_lists``: pictures by number, and plain lists of which has which label, perhaps with boxes.

A list has one picture a line: its id, a blank, its label, which is the class and may hold blanks and slashes. Blank
lines are passed over. The file of boxes has ``id xmin ymin xmax ymax`` a line, where the upper left pixel is (1, 1) and
the last pixel is within the box; what reaches beyond the picture is clipped. An example is a picture, or its box if
there are boxes; the examples of a class stand in the order of the lists and their lines.

Source: the ``README.md`` in the archive of FGVC-Aircraft 2013b says that "the top-left pixel of an image has coordinate
(1,1)", and not whether the last pixel is within. Meta-Dataset gives the numbers to Pillow as they are, so that its
crops lack the first row and column of pixels.

Options are the fields of `Options`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import Box, PictureOptions, is_picture, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, Finder, MemberPictures, refuse_absent
from l2l_core.prepare.readers._tables import find_file, matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which lists there are, and where the pictures lie.

    Attributes:
        picture: how a picture becomes an array.
        lists: names of the lists, whatever spelling of validation the copy at hand has.
        images: path of a picture, with ``{}`` for its id.
        boxes: name of the file of boxes; None where whole pictures are examples.
    """

    picture: PictureOptions
    lists: tuple[str, ...]
    images: str
    boxes: str | None


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(
            picture=picture_options(fields),
            lists=fields.texts("lists", required=True),
            images=fields.text("images", r"[^{}]*\{\}[^{}]*", "a path with {} in it"),
            boxes=fields.optional_text("boxes"),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether one of the lists is there."""
    return bool(matching(tree, options.lists))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures that the lists give to the wanted classes.

    Raises:
        ContentError: a list or a picture is missing, a line is malformed, a picture stands in two lines or has no box,
            or a class is missing, unknown or has another number of pictures than it should; or, from `load`, a picture
            cannot be decoded or has nothing in its box.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    finder = Finder(filter(is_picture, tree.names()))
    examples: dict[str, list[str]] = {name: [] for name in wanted.classes}
    absent: list[str] = []
    class_of: dict[str, str] = {}
    member_of: dict[str, str] = {}
    for name in options.lists:
        for line, (number, label) in _lines(tree, name, wanted, 2, "ID LABEL"):
            if label not in examples:
                raise ContentError(
                    f"{line} has the label {label}, which is none of the {len(examples):,} classes; {ADVICE}"
                )
            if number in class_of:
                raise ContentError(f"{line} lists the picture {number} for the second time; {ADVICE}")
            class_of[number] = label
            path = options.images.format(number)
            member = finder.one(path, f"{wanted.dataset}: {tree.name}")
            if member is None:
                absent.append(path)
            else:
                member_of[number] = member
                examples[label].append(number)
    refuse_absent(absent, len(class_of), wanted, tree)
    check_classes(wanted, examples, tree.name, ADVICE)
    box_of = _boxes(tree, options.boxes, wanted) if options.boxes is not None else None
    if box_of is not None and (boxless := [number for number in class_of if number not in box_of]):
        raise ContentError(
            f"{wanted.dataset}: {options.boxes} in {tree.name} has no box of {len(boxless):,} of {len(class_of):,} "
            f"pictures (the first is {boxless[0]}); {ADVICE}"
        )
    pictures = MemberPictures(tree, wanted, options.picture)

    def load(number: str) -> npt.NDArray[np.uint8]:
        member = member_of[number]
        return pictures.load(member) if box_of is None else pictures.cut(pictures.open(member), box_of[number], member)

    def called() -> Iterator[tuple[str, str]]:
        for name in sorted(examples):
            for number in examples[name]:
                file_name = PurePosixPath(member_of[number]).name
                yield f"{name}/{file_name}" + (f" {box_of[number]}" if box_of else ""), member_of[number]

    return RawDataset(examples, load, lambda: pictures.source.hexdigest(called()), options.picture.shape)


def _boxes(tree: Tree, name: str, wanted: Wanted) -> dict[str, Box]:
    """Id to box, in Pillow's way of counting: from 0, the last two just outside."""
    box_of: dict[str, Box] = {}
    for line, (number, *texts) in _lines(tree, name, wanted, 5, "ID XMIN YMIN XMAX YMAX"):
        if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
            raise ContentError(f"{line} holds {' '.join(texts)} instead of four whole numbers; {ADVICE}")
        left, top, right, bottom = map(int, texts)
        if number in box_of or not (0 < left <= right and 0 < top <= bottom):
            raise ContentError(f"{line} holds a second box of {number}, or one without a pixel; {ADVICE}")
        box_of[number] = (left - 1, top - 1, right, bottom)
    return box_of


def _lines(tree: Tree, name: str, wanted: Wanted, count: int, form: str) -> Iterator[tuple[str, list[str]]]:
    """What to call each line of a text file in a message, and its fields, the last of which may hold blanks."""
    member = find_file(tree, wanted, [name])
    subject = f"{wanted.dataset}: {member} in {tree.name}"
    try:
        text = tree.read(member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContentError(f"{subject} is not text in UTF-8 ({error.reason}); get the file anew") from None
    for position, line in enumerate(text.split("\n"), 1):
        fields = line.strip().split(maxsplit=count - 1)
        if fields and len(fields) != count:
            raise ContentError(f"{subject}, line {position}: expected {form}, found {line.strip()[:80]!r}; {ADVICE}")
        if fields:
            yield f"{subject}, line {position},", fields
