"""What a file must be: its size, its checksums, and first bytes that fit its name; and what it turns out to be."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from l2l_core.fetch.archives import looks_like
from l2l_core.fetch.tars import is_tar
from l2l_core.fetch.web import CHUNK_BYTES
from l2l_core.records import FileRecord

if TYPE_CHECKING:
    from tqdm import tqdm

KINDS: Final = ("sha256", "md5")
"""Of digests that a record may know."""

HEAD_BYTES: Final = 512
"""How much of a file `misfit` looks at: enough for the signature of tar, which sits at 257."""

HTML: Final = "an HTML page"

_SHOWN_BYTES: Final = 1 << 28
"""From which size on reading a file again is worth a bar: it takes about a second."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What bytes turned out to be: how many, and by kind those digests that were asked for, in lower-case hex."""

    size_bytes: int
    digests: Mapping[str, str]


class Hasher:
    """Takes bytes as they come and says what they were."""

    def __init__(self, chunks: Iterable[bytes] = (), kinds: Iterable[str] = KINDS) -> None:
        self.size_bytes = 0
        # Not for secrets: an old md5 is what many publishers give.
        self._hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
        for chunk in chunks:
            self.update(chunk)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.size_bytes += len(chunk)
        for each in self._hashes.values():
            each.update(chunk)

    def fingerprint(self) -> Fingerprint:
        """What all bytes so far are."""
        return Fingerprint(self.size_bytes, {kind: each.hexdigest() for kind, each in self._hashes.items()})


def hashed(path: Path, label: str, kinds: Iterable[str] = KINDS) -> Hasher:
    """A hasher that has taken all of a file; a bar says so where that takes a while.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        with progress(label, size_bytes, shown=size_bytes >= _SHOWN_BYTES) as bar:
            hasher = Hasher(kinds=kinds)
            for chunk in iter(partial(file.read, CHUNK_BYTES), b""):
                hasher.update(chunk)
                bar.update(len(chunk))
    return hasher


def progress(label: str, total_bytes: int, done_bytes: int = 0, *, shown: bool = True) -> "tqdm[NoReturn]":
    """A bar with rate and time left, if a person is watching."""
    from tqdm import tqdm

    disable = None if shown else True
    return tqdm(total=total_bytes or None, initial=done_bytes, desc=label, unit="B", unit_scale=True, disable=disable)


def checksums(file: FileRecord) -> dict[str, str]:
    """By kind, the checksums that decide on the file's content."""
    return {kind: value for kind in KINDS if (value := getattr(file, kind)) is not None}


def has_checksum(file: FileRecord) -> bool:
    """Whether a checksum decides on the file's content."""
    return bool(checksums(file))


def completed(file: FileRecord, size_bytes: int | None, sha256: str | None, md5: str | None) -> FileRecord:
    """The record, with what it does not know itself taken from another source."""
    return replace(
        file,
        size_bytes=size_bytes if file.size_bytes is None else file.size_bytes,
        sha256=file.sha256 or sha256,
        md5=file.md5 or md5,
    )


def fault(file: FileRecord, found: Fingerprint) -> str | None:
    """What is wrong with the size or a checksum, in a few words; None where all that is known holds.

    Args:
        file: what is known.
        found: with the digest of every kind that is known.
    """
    if problem := size_fault(file, found.size_bytes):
        return problem
    for kind, expected in checksums(file).items():
        if (actual := found.digests[kind]) != expected:
            return f"wrong content ({kind} {actual[:12]}… instead of {expected[:12]}…)"
    return None


def size_fault(file: FileRecord, size_bytes: int) -> str | None:
    """What is wrong with a size, in a few words; None where it may be."""
    if file.size_bytes is not None:
        return None if size_bytes == file.size_bytes else f"{size_bytes:,} bytes instead of {file.size_bytes:,}"
    # What is known roughly is compared roughly: from half of it, unless a checksum will tell, to the limit.
    if file.about_bytes is not None:
        least = 0 if has_checksum(file) else file.about_bytes
        fits = least <= 2 * size_bytes <= 4 * file.about_bytes
        return None if fits else f"{size_bytes:,} bytes instead of about {file.about_bytes:,}"
    if file.at_most_bytes is not None and size_bytes > file.at_most_bytes:
        return f"{size_bytes:,} bytes instead of at most {file.at_most_bytes:,}"
    return None


def misfit(name: str, head: bytes) -> str | None:
    """What the first bytes show in place of what the file's name promises ("an HTML page instead of a zip file").

    Args:
        name: of the file; its suffix decides, and of an unknown one only HTML is refused.
        head: the first `HEAD_BYTES` bytes.

    Returns:
        None where they fit.
    """
    for suffixes, kind, fits in _PROMISES:
        if name.lower().endswith(suffixes):
            return None if fits(head) else f"{looks_like(head)} instead of {kind}"
    return f"{HTML} instead of the file" if looks_like(head) == HTML else None


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and looks_like(head).startswith("data of an unknown kind")


_PROMISES: Final[tuple[tuple[tuple[str, ...], str, Callable[[bytes], bool]], ...]] = (
    ((".zip", ".npz"), "a zip file", _begins(b"PK\x03\x04", b"PK\x05\x06")),
    ((".gz", ".tgz"), "gzip data", _begins(b"\x1f\x8b")),
    ((".xz", ".txz"), "xz data", _begins(b"\xfd7zXZ\0")),
    ((".bz2", ".tbz2"), "bzip2 data", _begins(b"BZh")),
    ((".tar",), "a tar archive", is_tar),
    # Protocol 2 and later say so; what protocols 0 and 1 begin with is a container, or a class to call.
    ((".pkl", ".pickle"), "a pickle", _begins(b"\x80", b"(", b"c", b"}", b"]")),
    ((".npy",), "a NumPy array", _begins(b"\x93NUMPY")),
    ((".mat",), "a MATLAB file", _begins(b"MATLAB", b"\x89HDF")),
    ((".json", ".csv", ".txt"), "a text", _is_text),
)
"""Suffixes, what they promise, and whether first bytes keep it."""
