"""learn2learn's ready-made task sets of pictures: train, validation and test tasks of a data set, in one call."""

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import torch

from l2l_core.catalog import open_catalog
from l2l_core.data.augment import RandomClassRotation, standard_test, standard_training
from l2l_core.data.batches import Augmentation, check_seed
from l2l_core.data.datasets import PreparedDataset, load_dataset
from l2l_core.data.meta import OnDeviceDataset
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import ConsecutiveLabels, FusedNWaysKShots, LoadData, RemapLabels
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.records import SUBSETS, Subset

_DATASETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "omniglot": "omniglot",
        "mini-imagenet": "mini-imagenet",
        "tiered-imagenet": "tiered-imagenet",
        "fc100": "fc100",
        "cifarfs": "cifar-fs",
        "glyphs": "glyphs",
    }
)
"""Name of a task set to that of its data set."""
_ROTATED: Final = ("omniglot",)
"""Task sets whose classes are turned at random."""
_AUGMENTATIONS: Final = ("normalize", "lee2019")


class BenchmarkTasksets(NamedTuple):
    """The tasks of a benchmark; no two of the three share a class."""

    train: TaskDataset
    validation: TaskDataset
    test: TaskDataset


def list_tasksets() -> list[str]:
    """The names that `get_tasksets` takes."""
    return list(_DATASETS)


def get_tasksets(
    name: str,
    train_ways: int = 5,
    train_samples: int = 10,
    test_ways: int = 5,
    test_samples: int = 10,
    num_tasks: int = -1,
    root: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    *,
    data_augmentation: str | None = None,
    seed: int | None = None,
    download: bool = True,
) -> BenchmarkTasksets:
    """Train, validation and test tasks of a benchmark: inputs float32 [M, C, H, W] in [0, 1], labels int64 [M].

    The examples of a class stand side by side. Omniglot's classes are each turned by a random multiple of 90 degrees.

    Different from learn2learn: the three draw from the classes of the data set's published split, so that none is in
    two of them (there, Omniglot's all draw from all 1,623 characters); pixels are in [0, 1] (there, those of
    mini-ImageNet and tiered-ImageNet from 0 to 255, which its augmentations take for [0, 1]); `device` always counts.

    Args:
        name: as in `list_tasksets`.
        train_ways, test_ways: classes a task; the latter for validation, too.
        train_samples, test_samples: examples a class, support and query together.
        num_tasks: how many tasks each of the three has; −1 for endless ones.
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.
        device: where to hold all examples; None leaves them in the store.
        data_augmentation: "normalize" by mean and standard deviation, "lee2019" for random crops, flips and jitter in
            training as well, None for neither.
        seed: of all three, 0 <= seed < 2**64; None draws one from the operating system (read it from ``.train.seed``).
        download: whether the data set may be fetched where it is not in the cache.

    Raises:
        UnknownNameError: no such task set or augmentation.
        UsageError: ways or samples are below 1, or the data set has no mean and standard deviation on record.
        StoreError: the data set is not in the cache (says how to get it), or damaged.
        TaskError: a subset has fewer classes than ways; as for a class with fewer examples than samples, the tasks say.
        FetchError, ConsentError, ArchiveError, ContentError, CacheError: getting it failed.

    Source: Lee et al. (2019), Meta-Learning with Differentiable Convex Optimization, for "lee2019".
    """
    if name not in _DATASETS:
        raise UnknownNameError("task set", name, _DATASETS)
    if data_augmentation is not None and data_augmentation not in _AUGMENTATIONS:
        raise UnknownNameError("data augmentation", data_augmentation, _AUGMENTATIONS)
    seed = check_seed(seed)

    def tasks(subset: Subset) -> TaskDataset:
        prepared = load_dataset(_DATASETS[name], subset, root=root, download=download)
        dataset = prepared if device is None else OnDeviceDataset(prepared, device)
        ways, samples = (train_ways, train_samples) if subset == "train" else (test_ways, test_samples)
        transforms: list[Callable[[Any], Any]] = [
            FusedNWaysKShots(dataset, n=ways, k=samples),
            LoadData(dataset),
            RemapLabels(dataset),
            ConsecutiveLabels(dataset),
            *([RandomClassRotation(dataset)] if name in _ROTATED else []),
            *_augmentations(prepared, data_augmentation, training=subset == "train"),
        ]
        return TaskDataset(dataset, transforms, num_tasks=num_tasks, seed=seed)

    return BenchmarkTasksets(*map(tasks, SUBSETS))


def _augmentations(dataset: PreparedDataset, which: str | None, *, training: bool) -> Sequence[Augmentation]:
    """What is done with the pictures of a task once they are loaded."""
    if which is None:
        return ()
    statistics = open_catalog().statistics(dataset.name)
    if statistics is None:
        raise UsageError(f"{dataset.name} has no mean and standard deviation on record; leave data_augmentation out")
    if which == "lee2019" and training:
        return standard_training(dataset.example_shape[-1], statistics.mean, statistics.std)
    return standard_test(statistics.mean, statistics.std)
