"""Files that appear whole or not at all, and what is said when they cannot be written."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from l2l_core.errors import CacheError

OTHER_ROOT = "choose another folder with --root or L2L_HOME"
"""What to do where the cache cannot be written."""

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

    Where a link stands, the file that it leads to is written; a device or a pipe is written to and not replaced.

    Raises:
        CacheError: it cannot be written.
    """
    advice = "choose another place"
    if target.exists() and not target.is_file() and not target.is_dir():
        with writing(target.name, target, advice), target.open("wb") as stream:
            stream.write(content)
        return
    target = target.resolve() if target.is_symlink() else target
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


def holds(check: Callable[[], bool]) -> bool:
    """What a path says of itself; no where it may not be looked at, which opening it then puts into words."""
    with contextlib.suppress(OSError):
        return check()
    return False


def _free(path: Path) -> str:
    """`` (n bytes free)`` for the disk that holds the path, or nothing where that cannot be told."""
    import shutil

    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return f" ({shutil.disk_usage(folder).free:,} bytes free)"
    return ""
