"""Layout ``json_lines``: texts in JSON objects, one a line, or all in one array.

1. The file is UTF-8, with or without a byte order mark. Empty lines do not count. A file whose first character is ``[``
   is one array of objects, spread over lines as it likes.
2. The text is the first of `text_fields` that an object has: a string, or a list of tokens, to be joined by one space.
3. The class is `label_field`: its name, or its position, a whole number, in the order of the split's list.
4. Of each class the first texts in file order are taken, without those that are too short.
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
    TextOptions,
    decoded,
    lines,
    read_texts,
    text_options,
    text_start,
)

_OPENING = re.compile(rb"\s*\[")
# What matters to find the elements of an array: strings are skipped whole, even a last one without end; brackets nest;
# commas part.
_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where texts and classes stand.

    Attributes:
        texts: which texts are meant.
        file: what the file may be called, in whatever folder; patterns of `fnmatch`.
        text_fields: fields of an object that may hold its text; the first that is there counts.
        label_field: field of an object that holds its class.
        labels: how it does so: by "position" or "name".
    """

    texts: TextOptions
    file: tuple[str, ...]
    text_fields: tuple[str, ...]
    label_field: str
    labels: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(
            texts=text_options(fields),
            file=fields.text_or_texts("file"),
            text_fields=fields.text_or_texts("text_fields"),
            label_field=fields.text("label_field"),
            labels=fields.text("labels", "position|name", "position or name"),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there is such a file."""
    return bool(matching(tree, options.file))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The texts of the wanted classes in a tree.

    Raises:
        ContentError: there is no such file; a record is not what it should be or of an unknown class; a class is
            missing or has another number of texts than it should.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    layout = _Json(options, tuple(wanted.subset_of))
    return read_texts(tree, wanted, options.texts, {find_file(tree, wanted, options.file): layout})


@dataclass(frozen=True, slots=True)
class _Json:
    options: Options
    classes: Sequence[str]

    def cut(self, content: memoryview) -> Iterator[tuple[int, int, int]]:
        opening = _OPENING.match(content, text_start(content))
        if opening is not None:
            yield from _elements(content, opening.end())
            return
        for start, end, number in lines(content):
            if not content[start:end].tobytes().isspace():
                yield start, end, number

    def parse(self, record: bytes) -> Parsed:
        fields = _object(decoded(record))
        text_field = next((name for name in self.options.text_fields if name in fields), None)
        if text_field is None or self.options.label_field not in fields:
            asked = " or ".join(self.options.text_fields) if text_field is None else self.options.label_field
            raise ContentError(f"has no field {asked}; {ADVICE}")
        class_name, text = self._class_name(fields[self.options.label_field]), fields[text_field]
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


def _elements(content: memoryview, start: int) -> Iterator[tuple[int, int, int]]:
    """Start, end and line of each element of an array, from behind its bracket."""
    depth, line, counted, elements = 1, 1, 0, 0
    for mark in _MARK.finditer(content, start):
        depth += _STEPS.get(mark[0], 0)
        if depth == 0 or (depth == 1 and mark[0] == b","):
            element = content[start : mark.start()].tobytes()
            begin = start + len(element) - len(element.lstrip())
            if depth or elements or begin < mark.start():  # for an array may be empty, but nothing between commas
                line, counted = line + content[counted:begin].tobytes().count(b"\n"), begin
                yield begin, mark.start(), line
            elements, start = elements + 1, mark.end()
        if depth == 0:
            break
    if depth or mark[0] != b"]" or content[start:].tobytes().strip():
        raise ContentError(f"is not one whole array, though it begins as one; {ADVICE}")
