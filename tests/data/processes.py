"""What helper processes of the loader tests import: light, so that they start quickly."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from l2l_core.data.batches import Tasks, task_numbers
from l2l_core.data.loaders import TaskSampler, TaskStream
from l2l_core.data.sampling import random_words
from l2l_core.errors import TaskError


class Numbers(Tasks):
    """Tasks that are their own number and a random word of it."""

    def __init__(self, num_tasks: int = -1, seed: int = 0) -> None:
        self.num_tasks, self.seed = num_tasks, seed

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        tasks_B = task_numbers(indices, self.num_tasks)
        return torch.from_numpy(tasks_B), torch.from_numpy(random_words(self.seed, 0, tasks_B, 1)[:, 0].view("int64"))


class Failing(Numbers):
    """Tasks of which number 5 cannot be drawn."""

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if 5 in indices:
            raise TaskError("task 5 cannot be drawn; take another")
        return super().batch(indices)


class Dying(Numbers):
    """Tasks of which number 5 ends the process that makes it."""

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if 5 in indices:
            os._exit(3)
        return super().batch(indices)


def gloo_rank(rank: int, world_size: int, meeting: Path, results: Any) -> None:
    """Put (rank, what each kind of loader gives this rank, whether a set that does not divide was refused)."""
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=world_size)
    try:
        sampler = TaskSampler(Numbers(12), 2, shuffle=True)
        sampler.set_epoch(3)
        stream = [task for numbers, _ in TaskStream(Numbers(), 3, num_tasks=18) for task in numbers.tolist()]
        try:
            TaskSampler(Numbers(5), 2)
            refused = False
        except ValueError:
            refused = True
        results.put((rank, list(sampler), stream, refused))
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
