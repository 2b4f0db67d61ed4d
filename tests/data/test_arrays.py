"""Prepared examples as NumPy arrays: what they are gathered into, and what a data set cannot be made of."""

from pathlib import Path

import numpy as np
import pytest

from l2l_core.data.arrays import ArrayDataset
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.prepare.held import hold_arrays, hold_texts
from tests.test_store import write_sounds

LABELS = [0, 1, 0, 1]


def images(height: int, width: int) -> ArrayDataset:
    examples = np.arange(4 * height * width, dtype=np.uint8).reshape(4, 1, height, width)
    return ArrayDataset(hold_arrays("toy", examples, LABELS, "images"))


def test_what_is_gathered_goes_where_it_is_told() -> None:
    dataset, ids = images(2, 3), np.array([[3, 0], [1, 1]])
    out = np.full((2, 2, 1, 2, 3), 99, np.uint8)
    assert dataset.gather(ids, out) is out
    for place in np.ndindex(ids.shape):
        assert np.array_equal(out[place], dataset[int(ids[place])][0])


def test_what_cannot_be_gathered_into_is_refused_and_left_alone(tmp_path: Path) -> None:
    ids = np.array([[3, 0], [1, 1]])
    apart = np.full((2, 4, 1, 2, 3), 99, np.uint8)[:, :2]
    narrow, wide = np.full((2, 2, 1, 2, 2), 99, np.uint8), np.full((2, 2, 1, 2, 3), 99, np.int64)
    for out, found in (
        (apart, "uint8 [2, 2, 1, 2, 3]"),
        (narrow, "uint8 [2, 2, 1, 2, 2]"),
        (wide, "int64 [2, 2, 1, 2, 3]"),
    ):
        with pytest.raises(UsageError) as caught:
            images(2, 3).gather(ids, out)
        assert str(caught.value) == f"toy: out is {found}; give a contiguous uint8 [2, 2, 1, 2, 3]"
        assert (out == 99).all()
    with pytest.raises(UsageError, match=r"toy: out is int16 \[2, 2\]; give a contiguous int16 \[2, 3\]"):
        ArrayDataset(write_sounds(tmp_path / "sounds")).gather(ids[0], np.empty((2, 2), np.int16))


def test_only_square_images_are_turned(tmp_path: Path) -> None:
    oblong = hold_arrays("toy", np.zeros((4, 1, 4, 6), np.uint8), LABELS, "images")
    features = hold_arrays("toy", np.zeros((4, 3, 3)), LABELS, "arrays")
    texts = hold_texts("toy", list("abcd"), LABELS)
    for store, found in (
        (oblong, "images [1, 4, 6]"),
        (features, "arrays"),
        (texts, "texts"),
        (write_sounds(tmp_path / "sounds"), "sounds"),
    ):
        with pytest.raises(UsageError) as caught:
            ArrayDataset(store, rotations=True)
        assert str(caught.value) == (
            "toy: only square images can be turned into further classes, and its examples are "
            f"{found}; leave rotations out"
        )
    square = ArrayDataset(hold_arrays("toy", np.zeros((4, 1, 4, 4), np.uint8), LABELS, "images"), rotations=True)
    assert len(square) == 16


def test_a_class_that_is_not_there_is_named() -> None:
    held = hold_arrays("toy", np.zeros((4, 2)), ["lake", "hill", "lake", "hill"], "arrays")
    with pytest.raises(UnknownNameError, match="unknown class 'lak' of toy; did you mean 'lake'"):
        ArrayDataset(held, ["hill", "lak"])
    with pytest.raises(UnknownNameError, match="unknown class 'nosuch' of toy; known: hill, lake"):
        ArrayDataset(held, ["nosuch"])
    assert ArrayDataset(held, ["lake", "hill"]).classes == ("hill", "lake")
