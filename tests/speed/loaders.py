"""How long a training step of Conv4 on the CPU waits for its tasks."""

import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import Episode, TaskGenerator
from l2l_core.data.loaders import TaskStream
from l2l_core.data.prefetch import Prefetcher
from l2l_core.nn.backbones import Conv4
from tests.speed.measure import at_most
from tests.speed.stores import OMNIGLOT, made_store

TASKS, STEPS = 4, 10


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    dataset = PreparedDataset(made_store(folder / "waiting.safetensors", *OMNIGLOT), dtype=torch.float32)
    stream = TaskStream(TaskGenerator(dataset, 5, 1, 15, seed=0), TASKS, num_tasks=TASKS * (STEPS + 1))
    loaders: dict[str, Iterable[Episode]] = {
        "batches made between the steps": stream,
        "Prefetcher, no processes": Prefetcher(stream),
        "DataLoader, 1 worker": DataLoader(stream, batch_size=None, num_workers=1),
    }
    for what, loader in loaders.items():
        share, step = _waiting(loader)
        against = f"% of training waits; a step of {TASKS} tasks takes {1e3 * step:.0f} ms"
        at_most(f"Conv4 on the CPU, {what}", f"{1e3 * share * step:.2f} ms", 100 * share, 2, against)


def _waiting(loader: Iterable[Episode]) -> tuple[float, float]:
    """Share of the time in which training waits, and the time of a step with its waiting, in seconds."""
    network = Conv4()
    optimiser = torch.optim.SGD(network.parameters(), 0.01)
    batches = iter(loader)
    next(batches)
    waited, start = 0.0, time.perf_counter()
    for _ in range(STEPS):
        before = time.perf_counter()
        episode = next(batches)
        waited += time.perf_counter() - before
        optimiser.zero_grad()
        network(episode.query_x.flatten(0, 1)).square().mean().backward()
        optimiser.step()
    taken = time.perf_counter() - start
    return waited / taken, taken / STEPS
