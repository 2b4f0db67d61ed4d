"""Rows of numbers in MATLAB files, which is all that files of labels hold.

Files of version 5, as MATLAB 5 to 7.2 save them, plain or compressed. SciPy reads them, too, but can be made to crash
by a damaged one, and a file from the network may be damaged.

Source: The MathWorks, MAT-File Format, "Level 5 MAT-file format".
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_NUMBERS: Final = 10_000_000
"""In a row; no data set has so many labelled pictures."""

_HEADER_BYTES: Final = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""How numbers may be stored, whatever class of array they make."""
_CLASSES_OF_NUMBERS: Final = range(6, 16)
_COMPLEX: Final = 0x800


def rows_of_numbers(content: bytes) -> dict[str, npt.NDArray[np.generic] | None]:
    """Variable to its numbers, [N]; None for a variable that is no row or column of at most `MAX_NUMBERS` real ones.

    Raises:
        ValueError: it is no MATLAB file of version 5, or a damaged one.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[_HEADER_BYTES - 2 : _HEADER_BYTES])
    if order is None or struct.unpack(f"{order}H", content[_HEADER_BYTES - 4 : _HEADER_BYTES - 2]) != (0x0100,):
        raise ValueError("it has no header of version 5")
    rows = {}
    for kind, data in _elements(content[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(_inflated(data), order), (0, b""))
        if kind == _MATRIX:
            name, numbers = _matrix(data, order)
            rows[name] = numbers
    return rows


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each data element."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it ends within an element")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # a small element keeps its size beside its type, and its content in the same eight bytes
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise ValueError("a small element is too large")
        if start + size > len(data):
            raise ValueError("it ends within an element")
        yield kind, data[start : start + size]
        padding = 0 if kind == _COMPRESSED else -(start + size) % 8
        at = start + size + padding


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # No row that is taken is longer; and what is cut off here is found to be.
        return inflater.decompress(data, 8 * MAX_NUMBERS + 4096)
    except zlib.error as error:
        raise ValueError(f"it cannot be inflated: {error}") from None


def _matrix(data: bytes, order: str) -> tuple[str, npt.NDArray[np.generic] | None]:
    """Name and numbers of an array."""
    parts = list(islice(_elements(data, order), 4))
    if len(parts) < 3 or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise ValueError("an array has no head")
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    sides = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    name = parts[2][1].decode("latin-1")
    row = len(sides) == 2 and min(sides) == 1 and max(sides) <= MAX_NUMBERS
    if flags & _COMPLEX or flags & 0xFF not in _CLASSES_OF_NUMBERS or not row or len(parts) < 4:
        return name, None
    kind, numbers = parts[3]
    if kind not in _TYPES or len(numbers) != prod(sides) * int(_TYPES[kind][1]):
        raise ValueError(f"the numbers of {name!r} do not fill it")
    return name, np.frombuffer(numbers, order + _TYPES[kind])
