"""CIFAR-100 in both of its editions: the same pictures in the same order, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted, cifar
from l2l_core.records import Subset
from tests.prepare.raw import (
    PICTURES,
    MemoryTree,
    of_class,
    pixels,
    prepared,
    python2_pickle,
    sample_pictures,
    split_of,
    want,
)

ADVICE = "give a complete copy in the layout of the official files"
AS_THEY_ARE = {**PICTURES, "image_size": [32, 32]}


def python_edition(parts: dict[str, tuple[np.ndarray, list[int]]], names: list[str]) -> dict[str, Any]:
    """Part to pictures, uint8 [N, 32, 32, 3], and labels, as the values of three pickles."""
    tables: dict[str, Any] = {
        f"cifar-100-python/{part}": {
            "data": images.transpose(0, 3, 1, 2).reshape(len(images), -1),
            "fine_labels": labels,
            "coarse_labels": [0] * len(labels),
            "filenames": ["any.png"] * len(labels),
        }
        for part, (images, labels) in parts.items()
    }
    return {**tables, "cifar-100-python/meta": {"fine_label_names": names, "coarse_label_names": ["any"]}}


def binary_edition(parts: dict[str, tuple[np.ndarray, list[int]]], names: list[str]) -> dict[str, bytes]:
    """The same as three files of bytes."""
    files = {
        f"cifar-100-binary/{part}.bin": b"".join(
            bytes([99, label]) + image[..., 0].tobytes() + image[..., 1].tobytes() + image[..., 2].tobytes()
            for image, label in zip(images, labels, strict=True)
        )
        for part, (images, labels) in parts.items()
    }
    return {**files, "cifar-100-binary/fine_label_names.txt": "\n".join([*names, ""]).encode()}


def packed(tables: dict[str, Any]) -> dict[str, bytes]:
    return {name: table if isinstance(table, bytes) else python2_pickle(table) for name, table in tables.items()}


@pytest.mark.parametrize("source", ["synthetic", "real"])
@pytest.mark.parametrize("split", ["cifar-fs/bertinetto", "fc100/oreshkin"])
def test_both_editions_at_full_class_count(
    source: str, split: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    subset_of = split_of(split)
    names = sorted(subset_of)
    parts, expected = {}, {name: [] for name in names}
    for part, each in (("train", 3), ("test", 2)):
        labels = np.random.default_rng(each).permutation(np.repeat(np.arange(100), each)).tolist()
        images = (
            pixels(each, len(labels), 32, 32, 3)
            if source == "synthetic"
            else sample_pictures(request.getfixturevalue("test_data"), len(labels), (32, 32))
        )
        parts[part] = images, labels
        for image, label in zip(images, labels, strict=True):
            expected[names[label]].append(image.transpose(2, 0, 1))
    counts = dict.fromkeys(names, 5)
    wanted = want(subset_of, AS_THEY_ARE, counts=counts, image_size=(32, 32))
    python = prepared(cifar, packed(python_edition(parts, names)), wanted, tmp_path / "python")
    binary = prepared(cifar, binary_edition(parts, names), wanted, tmp_path / "binary")
    assert np.diff(python.offsets).tolist() == [5] * 100
    for name in names:
        assert np.array_equal(np.stack(of_class(python, name)), np.stack(expected[name]))
    assert python.path.read_bytes() == binary.path.read_bytes()


SMALL: dict[str, Subset] = {"apple": "test", "pear": "train"}
NAMES = ["pear", "plum", "apple"]  # not in alphabetical order, and one that is not wanted
PARTS: dict[str, tuple[np.ndarray, list[int]]] = {
    "train": (pixels(0, 3, 32, 32, 3), [0, 2, 1]),
    "test": (pixels(1, 2, 32, 32, 3), [2, 0]),
}


def small_want(**options: Any) -> Wanted:
    return want(SMALL, {**AS_THEY_ARE, **options}, counts=dict.fromkeys(SMALL, 2))


def test_classes_go_by_name_and_pictures_by_the_options(tmp_path: Path) -> None:
    store = prepared(cifar, binary_edition(PARTS, NAMES), small_want(mode="L", image_size=[8, 4]), tmp_path)
    for name, raw in (("pear", (PARTS["train"][0][0], PARTS["test"][0][1])), ("apple", (PARTS["train"][0][1],))):
        for array, image in zip(of_class(store, name), raw, strict=False):
            resized = Image.fromarray(image).convert("L").resize((4, 8), Image.Resampling.BILINEAR)
            assert np.array_equal(array[0], np.asarray(resized))


def test_the_binary_edition_is_read_where_both_are_there(tmp_path: Path) -> None:
    files = {**binary_edition(PARTS, NAMES), "train": b"cos\nsystem\n", "test": b"", "meta": b""}
    assert len(prepared(cifar, files, small_want(), tmp_path)) == 4


def test_another_pixel_is_another_digest(tmp_path: Path) -> None:
    first = prepared(cifar, binary_edition(PARTS, NAMES), small_want(), tmp_path).source
    images, labels = PARTS["test"]
    changed = images.copy()
    changed[1, 31, 31, 2] ^= 1
    assert prepared(
        cifar, binary_edition({**PARTS, "test": (changed, labels)}, NAMES), small_want(), tmp_path
    ).source != (first)


Spoil = Callable[[dict[str, Any]], Any]


def with_entry(file: str, key: str, value: object) -> Spoil:
    return lambda tables: tables[f"cifar-100-python/{file}"].__setitem__(key, value)


def without(file: str) -> Spoil:
    return lambda tables: tables.pop(file)


def with_file(file: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda tables: tables.__setitem__(file, change(tables.get(file, b"")))


TRAIN = "made: cifar-100-python/train in copy.zip"
TRAIN_BIN = "made: cifar-100-binary/train.bin in copy.zip"
PYTHON_REFUSED: list[tuple[Spoil, str]] = [
    (without("cifar-100-python/train"), f"made: copy.zip has no file train; {ADVICE}"),
    (without("cifar-100-python/meta"), f"made: copy.zip has no file meta; {ADVICE}"),
    (
        with_file("other/test", lambda _: b""),
        "made: copy.zip holds both cifar-100-python/test and other/test, of which one can be meant; leave the other "
        "out",
    ),
    (
        with_entry("train", "data", np.zeros((3, 3071), np.uint8)),
        f"{TRAIN} holds an array of uint8 [3, 3071] as its data instead of uint8 [N, 3072]; {ADVICE}",
    ),
    (
        with_entry("train", "data", np.zeros((3, 3072), np.int64)),
        f"{TRAIN} holds an array of int64 [3, 3072] as its data instead of uint8 [N, 3072]; {ADVICE}",
    ),
    (with_entry("train", "fine_labels", [0, 2]), f"{TRAIN} has 2 labels for 3 pictures; {ADVICE}"),
    (
        with_entry("train", "fine_labels", "021"),
        f"{TRAIN} holds a bytes of 3 as its labels instead of a list of whole numbers; {ADVICE}",
    ),
    (
        with_entry("train", "fine_labels", [0, 2, 3]),
        f"made: copy.zip has labels from 0 to 3, but 3 names, numbered from 0; {ADVICE}",
    ),
    (
        with_entry("train", "fine_labels", [0, 2, -1]),
        f"made: copy.zip has labels from -1 to 2, but 3 names, numbered from 0; {ADVICE}",
    ),
    (
        with_entry("train", "fine_labels", [0, 0, 1]),
        f"made: apple in copy.zip has 1 examples instead of 2; {ADVICE}",
    ),
    (
        with_entry("meta", "fine_label_names", ["pear", "plum", "grape"]),
        f"made: 1 of 2 classes are missing from copy.zip (the first is apple); {ADVICE}",
    ),
    (
        with_entry("meta", "fine_label_names", 3),
        "made: cifar-100-python/meta in copy.zip holds a value of the type int as its names instead of a list of "
        f"names; {ADVICE}",
    ),
    (
        with_file("cifar-100-python/meta", lambda _: python2_pickle(["apple"])),
        f"made: cifar-100-python/meta in copy.zip holds a list of 1 instead of a dict with named entries; {ADVICE}",
    ),
]
BINARY_REFUSED: list[tuple[Spoil, str]] = [
    (without("cifar-100-binary/test.bin"), f"made: copy.zip has no file test.bin; {ADVICE}"),
    (without("cifar-100-binary/fine_label_names.txt"), f"made: copy.zip has no file fine_label_names.txt; {ADVICE}"),
    (
        with_file("cifar-100-binary/train.bin", lambda content: content[:-1]),
        f"{TRAIN_BIN} has 9,221 bytes, which are no whole rows of 3,074; {ADVICE}",
    ),
    (
        with_file("cifar-100-binary/train.bin", lambda content: content[:-3074]),
        None,  # a row that is not wanted is not missed
    ),
    (
        with_file("cifar-100-binary/train.bin", lambda _: b""),
        f"made: apple in copy.zip has 1 examples instead of 2; {ADVICE}",
    ),
    (
        with_file("cifar-100-binary/train.bin", lambda content: content[:1] + b"\x03" + content[2:]),
        f"made: copy.zip has labels from 0 to 3, but 3 names, numbered from 0; {ADVICE}",
    ),
]


@pytest.mark.parametrize(
    ("edition", "spoil", "message"),
    [(python_edition, *row) for row in PYTHON_REFUSED] + [(binary_edition, *row) for row in BINARY_REFUSED],
)
def test_what_is_not_the_data_set_is_refused(
    edition: Callable[..., dict[str, Any]], spoil: Spoil, message: str | None
) -> None:
    tables = edition(PARTS, NAMES)
    spoil(tables)
    if message is None:
        cifar.read(MemoryTree(packed(tables)), small_want())
        return
    with pytest.raises(ContentError) as caught:
        cifar.read(MemoryTree(packed(tables)), small_want())
    assert str(caught.value) == message


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        cifar.options_of({**PICTURES, "side": 32}, "made: ")
    assert caught.value.problems == ("made: side: unknown field",)
