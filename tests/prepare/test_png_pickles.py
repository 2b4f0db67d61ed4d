"""Pictures as PNG files within pickles, as tiered-ImageNet comes: by name, whatever the order, in little memory."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted, png_pickles
from l2l_core.records import SUBSETS, Subset
from tests.memory import resident_mebibytes
from tests.prepare.raw import (
    PICTURES,
    MemoryTree,
    of_class,
    pixels,
    png,
    prepared,
    python2_pickle,
    sample_pictures,
    split_of,
    want,
    write_python2,
)

LAYOUT = {"images": "{subset}_images_png.pkl", "labels": "{subset}_labels.pkl"}
ADVICE = "give a complete copy in the layout of the official files"


def names_of_tiered() -> dict[str, str]:
    with (Path(__file__).parents[2] / "metadata/names/tiered-imagenet.csv").open(
        encoding="utf-8", newline=""
    ) as stream:
        return {row["class"]: row["name"] for row in csv.DictReader(stream)}


@pytest.mark.parametrize("source", ["synthetic", "real"])
def test_tiered_imagenet(source: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    subset_of, called = split_of("tiered-imagenet/ren"), names_of_tiered()
    assert len(subset_of) == 608
    generator = np.random.default_rng(0)
    counts = {name: int(generator.integers(1, 4)) for name in subset_of}
    files: dict[str, bytes] = {}
    pictures: dict[str, list[np.ndarray]] = {}
    for seed, subset in enumerate(SUBSETS):
        # Classes numbered in any order, and pictures of a class anywhere among the others.
        classes = generator.permutation([name for name in subset_of if subset_of[name] == subset]).tolist()
        labels = generator.permutation([i for i, name in enumerate(classes) for _ in range(counts[name])])
        images = (
            pixels(seed, len(labels), 6, 5, 3)
            if source == "synthetic"
            else sample_pictures(request.getfixturevalue("test_data"), len(labels), (6, 5))
        )
        for label, image in zip(labels, images, strict=True):
            pictures.setdefault(classes[label], []).append(image)
        contents = [np.frombuffer(png(image), np.uint8) for image in images]
        # As OpenCV has it, and as others have it.
        contents = [content[:, None] if i % 2 else content for i, content in enumerate(contents)]
        table = {
            "label_specific": labels,
            "label_specific_str": [called[name] for name in classes],
            "label_general": labels % 3,
            "label_general_str": {"any": "thing"},
        }
        spelt = {"validation": "val"}.get(subset, subset)
        files[f"tiered-imagenet/{spelt}_images_png.pkl"] = python2_pickle(contents)
        files[f"tiered-imagenet/{spelt}_labels.pkl"] = python2_pickle(table)
    wanted = want(subset_of, {**PICTURES, **LAYOUT}, counts=counts, image_size=(6, 5), class_names=called)
    store = prepared(png_pickles, files, wanted, tmp_path)
    for name in subset_of:
        assert np.array_equal(np.stack(of_class(store, name)), np.stack(pictures[name]).transpose(0, 3, 1, 2))


SMALL: dict[str, Subset] = {"n1": "train", "n2": "train", "n3": "validation", "n4": "test"}
CALLED = {"n1": "crane", "n2": "cat, true cat", "n3": "dog", "n4": "crane"}


def small_pickles() -> dict[str, Any]:
    """Pictures in the order n2 n1 n1; a name, crane, is that of two classes, but not in one subset."""
    contents = [np.frombuffer(png(image), np.uint8) for image in pixels(0, 5, 6, 5, 3)]
    return {
        "train_images_png.pkl": contents[:3],
        "train_labels.pkl": {"label_specific": [0, 1, 1], "label_specific_str": ["cat, true cat", "crane"]},
        "val_images_png.pkl": contents[3:4],
        "val_labels.pkl": {"label_specific": np.array([0]), "label_specific_str": ["dog"]},
        "test_images_png.pkl": contents[4:],
        "test_labels.pkl": {"label_specific": np.array([0]), "label_specific_str": ["crane"]},
    }


def small_want(**more: Any) -> Wanted:
    return want(SMALL, {**PICTURES, **LAYOUT}, **{"image_size": (6, 5), "class_names": CALLED, **more})


def packed(pickles: dict[str, Any]) -> dict[str, bytes]:
    return {name: value if isinstance(value, bytes) else python2_pickle(value) for name, value in pickles.items()}


def test_names_come_from_the_copy_itself_where_it_pairs_them(tmp_path: Path) -> None:
    raw = pixels(0, 5, 6, 5, 3).transpose(0, 3, 1, 2)
    names = {
        "x/tiered-imagenet-synsets.txt": b"n4\nn2\nn3\nn1\nn9\n",
        "x/tiered-imagenet-class_names.txt": b"crane\ncat, true cat\ndog\ncrane\ncow\n",
    }
    prefixed = {f"tiered-imagenet-{name}": value for name, value in small_pickles().items()}
    for number, (files, class_names) in enumerate(
        (
            (packed(small_pickles()), CALLED),
            ({**packed(prefixed), **names}, {}),
            ({**packed(small_pickles()), **names}, dict.fromkeys(SMALL, "another")),
        )
    ):
        store = prepared(png_pickles, files, small_want(class_names=class_names), tmp_path / str(number))
        expected = {"n1": raw[1:3], "n2": raw[:1], "n3": raw[3:4], "n4": raw[4:]}
        assert all(np.array_equal(np.stack(of_class(store, name)), expected[name]) for name in SMALL)


def test_the_digest_names_the_png_files_and_not_their_packing(tmp_path: Path) -> None:
    def source(pickles: dict[str, Any]) -> str:
        return prepared(png_pickles, packed(pickles), small_want(), tmp_path).source

    first = source(small_pickles())
    pickles = small_pickles()
    pickles["train_images_png.pkl"] = [pickles["train_images_png.pkl"][i][:, None] for i in (1, 0, 2)]
    pickles["train_labels.pkl"] = {"label_specific": [1, 0, 1], "label_specific_str": ["cat, true cat", "crane"]}
    assert source(pickles) == first
    pickles["train_labels.pkl"] = {"label_specific": [0, 1, 1], "label_specific_str": ["cat, true cat", "crane"]}
    assert source(pickles) != first


def with_labels(**entries: object) -> Callable[[dict[str, Any]], None]:
    return lambda pickles: pickles["train_labels.pkl"].update(entries)


def with_file(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda pickles: pickles.__setitem__(name, value)


def with_picture(value: object) -> Callable[[dict[str, Any]], None]:
    return lambda pickles: pickles["train_images_png.pkl"].__setitem__(2, value)


LABELS = "made: train_labels.pkl in copy.zip"
PICTURE = "made: picture 2 (from 0) of train_images_png.pkl in copy.zip"
REFUSED = [
    (
        lambda pickles: pickles.pop("val_images_png.pkl"),
        f"made: copy.zip has no file validation_images_png.pkl; {ADVICE}",
    ),
    (lambda pickles: pickles.pop("test_labels.pkl"), f"made: copy.zip has no file test_labels.pkl; {ADVICE}"),
    (
        with_file("x/validation_images_png.pkl", []),
        "made: copy.zip holds both val_images_png.pkl and x/validation_images_png.pkl, of which one can be meant; "
        "leave the other out",
    ),
    (
        with_file("train_images_png.pkl", {"a": 1}),
        f"made: train_images_png.pkl in copy.zip holds a dict of 1 instead of a list of pictures; {ADVICE}",
    ),
    (with_labels(label_specific=[0, 1]), f"{LABELS} has 2 labels for 3 pictures; {ADVICE}"),
    (
        with_labels(label_specific=[0, 1, 2]),
        f"{LABELS} has labels from 0 to 2, but 2 names, numbered from 0; {ADVICE}",
    ),
    (
        with_labels(label_specific=[0, 1, -1]),
        f"{LABELS} has labels from -1 to 1, but 2 names, numbered from 0; {ADVICE}",
    ),
    (
        with_labels(label_specific=np.zeros(3)),
        f"{LABELS} holds an array of float64 [3] as label_specific instead of a list of whole numbers; {ADVICE}",
    ),
    (
        with_labels(label_specific_str={"0": "cat"}),
        f"{LABELS} holds a dict of 1 as label_specific_str instead of a list of names; {ADVICE}",
    ),
    (
        with_labels(label_specific_str=["crane", "dog"]),
        f"{LABELS} holds 'dog', which is none of its 2 classes; {ADVICE}",
    ),
    (
        with_labels(label_specific_str=["crane", "crane"]),
        f"{LABELS} holds 'crane', which stands for more than one class of its subset, so they cannot be told apart; "
        f"{ADVICE}",
    ),
    (
        with_file("train_labels.pkl", {"label_specific_str": ["crane"]}),
        f"{LABELS} has no entry 'label_specific' but 'label_specific_str'; {ADVICE}",
    ),
    (
        with_labels(label_specific=[1, 1, 1]),
        f"made: 1 of 4 classes are missing from copy.zip (the first is n2); {ADVICE}",
    ),
    (with_labels(label_specific=[1, 0, 0]), f"made: n1 in copy.zip has 1 examples instead of 2; {ADVICE}"),
    (with_picture("text"), f"{PICTURE} is a bytes of 4 instead of the bytes of a PNG file; {ADVICE}"),
    (
        with_picture(pixels(0, 4, 4)),
        f"{PICTURE} is an array of uint8 [4, 4] instead of the bytes of a PNG file; {ADVICE}",
    ),
    (
        with_picture(7),
        f"{PICTURE} is a value of the type int instead of the bytes of a PNG file; {ADVICE}",
    ),
    (
        with_picture(np.frombuffer(png(pixels(0, 6, 6, 3)), np.uint8)),
        f"{PICTURE} is 6x6 pixels instead of 6x5; give the original pictures, not a resized copy",
    ),
    (with_picture(np.zeros(10, np.uint8)), f"{PICTURE} is not a readable picture ("),
    (
        with_picture(np.frombuffer(png(pixels(0, 6, 5, 3)), np.uint8)[:60]),
        f"{PICTURE} is not a readable picture (",
    ),
    (
        lambda pickles: pickles.update({"synsets.txt": b"n1\nn2\n", "class_names.txt": b"crane\n"}),
        f"made: synsets.txt and class_names.txt in copy.zip have 2 and 1 lines, so they are no pairs; {ADVICE}",
    ),
    (
        lambda pickles: pickles.update({"synsets.txt": b"n1\n", "class_names.txt": b"\xffcrane\n"}),
        f"made: class_names.txt in copy.zip is not UTF-8 (invalid start byte at byte 0); {ADVICE}",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_the_data_set_is_refused(
    spoil: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    wanted = small_want(counts={"n1": 2, "n2": 1})
    prepared(png_pickles, packed(small_pickles()), wanted, tmp_path)
    pickles = small_pickles()
    spoil(pickles)
    with pytest.raises(ContentError) as caught:
        prepared(png_pickles, packed(pickles), wanted, tmp_path)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_name_of_two_classes_of_a_subset_is_refused_where_the_file_has_it() -> None:
    message = (
        f"{LABELS} holds 'cat, true cat', which stands for more than one class of its subset, so they cannot be "
        f"told apart; {ADVICE}"
    )
    with pytest.raises(ContentError) as caught:
        png_pickles.read(MemoryTree(packed(small_pickles())), small_want(class_names={**CALLED, "n1": CALLED["n2"]}))
    assert str(caught.value) == message


def test_trainval_is_not_val() -> None:
    options = png_pickles.options_of({**PICTURES, **LAYOUT}, "")
    assert png_pickles.recognises(MemoryTree({"any/x-valid_images_png.pkl": b""}), options)
    assert not png_pickles.recognises(MemoryTree({"trainval_images_png.pkl": b"", "val_labels.pkl": b""}), options)


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        png_pickles.options_of({**PICTURES, "images": "images.pkl", "lables": "x"}, "made: ")
    assert caught.value.problems == (
        "made: images: expected the end of a file's name with {subset} in it, found 'images.pkl'",
        "made: labels: missing",
        "made: lables: unknown field, did you mean 'labels'?",
    )


READ = """
from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import Wanted, png_pickles
tree = open_tree(Path(sys.argv[1]), max_entries=10, max_bytes=2**40)
options = {"mode": "RGB", "image_size": [8, 8], "resample": "bilinear"}
options |= {"images": "{subset}_images_png.pkl", "labels": "{subset}_labels.pkl"}
wanted = Wanted("made", options, ["a", "b"], {}, {"a": "train", "b": "train"}, class_names={"a": "a", "b": "b"})
raw = png_pickles.read(tree, wanted)
for name in wanted.classes:
    for example in raw.examples[name][::1000]:
        raw.load(example)
"""


@pytest.mark.slow
def test_memory_is_a_few_hundred_bytes_a_picture(tmp_path: Path) -> None:
    many, kinds = 200_000, [np.frombuffer(png(image), np.uint8) for image in pixels(0, 7, 8, 8, 3)]
    with (tmp_path / "train_images_png.pkl").open("wb") as stream:
        stream.write(b"\x80\x02")
        write_python2(stream, (np.concatenate([kinds[i % 7], pixels(i, 700)]) for i in range(many)))
        stream.write(b".")
    labels = {"label_specific": np.arange(many) % 2, "label_specific_str": ["a", "b"]}
    (tmp_path / "train_labels.pkl").write_bytes(python2_pickle(labels))
    before = "import resource, l2l_core.prepare.readers.png_pickles"
    anonymous = (
        READ + "\nresident = lambda: 1024 * int(Path('/proc/self/status').read_text().split('RssAnon:')[1].split()[0])"
    )
    grown = resident_mebibytes(before, anonymous, tmp_path)
    assert grown * 2**20 / many < 700
