"""``make bench``: what this machine does, as ratios of two things measured in the same run. Nothing here is a test.

``python -m tests.speed scale tasks`` measures these topics only. A line whose target is missed has a ``!``.
"""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tests.speed import (
    devices,
    evaluation,
    inner_loop,
    loaders,
    methods,
    opening,
    pictures,
    processes,
    scale,
    sounds,
    tasks,
    texts,
)
from tests.speed.measure import seconds

TOPICS = {
    module.__name__.rpartition(".")[2]: module
    # The methods last, as they change how memory is kept.
    for module in (
        opening,
        scale,
        tasks,
        pictures,
        loaders,
        texts,
        sounds,
        evaluation,
        inner_loop,
        devices,
        processes,
        methods,
    )
}


def machine() -> str:
    """The machine, the versions, and how fast it copies 64 MiB."""
    source = torch.zeros(2**26, dtype=torch.uint8)
    target = source.clone()
    (taken,) = seconds(lambda: target.copy_(source))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    processor = next(
        (line.partition(":")[2].strip() for line in _processor_lines() if line.startswith("model name")),
        platform.machine(),
    )
    return (
        f"{processor}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}), {gpu}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}; one thread; "
        f"memcpy {2**-4 / taken:.1f} GiB/s"
    )


def _processor_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main(names: list[str]) -> None:
    """Measure some topics, all of them if none is named, on one core where a topic does not say otherwise."""
    torch.set_num_threads(1)
    print(machine())
    print(f"{'':<62} {'measured':>14} {'ratio':>8} {'target':>7}   against, or unit")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        for topic in names or TOPICS:
            TOPICS[topic].measure(Path(name))
    print(f"measured in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
