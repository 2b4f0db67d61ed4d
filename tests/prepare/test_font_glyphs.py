"""Characters drawn from fonts: which faces, where, how distorted, and what is refused."""

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from l2l_core.errors import ContentError
from l2l_core.prepare.readers import RawDataset
from l2l_core.prepare.readers.font_glyphs import read
from l2l_core.records import DatasetRecord, RawRecord

ENTRY = tomllib.loads((Path(__file__).parents[2] / "catalog/datasets/glyphs.toml").read_text(encoding="utf-8"))
FACES: Sequence[str] = ENTRY["prepared"]["faces"]
SANS, SERIF = "DejaVuSans.ttf", "DejaVuSerif.ttf"
PLAIN = {"rotation_degrees": 0, "scale": 0, "shear": 0, "shift_pixels": 0}
WILD = {"rotation_degrees": 180, "scale": 0.5, "shear": 1, "shift_pixels": 1024}
# Tall, wide, small, long, hollow, with parts: A | W . — Ж □ ش ع
CHARACTERS = ["U+0041", "U+007C", "U+0057", "U+002E", "U+2014", "U+0416", "U+25A1", "U+0634", "U+0639"]


@dataclass(frozen=True)
class Files:
    """A tree of files in memory."""

    name: str
    content: Mapping[str, bytes]

    def names(self) -> Sequence[str]:
        return sorted(self.content)

    def size(self, name: str) -> int:
        return len(self.content[name])

    def read(self, name: str) -> bytes:
        return self.content[name]


@cache
def dejavu() -> Files:
    folder = files("matplotlib") / "mpl-data/fonts/ttf"
    return Files("the fonts", {face: (folder / face).read_bytes() for face in FACES})


def glyphs(repeats: int | None = 20, **options: Any) -> DatasetRecord:
    """The entry of that name, with other options."""
    return DatasetRecord(
        name="glyphs",
        title="",
        description="",
        licence="dejavu",
        papers=(),
        raw=RawRecord("font_glyphs", classes=1, examples=1, examples_per_class=repeats),
        prepared={**ENTRY["prepared"], **options},
        files=(),
        splits={},
        default_split="scripts",
    )


def pictures(raw: RawDataset) -> np.ndarray:
    """[classes, examples, H, W]."""
    return np.stack([[raw.load(example)[0] for example in examples] for examples in raw.examples.values()])


def extent(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the ink, the last two just outside."""
    left, top, right, bottom = Image.fromarray(picture).getbbox() or (0, 0, 0, 0)
    return left, top, right, bottom


def test_examples_are_numbered_and_have_the_stated_shape() -> None:
    raw = read(dejavu(), glyphs(3, image_size=[20, 40]), ["U+0042", "U+0041"])
    assert dict(raw.examples) == {name: [(name, 0), (name, 1), (name, 2)] for name in ("U+0042", "U+0041")}
    assert raw.shape == (1, 20, 40)
    for example in raw.examples["U+0041"]:
        picture = raw.load(example)
        assert picture.shape == raw.shape
        assert picture.dtype == np.uint8


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_the_characters_that_fonttools_finds_in_it(face: str) -> None:
    there = TTFont(BytesIO(dejavu().read(face)), lazy=True).getBestCmap().keys()
    absent = set(range(0x21000)) | {0x10FFFF}
    absent -= there
    read(dejavu(), glyphs(faces=[face]), [f"U+{code:04X}" for code in there])
    with pytest.raises(ContentError, match=f"^glyphs: {len(absent)} of {len(absent)} classes"):
        read(dejavu(), glyphs(faces=[face]), [f"U+{code:04X}" for code in sorted(absent)])


def test_examples_take_the_faces_that_have_the_character_in_turn() -> None:
    # Serif has no Arabic: of three faces, two draw the letter beh.
    faces = [SANS, SERIF, "DejaVuSans-Bold.ttf"]
    each = [read(dejavu(), glyphs(**PLAIN, faces=[face]), ["U+0041"]).load(("U+0041", 0)) for face in faces]
    raw = read(dejavu(), glyphs(5, **PLAIN, faces=faces), ["U+0041", "U+0628"])
    for k in range(5):
        assert np.array_equal(raw.load(("U+0041", k)), each[k % 3])
    assert len({picture.tobytes() for picture in each}) == 3
    beh = [raw.load(("U+0628", k)).tobytes() for k in range(5)]
    assert beh[0] == beh[2] == beh[4] != beh[1] == beh[3]


@pytest.mark.parametrize("name", CHARACTERS)
def test_an_undistorted_character_is_what_pillow_draws_white_centred_and_sized(name: str) -> None:
    font = ImageFont.truetype(BytesIO(dejavu().read(SANS)), 800)
    canvas = Image.new("L", (2400, 2400))
    ImageDraw.Draw(canvas).text((800, 800), chr(int(name[2:], 16)), fill=255, font=font)
    ink = canvas.crop(canvas.getbbox())
    # Twenty pixels of 28 for a glyph as long as a capital is high (0.73 em), by the square root for others.
    length = min(26, 0.72 * 28 * math.sqrt(max(ink.size) / 800 / 0.73))
    scale = length / max(ink.size)
    far = 14 / scale
    box = (ink.width / 2 - far, ink.height / 2 - far, ink.width / 2 + far, ink.height / 2 + far)
    expected = np.asarray(ink.crop(tuple(map(round, box))).resize((28, 28), Image.Resampling.BOX), dtype=float)

    picture = read(dejavu(), glyphs(**PLAIN), [name]).load((name, 0))[0].astype(float)
    assert np.abs(picture - expected).mean() < 6
    assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_distorted_character_is_the_undistorted_one_moved_point_by_point() -> None:
    # A small letter: it fits as it comes, whatever the distortion.
    options = {"rotation_degrees": 20, "scale": 0.1, "shear": 0.2, "shift_pixels": 1, "seed": 5, "faces": [SANS]}
    raw = read(dejavu(), glyphs(**options), ["U+0072"])
    canvas = Image.new("L", (400, 400))
    ImageDraw.Draw(canvas).text((0, 0), "r", fill=255, font=ImageFont.truetype(BytesIO(dejavu().read(SANS)), 300))
    ink = np.asarray(canvas, dtype=float)
    ink = ink[np.ix_(ink.any(axis=1), ink.any(axis=0))]
    for k in range(20):
        digest = hashlib.blake2b(f"5 114 {k}".encode(), digest_size=48).digest()
        draws = [int.from_bytes(digest[i : i + 8], "little") / 2**63 - 1 for i in range(0, 48, 8)]
        turn, shear = math.radians(20 * draws[0]), 0.2 * draws[1]
        length = 0.72 * 28 * math.sqrt(max(ink.shape) / 300 / 0.73)
        unit = length / max(ink.shape)
        expected = np.zeros((28, 28))
        for row, column in zip(*np.nonzero(ink), strict=True):
            x = (column + 0.5 - ink.shape[1] / 2) * unit * (1 + 0.1 * draws[2])
            y = (row + 0.5 - ink.shape[0] / 2) * unit * (1 + 0.1 * draws[3])
            x += shear * y
            x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
            expected[int(14 + y + draws[5]), int(14 + x + draws[4])] += ink[row, column]
        assert np.corrcoef(raw.load(("U+0072", k))[0].ravel(), expected.ravel())[0, 1] > 0.97, k


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CHARACTERS), st.integers(0, 10**6), st.sampled_from([(28, 28), (40, 12), (9, 33)]))
def test_nothing_is_ever_cut_off_or_lost(name: str, seed: int, size: tuple[int, int]) -> None:
    drawn = pictures(read(dejavu(), glyphs(**WILD, seed=seed, image_size=size), [name]))[0]
    inside = drawn[:, 1:-1, 1:-1]
    assert inside.max(axis=(1, 2)).min() > 0
    assert inside.sum(dtype=int) == drawn.sum(dtype=int)


def test_small_marks_stay_smaller_than_letters_and_can_be_seen() -> None:
    stop, letter = pictures(read(dejavu(), glyphs(1, **PLAIN), ["U+002E", "U+0041"]))[:, 0]
    left, top, right, bottom = extent(stop)
    assert 6 <= max(right - left, bottom - top) <= 11
    assert stop.sum(dtype=int) < letter.sum(dtype=int)


def test_distortions_are_no_larger_than_the_options() -> None:
    for option, value in {"rotation_degrees": 12.0, "scale": 0.15, "shear": 0.15, "shift_pixels": 2.0}.items():
        still, moved = (
            pictures(read(dejavu(), glyphs(200, **{**PLAIN, option: amount, "faces": [SANS]}), ["U+25A0"]))[0]
            for amount in (0, value)
        )
        assert len(np.unique(still, axis=0)) == 1
        assert len(np.unique(moved, axis=0)) > 100, option
        boxes = np.array([extent(picture) for picture in moved]) - extent(still[0])
        # Half the 15 pixels of the square times the option, or the shift itself, and a pixel of antialiasing.
        reach = {"shift_pixels": 2.0, "rotation_degrees": 1.6, "scale": 1.2, "shear": 1.2}[option] + 1
        assert 1 <= np.abs(boxes).max() <= reach, option


def test_a_picture_depends_on_seed_class_and_number_only() -> None:
    alone = pictures(read(dejavu(), glyphs(), ["U+0416"]))[0]
    raw = read(dejavu(), glyphs(), CHARACTERS)
    todo = [example for examples in raw.examples.values() for example in examples]
    backwards = {example: raw.load(example) for example in reversed(todo)}
    assert np.array_equal(alone, [backwards["U+0416", k][0] for k in range(20)])

    fresh = read(dejavu(), glyphs(), CHARACTERS)
    with ThreadPoolExecutor(8) as pool:
        for example, picture in zip(todo, pool.map(fresh.load, todo), strict=True):
            assert np.array_equal(picture, backwards[example]), example

    other = pictures(read(dejavu(), glyphs(seed=1), ["U+0416"]))[0]
    assert not (other == alone).all(axis=(1, 2)).any()
    assert len(np.unique(alone, axis=0)) == 20


def test_digest_names_the_fonts_and_nothing_else() -> None:
    fonts = {face: dejavu().read(face) for face in (SANS, SERIF)}
    expected = hashlib.sha256(b"".join(f"{face} {len(font)} ".encode() + font for face, font in sorted(fonts.items())))
    classes = ["U+0041"]
    there = read(Files("", fonts), glyphs(faces=[SANS, SERIF]), classes).digest()
    assert there == expected.hexdigest()
    assert there == read(dejavu(), glyphs(faces=[SERIF, SANS], seed=3), ["U+0042"]).digest()
    changed = {**fonts, SERIF: fonts[SERIF] + b"\0"}
    assert there != read(Files("", changed), glyphs(faces=[SANS, SERIF]), classes).digest()


OPTIONS = "faces, image_size, rotation_degrees, scale, seed, shear, shift_pixels"
SIZE = "height and width in pixels, each from 8 to 1024"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sheer": 1}, f"reader font_glyphs takes exactly the options {OPTIONS}, but sheer is missing or unknown"),
        ({"image_size": 28}, f"option image_size is 28, but must be {SIZE}"),
        ({"image_size": [28]}, f"option image_size is [28], but must be {SIZE}"),
        ({"image_size": "ab"}, f"option image_size is 'ab', but must be {SIZE}"),
        ({"image_size": [28, 7]}, f"option image_size is [28, 7], but must be {SIZE}"),
        ({"image_size": [28.0, 28]}, f"option image_size is [28.0, 28], but must be {SIZE}"),
        ({"faces": []}, "option faces is [], but must be a list of different file names"),
        ({"faces": SANS}, f"option faces is {SANS!r}, but must be a list of different file names"),
        ({"faces": [SANS, SANS]}, f"option faces is {[SANS, SANS]!r}, but must be a list of different file names"),
        ({"faces": [3]}, "option faces is [3], but must be a list of different file names"),
        ({"faces": [[SANS]]}, f"option faces is {[[SANS]]!r}, but must be a list of different file names"),
        ({"seed": 0.5}, "option seed is 0.5, but must be a whole number"),
        ({"rotation_degrees": 181}, "option rotation_degrees is 181, but must be a number from 0 to 180"),
        ({"scale": 0.6}, "option scale is 0.6, but must be a number from 0 to 0.5"),
        ({"shear": -0.1}, "option shear is -0.1, but must be a number from 0 to 1"),
        ({"shift_pixels": float("nan")}, "option shift_pixels is nan, but must be a number from 0 to 1024"),
        ({"shift_pixels": True}, "option shift_pixels is True, but must be a number from 0 to 1024"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(**options), ["U+0041"])
    assert str(refused.value) == f"glyphs: {message}; correct [prepared]"


def test_a_missing_option_is_refused() -> None:
    options = {name: value for name, value in ENTRY["prepared"].items() if name != "seed"}
    record = replace(glyphs(), prepared=options)
    with pytest.raises(
        ContentError, match=f"^glyphs: .* the options {OPTIONS}, but seed is missing or unknown; correct"
    ):
        read(dejavu(), record, ["U+0041"])


@pytest.mark.parametrize("repeats", [None, 0])
def test_the_number_of_examples_must_be_known(repeats: int | None) -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(repeats), ["U+0041"])
    assert str(refused.value) == (
        f"glyphs: reader font_glyphs must be told how often to draw a class, but examples_per_class is {repeats}; "
        f"set it to at least 1 under [raw]"
    )


def test_an_absent_face_is_refused() -> None:
    with pytest.raises(ContentError) as refused:
        read(Files("/fonts", {SANS: b""}), glyphs(faces=[SANS, SERIF, "Arial.ttf"]), ["U+0041"])
    assert str(refused.value) == (
        "glyphs: 2 of 3 faces, such as 'DejaVuSerif.ttf', are not in /fonts; "
        "restore them from their package or correct [prepared]"
    )


@pytest.mark.parametrize("length", [0, 3, 11, 40, 300, 5000, 20000])
def test_a_font_cut_off_or_of_another_kind_is_refused(length: int) -> None:
    for content in (dejavu().read(SANS)[:length], b"\xff" * length):
        with pytest.raises(ContentError) as refused:
            read(Files("", {SANS: content}), glyphs(faces=[SANS]), ["U+0041"])
        assert str(refused.value) == (
            f"glyphs: face {SANS!r} is not a TrueType font with a character map of format 12; "
            f"restore it from its package"
        )


def test_a_font_with_a_map_but_no_outlines_is_refused() -> None:
    font = bytearray(dejavu().read(SANS))
    at = font.index(b"head", 12, 400)
    font[at : at + 4] = b"xxxx"
    with pytest.raises(ContentError, match=r"^glyphs: face 'DejaVuSans.ttf' cannot be opened \(.+\); restore it from"):
        read(Files("", {SANS: bytes(font)}), glyphs(faces=[SANS]), ["U+0041"])


@pytest.mark.parametrize("name", ["A", "", "U+41", "U+00041", "U+004g", "u+0041", "U+0041 ", "U+1000000", "u0041"])
def test_a_class_that_is_no_code_point_is_refused(name: str) -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(), ["U+0041", name])
    assert str(refused.value) == (
        f"glyphs: class {name!r} is not a code point; reader font_glyphs needs names like 'U+0041'"
    )


def test_a_character_of_no_face_is_refused() -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(), ["U+0041", "U+4E00", "U+FFFFFF"])
    assert str(refused.value) == (
        "glyphs: 2 of 3 classes, such as 'U+4E00', are in none of the 12 faces; drop them or name a face that has them"
    )


def test_a_character_without_ink_is_refused() -> None:
    raw = read(dejavu(), glyphs(), ["U+0020"])
    with pytest.raises(ContentError) as refused:
        raw.load(("U+0020", 0))
    assert str(refused.value) == "glyphs: class 'U+0020' has no ink in face 'DejaVuSans.ttf'; drop the class"
