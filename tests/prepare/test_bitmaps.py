"""A ``.npy`` file a class, as Quick, Draw! comes: mapped, so that fifty million drawings cost no memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from l2l_core.errors import CatalogError, ContentError
from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import Wanted, bitmaps
from l2l_core.prepare.readers._numpy_files import npy_array, npz_arrays
from l2l_core.records import Subset
from tests.memory import resident_mebibytes
from tests.prepare.raw import MemoryTree, npy, npz, of_class, pixels, prepared, split_of, stored, want

GREY = {"mode": "L", "image_size": [4, 4], "resample": "bilinear", "side": 4}
ADVICE = "give a complete copy in the layout of the official files"


def test_quickdraw_at_full_class_count(tmp_path: Path) -> None:
    subset_of = split_of("quickdraw/meta-dataset")
    assert len(subset_of) == 345
    counts = {name: 3 + i % 4 for i, name in enumerate(sorted(subset_of))}
    drawings = {name: pixels(i, counts[name], 16) for i, name in enumerate(sorted(subset_of))}
    for name, array in drawings.items():
        (tmp_path / "numpy_bitmap").mkdir(exist_ok=True)
        (tmp_path / "numpy_bitmap" / f"{name}.npy").write_bytes(npy(array, (1, 0) if len(array) % 2 else (2, 0)))
    tree = open_tree(tmp_path / "numpy_bitmap", max_entries=400, max_bytes=2**20)
    for first, size in ((None, [4, 4]), (2, [3, 5])):
        options = {**GREY, "image_size": size, **({} if first is None else {"first": first})}
        wanted = want(subset_of, options, counts=dict.fromkeys(subset_of, first) if first else counts)
        store = stored(bitmaps.read(tree, wanted), wanted, tmp_path / "store")
        assert np.diff(store.offsets).tolist() == [first or counts[name] for name in sorted(subset_of)]
        for name in subset_of:
            for k, array in enumerate(of_class(store, name)):
                drawing = drawings[name][k].reshape(4, 4)
                resized = Image.fromarray(drawing).resize((size[1], size[0]), Image.Resampling.BILINEAR)
                assert np.array_equal(array, [drawing if first is None else np.asarray(resized)])
    tree.close()


SMALL: dict[str, Subset] = {"The Eiffel Tower": "train", "t-shirt": "test"}


def small_files() -> dict[str, Any]:
    return {
        "a/The Eiffel Tower.npy": pixels(0, 3, 16),
        "a/t-shirt.npy": pixels(1, 3, 16),
        "a/cow.npy": b"not looked at",
    }


def small_want(**options: Any) -> Wanted:
    return want(SMALL, {**GREY, **options}, counts=dict.fromkeys(SMALL, 3))


def packed(files: dict[str, Any]) -> dict[str, bytes]:
    return {name: value if isinstance(value, bytes) else npy(value) for name, value in files.items()}


def test_the_digest_goes_over_what_is_meant(tmp_path: Path) -> None:
    def source(files: dict[str, Any], first: int) -> str:
        wanted = want(SMALL, {**GREY, "first": first})
        return prepared(bitmaps, packed(files), wanted, tmp_path).source

    files = small_files()
    changed = {**files, "a/t-shirt.npy": files["a/t-shirt.npy"].copy()}
    changed["a/t-shirt.npy"][2, 15] ^= 1
    assert source(files, 2) == source(changed, 2)
    assert source(files, 3) != source(changed, 3)
    by_columns = {**files, "a/t-shirt.npy": np.asfortranarray(files["a/t-shirt.npy"])}
    assert source(by_columns, 3) == source(files, 3)
    assert source(by_columns, 2) == source(files, 2)


Spoil = Callable[[dict[str, Any]], Any]


def with_file(value: object, name: str = "a/t-shirt.npy") -> Spoil:
    return lambda files: files.__setitem__(name, value)


SHIRT = "made: a/t-shirt.npy in copy.zip"
REFUSED: list[tuple[Spoil, str]] = [
    (
        lambda files: files.pop("a/t-shirt.npy"),
        f"made: 1 of 2 classes are missing from copy.zip (the first is t-shirt); {ADVICE}",
    ),
    (
        with_file(b"", "b/t-shirt.npy"),
        "made: copy.zip holds both a/t-shirt.npy and b/t-shirt.npy, of which one can be meant; leave the other out",
    ),
    (with_file(pixels(0, 2, 16)), f"made: t-shirt in copy.zip has 2 examples instead of 3; {ADVICE}"),
    (
        with_file(pixels(0, 0, 16)),
        f"made: 1 of 2 classes are missing from copy.zip (the first is t-shirt); {ADVICE}",
    ),
    (
        with_file(pixels(0, 3, 15)),
        f"{SHIRT} holds an array of uint8 [3, 15] as its pictures instead of uint8 [N, 16]; {ADVICE}",
    ),
    (
        with_file(pixels(0, 3, 4, 4)),
        f"{SHIRT} holds an array of uint8 [3, 4, 4] as its pictures instead of uint8 [N, 16]; {ADVICE}",
    ),
    (
        with_file(np.zeros((3, 16))),
        f"{SHIRT} holds an array of float64 [3, 16] as its pictures instead of uint8 [N, 16]; {ADVICE}",
    ),
    (
        with_file(npy(pixels(0, 3, 16))[:-1]),
        f"{SHIRT} is not a whole .npy file (47 bytes follow its header instead of the 48 of (3, 16)); get the",
    ),
    (
        with_file(npy(pixels(0, 3, 16)) + b"x"),
        f"{SHIRT} is not a whole .npy file (49 bytes follow its header instead of the 48 of (3, 16)); get the",
    ),
    (
        with_file(npy(pixels(0, 3, 16))[:40]),
        f"{SHIRT} is not a whole .npy file (EOF: reading array header, expected 118 bytes got 30); get the file anew",
    ),
    (
        with_file(npy(pixels(0, 3, 16)).replace(b"'|u1'", b"'|O' ")),
        f"{SHIRT} is not a whole .npy file (it holds Python objects, which are not read); get the file anew",
    ),
    (
        with_file(npy(pixels(0, 3, 16)).replace(b"(3, 16), } ", b"(-3,-16), }")),
        f"{SHIRT} is not a whole .npy file (48 bytes follow its header instead of the 48 of (-3, -16)); get the file",
    ),
    (
        with_file(b"\x93NUMPY\x03" + npy(pixels(0, 3, 16))[7:]),
        f"{SHIRT} is not a whole .npy file (its format version is 3.0, not 1.0 or 2.0); get the file anew",
    ),
    (
        with_file(b"\x93NUMPY\x02\x00" + (20_000).to_bytes(4, "little") + b" " * 20_000),
        f"{SHIRT} is not a whole .npy file (Header info length (20000) is large",
    ),
    (
        with_file(npy(pixels(0, 3, 16)).replace(b"'|u1'", b"()   ")),
        f"{SHIRT} is not a whole .npy file (",
    ),
    (with_file(b"<!doctype html>"), f"{SHIRT} is not a whole .npy file ("),
    (with_file(b""), f"{SHIRT} is not a whole .npy file (EOF: reading magic string, expected 8 bytes got 0); get"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_the_data_set_is_refused(spoil: Spoil, message: str) -> None:
    files = small_files()
    bitmaps.read(MemoryTree(packed(files)), small_want())
    spoil(files)
    with pytest.raises(ContentError) as caught:
        bitmaps.read(MemoryTree(packed(files)), small_want())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        bitmaps.options_of({**GREY, "side": 0, "frist": 3}, "made: ")
    assert caught.value.problems == (
        "made: side: expected at least 1, found 0",
        "made: frist: unknown field, did you mean 'first'?",
    )


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4), st.booleans())
def test_damaged_files_of_numpy_are_refused_or_read(at: int, patch: bytes, zipped: bool) -> None:
    array = pixels(0, 3, 16)
    good = bytearray(npz(compressed=bool(at % 2), a=array) if zipped else npy(array))
    good[at % len(good) : at % len(good) + len(patch)] = patch
    try:
        found = npz_arrays(memoryview(good), ("a",)).values() if zipped else [npy_array(good)]
    except ContentError as error:
        assert str(error).startswith("is not a whole .npz file (" if zipped else "is not a whole .npy file (") or zipped
    else:
        assert all(isinstance(array, np.ndarray) for array in found)


COUNT_AND_DIGEST = """
raw = bitmaps.read(tree, wanted)
assert len(raw.examples["a"]) == 300_000
raw.load(raw.examples["a"][-1])
raw.digest()
"""


def test_drawings_stay_on_the_disk(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (300_000, 784)})
        stream.truncate(stream.tell() + 300_000 * 784)
    before = """
from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import Wanted, bitmaps
tree = open_tree(Path(sys.argv[1]), max_entries=10, max_bytes=2**40)
wanted = Wanted("made", {"mode": "L", "image_size": [28, 28], "resample": "bilinear", "side": 28}, ["a"])
"""
    start = "resident = lambda: 1024 * int(Path('/proc/self/status').read_text().split('RssAnon:')[1].split()[0])"
    assert resident_mebibytes(before, f"{start}; start = resident()\n{COUNT_AND_DIGEST}", tmp_path) < 8
