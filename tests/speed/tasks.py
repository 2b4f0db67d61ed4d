"""Tasks of Omniglot's size: against the copy of the same bytes, and against the loop of plain Python that peers use."""

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import default_collate

from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.store import Store
from tests.speed.measure import at_least, at_most, batches_of, repeated, row, seconds
from tests.speed.stores import OMNIGLOT, made_store, stretches

WAYS, SHOTS, QUERIES = 5, 1, 15


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    store = made_store(folder / "omniglot.safetensors", *OMNIGLOT)
    dataset = PreparedDataset(store, dtype=torch.uint8)
    generator = TaskGenerator(dataset, WAYS, SHOTS, QUERIES, seed=0)
    for size in (4, 64, 256):
        _ids(generator, size)
    for size in (64, 256, 384):
        _gathered(store, generator, size)
    _loop(dataset, generator)


def _ids(generator: TaskGenerator, size: int) -> None:
    order = np.random.default_rng(0).permutation(100_000)
    places = count(0, size)

    def shuffled() -> object:
        place = next(places) % (len(order) - size)
        return generator.describe(order[place : place + size])

    numbers, calls = batches_of(size), _calls(size)
    in_a_row = repeated(lambda: generator.describe(numbers()), calls)
    for what, taken in zip(
        ("in a row", "shuffled"), seconds(in_a_row, repeated(shuffled, calls), rounds=51), strict=True
    ):
        taken_us = 1e6 * taken / (calls * size)
        line = f"ids of a task alone, batches of {size}, numbers {what}", f"{taken_us:.2f} us"
        # The target is one for batches of 64 or more.
        if size < 64:
            row(*line)
        else:
            at_most(*line, taken_us, 3, "us")


def _calls(size: int) -> int:
    """How many calls are timed as one: those that describe tasks ahead and those that use them, in the proportion that
    they come in."""
    return max(1, 1024 // size)


def _gathered(store: Store, generator: TaskGenerator, size: int) -> None:
    numbers, stretch = batches_of(size), stretches(store, size * WAYS * (SHOTS + QUERIES))
    target, calls = stretch().clone(), _calls(size)
    actions = (lambda: generator.batch(numbers()), lambda: target.copy_(stretch()), lambda: stretch().clone())
    task, copy, clone = (
        taken / (calls * size) for taken in seconds(*(repeated(action, calls) for action in actions), rounds=51)
    )
    row(f"tasks, 28x28 uint8, 5w1s15q, batches of {size}", f"{1 / task:,.0f} /s")
    for what, against in (("into a tensor that is there", copy), ("into a new tensor (clone)", clone)):
        at_least(f"  of memcpy {what}", "", against / task, 1 / 3, f"memcpy {1 / against:,.0f} tasks/s")


def _loop(dataset: PreparedDataset, generator: TaskGenerator) -> None:
    """One task as peers make it, many times."""
    labels = dataset.targets.numpy()
    by_class = {label: np.flatnonzero(labels == label).tolist() for label in range(len(dataset.classes))}
    numbers = batches_of(256)
    batch, loop = seconds(lambda: generator.batch(numbers()), _plain(dataset, by_class), rounds=51)
    against = f"random.sample, dataset[i], default_collate: {1 / loop:,.0f} tasks/s"
    at_least("  of the plain Python loop", "", loop * 256 / batch, 100, against)


def _plain(dataset: PreparedDataset, by_class: dict[int, list[int]]) -> Callable[[], object]:
    def task() -> object:
        examples = [
            (dataset[index][0], way)
            for way, label in enumerate(random.sample(list(by_class), WAYS))
            for index in random.sample(by_class[label], SHOTS + QUERIES)
        ]
        return default_collate(examples)

    return task
