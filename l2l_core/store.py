"""The prepared store: one memory-mapped safetensors file a data set, written once, opened in milliseconds.

Format (version 2). A store is a safetensors file, readable by any safetensors reader:

1. bytes 0-7: the header's length n, unsigned, little-endian; bytes 8 to 8+n: the header, JSON, padded with spaces so
   that the data begins at a multiple of 64.
2. tensor ``offsets``: int64 [classes + 1], little-endian, first in the file; class c is the examples offsets[c] to
   offsets[c+1] − 1.
3. tensor ``examples``. Of pictures: uint8 [M, C, H, W], all examples of class 0, then of class 1, and so on. Of texts
   and sounds: the values of all examples, one after the other; uint8 (UTF-8) or int16 (samples), little-endian.
4. tensor ``bounds``, of texts and sounds only, last in the file: int64 [M + 1], little-endian; example i is the values
   bounds[i] to bounds[i+1] − 1.
5. ``__metadata__``: ``format`` and ``format_version``; ``manifest``, a JSON object with the fields of `Manifest`;
   ``source``, the sha256 of the raw files' content; ``data_sha256``, of all that follows the header; ``sha256``, of the
   manifest, ``data_sha256`` and the source, one after the other; digests in hex.
6. Refused: any other format version, other tensors than these, or of another type or place; a file whose length
   differs from what the header says; offsets that do not ascend from 0 to M; bounds that descend, or do not lead from
   0 to the last value; a header over 256 MiB.

Nothing in a store is ever executed or unpickled. The data is checked against its sha256 by `verify_store`, not at
opening, which reads the header, the offsets and the bounds only.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.errors import StoreError
from l2l_core.files import replacing, writing
from l2l_core.records import Modality

FORMAT: Final = "l2l_core store"
FORMAT_VERSION: Final = 2
DTYPES: Final[Mapping[Modality, str]] = {"images": "<u1", "texts": "<u1", "sounds": "<i2"}
"""NumPy's name of the values' type."""
_TENSOR_TYPES: Final = {"<u1": "U8", "<i2": "I16", "<i8": "I64"}
_ALIGNMENT: Final = 64
_HEADER_LIMIT_BYTES: Final = 256 * 2**20
_CHUNK_BYTES: Final = 8 * 2**20
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds and where it came from.

    Attributes:
        dataset: name of the data set.
        key: form and digest of everything that decides the content, as in the file's name.
        classes: class names, in the order of the store.
        recipe: reader, its version and the options it was given.
        versions: of the packages that made the examples.
        modality: what an example is.
        sample_rate_hz: of sounds.
    """

    dataset: str
    key: str
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    modality: Modality = "images"
    sample_rate_hz: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open store; it pickles as its path.

    Attributes:
        path: the file.
        manifest: what it holds.
        source: sha256 of the raw files' content, however they were packed.
        data_sha256: of the data alone: the same whatever form of the raw data it was made from.
        sha256: of manifest, data and source, as the file states it.
        examples: read-only and memory-mapped; of pictures uint8 [M, C, H, W], else the values of all examples in a row.
        offsets: int64 [classes + 1]; class c is the examples offsets[c]:offsets[c+1].
        bounds: int64 [M + 1], example i is the values bounds[i]:bounds[i+1]; None of pictures.
    """

    path: Path
    manifest: Manifest
    source: str
    data_sha256: str
    sha256: str
    examples: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def example(self, i: int) -> npt.NDArray[Any]:
        """Example i: a view of the mapped file."""
        view: npt.NDArray[Any] = (
            self.examples[i] if self.bounds is None else self.examples[self.bounds[i] : self.bounds[i + 1]]
        )
        return view

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path,)


def _header(
    manifest: Manifest, text: str, counts: Sequence[int], shape: Sequence[int], values: int, source: str, data: str
) -> bytes:
    dtype = DTYPES[manifest.modality]
    offsets_end = 8 * (len(counts) + 1)
    examples_end = offsets_end + values * np.dtype(dtype).itemsize
    pictures = manifest.modality == "images"
    header: dict[str, Any] = {
        "__metadata__": {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "manifest": text,
            "source": source,
            "data_sha256": data,
            "sha256": _digest_of_all(text, data, source),
        },
        "offsets": {"dtype": "I64", "shape": [len(counts) + 1], "data_offsets": [0, offsets_end]},
        "examples": {
            "dtype": _TENSOR_TYPES[dtype],
            "shape": [sum(counts), *shape] if pictures else [values],
            "data_offsets": [offsets_end, examples_end],
        },
    }
    if not pictures:
        bounds = sum(counts) + 1
        header["bounds"] = {
            "dtype": "I64",
            "shape": [bounds],
            "data_offsets": [examples_end, examples_end + 8 * bounds],
        }
    content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return struct.pack("<Q", len(content)) + content


def _digest_of_all(manifest_text: str, data_sha256: str, source: str) -> str:
    return hashlib.sha256((manifest_text + data_sha256 + source).encode()).hexdigest()


def _padded(header: bytes, length: int) -> bytes:
    """The header with spaces behind it, and its own length corrected."""
    return struct.pack("<Q", length - 8) + header[8:].ljust(length - 8)


def write_store(
    path: Path,
    manifest: Manifest,
    counts: Sequence[int],
    shape: Sequence[int] | None,
    examples: Iterable[npt.NDArray[Any]],
    source: Callable[[], str],
) -> None:
    """Write a store beside `path` and rename it onto it; a failure at any moment leaves `path` as it was.

    Args:
        path: the file to be.
        manifest: what the store holds.
        counts: examples of each class, in the order of `manifest.classes`.
        shape: (C, H, W) of a picture; None for texts and sounds, which are of any length.
        examples: sum(counts) of them, class by class: uint8 [C, H, W], or of texts uint8 [bytes], of sounds int16
            [samples].
        source: gives the sha256 of the raw files' content, in hex; called after the last example.

    Raises:
        StoreError: an example has another shape or type, or their number is not sum(counts).
        CacheError: the folder cannot be written.
    """
    text = json.dumps(asdict(manifest), ensure_ascii=False, sort_keys=True)
    dtype = np.dtype(DTYPES[manifest.modality])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype("<i8")
    total = int(offsets[-1])
    bounds = np.zeros(total + 1, "<i8")
    # How many values there are and what they digest to is known only in the end; so the header is written again in its
    # place, for which room is left as for the largest number.
    room = _header(manifest, text, counts, shape or (), _LARGEST, "0" * 64, "0" * 64)
    length = len(room) + -len(room) % _ALIGNMENT
    with replacing(path) as part, writing(path.name, path), part.open("wb") as stream:
        stream.write(_padded(room, length))
        digest = hashlib.sha256(offsets.tobytes())
        stream.write(offsets.tobytes())
        written = values = 0
        for example in examples:
            fits = example.ndim == 1 if shape is None else example.shape == tuple(shape)
            if written == total:
                raise StoreError(f"{manifest.dataset}: more than {total} examples; the reader is at fault")
            if not fits or example.dtype != dtype:
                raise StoreError(
                    f"{manifest.dataset}: example {written} of {total} is {example.dtype} {list(example.shape)} "
                    f"instead of {dtype} {'[any length]' if shape is None else list(shape)}; the reader is at fault"
                )
            content = example.tobytes()
            digest.update(content)
            stream.write(content)
            written += 1
            values += example.size
            bounds[written] = values
        if written != total:
            raise StoreError(f"{manifest.dataset}: {written} examples instead of {total}; the reader is at fault")
        if shape is None:
            digest.update(bounds.tobytes())
            stream.write(bounds.tobytes())
        header = _header(manifest, text, counts, shape or (), values, source(), digest.hexdigest())
        stream.seek(0)
        stream.write(_padded(header, length))


def _damaged(path: Path, found: str) -> StoreError:
    return StoreError(f"{path} is not a usable store: {found}; remove it and prepare the data set again")


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the data begins."""
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 0 < length <= _HEADER_LIMIT_BYTES:
                raise _damaged(path, "it has no header")
            header = json.loads(stream.read(length))
    except FileNotFoundError:
        raise StoreError(f"there is no store {path}; prepare the data set first") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; make it readable") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    return header, 8 + length


def open_store(path: Path) -> Store:
    """The store in a file, mapped: only the header, the offsets and the bounds are read.

    Raises:
        StoreError: the file is absent, cut off, or not a store of this version.
    """
    header, start = _read_header(path)
    try:
        metadata = header["__metadata__"]
        if metadata["format"] != FORMAT or metadata["format_version"] != str(FORMAT_VERSION):
            raise _damaged(path, f"it is {metadata['format']!r} version {metadata['format_version']}")
        fields = json.loads(metadata["manifest"])
        manifest = Manifest(**{**fields, "classes": tuple(fields["classes"])})
        dtype, examples = DTYPES[manifest.modality], header["examples"]
        types = {"offsets": "<i8", "examples": dtype, **({} if manifest.modality == "images" else {"bounds": "<i8"})}
        if header.keys() != {"__metadata__", *types}:
            raise _damaged(path, f"its examples are not {manifest.modality}")
        size_bytes = path.stat().st_size
        if size_bytes != start + _end(header, types):
            raise _damaged(path, f"it has {size_bytes} bytes, not what its header says")

        def integers(tensor: Mapping[str, Any]) -> npt.NDArray[np.int64]:
            return np.fromfile(path, "<i8", tensor["shape"][0], offset=start + tensor["data_offsets"][0])

        # A map cannot be empty, but texts can.
        values = (
            np.memmap(path, dtype, "r", start + examples["data_offsets"][0], tuple(examples["shape"]))
            if prod(examples["shape"])
            else np.empty(examples["shape"], dtype)
        )
        offsets, bounds = integers(header["offsets"]), integers(header["bounds"]) if "bounds" in header else None
        store = Store(
            path, manifest, metadata["source"], metadata["data_sha256"], metadata["sha256"], values, offsets, bounds
        )
        many = len(values) if bounds is None else len(bounds) - 1
        # Compared and not subtracted, for differences of wild numbers overflow.
        if offsets[0] != 0 or offsets[-1] != many or (offsets[1:] <= offsets[:-1]).any():
            raise _damaged(path, "its offsets do not fit its examples")
        if bounds is not None and (bounds[0] != 0 or bounds[-1] != len(values) or (bounds[1:] < bounds[:-1]).any()):
            raise _damaged(path, "its bounds do not fit its examples")
        if len(offsets) - 1 != len(manifest.classes):
            raise _damaged(path, f"it names {len(manifest.classes)} classes and holds {len(offsets) - 1}")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError, RecursionError) as error:
        raise _damaged(path, f"its header is malformed ({error!r})") from None
    return store


def _end(header: Mapping[str, Any], types: Mapping[str, str]) -> int:
    """Where the last tensor ends, counted from the header, once each lies behind the one before it.

    Raises:
        ValueError: a tensor is not of its type, or lies elsewhere, or has another size than its shape.
    """
    end = 0
    for name, dtype in types.items():
        tensor = header[name]
        begin, end_of_it = tensor["data_offsets"]
        size_bytes = prod(tensor["shape"]) * np.dtype(dtype).itemsize
        if (tensor["dtype"], begin, end_of_it) != (_TENSOR_TYPES[dtype], end, end + size_bytes):
            raise ValueError(f"tensor {name}")
        end = end_of_it
    return end


def verify_store(store: Store) -> None:
    """Read a store's data once and compare it with its sha256.

    Raises:
        StoreError: the data is not what was written.
    """
    header, start = _read_header(store.path)
    digest = hashlib.sha256()
    try:
        with store.path.open("rb") as stream:
            stream.seek(start)
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise _damaged(store.path, f"it cannot be read ({error.strerror})") from None
    if digest.hexdigest() != store.data_sha256:
        raise _damaged(store.path, f"its data has sha256 {digest.hexdigest()} instead of {store.data_sha256}")
    found = _digest_of_all(header["__metadata__"]["manifest"], store.data_sha256, store.source)
    if found != store.sha256:
        raise _damaged(store.path, f"its header has sha256 {found} instead of {store.sha256}")
