"""Log-mel pictures of episodes of sounds, against the time that the sounds last."""

import importlib.util
from pathlib import Path

import numpy as np

from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.log_mel import LogMelDataset
from l2l_core.store import Manifest, open_store, write_store
from tests.speed.measure import at_least, batches_of, row, seconds

RATE_HZ, CLASSES, EXAMPLES = 16_000, 10, 40
WAYS, SHOTS, QUERIES = 5, 5, 15


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    what = f"log-mel, {WAYS}w{SHOTS}s{QUERIES}q of one second at 16 kHz"
    if importlib.util.find_spec("torchaudio") is None:
        row(what, "skipped", "the extra audio is not here")
        return
    path = folder / "sounds.safetensors"
    classes = tuple(f"word {number:02}" for number in range(CLASSES))
    noise = np.random.default_rng(0).normal(0, 3000, (CLASSES * EXAMPLES, RATE_HZ)).astype(np.int16)
    manifest = Manifest("sounds", path.stem, classes, {}, {}, "sounds", RATE_HZ)
    write_store(path, manifest, [EXAMPLES] * CLASSES, None, iter(noise), lambda: "0" * 64)
    pictures = LogMelDataset(PreparedDataset(open_store(path)))
    tasks, numbers = TaskGenerator(pictures, WAYS, SHOTS, QUERIES, seed=0), batches_of(1)
    (taken,) = seconds(lambda: tasks.batch(numbers()))
    lasts = WAYS * (SHOTS + QUERIES)
    at_least(what, f"{1 / taken:,.1f} /s", lasts / taken, 20, f"real time, {lasts} s an episode")
    path.unlink()
