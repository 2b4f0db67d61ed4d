"""Arrays in pickles and ``.npz`` files: every row where it belongs, and nothing guessed of labels that do not say."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import array_files
from l2l_core.records import SUBSETS, Subset
from tests.prepare.raw import (
    PICTURES,
    MemoryTree,
    npy,
    npz,
    of_class,
    pixels,
    prepared,
    python2_pickle,
    sample_pictures,
    split_of,
    stored,
    want,
)

CACHE = {
    "images": "image_data",
    "class_rows": "class_dict",
    "files": {
        "train": ["mini-imagenet-cache-train.pkl"],
        "validation": ["mini-imagenet-cache-val.pkl"],
        "test": ["mini-imagenet-cache-test.pkl"],
    },
}
LABELLED = {
    "images": ["data", "features"],
    "labels": "labels",
    "labels_of": "alphabetical",
    "files": {subset: [f"FC100_{subset}.pickle", f"few-shot-{subset}.npz"] for subset in SUBSETS},
}
ADVICE = "give a complete copy in the layout of the official files"


def of_subset(subset_of: Mapping[str, Subset], subset: Subset) -> list[str]:
    return [name for name, its_subset in subset_of.items() if its_subset == subset]


def spread(names: list[str], count: int, seed: int) -> dict[str, list[int]]:
    """Class to `count` rows, anywhere and in any order."""
    rows = np.random.default_rng(seed).permutation(len(names) * count).reshape(len(names), count)
    return {name: rows[i].tolist() for i, name in enumerate(names)}


@pytest.mark.parametrize("source", ["synthetic", "real"])
def test_the_cache_of_mini_imagenet(source: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    subset_of = split_of("mini-imagenet/ravi")
    rows, images, files = {}, {}, {}
    for seed, subset in enumerate(SUBSETS):
        names = of_subset(subset_of, subset)
        rows[subset] = spread(names, 4, seed)
        many = 4 * len(names)
        images[subset] = (
            pixels(seed, many, 9, 8, 3)
            if source == "synthetic"
            else sample_pictures(request.getfixturevalue("test_data"), many, (9, 8))
        )
        table = {"image_data": images[subset], "class_dict": rows[subset]}
        spelt = {"validation": "validation"}.get(subset, subset)  # as on Zenodo, where the archive has val
        files[f"any/mini-imagenet-cache-{spelt}.pkl"] = python2_pickle(table)
    assert [len(rows[subset]) for subset in SUBSETS] == [64, 16, 20]
    untouched = want(
        subset_of, {**PICTURES, **CACHE, "image_size": [9, 8]}, counts=dict.fromkeys(subset_of, 4), image_size=(9, 8)
    )
    smaller = want(subset_of, {**PICTURES, **CACHE})
    store, small = (prepared(array_files, files, w, tmp_path / str(len(w.counts))) for w in (untouched, smaller))
    assert store.examples.shape == (400, 3, 9, 8)
    assert small.examples.shape == (400, 3, 6, 5)
    for name, subset in subset_of.items():
        for k, row in enumerate(rows[subset][name]):
            raw = images[subset][row]
            assert np.array_equal(of_class(store, name)[k], raw.transpose(2, 0, 1))
            resized = np.asarray(Image.fromarray(raw).resize((5, 6), Image.Resampling.BILINEAR))
            assert np.array_equal(of_class(small, name)[k], resized.transpose(2, 0, 1))


@pytest.mark.parametrize("packing", ["pickle", "npz", "compressed"])
def test_labels_that_are_places_in_the_alphabet(packing: str, tmp_path: Path) -> None:
    subset_of = split_of("fc100/oreshkin")
    order = sorted(subset_of)
    options = {**PICTURES, **LABELLED, "image_size": [8, 8], "labels": "labels" if packing == "pickle" else "targets"}
    files, expected = {}, {}
    for seed, subset in enumerate(SUBSETS):
        labels = np.repeat([order.index(name) for name in of_subset(subset_of, subset)], 5)
        np.random.default_rng(seed).shuffle(labels)
        images = pixels(seed, len(labels), 8, 8, 3)
        expected |= {
            name: [images[row] for row in range(len(labels)) if labels[row] == order.index(name)]
            for name in of_subset(subset_of, subset)
        }
        if packing == "pickle":
            files[f"FC100_{subset}.pickle"] = python2_pickle({"data": images, "labels": labels.tolist()})
        else:
            files[f"few-shot-{subset}.npz"] = npz(packing == "compressed", features=images, targets=labels)
    store = prepared(array_files, files, want(subset_of, options), tmp_path)
    assert np.diff(store.offsets).tolist() == [5] * 100
    for name in subset_of:
        assert np.array_equal(np.stack(of_class(store, name)), np.stack(expected[name]).transpose(0, 3, 1, 2))


SMALL: dict[str, Subset] = {"b": "train", "a": "train", "c": "validation", "d": "test"}


def small_tables() -> dict[str, dict[str, Any]]:
    """Two pictures of each class in the layout of the cache; the training pictures lie a b b a."""
    return {
        "mini-imagenet-cache-train.pkl": {
            "image_data": pixels(0, 4, 6, 5, 3),
            "class_dict": {"a": [0, 3], "b": [1, 2]},
        },
        "mini-imagenet-cache-val.pkl": {"image_data": pixels(1, 2, 6, 5, 3), "class_dict": {"c": [0, 1]}},
        "mini-imagenet-cache-test.pkl": {"image_data": pixels(2, 2, 6, 5, 3), "class_dict": {"d": [1, 0]}},
    }


def small_want(**options: Any) -> Any:
    return want(SMALL, {**PICTURES, **CACHE, **options}, counts=dict.fromkeys(SMALL, 2), image_size=(6, 5))


def packed(tables: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: table if isinstance(table, bytes) else python2_pickle(table) for name, table in tables.items()}


def test_grey_pictures_and_other_modes(tmp_path: Path) -> None:
    grey = small_tables()
    for table in grey.values():
        table["image_data"] = table["image_data"][..., 0]
    for name, tables, mode in (("grey", grey, "RGB"), ("plain", grey, "L"), ("colour", small_tables(), "L")):
        store = prepared(array_files, packed(tables), small_want(mode=mode), tmp_path / name)
        raw = tables["mini-imagenet-cache-train.pkl"]["image_data"][3]
        array = np.asarray(Image.fromarray(raw).convert(mode))
        expected = array[None] if mode == "L" else array.transpose(2, 0, 1)
        assert np.array_equal(of_class(store, "a")[1], expected)


def test_pictures_without_pixels_are_refused() -> None:
    tables = small_tables()
    tables["mini-imagenet-cache-train.pkl"]["image_data"] = pixels(0, 4, 0, 5, 3)
    with pytest.raises(ContentError) as caught:
        array_files.read(MemoryTree(packed(tables)), want(SMALL, {**PICTURES, **CACHE}))
    assert str(caught.value) == (
        f"{TRAIN} holds an array of uint8 [4, 0, 5, 3] as its images instead of uint8 [N, N, N, 3]; {ADVICE}"
    )


def test_the_digest_names_the_pictures_and_not_their_packing(tmp_path: Path) -> None:
    def source(number: int, tables: Mapping[str, Any]) -> str:
        return prepared(array_files, packed(tables), small_want(), tmp_path / str(number)).source

    tables = small_tables()
    first = source(0, tables)
    train = tables["mini-imagenet-cache-train.pkl"]
    moved = {"image_data": train["image_data"][[3, 2, 1, 0]], "class_dict": {"b": [2, 1], "a": [3, 0]}, "more": 1}
    assert source(1, {**tables, "mini-imagenet-cache-train.pkl": moved}) == first
    swapped = {**train, "class_dict": {"b": [0, 3], "a": [1, 2]}}
    assert source(2, {**tables, "mini-imagenet-cache-train.pkl": swapped}) != first
    train["image_data"][3, 0, 0, 0] ^= 1
    assert source(3, tables) != first


def with_entry(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def spoil(tables: dict[str, Any]) -> None:
        tables["mini-imagenet-cache-train.pkl"][key] = value

    return spoil


def with_file(name: str, content: object) -> Callable[[dict[str, Any]], None]:
    def spoil(tables: dict[str, Any]) -> None:
        tables[name] = content

    return spoil


def without_test(tables: dict[str, Any]) -> None:
    del tables["mini-imagenet-cache-test.pkl"]


def without_images(tables: dict[str, Any]) -> None:
    tables["mini-imagenet-cache-train.pkl"]["data"] = tables["mini-imagenet-cache-train.pkl"].pop("image_data")


TRAIN = "made: mini-imagenet-cache-train.pkl in copy.zip"
REFUSED = [
    (without_test, f"made: copy.zip has no file mini-imagenet-cache-test.pkl; {ADVICE}"),
    (
        with_file("x/mini-imagenet-cache-validation.pkl", b""),
        "made: copy.zip holds both mini-imagenet-cache-val.pkl and x/mini-imagenet-cache-validation.pkl, of which one "
        "can be meant; leave the other out",
    ),
    (
        with_file("mini-imagenet-cache-train.pkl", [1, 2]),
        f"{TRAIN} holds a list of 2 instead of a dict with named entries; {ADVICE}",
    ),
    (without_images, f"{TRAIN} has no entry 'image_data' but 'class_dict', 'data'; {ADVICE}"),
    (
        with_entry("image_data", pixels(0, 4, 5, 6, 3)),
        f"{TRAIN} holds an array of uint8 [4, 5, 6, 3] as its images instead of uint8 [N, 6, 5, 3]; {ADVICE}",
    ),
    (
        with_entry("image_data", pixels(0, 4, 6, 5, 4)),
        f"{TRAIN} holds an array of uint8 [4, 6, 5, 4] as its images instead of uint8 [N, 6, 5, 3]; {ADVICE}",
    ),
    (
        with_entry("image_data", np.zeros((4, 6, 5, 3), np.float32)),
        f"{TRAIN} holds an array of float32 [4, 6, 5, 3] as its images instead of uint8 [N, 6, 5, 3]; {ADVICE}",
    ),
    (
        with_entry("image_data", "none"),
        f"{TRAIN} holds a bytes of 4 as its images instead of uint8 [N, 6, 5, 3]; {ADVICE}",
    ),
    (with_entry("class_dict", ["a"]), f"{TRAIN}: its classes are not a dict from name to rows; {ADVICE}"),
    (
        with_entry("class_dict", {"a": [0, 3]}),
        f"made: 1 of 4 classes are missing from copy.zip (the first is b); {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0, 3], "b": []}),
        f"made: 1 of 4 classes are missing from copy.zip (the first is b); {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0, 3], "b": [1]}),
        f"made: b in copy.zip has 1 examples instead of 2; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0], "b": [1], "z": [2]}),
        f"{TRAIN} holds z, which is none of the 4 classes; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0], "b": [1], "d": [2]}),
        f"made: mini-imagenet-cache-test.pkl in copy.zip holds d, which is in another file, too; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0, 3], "b": [1, 4]}),
        f"{TRAIN}: b has a row beyond the 4 pictures; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0, 3], "b": [-1, 2]}),
        f"{TRAIN}: b has a row beyond the 4 pictures; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0, 3], "b": [3, 2]}),
        f"{TRAIN}: b has a row that was given out before; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [0, 0], "b": [1, 2]}),
        f"{TRAIN}: a has a row that was given out before; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": ["0", "3"], "b": [1, 2]}),
        f"{TRAIN} holds a list of 2 as the rows of a instead of a list of whole numbers; {ADVICE}",
    ),
    (
        with_entry("class_dict", {"a": [[0], [1, 2]], "b": [1, 2]}),
        f"{TRAIN} holds a list of 2 as the rows of a instead of a list of whole numbers; {ADVICE}",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_the_data_set_is_refused(spoil: Callable[[dict[str, Any]], None], message: str) -> None:
    tables: dict[str, Any] = small_tables()
    array_files.read(MemoryTree(packed(tables)), small_want())
    spoil(tables)
    with pytest.raises(ContentError) as caught:
        array_files.read(MemoryTree(packed(tables)), small_want())
    assert str(caught.value) == message


def test_labels_that_count_from_zero_in_each_file_are_refused() -> None:
    def read(labels: object, images: int = 4) -> None:
        tables = {
            "FC100_train.pickle": {"data": pixels(0, images, 6, 5, 3), "labels": labels},
            "FC100_val.pickle": {"data": pixels(1, 1, 6, 5, 3), "labels": [2]},
            "FC100_test.pickle": {"data": pixels(2, 1, 6, 5, 3), "labels": [3]},
        }
        array_files.read(MemoryTree(packed(tables)), want(subset_of, {**PICTURES, **LABELLED}))

    subset_of: dict[str, Subset] = {"a": "train", "b": "train", "c": "validation", "d": "test"}
    read([0, 1, 1, 0])
    train = "made: FC100_train.pickle in copy.zip"
    for labels, message in (
        (
            [0, 1, 2, 1],
            f"{train} has the labels 0, 1, 2 where those of its classes, in alphabetical order among all, are 0, 1, so "
            "its classes cannot be told apart; give a copy numbered over all classes",
        ),
        (
            [0, 0, 0, 0],
            f"{train} has the labels 0 where those of its classes, in alphabetical order among all, are 0, 1, so "
            "its classes cannot be told apart; give a copy numbered over all classes",
        ),
        ([0, 1, 1], f"{train} has 3 labels for 4 pictures; {ADVICE}"),
        ("0110", f"{train} holds a bytes of 4 as its labels instead of a list of whole numbers; {ADVICE}"),
    ):
        with pytest.raises(ContentError) as caught:
            read(labels)
        assert str(caught.value) == message
    # Numbered from 0 in every file: the test file's 0 is not its class, which is 3.
    subset_of = {"c": "train", "d": "train", "b": "validation", "a": "test"}
    with pytest.raises(ContentError, match=r"FC100_train.* has the labels 0, 1 where .* are 2, 3, so its classes"):
        read([0, 1, 1, 0])


def test_files_of_numpy_that_lie_are_refused(tmp_path: Path) -> None:
    options = {**PICTURES, **LABELLED, "labels": "targets", "files": {"train": ["t.npz"]}}
    wanted = want({"a": "train"}, options)
    images, labels = pixels(0, 2, 6, 5, 3), np.zeros(2, np.int64)
    good = npz(features=images, targets=labels)
    store = prepared(array_files, {"t.npz": good}, wanted, tmp_path)
    assert np.array_equal(of_class(store, "a")[1], images[1].transpose(2, 0, 1))
    flipped = bytearray(good)
    flipped[good.index(images[1].tobytes())] ^= 1
    objects = npz_of(features=object_npy(), targets=npy(labels))
    long = npz_of(features=npy(images) + b"x", targets=npy(labels))
    for content, message in (
        (good[:-30], "is not a whole .npz file (File is not a zip file); get the file anew"),
        (bytes(flipped), "is not a whole .npz file (Bad CRC-32 for file 'features.npy'); get the file anew"),
        (objects, "is not a whole .npy file (it holds Python objects, which are not read); get the file anew"),
        (
            long,
            "is not a whole .npy file (181 bytes follow its header instead of the 180 of (2, 6, 5, 3)); get the file",
        ),
        (npz(features=images), f"has no entry 'targets' but 'features'; {ADVICE}"),
        (b"", "is not a whole .npz file (File is not a zip file); get the file anew"),
    ):
        with pytest.raises(ContentError) as caught:
            array_files.read(MemoryTree({"t.npz": content}), wanted)
        assert str(caught.value).startswith(f"made: t.npz in copy.zip {message}")


def npz_of(**members: bytes) -> bytes:
    import io
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
    return stream.getvalue()


def object_npy() -> bytes:
    """A ``.npy`` file whose content is a pickle that would say so if it were read."""
    header = npy(np.zeros(1, "<i8")).replace(b"'<i8'", b"'|O' ")
    return header[:-8] + b"cbuiltins\nprint\n(S'read'\ntR."


def test_a_subset_without_classes_needs_no_file(tmp_path: Path) -> None:
    subset_of: dict[str, Subset] = {"c": "validation"}
    wanted = want(subset_of, {**PICTURES, **CACHE})
    tables = small_tables()
    raw = array_files.read(
        MemoryTree(packed({"mini-imagenet-cache-val.pkl": tables["mini-imagenet-cache-val.pkl"]})), wanted
    )
    assert len(of_class(stored(raw, wanted, tmp_path), "c")) == 2


def test_options_that_cannot_be_are_named() -> None:
    options = {**PICTURES, **CACHE, "labels": "labels", "images": [], "files": {"train": ["a"], "val": ["b"]}, "x": 1}
    with pytest.raises(CatalogError) as caught:
        array_files.options_of(options, "made: form: ")
    assert caught.value.problems == (
        "made: form: class_rows: expected either this field or labels, with labels_of",
        "made: form: labels_of: missing",
        "made: form: files.val: unknown field",
        "made: form: images: expected text, found an empty list",
        "made: form: x: unknown field",
    )
