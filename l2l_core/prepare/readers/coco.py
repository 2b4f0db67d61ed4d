"""Layout ``coco``: pictures, and JSON files in the style of COCO that say what is on them.

A JSON file is an object with three arrays, in any order, among whatever else:

- ``images``: ``id``, ``file_name``, and ``width`` and ``height`` in pixels where boxes are cut out;
- ``annotations``: ``image_id``, ``category_id``, and ``bbox`` where boxes are cut out: ``[x, y, width, height]`` in
  pixels, from the upper left corner of the upper left pixel;
- ``categories``: ``id``, ``name``.

Annotations and pictures are paired by id, which need be unique in its own file only. A picture is the file whose path
ends like its ``file_name``. An example is an annotation: its box, grown about its centre and clipped to the picture, or
the whole picture, which then has one annotation. Crowd boxes count like others; a box of which nothing lies in the
picture is no example. The examples of a class stand file by file, picture by picture and annotation by annotation as
the JSON lists them.

Source: google-research/meta-dataset, meta_dataset/dataset_conversion/dataset_to_records.py, ``MSCOCOConverter`` for the
arithmetic of the boxes, ``FungiConverter`` for whole pictures.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from reprlib import repr as short
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import Box, PictureOptions, is_picture, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._json_arrays import array_objects
from l2l_core.prepare.readers._members import (
    ADVICE,
    Finder,
    MemberPictures,
    classes_by_number,
    refuse_absent,
)
from l2l_core.prepare.readers._tables import find_file, matching

_MAX_ID = 2**63 - 1
_MAX_PIXELS = 10**9  # of a length in the JSON; so that sums of them stay exact
_CACHED_PICTURES = 32  # decoded, for the next box on the same picture: as many threads may ask for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which files say what is on the pictures, and what of them is an example.

    Attributes:
        picture: how a picture becomes an array.
        annotations: names of the JSON files, whatever spelling of validation the copy at hand has.
        examples: "boxes" or "images".
        grow: times the width and the height of a box are taken; 1 where it is not said.
        class_key: how a category finds its class: by "name", blanks around it aside, or by "number": its id begins the
            name of the class.
    """

    picture: PictureOptions
    annotations: tuple[str, ...]
    examples: str
    grow: float
    class_key: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        examples, grow = fields.choice("examples", ("boxes", "images")), fields.optional_number("grow", 1, 10)
        if examples == "images" and grow is not None:
            fields.problem("grow", "whole pictures have no box that could grow")
        return Options(
            picture=picture_options(fields),
            annotations=fields.texts("annotations", required=True),
            examples=examples,
            grow=grow or 1.0,
            class_key=fields.choice("class_key", ("name", "number")),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether one of the JSON files is there."""
    return bool(matching(tree, options.annotations))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The boxes or pictures of the wanted classes in a tree; an example is its row in the order of the classes.

    Raises:
        ContentError: a JSON file is missing, damaged or does not fit together; a class is missing, unknown or has
            another number of examples than it should; a picture is missing; or, from `load`, a picture cannot be
            decoded or has another size than the JSON says.
        CatalogError: the options are malformed, or the classes cannot be told by number.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    boxes = options.examples == "boxes"
    by_number = classes_by_number(wanted) if options.class_key == "number" else None
    files: list[str] = []
    sizes: list[tuple[int, int]] = []
    parts = []
    for name in options.annotations:
        member = find_file(tree, wanted, [name])
        part = _read_part(tree.view(member), f"{wanted.dataset}: {member} in {tree.name}", boxes)
        parts.append(_rows(part, wanted, by_number, options.grow if boxes else None, len(files)))
        files += part.files
        sizes += part.sizes
    class_M, picture_M, boxes_M4 = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order_M = np.lexsort((picture_M, class_M))  # stable, so the order of the JSON stays within a picture
    picture_M, boxes_M4 = picture_M[order_M], boxes_M4[order_M]
    stops = np.cumsum(np.bincount(class_M, minlength=len(wanted.classes))).tolist()
    examples = {name: range(*span) for name, *span in zip(wanted.classes, [0, *stops[:-1]], stops, strict=True)}
    check_classes(wanted, examples, tree.name, ADVICE)
    member_of = _members(tree, wanted, files, np.unique(picture_M).tolist())

    pictures = MemberPictures(tree, wanted, options.picture)
    open_picture = lru_cache(_CACHED_PICTURES)(pictures.open)

    def box_of(row: int) -> Box:
        left, top, right, bottom = boxes_M4[row].tolist()
        return left, top, right, bottom

    def load(row: int) -> npt.NDArray[np.uint8]:
        picture = int(picture_M[row])
        member = member_of[picture]
        if not boxes:
            return pictures.load(member)
        return pictures.cut(open_picture(member, sizes[picture]), box_of(row), member)

    def called() -> Iterator[tuple[str, str]]:
        for name in sorted(examples):
            for row in examples[name]:
                member = member_of[int(picture_M[row])]
                yield f"{name}/{PurePosixPath(member).name}" + (f" {box_of(row)}" if boxes else ""), member

    return RawDataset(examples, load, lambda: pictures.source.hexdigest(called()), options.picture.shape)


@dataclass(frozen=True, slots=True)
class _Part:
    """One JSON file.

    Attributes:
        subject: what to call it, at the beginning of a message.
        position_of: id of a picture to its place in `files` and `sizes`.
        files: what the JSON calls the pictures.
        sizes: height and width of each; (0, 0) where they do not matter.
        category_names: by id.
        pictures, categories: of each annotation, by id.
        boxes: four numbers an annotation: x, y, width, height; empty where they do not matter.
    """

    subject: str
    position_of: dict[int, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    category_names: dict[int, str] = field(default_factory=dict)
    pictures: "array[int]" = field(default_factory=lambda: array("q"))
    categories: "array[int]" = field(default_factory=lambda: array("q"))
    boxes: "array[float]" = field(default_factory=lambda: array("d"))


def _read_part(data: memoryview, subject: str, boxes: bool) -> _Part:
    """What a JSON file says, in a few bytes an annotation."""
    part = _Part(subject)
    for key, entry in array_objects(data, ("images", "annotations", "categories"), subject):
        try:
            if key == "images":
                if part.position_of.setdefault(_whole(entry["id"]), len(part.files)) != len(part.files):
                    raise ValueError("its id was there before")
                part.files.append(_text(entry["file_name"]))
                part.sizes.append(
                    (_whole(entry["height"], _MAX_PIXELS), _whole(entry["width"], _MAX_PIXELS)) if boxes else (0, 0)
                )
            elif key == "categories":
                if _whole(entry["id"]) in part.category_names:
                    raise ValueError("its id was there before")
                part.category_names[entry["id"]] = _text(entry["name"]).strip()
            else:
                box = [_real(length) for length in _four(entry["bbox"])] if boxes else []
                part.pictures.append(_whole(entry["image_id"]))
                part.categories.append(_whole(entry["category_id"]))
                part.boxes.extend(box)
        except KeyError as error:
            raise _unfit(subject, f"an entry of {key!r} without {error}") from None
        except ValueError as error:
            raise _unfit(subject, f"an entry of {key!r} that is unfit ({error}): {short(entry)}") from None
    for key, found in (("images", part.files), ("annotations", part.pictures), ("categories", part.category_names)):
        if not found:
            raise _unfit(subject, f"no {key!r}")
    return part


def _rows(
    part: _Part, wanted: Wanted, by_number: Mapping[int, str] | None, grow: float | None, first: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Class [M], picture [M] and box [M, 4] of the examples in a JSON file; pictures are counted from `first`."""
    class_M = _classes(part, wanted, by_number)
    picture_M = np.fromiter((part.position_of.get(number, -1) for number in part.pictures), np.int64)
    if (picture_M < 0).any():
        number = part.pictures[int(picture_M.argmin())]
        raise _unfit(part.subject, f"an annotation of the picture {number}, which is not among its 'images'")
    if grow is None:
        if (count_P := np.bincount(picture_M)).max() > 1:
            raise _unfit(part.subject, f"more than one annotation of the picture {part.files[count_P.argmax()]}")
        return class_M, picture_M + first, np.zeros((len(picture_M), 4), np.int32)
    boxes_M4 = _grown(np.array(part.boxes).reshape(-1, 4), grow, np.array(part.sizes)[picture_M])
    inside_M = (boxes_M4[:, :2] < boxes_M4[:, 2:]).all(1)
    return class_M[inside_M], picture_M[inside_M] + first, boxes_M4[inside_M]


def _classes(part: _Part, wanted: Wanted, by_number: Mapping[int, str] | None) -> npt.NDArray[np.int64]:
    """The class of every annotation, as its position in `wanted.classes`."""
    position_of = {name: position for position, name in enumerate(wanted.classes)}
    ids, id_M = np.unique(np.array(part.categories), return_inverse=True)
    seen: dict[str, int] = {}
    for number in ids.tolist():
        if number not in part.category_names:
            raise _unfit(part.subject, f"an annotation of the category {number}, which is not among its 'categories'")
        called = part.category_names[number]
        name = called if by_number is None else by_number.get(number, "")
        if name not in position_of:
            raise ContentError(
                f"{part.subject} has annotations of the category {number} ({called}), which is none of the "
                f"{len(position_of):,} classes; {ADVICE}"
            )
        if seen.setdefault(name, number) != number:
            raise _unfit(part.subject, f"two categories of the name {called!r}, {seen[name]} and {number}")
    class_of_id = np.array([position_of[name] for name in seen])
    return class_of_id[id_M]


def _grown(boxes_M4: npt.NDArray[np.float64], grow: float, sizes_M2: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Left, top, right, bottom of the pixels [M, 4] that grown boxes cover, clipped to pictures of height and width."""
    corner_M2, extent_M2 = boxes_M4[:, :2], boxes_M4[:, 2:]
    corner_M2 = corner_M2 - 0.5 * extent_M2 * (grow - 1)
    extent_M2 = extent_M2 * grow
    # The centre of the first pixel lies at one half. Halves are rounded to even.
    first_M2 = np.maximum(np.rint(corner_M2 - 0.5), 0)
    last_M2 = np.minimum(np.rint(corner_M2 + extent_M2 - 0.5) + 1, sizes_M2[:, ::-1])
    return np.concatenate([first_M2, last_M2], axis=1).astype(np.int32)


def _members(tree: Tree, wanted: Wanted, files: Sequence[str], pictures: Sequence[int]) -> dict[int, str]:
    """Picture to the name of its file in the tree."""
    finder = Finder(filter(is_picture, tree.names()))
    member_of: dict[int, str] = {}
    absent: list[str] = []
    for picture in pictures:
        member = finder.one(files[picture], f"{wanted.dataset}: {tree.name}")
        if member is None:
            absent.append(files[picture])
        else:
            member_of[picture] = member
    refuse_absent(absent, len(pictures), wanted, tree)
    if len(set(member_of.values())) < len(member_of):
        raise ContentError(f"{wanted.dataset}: two entries of 'images' mean the same file of {tree.name}; {ADVICE}")
    return member_of


def _whole(value: object, maximum: int = _MAX_ID) -> int:
    if type(value) is not int or not 0 <= value <= maximum:
        raise ValueError(f"{short(value)} is no whole number from 0 to {maximum:,}")
    return value


def _real(value: object) -> float:
    if not isinstance(value, int | float) or not abs(value) <= _MAX_PIXELS:  # NaN is no smaller than anything
        raise ValueError(f"{short(value)} is no length in pixels")
    return float(value)


def _four(value: object) -> Sequence[object]:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"{short(value)} is no list of four numbers")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{short(value)} is no text")
    return value


def _unfit(subject: str, found: str) -> ContentError:
    return ContentError(f"{subject} holds {found}, so it is not in COCO's layout; get the original file")
