"""Raw files read in place, from a zip file or a folder, through one interface.

Nothing is ever unpacked to disk, which is the safest unpacking there is. Every name is checked as if it were, so that
a name can be trusted by whoever does write it somewhere.
"""

import os
import re
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from l2l_core.errors import ArchiveError

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

_HEAD_BYTES = 512  # enough for every signature below; that of tar sits at 257

_SIGNATURES = {
    b"PK\x03\x04": "a zip file",
    b"PK\x05\x06": "a zip file",  # one without members
    b"\x1f\x8b": "gzip data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer instead of the file itself",
}

# What desktops leave behind: never part of a data set.
_LITTER = {".DS_Store", "Thumbs.db", ".directory"}

# Methods of compression that are read: stored and deflated. Python knows bzip2 and LZMA too, but cannot bound what one
# block of those inflates to.
_METHODS = {0, 8}


class Tree(Protocol):
    """Files under relative names, read one by one."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    def names(self) -> Sequence[str]:
        """Names of the regular files, relative, with ``/`` between folders, sorted."""
        ...

    def size(self, name: str) -> int:
        """Size of a file in bytes.

        Raises:
            ArchiveError: there is no file of that name.
        """
        ...

    def read(self, name: str) -> bytes:
        """What a file holds; safe to call from several threads.

        Raises:
            ArchiveError: there is no file of that name, or it is damaged.
        """
        ...

    def close(self) -> None:
        """Give back what reading holds open; nothing can be read afterwards."""
        ...


def open_tree(path: Path, *, max_entries: int, max_bytes: int) -> Tree:
    """The files of a zip file or of a folder, without the litter of desktops (``__MACOSX``, ``.DS_Store``, …).

    Args:
        path: the zip file or folder.
        max_entries: how many files and folders it may hold.
        max_bytes: how many bytes its files may have together, unpacked.

    Raises:
        ArchiveError: the path is neither, or cannot be read; the zip file is cut off, damaged or encrypted; a name is
            unsafe (absolute, with ``..``, a drive letter, a backslash or NUL) or stands twice; there is a link or a
            device; one of the two limits is passed.
    """
    try:
        if path.is_dir():
            return _open_folder(path, max_entries, max_bytes)
        if path.is_file():
            return _open_zip(path, max_entries, max_bytes)
    except OSError as error:
        raise ArchiveError(
            f"cannot read {error.filename or path}: {error.strerror or error}; make it readable or give another path"
        ) from error
    found = "is neither a file nor a folder" if path.exists() else "does not exist"
    raise ArchiveError(f"cannot read {path}: it {found}; give the path of a zip file or of a folder")


def join_trees(trees: Sequence[Tree]) -> Tree:
    """One tree over several, which stay where they are and are closed by whoever opened them.

    Raises:
        ArchiveError: two of them hold the same name, or one has a file where another has a folder.
    """
    owner: dict[str, Tree] = {}
    for tree in trees:
        for name in tree.names():
            if name in owner:
                raise ArchiveError(
                    f"{name!r} is in both {owner[name].name} and {tree.name}, so they cannot be read as one; "
                    "leave one of them out"
                )
            owner[name] = tree
    joined = _Listing(
        " + ".join(tree.name for tree in trees),
        {name: owner[name].size(name) for name in sorted(owner)},
        lambda name: owner[name].read(name),
    )
    _refuse_files_that_are_folders(joined.name, joined.sizes, ())
    return joined


def put_under(folder: str, tree: Tree) -> Tree:
    """The same files, each in a folder of that name; closed by whoever opened the tree."""
    prefix = f"{folder}/"
    sizes = {prefix + name: tree.size(name) for name in tree.names()}
    return _Listing(tree.name, sizes, lambda name: tree.read(name.removeprefix(prefix)))


def looks_like(head: bytes) -> str:
    """What a file seems to be, in words with an article ("an HTML page").

    Args:
        head: its first bytes; 512 are enough.
    """
    if not head:
        return "an empty file"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if text.startswith(b"<?xml"):
        return "an XML document"
    return f"data of an unknown kind (it begins with {head[:8].hex(' ')})"


@dataclass(frozen=True, slots=True, eq=False)
class _Listing:
    """A tree as a list of names and sizes, sorted by name, and a function that gets the bytes of a name."""

    name: str
    sizes: Mapping[str, int]
    load: Callable[[str], bytes]
    release: Callable[[], None] = lambda: None

    def names(self) -> Sequence[str]:
        return tuple(self.sizes)

    def size(self, name: str) -> int:
        if name not in self.sizes:
            raise ArchiveError(f"{self.name} has no file {name!r}; check that it is the right archive, and complete")
        return self.sizes[name]

    def read(self, name: str) -> bytes:
        size = self.size(name)
        data = self.load(name)
        if len(data) != size:
            more = "more" if len(data) > size else "fewer"
            raise ArchiveError(
                f"{name!r} in {self.name} holds {more} bytes than the {size:,} listed for it; get the data again"
            )
        return data

    def close(self) -> None:
        self.release()


def _open_folder(path: Path, max_entries: int, max_bytes: int) -> Tree:
    name = path.name or str(path)
    sizes: dict[str, int] = {}
    entries, total, pending = 0, 0, [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(path / prefix) as listing:
            for entry in listing:
                entries += 1
                inside = prefix + entry.name
                if _is_litter(inside):
                    continue
                if entry.is_symlink():
                    raise ArchiveError(
                        f"{inside!r} in {path} is a symbolic link, which is not followed; put the file itself there"
                    )
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{inside}/")
                elif entry.is_file(follow_symlinks=False):  # sockets and the like are nobody's data
                    sizes[inside] = entry.stat(follow_symlinks=False).st_size
                    total += sizes[inside]
                _refuse_excess(name, entries, total, max_entries, max_bytes)  # here, to stop early on a whole disk

    def load(member: str) -> bytes:
        try:
            return (path / member).read_bytes()
        except OSError as error:
            raise ArchiveError(
                f"cannot read {member!r} in {path}: {error.strerror or error}; make it readable or get the data again"
            ) from error

    return _Listing(name, dict(sorted(sizes.items())), load)


def _open_zip(path: Path, max_entries: int, max_bytes: int) -> Tree:
    from zipfile import BadZipFile, ZipFile

    with path.open("rb") as file:
        kind = looks_like(file.read(_HEAD_BYTES))
    try:
        archive = ZipFile(path)
    except (BadZipFile, ValueError, NotImplementedError) as error:
        if kind == "a zip file":
            raise ArchiveError(
                f"{path} begins like a zip file, but its table of contents is missing or damaged, "
                "as after a download that broke off; get it again"
            ) from error
        raise ArchiveError(f"{path} is not a zip file but {kind}; give a zip file or a folder") from error
    try:
        members = _checked_members(path.name, archive.infolist(), max_entries, max_bytes)
    except ArchiveError:
        archive.close()
        raise
    sizes = {name: info.file_size for name, info in members.items()}
    return _Listing(path.name, sizes, _zip_loader(archive, members), archive.close)


def _checked_members(name: str, infos: Sequence["ZipInfo"], max_entries: int, max_bytes: int) -> dict[str, "ZipInfo"]:
    """The regular files among the members of a zip file, sorted by name, once every member is found harmless."""
    _refuse_excess(name, len(infos), sum(info.file_size for info in infos), max_entries, max_bytes)
    files: dict[str, ZipInfo] = {}
    folders: set[str] = set()
    for info in infos:
        # `zipfile` cuts a name at its first NUL and, on Windows, turns backslashes: check what the archive really says.
        _refuse_unsafe_name(name, info.orig_filename)
        _refuse_unsafe_name(name, info.filename)
        member = "/".join(_parts(info.filename))
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(name, info.filename, "is a link or a device")
        if info.is_dir():
            folders.add(member)
            continue
        if member in files:
            raise _unsafe(name, info.filename, "stands there twice")
        if info.flag_bits & 0x1:
            raise ArchiveError(f"{info.filename!r} in {name} is encrypted; decrypt it and pack it again")
        if info.compress_type not in _METHODS:
            raise ArchiveError(
                f"{info.filename!r} in {name} is compressed by method {info.compress_type}, which is not read here; "
                "pack it again with plain zip"
            )
        files[member] = info
    _refuse_files_that_are_folders(name, files, folders)
    return {member: files[member] for member in sorted(files) if not _is_litter(member)}


def _zip_loader(archive: "ZipFile", members: Mapping[str, "ZipInfo"]) -> Callable[[str], bytes]:
    """A function that inflates a member, to one byte beyond its declared size at the most."""
    import zlib
    from zipfile import BadZipFile

    lock = threading.Lock()  # a ZipFile counts its open members without one

    def load(member: str) -> bytes:
        # `zipfile` silently cuts a member off at its declared size. So ask for one byte more: an honest member has
        # none to give, and a bomb is never inflated further than that.
        info = copy(members[member])
        info.file_size += 1
        try:
            with lock, archive.open(info) as stream:
                return stream.read(info.file_size)
        except (BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
            reason = str(error) or "it ends too early"
            raise ArchiveError(
                f"{member!r} in {archive.filename} is damaged ({reason}); get the archive again"
            ) from error

    return load


def _refuse_excess(name: str, entries: int, total: int, max_entries: int, max_bytes: int) -> None:
    if entries > max_entries:
        raise ArchiveError(
            f"{name} holds more than the {max_entries:,} entries that are allowed here; give only the data set's files"
        )
    if total > max_bytes:
        raise ArchiveError(
            f"{name} holds more than the {max_bytes:,} bytes that are allowed here; give only the data set's files"
        )


def _refuse_unsafe_name(name: str, member: str) -> None:
    parts = _parts(member)
    if not parts and not member.endswith("/"):
        raise _unsafe(name, member, "has no name")
    if ".." in parts or member.startswith("/") or any(re.match("[A-Za-z]:", part) for part in parts[:1]):
        raise _unsafe(name, member, "points outside the archive")
    if "\\" in member or "\0" in member:
        raise _unsafe(name, member, "has a backslash or NUL in its name")


def _refuse_files_that_are_folders(name: str, files: Collection[str], folders: Iterable[str]) -> None:
    above = set(folders)
    for path in [*files, *above]:
        while path := path.rpartition("/")[0]:
            if path in above:
                break  # and so are the folders above it
            above.add(path)
    if both := sorted(above.intersection(files)):
        raise _unsafe(name, both[0], "is both a file and a folder")


def _unsafe(name: str, member: str, why: str) -> ArchiveError:
    return ArchiveError(f"{member!r} in {name} {why}, so nothing is read from it; get the archive from its publisher")


def _parts(member: str) -> list[str]:
    """The folders and the last part of a name, without what means nothing: ``./a//b`` is ``a/b``."""
    return [part for part in member.split("/") if part not in ("", ".")]


def _is_litter(name: str) -> bool:
    *folders, last = name.split("/")
    return "__MACOSX" in (*folders, last) or last in _LITTER or last.startswith("._")
