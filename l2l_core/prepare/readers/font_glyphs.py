"""Layout ``font_glyphs``: font files, of which every class is one character, drawn many times with small distortions.

A class is named by its code point, such as ``U+0041``, and drawn in turn from those of the record's faces that have it.
The distortion of its example k is a function of (seed, code point, k) alone, so neither the order of drawing nor the
number of threads matters. Options are the fields of `Options`.
"""

import hashlib
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.readers import RawDataset, Wanted

# A glyph is drawn at OVERSAMPLING times the size of the picture, distorted once and averaged down, which smooths edges.
OVERSAMPLING = 4
# Pixels left free on every side, whatever the distortion.
BORDER = 1
# A glyph as long as a capital is high (CAPITAL_EM) takes FILL of the picture, one a quarter as long half of that, and a
# very long one all there is: a full stop stays a small mark, yet is seen, and an ellipsis keeps its dots.
FILL = 0.72
CAPITAL_EM = 0.73
# Bitmaps kept for the next example; as many as twenty classes have faces.
CACHED_BITMAPS = 256

# As Unicode writes them: at least four digits, without further leading zeros.
_CLASS_NAME = re.compile(r"U\+([0-9A-F]{4}|[1-9A-F][0-9A-F]{4,5})")


@dataclass(frozen=True, slots=True)
class Options:
    """How examples are drawn; each distortion is uniform between minus and plus its value.

    Attributes:
        image_size: height and width in pixels.
        faces: file names, in the order in which examples use them.
        seed: of all distortions.
        rotation_degrees: turn.
        scale: part by which height and width, each for itself, grow or shrink.
        shear: sideways slant, as a part of the height.
        shift_pixels: move from the centre along each axis, as far as the border allows.
    """

    image_size: tuple[int, int]
    faces: tuple[str, ...]
    seed: int
    rotation_degrees: float
    scale: float
    shear: float
    shift_pixels: float


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The characters named by the wanted classes, each to be drawn as often as it should have examples.

    An example is (class name, k). Pictures are white ink (255) on black.

    Args:
        tree: the folder that holds the font files.
        wanted: the classes are code points, such as ``U+0041``.

    Raises:
        ContentError: a face is absent or is no font, or a class is not a character of any face.
        CatalogError: an option cannot be.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    if untold := [name for name in wanted.classes if not wanted.counts.get(name)]:
        raise ContentError(
            f"{wanted.dataset}: the reader font_glyphs must be told how often to draw {untold[0]}; "
            "set examples_per_class under [raw]"
        )
    fonts = _font_files(tree, wanted.dataset, options.faces)
    faces_of = _faces_of(fonts, wanted.dataset, wanted.classes)
    bitmap = _bitmaps(fonts, wanted.dataset, options.image_size)

    def load(example: tuple[str, int]) -> np.ndarray:
        name, k = example
        faces = faces_of[name]
        code_point = int(name[2:], 16)
        picture = _distorted(bitmap(code_point, faces[k % len(faces)]), _draws(options.seed, code_point, k), options)
        return np.array(picture)[None]

    return RawDataset(
        examples={name: [(name, k) for k in range(wanted.counts[name])] for name in wanted.classes},
        shape=(1, *options.image_size),
        load=load,
        digest=partial(_digest, fonts),
    )


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: one is missing, unknown or cannot be; names each.
    """
    with every_field(options, where) as fields:
        size, faces = fields.size("image_size"), fields.texts("faces", required=True)
        if any(size) and not all(8 <= pixels <= 1024 for pixels in size):
            fields.problem("image_size", f"expected 8 to 1024 pixels a side, found {list(size)}")
        if len(set(faces)) != len(faces):
            fields.problem("faces", "expected different file names, found one twice")
        return Options(
            image_size=size,
            faces=faces,
            seed=fields.integer("seed", 0),
            rotation_degrees=fields.number("rotation_degrees", 0, 180),
            scale=fields.number("scale", 0, 0.5),
            shear=fields.number("shear", 0, 1),
            shift_pixels=fields.number("shift_pixels", 0, 1024),
        )


def recognises(tree: Tree, options: Options) -> bool:
    """Whether one of the faces is there."""
    return any(PurePosixPath(name).name in options.faces for name in tree.names())


def _font_files(tree: Tree, dataset: str, faces: Sequence[str]) -> Mapping[str, bytes]:
    """Contents of each face, in order."""
    found = {name.rpartition("/")[2]: name for name in tree.names()}
    absent = [face for face in faces if face not in found]
    if absent:
        raise ContentError(
            f"{dataset}: {len(absent)} of {len(faces)} faces, such as {absent[0]!r}, are not in {tree.name}; "
            f"restore them from their package or correct [prepared]"
        )
    return {face: tree.read(found[face]) for face in faces}


def _faces_of(fonts: Mapping[str, bytes], dataset: str, classes: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Class name to the faces that have its character, in order."""
    malformed = [name for name in classes if not _CLASS_NAME.fullmatch(name)]
    if malformed:
        raise ContentError(
            f"{dataset}: class {malformed[0]!r} is not a code point; reader font_glyphs needs names like 'U+0041'"
        )
    code_points_M = np.array([int(name[2:], 16) for name in classes], dtype=np.int64)
    drawn_by = {face: _covers(font, code_points_M, f"{dataset}: face {face!r}") for face, font in fonts.items()}
    faces_of = {name: [face for face, has_M in drawn_by.items() if has_M[i]] for i, name in enumerate(classes)}
    missing = [name for name, faces in faces_of.items() if not faces]
    if missing:
        raise ContentError(
            f"{dataset}: {len(missing)} of {len(classes)} classes, such as {missing[0]!r}, are in none of the "
            f"{len(fonts)} faces; drop them or name a face that has them"
        )
    return faces_of


def _covers(font: bytes, code_points_M: np.ndarray, what: str) -> np.ndarray:
    """Whether the font has a glyph for each code point, bool [M].

    Pillow draws an empty box for a character that is not there and cannot be asked beforehand, hence this look into the
    font's ``cmap`` table.

    Source: OpenType specification 1.9.1, "Font file" and "cmap", format 12 (segmented coverage).
    """
    try:
        (tables,) = struct.unpack_from(">H", font, 4)
        directory = {
            tag: at for tag, _, at, _ in (struct.unpack_from(">4sLLL", font, 12 + 16 * i) for i in range(tables))
        }
        cmap = directory[b"cmap"]
        (encodings,) = struct.unpack_from(">H", font, cmap + 2)
        maps = [cmap + struct.unpack_from(">HHL", font, cmap + 4 + 8 * i)[2] for i in range(encodings)]
        full = next(at for at in maps if struct.unpack_from(">H", font, at) == (12,))
        (count,) = struct.unpack_from(">L", font, full + 12)
        starts, ends, _ = np.frombuffer(font, ">u4", 3 * count, full + 16).reshape(-1, 3).T.astype(np.int64)
    except (struct.error, KeyError, StopIteration, ValueError) as error:
        raise ContentError(
            f"{what} is not a TrueType font with a character map of format 12; restore it from its package"
        ) from error
    segment_M = np.searchsorted(starts, code_points_M, side="right") - 1
    return (segment_M >= 0) & (code_points_M <= ends[segment_M])


def _bitmaps(
    fonts: Mapping[str, bytes], dataset: str, image_size: tuple[int, int]
) -> Callable[[int, str], Image.Image]:
    """A function from code point and face to the character's ink, cut out; safe to call from several threads."""
    em_pixels = round(OVERSAMPLING * FILL * min(image_size) / CAPITAL_EM)
    lock = Lock()  # FreeType faces are not safe to share, and one lock costs less than a set of fonts a thread
    opened = {face: _open(font, em_pixels, f"{dataset}: face {face!r}") for face, font in fonts.items()}

    @lru_cache(CACHED_BITMAPS)
    def bitmap(code_point: int, face: str) -> Image.Image:
        character, font = chr(code_point), opened[face]
        with lock:
            left, top, right, bottom = map(int, font.getbbox(character))
            canvas = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
            ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=font)
        ink = canvas.getbbox()
        if ink is None:
            raise ContentError(f"{dataset}: class 'U+{code_point:04X}' has no ink in face {face!r}; drop the class")
        return canvas.crop(ink)

    return bitmap


def _open(font: bytes, em_pixels: int, what: str) -> ImageFont.FreeTypeFont:
    """The font at that size, without shaping: a character stands alone, whatever Pillow was built with."""
    try:
        return ImageFont.truetype(BytesIO(font), em_pixels, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise ContentError(f"{what} cannot be opened ({error}); restore it from its package") from error


def _draws(seed: int, code_point: int, k: int) -> np.ndarray:
    """Six numbers, uniform in [-1, 1), of example k: a hash in counter mode, so that no example waits for another."""
    digest = hashlib.blake2b(f"{seed} {code_point} {k}".encode(), digest_size=48).digest()
    return np.frombuffer(digest, "<u8") / 2.0**63 - 1


def _distorted(ink: Image.Image, draws: np.ndarray, options: Options) -> Image.Image:
    """The picture: ink scaled to its size, turned, slanted, stretched and moved, and never cut off."""
    height, width = options.image_size
    turn = math.radians(options.rotation_degrees) * draws[0]
    slant = np.array([[1, options.shear * draws[1]], [0, 1]])
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shape = rotation @ slant @ np.diag(1 + options.scale * draws[2:4])

    # The glyph's box after the distortion; it is made to fit, and then moved no further than the border.
    em_pixels = OVERSAMPLING * FILL * min(height, width) / CAPITAL_EM
    length = max(ink.size)
    shape *= FILL * min(height, width) * math.sqrt(length / em_pixels / CAPITAL_EM) / length
    room = np.array([width, height]) - 2 * BORDER
    shape *= min(1, (room / (np.abs(shape) @ ink.size)).min())
    slack = (room - np.abs(shape) @ ink.size) / 2
    centre = np.array([width, height]) / 2 + np.clip(options.shift_pixels * draws[4:6], -slack, slack)

    # Pillow asks where in the ink each pixel comes from.
    inverse = np.linalg.inv(shape * OVERSAMPLING)
    origin = np.array(ink.size) / 2 - inverse @ (centre * OVERSAMPLING)
    (a, b), (d, e) = inverse
    large = ink.transform(
        (width * OVERSAMPLING, height * OVERSAMPLING),
        Image.Transform.AFFINE,
        (a, b, origin[0], d, e, origin[1]),
        Image.Resampling.BILINEAR,
    )
    return large.reduce(OVERSAMPLING)


def _digest(fonts: Mapping[str, bytes]) -> str:
    """sha256 over the names and contents of the fonts, whatever their order."""
    digest = hashlib.sha256()
    for face, font in sorted(fonts.items()):
        digest.update(f"{face} {len(font)} ".encode())
        digest.update(font)
    return digest.hexdigest()
