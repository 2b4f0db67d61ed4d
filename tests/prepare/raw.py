"""Raw files in the layouts in which data sets go round, made small; and what a reader makes of them."""

import csv
import io
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from l2l_core.prepare.readers import RawDataset, Reader, Wanted
from l2l_core.records import Subset
from l2l_core.store import Manifest, Store, open_store, write_store

PICTURES: Mapping[str, Any] = {"mode": "RGB", "image_size": [6, 5], "resample": "bilinear"}
"""Options of pictures that are not square, so that a turned one is seen."""


@dataclass(frozen=True)
class MemoryTree:
    """Files that are nowhere but in memory."""

    files: Mapping[str, bytes]
    name: str = "copy.zip"

    def names(self) -> Sequence[str]:
        return sorted(self.files)

    def size(self, name: str) -> int:
        return len(self.files[name])

    def read(self, name: str) -> bytes:
        return self.files[name]

    def view(self, name: str) -> memoryview:
        return memoryview(self.files[name])

    def close(self) -> None:
        pass


def split_of(name: str) -> dict[str, Subset]:
    """Class to subset, of a list in metadata/splits such as ``cifar-fs/bertinetto``."""
    path = Path(__file__).parents[2] / f"metadata/splits/{name}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["class"]: row["subset"] for row in csv.DictReader(stream)}


def want(subset_of: Mapping[str, Subset], options: Mapping[str, Any], **more: Any) -> Wanted:
    """What a data set `made` should hold, its classes in alphabetical order as in a store."""
    return Wanted("made", options, sorted(subset_of), subset_of=dict(subset_of), **more)


def prepared(reader: Reader, files: Mapping[str, bytes], wanted: Wanted, folder: Path) -> Store:
    """The store of what the reader finds, loaded by several threads as `l2l_core.prepare.build` does it."""
    raw = reader.read(MemoryTree(files), wanted)
    return stored(raw, wanted, folder)


def stored(raw: RawDataset, wanted: Wanted, folder: Path) -> Store:
    """The store of raw data."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made.safetensors"
    counts = [len(raw.examples[name]) for name in wanted.classes]
    manifest = Manifest("made", path.stem, tuple(wanted.classes), {}, {}, wanted.modality)
    listed = [example for name in wanted.classes for example in raw.examples[name]]
    with ThreadPoolExecutor(4) as pool:
        blocks = pool.map(
            lambda at: [raw.load(example) for example in listed[at : at + 100]], range(0, len(listed), 100)
        )
        write_store(path, manifest, counts, raw.shape, chain.from_iterable(blocks), raw.digest)
    return open_store(path)


def of_class(store: Store, name: str) -> list[np.ndarray]:
    """The examples of a class."""
    number = store.manifest.classes.index(name)
    return [store.example(i) for i in range(store.offsets[number], store.offsets[number + 1])]


def pixels(seed: int, count: int, *shape: int) -> np.ndarray:
    """Random pictures, uint8 [count, *shape]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def sample_pictures(test_data: Path, count: int, size: tuple[int, int]) -> np.ndarray:
    """Photographs of the sample of ImageNet, uint8 [count, *size, 3]."""
    with zipfile.ZipFile(test_data / "imagenet-sample.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".JPEG", ".jpg")))
        step = max(len(names) // count, 1)
        found = [
            np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize(size[::-1]))
            for name in names[::step][:count]
        ]
    return np.stack([found[i % len(found)] for i in range(count)])


def png(picture: np.ndarray) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    """An array as a ``.npy`` file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, allow_pickle=False)
    return stream.getvalue()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    """Arrays as an ``.npz`` file."""
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def python2_pickle(value: object) -> bytes:
    """A value as Python 2 pickles it with protocol 2, its texts as bytes."""
    stream = io.BytesIO()
    stream.write(b"\x80\x02")
    write_python2(stream, value)
    stream.write(b".")
    return stream.getvalue()


def write_python2(stream: BinaryIO, value: object) -> None:
    """The opcodes of a value, which may be one iterator of values, written as a list."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        stream.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01")
        write_python2(stream, tuple(map(int, array.shape)))
        stream.write(b"cnumpy\ndtype\nU" + bytes([len(array.dtype.str) - 1]) + array.dtype.str[1:].encode())
        order = array.dtype.str[:1].encode()
        stream.write(b"K\x00K\x01\x87R(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
        write_python2(stream, array.tobytes())
        stream.write(b"tb")
    elif isinstance(value, str | bytes):
        content = value.encode() if isinstance(value, str) else value
        stream.write(b"T" + struct.pack("<i", len(content)) + content)
    elif isinstance(value, int):
        stream.write(b"J" + struct.pack("<i", value))
    elif isinstance(value, dict):
        stream.write(b"}(")
        for key, entry in value.items():
            write_python2(stream, key)
            write_python2(stream, entry)
        stream.write(b"u")
    elif isinstance(value, tuple):
        stream.write(b"(")
        for item in value:
            write_python2(stream, item)
        stream.write(b"t")
    else:
        assert isinstance(value, Iterable), value
        stream.write(b"](")
        for item in value:
            write_python2(stream, item)
        stream.write(b"e")
