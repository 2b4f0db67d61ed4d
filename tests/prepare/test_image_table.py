"""Pictures and tables of them, in the layout of mini-ImageNet's images and CSV files."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import Wanted, get_reader
from l2l_core.prepare.readers.image_table import options_of, recognises
from tests.prepare.pictures import assert_prepared, by_hand, changed, contents, drawn, elsewhere, real, source_of
from tests.prepare.raw import PICTURES, MemoryTree, split_of, want

TABLES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
OPTIONS = {**PICTURES, "tables": list(TABLES.values()), "file_column": "filename", "label_column": "label"}
NUMBERED = {**OPTIONS, "numbers": "ravi", "file_pattern": "{class_name}{number:08}.jpg"}
ADVICE = "give a complete copy in the layout of the official files"
PER_CLASS = 7


def ravi_numbers() -> dict[str, list[int]]:
    """The first picture numbers of every class of mini-ImageNet."""
    path = Path(__file__).parents[2] / "metadata/numbers/mini-imagenet/ravi.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return {
            row["class"]: [int(number) for number in row["numbers"].split()[:PER_CLASS]]
            for row in csv.DictReader(stream)
        }


def mini_imagenet(photographs: Mapping[str, bytes] | None) -> tuple[dict[str, bytes], dict[str, list[bytes]], Wanted]:
    """Files with all 100 classes, class to its pictures in order, and what to ask the reader for."""
    subset_of, numbers = split_of("mini-imagenet/ravi"), ravi_numbers()
    pool = iter(contents(photographs, 100 * PER_CLASS))
    files: dict[str, bytes] = {}
    tables = {table: ["filename,label"] for table in TABLES.values()}
    pictures: dict[str, list[bytes]] = {}
    for name, subset in subset_of.items():
        pictures[name] = [next(pool) for _ in range(PER_CLASS)]
        for number, content in zip(numbers[name], pictures[name], strict=True):
            files[f"images/{name}{number:08}.jpg"] = content
            tables[TABLES[subset]].append(f"{name}{number:08}.jpg,{name}")
    files |= {table: "\n".join([*rows, ""]).encode() for table, rows in tables.items()}
    wanted = want(subset_of, NUMBERED, counts=dict.fromkeys(subset_of, PER_CLASS), numbers=numbers)
    return files, pictures, wanted


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_mini_imagenet_from_its_images_with_and_without_the_tables(
    source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    photographs = None
    if source == "real":
        photographs = real(request.getfixturevalue("test_data") / "imagenet-sample.zip")
    files, pictures, wanted = mini_imagenet(photographs)
    expected = {name: list(map(by_hand, contents)) for name, contents in pictures.items()}
    assert len(expected) == 100
    with_tables = assert_prepared("image_table", files, wanted, expected, tmp_path / "with")
    bare = {name: content for name, content in files.items() if not name.endswith(".csv")}
    without = assert_prepared("image_table", elsewhere(bare), wanted, expected, tmp_path / "without")
    assert with_tables.source == without.source


def small(**options: object) -> tuple[dict[str, bytes], Wanted]:
    """Two classes of three pictures, one of them in two tables."""
    files = {f"images/{label}{number}.jpg": drawn(number + ord(label)) for label in "ab" for number in range(3)}
    files["train.csv"] = b"filename,label\na2.jpg,a\na0.jpg,a\nb1.jpg,b\n"
    files["val.csv"] = b"filename,label\nb0.jpg,b\n"
    files["test.csv"] = b"filename,label\na1.jpg,a\nb2.jpg,b\n"
    return files, want({"a": "train", "b": "test"}, {**OPTIONS, **options}, counts={"a": 3, "b": 3})


EXPECTED = {"a": ["a2", "a0", "a1"], "b": ["b1", "b0", "b2"]}


def arrays(files: Mapping[str, bytes]) -> dict[str, list[object]]:
    return {label: [by_hand(files[f"images/{name}.jpg"]) for name in names] for label, names in EXPECTED.items()}


def _bom(files: dict[str, bytes]) -> None:
    files["train.csv"] = b"\xef\xbb\xbf" + files["train.csv"].replace(b"\n", b"\r\n")


def _columns(files: dict[str, bytes]) -> None:
    rows = [line.split(",") for line in files["val.csv"].decode().splitlines()]
    files["val.csv"] = "".join(f'"x, y",{label},"{name}"\n' for name, label in rows).encode()


def _folders(files: dict[str, bytes]) -> None:
    files["train.csv"] = files["train.csv"].replace(b"a2", b"./images/a2").replace(b"b1", b"raw/images/b1")


def _spelling(files: dict[str, bytes]) -> None:
    files["validation.csv"] = files.pop("val.csv")


@pytest.mark.parametrize("change", [lambda _: None, _bom, _columns, _folders, _spelling])
def test_tables_may_be_written_in_several_ways(change: Callable[[dict[str, bytes]], object], tmp_path: Path) -> None:
    files, wanted = small()
    assert_prepared("image_table", changed(files, change), wanted, arrays(files), tmp_path)


def test_a_path_tells_pictures_of_one_name_apart(tmp_path: Path) -> None:
    files = {f"x/{label}/0.jpg": drawn(ord(label)) for label in "abc"}
    files["all.csv"] = b"filename,label\nx/a/0.jpg,a\nb/0.jpg,b\nold/c/0.jpg,a\n"
    wanted = want({"a": "train", "b": "test"}, {**OPTIONS, "tables": ["all.csv"]})
    expected = {"a": [by_hand(drawn(ord("a"))), by_hand(drawn(ord("c")))], "b": [by_hand(drawn(ord("b")))]}
    assert_prepared("image_table", files, wanted, expected, tmp_path)


def test_the_digest_is_of_the_pictures_and_their_classes_and_of_no_packing() -> None:
    files, wanted = small()
    digest = source_of("image_table", files, wanted)
    assert digest == source_of("image_table", elsewhere(files), wanted, "other.zip")
    others = [
        changed(files, lambda copy: copy.update({"images/a0.jpg": drawn(50)})),
        changed(
            files,
            lambda copy: copy.update(
                {"val.csv": b"filename,label\nb2.jpg,b\n", "test.csv": b"filename,label\na1.jpg,a\nb0.jpg,b\n"}
            ),
        ),
    ]
    assert len({digest, *(source_of("image_table", other, wanted) for other in others)}) == 3


def _picture_gone(files: dict[str, bytes]) -> None:
    del files["images/a0.jpg"], files["images/b2.jpg"]


def _picture_twice(files: dict[str, bytes]) -> None:
    files["copy/a0.jpg"] = files["images/a0.jpg"]


def _row_twice(files: dict[str, bytes]) -> None:
    files["test.csv"] += b"a0.jpg,b\n"


def _row_gone(files: dict[str, bytes]) -> None:
    files["test.csv"] = b"filename,label\na1.jpg,a\n"


def _class_gone(files: dict[str, bytes]) -> None:
    for table in TABLES.values():
        files[table] = b"".join(line for line in files[table].splitlines(True) if not line.endswith(b",b\n"))


def _stranger(files: dict[str, bytes]) -> None:
    files["val.csv"] += b"b0.jpg,c\n"


def _no_table(files: dict[str, bytes]) -> None:
    del files["test.csv"]


def _two_tables(files: dict[str, bytes]) -> None:
    files["validation.csv"] = files["val.csv"]


def _other_columns(files: dict[str, bytes]) -> None:
    files["val.csv"] = b"file,label\nb0.jpg,b\n"


def _empty_table(files: dict[str, bytes]) -> None:
    files["val.csv"] = b""


def _short_row(files: dict[str, bytes]) -> None:
    files["val.csv"] = b"filename,label\nb0.jpg\n"


def _latin(files: dict[str, bytes]) -> None:
    files["val.csv"] = b"filename,label\nb\xe9.jpg,b\n"


def _open_quote(files: dict[str, bytes]) -> None:
    files["val.csv"] = b'filename,label\n"b0.jpg,b\n'


def _damaged_picture(files: dict[str, bytes]) -> None:
    files["images/a0.jpg"] = files["images/a0.jpg"][:90]


REFUSED = [
    (_picture_gone, f"made: 2 of 6 pictures are missing from copy.zip (the first is a0.jpg); {ADVICE}"),
    (
        _picture_twice,
        "made: copy.zip holds a0.jpg more than once (copy/a0.jpg, images/a0.jpg); leave out the copy that is not meant",
    ),
    (_row_twice, f"made: the tables in copy.zip name images/a0.jpg twice; {ADVICE}"),
    (_row_gone, f"made: b in copy.zip has 2 examples instead of 3; {ADVICE}"),
    (_class_gone, f"made: 1 of 2 classes are missing from copy.zip (the first is b); {ADVICE}"),
    (_stranger, f"made: val.csv in copy.zip has c in line 3, which is none of the 2 classes; {ADVICE}"),
    (_no_table, f"made: copy.zip has no file test.csv; {ADVICE}"),
    (
        _two_tables,
        "made: copy.zip holds both val.csv and validation.csv, of which one can be meant; leave the other out",
    ),
    (_other_columns, f"made: val.csv in copy.zip has no column filename but file, label; {ADVICE}"),
    (_empty_table, f"made: val.csv in copy.zip has no column filename but none at all; {ADVICE}"),
    (_short_row, f"made: val.csv in copy.zip is incomplete in line 2; {ADVICE}"),
    (_latin, "made: val.csv in copy.zip is not CSV in UTF-8 ('utf-8' codec can't decode byte 0xe9"),
    (_open_quote, "made: val.csv in copy.zip is not CSV in UTF-8 (unexpected end of data); get the file anew"),
    (_damaged_picture, "made: images/a0.jpg in copy.zip is not a readable picture ("),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_wrong_content_is_refused(change: Callable[[dict[str, bytes]], object], message: str) -> None:
    files, wanted = small()
    with pytest.raises(ContentError) as caught:
        source_of("image_table", changed(files, change), wanted)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_pictures_of_the_list_that_are_missing_are_named() -> None:
    files = {f"a{number:03}.jpg": drawn(number) for number in (3, 5)}
    options = {**OPTIONS, "numbers": "some", "file_pattern": "{class_name}{number:03}.jpg"}
    wanted = want({"a": "train"}, options, numbers={"a": [3, 4, 5]})
    with pytest.raises(ContentError) as caught:
        source_of("image_table", files, wanted)
    assert str(caught.value) == f"made: 1 of 3 pictures are missing from copy.zip (the first is a004.jpg); {ADVICE}"
    with pytest.raises(CatalogError, match="made: the list 'some' has no numbers of class 'a'"):
        source_of("image_table", files, want({"a": "train"}, options))


def test_it_knows_its_layout() -> None:
    options = options_of(NUMBERED, "")
    plain = options_of(OPTIONS, "")
    for names, expected in {
        ("images/n0153282900000005.jpg",): (False, True),
        ("images/n0153282900000005.jpg", "x/validation.csv"): (True, True),
        ("images/0034309.jpg", "images_variant_val.txt"): (False, False),
        ("n01532829/n01532829_20457.JPEG",): (False, False),
        ("train.csv.zip",): (False, False),
    }.items():
        tree = MemoryTree(dict.fromkeys(names, b""))
        assert (recognises(tree, plain), recognises(tree, options)) == expected


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught:
        get_reader("image_table").options_of({**OPTIONS, "tables": [], "label_colum": "x", "numbers": "ravi"}, "x: ")
    assert caught.value.problems == (
        "x: file_pattern: stands together with numbers, or neither does",
        "x: tables: expected texts, found an empty list",
        "x: label_colum: unknown field, did you mean 'label_column'?",
    )
    for pattern in (
        "{number}{class_name}.jpg",
        "{class_name}.jpg",
        "{class_name.__class__}{number}",
        "{class_name}{number:x}",
    ):
        with pytest.raises(CatalogError, match=r"expected a name with \{class_name\} and \{number:08\} in it"):
            options_of({**NUMBERED, "file_pattern": pattern}, "")
