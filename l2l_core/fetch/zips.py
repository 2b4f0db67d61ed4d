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
    """Content of a zip file: the offset of its header, its size packed and unpacked, and its checksum."""

    archive: ZipFile
    header: int
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
        return self.header + _HEADER.size + int(name) + int(extra)

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
        member = _Member(archive, info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)
        if deflated or not add_inner_tar(entries, name, archive.source, member.data(), member.size):
            entries.count(info.file_size)
            entries.file(name, member, info.filename)
    _refuse_overlaps(entries, infos, table)


def _refuse_overlaps(entries: Entries, infos: Sequence["ZipInfo"], table: int) -> None:
    """Nothing, where no two members share bytes, as those of bombs do that are made of one kernel."""
    end, last = 0, ""
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise entries.unsafe(info.filename, f"shares its bytes with {last!r}")
        end, last = info.header_offset + _HEADER.size + info.compress_size, info.filename
    if end > table:
        raise entries.unsafe(last, "shares its bytes with the table of contents")
