"""Arrays of NumPy's own file formats, read without unpickling anything."""

import io
import math
import warnings
import zlib
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from l2l_core.errors import ContentError

_HEAD_BYTES: Final = 2**16
"""As much of a ``.npy`` file as its header can take; NumPy itself reads none of more than 10,000 characters."""
_MAX_ARRAY_BYTES: Final = 2**30
"""Of an array that is inflated into memory; the largest of a data set here, FC100's training pictures, has 111 MB."""
_REASON_LENGTH: Final = 120
_HEADERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def npy_array(content: bytes | memoryview) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file, as a view of its bytes.

    Raises:
        ContentError: it is no such file, cut off, or holds Python objects; the message is the second half of a
            sentence, for the caller to say of which file.

    Source: the format's description in numpy.lib.format.
    """
    stream = io.BytesIO(memoryview(content)[:_HEAD_BYTES])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Python 2 wrote the header is no news here
            version = npy.read_magic(stream)
            if version not in _HEADERS:
                raise ValueError(f"its format version is {version[0]}.{version[1]}, not 1.0 or 2.0")
            shape, by_columns, dtype = _HEADERS[version](stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        start, size = stream.tell(), math.prod(shape) * dtype.itemsize
        if len(content) - start != size or min(shape, default=0) < 0:
            raise ValueError(f"{len(content) - start:,} bytes follow its header instead of the {size:,} of {shape}")
        return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    except Exception as error:  # on a damaged header NumPy raises whatever it runs into, and may quote all of it
        reason = " ".join(str(error).split())[:_REASON_LENGTH]
        raise ContentError(f"is not a whole .npy file ({reason}); get the file anew") from None


def npz_arrays(content: memoryview, keys: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Those of the arrays of an ``.npz`` file that are under one of the keys, in memory.

    Raises:
        ContentError: it is no such file, or is damaged; the message is the second half of a sentence.
    """
    try:
        with ZipFile(_Stream(content)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            arrays = {}
            for key in keys:
                if (info := members.get(key)) is None:
                    continue
                if info.file_size > _MAX_ARRAY_BYTES or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                    raise BadZipFile(f"{key} is larger or packed in another way than np.savez does for a data set")
                arrays[key] = npy_array(archive.read(info))
            return arrays
    except (BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise ContentError(
            f"is not a whole .npz file ({str(error) or 'it ends too early'}); get the file anew"
        ) from None


class _Stream(io.RawIOBase):
    """Bytes as a file, without a copy of them, which `io.BytesIO` makes."""

    def __init__(self, content: memoryview) -> None:
        super().__init__()
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        if start + offset < 0:
            raise OSError("it points before its beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
