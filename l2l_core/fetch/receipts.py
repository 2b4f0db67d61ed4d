"""What was downloaded, from where and when, beside each download; and whether a file still is what it should be."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_type_hints

from l2l_core.fetch.checks import HEAD_BYTES, Fingerprint, checksums, fault, has_checksum, hashed, misfit, size_fault
from l2l_core.files import replacing, writing
from l2l_core.records import FileRecord

ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came: so that also a file without a published checksum can be checked later.

    Attributes:
        url: where it came from, as the catalogue or the mirror has it; None where it was placed by hand.
        etag: the server's mark of that version, where it gave one.
        time: when it was complete, in UTC, as ISO 8601.
    """

    url: str | None
    size_bytes: int
    sha256: str
    md5: str
    etag: str | None
    time: str


def receipt_path(target: Path) -> Path:
    """Where the receipt of a file lies."""
    return target.with_name(f"{target.name}.receipt.json")


def write_receipt(target: Path, url: str | None, found: Fingerprint, etag: str | None) -> None:
    """Note that the target, which may still be on its way to its name, came from that address.

    Raises:
        CacheError: the note cannot be written.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    receipt = Receipt(url, found.size_bytes, found.digests["sha256"], found.digests["md5"], etag, time)
    path = receipt_path(target)
    with replacing(path) as part, writing(path.name, path):
        part.write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")


def record_receipt(target: Path, file: FileRecord) -> None:
    """Note what a file that was placed by hand is, now that it has proved good, so that damage to it shows later.

    A file whose record has a checksum, or that has a receipt already, needs none.

    Raises:
        CacheError: the file cannot be read, or the note not be written.
    """
    with writing(receipt_path(target).name, receipt_path(target)):
        if has_checksum(file) or _receipt_of(target):
            return
        found = hashed(target, f"noting {target.name}").fingerprint()
    write_receipt(target, None, found, None)


def read_receipt(target: Path) -> Receipt | None:
    """The receipt of a file; None where there is none, or none that can be understood."""
    try:
        receipt = Receipt(**json.loads(receipt_path(target).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    types = get_type_hints(Receipt).items()
    return receipt if all(isinstance(getattr(receipt, name), kind) for name, kind in types) else None


def fault_of(target: Path, file: FileRecord) -> str | None:
    """What is wrong with a file on the disk, in a few words; None where nothing is.

    Size and checksums decide: those of the record, or where it has no checksum, that of the receipt, as long as it is
    of a file of this size. A file that has neither was placed by hand, and counts when its size is plausible and its
    first bytes fit its name.
    """
    try:
        if not target.is_file():
            return ABSENT
        # The size first, since a file of many gigabytes takes a while to hash.
        if problem := size_fault(file, target.stat().st_size):
            return problem
        receipt = None if has_checksum(file) else _receipt_of(target)
        if receipt is not None:
            file = replace(file, sha256=receipt.sha256)
        elif not has_checksum(file):
            with target.open("rb") as existing:
                return misfit(file.name, existing.read(HEAD_BYTES))
        problem = fault(file, hashed(target, f"checking {target.name}", checksums(file)).fingerprint())
    except OSError as error:
        return f"unreadable ({error.strerror or error})"
    if problem is not None and receipt is not None:
        # It may be damaged, or another file of the same size that somebody means to be here.
        return f"{problem} by {receipt_path(target).name}, to be removed if you placed the file yourself"
    return problem


def _receipt_of(target: Path) -> Receipt | None:
    """The receipt of a file, unless its size shows that another has taken the file's place since."""
    receipt = read_receipt(target)
    return receipt if receipt is not None and receipt.size_bytes == target.stat().st_size else None
