"""A benchmark, opened: its protocol and the data sets that it draws episodes from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from l2l_core.catalog import open_catalog
from l2l_core.data.augment import crop_flip_jitter
from l2l_core.data.batches import Augmentation
from l2l_core.data.datasets import PreparedDataset, load_dataset
from l2l_core.data.encoded import encoded
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.hierarchy import superclass_hierarchy
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.records import BenchmarkRecord, Subset
from l2l_core.text.encoders import ENCODERS, get_encoder


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A protocol and where its data lies; data sets open in milliseconds, so they are opened when asked for.

    Attributes:
        record: the protocol.
        root: folder of the cache; None for the usual one.
        download: whether a data set that is not in the cache may be fetched.
        encoder: name of what makes vectors of its texts; None leaves them texts.
    """

    record: BenchmarkRecord
    root: Path | None = None
    download: bool = False
    encoder: str | None = None

    def on(self, backbone: str | None) -> "Benchmark":
        """The benchmark as learners on that backbone see it: of texts the vectors that the encoder of that name makes.

        Any other is as it was, and so is one of vectors for None.

        Raises:
            UsageError: it is one of texts, and no encoder is named.
            UnknownNameError: there is no such encoder.
        """
        if open_catalog().dataset(self.record.dataset).modality != "texts":
            return self
        name = backbone or self.encoder
        if name is None:
            raise UsageError(
                f"{self.record.name} is of texts; say what makes vectors of them with --backbone (in Python: "
                f"backbone=…), one of {', '.join(ENCODERS)}"
            )
        if name not in ENCODERS:
            raise UnknownNameError("encoder of texts", name, ENCODERS)
        return replace(self, encoder=name)

    def dataset(self, subset: Subset | None = None) -> PreparedDataset:
        """The classes of a subset, rotated ones included where the protocol has them; its test subset for None.

        Raises:
            StoreError: the data set is not in the cache (says how to get it), or damaged.
            TaskError: the protocol's split has no such subset.
            UsageError, FetchError, CacheError: there is an encoder, and it cannot be had, or its vectors not be kept.
        """
        dataset = self._stored(subset or self.record.subset)
        if self.encoder is None:
            return dataset
        encoder = get_encoder(self.encoder, lambda: _texts_of(self._stored("train")))
        return encoded(dataset, encoder, Cache.at(self.root))

    def _stored(self, subset: Subset) -> PreparedDataset:
        record = self.record
        return load_dataset(
            record.dataset,
            subset,
            record.split,
            rotations=record.rotations,
            root=self.root,
            download=self.download,
        )

    def episodes(self, subset: Subset | None = None, seed: int | None = None) -> TaskGenerator | VariableTasks:
        """The protocol's episodes, of its own subset and seed for None.

        Those of a variable protocol are as Meta-Dataset draws them: of classes of one superclass, where the data set
        has such, as Omniglot has alphabets.

        Raises:
            StoreError: the data set is not in the cache (says how to get it), or damaged.
            TaskError: the subset has too few classes or examples for the protocol.
        """
        record, dataset = self.record, self.dataset(subset)
        seed = record.seed if seed is None else seed
        if record.kind == "variable":
            hierarchy = superclass_hierarchy(dataset) if any(dataset.superclasses) else None
            return VariableTasks(dataset, seed, hierarchy=hierarchy)
        return TaskGenerator(dataset, record.ways, record.shots, record.queries, seed)


def _texts_of(dataset: PreparedDataset) -> list[str]:
    return [dataset.text(i) for i in range(len(dataset))]


def training_augmentation(record: BenchmarkRecord) -> Sequence[Augmentation]:
    """What a protocol does with the pictures of training episodes, and of no others; nothing where it has none.

    `TaskGenerator` and `ExampleBatches` take it as their ``augmentations``. Pixels stay in [0, 1]: nothing normalises.

    Args:
        record: of the protocol; `check_catalog` sees to it that one with an augmentation has a size of pictures.
    """
    if record.augmentation == "none" or record.image_size is None:
        return ()
    return crop_flip_jitter(record.image_size[0])


def load_benchmark(
    name: str | Benchmark, *, root: str | os.PathLike[str] | None = None, download: bool = False
) -> Benchmark:
    """A benchmark by its name; one that is open already comes back as it is.

    Args:
        name: as in ``l2l list benchmarks``.
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.
        download: whether a data set that is not in the cache may be fetched.

    Raises:
        UnknownNameError: no such benchmark.
        CatalogError: its entry is malformed.
    """
    if isinstance(name, Benchmark):
        return name
    return Benchmark(open_catalog().benchmark(name), None if root is None else Path(root), download)
