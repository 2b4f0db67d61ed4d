"""Data sets of Hugging Face's package ``datasets``: theirs as ours, and ours and our tasks as theirs."""

import hashlib
import operator
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from l2l_core.data.datasets import DTYPES, MetaDataset, PreparedDataset
from l2l_core.data.export import encoded
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.index import ClassIndex
from l2l_core.data.resampling import resampled
from l2l_core.data.sampling import IntArray
from l2l_core.errors import ContentError, FetchError, L2LError, TaskError, UnknownNameError, UsageError
from l2l_core.prepare.held import HeldModality
from l2l_core.prepare.own import picture_options, subset_called
from l2l_core.prepare.pictures import PictureOptions, open_picture, to_array
from l2l_core.prepare.sounds import decode_sound
from l2l_core.records import Modality

VERSION: Final = 1
"""Of what `to_hf` writes; raised whenever the same data set would give other rows, for `datasets` keeps them."""
_COLUMNS: Final[dict[Modality, str]] = {"images": "image", "texts": "text", "sounds": "audio"}
"""What Hugging Face's own data sets call the column of each."""


class HFDataset(Dataset[tuple[Any, int]]):
    """A ``datasets.Dataset`` as a map-style torch data set of (example, label); made by `from_hf`.

    An example is an image [C, H, W], a text (str), a sound [samples], or a tensor of whatever numbers the column holds.
    It is decoded when it is asked for.

    Attributes:
        name: what messages call it.
        classes: class names; a label is a position among them.
        targets: the label of every example, int64 [M].
        class_index: which examples belong to which class.
        modality: what an example is: "images", "texts", "sounds" or "arrays".
        sample_rate_hz: of sounds, where their column says it, and they are resampled to it; else None.
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16.
    """

    def __init__(
        self,
        rows: Any,
        column: str,
        classes: Sequence[str],
        targets_M: IntArray,
        *,
        name: str,
        modality: HeldModality,
        pictures: PictureOptions,
        resized: bool,
        dtype: torch.dtype,
    ) -> None:
        self.name, self.classes, self.modality, self.dtype = name, tuple(classes), modality, dtype
        self.targets = torch.from_numpy(targets_M)
        labels, counts_C = np.unique(targets_M, return_counts=True)
        self.class_index = ClassIndex(
            labels.tolist(),
            np.cumsum(counts_C) - counts_C,
            counts_C,
            np.argsort(targets_M, kind="stable"),
            [self.classes[label] for label in labels],
        )
        self.sample_rate_hz: int | None = rows.features[column].sampling_rate if modality == "sounds" else None
        # The bytes of pictures and sounds are decoded here, with the limits that hold for all of ours.
        if modality in ("images", "sounds"):
            rows = rows.cast_column(column, type(rows.features[column])(decode=False))
        self._rows, self._column = rows.with_format(None).select_columns([column]), column
        self._pictures, self._resized = pictures, resized

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no example {index}")
        index %= len(self)
        value = self._rows[index][self._column]
        try:
            return self._decoded(value), int(self.targets[index])
        except ContentError as error:
            raise ContentError(f"{self.name}: example {index} {error}") from None

    def _decoded(self, value: Any) -> Any:
        """An example; errors are the second half of a sentence."""
        if value is None:
            raise ContentError(f"has nothing in the column {self._column}; leave it out")
        if self.modality == "texts":
            return value
        if self.modality == "arrays":
            try:
                return torch.as_tensor(np.asarray(value))
            except (TypeError, ValueError) as error:
                raise ContentError(f"is no array of numbers ({error}); name another column with input=…") from None
        content = _content(value)
        if self.modality == "images":
            picture = open_picture(content, self._pictures.mode)
            options = self._pictures
            if not self._resized:
                options = replace(options, image_size=(picture.height, picture.width))
            return self._scaled(to_array(picture, options), 255)
        rate_hz, samples = decode_sound(content)
        return self._scaled(resampled(samples, rate_hz, self.sample_rate_hz or rate_hz), 2**15)

    def _scaled(self, array: np.ndarray, scale: int) -> Tensor:
        tensor = torch.from_numpy(array.copy())
        return tensor if tensor.dtype == self.dtype else tensor.to(self.dtype).div_(scale)

    def __repr__(self) -> str:
        return f"HFDataset({self.name!r}: {len(self)} examples of {len(self.class_index)} classes)"


def from_hf(
    dataset: Any,
    *,
    label: str | None = None,
    input: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    mode: str = "RGB",
    resample: str = "bilinear",
    dtype: torch.dtype = torch.float32,
) -> "HFDataset | dict[str, HFDataset]":
    """A data set of Hugging Face as one to draw tasks from; of a DatasetDict, one a split, by name.

    The labels are read as one column; examples are decoded when they are asked for. In a dict the names are as here:
    what is called "val" or "valid" comes as "validation".

    Args:
        dataset: a ``datasets.Dataset`` or ``datasets.DatasetDict``, or the name of one on the hub, which
            ``datasets.load_dataset`` then loads; for a configuration or revision of it, call that yourself.
        label: the column of labels: a ClassLabel, whole numbers or texts; None for the only ClassLabel there is.
        input: the column of examples; None for the only one of images, or else of sounds, or else of texts.
        image_size: height and width in pixels that images are resized to, or the side of a square; None leaves them.
            Those of one task must be of one size.
        mode: what images are converted to, "RGB" or "L".
        resample: Pillow's name of the filter, in lower case.
        dtype: torch.float32, images in [0, 1] and sounds in [-1, 1), or as stored: torch.uint8 and torch.int16.

    Raises:
        UsageError: an argument that cannot be; several columns could be meant, or none; or ``datasets`` is missing.
        UnknownNameError: there is no such column.
        FetchError: the hub did not give it.
        TaskError: it has no examples, or an example has no label.
        ContentError: from the data set, an example that cannot be decoded; names it.
    """
    hf = _package()
    name = None
    if isinstance(dataset, str):
        name = dataset
        try:
            dataset = hf.load_dataset(dataset)
        except Exception as error:  # of the network, of the hub, or of a file in it
            raise FetchError(
                f"datasets.load_dataset({name!r}) failed ({error}); check the name and the network"
            ) from error
    pictures = picture_options(1 if image_size is None else image_size, mode, resample)

    def one(rows: Any, name: str) -> HFDataset:
        if not isinstance(rows, hf.Dataset):
            raise UsageError(
                f"from_hf takes a datasets.Dataset or DatasetDict, found {type(rows).__name__}; "
                "load a streamed data set without streaming"
            )
        label_column = _label_column(hf, rows, label, name)
        column, modality = _input_column(hf, rows, input, label_column, name)
        allowed = (torch.float32,) if modality == "arrays" else DTYPES[modality]
        if dtype not in allowed:
            raise UsageError(f"{name}: dtype {dtype} is none of {', '.join(map(str, allowed))}")
        classes, targets_M = _labels(hf, rows, label_column, name)
        return HFDataset(
            rows,
            column,
            classes,
            targets_M,
            name=name,
            modality=modality,
            pictures=pictures,
            resized=image_size is not None,
            dtype=dtype,
        )

    if isinstance(dataset, hf.DatasetDict):
        names = [subset_called(split) or split for split in dataset]
        # Of "val" and "validation" beside each other nobody knows which is which.
        names = names if len(set(names)) == len(names) else list(dataset)
        return {
            split: one(rows, f"{name or 'data set'} {split}")
            for split, rows in zip(names, dataset.values(), strict=True)
        }
    return one(dataset, name or getattr(getattr(dataset, "info", None), "dataset_name", None) or "data set")


def to_hf(dataset: Dataset[Any]) -> Any:
    """A data set as a ``datasets.Dataset``: a column ``image``, ``text`` or ``audio``, and ``label``, a ClassLabel.

    It is written, example by example, to the cache folder of ``datasets``, and mapped from there.

    Args:
        dataset: as for `to_folder`. The examples stay in their order.

    Raises:
        UsageError: an example has no column type, is of another kind than those before, or would have to be rounded;
            or ``datasets`` is missing.
        TaskError: the data set has no examples or no classes.
    """
    hf = _package()
    meta = dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)
    index = meta.class_index
    rank_C, total = index.rank_C, int(index.counts_C.sum())
    ids_M = index.ids(np.arange(total))
    order_M = np.argsort(ids_M, kind="stable")
    labels_M = np.repeat(rank_C, index.counts_C)[order_M]
    columns = {"label": (_class_label(hf, index), labels_M)}
    return _written(hf, meta, ids_M[order_M], columns, "")


def tasks_to_hf(tasks: TaskGenerator, indices: Iterable[int]) -> Any:
    """Some tasks as a ``datasets.Dataset``, one row an example: what is to be shown, shared or trained on elsewhere.

    Columns: ``task``, its number; ``role``, "support" or "query", a ClassLabel; ``label``, the class in the task, 0 to
    N - 1; ``class``, the data set's, a ClassLabel; and ``image``, ``text`` or ``audio`` as `to_hf` has it. The rows of
    a task stand together, N·K of support and then N·Q of query in the order of an `Episode`, so that
    ``rows.filter(lambda row: row["task"] == 3)`` is task 3, as ``tasks[3]`` gives it. An example that is in several
    tasks is written for each.

    Args:
        tasks: a `TaskGenerator` without augmentations, of any data set that `to_hf` takes.
        indices: the numbers of the tasks, in the order of the rows; such as ``range(100)``.

    Raises:
        UsageError: `tasks` is something else or augmented, there is no number, or as for `to_hf`.
        IndexError: a number is negative or not below `num_tasks`.
    """
    hf = _package()
    if not isinstance(tasks, TaskGenerator):
        raise UsageError(
            f"tasks_to_hf takes a TaskGenerator, which knows support from query, found {type(tasks).__name__}; "
            "make the tasks with one"
        )
    batch = tasks.describe(list(indices))
    if batch.augmentations:
        raise UsageError("augmented inputs cannot be written exactly; make the tasks without augmentations")
    if not isinstance(tasks.dataset, Dataset):
        raise UsageError(
            f"tasks_to_hf takes tasks of a torch data set, found {type(tasks.dataset).__name__}; "
            "load it with load_dataset"
        )
    meta = tasks.dataset if isinstance(tasks.dataset, MetaDataset) else MetaDataset(tasks.dataset)
    ids_BNK, shots = batch.all_ids_BNK, tasks.shots

    def rows(values: IntArray) -> IntArray:
        """Values that spread to [B, N, K], as int64 [M]: support and then query of each task in turn."""
        values_BNK = np.broadcast_to(values, ids_BNK.shape)
        parts = (values_BNK[..., :shots], values_BNK[..., shots:])
        return np.concatenate([part.reshape(len(batch), -1) for part in parts], axis=1).reshape(-1)

    role_K = (np.arange(ids_BNK.shape[2]) >= shots).astype(np.int64)
    columns = {
        "task": (hf.Value("int64"), rows(batch.tasks_B[:, None, None])),
        "role": (hf.ClassLabel(names=["support", "query"]), rows(role_K)),
        "label": (hf.Value("int64"), rows(np.arange(tasks.ways)[:, None])),
        "class": (_class_label(hf, meta.class_index), rows(meta.class_index.rank_C[batch.all_classes_BN][..., None])),
    }
    ids_M = rows(ids_BNK)
    drawn = hashlib.sha256(b"".join(values_M.tobytes() for _, values_M in columns.values()) + ids_M.tobytes())
    return _written(hf, meta, ids_M, columns, drawn.hexdigest())


def _class_label(hf: Any, index: ClassIndex) -> Any:
    """The type of a column of `rank_C`."""
    return hf.ClassLabel(names=[index.name(row) for row in np.argsort(index.rank_C)])


def _written(
    hf: Any, meta: MetaDataset, ids_M: IntArray, columns: Mapping[str, tuple[Any, IntArray]], what: str
) -> Any:
    """Some examples, one a row, beside other columns.

    Args:
        hf: the package.
        meta: the data set.
        ids_M: its examples, int64 [M].
        columns: name to type and values [M].
        what: names the rows, where they are not all of the data set once.
    """
    modality, _ = encoded(meta, int(ids_M[0]))
    column = _COLUMNS[modality]

    def rows() -> Iterator[dict[str, Any]]:
        others = zip(*(values_M.tolist() for _, values_M in columns.values()), strict=True)
        for i, values in zip(ids_M.tolist(), others, strict=True):
            _, content = encoded(meta, i, modality)
            example = content.decode() if modality == "texts" else {"bytes": content, "path": None}
            yield {**dict(zip(columns, values, strict=True)), column: example}

    types = {
        "images": hf.Image(),
        "texts": hf.Value("string"),
        # Cast to Audio below: to write it as such would take an encoder, though it is encoded already.
        "sounds": {"bytes": hf.Value("binary"), "path": hf.Value("string")},
    }
    features = hf.Features({column: types[modality], **{name: kind for name, (kind, _) in columns.items()}})
    # The name under which `datasets` keeps what is written. Without one it would pickle the whole data set to find one.
    inner = meta.dataset
    if isinstance(inner, PreparedDataset) and meta.class_index is inner.class_index:
        name = hashlib.sha256(" ".join(filter(None, [f"{VERSION} {inner.fingerprint}", what])).encode()).hexdigest()
    else:
        name = uuid.uuid4().hex
    try:
        written = hf.Dataset.from_generator(rows, features=features, fingerprint=name[:16])
    except hf.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, L2LError):
            raise error.__cause__ from None
        raise
    if modality == "sounds":
        return written.cast_column(column, hf.Audio(sampling_rate=getattr(inner, "sample_rate_hz", None)))
    return written


def _package() -> Any:
    try:
        return import_module("datasets")
    except ImportError as error:
        raise UsageError(
            f"the package datasets is not here ({error}); install it with `pip install l2l-core[hf]`"
        ) from None


def _label_column(hf: Any, rows: Any, column: str | None, name: str) -> str:
    features = rows.features
    if column is not None:
        if column not in features:
            raise UnknownNameError("column", column, features, where=f"of {name}")
        return column
    found: list[str] = [each for each, feature in features.items() if isinstance(feature, hf.ClassLabel)]
    if len(found) != 1:
        # Any column might be meant where none says that it holds classes.
        what = f"{len(found)} columns of class labels" if found else "no column of class labels"
        raise UsageError(f"{name} has {what}; choose one with label=…: {', '.join(found or features)}")
    return found[0]


def _input_column(hf: Any, rows: Any, column: str | None, label: str, name: str) -> tuple[str, HeldModality]:
    """The column of examples, and what they are."""

    def modality_of(feature: Any) -> HeldModality:
        if isinstance(feature, hf.Image):
            return "images"
        if isinstance(feature, hf.Audio):
            return "sounds"
        return "texts" if getattr(feature, "dtype", None) in ("string", "large_string") else "arrays"

    kinds = {each: modality_of(feature) for each, feature in rows.features.items()}
    if column is not None:
        if column not in kinds:
            raise UnknownNameError("column", column, kinds, where=f"of {name}")
        return column, kinds[column]
    for modality in ("images", "sounds", "texts"):
        if found := [each for each, kind in kinds.items() if kind == modality and each != label]:
            if len(found) > 1:
                raise UsageError(
                    f"{name} has {len(found)} columns of {modality}, {', '.join(found)}; choose one with input=…"
                )
            return found[0], kinds[found[0]]
    raise UsageError(
        f"{name} has no column of images, sounds or texts, but {', '.join(kinds)}; choose one with input=…"
    )


def _labels(hf: Any, rows: Any, column: str, name: str) -> tuple[Sequence[str], IntArray]:
    """Class names, and the label of every example, int64 [M]."""
    if not len(rows):
        raise TaskError(f"{name} has no examples; there is nothing to draw tasks from")
    # As one column of Arrow, which takes no row apart and decodes nothing.
    values = rows.select_columns([column]).with_format("arrow")[:].column(column)
    if values.null_count:
        raise TaskError(f"{name}: {values.null_count:,} examples have no {column}; leave them out with dataset.filter")
    labels = values.to_pylist()
    feature = rows.features[column]
    if isinstance(feature, hf.ClassLabel):
        if min(labels) < 0:
            raise TaskError(f"{name}: an example has the {column} {min(labels)}, which is no class; take another split")
        return feature.names, np.array(labels, np.int64)
    kinds = {type(label) for label in labels}
    if kinds not in ({int}, {str}):
        raise UsageError(f"{name}: the column {column} holds {feature}; labels are whole numbers or texts")
    known = {label: row for row, label in enumerate(sorted(set(labels)))}
    return [str(label) for label in known], np.array([known[label] for label in labels], np.int64)


def _content(value: Any) -> bytes:
    """The bytes of a picture or sound, in the table or in a file that it names."""
    if value["bytes"] is not None:
        return bytes(value["bytes"])
    try:
        return Path(value["path"]).read_bytes()
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ContentError(f"is {value['path']}, which cannot be read ({reason}); load the data set anew") from None
