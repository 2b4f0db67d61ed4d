"""Layout ``image_table``: pictures anywhere in the tree, and CSV tables that give the class of each.

A table is a CSV file with a header line; one column names the picture, one its class. A name without a folder is looked
up as it is, wherever the picture lies; a name with folders must share the last of them, too. The examples of a class
stand in the order of the tables and of their rows.

The pictures may come without any of the tables, if their names say all: then the record lists the numbers of those that
are meant, and a pattern makes a name of class and number, as in ``n0153282900000005.jpg`` of mini-ImageNet.

Options are the fields of `Options`.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import PictureOptions, is_picture, picture_options
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, Finder, MemberPictures, numbers_of, refuse_absent
from l2l_core.prepare.readers._tables import find_file, matching

_PATTERN = r"[^{}]*\{class_name\}[^{}]*\{number(:0[1-9])?\}[^{}]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which tables there are, and what names the pictures have without them.

    Attributes:
        picture: how a picture becomes an array.
        tables: names of the CSV files, whatever spelling of validation the copy at hand has.
        file_column, label_column: headings of the two columns.
        numbers: name of the list of picture numbers that stands for the tables where none is in the tree.
        file_pattern: of a picture's name then, for example ``{class_name}{number:08}.jpg``.
    """

    picture: PictureOptions
    tables: tuple[str, ...]
    file_column: str
    label_column: str
    numbers: str | None
    file_pattern: str | None


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        numbers = fields.optional_text("numbers")
        pattern = fields.optional_text("file_pattern", _PATTERN, "a name with {class_name} and {number:08} in it")
        if (numbers is None) != (pattern is None):
            fields.problem("file_pattern", "stands together with numbers, or neither does")
        return Options(
            picture=picture_options(fields),
            tables=fields.texts("tables", required=True),
            file_column=fields.text("file_column"),
            label_column=fields.text("label_column"),
            numbers=numbers,
            file_pattern=pattern,
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether one of the tables is there, or a picture named by the pattern."""
    if options.file_pattern is None or _found_tables(tree, options):
        return _found_tables(tree, options)
    head, _, tail = options.file_pattern.partition("{class_name}")
    middle, digits, end = re.split(r"\{number:?0?([1-9]?)\}", tail)
    number = f"[0-9]{{{digits or 1},}}"
    name = re.compile(f"{re.escape(head)}.+{re.escape(middle)}{number}{re.escape(end)}")
    return any(name.fullmatch(file.rpartition("/")[2]) for file in tree.names())


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The pictures that the tables give to the wanted classes.

    Raises:
        ContentError: some tables or pictures are missing, a table is damaged or names a picture twice, or a class is
            missing, unknown or has another number of pictures than it should; or, from `load`, a picture cannot be
            decoded or has another size than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    if options.file_pattern is not None and options.numbers is not None and not _found_tables(tree, options):
        rows = _listed(numbers_of(wanted, options.numbers), wanted, options.file_pattern)
    else:
        rows = [row for table in options.tables for row in _table_rows(tree, table, wanted, options)]
    finder = Finder(filter(is_picture, tree.names()))
    examples: dict[str, list[str]] = {name: [] for name in wanted.classes}
    absent: list[str] = []
    class_of: dict[str, str] = {}
    for path, class_name in rows:
        member = finder.one(path, f"{wanted.dataset}: {tree.name}")
        if member is None:
            absent.append(path)
        elif member in class_of:
            raise ContentError(f"{wanted.dataset}: the tables in {tree.name} name {member} twice; {ADVICE}")
        else:
            class_of[member] = class_name
            examples[class_name].append(member)
    refuse_absent(absent, len(rows), wanted, tree)
    check_classes(wanted, examples, tree.name, ADVICE)
    pictures = MemberPictures(tree, wanted, options.picture)
    return RawDataset(examples, pictures.load, lambda: pictures.source.of_classes(examples), options.picture.shape)


def _found_tables(tree: Tree, options: Options) -> bool:
    return bool(matching(tree, options.tables))


def _listed(numbers: Mapping[str, Sequence[int]], wanted: Wanted, pattern: str) -> list[tuple[str, str]]:
    """File name and class of every picture of the list."""
    return [
        (pattern.format(class_name=class_name, number=number), class_name)
        for class_name in wanted.classes
        for number in numbers[class_name]
    ]


def _table_rows(tree: Tree, table: str, wanted: Wanted, options: Options) -> Iterator[tuple[str, str]]:
    """File name and class of every row of a table."""
    name = find_file(tree, wanted, [table])
    subject = f"{wanted.dataset}: {name} in {tree.name}"
    known, columns = set(wanted.classes), (options.file_column, options.label_column)
    try:
        reader = csv.DictReader(io.StringIO(tree.read(name).decode("utf-8-sig"), newline=""), strict=True)
        if absent := [column for column in columns if column not in (reader.fieldnames or ())]:
            columns_there = ", ".join(reader.fieldnames or ()) or "none at all"
            raise ContentError(f"{subject} has no column {absent[0]} but {columns_there}; {ADVICE}")
        for row in reader:
            path, label = (row[column] for column in columns)
            if not path or not label:
                raise ContentError(f"{subject} is incomplete in line {reader.line_num}; {ADVICE}")
            if label not in known:
                raise ContentError(
                    f"{subject} has {label} in line {reader.line_num}, which is none of the {len(known):,} classes; "
                    f"{ADVICE}"
                )
            yield path, label
    except (UnicodeDecodeError, csv.Error) as error:
        raise ContentError(f"{subject} is not CSV in UTF-8 ({error}); get the file anew") from None
