"""Bytes that lie somewhere in a file: read by offset from any thread, mapped into memory where there are many."""

import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

from l2l_core.files import OTHER_ROOT, writing

if TYPE_CHECKING:
    from mmap import mmap

CHUNK_BYTES: Final = 1 << 20
"""How much is inflated or copied at a time."""

MAP_BYTES: Final = 1 << 20
"""From here on a view is a mapping; below, a copy, since a mapping costs whole pages and maybe a file descriptor."""

_READ_BYTES: Final = 1 << 30
"""At a time; Linux gives 2 GiB at the most."""


class DamagedError(Exception):
    """Bytes that cannot be had; the message is the reason in a few words, without the name of the file."""


class Content(Protocol):
    """What one file of an archive or folder holds."""

    @property
    def size(self) -> int:
        """Its bytes, as they are listed; what `read` and `view` give has to be compared with it."""
        ...

    def read(self) -> bytes:
        """The bytes; raises OSError or `DamagedError`."""
        ...

    def view(self) -> memoryview:
        """The bytes, read-only, mapped where there are many; raises OSError or `DamagedError`."""
        ...


class Source(Protocol):
    """A file whose bytes are had by offset, from any thread; fewer where it ends sooner."""

    def read(self, start: int, size: int) -> bytes:
        """Bytes, copied."""
        ...

    def view(self, start: int, size: int) -> memoryview:
        """Bytes, read-only, mapped where there are many."""
        ...


class OpenFile:
    """A file that stays open until it is closed or forgotten; views of it outlive that."""

    def __init__(self, descriptor: int) -> None:
        """The file of a descriptor, which is now its own. No file object is kept: that would warn when forgotten."""
        self._descriptor = descriptor
        self._map: mmap | None = None
        self._lock = threading.Lock()
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def at(cls, path: Path) -> Self:
        """The file of that name, opened."""
        return cls(os.open(path, os.O_RDONLY))

    def stream(self) -> BinaryIO:
        """The same file to read from its start to its end."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return open(self._descriptor, "rb", closefd=False)

    def read(self, start: int, size: int) -> bytes:
        """Bytes, copied."""
        pieces: list[bytes] = []
        while size and (piece := os.pread(self._descriptor, min(size, _READ_BYTES), start)):
            pieces.append(piece)
            start += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def view(self, start: int, size: int) -> memoryview:
        """Bytes, read-only, mapped where there are many: all views share one mapping."""
        if size < MAP_BYTES:
            return memoryview(self.read(start, size))
        import mmap

        with self._lock:
            if self._map is None:
                self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            return memoryview(self._map)[start : start + size]

    def close(self) -> None:
        """Close the file; a mapping goes with its last view."""
        descriptor, self._descriptor, self._map = self._descriptor, -1, None
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    __del__ = close


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that is opened whenever it is read, for folders of more files than a process may hold open."""

    path: Path

    def read(self, start: int, size: int) -> bytes:
        """Bytes, copied."""
        with OpenFile.at(self.path) as file:
            return file.read(start, size)

    def view(self, start: int, size: int) -> memoryview:
        """Bytes, read-only, mapped where there are many."""
        with OpenFile.at(self.path) as file:
            return file.view(start, size)


@dataclass(frozen=True, slots=True)
class Span:
    """Content that lies in a source as it is."""

    source: Source
    start: int
    size: int

    def read(self) -> bytes:
        """The bytes."""
        return self.source.read(self.start, self.size)

    def view(self) -> memoryview:
        """The bytes, mapped where there are many."""
        return self.source.view(self.start, self.size)


@dataclass(frozen=True, slots=True)
class LooseFile:
    """Content that is a whole file of a folder."""

    folder: Path
    name: str
    size: int

    def read(self) -> bytes:
        """The bytes."""
        return (self.folder / self.name).read_bytes()

    def view(self) -> memoryview:
        """The bytes, mapped where there are many."""
        with OpenFile.at(self.folder / self.name) as file:
            return file.view(0, file.size)


def spooled(pieces: Iterable[bytes], what: str, scratch: Path | None) -> OpenFile:
    """The pieces in a temporary file that has no name, so that it is gone however this process ends.

    Args:
        pieces: what to write, in order; errors of theirs pass through.
        what: what they are, for a message.
        scratch: the folder whose disk they are written to, which need not be there and is not made; the system's
            temporary folder for None.

    Raises:
        CacheError: they cannot be written.
    """
    import tempfile

    folder = Path(tempfile.gettempdir()) if scratch is None else scratch
    advice = "choose another folder with TMPDIR" if scratch is None else OTHER_ROOT
    with ExitStack() as opened:
        with writing(what, folder, advice):
            # A folder that is not there would be made on the disk of the nearest that is.
            there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
            file = opened.enter_context(tempfile.TemporaryFile(dir=there, buffering=0))
        for piece in pieces:
            with writing(what, folder, advice):
                while piece := piece[file.write(piece) :]:
                    pass
        return OpenFile(os.dup(file.fileno()))
