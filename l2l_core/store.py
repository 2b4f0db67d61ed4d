"""The prepared store: one memory-mapped safetensors file a data set, written once, opened in milliseconds.

Format (version 1). A store is a safetensors file, readable by any safetensors reader:

1. bytes 0-7: the header's length n, unsigned, little-endian; bytes 8 to 8+n: the header, JSON, padded with spaces so
   that the data begins at a multiple of 64.
2. tensor ``examples``: uint8 [M, C, H, W], all examples of class 0, then of class 1, and so on.
3. tensor ``offsets``: int64 [classes + 1], little-endian; class c is the slice offsets[c]:offsets[c+1] of `examples`.
   It stands first in the file, so that the examples end it.
4. ``__metadata__``: ``format`` and ``format_version``; ``manifest``, a JSON object with the fields of `Manifest`;
   ``source``, the sha256 of the raw files' content; ``sha256`` over the manifest, the data and the source, in hex.
5. Refused: any other format version, a file whose length differs from what the header says, offsets that do not
   ascend from 0 to M, a header over 256 MiB.

Nothing in a store is ever executed or unpickled. The data is checked against its sha256 by `verify_store`, not at
opening, which reads the header only.
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

FORMAT: Final = "l2l_core store"
FORMAT_VERSION: Final = 1
_ALIGNMENT: Final = 64
_HEADER_LIMIT_BYTES: Final = 256 * 2**20
_CHUNK_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds and where it came from.

    Attributes:
        dataset: name of the data set.
        key: digest of everything that decides the content, as in the file's name.
        classes: class names, in the order of the store.
        recipe: reader, its version and the options it was given.
        versions: of the packages that made the pixels.
    """

    dataset: str
    key: str
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open store; it pickles as its path.

    Attributes:
        path: the file.
        manifest: what it holds.
        source: sha256 of the raw files' content, however they were packed.
        sha256: of manifest, data and source, as the file states it.
        examples: uint8 [M, C, H, W], read-only and memory-mapped.
        offsets: int64 [classes + 1]; class c is the slice offsets[c]:offsets[c+1] of `examples`.
    """

    path: Path
    manifest: Manifest
    source: str
    sha256: str
    examples: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path,)


def _header(manifest_text: str, counts: Sequence[int], shape: Sequence[int], source: str, sha256: str) -> bytes:
    examples = sum(counts)
    offsets_bytes = 8 * (len(counts) + 1)
    header = {
        "__metadata__": {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "manifest": manifest_text,
            "source": source,
            "sha256": sha256,
        },
        "offsets": {"dtype": "I64", "shape": [len(counts) + 1], "data_offsets": [0, offsets_bytes]},
        "examples": {
            "dtype": "U8",
            "shape": [examples, *shape],
            "data_offsets": [offsets_bytes, offsets_bytes + examples * prod(shape)],
        },
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def write_store(
    path: Path,
    manifest: Manifest,
    counts: Sequence[int],
    shape: Sequence[int],
    examples: Iterable[npt.NDArray[np.uint8]],
    source: Callable[[], str],
) -> None:
    """Write a store beside `path` and rename it onto it; a failure at any moment leaves `path` as it was.

    Args:
        path: the file to be.
        manifest: what the store holds.
        counts: examples of each class, in the order of `manifest.classes`.
        shape: (C, H, W) of an example.
        examples: uint8 arrays [C, H, W], sum(counts) of them, class by class.
        source: gives the sha256 of the raw files' content, in hex; called after the last example.

    Raises:
        StoreError: an example has another shape or type, or their number is not sum(counts).
        CacheError: the folder cannot be written.
    """
    manifest_text = json.dumps(asdict(manifest), ensure_ascii=False, sort_keys=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype("<i8")
    with replacing(path) as part, writing(path.name, path), part.open("wb") as stream:
        # The digests are known only after the data; their length is fixed, so the header is written again in its place.
        stream.write(_header(manifest_text, counts, shape, "0" * 64, "0" * 64))
        digest = hashlib.sha256(manifest_text.encode())
        digest.update(offsets.tobytes())
        stream.write(offsets.tobytes())
        written = 0
        for example in examples:
            if example.shape != tuple(shape) or example.dtype != np.uint8:
                raise StoreError(
                    f"{manifest.dataset}: example {written} is {example.dtype} {list(example.shape)} "
                    f"instead of uint8 {list(shape)}; the reader is at fault"
                )
            content = example.tobytes()
            digest.update(content)
            stream.write(content)
            written += 1
        if written != sum(counts):
            raise StoreError(f"{manifest.dataset}: {written} examples instead of {sum(counts)}; the reader is at fault")
        source_digest = source()
        digest.update(source_digest.encode())
        stream.seek(0)
        stream.write(_header(manifest_text, counts, shape, source_digest, digest.hexdigest()))


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
    """The store in a file, mapped: only the header is read.

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
        examples, offsets = header["examples"], header["offsets"]
        size_bytes = path.stat().st_size
        if size_bytes != start + max(examples["data_offsets"][1], offsets["data_offsets"][1]):
            raise _damaged(path, f"it has {size_bytes} bytes, not what its header says")
        store = Store(
            path,
            manifest,
            metadata["source"],
            metadata["sha256"],
            np.memmap(path, np.uint8, "r", start + examples["data_offsets"][0], tuple(examples["shape"])),
            np.fromfile(path, "<i8", offsets["shape"][0], offset=start + offsets["data_offsets"][0]),
        )
        steps = np.diff(store.offsets)
        if store.offsets[0] != 0 or store.offsets[-1] != len(store.examples) or steps.min(initial=1) < 1:
            raise _damaged(path, "its offsets do not fit its examples")
        if len(steps) != len(manifest.classes):
            raise _damaged(path, f"it names {len(manifest.classes)} classes and holds {len(steps)}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
        raise _damaged(path, f"its header is malformed ({error!r})") from None
    return store


def verify_store(store: Store) -> None:
    """Read a store's data once and compare it with its sha256.

    Raises:
        StoreError: the data is not what was written.
    """
    header, start = _read_header(store.path)
    digest = hashlib.sha256(header["__metadata__"]["manifest"].encode())
    with store.path.open("rb") as stream:
        stream.seek(start)
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    digest.update(store.source.encode())
    if digest.hexdigest() != store.sha256:
        raise _damaged(store.path, f"its data has sha256 {digest.hexdigest()} instead of {store.sha256}")
