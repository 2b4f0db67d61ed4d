"""The class list of `glyphs`: that the rules give it, and that it keeps its promises, checked without the rules."""

import csv
import io
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from l2l_core.fetch.archives import open_tree
from l2l_core.prepare.readers import RawDataset, Wanted
from l2l_core.prepare.readers.font_glyphs import read
from tests.metadata import glyph_split

ROWS = list(csv.DictReader(io.StringIO(glyph_split.CSV.read_text(encoding="utf-8"))))
CODE_POINTS = [int(row["class"].removeprefix("U+"), 16) for row in ROWS]
SUBSET_OF = {code: row["subset"] for code, row in zip(CODE_POINTS, ROWS, strict=True)}
PLAIN = {"rotation_degrees": 0, "scale": 0, "shear": 0, "shift_pixels": 0}


@pytest.fixture(scope="module")
def faces() -> Mapping[str, TTFont]:
    return dict(glyph_split.open_faces())


def glyphs(**options: object) -> RawDataset:
    """All classes of the committed list, as the reader gives them."""
    entry, form = glyph_split.RECORD, glyph_split.FORM
    folder = glyph_split.files(form["package"]).joinpath(form["folder"])
    names, each = [row["class"] for row in ROWS], entry["raw"]["examples_per_class"]
    wanted = Wanted(
        "glyphs", {**entry["prepared"], **form["options"], **options}, names, counts=dict.fromkeys(names, each)
    )
    tree = open_tree(Path(str(folder)), max_entries=1000, max_bytes=2**28)
    return read(tree, wanted)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Every example, [classes, examples, H, W]."""
    raw = glyphs()
    return np.stack([[raw.load(example)[0] for example in examples] for examples in raw.examples.values()])


def test_the_committed_list_is_what_the_rules_give() -> None:
    assert glyph_split.CSV.read_bytes() == glyph_split.derive().encode()


def test_the_file_is_sorted_and_plain() -> None:
    content = glyph_split.CSV.read_bytes()
    assert content.startswith(b"class,subset,superclass\nU+0021,train,Basic Latin\n")
    assert content.endswith(b"\n")
    assert not content.endswith(b"\n\n")
    assert b"\r" not in content
    assert sorted(set(CODE_POINTS)) == CODE_POINTS
    assert [row["class"] for row in ROWS] == [f"U+{code:04X}" for code in CODE_POINTS]


def test_subsets_are_as_large_and_as_varied_as_promised() -> None:
    subsets_of, sizes = defaultdict(set), Counter(SUBSET_OF.values())
    for row in ROWS:
        subsets_of[row["superclass"]].add(row["subset"])
    assert all(len(subsets) == 1 for subsets in subsets_of.values())
    superclasses = Counter(next(iter(subsets)) for subsets in subsets_of.values())
    assert sizes == {"train": 1051, "validation": 276, "test": 344}
    assert superclasses == {"train": 14, "validation": 4, "test": 5}
    for subset, share in {"train": 0.64, "validation": 0.16, "test": 0.20}.items():
        assert abs(sizes[subset] / len(ROWS) - share) < 0.02
    assert min(Counter(row["superclass"] for row in ROWS).values()) >= 5
    for script in ("LATIN", "GREEK", "CYRILLIC"):
        named = [code for code in CODE_POINTS if unicodedata.name(chr(code)).startswith(f"{script} ")]
        assert named
        assert {SUBSET_OF[code] for code in named} == {"train"}


def test_the_record_counts_what_is_there() -> None:
    raw = glyph_split.RECORD["raw"]
    assert raw["classes"] == len(ROWS)
    assert raw["superclasses"] == len({row["superclass"] for row in ROWS})
    assert raw["examples"] == len(ROWS) * raw["examples_per_class"]


def test_every_class_is_a_visible_character_of_its_own_in_four_faces_or_more(faces: Mapping[str, TTFont]) -> None:
    for code in CODE_POINTS:
        assert unicodedata.category(chr(code))[0] in "LNPS"
        assert not unicodedata.combining(chr(code))
        assert unicodedata.normalize("NFKD", chr(code)) == chr(code)
        names = [font.getBestCmap().get(code, ".notdef") for font in faces.values()]
        assert len(names) - names.count(".notdef") >= 4, hex(code)


def shapes(font: TTFont) -> Iterator[tuple[int, bytes]]:
    """Code point and outline of each class that the font has, wherever it lies and however large it is."""
    glyphs_of, names = font.getGlyphSet(), font.getBestCmap()
    for code in CODE_POINTS:
        if code in names:
            pen = DecomposingRecordingPen(glyphs_of)
            glyphs_of[names[code]].draw(pen)
            points = np.array([point for _, points in pen.value for point in points if point], dtype=float)
            points -= points.min(axis=0)
            verbs = ",".join(f"{verb}{len(points)}" for verb, points in pen.value)
            yield code, verbs.encode() + np.round(points * (1000 / points.max())).astype(int).tobytes()


def test_no_two_classes_share_an_outline_in_any_face(faces: Mapping[str, TTFont]) -> None:
    owners = defaultdict(set)
    for font in faces.values():
        for code, shape in shapes(font):
            owners[shape].add(code)
    assert len(owners) > 5000
    shared = [sorted(map(hex, codes)) for codes in owners.values() if len(codes) > 1]
    assert shared == []


def test_characters_of_one_shape_are_one_class() -> None:
    assert set(map(ord, "AaBCS@&?1")) <= set(CODE_POINTS)
    # Greek, Cyrillic, Roman-numeral and small-letter doubles of those; the middle dot; a small plus; a bigger circle.
    assert not set(map(ord, "ΑАΒВСсЅѕсs·˖＋")) & set(CODE_POINTS)


def test_every_example_is_drawn_whole_and_differs(pictures: np.ndarray) -> None:
    assert pictures.shape == (len(ROWS), 20, 28, 28)
    # Thin strokes are grey, yet every picture has something to see.
    assert pictures.max(axis=(2, 3)).min() > 100
    assert (pictures > 60).sum(axis=(2, 3)).min() >= 8
    assert pictures[..., [0, -1], :].max() == pictures[..., [0, -1]].max() == 0
    assert {len({picture.tobytes() for picture in examples}) for examples in pictures} == {20}


def test_no_two_classes_look_the_same_in_one_face() -> None:
    raw = glyphs(**PLAIN)
    first = np.stack([raw.load((row["class"], 0)).ravel().astype(np.float32) for row in ROWS])
    first -= first.mean(axis=1, keepdims=True)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    likeness = first @ first.T
    np.fill_diagonal(likeness, 0)
    # The nearest are ط and ظ, a dot apart, at 0.985; of two subsets the apostrophe and the yod, at 0.965.
    assert likeness.max() < 0.99
    subsets = np.array([row["subset"] for row in ROWS])
    assert likeness[subsets[:, None] != subsets].max() < 0.97


def test_nearest_pixels_are_neither_useless_nor_enough(pictures: np.ndarray) -> None:
    test = pictures[[row["subset"] == "test" for row in ROWS]].reshape(-1, 20, 28 * 28).astype(np.float32)
    rng = np.random.default_rng(0)
    accuracies = []
    for _ in range(500):
        ways = rng.choice(len(test), 5, replace=False)
        episode = np.stack([test[way][rng.permutation(20)[:16]] for way in ways])
        distances = ((episode[:, 1:, None] - episode[:, 0]) ** 2).sum(axis=-1)
        accuracies.append((distances.argmin(axis=-1) == np.arange(5)[:, None]).mean())
    assert 0.60 < np.mean(accuracies) < 0.73


def test_silhouettes_agree_with_pillow(faces: Mapping[str, TTFont]) -> None:
    folder = Path(str(glyph_split.files("matplotlib"))) / "mpl-data/fonts/ttf"
    font = ImageFont.truetype(folder / "DejaVuSerif.ttf", 700)
    for character in "AO8%§Ж@":
        canvas = Image.new("L", (1400, 1400))
        ImageDraw.Draw(canvas).text((200, 200), character, fill=255, font=font)
        ink = canvas.crop(canvas.getbbox())
        side = max(ink.size)
        square = Image.new("L", (side, side))
        square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
        edges = glyph_split.outline(faces["DejaVuSerif.ttf"], ord(character))
        for expected, stretch in ((square, False), (ink, True)):
            small = np.asarray(expected.resize((glyph_split.SIDE,) * 2, Image.Resampling.BOX)) > 127
            assert (glyph_split.silhouette(edges, stretch=stretch) != small).mean() < 0.03, character


def test_within_radius_is_what_nested_loops_say() -> None:
    rng = np.random.default_rng(0)
    seeds = [np.kron(rng.random((4, 4)) < 0.5, np.ones((3, 3), dtype=bool)) for _ in range(6)]
    shifted = [np.roll(seed, (int(rng.integers(-3, 4)), 0), axis=(0, 1)) for seed in seeds]
    shapes_MHW = np.stack(seeds + shifted)

    def reaches(one: np.ndarray, other: np.ndarray) -> bool:
        return all(
            other[
                max(0, y - glyph_split.RADIUS) : y + glyph_split.RADIUS + 1,
                max(0, x - glyph_split.RADIUS) : x + glyph_split.RADIUS + 1,
            ].any()
            for y, x in np.argwhere(one)
        )

    expected = [
        [reaches(a, b) and reaches(b, a) and reaches(~a, ~b) and reaches(~b, ~a) for b in shapes_MHW]
        for a in shapes_MHW
    ]
    assert np.array_equal(glyph_split.within_radius(shapes_MHW), expected)
    assert len(shapes_MHW) < np.sum(expected) < len(shapes_MHW) ** 2
