"""A benchmark, opened: its protocol and the data sets that it draws episodes from."""

import os
from dataclasses import dataclass
from pathlib import Path

from l2l_core.catalog import open_catalog
from l2l_core.data.datasets import PreparedDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.records import BenchmarkRecord, Subset


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A protocol and where its data lies; data sets open in milliseconds, so they are opened when asked for.

    Attributes:
        record: the protocol.
        root: folder of the cache; None for the usual one.
        download: whether a data set that is not in the cache may be fetched.
    """

    record: BenchmarkRecord
    root: Path | None = None
    download: bool = False

    def dataset(self, subset: Subset | None = None) -> PreparedDataset:
        """The classes of a subset, rotated ones included where the protocol has them; its test subset for None.

        Raises:
            StoreError: the data set is not in the cache (says how to get it), or damaged.
            TaskError: the protocol's split has no such subset.
        """
        record = self.record
        return load_dataset(
            record.dataset,
            subset or record.subset,
            record.split,
            rotations=record.rotations,
            root=self.root,
            download=self.download,
        )

    def episodes(self, subset: Subset | None = None, seed: int | None = None) -> TaskGenerator:
        """The protocol's episodes, of its own subset and seed for None.

        Raises:
            StoreError: the data set is not in the cache (says how to get it), or damaged.
            TaskError: the subset has too few classes or examples for the protocol.
        """
        record = self.record
        seed = record.seed if seed is None else seed
        return TaskGenerator(self.dataset(subset), record.ways, record.shots, record.queries, seed)


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
