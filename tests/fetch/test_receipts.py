"""Whether a file on the disk is what it should be, with a published checksum, with a receipt, or with neither."""

import hashlib
import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from l2l_core.errors import CacheError
from l2l_core.fetch import checks
from l2l_core.fetch.checks import Hasher
from l2l_core.fetch.receipts import Receipt, fault_of, read_receipt, receipt_path, record_receipt, write_receipt
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


GOOD = {"url": None, "size_bytes": len(ZIP), "sha256": "0" * 64, "md5": "0" * 32, "etag": None, "time": ""}
ODD = {"url": 1, "size_bytes": str(len(ZIP)), "sha256": None, "md5": ["0"], "etag": {}, "time": 1.5, "more": 1}


def test_a_receipt_of_the_right_types_is_one(tmp_path):
    receipt_path(tmp_path / "a.zip").write_text(json.dumps(GOOD))
    assert read_receipt(tmp_path / "a.zip") == Receipt(**GOOD)


@pytest.mark.parametrize(
    "content",
    [
        *(
            None,
            b"",
            b"[]",
            b"{}",
            b"\xff",
            b'{"url": 1, "more": 2}',
            b"[" * 100_000,
            b'{"size_bytes": ' + b"9" * 5000 + b"}",
        ),
        *(json.dumps({**GOOD, name: value}).encode() for name, value in ODD.items()),
    ],
)
def test_a_receipt_that_cannot_be_understood_is_none(tmp_path, content):
    target = tmp_path / "a.zip"
    target.write_bytes(ZIP)
    if content is not None:
        receipt_path(target).write_bytes(content)
    assert read_receipt(target) is None
    assert fault_of(target, unchecked()) is None


def test_published_checksums_decide_whatever_a_receipt_says(tmp_path):
    target = tmp_path / "x.zip"
    with_receipt(target, ZIP)
    target.write_bytes(BYTES)
    assert fault_of(target, wanted()) is None
    md5 = Hasher([BYTES]).fingerprint().digests["md5"]
    assert fault_of(target, FileRecord("x.zip", (), about_bytes=600_000, md5=md5)) is None
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
    assert fault_of(target, unchecked()) is None
    target.write_bytes(CHANGED)
    found, noted = (hashlib.sha256(content).hexdigest()[:12] for content in (CHANGED, ZIP))
    assert fault_of(target, unchecked()) == (
        f"wrong content (sha256 {found}… instead of {noted}…) by a.zip.receipt.json, "
        "to be removed if you placed the file yourself"
    )
    receipt_path(target).unlink()
    assert fault_of(target, unchecked()) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ZIP + b"!", None),
        (ZIP[:-1], None),
        (ZIP * 3, f"{len(ZIP) * 3:,} bytes instead of about {len(ZIP):,}"),
        (HTML.ljust(len(ZIP) + 1), "an HTML page instead of a zip file"),
    ],
)
def test_a_receipt_of_another_size_is_that_of_an_earlier_file(tmp_path, content, reason):
    target = tmp_path / "a.zip"
    with_receipt(target, ZIP)
    target.write_bytes(content)
    assert fault_of(target, unchecked()) == reason


@pytest.mark.parametrize("known", [{}, {"md5": 1}, {"sha256": 1}, {"md5": 1, "sha256": 1}])
def test_only_what_decides_is_computed_and_it_is_shown(tmp_path, monkeypatch, known):
    target = tmp_path / "a.zip"
    with_receipt(target, ZIP)
    terminal, made, new = io.StringIO(), [], hashlib.new
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(hashlib, "new", lambda kind, **kwargs: (made.append(kind), new(kind, **kwargs))[1])
    monkeypatch.setattr(checks, "_SHOWN_BYTES", len(ZIP))
    digests = {kind: getattr(hashlib, kind)(ZIP).hexdigest() for kind in known}
    assert fault_of(target, FileRecord("a.zip", (), about_bytes=len(ZIP), **digests)) is None
    assert sorted(made) == sorted(known or ["sha256"])
    assert "checking a.zip: 100%" in terminal.getvalue()


@pytest.mark.parametrize("earlier", [None, ZIP[:-1], b""], ids=["none", "of another file", "of no file"])
def test_a_file_placed_by_hand_is_given_a_receipt(tmp_path, earlier):
    target = tmp_path / "a.zip"
    if earlier is not None:
        with_receipt(target, earlier)
    target.write_bytes(ZIP)
    record_receipt(target, unchecked())
    receipt = read_receipt(target)
    assert (receipt.url, receipt.size_bytes, receipt.etag) == (None, len(ZIP), None)
    assert (receipt.sha256, receipt.md5) == (hashlib.sha256(ZIP).hexdigest(), hashlib.md5(ZIP).hexdigest())
    assert fault_of(target, unchecked()) is None
    target.write_bytes(CHANGED)
    assert "wrong content" in fault_of(target, unchecked())


def test_what_can_be_checked_already_needs_no_receipt(tmp_path):
    record_receipt(tmp_path / "x.zip", wanted())
    assert listing(tmp_path) == []
    with_receipt(tmp_path / "a.zip", ZIP)
    before = receipt_path(tmp_path / "a.zip").read_bytes()
    record_receipt(tmp_path / "a.zip", unchecked())
    assert receipt_path(tmp_path / "a.zip").read_bytes() == before


def test_a_receipt_that_cannot_be_written(tmp_path):
    with pytest.raises(
        CacheError, match=r"^cannot write a\.zip\.receipt\.json to .*: No such file or directory; choose"
    ):
        record_receipt(tmp_path / "a.zip", unchecked())


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


def test_of_what_nothing_is_known_the_first_bytes_decide(tmp_path):
    (tmp_path / "a.zip").write_bytes(ZIP)
    assert fault_of(tmp_path / "a.zip", FileRecord("a.zip", ())) is None


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
