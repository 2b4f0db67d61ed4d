"""Zip files and folders read in place, and every way in which one can lie."""

import io
import ntpath
import os
import posixpath
import random
import stat
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.errors import ArchiveError
from l2l_core.fetch import archives, zips
from l2l_core.fetch.archives import Tree, join_trees, looks_like, open_tree
from l2l_core.fetch.entries import refuse_files_that_are_folders
from l2l_core.fetch.spans import OpenFile
from l2l_core.fetch.zips import count_listed

FROM_PUBLISHER = "so nothing is read from it; get the archive from its publisher"
FILES = {"set/b/2.png": b"two" * 100, "set/a/1.png": b"one", "unrelated.txt": b"", "set/a/10.png": bytes(range(256))}

# Where fields lie in a member's entry in the table of contents (b"PK\x01\x02") and before its data (b"PK\x03\x04").
TABLE, HEADER = b"PK\x01\x02", b"PK\x03\x04"


def open_any(path: Path, *, max_entries: int = 1000, max_bytes: int = 10**9) -> Tree:
    return open_tree(path, max_entries=max_entries, max_bytes=max_bytes)


def zipped(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of name (or ZipInfo) to bytes, or of such pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            member = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(member, data, compress_type=method)
    return buffer.getvalue()


def _zip_64() -> bytes:
    limit, zipfile.ZIP_FILECOUNT_LIMIT = zipfile.ZIP_FILECOUNT_LIMIT, 1
    try:
        return zipped(FILES)
    finally:
        zipfile.ZIP_FILECOUNT_LIMIT = limit


ZIP_64 = _zip_64()


def patched(archive: bytes, entry: bytes, offset: int, layout: str, value: int) -> bytes:
    """The archive with one field of its first entry of that kind overwritten."""
    changed = bytearray(archive)
    struct.pack_into(layout, changed, archive.index(entry) + offset, value)
    return bytes(changed)


def saved(tmp_path: Path, data: bytes, name: str = "x.zip") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refusal(path: Path, **limits: int) -> str:
    with pytest.raises(ArchiveError) as caught:
        open_any(path, **limits)
    return str(caught.value)


def contents(tree: Tree) -> dict[str, bytes]:
    return {name: tree.read(name) for name in tree.names()}


@pytest.fixture(params=["stored", "deflated", "folder"])
def packed(request, tmp_path):
    """FILES in each kind of container."""
    if request.param != "folder":
        method = zipfile.ZIP_STORED if request.param == "stored" else zipfile.ZIP_DEFLATED
        return saved(tmp_path, zipped({"set/": b"", **FILES}, method), "set")
    for name, data in FILES.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    return tmp_path / "set"


def test_names_sizes_and_bytes(packed):
    tree = open_any(packed)
    assert tree.name == "set"
    assert list(tree.names()) == ["set/a/1.png", "set/a/10.png", "set/b/2.png", "unrelated.txt"]
    assert contents(tree) == FILES
    assert {name: tree.size(name) for name in tree.names()} == {name: len(data) for name, data in FILES.items()}


def test_a_name_that_is_not_there(packed):
    tree = open_any(packed)
    for call in (tree.read, tree.size):
        with pytest.raises(ArchiveError) as caught:
            call("set/a/3.png")
        assert str(caught.value) == "set has no file 'set/a/3.png'; check that it is the right archive, and complete"


def test_litter_is_passed_over(tmp_path):
    litter = ["__MACOSX/set/._1.png", "set/.DS_Store", "set/a/._1.png", "Thumbs.db", "set/.directory"]
    files = {**FILES, **dict.fromkeys(litter, b"litter")}
    for name, data in files.items():
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_bytes(data)
    assert contents(open_any(saved(tmp_path, zipped(files)))) == FILES
    assert contents(open_any(tmp_path / "f")) == FILES


def test_dots_and_double_slashes_in_names_are_dropped(tmp_path):
    assert contents(open_any(saved(tmp_path, zipped({"./a//b/./c": b"1", "./": b""})))) == {"a/b/c": b"1"}


def test_a_zip_without_members_is_an_empty_tree(tmp_path):
    assert list(open_any(saved(tmp_path, zipped({}))).names()) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_threads_may_read_at_once(tmp_path, method):
    files = {f"{i:03}": random.Random(i).randbytes(50 + 97 * i) for i in range(60)}
    tree = open_any(saved(tmp_path, zipped(files, method)))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda name: (name, tree.read(name)), list(files) * 20))
    finally:
        sys.setswitchinterval(interval)
    assert read == list(files.items()) * 20


def test_members_that_inflate_to_more_than_a_piece(tmp_path):
    files = {f"{more}": bytes(2**20 + more) for more in (*range(-3, 300, 7), 2**20, 2**20 + 1)}
    assert contents(open_any(saved(tmp_path, zipped(files)))) == files


def test_a_path_that_is_not_there(tmp_path):
    path = tmp_path / "absent.zip"
    assert refusal(path) == (f"cannot read {path}: it does not exist; give the path of a file or of a folder")


def test_a_path_that_is_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "it is neither a file nor a folder; give the path" in refusal(tmp_path / "pipe")


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    path = saved(tmp_path, zipped(FILES))

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    assert refusal(path) == f"cannot read {path}: Permission denied; make it readable or give another path"


TAR = b"name".ljust(257, b"\0") + b"ustar\0" + bytes(249)
HEADS = {
    b"": "an empty file",
    b"\x1f\x8b\x08\x00": "gzip data",
    b"BZh91AY": "bzip2 data",
    b"\xfd7zXZ\x00\x00": "xz data",
    b"7z\xbc\xaf\x27\x1c\x00": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff\xe0": "a JPEG picture",
    b"%PDF-1.7": "a PDF document",
    b"\xef\xbb\xbf\r\n <!DOCTYPE HTML><html>": "an HTML page",
    b"<html lang=en>": "an HTML page",
    b"<?xml version='1.0'?><Error>": "an XML document",
    b"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer instead of the file itself",
    TAR: "a tar archive",
    b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09": "data of an unknown kind (it begins with 00 01 02 03 04 05 06 07)",
}


@pytest.mark.parametrize(("head", "kind"), HEADS.items(), ids=HEADS.values())
def test_a_file_that_is_not_a_zip_is_named_for_what_it_is(tmp_path, head, kind):
    path = saved(tmp_path, head)
    assert looks_like(head) == kind
    assert refusal(path) == f"{path} is not a zip file but {kind}; give a zip file or a folder"


def test_a_zip_that_is_cut_off(tmp_path):
    whole = zipped(FILES)
    for length in [*range(4, len(whole) - 1, 7), len(whole) - 1]:
        path = saved(tmp_path, whole[:length])
        assert refusal(path) == (
            f"{path} begins like a zip file, but its table of contents is missing or damaged, "
            "as after a download that broke off; get it again"
        )


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [(0, "<I", 0), (6, "<H", 99), (46, "<B", 0xFF)],
    ids=["signature", "version", "name that is not UTF-8"],
)
def test_a_damaged_table_of_contents(tmp_path, offset, layout, value):
    whole = zipped({"é": b"1"})
    path = saved(tmp_path, patched(whole, TABLE, offset, layout, value))
    assert "x.zip begins like a zip file, but its table of contents is missing or damaged, as after" in refusal(path)


def test_damaged_bytes_are_noticed_when_they_are_read(tmp_path):
    whole = zipped({"ok": b"fine" * 9, "bad": b"x" * 1000 + b"y" * 1000})
    at = whole.index(b"bad") + 3
    crc = open_any(saved(tmp_path, patched(whole, TABLE, 16, "<I", 1), "crc.zip"))
    with pytest.raises(ArchiveError) as caught:
        crc.read("ok")
    assert str(caught.value).startswith(f"'ok' in {tmp_path / 'crc.zip'} is damaged (Bad CRC-32")
    assert str(caught.value).endswith("); get the archive again")
    flate = open_any(saved(tmp_path, whole[:at] + b"\xff\xff" + whole[at + 2 :], "flate.zip"))
    with pytest.raises(ArchiveError, match="'bad' in .*flate.zip is damaged .Error -3 while decompressing"):
        flate.read("bad")
    assert flate.read("ok") == b"fine" * 9
    early = open_any(saved(tmp_path, patched(whole, TABLE, 20, "<I", 5), "early.zip"))
    with pytest.raises(ArchiveError, match=r"'ok' in .*early.zip is damaged \(it ends too early\); get the archive"):
        early.read("ok")
    moved = open_any(saved(tmp_path, whole.replace(b"PK\x03\x04", b"PK\x03\x05", 1), "moved.zip"))
    with pytest.raises(ArchiveError, match=r"'ok' in .* is damaged \(there is no header where the table of contents"):
        moved.read("ok")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_damage_raises_anything_but_our_error(tmp_path_factory, data):
    whole = bytearray(zipped(FILES))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    path = saved(tmp_path_factory.getbasetemp(), bytes(whole[:end]), "fuzzed.zip")
    try:
        tree = open_any(path, max_bytes=10**5)
    except ArchiveError:
        return
    for name in tree.names():
        try:
            assert len(tree.read(name)) == tree.size(name)
        except ArchiveError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil", "points outside the archive"),
        ("a/../../evil", "points outside the archive"),
        ("a/..", "points outside the archive"),
        ("../", "points outside the archive"),
        ("__MACOSX/../../evil", "points outside the archive"),
        ("/etc/passwd", "points outside the archive"),
        ("//host/share", "points outside the archive"),
        ("C:evil", "points outside the archive"),
        ("c:/evil", "points outside the archive"),
        (".//c:evil", "points outside the archive"),
        ("a\\..\\evil", "has a backslash or NUL in its name"),
        ("", "has no name"),
        (".", "has no name"),
    ],
)
def test_unsafe_names_are_refused(tmp_path, name, why):
    path = saved(tmp_path, zipped({"ok": b"1", name: b"2"}))
    assert refusal(path) == f"{name!r} in x.zip {why}, {FROM_PUBLISHER}"


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_names_that_are_too_long_or_too_deep_are_refused(tmp_path, kind):
    deep, long = "a/" * 99 + "b", "/".join(["é" * 120] * 17)
    assert len(long.encode()) == 4096
    said = "has a name of more than 4,096 bytes or 100 parts"

    def packed(name: str) -> Path:
        if kind == "zip":
            return saved(tmp_path, zipped({name: b"1"}))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        return saved(tmp_path, buffer.getvalue(), "x.tar")

    if kind == "folder":
        for i, name in enumerate((deep, "a/" + deep)):
            (tmp_path / f"{i}" / name).parent.mkdir(parents=True)
            (tmp_path / f"{i}" / name).touch()
        assert list(open_any(tmp_path / "0").names()) == [deep]
        assert refusal(tmp_path / "1") == f"{('a/' + deep)[:100] + '…'!r} in 1 {said}, {FROM_PUBLISHER}"
        return
    for name in (deep, long):
        assert list(open_any(packed(name)).names()) == [name]
    for name in ("a/" + deep, long + "x"):
        assert refusal(packed(name)) == f"{name[:100] + '…'!r} in x.{kind} {said}, {FROM_PUBLISHER}"


def test_names_that_are_not_utf_8_are_refused(tmp_path):
    said = "has a name that is not UTF-8, so that it cannot be stored; rename it"
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    path = folder / "a" / os.fsdecode(b"gr\xfc\xdfe.png")
    path.touch()
    assert refusal(folder) == f"'a/gr\\udcfc\\udcdfe.png' in folder {said}"
    path.write_bytes(b"1")
    assert refusal(path).endswith(f" {said}")


def test_what_deep_names_take_is_no_more_than_their_letters(tmp_path):
    names = [f"{i}/" + "a/" * 98 + "b" for i in range(1000)]
    path = saved(tmp_path, zipped(dict.fromkeys(names, b"")))
    tracemalloc.start()
    open_any(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * len(names)


paths = st.lists(st.sampled_from(["a", "a.b", "a!", "b", "\x01"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(files=st.sets(paths, max_size=6), folders=st.sets(paths, max_size=3))
def test_files_that_are_folders_are_found_as_by_comparing_all(files, folders):
    both = {one for one in files for other in (*files, *folders) if other.startswith(one + "/")} | (files & folders)
    try:
        refuse_files_that_are_folders("x", files, folders)
    except ArchiveError as error:
        assert str(error) == f"{min(both)!r} in x is both a file and a folder, {FROM_PUBLISHER}"
    else:
        assert not both


def test_a_file_that_is_too_large_is_viewed_and_not_read(tmp_path, monkeypatch):
    tree = open_any(saved(tmp_path, zipped({"a": bytes(1001), "b": bytes(1000)})))
    assert archives.MAX_READ_BYTES == 256 * 2**20
    monkeypatch.setattr(archives, "MAX_READ_BYTES", 1000)
    assert tree.read("b") == bytes(1000)
    assert tree.view("a") == bytes(1001)
    with pytest.raises(ArchiveError) as caught:
        tree.read("a")
    assert str(caught.value) == (
        "'a' in x.zip has 1,001 bytes, more than the 1,000 that a file of its kind may have; get the data again"
    )


# The table of contents of a zip file.


@pytest.fixture(params=["plain", "comment", "zip64", "zip64 and comment", "behind a program"])
def table_of_seven(request, monkeypatch):
    """A zip file of seven members."""
    if "zip64" in request.param:
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    whole = bytearray(zipped({f"{i}": b"1" for i in range(7)}))
    assert (b"PK\6\6" in whole) == ("zip64" in request.param)
    if "comment" in request.param:
        whole[-2:] = struct.pack("<H", 60_000) + b"PK\1\2" * 15_000
    return b"#!/bin/sh\n" * (request.param == "behind a program") + bytes(whole)


def test_members_are_counted_before_they_are_listed(tmp_path, monkeypatch, table_of_seven):
    path = saved(tmp_path, table_of_seven)
    assert len(open_any(path, max_entries=7).names()) == 7
    with OpenFile.at(path) as file:
        assert count_listed(file) == 7

    def refuse(*_, **__):
        raise AssertionError("the table was read")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    assert refusal(path, max_entries=6) == (
        "x.zip holds more than the 6 entries that are allowed here; give only the data set's files"
    )


def test_members_are_counted_whatever_the_end_of_the_table_says(tmp_path, table_of_seven):
    changed = bytearray(table_of_seven)
    for signature, at, layout in ((b"PK\5\6", 8, "<HH"), (b"PK\6\6", 24, "<QQ")):
        if signature in table_of_seven:
            struct.pack_into(layout, changed, changed.rindex(signature) + at, 1, 1)
    path = saved(tmp_path, bytes(changed))
    with OpenFile.at(path) as file:
        assert count_listed(file) == 7
    assert len(open_any(path).names()) == 7


def test_members_are_counted_where_zipfile_finds_them(tmp_path):
    last = zipfile.ZipInfo("6")
    last.comment = b"PK\6\7".ljust(20, b"\0")  # looks like the locator of a longer record
    located = zipped([*((f"{i}", b"1") for i in range(6)), (last, b"1")])
    plain = zipped({f"{i}": b"1" for i in range(7)})
    marked = plain[:-18] + b"PK\5\6" + plain[-14:]  # in the numbers of disks, which nobody reads
    for whole in (located, marked):
        path = saved(tmp_path, whole)
        with OpenFile.at(path) as file:
            assert count_listed(file) == 7
        assert len(open_any(path).names()) == 7


def test_marks_of_the_table_are_counted_across_pieces(tmp_path, monkeypatch):
    path = saved(tmp_path, zipped({f"{i}": b"1" for i in range(7)}))
    for size in range(4, 60):
        monkeypatch.setattr(zips, "CHUNK_BYTES", size)
        with OpenFile.at(path) as file:
            assert count_listed(file) == 7


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_damage_lists_more_members_than_are_counted(tmp_path_factory, data):
    whole = bytearray(data.draw(st.sampled_from([ZIP_64, zipped(FILES)])))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[-data.draw(st.integers(1, 140))] = data.draw(st.sampled_from([0, 1, 5, 6, 44, 255]))
    path = saved(tmp_path_factory.getbasetemp(), bytes(whole), "counted.zip")
    try:
        with zipfile.ZipFile(path) as reference:
            listed = len(reference.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error):
        return
    with OpenFile.at(path) as file:
        assert count_listed(file) >= listed


def test_a_name_with_nul_is_refused(tmp_path):
    path = saved(tmp_path, zipped({"innocent.png0exe": b"1"}).replace(b".png0", b".png\0"))
    assert refusal(path) == f"'innocent.png\\x00exe' in x.zip has a backslash or NUL in its name, {FROM_PUBLISHER}"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(parts=st.lists(st.sampled_from(["a", "b", ".", "..", "", "C:", "a\\b", "\\", "~", "...", " "]), max_size=5))
def test_a_name_that_is_let_through_stays_inside_on_every_system(tmp_path_factory, parts):
    path = saved(tmp_path_factory.getbasetemp(), zipped({"/".join(parts): b""}), "named.zip")
    try:
        names = open_any(path).names()
    except ArchiveError:
        return
    for name in names:
        assert posixpath.normpath(posixpath.join("/top/set", name)) == f"/top/set/{name}"
        assert ntpath.normpath(ntpath.join("D:\\root", name)).startswith("D:\\root\\")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    member = zipfile.ZipInfo("a/link")
    member.external_attr = (kind | 0o777) << 16
    path = saved(tmp_path, zipped([(member, b"../../etc/passwd")]))
    assert refusal(path) == f"'a/link' in x.zip is a link or a device, {FROM_PUBLISHER}"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a/b", "a/b"), ("a/b", "a//b"), ("a/b", "./a/b")])
def test_a_name_that_stands_twice_is_refused(tmp_path, names):
    path = saved(tmp_path, zipped([(name, name.encode()) for name in names]))
    assert refusal(path) == f"{names[1]!r} in x.zip stands there twice, {FROM_PUBLISHER}"


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b/c/d", "a/b"), ("a", "a/"), ("a/b/", "a"), ("a/", "a/b/", "a/b")])
def test_a_name_that_is_file_and_folder_is_refused(tmp_path, names):
    path = saved(tmp_path, zipped([(name, b"") for name in names]))
    both = min((name for name in names if not name.endswith("/")), key=len)
    assert refusal(path) == f"{both!r} in x.zip is both a file and a folder, {FROM_PUBLISHER}"


def test_an_encrypted_member_is_refused(tmp_path):
    path = saved(tmp_path, patched(zipped({"a": b"1"}), TABLE, 8, "<H", 1))
    assert refusal(path) == "'a' in x.zip is encrypted; decrypt it and pack it again"


def test_a_method_of_compression_that_cannot_be_bounded_is_refused(tmp_path):
    path = saved(tmp_path, zipped({"a": b"1"}, zipfile.ZIP_LZMA))
    assert refusal(path) == (
        "'a' in x.zip is compressed by method 14, which is not read here; pack it again with plain zip"
    )


def test_too_many_entries(packed):
    entries = len(FILES) + (1 if packed.is_file() else 3)  # and the folders
    open_any(packed, max_entries=entries)
    assert refusal(packed, max_entries=entries - 1) == (
        f"set holds more than the {entries - 1} entries that are allowed here; give only the data set's files"
    )


def test_too_many_bytes(packed):
    total = sum(map(len, FILES.values()))
    open_any(packed, max_bytes=total)
    assert refusal(packed, max_bytes=total - 1) == (
        f"set holds more than the {total - 1} bytes that are allowed here; give only the data set's files"
    )


def test_a_huge_folder_is_given_up_early(tmp_path, monkeypatch):
    for i in range(20):
        (tmp_path / f"{i}/deeper").mkdir(parents=True)
    scanned, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (scanned.append(path), scandir(path))[1])
    assert "more than the 5 entries" in refusal(tmp_path, max_entries=5)
    assert len(scanned) == 1


@pytest.mark.parametrize("checksum", ["of all", "of the part"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_larger_than_it_says_is_refused_and_not_inflated(tmp_path, method, checksum):
    size, claimed = 30_000_000, 1000
    bomb = zipped({"bomb": bytes(size)}, method)
    bomb = patched(patched(bomb, TABLE, 24, "<I", claimed), HEADER, 22, "<I", claimed)
    if checksum == "of the part":
        bomb = patched(bomb, TABLE, 16, "<I", zipfile.crc32(bytes(claimed + 1)))
    tree = open_any(saved(tmp_path, bomb), max_bytes=claimed)
    tracemalloc.start()
    with pytest.raises(ArchiveError) as caught:
        tree.read("bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    if checksum == "of the part":
        assert str(caught.value) == "'bomb' in x.zip holds more bytes than the 1,000 listed for it; get the data again"


def test_a_member_smaller_than_it_says_is_refused(tmp_path):
    path = saved(tmp_path, patched(zipped({"a": b"12345"}), TABLE, 24, "<I", 6))
    with pytest.raises(ArchiveError) as caught:
        open_any(path).read("a")
    assert str(caught.value) == "'a' in x.zip holds fewer bytes than the 6 listed for it; get the data again"


@pytest.mark.parametrize("to", ["/etc/passwd", "1.png", "absent", "."])
def test_a_link_in_a_folder_is_refused_by_name(tmp_path, to):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"1")
    (tmp_path / "a/link").symlink_to(to)
    assert refusal(tmp_path) == (
        f"'a/link' in {tmp_path} is a symbolic link, which is not followed; put the file itself there"
    )


def test_a_folder_reached_by_a_link_and_holding_odd_things(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"1")
    (folder / "back\\slash").write_bytes(b"2")
    os.mkfifo(folder / "pipe")
    (tmp_path / "link").symlink_to(folder)
    tree = open_any(tmp_path / "link")
    assert tree.name == "link"
    assert contents(tree) == {"1.png": b"1", "back\\slash": b"2"}


def test_a_folder_that_changes_while_it_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    tree = open_any(tmp_path)
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").unlink()
    with pytest.raises(ArchiveError, match="'a' in .* holds more bytes than the 1 listed for it; get the data again"):
        tree.read("a")
    with pytest.raises(ArchiveError, match=r"cannot read 'b' in .*: No such file or directory; make it readable or"):
        tree.read("b")


def test_joined_trees_are_one(tmp_path):
    first = open_any(saved(tmp_path, zipped({"set/b": b"1", "set/d": b"2"}), "1.zip"))
    second = open_any(saved(tmp_path, zipped({"set/a": b"3", "set/c": b"4"}), "2.zip"))
    joined = join_trees([first, second])
    assert joined.name == "1.zip + 2.zip"
    assert list(joined.names()) == ["set/a", "set/b", "set/c", "set/d"]
    assert contents(joined) == {"set/a": b"3", "set/b": b"1", "set/c": b"4", "set/d": b"2"}
    assert joined.size("set/c") == 1


def test_joined_trees_must_not_overlap(tmp_path):
    first = open_any(saved(tmp_path, zipped({"a": b"1", "b": b"2"}), "1.zip"))
    again = open_any(saved(tmp_path, zipped({"b": b"2"}), "2.zip"))
    inside = open_any(saved(tmp_path, zipped({"a/c": b"3"}), "3.zip"))
    with pytest.raises(ArchiveError) as caught:
        join_trees([first, again])
    assert str(caught.value) == "'b' is in both 1.zip and 2.zip, so they cannot be read as one; leave one of them out"
    with pytest.raises(ArchiveError) as caught:
        join_trees([first, inside])
    assert str(caught.value) == f"'a' in 1.zip + 3.zip is both a file and a folder, {FROM_PUBLISHER}"
