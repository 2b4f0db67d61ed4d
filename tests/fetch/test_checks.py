"""What bytes are: sizes, checksums, and first bytes that fit a name."""

import hashlib
import io
import sys
import tarfile

import pytest

from l2l_core.fetch import checks
from l2l_core.fetch.checks import HEAD_BYTES, Fingerprint, Hasher, completed, fault, hashed, misfit
from l2l_core.records import FileRecord

from .files import BYTES, FILES, HTML


def test_a_hasher_gives_what_hashlib_gives():
    hasher = Hasher([BYTES[:7], b"", BYTES[7:500]])
    hasher.update(BYTES[500:])
    md5 = hashlib.md5(BYTES, usedforsecurity=False).hexdigest()
    assert hasher.fingerprint() == Fingerprint(600_000, {"sha256": hashlib.sha256(BYTES).hexdigest(), "md5": md5})
    assert Hasher([BYTES], ["md5"]).fingerprint() == Fingerprint(600_000, {"md5": md5})


def test_a_file_is_hashed_as_its_bytes_are_with_a_bar_where_that_takes_a_while(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    (tmp_path / "x").write_bytes(BYTES)
    assert hashed(tmp_path / "x", "checking x").fingerprint() == Hasher([BYTES]).fingerprint()
    assert hashed(tmp_path / "x", "checking x", ["md5"]).fingerprint() == Hasher([BYTES], ["md5"]).fingerprint()
    assert terminal.getvalue() == ""
    monkeypatch.setattr(checks, "_SHOWN_BYTES", 600_000)
    hashed(tmp_path / "x", "checking x")
    assert "checking x: 100%" in terminal.getvalue()
    assert "600k/600k" in terminal.getvalue()


FOUND = Fingerprint(1000, {"sha256": "a" * 64, "md5": "b" * 32})


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({}, None),
        ({"size_bytes": 1000, "sha256": "a" * 64, "md5": "b" * 32}, None),
        ({"size_bytes": 1001, "sha256": "a" * 64}, "1,000 bytes instead of 1,001"),
        ({"sha256": "c" * 64, "md5": "b" * 32}, "wrong content (sha256 aaaaaaaaaaaa… instead of cccccccccccc…)"),
        ({"sha256": "a" * 64, "md5": "c" * 32}, "wrong content (md5 bbbbbbbbbbbb… instead of cccccccccccc…)"),
        ({"about_bytes": 500}, None),
        ({"about_bytes": 2000}, None),
        ({"about_bytes": 499}, "1,000 bytes instead of about 499"),
        ({"about_bytes": 2001, "md5": "b" * 32}, None),
        ({"about_bytes": 499, "md5": "b" * 32}, "1,000 bytes instead of about 499"),
        ({"at_most_bytes": 1000}, None),
        ({"at_most_bytes": 999}, "1,000 bytes instead of at most 999"),
        ({"about_bytes": 2001}, "1,000 bytes instead of about 2,001"),
        ({"size_bytes": 1000, "about_bytes": 1}, None),
    ],
)
def test_every_size_and_checksum_that_is_known_must_hold(known, reason):
    assert fault(FileRecord("x", (), **known), FOUND) == reason


def test_a_record_is_completed_but_not_overruled():
    knows = FileRecord("x", (), size_bytes=0, md5="a")
    assert completed(knows, 7, "b", "c") == FileRecord("x", (), size_bytes=0, sha256="b", md5="a")
    assert completed(FileRecord("x", ()), None, None, None) == FileRecord("x", ())


@pytest.mark.parametrize("name", FILES)
def test_real_files_fit_their_names(name):
    assert misfit(name, FILES[name][:HEAD_BYTES]) is None
    assert misfit(name.upper(), FILES[name][:HEAD_BYTES]) is None


def test_a_tar_is_what_the_reader_of_tars_takes_for_one():
    header = bytearray(tarfile.TarInfo("café.txt").tobuf(tarfile.GNU_FORMAT, encoding="latin-1"))
    header[148:156] = b" " * 8
    signed = sum(byte if byte < 128 else byte - 256 for byte in header)  # as some old programs added up
    header[148:156] = b"%06o\0 " % signed
    assert misfit("a.tar", bytes(header)) is None
    header[0] ^= 1
    assert "instead of a tar archive" in misfit("a.tar", bytes(header))


def family(name: str) -> str:
    kind = name.partition(".")[2]
    return {"npz": "zip", "tgz": "gz", "tar.gz": "gz", "pickle": "pkl", "json": "txt", "csv": "txt"}.get(kind, kind)


@pytest.mark.parametrize("name", FILES)
def test_no_real_file_fits_another_kind_of_name(name):
    others = {other for other in FILES if family(other) != family(name)}
    fooled = {other for other in others if misfit(other, FILES[name][:HEAD_BYTES]) is None}
    if family(name) == "pkl":  # protocol 0 and 1 are letters and brackets
        fooled -= {other for other in fooled if family(other) == "txt"}
    assert fooled == set()


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("a.zip", HTML, "an HTML page instead of a zip file"),
        ("A.Tar.GZ", FILES["a.zip"], "a zip file instead of gzip data"),
        ("a.tar", FILES["a.tgz"], "gzip data instead of a tar archive"),
        (
            "a.tar",
            b"\0" * 512,
            "data of an unknown kind (it begins with 00 00 00 00 00 00 00 00) instead of a tar archive",
        ),
        ("a.pkl", HTML, "an HTML page instead of a pickle"),
        ("a.csv", HTML, "an HTML page instead of a text"),
        ("a.json", b"<?xml version='1.0'?><Error>", "an XML document instead of a text"),
        ("a.txt", b"", "an empty file instead of a text"),
        (
            "a.npy",
            FILES["a.mat"],
            "data of an unknown kind (it begins with 4d 41 54 4c 41 42 20 35) instead of a NumPy array",
        ),
        ("a.mat", b"PK\3\4", "a zip file instead of a MATLAB file"),
        ("README", HTML, "an HTML page instead of the file"),
    ],
)
def test_what_does_not_fit_is_named(name, head, reason):
    assert misfit(name, head) == reason


def test_of_an_unknown_suffix_anything_but_a_page_fits():
    assert misfit("README", b"\0\1") is None
