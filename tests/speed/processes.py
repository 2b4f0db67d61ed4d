"""Strong scaling: the same MAML evaluation and training steps in one process and in two, a thread each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.evaluation.run import accuracies_of
from l2l_core.store import open_store
from l2l_core.training.loop import TrainingRun, _Run
from tests.ranks import Ranks, ranks
from tests.speed.measure import at_least, seconds
from tests.speed.stores import OMNIGLOT, made_store

EPISODES, STEPS, TASKS = 128, 2, 32


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    path = folder / "shared.safetensors"
    made_store(path, *OMNIGLOT)
    with ranks(1) as alone, ranks(2) as both:
        _compare(alone, both, _evaluated, path, "MAML evaluation, 5w1s15q", EPISODES, "episodes/s")
        _compare(alone, both, _trained, path, f"MAML training, {TASKS} tasks a step", STEPS, "steps/s")
    path.unlink()


def _compare(
    alone: Ranks, both: Ranks, work: Callable[[Path], None], path: Path, what: str, amount: int, unit: str
) -> None:
    one, two = seconds(lambda: alone.call(work, path), lambda: both.call(work, path), rounds=3)
    against = f"one process, {amount / one:.1f} {unit}"
    at_least(f"{what}, two processes", f"{amount / two:.1f} {unit}", one / two, 1.5, against)


def _generator(path: Path, queries: int) -> TaskGenerator:
    return TaskGenerator(PreparedDataset(open_store(path), dtype=torch.float32), 5, 1, queries, seed=0)


def _evaluated(path: Path) -> None:
    accuracies_of(METHODS["maml"].build(Setting(5, 1)), _generator(path, 15), EPISODES)


def _trained(path: Path) -> None:
    setting = Setting(5, 1)
    how = replace(METHODS["maml"].training(setting), meta_batch=TASKS)
    generator = _generator(path, how.train_queries)
    about = TrainingRun("speed", "maml", 0, how, 0, 0.0, (), {})
    run = _Run(about, METHODS["maml"].build(setting).train(), generator, generator, None, STEPS * TASKS, None)
    for _ in range(STEPS):
        run._step(1e-3)
