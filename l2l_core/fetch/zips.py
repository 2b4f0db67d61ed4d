"""The members of a zip file, found in its table of contents, and the bytes of each."""

import stat
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from l2l_core.errors import ArchiveError
from l2l_core.fetch.entries import Entries
from l2l_core.fetch.spans import CHUNK_BYTES, MAP_BYTES, DamagedError, OpenFile, spooled
from l2l_core.fetch.tars import add_inner_tar

if TYPE_CHECKING:
    from zipfile import ZipInfo

_STORED, _DEFLATED = 0, 8
"""The methods of compression that are read. Python knows bzip2 and LZMA too, but cannot bound what one block of those
inflates to."""

_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000  # flags: the member, strongly, and the table of contents
_HEADER: Final = struct.Struct("<4s22xHH")  # before a member's data: signature, lengths of name and of extra field
_LISTED: Final = b"PK\x01\x02"  # before each entry of the table of contents
_END: Final = struct.Struct("<4s8xL6x")  # after the table: signature, size of the table; then a comment
_LOCATOR: Final = struct.Struct("<4s4xQ4x")  # before that, where sizes need 64 bits: signature, offset of
_END_64: Final = struct.Struct("<4s36xQ8x")  # what is usually before the locator: signature, size of the table
_MAX_COMMENT_BYTES: Final = 0xFFFF


class ZipFile:
    """An open zip file: its bytes, and what was inflated to be viewed."""

    def __init__(self, source: OpenFile, name: str, scratch: Path | None) -> None:
        self.source, self._name, self._scratch = source, name, scratch
        self._inflated: dict[int, OpenFile] = {}
        self._lock = threading.Lock()

    def inflated(self, member: "_Member") -> OpenFile:
        """A file that holds what the member inflates to, made once."""
        with self._lock:
            if member.header not in self._inflated:
                what = f"the inflated bytes of {self._name}"
                self._inflated[member.header] = spooled(member.pieces(), what, self._scratch)
            return self._inflated[member.header]

    def close(self) -> None:
        """Close the files that were inflated from it."""
        for file in self._inflated.values():
            file.close()


@dataclass(frozen=True, slots=True)
class _Member:
    """Content of a zip file: where its header begins and the next one, its size packed and unpacked, its checksum."""

    archive: ZipFile
    header: int
    end: int
    packed: int
    size: int
    crc: int
    deflated: bool

    def read(self) -> bytes:
        """The bytes, one more than there should be where there are more."""
        return b"".join(self.pieces())

    def view(self) -> memoryview:
        """The bytes, mapped where there are many: from the archive itself where it holds them as they are."""
        if self.size < MAP_BYTES:
            return memoryview(self.read())
        if self.deflated:
            file = self.archive.inflated(self)
            return file.view(0, file.size)
        view = self.archive.source.view(self.data(), self.packed)
        crc = 0
        for at in range(0, len(view), CHUNK_BYTES):
            crc = zlib.crc32(view[at : at + CHUNK_BYTES], crc)
        self._check(crc)
        return view

    def data(self) -> int:
        """Offset of the packed bytes."""
        head = self.archive.source.read(self.header, _HEADER.size)
        if len(head) < _HEADER.size:
            raise DamagedError("it ends too early")
        signature, name, extra = _HEADER.unpack(head)
        if signature != b"PK\x03\x04":
            raise DamagedError("there is no header where the table of contents says")
        start = self.header + _HEADER.size + int(name) + int(extra)
        # The lengths in the header are not those of the table: bombs use them to share one kernel among all members.
        if start + self.packed > self.end:
            raise DamagedError("it shares its bytes with what follows it")
        return start

    def pieces(self) -> Iterator[bytes]:
        """The bytes, checked in the end; one more where there are more than are listed, so that no bomb goes off."""
        decoder = zlib.decompressobj(-zlib.MAX_WBITS) if self.deflated else None
        at, end, left, crc = (start := self.data()), start + self.packed, self.size + 1, 0
        while left and at < end and not (decoder and decoder.eof):
            packed = self.archive.source.read(at, min(end - at, CHUNK_BYTES))
            if not packed:
                break
            at += len(packed)
            full = False
            while left and (packed or full):  # zlib may hold back what was more than it was allowed to give
                limit = min(left, CHUNK_BYTES)
                try:
                    piece = decoder.decompress(packed, limit) if decoder else packed[:limit]
                except zlib.error as error:
                    raise DamagedError(str(error)) from error
                packed = decoder.unconsumed_tail if decoder else b""
                full = len(piece) == limit
                left -= len(piece)
                crc = zlib.crc32(piece, crc)
                yield piece
        if left:
            if not (decoder.eof if decoder else at == end):
                raise DamagedError("it ends too early")
            self._check(crc)

    def _check(self, crc: int) -> None:
        if crc != self.crc:
            raise DamagedError("Bad CRC-32: its bytes are not those that were packed")


def add_zip(entries: Entries, archive: ZipFile, infos: Sequence["ZipInfo"], table: int) -> None:
    """Note every member of a zip file; those of tars that it holds uncompressed appear in folders named like these.

    Args:
        entries: where they are noted.
        archive: the zip file.
        infos: its table of contents, which begins at the offset `table`.

    Raises:
        ArchiveError: a member must not be read, or a limit is passed.
        DamagedError: a tar inside is cut off or damaged.
        OSError: the file cannot be read.
    """
    ends = _ends(entries, infos, table)
    for info in infos:
        # `zipfile` cuts a name at its first NUL and, on Windows, turns backslashes: check what the archive really says.
        entries.checked(info.orig_filename)
        name = entries.checked(info.filename)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise entries.unsafe(info.filename, "is a link or a device")
        if info.is_dir():
            entries.count(info.file_size)
            entries.folder(name)
            continue
        if info.flag_bits & _ENCRYPTED:
            raise ArchiveError(f"{info.filename!r} in {entries.name} is encrypted; decrypt it and pack it again")
        if info.compress_type not in (_STORED, _DEFLATED):
            raise ArchiveError(
                f"{info.filename!r} in {entries.name} is compressed by method {info.compress_type}, "
                "which is not read here; pack it again with plain zip"
            )
        deflated = info.compress_type == _DEFLATED
        at = info.header_offset
        member = _Member(archive, at, ends[at], info.compress_size, info.file_size, info.CRC, deflated)
        if deflated or not add_inner_tar(entries, name, archive.source, member.data(), member.size):
            entries.count(info.file_size)
            entries.file(name, member, info.filename)


def count_listed(file: OpenFile) -> int:
    """How many entries the table of contents of a zip file has at the most; 0 where there is none.

    The number that the file gives may be wrong, so this counts the marks before the entries.
    """
    start = max(0, file.size - _END.size - _MAX_COMMENT_BYTES)
    tail = file.read(start, _END.size + _MAX_COMMENT_BYTES)
    # As `zipfile` looks for it: at the very end without a comment, else the last of its signatures.
    found = len(tail) - _END.size
    if not (tail[found:].startswith(b"PK\x05\x06") and tail.endswith(b"\0\0")):
        found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        return 0
    end = start + found
    listed, kept = 0, b""
    for at in range(max(0, _table_start(file, end, int(_END.unpack_from(tail, found)[1]))), end, CHUNK_BYTES):
        piece = kept + file.read(at, min(end - at, CHUNK_BYTES))
        listed += piece.count(_LISTED)
        kept = piece[1 - len(_LISTED) :]
    return listed


def _table_start(file: OpenFile, end: int, size: int) -> int:
    """Where the table of contents begins, at the soonest, that has so many bytes before the record at an offset."""
    located = file.read(max(0, end - _LOCATOR.size), _LOCATOR.size)
    if not (located.startswith(b"PK\x06\x07") and len(located) == _LOCATOR.size <= end):
        return end - size
    # Versions of `zipfile` differ in where they look for the longer record.
    usual, told = end - _LOCATOR.size - _END_64.size, int(_LOCATOR.unpack(located)[1])
    starts = [] if _size_64(file, usual) is not None else [end - size]
    starts += [at - size_64 for at in (usual, told) if (size_64 := _size_64(file, at)) is not None]
    return min(starts)


def _size_64(file: OpenFile, at: int) -> int | None:
    record = file.read(at, _END_64.size) if 0 <= at < file.size else b""
    return int(_END_64.unpack(record)[1]) if len(record) == _END_64.size and record.startswith(b"PK\x06\x06") else None


def _ends(entries: Entries, infos: Sequence["ZipInfo"], table: int) -> dict[int, int]:
    """Offset of each member's header to the end of its room, which is the next header or the table of contents.

    Raises:
        ArchiveError: two members share bytes, as those of bombs do that are made of one kernel.
    """
    ends: dict[int, int] = {}
    following, after = table, "the table of contents"
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        if info.header_offset + _HEADER.size + info.compress_size > following:
            raise entries.unsafe(info.filename, f"shares its bytes with {after}")
        ends[info.header_offset] = following
        following, after = info.header_offset, repr(info.filename)
    return ends
