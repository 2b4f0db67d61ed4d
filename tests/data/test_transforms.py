"""The transforms of arrays: every order that makes sense, the errors for those that do not, and what each chooses."""

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from l2l_core.data import transforms
from l2l_core.data.batches import describe
from l2l_core.data.datasets import MetaDataset
from l2l_core.data.descriptions import DataDescription
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import random_words
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import (
    SHOTS,
    ConsecutiveLabels,
    FilterLabels,
    FusedNWaysKShots,
    KShots,
    LoadData,
    NWays,
    RemapLabels,
)
from l2l_core.data.weighted import WeightedNWays
from l2l_core.errors import TaskError, UsageError


class Unloadable(Dataset[Any]):
    """One that knows its labels, and whose examples cannot be loaded."""

    def __init__(self, labels: Sequence[Any]) -> None:
        self.targets = list(labels)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError(f"example {index} was loaded")


LABELS = [50, 10, 40, 20, 30, 60] * 4
DATASET = Unloadable(LABELS)
KEPT = [10, 20, 30, 40, 60]


def same(descriptions: list[DataDescription] | None) -> list[DataDescription]:
    return [DataDescription(i) for i in range(len(LABELS))] if descriptions is None else descriptions


def test_sampling_never_loads_an_example() -> None:
    steps = [
        FilterLabels(DATASET, KEPT),
        NWays(DATASET, 4),
        KShots(DATASET, 3),
        LoadData(DATASET),
        RemapLabels(DATASET),
        ConsecutiveLabels(DATASET),
    ]
    tasks = TaskDataset(DATASET, steps, seed=0)
    assert tasks.describe(range(50)).all_ids_BNK.shape == (50, 4, 3)
    assert len(tasks.sample_task_description()) == 12
    fused = [FusedNWaysKShots(DATASET, 4, 3, filter_labels=KEPT)]
    assert TaskDataset(DATASET, fused, seed=0).batch(range(50)).shape == (50, 12)
    listing = TaskDataset(DATASET, [same, *steps[:3], same, *steps[3:], same], seed=0)
    assert len(listing.sample_task_description()) == 12
    with pytest.raises(AssertionError, match="was loaded"):
        tasks[0]


ORDERS: dict[str, Callable[[], Any]] = {
    "filter": lambda: FilterLabels(DATASET, KEPT),
    "ways": lambda: NWays(DATASET, 3),
    "shots": lambda: KShots(DATASET, 2),
    "load": lambda: LoadData(DATASET),
    "remap": lambda: RemapLabels(DATASET),
    "consecutive": lambda: ConsecutiveLabels(DATASET),
}


def test_every_order_of_the_transforms_gives_good_tasks_or_says_why_not() -> None:
    index = MetaDataset(DATASET).class_index
    counts = {"good": 0, "gaps": 0, "uneven": 0}
    for order in permutations(ORDERS):
        place = order.index
        steps = [ORDERS[name]() for name in order]
        if place("remap") < max(place("ways"), place("filter")):
            first = next(name for name in order[place("remap") :] if name in ("ways", "filter"))
            name = {"ways": "NWays", "filter": "FilterLabels"}[first]
            message, kind = f"{name} would leave gaps in the labels that RemapLabels has given; put it before", "gaps"
        elif place("ways") < place("filter"):
            message, kind = (
                "of the chosen classes, FilterLabels would keep 2 to 3 a task; put it before NWays",
                "uneven",
            )
        else:
            message, kind = "", "good"
        counts[kind] += 1
        if message:
            with pytest.raises(TaskError, match=message):
                describe(index, 7, np.arange(20), steps)
            continue
        batch = describe(index, 7, np.arange(20), steps)
        assert batch.load
        assert batch.all_ids_BNK.shape == (20, 3, 2)
        for ids_NK, labels_N in zip(batch.all_ids_BNK.tolist(), batch.all_labels_BN.tolist(), strict=True):
            own = [LABELS[ids_K[0]] for ids_K in ids_NK]
            assert all(LABELS[i] == label for label, ids_K in zip(own, ids_NK, strict=True) for i in ids_K)
            assert all(len(set(ids_K)) == 2 for ids_K in ids_NK)
            assert len(set(own)) == 3
            assert set(own) <= set(KEPT)
            assert sorted(labels_N) == [0, 1, 2]
            if place("consecutive") > place("ways"):
                assert own == sorted(own)
    assert counts == {"good": 120, "gaps": 480, "uneven": 120}


def slow_apart(words: list[int], count: int, shots: int) -> tuple[list[int], list[int]]:
    """Places in a class of shots with replacement, and of queries from what is left, one choice at a time."""
    support = [word * count >> 64 for word in words[:shots]]
    left = [place for place in range(count) if place not in support]
    return support, [left[word * len(left) >> 64] for word in words[shots:]]


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 4), st.integers(1, 3), st.integers(0, 2**64 - 1))
def test_queries_are_apart_with_replacement(shots: int, queries: int, more: int, ways: int, seed: int) -> None:
    count = shots + 1 + more
    index = ClassIndex.of_counts(np.full(ways, count), [str(row) for row in range(ways)])
    tasks_B = np.arange(8)
    batch = describe(index, seed, tasks_B, [KShots(None, shots, True, queries)])
    words_BNK = random_words(seed, SHOTS, tasks_B, ways * (shots + queries)).reshape(8, ways, shots + queries)
    for ids_NK, words_NK in zip(batch.all_ids_BNK.tolist(), words_BNK.tolist(), strict=True):
        for row, (ids_K, words_K) in enumerate(zip(ids_NK, words_NK, strict=True)):
            support, query = slow_apart(words_K, count, shots)
            assert [i - row * count for i in ids_K] == support + query
            assert not set(support) & set(query)


def test_queries_with_replacement_are_uniform_over_what_is_left() -> None:
    index = ClassIndex.of_counts(np.array([5]), ["only"])
    ids_BK = describe(index, 3, np.arange(60_000), [KShots(None, 2, True, 1)]).all_ids_BNK[:, 0]
    counts = np.zeros((5, 5, 5))
    np.add.at(counts, tuple(ids_BK.T), 1)
    for first in range(5):
        for second in range(5):
            left = [place for place in range(5) if place not in (first, second)]
            expected = 60_000 / 25 / len(left)
            assert counts[first, second, [first, second]].sum() == 0
            assert abs(counts[first, second, left] - expected).max() < 5 * expected**0.5


def test_queries_without_replacement_are_further_examples() -> None:
    together, apart = (
        TaskDataset(DATASET, [NWays(DATASET, 3), step], seed=4)
        for step in (KShots(DATASET, 4), KShots(DATASET, 1, queries=3))
    )
    assert torch.equal(together.batch(range(20)), apart.batch(range(20)))


def test_a_class_with_too_few_examples_is_named_with_count_and_sum() -> None:
    dataset = Unloadable(["a"] * 5 + ["b"] * 3)
    cases = [
        (
            KShots(dataset, 2, queries=2),
            "4 examples a class were asked for, but class 'b' has 3; lower shots or queries",
        ),
        (KShots(dataset, 4), "4 examples a class were asked for, but class 'b' has 3; lower shots or queries, or drop"),
        (
            KShots(dataset, 3, True, 9),
            "4 examples a class that keep queries apart were asked for, but class 'b' has 3; lower shots or queries",
        ),
        (FusedNWaysKShots(dataset, 2, 4), "4 examples a class were asked for, but class 'b' has 3; lower shots or"),
    ]
    for step, message in cases:
        with pytest.raises(TaskError, match=message):
            TaskDataset(dataset, [step], seed=0)[0]
    assert TaskDataset(dataset, [KShots(dataset, 9, True)], seed=0)[0].shape == (18,)
    assert TaskDataset(dataset, [KShots(dataset, 2, True, 9)], seed=0)[0].shape == (22,)
    with pytest.raises(UsageError, match="queries is -1; give 0 or more"):
        KShots(dataset, 2, queries=-1)


def test_labels_that_cannot_be() -> None:
    with pytest.raises(
        TaskError, match=r"FilterLabels: \[1\] cannot be a label \(unhashable type: 'list'\); give integ"
    ):
        FilterLabels(DATASET, [[1]])
    with pytest.raises(UsageError, match=r"^FilterLabels: 5 is no list of labels; give \[5\] for a single one$"):
        FilterLabels(DATASET, 5)
    with pytest.raises(UsageError, match="^weights is a list; give a mapping of label to weight$"):
        WeightedNWays(DATASET, 2, weights=[1, 2])
    with pytest.raises(
        TaskError, match=r"a label cannot tell classes apart \(unhashable type: 'dict'\); give integers"
    ):
        TaskDataset(Unloadable([{}, {}]))
    mixed = Unloadable(["a", 1] * 2)
    for step in (ConsecutiveLabels(mixed), RemapLabels(mixed, shuffle=False)):
        with pytest.raises(TaskError, match="the labels cannot be put in order .*; give labels of one type"):
            TaskDataset(mixed, [step], seed=0)[0]
    assert TaskDataset(mixed, [NWays(mixed, 2), KShots(mixed, 2), RemapLabels(mixed)], seed=0)[0].shape == (4,)


def test_filter_labels_looks_its_labels_up_once_however_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    index = MetaDataset(DATASET).class_index
    looked = []
    found = transforms.rows_of_labels
    monkeypatch.setattr(transforms, "rows_of_labels", lambda *args: looked.append(args) or found(*args))
    steps = [FilterLabels(None, reversed(KEPT)), NWays(None, 5)]
    for number in range(9):
        classes_BN = describe(index, 0, np.array([number]), steps).all_classes_BN
        assert sorted(index.labels[row] for row in classes_BN[0]) == KEPT
    assert len(looked) == 1
    other = ClassIndex.of_labels([60, 10, 20, 30, 40, 70])
    assert describe(other, 0, np.arange(1), steps).all_classes_BN[0].max() <= 4, "another data set, other rows"


@pytest.mark.parametrize("fused", [False, True])
def test_the_order_of_the_labels_to_keep_does_not_matter(fused: bool) -> None:
    index = MetaDataset(DATASET).class_index

    def drawn(labels: Iterable[int]) -> list[list[int]]:
        apart = [FilterLabels(None, labels), NWays(None, 2)]
        steps = [FusedNWaysKShots(None, 2, 1, filter_labels=labels)] if fused else apart
        return describe(index, 0, np.arange(9), steps).all_classes_BN.tolist()

    assert all(drawn(order) == drawn(KEPT) for order in permutations(KEPT))
    assert drawn(set(KEPT)) == drawn(frozenset(KEPT)) == drawn(KEPT)


def test_a_filter_behind_the_ways_keeps_only_its_labels() -> None:
    steps = [NWays(DATASET, 6), FilterLabels(DATASET, [20, 60])]
    for classes in describe(MetaDataset(DATASET).class_index, 0, np.arange(9), steps).all_classes_BN.tolist():
        assert sorted(classes) == [3, 5]


def test_a_data_set_that_changes_its_length_is_noticed() -> None:
    dataset = Unloadable(LABELS)
    tasks = TaskDataset(dataset, [NWays(dataset, 2), KShots(dataset, 2)], seed=0)
    episodes = TaskGenerator(dataset, ways=2, shots=1, queries=1, seed=0)
    before = tasks[3]
    for change, length in (([*LABELS, 10], 25), (LABELS[:20], 20)):
        dataset.targets = change
        message = f"the data set had 24 examples when tasks were made of it, and has {length} now; make new tasks of it"
        for made in (tasks, episodes):
            with pytest.raises(TaskError, match=message):
                made.describe([3])
    dataset.targets = LABELS
    assert torch.equal(tasks[3], before)
