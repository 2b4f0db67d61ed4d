"""The rules by which `metadata/splits/glyphs/scripts.csv` was made; ``python -m tests.metadata.glyph_split`` writes it.

1. A candidate is a letter, number, punctuation mark or symbol with ink in at least `MIN_FACES` faces. Modifier letters,
   presentation forms and characters with a decomposition (accented letters, ligatures, super- and subscripts) are not:
   there are many, and they repeat other shapes.
2. Its superclass is its script, or its Unicode block where it belongs to no script. `SUBSET_OF` gives each superclass
   whole to one subset, and leaves out those whose characters cannot be told apart at 28 pixels.
3. Going through the candidates by code point, a twin of a character already kept is dropped (`are_twins`), whichever
   subsets the two are in.
4. A superclass that is left with fewer than `MIN_CLASSES` characters is dropped.

Shapes come from the outlines, not from a rasteriser, so that the result depends on the fonts alone.
"""

import io
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
from fontTools import unicodedata as scripts
from fontTools.ttLib import TTFont

ROOT = Path(__file__).parents[2]
CSV = ROOT / "metadata" / "splits" / "glyphs" / "scripts.csv"
RECORD = tomllib.loads((ROOT / "catalog" / "datasets" / "glyphs.toml").read_text(encoding="utf-8"))
FORM = RECORD["forms"]["matplotlib"]
FACES: Sequence[str] = FORM["options"]["faces"]

MIN_FACES = 4
MIN_CLASSES = 5

# Latin, Greek, Cyrillic and what shares their shapes are together. Validation and test each mix letters with pictures,
# so that one foretells the other. Left out after looking at them: Braille, dominoes, cards, hexagrams, tetragrams and
# emoticons (a dot or a gap apart), the second blocks of arrows and operators (variants of the first), Old Italic and
# Lisu (Latin capitals, turned about).
SUBSET_OF = {
    **dict.fromkeys(
        [
            "Basic Latin",
            "Latin-1 Supplement",
            "Latin",
            "Greek",
            "Coptic",
            "Cyrillic",
            "Canadian Aboriginal",
            "General Punctuation",
            "Currency Symbols",
            "Letterlike Symbols",
            "Mathematical Operators",
            "Miscellaneous Technical",
            "Box Drawing",
            "Block Elements",
        ],
        "train",
    ),
    **dict.fromkeys(["Hebrew", "Lao", "Geometric Shapes", "Miscellaneous Symbols"], "validation"),
    **dict.fromkeys(["Armenian", "Arabic", "Georgian", "Arrows", "Dingbats"], "test"),
}

# Twins are compared as SIDE x SIDE silhouettes. RADIUS 2 of 28 is 1.4 pixels of a glyph drawn 20 pixels long. It was
# chosen by looking at the pairs on either side: with 2 of 32, pairs stay that a distortion hides (❺ and ❻); with 2 of
# 24, pairs go that anybody can tell apart (H and M, a and Ə, 0 and @). ASPECT is what the reader's scale of 15 % does
# to the ratio of height and width: 1.15 / 0.85.
SIDE = 28
RADIUS = 2
ASPECT = 1.35


def open_faces() -> Iterator[tuple[str, TTFont]]:
    """Each face of the record by its file name, in order."""
    folder = files(FORM["package"]).joinpath(FORM["folder"])
    for name in FACES:
        with folder.joinpath(name).open("rb") as file:
            yield name, TTFont(io.BytesIO(file.read()), lazy=True)


def outline(font: TTFont, code_point: int) -> np.ndarray:
    """Edges [edges, 2 ends, 2 (x, y)] in font units that follow the character's outline; no edges for no ink."""
    glyf = font["glyf"]
    points, ends, on_curve = glyf[font.getBestCmap()[code_point]].getCoordinates(glyf)
    points, starts = np.array(points.array).reshape(-1, 2), [0, *(end + 1 for end in ends)]
    on_curve = np.array(on_curve, dtype=np.uint8) & 1 == 1  # the other bits say nothing of the shape
    polygons = [_flatten(points[start:stop], on_curve[start:stop]) for start, stop in pairwise(starts)]
    edges = [np.stack([polygon, np.concatenate([polygon[1:], polygon[:1]])], axis=1) for polygon in polygons]
    return np.concatenate(edges) if edges else np.empty((0, 2, 2))


def _flatten(points: np.ndarray, on_curve: np.ndarray) -> np.ndarray:
    """A polygon along a TrueType contour: points off the curve steer quadratic arcs, four chords an arc."""
    before, after = np.arange(len(points)) - 1, np.arange(1, len(points) + 1) % len(points)
    from_ = np.where(on_curve[before, None], points[before], (points[before] + points) / 2)
    to = np.where(on_curve[after, None], points[after], (points + points[after]) / 2)
    t = np.arange(5)[:, None, None] / 4
    arcs = (1 - t) ** 2 * from_ + 2 * t * (1 - t) * points + t**2 * to
    arcs[:, on_curve] = points[on_curve]
    return arcs.transpose(1, 0, 2).reshape(-1, 2)


def silhouette(edges: np.ndarray, *, stretch: bool) -> np.ndarray:
    """The shape as bool [SIDE, SIDE]: ink where the winding number is not zero.

    Args:
        edges: as `outline` gives them; at least one.
        stretch: make height and width fill the square each for itself; otherwise the longer does, and the shape is
            centred.
    """
    low, high = edges.min(axis=(0, 1)), edges.max(axis=(0, 1))
    extent = np.maximum(high - low, 1) if stretch else (high - low).max()
    (x0, y0), (x1, y1) = ((edges - (low + high) / 2) * (SIDE / extent) + SIDE / 2).transpose(1, 2, 0)
    rows = np.arange(SIDE)[:, None] + 0.5
    row, edge = np.nonzero((y0 <= rows) != (y1 <= rows))
    x = x0[edge] + (rows[row, 0] - y0[edge]) / (y1 - y0)[edge] * (x1 - x0)[edge]
    winding = np.zeros((SIDE, SIDE + 1), dtype=int)
    np.add.at(winding, (row, np.clip(np.ceil(x - 0.5), 0, SIDE).astype(int)), np.where((y1 > y0)[edge], 1, -1))
    return winding.cumsum(axis=1)[::-1, :SIDE] != 0


def within_radius(shapes_MHW: np.ndarray) -> np.ndarray:
    """Which of the shapes lie wholly within `RADIUS` pixels of each other, ink and gaps alike, as bool [M, M].

    This is the Hausdorff distance, of the ink and of the background. Correlation is no substitute: a dot that makes
    another letter hardly moves it, and a stroke a little thinner all over moves it much.
    """
    ink_MP, gaps_MP = (part.reshape(len(part), -1) for part in (shapes_MHW, ~shapes_MHW))
    far_MP, core_MP = (~_grown(part).reshape(len(part), -1) for part in (shapes_MHW, ~shapes_MHW))
    stray_MM = ink_MP.astype(np.float32) @ far_MP.T + core_MP.astype(np.float32) @ gaps_MP.T
    return (stray_MM + stray_MM.T) == 0


def _grown(shapes_MHW: np.ndarray) -> np.ndarray:
    """Ink wherever there was some within `RADIUS` pixels, along rows, columns or both."""
    height, width = shapes_MHW.shape[1:]
    padded = np.pad(shapes_MHW, [(0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)])
    reach = range(2 * RADIUS + 1)
    padded = np.logical_or.reduce([padded[:, y : y + height] for y in reach])
    return np.logical_or.reduce([padded[:, :, x : x + width] for x in reach])


def are_twins(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Which of M outlines of one face can hardly be told apart once size and place are taken away, as bool [M, M].

    Either their silhouettes are within `RADIUS`, or they are when stretched to the same height and width, and these
    differ by no more than the reader's own distortions.
    """
    extents_M2 = np.array([np.maximum(np.ptp(edges, axis=(0, 1)), 1) for edges in outlines])
    aspects_M = np.log(extents_M2[:, 0] / extents_M2[:, 1])
    same_aspect_MM = np.abs(aspects_M[:, None] - aspects_M) <= np.log(ASPECT)
    as_is, stretched = (
        within_radius(np.stack([silhouette(edges, stretch=stretch) for edges in outlines])) for stretch in (False, True)
    )
    return as_is | (stretched & same_aspect_MM)


def superclass(code_point: int) -> str:
    """The script's name, or the block's for a character that several scripts use."""
    script = scripts.script(chr(code_point))
    return scripts.block(chr(code_point)) if script in ("Zyyy", "Zinh") else scripts.script_name(script)


def is_candidate(code_point: int) -> bool:
    """Whether rules 1 and 2 let the character in, if the faces have it."""
    character = chr(code_point)
    category = unicodedata.category(character)
    return (
        category[0] in "LNPS"
        and category not in ("Lm", "Sk")
        and not unicodedata.decomposition(character)
        and "Presentation Forms" not in scripts.block(character)
        and superclass(code_point) in SUBSET_OF
    )


def derive() -> str:
    """The text of the CSV."""
    outlines = {
        name: {code: edges for code in filter(is_candidate, font.getBestCmap()) if len(edges := outline(font, code))}
        for name, font in open_faces()
    }
    faces_with = Counter(code for of_face in outlines.values() for code in of_face)
    candidates = sorted(code for code, count in faces_with.items() if count >= MIN_FACES)

    twins_MM = np.zeros((len(candidates), len(candidates)), dtype=bool)
    for of_face in outlines.values():
        there = [i for i, code in enumerate(candidates) if code in of_face]
        twins_MM[np.ix_(there, there)] |= are_twins([of_face[candidates[i]] for i in there])

    kept: list[int] = []
    for i in range(len(candidates)):
        if not twins_MM[i, kept].any():
            kept.append(i)
    sizes = Counter(superclass(candidates[i]) for i in kept)
    rows = [(candidates[i], superclass(candidates[i])) for i in kept]
    lines = [f"U+{code:04X},{SUBSET_OF[group]},{group}" for code, group in rows if sizes[group] >= MIN_CLASSES]
    return "\n".join(["class,subset,superclass", *lines, ""])


if __name__ == "__main__":
    CSV.write_text(derive(), encoding="utf-8", newline="\n")
