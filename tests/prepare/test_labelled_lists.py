"""Pictures, lists of labels and boxes, in the layout of FGVC-Aircraft."""

import io
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted
from l2l_core.prepare.readers.labelled_lists import options_of, recognises
from tests.prepare.pictures import assert_prepared, by_hand, changed, contents, drawn, elsewhere, real, source_of
from tests.prepare.raw import PICTURES, MemoryTree, split_of, want

LISTS = ["images_variant_train.txt", "images_variant_val.txt", "images_variant_test.txt"]
WHOLE = {**PICTURES, "lists": LISTS, "images": "images/{}.jpg"}
BOXED = {**WHOLE, "boxes": "images_box.txt"}
PER_CLASS = 30
ADVICE = "give a complete copy in the layout of the official files"


def aircraft(
    photographs: Mapping[str, bytes] | None,
) -> tuple[dict[str, bytes], dict[str, list[tuple[bytes, tuple[int, int, int, int]]]], Wanted]:
    """Files with all 100 variants of some pictures each, variant to pictures with boxes, what to ask for."""
    rng = random.Random(3)
    subset_of = split_of("aircraft/meta-dataset")
    pool = contents(photographs, 60)
    labels = [name for name in subset_of for _ in range(PER_CLASS)]
    rng.shuffle(labels)
    files: dict[str, bytes] = {}
    lines: dict[str, list[str]] = {name: [] for name in [*LISTS, "images_box.txt"]}
    found: dict[str, list[tuple[bytes, tuple[int, int, int, int]]]] = {name: [] for name in sorted(subset_of)}
    numbers = rng.sample(range(10_000_000), len(labels))
    for position, (number, label) in enumerate(zip(numbers, labels, strict=True)):
        content = pool[rng.randrange(60)]
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
        left, top = rng.randint(1, width - 2), rng.randint(1, height - 2)
        right, bottom = rng.choice([(width, height), (left, top), (width + 9, height - 1)])
        files[f"images/{number:07}.jpg"] = content
        lines[LISTS[3 * position // len(labels)]].append(f"{number:07} {label}")
        lines["images_box.txt"].append(f"{number:07} {left} {top} {right} {bottom}")
        found[label].append((content, (left - 1, top - 1, min(right, width), min(bottom, height))))
    rng.shuffle(lines["images_box.txt"])
    files |= {name: "\n".join([*rows, ""]).encode() for name, rows in lines.items()}
    # What is beside them in the archive, and must not matter.
    files |= {"images_variant_trainval.txt": b"nonsense", "variants.txt": b"707-320\n", "images_family_train.txt": b""}
    wanted = want(subset_of, BOXED, counts=dict.fromkeys(subset_of, PER_CLASS))
    return {f"fgvc-aircraft-2013b/data/{name}": content for name, content in files.items()}, found, wanted


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_every_picture_of_aircraft_is_an_example(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    photographs = None
    if source == "real":
        photographs = real(request.getfixturevalue("test_data") / "imagenet-sample.zip")
    files, found, wanted = aircraft(photographs)
    assert {"F-16A/B", "F/A-18", "Falcon 2000"} < set(found)
    boxed = {name: [by_hand(content, box) for content, box in pairs] for name, pairs in found.items()}
    assert_prepared("labelled_lists", files, wanted, boxed, tmp_path / "boxed")
    whole = {name: [by_hand(content) for content, _ in pairs] for name, pairs in found.items()}
    assert_prepared("labelled_lists", files, replace(wanted, options=WHOLE), whole, tmp_path / "whole")


def small(options: Mapping[str, object] = BOXED) -> tuple[dict[str, bytes], Wanted]:
    files = {f"images/{number}.jpg": drawn(number) for number in range(4)}
    files[LISTS[0]] = b"3 A b\n0 A/c\n"
    files[LISTS[1]] = b"1 A b\n"
    files[LISTS[2]] = b"2 A/c\n"
    files["images_box.txt"] = b"0 1 1 5 6\n1 1 1 5 6\n2 1 1 5 6\n3 2 3 4 5\n"
    return files, want({"A b": "train", "A/c": "test"}, options, counts={"A b": 2, "A/c": 2})


def _blank_lines(files: dict[str, bytes]) -> None:
    files[LISTS[0]] = b"\xef\xbb\xbf3  A b \r\n\r\n0\tA/c"


def _spelling(files: dict[str, bytes]) -> None:
    files["images_variant_validation.txt"] = files.pop(LISTS[1])


@pytest.mark.parametrize("change", [lambda _: None, _blank_lines, _spelling])
def test_lists_may_be_written_in_several_ways(change: Callable[[dict[str, bytes]], object], tmp_path: Path) -> None:
    files, wanted = small()
    expected = {
        "A b": [by_hand(drawn(3), (1, 2, 4, 5)), by_hand(drawn(1), (0, 0, 5, 6))],
        "A/c": [by_hand(drawn(0), (0, 0, 5, 6)), by_hand(drawn(2), (0, 0, 5, 6))],
    }
    assert_prepared("labelled_lists", changed(files, change), wanted, expected, tmp_path)


def test_the_digest_is_of_pictures_classes_and_boxes_and_of_no_packing() -> None:
    files, wanted = small()
    digest = source_of("labelled_lists", files, wanted)
    assert digest == source_of("labelled_lists", elsewhere(files), wanted, "other.zip")
    others = [
        files | {"images_box.txt": files["images_box.txt"].replace(b"3 2 3", b"3 2 2")},
        files | {"images/0.jpg": drawn(9)},
        files | {LISTS[1]: b"1 A/c\n", LISTS[2]: b"2 A b\n"},
    ]
    digests = {digest, *(source_of("labelled_lists", other, wanted) for other in others)}
    digests.add(source_of("labelled_lists", files, replace(wanted, options=WHOLE)))
    assert len(digests) == 5


def _put(name: str, content: bytes | None) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.pop(name) if content is None else files.update({name: content})


REFUSED = [
    (_put(LISTS[1], None), f"made: copy.zip has no file {LISTS[1]}; {ADVICE}"),
    (
        _put("x/images_variant_valid.txt", b""),
        f"made: copy.zip holds both {LISTS[1]} and x/images_variant_valid.txt, of",
    ),
    (_put("images_box.txt", None), f"made: copy.zip has no file images_box.txt; {ADVICE}"),
    (
        _put("images/1.jpg", None),
        f"made: 1 of 4 pictures are missing from copy.zip (the first is images/1.jpg); {ADVICE}",
    ),
    (_put("y/images/1.jpg", b""), "made: copy.zip holds images/1.jpg more than once (images/1.jpg, y/images/1.jpg); "),
    (
        _put(LISTS[1], b"1 A\n"),
        f"made: {LISTS[1]} in copy.zip, line 1, has the label A, which is none of the 2 classes; ",
    ),
    (_put(LISTS[1], b"\n1\n"), f"made: {LISTS[1]} in copy.zip, line 2: expected ID LABEL, found '1'; {ADVICE}"),
    (_put(LISTS[1], b"3 A/c\n"), f"made: {LISTS[1]} in copy.zip, line 1, lists the picture 3 for the second time; "),
    (_put(LISTS[1], b""), f"made: A b in copy.zip has 1 examples instead of 2; {ADVICE}"),
    (_put(LISTS[1], b"1 A\xe9\n"), f"made: {LISTS[1]} in copy.zip is not text in UTF-8 (invalid continuation byte); "),
    (
        lambda files: files.update({LISTS[0]: b"0 A/c\n", LISTS[1]: b"\n"}),
        f"made: 1 of 2 classes are missing from copy.zip (the first is A b); {ADVICE}",
    ),
    (
        _put("images_box.txt", b"0 1 1 5 6\n3 1 1 5 6\n"),
        f"made: images_box.txt in copy.zip has no box of 2 of 4 pictures (the first is 1); {ADVICE}",
    ),
    (
        _put("images_box.txt", b"0 1 1 5\n"),
        f"made: images_box.txt in copy.zip, line 1: expected ID XMIN YMIN XMAX YMAX, found '0 1 1 5'; {ADVICE}",
    ),
    (
        _put("images_box.txt", b"0 1 1 5 6 7\n"),
        f"made: images_box.txt in copy.zip, line 1, holds 1 1 5 6 7 instead of four whole numbers; {ADVICE}",
    ),
    (
        _put("images_box.txt", b"0 -1 1 5 6\n"),
        "made: images_box.txt in copy.zip, line 1, holds -1 1 5 6 instead of four",
    ),
    (
        _put("images_box.txt", b"0 1 0 5 6\n"),
        "made: images_box.txt in copy.zip, line 1, holds a second box of 0, or one",
    ),
    (
        _put("images_box.txt", b"0 5 1 4 6\n"),
        "made: images_box.txt in copy.zip, line 1, holds a second box of 0, or one",
    ),
    (
        _put("images_box.txt", b"0 1 1 5 6\n0 1 1 5 6\n"),
        f"made: images_box.txt in copy.zip, line 2, holds a second box of 0, or one without a pixel; {ADVICE}",
    ),
    (
        _put("images_box.txt", b"0 1 1 5 6\n1 90 1 95 6\n2 1 1 5 6\n3 2 3 4 5\n"),
        "made: images/1.jpg in copy.zip is 14x18 pixels and has none in the box (89, 0, 95, 6); give the original",
    ),
    (_put("images/1.jpg", drawn(1)[:200]), "made: images/1.jpg in copy.zip is not a readable picture ("),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_wrong_content_is_refused(change: Callable[[dict[str, bytes]], object], message: str) -> None:
    files, wanted = small()
    with pytest.raises(ContentError) as caught:
        source_of("labelled_lists", changed(files, change), wanted)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_it_knows_its_layout() -> None:
    options = options_of(BOXED, "")
    for names, expected in {
        ("data/images_variant_test.txt",): True,
        ("images_variant_validation.txt", "images/1.jpg"): True,
        ("images_box.txt", "images/1.jpg", "images_variant_trainval.txt"): False,
    }.items():
        assert recognises(MemoryTree(dict.fromkeys(names, b"")), options) is expected


def test_options_that_cannot_be_are_named() -> None:
    assert options_of(WHOLE, "").boxes is None
    for images in ("images/{id}.jpg", "images/{:05}.jpg", "images/1.jpg", "{}/{}.jpg"):
        with pytest.raises(CatalogError) as caught:
            options_of({**WHOLE, "images": images, "lists": [], "box": "images_box.txt"}, "x: ")
        assert caught.value.problems == (
            "x: lists: expected texts, found an empty list",
            f"x: images: expected a path with {{}} in it, found {images!r}",
            "x: box: unknown field, did you mean 'boxes'?",
        )
