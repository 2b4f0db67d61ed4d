"""What a file must be: its size, its checksums, and first bytes that fit its name; pure decisions."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from l2l_core.fetch.archives import looks_like
from l2l_core.records import FileRecord

HEAD_BYTES: Final = 512
"""How much of a file `misfit` looks at: enough for the signature of tar, which sits at 257."""

HTML: Final = "an HTML page"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What bytes turned out to be: how many, and their digests in lower-case hex."""

    size_bytes: int
    sha256: str
    md5: str


class Hasher:
    """Takes bytes as they come and says what they were."""

    def __init__(self, chunks: Iterable[bytes] = ()) -> None:
        self.size_bytes = 0
        # Not for secrets: an old md5 is what many publishers give.
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for chunk in chunks:
            self.update(chunk)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)
        self._md5.update(chunk)

    def fingerprint(self) -> Fingerprint:
        """What all bytes so far are."""
        return Fingerprint(self.size_bytes, self._sha256.hexdigest(), self._md5.hexdigest())


def has_checksum(file: FileRecord) -> bool:
    """Whether a checksum decides on the file's content."""
    return file.sha256 is not None or file.md5 is not None


def completed(file: FileRecord, size_bytes: int | None, sha256: str | None, md5: str | None) -> FileRecord:
    """The record, with what it does not know itself taken from another source."""
    return replace(
        file,
        size_bytes=size_bytes if file.size_bytes is None else file.size_bytes,
        sha256=file.sha256 or sha256,
        md5=file.md5 or md5,
    )


def fault(file: FileRecord, found: Fingerprint) -> str | None:
    """What is wrong with the size or a checksum, in a few words; None where all that is known holds."""
    if problem := size_fault(file, found.size_bytes):
        return problem
    for kind, expected, actual in (("sha256", file.sha256, found.sha256), ("md5", file.md5, found.md5)):
        if expected is not None and actual != expected:
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


def _is_tar(head: bytes) -> bool:
    """Whether the first header's own checksum holds, which old archives without a signature have, too."""
    try:
        return int(head[148:156].strip(b" \0"), 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:512])
    except ValueError:
        return False


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and looks_like(head).startswith("data of an unknown kind")


_PROMISES: Final[tuple[tuple[tuple[str, ...], str, Callable[[bytes], bool]], ...]] = (
    ((".zip", ".npz"), "a zip file", _begins(b"PK\x03\x04", b"PK\x05\x06")),
    ((".gz", ".tgz"), "gzip data", _begins(b"\x1f\x8b")),
    ((".xz", ".txz"), "xz data", _begins(b"\xfd7zXZ\0")),
    ((".bz2", ".tbz2"), "bzip2 data", _begins(b"BZh")),
    ((".tar",), "a tar archive", _is_tar),
    # Protocol 2 and later say so; what protocols 0 and 1 begin with is a container, or a class to call.
    ((".pkl", ".pickle"), "a pickle", _begins(b"\x80", b"(", b"c", b"}", b"]")),
    ((".npy",), "a NumPy array", _begins(b"\x93NUMPY")),
    ((".mat",), "a MATLAB file", _begins(b"MATLAB", b"\x89HDF")),
    ((".json", ".csv", ".txt"), "a text", _is_text),
)
"""Suffixes, what they promise, and whether first bytes keep it."""
