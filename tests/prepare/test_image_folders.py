"""Pictures in folders: read from every packing alike, checked, and prepared as Pillow alone prepares them."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2l_core.catalog import open_catalog
from l2l_core.errors import ArchiveError, CatalogError, ContentError, L2LError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.pictures import FILTERS
from l2l_core.prepare.readers import Wanted
from l2l_core.prepare.readers.image_folders import options_of, recognises
from l2l_core.prepare.stores import store_path, verify
from l2l_core.store import Store, open_store
from tests.prepare.pictures import (
    assert_prepared,
    by_hand,
    contents,
    drawn,
    elsewhere,
    encoded,
    real,
    source_of,
    statistics,
)
from tests.prepare.raw import PICTURES, MemoryTree, split_of, want
from tests.small import CLASSES, EXAMPLES, SmallData, only_form, picture, write_zip


@pytest.fixture(autouse=True)
def _catalog(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))


def prepare(*paths: Path, home: Path) -> Store:
    catalog = open_catalog()
    return open_store(import_files(catalog.dataset("small"), catalog, Cache.at(home), paths))


def test_two_files_and_no_code_add_a_data_set(small: SmallData, tmp_path: Path) -> None:
    files = {path.relative_to(small.catalog).as_posix() for path in small.catalog.rglob("*") if path.is_file()}
    assert files == {
        "catalog/datasets/small.toml",
        "metadata/splits/small/own.csv",
        "catalog/benchmarks/small-3w2s.toml",  # not needed for the data set
    }
    store = prepare(small.archive, home=tmp_path / "home")
    assert store.manifest.classes == CLASSES
    assert store.offsets.tolist() == list(range(0, 97, EXAMPLES))
    for class_number in range(len(CLASSES)):
        for example in range(EXAMPLES):
            resized = Image.fromarray(picture(class_number, example)).resize((7, 7), Image.Resampling.LANCZOS)
            assert np.array_equal(store.examples[class_number * EXAMPLES + example, 0], 255 - np.asarray(resized))


def test_every_packing_gives_the_same_store(small: SmallData, tmp_path: Path) -> None:
    deeper = tmp_path / "deeper/python/here"
    shutil.copytree(small.folder, deeper)
    (deeper / "set_small1/Abc/character01").mkdir(parents=True)
    shutil.copy(next(small.folder.rglob("*.png")), deeper / "set_small1/Abc/character01")
    (deeper / "set/strokes.txt").write_text("not a picture")
    half = {"Abc": tmp_path / "abc", "Xyz": tmp_path / "xyz"}
    for alphabet, folder in half.items():
        shutil.copytree(small.folder / "set" / alphabet, folder / "set" / alphabet)
        write_zip(folder, folder.with_suffix(".zip"))
    packings = [
        [small.archive],
        [small.folder],
        [tmp_path / "deeper"],
        [tmp_path / "abc.zip", tmp_path / "xyz.zip"],
        [tmp_path / "abc", tmp_path / "xyz.zip"],
    ]
    contents = [prepare(*paths, home=tmp_path / f"home{n}").path.read_bytes() for n, paths in enumerate(packings)]
    assert len(set(contents)) == 1


def _no_class(folder: Path) -> None:
    shutil.rmtree(folder / "set/Xyz/character03")


def _one_picture_less(folder: Path) -> None:
    next((folder / "set/Abc/character02").iterdir()).unlink()


def _strange_class(folder: Path) -> None:
    shutil.copytree(folder / "set/Abc/character01", folder / "set/Abc/character99")


def _other_size(folder: Path) -> None:
    Image.new("1", (14, 15)).save(folder / "set/Abc/character01/0000_03.png")


def _no_picture(folder: Path) -> None:
    (folder / "set/Abc/character01/0000_03.png").write_text("<html>quota exceeded</html>")


def _cut_picture(folder: Path) -> None:
    path = folder / "set/Abc/character01/0000_03.png"
    path.write_bytes(path.read_bytes()[:50])


ADVICE = "give a complete copy in the layout of the official files"
BAD_CONTENT = [
    (
        _no_class,
        f"small: 1 of 12 classes are missing from pictures (the first is set/Xyz/character03); {ADVICE}",
    ),
    (
        _one_picture_less,
        f"small: set/Abc/character02 in pictures has 7 examples instead of 8; {ADVICE}",
    ),
    (
        _strange_class,
        f"small: pictures holds set/Abc/character99, which is none of the 12 classes; {ADVICE}",
    ),
    (
        _other_size,
        "small: pictures/set/Abc/character01/0000_03.png in pictures is 15x14 pixels instead of 14x14; "
        "give the original pictures, not a resized copy",
    ),
    (_no_picture, "small: pictures/set/Abc/character01/0000_03.png in pictures is not a readable picture ("),
    (_cut_picture, "small: pictures/set/Abc/character01/0000_03.png in pictures is not a readable picture ("),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_CONTENT, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("before", [False, True], ids=["empty cache", "prepared cache"])
def test_wrong_content_is_refused_and_the_cache_stays_as_it_was(
    small: SmallData, tmp_path: Path, spoil: object, message: str, packed: bool, before: bool
) -> None:
    home = tmp_path / "cache"
    if before:
        prepare(small.archive, home=home)
    files = _files(home)
    assert callable(spoil)
    spoil(small.folder)
    source = small.folder
    if packed:
        source = tmp_path / "pictures"
        write_zip(small.folder, source)
    with pytest.raises(ContentError) as caught:
        prepare(source, home=home)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert _files(home) == files


def _files(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and "locks" not in path.parts}


def test_archives_that_lie_are_refused_and_the_cache_stays_empty(small: SmallData, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(small.archive.read_bytes()[:-200])
    page = tmp_path / "page.zip"
    page.write_text("<!doctype html><title>Quota exceeded</title>")
    climbing, absolute, link = (tmp_path / f"{name}.zip" for name in ("climbing", "absolute", "link"))
    for path, member in ((climbing, "set/../../evil.png"), (absolute, "/evil.png")):
        shutil.copy(small.archive, path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, b"")
    shutil.copy(small.archive, link)
    with zipfile.ZipFile(link, "a") as archive:
        info = zipfile.ZipInfo("set/link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    for path in (cut, page, climbing, absolute, link, tmp_path / "absent.zip"):
        with pytest.raises(ArchiveError) as caught:
            prepare(path, home=tmp_path / "cache")
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not _files(tmp_path / "cache")


def test_an_interrupted_prepare_leaves_nothing_and_the_next_one_works(
    small: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, cache = open_catalog(), Cache.at(tmp_path / "cache")
    record = catalog.dataset("small")
    seen = 0

    def interrupted(*_: object) -> np.ndarray:
        nonlocal seen
        seen += 1
        if seen == 50:
            raise KeyboardInterrupt
        return np.zeros((1, 7, 7), np.uint8)

    with monkeypatch.context() as patch:
        patch.setattr("l2l_core.prepare.readers._members.to_array", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_files(record, catalog, cache, [small.archive])
    assert not _files(cache.root)
    import_files(record, catalog, cache, [small.archive])
    assert verify(record, catalog, cache).startswith("96 examples of 12 classes from pictures, sha256 ")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    small: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> np.ndarray:
        raise OSError(28, "No space left on device")

    catalog, cache = open_catalog(), Cache.at(tmp_path / "cache")
    monkeypatch.setattr("l2l_core.store._padded", full)
    with pytest.raises(L2LError, match=r"the disk is full|no space|free"):
        import_files(catalog.dataset("small"), catalog, cache, [small.archive])
    assert not _files(cache.root)


def test_another_recipe_is_another_file(small: SmallData, tmp_path: Path) -> None:
    entry = small.catalog / "catalog/datasets/small.toml"
    cache = Cache.at(tmp_path)

    def path() -> Path:
        record = open_catalog([small.catalog]).dataset("small")
        return store_path(record, only_form(record), cache)

    paths, text = {path()}, entry.read_text()
    for old, new in (("lanczos", "bicubic"), ("[7, 7]", "[7, 6]"), ("invert = true", "invert = false")):
        entry.write_text(text.replace(old, new))
        paths.add(path())
    assert len(paths) == 4


GOOD = {"class_depth": 3, "mode": "L", "invert": True, "image_size": [7, 7], "resample": "lanczos"}


def test_options_that_cannot_be_are_named() -> None:
    good = options_of(GOOD, "small: ")
    assert good.picture.shape == (1, 7, 7)
    assert (good.class_key, good.numbers, good.other_classes) == ("name", None, "refuse")
    bad = {**GOOD, "mode": "CMYK", "resample": "lanczoz", "image_size": [0, 7], "class_depth": "3", "invert": "no"}
    bad |= {"class_key": "id", "numbers": 7, "other_classes": "drop", "invret": True}
    with pytest.raises(CatalogError) as caught:
        options_of(bad, "small: ")
    assert caught.value.problems == (
        "small: mode: expected L or RGB, found 'CMYK'",
        "small: invert: expected true or false, found 'no'",
        "small: image_size: expected [height, width] in pixels, found [0, 7]",
        "small: resample: expected one of " + ", ".join(FILTERS) + ", found 'lanczoz'",
        "small: class_depth: expected a whole number, found '3'",
        "small: class_key: expected one of name, number, found 'id'",
        "small: numbers: expected text, found 7",
        "small: other_classes: expected one of refuse, ignore, found 'drop'",
        "small: invret: unknown field, did you mean 'invert'?",
    )
    for size, problem in (
        (None, "small: image_size: missing"),
        ([9999, 7], "small: image_size: expected at most 1024 pixels a side, found [9999, 7]"),
    ):
        changed = {key: value for key, value in {**GOOD, "image_size": size}.items() if value is not None}
        with pytest.raises(CatalogError) as caught:
            options_of(changed, "small: ")
        assert caught.value.problems == (problem,)


def test_the_folders_or_archives_of_the_parts_may_be_given(small: SmallData, tmp_path: Path) -> None:
    whole = prepare(small.archive, home=tmp_path / "whole").path.read_bytes()
    inside = tmp_path / "inside/set.zip"
    inside.parent.mkdir()
    write_zip(small.folder / "set", inside)
    for number, source in enumerate((small.folder / "set", inside)):
        assert prepare(source, home=tmp_path / f"home{number}").path.read_bytes() == whole
    holder = tmp_path / "holder"
    holder.mkdir()
    shutil.copy(small.archive, holder / "other-name.zip")
    with pytest.raises(ContentError, match=r"; give the archives in it themselves, such as holder/other-name\.zip"):
        prepare(holder, home=tmp_path / "none")


def test_colour_pictures_come_as_three_planes(small: SmallData, tmp_path: Path) -> None:
    entry = small.catalog / "catalog/datasets/small.toml"
    entry.write_text(entry.read_text().replace('mode = "L"', 'mode = "RGB"').replace("invert = true", "invert = false"))
    colours = np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8)
    Image.fromarray(colours).save(small.folder / CLASSES[0] / "0000_00.png")
    catalog = open_catalog([small.catalog])
    store = open_store(import_files(catalog.dataset("small"), catalog, Cache.at(tmp_path), [small.folder]))
    assert store.examples.shape == (96, 3, 7, 7)
    resized = Image.fromarray(colours).resize((7, 7), Image.Resampling.LANCZOS)
    assert np.array_equal(store.examples[0], np.asarray(resized).transpose(2, 0, 1))


LAYOUTS = {
    "cub": ("chen", {"class_depth": 1}, "CUB_200_2011/images/{name}/{name}_{number:04}.jpg"),
    "dtd": ("meta-dataset", {"class_depth": 1}, "dtd/images/{name}/{name}_{number:04}.jpg"),
    "traffic-signs": (
        "meta-dataset",
        {"class_depth": 1, "class_key": "number"},
        "GTSRB/Final_Training/Images/{class_number:05}/{number:05}_00029.ppm",
    ),
}
BESIDE = {
    "cub": ["attributes.txt", "CUB_200_2011/classes.txt", "CUB_200_2011/parts/parts.txt"],
    "dtd": ["dtd/images/waffled/.directory", "dtd/labels/val1.txt", "dtd/imdb/imdb.mat"],
    "traffic-signs": ["GTSRB/Final_Training/Images/00000/GT-00000.csv", "GTSRB/Readme-Images.txt"],
}


@pytest.mark.parametrize("dataset", LAYOUTS)
@pytest.mark.parametrize("source", ["drawn", "real"])
def test_every_class_of_the_data_sets_in_this_layout(
    dataset: str, source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    scheme, options, pattern = LAYOUTS[dataset]
    subset_of = split_of(f"{dataset}/{scheme}")
    counts = dict.fromkeys(subset_of, 12) if dataset == "dtd" else statistics(dataset)
    counts = {name: -(-count // 10) for name, count in counts.items()}
    photographs = real(request.getfixturevalue("test_data") / "imagenet-sample.zip") if source == "real" else None
    pool = iter(contents(photographs, sum(counts.values())))
    files = dict.fromkeys(BESIDE[dataset], b"")
    expected = {}
    for name in sorted(subset_of):
        pictures = [next(pool) for _ in range(counts[name])]
        number = int("0" + name.partition(".")[0]) if "." in name else 0
        for k, content in enumerate(pictures):
            if pattern.endswith("ppm"):
                with Image.open(io.BytesIO(content)) as image:
                    content = encoded(np.asarray(image.convert("RGB")), "PPM")
            files[pattern.format(name=name, class_number=number, number=k)] = content
        expected[name] = list(map(by_hand, pictures))
    wanted = want(subset_of, {**PICTURES, **options}, counts=counts)
    store = assert_prepared("image_folders", files, wanted, expected, tmp_path / "one")
    assert len(store.manifest.classes) == {"cub": 200, "dtd": 47, "traffic-signs": 43}[dataset]
    assert assert_prepared("image_folders", elsewhere(files), wanted, expected, tmp_path / "two").source == store.source


def _refusal(files: dict[str, bytes], wanted: Wanted) -> str:
    with pytest.raises(ContentError) as caught:
        source_of("image_folders", files, wanted)
    return str(caught.value)


def test_folders_that_cannot_be_told_apart_are_refused() -> None:
    options = {**PICTURES, "class_depth": 1, "class_key": "number"}
    wanted = want({"1.a": "train", "02.b": "test"}, options)
    files = {"00001/x.png": drawn(1, "PNG"), "00002/x.png": drawn(2, "PNG")}
    assert source_of("image_folders", files, wanted)
    assert _refusal(files | {"2/x.png": b""}, wanted) == (
        "made: two folders of copy.zip are numbered 2; give a copy that holds the data once"
    )
    assert _refusal(files | {"00003/x.png": b""}, wanted) == (
        f"made: copy.zip holds 00003, which is none of the 2 classes; {ADVICE}"
    )
    assert _refusal(files | {"val/00002/x.png": b""}, wanted) == (
        "made: 02.b lies in more than one folder of copy.zip (00002, val/00002); give the one that is meant"
    )
    with pytest.raises(
        CatalogError, match="made: class 'b' begins with no number, but the data knows classes by number"
    ):
        source_of("image_folders", files, want({"1.a": "train", "b": "test"}, options))


def test_it_knows_its_layout() -> None:
    options = options_of(GOOD, "")
    for names, expected in {
        ("x/a/b/c/1.png", "x/a/b/d/1.png"): True,
        ("a/b/c/1.png", "a/b/d/1.txt"): False,  # one class is no data set
        ("b/c/1.png", "b/d/1.png"): False,
        ("images/1.jpg", "train.csv"): False,
    }.items():
        assert recognises(MemoryTree(dict.fromkeys(names, b"")), options) is expected
