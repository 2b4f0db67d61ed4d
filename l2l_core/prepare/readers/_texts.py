"""What the readers of texts share: cutting a file into records, which of them are meant, and the text as bytes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import Fields
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, said_of
from l2l_core.prepare.readers._tables import content_digest

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_TOKEN = re.compile(
    r"""
    (?:[^\W\d_]\.){2,}                                 # initials: u.s.
    | \w+?(?=n['’]t\b)                                 # do of "don't", after which comes
    | n['’]t\b                                         # n't
    | ['’](?:s|m|d|re|ve|ll)\b                         # what else hangs on a word
    | \w+(?:[.,:&/*]+\w+|(?<=\d)-\w+                   # 1,000.50, at&t, 24/7, f**k, 5-year
        |['’](?!(?:s|m|d|re|ve|ll|t)\b)\w+)*           # o'brien
    | \.{2,} | -{2,}
    | [^\w\s]                                          # any other sign stands alone
    | [^\S\ ]\s* | (?<=\ )\s+                          # white space counts, where it is more than one space
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """Which texts of a file are meant, and in what form.

    Attributes:
        first: how many of each class, in file order; all for None.
        minimum_tokens: those with fewer tokens, as `tokens` counts them, are left out.
        tokenise: whether texts are made of their tokens with a space between any two; one that comes in tokens is so.
        lower_case: whether texts are put in lower case.
        ignore_classes: classes that may be there beside the wanted ones and are left out.
    """

    first: int | None
    minimum_tokens: int
    tokenise: bool
    lower_case: bool
    ignore_classes: tuple[str, ...]


class Place(NamedTuple):
    """Where a record is in its file: its bytes, the number of its first line, from 1, and the key it stands under."""

    start: int
    end: int
    line: int
    key: str = ""


class Record(NamedTuple):
    """Where a record is: its file, and its place there."""

    file: str
    place: Place


class Parsed(NamedTuple):
    """What is in a record; where the text came in tokens, how many they were."""

    class_name: str
    text: str
    token_count: int | None = None


class Format(Protocol):
    """How one file is cut into records, and what is in a record.

    Both raise ContentErrors whose message is the second half of a sentence that begins with the file or record.
    """

    def cut(self, content: memoryview) -> Iterator[Place]:
        """The place of each record of the file, not yet looked into."""
        ...

    def parse(self, record: bytes, key: str) -> Parsed:
        """What is in a record, which stands under that key."""
        ...


def text_options(fields: Fields) -> TextOptions:
    """The options of texts, taken from among a reader's; what is wrong is noted there."""
    return TextOptions(
        first=fields.optional_integer("first"),
        minimum_tokens=fields.optional_integer("minimum_tokens") or 0,
        tokenise=fields.flag("tokenise"),
        lower_case=fields.flag("lower_case"),
        ignore_classes=fields.texts("ignore_classes"),
    )


def tokens(text: str) -> list[str]:
    """The text's words, numbers and signs, about as spaCy's English rules split it.

    Punctuation is split off, but not within a word or number (1,000.50, at&t, 24/7) unless it is a hyphen between
    letters. Of contractions, ``n't`` and what follows an apostrophe are tokens; so is white space that is more than one
    space. Of the 36,900 tokenised headlines of Bao et al., it leaves 98% as they are.
    """
    return _TOKEN.findall(text)


def lines(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Start, end and number, from 1, of each line, its line feed included; a byte order mark is left out."""
    for number, line in enumerate(_LINE.finditer(content, text_start(content)), 1):
        yield line.start(), line.end(), number


def text_start(content: memoryview) -> int:
    """Where the text begins: behind the byte order mark, if there is one."""
    return len(_BYTE_ORDER_MARK) if content[: len(_BYTE_ORDER_MARK)].tobytes() == _BYTE_ORDER_MARK else 0


def decoded(record: bytes) -> str:
    """The bytes as text.

    Raises:
        ContentError: they are not UTF-8; half a sentence.
    """
    try:
        return record.decode()
    except UnicodeDecodeError as error:
        raise ContentError(f"is not UTF-8 ({error.reason} at byte {error.start:,} of it); {ADVICE}") from None


def read_texts(tree: Tree, wanted: Wanted, options: TextOptions, formats: Mapping[str, Format]) -> RawDataset:
    """Texts of the wanted classes, each in file order; an empty text is one, too.

    Args:
        tree: what the files are in.
        wanted: the classes.
        options: which texts are meant.
        formats: names of the files in the tree, in order, and the format of each.

    Raises:
        ContentError: a file or record is not what it should be; a class is unknown, is missing or has another number of
            texts than it should; or, from `load`, a text that cannot be put in UTF-8.
    """
    contents = {file: tree.view(file) for file in formats}
    examples: dict[str, list[Record]] = {name: [] for name in wanted.classes}

    def parsed(record: Record) -> Parsed:
        start, end, _, key = record.place
        content = contents[record.file][start:end].tobytes()
        return said_of(_said(record, wanted, tree), partial(formats[record.file].parse, content, key))

    for file, content in contents.items():
        for place in said_of(f"{wanted.dataset}: {file} in {tree.name}", partial(_cut, formats[file], content)):
            record = Record(file, place)
            class_name, text, token_count = parsed(record)
            if class_name in options.ignore_classes:
                continue
            if class_name not in examples:
                raise ContentError(
                    f"{_said(record, wanted, tree)} is of {class_name!r}, which is none of the {len(examples):,} "
                    f"classes; {ADVICE}"
                )
            if len(examples[class_name]) == options.first:
                continue
            if (len(tokens(text)) if token_count is None else token_count) >= options.minimum_tokens:
                examples[class_name].append(record)
    check_classes(wanted, examples, tree.name, ADVICE)

    def load(record: Record) -> npt.NDArray[np.uint8]:
        _, text, token_count = parsed(record)
        if options.tokenise and token_count is None:
            text = " ".join(tokens(text))
        try:
            return np.frombuffer((text.lower() if options.lower_case else text).encode(), np.uint8)
        except UnicodeEncodeError:
            raise ContentError(
                f"{_said(record, wanted, tree)} has half a character (a lone surrogate) in its text; {ADVICE}"
            ) from None

    def digest() -> str:
        return content_digest((name, map(load, examples[name])) for name in wanted.classes)

    return RawDataset(examples, load, digest, None)


def _cut(layout: Format, content: memoryview) -> list[Place]:
    return list(layout.cut(content))


def _said(record: Record, wanted: Wanted, tree: Tree) -> str:
    return f"{wanted.dataset}: line {record.place.line:,} of {record.file} in {tree.name}"
