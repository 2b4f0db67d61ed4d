"""Tar archives read in place, plain and compressed, against `tarfile`; tars inside; views instead of copies."""

import bz2
import contextlib
import gzip
import io
import lzma
import mmap
import os
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.errors import ArchiveError, CacheError
from l2l_core.fetch.archives import Tree, join_trees, open_tree, put_under

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
FILES = {
    "set/b/2.png": b"two" * 1000,
    "set/a/1.png": b"one",
    "unrelated.txt": b"",
    "set/a/10.png": bytes(range(256)) * 2,  # a block exactly
    "set/ä/é.txt": b"names of two bytes a letter",
}
LONG = {"/".join(["folder" * 9] * 5) + f"/{i}.png": b"%d" % i for i in range(3)}
MIB = 1 << 20


def tarred(members: dict[str, bytes], layout: int = tarfile.PAX_FORMAT, folders: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as archive:
        for folder in folders:
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return buffer.getvalue()


def saved(folder: Path, data: bytes, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def open_any(path: Path, *, max_entries: int = 1000, max_bytes: int = 10**9, scratch: Path | None = None) -> Tree:
    return open_tree(path, max_entries=max_entries, max_bytes=max_bytes, scratch=scratch)


def contents(tree: Tree) -> dict[str, bytes]:
    return {name: tree.read(name) for name in tree.names()}


def refusal(path: Path, **limits) -> str:
    with pytest.raises(ArchiveError) as caught:
        open_any(path, **limits)
    return str(caught.value)


def rewritten(block: bytes) -> bytes:
    """A header whose checksum fits again."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("layout", FORMATS)
def test_names_sizes_and_bytes(tmp_path, layout, packer):
    files = FILES if layout == "ustar" else {**FILES, **LONG, "x" * 200: b"long"}
    data = tarred(files, FORMATS[layout], folders=("set", "set/empty"))
    tree = open_any(saved(tmp_path, PACKERS[packer](data), f"set.tar{packer}"))
    assert tree.name == f"set.tar{packer}"
    assert list(tree.names()) == sorted(files)
    assert contents(tree) == files
    assert {name: tree.size(name) for name in files} == {name: len(data) for name, data in files.items()}
    assert {name: bytes(tree.view(name)) for name in files} == files
    with pytest.raises(ArchiveError, match=r"set.tar\S* has no file 'set/c'; check that it is the right archive"):
        tree.view("set/c")
    tree.close()
    with pytest.raises(ArchiveError, match=r"cannot read 'set/a/1.png' in .*: Bad file descriptor; make it readable"):
        tree.read("set/a/1.png")


@pytest.mark.parametrize("name", ["x.tgz", "x.tar", "x.tar.bz2", "x"])
@pytest.mark.parametrize("packer", PACKERS)
def test_what_a_tar_is_compressed_by_is_seen_in_its_bytes(tmp_path, name, packer):
    assert contents(open_any(saved(tmp_path, PACKERS[packer](tarred(FILES)), name))) == FILES


def test_streams_one_after_the_other_are_one(tmp_path):
    data = tarred(FILES)
    for packer in (gzip.compress, bz2.compress, lzma.compress):
        packed = packer(data[:700]) + packer(data[700:])
        assert contents(open_any(saved(tmp_path, packed, "x.tgz"))) == FILES


def test_the_oldest_tars_have_no_magic_and_mark_folders_by_a_slash(tmp_path):
    whole = tarred({"old/": b"", "old/1.png": b"1"}, tarfile.USTAR_FORMAT)
    blocks = [whole[at : at + 512] for at in range(0, len(whole), 512)]
    for i in (0, 1):
        blocks[i] = rewritten(blocks[i][:156] + b"\0" + bytes(355))
    assert contents(open_any(saved(tmp_path, b"".join(blocks), "old.tar"))) == {"old/1.png": b"1"}
    signed = bytearray(blocks[1])
    signed[400] = 200  # counted as -56 by some
    signed[148:156] = b"%06o\0 " % (sum(rewritten(bytes(signed))[:148]) + 256 + sum(signed[156:]) - 256)
    blocks[1] = bytes(signed)
    assert contents(open_any(saved(tmp_path, b"".join(blocks), "signed.tar"))) == {"old/1.png": b"1"}


def test_sizes_beyond_octal(tmp_path):
    whole = tarred({"1.png": b"1"}, tarfile.GNU_FORMAT)
    binary = rewritten(whole[:124] + b"\x80" + (1).to_bytes(11, "big") + whole[136:512]) + whole[512:]
    assert contents(open_any(saved(tmp_path, binary, "x.tar"))) == {"1.png": b"1"}


def test_fields_that_mean_something_else_elsewhere(tmp_path):
    gnu = tarred({"1.png": b"1"}, tarfile.GNU_FORMAT)
    times = rewritten(gnu[:345] + b"14000000000\0" + gnu[357:512]) + gnu[512:]  # where ustar has a folder
    assert contents(open_any(saved(tmp_path, times, "times.tar"))) == {"1.png": b"1"}
    folder = tarred({}, folders=("set",))[:512]
    sized = rewritten(folder[:124] + b"00000001000\0" + folder[136:]) + gnu  # of a folder, no bytes follow
    assert contents(open_any(saved(tmp_path, sized, "sized.tar"))) == {"1.png": b"1"}


def test_names_that_are_not_utf_8_are_latin_1(tmp_path):
    data = tarred({"gr\udcfc\udcdfe.png": b"1"}, tarfile.GNU_FORMAT)
    assert contents(open_any(saved(tmp_path, data, "x.tar"))) == {"grüße.png": b"1"}


def test_attributes_and_comments_do_not_matter(tmp_path):
    buffer = io.BytesIO()
    headers = {"comment": "git archive writes the commit here"}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        for name in ("a", "b"):
            entry = tarfile.TarInfo(name)
            entry.pax_headers = {"SCHILY.xattr.user": "x" * 70_000, "mtime": "1.5"}
            entry.size = 1
            archive.addfile(entry, io.BytesIO(name.encode()))
    assert contents(open_any(saved(tmp_path, buffer.getvalue(), "x.tar"))) == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize(
    "data", [bytes(1024), bytes(10240), gzip.compress(bytes(10240), mtime=0)], ids=["short", "block", "packed"]
)
def test_a_tar_without_members_is_an_empty_tree(tmp_path, data):
    assert list(open_any(saved(tmp_path, data, "x.tar")).names()) == []


def test_litter_is_passed_over(tmp_path):
    litter = ["__MACOSX/set/._1.png", "set/.DS_Store", "set/a/._1.png", "._x.tar"]
    data = tarred({**FILES, **dict.fromkeys(litter, b"litter")})
    assert contents(open_any(saved(tmp_path, data, "x.tar"))) == FILES


def test_dots_and_double_slashes_in_names_are_dropped(tmp_path):
    data = tarred({"./a//b/./c": b"1"}, tarfile.GNU_FORMAT, folders=("./",))
    assert contents(open_any(saved(tmp_path, data, "x.tar"))) == {"a/b/c": b"1"}


@pytest.mark.parametrize("packer", ["", ".gz"])
def test_threads_may_read_at_once(tmp_path, packer):
    files = {f"{i:03}": random.Random(i).randbytes(50 + 97 * i) for i in range(60)}
    tree = open_any(saved(tmp_path, PACKERS[packer](tarred(files)), "x.tar"))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda name: (name, tree.read(name), bytes(tree.view(name))), list(files) * 20))
    assert read == [(name, data, data) for name, data in files.items()] * 20


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    files=st.dictionaries(st.text("abcdé", min_size=1, max_size=120), st.binary(max_size=1500), max_size=5),
    layout=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_any_tar_reads_as_tarfile_reads_it(tmp_path_factory, files, layout):
    path = saved(tmp_path_factory.getbasetemp(), tarred(files, layout), "any.tar")
    with tarfile.open(path) as reference:
        expected = {entry.name: reference.extractfile(entry).read() for entry in reference}
    assert contents(open_any(path)) == expected == files


# What is too much, cut off or not what it says.


@pytest.mark.parametrize("packer", PACKERS)
def test_a_tar_that_is_cut_off(tmp_path, packer):
    whole = PACKERS[packer](tarred({f"{i}": random.Random(i).randbytes(600) for i in range(4)}))
    # A plain tar may lose the padding behind the mark of its end: one zero block is mark enough.
    shortest = len(whole) - 1 if packer else 4 * (512 + 1024) + 511
    for length in sorted({*range(600, shortest, 97), *range(512 * 3, shortest, 512), shortest}):
        path = saved(tmp_path, whole[:length], f"x.tar{packer}")
        assert refusal(path).startswith(f"{path} is damaged (")
        assert refusal(path).endswith("); get it again")


def test_a_cut_says_that_it_is_one(tmp_path):
    whole = tarred({"a": bytes(600)})
    path = saved(tmp_path, whole[:1536], "x.tar")
    assert refusal(path) == (
        f"{path} is damaged (it ends in the middle, as after a download that broke off); get it again"
    )
    path = saved(tmp_path, whole[:1000], "y.tar")
    assert refusal(path) == f"{path} is damaged (the 600 bytes after byte 512 are not all there); get it again"
    path = saved(tmp_path, gzip.compress(whole)[:-9], "z.tgz")
    assert refusal(path) == (
        f"{path} is damaged (Compressed file ended before the end-of-stream marker was reached); get it again"
    )


def test_a_tar_whose_first_header_is_damaged(tmp_path):
    for name in ("x.tar", "x"):
        path = saved(tmp_path, b"!" + tarred(FILES)[1:], name)
        assert refusal(path) == (f"{path} is damaged (there is no header at byte 0, where one should be); get it again")


def test_a_hole_in_a_tar_is_no_end(tmp_path):
    whole = tarred({"a": b"1", "b": b"2"})
    path = saved(tmp_path, whole[:1024] + bytes(512) + whole[1536:], "x.tar")
    assert refusal(path) == (
        f"{path} is damaged (more data follows its end at byte 1,024, as after a download with a hole); get it again"
    )
    path = saved(tmp_path, whole + bytes(2 * MIB), "y.tar")
    assert "more data follows its end at byte 2,048" in refusal(path)
    path = saved(tmp_path, whole[:2048] + bytes(MIB), "z.tar")
    assert list(open_any(path).names()) == ["a", "b"]


@pytest.mark.parametrize("packer", [".gz", ".bz2", ".xz"])
def test_damage_to_compressed_bytes_is_noticed(tmp_path, packer):
    data = tarred({"a": random.Random(0).randbytes(5000)})
    packed = bytearray(PACKERS[packer](data))
    packed[len(packed) // 2] ^= 1
    path = saved(tmp_path, bytes(packed), f"x.tar{packer}")
    assert refusal(path).startswith(f"{path} is damaged (")


def test_what_a_tar_suffix_promises(tmp_path):
    page = b"<!DOCTYPE html><html>Quota exceeded</html>"
    for name in ("x.tar", "x.tgz", "x.tar.xz"):
        path = saved(tmp_path, page, name)
        assert refusal(path) == f"{path} is not a tar archive but an HTML page; give a tar archive or a folder"
    path = saved(tmp_path, gzip.compress(page), "x.tar.gz")
    assert refusal(path) == (
        f"{path} is not a tar archive but gzip data that holds an HTML page; give a tar archive or a folder"
    )
    path = saved(tmp_path, b"", "y.tar")
    assert refusal(path) == f"{path} is not a tar archive but an empty file; give a tar archive or a folder"
    path = saved(tmp_path, zipped({"a": b"1"}, zipfile.ZIP_STORED), "y.tgz")
    assert refusal(path) == f"{path} is not a tar archive but a zip file; give a tar archive or a folder"
    path = saved(tmp_path, tarred({"a": b"1"}), "y.zip")
    assert refusal(path) == f"{path} is not a zip file but a tar archive; give a zip file or a folder"
    path = saved(tmp_path, b"{}", "x.json.gz")
    assert "is not gzip data but data of an unknown kind (it begins with 7b 7d); give gzip" in refusal(path)


def test_too_many_entries_and_bytes(tmp_path):
    for packer in PACKERS:
        path = saved(tmp_path, PACKERS[packer](tarred(FILES, folders=("set",))), f"x.tar{packer}")
        entries, total = len(FILES) + 1, sum(map(len, FILES.values()))
        open_any(path, max_entries=entries, max_bytes=total)
        assert refusal(path, max_entries=entries - 1) == (
            f"x.tar{packer} holds more than the {entries - 1} entries that are allowed here; "
            "give only the data set's files"
        )
        assert refusal(path, max_bytes=total - 1) == (
            f"x.tar{packer} holds more than the {total - 1:,} bytes that are allowed here; "
            "give only the data set's files"
        )


def test_a_gzip_bomb_is_inflated_no_further_than_allowed(tmp_path, monkeypatch):
    path = saved(tmp_path, gzip.compress(bytes(100 * MIB), 1), "x.tgz")
    scratch = tmp_path / "scratch"
    written, write = [], os.dup
    monkeypatch.setattr(os, "dup", lambda descriptor: (written.append(descriptor), write(descriptor))[1])
    assert "holds more than the 1,000 bytes that are allowed" in refusal(path, max_bytes=1000, scratch=scratch)
    assert written == []  # given up before there was a file to read
    assert list(tmp_path.iterdir()) == [path]


# Tars inside.


def test_tars_inside_appear_as_folders(tmp_path):
    inner = {"n1_1.JPEG": b"a", "deep/n1_2.JPEG": b"bb"}
    twice = {"x.tar": tarred(inner)}
    members = {
        "n1.tar": tarred(inner),
        "f/n2.TAR": tarred(twice),
        "n3.tar": b"<html>",
        "n4.tar.gz": gzip.compress(tarred(inner)),
        ".tar": tarred(inner),
    }
    expected = {
        **{f"n1/{name}": data for name, data in inner.items()},
        "f/n2/x.tar": twice["x.tar"],  # one level is enough
        **{name: members[name] for name in ("n3.tar", "n4.tar.gz", ".tar")},
    }
    for name, data in members.items():
        saved(tmp_path, data, f"folder/{name}")
    paths = [
        tmp_path / "folder",
        saved(tmp_path, tarred(members), "all.tar"),
        saved(tmp_path, gzip.compress(tarred(members)), "all.tgz"),
        saved(tmp_path, zipped(members, zipfile.ZIP_STORED), "all.zip"),
    ]
    for path in paths:
        tree = open_any(path)
        assert contents(tree) == expected
        assert {name: bytes(tree.view(name)) for name in tree.names()} == expected
        entries = len(members) + 2 * (path.name == "folder") - (path.name == "folder") + 3
        open_any(path, max_entries=entries, max_bytes=sum(map(len, expected.values())))
        assert "entries" in refusal(path, max_entries=entries - 1)
        assert "bytes" in refusal(path, max_bytes=sum(map(len, expected.values())) - 1)
    deflated = open_any(saved(tmp_path, zipped(members, zipfile.ZIP_DEFLATED), "deflated.zip"))
    assert contents(deflated) == members


def test_a_tar_inside_is_checked_like_any(tmp_path):
    def nested(inner: bytes) -> Path:
        return saved(tmp_path, tarred({"ok.png": b"1", "f/n1.tar": inner}), "x.tar")

    publisher = "so nothing is read from it; get the archive from its publisher"
    assert refusal(nested(tarred({"../evil": b""}))) == f"'../evil' in x.tar points outside the archive, {publisher}"
    path = nested(tarred({"a": bytes(600)})[:1024])
    assert refusal(path) == (
        f"{path} is damaged ('f/n1.tar' in it: the 600 bytes after byte 512 are not all there); get it again"
    )
    path = saved(tmp_path, tarred({"n1.tar": tarred({"a": b"1"}), "n1/a": b"2"}), "twice.tar")
    assert refusal(path) == f"'n1/a' in twice.tar stands there twice, {publisher}"
    path = saved(tmp_path, tarred({"n1": b"", "n1.tar": tarred({"a": b"1"})}), "clash.tar")
    assert refusal(path) == f"'n1' in clash.tar is both a file and a folder, {publisher}"


def test_a_folder_of_more_tars_than_files_may_be_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        for i in range(60):
            saved(tmp_path, tarred({f"{i}.png": b"%d" % i}), f"folder/n{i:02}.tar")
        tree = open_any(tmp_path / "folder")
        assert contents(tree) == {f"n{i:02}/{i}.png": b"%d" % i for i in range(60)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Single files.


@pytest.mark.parametrize("name", ["x.pkl", "x.npy", "x.json", "x.csv", "x.mat", "x.bin", "x.wav", "train"])
def test_a_single_file_is_a_tree_of_one(tmp_path, name):
    data = b"\x80\x04 whatever it is" * 99
    tree = open_any(saved(tmp_path, data, name))
    assert (tree.name, list(tree.names()), contents(tree)) == (name, [name], {name: data})
    assert bytes(tree.view(name)) == data
    assert "more than the 10 bytes" in refusal(tmp_path / name, max_bytes=10)


def test_an_npz_is_a_single_file_although_it_is_a_zip(tmp_path):
    data = zipped({"a.npy": b"1"}, zipfile.ZIP_STORED)
    assert contents(open_any(saved(tmp_path, data, "x.npz"))) == {"x.npz": data}


@pytest.mark.parametrize("packer", [".gz", ".bz2", ".xz"])
def test_a_compressed_single_file_loses_its_suffix(tmp_path, packer):
    data = b'{"category": "WORLD"}\n' * 99
    tree = open_any(saved(tmp_path, PACKERS[packer](data), f"news.json{packer}"))
    assert (tree.name, contents(tree)) == (f"news.json{packer}", {"news.json": data})
    assert contents(open_any(saved(tmp_path, PACKERS[packer](data), "news"))) == {"news": data}
    assert "more than the 10 bytes" in refusal(tmp_path / f"news.json{packer}", max_bytes=10)


def test_what_servers_send_instead_of_a_file_is_refused(tmp_path):
    said = {
        b"": "an empty file",
        b"<!doctype html><html>": "an HTML page",
        b"<?xml version='1.0'?><Error>": "an XML document",
        b"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer instead of the file itself",
        b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    }
    for data, kind in said.items():
        path = saved(tmp_path, data, "x.pkl")
        assert refusal(path) == f"{path} is {kind}, and no data, as some servers send instead of it; get it again"
        if data:
            path = saved(tmp_path, gzip.compress(data), "x.pkl.gz")
            assert refusal(path).startswith(f"{path} is gzip data that holds {kind}, and no data")


def test_zstd_is_read_or_named(tmp_path):
    try:
        from compression import zstd
    except ImportError:
        path = saved(tmp_path, b"\x28\xb5\x2f\xfd" + bytes(600), "x.tar.zst")
        assert refusal(path) == (
            f"{path} is zstd data, which this Python cannot inflate (No module named 'compression'); inflate it first"
        )
    else:
        assert contents(open_any(saved(tmp_path, zstd.compress(tarred(FILES)), "x.tar.zst"))) == FILES


# Views.

BIG = {"big": random.Random(1).randbytes(8 * MIB + 7), "small": b"small"}


@pytest.mark.parametrize("kind", ["folder", "tar", "tgz", "nested", "stored", "deflated", "single", "joined"])
def test_a_large_view_is_mapped_and_not_copied(tmp_path, kind):
    members = {"n.tar": tarred(BIG)} if kind == "nested" else BIG
    if kind in ("folder", "joined"):
        for name, data in BIG.items():
            saved(tmp_path, data, f"x/{name}")
    path = {
        "tar": lambda: saved(tmp_path, tarred(members), "x.tar"),
        "nested": lambda: saved(tmp_path, tarred(members), "x.tar"),
        "tgz": lambda: saved(tmp_path, gzip.compress(tarred(members), 1), "x.tgz"),
        "stored": lambda: saved(tmp_path, zipped(members, zipfile.ZIP_STORED), "x.zip"),
        "deflated": lambda: saved(tmp_path, zipped(members, zipfile.ZIP_DEFLATED), "x.zip"),
        "single": lambda: saved(tmp_path, BIG["big"], "big"),
    }.get(kind, lambda: tmp_path / "x")()
    scratch = tmp_path / "scratch"
    tree = opened = open_any(path, scratch=scratch)
    name = {"nested": "n/big", "joined": "top/big"}.get(kind, "big")
    if kind == "joined":
        tree = join_trees([put_under("top", opened), open_any(saved(tmp_path, b"{}", "other.json"))])
    tracemalloc.start()
    view = tree.view(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (6 * MIB if kind == "deflated" else MIB)
    assert view.readonly
    assert isinstance(view.obj, mmap.mmap)
    assert view == BIG["big"]
    assert not scratch.exists()
    again = tree.view(name)
    if kind not in ("folder", "joined"):
        assert again.obj is view.obj  # inflated, and mapped, once
    if kind != "single":
        assert bytes(tree.view(name.replace("big", "small"))) == b"small"
    opened.close()
    assert view == BIG["big"]


def test_a_view_of_a_damaged_member(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = bytearray(zipped({"big": random.Random(2).randbytes(2 * MIB)}, method))
        data[MIB] ^= 255
        tree = open_any(saved(tmp_path, bytes(data), "x.zip"))
        with pytest.raises(ArchiveError, match=r"'big' in .*x.zip is damaged \(.*\); get the archive again"):
            tree.view("big")


def test_a_file_that_shrinks_is_noticed(tmp_path):
    path = saved(tmp_path, tarred(BIG), "x.tar")
    tree = open_any(path)
    os.truncate(path, MIB)
    for get in (tree.view, tree.read):
        with pytest.raises(ArchiveError, match=r"'big' in x.tar holds fewer bytes than the 8,388,615 listed for it"):
            get("big")


def test_a_scratch_folder_that_cannot_be_written(tmp_path):
    path = saved(tmp_path, gzip.compress(tarred(FILES)), "x.tgz")
    blocked = saved(tmp_path, b"", "blocked")
    with pytest.raises(CacheError) as caught:
        open_any(path, scratch=blocked)
    assert str(caught.value) == (
        f"cannot write the inflated x.tgz to {blocked}: a file stands where a folder should be; "
        "choose another folder with --root or L2L_HOME"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(CacheError, match=r"cannot write the inflated x.tgz to .*; choose another .* with TMPDIR"):
            open_any(path)
        with pytest.raises(CacheError, match="the file is larger than this system allows"):
            open_any(path, scratch=tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [tarred(FILES), b"<html>", b"{}"], ids=["tar", "page", "other"])
def test_a_scratch_folder_is_used_where_it_is_and_made_nowhere(tmp_path, monkeypatch, data):
    path = saved(tmp_path, gzip.compress(data), "x.tar.gz")
    used, temporary = [], tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **fields: (used.append(fields["dir"]), temporary(**fields))[1]
    )
    for scratch in (tmp_path, tmp_path / "not/yet"):
        with contextlib.suppress(ArchiveError):
            open_any(path, scratch=scratch)
    assert used == [tmp_path, tmp_path]
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_nothing_in_the_scratch_folder(tmp_path):
    path = saved(tmp_path, gzip.compress(tarred({"a": random.Random(0).randbytes(MIB)})), "x.tgz")
    code = (
        "import os, signal, sys; from pathlib import Path; from l2l_core.fetch.archives import open_tree\n"
        "tree = open_tree(Path(sys.argv[1]), max_entries=9, max_bytes=10**9, scratch=Path(sys.argv[2]))\n"
        "tree.view('a'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    scratch = tmp_path / "scratch"
    assert subprocess.run([sys.executable, "-c", code, str(path), str(scratch)], check=False).returncode == -9
    assert list(tmp_path.iterdir()) == [path]


def test_progress_is_shown_to_a_terminal_while_a_tar_is_inflated(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    open_any(saved(tmp_path, gzip.compress(tarred(FILES)), "x.tgz"))
    assert "inflating x.tgz: 100%" in terminal.getvalue()


# Real bytes.


def test_real_pictures_read_alike_from_every_packing(test_data, tmp_path):
    with zipfile.ZipFile(test_data / "imagenet-sample.zip") as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()][:60]
        files = {name: archive.read(name) for name in names}
    whole = open_any(test_data / "imagenet-sample.zip", max_entries=10**6, max_bytes=10**10)
    assert {name: whole.read(name) for name in names} == files
    folders: dict[str, dict[str, bytes]] = {}
    for name, data in files.items():
        folder, _, last = name.rpartition("/")
        folders.setdefault(folder, {})[last] = data
    tars = {f"{folder}.tar": tarred(inside) for folder, inside in folders.items() if folder}
    for data, name in ((tarred(files), "x.tar"), (gzip.compress(tarred(files), 1), "x.tgz"), (tarred(tars), "y.tar")):
        assert contents(open_any(saved(tmp_path, data, name))) == {n: d for n, d in files.items() if "/" in n}


# Size.


def test_a_listing_is_small_and_quick_and_reads_no_data(tmp_path):
    count = 20_000
    base = tarfile.TarInfo("n00000000/00000.png")
    base.size = 100_000
    header = base.tobuf(tarfile.USTAR_FORMAT)
    path = tmp_path / "x.tar"
    with path.open("wb") as file:  # a sparse file: two gigabytes that take no room
        for i in range(count):
            name = b"n%08d/%05d.png" % (i // 1000, i)
            file.write(rewritten(name + header[len(name) :]))
            file.seek(-(-100_000 // 512) * 512, 1)
        file.write(bytes(1024))
    read, pread = [0], os.pread

    def counted(*arguments):
        data = pread(*arguments)
        read[0] += len(data)
        return data

    os.pread = counted
    tracemalloc.start()
    started = time.process_time()
    try:
        tree = open_any(path, max_entries=count, max_bytes=10**10)
    finally:
        os.pread = pread
    seconds = time.process_time() - started
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(tree.names()) == count
    assert read[0] < 600 * count
    assert kept < 375 * count  # 800,000 names stay under 300 MB
    assert seconds < 10
    assert tree.read("n00000019/19999.png") == bytes(100_000)


def test_closing_while_others_read_ends_in_our_error(tmp_path):
    files = {f"{i:03}": bytes(5000) for i in range(50)}
    tree = open_any(saved(tmp_path, tarred(files), "x.tar"))
    stop, odd = threading.Event(), []

    def reading() -> None:
        while not stop.is_set():
            try:
                tree.read("007")
            except ArchiveError:
                return
            except BaseException as error:
                odd.append(error)
                return

    threads = [threading.Thread(target=reading) for _ in range(4)]
    for thread in threads:
        thread.start()
    tree.close()
    stop.set()
    for thread in threads:
        thread.join()
    assert odd == []
