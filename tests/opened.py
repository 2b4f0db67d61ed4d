"""The small data set of `tests.small`, imported and opened as a benchmark."""

from pathlib import Path

import pytest

from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from tests.small import SmallData


def enlarge(catalog: Path) -> None:
    """Have the small data set prepared at 16×16 pixels, the least that a pooling Conv4 takes."""
    entry = catalog / "catalog/datasets/small.toml"
    entry.write_text(entry.read_text().replace("image_size = [7, 7]", "image_size = [16, 16]"))


def open_small(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """The benchmark ``small-3w2s``, its data in the cache of ``L2L_HOME``."""
    enlarge(small.catalog)
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    catalog = open_catalog()
    import_files(catalog.dataset("small"), catalog, Cache.at(), [small.folder])
    return load_benchmark("small-3w2s")
