"""The bytes of a download so far, kept until the rest of them comes, in this process or in the next."""

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from l2l_core.fetch.checks import Hasher, hashed
from l2l_core.files import replacing, writing

_DIGITS: Final = 12  # of the address's digest, in the name


class Partial:
    """What one source has given of one file: bytes on the disk, their digests, and the server's mark of that version.

    The name holds the address, so that bytes of two sources never meet. The mark (a strong ETag, else Last-Modified)
    stands in a small file beside it; without a mark nothing is ever resumed. Whoever works with one holds `Cache.lock`.
    """

    def __init__(self, target: Path, url: str) -> None:
        """What an earlier try left of the target from that address; nothing where it left nothing of use.

        Raises:
            CacheError: what is left can be neither read nor removed.
        """
        self.path = target.with_name(f".{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:_DIGITS]}.partial")
        self._url, self._beside = url, self.path.with_name(f"{self.path.name}.json")
        self.mark = self._read_mark()
        self.hasher = Hasher()
        if self.mark is None:
            self.discard()
        else:
            with writing(target.name, self.path), contextlib.suppress(FileNotFoundError):
                self.hasher = hashed(self.path, f"{target.name}: what is here")

    def _read_mark(self) -> str | None:
        try:
            note = json.loads(self._beside.read_bytes())
            return str(note["mark"]) if note["url"] == self._url else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    @property
    def size_bytes(self) -> int:
        """How many bytes are here."""
        return self.hasher.size_bytes

    def asking(self) -> dict[str, str]:
        """Headers that ask for the rest, or for all of it once more where the file has changed; none from the start."""
        if self.mark is None or not self.size_bytes:
            return {}
        return {"Range": f"bytes={self.size_bytes}-", "If-Range": self.mark}

    def start(self, mark: str | None) -> None:
        """Drop every byte and begin anew.

        Raises:
            CacheError: the folder cannot be written.
        """
        # In this order, so that killed at any moment no bytes are left under a mark that is not theirs.
        self.discard()
        if mark is not None:
            note = json.dumps({"url": self._url, "mark": mark})
            with replacing(self._beside) as part, writing(self.path.name, self.path):
                part.write_text(note, encoding="utf-8")
        self.mark = mark

    @contextlib.contextmanager
    def appending(self) -> Iterator["Partial"]:
        """A context in which `append` writes."""
        with self.path.open("ab") as self._out:
            yield self

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self._out.write(chunk)
        self.hasher.update(chunk)

    def move(self, target: Path) -> None:
        """Give the complete file its name.

        Raises:
            CacheError: it cannot be put there.
        """
        with writing(target.name, target):
            # Without the fsync a power cut could leave the name on an empty file.
            with self.path.open("rb+") as written:
                os.fsync(written.fileno())
            self.path.replace(target)

    def discard(self) -> None:
        """Remove it.

        Raises:
            CacheError: it cannot be removed.
        """
        with writing(self.path.name, self.path):
            self.path.unlink(missing_ok=True)
            self._beside.unlink(missing_ok=True)
        self.mark, self.hasher = None, Hasher()


def mark_of(headers: Mapping[str, str]) -> str | None:
    """What tells one version of a file on a server from another; None where nothing does, byte by byte.

    A weak ETag (``W/"…"``) stands for equal meaning and not for equal bytes, so it is none.
    """
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified") or None


def clear_partials(target: Path) -> None:
    """Remove what any source has left of a file that is complete; what cannot be removed stops nobody."""
    # Digit by digit, because what is left of x.tar.gz begins like what is left of x.tar.
    for path in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * _DIGITS}.partial*"):
        with contextlib.suppress(OSError):
            path.unlink()
