"""The user's own data: folders, archives, CSV files, arrays and pairs, against what was put into them."""

import csv
import json
import os
import pickle
import re
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image
from torchvision.datasets import ImageFolder

import l2l_core as l2l
from l2l_core.data.own import from_arrays, from_csv, from_folder, from_iterable
from l2l_core.data.transforms import KShots, LoadData, NWays, RemapLabels
from l2l_core.errors import ArchiveError, ContentError, L2LError, TaskError, UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache, entries, remove
from l2l_core.prepare import own as prepare_own
from l2l_core.prepare.readers import csv_text
from l2l_core.prepare.sounds import encode_sound

NAMES = ("cat/1.png", "cat/2.png", "cat/10.jpg", "dog/1.png", "Eel/only.bmp")


def write_pictures(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Pictures of different sizes and modes under some names."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (9 + number, 12, 3), np.uint8)
        Image.fromarray(pixels).convert("L" if number % 2 else "RGB").save(path)
    return folder


def decoded(path: Path, mode: str = "RGB", side: int = 8) -> np.ndarray:
    """A picture as Pillow prepares it, uint8 [C, H, W]."""
    with Image.open(path) as picture:
        array = np.asarray(picture.convert(mode).resize((side, side), Image.Resampling.BILINEAR))
    return array[None] if mode == "L" else array.transpose(2, 0, 1)


def contents(dataset: Any) -> dict[str, list[np.ndarray]]:
    """Class name to its examples."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in dataset.classes}
    for i in range(len(dataset)):
        example, label = dataset[i]
        found[dataset.classes[label]].append(np.asarray(example))
    return found


def same(one: dict[str, list[np.ndarray]], other: dict[str, list[np.ndarray]]) -> bool:
    """Whether classes, their order and their examples are the same."""
    return list(one) == list(other) and all(
        len(one[name]) == len(other[name]) and all(map(np.array_equal, one[name], other[name])) for name in one
    )


def pack_zip(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*.*")):
            packed.write(path, path.relative_to(folder.parent).as_posix())
    return archive


def pack_tar(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, folder.name)
    return archive


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pets")


@pytest.fixture
def stores() -> Callable[[], list[Path]]:
    """A function that lists the stores of the cache."""
    return lambda: sorted(Path(os.environ["L2L_HOME"]).glob("stores/*/*.safetensors"))


# folders


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_folder_holds_what_pillow_finds_in_it(pictures: Path, mode: str) -> None:
    (pictures / "notes.txt").write_text("of no class")
    (pictures / "cat" / "notes.txt").write_text("no example among pictures")
    (pictures / "cover.png").write_bytes((pictures / "cat/1.png").read_bytes())
    dataset = from_folder(pictures, image_size=8, mode=mode, dtype=torch.uint8)
    expected = {
        name: [decoded(path, mode) for path in sorted((pictures / name).glob("*.*")) if path.suffix != ".txt"]
        for name in ("Eel", "cat", "dog")
    }
    assert same(contents(dataset), expected)
    assert dataset.name == "pets"
    assert dataset.superclasses == ("", "", "")
    floats = from_folder(pictures, image_size=(8, 8), mode=mode)
    assert torch.equal(floats[0][0], dataset[0][0].float() / 255)


@pytest.mark.parametrize(("pack", "suffix"), [(pack_zip, ".zip"), (pack_tar, ".tar.gz")])
def test_an_archive_holds_the_same(pictures: Path, tmp_path: Path, pack: Any, suffix: str) -> None:
    archive = pack(pictures, tmp_path / f"packed{suffix}")
    dataset = from_folder(archive, image_size=8)
    assert same(contents(dataset), contents(from_folder(pictures, image_size=8)))
    assert dataset.name == "packed"


def test_classes_agree_with_torchvision(pictures: Path) -> None:
    theirs = ImageFolder(str(pictures))
    ours = from_folder(pictures, image_size=8)
    assert list(ours.classes) == theirs.classes
    assert ours.targets.tolist() == theirs.targets


def test_tasks_come_in_two_lines(pictures: Path) -> None:
    dataset = from_folder(pictures, image_size=8, classes=["cat", "dog"], dtype=torch.uint8)
    episode = l2l.TaskGenerator(from_folder(pictures, image_size=8, classes=["cat"]), ways=1, shots=2, queries=1)[0]
    assert episode.support_x.shape == (2, 3, 8, 8)
    x, y = l2l.TaskDataset(dataset, [NWays(dataset, 2), KShots(dataset, 1), LoadData(dataset)], seed=3)[0]
    assert sorted(y.tolist()) == [0, 1]
    cats = contents(dataset)["cat"]
    assert any(np.array_equal(x[y.tolist().index(0)], cat) for cat in cats)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy.gather(np.arange(4)), dataset.gather(np.arange(4)))


def test_classes_are_taken_from_anything_that_gives_names(pictures: Path) -> None:
    for names in (["dog", "cat"], ("cat", "dog"), {"cat", "dog"}, (name for name in ("dog", "cat", "dog"))):
        dataset = from_folder(pictures, image_size=8, classes=names)
        assert dataset.classes == ("cat", "dog")
        assert len(dataset) == 4


def test_a_size_may_be_a_number_of_numpy(pictures: Path, stores: Any) -> None:
    for size in (8, np.int64(8), (np.uint8(8), 8), [8, 8]):
        assert from_folder(pictures, image_size=size)[0][0].shape == (3, 8, 8)
    assert len(stores()) == 1


def test_it_is_prepared_once(pictures: Path, stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = from_folder(pictures, image_size=8)
    (pictures / ".DS_Store").write_bytes(b"desktop")
    (pictures / "cat" / "list.json").write_text("{}")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it was prepared again")

    monkeypatch.setattr(prepare_own, "write_raw", refuse)
    monkeypatch.setattr(prepare_own, "open_tree", refuse)
    monkeypatch.chdir(pictures.parent)
    for again in (from_folder(pictures, image_size=(8, 8)), from_folder("pets", image_size=8, classes=["dog"])):
        assert again.fingerprint == first.fingerprint or again.classes == ("dog",)
    assert len(stores()) == 1


def test_two_at_once_prepare_it_once(pictures: Path, stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write_raw = [], prepare_own.write_raw

    def slow(*arguments: Any, **options: Any) -> None:
        time.sleep(0.2)
        written.append(1)
        write_raw(*arguments, **options)

    monkeypatch.setattr(prepare_own, "write_raw", slow)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: from_folder(pictures, image_size=8).fingerprint, range(3)))
    assert len(written) == len(set(found)) == len(stores()) == 1


def change_content(folder: Path) -> None:
    path = folder / "dog/1.png"
    before = path.stat()
    path.write_bytes((folder / "cat/1.png").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def touch_only(folder: Path) -> None:
    before = (folder / "dog/1.png").stat()
    os.utime(folder / "dog/1.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize(
    "change",
    [
        change_content,
        touch_only,
        lambda folder: (folder / "dog/1.png").rename(folder / "dog/2.png"),
        lambda folder: (folder / "dog").rename(folder / "wolf"),
        lambda folder: (folder / "cat/1.png").unlink(),
        lambda folder: write_pictures(folder, ("cat/3.png",)),
        lambda folder: (folder / "classes.csv").write_text("folder,class,superclass\ndog,Dog,\n"),
    ],
    ids=["content", "time", "file name", "class name", "removed", "added", "called"],
)
def test_a_changed_folder_is_prepared_anew(pictures: Path, stores: Any, change: Any) -> None:
    before = contents(from_folder(pictures, image_size=8))
    (replaced,) = stores()
    change(pictures)
    after = contents(from_folder(pictures, image_size=8, dtype=torch.uint8))
    (store,) = stores()
    assert store != replaced
    assert same(before, after) is False
    found = sorted(path for path in pictures.rglob("*.*") if path.suffix != ".csv")
    assert sum(map(len, after.values())) == len(found)


def test_other_options_are_other_stores(pictures: Path, stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [
        from_folder(pictures, image_size=8)[0][0].shape,
        from_folder(pictures, image_size=(8, 9))[0][0].shape,
        from_folder(pictures, image_size=8, mode="L")[0][0].shape,
        from_folder(pictures, image_size=8, resample="nearest")[0][0].shape,
    ]
    assert shapes == [(3, 8, 8), (3, 8, 9), (1, 8, 8), (3, 8, 8)]
    assert len(stores()) == 4
    touch_only(pictures)
    from_folder(pictures, image_size=8, mode="L")  # takes the place of one
    assert len(stores()) == 4
    monkeypatch.setattr(prepare_own, "VERSION", prepare_own.VERSION + 1)
    from_folder(pictures, image_size=8)
    assert len(stores()) == 5
    # Two folders alike in names, sizes and times are still two: pictures of one size need not be the same.
    assert len({path.parent for path in stores()}) == 1


def test_whoever_has_a_replaced_store_open_keeps_it(pictures: Path, stores: Any) -> None:
    before = from_folder(pictures, image_size=8, dtype=torch.uint8)
    expected = contents(before)
    change_content(pictures)
    after = from_folder(pictures, image_size=8, dtype=torch.uint8)
    assert len(stores()) == 1
    assert same(contents(before), expected)
    assert not same(contents(after), expected)


def test_a_store_goes_only_once_another_has_taken_its_place(pictures: Path, stores: Any) -> None:
    from_folder(pictures, image_size=8)
    before = stores()
    (pictures / "cat/bad.png").write_bytes(b"no picture")
    with pytest.raises(ContentError):
        from_folder(pictures, image_size=8)
    assert stores() == before


def test_hidden_folders_hold_no_examples(pictures: Path, tmp_path: Path, stores: Any) -> None:
    expected = contents(from_folder(pictures, image_size=8))
    before = stores()
    write_pictures(pictures, (".ipynb_checkpoints/1.png", "cat/.draft/1.png", ".pets.0a1b.part/cat/7.png"))
    (pictures / ".pets.0a1b.part/classes.csv").write_text("folder,class,superclass\n../cat,Tiger,\n")
    assert same(contents(from_folder(pictures, image_size=8)), expected)
    assert stores() == before  # not even prepared anew
    assert same(contents(from_folder(pack_zip(pictures, tmp_path / "packed.zip"), image_size=8)), expected)
    with pytest.raises(ContentError, match="pets holds no picture"):
        from_folder(pictures, image_size=8, class_depth=2)  # of which there are only hidden ones


def test_a_hidden_folder_above_hides_nothing(tmp_path: Path) -> None:
    assert from_folder(write_pictures(tmp_path / ".data/pets"), image_size=8).classes == ("Eel", "cat", "dog")


@pytest.mark.parametrize("leads_to", ["cat", "cat/1.png", "nowhere"])
def test_a_link_is_refused_whenever_it_comes(pictures: Path, leads_to: str) -> None:
    from_folder(pictures, image_size=8)
    (pictures / "tiger").symlink_to(pictures / leads_to)
    with pytest.raises(ArchiveError) as caught:
        from_folder(pictures, image_size=8)
    assert str(caught.value) == (
        f"'tiger' in {pictures} is a symbolic link, which is not followed; put the file itself there"
    )


def test_twins_in_name_size_and_time_are_told_apart(tmp_path: Path) -> None:
    for number, folder in enumerate(("one", "two")):
        path = tmp_path / folder / "pets/cat/1.bmp"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        os.utime(path, ns=(0, 0))
    datasets = [from_folder(tmp_path / name / "pets", image_size=8, dtype=torch.uint8) for name in ("one", "two")]
    assert [int(dataset[0][0].max()) for dataset in datasets] == [0, 1]


def test_a_damaged_store_is_prepared_anew(pictures: Path, stores: Any) -> None:
    expected = contents(from_folder(pictures, image_size=8))
    (path,) = stores()
    path.write_bytes(path.read_bytes()[:-1])
    assert same(contents(from_folder(pictures, image_size=8)), expected)
    from_folder(pictures, image_size=9)
    (other,) = set(stores()) - {path}
    path.write_bytes(other.read_bytes())  # whole, but not what the name says
    assert same(contents(from_folder(pictures, image_size=8)), expected)


def test_the_cache_lists_it_and_can_remove_it(pictures: Path) -> None:
    dataset = from_folder(pictures, image_size=8)
    cache = Cache.at()
    (entry,) = entries(cache)
    assert entry.dataset.startswith("own-pets-")
    assert remove(cache, entry.dataset, downloads=True, stores=True) > 0
    assert same(contents(from_folder(pictures, image_size=8)), contents(dataset))


def test_a_subset_is_what_lies_below_its_folder(tmp_path: Path) -> None:
    folder = write_pictures(
        tmp_path / "birds", ("train/owl/1.png", "train/hen/1.png", "VAL/owl/2.png", "test/kiwi/1.png", "crow/1.png")
    )
    files = {
        "train": {"hen": ["train/hen/1.png"], "owl": ["train/owl/1.png"]},
        "validation": {"owl": ["VAL/owl/2.png"]},
        "test": {"kiwi": ["test/kiwi/1.png"]},
        None: {
            "crow": ["crow/1.png"],
            "hen": ["train/hen/1.png"],
            "kiwi": ["test/kiwi/1.png"],
            "owl": ["VAL/owl/2.png", "train/owl/1.png"],
        },
    }
    for subset, expected in files.items():
        dataset = from_folder(folder, subset, image_size=8, dtype=torch.uint8)
        assert dataset.subset == subset
        assert same(
            contents(dataset), {name: [decoded(folder / file) for file in found] for name, found in expected.items()}
        )
    assert from_folder(pack_zip(folder, tmp_path / "b.zip"), "validation", image_size=8).classes == ("owl",)


def test_deeper_classes_have_superclasses(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "letters", ("x/Greek/alpha/1.png", "x/Greek/beta/1.png", "Latin/alpha/1.png"))
    dataset = from_folder(folder, image_size=8, class_depth=2)
    assert dataset.classes == ("Greek/alpha", "Greek/beta", "Latin/alpha")
    assert dataset.superclasses == ("Greek", "Greek", "Latin")
    assert from_folder(folder, image_size=8, class_depth=2).superclasses == ("Greek", "Greek", "Latin")
    assert from_folder(folder, image_size=8).classes == ("alpha", "beta")


def test_a_table_says_what_classes_are_called(pictures: Path) -> None:
    table = 'folder,class,superclass\ndog,"Dog, ""big""\nor small",mammal\nEel,a/b,\nowl,Owl,bird\n'
    (pictures / "classes.csv").write_text(table)
    dataset = from_folder(pictures, image_size=8)
    assert dataset.classes == ('Dog, "big"\nor small', "a/b", "cat")
    assert dataset.superclasses == ("mammal", "", "")
    assert from_folder(pictures, image_size=8, classes=["cat", "a/b"]).classes == ("a/b", "cat")
    (pictures / "classes.csv").write_text("class,folder\nfish,Eel\n")  # another table of that name
    assert from_folder(pictures, image_size=8).classes == ("Eel", "cat", "dog")


def test_a_table_may_have_blank_lines(pictures: Path) -> None:
    (pictures / "classes.csv").write_bytes(b"\r\nfolder,class,superclass\r\n\r\ndog,Dog,\r\n\n\r\n")
    assert from_folder(pictures, image_size=8).classes == ("Dog", "Eel", "cat")


def test_a_folder_of_texts(tmp_path: Path) -> None:
    texts = {"news/1.txt": "größer\r\n", "news/2.txt": "", "jokes/1.txt": "haha"}
    for name, text in texts.items():
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / name).write_bytes(text.encode())
    dataset = from_folder(tmp_path / "texts")
    assert [dataset[i] for i in range(3)] == [("haha", 0), ("größer\r\n", 1), ("", 1)]
    assert dataset.modality == "texts"
    (tmp_path / "texts/news/3.txt").write_bytes(b"gr\xfc\xdf")
    with pytest.raises(ContentError) as caught:
        from_folder(tmp_path / "texts")
    assert str(caught.value) == (
        f"texts: news/3.txt in {tmp_path / 'texts'} is not UTF-8 (invalid start byte at byte 2); save it as UTF-8"
    )


def test_a_folder_of_sounds(tmp_path: Path) -> None:
    sounds = {"no/1.wav": np.array([1, -2, 32767], np.int16), "yes/1.WAV": np.array([-32768], np.int16)}
    for name, samples in sounds.items():
        (tmp_path / "words" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "words" / name).write_bytes(encode_sound(samples, 8000))
    dataset = from_folder(tmp_path / "words", dtype=torch.int16)
    assert [dataset[i][0].tolist() for i in range(2)] == [[1, -2, 32767], [-32768]]
    assert dataset.sample_rate_hz == 8000
    assert from_folder(tmp_path / "words")[1][0].tolist() == [-1.0]
    # A recording of nothing is one, as `to_folder` writes it.
    (tmp_path / "words/yes/2.wav").write_bytes(encode_sound(np.zeros(0, np.int16), 8000))
    assert from_folder(tmp_path / "words", dtype=torch.int16)[2][0].tolist() == []


def test_what_cannot_be_read_says_why(pictures: Path, tmp_path: Path, stores: Any) -> None:
    def message(kind: type[L2LError], path: Path = pictures, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            from_folder(path, **{"image_size": 8, **options})
        return str(caught.value)

    absent = tmp_path / "absent"
    assert message(ArchiveError, absent) == (
        f"cannot read {absent}: it does not exist; give the path of a file or of a folder"
    )
    (tmp_path / "empty").mkdir()
    assert message(ContentError, tmp_path / "empty") == (
        f"empty: {tmp_path / 'empty'} holds no picture, sound or .txt file in a class folder; give a folder or archive "
        "with a folder a class, such as cat/1.png"
    )
    assert message(ContentError, subset="test") == (
        f"pets: {pictures} holds no picture, sound or .txt file in a class folder below one called test; give a folder "
        "or archive with a folder a class, such as test/cat/1.png"
    )
    assert message(UsageError, image_size=None) == (
        "pets holds pictures; give image_size=(height, width), to which they are resized"
    )
    assert message(UsageError, image_size=0) == "image_size is 0; give (height, width) in pixels, 1 to 1024 each"
    for size in ((8, 8, 3), (8,), (8, 0), 1025, 8.0, np.float64(8), True, (8, True), "8", "88", np.array([8, 8])):
        assert message(UsageError, image_size=size) == (
            f"image_size is {size!r}; give (height, width) in pixels, 1 to 1024 each"
        )
    assert message(UsageError, mode="CMYK") == "mode is 'CMYK'; give one of L, RGB"
    assert message(UsageError, resample="best").startswith("resample is 'best'; give one of nearest, box, bil")
    for depth in (0, 1.0, True, None):
        assert message(UsageError, class_depth=depth) == f"class_depth is {depth}; give a whole number, at least 1"
    assert message(UsageError, subset="val") == (
        "subset 'val' is none of train, validation, test; None takes everything"
    )
    assert not stores()
    assert not Path(os.environ["L2L_HOME"]).exists()  # nor any lock
    (pictures / "cat/2.png").write_bytes(b"<!doctype html>")
    assert message(ContentError) == (
        f"pets: cat/2.png in {pictures} is not a readable picture (an HTML page); get the file anew"
    )
    (pictures / "cat/2.png").unlink()
    assert message(UnknownNameError, classes=["cta"]) == "unknown class 'cta' of pets; did you mean 'cat'?"
    for none in ([], iter(())):
        assert message(UsageError, classes=none) == "pets: classes names none; name at least one, or leave it out"
    for no_names, shown in (("cat", "'cat'"), ([0], "[0]"), (["cat", None], "['cat', None]"), (3, "3"), (b"c", "b'c'")):
        assert message(UsageError, classes=no_names) == (
            f"pets: classes is {shown}; give a list of names, such as ['Eel']"
        )
    assert message(UsageError, dtype=torch.int16) == "pets: dtype torch.int16 is none of torch.float32, torch.uint8"
    (pictures / "classes.csv").write_text("folder,class,superclass\ncat,Cat\n")
    assert message(ContentError) == (
        "pets: classes.csv is not a table of folder,class,superclass (not enough values to unpack (expected 3, got "
        "2)); correct it or take it away"
    )


def test_real_photographs(test_data: Path) -> None:
    archive = test_data / "imagenet-sample.zip"
    dataset = from_folder(archive, "test", image_size=20, dtype=torch.uint8)
    with zipfile.ZipFile(archive) as packed:
        members = sorted(name for name in packed.namelist() if "/test/" in name and not name.endswith("/"))
        by_class: dict[str, list[str]] = {}
        for name in members:
            by_class.setdefault(name.split("/")[-2], []).append(name)
        assert list(dataset.classes) == sorted(by_class)
        assert len(dataset) == len(members) > 100
        ordered = list(chain.from_iterable(by_class[name] for name in dataset.classes))
        for i in range(0, len(dataset), 97):
            with packed.open(ordered[i]) as stream, Image.open(stream) as picture:
                resized = picture.convert("RGB").resize((20, 20), Image.Resampling.BILINEAR)
            assert np.array_equal(dataset[i][0], np.asarray(resized).transpose(2, 0, 1))


# CSV files


def test_pictures_that_a_csv_file_names(pictures: Path, tmp_path: Path, stores: Any) -> None:
    table = tmp_path / "list.csv"
    rows = [("cat/10.jpg", "b"), ("dog/1.png", "a"), ("cat/1.png", "b"), ("cat/10.jpg", "a")]
    text = "".join(f"{label},{name},x\n" for name, label in rows)
    table.write_text(f"\ufefflabel,filename,note\n{text}\n", encoding="utf-8")
    options: dict[str, Any] = {"file_column": "filename", "folder": pictures, "image_size": 8, "dtype": torch.uint8}
    dataset = from_csv(table, **options)
    expected = {label: [decoded(pictures / name) for name, its in rows if its == label] for label in ("a", "b")}
    assert same(contents(dataset), expected)
    assert from_csv(table, **options, classes=["b"]).classes == ("b",)
    beside = pictures / "list.tsv"
    beside.write_text(text.replace(",", "\t"), encoding="utf-8")
    beside.write_text("class\tfile\tnote\n" + beside.read_text())
    found = from_csv(beside, file_column="file", label_column="class", image_size=8, dtype=torch.uint8)
    assert same(contents(found), expected)
    assert len(stores()) == 2
    touch_only(pictures)
    from_csv(table, **options)
    table.write_text(table.read_text().replace("b,", "c,"))
    assert from_csv(table, **options).classes == ("a", "c")
    assert len(stores()) == 2
    assert from_csv(table, **{**options, "label_column": "note"}).classes == ("x",)
    assert len(stores()) == 3  # of other labels another store, which takes no place


def test_texts_that_stand_in_a_csv_file(tmp_path: Path) -> None:
    table = tmp_path / "news.csv"
    table.write_text('category,headline\nsport,"Goal, goal"\narts,Öl\nsport,"two\nlines"\n', encoding="utf-8")
    dataset = from_csv(table, text_column="headline", label_column="category")
    assert [dataset[i] for i in range(3)] == [("Öl", 0), ("Goal, goal", 1), ("two\nlines", 1)]
    assert dataset.classes == ("arts", "sport")
    only = from_csv(table, text_column="headline", label_column="category", classes=["sport"])
    assert [only[i] for i in range(2)] == [("Goal, goal", 0), ("two\nlines", 0)]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (
            b"labels,text\n",
            UnknownNameError,
            "unknown column 'label' of t.csv; did you mean 'labels'?",
        ),
        (b"", UnknownNameError, "unknown column 'text' of t.csv; none is known"),
        (
            b"label,text\n",
            ContentError,
            "t.csv has no row beside that of the column names; give it one an example",
        ),
        (
            b"label,text\na,b\na\n",
            ContentError,
            "t.csv: line 3: expected 2 fields, found 1; correct it",
        ),
        (
            b"label,text\n,b\n",
            ContentError,
            "t.csv: line 2 has no label; give it one or leave it out",
        ),
        (
            b"label,text\na,\xff\n",
            ContentError,
            "t.csv is not a readable CSV file ('utf-8' codec can't decode byte 0xff in position 13: invalid start "
            "byte); save it as CSV in UTF-8",
        ),
        (
            b'label,text\na,"b\n',
            ContentError,
            "t.csv: line 2 is not a row of CSV (unexpected end of data); mend its quotes or leave it out",
        ),
        (
            b'label,text\na,b\na,"b"c\n',
            ContentError,
            "t.csv: line 3 is not a row of CSV (',' expected after '\"'); mend its quotes or leave it out",
        ),
    ],
)
def test_a_malformed_csv_file_says_where(content: bytes, kind: type[L2LError], expected: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(kind) as caught:
        from_csv(tmp_path / "t.csv", text_column="text")
    assert str(caught.value) == expected


@pytest.mark.parametrize("length", [131_073, csv_text.MAX_FIELD])
def test_texts_may_be_long(length: int, tmp_path: Path, csv_limit: int) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f'label,text\na,"{"x" * length}"\n')
    assert from_csv(table, text_column="text")[0] == ("x" * length, 0)
    assert csv.field_size_limit() == csv_limit


def test_a_quote_that_never_closes_is_found_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, csv_limit: int
) -> None:
    monkeypatch.setattr(csv_text, "MAX_FIELD", csv_limit + 1)
    table = tmp_path / "t.csv"
    table.write_text('label,text\na,b\na,"' + "b\n" * csv_limit)
    with pytest.raises(ContentError) as caught:
        from_csv(table, text_column="text")
    assert re.fullmatch(
        rf"t\.csv: line [\d,]+ is not a row of CSV \(field larger than field limit \({csv_limit + 1}\)\); "
        "mend its quotes or leave it out",
        str(caught.value),
    )
    assert csv.field_size_limit() == csv_limit


def test_what_is_of_no_use_to_texts_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("label,text\na,b\n")
    for options, expected in (
        ({"image_size": 8}, "t.csv: image_size is 8, but texts have none; leave it out"),
        ({"image_size": 0}, "t.csv: image_size is 0, but texts have none; leave it out"),
        ({"dtype": torch.int16}, "t: dtype torch.int16 is none of torch.float32, torch.uint8"),
        ({"dtype": None}, "t: dtype None is none of torch.float32, torch.uint8"),
        ({"classes": "a"}, "t: classes is 'a'; give a list of names, such as ['a']"),
    ):
        with pytest.raises(UsageError) as caught:
            from_csv(table, text_column="text", **options)
        assert str(caught.value) == expected


def test_a_csv_file_that_leads_nowhere_says_so(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    with pytest.raises(ContentError) as absent:
        from_csv(table, text_column="text")
    assert str(absent.value) == f"cannot read {table}: No such file or directory; give the path of a CSV file"
    table.write_text("file,label\ngone.png,a\n")
    with pytest.raises(ContentError) as gone:
        from_csv(table, file_column="file", image_size=8)
    assert str(gone.value) == (
        f"t.csv: cannot read gone.png in {tmp_path}: No such file or directory; correct the column file, or give the "
        "folder of the files"
    )
    for columns in ({}, {"file_column": "file", "text_column": "file"}):
        with pytest.raises(
            UsageError, match=r"t\.csv: give either file_column, for pictures, or text_column, for texts"
        ):
            from_csv(table, **columns)
    with pytest.raises(UsageError, match=r"t\.csv lists pictures; give image_size=\(height, width\), to which they"):
        from_csv(table, file_column="file")


# arrays


@given(st.data())
def test_arrays_against_sorting_by_hand(data: st.DataObject) -> None:
    labels = data.draw(
        st.lists(st.integers(-5, 12), min_size=1, max_size=30) | st.lists(st.text(max_size=2), min_size=1, max_size=30)
    )
    dtype = data.draw(st.sampled_from(["u1", "f4", ">f8", "i8", "?", "u2"]))
    shape = (len(labels), *data.draw(st_numpy.array_shapes(min_dims=0, max_dims=3, max_side=3)))
    examples = data.draw(st_numpy.arrays(dtype, shape))
    given_labels = data.draw(st.sampled_from([list, np.array]))(labels)
    labels = list(given_labels)  # NumPy drops NULs at the end of texts
    dataset = from_arrays(examples, given_labels)
    classes = sorted(set(labels))
    expected = [
        (examples[i], row) for row, label in enumerate(classes) for i in range(len(labels)) if labels[i] == label
    ]
    assert dataset.classes == tuple(map(str, classes))
    assert len(dataset) == len(expected)
    for i, (example, row) in enumerate(expected):
        found, label = dataset[i]
        assert label == row == dataset.targets[i]
        assert np.array_equal(found.numpy(), example, equal_nan=dtype in ("f4", ">f8"))
    ids = np.array([[len(expected) - 1], [0]])
    gathered = dataset.gather(ids)
    assert gathered.shape == (2, 1, *shape[1:])
    assert gathered.dtype == dataset.dtype
    assert np.array_equal(gathered[0, 0].numpy(), expected[-1][0], equal_nan=dtype in ("f4", ">f8"))


@pytest.mark.parametrize(("layout", "shape"), [("CHW", (6, 3, 4, 5)), ("HWC", (6, 4, 5, 3)), ("HW", (6, 4, 5))])
def test_layouts_of_images(layout: Any, shape: tuple[int, ...]) -> None:
    examples = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    dataset = from_arrays(torch.from_numpy(examples), torch.tensor([1, 0, 1, 0, 1, 0]), layout=layout)
    order = [1, 3, 5, 0, 2, 4]
    for i, source in enumerate(order):
        image = examples[source]
        expected = {"CHW": image, "HWC": np.moveaxis(image, -1, 0), "HW": image[None]}[layout] if image.ndim else image
        assert np.array_equal(dataset[i][0], expected)
    assert dataset.modality == "images"
    assert dataset.dtype == torch.uint8
    floats = from_arrays(examples, [1, 0] * 3, layout=layout, dtype=torch.float32)
    assert torch.equal(floats.gather(np.arange(6)), dataset.gather(np.arange(6)).float() / 255)
    examples[:] = 0
    assert dataset[0][0].any()  # a copy


def test_lists_of_tensors_are_one_array() -> None:
    rows = torch.arange(6.0).view(3, 2).requires_grad_()
    for examples in (rows, list(rows), tuple(rows), [*rows[:2], np.array([4.0, 5.0], np.float32)]):
        dataset = from_arrays(examples, torch.tensor([1, 0, 0]))
        assert [dataset[i][0].tolist() for i in range(3)] == [[2, 3], [4, 5], [0, 1]]
        assert dataset.dtype == torch.float32
        assert not dataset[0][0].requires_grad


def test_features_make_tasks() -> None:
    features = torch.arange(40, dtype=torch.float64).view(20, 2)
    dataset = from_arrays(features, [f"class {i % 4}" for i in range(20)])
    assert dataset.modality == "arrays"
    episode = l2l.TaskGenerator(dataset, ways=3, shots=2, queries=3, seed=1).batch([0, 1])
    assert episode.support_x.shape == (2, 6, 2)
    assert episode.support_x.dtype == torch.float64
    # Every example of a class has the same remainder, and those of an episode's class share it.
    remainder = (episode.support_x[0, :, 0] / 2 % 4).view(3, 2)
    assert torch.equal(remainder[:, 0], remainder[:, 1])
    assert len(set(remainder[:, 0].tolist())) == 3
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.gather(np.arange(20)), dataset.gather(np.arange(20)))
    assert again.fingerprint == dataset.fingerprint
    other = from_arrays(features + 1, [f"class {i % 4}" for i in range(20)])
    digests = {l2l.TaskGenerator(each, 3, 2, 3, seed=1).digest(5) for each in (dataset, again, other)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("examples", "labels", "options", "kind", "expected"),
    [
        (np.zeros((3, 2)), [0, 1], {}, UsageError, "arrays: 3 examples have 2 labels; give one label an example"),
        (np.zeros((0, 2)), [], {}, TaskError, "the data set has no examples; there is nothing to draw tasks from"),
        (
            np.zeros((2, 2)),
            [0.5, 1],
            {},
            TaskError,
            "label 0.5 is neither a whole number nor a text; give one or the other for each example",
        ),
        (
            np.zeros((2, 2)),
            [True, 1],
            {},
            TaskError,
            "label True is neither a whole number nor a text; give one or the other for each example",
        ),
        (
            np.zeros((2, 2)),
            np.eye(2),
            {},
            TaskError,
            "label [1.0, 0.0] is neither a whole number nor a text; give one or the other for each example",
        ),
        (
            np.zeros((2, 2)),
            [0, "a"],
            {},
            TaskError,
            "the labels 0 and 'a' cannot be put in order; give labels of one type",
        ),
        (
            np.zeros((2, 2)),
            [0, 1],
            {"layout": "HWC", "name": "mine"},
            UsageError,
            "mine: the examples are [2, 2], but layout 'HWC' means [M, H, W, C]",
        ),
        (
            np.zeros((2, 2)),
            [0, 1],
            {"layout": "NCHW"},
            UsageError,
            "arrays: layout 'NCHW' is none of CHW, HWC, HW; None leaves arrays as they are",
        ),
        (
            np.zeros((2, 2)),
            [0, 1],
            {"dtype": torch.float32},
            UsageError,
            "arrays: torch.float64 cannot become torch.float32; leave dtype out, and convert the examples before",
        ),
        (
            torch.zeros(2, 2, dtype=torch.bfloat16),
            [0, 1],
            {},
            UsageError,
            "arrays: the examples make no NumPy array of numbers (Got unsupported ScalarType BFloat16); give one array "
            "[M, …] of one type that NumPy has, such as float32, and texts to from_iterable",
        ),
        (
            [torch.zeros(2, dtype=torch.bfloat16)] * 2,
            [0, 1],
            {},
            UsageError,
            "arrays: the examples make no NumPy array of numbers (Got unsupported ScalarType BFloat16); give one array",
        ),
        (
            [[torch.zeros(2, requires_grad=True)]] * 2,
            [0, 1],
            {},
            UsageError,
            "arrays: the examples make no NumPy array of numbers (Can't call numpy() on Tensor that requires grad.",
        ),
        *(
            (
                np.zeros((2, 2)),
                labels,
                {},
                UsageError,
                f"arrays: labels is {labels!r}; give a list, array or tensor of one label an example",
            )
            for labels in (None, 3, "ab", torch.tensor(3))
        ),
        (
            np.float32(3),
            [0],
            {},
            UsageError,
            "arrays: the examples make no NumPy array of numbers (a single number); give ",
        ),
        (
            [[1], [1, 2]],
            [0, 1],
            {},
            UsageError,
            "arrays: the examples make no NumPy array of numbers (setting an array ",
        ),
        (["a", "b"], [0, 1], {}, UsageError, "arrays: the examples make no NumPy array of numbers (can't convert "),
    ],
)
def test_arrays_that_cannot_be_say_why(
    examples: Any, labels: Any, options: dict[str, Any], kind: type[L2LError], expected: str
) -> None:
    with pytest.raises(kind) as caught:
        from_arrays(examples, labels, **options)
    assert str(caught.value).startswith(expected)


# pairs


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), min_size=1, max_size=20))
def test_pairs_against_sorting_by_hand(pairs: list[tuple[int, str]]) -> None:
    dataset = from_iterable(pair for pair in pairs)
    classes = sorted({label for label, _ in pairs})
    assert dataset.classes == tuple(map(str, classes))
    expected = [(text, row) for row, label in enumerate(classes) for its, text in pairs if its == label]
    assert [dataset[i] for i in range(len(dataset))] == expected
    assert pickle.loads(pickle.dumps(dataset))[len(expected) - 1] == expected[-1]


def test_real_headlines(test_data: Path) -> None:
    lines = (test_data / "huffpost/huffpost.json").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    dataset = from_iterable((record["label"], record["raw"]) for record in records)
    assert len(dataset) == len(records)
    assert list(dataset.classes) == [str(label) for label in sorted({record["label"] for record in records})]
    texts: dict[int, list[str]] = {}
    for record in records:
        texts.setdefault(record["label"], []).append(record["raw"])
    assert [dataset[i][0] for i in range(len(dataset))] == list(
        chain.from_iterable(texts[key] for key in sorted(texts))
    )
    tasks = l2l.TaskDataset(
        dataset, [NWays(dataset, 5), KShots(dataset, 2), LoadData(dataset), RemapLabels(dataset)], seed=0
    )
    headlines, labels = tasks[0]
    described = tasks.describe([0])
    assert list(headlines) == [dataset[int(i)][0] for i in described.all_ids_BNK.reshape(-1)]
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_pairs_as_torchtext_yields_them() -> None:
    # AG_NEWS counts its labels from 1, older sentiment data from -1; both are names of classes, in their order.
    from_one = from_iterable(iter([(3, "Wall St. Bears"), (1, "Carlyle"), (4, "Oil"), (2, ""), (1, "x" * 1_000_000)]))
    assert from_one.classes == ("1", "2", "3", "4")
    assert [from_one[i] for i in range(5)] == [
        *(("Carlyle", 0), ("x" * 1_000_000, 0)),
        *(("", 1), ("Wall St. Bears", 2), ("Oil", 3)),
    ]
    signed = from_iterable(zip([1, -1, -10, 1], "abcd", strict=True))
    assert signed.classes == ("-10", "-1", "1")
    assert [signed[i] for i in range(4)] == [("c", 0), ("b", 1), ("a", 2), ("d", 2)]


def test_pairs_are_read_once_and_without_torchtext(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "torchtext" not in sys.modules
    monkeypatch.setitem(sys.modules, "torchtext", None)  # whoever imports it fails
    read: list[int] = []

    def pairs() -> Iterator[tuple[int, str]]:
        for i in range(4):
            read.append(i)
            yield i % 2, f"text {i}"

    dataset = from_iterable(pairs())
    assert read == [0, 1, 2, 3]
    tasks = l2l.TaskGenerator(dataset, ways=2, shots=1, queries=1, seed=0)
    assert sorted([*tasks[0].support_x, *tasks[0].query_x]) == [f"text {i}" for i in range(4)]
    assert read == [0, 1, 2, 3]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_texts_in_other_encodings_are_refused_by_name(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "texts/news").mkdir(parents=True)
    (tmp_path / "texts/news/1.txt").write_text("café\n", encoding=encoding)
    (tmp_path / "table.csv").write_text("headline,category\ncafé,news\n", encoding=encoding)
    reason = "invalid continuation byte at byte 3" if encoding == "latin-1" else "invalid start byte at byte 0"
    with pytest.raises(ContentError) as caught:
        from_folder(tmp_path / "texts", root=tmp_path / "home")
    assert str(caught.value) == (f"texts: news/1.txt in {tmp_path / 'texts'} is not UTF-8 ({reason}); save it as UTF-8")
    with pytest.raises(ContentError) as caught:
        from_csv(tmp_path / "table.csv", text_column="headline", label_column="category", root=tmp_path / "home")
    assert str(caught.value).startswith("table.csv is not a readable CSV file ('utf-8' codec can't decode byte ")
    assert str(caught.value).endswith("; save it as CSV in UTF-8")


def test_an_empty_file_and_a_very_long_one_are_texts(tmp_path: Path) -> None:
    (tmp_path / "texts/news").mkdir(parents=True)
    (tmp_path / "texts/news/1.txt").write_bytes(b"")
    (tmp_path / "texts/news/2.txt").write_text("é" * 1_000_000, encoding="utf-8")
    dataset = from_folder(tmp_path / "texts", root=tmp_path / "home")
    assert [dataset[i] for i in range(2)] == [("", 0), ("é" * 1_000_000, 0)]


@pytest.mark.parametrize(
    ("pairs", "kind", "expected"),
    [
        ([(1, "a"), "bc"], UsageError, "texts: item 1 is 'bc'; give pairs of a label and a text, as (label, text)"),
        ([("text", 1)], UsageError, "texts: item 0 is ('text', 1); give pairs of a label and a text"),
        ([(1, "a", 2)], UsageError, "texts: item 0 is (1, 'a', 2); give pairs"),
        ([(1, "é" * 80, 1)], UsageError, f"texts: item 0 is (1, '{'é' * 52}…; give pairs"),
        ([], TaskError, "the data set has no examples; there is nothing to draw tasks from"),
        ([(None, "a")], TaskError, "label None is neither a whole number nor a text; give one or the other"),
        ([(1, "a\ud800")], UsageError, "texts: text 0 has half a character, '\\ud800'; leave it out or mend it"),
    ],
)
def test_pairs_that_cannot_be_say_why(pairs: list[Any], kind: type[L2LError], expected: str) -> None:
    with pytest.raises(kind) as caught:
        from_iterable(pairs)
    assert str(caught.value).startswith(expected)
