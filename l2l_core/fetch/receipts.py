"""What was downloaded, from where and when, beside each download; and whether a file still is what it should be."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from l2l_core.fetch.checks import HEAD_BYTES, Fingerprint, Hasher, completed, fault, has_checksum, misfit, size_fault
from l2l_core.fetch.web import CHUNK_BYTES
from l2l_core.files import replacing, writing
from l2l_core.records import FileRecord

ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came: so that also a file without a published checksum can be checked later.

    Attributes:
        url: where it came from, as the catalogue or the mirror has it.
        etag: the server's mark of that version, where it gave one.
        time: when it was complete, in UTC, as ISO 8601.
    """

    url: str
    size_bytes: int
    sha256: str
    md5: str
    etag: str | None
    time: str


def receipt_path(target: Path) -> Path:
    """Where the receipt of a file lies."""
    return target.with_name(f"{target.name}.receipt.json")


def write_receipt(target: Path, url: str, found: Fingerprint, etag: str | None) -> None:
    """Note that the target, which may still be on its way to its name, came from that address.

    Raises:
        CacheError: the note cannot be written.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    receipt = Receipt(url, found.size_bytes, found.sha256, found.md5, etag, time)
    path = receipt_path(target)
    with replacing(path) as part, writing(path.name, path):
        part.write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")


def read_receipt(target: Path) -> Receipt | None:
    """The receipt of a file; None where there is none, or none that can be understood."""
    try:
        receipt = Receipt(**json.loads(receipt_path(target).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return receipt


def holds(target: Path, file: FileRecord) -> bool:
    """Whether the target is there and is the file of the record, as far as that can be told; see `fault_of`."""
    return fault_of(target, file) is None


def fault_of(target: Path, file: FileRecord) -> str | None:
    """What is wrong with a file on the disk, in a few words; None where nothing is.

    Size and checksums decide: those of the record, or where it has no checksum, those of the receipt. A file that has
    neither was placed by hand, and counts when its size is plausible and its first bytes fit its name.
    """
    try:
        if not target.is_file():
            return ABSENT
        # The size first, since a file of many gigabytes takes a while to hash.
        if problem := size_fault(file, target.stat().st_size):
            return problem
        receipt = None if has_checksum(file) else read_receipt(target)
        if receipt is not None:
            file = completed(file, receipt.size_bytes, receipt.sha256, receipt.md5)
        with target.open("rb") as existing:
            if not has_checksum(file):
                return misfit(file.name, existing.read(HEAD_BYTES))
            return fault(file, Hasher(iter(partial(existing.read, CHUNK_BYTES), b"")).fingerprint())
    except OSError as error:
        return f"unreadable ({error.strerror or error})"
