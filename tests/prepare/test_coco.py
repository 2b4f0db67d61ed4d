"""Pictures with JSON files in COCO's style: boxes as in MSCOCO, whole pictures as in FGVCx Fungi."""

import io
import json
import random
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted, _json_arrays, _members, get_reader
from l2l_core.prepare.readers._json_arrays import array_objects
from l2l_core.prepare.readers.coco import _grown, options_of, recognises
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

ADVICE = "give a complete copy in the layout of the official files"
LAYOUT = "so it is not in COCO's layout; get the original file"
BOXES = {**PICTURES, "annotations": ["instances_train2017.json"], "examples": "boxes", "grow": 1.2}
IMAGES = {**PICTURES, "annotations": ["train.json", "val.json"], "examples": "images", "class_key": "number"}


def grown(box: list[float], grow: float, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The pixels of a box, one box at a time; None where there are none."""
    x, y, w, h = box
    x, y, w, h = x - 0.5 * w * (grow - 1), y - 0.5 * h * (grow - 1), w * grow, h * grow
    left, top = max(round(x - 0.5), 0), max(round(y - 0.5), 0)
    right, bottom = min(round(x + w - 0.5) + 1, width), min(round(y + h - 0.5) + 1, height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def photographs(source: str, request: pytest.FixtureRequest) -> Mapping[str, bytes] | None:
    return real(request.getfixturevalue("test_data") / "imagenet-sample.zip") if source == "real" else None


def mscoco(
    pictures: Mapping[str, bytes] | None,
) -> tuple[dict[str, bytes], dict[str, list[np.ndarray]], Wanted]:
    """Files with all 80 classes, their boxes in proportion to the real ones, class to examples, what to ask for."""
    rng = random.Random(5)
    subset_of = split_of("mscoco/meta-dataset")
    counts = {name: -(-number // 1500) for name, number in statistics("mscoco").items()}
    labels = [name for name, number in counts.items() for _ in range(number)]
    rng.shuffle(labels)
    ids = dict(zip(sorted(subset_of), rng.sample(range(1, 91), 80), strict=True))  # from 1 to 90, with gaps
    numbers = rng.sample(range(1, 600_000), 200)
    files = {f"train2017/{n:012}.jpg": content for n, content in zip(numbers, contents(pictures, 200), strict=True)}
    sizes = {number: size_of(files[f"train2017/{number:012}.jpg"]) for number in numbers}
    annotations, found = [], defaultdict(list)
    for label in labels:
        number = rng.choice(numbers)
        width, height = sizes[number]
        box = [round(rng.uniform(-2, side - 1), 2) for side in (width, height)]
        box += [rng.choice([2.5, round(rng.uniform(1, side), 2)]) for side in (width, height)]
        entry = {"bbox": box, "category_id": ids[label], "image_id": number, "segmentation": [box * 9], "iscrowd": 0}
        annotations.append(entry | ({"iscrowd": 1, "segmentation": {"counts": [7] * 30}} if rng.random() < 0.1 else {}))
        found[label].append((number, box))
    # What is no example: boxes beyond the picture, or without extent at its edge.
    for box in ([-20.0, 0.0, 5.0, 5.0], [500.0, 0.0, 5.0, 5.0], [3.0, -9.0, 4.0, 2.0]):
        annotations.insert(50, {"bbox": box, "category_id": ids["dog"], "image_id": numbers[0]})
    table = {
        "info": {"year": 2017},
        "licenses": [{"id": 1}],
        "images": [{"id": n, "file_name": f"{n:012}.jpg", "width": w, "height": h} for n, (w, h) in sizes.items()],
        "annotations": annotations,
        "categories": [{"id": ids[name], "name": name, "supercategory": "x"} for name in ids],
    }
    files["annotations/instances_train2017.json"] = json.dumps(table).encode()
    expected = {}
    for name in sorted(subset_of):
        ordered = sorted(found[name], key=lambda pair: numbers.index(pair[0]))
        boxes = [(number, grown(box, 1.2, *sizes[number])) for number, box in ordered]
        assert all(box for _, box in boxes)
        expected[name] = [by_hand(files[f"train2017/{number:012}.jpg"], box) for number, box in boxes]
    return files, expected, want(subset_of, BOXES, counts=counts)


def size_of(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        return image.size


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_every_box_of_mscoco_is_an_example(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    files, expected, wanted = mscoco(photographs(source, request))
    store = assert_prepared("coco", files, wanted, expected, tmp_path / "one")
    assert len(store.manifest.classes) == 80
    assert assert_prepared("coco", elsewhere(files), wanted, expected, tmp_path / "two").source == store.source


def fungi(pictures: Mapping[str, bytes] | None) -> tuple[dict[str, bytes], dict[str, list[np.ndarray]], Wanted]:
    """Files with all 1,394 classes, at most three pictures each, class to examples, what to ask for."""
    rng = random.Random(6)
    subset_of = split_of("fungi/meta-dataset")
    counts = {name: min(number, 3) for name, number in statistics("fungi").items()}
    pool = iter(contents(pictures, sum(counts.values())))
    files: dict[str, bytes] = {}
    expected: dict[str, list[np.ndarray]] = {name: [] for name in sorted(subset_of)}
    tables = {}
    for table in ("train", "val"):
        entries = [name for name in expected for _ in range(counts[name] - 1 if table == "train" else 1)]
        rng.shuffle(entries)
        ids = rng.sample(range(len(entries)), len(entries))  # the same ids in both files
        images, annotations = [], []
        for number, name in zip(ids, entries, strict=True):
            category, _, species = name.partition(".")
            path = f"images/{int(category)}_{species.replace(' ', '_')}/{table}{number % 7}.JPG"
            while path in files:
                path = path.replace(".JPG", "x.JPG")
            files[path] = next(pool)
            images.append({"id": number, "file_name": path, "width": 1, "height": 1})
            annotations.append({"id": number, "image_id": number, "category_id": int(category)})
            expected[name].append(by_hand(files[path]))
        rng.shuffle(annotations)
        categories = [{"id": int(n[:4]), "name": n[5:] + " " * (int(n[:4]) % 9 == 0)} for n in expected]
        tables[table] = {"annotations": annotations, "images": images, "categories": categories}
    files |= {f"{name}.json": json.dumps(table, indent=1).encode() for name, table in tables.items()}
    return files, expected, want(subset_of, IMAGES, counts=counts)


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_every_picture_of_fungi_is_an_example(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    files, expected, wanted = fungi(photographs(source, request))
    store = assert_prepared("coco", files, wanted, expected, tmp_path)
    assert len(store.manifest.classes) == 1394
    # Two species names belong to two classes each, which only their numbers tell apart.
    assert len({name[5:] for name in store.manifest.classes}) == 1392


def test_boxes_grow_about_their_centre_and_are_clipped() -> None:
    boxes = np.array([[3.0, 4.0, 2.0, 3.0], [0.0, 0.0, 20.0, 10.0], [7.0, 7.0, 0.0, 0.0], [-9.0, 0.0, 3.0, 3.0]])
    found = _grown(boxes, 1.2, np.array([[10, 20]] * 4))
    # 3 - 0.2 - 0.5 = 2.3 and 4 - 0.3 - 0.5 = 3.2; 3 - 0.2 + 2.4 - 0.5 = 4.7 and 4 - 0.3 + 3.6 - 0.5 = 6.8, plus one.
    assert found.tolist() == [[2, 3, 6, 8], [0, 0, 20, 10], [6, 6, 7, 7], [0, 0, -5, 4]]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(st.tuples(*[st.floats(-50, 150)] * 2, *[st.floats(-5, 150)] * 2), min_size=1, max_size=9),
    st.sampled_from([1.0, 1.2, 1.5]),
    st.tuples(st.integers(1, 100), st.integers(1, 100)),
)
def test_all_boxes_at_once_are_each_box_alone(
    boxes: list[tuple[float, float, float, float]], grow: float, size: tuple[int, int]
) -> None:
    found = _grown(np.array(boxes), grow, np.array([size] * len(boxes)))
    for box, (left, top, right, bottom) in zip(boxes, found.tolist(), strict=True):
        expected = grown(list(box), grow, size[1], size[0])
        assert ((left, top, right, bottom) if left < right and top < bottom else None) == expected


def small(**options: Any) -> tuple[dict[str, bytes], dict[str, Any], Wanted]:
    """Two classes, three pictures, four boxes: the files without the JSON, what is in it, what to ask for."""
    files = {f"p/{number}.png": drawn(number, "PNG") for number in range(3)}
    table = {
        "images": [{"id": n, "file_name": f"p/{n}.png", "width": 17 + n, "height": 13 + n} for n in range(3)],
        "annotations": [
            {"image_id": image, "category_id": category, "bbox": [1, 2.5, 4, 5]}
            for image, category in ((2, 3), (0, 7), (1, 3), (2, 7))
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": " dog "}],
    }
    return files, table, want({"cat": "train", "dog": "test"}, {**BOXES, **options}, counts={"cat": 2, "dog": 2})


def with_json(files: dict[str, bytes], table: object, name: str = "instances_train2017.json") -> dict[str, bytes]:
    return files | {name: json.dumps(table).encode()}


def test_examples_stand_by_picture_and_then_as_annotated(tmp_path: Path) -> None:
    files, table, wanted = small(grow=1)
    table["annotations"] += [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2]}]
    wanted = replace(wanted, counts={"cat": 3, "dog": 2})
    # Half a pixel is rounded to even: 1 - 0.5 to 0, 2 - 0.5 to 2.
    first, second = (0, 2, 5, 8), (0, 0, 3, 3)
    expected = {
        "cat": [by_hand(files["p/1.png"], first), by_hand(files["p/1.png"], second), by_hand(files["p/2.png"], first)],
        "dog": [by_hand(files["p/0.png"], first), by_hand(files["p/2.png"], first)],
    }
    assert_prepared("coco", with_json(files, table), wanted, expected, tmp_path)


def test_the_digest_is_of_pictures_classes_and_boxes_and_of_no_packing() -> None:
    files, table, wanted = small()
    digest = source_of("coco", with_json(files, table), wanted)
    reordered = {key: table[key] for key in ("categories", "annotations", "images")}
    assert digest == source_of("coco", elsewhere(with_json(files, reordered)), wanted, "other.zip")
    moved, swapped = json.loads(json.dumps(table)), json.loads(json.dumps(table))
    moved["annotations"][0]["bbox"][0] += 1
    swapped["categories"][0]["id"], swapped["categories"][1]["id"] = 7, 3
    others = [
        with_json(files, moved),
        with_json(files, swapped),
        with_json(files | {"p/0.png": drawn(8, "PNG")}, table),
    ]
    assert len({digest, *(source_of("coco", other, wanted) for other in others)}) == 4


def test_boxes_on_one_picture_decode_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files, table, wanted = small()
    table["annotations"] = [{"image_id": 1, "category_id": 3, "bbox": [n, n, 4, 5]} for n in range(9)]
    table["annotations"] += [{"image_id": 0, "category_id": 7, "bbox": [n, n, 4, 5]} for n in range(9)]
    opened = []
    opens = _members.open_picture
    monkeypatch.setattr(_members, "open_picture", lambda *arguments: opened.append(1) or opens(*arguments))
    source_of("coco", with_json(files, table), replace(wanted, counts={}))
    assert len(opened) == 2


def _set(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """A change of what stands at a path such as ``images.0.id``; None removes it."""

    def change(table: dict[str, Any]) -> None:
        *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = table
        for key in keys:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


WHOLE = "is no whole number from 0 to 9,223,372,036,854,775,807"
WHERE = "made: instances_train2017.json in copy.zip"
REFUSED = [
    (_set("images", []), f"{WHERE} holds no 'images', {LAYOUT}"),
    (_set("categories", None), f"{WHERE} holds no 'categories', {LAYOUT}"),
    (_set("annotations", []), f"{WHERE} holds no 'annotations', {LAYOUT}"),
    (_set("images.0.id", None), f"{WHERE} holds an entry of 'images' without 'id', {LAYOUT}"),
    (_set("images.0.width", None), f"{WHERE} holds an entry of 'images' without 'width', {LAYOUT}"),
    (_set("images.0.id", "0"), f"{WHERE} holds an entry of 'images' that is unfit ('0' {WHOLE}): {{'file_name': "),
    (_set("images.0.id", 2**63), f"{WHERE} holds an entry of 'images' that is unfit ({2**63} {WHOLE}): "),
    (_set("images.0.id", True), f"{WHERE} holds an entry of 'images' that is unfit (True {WHOLE}): "),
    (_set("images.0.id", 1), f"{WHERE} holds an entry of 'images' that is unfit (its id was there before): "),
    (_set("images.0.file_name", 3), f"{WHERE} holds an entry of 'images' that is unfit (3 is no text): "),
    (_set("categories.0.id", 7), f"{WHERE} holds an entry of 'categories' that is unfit (its id was there before): "),
    (_set("annotations.0.bbox", [1, 2, 3]), f"{WHERE} holds an entry of 'annotations' that is unfit ([1, 2, 3] is no "),
    (
        _set("annotations.0.bbox", [1, 2, 3, float("nan")]),
        f"{WHERE} holds an entry of 'annotations' that is unfit (nan ",
    ),
    (
        _set("annotations.0.bbox", [1, 2, 3, 10**400]),
        f"{WHERE} holds an entry of 'annotations' that is unfit (10000000",
    ),
    (
        _set("annotations.0.image_id", 9),
        f"{WHERE} holds an annotation of the picture 9, which is not among its 'images', {LAYOUT}",
    ),
    (
        _set("annotations.0.category_id", 9),
        f"{WHERE} holds an annotation of the category 9, which is not among its 'categories', {LAYOUT}",
    ),
    (
        _set("categories.1.name", "cow"),
        f"{WHERE} has annotations of the category 7 (cow), which is none of the 2 classes; {ADVICE}",
    ),
    (_set("categories.1.name", "cat"), f"{WHERE} holds two categories of the name 'cat', 3 and 7, {LAYOUT}"),
    (_set("annotations.0", None), f"made: cat in copy.zip has 1 examples instead of 2; {ADVICE}"),
    (_set("annotations.0.bbox.0", 99), f"made: cat in copy.zip has 1 examples instead of 2; {ADVICE}"),
    (
        _set("images.0.file_name", "q/0.png"),
        "made: 1 of 3 pictures are missing from copy.zip (the first is q/0.png); ",
    ),
    (_set("images.0.file_name", "1.png"), "made: two entries of 'images' mean the same file of copy.zip; "),
    (
        _set("images.1.width", 30),
        "made: p/1.png in copy.zip is 14x18 pixels instead of 14x30; give the original pictures, not a resized copy",
    ),
    (_set("images.0", 4), f"{WHERE} is damaged near byte "),
    (_set("images", {}), f"{WHERE} is damaged near byte 11 (expected '[', found '{{'); get the file anew"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_wrong_content_is_refused(change: Callable[[dict[str, Any]], None], message: str) -> None:
    files, table, wanted = small()
    change(table)
    with pytest.raises(ContentError) as caught:
        source_of("coco", with_json(files, table), wanted)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_picture_of_another_folder_is_not_taken_for_the_one_that_is_missing() -> None:
    files, table, wanted = small()
    files["other/0.png"] = files.pop("p/0.png")
    with pytest.raises(ContentError) as caught:
        source_of("coco", with_json(files, table), wanted)
    assert str(caught.value).startswith("made: 1 of 3 pictures are missing from copy.zip (the first is p/0.png); ")


def test_whole_pictures_have_one_annotation_each() -> None:
    files, table, wanted = small(examples="images", class_key="number", annotations=["train.json"])
    del wanted.options["grow"]
    numbered = want({"3.cat": "train", "07.dog": "test"}, wanted.options)
    with pytest.raises(ContentError) as caught:
        source_of("coco", with_json(files, table, "train.json"), numbered)
    assert (
        str(caught.value)
        == f"made: train.json in copy.zip holds more than one annotation of the picture p/2.png, {LAYOUT}"
    )
    del table["annotations"][3]
    raw = get_reader("coco").read(MemoryTree(with_json(files, table, "train.json")), numbered)
    found = {name: [raw.load(row) for row in rows] for name, rows in raw.examples.items()}
    assert {name: len(arrays) for name, arrays in found.items()} == {"07.dog": 1, "3.cat": 2}
    assert np.array_equal(found["3.cat"][0], by_hand(files["p/1.png"]))
    for classes, problem in (
        ({"cat": "train"}, "class 'cat' begins with no number"),
        ({"3.cat": "train", "03.dog": "test"}, "class '3.cat' has the number of '03.dog'"),
    ):
        with pytest.raises(CatalogError, match=f"made: {problem}, but the data knows classes by number only"):
            source_of("coco", with_json(files, table, "train.json"), want(classes, wanted.options))


def test_a_json_file_that_is_absent_or_there_twice_is_named() -> None:
    files, table, wanted = small(annotations=["train.json", "val.json"], grow=1)
    both = with_json(with_json(files, table, "train.json"), table, "a/valid.json")
    with pytest.raises(ContentError, match=r"made: two entries of 'images' mean the same file of copy\.zip"):
        source_of("coco", both, replace(wanted, counts={}))
    with pytest.raises(ContentError) as caught:
        source_of("coco", changed(both, lambda copy: copy.pop("a/valid.json")), wanted)
    assert str(caught.value) == f"made: copy.zip has no file val.json; {ADVICE}"
    with pytest.raises(ContentError) as caught:
        source_of("coco", with_json(both, table, "b/validation.json"), wanted)
    assert str(caught.value) == (
        "made: copy.zip holds both a/valid.json and b/validation.json, of which one can be meant; leave the other out"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    table=st.dictionaries(st.sampled_from(["a", "b", "c", "\u00e9"]), JSON, max_size=4),
    arrays=st.dictionaries(
        st.sampled_from(["x", "y"]), st.lists(st.dictionaries(st.text(max_size=3), JSON)), max_size=2
    ),
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
    window=st.sampled_from([1, 7, 50, 1 << 20]),
)
def test_objects_come_as_from_a_parser_of_the_whole(
    table: dict[str, object], arrays: dict[str, list[object]], indent: int | None, ascii_only: bool, window: int
) -> None:
    text = json.dumps(table | arrays, indent=indent, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json_arrays, "WINDOW_BYTES", window)
        found: dict[str, list[object]] = defaultdict(list)
        for key, value in array_objects(memoryview(text.encode(errors="replace")), ("x", "y"), "it"):
            found[key].append(value)
    whole = json.loads(text.encode(errors="replace"))
    assert found == {key: whole[key] for key in arrays if whole[key]}


DAMAGED = [
    (b"", "expected '{', found its end"),
    (b"[]", "expected '{', found '['"),
    (b"{", "Expecting value"),
    (b'{"y": 1.5', "expected ',', found its end"),
    (b'{"y": 1.5.5}', "expected ',', found '.'"),
    (b'{"y": -}', "Expecting value"),
    (b"{}x", "something follows its end"),
    (b'{"x": [{}', "expected ',', found its end"),
    (b'{"x": [{} {}]}', "expected ',', found '{'"),
    (b'{"x": [{},]}', "Expecting value"),
    (b'{"x": [{"a": }]}', "Expecting value"),
    (b'{"x": [1]}', "'x' holds something else than objects"),
    (b'{"x": 1}', "expected '[', found '1'"),
    (b'{"x": [], "x": []}', "a key is no text, or stands there twice"),
    (b"{1: 2}", "a key is no text, or stands there twice"),
    (b'{"y": "\xff"}', "it is not UTF-8"),
    (b'{"y": "\xc3', "it is not UTF-8"),
    (b'{"y": ' + b"[" * 100_000, "a value is nested too deeply"),
    (b'{"y": ' + b"1" * 10_000 + b"}", "a number has too many digits"),
    (b'{"y": "' + b"a" * 300, "Unterminated string starting at"),
]


@pytest.mark.parametrize(("content", "reason"), DAMAGED, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("window", [3, 1 << 20])
def test_a_damaged_json_file_is_one_sentence(
    content: bytes, reason: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_json_arrays, "WINDOW_BYTES", window)
    with pytest.raises(ContentError, match=r"^it is damaged near byte [0-9,]+ \(.+\); get the file anew$") as caught:
        list(array_objects(content, ("x",), "it"))
    assert f"({reason})" in str(caught.value)


def test_one_value_may_not_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json_arrays, "WINDOW_BYTES", 100)
    monkeypatch.setattr(_json_arrays, "MAX_VALUE_BYTES", 1000)
    assert len(list(array_objects(b'{"x": [{"a": "' + b"b" * 900 + b'"}]}', ("x",), "it"))) == 1
    with pytest.raises(ContentError, match=r"\(no value ends within 1,000 bytes\)"):
        list(array_objects(b'{"x": [{"a": "' + b"b" * 5000 + b'"}]}', ("x",), "it"))


def test_annotations_are_read_in_little_memory() -> None:
    """20 MB of annotations as in MSCOCO, of which ``json.loads`` makes ten times as much."""
    polygon = json.dumps([[round(n * 1.37, 2) for n in range(60)]])
    entry = '{"segmentation": %s, "bbox": [1.5, 2.5, 30, 20], "image_id": %d, "category_id": 1, "id": %d}'
    annotations = ", ".join(entry % (polygon, n % 9, n) for n in range(40_000))
    images = ", ".join(f'{{"id": {n}, "file_name": "{n}.jpg", "width": 64, "height": 64}}' for n in range(9))
    table = f'{{"images": [{images}], "annotations": [{annotations}], "categories": [{{"id": 1, "name": "a"}}]}}'
    files = {f"{n}.jpg": drawn(n) for n in range(9)} | {"instances_train2017.json": table.encode()}
    del annotations, table
    assert len(files["instances_train2017.json"]) > 19_000_000
    tracemalloc.start()
    try:
        raw = get_reader("coco").read(MemoryTree(files), want({"a": "train"}, BOXES))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(raw.examples["a"]) == 40_000
    assert peak < 30_000_000


def test_it_knows_its_layout() -> None:
    options = options_of(IMAGES, "")
    for names, expected in {
        ("annotations/train.json",): True,
        ("validation.json",): True,
        ("images/1.jpg", "test.json"): False,
        ("train.json/1.jpg",): False,
    }.items():
        assert recognises(MemoryTree(dict.fromkeys(names, b"")), options) is expected


def test_options_that_cannot_be_are_named() -> None:
    assert options_of({**PICTURES, "annotations": ["a.json"]}, "").grow == 1
    with pytest.raises(CatalogError) as caught:
        options_of({**PICTURES, "examples": "boxs", "grow": 0.5, "class_key": "id", "anotations": []}, "x: ")
    assert caught.value.problems == (
        "x: examples: expected one of boxes, images, found 'boxs'",
        "x: grow: expected a number from 1 to 10, found 0.5",
        "x: annotations: missing",
        "x: class_key: expected one of name, number, found 'id'",
        "x: anotations: unknown field, did you mean 'annotations'?",
    )
    with pytest.raises(CatalogError, match="x: grow: whole pictures have no box that could grow"):
        options_of({**IMAGES, "grow": 1.2}, "x: ")
