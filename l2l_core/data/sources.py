"""What episodes are drawn from, seen alike: which examples each class has, and the examples by their ids."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from l2l_core.data.arrays import ArrayDataset, gathers
from l2l_core.data.index import ClassIndex, spans
from l2l_core.data.sampling import IntArray
from l2l_core.errors import UsageError

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Source(Protocol):
    """What episodes are drawn from: which examples there are of each class, and the examples by their ids."""

    def __len__(self) -> int:
        """How many examples there are."""

    @property
    def class_index(self) -> ClassIndex:
        """Which examples belong to which class."""

    @property
    def gathers_at_once(self) -> bool:
        """Whether `gather` takes examples by the batch; else one by one, by chance where the data set does."""

    def gather(self, ids: IntArray, out: Any = None) -> Any:
        """Inputs of some examples, stacked in the shape of `ids`; of texts nested lists."""

    def as_labels(self, labels: npt.NDArray[Any]) -> Any:
        """Labels, or a mask, in the kind of array that `gather` gives."""


def source_of(dataset: "ArrayDataset | Dataset[Any]") -> Source:
    """The data set as it is, if it is a prepared one; any other with its examples sorted out by label.

    Raises:
        TypeError: it is no torch data set.
        TaskError: it has no examples, or a label that cannot be a dictionary's key.
    """
    if gathers(dataset):
        return dataset
    from l2l_core.data.datasets import MetaDataset

    return dataset if isinstance(dataset, MetaDataset) else MetaDataset(dataset)  # type: ignore[arg-type]


def all_examples(index: ClassIndex) -> tuple[IntArray, IntArray]:
    """Ids of all examples, class after class, and the row of each one's class; both int64 [M]."""
    return index.ids(spans(index.starts_C, index.counts_C)), np.repeat(np.arange(len(index)), index.counts_C)


def fingerprint_of(source: Source) -> str:
    """What names the examples that tasks are drawn from, for a digest of these.

    Raises:
        UsageError: they are not those of a prepared data set, so their bytes have no name.
    """
    prepared = source if gathers(source) else getattr(source, "dataset", None)
    if not gathers(prepared) or not source.gathers_at_once:
        raise UsageError("only tasks of a prepared data set have a digest; load it with load_dataset")
    return prepared.fingerprint
