"""Picture files to read, drawn and real, and what Pillow alone makes of them."""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from l2l_core.prepare.readers import Wanted, get_reader
from l2l_core.store import Store
from tests.prepare.raw import PICTURES, MemoryTree, of_class, prepared


def encoded(pixels: np.ndarray, format: str = "JPEG", **options: Any) -> bytes:
    """A picture file of pixels, uint8 [H, W] or [H, W, 3]."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


@cache
def drawn(number: int, format: str = "JPEG") -> bytes:
    """A small picture, another for every number and of one of eight sizes: 13x17 plus the number modulo 8."""
    coarse = np.random.default_rng(number).integers(0, 256, (5, 4, 3), np.uint8)
    width, height = 17 + number % 8, 13 + number % 8
    return encoded(np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)), format)


@cache
def real(archive: Path) -> Mapping[str, bytes]:
    """Name to content of the photographs in the sample of ImageNet, 64x64 JPEGs."""
    with zipfile.ZipFile(archive) as pictures:
        return {name: pictures.read(name) for name in sorted(pictures.namelist()) if name.endswith(".JPEG")}


def contents(photographs: Mapping[str, bytes] | None, count: int) -> Sequence[bytes]:
    """Real pictures, or drawn ones for None, as many as asked for; the real ones are repeated where they run out."""
    if photographs is None:
        return [drawn(number % 96) for number in range(count)]
    names = list(photographs)
    return [photographs[names[37 * number % len(names)]] for number in range(count)]


@cache
def by_hand(content: bytes, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """What Pillow alone makes of a picture file under the options `PICTURES`, uint8 [3, H, W]."""
    with Image.open(io.BytesIO(content)) as image:
        picture = image.convert("RGB")
    height, width = PICTURES["image_size"]
    resized = (picture.crop(box) if box else picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.stack([np.asarray(plane) for plane in resized.split()])


def statistics(dataset: str) -> dict[str, int]:
    """Class to its number of examples, of a list in metadata/stats."""
    path = Path(__file__).parents[2] / f"metadata/stats/{dataset}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["class"]: int(row["examples"]) for row in csv.DictReader(stream)}


def assert_prepared(
    reader: str, files: Mapping[str, bytes], wanted: Wanted, expected: Mapping[str, Sequence[np.ndarray]], folder: Path
) -> Store:
    """Reading the files gives a store of just these examples, class by class and in this order."""
    assert sorted(expected) == list(wanted.classes)
    store = prepared(get_reader(reader), files, wanted, folder)
    assert np.diff(store.offsets).tolist() == [len(expected[name]) for name in wanted.classes]
    for name in wanted.classes:
        for position, (found, array) in enumerate(zip(of_class(store, name), expected[name], strict=True)):
            assert found.dtype == array.dtype
            assert np.array_equal(found, array), (name, position)
    return store


def source_of(reader: str, files: Mapping[str, bytes], wanted: Wanted, name: str = "copy.zip") -> str:
    """The digest that a reader gives to files, all of which were loaded."""
    raw = get_reader(reader).read(MemoryTree(files, name), wanted)
    for examples in raw.examples.values():
        for example in examples:
            raw.load(example)
    return raw.digest()


def elsewhere(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same files in some other folder, beside a file of no interest."""
    return {f"some/where/{name}": content for name, content in files.items()} | {"some/README.md": b"hello"}


def changed(files: Mapping[str, bytes], change: Callable[[dict[str, bytes]], object]) -> dict[str, bytes]:
    """The files after a change."""
    copy = dict(files)
    change(copy)
    return copy
