"""learn2learn's data set of texts, by the name and arguments that it gives it, over a prepared data set."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from l2l_core.catalog import open_catalog
from l2l_core.data.datasets import load_dataset
from l2l_core.errors import UsageError


class NewsClassification(Dataset[tuple[Any, int]]):
    """News headlines, learn2learn's sample of HuffPost's: (headline, label); no pickles, no pandas.

    A label counts from 0 in the order of the names of all 41 categories, so that it means the same in training and
    test; `MetaDataset` knows the labels without reading a headline.

    Mended from learn2learn: training and test are different categories, those of Bao et al.'s split; there, both had
    all 41, so that no task of the test was new.

    Args:
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.
        train: whether to take the 20 categories of training; else the 16 of the test.
        transform: what is done with a headline, a str.
        download: whether the data set may be fetched where it is not in the cache.

    Attributes:
        dataset: the `PreparedDataset` beneath.
        labels_list: category to label, of all 41.
        class_index: which examples belong to which label.

    Raises:
        UsageError: the transform cannot be called ("roberta", there, is a model of torch.hub).
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        FetchError, ArchiveError, ContentError, CacheError: getting it failed.

    Source: Misra 2022; the split of Bao et al. 2020.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        train: bool = True,
        transform: Callable[[str], Any] | None = None,
        download: bool = False,
    ) -> None:
        if transform is not None and not callable(transform):
            raise UsageError(
                f"NewsClassification was given the transform {transform!r}; give a function of a headline, such as the "
                "encode method of a model that you have loaded"
            )
        name = "news-classification"
        self.root, self.transform = root, transform
        self.dataset = load_dataset(name, "train" if train else "test", root=root, download=download)
        categories = sorted(open_catalog().split(name, None).classes(None))
        self.labels_list = {category: label for label, category in enumerate(categories)}
        self._labels = [self.labels_list[category] for category in self.dataset.classes]
        self.class_index = replace(self.dataset.class_index, labels=self._labels)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        headline, row = self.dataset[index]
        return headline if self.transform is None else self.transform(headline), self._labels[row]
