"""Where data lives: the folders, and one lock a data set."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from l2l_core.errors import CacheError
from l2l_core.files import writing

# Modules that take milliseconds to import (filelock, platformdirs, shutil) are imported where they are used, because
# `l2l list` and `l2l show` pass through here on their way to an answer that needs none of them.
if TYPE_CHECKING:
    from filelock import BaseFileLock

WAIT_NOTICE_S = 1.0  # a lock that is free again within this time is not worth a message


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
