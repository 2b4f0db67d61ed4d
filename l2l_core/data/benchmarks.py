"""A benchmark, opened: its protocol and the data sets that it draws episodes from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from l2l_core.catalog import open_catalog
from l2l_core.data.augment import crop_flip_jitter
from l2l_core.data.batches import Augmentation
from l2l_core.data.datasets import PreparedDataset, load_dataset
from l2l_core.data.encoded import encoded
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.hierarchy import superclass_hierarchy
from l2l_core.data.log_mel import LogMelDataset
from l2l_core.data.tokens import TokenDataset
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.records import BenchmarkRecord, Subset
from l2l_core.text.encoders import ENCODERS, get_encoder, is_encoder
from l2l_core.text.tokens import Vocabulary

LOG_MEL: Final = "log-mel"
"""What sounds are seen through."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A protocol and where its data lies; data sets open in milliseconds, so they are opened when asked for.

    Attributes:
        record: the protocol.
        root: folder of the cache; None for the usual one.
        download: whether a data set that is not in the cache may be fetched.
        encoder: name of what its texts or sounds are seen through; None leaves them as they are.
    """

    record: BenchmarkRecord
    root: Path | None = None
    download: bool = False
    encoder: str | None = None

    def on(self, backbone: str | None) -> "Benchmark":
        """The benchmark as learners on that backbone see it: sounds as log-mel pictures, texts as an encoder has them.

        An encoder of texts is named by what the backbone's name has before its plus: one of `ENCODERS`, which make
        vectors, or ``words``, token ids. Any other benchmark is as it was, and so is one of encoded texts for None.

        Raises:
            UsageError: it is one of texts, and no encoder is named.
            UnknownNameError: there is no such encoder.
        """
        modality = open_catalog().dataset(self.record.dataset).modality
        if modality == "sounds":
            return replace(self, encoder=LOG_MEL)
        if modality != "texts":
            return self
        if backbone is None and self.encoder is not None:
            return self
        if backbone is None:
            raise UsageError(
                f"{self.record.name} is of texts; say what makes vectors of them with --backbone (in Python: "
                f"backbone=…), one of {', '.join(ENCODERS)}, a net on top of one, as in minilm+mlp, or one on token "
                f"ids, as in {Vocabulary.name}+cnn"
            )
        name, _, _ = backbone.partition("+")
        if name != Vocabulary.name and not is_encoder(name):
            raise UnknownNameError("encoder of texts", name, (*ENCODERS, Vocabulary.name))
        return replace(self, encoder=name)

    def dataset(self, subset: Subset | None = None) -> PreparedDataset:
        """The classes of a subset, rotated ones included where the protocol has them; its test subset for None.

        Raises:
            StoreError: the data set is not in the cache (says how to get it), or damaged.
            TaskError: the protocol's split has no such subset.
            UsageError, FetchError, CacheError: there is an encoder, and it cannot be had, or what it made not be kept.
        """
        dataset = self._stored(subset or self.record.subset)
        if self.encoder is None:
            return dataset
        if self.encoder == LOG_MEL:
            rate = dataset.sample_rate_hz
            assert rate is not None
            # As long as the longest sound of all, so that every subset has pictures of one size.
            return LogMelDataset(dataset, seconds=self._stored(None).example_shape[0] / rate)
        cache = Cache.at(self.root)
        if self.encoder == Vocabulary.name:
            vocabulary = Vocabulary.of(_texts_of(self._stored("train")))
            return TokenDataset(dataset, vocabulary, cache=cache)
        return encoded(dataset, get_encoder(self.encoder, lambda: _texts_of(self._stored("train"))), cache)

    def _stored(self, subset: Subset | None) -> PreparedDataset:
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
