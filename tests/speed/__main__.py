"""``make bench``: what this machine does, as ratios of two things measured in the same run. Nothing here is a test.

Each row is the median of several rounds, and names what it is measured against.
"""

import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.data import default_collate

from l2l_core.catalog import open_catalog
from l2l_core.data.datasets import PreparedDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import fetch
from l2l_core.prepare.stores import store_path
from l2l_core.store import open_store
from tests.memory import opening_mebibytes

WAYS, SHOTS, QUERIES, TASKS = 5, 1, 15, 256


def seconds(action: Callable[[], object], rounds: int = 7) -> float:
    """Median time of an action, after one round that warms up."""
    action()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return median(times)


def row(what: str, value: str, against: str = "") -> None:
    """Print a line of the table."""
    print(f"{what:<58} {value:>16}  {against}", flush=True)


def drawing(root: Path) -> None:
    """Time of drawing `glyphs` into an empty cache."""
    catalog = open_catalog()
    start = time.perf_counter()
    fetch(catalog.dataset("glyphs"), catalog, Cache.at(root))
    row("glyphs drawn and stored", f"{time.perf_counter() - start:.1f} s", "target 20 s")


def glyphs_store(root: Path) -> Path:
    """The store of `glyphs` in a cache."""
    record = open_catalog().dataset("glyphs")
    return store_path(record, record.forms["matplotlib"], Cache.at(root))


def opening(root: Path) -> None:
    """Time and resident memory of opening a store."""
    path = glyphs_store(root)
    row("prepared store opened", f"{1e3 * seconds(lambda: open_store(path), 30):.2f} ms", "target 20 ms")
    size = f"store of {path.stat().st_size / 2**20:.1f} MiB, target 20 MiB"
    row("  resident memory it takes", f"{opening_mebibytes(path):.2f} MiB", size)


def starting() -> None:
    """Time of the commands that must not wait for torch."""
    for command in (["list"], ["show", "omniglot"]):
        line = [sys.executable, "-m", "l2l_core", *command]
        taken = seconds(lambda line=line: subprocess.run(line, capture_output=True, check=True), 5)
        row(f"l2l {' '.join(command)}", f"{taken:.2f} s", "target 0.5 s")


def sampling(dataset: PreparedDataset) -> None:
    """Tasks a second, against the copy of the same bytes and against the loop of plain Python that peers use."""
    generator = TaskGenerator(dataset, WAYS, SHOTS, QUERIES, seed=0)
    counter = iter(range(10**9))
    ids_per_task = seconds(lambda: generator.describe(numbers(counter))) / TASKS
    task = seconds(lambda: generator.batch(numbers(counter))) / TASKS
    pictures = torch.zeros((TASKS, WAYS * (SHOTS + QUERIES), *dataset[0][0].shape), dtype=torch.uint8)
    copy = seconds(pictures.clone) / TASKS
    by_class = {int(label): np.flatnonzero(dataset.targets.numpy() == label).tolist() for label in range(100)}
    loop = seconds(lambda: plain_loop(dataset, by_class), 20)
    form = f"{WAYS}w{SHOTS}s{QUERIES}q, 28x28 uint8, batches of {TASKS}"
    row(f"tasks drawn and gathered ({form})", f"{1 / task:,.0f} /s")
    row("  of the speed of memcpy of the same bytes", f"{copy / task:.3f}", f"memcpy {1 / copy:,.0f} /s")
    row("  times the plain Python loop", f"{loop / task:.0f}", f"random.sample, dataset[i], collate {1 / loop:,.0f} /s")
    row("  ids alone", f"{1e6 * ids_per_task:.1f} µs a task")


def numbers(counter: Iterator[int]) -> range:
    """The next task numbers, never the same twice."""
    start = next(counter) * TASKS
    return range(start, start + TASKS)


def plain_loop(dataset: PreparedDataset, by_class: dict[int, list[int]]) -> object:
    """One task as peers make it."""
    examples = [
        (dataset[index][0], way)
        for way, label in enumerate(random.sample(list(by_class), WAYS))
        for index in random.sample(by_class[label], SHOTS + QUERIES)
    ]
    return default_collate(examples)


def main() -> None:
    """Run every measurement on one core, in a cache of its own."""
    torch.set_num_threads(1)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{machine}, torch {torch.__version__}, NumPy {np.__version__}; one thread")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        drawing(root)
        opening(root)
        starting()
        sampling(load_dataset("glyphs", root=root, dtype=torch.uint8))


if __name__ == "__main__":
    main()
