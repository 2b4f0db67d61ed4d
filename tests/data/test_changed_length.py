"""A data set that changes its length under tasks of any kind is noticed, whatever they are asked."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from l2l_core.data.batches import Tasks
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.mixed import MixedTasks
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import TaskError


class Growing(Dataset[tuple[torch.Tensor, int]]):
    """Twenty examples of each of 20 classes, until somebody changes that."""

    def __init__(self) -> None:
        self.targets = [i // 20 for i in range(400)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([float(index)]), self.targets[index]


KINDS: dict[str, Callable[[Any], Tasks]] = {
    "generator": lambda dataset: TaskGenerator(dataset, seed=0),
    "tasks": lambda dataset: TaskDataset(dataset, seed=0),
    "variable": lambda dataset: VariableTasks(dataset, seed=0),
    "mixed": lambda dataset: MixedTasks([VariableTasks(dataset, seed=0)], 0),
    "semi-supervised": lambda dataset: SemiSupervisedTasks(dataset, seed=0),
    "incremental": lambda dataset: IncrementalSessions(dataset, 10, 5, 2, 5, seed=0),
    "plain": lambda dataset: ExampleBatches(dataset, seed=0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [399, 433])
def test_it_is_noticed(kind: str, length: int) -> None:
    dataset = Growing()
    tasks = KINDS[kind](dataset)
    before = tasks[0]
    dataset.targets = [0] * length
    for ask in (lambda: tasks[0], lambda: tasks.batch([0])):
        with pytest.raises(TaskError) as caught:
            ask()
        assert str(caught.value) == (
            f"the data set had 400 examples when tasks were made of it, and has {length} now; make new tasks of it"
        )
    dataset.targets = [i // 20 for i in range(400)]
    assert str(tasks[0]) == str(before)
