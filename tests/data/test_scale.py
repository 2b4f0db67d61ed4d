"""What a task costs does not depend on how much data there is: counted, not timed (`tests.speed` has the clock)."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.batches import describe
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import distinct, random_words
from l2l_core.data.transforms import KShots, NWays, RemapLabels
from l2l_core.store import open_store
from tests.memory import resident_mebibytes
from tests.speed.stores import VAST, sparse_store

SMALL = (64, 160)
LARGE = [(64, 10**8 // 64), (10**6, 100), (10**6, 16)]
TASKS = 64


class Counted(np.ndarray):
    """An array that counts how many of its entries are looked at."""

    looked_at = 0

    def __getitem__(self, key: Any) -> Any:
        part = np.asarray(self)[key]
        Counted.looked_at += part.size
        return part

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        Counted.looked_at += sum(each.size for each in inputs if isinstance(each, Counted))
        plain = (np.asarray(each) if isinstance(each, Counted) else each for each in inputs)
        return getattr(ufunc, method)(*plain, **options)


class Unread:
    """Names or labels that may be counted, but not read."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> Any:
        raise AssertionError("drawing tasks looked at the name of a class")


def counted_index(classes: int, each: int) -> ClassIndex:
    plain = ClassIndex.of_counts(np.full(classes, each), Unread(classes))
    return ClassIndex(Unread(classes), plain.starts_C.view(Counted), plain.counts_C.view(Counted), None, plain.names)


def drawn(index: ClassIndex) -> np.ndarray:
    return describe(index, 0, np.arange(TASKS), [NWays(None, 5), KShots(None, 16), RemapLabels(None)]).all_ids_BNK


def peak_bytes(action: Callable[[], object]) -> int:
    action()
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("size", [SMALL, *LARGE])
def test_drawing_looks_at_the_chosen_classes_alone(size: tuple[int, int]) -> None:
    index = counted_index(*size)
    Counted.looked_at = 0
    ids_BNK = drawn(index)
    assert ids_BNK.shape == (TASKS, 5, 16)
    # Where it begins and how many examples it has, of each class chosen.
    assert Counted.looked_at == 2 * TASKS * 5
    assert ids_BNK.max() >= 0.9 * size[0] * size[1]


def test_the_counting_array_sees_a_look_at_all_classes() -> None:
    index = counted_index(*SMALL)
    for look in (lambda: index.counts_C.min(), lambda: index.counts_C + 1, lambda: np.add.reduce(index.counts_C)):
        Counted.looked_at = 0
        look()
        assert Counted.looked_at >= SMALL[0]


@pytest.mark.parametrize("size", LARGE)
def test_drawing_takes_the_same_memory_however_many_there_are(size: tuple[int, int]) -> None:
    small, large = counted_index(*SMALL), counted_index(*size)
    assert peak_bytes(lambda: drawn(large)) < 1.5 * peak_bytes(lambda: drawn(small))


@pytest.mark.parametrize("steps", [5, 128, 129, 300])
def test_distinct_takes_the_same_memory_for_any_bound(steps: int) -> None:
    words = random_words(0, 0, np.arange(50), steps)
    assert peak_bytes(lambda: distinct(words, 2**32 - 1)) < 1.5 * peak_bytes(lambda: distinct(words, steps))


def test_many_steps_take_memory_in_proportion() -> None:
    few, many = (random_words(0, 0, np.arange(4), steps) for steps in (500, 5000))
    assert peak_bytes(lambda: distinct(many, 10**6)) < 15 * peak_bytes(lambda: distinct(few, 10**6))


@pytest.fixture(scope="module")
def vast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of ten million examples in a hundred thousand classes, hardly any of which is on the disk."""
    path = sparse_store(tmp_path_factory.mktemp("vast") / "vast.safetensors", *VAST)
    if path.stat().st_blocks * 512 > 2**30:
        pytest.skip("this file system keeps no sparse files")
    return path


def test_tasks_of_ten_million_examples(vast: Path) -> None:
    dataset = ArrayDataset(open_store(vast))
    assert (len(dataset), len(dataset.classes)) == (10**7, 10**5)
    episode = TaskGenerator(dataset, ways=5, shots=1, queries=15, seed=0).batch(range(3))
    assert episode.query_x.shape == (3, 75, 1, 28, 28)
    assert dataset[10**7 - 1][1] == 10**5 - 1


@pytest.mark.parametrize("classes", ["None", "store.manifest.classes[::2]"])
def test_opening_and_a_task_take_less_than_a_hundredth_of_the_data(classes: str, vast: Path) -> None:
    before = (
        "from l2l_core.data.arrays import ArrayDataset; from l2l_core.data.generator import TaskGenerator\n"
        "from l2l_core.store import open_store\npath = Path(sys.argv[1])"
    )
    step = (
        f"store = open_store(path); dataset = ArrayDataset(store, {classes})\n"
        "TaskGenerator(dataset, 5, 1, 15, seed=0).batch([0])"
    )
    assert resident_mebibytes(before, step, vast) < 0.01 * vast.stat().st_size / 2**20


def test_an_index_of_many_labels_is_that_of_a_plain_loop() -> None:
    labels = np.random.default_rng(0).integers(0, 500, 20_000).tolist()
    members: dict[int, list[int]] = {}
    for example, label in enumerate(labels):
        members.setdefault(label, []).append(example)
    index = ClassIndex.of_labels(labels)
    assert list(index.labels) == list(members)
    for row, ids in enumerate(members.values()):
        start = index.starts_C[row]
        assert index.ids(np.arange(start, start + index.counts_C[row])).tolist() == ids
    assert index.examples == 20_000
