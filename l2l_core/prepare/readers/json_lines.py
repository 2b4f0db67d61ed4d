"""Layout ``json_lines``: texts in JSON objects, one a line, all in one array, or in one array a class.

1. A file is UTF-8, with or without a byte order mark. Empty lines do not count. A file whose first character is ``[``
   is one array of objects, spread over lines as it likes.
2. The text is the first of `text_fields` that an object has: a string, or a list of tokens, to be joined by one space.
3. The class is `label_field`: its name, or its position, a whole number, in the order of the split's list. Or it is the
   key of the array: the file is then one object, ``{"P931": [{…}, …], …}``, of an array of objects for each class.
4. All files count, in their order. Of each class the first texts in file order are taken, without those that are too
   short.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.readers import RawDataset, Wanted
from l2l_core.prepare.readers._members import ADVICE
from l2l_core.prepare.readers._tables import find_file, matching
from l2l_core.prepare.readers._texts import (
    Parsed,
    Place,
    TextOptions,
    decoded,
    lines,
    read_texts,
    text_options,
    text_start,
)

_OPENING = re.compile(rb"\s*\[")
# Of an object that holds arrays and nothing else: up to the elements of the first, of another, and what ends it.
_KEY = rb'\s*("(?:[^"\\]++|\\.)*+")\s*:\s*\['
_FIRST_KEY, _NEXT_KEY = re.compile(rb"\s*\{" + _KEY, re.DOTALL), re.compile(rb"\s*," + _KEY, re.DOTALL)
_CLOSING = re.compile(rb"\s*\}\s*")
# What matters to find the elements of an array: strings are skipped whole, even a last one without end; brackets nest;
# commas part.
_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_NOT_WHOLE = f"is not one whole array, though it begins as one; {ADVICE}"
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where texts and classes stand.

    Attributes:
        texts: which texts are meant.
        files: what each file may be called, in whatever folder; patterns of `fnmatch`. An entry says ``file`` with the
            names of the only one, or ``files`` with one name each.
        text_fields: fields of an object that may hold its text; the first that is there counts.
        label_field: field of an object that holds its class; "" where the key does.
        labels: how it does so: by "position" or "name"; or "key", where the key of the array does.
    """

    texts: TextOptions
    files: tuple[tuple[str, ...], ...]
    text_fields: tuple[str, ...]
    label_field: str
    labels: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        several = "files" in options
        return Options(
            texts=text_options(fields),
            files=tuple((name,) for name in fields.text_or_texts("files"))
            if several
            else (fields.text_or_texts("file"),),
            text_fields=fields.text_or_texts("text_fields"),
            label_field="" if options.get("labels") == "key" else fields.text("label_field"),
            labels=fields.text("labels", "position|name|key", "position, name or key"),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there are such files."""
    return all(matching(tree, names) for names in options.files)


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The texts of the wanted classes in a tree.

    Raises:
        ContentError: a file is missing; a record is not what it should be or of an unknown class; a class is
            missing or has another number of texts than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    layout = _Json(options, tuple(wanted.subset_of))
    return read_texts(tree, wanted, options.texts, {find_file(tree, wanted, names): layout for names in options.files})


@dataclass(frozen=True, slots=True)
class _Json:
    options: Options
    classes: Sequence[str]

    def cut(self, content: memoryview) -> Iterator[Place]:
        start = text_start(content)
        if self.options.labels == "key":
            yield from _arrays(content, start)
        elif opening := _OPENING.match(content, start):
            elements, end = _elements(content, opening.end(), _LineCounter(content))
            if content[end:].tobytes().strip():
                raise ContentError(_NOT_WHOLE)
            yield from elements
        else:
            for start, end, number in lines(content):
                if not content[start:end].tobytes().isspace():
                    yield Place(start, end, number)

    def parse(self, record: bytes, key: str) -> Parsed:
        fields = _object(decoded(record))
        text_field = next((name for name in self.options.text_fields if name in fields), None)
        label_field = self.options.label_field
        if text_field is None or (label_field and label_field not in fields):
            asked = " or ".join(self.options.text_fields) if text_field is None else label_field
            raise ContentError(f"has no field {asked}; {ADVICE}")
        class_name, text = self._class_name(fields[label_field]) if label_field else key, fields[text_field]
        if isinstance(text, str):
            return Parsed(class_name, text)
        if isinstance(text, list) and all(isinstance(token, str) for token in text):
            return Parsed(class_name, " ".join(text), len(text))
        raise ContentError(f"has a {text_field} that is neither a text nor a list of tokens; {ADVICE}")

    def _class_name(self, label: object) -> str:
        if self.options.labels == "name" and isinstance(label, str):
            return label
        if self.options.labels == "position" and type(label) is int:
            if 0 <= label < len(self.classes):
                return self.classes[label]
            raise ContentError(f"has the label {label}, but the {len(self.classes)} classes count from 0; {ADVICE}")
        kind = "name" if self.options.labels == "name" else "number"
        raise ContentError(f"has a {self.options.label_field} that is no {kind} of a class; {ADVICE}")


def _object(record: str) -> dict[str, Any]:
    try:
        value = json.loads(record)
    except json.JSONDecodeError as error:
        raise ContentError(f"is not JSON ({error.msg} at character {error.pos:,} of it); get the file anew") from None
    except (ValueError, RecursionError):  # more digits or brackets than Python reads
        raise ContentError(f"is not JSON of a text (a number too long, or nested too deep); {ADVICE}") from None
    if not isinstance(value, dict):
        raise ContentError(f"is JSON, but no object; {ADVICE}")
    return value


class _LineCounter:
    """The numbers of lines, from 1, at places of a text that only grow."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._counted, self._line = content, 0, 1

    def at(self, place: int) -> int:
        self._line += self._content[self._counted : place].tobytes().count(b"\n")
        self._counted = place
        return self._line


def _arrays(content: memoryview, start: int) -> Iterator[Place]:
    """The elements of the arrays that are all an object holds, each with the key of its array."""
    counter, key = _LineCounter(content), _FIRST_KEY.match(content, start)
    while key:
        name = _key(key[1], counter.at(key.start(1)))
        elements, start = _elements(content, key.end(), counter)
        yield from (element._replace(key=name) for element in elements)
        key = _NEXT_KEY.match(content, start)
    if not _CLOSING.fullmatch(content, start):
        raise ContentError(f"is not one whole object with an array for each class; {ADVICE}")


def _key(text: bytes, line: int) -> str:
    try:
        return str(json.loads(decoded(text)))
    except json.JSONDecodeError as error:
        raise ContentError(f"has a key in line {line:,} that is no text of JSON ({error.msg}); {ADVICE}") from None


def _elements(content: memoryview, start: int, counter: _LineCounter) -> tuple[list[Place], int]:
    """The elements of an array, from behind its bracket, and where it ends."""
    depth, elements = 1, list[Place]()
    for mark in _MARK.finditer(content, start):
        depth += _STEPS.get(mark[0], 0)
        if depth == 0 or (depth == 1 and mark[0] == b","):
            element = content[start : mark.start()].tobytes()
            begin = start + len(element) - len(element.lstrip())
            if depth or elements or begin < mark.start():  # for an array may be empty, but nothing between commas
                elements.append(Place(begin, mark.start(), counter.at(begin)))
            start = mark.end()
        if depth == 0:
            break
    if depth or mark[0] != b"]":
        raise ContentError(_NOT_WHOLE)
    return elements, start
