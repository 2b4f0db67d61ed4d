"""A data set with a random transform of its own: tasks of every kind stay a function of (seed, i) all the same."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from l2l_core.data.batches import Tasks
from l2l_core.data.episodes import PaddedEpisodes
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.variable import VariableTasks
from tests.data.test_tasks import Noisy, Untouched, toy

KINDS: dict[str, Callable[..., Tasks]] = {
    "generator": lambda data, more: TaskGenerator(data, 3, 1, 2, seed=5, augmentations=more),
    "variable": lambda data, more: VariableTasks(data, 5, min_ways=2, augmentations=more),
    "semi-supervised": lambda data, more: SemiSupervisedTasks(data, 3, 1, 2, 2, 1, seed=5, augmentations=more),
    "incremental": lambda data, more: IncrementalSessions(data, 2, 2, 2, 2, seed=5, augmentations=more),
    "plain": lambda data, more: ExampleBatches(data, 12, seed=5, augmentations=more),
}
ORDER = [2, 0, 1]


def states() -> list[Any]:
    return [random.getstate(), torch.get_rng_state().tolist(), str(np.random.get_state())]


def plain(tasks: list[Any]) -> list[list[Any]]:
    """Tasks as lists of numbers."""
    return [[part.tolist() for part in task] for task in tasks]


@pytest.mark.parametrize("more", [[], [Untouched()]], ids=["bare", "augmented"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_s_own_chances_are_the_task_s(kind: str, more: list[Any]) -> None:
    data = Noisy(toy(6, 8).own_labels)
    tasks = KINDS[kind](data, more)
    before = states()
    expected = plain([tasks[number] for number in range(3)])
    batch = tasks.batch(ORDER)
    assert states() == before
    together = batch.unpadded() if isinstance(batch, PaddedEpisodes) else list(zip(*batch, strict=True))
    assert plain(together) == [expected[number] for number in ORDER]
    torch.manual_seed(99)
    assert plain([KINDS[kind](data, more)[number] for number in reversed(range(3))]) == expected[::-1]
    chances = [
        round(x % 1, 5) for task in expected for part in task for (x,) in (part if isinstance(part[0], list) else [])
    ]
    assert len(set(chances)) > 0.98 * len(chances), "each example has chances of its own"
