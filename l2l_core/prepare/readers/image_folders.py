"""Pictures in nested folders: a class is a folder, named by the last `class_depth` parts of its path.

Whatever lies above those parts does not matter, so the official archives, a repacked zip and an unpacked copy in some
other folder all read alike.
"""

import hashlib
import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from l2l_core.errors import CatalogError, ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import Fields
from l2l_core.prepare.readers import RawDataset
from l2l_core.records import DatasetRecord

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm"})
CHANNELS: Final = {"L": 1, "RGB": 3}
FILTERS: Final = tuple(name.lower() for name in Image.Resampling.__members__)
MAX_SIDE: Final = 1024
"""Pixels; no few-shot benchmark comes near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a picture becomes an array; the fields of ``[prepared]`` in a catalogue entry.

    Attributes:
        class_depth: how many folder names make a class.
        mode: Pillow's picture mode, L or RGB; converted to before resizing, since Pillow resizes 1-bit pictures with
            nearest neighbour whatever filter is asked for.
        invert: whether dark becomes 255; false where it is not said.
        image_size: height and width in pixels after resizing.
        resample: Pillow's name of the filter in lower case, for example lanczos.
    """

    class_depth: int
    mode: str
    invert: bool
    image_size: tuple[int, int]
    resample: str


def options_of(record: DatasetRecord) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    problems: list[str] = []
    fields = Fields(record.prepared, f"{record.name}: prepared.", problems)
    image_size = fields.optional_size("image_size")
    options = Options(
        class_depth=fields.integer("class_depth"),
        mode=fields.text("mode", "|".join(CHANNELS), " or ".join(CHANNELS)),
        invert=fields.flag("invert"),
        image_size=image_size or (0, 0),
        resample=fields.text("resample", "|".join(FILTERS), "one of " + ", ".join(FILTERS)),
    )
    if image_size is None and "image_size" not in record.prepared:
        fields.problem("image_size", "missing")
    if max(options.image_size) > MAX_SIDE:
        fields.problem("image_size", f"expected at most {MAX_SIDE} pixels a side, found {list(options.image_size)}")
    fields.done()
    if problems:
        raise CatalogError(problems)
    return options


def read(tree: Tree, record: DatasetRecord, classes: Sequence[str]) -> RawDataset:
    """The pictures of `classes` in a tree, checked against the record by name and count.

    Raises:
        ContentError: a class is missing, has another number of pictures than the record says, or is unknown; or, from
            `load`, a picture that cannot be decoded or has another size than the record says.
        CatalogError: the record's options are malformed.
    """
    options = options_of(record)
    members = _members_by_class(tree, options.class_depth)
    _check(tree, record, members, classes)
    hashes: dict[str, bytes] = {}

    def load(member: Hashable) -> np.ndarray:
        name = str(member)
        content = tree.read(name)
        hashes[name] = hashlib.sha256(content).digest()
        try:
            return _decode(content, options, record.raw.image_size)
        except ContentError as error:
            raise ContentError(f"{record.name}: {name} in {tree.name} {error}") from None

    def digest() -> str:
        """Sha256 over class, file name and content of every picture: the same for every packing of the same files."""
        total = hashlib.sha256()
        for class_name in sorted(classes):
            for member in members[class_name]:
                total.update(f"{class_name}/{PurePosixPath(member).name}\0".encode() + hashes[member])
        return total.hexdigest()

    shape = (CHANNELS[options.mode], *options.image_size)
    return RawDataset({name: members[name] for name in classes}, shape, load, digest)


def _members_by_class(tree: Tree, depth: int) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for name in tree.names():
        path = PurePosixPath(name)
        if path.suffix.lower() in SUFFIXES and len(path.parts) > depth:
            members.setdefault("/".join(path.parts[-depth - 1 : -1]), []).append(name)
    return members


def _check(tree: Tree, record: DatasetRecord, members: Mapping[str, Sequence[str]], classes: Sequence[str]) -> None:
    advice = "give a complete copy in the layout of the official files"
    missing = [name for name in classes if name not in members]
    archives = [name for name in tree.names() if name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))]
    if missing and archives:
        advice = f"give the archives in it themselves, such as {archives[0]}"
    if missing:
        raise ContentError(
            f"{record.name}: {len(missing):,} of {len(classes):,} classes are missing from {tree.name} "
            f"(the first is {missing[0]}); {advice}"
        )
    # A stranger beside known classes means another edition; whole other folders (small sets, strokes) do not matter.
    known = set(classes)
    parents = {str(PurePosixPath(name).parent) for name in classes} - {"."}
    strangers = [name for name in members if name not in known and str(PurePosixPath(name).parent) in parents]
    if strangers:
        raise ContentError(
            f"{record.name}: {tree.name} holds {min(strangers)}, which is none of the {len(classes):,} classes; "
            f"{advice}"
        )
    expected = record.raw.examples_per_class
    for name in classes:
        if expected is not None and len(members[name]) != expected:
            raise ContentError(
                f"{record.name}: {name} in {tree.name} has {len(members[name])} pictures instead of {expected}; "
                f"{advice}"
            )


def _decode(content: bytes, options: Options, raw_size: tuple[int, int] | None) -> np.ndarray:
    """A picture file as uint8 [C, H, W]; raises ContentError with the second half of a sentence."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if raw_size is not None and (image.height, image.width) != raw_size:
                raise ContentError(
                    f"is {image.height}x{image.width} pixels instead of {raw_size[0]}x{raw_size[1]}; "
                    f"give the original pictures, not a resized copy"
                )
            picture = image.convert(options.mode)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ContentError(f"is not a readable picture ({error}); get the file anew") from None
    height, width = options.image_size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling[options.resample.upper()])
    array = np.asarray(picture)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return 255 - array if options.invert else array
