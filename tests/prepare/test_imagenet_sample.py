"""The real sample of tiered-ImageNet, from its zip to tensors."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.errors import FetchError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import fetch, import_files
from l2l_core.prepare.stores import edition
from l2l_core.store import Store, open_store

NAME = "tiered-imagenet-sample"


@pytest.fixture(scope="module")
def home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sample-home")
    catalog = open_catalog([])
    import_files(catalog.dataset(NAME), catalog, Cache.at(home), [test_data / "imagenet-sample.zip"])
    return home


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    (path,) = Cache.at(home).stores(NAME).glob("*.safetensors")
    return open_store(path)


def test_every_picture_is_the_raw_one(store: Store, test_data: Path) -> None:
    assert store.examples.shape == (12_300, 3, 64, 64)
    assert (np.diff(store.offsets) == 100).all()
    with zipfile.ZipFile(test_data / "imagenet-sample.zip") as archive:
        for row, class_name in list(enumerate(store.manifest.classes))[::11]:
            files = sorted(name for name in archive.namelist() if name.startswith(f"{class_name}/"))
            for number in (0, 57, 99):
                picture = Image.open(io.BytesIO(archive.read(files[number]))).convert("RGB")
                stored = store.examples[store.offsets[row] + number]
                assert np.array_equal(stored, np.asarray(picture).transpose(2, 0, 1))


def test_it_is_the_reference_copy(store: Store) -> None:
    assert edition(open_catalog([]).dataset(NAME), store) == "reference content"


def test_the_statistics_are_those_of_the_training_pictures(store: Store) -> None:
    catalog = open_catalog([])
    train = set(catalog.split(NAME).classes("train"))
    rows = [
        np.arange(store.offsets[row], store.offsets[row + 1])
        for row, name in enumerate(store.manifest.classes)
        if name in train
    ]
    pixels = store.examples[np.concatenate(rows)].transpose(1, 0, 2, 3).reshape(3, -1)
    statistics = catalog.statistics(NAME)
    assert statistics is not None
    counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels])
    values, total = np.arange(256) / 255, counts.sum(axis=1)
    mean = counts @ values / total
    assert statistics.mean == pytest.approx(mean.tolist(), abs=1e-9)
    assert statistics.std == pytest.approx((counts @ values**2 / total - mean**2) ** 0.5, abs=1e-9)


def test_its_benchmark_draws_from_the_test_classes(home: Path) -> None:
    benchmark = load_benchmark(f"{NAME}-5w1s", root=home)
    assert len(benchmark.dataset().classes) == 45
    assert benchmark.episodes()[0].query_x.shape == (75, 3, 64, 64)


def test_nobody_serves_it(tmp_path: Path) -> None:
    catalog = open_catalog([])
    with pytest.raises(
        FetchError, match=rf"^{NAME} has no address to download from; give a copy of it with `l2l import"
    ):
        fetch(catalog.dataset(NAME), catalog, Cache.at(tmp_path), yes=True)
