"""Pictures in folders: read from every packing alike, checked, and prepared as Pillow alone prepares them."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2l_core.catalog import open_catalog
from l2l_core.errors import ArchiveError, CatalogError, ContentError, L2LError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files, store_path, verify
from l2l_core.prepare.readers.image_folders import FILTERS, options_of
from l2l_core.store import Store, open_store
from tests.small import CLASSES, EXAMPLES, SmallData, picture, write_zip


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
        f"small: set/Abc/character02 in pictures has 7 pictures instead of 8; {ADVICE}",
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
        patch.setattr("l2l_core.prepare.readers.image_folders._decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_files(record, catalog, cache, [small.archive])
    assert not _files(cache.root)
    import_files(record, catalog, cache, [small.archive])
    assert verify(record, cache).startswith("96 examples of 12 classes, sha256 ")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    small: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> np.ndarray:
        raise OSError(28, "No space left on device")

    catalog, cache = open_catalog(), Cache.at(tmp_path / "cache")
    monkeypatch.setattr("l2l_core.store._header", full)
    with pytest.raises(L2LError, match=r"the disk is full|no space|free"):
        import_files(catalog.dataset("small"), catalog, cache, [small.archive])
    assert not _files(cache.root)


def test_another_recipe_is_another_file(small: SmallData, tmp_path: Path) -> None:
    entry = small.catalog / "catalog/datasets/small.toml"
    cache = Cache.at(tmp_path)
    paths = {store_path(open_catalog([small.catalog]).dataset("small"), cache)}
    text = entry.read_text()
    for old, new in (("lanczos", "bicubic"), ("[7, 7]", "[7, 6]"), ("invert = true", "invert = false")):
        entry.write_text(text.replace(old, new))
        paths.add(store_path(open_catalog([small.catalog]).dataset("small"), cache))
    assert len(paths) == 4


def test_options_that_cannot_be_are_named() -> None:
    record = open_catalog().dataset("small")
    assert options_of(record).image_size == (7, 7)
    good = dict(record.prepared)
    bad = {**good, "mode": "CMYK", "resample": "lanczoz", "image_size": [0, 7], "class_depth": "3", "invert": "no"}
    with pytest.raises(CatalogError) as caught:
        options_of(replace(record, prepared={**bad, "invret": True}))
    assert caught.value.problems == (
        "small: prepared.image_size: expected [height, width] in pixels, found [0, 7]",
        "small: prepared.class_depth: expected a whole number, found '3'",
        "small: prepared.mode: expected L or RGB, found 'CMYK'",
        "small: prepared.invert: expected true or false, found 'no'",
        "small: prepared.resample: expected one of " + ", ".join(FILTERS) + ", found 'lanczoz'",
        "small: prepared.invret: unknown field, did you mean 'invert'?",
    )
    for size, problem in (
        (None, "small: prepared.image_size: missing"),
        ([9999, 7], "small: prepared.image_size: expected at most 1024 pixels a side, found [9999, 7]"),
    ):
        changed = {key: value for key, value in {**good, "image_size": size}.items() if value is not None}
        with pytest.raises(CatalogError) as caught:
            options_of(replace(record, prepared=changed))
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
