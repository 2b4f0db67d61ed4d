"""The small data set, prepared once."""

from pathlib import Path

import pytest

from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.training import loop
from tests.opened import open_small
from tests.small import write_small_data


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small data set's catalogue, ``small/mine``, and a cache that has it, ``home``."""
    root = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("L2L_HOME", str(root / "home"))
        open_small(write_small_data(root / "small"), patch)
    return root


@pytest.fixture
def opened(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """The benchmark ``small-3w2s``: 6 training classes of 8 pictures, 16×16."""
    monkeypatch.setenv("L2L_HOME", str(prepared / "home"))
    monkeypatch.setenv("L2L_CATALOG", str(prepared / "small/mine"))
    return load_benchmark("small-3w2s")


@pytest.fixture
def always_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each validation is followed by a checkpoint."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
