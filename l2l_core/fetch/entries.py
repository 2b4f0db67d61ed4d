"""What an archive or folder lists, checked as if it were to be unpacked, so that every name can be trusted."""

import re
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Final

from l2l_core.errors import ArchiveError
from l2l_core.fetch.spans import Content

# What desktops leave behind: never part of a data set.
_LITTER = {".DS_Store", "Thumbs.db", ".directory"}

_MAX_NAME_BYTES: Final = 4096
"""As many as Linux takes of a path."""

_MAX_NAME_PARTS: Final = 100
"""Folders in one another, and the file. Data sets have six; thousands stop whatever walks through folders."""

_SHOWN: Final = 100
"""How many characters of a name a message shows: it may be a megabyte long."""


class Entries:
    """The entries of one archive or folder, noted one by one and checked as they come."""

    def __init__(self, name: str, max_entries: int, max_bytes: int) -> None:
        """No entries yet.

        Args:
            name: of the archive or folder, for messages.
            max_entries: how many files and folders it may hold, those of archives inside included.
            max_bytes: how many bytes its files may have together, unpacked.
        """
        self.name = name
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries = self._bytes = 0
        self._files: dict[str, Content] = {}
        self._folders: set[str] = set()

    def count(self, size: int = 0) -> None:
        """One more entry, of so many bytes.

        Raises:
            ArchiveError: a limit is passed.
        """
        self._entries += 1
        self._bytes += size
        self.allow(self._entries)
        if self._bytes > self._max_bytes:
            raise self.too_many_bytes()

    def allow(self, entries: int) -> None:
        """Nothing, where so many entries are allowed, whether or not any of them has been looked at.

        Raises:
            ArchiveError: they are not.
        """
        if entries > self._max_entries:
            raise ArchiveError(
                f"{self.name} holds more than the {self._max_entries:,} entries that are allowed here; "
                "give only the data set's files"
            )

    def too_many_bytes(self) -> ArchiveError:
        """The error of an archive or folder that holds more bytes than it may."""
        return ArchiveError(
            f"{self.name} holds more than the {self._max_bytes:,} bytes that are allowed here; "
            "give only the data set's files"
        )

    def checked(self, name: str) -> str:
        """A name as it is listed, without the parts that mean nothing: ``./a//b`` is ``a/b``.

        Raises:
            ArchiveError: it is absolute, empty, too long, or has ``..``, a drive letter, a backslash or NUL.
        """
        self._refuse_what_cannot_be_stored(name)
        parts = _parts(name)
        if not parts and not name.endswith("/"):
            raise self.unsafe(name, "has no name")
        if ".." in parts or name.startswith("/") or any(re.match("[A-Za-z]:", part) for part in parts[:1]):
            raise self.unsafe(name, "points outside the archive")
        if "\\" in name or "\0" in name:
            raise self.unsafe(name, "has a backslash or NUL in its name")
        return "/".join(parts)

    def file(self, name: str, content: Content, listed_as: str | None = None) -> None:
        """Note a regular file under a checked name, unless it is litter; `count` it apart.

        Raises:
            ArchiveError: the name stands there twice, is too long or is not UTF-8.
        """
        self._refuse_what_cannot_be_stored(name)
        if name in self._files:
            raise self.unsafe(listed_as or name, "stands there twice")
        if not is_litter(name):
            self._files[name] = content

    def folder(self, name: str) -> None:
        """Note a folder under a checked name; `count` it apart."""
        self._folders.add(name)

    def done(self) -> dict[str, Content]:
        """The regular files, sorted by name.

        Raises:
            ArchiveError: a name is both a file and a folder.
        """
        refuse_files_that_are_folders(self.name, self._files, self._folders)
        return {name: self._files[name] for name in sorted(self._files)}

    def _refuse_what_cannot_be_stored(self, name: str) -> None:
        try:
            size = len(name.encode())
        except UnicodeEncodeError:  # of a folder: Python keeps bytes that mean nothing as halves of surrogate pairs
            raise ArchiveError(
                f"{_shown(name)} in {self.name} has a name that is not UTF-8, so that it cannot be stored; rename it"
            ) from None
        if size > _MAX_NAME_BYTES or name.count("/") >= _MAX_NAME_PARTS:
            raise self.unsafe(name, f"has a name of more than {_MAX_NAME_BYTES:,} bytes or {_MAX_NAME_PARTS} parts")

    def unsafe(self, name: str, why: str) -> ArchiveError:
        """The error of a member that must not be read."""
        return unsafe(self.name, name, why)


def refuse_files_that_are_folders(place: str, files: Collection[str], folders: Iterable[str] = ()) -> None:
    """Nothing, where no file's name is that of a folder, listed or implied by a longer name.

    Raises:
        ArchiveError: one is; names the first.
    """
    above = set(folders)
    # Where "/" comes before all other characters, what lies in a folder of a file's name follows that file at once.
    in_order = sorted({*files, *above}, key=lambda name: name.replace("/", "\0"))
    both = [name for name in above if name in files]
    both += [name for name, after in pairwise(in_order) if after.startswith(f"{name}/") and name in files]
    if both:
        raise unsafe(place, min(both), "is both a file and a folder")


def unsafe(place: str, name: str, why: str) -> ArchiveError:
    """The error of a member that must not be read, and for whose sake nothing else is either."""
    return ArchiveError(
        f"{_shown(name)} in {place} {why}, so nothing is read from it; get the archive from its publisher"
    )


def is_litter(name: str) -> bool:
    """Whether a file is what desktops leave behind."""
    *folders, last = name.split("/")
    return "__MACOSX" in (*folders, last) or last in _LITTER or last.startswith("._")


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]
