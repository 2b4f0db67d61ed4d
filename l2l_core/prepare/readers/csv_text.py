"""Layout ``csv_text``: texts in CSV files (RFC 4180), one a row, with the name of its class.

1. The files are UTF-8, with or without a byte order mark, with commas between fields and the names of the columns in
   the first row. A field in quotes may hold commas, line breaks, and quotes written twice.
2. All files count, in the order of their patterns; within a file the order of rows.
"""

import csv
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.readers import RawDataset, Wanted
from l2l_core.prepare.readers._members import ADVICE, said_of
from l2l_core.prepare.readers._tables import find_file, matching
from l2l_core.prepare.readers._texts import Parsed, Place, TextOptions, decoded, lines, read_texts, text_options

MAX_FIELD: Final = 2**24
"""Characters of a field: several novels, where Python's own limit is a novella. What is longer has lost a quote."""
_limit_lock = threading.RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where texts and classes stand.

    Attributes:
        texts: which texts are meant.
        files: what the files are called, in whatever folder; a pattern of `fnmatch` for each file.
        text_column, label_column: names of the columns with text and class.
    """

    texts: TextOptions
    files: tuple[str, ...]
    text_column: str
    label_column: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(
            texts=text_options(fields),
            files=fields.text_or_texts("files"),
            text_column=fields.text("text_column"),
            label_column=fields.text("label_column"),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there is such a file."""
    return bool(matching(tree, options.files))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The texts of the wanted classes in a tree.

    Raises:
        ContentError: a file or column is missing; a row is not what it should be or of an unknown class; a class is
            missing or has another number of texts than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    formats = {}
    for pattern in options.files:
        file = find_file(tree, wanted, [pattern])
        formats[file] = said_of(f"{wanted.dataset}: {file} in {tree.name}", partial(_opened, tree.view(file), options))
    return read_texts(tree, wanted, options.texts, formats)


@contextmanager
def long_fields() -> Iterator[None]:
    """A context in which `csv` reads fields of up to `MAX_FIELD` characters.

    Its limit is one for the whole process. So it is put back as soon as may be, and of our threads only one at a time
    moves it; code of others that reads CSV meanwhile is less strict for a moment, never stricter.
    """
    with _limit_lock:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, MAX_FIELD))
        try:
            yield
        finally:
            csv.field_size_limit(before)


@dataclass(frozen=True, slots=True)
class _Csv:
    """A file with so many columns, of which these hold class and text."""

    columns: int
    label: int
    text: int

    def cut(self, content: memoryview) -> Iterator[Place]:
        return (Place(*row) for row in islice(_rows(content), 1, None))

    def parse(self, record: bytes, key: str) -> Parsed:
        fields = _fields(record)
        if len(fields) != self.columns:
            raise ContentError(f"has {len(fields)} fields instead of {self.columns}; {ADVICE}")
        return Parsed(fields[self.label], fields[self.text])


def _opened(content: memoryview, options: Options) -> _Csv:
    header = next((_fields(content[start:end].tobytes()) for start, end, _ in _rows(content)), [])
    for column in (options.label_column, options.text_column):
        if header.count(column) != 1:
            raise ContentError(f"has the columns {', '.join(header) or '(none)'} instead of one {column}; {ADVICE}")
    return _Csv(len(header), header.index(options.label_column), header.index(options.text_column))


def _rows(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Start, end and first line of each row: it goes on as long as a quote is open."""
    first: tuple[int, int] | None = None
    quotes = 0
    for start, end, number in lines(content):
        line = content[start:end].tobytes()
        quotes += line.count(b'"')
        if first is None and not line.isspace():
            first = start, number
        if first is not None and (quotes % 2 == 0 or end == len(content)):
            yield first[0], end, first[1]
            first, quotes = None, 0


def _fields(row: bytes) -> list[str]:
    try:
        with long_fields():
            return next(csv.reader([decoded(row)], strict=True))
    except csv.Error as error:
        raise ContentError(f"is not a row of CSV ({error}); {ADVICE}") from None
