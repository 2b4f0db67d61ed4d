"""Any data set as files: pictures, texts or sounds, one an example, in a folder a class."""

import io
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.data.datasets import MetaDataset
from l2l_core.errors import CacheError, UsageError
from l2l_core.files import writing
from l2l_core.prepare.own import CLASSES_COLUMNS, CLASSES_FILE
from l2l_core.prepare.sounds import encode_sound
from l2l_core.records import Modality

SUFFIXES: Final[dict[Modality, str]] = {"images": ".png", "texts": ".txt", "sounds": ".wav"}
_ADVICE: Final = "choose another place"
_HELD: Final = (
    "give images [C, H, W] of 1 or 3 channels in uint8 or float32, texts, or sounds [samples] of a data set that has "
    "sample_rate_hz"
)
_EXACT_MODES: Final = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
"""Pillow's modes of which nothing is lost when a picture is converted to another."""
_LONGEST_NAME: Final = 100
"""Characters of a folder's name: in UTF-8 they stay below the 255 bytes that common file systems allow, and leave room
in the 260 characters of a whole path on Windows."""
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|__macosx)(\..*)?", re.IGNORECASE)
_NOT_IN_NAMES: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_ROUNDING: Final = 1e-3
"""By how much 255 times a pixel in [0, 1], or 32768 times a sample, may miss a whole number: float32 is far closer."""


def to_folder(dataset: Dataset[Any], path: str | os.PathLike[str]) -> Path:
    """The folder that holds a data set as files, ``CLASS/00000.png`` and so on; `from_folder` reads it.

    Images become PNG files of the same pixels, texts UTF-8 files and sounds WAV files. Class folders are called like
    the classes, as far as file systems allow; ``classes.csv`` beside them says which folder is which class, and of
    which superclass. The folder appears whole or not at all.

    Args:
        dataset: a prepared data set, or any that `MetaDataset` takes. Its examples are of one kind: images, uint8 or
            float in [0, 1], [C, H, W] of 1 or 3 channels, or Pillow's of mode 1, L, RGB or, without transparency, P;
            texts, str; or sounds, int16 or float in [-1, 1), [samples], if it has ``sample_rate_hz``.
        path: the folder to be; if it is there, it must be empty.

    Raises:
        CacheError: there is something in the folder already, or it cannot be written.
        UsageError: an example is none of that, of another kind than those before, or would have to be rounded; says
            which. Or the name of a class is no text that UTF-8 holds.
        TaskError: the data set has no examples or no classes.
    """
    import csv

    from tqdm import tqdm

    path = Path(path).absolute()
    meta = dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)
    index = meta.class_index
    names = [index.name(row) for row in range(len(index))]
    own = index is getattr(meta.dataset, "class_index", None)
    superclasses: Sequence[str] = (getattr(meta.dataset, "superclasses", ()) if own else ()) or [""] * len(names)
    for name in (*names, *superclasses):
        _utf8(name, f"class {name!r}")
    folders = _folder_names(names)
    modality: Modality | None = None
    with _appearing(path) as part, tqdm(desc=path.name, total=int(index.counts_C.sum()), disable=None) as bar:
        for row in np.argsort(index.rank_C):
            start, count = index.starts_C[row], index.counts_C[row]
            with writing(path.name, path, _ADVICE):
                (part / folders[row]).mkdir()
            for number, i in enumerate(index.ids(np.arange(start, start + count)).tolist()):
                modality, content = encoded(meta, i, modality)
                with writing(path.name, path, _ADVICE):
                    (part / folders[row] / f"{number:05}{SUFFIXES[modality]}").write_bytes(content)
                bar.update()
        with writing(path.name, path, _ADVICE), (part / CLASSES_FILE).open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(CLASSES_COLUMNS)
            table.writerows((folders[row], names[row], superclasses[row]) for row in np.argsort(index.rank_C))
    return path


def encoded(dataset: MetaDataset, i: int, modality: Modality | None = None) -> tuple[Modality, bytes]:
    """What example i is, and the PNG file, UTF-8 or WAV file of it.

    Args:
        dataset: where it is.
        i: its number.
        modality: what it must be, since those before it are; any for None.

    Raises:
        UsageError: it is none of what these hold or not what it must be, or would have to be rounded.
    """
    kind, content = _encoded(dataset, i)
    if modality not in (None, kind):
        raise UsageError(f"example {i} is of {kind}, and those before it of {modality}; give examples of one kind")
    return kind, content


def _encoded(dataset: MetaDataset, i: int) -> tuple[Modality, bytes]:
    example = dataset[i][0]
    if isinstance(example, str):
        return "texts", _utf8(example, f"example {i}")
    if isinstance(example, Image.Image):
        return "images", _png(_exact(example, i), i)
    try:
        array = example.numpy(force=True) if isinstance(example, Tensor) else np.asarray(example)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"example {i} is no array of numbers that files hold ({error}); {_HELD}") from None
    numeric = array.dtype.kind in "buif"
    if numeric and array.ndim == 3 and array.shape[0] in (1, 3):
        pixels = _whole(array, np.uint8, 255, f"example {i}, an image,")
        picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
        return "images", _png(picture, i)
    rate = getattr(dataset.dataset, "sample_rate_hz", None)
    if numeric and array.ndim == 1 and rate is not None:
        return "sounds", encode_sound(_whole(array, np.int16, 2**15, f"example {i}, a sound,"), rate)
    raise UsageError(f"example {i} is {array.dtype} {list(array.shape)}; {_HELD}")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} has half a character, {error.object[error.start]!r}; mend it") from None


def _exact(picture: Image.Image, i: int) -> Image.Image:
    """A picture in mode L or RGB, once nothing is lost by it."""
    transparent = picture.mode == "P" and picture.has_transparency_data
    if picture.mode not in _EXACT_MODES or transparent:
        raise UsageError(
            f"example {i} is a picture of mode {picture.mode}{' with transparency' * transparent}, of which L or RGB "
            "would lose a part; convert it to one of them as you see fit"
        )
    return picture.convert(_EXACT_MODES[picture.mode])


def _png(picture: Image.Image, i: int) -> bytes:
    if 0 in picture.size:
        raise UsageError(f"example {i} is an image of {picture.height}x{picture.width} pixels; leave it out")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _whole(array: npt.NDArray[Any], dtype: type[np.integer[Any]], scale: int, what: str) -> npt.NDArray[Any]:
    """The array as that type, floats times `scale`, once nothing is lost by it."""
    if array.dtype == dtype or not array.size:
        return array.astype(dtype, copy=False)
    if array.dtype.kind == "f":
        scaled, limits = array * scale, np.iinfo(dtype)
        whole = np.rint(scaled)
        fits = (np.abs(scaled - whole) < _ROUNDING) & (limits.min <= whole) & (whole <= limits.max)
        if fits.all():
            exact: npt.NDArray[Any] = whole.astype(dtype)
            return exact
    raise UsageError(
        f"{what} is {array.dtype} from {array.min():.4g} to {array.max():.4g}, which files of {np.dtype(dtype)} do not "
        f"hold exactly; give {np.dtype(dtype)}, or {scale}ths of it as floats, without normalisation or augmentation"
    )


def _folder_names(names: Sequence[str]) -> list[str]:
    """A folder for each class, called like it as far as all common file systems allow, and no two alike there."""
    taken: set[str] = set()
    folders = []
    for name in names:
        safe = _NOT_IN_NAMES.sub("_", unicodedata.normalize("NFC", name))[:_LONGEST_NAME]
        safe = "".join(letter if letter.isprintable() else "_" for letter in safe)
        # Windows drops dots and spaces at the end; a dot in front hides a folder.
        safe = re.sub(r"^[. ]|[. ]$", "_", safe) or "_"
        safe = f"_{safe}" if _RESERVED.fullmatch(safe) else safe
        while len(safe.encode()) > 2 * _LONGEST_NAME:
            safe = safe[:-1]
        stem, number = safe, 2
        while _folded(safe) in taken:
            safe, number = f"{stem}-{number}", number + 1
        taken.add(_folded(safe))
        folders.append(safe)
    return folders


def _folded(name: str) -> str:
    """The same for names that some file system takes for one."""
    return unicodedata.normalize("NFKD", name.upper().casefold())


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A new folder beside the path; it takes the path's place in the end, or is removed where an exception comes.

    Raises:
        CacheError: there is something in the way, or the folder cannot be written.
    """
    with writing(path.name, path, _ADVICE):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise CacheError(f"cannot write to {path}: it is there already, and not empty; {_ADVICE}")
        part = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
        part.mkdir(parents=True)
    try:
        yield part
        with writing(path.name, path, _ADVICE):
            if path.is_dir():
                path.rmdir()  # not every system renames onto a folder, be it empty
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
