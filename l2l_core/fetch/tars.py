"""The members of a tar archive, found by reading its headers alone: V7, ustar, GNU and pax."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from l2l_core.fetch.entries import Entries, is_litter
from l2l_core.fetch.spans import CHUNK_BYTES, DamagedError, Source, Span

BLOCK_BYTES: Final = 512

_FILE, _FOLDER = b"0", b"5"
_KINDS: Final = {
    b"1": "is a link",
    b"2": "is a link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"S": "is a sparse file, which is not read here",
}
"""What is said of members that are no data of their own."""

_MAX_EXTENSION_BYTES: Final = 1 << 20
"""Of the header that gives a long name. Extended attributes of 64 KiB may stand there too, and that in base 64."""

_MAX_PADDING_BYTES: Final = 1 << 20
"""After the mark that ends an archive. The usual is 10 KiB."""


@dataclass(frozen=True, slots=True)
class _Header:
    """One member: its name, its kind in tar's own letter, and where its bytes lie."""

    name: str
    kind: bytes
    start: int
    size: int


def is_tar(head: bytes) -> bool:
    """Whether the first bytes of a file, 512 at least, are a header of a tar archive."""
    try:
        return _checksum_holds(head[:BLOCK_BYTES])
    except DamagedError:
        return False


def add_inner_tar(
    entries: Entries, name: str, source: Source, start: int, size: int, *, kept: Source | None = None
) -> bool:
    """Whether a file of an archive or folder is a plain tar; its members were then noted in a folder named like it.

    Args:
        entries: where they are noted.
        name: of the file.
        source: where it can be read.
        start, size: where its bytes lie in the source.
        kept: what the members are read from later; the source for None.

    Raises:
        ArchiveError, DamagedError, OSError: as `add_tar`.
    """
    folder, dot, suffix = name.rpartition(".")
    named_so = dot and suffix.lower() == "tar" and folder.rpartition("/")[2] and not is_litter(name)
    if not (named_so and is_tar(source.read(start, min(size, BLOCK_BYTES)))):
        return False
    entries.count()
    try:
        add_tar(entries, source, start, start + size, kept=kept, inside=folder)
    except DamagedError as error:
        raise DamagedError(f"{name!r} in it: {error}") from error
    return True


def add_tar(
    entries: Entries, source: Source, start: int, end: int, *, kept: Source | None = None, inside: str | None = None
) -> None:
    """Note every member of a plain tar; those of tars that are members appear in folders named like these.

    Args:
        entries: where they are noted.
        source: where the headers are read.
        start, end: offsets of the archive in it.
        kept: what the members are read from later; the source for None.
        inside: the folder to note them in, of a tar inside an archive, whose own tars are left as they are.

    Raises:
        ArchiveError: a member must not be read, or a limit is passed.
        DamagedError: the archive is cut off or damaged.
        OSError: it cannot be read.
    """
    for header in _headers(source, start, end):
        # A name with a slash at its end is a folder's in the oldest tars, which had no other mark.
        is_folder = header.kind == _FOLDER or (header.kind == _FILE and header.name.endswith("/"))
        if header.kind not in (_FILE, _FOLDER):
            kind = header.kind.decode("latin-1")
            said = _KINDS.get(header.kind) or f"is of the kind {kind!r}, which is not read here"
            raise entries.unsafe(header.name, said)
        name = entries.checked(header.name)
        if inside is not None:
            name = f"{inside}/{name}"
        if is_folder:
            entries.count()
            entries.folder(name)
        elif inside is not None or not add_inner_tar(entries, name, source, header.start, header.size, kept=kept):
            entries.count(header.size)
            entries.file(name, Span(kept or source, header.start, header.size), header.name)


def _headers(source: Source, start: int, end: int) -> Iterator[_Header]:
    """Every member but those that only describe the next one; these are followed."""
    at, extended, long_name = start, dict[str, str](), None
    while True:
        block = source.read(at, min(BLOCK_BYTES, max(0, end - at)))
        if len(block) < BLOCK_BYTES:
            raise DamagedError("it ends in the middle, as after a download that broke off")
        if not any(block):
            if extended or long_name is not None:
                raise DamagedError(f"the header at byte {at - start:,} describes no member")
            _check_end(source, at, end)
            return
        if not _checksum_holds(block):
            raise DamagedError(f"there is no header at byte {at - start:,}, where one should be")
        kind = {b"\0": _FILE, b"7": _FILE}.get(block[156:157], block[156:157])
        size = _number(block[124:136])
        describes = kind in (b"x", b"X", b"g", b"L", b"K")
        if not describes:
            size = _pax_number(extended["size"]) if "size" in extended else size
        data = at + BLOCK_BYTES
        # What follows the header of a folder, link or device is the next header, whatever its size field says.
        at = data + (-(-size // BLOCK_BYTES) * BLOCK_BYTES if describes or kind not in b"123456" else 0)
        if at > end and data + size > end:
            raise DamagedError(f"the {size:,} bytes after byte {data - start:,} are not all there")
        at = min(at, end)
        if describes:
            if size > _MAX_EXTENSION_BYTES:
                raise DamagedError(f"the header at byte {data - BLOCK_BYTES - start:,} has {size:,} bytes of names")
            described = source.read(data, size)
            if kind == b"L":
                long_name = _text(described.partition(b"\0")[0])
            elif kind != b"K":  # which is the target of a link
                records = _pax_records(described)
                if kind == b"g" and not records.keys().isdisjoint(("path", "size")):
                    raise DamagedError("one header gives the same name or size to all members")
                if kind != b"g":
                    extended = records
            continue
        if any(key.startswith("GNU.sparse.") for key in extended):
            kind = b"S"
        name = extended.get("path") or long_name or _name(block)
        yield _Header(name, kind, data, size)
        extended, long_name = {}, None


def _check_end(source: Source, at: int, end: int) -> None:
    """Nothing, where only zeros follow, and no more than padding: else the archive has a hole."""
    if end - at > _MAX_PADDING_BYTES or any(source.read(at, min(end - at, CHUNK_BYTES))):
        raise DamagedError(f"more data follows its end at byte {at:,}, as after a download with a hole")


def _checksum_holds(block: bytes) -> bool:
    if len(block) < BLOCK_BYTES or not any(block):
        return False
    expected = _number(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if expected == unsigned:
        return True
    # Some old programs added the bytes up as signed numbers.
    return expected == unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])


def _number(field: bytes) -> int:
    """A number of a header: octal digits, or two's complement behind a set first bit."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise DamagedError(f"{field!r} in a header is not a number of bytes")
    return int(digits, 8)


def _pax_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DamagedError(f"{text[:20]!r} in a header is not a number of bytes")
    return int(text)


def _pax_records(data: bytes) -> dict[str, str]:
    """Key to value of records ``length key=value`` that end in a line feed."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        digits, space, _ = data[at : at + 20].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        record = data[at + len(digits) + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if not (key and equals and record.endswith(b"\n") and at + length <= len(data)):
            raise DamagedError("a header gives names in a way that cannot be read")
        records[_text(key)] = _text(value)
        at += length
    return records


def _name(block: bytes) -> str:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    # GNU's own format, which has a space there, keeps other things in the place of the prefix.
    return _text(prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name)


def _text(name: bytes) -> str:
    """A name in UTF-8, or in Latin-1, where every byte means something, if it is not."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
