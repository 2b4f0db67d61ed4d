"""learn2learn's data set of news headlines: its arguments, what an example is, which categories it holds."""

from pathlib import Path

import pytest

from l2l_core.catalog import Catalog
from l2l_core.data import arrays
from l2l_core.data.datasets import MetaDataset
from l2l_core.errors import StoreError, UsageError
from l2l_core.prepare.held import Held, hold_texts
from l2l_core.records import DatasetRecord
from l2l_core.text.datasets import NewsClassification


@pytest.fixture
def small_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two headlines of each category, which say what they are."""

    def load(record: DatasetRecord, catalog: Catalog, *_: object, **__: object) -> Held:
        categories = sorted(catalog.split(record.name, None).classes(None))
        labels = [category for category in categories for _ in range(2)]
        return hold_texts(record.name, [f"{label} é {i % 2}" for i, label in enumerate(labels)], labels)

    monkeypatch.setattr(arrays, "load_store", load)


@pytest.mark.usefixtures("small_store")
def test_training_and_test_are_different_categories_numbered_as_one() -> None:
    train, test = NewsClassification("somewhere"), NewsClassification("somewhere", train=False)
    assert (len(train), len(test)) == (40, 32)
    assert train.labels_list == test.labels_list
    assert list(train.labels_list.values()) == list(range(41))
    categories = {label: category for category, label in train.labels_list.items()}
    for dataset in (train, test):
        meta = MetaDataset(dataset)
        assert meta.labels == sorted(meta.labels)
        for label, ids in meta.labels_to_indices.items():
            assert [dataset[i] for i in ids] == [(f"{categories[label]} é {j}", label) for j in range(2)]
    assert not set(MetaDataset(train).labels) & set(MetaDataset(test).labels)


@pytest.mark.usefixtures("small_store")
def test_a_headline_goes_through_the_transform() -> None:
    headline, label = NewsClassification("somewhere")[1]
    assert NewsClassification("somewhere", transform=str.swapcase)[1] == (headline.swapcase(), label)
    with pytest.raises(UsageError, match="was given the transform 'roberta'; give a function of a headline"):
        NewsClassification("somewhere", transform="roberta")


def test_what_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"news-classification is not in {tmp_path}; get it with"):
        NewsClassification(tmp_path)
