"""Episodes of several sources, and weighted choices: chances as the weights say, each choice a function of the seed."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2l_core.data.choices import distinct_heads, normal, uniform, weighted, weighted_distinct
from l2l_core.data.episodes import pad_episodes
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.mixed import SOURCE, MixedTasks
from l2l_core.data.own import from_arrays
from l2l_core.data.sampling import random_words
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import FilterLabels, KShots, LoadData, RemapLabels
from l2l_core.data.variable import VariableTasks
from l2l_core.data.weighted import WeightedNWays
from l2l_core.errors import TaskError, UsageError
from tests.data.test_sampling import slow_shuffle_head
from tests.data.test_tasks import toy, words
from tests.data.test_variable import even, numbered, numbered_tensors


def drawn(rows: int, columns: int) -> np.ndarray:
    return random_words(0, 0, np.arange(rows), columns)


def test_uniform_and_normal_numbers() -> None:
    assert uniform(np.array([0, 2**63, 2**64 - 1], np.uint64)).tolist() == [0, 0.5, 1 - 2**-53]
    pairs = drawn(20_000, 2)
    first, second = pairs[5].tolist()
    u, v = (first >> 11) / 2**53, (second >> 11) / 2**53
    assert normal(pairs)[5] == pytest.approx(math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v))
    quantiles = [-1.2815515655446004, -0.5244005127080407, 0, 0.5244005127080407, 1.2815515655446004]
    shares = np.diff([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
    assert even(np.bincount(np.searchsorted(quantiles, normal(pairs)), minlength=6), 20_000 * shares)
    assert np.isfinite(normal(np.array([[2**64 - 1, 0]], np.uint64))).all()


def test_weighted_choices_come_as_their_weights_say() -> None:
    weights_C = np.array([0.0, 1, 3, 0, 0.5, 0])
    chosen = weighted(drawn(20_000, 1)[:, 0], weights_C)
    counts = np.bincount(chosen, minlength=6)
    assert counts[[0, 3, 5]].tolist() == [0, 0, 0]
    assert even(counts[[1, 2, 4]], 20_000 * weights_C[[1, 2, 4]] / 4.5)
    ends = weighted(np.array([0, 2**64 - 1], np.uint64), weights_C)
    assert ends.tolist() == [1, 4]
    slow = [next(c for c in range(6) if word / 2**64 * 4.5 < weights_C[: c + 1].sum()) for word in words(7, 1, 3, 50)]
    assert weighted(random_words(7, 1, np.array([3]), 50)[0], weights_C).tolist() == slow


def test_weighted_choices_without_replacement_are_drawn_one_after_another() -> None:
    weights = [1.0, 2, 4, 0]
    pairs = weighted_distinct(drawn(20_000, 4), np.broadcast_to(weights, (20_000, 4)), 2)
    observed, expected = [], []
    for a, b in permutations(range(3), 2):
        observed.append(int(((pairs[:, 0] == a) & (pairs[:, 1] == b)).sum()))
        expected.append(20_000 * weights[a] / 7 * weights[b] / (7 - weights[a]))
    assert sum(observed) == 20_000
    assert even(observed, expected)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(1, 20))
def test_uneven_rows_are_heads_of_their_own_shuffles(bounds: list[int], steps: int) -> None:
    words_RK = drawn(len(bounds), steps)
    for head, row, bound in zip(distinct_heads(words_RK, np.array(bounds)), words_RK.tolist(), bounds, strict=True):
        few = min(steps, bound)
        assert head.tolist() == slow_shuffle_head(row[:few], bound) + [-1] * (steps - few)


def test_weighted_ways_take_the_place_of_nways() -> None:
    dataset = toy(6, 5)
    weights = {0: 0.0, 10: 1, 20: 2, 30: 3, 40: 4, 50: 5}
    transforms = [WeightedNWays(dataset, 2, weights=weights), KShots(dataset, 2), LoadData(dataset)]
    tasks = TaskDataset(dataset, [*transforms, RemapLabels(dataset)], seed=0)
    batch = tasks.describe(range(6000))
    labels_BN = np.array(batch.index.labels)[batch.all_classes_BN]
    counts = np.bincount(labels_BN[:, 0] // 10, minlength=6)
    assert counts[0] == 0
    assert even(counts[1:], 6000 * np.arange(1, 6) / 15)
    assert (labels_BN[:, 0] != labels_BN[:, 1]).all()
    assert tasks.describe([17]).all_ids_BNK.tolist() == batch.all_ids_BNK[17:18].tolist()
    few = TaskDataset(dataset, [FilterLabels(dataset, [10, 50]), WeightedNWays(dataset, 1, weights=weights)], seed=0)
    only = np.array(batch.index.labels)[few.describe(range(600)).all_classes_BN[:, 0]]
    assert even([(only == 10).sum(), (only == 50).sum()], [100, 500])


def test_weights_that_cannot_be() -> None:
    dataset = numbered_tensors([4] * 3)
    cases: list[tuple[dict[int, object], int, type[Exception], str]] = [
        ({0: 1, 1: math.nan, 2: 1}, 1, UsageError, "weights: weight 1 is nan; give finite numbers, not negative"),
        ({0: 1, 1: 1, 2: -0.5}, 1, UsageError, "weights: weight 2 is -0.5; give finite numbers, not negative"),
        ({0: math.inf, 1: 1, 2: 1}, 1, UsageError, "weights: weight 0 is inf; give finite numbers, not negative"),
        ({0: "much", 1: 1, 2: 1}, 1, UsageError, "weights are not all numbers; give one number for each of 3"),
        ({0: 0, 1: 0}, 1, UsageError, "weights: 0 are above 0, but 1 must be to choose from; raise some"),
        ({0: 1, 1: 1}, 1, TaskError, "class '2' has no weight; give one for each label, 0 to leave it out"),
        (
            {0: 1, 1: 1, 2: 0},
            3,
            TaskError,
            "3 ways were asked for, but 2 of the classes have a weight above 0; lower the ways",
        ),
    ]
    for weights, ways, kind, message in cases:
        with pytest.raises(kind) as caught:
            TaskDataset(dataset, [WeightedNWays(dataset, ways, weights=weights)], seed=0).describe([0])  # type: ignore[arg-type]
        assert str(caught.value) == message
    late = [KShots(dataset, 1), WeightedNWays(dataset, 1, weights={0: 1, 1: 1, 2: 1})]
    with pytest.raises(TaskError) as caught:
        TaskDataset(dataset, late, seed=0).describe([0])
    assert str(caught.value) == (
        "WeightedNWays chooses before examples and labels are; put it before KShots and RemapLabels"
    )


def test_each_episode_is_the_one_of_its_source() -> None:
    even_ones = TaskGenerator(numbered_tensors([9] * 8), 5, 1, 3, seed=4)
    uneven_ones = VariableTasks(numbered_tensors([7, 30, 12, 9, 50, 20]), seed=5)
    mixed = MixedTasks([even_ones, uneven_ones], seed=6)
    numbers = [3, 0, 99, 10**9, 1, 2, 50]
    sources = mixed.sources_of(numbers).tolist()
    assert sources == [words(6, SOURCE, number, 1)[0] >> 63 for number in numbers]
    assert set(sources) == {0, 1}
    batch = mixed.batch(numbers)
    for number, source, unpadded in zip(numbers, sources, batch.unpadded(), strict=True):
        expected = (even_ones, uneven_ones)[source][number]
        for part, alone, padded in zip(expected, mixed[number], unpadded, strict=True):
            assert torch.equal(part, alone)
            assert torch.equal(part, padded)


def test_sources_come_alike_or_as_their_weights_say() -> None:
    source = TaskGenerator(numbered([9] * 5), 5, 1, 3, seed=4)
    alike = MixedTasks([source] * 3, seed=0).sources_of(range(6000))
    assert even(np.bincount(alike), 2000)
    unlike = MixedTasks([source] * 3, seed=0, weights=[1, 0, 5]).sources_of(range(6000))
    assert even(np.bincount(unlike)[[0, 2]], [1000, 5000])
    assert not (unlike == 1).any()


def test_mixtures_that_cannot_be() -> None:
    endless = TaskGenerator(numbered([9] * 5), 5, 1, 3, seed=4)
    finite = TaskGenerator(numbered([9] * 5), 5, 1, 3, seed=4, num_tasks=10)
    assert len(MixedTasks([endless, finite], num_tasks=10)) == 10
    cases: list[tuple[list[TaskGenerator], dict[str, object], str]] = [
        ([], {}, "no source was given to draw episodes from; give at least one"),
        (
            [endless, finite],
            {},
            "source 1 has 10 tasks, but endless ones were asked for; raise them",
        ),
        ([finite], {"num_tasks": 11}, "source 0 has 10 tasks, but 11 were asked for; raise them"),
        ([endless], {"weights": [1, 2]}, "weights: 2 were given for 1; give one for each"),
        ([endless], {"weights": [math.nan]}, "weights: weight 0 is nan; give finite numbers, not negative"),
    ]
    for sources, arguments, message in cases:
        with pytest.raises(UsageError) as caught:
            MixedTasks(sources, **arguments)  # type: ignore[arg-type]
        assert str(caught.value) == message
    small, large = (from_arrays(np.zeros((30, 1, side, side)), [i % 6 for i in range(30)]) for side in (8, 9))
    mixed = MixedTasks([TaskGenerator(data, 5, 1, 3, seed=0) for data in (small, large)], seed=0)
    with pytest.raises(TaskError, match=r"the examples of these episodes are torch.float64 \[1, 8, 8\] and torch"):
        mixed.batch(range(10))


def test_what_is_no_source_and_weights_of_any_kind() -> None:
    tasks = VariableTasks(numbered([20] * 8), seed=0)
    drawn = MixedTasks([tasks, tasks], 0, weights=np.array([1.0, 3.0])).sources_of(range(4000))
    assert abs(drawn.mean() - 0.75) < 0.03
    assert set(MixedTasks([tasks] * 3, 1, weights=[1e308] * 3).sources_of(range(100)).tolist()) == {0, 1, 2}
    for sources, options, message in (
        ([tasks, [1]], {}, "source 1 is a list, which gives no episodes; give a TaskGenerator or other tasks"),
        ([tasks, tasks], {"weights": ()}, "weights: 0 were given for 2; give one for each"),
    ):
        with pytest.raises(UsageError) as caught:
            MixedTasks(sources, 0, **options)
        assert str(caught.value) == message
    for episodes, found in (([], "no episode"), ([(1, 2)], "tuple")):
        with pytest.raises(TaskError) as refused:
            pad_episodes(episodes)
        assert str(refused.value) == f"{found} was given to fill up; give at least one Episode"
