"""Characters drawn from fonts: which faces, where, how distorted, and what is refused."""

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

from l2l_core.errors import CatalogError, ContentError
from l2l_core.prepare.readers import RawDataset, Wanted
from l2l_core.prepare.readers.font_glyphs import options_of, read, recognises
from tests.prepare.raw import MemoryTree

ENTRY = tomllib.loads((Path(__file__).parents[2] / "catalog/datasets/glyphs.toml").read_text(encoding="utf-8"))
OPTIONS: Mapping[str, Any] = {**ENTRY["prepared"], **ENTRY["forms"]["matplotlib"]["options"]}
FACES: Sequence[str] = OPTIONS["faces"]
SANS, SERIF = "DejaVuSans.ttf", "DejaVuSerif.ttf"
PLAIN = {"rotation_degrees": 0, "scale": 0, "shear": 0, "shift_pixels": 0}
WILD = {"rotation_degrees": 180, "scale": 0.5, "shear": 1, "shift_pixels": 1024}
# Tall, wide, small, long, hollow, with parts: A | W . — Ж □ ش ع
CHARACTERS = ["U+0041", "U+007C", "U+0057", "U+002E", "U+2014", "U+0416", "U+25A1", "U+0634", "U+0639"]


@cache
def dejavu() -> MemoryTree:
    folder = files("matplotlib") / "mpl-data/fonts/ttf"
    return MemoryTree({face: (folder / face).read_bytes() for face in FACES}, "the fonts")


def glyphs(classes: Sequence[str], repeats: int | None = 20, **options: Any) -> Wanted:
    """What the entry of that name asks for, of other classes and with other options."""
    counts = {} if repeats is None else dict.fromkeys(classes, repeats)
    return Wanted("glyphs", {**OPTIONS, **options}, classes, counts)


def pictures(raw: RawDataset) -> np.ndarray:
    """[classes, examples, H, W]."""
    return np.stack([[raw.load(example)[0] for example in examples] for examples in raw.examples.values()])


def extent(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the ink, the last two just outside."""
    left, top, right, bottom = Image.fromarray(picture).getbbox() or (0, 0, 0, 0)
    return left, top, right, bottom


def test_examples_are_numbered_and_have_the_stated_shape() -> None:
    raw = read(dejavu(), glyphs(["U+0042", "U+0041"], 3, image_size=[20, 40]))
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
    read(dejavu(), glyphs([f"U+{code:04X}" for code in there], faces=[face]))
    with pytest.raises(ContentError, match=f"^glyphs: {len(absent)} of {len(absent)} classes"):
        read(dejavu(), glyphs([f"U+{code:04X}" for code in sorted(absent)], faces=[face]))


def test_examples_take_the_faces_that_have_the_character_in_turn() -> None:
    # Serif has no Arabic: of three faces, two draw the letter beh.
    faces = [SANS, SERIF, "DejaVuSans-Bold.ttf"]
    each = [read(dejavu(), glyphs(["U+0041"], **PLAIN, faces=[face])).load(("U+0041", 0)) for face in faces]
    raw = read(dejavu(), glyphs(["U+0041", "U+0628"], 5, **PLAIN, faces=faces))
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

    picture = read(dejavu(), glyphs([name], **PLAIN)).load((name, 0))[0].astype(float)
    assert np.abs(picture - expected).mean() < 6
    assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_distorted_character_is_the_undistorted_one_moved_point_by_point() -> None:
    # A small letter: it fits as it comes, whatever the distortion.
    options = {"rotation_degrees": 20, "scale": 0.1, "shear": 0.2, "shift_pixels": 1, "seed": 5, "faces": [SANS]}
    raw = read(dejavu(), glyphs(["U+0072"], **options))
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
@given(st.sampled_from(CHARACTERS), st.integers(0, 10**6), st.sampled_from([[28, 28], [40, 12], [9, 33]]))
def test_nothing_is_ever_cut_off_or_lost(name: str, seed: int, size: list[int]) -> None:
    drawn = pictures(read(dejavu(), glyphs([name], **WILD, seed=seed, image_size=size)))[0]
    inside = drawn[:, 1:-1, 1:-1]
    assert inside.max(axis=(1, 2)).min() > 0
    assert inside.sum(dtype=int) == drawn.sum(dtype=int)


def test_small_marks_stay_smaller_than_letters_and_can_be_seen() -> None:
    stop, letter = pictures(read(dejavu(), glyphs(["U+002E", "U+0041"], 1, **PLAIN)))[:, 0]
    left, top, right, bottom = extent(stop)
    assert 6 <= max(right - left, bottom - top) <= 11
    assert stop.sum(dtype=int) < letter.sum(dtype=int)


def test_distortions_are_no_larger_than_the_options() -> None:
    for option, value in {"rotation_degrees": 12.0, "scale": 0.15, "shear": 0.15, "shift_pixels": 2.0}.items():
        still, moved = (
            pictures(read(dejavu(), glyphs(["U+25A0"], 200, **{**PLAIN, option: amount, "faces": [SANS]})))[0]
            for amount in (0, value)
        )
        assert len(np.unique(still, axis=0)) == 1
        assert len(np.unique(moved, axis=0)) > 100, option
        boxes = np.array([extent(picture) for picture in moved]) - extent(still[0])
        # Half the 15 pixels of the square times the option, or the shift itself, and a pixel of antialiasing.
        reach = {"shift_pixels": 2.0, "rotation_degrees": 1.6, "scale": 1.2, "shear": 1.2}[option] + 1
        assert 1 <= np.abs(boxes).max() <= reach, option


def test_a_picture_depends_on_seed_class_and_number_only() -> None:
    alone = pictures(read(dejavu(), glyphs(["U+0416"])))[0]
    raw = read(dejavu(), glyphs(CHARACTERS))
    todo = [example for examples in raw.examples.values() for example in examples]
    backwards = {example: raw.load(example) for example in reversed(todo)}
    assert np.array_equal(alone, [backwards["U+0416", k][0] for k in range(20)])

    fresh = read(dejavu(), glyphs(CHARACTERS))
    with ThreadPoolExecutor(8) as pool:
        for example, picture in zip(todo, pool.map(fresh.load, todo), strict=True):
            assert np.array_equal(picture, backwards[example]), example

    other = pictures(read(dejavu(), glyphs(["U+0416"], seed=1)))[0]
    assert not (other == alone).all(axis=(1, 2)).any()
    assert len(np.unique(alone, axis=0)) == 20


def test_digest_names_the_fonts_and_nothing_else() -> None:
    fonts = {face: dejavu().read(face) for face in (SANS, SERIF)}
    expected = hashlib.sha256(b"".join(f"{face} {len(font)} ".encode() + font for face, font in sorted(fonts.items())))
    classes = ["U+0041"]
    there = read(MemoryTree(fonts, ""), glyphs(classes, faces=[SANS, SERIF])).digest()
    assert there == expected.hexdigest()
    assert there == read(dejavu(), glyphs(["U+0042"], faces=[SERIF, SANS], seed=3)).digest()
    changed = {**fonts, SERIF: fonts[SERIF] + b"\0"}
    assert there != read(MemoryTree(changed, ""), glyphs(classes, faces=[SANS, SERIF])).digest()


SIZE = "image_size: expected [height, width] in pixels, found"


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"sheer": 1}, ["sheer: unknown field, did you mean 'shear'?"]),
        ({"image_size": 28}, ["image_size: expected a list, found 28"]),
        ({"image_size": [28]}, [f"{SIZE} [28]"]),
        ({"image_size": [28.0, 28]}, [f"{SIZE} [28.0, 28]"]),
        ({"image_size": [28, 7]}, ["image_size: expected 8 to 1024 pixels a side, found [28, 7]"]),
        ({"faces": []}, ["faces: expected texts, found an empty list"]),
        ({"faces": SANS}, [f"faces: expected a list, found {SANS!r}"]),
        ({"faces": [SANS, SANS]}, ["faces: expected different file names, found one twice"]),
        ({"faces": [3]}, ["faces: expected texts, found 3 among them"]),
        ({"seed": 0.5}, ["seed: expected a whole number, found 0.5"]),
        ({"rotation_degrees": 181}, ["rotation_degrees: expected a number from 0 to 180, found 181"]),
        ({"scale": 0.6}, ["scale: expected a number from 0 to 0.5, found 0.6"]),
        ({"shear": -0.1}, ["shear: expected a number from 0 to 1, found -0.1"]),
        ({"shift_pixels": float("nan")}, ["shift_pixels: expected a number from 0 to 1024, found nan"]),
        ({"shift_pixels": True}, ["shift_pixels: expected a number from 0 to 1024, found True"]),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: Mapping[str, Any], problems: Sequence[str]) -> None:
    with pytest.raises(CatalogError) as refused:
        read(dejavu(), glyphs(["U+0041"], **options))
    assert refused.value.problems == tuple(f"glyphs: {problem}" for problem in problems)


def test_a_missing_option_is_refused() -> None:
    options = {name: value for name, value in OPTIONS.items() if name != "seed"}
    with pytest.raises(CatalogError, match="glyphs: seed: missing"):
        read(dejavu(), Wanted("glyphs", options, ["U+0041"], {"U+0041": 20}))


@pytest.mark.parametrize("repeats", [None, 0])
def test_the_number_of_examples_must_be_known(repeats: int | None) -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(["U+0041"], repeats))
    assert str(refused.value) == (
        "glyphs: the reader font_glyphs must be told how often to draw U+0041; set examples_per_class under [raw]"
    )


def test_it_knows_its_layout() -> None:
    options = options_of(OPTIONS, "")
    assert recognises(MemoryTree({f"ttf/{SERIF}": b""}), options)
    assert not recognises(MemoryTree({"ttf/Arial.ttf": b"", "a/b.png": b""}), options)


def test_an_absent_face_is_refused() -> None:
    with pytest.raises(ContentError) as refused:
        read(MemoryTree({SANS: b""}, "/fonts"), glyphs(["U+0041"], faces=[SANS, SERIF, "Arial.ttf"]))
    assert str(refused.value) == (
        "glyphs: 2 of 3 faces, such as 'DejaVuSerif.ttf', are not in /fonts; "
        "restore them from their package or correct [prepared]"
    )


@pytest.mark.parametrize("length", [0, 3, 11, 40, 300, 5000, 20000])
def test_a_font_cut_off_or_of_another_kind_is_refused(length: int) -> None:
    for content in (dejavu().read(SANS)[:length], b"\xff" * length):
        with pytest.raises(ContentError) as refused:
            read(MemoryTree({SANS: content}, ""), glyphs(["U+0041"], faces=[SANS]))
        assert str(refused.value) == (
            f"glyphs: face {SANS!r} is not a TrueType font with a character map of format 12; "
            f"restore it from its package"
        )


def test_a_font_with_a_map_but_no_outlines_is_refused() -> None:
    font = bytearray(dejavu().read(SANS))
    at = font.index(b"head", 12, 400)
    font[at : at + 4] = b"xxxx"
    with pytest.raises(ContentError, match=r"^glyphs: face 'DejaVuSans.ttf' cannot be opened \(.+\); restore it from"):
        read(MemoryTree({SANS: bytes(font)}, ""), glyphs(["U+0041"], faces=[SANS]))


@pytest.mark.parametrize("name", ["A", "", "U+41", "U+00041", "U+004g", "u+0041", "U+0041 ", "U+1000000", "u0041"])
def test_a_class_that_is_no_code_point_is_refused(name: str) -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(["U+0041", name]))
    assert str(refused.value) == (
        f"glyphs: class {name!r} is not a code point; reader font_glyphs needs names like 'U+0041'"
    )


def test_a_character_of_no_face_is_refused() -> None:
    with pytest.raises(ContentError) as refused:
        read(dejavu(), glyphs(["U+0041", "U+4E00", "U+FFFFFF"]))
    assert str(refused.value) == (
        "glyphs: 2 of 3 classes, such as 'U+4E00', are in none of the 12 faces; drop them or name a face that has them"
    )


def test_a_character_without_ink_is_refused() -> None:
    raw = read(dejavu(), glyphs(["U+0020"]))
    with pytest.raises(ContentError) as refused:
        raw.load(("U+0020", 0))
    assert str(refused.value) == "glyphs: class 'U+0020' has no ink in face 'DejaVuSans.ttf'; drop the class"
