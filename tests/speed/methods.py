"""A training step of every method on 16 tasks at once, against the same tasks one after the other; two threads."""

from pathlib import Path

import torch
from torch import Tensor

from l2l_core.algorithms import METHODS, Learner, Setting
from l2l_core.algorithms.gradient import GradientLearner
from l2l_core.allocator import keep_memory
from tests.speed.measure import row, seconds

TASKS, WAYS, SHOTS, QUERIES = 16, 5, 1, 15


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    torch.set_num_threads(2)
    # As the command `l2l train` does; without it large batches take up to twice as long.
    kept = "kept" if keep_memory() else "not kept"
    row("freed memory is", kept)
    tasks = _tasks()
    for name, method in METHODS.items():
        torch.manual_seed(0)
        learner = method.build(Setting(WAYS, SHOTS, classes=64)).train()
        together, alone = seconds(
            lambda learner=learner: _step(learner, tasks), lambda learner=learner: _one_by_one(learner, tasks), rounds=3
        )
        how = f"{together:.2f} s a step"
        row(f"{name}: 16 tasks of 5w1s15q at once", f"{alone / together:.2f}", f"times one by one; {how}")
    torch.set_num_threads(1)


def _tasks() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)

    def part(each: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(WAYS).repeat_interleave(each).expand(TASKS, -1)
        return torch.rand(TASKS, WAYS * each, 1, 28, 28, generator=draws), labels

    return *part(SHOTS), *part(QUERIES)


def _step(learner: Learner, tasks: tuple[Tensor, ...]) -> None:
    learner.zero_grad()
    loss, _ = learner.meta_loss(*tasks)
    torch.autograd.backward(loss)


def _one_by_one(learner: Learner, tasks: tuple[Tensor, ...]) -> None:
    if isinstance(learner, GradientLearner):
        strategy, learner.strategy = learner.strategy, "loop"
        _step(learner, tasks)
        learner.strategy = strategy
        return
    for task in range(TASKS):
        _step(learner, tuple(part[task : task + 1] for part in tasks))
