"""Data sets as files: read back they are what they were, and a folder appears whole or not at all."""

import csv
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile
from torch.utils.data import Dataset, Subset, TensorDataset

from l2l_core.data import export
from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.export import to_folder
from l2l_core.data.own import from_arrays, from_folder, from_iterable
from l2l_core.errors import CacheError, UsageError
from l2l_core.prepare.held import Held
from tests.test_store import SOUNDS, write_sounds

PIXELS = np.random.default_rng(5).integers(0, 256, (9, 3, 4, 5), np.uint8)
NAMES = ("b", "a/b", "b", "a_b", "A_B", "a/b", "nul", "b", "Ä")


def everything(dataset: Any) -> list[tuple[Any, str]]:
    """Every example with the name of its class."""
    found = [dataset[i] for i in range(len(dataset))]
    return [(x if isinstance(x, str) else x.tolist(), dataset.classes[label]) for x, label in found]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_come_back_pixel_for_pixel(channels: int, dtype: torch.dtype, tmp_path: Path) -> None:
    dataset = from_arrays(PIXELS[:, :channels], NAMES, layout="CHW", dtype=dtype)
    folder = to_folder(dataset, tmp_path / "out" / "pictures")
    mode = "RGB" if channels == 3 else "L"
    back = from_folder(folder, image_size=(4, 5), mode=mode, dtype=dtype)
    assert everything(back) == everything(dataset)
    assert back.classes == dataset.classes
    assert files(folder) == sorted(
        ["classes.csv", "A_B/00000.png", "_nul/00000.png", "a_b-2/00000.png", "a_b-2/00001.png", "a_b-3/00000.png"]
        + ["b/00000.png", "b/00001.png", "b/00002.png", "Ä/00000.png"]
    )
    with (folder / "classes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[:3] == [["folder", "class", "superclass"], ["A_B", "A_B", ""], ["a_b-2", "a/b", ""]]
    with Image.open(folder / "Ä/00000.png") as picture:
        expected = PIXELS[8].transpose(1, 2, 0) if channels == 3 else PIXELS[8, 0]
        assert np.array_equal(np.asarray(picture), expected)


def test_floats_a_little_off_are_the_nearest_pixels(tmp_path: Path) -> None:
    exact = PIXELS.astype(np.float64) / 255
    for number, examples in enumerate((exact - 1e-7, exact + 1e-7, exact.astype(np.float32), exact)):
        folder = to_folder(from_arrays(examples, [0] * 9, layout="CHW"), tmp_path / str(number))
        assert np.array_equal(from_folder(folder, image_size=(4, 5), dtype=torch.uint8).gather(np.arange(9)), PIXELS)


def test_texts_come_back_letter_for_letter(tmp_path: Path) -> None:
    texts = ["", "Öl\r\n", "\ufeffmark", "two\nlines", "日本 "]
    dataset = from_iterable(zip("abcab", texts, strict=True))
    back = from_folder(to_folder(dataset, tmp_path / "texts"))
    assert everything(back) == everything(dataset)


def test_sounds_come_back_sample_for_sample(tmp_path: Path) -> None:
    store = write_sounds(tmp_path / "sounds.safetensors")
    for dtype in (torch.float32, torch.int16):
        dataset = PreparedDataset(store, dtype=dtype)
        folder = to_folder(dataset, tmp_path / str(dtype))
        back = from_folder(folder, dtype=dtype)
        assert everything(back) == everything(dataset)
        assert (back.classes, back.sample_rate_hz) == (("a", "b", "c/d"), 16000)
        rate, samples = wavfile.read(folder / "a/00000.wav")
        assert (rate, tuple(samples)) == (16000, SOUNDS[0])


def test_superclasses_and_the_order_of_classes_come_back(tmp_path: Path) -> None:
    store = write_sounds(tmp_path / "sounds.safetensors")
    dataset = PreparedDataset(store, ["c/d", "a"], {"c/d": "x", "a": 'y,"'})
    back = from_folder(to_folder(dataset, tmp_path / "out"))
    assert (back.classes, back.superclasses) == (("a", "c/d"), ('y,"', "x"))
    regrouped = MetaDataset(dataset, labels_to_indices={"new": [0], "newer": [3]})
    assert from_folder(to_folder(regrouped, tmp_path / "regrouped")).superclasses == ("", "")
    table = (tmp_path / "out/classes.csv").read_text()
    (tmp_path / "out/classes.csv").write_text("\n".join(table.splitlines()[i] for i in (0, 2, 1)) + "\n")
    assert from_folder(tmp_path / "out").classes == ("c/d", "a")


def test_any_data_set_with_labels_is_written(tmp_path: Path) -> None:
    class Pictures(Dataset[Any]):
        targets = (10, 2, 10)

        def __len__(self) -> int:
            return 3

        def __getitem__(self, i: int) -> Any:
            mode = ("RGB", "1", "L")[i]
            return Image.fromarray(PIXELS[i].transpose(1, 2, 0)).convert(mode), self.targets[i]

    folder = to_folder(Pictures(), tmp_path / "pillow")
    assert files(folder) == ["10/00000.png", "10/00001.png", "2/00000.png", "classes.csv"]
    back = from_folder(folder, image_size=(4, 5), dtype=torch.uint8)
    assert back.classes == ("2", "10")  # in the order of numbers
    assert np.array_equal(back[1][0], PIXELS[0])
    tensors = TensorDataset(torch.from_numpy(PIXELS), torch.arange(9) % 3)
    part = MetaDataset(Subset(tensors, [4, 8, 1]), labels_to_indices={"x": [2], "y": [0]})
    back = from_folder(to_folder(part, tmp_path / "part"), image_size=(4, 5), dtype=torch.uint8)
    assert everything(back) == [(PIXELS[1].tolist(), "x"), (PIXELS[4].tolist(), "y")]


def test_an_empty_folder_is_filled_and_any_other_left_alone(tmp_path: Path) -> None:
    dataset = from_iterable([(0, "a")])
    (tmp_path / "empty").mkdir()
    assert files(to_folder(dataset, tmp_path / "empty")) == ["0/00000.txt", "classes.csv"]
    for path in (tmp_path / "empty", tmp_path / "empty/classes.csv"):
        before = files(tmp_path)
        with pytest.raises(CacheError) as caught:
            to_folder(dataset, path)
        assert str(caught.value) == (
            f"cannot write to {path}: it is there already, and not empty; choose another place"
        )
        assert files(tmp_path) == before


class Fails(Dataset[Any]):
    """One whose last example cannot be loaded."""

    targets = (0, 0, 1)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Any:
        if i == 2:
            raise KeyboardInterrupt
        return "text", 0


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for target in ("new", "empty"):
        with pytest.raises(KeyboardInterrupt):
            to_folder(Fails(), tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CacheError, match=r"cannot write out to .*/out: the disk is full .* or choose another place"):
        to_folder(from_iterable([(0, "a")]), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_it_is_written_beside_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    encoded = export.encoded

    def looking(*arguments: Any) -> Any:
        seen.append([path.name for path in tmp_path.iterdir()])
        return encoded(*arguments)

    monkeypatch.setattr(export, "encoded", looking)
    to_folder(from_iterable([(0, "a"), (1, "b")]), tmp_path / "out")
    assert [len(names) for names in seen] == [1, 1]
    assert seen[0][0].startswith(".out.")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("examples", "options", "expected"),
    [
        (
            PIXELS.astype(np.float32) / 255 * 2 - 1,
            {"layout": "CHW"},
            "example 0, an image, is float32 from ",
        ),
        (
            PIXELS.astype(np.float32) / 254,
            {"layout": "CHW"},
            "which files of uint8 do not hold exactly; give uint8, or 255ths of it as floats, without normalisation or "
            "augmentation",
        ),
        (PIXELS / 510, {"layout": "CHW"}, "example 0, an image, is float64 from "),
        (PIXELS.astype(np.int64), {"layout": "CHW"}, "example 0, an image, is int64 from "),
        (
            np.zeros((9, 2, 4, 5), np.uint8),
            {"layout": "CHW"},
            "example 0 is uint8 [2, 4, 5]; give images [C, H, W] of 1 or 3 channels in uint8 or float32, texts, or "
            "sounds [samples] of a data set that has sample_rate_hz",
        ),
        (np.zeros((9, 7)), {}, "example 0 is float64 [7]; give images"),
        (np.full((9, 1, 1, 1), np.nan), {"layout": "CHW"}, "example 0, an image, is float64 from nan to nan"),
        (np.zeros((9, 3, 0, 5), np.uint8), {"layout": "CHW"}, "example 0 is an image of 0x5 pixels; leave it out"),
        (np.zeros((9, 1, 4, 0), int), {"layout": "CHW"}, "example 0 is an image of 4x0 pixels; leave it out"),
    ],
)
def test_what_files_do_not_hold_is_refused(
    examples: Any, options: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        to_folder(from_arrays(examples, [0] * 9, **options), tmp_path / "out")
    assert expected in str(caught.value)
    assert not list(tmp_path.iterdir())


class Listed(Dataset[Any]):
    """One of some examples, all of one class but the last."""

    sample_rate_hz = 8000

    def __init__(self, *examples: Any) -> None:
        self.examples = examples
        self.targets = [0] * (len(examples) - 1) + [1]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> Any:
        return self.examples[i], self.targets[i]


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (
            torch.zeros(3, 4, 5, dtype=torch.bfloat16),
            "example 0 is no array of numbers that files hold (Got unsupported ScalarType BFloat16); give images "
            "[C, H, W] of 1 or 3 channels in uint8 or float32, texts, or sounds [samples] of a data set that has "
            "sample_rate_hz",
        ),
        ([[1], [1, 2]], "example 0 is no array of numbers that files hold (setting an array element with a sequence."),
        (np.full((1, 4, 5), "a"), "example 0 is <U1 [1, 4, 5]; give images"),
        (np.full((1, 4, 5), None), "example 0 is object [1, 4, 5]; give images"),
        (np.full(4, None), "example 0 is object [4]; give images"),
        (None, "example 0 is object []; give images"),
        (Image.new("L", (0, 3)), "example 0 is an image of 3x0 pixels; leave it out"),
    ],
    ids=["bfloat16", "ragged", "texts", "objects", "object", "nothing", "empty"],
)
def test_what_is_no_example_is_refused(example: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        to_folder(Listed(example), tmp_path / "out")
    assert str(caught.value).startswith(expected)
    assert not list(tmp_path.iterdir())


EXACT = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


@pytest.mark.parametrize(
    "mode", [*EXACT, "LA", "La", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
)
def test_pictures_of_pillow_come_back_exactly_or_not_at_all(mode: str, tmp_path: Path) -> None:
    picture = Image.new(mode, (5, 4))
    if mode in EXACT:
        picture = Image.fromarray(PIXELS[0].transpose(1, 2, 0)).convert(mode)
        assert len(set(picture.convert("RGB").tobytes())) > 1
        folder = to_folder(Listed(picture), tmp_path / "out")
        with Image.open(folder / "1/00000.png") as written:
            assert written.mode == EXACT[mode]
            assert written.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
        return
    with pytest.raises(UsageError) as caught:
        to_folder(Listed(picture), tmp_path / "out")
    assert str(caught.value) == (
        f"example 0 is a picture of mode {mode}, of which L or RGB would lose a part; convert it to one of them as you "
        "see fit"
    )


@pytest.mark.parametrize("way", ["colour", "palette"])
def test_a_transparent_palette_is_refused(way: str, tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS[0].transpose(1, 2, 0)).convert("P")
    if way == "colour":
        picture.info["transparency"] = 0
    else:
        picture.putpalette([10, 20, 30, 40] * 4, "RGBA")
    with pytest.raises(UsageError) as caught:
        to_folder(Listed(picture), tmp_path / "out")
    assert str(caught.value) == (
        "example 0 is a picture of mode P with transparency, of which L or RGB would lose a part; convert it to one of "
        "them as you see fit"
    )


IMAGE, TEXT, SOUND = np.zeros((1, 4, 5), np.uint8), "text", np.zeros(3, np.int16)


@pytest.mark.parametrize(
    ("examples", "kind", "before"),
    [
        ((IMAGE, Image.new("RGB", (5, 4)), TEXT), "texts", "images"),
        ((TEXT, "", SOUND), "sounds", "texts"),
        ((SOUND, SOUND, IMAGE), "images", "sounds"),
    ],
    ids=["images", "texts", "sounds"],
)
def test_examples_of_two_kinds_are_refused(examples: Any, kind: str, before: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        to_folder(Listed(*examples), tmp_path / "out")
    assert str(caught.value) == f"example 2 is of {kind}, and those before it of {before}; give examples of one kind"
    assert not list(tmp_path.iterdir())


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    class Half(Fails):
        targets = (0, 0, 0)

        def __getitem__(self, i: int) -> Any:
            return "a\udc80", 0

    with pytest.raises(UsageError, match=r"example 0 has half a character, '\\udc80'; mend it"):
        to_folder(Half(), tmp_path / "out")


HARD = st.text(max_size=130) | st.sampled_from(
    ["", ".", "..", "con", "COM1.x", "a.", "a ", "a/b", "a_b", "A_b", "a_b-2"]
)


@given(st.lists(HARD, unique=True, max_size=12))
def test_folder_names_are_safe_and_different_everywhere(names: list[str]) -> None:
    folders = export._folder_names(names)
    assert len(folders) == len(names)
    assert len({unicodedata.normalize("NFKD", folder.upper().casefold()) for folder in folders}) == len(names)
    for folder in folders:
        assert 0 < len(folder.encode()) < 256
        assert not set(folder) & set('<>:"/\\|?*')
        assert folder.isprintable()
        assert folder[-1] not in ". "
        assert folder[0] not in ". "
        assert folder.partition(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt9", "__macosx")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("cat", "Cat", "CAT"), ["cat", "Cat-2", "CAT-3"]),
        (("a-2", "a", "A"), ["a-2", "a", "A-3"]),
        (("straße", "STRASSE"), ["straße", "STRASSE-2"]),
        (("ı", "I"), ["ı", "I-2"]),
        (("é", "e\u0301"), ["é", "é-2"]),
        (("Greek/alpha", "Greek\\alpha"), ["Greek_alpha", "Greek_alpha-2"]),
        (("..", ".", ""), ["__", "_", "_-2"]),
        (("._hidden", "__MACOSX", "Aux.x"), ["__hidden", "___MACOSX", "_Aux.x"]),
        (("x" * 200, "x" * 201), ["x" * 100, "x" * 100 + "-2"]),
    ],
)
def test_folder_names_of_awkward_classes(names: tuple[str, ...], expected: list[str]) -> None:
    assert export._folder_names(names) == expected


def test_awkward_names_come_back(tmp_path: Path) -> None:
    names = ["..", "a/b", "a\\b", "NUL", "x" * 150, "line\nbreak", 'quo"te, comma', "é", "e\u0301", "train"]
    names += [f"a{end}b{end}" for end in ("\r", "\r\n", "\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\0")] + [
        "",
        "\r",
    ]
    dataset = from_iterable((name, f"text of {name}") for name in names)
    back = from_folder(to_folder(dataset, tmp_path / "out"))
    assert everything(back) == everything(dataset)
    assert set(back.classes) == set(names)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.text(max_size=6) | st.text('\r\n\v\f\x1c\x85\u2028\ufeff\0", a', max_size=4), min_size=1, unique=True)
)
def test_any_names_come_back(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        back = from_folder(to_folder(from_iterable((name, name) for name in names), f"{folder}/out"), root=folder)
    assert everything(back) == [(name, name) for name in sorted(names)]


@pytest.mark.parametrize("superclass", [False, True])
def test_a_class_whose_name_is_no_text_is_refused_before_anything_is_written(superclass: bool, tmp_path: Path) -> None:
    wrong, names = "half\ud800", ("a", "b") if superclass else ("a", "half\ud800")
    held = Held("halves", names, "images", np.zeros((2, 1, 4, 5), np.uint8), np.arange(3))
    dataset = PreparedDataset(held, superclass_of={"a": "x", "b": wrong} if superclass else {})
    with pytest.raises(UsageError) as caught:
        to_folder(dataset, tmp_path / "new" / "out")
    assert str(caught.value) == "class 'half\\ud800' has half a character, '\\ud800'; mend it"
    assert not list(tmp_path.iterdir())
