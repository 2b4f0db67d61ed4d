"""From raw files to examples, for every form of every data set in the catalogue, at its full number of classes."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l2l_core.catalog import Catalog, open_catalog
from l2l_core.data.datasets import PreparedDataset
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.prepare.readers import VERSIONS
from l2l_core.records import SUBSETS, DatasetRecord
from l2l_core.store import open_store, verify_store
from tests.conformance.made import EXAMPLES, MAKERS, Made

CATALOG = open_catalog([])
FORMS = [
    (name, form.name)
    for name in CATALOG.datasets
    for form in CATALOG.dataset(name).forms.values()
    if form.package is None
]


def test_every_reader_of_files_has_a_maker() -> None:
    assert set(MAKERS) == set(VERSIONS) - {"font_glyphs"}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """The catalogue with EXAMPLES examples in every class."""
    numbers, split = Catalog.numbers, Catalog.split

    def few_numbers(self: Catalog, dataset: str, name: str) -> Mapping[str, tuple[int, ...]]:
        return {its_class: listed[:EXAMPLES] for its_class, listed in numbers(self, dataset, name).items()}

    def few_counts(self: Catalog, dataset: str) -> Mapping[str, int]:
        return dict.fromkeys(split(self, dataset).classes(), EXAMPLES)

    monkeypatch.setattr(Catalog, "numbers", few_numbers)
    monkeypatch.setattr(Catalog, "counts", few_counts)
    return CATALOG


def with_few(record: DatasetRecord) -> DatasetRecord:
    """The entry of as many examples."""
    splits = {name: replace(split, examples={}) for name, split in record.splits.items()}
    raw = replace(record.raw, examples=EXAMPLES * record.raw.classes, examples_per_class=EXAMPLES)
    return replace(record, raw=raw, splits=splits)


def make(record: DatasetRecord, form_name: str, catalog: Catalog) -> Made:
    form = record.forms[form_name]
    named = form.options.get("numbers")
    numbers = catalog.numbers(record.name, named) if named else {}
    made = Made(record, form, catalog.split(record.name), numbers, catalog.class_names(record.name))
    MAKERS[form.reader](made)
    return made


def written(made: Made, folder: Path) -> Path:
    """The folder, with the raw files in it."""
    for file, content in made.files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    return folder


@pytest.mark.parametrize(("name", "form_name"), FORMS)
def test_raw_files_become_just_these_examples(name: str, form_name: str, few: Catalog, tmp_path: Path) -> None:
    record = with_few(few.dataset(name))
    made = make(record, form_name, few)
    path = import_files(record, few, Cache.at(tmp_path / "home"), [written(made, tmp_path / "raw")])
    # The form is found by its names; forms that are packings of the same files share the first one's name.
    found = next(form for form in record.forms.values() if path.name.startswith(f"{form.name}-"))
    assert (found.reader, found.options) == (made.form.reader, made.form.options)
    store = open_store(path)
    verify_store(store)
    assert store.manifest.classes == tuple(sorted(made.classes))
    assert len(store) == EXAMPLES * record.raw.classes
    for row, its_class in enumerate(store.manifest.classes):
        expected = made.expected[its_class]
        if record.order == "content":
            expected = sorted(expected, key=lambda array: hashlib.sha256(array.tobytes()).digest())
        stored = [store.example(i) for i in range(store.offsets[row], store.offsets[row + 1])]
        assert len(stored) == EXAMPLES
        assert all(np.array_equal(*pair) for pair in zip(stored, expected, strict=True)), its_class
    for split_name in record.splits:
        split = few.split(name, split_name)
        for subset in SUBSETS:
            if split.classes(subset):
                dataset = PreparedDataset(store, split.classes(subset), subset=subset)
                assert sorted(dataset.classes) == sorted(split.classes(subset))
                assert len(dataset) == EXAMPLES * len(split.classes(subset))
                assert dataset.modality == record.modality


@pytest.mark.parametrize("name", ["cifar-fs", "fc100"])
def test_every_form_of_cifar_is_the_same_data(name: str, few: Catalog, tmp_path: Path) -> None:
    record = with_few(few.dataset(name))
    found = set()
    for form_name in record.forms:
        folder = written(make(record, form_name, few), tmp_path / form_name)
        found.add(open_store(import_files(record, few, Cache.at(tmp_path / "home"), [folder])).data_sha256)
    assert len(found) == 1
