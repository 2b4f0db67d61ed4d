"""Pictures in nested folders: a class is a folder, named by the last `class_depth` parts of its path.

Whatever lies above those parts does not matter, so the official archives, a repacked zip and an unpacked copy in some
other folder all read alike.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, is_picture, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import (
    ADVICE,
    MemberPictures,
    by_key,
    numbers_of,
    one_folder_a_class,
    refuse_strangers,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which folders are classes, and which of their pictures are meant.

    Attributes:
        picture: how a picture becomes an array.
        class_depth: how many folder names make a class.
        class_key: how a folder finds its class: by "name", or by "number", the whole number that begins both
            (``00012`` and ``12.name``).
        numbers: name of the list of those pictures that are meant, by the last number in their names; all for None.
        other_classes: whether folders beside the classes are refused, for another edition has them, or ignored.
    """

    picture: PictureOptions
    class_depth: int
    class_key: str
    numbers: str | None
    other_classes: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(
            picture=picture_options(fields),
            class_depth=fields.integer("class_depth"),
            class_key=fields.choice("class_key", ("name", "number")),
            numbers=fields.optional_text("numbers"),
            other_classes=fields.choice("other_classes", ("refuse", "ignore")),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there are pictures so deep in folders, and in more than one."""
    folders = {_class_of(name, options.class_depth) for name in tree.names()}
    return len(folders - {None}) > 1


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures of the wanted classes in a tree: by file name, or in the order of their numbers where these matter.

    Raises:
        ContentError: a class is missing, unknown, in two places or has another number of pictures than it should, or a
            picture of the list is missing; or, from `load`, a picture cannot be decoded or has another size than it
            should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    members: dict[str, list[str]] = {}
    for name in tree.names():
        if (folder := _class_of(name, options.class_depth)) is not None:
            members.setdefault(folder, []).append(name)
    if options.class_key == "number":
        members = by_key(members, wanted, tree.name)
    if options.other_classes == "refuse":
        refuse_strangers(members, wanted, tree, _advice(tree))
    one_folder_a_class(members, wanted, tree)
    if options.numbers is not None:
        numbers = numbers_of(wanted, options.numbers)
        for class_name in wanted.classes:
            found = members.get(class_name)
            if found:
                members[class_name] = _of_numbers(class_name, found, numbers[class_name], wanted, tree)
    check_classes(wanted, members, tree.name, _advice(tree))
    pictures = MemberPictures(tree, wanted, options.picture)
    examples = {name: members[name] for name in wanted.classes}
    return RawDataset(examples, pictures.load, lambda: pictures.source.of_classes(examples), options.picture.shape)


def _class_of(name: str, depth: int) -> str | None:
    folders = name.split("/")[:-1]
    return "/".join(folders[-depth:]) if len(folders) >= depth and is_picture(name) else None


def _number(member: str) -> int:
    """The last whole number in a picture's name, −1 where there is none: n01532829_20457.JPEG is 20457."""
    found = re.findall(r"[0-9]{1,18}(?![0-9])", member.rpartition("/")[2].rpartition(".")[0])
    return int(found[-1]) if found else -1


def _of_numbers(
    class_name: str, members: Sequence[str], numbers: Sequence[int], wanted: Wanted, tree: Tree
) -> list[str]:
    """Those pictures in the order of the numbers."""
    member_of: dict[int, str] = {}
    for member in members:
        if (other := member_of.setdefault(_number(member), member)) != member:
            raise ContentError(
                f"{wanted.dataset}: {class_name} in {tree.name} has two pictures of number {_number(member)} "
                f"({other}, {member}); {ADVICE}"
            )
    absent = [number for number in numbers if number not in member_of]
    if absent:
        raise ContentError(
            f"{wanted.dataset}: {len(absent):,} of the {len(numbers):,} pictures of {class_name} that are meant are "
            f"missing from {tree.name} (the first is number {absent[0]}); {ADVICE}"
        )
    return [member_of[number] for number in numbers]


def _advice(tree: Tree) -> str:
    archives = [name for name in tree.names() if name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))]
    return f"give the archives in it themselves, such as {archives[0]}" if archives else ADVICE
