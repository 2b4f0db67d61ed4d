"""What an entry of ``catalog/`` and ``metadata/`` says, as frozen values; `l2l_core.catalog` reads and checks them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

Subset: TypeAlias = Literal["train", "validation", "test"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
Modality: TypeAlias = Literal["images", "texts", "sounds"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Order: TypeAlias = Literal["files", "content"]
ORDERS: tuple[Order, ...] = get_args(Order)
EpisodeKind: TypeAlias = Literal["fixed", "variable"]
EPISODE_KINDS: tuple[EpisodeKind, ...] = get_args(EpisodeKind)
TrainingAugmentation: TypeAlias = Literal["none", "crop-flip-jitter"]
TRAINING_AUGMENTATIONS: tuple[TrainingAugmentation, ...] = get_args(TrainingAugmentation)
RecipeForm: TypeAlias = Literal["full", "short"]
RECIPE_FORMS: tuple[RecipeForm, ...] = get_args(RecipeForm)


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
    """The terms a data set comes under.

    Attributes:
        terms: what they ask of a user, in a sentence.
        consent: whether a user must accept them before the data is downloaded.
    """

    key: str
    name: str
    url: str | None = None
    terms: str | None = None
    consent: bool = False


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file to download, or to be placed by hand.

    Attributes:
        name: the file's name in the cache, without a folder.
        urls: where it is served, in order of trust; none where it must be placed by hand.
        size_bytes: its exact size, where that is known.
        about_bytes: its size as its source rounds it, where the exact one is not known.
        at_most_bytes: a size that it surely does not exceed, where no source gives any.
        sha256, md5: its checksums in lower-case hex, where they are known; each that is there must hold.
    """

    name: str
    urls: tuple[str, ...]
    size_bytes: int | None = None
    about_bytes: int | None = None
    at_most_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def expected_bytes(self) -> int:
        """Its size, as exactly as it is known; 0 where it is not."""
        return self.size_bytes or self.about_bytes or 0

    @property
    def limit_bytes(self) -> int:
        """How many bytes a server may send: its size, twice what is only roughly known, or what is surely enough."""
        return self.size_bytes or 2 * (self.about_bytes or 0) or self.at_most_bytes or 0


@dataclass(frozen=True, slots=True)
class FormRecord:
    """One form in which the raw data goes round: the same examples, packed in some layout.

    Attributes:
        title: what a person would have on the disk, in a few words.
        reader: name of the layout, as in `l2l_core.prepare.readers.VERSIONS`.
        options: of the reader, beside those of ``[prepared]``.
        files: what to download; none where a user must bring the data.
        content_sha256: what the reader's ``digest`` gives for the reference files, whatever they are packed in.
        tables_sha256: of the tables beside the entry that decide what is read: the list of numbers that the options
            name, and what classes are called.
        package, folder: the raw files are this folder of an installed Python package instead of a download.
    """

    name: str
    title: str
    reader: str
    options: Mapping[str, Any]
    files: tuple[FileRecord, ...] = ()
    content_sha256: str | None = None
    tables_sha256: str | None = None
    package: str | None = None
    folder: str | None = None

    @property
    def expected_bytes(self) -> int:
        """Bytes to download, as far as they are known."""
        return sum(file.expected_bytes for file in self.files)

    @property
    def limit_bytes(self) -> int:
        """How many bytes may be downloaded."""
        return sum(file.limit_bytes for file in self.files)

    @property
    def downloadable(self) -> bool:
        """Whether every file of it has an address."""
        return bool(self.files) and all(file.urls for file in self.files)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What the raw data holds in every form, so that any copy of it can be checked.

    Attributes:
        classes: how many.
        examples: how many in all classes; None where no source says so, and any number is taken.
        superclasses: number of groups of classes, where the data set has them.
        examples_per_class: the same number for every class, where that is so.
        image_size: height and width in pixels of every raw image, where they agree.
    """

    classes: int
    examples: int | None = None
    superclasses: int | None = None
    examples_per_class: int | None = None
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and standard deviation of each channel, over training pictures with values in [0, 1], and who says so."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """A published partition of the classes, without its class list (`l2l_core.catalog.Catalog.split` reads that).

    Attributes:
        classes_of: the data set whose list of the same name this is, where it is another's.
        examples: subset to its number of examples, where a source gives them.
    """

    name: str
    title: str
    source: str
    paper: str | None = None
    classes_of: str | None = None
    examples: Mapping[Subset, int] = field(default_factory=dict)


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
    """A data set: what must be in it, the forms it comes in, and how it is prepared.

    Attributes:
        modality: images: uint8 [C, H, W]; texts: UTF-8 of any length; sounds: int16 samples of any length.
        prepared: the reader's options that hold for every form, for example image size and resampling filter.
        forms: by name, in order of trust; the first that can be had is taken.
        order: of the examples of a class: as in the raw files, or by the digest of the prepared example, which is the
            same for every form of data that no form has changed.
        rotations: whether turning a picture by 90, 180 or 270 degrees makes a class of its own.
        sample_rate_hz: of sounds.
    """

    name: str
    title: str
    description: str
    modality: Modality
    licence: str
    papers: tuple[str, ...]
    raw: RawRecord
    prepared: Mapping[str, Any]
    forms: Mapping[str, FormRecord]
    splits: Mapping[str, SplitInfo]
    default_split: str
    order: Order = "files"
    rotations: bool = False
    sample_rate_hz: int | None = None

    @property
    def download(self) -> FormRecord | None:
        """The form that is downloaded first; None where there is none."""
        return next((form for form in self.forms.values() if form.downloadable), None)


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """A protocol: which episodes, from which classes, and how many.

    Attributes:
        ways, shots, queries: classes, support examples per class, query examples per class; 0 where each episode draws
            its own.
        episodes: how many test episodes a reported figure averages over.
        seed: of the episodes; episode i is a function of (seed, i).
        kind: fixed: all episodes have these ways, shots and queries; variable: each draws its own as in Meta-Dataset.
        rotations: whether the rotated classes take part, in training and in testing.
        image_size: height and width in pixels of the prepared pictures, which every figure depends on.
        augmentation: what is done with the pictures of training episodes, and of no others.
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
    kind: EpisodeKind = "fixed"
    rotations: bool = False
    image_size: tuple[int, int] | None = None
    augmentation: TrainingAugmentation = "none"
    papers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeBudget:
    """How far a form of a recipe goes.

    Attributes:
        episodes: training episodes, or batches of a method that trains on such; 0 where nothing is trained.
        backbone: name of the backbone; None for the method's own.
        settings: of the method and of its training, in place of the method's own, by name.
        expected: the accuracy that this form reaches, a fraction; None where nobody has run it, which for the full form
            means that the published figure is expected.
        minutes: about how long it takes on two processor cores; None where nobody has measured.
    """

    episodes: int
    backbone: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    expected: float | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class RecipeRecord:
    """How a published figure is reproduced.

    Attributes:
        benchmark, method: what is evaluated on what.
        published: method and backbone of the published row that is to be reached, as ``metadata/results`` has them;
            None where there is none.
        forms: the full one, which is the paper's budget, and the short one, for two processor cores.
        trained_by: the recipe whose weights this one evaluates, where both train alike; it then has no budget.
    """

    name: str
    title: str
    benchmark: str
    method: str
    published: tuple[str, str] | None
    forms: Mapping[RecipeForm, RecipeBudget]
    trained_by: str | None = None
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


@dataclass(frozen=True, slots=True)
class OwnResult:
    """A figure that this package reached, and how to reach it again.

    Attributes:
        method, backbone: what was trained; an empty backbone is the method's own.
        recipe: name of the recipe; empty where there was none.
        form: which form of it: the paper's budget, or the short one.
        accuracy: a fraction in [0, 1].
        ci95: half-width of its 95% interval, a fraction.
        episodes, seed: how many test episodes, and of which seed.
        episodes_digest: sha256 that names them, as in the report.
        command: what to type to get the figure.
        versions: package to version.
        hardware: what it ran on, in a few words.
        seconds: of training.
        date: of the run, YYYY-MM-DD.
        note: whatever else a reader should know; may be empty.
    """

    benchmark: str
    method: str
    backbone: str
    recipe: str
    form: RecipeForm
    accuracy: float
    ci95: float
    episodes: int
    seed: int
    episodes_digest: str
    command: str
    versions: Mapping[str, str]
    hardware: str
    seconds: float
    date: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PairedResult:
    """A figure of a comparison on the same episodes: how far a run lies from the first one of its table.

    Attributes:
        run: what to call it.
        method, backbone: as of `OwnResult`.
        accuracy: a fraction in [0, 1].
        ci95: half-width of its 95% interval, a fraction.
        difference: its accuracy minus that of the first run, a fraction; 0 of the first.
        difference_ci95: half-width of the 95% interval of that, over the differences of the episodes.
        episodes, seed, episodes_digest: of all runs of the table.
        command, versions, hardware, date: as of `OwnResult`.
    """

    benchmark: str
    run: str
    method: str
    backbone: str
    accuracy: float
    ci95: float
    difference: float
    difference_ci95: float
    episodes: int
    seed: int
    episodes_digest: str
    command: str
    versions: Mapping[str, str]
    hardware: str
    date: str
