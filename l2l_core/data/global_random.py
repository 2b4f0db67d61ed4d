"""Borrowing the process's global generators for somebody's own function, so that it too is a function of (seed, i)."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

_seeded = threading.RLock()
"""Held while the global generators have a task's seed, so that threads which make tasks wait for each other."""


def _renew() -> None:
    """In a forked child the thread that held the lock is not there to give it back."""
    global _seeded
    _seeded = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def seeding(device: torch.device) -> Iterator[Callable[[int], None]]:
    """A function that seeds the global generators with a word of 64 bits; they are put back as they were at the end.

    Args:
        device: the one whose generator of torch is seeded beside the processor's.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index])

    def seed(word: int) -> None:
        # torch and NumPy would give the same numbers for the same seed.
        for generator in generators:
            generator.manual_seed(word & 0xFFFFFFFF)
        np.random.seed(word >> 32)
        random.seed(word)

    with _seeded:
        states = [generator.get_state() for generator in generators]
        of_numpy, of_random = np.random.get_state(), random.getstate()
        try:
            yield seed
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            np.random.set_state(of_numpy)
            random.setstate(of_random)
