"""Files with random damage: whatever their bytes, they are read or refused, and nothing else happens."""

import contextlib
import gzip
import io
import pickle
import random
import resource
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l2l_core.errors import ArchiveError
from l2l_core.fetch.archives import open_tree
from l2l_core.fetch.pickles import read_pickle
from l2l_core.fields import read_csv, read_toml

MIB = 1 << 20
QUICK, LONG = 40, 500
AMOUNTS = [pytest.param(QUICK, id="quick"), pytest.param(LONG, id="long", marks=pytest.mark.slow)]

SEEDS = st.integers(0, 2**64)
PER_SEED = 20
"""Damaged files a seed: hypothesis picks seeds, since to let it pick every byte takes fifty times as long."""

_PUT = [
    b"",
    b"\0",
    b"\x7f",
    b"9",
    b"\n",
    b'"',
    b"\xff" * 4,
    b"\xff" * 8,
    b"0000777",
    b"../",
    b"q\0",
    b"h\0",
    b"R",
    b".",
]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The file with some bytes replaced, cut out, put in, swapped, repeated, or cut off."""
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at, length = rng.randrange(len(data) + 1), rng.choice([0, 1, 1, 1, 2, 4, 8, 40])
        end, put = at + length, rng.choice([rng.randbytes(length), rng.randbytes(length), *_PUT])
        kind = rng.randrange(8)
        if kind == 0:
            put = data[at : at + rng.choice([1, 30, 512, 600])] * rng.choice([1, 2, 9])
        elif kind == 1:
            other = rng.randrange(len(data) + 1)
            put = data[other : other + length]
        elif kind == 2 and rng.random() < 0.3:
            put, end = b"", len(data)
        elif kind > 4 and at < len(data):
            put, end = bytes([data[at] ^ 1 << rng.randrange(8)]), at + 1
        data = data[:at] + put + data[end:]
    return data


def each(seed: int, data: bytes) -> Iterator[bytes]:
    """Some damaged files of a seed."""
    rng = random.Random(seed)
    return (damaged(data, rng) for _ in range(PER_SEED))


def resummed(data: bytes) -> bytes:
    """A tar whose headers have fitting checksums again, so that the damage gets further."""
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for i, block in enumerate(blocks):
        if block[148:156].strip(b" \0").isdigit() and len(block) == 512:
            block = block[:148] + b" " * 8 + block[156:]
            blocks[i] = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return b"".join(blocks)


def shortened(tar: bytes) -> bytes:
    """A tar with no more padding than it must have."""
    data = tar.rstrip(b"\0")
    return data + bytes(-len(data) % 512 + 1024)


def tarred(layout: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as archive:
        for name, data in {"a/1.png": b"1" * 700, "a/2.png": b"", "b" * 120: b"long", "ä": b"2"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return shortened(buffer.getvalue())


def nested() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = tarred(tarfile.GNU_FORMAT)
        entry = tarfile.TarInfo("inner.tar")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return shortened(buffer.getvalue())


def zipped(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in {"a/1.png": b"1" * 700, "ä": b"2", "c/": b"", "n.tar": tarred(tarfile.GNU_FORMAT)}.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return buffer.getvalue()


ARCHIVES: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "x.zip": (zipped(zipfile.ZIP_STORED), bytes),
    "deflated.zip": (zipped(zipfile.ZIP_DEFLATED), bytes),
    "gnu.tar": (tarred(tarfile.GNU_FORMAT), resummed),
    "pax.tar": (tarred(tarfile.PAX_FORMAT), resummed),
    "nested.tar": (nested(), resummed),
    "raw.tar": (tarred(tarfile.PAX_FORMAT), bytes),
    "x.tgz": (gzip.compress(tarred(tarfile.PAX_FORMAT)), bytes),
    "inside.tgz": (tarred(tarfile.PAX_FORMAT), lambda data: gzip.compress(resummed(data), 1)),
}

_VALUES = {
    "data": np.arange(600, dtype=np.uint8).reshape(10, 60),
    "labels": [1, 2, 3, -70000, 2**40],
    "names": [b"a" * 300, "b" * 300, "c", ("d", 1.5, None, True)],
    "odd": [np.array(["ä", "b"]), np.array([b"x", None], object), np.float32(2), {1, 2}, OrderedDict(a=1j)],
    "order": np.asfortranarray(np.ones((3, 4), ">f8")),
}
PICKLES = [pickle.dumps(_VALUES, protocol) for protocol in range(6)]


@contextlib.contextmanager
def nothing_left(folder: Path, max_bytes: int) -> Iterator[None]:
    """A context in which no file may appear in a folder or beside it, nor more memory be taken."""
    before = {*folder.rglob("*"), *folder.parent.iterdir()}
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken) * 1024 < max_bytes
    assert {*folder.rglob("*"), *folder.parent.iterdir()} == before


def often(amount: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=amount, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


def one_line(error: BaseException) -> None:
    assert str(error)
    assert "\n" not in str(error)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives(tmp_path, name, amount):
    whole, finish = ARCHIVES[name]
    path, scratch = tmp_path / name, tmp_path / "scratch"
    scratch.mkdir()
    path.touch()
    outcomes = set()

    def open_and_read(data: bytes) -> None:
        path.write_bytes(finish(data))
        try:
            tree = open_tree(path, max_entries=50, max_bytes=100_000, scratch=scratch)
        except ArchiveError as error:
            one_line(error)
            outcomes.add("refused")
            return
        for member in tree.names():
            assert not member.startswith("/")
            assert ".." not in member.split("/")
            try:
                assert len(tree.read(member)) == len(tree.view(member)) == tree.size(member)
                outcomes.add("read")
            except ArchiveError as error:
                one_line(error)
        tree.close()

    @often(amount)
    @given(SEEDS)
    def run(seed: int) -> None:
        for data in each(seed, whole):
            open_and_read(data)

    with nothing_left(tmp_path, 40 * MIB):
        run()
    assert {"refused"} <= outcomes if name == "x.tgz" else {"refused", "read"} <= outcomes


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("protocol", range(6))
def test_damaged_pickles(tmp_path, protocol, amount):
    outcomes = set()

    @often(amount)
    @given(SEEDS)
    def run(seed: int) -> None:
        for data in each(seed, PICKLES[protocol]):
            try:
                value = read_pickle(data, "x.pkl", max_objects=5000)
            except ArchiveError as error:
                one_line(error)
                outcomes.add("refused")
            else:
                repr(value)  # walks through it
                outcomes.add("read")

    with nothing_left(tmp_path, 40 * MIB):
        run()
    assert outcomes == {"refused", "read"}


_INSTRUCTIONS = [
    *(bytes([opcode]) for opcode in b"(0122NKJMIL]aelt)}dsugRbhjpqr.\x80\x85\x86\x87\x88\x89\x8f\x90\x91\x94\x95"),
    *(b"q%c" % i for i in range(4)),
    *(b"h%c" % i for i in range(4)),
    *(b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"),
    *(b"cnumpy.core.multiarray\nscalar\n", b"cnumpy.core.numeric\n_frombuffer\n", b"c_codecs\nencode\n"),
    *(b"cbuiltins\nset\n", b"cbuiltins\ndict\n", b"cbuiltins\nbytearray\n", b"cbuiltins\ncomplex\n"),
    *(b"U\2u1", b"U\1b", b"U\1|", b"U\1C", b"Vlatin1\n", b"U\6abcdef", b"K\0", b"K\1", b"K\2", b"K\3", b"NNN"),
    b"T\0\1\0\0" + bytes(256),
    b"cnumpy\ndtype\n(U\2u1K\0K\1tR(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\1btR",
]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_pickles_of_random_instructions(tmp_path, amount):
    read = []

    @often(10 * amount)
    @given(SEEDS)
    def run(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(PER_SEED):
            script = b"".join(rng.choices(_INSTRUCTIONS, k=rng.randrange(1, 12)))
            try:
                read.append(repr(read_pickle(script + b".", "x.pkl", max_objects=5000)))
            except ArchiveError as error:
                one_line(error)

    with nothing_left(tmp_path, 40 * MIB):
        run()
    assert len(set(read)) > 20


@pytest.mark.parametrize("amount", AMOUNTS)
def test_any_bytes(tmp_path, amount):
    path = tmp_path / "x"
    path.touch()

    @often(5 * amount)
    @given(st.binary(max_size=1100), st.sampled_from(["", "PK\3\4", "\x1f\x8b\x08", "BZh9", "\xfd7zXZ\0", "\x80\4"]))
    def run(data: bytes, head: str) -> None:
        path.write_bytes(head.encode("latin-1") + data)
        with contextlib.suppress(ArchiveError):
            open_tree(path, max_entries=50, max_bytes=100_000, scratch=tmp_path).close()
        with contextlib.suppress(ArchiveError):
            read_pickle(path.read_bytes(), "x", max_objects=5000)

    with nothing_left(tmp_path, 60 * MIB):
        run()


TOML = b"""# An entry
title = "Omniglot"  # a comment
[raw]
classes = 1623
size = [105, 105]
when = 2019-05-27T07:32:00-08:00
[[files]]
name = 'images.zip'
urls = ["https://example.org/\\u00e9"]
"""
CSV = b'class,subset\n"Latin, letters",train\n"a ""quoted"" one",test\nGreek,validation\n'


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("name", ["toml", "csv"])
def test_damaged_tables(tmp_path, name, amount):
    path = tmp_path / f"x.{name}"
    path.touch()
    outcomes = set()

    @often(amount)
    @given(SEEDS)
    def run(seed: int) -> None:
        for data in each(seed, TOML if name == "toml" else CSV):
            path.write_bytes(data)
            problems: list[str] = []
            read = read_toml(path, problems) if name == "toml" else read_csv(path, ["class", "subset"], problems)
            assert (read is None) == bool(problems)
            assert all(problem.startswith(f"{path}: ") for problem in problems)
            outcomes.add("refused" if problems else "read")

    with nothing_left(tmp_path, 40 * MIB):
        run()
    assert outcomes == {"refused", "read"}


@pytest.mark.parametrize(
    "data",
    [
        b"a = " + b"[" * 100_000,
        b"a = " + b"{b = " * 100_000,
        b".".join([b"a"] * 5000) + b" = 1",
        b"a = " + b"9" * 10_000,
        b"a = 1e" + b"9" * 10_000,
        b'a = "' + b"\\U0010FFFF" * 10_000,
        b"\xff\xfe",
        b"a = 1\na = 2",
        b"a = 9999-99-99",
    ],
    ids=["lists", "tables", "dots", "digits", "exponent", "open text", "UTF-16", "twice", "date"],
)
def test_tables_that_are_meant_to_hurt(tmp_path, data):
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    problems: list[str] = []
    read = read_toml(path, problems)
    assert (read is None) == bool(problems)


def test_a_csv_field_without_an_end(tmp_path, csv_limit):
    path = tmp_path / "x.csv"
    path.write_bytes(b'class,subset\n"' + b"x" * (csv_limit + 10))
    problems: list[str] = []
    assert read_csv(path, ["class", "subset"], problems) is None
    assert len(problems) == 1


def test_the_damage_is_random_enough():
    made = [data for seed in range(20) for data in each(seed, bytes(range(256)))]
    assert len(set(made)) > 0.8 * len(made)
    assert any(len(data) < 100 for data in made)
    assert any(len(data) > 300 for data in made)
