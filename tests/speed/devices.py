"""The whole store on a GPU, where there is one: tasks are gathered there, against the engine on the CPU."""

from pathlib import Path

import torch

from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.meta import OnDeviceDataset
from tests.speed.measure import at_least, batches_of, row, seconds
from tests.speed.stores import MINI_IMAGENET, made_store

TASKS = 64


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    what = f"tasks, 3x84x84 uint8, whole store on the GPU, batches of {TASKS}"
    if not torch.cuda.is_available():
        row(what, "skipped", "this machine has no GPU")
        return
    path = folder / "mini.safetensors"
    dataset = PreparedDataset(made_store(path, *MINI_IMAGENET), dtype=torch.uint8)
    host = TaskGenerator(dataset, 5, 1, 15, seed=0)
    device = TaskGenerator(OnDeviceDataset(dataset, "cuda"), 5, 1, 15, seed=0)
    numbers = batches_of(TASKS)

    def on_device() -> None:
        device.batch(numbers())
        torch.cuda.synchronize()

    ours, cpu = seconds(on_device, lambda: host.batch(numbers()))
    at_least(what, f"{TASKS / ours:,.0f} /s", cpu / ours, 20, f"CPU engine {TASKS / cpu:,.0f} tasks/s")
    path.unlink()
