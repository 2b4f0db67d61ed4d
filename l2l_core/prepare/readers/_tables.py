"""What the readers of files with many examples each share: finding the file, taking it apart, rows, a digest."""

import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fetch.pickles import read_pickle, text
from l2l_core.prepare.readers import Wanted
from l2l_core.prepare.readers._members import ADVICE, spellings


class Rows(Sequence[tuple[str, int]]):
    """Examples that are rows of a table, as pairs (table, row) which are made when asked for: millions cost nothing."""

    def __init__(self, table: str, rows: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "tuple[str, int] | Rows":
        if isinstance(index, slice):
            return Rows(self._table, self._rows[index])
        return self._table, int(self._rows[index])


def matching(tree: Tree, patterns: Iterable[str]) -> list[str]:
    """Names of the files whose last part fits a pattern of `fnmatch`, however it spells validation; sorted."""
    spelt = [spelling for pattern in patterns for spelling in spellings(pattern)]
    return [name for name in tree.names() if any(fnmatchcase(name.rpartition("/")[2], pattern) for pattern in spelt)]


def find_file(tree: Tree, wanted: Wanted, patterns: Sequence[str], called: str | None = None) -> str:
    """Name of the one file that fits a pattern as `matching` has it.

    Args:
        tree: where to look.
        wanted: whose file it is.
        patterns: alternatives.
        called: what to call it where it is missing; None for the patterns themselves.

    Raises:
        ContentError: there is none, or there are several.
    """
    found = matching(tree, patterns)
    if not found:
        raise ContentError(f"{wanted.dataset}: {tree.name} has no file {called or ' or '.join(patterns)}; {ADVICE}")
    if len(found) > 1:
        raise ContentError(
            f"{wanted.dataset}: {tree.name} holds both {found[0]} and {found[1]}, of which one can be meant; "
            "leave the other out"
        )
    return found[0]


def pickled_table(tree: Tree, name: str, subject: str) -> dict[str, Any]:
    """The dict in a pickle, its keys as text; its arrays are views of the file.

    Raises:
        ArchiveError: it cannot be read, or asks for more than numbers, texts, containers and arrays.
        ContentError: it holds something else than a dict with texts as keys.
    """
    value = read_pickle(tree.view(name), subject)
    if not isinstance(value, dict) or not all(isinstance(key, str | bytes) for key in value):
        raise ContentError(f"{subject} holds {described(value)} instead of a dict with named entries; {ADVICE}")
    return {text(key): entry for key, entry in value.items()}


def entry(table: dict[str, Any], keys: Sequence[str], subject: str) -> Any:
    """The entry under the first of the keys that is there.

    Raises:
        ContentError: none is.
    """
    for key in keys:
        if key in table:
            return table[key]
    raise ContentError(
        f"{subject} has no entry {' or '.join(map(repr, keys))} but "
        f"{', '.join(map(repr, sorted(table)[:8])) or 'none at all'}; {ADVICE}"
    )


def whole_numbers(value: object, what: str, subject: str) -> npt.NDArray[np.int64]:
    """A list or array of whole numbers as int64 [N].

    Args:
        value: what a file holds.
        what: as what the file holds it, such as "its labels".
        subject: the file, as a message calls it.

    Raises:
        ContentError: it is something else.
    """
    try:
        array = np.asarray(value)
        if array.ndim == 1 and (array.dtype.kind in "iu" or not array.size):
            return array.astype(np.int64)
    except (ValueError, TypeError, OverflowError):  # lists of unequal lists, for example
        pass
    raise ContentError(f"{subject} holds {described(value)} as {what} instead of a list of whole numbers; {ADVICE}")


def texts(value: object, what: str, subject: str) -> list[str]:
    """A list of texts, of Python 2 or 3; arguments as of `whole_numbers`.

    Raises:
        ContentError: it is something else.
    """
    if isinstance(value, list | tuple) and all(isinstance(item, str | bytes) for item in value):
        return [text(item) for item in value]
    raise ContentError(f"{subject} holds {described(value)} as {what} instead of a list of names; {ADVICE}")


def uint8_array(value: object, shape: Sequence[int | None], what: str, subject: str) -> npt.NDArray[np.uint8]:
    """The value, once it is found to be a uint8 array of that shape; arguments as of `whole_numbers`.

    Args:
        value: what a file holds.
        shape: the number on each axis; None for any.
        what: as what the file holds it.
        subject: the file.

    Raises:
        ContentError: it is something else.
    """
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == len(shape):
        fits = [side in (None, found) for side, found in zip(shape, value.shape, strict=True)]
        if all(fits) and 0 not in value.shape[1:]:
            return value
    sides = ", ".join("N" if side is None else str(side) for side in shape)
    raise ContentError(f"{subject} holds {described(value)} as {what} instead of uint8 [{sides}]; {ADVICE}")


def text_lines(tree: Tree, file: str, wanted: Wanted) -> list[str]:
    """The lines of a short text file, without blanks around them and empty ones at its end.

    Raises:
        ContentError: it is not UTF-8.
    """
    try:
        return [line.strip() for line in tree.read(file).decode("utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError as error:
        raise ContentError(
            f"{wanted.dataset}: {file} in {tree.name} is not UTF-8 ({error.reason} at byte {error.start:,}); {ADVICE}"
        ) from None


def content_digest(classes: Iterable[tuple[str, Iterable[bytes | npt.NDArray[np.generic]]]]) -> str:
    """The sha256 over each class's name and its parts, each with its length, in order."""
    digest = hashlib.sha256()
    for name, parts in classes:
        digest.update(f"{name}\0".encode())
        for part in parts:
            content = part if isinstance(part, bytes) else np.ascontiguousarray(part).data
            digest.update(f"{memoryview(content).nbytes} ".encode())
            digest.update(content)
    return digest.hexdigest()


def described(value: object) -> str:
    """What a value is, in words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    if isinstance(value, list | tuple | dict | str | bytes):
        return f"a {type(value).__name__} of {len(value):,}"
    return f"a value of the type {type(value).__name__}"
