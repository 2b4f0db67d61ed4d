"""The store: exact bytes, readable by safetensors itself, opened without reading, and every way it can lie."""

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from l2l_core.errors import CacheError, StoreError
from l2l_core.records import Modality
from l2l_core.store import Manifest, Store, open_store, verify_store, write_store
from tests.memory import opening_mebibytes

COUNTS = (3, 1, 2)
MANIFEST = Manifest("toy", "k", ("a", "b", "c/d"), {"reader": "none"}, {"numpy": "0"})
EXAMPLES = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 5), np.uint8)
TEXTS = ("one", "", "zwölf", "", "", "日本")
SOUNDS = ((1, -2, 32767), (), (-32768,), (5, 6), (7,), ())
OFFSETS = np.array([0, 3, 4, 6], "<i8").tobytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "deep/er/toy.safetensors"
    write_store(path, MANIFEST, COUNTS, (2, 3, 5), iter(EXAMPLES), lambda: "5" * 64)
    return open_store(path)


def write_texts(path: Path, source: str = "5" * 64, **fields: Any) -> Store:
    manifest = replace(MANIFEST, modality="texts", **fields)
    arrays = (np.frombuffer(text.encode(), np.uint8) for text in TEXTS)
    write_store(path, manifest, COUNTS, None, arrays, lambda: source)
    return open_store(path)


def write_sounds(path: Path) -> Store:
    manifest = replace(MANIFEST, modality="sounds", sample_rate_hz=16000)
    write_store(path, manifest, COUNTS, None, (np.array(sound, np.int16) for sound in SOUNDS), lambda: "5" * 64)
    return open_store(path)


def test_texts_are_what_was_written_the_empty_ones_too(tmp_path: Path) -> None:
    store = write_texts(tmp_path / "texts")
    assert len(store) == 6
    assert [store.example(i).tobytes().decode() for i in range(6)] == list(TEXTS)
    assert store.bounds is not None
    assert store.bounds.tolist() == [0, 3, 3, 9, 9, 9, 15]
    assert store.offsets.tolist() == [0, 3, 4, 6]
    assert (store.manifest.modality, store.manifest.sample_rate_hz) == ("texts", None)
    assert not store.examples.flags.writeable
    verify_store(store)


def test_sounds_are_what_was_written(tmp_path: Path) -> None:
    store = write_sounds(tmp_path / "sounds")
    assert [tuple(store.example(i).tolist()) for i in range(6)] == list(SOUNDS)
    assert store.examples.dtype == np.int16
    assert store.manifest.sample_rate_hz == 16000
    verify_store(store)


def test_texts_may_all_be_empty(tmp_path: Path) -> None:
    write_store(
        tmp_path / "x", replace(MANIFEST, modality="texts"), COUNTS, None, iter([np.empty(0, np.uint8)] * 6), lambda: ""
    )
    store = open_store(tmp_path / "x")
    assert [store.example(i).size for i in range(len(store))] == [0] * 6
    verify_store(store)


@pytest.mark.parametrize("modality", ["texts", "sounds"])
def test_the_bytes_of_texts_and_sounds_are_those_of_the_format_s_page(modality: Modality, tmp_path: Path) -> None:
    store = (write_texts if modality == "texts" else write_sounds)(tmp_path / "x")
    content = store.path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert (8 + length) % 64 == 0
    if modality == "texts":
        values = "".join(TEXTS).encode()
        bounds = [0, 3, 3, 9, 9, 9, 15]
    else:
        values = struct.pack("<7h", *(sample for sound in SOUNDS for sample in sound))
        bounds = [0, 3, 3, 4, 6, 7, 7]
    data = OFFSETS + values + struct.pack("<7q", *bounds)
    assert content[8 + length :] == data
    tensors = load_file(store.path)
    assert tensors["bounds"].tolist() == bounds
    assert tensors["examples"].tobytes() == values
    assert tensors["examples"].dtype == (np.uint8 if modality == "texts" else np.int16)
    assert store.data_sha256 == hashlib.sha256(data).hexdigest()


def test_data_sha256_is_of_the_data_alone(tmp_path: Path) -> None:
    one = write_texts(tmp_path / "one")
    other = write_texts(tmp_path / "other", source="6" * 64, key="k2", recipe={"reader": "another"}, versions={})
    assert one.data_sha256 == other.data_sha256
    assert one.sha256 != other.sha256
    assert one.path.read_bytes() != other.path.read_bytes()


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
    data = OFFSETS + EXAMPLES.tobytes()
    assert content[8 + length :] == data
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert metadata["format"] == "l2l_core store"
    assert metadata["format_version"] == "2"
    assert metadata["source"] == "5" * 64
    assert metadata["data_sha256"] == store.data_sha256 == hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256((metadata["manifest"] + store.data_sha256 + "5" * 64).encode())
    assert metadata["sha256"] == store.sha256 == digest.hexdigest()
    assert store.bounds is None


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
        (np.concatenate([EXAMPLES, EXAMPLES]), "toy: more than 6 examples; the reader is at fault"),
        (EXAMPLES[:, :1], "toy: example 0 of 6 is uint8 [1, 3, 5] instead of uint8 [2, 3, 5]; the reader is at fault"),
        (EXAMPLES.astype(np.float32), "toy: example 0 of 6 is float32 [2, 3, 5] instead of uint8"),
    ],
)
def test_a_reader_that_breaks_its_word_leaves_the_old_store(store: Store, examples: np.ndarray, message: str) -> None:
    before = store.path.read_bytes()
    with pytest.raises(StoreError) as caught:
        write_store(store.path, MANIFEST, COUNTS, (2, 3, 5), iter(examples), lambda: "6" * 64)
    assert str(caught.value).startswith(message)
    assert store.path.read_bytes() == before
    assert list(store.path.parent.iterdir()) == [store.path]


@pytest.mark.parametrize(
    ("modality", "example", "found"),
    [
        ("texts", np.zeros(3, np.int16), "int16 [3] instead of uint8 [any length]"),
        ("texts", np.zeros((3, 1), np.uint8), "uint8 [3, 1] instead of uint8 [any length]"),
        ("sounds", np.zeros(3, np.float32), "float32 [3] instead of int16 [any length]"),
        ("sounds", np.zeros(3, ">i2"), ">i2 [3] instead of int16 [any length]"),
    ],
)
def test_a_text_or_sound_of_another_type_is_refused(
    modality: Modality, example: np.ndarray, found: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreError) as caught:
        write_store(tmp_path / "x", replace(MANIFEST, modality=modality), (1,), None, iter([example]), str)
    assert str(caught.value) == f"toy: example 0 of 1 is {found}; the reader is at fault"
    assert list(tmp_path.iterdir()) == []


def test_the_source_is_asked_for_after_the_last_example(tmp_path: Path) -> None:
    steps: list[str] = []

    def texts() -> Any:
        for text in TEXTS:
            steps.append("example")
            yield np.frombuffer(text.encode(), np.uint8)

    write_store(
        tmp_path / "x",
        replace(MANIFEST, modality="texts"),
        COUNTS,
        None,
        texts(),
        lambda: steps.append("source") or "s",
    )
    assert steps == ["example"] * 6 + ["source"]
    assert open_store(tmp_path / "x").source == "s"


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


def put_offsets(*offsets: int) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        start = 8 + length
        return content[:start] + struct.pack("<4q", *offsets) + content[start + 32 :]

    return edit


def put_bounds(*bounds: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:-56] + struct.pack("<7q", *bounds)


def edit_tensor(name: str, **fields: Any) -> Callable[[bytes], bytes]:
    return edit_header(lambda header: header[name].update(fields))


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
        "it is 'x' version 2",
    ),
    "other version": (
        edit_header(lambda header: header["__metadata__"].update(format_version="1")),
        "it is 'l2l_core store' version 1",
    ),
    "no metadata": (edit_header(lambda header: header.pop("__metadata__")), "its header is malformed"),
    "no examples": (edit_header(lambda header: header.pop("examples")), "its header is malformed"),
    "huge shape": (edit_tensor("examples", shape=[9**9, 2, 3, 5]), "malformed"),
    "negative shape": (edit_tensor("examples", shape=[-6, 2, 3, 5]), "malformed"),
    "two negative sides": (edit_tensor("examples", shape=[-6, -2, 3, 5]), "malformed"),
    "a shape of fractions": (edit_tensor("examples", shape=[6.0, 2, 3, 5]), "malformed"),
    "no shape": (edit_tensor("examples", shape=None), "malformed"),
    "another type": (edit_tensor("examples", dtype="I8"), "malformed"),
    "endless offsets": (edit_tensor("offsets", shape=[10**18]), "malformed"),
    "offsets of all that is there": (edit_tensor("offsets", shape=[-1]), "malformed"),
    "offsets in a square": (edit_tensor("offsets", shape=[2, 2]), "its offsets do not fit its examples"),
    "offsets far away": (edit_tensor("offsets", data_offsets=[2**70, 2**70 + 32]), "malformed"),
    "offsets before the file": (edit_tensor("offsets", data_offsets=[-32, 0]), "malformed"),
    "offsets over the examples": (edit_tensor("offsets", data_offsets=[32, 64]), "malformed"),
    "bounds of pictures": (
        edit_header(lambda header: header.update(bounds=header["offsets"])),
        "its examples are not images",
    ),
    "pictures that are texts": (edit_manifest(modality="texts"), "its examples are not texts"),
    "an unknown modality": (edit_manifest(modality="smells"), "its header is malformed"),
    "a deep manifest": (
        edit_header(lambda header: header["__metadata__"].update(manifest="[" * 10**5)),
        "its header is malformed",
    ),
    "offsets that fall": (put_offsets(0, 4, 3, 6), "its offsets do not fit its examples"),
    "a class of none": (put_offsets(0, 3, 3, 6), "its offsets do not fit its examples"),
    "offsets that begin late": (put_offsets(1, 3, 4, 6), "its offsets do not fit its examples"),
    "offsets that end early": (put_offsets(0, 3, 4, 5), "its offsets do not fit its examples"),
    "offsets that overflow": (put_offsets(0, 2**62, -(2**62) - 5, 6), "its offsets do not fit its examples"),
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


TEXT_LIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "bounds that fall": (put_bounds(0, 3, 2, 9, 9, 9, 15), "its bounds do not fit its examples"),
    "bounds that begin late": (put_bounds(1, 3, 3, 9, 9, 9, 15), "its bounds do not fit its examples"),
    "bounds that end early": (put_bounds(0, 3, 3, 9, 9, 9, 14), "its bounds do not fit its examples"),
    "bounds that end late": (put_bounds(0, 3, 3, 9, 9, 9, 16), "its bounds do not fit its examples"),
    "bounds that overflow": (put_bounds(0, 2**62, -(2**62) - 5, 9, 9, 9, 15), "its bounds do not fit its examples"),
    "no bounds": (edit_header(lambda header: header.pop("bounds")), "its examples are not texts"),
    "bounds of none": (edit_tensor("bounds", shape=[0]), "malformed"),
    "endless bounds": (edit_tensor("bounds", shape=[2**60]), "malformed"),
    "texts that are sounds": (edit_manifest(modality="sounds"), "malformed"),
    "texts that are pictures": (edit_manifest(modality="images"), "its examples are not images"),
    "one offset too few": (put_offsets(0, 3, 4, 5), "its offsets do not fit its examples"),
    "cut off": (lambda content: content[:-1], "bytes, not what its header says"),
}


@pytest.mark.parametrize("name", TEXT_LIES)
def test_texts_that_lie_are_refused(name: str, tmp_path: Path) -> None:
    spoil, found = TEXT_LIES[name]
    store = write_texts(tmp_path / "x")
    store.path.write_bytes(spoil(store.path.read_bytes()))
    with pytest.raises(StoreError) as caught:
        open_store(store.path)
    assert found in str(caught.value)


@pytest.mark.parametrize("modality", ["images", "texts"])
def test_no_changed_bit_goes_unseen(modality: Modality, store: Store, tmp_path: Path) -> None:
    path = store.path if modality == "images" else write_texts(tmp_path / "texts").path
    good = path.read_bytes()
    for place in range(len(good)):
        content = bytearray(good)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(StoreError):
            verify_store(open_store(path))
            pytest.fail(f"the changed byte {place} went unseen")
    path.write_bytes(good)
    verify_store(open_store(path))


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "x")
    assert str(caught.value) == f"there is no store {tmp_path / 'x'}; prepare the data set first"


@pytest.mark.parametrize(("place", "part"), [("first", "data"), ("last", "data"), ("manifest", "header")])
def test_one_changed_byte_is_found_by_verify(store: Store, place: str, part: str) -> None:
    content = bytearray(store.path.read_bytes())
    where = {"first": len(content) - EXAMPLES.size, "last": -1, "manifest": content.index(b"none")}[place]
    content[where] ^= 1
    store.path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=rf"its {part} has sha256 [0-9a-f]{{64}} instead of [0-9a-f]{{64}}; remove it"):
        verify_store(open_store(store.path))


def test_opening_a_large_store_reads_almost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    each = np.zeros((1, 512, 512), np.uint8)
    manifest = Manifest("large", "k", tuple(map(str, range(400))), {}, {})
    write_store(path, manifest, [1] * 400, each.shape, (each for _ in range(400)), lambda: "0" * 64)
    assert path.stat().st_size > 100 * 2**20
    # The promise is 20 MiB; reading the data would take 100.
    assert opening_mebibytes(path) < 5


def test_opening_a_hundred_thousand_texts_takes_milliseconds(tmp_path: Path) -> None:
    path, count = tmp_path / "many.safetensors", 100_000
    text = np.frombuffer(b"a headline of a usual length, more or less, as papers have them", np.uint8)
    manifest = Manifest("many", "k", tuple(map(str, range(40))), {}, {}, "texts")
    write_store(path, manifest, [count // 40] * 40, None, (text[: i % 60] for i in range(count)), lambda: "")
    times = []
    for _ in range(5):
        start = perf_counter()
        store = open_store(path)
        times.append(perf_counter() - start)
    assert len(store) == count
    assert store.example(count - 1).size == (count - 1) % 60
    # 1 ms on an idle machine; reading every text takes a hundred.
    assert min(times) < 0.02
