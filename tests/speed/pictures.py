"""Tasks of mini-ImageNet's size, mapped from disk and in the page cache: bytes, floats, and normalised floats."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from l2l_core.data.augment import Normalise
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.sampling import IntArray
from tests.speed.measure import at_least, batches_of, row, seconds
from tests.speed.stores import MINI_IMAGENET, made_store, stretches

TASKS, WAYS, SHOTS, QUERIES = 64, 5, 1, 15
MEAN, STD = (0.47, 0.45, 0.4), (0.28, 0.27, 0.28)


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    path = folder / "mini.safetensors"
    store = made_store(path, *MINI_IMAGENET)
    ids, stretch = _Ids(PreparedDataset(store)), stretches(store, TASKS * WAYS * (SHOTS + QUERIES))
    _bytes(PreparedDataset(store, dtype=torch.uint8), ids, stretch)
    _floats(PreparedDataset(store, dtype=torch.float32), ids, stretch)
    _normalised(PreparedDataset(store, dtype=torch.uint8), stretch)
    path.unlink()


class _Ids:
    """New ids of a batch of tasks at each call, int64 [B, M]."""

    def __init__(self, dataset: PreparedDataset) -> None:
        self._generator = TaskGenerator(dataset, WAYS, SHOTS, QUERIES, seed=0)
        self._numbers = batches_of(TASKS)

    def __call__(self) -> IntArray:
        return self._generator.describe(self._numbers()).all_ids_BNK.reshape(TASKS, -1)


def _bytes(dataset: PreparedDataset, ids: _Ids, stretch: Callable[[], Tensor]) -> None:
    target = dataset.gather(ids())
    inside, copy, new, clone = seconds(
        lambda: dataset.gather(ids(), target),
        lambda: target.view(-1, *target.shape[2:]).copy_(stretch()),
        lambda: dataset.gather(ids()),
        lambda: stretch().clone(),
    )
    form = f"tasks, 3x84x84 uint8, 5w1s15q, batches of {TASKS}"
    at_least(f"{form}, in place", _rate(inside), copy / inside, 0.6, f"memcpy {_rate(copy)}")
    at_least(f"{form}, new tensor", _rate(new), clone / new, 0.6, f"clone {_rate(clone)}")
    _pinned(form, dataset, ids, 0.6, lambda pinned: pinned.copy_(stretch()))


def _floats(dataset: PreparedDataset, ids: _Ids, stretch: Callable[[], Tensor]) -> None:
    """Against the fastest expression that makes the same floats of bytes that lie side by side already."""
    target = dataset.gather(ids())
    flat = target.view(-1, *target.shape[2:])
    inside, *plain = seconds(
        lambda: dataset.gather(ids(), target),
        lambda: flat.copy_(stretch()).div_(255),
        lambda: torch.div(stretch(), 255, out=flat),
        lambda: flat.copy_(stretch()).mul_(1 / 255),
    )
    what = "  as float32 in [0, 1]"
    at_least(f"{what}, in place", _rate(inside), min(plain) / inside, 0.8, f"conversion alone {_rate(min(plain))}")
    new, *plain = seconds(
        lambda: dataset.gather(ids()),
        lambda: stretch().float().div_(255),
        lambda: stretch() / 255,
        lambda: stretch().float().mul_(1 / 255),
    )
    at_least(f"{what}, new tensor", _rate(new), min(plain) / new, 0.8, f"conversion alone {_rate(min(plain))}")
    _pinned(what, dataset, ids, 0.8, lambda pinned: pinned.copy_(stretch()).div_(255))


def _pinned(what: str, dataset: PreparedDataset, ids: _Ids, target: float, plain: Callable[[Tensor], object]) -> None:
    """The same into memory that a GPU reads from directly, where there is one."""
    if not torch.cuda.is_available():
        row(f"{what}, pinned", "skipped", "this machine has no GPU")
        return
    pinned = dataset.gather(ids()).pin_memory()
    flat = pinned.view(-1, *pinned.shape[2:])
    inside, against = seconds(lambda: dataset.gather(ids(), pinned), lambda: plain(flat))
    at_least(f"{what}, pinned", _rate(inside), against / inside, target, f"plain torch {_rate(against)}")


def _normalised(dataset: PreparedDataset, stretch: Callable[[], Tensor]) -> None:
    generator = TaskGenerator(dataset, WAYS, SHOTS, QUERIES, seed=0, augmentations=[Normalise(MEAN, STD)])
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    scale, shift = 1 / (255 * std), -mean / std
    numbers = batches_of(TASKS)
    task, *plain = seconds(
        lambda: generator.batch(numbers()),
        lambda: stretch().float().mul_(scale).add_(shift),
        lambda: torch.addcmul(shift, stretch(), scale),
        lambda: stretch().float().div_(255).sub_(mean).div_(std),
    )
    what = "  as float32, each channel normalised, new tensor"
    at_least(what, _rate(task), min(plain) / task, 0.8, f"conversion alone {_rate(min(plain))}")


def _rate(taken: float) -> str:
    return f"{TASKS / taken:,.0f} /s"
