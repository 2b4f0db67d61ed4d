"""Where data lives: the folders, one lock a data set, and files that appear whole or not at all."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from l2l_core.errors import CacheError

# Modules that take milliseconds to import (filelock, platformdirs, shutil) are imported where they are used, because
# `l2l list` and `l2l show` pass through here on their way to an answer that needs none of them.
if TYPE_CHECKING:
    from filelock import BaseFileLock

OTHER_ROOT = "choose another folder with --root or L2L_HOME"
WAIT_NOTICE_S = 1.0  # a lock that is free again within this time is not worth a message

_REASONS = {
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "the file system is read-only",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this system allows",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EEXIST: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where the file should be",
}


def home(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder under which all data lives, as an absolute path; it need not exist, and the disk is not touched.

    Args:
        root: the folder, if the caller chooses; else the environment's L2L_HOME, else the user's cache folder.

    Raises:
        CacheError: the path begins with ``~somebody`` and there is no such user.
    """
    chosen = root or os.environ.get("L2L_HOME")
    if not chosen:
        from platformdirs import user_cache_path

        return user_cache_path("l2l_core", appauthor=False)
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise CacheError(
            f"cannot keep data in {os.fspath(chosen)!r}: there is no such home folder; "
            "give a full path with --root or L2L_HOME"
        ) from error


@dataclass(frozen=True, slots=True)
class Cache:
    """The folders under one root. Making one touches no disk.

    Attributes:
        root: the folder under which all data lives.
    """

    root: Path

    @classmethod
    def at(cls, root: str | os.PathLike[str] | None = None) -> Self:
        """The cache in `home` (root)."""
        return cls(home(root))

    def downloads(self, dataset: str) -> Path:
        """Folder of the raw files of a data set."""
        return self.root / "downloads" / dataset

    def stores(self, dataset: str) -> Path:
        """Folder of the prepared stores of a data set."""
        return self.root / "stores" / dataset

    @contextlib.contextmanager
    def lock(self, dataset: str) -> Iterator[None]:
        """A context in which no other process or thread works on the data set; it says on stderr when it must wait.

        Whoever downloads, imports or prepares a data set does so in this context, and enters it once, not again inside
        itself. What a killed run left half written is removed on entry, which is safe because the lock is held.

        Raises:
            CacheError: the lock file cannot be written.
        """
        held = _acquire(self.root / "locks" / f"{dataset}.lock", dataset)
        try:
            for folder in (self.downloads(dataset), self.stores(dataset)):
                for leftover in folder.glob(".*.part"):
                    with contextlib.suppress(OSError):  # litter that cannot be removed stops nobody
                        leftover.unlink()
            yield
        finally:
            held.release()


@contextlib.contextmanager
def replacing(target: Path, advice: str = OTHER_ROOT) -> Iterator[Path]:
    """A path beside the target to write a file to; on success that file takes the target's place in one step.

    The path is new, so that writers never meet, and its folder exists. Whatever exception ends the context, a keyboard
    interrupt included, the half-written file is removed and the target stays as it was.

    Args:
        target: the file to be.
        advice: what to do where it cannot be written.

    Raises:
        CacheError: the folder cannot be made, or the file cannot be put in place.
    """
    part = target.with_name(f".{target.name}.{os.urandom(6).hex()}.part")
    with writing(target.name, target, advice):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        with writing(target.name, target, advice):
            # Without the fsync a power cut could leave the new name on an empty file.
            with part.open("rb+") as written:
                os.fsync(written.fileno())
            part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_file(target: Path, content: bytes) -> None:
    """Write a file that the user asked for, whole or not at all.

    Raises:
        CacheError: it cannot be written.
    """
    advice = "choose another place"
    with replacing(target, advice) as part, writing(target.name, target, advice):
        part.write_bytes(content)


@contextlib.contextmanager
def writing(what: str, path: Path, advice: str = OTHER_ROOT) -> Iterator[None]:
    """A context that turns an OSError into a `CacheError` saying what was written, why it failed and what to do.

    Keep it around the writing alone: the errors of a socket are OSErrors too.

    Args:
        what: what is being written, as a reader would call it.
        path: where to.
        advice: what to do where it cannot be written.

    Raises:
        CacheError: an OSError was raised inside.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            reason, advice = f"the disk is full{_free(path)}", f"free some space or {advice}"
        else:
            reason = _REASONS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
        raise CacheError(f"cannot write {what} to {path}: {reason}; {advice}") from error


def _free(path: Path) -> str:
    """`` (n bytes free)`` for the disk that holds the path, or nothing where that cannot be told."""
    import shutil

    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return f" ({shutil.disk_usage(folder).free:,} bytes free)"
    return ""


def _acquire(path: Path, dataset: str) -> "BaseFileLock":
    """The lock in that file, held."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    with writing(f"the lock of {dataset}", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=WAIT_NOTICE_S)
        except Timeout:
            print(f"waiting for another process that is working on {dataset} (it holds {path})", file=sys.stderr)
            lock.acquire()
    return lock
