"""Drawing the embedded data set, opening stores, and the commands that must not wait for torch."""

import subprocess
import sys
import time
from pathlib import Path

from l2l_core.catalog import open_catalog
from l2l_core.data.arrays import ArrayDataset
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import fetch
from l2l_core.prepare.stores import store_path
from l2l_core.store import open_store
from tests.memory import opening_mebibytes
from tests.speed.measure import at_most, row, seconds
from tests.speed.stores import VAST, sparse_store


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    catalog = open_catalog()
    start = time.perf_counter()
    fetch(catalog.dataset("glyphs"), catalog, Cache.at(folder))
    taken = time.perf_counter() - start
    at_most("glyphs drawn and stored", f"{taken:.1f} s", taken, 20, "seconds")
    record = catalog.dataset("glyphs")
    _opening("store of glyphs", store_path(record, record.forms["matplotlib"], Cache.at(folder)), 20)
    vast = sparse_store(folder / "vast.safetensors", *VAST)
    _opening(f"store of {VAST[0] * VAST[1]:,} examples in {VAST[0]:,} classes", vast, 50)
    vast.unlink()
    _importing()
    for command in (["list"], ["show", "omniglot"]):
        line = [sys.executable, "-m", "l2l_core", *command]
        (taken,) = seconds(lambda line=line: subprocess.run(line, capture_output=True, check=True), rounds=5)
        at_most(f"l2l {' '.join(command)}", f"{taken:.2f} s", taken, 0.5, "seconds")


def _importing() -> None:
    """What the package adds to `import torch`: all of it that an episode and a learner need."""
    used = "l2l_core.TaskGenerator, l2l_core.MetaDataset, l2l_core.algorithms.MAML, l2l_core.nn.Conv4"
    for what, program in (("", "import l2l_core"), (", and what an episode and MAML need", f"import l2l_core; {used}")):
        code = f"import torch, time; start = time.perf_counter(); {program}; print(time.perf_counter() - start)"
        line = [sys.executable, "-c", code]
        times = [float(subprocess.run(line, capture_output=True, text=True, check=True).stdout) for _ in range(5)]
        taken_ms = 1e3 * sorted(times)[1]
        at_most(f"import l2l_core after torch{what}", f"{taken_ms:.1f} ms", taken_ms, 150, "milliseconds")


def _opening(what: str, path: Path, target_ms: float) -> None:
    (taken,) = seconds(lambda: ArrayDataset(open_store(path)))
    at_most(f"{what}, opened", f"{1e3 * taken:.2f} ms", 1e3 * taken, target_ms, "milliseconds")
    resident, size = opening_mebibytes(path), path.stat().st_size / 2**20
    if size > 1000:
        at_most("  resident memory", f"{resident:.2f} MiB", 100 * resident / size, 1, f"% of {size:,.0f} MiB")
    else:
        row("  resident memory", f"{resident:.2f} MiB", f"of {size:,.1f} MiB")
