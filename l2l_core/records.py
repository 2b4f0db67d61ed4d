"""What an entry of ``catalog/`` and ``metadata/`` says, as frozen values; `l2l_core.catalog` reads and checks them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Subset: TypeAlias = Literal["train", "validation", "test"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)


@dataclass(frozen=True, slots=True)
class PaperRecord:
    """A publication that entries refer to by key."""

    key: str
    title: str
    authors: str
    venue: str
    year: int
    url: str | None = None


@dataclass(frozen=True, slots=True)
class LicenceRecord:
    """The terms a data set comes under."""

    key: str
    name: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file to download.

    Attributes:
        name: the file's name in the cache, without a folder.
        urls: where it is served, in order of trust.
        size_bytes: its exact size.
        sha256, md5: its checksums in lower-case hex; the sha256 decides, the md5 is there for other people's tables.
    """

    name: str
    urls: tuple[str, ...]
    size_bytes: int
    sha256: str
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What the raw files hold, so that any copy of them can be checked.

    Attributes:
        reader: name of the layout, as in `l2l_core.prepare.readers.VERSIONS`.
        classes, examples: totals over the data set.
        superclasses: number of groups of classes, where the data set has them.
        examples_per_class: the same number for every class, where that is so.
        image_size: height and width in pixels of every raw image, where they agree.
        content_sha256: what the reader's ``digest`` gives for the reference files, whatever they are packed in.
        package, folder: the raw files are this folder of an installed Python package instead of a download.
    """

    reader: str
    classes: int
    examples: int
    superclasses: int | None = None
    examples_per_class: int | None = None
    image_size: tuple[int, int] | None = None
    content_sha256: str | None = None
    package: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """A published partition of the classes, without its class list (`l2l_core.catalog.Catalog.split` reads that)."""

    name: str
    title: str
    source: str
    paper: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """A partition of a data set's classes into subsets, in the order of its file.

    Attributes:
        subset_of: class name to subset.
        superclass_of: class name to the name of its group; empty where the data set has no groups.
    """

    dataset: str
    name: str
    subset_of: Mapping[str, Subset]
    superclass_of: Mapping[str, str]

    def classes(self, subset: Subset | None = None) -> tuple[str, ...]:
        """Class names of a subset (of all subsets for None), in file order."""
        return tuple(name for name, its_subset in self.subset_of.items() if subset in (None, its_subset))


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A data set: where it comes from, what must be in it, and how it is prepared.

    Attributes:
        prepared: the reader's options (each is part of the store's key), for example image size and resampling filter.
        rotations: whether turning a picture by 90, 180 or 270 degrees makes a class of its own.
    """

    name: str
    title: str
    description: str
    licence: str
    papers: tuple[str, ...]
    raw: RawRecord
    prepared: Mapping[str, Any]
    files: tuple[FileRecord, ...]
    splits: Mapping[str, SplitInfo]
    default_split: str
    rotations: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes to download."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """A protocol: which episodes, from which classes, and how many.

    Attributes:
        ways, shots, queries: classes, support examples per class, query examples per class.
        episodes: how many test episodes a reported figure averages over.
        seed: of the episodes; episode i is a function of (seed, i).
        rotations: whether the rotated classes take part, in training and in testing.
    """

    name: str
    title: str
    dataset: str
    split: str
    subset: Subset
    ways: int
    shots: int
    queries: int
    episodes: int
    seed: int
    rotations: bool = False
    papers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A published figure.

    Attributes:
        accuracy: a fraction in [0, 1].
        ci95: half-width of the 95% interval as a fraction, where it was published.
        source: where the figure was read.
        verified: whether that source was read (False: from memory, to be taken with care).
    """

    benchmark: str
    method: str
    backbone: str
    accuracy: float
    ci95: float | None
    source: str
    verified: bool
