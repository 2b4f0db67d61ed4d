"""Raw files read in place, from an archive, a single file or a folder, through one interface.

Nothing is ever unpacked under a name of its own, which is the safest unpacking there is: a compressed tar is inflated
once, as a whole, to a temporary file without a name. Every name is checked as if it were unpacked, so that it can be
trusted by whoever does write it somewhere.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, TypeVar

from l2l_core.errors import ArchiveError
from l2l_core.fetch.entries import Entries, is_litter, refuse_files_that_are_folders
from l2l_core.fetch.spans import CHUNK_BYTES, Content, DamagedError, LooseFile, NamedFile, OpenFile, Span, spooled
from l2l_core.fetch.tars import BLOCK_BYTES, add_inner_tar, add_tar, is_tar
from l2l_core.fetch.zips import ZipFile, add_zip, count_listed

Data = TypeVar("Data", bytes, memoryview)

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

_HEAD_BYTES = BLOCK_BYTES  # enough for every signature above; that of tar sits at 257

_SUFFIXES: Final = {
    ".zip": "a zip file",
    ".gz": "gzip data",
    ".bz2": "bzip2 data",
    ".xz": "xz data",
    ".zst": "zstd data",
}
"""What a file of that name must be."""

_TAR_SUFFIXES: Final = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""What must be a tar archive, compressed or not: some programs inflate what they download and keep the name."""

_MODULES: Final = {
    "gzip data": "gzip",
    "bzip2 data": "bz2",
    "xz data": "lzma",
    "zstd data": "compression.zstd",  # of Python 3.14
}
"""What can be inflated, and the module whose `open` does it."""

_NO_DATA: Final = {
    "an empty file",
    "an HTML page",
    "an XML document",
    "a Git LFS pointer instead of the file itself",
    "a 7z archive",
    "a rar archive",
}
"""What a single file is not allowed to be: what servers send instead of it, and archives that are not read here."""

MAX_READ_BYTES: Final = 256 << 20
"""Of one file that is read into memory: a kilobyte of zip inflates to a megabyte. The larger ones are viewed."""

_INFLATED_HEADERS_BYTES: Final = 4096
"""Allowed an entry of a compressed tar beside its bytes: header, long name, padding."""


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
        """What a file of up to 256 MiB holds; safe to call from several threads.

        Raises:
            ArchiveError: there is no file of that name, or it is damaged or larger.
        """
        ...

    def view(self, name: str) -> memoryview:
        """What a file holds, read-only and, from 1 MiB on, mapped from the disk instead of copied into memory.

        For the few large files of a data set, such as its pickles: each view may cost a file descriptor. It is to be
        used only until the tree is closed; safe to call from several threads.

        Raises:
            ArchiveError: there is no file of that name, or it is damaged.
            CacheError: the file lies compressed in a zip file, and cannot be inflated to the scratch folder.
        """
        ...

    def close(self) -> None:
        """Give back what reading holds open; nothing can be read afterwards."""
        ...


def open_tree(path: Path, *, max_entries: int, max_bytes: int, scratch: Path | None = None) -> Tree:
    """The files of an archive or folder, without the litter of desktops (``__MACOSX``, ``.DS_Store``, …).

    Archives are zip and tar, told by their content; a tar may be compressed by gzip, bzip2, xz or, where Python knows
    it, zstd. Any other file is a tree of that one file, under its name; what is compressed is inflated and loses the
    suffix that says so. An ``x.tar`` that lies uncompressed in a folder, tar or zip file appears as a folder ``x``; a
    tar inside that one stays a file.

    Args:
        path: the file or folder.
        max_entries: how many files and folders it may hold.
        max_bytes: how many bytes its files may have together, unpacked.
        scratch: the folder whose disk takes what has to be inflated, in files without a name; the system's temporary
            folder for None.

    Raises:
        ArchiveError: the path is neither, or cannot be read; the archive is cut off, damaged or encrypted; a name is
            unsafe (absolute, with ``..``, a drive letter, a backslash or NUL), too long, not UTF-8, or stands twice;
            there is a link or a device; one of the two limits is passed; a file is not what its name says, but a web
            page for example.
        CacheError: what has to be inflated cannot be written to the scratch folder.
    """
    entries = Entries(path.name or str(path), max_entries, max_bytes)
    try:
        with ExitStack() as opened:
            if path.is_dir():
                _add_folder(entries, path)
                return _Listing(entries.name, path, entries.done())
            if path.is_file():
                limit_bytes = max_bytes + _INFLATED_HEADERS_BYTES * max_entries
                _add_file(entries, path, limit_bytes, scratch, opened)
                return _Listing(entries.name, path, entries.done(), opened.pop_all().close)
    except OSError as error:
        raise ArchiveError(
            f"cannot read {error.filename or path}: {error.strerror or error}; make it readable or give another path"
        ) from error
    except DamagedError as error:
        raise ArchiveError(f"{path} is damaged ({error}); get it again") from error
    found = "is neither a file nor a folder" if path.exists() else "does not exist"
    raise ArchiveError(f"cannot read {path}: it {found}; give the path of a file or of a folder")


def join_trees(trees: Sequence[Tree]) -> Tree:
    """One tree over several, which stay where they are and are closed by whoever opened them.

    Raises:
        ArchiveError: two of them hold the same name, or one has a file where another has a folder.
    """
    if len(trees) == 1:
        return _Joined(trees[0].name, trees[0].names(), lambda name: trees[0])
    owner: dict[str, Tree] = {}
    for tree in trees:
        for name in tree.names():
            if name in owner:
                raise ArchiveError(
                    f"{name!r} is in both {owner[name].name} and {tree.name}, so they cannot be read as one; "
                    "leave one of them out"
                )
            owner[name] = tree
    joined_name = " + ".join(tree.name for tree in trees)
    refuse_files_that_are_folders(joined_name, owner)
    return _Joined(joined_name, tuple(sorted(owner)), owner.get)


def put_under(folder: str, tree: Tree) -> Tree:
    """The same files, each in a folder of that name; closed by whoever opened the tree."""
    return _Under(folder, tree)


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
    """A tree as a list of names, sorted, and what each of them holds."""

    name: str
    path: Path
    files: Mapping[str, Content]
    release: Callable[[], None] = lambda: None

    def names(self) -> Sequence[str]:
        return tuple(self.files)

    def size(self, name: str) -> int:
        return self._file(name).size

    def read(self, name: str) -> bytes:
        if self.size(name) > MAX_READ_BYTES:
            raise ArchiveError(
                f"{name!r} in {self.name} has {self.size(name):,} bytes, more than the {MAX_READ_BYTES:,} "
                "that a file of its kind may have; get the data again"
            )
        return self._got(name, lambda file: file.read())

    def view(self, name: str) -> memoryview:
        return self._got(name, lambda file: file.view())

    def close(self) -> None:
        self.release()

    def _file(self, name: str) -> Content:
        if name not in self.files:
            raise _absent(self.name, name)
        return self.files[name]

    def _got(self, name: str, get: Callable[[Content], Data]) -> Data:
        file = self._file(name)
        try:
            data = get(file)
        except DamagedError as error:
            raise ArchiveError(f"{name!r} in {self.path} is damaged ({error}); get the archive again") from error
        except (OSError, ValueError) as error:  # a ValueError: it is closed
            reason = getattr(error, "strerror", None) or error
            raise ArchiveError(
                f"cannot read {name!r} in {self.path}: {reason}; make it readable or get the data again"
            ) from error
        if len(data) != file.size:
            more = "more" if len(data) > file.size else "fewer"
            raise ArchiveError(
                f"{name!r} in {self.name} holds {more} bytes than the {file.size:,} listed for it; get the data again"
            )
        return data


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """A tree whose files belong to other trees."""

    name: str
    listed: Sequence[str]
    owner: Callable[[str], Tree | None]

    def names(self) -> Sequence[str]:
        return self.listed

    def size(self, name: str) -> int:
        return self._tree(name).size(name)

    def read(self, name: str) -> bytes:
        return self._tree(name).read(name)

    def view(self, name: str) -> memoryview:
        return self._tree(name).view(name)

    def close(self) -> None:
        pass

    def _tree(self, name: str) -> Tree:
        tree = self.owner(name)
        if tree is None:
            raise _absent(self.name, name)
        return tree


@dataclass(frozen=True, slots=True, eq=False)
class _Under:
    """A tree whose names begin with a folder that is not really there; none of them is kept."""

    folder: str
    tree: Tree

    @property
    def name(self) -> str:
        return self.tree.name

    def names(self) -> Sequence[str]:
        return tuple(f"{self.folder}/{name}" for name in self.tree.names())

    def size(self, name: str) -> int:
        return self.tree.size(self._inner(name))

    def read(self, name: str) -> bytes:
        return self.tree.read(self._inner(name))

    def view(self, name: str) -> memoryview:
        return self.tree.view(self._inner(name))

    def close(self) -> None:
        pass

    def _inner(self, name: str) -> str:
        if not name.startswith(f"{self.folder}/"):
            raise _absent(self.name, name)
        return name.removeprefix(f"{self.folder}/")


def _absent(place: str, name: str) -> ArchiveError:
    return ArchiveError(f"{place} has no file {name!r}; check that it is the right archive, and complete")


def _add_folder(entries: Entries, path: Path) -> None:
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(path / prefix) as listing:
            for entry in listing:  # counted one by one, to stop early on a whole disk
                name = prefix + entry.name
                if is_litter(name):
                    entries.count()
                elif entry.is_symlink():
                    raise ArchiveError(
                        f"{name!r} in {path} is a symbolic link, which is not followed; put the file itself there"
                    )
                elif entry.is_dir(follow_symlinks=False):
                    entries.count()
                    pending.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False):  # sockets and the like are nobody's data
                    _add_loose(entries, path, name, entry.stat(follow_symlinks=False).st_size)


def _add_loose(entries: Entries, folder: Path, name: str, size: int) -> None:
    if name.lower().endswith(".tar"):
        with OpenFile.at(folder / name) as file:
            if add_inner_tar(entries, name, file, 0, size, kept=NamedFile(folder / name)):
                return
    entries.count(size)
    entries.file(name, LooseFile(folder, name, size))


def _add_file(entries: Entries, path: Path, limit_bytes: int, scratch: Path | None, opened: ExitStack) -> None:
    """Note what an archive holds, or the single file that it is; what has to stay open goes into `opened`."""
    file = opened.enter_context(OpenFile.at(path))
    head = file.read(0, _HEAD_BYTES)
    kind, suffix, holds = looks_like(head), path.suffix.lower(), ""
    must_be_tar = path.name.lower().endswith(_TAR_SUFFIXES)
    if suffix == ".zip" or (kind == "a zip file" and not must_be_tar and suffix not in (".npz", *_SUFFIXES)):
        _add_zip(entries, path, file, kind, scratch, opened)
        return
    if not must_be_tar and _SUFFIXES.get(suffix, kind) != kind:
        raise _misnamed(path, _SUFFIXES[suffix], kind)
    name = path.name
    if kind in _MODULES:
        pieces = _inflated(entries, path, file, kind, limit_bytes)
        file = opened.enter_context(spooled(pieces, f"the inflated {path.name}", scratch))
        name = path.stem if suffix in _SUFFIXES else path.name
        head = file.read(0, _HEAD_BYTES)
        kind, holds = looks_like(head), f"{kind} that holds "
    # A tar without members is all zeros, and so may be other data; the oldest tars have no signature.
    if kind == "a tar archive" or is_tar(head) or (must_be_tar and head and not any(head)):
        add_tar(entries, file, 0, file.size)
    elif must_be_tar:
        raise _misnamed(path, "a tar archive", holds + kind)
    elif kind in _NO_DATA:
        raise ArchiveError(f"{path} is {holds}{kind}, and no data, as some servers send instead of it; get it again")
    else:
        entries.count(file.size)
        entries.file(name, Span(file, 0, file.size))


def _add_zip(entries: Entries, path: Path, file: OpenFile, kind: str, scratch: Path | None, opened: ExitStack) -> None:
    from zipfile import BadZipFile
    from zipfile import ZipFile as TableOfContents

    # Asked before, since `zipfile` makes an object of each.
    entries.allow(count_listed(file))
    try:
        with file.stream() as stream, TableOfContents(stream) as table:
            infos, table_at = table.infolist(), table.start_dir
    except (BadZipFile, ValueError, NotImplementedError, OSError, EOFError, struct.error) as error:
        if kind != "a zip file":
            raise _misnamed(path, "a zip file", kind) from error
        raise ArchiveError(
            f"{path} begins like a zip file, but its table of contents is missing or damaged, "
            "as after a download that broke off; get it again"
        ) from error
    archive = ZipFile(file, entries.name, scratch)
    opened.callback(archive.close)
    add_zip(entries, archive, infos, table_at)


def _inflated(entries: Entries, path: Path, file: OpenFile, kind: str, limit_bytes: int) -> Iterator[bytes]:
    """What a compressed file inflates to, with a progress bar if a person is watching."""
    from tqdm import tqdm

    try:
        module = import_module(_MODULES[kind])
    except ImportError as error:
        raise ArchiveError(f"{path} is {kind}, which this Python cannot inflate ({error}); inflate it first") from error
    bar = tqdm(None, f"inflating {path.name}", file.size, unit="B", unit_scale=True, disable=None)
    with bar, file.stream() as packed, module.open(packed) as stream:
        while True:
            try:
                piece = stream.read(CHUNK_BYTES)
            except Exception as error:  # every module has classes of its own
                if isinstance(error, OSError) and error.errno:
                    raise
                raise DamagedError(str(error) or type(error).__name__) from error
            if not piece:
                return
            limit_bytes -= len(piece)
            if limit_bytes < 0:
                raise entries.too_many_bytes()
            bar.update(packed.tell() - bar.n)
            yield piece


def _misnamed(path: Path, expected: str, found: str) -> ArchiveError:
    return ArchiveError(f"{path} is not {expected} but {found}; give {expected} or a folder")
