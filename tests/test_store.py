"""The store: exact bytes, readable by safetensors itself, opened without reading, and every way it can lie."""

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from l2l_core.errors import CacheError, StoreError
from l2l_core.store import Manifest, Store, open_store, verify_store, write_store
from tests.memory import opening_mebibytes

COUNTS = (3, 1, 2)
MANIFEST = Manifest("toy", "k", ("a", "b", "c/d"), {"reader": "none"}, {"numpy": "0"})
EXAMPLES = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 5), np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "deep/er/toy.safetensors"
    write_store(path, MANIFEST, COUNTS, (2, 3, 5), iter(EXAMPLES), lambda: "5" * 64)
    return open_store(path)


def test_what_was_written_is_what_is_opened(store: Store) -> None:
    assert store.manifest == MANIFEST
    assert store.source == "5" * 64
    assert np.array_equal(store.examples, EXAMPLES)
    assert store.offsets.tolist() == [0, 3, 4, 6]
    assert not store.examples.flags.writeable
    verify_store(store)


def test_the_bytes_are_those_of_the_format_s_page(store: Store) -> None:
    content = store.path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert (8 + length) % 64 == 0
    offsets = np.array([0, 3, 4, 6], "<i8").tobytes()
    assert content[8 + length :] == offsets + EXAMPLES.tobytes()
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert metadata["format"] == "l2l_core store"
    assert metadata["format_version"] == "1"
    digest = hashlib.sha256(metadata["manifest"].encode() + offsets + EXAMPLES.tobytes() + b"5" * 64)
    assert metadata["sha256"] == store.sha256 == digest.hexdigest()


def test_safetensors_reads_it(store: Store) -> None:
    tensors = load_file(store.path)
    assert np.array_equal(tensors["examples"], EXAMPLES)
    assert tensors["offsets"].tolist() == [0, 3, 4, 6]


def test_it_pickles_as_its_path(store: Store) -> None:
    text = pickle.dumps(store)
    assert len(text) < 500
    assert np.array_equal(pickle.loads(text).examples, EXAMPLES)


def test_the_same_content_is_the_same_file(store: Store, tmp_path: Path) -> None:
    write_store(tmp_path / "again", MANIFEST, COUNTS, (2, 3, 5), iter(EXAMPLES), lambda: "5" * 64)
    assert (tmp_path / "again").read_bytes() == store.path.read_bytes()


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (EXAMPLES[:5], "toy: 5 examples instead of 6; the reader is at fault"),
        (np.concatenate([EXAMPLES, EXAMPLES]), "toy: 12 examples instead of 6; the reader is at fault"),
        (EXAMPLES[:, :1], "toy: example 0 is uint8 [1, 3, 5] instead of uint8 [2, 3, 5]; the reader is at fault"),
        (EXAMPLES.astype(np.float32), "toy: example 0 is float32 [2, 3, 5] instead of uint8"),
    ],
)
def test_a_reader_that_breaks_its_word_leaves_the_old_store(store: Store, examples: np.ndarray, message: str) -> None:
    before = store.path.read_bytes()
    with pytest.raises(StoreError) as caught:
        write_store(store.path, MANIFEST, COUNTS, (2, 3, 5), iter(examples), lambda: "6" * 64)
    assert str(caught.value).startswith(message)
    assert store.path.read_bytes() == before
    assert list(store.path.parent.iterdir()) == [store.path]


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="a file stands where a folder should be"):
        write_store(tmp_path / "file/toy", MANIFEST, COUNTS, (2, 3, 5), iter(EXAMPLES), lambda: "5" * 64)


def edit_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    return edit


def edit_manifest(**fields: Any) -> Callable[[bytes], bytes]:
    def change(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"]["manifest"])
        header["__metadata__"]["manifest"] = json.dumps({**manifest, **fields})

    return edit_header(change)


def swap_offsets(content: bytes) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    start = 8 + length
    return content[:start] + np.array([0, 4, 3, 6], "<i8").tobytes() + content[start + 32 :]


LIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "it has no header"),
    "seven bytes": (lambda content: content[:7], "it has no header"),
    "endless header": (lambda content: struct.pack("<Q", 2**62) + content[8:], "it has no header"),
    "no JSON": (lambda content: content[:8] + b"x" + content[9:], "Expecting value"),
    "deep header": (lambda _: struct.pack("<Q", 10**5) + b"[" * 10**5, "maximum recursion depth"),
    "header of a list": (lambda _: struct.pack("<Q", 2) + b"[]", "its header is malformed"),
    "cut off": (lambda content: content[:-1], "bytes, not what its header says"),
    "too long": (lambda content: content + b"x", "bytes, not what its header says"),
    "other format": (
        edit_header(lambda header: header["__metadata__"].update(format="x")),
        "it is 'x' version 1",
    ),
    "other version": (
        edit_header(lambda header: header["__metadata__"].update(format_version="2")),
        "it is 'l2l_core store' version 2",
    ),
    "no metadata": (edit_header(lambda header: header.pop("__metadata__")), "its header is malformed"),
    "no examples": (edit_header(lambda header: header.pop("examples")), "its header is malformed"),
    "huge shape": (edit_header(lambda header: header["examples"].update(shape=[9**9, 2, 3, 5])), "malformed"),
    "negative shape": (edit_header(lambda header: header["examples"].update(shape=[-6, 2, 3, 5])), "malformed"),
    "offsets that fall": (swap_offsets, "its offsets do not fit its examples"),
    "a class too many": (edit_manifest(classes=["a", "b", "c", "d"]), "it names 4 classes and holds 3"),
    "an unknown field": (edit_manifest(nonsense=1), "its header is malformed"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused(store: Store, name: str) -> None:
    spoil, found = LIES[name]
    store.path.write_bytes(spoil(store.path.read_bytes()))
    with pytest.raises(StoreError) as caught:
        open_store(store.path)
    message = str(caught.value)
    assert message.startswith(f"{store.path} is not a usable store: ")
    assert found in message
    assert message.endswith("; remove it and prepare the data set again")


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "x")
    assert str(caught.value) == f"there is no store {tmp_path / 'x'}; prepare the data set first"


@pytest.mark.parametrize("place", ["first", "last", "manifest"])
def test_one_changed_byte_is_found_by_verify(store: Store, place: str) -> None:
    content = bytearray(store.path.read_bytes())
    where = {"first": len(content) - EXAMPLES.size, "last": -1, "manifest": content.index(b"none")}[place]
    content[where] ^= 1
    store.path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"its data has sha256 [0-9a-f]{64} instead of [0-9a-f]{64}"):
        verify_store(open_store(store.path))


def test_opening_a_large_store_reads_almost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    each = np.zeros((1, 512, 512), np.uint8)
    manifest = Manifest("large", "k", tuple(map(str, range(400))), {}, {})
    write_store(path, manifest, [1] * 400, each.shape, (each for _ in range(400)), lambda: "0" * 64)
    assert path.stat().st_size > 100 * 2**20
    # The promise is 20 MiB; reading the data would take 100.
    assert opening_mebibytes(path) < 5
