"""Semi-supervised episodes: as slow plain Python draws them; labelled and unlabelled examples never mix."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from l2l_core.data.episodes import NO_LABEL
from l2l_core.data.loaders import collate_tasks
from l2l_core.data.own import from_iterable
from l2l_core.data.semi_supervised import SPLIT, SemiSupervisedTasks
from l2l_core.data.transforms import CLASSES, SHOTS
from l2l_core.errors import TaskError, UsageError
from tests.data.test_sampling import slow_shuffle_head
from tests.data.test_tasks import toy, words
from tests.data.test_variable import even, numbered, numbered_tensors

COUNTS = [20, 20, 35, 24, 60, 20, 21, 28, 90, 20]


def slow_split(counts: list[int], fraction: float, split_seed: int) -> list[tuple[list[int], list[int]]]:
    """Labelled and unlabelled ids of each class: those with the least words are labelled."""
    left, first, split = words(split_seed, SPLIT, 0, sum(counts)), 0, []
    for count in counts:
        own, left = left[:count], left[count:]
        order = [first + place for _, place in sorted((word, place) for place, word in enumerate(own))]
        split.append((order[: int(count * fraction)], order[int(count * fraction) :]))
        first += count
    return split


def slow_ids(words_M: list[int], pools: list[list[int]], take: int) -> list[list[int]]:
    return [
        [pool[place] for place in slow_shuffle_head(words_M[n * take : (n + 1) * take], len(pool))]
        for n, pool in enumerate(pools)
    ]


@pytest.mark.parametrize("task", [0, 1, 2, 77, 10**9])
def test_slow_python_draws_the_same_episodes_of_labelled_examples(task: int) -> None:
    tasks = SemiSupervisedTasks(numbered(COUNTS), 3, 2, 4, 5, 2, labelled=0.3, seed=8, split_seed=5)
    split = slow_split(COUNTS, 0.3, 5)
    chosen = [split[row] for row in slow_shuffle_head(words(8, CLASSES, task, 5), 10)]
    labelled = slow_ids(words(8, SHOTS, task, 5 * 6), [pool for pool, _ in chosen], 6)
    # The second draw from a stream.
    unlabelled = slow_ids(words(8, SHOTS + 2**32, task, 5 * 5), [pool for _, pool in chosen], 5)
    episode = tasks[task]
    assert episode.support_x[:, 0].tolist() == [i for ids in labelled[:3] for i in ids[:2]]
    assert episode.query_x[:, 0].tolist() == [i for ids in labelled[:3] for i in ids[2:]]
    assert episode.unlabelled_x[:, 0].tolist() == sum(unlabelled, [])
    assert episode.support_y.tolist() == [0, 0, 1, 1, 2, 2]
    assert episode.query_y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert episode.unlabelled_y.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [NO_LABEL] * 10


def test_slow_python_draws_the_same_episodes_of_all_examples() -> None:
    tasks = SemiSupervisedTasks(numbered(COUNTS), 3, 2, 4, 5, 1, seed=8)
    starts = np.cumsum([0, *COUNTS]).tolist()
    for task in range(20):
        rows = slow_shuffle_head(words(8, CLASSES, task, 4), 10)
        pools = [list(range(starts[row], starts[row + 1])) for row in rows]
        drawn = slow_ids(words(8, SHOTS, task, 4 * 11), pools, 11)
        episode = tasks[task]
        assert episode.support_x[:, 0].tolist() == [i for ids in drawn[:3] for i in ids[:2]]
        assert episode.query_x[:, 0].tolist() == [i for ids in drawn[:3] for i in ids[2:6]]
        assert episode.unlabelled_x[:, 0].tolist() == [i for ids in drawn for i in ids[6:]]


@pytest.mark.parametrize("labelled", [None, 0.25])
def test_no_example_is_in_two_parts(labelled: float | None) -> None:
    tasks = SemiSupervisedTasks(numbered(COUNTS), 4, 2, 3, 4, 3, labelled=labelled, seed=1)
    labelled_ids, unlabelled_ids = set(), set()
    for episode in tasks.__getitems__(range(200)):
        parts = [episode.support_x, episode.query_x, episode.unlabelled_x]
        ids = np.concatenate(parts)[:, 0].tolist()
        assert len(set(ids)) == len(ids)
        labelled_ids |= set(np.concatenate(parts[:2])[:, 0].tolist())
        unlabelled_ids |= set(parts[2][:, 0].tolist())
    if labelled is None:
        assert len(labelled_ids & unlabelled_ids) > 300
    else:
        assert not labelled_ids & unlabelled_ids
        assert len(labelled_ids) == sum(count // 4 for count in COUNTS)
        assert len(labelled_ids | unlabelled_ids) == sum(COUNTS)


def test_which_examples_are_labelled_depends_on_the_split_seed_alone() -> None:
    def labelled(seed: int, split_seed: int) -> set[int]:
        tasks = SemiSupervisedTasks(numbered([20] * 12), 5, 1, 1, 5, 5, labelled=0.1, seed=seed, split_seed=split_seed)
        return {i for e in tasks.__getitems__(range(200)) for i in np.concatenate([e.support_x, e.query_x])[:, 0]}

    first = labelled(0, 0)
    # Omniglot's 20 examples a class, of which 10 % are labelled.
    assert len(first) == 2 * 12
    assert labelled(1, 0) == first
    assert len(labelled(0, 1) & first) < 12


def test_labelled_examples_and_distractors_are_drawn_evenly() -> None:
    whole = [0] * 20
    for split_seed in range(400):
        (pool,) = [labelled for labelled, _ in slow_split([20], 0.1, split_seed)]
        for i in pool:
            whole[i] += 1
    assert even(whole, 40)
    tasks = SemiSupervisedTasks(numbered([20] * 12), 5, 1, 1, 5, 5, labelled=0.1, seed=0)
    ids_BNK = tasks.describe(range(3000)).all_ids_BNK
    for n in (0, 4, 5, 9):
        assert even(np.bincount(ids_BNK[:, n, 0] // 20, minlength=12), 250)


def test_an_episode_is_the_same_alone_and_in_any_batch() -> None:
    tasks = SemiSupervisedTasks(numbered_tensors(COUNTS), 3, 1, 2, 3, 2, labelled=0.4, seed=2, num_tasks=20)
    order = [5, 0, 17, 5, 3]
    batch = tasks.batch(order)
    assert batch.unlabelled_x.shape == (5, 15, 1)
    assert batch.unlabelled_y.dtype == torch.int64
    for row, number in enumerate(order):
        for part, alone in zip(batch, pickle.loads(pickle.dumps(tasks))[number], strict=True):
            assert torch.equal(part[row], alone)
    loaded = next(iter(DataLoader(tasks, batch_size=4, collate_fn=collate_tasks)))
    for part, same in zip(loaded, tasks.batch(range(4)), strict=True):
        assert torch.equal(part, same)


def test_texts_and_examples_of_any_data_set() -> None:
    texts = from_iterable([(f"topic {i % 6}", f"text {i}") for i in range(60)])
    episode = SemiSupervisedTasks(texts, 3, 1, 2, 3, 2, seed=0)[1]
    assert [len(part) for part in episode] == [3, 3, 6, 6, 15, 15]
    assert len({*episode.support_x, *episode.query_x, *episode.unlabelled_x}) == 24
    jumbled = toy(6, 10)
    tasks = SemiSupervisedTasks(jumbled, 3, 1, 2, 3, 2, labelled=0.5, seed=0)
    read = jumbled.loaded
    batch = tasks.describe(range(10))
    assert jumbled.loaded == read, "drawing loaded an example"
    for n, row in enumerate(batch.all_classes_BN[4].tolist()):
        of_class = {jumbled.own_labels[i] for i in batch.all_ids_BNK[4, n].tolist()}
        assert of_class == {tasks.dataset.class_index.labels[row]}


def test_golden_episodes() -> None:
    tasks = SemiSupervisedTasks(numbered(COUNTS), labelled=0.1, seed=0)
    ids_BNK = tasks.describe([*range(100), 10**6, 10**12]).all_ids_BNK
    assert ids_BNK[0, :, 0].tolist() == [198, 285, 43, 34, 85, 106, 173, 17, 319, 211]
    assert (
        hashlib.sha256(ids_BNK.astype("<i8").tobytes()).hexdigest()
        == "4941f57c93f33de8dd1a4a2772a7363e9fdd9d263cd28985a73ebef17071d362"
    )


def test_refusals() -> None:
    data = numbered([20, 20, 12, 20])
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"ways": 0}, UsageError, "ways is 0; give at least 1"),
        ({"unlabelled": 0}, UsageError, "unlabelled is 0; give at least 1"),
        ({"distractors": -1}, UsageError, "distractors is -1; give 0 for none, or more"),
        ({"labelled": 0.0}, UsageError, "labelled is 0.0; give a fraction between 0 and 1, or None for all examples"),
        (
            {"labelled": float("nan")},
            UsageError,
            "labelled is nan; give a fraction between 0 and 1, or None for all examples",
        ),
        ({"split_seed": -1}, UsageError, "seed -1 is not between 0 and 2**64 - 1; give another"),
        (
            {"distractors": 3},
            TaskError,
            "2 ways and 3 distractors were asked for, but there are 4 classes; lower one of them",
        ),
        (
            {"unlabelled": 11},
            TaskError,
            "class 'c2' has 12 examples, but shots + queries + unlabelled = 13; lower one of them or drop the class",
        ),
        (
            {"labelled": 0.1},
            TaskError,
            "class 'c2' has 1 labelled examples, but shots + queries = 2; lower one of them or drop the class",
        ),
        (
            {"labelled": 0.6, "unlabelled": 6},
            TaskError,
            "class 'c2' has 5 unlabelled examples, but unlabelled = 6; lower one of them or drop the class",
        ),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind) as caught:
            SemiSupervisedTasks(data, **{"ways": 2, "distractors": 2, "seed": 0, **arguments})  # type: ignore[arg-type]
        assert str(caught.value) == message
