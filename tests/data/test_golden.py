"""Golden tasks: those of every benchmark are what they have always been, in every process. Papers cite them.

They are kept of the benchmarks with classes of one size. Which example a task holds depends on the counts of the
classes alone, so no data is needed here; `test_generator` holds the same list against data sets that are there.
"""

import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from l2l_core.catalog import ROTATIONS, open_catalog
from l2l_core.data.batches import describe
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray
from l2l_core.data.transforms import KShots, LoadData, NWays, RemapLabels
from l2l_core.records import BenchmarkRecord

GOLDEN = json.loads((Path(__file__).parent / "golden_tasks.json").read_text())


def is_counted(benchmark: str) -> bool:
    """Whether the catalogue knows how many examples each class has, all as many, and episodes are of one size."""
    catalog = open_catalog()
    record = catalog.benchmark(benchmark)
    return record.kind == "fixed" and catalog.dataset(record.dataset).raw.examples_per_class is not None


BENCHMARKS = tuple(filter(is_counted, open_catalog().benchmarks))


@cache
def opened(benchmark: str) -> tuple[BenchmarkRecord, ClassIndex]:
    """A benchmark's record, and the class index that its split and the class counts make."""
    catalog = open_catalog()
    record = catalog.benchmark(benchmark)
    counts = catalog.counts(record.dataset)
    counts_C = np.array([counts[name] for name in catalog.split(record.dataset, record.split).classes(record.subset)])
    counts_C = np.tile(counts_C, len(ROTATIONS) if record.rotations else 1)
    return record, ClassIndex.of_counts(counts_C, [str(row) for row in range(len(counts_C))])


def ids_of(benchmark: str, tasks: Sequence[int]) -> IntArray:
    """Example ids of some tasks of a benchmark, int64 [B, N, K]."""
    record, index = opened(benchmark)
    steps = [NWays(None, record.ways), KShots(None, record.shots + record.queries), LoadData(None)]
    return describe(index, record.seed, np.array(tasks), steps).all_ids_BNK


def digest(ids_BNK: IntArray) -> str:
    return hashlib.sha256(ids_BNK.astype("<i8").tobytes()).hexdigest()


def digests_of_a_thousand() -> dict[str, str]:
    """What a process makes of the first thousand tasks of each benchmark, some of them batch by batch and backwards."""
    out = {}
    for place, name in enumerate(BENCHMARKS):
        size = [1000, 7, 64][place % 3]
        starts = range(0, 1000, size)
        parts = {start: ids_of(name, range(start, min(start + size, 1000))) for start in reversed(starts)}
        out[name] = digest(np.concatenate([parts[start] for start in starts]))
    return out


def test_every_such_benchmark_has_golden_tasks() -> None:
    assert sorted(GOLDEN) == sorted(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_tasks_of_a_benchmark_are_the_golden_ones(name: str) -> None:
    golden = GOLDEN[name]
    assert ids_of(name, [0])[0, :, 0].tolist() == golden["first_support"]
    assert digest(ids_of(name, [*range(100), 10**6, 10**12])) == golden["ids_sha256"]
    assert digest(ids_of(name, range(1000))) == golden["thousand_sha256"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_they_are_the_same_in_any_order(name: str) -> None:
    order = np.random.default_rng(0).permutation(1000)
    shuffled = ids_of(name, order.tolist())
    assert digest(shuffled[np.argsort(order)]) == GOLDEN[name]["thousand_sha256"]


def test_every_kind_of_choice_is_the_golden_one() -> None:
    """Streams of their own for classes, examples and labels, and fresh words for what is drawn a second time."""
    index = ClassIndex.of_counts(np.full(64, 600), [str(row) for row in range(64)])
    steps = [NWays(None, 20), NWays(None, 5), KShots(None, 200, replacement=True), KShots(None, 150), RemapLabels(None)]
    batch = describe(index, 2**64 - 1, np.array([0, 1, 2**62]), steps)
    assert batch.all_classes_BN.tolist() == [[21, 46, 31, 22, 20], [60, 12, 42, 4, 39], [47, 10, 54, 15, 34]]
    assert batch.all_labels_BN.tolist() == [[2, 1, 3, 0, 4], [3, 0, 1, 4, 2], [1, 4, 2, 0, 3]]
    assert batch.all_ids_BNK[:, 0, -2:].tolist() == [[13117, 12710], [36427, 36541], [28260, 28494]]
    assert digest(batch.all_ids_BNK) == "5406365c1df519578bf36f2ac272b9f7dfb4b273dc2b1864790cdc46197ed77a"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_they_are_the_same_in_processes_of_every_kind(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        found = pool.submit(digests_of_a_thousand).result()
    assert found == {name: golden["thousand_sha256"] for name, golden in GOLDEN.items()}
