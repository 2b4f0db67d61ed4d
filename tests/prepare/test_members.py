"""How files and classes are found by the names that tables and folders have for them."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.catalog import open_catalog
from l2l_core.errors import ContentError
from l2l_core.prepare.readers import get_reader
from l2l_core.prepare.readers._members import Finder, SourceDigest, leading_number, spellings
from tests.prepare.raw import MemoryTree


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("1.jpg", ["a/1.jpg", "b/a/1.jpg", "c/b/a/1.jpg", "d/1.jpg"]),
        ("a/1.jpg", ["a/1.jpg", "b/a/1.jpg", "c/b/a/1.jpg"]),
        ("x/a/1.jpg", ["a/1.jpg", "b/a/1.jpg", "c/b/a/1.jpg"]),
        ("b/a/1.jpg", ["b/a/1.jpg", "c/b/a/1.jpg"]),
        ("./c//b/a/1.jpg", ["c/b/a/1.jpg"]),
        ("d/1.jpg", ["d/1.jpg"]),
        ("e/1.jpg", []),
        ("../1.jpg", []),
        ("a/2.jpg", []),
        ("2.jpg", ["2.jpg"]),
        ("", []),
        ("/", []),
    ],
)
def test_a_path_finds_the_files_that_share_its_longest_end(path: str, found: list[str]) -> None:
    assert Finder(["2.jpg", "a/1.jpg", "b/a/1.jpg", "c/b/a/1.jpg", "d/1.jpg"]).find(path) == found


PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.sets(PATHS, max_size=8), PATHS)
def test_finding_is_comparing_every_name_end_by_end(names: set[str], path: str) -> None:
    wanted = path.split("/")

    def shared(name: str) -> int:
        parts = name.split("/")
        return max(
            n for n in range(min(len(parts), len(wanted)) + 1) if parts[len(parts) - n :] == wanted[len(wanted) - n :]
        )

    best = max(map(shared, names), default=0)
    expected = sorted(name for name in names if shared(name) == best) if best >= min(2, len(wanted)) else []
    assert Finder(sorted(names)).find(path) == expected


def test_a_path_that_fits_two_files_equally_well_is_refused() -> None:
    finder = Finder(["a/1.jpg", "b/1.jpg"])
    assert finder.one("2.jpg", "it") is None
    assert finder.one("b/1.jpg", "it") == "b/1.jpg"
    with pytest.raises(ContentError) as caught:
        finder.one("1.jpg", "it")
    assert str(caught.value) == (
        "it holds 1.jpg more than once (a/1.jpg, b/1.jpg); leave out the copy that is not meant"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val.csv", {"val.csv", "valid.csv", "validation.csv"}),
        ("x_validation_images.pkl", {"x_val_images.pkl", "x_valid_images.pkl", "x_validation_images.pkl"}),
        ("instances_val2017.json", {f"instances_{word}2017.json" for word in ("val", "valid", "validation")}),
        ("trainval.txt", {"trainval.txt"}),
        ("evaluation.txt", {"evaluation.txt"}),
        ("test.csv", {"test.csv"}),
    ],
)
def test_validation_is_spelt_in_three_ways(name: str, expected: set[str]) -> None:
    assert set(spellings(name)) == expected
    assert spellings(name)[0] == name


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("00012", 12),
        ("12.name", 12),
        ("0012.a/b", 12),
        ("a12", None),
        ("", None),
        ("²", None),
        ("1" * 19, None),
        ("-1", None),
    ],
)
def test_a_number_begins_a_name_or_does_not(name: str, number: int | None) -> None:
    assert leading_number(name) == number


def test_the_source_is_named_by_class_file_name_and_content() -> None:
    source = SourceDigest()
    source.add("x/2.png", b"two")
    source.add("y/1.png", b"one")
    source.add("y/1.png", memoryview(b"one"))
    expected = hashlib.sha256()
    for called, content in (("a/1.png", b"one"), ("b/2.png", b"two")):
        expected.update(called.encode() + b"\0" + hashlib.sha256(content).digest())
    assert source.of_classes({"b": ["x/2.png"], "a": ["y/1.png"]}) == expected.hexdigest()
    odd = SourceDigest()
    odd.add("a/\udcff.png", b"")  # as Python reads a file name that is not UTF-8
    assert odd.of_classes({"a": ["a/\udcff.png"]})


COPIES = {
    "aircraft": ["fgvc-aircraft-2013b/data/images/0034309.jpg", "fgvc-aircraft-2013b/data/images_variant_train.txt"],
    "cub": ["CUB_200_2011/images/001.Black_footed_Albatross/a.jpg", "CUB_200_2011/images/002.Laysan_Albatross/b.jpg"],
    "flowers": ["jpg/image_00001.jpg", "jpg/image_00002.jpg", "imagelabels.mat"],
    "fungi": ["images/1_a/1.JPG", "images/2_b/2.JPG", "train.json", "val.json"],
    "mini-imagenet": ["images/n0153282900000005.jpg", "images/n0153282900000006.jpg"],
    "mscoco": ["train2017/000000000009.jpg", "annotations/instances_train2017.json"],
    "omniglot": [f"images_background/Angelic/character0{number}/0965_01.png" for number in (1, 2)],
    "speech-commands": ["bed/00176480_nohash_0.wav", "_background_noise_/pink_noise.wav"],
    "tiered-imagenet": ["train/n01532829/n01532829_20457.JPEG", "train/n01558993/n01558993_1.JPEG"],
}
KNOWN_BY = {
    "coco": {"fungi", "mscoco"},
    "image_table": {"mini-imagenet", "mscoco"},  # a picture of MSCOCO has a name of enough digits, too
    "labelled_lists": {"aircraft"},
    "matlab_labels": {"flowers"},
    "audio_folders": {"speech-commands"},
    "image_folders": {"cub", "fungi", "omniglot", "tiered-imagenet"},  # folders of pictures, all of them
    "font_glyphs": set(),
}


@pytest.mark.parametrize("reader", KNOWN_BY)
def test_a_layout_is_known_by_its_names_and_no_other_is_taken_for_it(reader: str) -> None:
    catalog = open_catalog()
    records = [catalog.dataset(name) for name in catalog.datasets]
    forms = [(record, form) for record in records for form in record.forms.values() if form.reader == reader]
    assert forms
    known = set()
    for record, form in forms:
        module = get_reader(reader)
        options = module.options_of({**record.prepared, **form.options}, "")
        known |= {
            name for name, names in COPIES.items() if module.recognises(MemoryTree(dict.fromkeys(names, b"")), options)
        }
    assert known == KNOWN_BY[reader]
