"""Numbered pictures and a MATLAB file of labels, in the layout of VGG Flower 102."""

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted
from l2l_core.prepare.readers._mat_files import rows_of_numbers
from l2l_core.prepare.readers.matlab_labels import _numbers, options_of, recognises
from tests.prepare.pictures import (
    assert_prepared,
    by_hand,
    changed,
    contents,
    drawn,
    elsewhere,
    real,
    source_of,
    statistics,
)
from tests.prepare.raw import PICTURES, MemoryTree, split_of, want

scipy_io = pytest.importorskip("scipy.io")

OPTIONS = {**PICTURES, "labels_file": "imagelabels.mat", "variable": "labels", "images": "jpg/image_{:05}.jpg"}
ADVICE = "give a complete copy in the layout of the official files"
WHERE = "made: imagelabels.mat in copy.zip"


def mat(compress: bool = False, **variables: Any) -> bytes:
    """A MATLAB 5 file."""
    stream = io.BytesIO()
    scipy_io.savemat(stream, variables, do_compression=compress)
    return stream.getvalue()


def flowers(photographs: Mapping[str, bytes] | None) -> tuple[dict[str, bytes], dict[str, list[np.ndarray]], Wanted]:
    """Files with all 102 classes and 8,189 pictures, class to examples, what to ask for."""
    subset_of, counts = split_of("flowers/meta-dataset"), statistics("flowers")
    labels = [name for name in subset_of for _ in range(counts[name])]
    random.Random(4).shuffle(labels)
    pool = contents(photographs, 90)
    files: dict[str, bytes] = {}
    expected: dict[str, list[np.ndarray]] = {name: [] for name in sorted(subset_of)}
    for number, name in enumerate(labels, 1):
        files[f"jpg/image_{number:05}.jpg"] = pool[number % 90]
        expected[name].append(by_hand(pool[number % 90]))
    values = np.array([[int(name.split(".")[0]) for name in labels]], np.uint8)
    files["imagelabels.mat"] = mat(compress=True, labels=values)
    return files, expected, want(subset_of, OPTIONS, counts=counts)


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_every_picture_of_flowers_is_an_example(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    photographs = None
    if source == "real":
        photographs = real(request.getfixturevalue("test_data") / "imagenet-sample.zip")
    files, expected, wanted = flowers(photographs)
    store = assert_prepared("matlab_labels", files, wanted, expected, tmp_path)
    assert len(store.examples) == 8189
    assert len(store.manifest.classes) == 102


def small() -> tuple[dict[str, bytes], Wanted]:
    files = {f"jpg/image_{number:05}.jpg": drawn(number) for number in range(1, 5)}
    files["imagelabels.mat"] = mat(labels=np.array([[2, 1, 1, 2]], np.uint8))
    return files, want({"001.a": "train", "002.b/c": "test"}, OPTIONS, counts={"001.a": 2, "002.b/c": 2})


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.float32, np.int64])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_labels_may_be_of_any_number_type(dtype: type, compress: bool, shape: tuple[int, int], tmp_path: Path) -> None:
    files, wanted = small()
    wanted = want({"001.a": "train", "2.b": "test"}, OPTIONS)
    values = np.array([2, 1, 1, 2], dtype).reshape(shape)
    files["imagelabels.mat"] = mat(compress, setid=np.eye(3), labels=values, other={"a": "b"})
    expected = {"001.a": [by_hand(drawn(2)), by_hand(drawn(3))], "2.b": [by_hand(drawn(1)), by_hand(drawn(4))]}
    assert_prepared("matlab_labels", files, wanted, expected, tmp_path)


def test_the_digest_is_of_pictures_and_classes_and_of_no_packing() -> None:
    files, wanted = small()
    digest = source_of("matlab_labels", files, wanted)
    assert digest == source_of("matlab_labels", elsewhere(files), wanted, "other.zip")
    others = [
        files | {"jpg/image_00002.jpg": drawn(9)},
        files | {"imagelabels.mat": mat(labels=np.array([[1, 2, 1, 2]], np.uint8))},
    ]
    assert len({digest, *(source_of("matlab_labels", other, wanted) for other in others)}) == 3


def _labels(*values: object, **variables: Any) -> Callable[[dict[str, bytes]], object]:
    content = mat(**(variables or {"labels": np.array([values])}))
    return lambda files: files.update({"imagelabels.mat": content})


def _put(name: str, content: bytes | None) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.pop(name) if content is None else files.update({name: content})


REFUSED = [
    (_put("imagelabels.mat", None), f"made: copy.zip has no file imagelabels.mat; {ADVICE}"),
    (
        _put("x/imagelabels.mat", b""),
        "made: copy.zip holds both imagelabels.mat and x/imagelabels.mat, of which one can",
    ),
    (_put("imagelabels.mat", b""), f"{WHERE} is not a readable MATLAB file ("),
    (_put("imagelabels.mat", b"<html>" * 99), f"{WHERE} is not a readable MATLAB file ("),
    (_put("imagelabels.mat", mat(labels=np.ones((1, 4)))[:150]), f"{WHERE} is not a readable MATLAB file ("),
    (_labels(2, 1, 1, 3), f"{WHERE} gives picture 4 the label 3, which is none of the 2 classes; {ADVICE}"),
    (_labels(0, 1, 1, 2), f"{WHERE} gives picture 1 the label 0, which is none of the 2 classes; {ADVICE}"),
    (_labels(1.5, 1, 1, 2), f"{WHERE} has 'labels' that are not whole numbers; {ADVICE}"),
    (_labels(float("nan"), 1, 1, 2), f"{WHERE} has 'labels' that are not whole numbers; {ADVICE}"),
    (_labels(2, 1, 1), f"{WHERE} has 3 labels, but there is a picture jpg/image_00004.jpg, too; {ADVICE}"),
    (_labels(2, 1, 1, 2, 2), "made: 1 of 5 pictures are missing from copy.zip (the first is jpg/image_00005.jpg); "),
    (_labels(1, 1, 1, 2), f"made: 001.a in copy.zip has 3 examples instead of 2; {ADVICE}"),
    (_labels(1, 1, 1, 1), f"made: 1 of 2 classes are missing from copy.zip (the first is 002.b/c); {ADVICE}"),
    (
        _labels(label=np.ones((1, 4))),
        f"{WHERE} has no row of numbers 'labels'; its variables: label; {ADVICE}",
    ),
    (
        _labels(labels=np.ones((2, 2))),
        f"{WHERE} has no row of numbers 'labels'; its variables: labels; ",
    ),
    (
        _labels(labels=np.ones((1, 0))),
        f"{WHERE} has no row of numbers 'labels'; its variables: labels; ",
    ),
    (_labels(labels="abcd"), f"{WHERE} has no row of numbers 'labels'; its variables: labels; {ADVICE}"),
    (_labels(labels={"a": 1}), f"{WHERE} has no row of numbers 'labels'; its variables: labels; "),
    (
        _labels(labels=np.array([1, "a"], object)),
        f"{WHERE} has no row of numbers 'labels'; its variables: labels; ",
    ),
    (_put("jpg/image_00002.jpg", b"x"), "made: jpg/image_00002.jpg in copy.zip is not a readable picture ("),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_wrong_content_is_refused(change: Callable[[dict[str, bytes]], object], message: str) -> None:
    files, wanted = small()
    with pytest.raises(ContentError) as caught:
        source_of("matlab_labels", changed(files, change), wanted)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_row_of_more_labels_than_is_sane_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    files, wanted = small()
    monkeypatch.setattr("l2l_core.prepare.readers._mat_files.MAX_NUMBERS", 3)
    with pytest.raises(ContentError, match=r"has no row of numbers 'labels'; its variables: labels; "):
        source_of("matlab_labels", files, wanted)


def test_a_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2l_core.prepare.readers._mat_files.MAX_NUMBERS", 1000)
    content = mat(compress=True, labels=np.zeros((1, 4_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="ends within an element"):
        rows_of_numbers(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize("compress", [False, True])
def test_either_byte_order_is_read(compress: bool) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    matrix = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 3)) + element(1, b"labels")
    matrix = element(14, matrix + element(4, struct.pack(">HHH", 1, 258, 3)))
    matrix = struct.pack(">II", 15, len(zlib.compress(matrix))) + zlib.compress(matrix) if compress else matrix
    rows = rows_of_numbers(b"MATLAB".ljust(124) + b"\x01\x00MI" + matrix)
    assert {name: row.tolist() for name, row in rows.items() if row is not None} == {"labels": [1, 258, 3]}


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    hnp.arrays(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"]), st.integers(1, 40)),
    st.booleans(),
    st.booleans(),
)
def test_any_row_comes_back_as_scipy_reads_it(row: np.ndarray, compress: bool, upright: bool) -> None:
    content = mat(compress, other=np.eye(2), row=row[:, None] if upright else row[None])
    rows = rows_of_numbers(content)
    assert rows["other"] is None
    assert np.array_equal(rows["row"], scipy_io.loadmat(io.BytesIO(content))["row"].ravel(), equal_nan=True)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=5))
@pytest.mark.filterwarnings("ignore")
def test_whatever_the_bytes_it_is_numbers_or_one_clear_refusal(compress: bool, changes: list[tuple[int, int]]) -> None:
    content = bytearray(mat(compress, labels=np.arange(40, dtype=np.uint8)[None]))
    for position, value in changes:
        content[position % len(content)] = value
    try:
        assert _numbers(bytes(content), "labels", "it").dtype == np.int64
    except ContentError as error:
        assert str(error).startswith("it ")


def test_classes_must_be_numbered() -> None:
    files, _ = small()
    with pytest.raises(
        CatalogError, match="made: class 'a' begins with no number, but the data knows classes by number"
    ):
        source_of("matlab_labels", files, want({"a": "train"}, OPTIONS))


def test_it_knows_its_layout() -> None:
    options = options_of(OPTIONS, "")
    assert recognises(MemoryTree({"a/imagelabels.mat": b""}), options)
    assert not recognises(MemoryTree({"jpg/image_00001.jpg": b"", "setid.mat": b""}), options)


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        options_of({**PICTURES, "labels_file": "", "images": "jpg/{:5}.jpg", "variables": "labels"}, "x: ")
    assert caught.value.problems == (
        "x: labels_file: expected text, found ''",
        "x: variable: missing",
        "x: images: expected a path with {:05} in it, found 'jpg/{:5}.jpg'",
        "x: variables: unknown field, did you mean 'variable'?",
    )
