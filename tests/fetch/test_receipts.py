"""Whether a file on the disk is what it should be, with a published checksum, with a receipt, or with neither."""

from datetime import UTC, datetime, timedelta

import pytest

from l2l_core.fetch.checks import Hasher
from l2l_core.fetch.receipts import Receipt, fault_of, holds, read_receipt, receipt_path, write_receipt
from l2l_core.records import FileRecord

from .files import BYTES, FILES, HTML, SHA256, listing, unchecked, wanted

ZIP = FILES["a.zip"]
CHANGED = ZIP[:-1] + b"!"


def with_receipt(target, content: bytes) -> None:
    target.write_bytes(content)
    write_receipt(target, "https://files.example/a.zip", Hasher([content]).fingerprint(), '"one"')


def test_a_receipt_says_what_came_from_where_and_when(tmp_path):
    with_receipt(tmp_path / "x.zip", BYTES)
    assert listing(tmp_path) == ["x.zip", "x.zip.receipt.json"]
    receipt = read_receipt(tmp_path / "x.zip")
    assert (receipt.url, receipt.size_bytes, receipt.sha256) == ("https://files.example/a.zip", 600_000, SHA256)
    assert (receipt.etag, len(receipt.md5)) == ('"one"', 32)
    time = datetime.fromisoformat(receipt.time)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert time.utcoffset() == timedelta(0)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"\xff", b'{"url": 1, "more": 2}'])
def test_a_receipt_that_cannot_be_understood_is_none(tmp_path, content):
    target = tmp_path / "a.zip"
    target.write_bytes(ZIP)
    if content is not None:
        receipt_path(target).write_bytes(content)
    assert read_receipt(target) is None
    assert holds(target, unchecked())


def test_published_checksums_decide_whatever_a_receipt_says(tmp_path):
    target = tmp_path / "x.zip"
    with_receipt(target, ZIP)
    target.write_bytes(BYTES)
    assert holds(target, wanted())
    md5 = Hasher([BYTES]).fingerprint().md5
    assert holds(target, FileRecord("x.zip", (), about_bytes=600_000, md5=md5))
    assert fault_of(target, FileRecord("x.zip", (), about_bytes=600_000, md5="0" * 32)) == (
        f"wrong content (md5 {md5[:12]}… instead of 000000000000…)"
    )
    target.write_bytes(BYTES[:-1] + b"!")
    assert "wrong content (sha256 " in fault_of(target, wanted())
    target.write_bytes(BYTES[:-1])
    assert fault_of(target, wanted()) == "599,999 bytes instead of 600,000"


def test_a_receipt_decides_where_nothing_was_published(tmp_path):
    target = tmp_path / "a.zip"
    with_receipt(target, ZIP)
    assert holds(target, unchecked())
    target.write_bytes(CHANGED)
    assert "wrong content (sha256 " in fault_of(target, unchecked())
    target.write_bytes(ZIP[:-1])
    assert fault_of(target, unchecked()) == f"{len(ZIP) - 1:,} bytes instead of {len(ZIP):,}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ZIP, None),
        (CHANGED, None),  # nobody can tell
        (ZIP[: len(ZIP) // 3], f"{len(ZIP) // 3:,} bytes instead of about {len(ZIP):,}"),
        (ZIP * 3, f"{len(ZIP) * 3:,} bytes instead of about {len(ZIP):,}"),
        (HTML.ljust(len(ZIP)), "an HTML page instead of a zip file"),
        (None, "absent"),
    ],
)
def test_what_was_placed_by_hand_must_look_right(tmp_path, content, reason):
    target = tmp_path / "a.zip"
    if content is not None:
        target.write_bytes(content)
    assert fault_of(target, unchecked()) == reason
    assert holds(target, unchecked()) == (reason is None)


def test_of_what_nothing_is_known_the_first_bytes_decide(tmp_path):
    (tmp_path / "a.zip").write_bytes(ZIP)
    assert holds(tmp_path / "a.zip", FileRecord("a.zip", ()))


def test_what_cannot_be_read_does_not_hold(tmp_path, monkeypatch):
    target = tmp_path / "x.zip"
    target.mkdir()
    assert fault_of(target, wanted()) == "absent"
    target.rmdir()
    target.write_bytes(BYTES)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(target), "open", refuse)
    assert fault_of(target, wanted()) == "unreadable (Permission denied)"


def test_a_receipt_is_plain_to_read(tmp_path):
    write_receipt(tmp_path / "x", "https://a/x", Hasher([b"abc"]).fingerprint(), None)
    text = receipt_path(tmp_path / "x").read_text()
    assert text.startswith('{\n "url": "https://a/x",\n "size_bytes": 3,\n "sha256": "ba7816bf8f01cfea414140de5dae2223')
    assert isinstance(read_receipt(tmp_path / "x"), Receipt)
