"""Episodes of variable ways and shots: as the paper's formulas give them, in slow plain Python from the same words."""

import hashlib
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.episodes import NO_LABEL, Episode, PaddedEpisodes, pad_episodes
from l2l_core.data.hierarchy import Hierarchy
from l2l_core.data.own import from_arrays, from_iterable
from l2l_core.data.sampling import random_words
from l2l_core.data.transforms import CLASSES, SHOTS
from l2l_core.data.variable import GROUP, PROPORTIONS, SUPPORT, WAYS, VariableTasks, half_to_double
from l2l_core.errors import TaskError, UsageError
from l2l_core.prepare.held import Held
from tests.data.test_sampling import slow_shuffle_head
from tests.data.test_tasks import toy, words

COUNTS = [2, 3, 40, 700, 20, 20, 21, 300, 55, 9, 1000, 64, 31, 150, 8, 5]


def numbered(counts: Sequence[int], superclasses: Sequence[str] = ()) -> ArrayDataset:
    """A NumPy data set whose example i is the number i, of classes c0, c1 and so on with so many examples."""
    names = tuple(f"c{row}" for row in range(len(counts)))
    offsets = np.cumsum([0, *counts])
    held = Held("numbers", names, "arrays", np.arange(offsets[-1])[:, None], offsets)
    return ArrayDataset(held, superclass_of=dict(zip(names, superclasses, strict=False)))


def numbered_tensors(counts: Sequence[int]) -> ArrayDataset:
    """The same with tensors."""
    labels = [row for row, count in enumerate(counts) for _ in range(count)]
    return from_arrays(np.arange(len(labels))[:, None], labels)


def even(observed: Sequence[int] | np.ndarray, expected: Sequence[float] | float) -> bool:
    """Whether Pearson's chi-square is no further from its mean than five standard deviations of it."""
    observed = np.asarray(observed)
    statistic = float(((observed - expected) ** 2 / np.asarray(expected)).sum())
    freedom = len(observed) - 1
    return statistic < freedom + 5 * math.sqrt(2 * freedom)


def slow_episode(
    counts: Sequence[int],
    seed: int,
    task: int,
    groups: Sequence[Sequence[int]] | None = None,
    whole: bool = False,
    ways: tuple[int, int] = (5, 50),
    max_queries: int = 10,
    max_support: int = 500,
    max_contribution: int = 100,
) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """Classes, support ids and query ids of one episode, one choice at a time, with the paper's symbols."""
    groups = groups or [range(len(counts))]
    group = groups[words(seed, GROUP, task, 1)[0] * len(groups) >> 64]
    most = min(len(group), ways[1])
    chosen = most if whole else ways[0] + (words(seed, WAYS, task, 1)[0] * (most - ways[0] + 1) >> 64)
    head = slow_shuffle_head(words(seed, CLASSES, task, ways[1])[:chosen], len(group))
    C = [group[place] for place in head]
    Im = [counts[c] for c in C]
    q = min(max_queries, min(size // 2 for size in Im))
    beta = Fraction(words(seed, SUPPORT, task, 1)[0] + 1, 2**64)
    parts = [math.ceil(beta * min(max_contribution, size - q)) for size in Im]
    S = min(max_support, sum(parts))
    alphas = [
        math.log(0.5) + word / 2**64 * (math.log(2) - math.log(0.5))
        for word in words(seed, PROPORTIONS, task, ways[1])[:chosen]
    ]
    total = sum(math.exp(alpha) * size for alpha, size in zip(alphas, Im, strict=True))
    R = [math.exp(alpha) * size / total for alpha, size in zip(alphas, Im, strict=True)]
    k = [min(math.floor(share * (S - len(C))) + 1, size - q) for share, size in zip(R, Im, strict=True)]
    left = words(seed, SHOTS, task, max_support + ways[1] * max_queries)
    support, query = [], []
    for c, shots in zip(C, k, strict=True):
        own, left = left[: shots + q], left[shots + q :]
        ids = [sum(counts[:c]) + place for place in slow_shuffle_head(own, counts[c])]
        support.append(ids[:shots])
        query.append(ids[shots:])
    return C, support, query


@pytest.mark.parametrize(
    ("groups", "whole", "bounds"),
    [
        (None, False, {}),
        (None, False, {"ways": (2, 3), "max_queries": 4, "max_support": 6, "max_contribution": 3}),
        ([range(5), range(3, 16), [7, 2, 9, 15, 10]], False, {}),
        ([range(5), range(3, 16), range(16)], True, {"ways": (5, 8)}),
    ],
)
def test_slow_python_draws_the_same_episodes(
    groups: list[Sequence[int]] | None, whole: bool, bounds: dict[str, object]
) -> None:
    arguments = dict(bounds)
    if "ways" in arguments:
        arguments["min_ways"], arguments["max_ways"] = arguments.pop("ways")
    hierarchy = None if groups is None else Hierarchy({str(n): group for n, group in enumerate(groups)}, whole)
    tasks = VariableTasks(numbered(COUNTS), seed=3, hierarchy=hierarchy, **arguments)
    numbers = [*range(40), 10**9]
    for number, episode in zip(numbers, tasks.__getitems__(numbers), strict=True):
        _, support, query = slow_episode(COUNTS, 3, number, groups, whole, **bounds)
        assert episode.support_x[:, 0].tolist() == sum(support, [])
        assert episode.query_x[:, 0].tolist() == sum(query, [])
        assert episode.support_y.tolist() == [n for n, ids in enumerate(support) for _ in ids]
        assert episode.query_y.tolist() == [n for n, ids in enumerate(query) for _ in ids]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 90), min_size=1, max_size=12),
    bounds=st.tuples(st.integers(1, 4), st.integers(0, 8), st.integers(1, 12), st.integers(0, 60), st.integers(1, 40)),
    seed=st.integers(0, 2**64 - 1),
)
def test_whatever_the_sizes_an_episode_is_what_it_says(counts: list[int], bounds: tuple[int, ...], seed: int) -> None:
    least, more, queries, spare, contribution = bounds
    least = min(least, len(counts))
    limits = {"min_ways": least, "max_ways": least + more, "max_queries": queries, "max_contribution": contribution}
    tasks = VariableTasks(numbered(counts), seed=seed, max_support=least + more + spare, **limits)
    made = tasks.describe(range(20))
    of_id = np.repeat(np.arange(len(counts)), counts)
    for classes_N, shots_N, q, ids_NK in zip(made.classes_BN, made.shots_BN, made.queries_B, made.ids_BNK, strict=True):
        ways = int((classes_N >= 0).sum())
        assert least <= ways <= least + more
        assert sorted(set(classes_N[:ways].tolist())) == sorted(classes_N[:ways].tolist())
        assert q == min(queries, min(counts[c] for c in classes_N[:ways]) // 2)
        assert ways <= shots_N.sum() <= least + more + spare
        for n in range(ways):
            ids = ids_NK[n][ids_NK[n] >= 0]
            assert shots_N[n] >= 1
            assert len(ids) == shots_N[n] + q == len(set(ids.tolist())) <= counts[classes_N[n]]
            assert (of_id[ids] == classes_N[n]).all()
        assert (ids_NK[ways:] == -1).all()
        assert (shots_N[ways:] == 0).all()


def test_an_episode_is_the_same_alone_and_in_any_batch() -> None:
    tasks = VariableTasks(numbered_tensors(COUNTS), seed=9)
    order = [5, 0, 17, 3, 10**12, 5]
    together = tasks.batch(order)
    for number, unpadded, listed in zip(order, together.unpadded(), tasks.__getitems__(order), strict=True):
        alone = tasks[number]
        for part, same, also in zip(alone, unpadded, listed, strict=True):
            assert torch.equal(part, same)
            assert torch.equal(part, also)
    again = pickle.loads(pickle.dumps(tasks))
    assert torch.equal(again[17].support_x, tasks[17].support_x)


def test_a_batch_is_filled_up_behind_its_masks() -> None:
    tasks = VariableTasks(numbered_tensors(COUNTS), seed=9)
    batch = tasks.batch(range(6))
    assert isinstance(batch, PaddedEpisodes)
    assert batch.support_mask.dtype == batch.query_mask.dtype == torch.bool
    for row, episode in enumerate(tasks.__getitems__(range(6))):
        for name in ("support", "query"):
            x, y, mask = (getattr(batch, f"{name}_{part}")[row] for part in ("x", "y", "mask"))
            size = len(getattr(episode, f"{name}_x"))
            assert mask.tolist() == [True] * size + [False] * (len(mask) - size)
            assert torch.equal(x[mask], getattr(episode, f"{name}_x"))
            assert not x[~mask].any()
            assert (y[~mask] == NO_LABEL).all()
    assert {len(mask) for mask in batch.support_mask} == {max(len(e.support_x) for e in batch.unpadded())}


def test_padding_does_not_count_in_torchs_cross_entropy() -> None:
    batch = VariableTasks(numbered_tensors(COUNTS), seed=9).batch(range(4))
    logits = torch.randn(*batch.query_y.shape, 50, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.query_y.flatten())
    own = torch.nn.functional.cross_entropy(logits[batch.query_mask], batch.query_y[batch.query_mask])
    assert torch.allclose(whole, own)


def test_a_loader_gives_the_same_batches() -> None:
    tasks = VariableTasks(numbered_tensors(COUNTS), seed=9, num_tasks=5)
    loader = DataLoader(tasks, batch_size=2, collate_fn=pad_episodes)
    for start, batch in zip((0, 2, 4), loader, strict=True):
        for part, same in zip(batch, tasks.batch(range(start, min(start + 2, 5))), strict=True):
            assert torch.equal(part, same)


def test_arrays_texts_and_examples_of_any_data_set() -> None:
    episode = VariableTasks(numbered(COUNTS), seed=0)[0]
    assert all(type(part) is np.ndarray for part in episode)
    texts = from_iterable([(f"topic {i % 6}", f"text {i}") for i in range(60)])
    batch = VariableTasks(texts, seed=0).batch([0, 1, 2])
    for row, (one, mask) in enumerate(zip(batch.support_x, batch.support_mask, strict=True)):
        assert all(bool(text) == bool(used) for text, used in zip(one, mask, strict=True))
        assert batch.unpadded()[row].support_x == [text for text in one if text]
    jumbled = toy(6, 8)
    tasks = VariableTasks(jumbled, seed=0)
    read = jumbled.loaded
    made = tasks.describe(range(50))
    assert jumbled.loaded == read, "drawing loaded an example"
    episode = tasks[7]
    assert jumbled.loaded == read + len(episode.support_x) + len(episode.query_x)
    ids = made.ids_BNK[7][made.support_BNK[7]]
    assert episode.support_x[:, 0].tolist() == ids.tolist()
    labels = [tasks.dataset.class_index.labels[row] for row in made.classes_BN[7]]
    assert [labels[y] for y in episode.support_y] == [jumbled.own_labels[i] for i in ids]


def test_golden_episodes() -> None:
    """Ids of the first and of far episodes, which must never change: papers cite them."""
    made = VariableTasks(numbered(COUNTS), seed=0).describe([*range(100), 10**6, 10**12])
    assert made.ids_BNK[0][made.support_BNK[0]][:8].tolist() == [1169, 1166, 1167, 2421, 2419, 29, 37, 31]
    assert (
        hashlib.sha256(made.ids_BNK.astype("<i8").tobytes()).hexdigest()
        == "8bd7ff23cd6cff87edf662c98d50317a782a3586d8f739092504e4dd9e8d30bc"
    )


def test_ways_classes_and_examples_are_drawn_evenly() -> None:
    made = VariableTasks(numbered([20] * 60), seed=1).describe(range(4000))
    ways_B = (made.classes_BN >= 0).sum(axis=1)
    assert even(np.bincount(ways_B, minlength=51)[5:], 4000 / 46)
    first = np.bincount(made.classes_BN[:, 0], minlength=60)
    assert even(first, 4000 / 60)
    ids = made.ids_BNK[:, :5]
    for part in (made.support_BNK[:, :5], (ids >= 0) & ~made.support_BNK[:, :5]):
        places = np.bincount(ids[part] % 20, minlength=20)
        assert even(places, part.sum() / 20)
    # Of 20 examples 10 are queries, so that a class counts 1 to 10 in the size of the support set, evenly.
    sizes = made.shots_BN.sum(axis=1) / ways_B
    assert 1 <= sizes.min() < 1.5
    assert 8 < sizes.max() <= 10


def test_groups_are_drawn_evenly_and_never_mixed() -> None:
    groups = {"a": range(5), "b": range(5, 11), "c": range(11, 60)}
    tasks = VariableTasks(numbered([20] * 60), seed=1, hierarchy=Hierarchy(groups))
    classes_BN = tasks.describe(range(3000)).classes_BN
    group_BN = np.searchsorted([5, 11], classes_BN, side="right")
    assert ((group_BN == group_BN[:, :1]) | (classes_BN < 0)).all()
    assert even(np.bincount(group_BN[:, 0]), 1000)
    ways_B = (classes_BN >= 0).sum(axis=1)
    assert set(ways_B[group_BN[:, 0] == 0]) == {5}
    assert set(ways_B[group_BN[:, 0] == 1]) == {5, 6}
    assert set(ways_B[group_BN[:, 0] == 2]) == set(range(5, 50))


def test_factors_are_log_uniform_between_a_half_and_two() -> None:
    drawn = random_words(0, 0, np.arange(20_000), 1)[:, 0]
    factors = half_to_double(drawn)
    assert factors == pytest.approx([0.5 * 4 ** (int(word) / 2**64) for word in drawn], rel=1e-9)
    assert even(np.histogram(np.log2(factors), 20, (-1, 1))[0], 1000)
    ends = half_to_double(np.array([0, 2**64 - 1], np.uint64))
    assert ends[0] == 0.5
    assert 2 - 1e-8 < ends[1] < 2


def test_refusals() -> None:
    many = numbered([20] * 8)
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"min_ways": 9}, TaskError, "min_ways is 9, but there are 8 classes; lower it"),
        ({"min_ways": 0}, UsageError, "min_ways is 0; give at least 1"),
        ({"min_ways": 6, "max_ways": 5}, UsageError, "max_ways is 5, below min_ways = 6; raise it"),
        ({"max_queries": 0}, UsageError, "max_queries is 0; give at least 1"),
        (
            {"max_support": 7},
            UsageError,
            "max_support is 7, less than one example for each of 8 ways; raise it",
        ),
        (
            {"hierarchy": Hierarchy({"a": range(4)})},
            TaskError,
            "group 'a' has 4 classes, fewer than min_ways = 5; lower it",
        ),
        (
            {"hierarchy": Hierarchy({"a": range(4), "b": range(3)}, whole=True)},
            TaskError,
            "none of the 2 groups of the hierarchy has min_ways = 5 classes, the largest has 4; lower min_ways or give "
            "other groups",
        ),
        (
            {"hierarchy": Hierarchy({})},
            TaskError,
            "none of the 0 groups of the hierarchy has min_ways = 5 classes, the largest has 0; lower min_ways or give "
            "other groups",
        ),
        (
            {"hierarchy": Hierarchy({"a": range(9)})},
            TaskError,
            "group 'a' names the label 8, which no example has; leave it out",
        ),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind) as caught:
            VariableTasks(many, seed=0, **arguments)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(TaskError) as caught:
        VariableTasks(numbered([20, 1, 20, 20, 20, 20]))
    assert str(caught.value) == ("class 'c1' has 1 example, but support and query need one each; drop the class")
    assert VariableTasks(numbered([20, 1, 20, 20, 20, 20]), hierarchy=Hierarchy({"": [0, 2, 3, 4, 5]}))[0]
    with pytest.raises(IndexError, match="there is no task 3; the tasks of this set are 0 to 2"):
        VariableTasks(many, num_tasks=3).batch([0, 3])


def test_episodes_of_different_kinds_are_not_stacked() -> None:
    one = Episode(*[np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2, np.int64)] * 2)
    other = one._replace(support_x=np.zeros((2, 3, 8, 8), np.uint8))
    with pytest.raises(TaskError) as caught:
        pad_episodes([one, other])
    assert str(caught.value) == (
        "the examples of these episodes are uint8 [1, 8, 8] and uint8 [3, 8, 8], which no batch holds; take the "
        "episodes one by one, or give the data sets one shape and type"
    )


def test_all_kinds_of_episode_of_numpy_data_do_without_torch() -> None:
    program = """
import sys
import numpy as np
from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.hierarchy import superclass_hierarchy
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.mixed import MixedTasks
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.regression import SinusoidTasks
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.variable import VariableTasks
from l2l_core.data.weighted import WeightedNWays
from l2l_core.prepare.held import Held
held = Held("numbers", tuple("abcdefghij"), "arrays", np.arange(200)[:, None], np.arange(0, 201, 20))
data = ArrayDataset(held, superclass_of=dict.fromkeys("abcdefghij", "letters"))
tasks = VariableTasks(data, seed=0, hierarchy=superclass_hierarchy(data))
MixedTasks([tasks, tasks], seed=0).batch([0, 1])
SemiSupervisedTasks(data, seed=0)[0]
IncrementalSessions(data, 4, 2, 2, 2, seed=0)[1]
ExampleBatches(data, seed=0)[0]
SinusoidTasks(seed=0).describe([0])
WeightedNWays(data, 2, weights=dict.fromkeys(range(10), 1))
print("torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout == "False\n"
