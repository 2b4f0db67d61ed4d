"""What several tests need: real data where it is to be had, a small data set of pictures, and caches of their own."""

import os

# Threads of several test processes on the same cores wait for each other by spinning: one each is many times faster.
# It counts for processes that tests start, too, and must stand before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2l_core.catalog import open_catalog
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import fetch, import_files
from l2l_core.prepare.stores import prepared_form
from tests.small import SmallData, write_small_data


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all pytest-xdist workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's cache, catalogue or folder, and none asks a proxy for a server on loopback."""
    monkeypatch.setenv("L2L_HOME", str(tmp_path / "home"))
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    for name in ("L2L_CATALOG", "L2L_MIRROR", "L2L_OFFLINE", "L2L_ACCEPT_LICENCES", *proxies, *map(str.upper, proxies)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def glyphs_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with `glyphs` in it, drawn once a run."""
    home = _shared(tmp_path_factory) / "glyphs-home"
    catalog = open_catalog()
    fetch(catalog.dataset("glyphs"), catalog, Cache.at(home))
    return home


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data, `L2L_TEST_DATA`; tests that need it are skipped where it is unset."""
    folder = os.environ.get("L2L_TEST_DATA")
    if not folder:
        pytest.skip("needs the real data; set L2L_TEST_DATA to the folder that holds it")
    return Path(folder)


@pytest.fixture(scope="session")
def omniglot_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the real Omniglot in it, imported once a run."""
    return _imported("omniglot", test_data / "omniglot", tmp_path_factory)


@pytest.fixture(scope="session")
def news_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the real news headlines in it, imported once a run."""
    return _imported("news-journals", test_data / "huffpost/huffpost.json", tmp_path_factory)


def _imported(dataset: str, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = _shared(tmp_path_factory) / f"{dataset}-home"
    catalog, cache = open_catalog(), Cache.at(home)
    record = catalog.dataset(dataset)
    with cache.lock("import-once"):
        if prepared_form(record, cache) is None:
            import_files(record, catalog, cache, [place])
    return home


@pytest.fixture
def small(tmp_path: Path) -> SmallData:
    """A data set in Omniglot's layout: pictures, one TOML and one CSV; see `tests.small`."""
    return write_small_data(tmp_path / "small")


@pytest.fixture
def csv_limit() -> Iterator[int]:
    """Python's own limit of CSV fields, in characters, which importing scipy.io lifts for the whole process."""
    before = csv.field_size_limit(131_072)
    yield 131_072
    csv.field_size_limit(before)
