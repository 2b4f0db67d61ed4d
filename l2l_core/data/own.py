"""Data sets of the user's own: folders, CSV files, arrays, other libraries' data sets, and pairs of label and text."""

import os
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.data.datasets import DTYPES, MetaDataset, PreparedDataset
from l2l_core.data.index import plain_labels
from l2l_core.data.labels import LabelOf, known_labels, labels_of
from l2l_core.data.resampling import resampled
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.held import hold_arrays, hold_texts
from l2l_core.prepare.own import csv_store, folder_store, picture_options, read_pairs, whole_number
from l2l_core.records import SUBSETS, Modality, Subset
from l2l_core.store import Store

Layout: TypeAlias = Literal["CHW", "HWC", "HW"]
"""Which axes an image has, after that of the examples: channels, height, width."""
_AXES: Final[dict[Layout, int]] = {"CHW": 3, "HWC": 3, "HW": 2}


def from_folder(
    path: str | os.PathLike[str],
    subset: Subset | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    mode: str = "RGB",
    resample: str = "bilinear",
    sample_rate_hz: int | None = None,
    class_depth: int = 1,
    classes: Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    root: str | os.PathLike[str] | None = None,
) -> PreparedDataset:
    """The data set in a folder, or in an archive (zip, tar), with one folder a class, such as ``cat/1.png``.

    Pictures, or else sounds, or else .txt files are its examples; other files do not matter, nor do folders whose names
    begin with a dot. Sounds are WAV files of one channel and 16 bits, or with the extra ``audio`` any WAV, FLAC, Ogg,
    MP3, AIFF or AU; of several channels their mean, and silence is a sound like any other, even of no samples. It is
    prepared once, into a store in the cache, which later calls open; where a file was added, removed or changed, it is
    prepared anew, and the store of before is removed.
    A file ``classes.csv`` beside the class folders, as `to_folder` writes it, says what the classes are called.

    Args:
        path: the folder or archive.
        subset: "train", "validation" or "test": only what lies below a folder of that name (``val/cat/1.png``); None
            for everything, wherever it lies.
        image_size: height and width in pixels that pictures are resized to, or the side of a square.
        mode: what pictures are converted to, "RGB" or "L".
        resample: Pillow's name of the filter, in lower case.
        sample_rate_hz: what sounds of another rate are resampled to, which takes the extra ``audio``; None for the rate
            of the first. Give it where the data sets of several folders are to be of one rate.
        class_depth: how many folder names make a class: with 2, ``Greek/alpha/1.png`` is of class ``Greek/alpha``, and
            that of superclass ``Greek``.
        classes: names of the classes to take; all for None.
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16.
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.

    Raises:
        UsageError: an argument that cannot be, no image_size for pictures, or sounds that take the extra ``audio``,
            which is not installed.
        UnknownNameError: there is no class of a name in `classes`.
        ArchiveError: the path cannot be read, or is an unsafe archive.
        ContentError: there is no example, or one that cannot be read; names it.
        CacheError: the store cannot be written.
    """
    if subset is not None and subset not in SUBSETS:
        raise UsageError(f"subset {subset!r} is none of {', '.join(SUBSETS)}; None takes everything")
    depth = whole_number(class_depth)
    if depth is None or depth < 1:
        raise UsageError(f"class_depth is {class_depth!r}; give a whole number, at least 1")
    pictures = None if image_size is None else picture_options(image_size, mode, resample)
    rate = whole_number(sample_rate_hz)
    if sample_rate_hz is not None and (rate is None or rate < 1):
        raise UsageError(f"sample_rate_hz is {sample_rate_hz!r}; give a whole number of samples a second, at least 1")
    store = folder_store(
        Path(path),
        Cache.at(root),
        subset=subset,
        class_depth=depth,
        pictures=pictures,
        sample_rate_hz=rate,
        resample=resampled,
    )
    return _opened(store, classes, subset, dtype)


def from_csv(
    path: str | os.PathLike[str],
    *,
    file_column: str | None = None,
    text_column: str | None = None,
    label_column: str = "label",
    folder: str | os.PathLike[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    mode: str = "RGB",
    resample: str = "bilinear",
    classes: Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    root: str | os.PathLike[str] | None = None,
) -> PreparedDataset:
    """The data set that a CSV file lists: pictures by their file names, or texts that stand in it.

    Pictures are prepared once, as `from_folder` does; texts are held in memory.

    Args:
        path: the CSV file, UTF-8, its first row the names of the columns; one called ``.tsv`` has tabs for commas.
        file_column: the column of picture files; or
        text_column: the column of texts.
        label_column: the column of class names.
        folder: what picture files are relative to; None for the folder of the CSV file. Of no meaning for texts.
        image_size, mode, resample, root: as for `from_folder`. Of no meaning for texts, and an image_size is refused.
        classes, dtype: as for `from_folder`.

    Raises:
        UsageError: an argument that cannot be; no image_size for pictures, or one for texts.
        UnknownNameError: there is no column of that name, or no class of a name in `classes`.
        ContentError: the CSV file cannot be read, or a picture; names it.
        CacheError: the store cannot be written.
    """
    path = Path(path)
    if text_column is not None and file_column is None:
        if image_size is not None:
            raise UsageError(f"{path.name}: image_size is {image_size!r}, but texts have none; leave it out")
        _check_dtype(path.stem, "texts", dtype)
        texts, labels = zip(*read_pairs(path, text_column, label_column), strict=True)
        held = hold_texts(path.stem, texts, labels)
        return PreparedDataset(held, _chosen(path.stem, held.classes, classes), dtype=dtype)
    if file_column is None or text_column is not None:
        raise UsageError(f"{path.name}: give either file_column, for pictures, or text_column, for texts")
    if image_size is None:
        raise UsageError(f"{path.name} lists pictures; give image_size=(height, width), to which they are resized")
    store = csv_store(
        path,
        Cache.at(root),
        file_column=file_column,
        label_column=label_column,
        folder=path.parent if folder is None else Path(folder),
        pictures=picture_options(image_size, mode, resample),
    )
    return _opened(store, classes, None, dtype)


def from_arrays(
    examples: Any,
    labels: Any,
    *,
    layout: Layout | None = None,
    dtype: torch.dtype | None = None,
    name: str = "arrays",
) -> PreparedDataset:
    """The data set of some arrays, sorted by class and held in memory, of which a batch of tasks takes one gather.

    Args:
        examples: array or tensor [M, …] of any type: images as `layout` says, or for example features [M, D]. Copied.
        labels: M whole numbers or M texts. The classes are named so, and sorted as such; the label of an example is the
            position of its class among them.
        layout: axes of an image: "CHW" for [M, C, H, W], "HWC" for [M, H, W, C], "HW" for [M, H, W]; an example of the
            data set is [C, H, W] then. None for arrays that are no images, which keep their shape.
        dtype: torch.float32 brings uint8 to [0, 1]; None leaves the type as it is.
        name: what to call the data set in messages.

    Raises:
        UsageError: the arrays are not of one shape, of a type that NumPy or torch does not have, or another layout;
            or there are no labels, or more or fewer.
        TaskError: there is no example, or a label is neither a whole number nor a text.
    """
    array = _array(examples, name)
    listed = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
    if not isinstance(listed, Iterable) or isinstance(listed, str):
        raise UsageError(f"{name}: labels is {_short(labels)}; give a list, array or tensor of one label an example")
    labels = plain_labels(listed)
    if len(array) != len(labels):
        raise UsageError(f"{name}: {len(array):,} examples have {len(labels):,} labels; give one label an example")
    if layout is not None:
        array = _channels_first(array, layout, name)
    held = hold_arrays(name, array, labels, "arrays" if layout is None else "images")
    own = torch.from_numpy(held.examples[:0]).dtype
    if dtype not in (None, own) and (own, dtype) != (torch.uint8, torch.float32):
        raise UsageError(f"{name}: {own} cannot become {dtype}; leave dtype out, and convert the examples before")
    return PreparedDataset(held, dtype=dtype)


def from_iterable(pairs: Iterable[tuple[Hashable, str]], *, name: str = "texts") -> PreparedDataset:
    """The data set of (label, text) pairs, as torchtext's data sets yield them; read once, and held in memory.

    Args:
        pairs: labels are whole numbers, or texts; classes and labels are made of them as by `from_arrays`.
        name: what to call the data set in messages.

    Raises:
        UsageError: an item is no pair, or its second part no text.
        TaskError: there is no pair, or a label is neither a whole number nor a text.
    """
    texts: list[str] = []
    labels: list[Any] = []
    for number, pair in enumerate(pairs):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2 or not isinstance(pair[1], str):
            raise UsageError(
                f"{name}: item {number} is {_short(pair)}; give pairs of a label and a text, as (label, text)"
            )
        labels.append(pair[0])
        texts.append(pair[1])
    return PreparedDataset(hold_texts(name, texts, plain_labels(labels)))


def from_torch(
    dataset: Dataset[Any],
    *,
    label_of: LabelOf | None = None,
    transform: Callable[[Any], Any] | None = None,
    remember: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> MetaDataset:
    """Any map-style data set with its examples sorted out by label: of torchvision, torchaudio or your own.

    No example is loaded where the data set knows its labels, which `l2l_core.data.labels.known_labels` says. Else it is
    read once, with a progress bar, and not again as long as the object lives. Of torchaudio's data sets only what they
    say of each recording is read, and no recording.

    Args:
        dataset: of examples (input, label, …).
        label_of: where the label of an example is, if that is neither known nor its second part: its place, 2 for
            torchaudio's (waveform, sample_rate, label, …), or a function from example to label. Its examples then are
            (input, label) here.
        transform: what is done with an input, where the data set has no transform of its own: torchaudio's are sounds
            of any length, which `torch.nn.functional.pad` and `l2l_core.audio.log_mel` bring to one shape.
        remember: a name under which the labels are kept in the cache, so that no later process reads all examples
            either. Before they are believed, their number and some of them are compared with the data set; where you
            have corrected a few labels, choose another name.
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.

    Raises:
        TypeError: the data set is no torch data set, or not map-style.
        TaskError: it has no examples, an example has no label, or one that cannot tell classes apart.
        UsageError: `remember` is no name, the labels to keep are neither whole numbers nor texts, or `label_of` has to
            be given, since the second parts of all examples of more than two are the same.
        CacheError: the labels cannot be kept.
    """
    remembered = None
    if remember is not None:
        if not re.fullmatch(r"\w[\w.-]*", remember):
            raise UsageError(f"remember is {remember!r}; give a name of letters, digits, dots and hyphens")
        remembered = Cache.at(root).root / "labels" / f"{remember}.json"
    if not isinstance(dataset, Dataset):
        raise TypeError(f"from_torch takes a torch.utils.data.Dataset, found {type(dataset).__name__}")
    of_torchaudio = type(dataset).__module__.startswith("torchaudio.") and not callable(label_of)
    if label_of is None and remembered is None and transform is None and not of_torchaudio:
        meta = MetaDataset(dataset)
        _check_second_part(dataset, meta.labels)
        return meta
    labels = labels_of(_Told(dataset) if of_torchaudio else dataset, label_of, remembered)
    if label_of is None:
        _check_second_part(dataset, labels)
    as_pairs = label_of is not None or transform is not None
    return MetaDataset(
        _Pairs(dataset, labels, transform) if as_pairs else dataset, indices_to_labels=dict(enumerate(labels))
    )


class _Told(Dataset[Any]):
    """What a data set of torchaudio says of its examples: the same parts, with the file in place of the waveform."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        get_metadata = getattr(self._dataset, "get_metadata", None)
        return self._dataset[index] if get_metadata is None else get_metadata(index)


class _Pairs(Dataset[tuple[Any, Any]]):
    """A data set whose examples have any number of parts as one of (input, label)."""

    def __init__(self, dataset: Any, labels: Sequence[Any], transform: Callable[[Any], Any] | None) -> None:
        self.dataset, self._labels, self._transform = dataset, labels, transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        example = self.dataset[index]
        value = example[0] if isinstance(example, Sequence) else example
        return value if self._transform is None else self._transform(value), self._labels[index]


def _check_second_part(dataset: Any, labels: Sequence[Any]) -> None:
    """Nothing, unless the second part of every example was taken for its label, is always the same and not the last.

    Raises:
        UsageError: so it is.
    """
    if len(dataset) < 2 or len(set(labels)) > 1 or known_labels(dataset) is not None:
        return
    example = _Told(dataset)[0]
    if isinstance(example, Sequence) and len(example) > 2:
        raise UsageError(
            f"the examples of {type(dataset).__name__} have {len(example)} parts, of which the second is "
            f"{_short(labels[0])} in all; say with from_torch(dataset, label_of=2) that the third is the label, or "
            "which part it is"
        )


def _opened(store: Store, classes: Iterable[str] | None, subset: Subset | None, dtype: torch.dtype) -> PreparedDataset:
    about = store.manifest
    _check_dtype(about.dataset, about.modality, dtype)
    chosen = _chosen(about.dataset, about.classes, classes)
    return PreparedDataset(store, chosen, about.recipe["superclasses"], subset=subset, dtype=dtype)


def _check_dtype(name: str, modality: Modality, dtype: torch.dtype) -> None:
    if dtype not in DTYPES[modality]:
        raise UsageError(f"{name}: dtype {dtype} is none of {', '.join(map(str, DTYPES[modality]))}")


def _chosen(name: str, known: Sequence[str], classes: Iterable[str] | None) -> Sequence[str]:
    if classes is None:
        return known
    listed = isinstance(classes, Iterable) and not isinstance(classes, str)
    names = list(classes) if listed else []
    if not listed or not all(isinstance(each, str) for each in names):
        raise UsageError(f"{name}: classes is {_short(classes)}; give a list of names, such as [{known[0]!r}]")
    if not names:
        raise UsageError(f"{name}: classes names none; name at least one, or leave it out")
    all_names = set(known)
    for each in names:
        if each not in all_names:
            raise UnknownNameError("class", each, known, where=f"of {name}")
    return names


def _array(examples: Any, name: str) -> npt.NDArray[Any]:
    """The examples as an array that torch can take."""
    try:
        if isinstance(examples, Sequence):
            examples = [each.numpy(force=True) if isinstance(each, Tensor) else each for each in examples]
        array = examples.numpy(force=True) if isinstance(examples, Tensor) else np.asarray(examples)
        if array.ndim == 0:
            raise ValueError("a single number")
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        torch.from_numpy(array[:0].copy())
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{name}: the examples make no NumPy array of numbers ({error}); give one array [M, …] of one type that "
            "NumPy has, such as float32, and texts to from_iterable"
        ) from None
    return array


def _channels_first(array: npt.NDArray[Any], layout: Layout, name: str) -> npt.NDArray[Any]:
    """Images as [M, C, H, W]."""
    if layout not in _AXES:
        raise UsageError(f"{name}: layout {layout!r} is none of {', '.join(_AXES)}; None leaves arrays as they are")
    if array.ndim != 1 + _AXES[layout]:
        axes = ", ".join(layout)
        raise UsageError(f"{name}: the examples are {list(array.shape)}, but layout {layout!r} means [M, {axes}]")
    if layout == "HW":
        return array[:, None]
    return array.transpose(0, 3, 1, 2) if layout == "HWC" else array


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
