"""Where data lives: the folders, one lock a data set, what is there and how it goes away."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias, get_args

from l2l_core.errors import CacheError, UnknownNameError, UsageError
from l2l_core.files import OTHER_ROOT, writing

# Modules that take milliseconds to import (filelock, platformdirs, shutil) are imported where they are used, because
# `l2l list` and `l2l show` pass through here on their way to an answer that needs none of them.
if TYPE_CHECKING:
    from filelock import BaseFileLock

Kind: TypeAlias = Literal["downloads", "stores"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

WAIT_NOTICE_S = 1.0  # a lock that is free again within this time is not worth a message
KEPT_PARTIAL_S: Final = 30 * 24 * 3600  # half a download that nobody went on with for this long is litter


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
        itself. What a killed run left half written is removed on entry, which is safe because the lock is held; half
        a download that can be resumed stays for a month.

        Raises:
            CacheError: the lock file cannot be written.
        """
        held = _acquire(self.root / "locks" / f"{dataset}.lock", dataset)
        try:
            for folder in (self.downloads(dataset), self.stores(dataset)):
                _sweep(folder)
            yield
        finally:
            held.release()


@dataclass(frozen=True, slots=True)
class Entry:
    """What the cache holds of one data set, in one of its two folders.

    Attributes:
        size_bytes: of all files in it, half downloads included.
    """

    dataset: str
    kind: Kind
    path: Path
    size_bytes: int


def entries(cache: Cache) -> list[Entry]:
    """What is in the cache, by data set and kind; nothing is locked, so what is being written is counted as it stands.

    Raises:
        CacheError: a folder of the cache cannot be read.
    """
    found = [Entry(path.name, kind, path, _size_bytes(path)) for kind in KINDS for path in _folders(cache.root / kind)]
    return sorted(found, key=lambda entry: (entry.dataset, entry.kind))


def remove(cache: Cache, dataset: str, *, downloads: bool, stores: bool) -> int:
    """How many bytes were freed by removing a data set's downloads, its prepared stores, or both.

    Killed half-way, it leaves files that the next run checks, completes or removes.

    Raises:
        UsageError: the name is none that a data set can have.
        UnknownNameError: the cache holds nothing of that name; nothing is locked or written then.
        CacheError: something cannot be removed.
    """
    import shutil

    if dataset in ("", ".", "..") or Path(dataset).name != dataset:
        raise UsageError(f"cannot remove {dataset!r}: that is not the name of a data set; `l2l cache` lists them")
    if not any(folder.is_dir() for folder in (cache.downloads(dataset), cache.stores(dataset))):
        known = {path.name for kind in KINDS for path in _folders(cache.root / kind)}
        raise UnknownNameError("data set", dataset, known, where="in the cache")
    freed = 0
    with cache.lock(dataset):
        for folder in [cache.downloads(dataset)] * downloads + [cache.stores(dataset)] * stores:
            if folder.is_dir():
                before = _size_bytes(folder)
                try:
                    shutil.rmtree(folder)
                except OSError as error:
                    raise CacheError(
                        f"cannot remove {error.filename or folder}: {error.strerror or error}; "
                        "make it and its folder writable, or remove it by hand"
                    ) from error
                freed += before
    return freed


def _folders(top: Path) -> list[Path]:
    """The folders in a folder that have something in them; none where it is absent."""
    found = []
    with _reading(top), contextlib.suppress(FileNotFoundError):
        for path in top.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process may just be removing it
                if path.is_dir() and any(path.iterdir()):
                    found.append(path)
    return found


def _size_bytes(folder: Path) -> int:
    total, pending = 0, [folder]
    while pending:
        # What vanishes meanwhile is another process's to remove, and counts nothing.
        with _reading(pending[-1]), contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    with contextlib.suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"cannot look into {error.filename or folder}: {error.strerror or error}; "
            f"make it a folder that can be read, or {OTHER_ROOT}"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what nobody will go on with; what cannot be removed stops nobody."""
    old = time.time() - KEPT_PARTIAL_S
    with contextlib.suppress(OSError):
        for leftover in folder.glob(".*.part*"):
            with contextlib.suppress(OSError):
                if leftover.suffix == ".part" or _last_used(leftover) < old:
                    leftover.unlink()


def _last_used(partial: Path) -> float:
    """When half a download or the note beside it was last written, whichever was later; given either of the two."""
    first = partial.with_suffix("") if partial.suffix == ".json" else partial
    pair = (first, first.with_name(f"{first.name}.json"))
    return max((path.stat().st_mtime for path in pair if path.exists()), default=0.0)


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
