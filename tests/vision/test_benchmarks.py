"""learn2learn's task sets: their tasks, that no class is in two subsets, and what is done with the pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_core.catalog import open_catalog
from l2l_core.data.augment import ColorJitter, Normalise, RandomClassRotation, RandomCrop, RandomFlip
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.meta import OnDeviceDataset
from l2l_core.errors import StoreError, TaskError, UnknownNameError, UsageError
from l2l_core.prepare.held import Held
from l2l_core.records import SUBSETS, Subset
from l2l_core.vision import benchmarks, transforms
from l2l_core.vision.benchmarks import get_tasksets, list_tasksets


def test_the_names_are_learn2learn_s_and_glyphs() -> None:
    assert list_tasksets() == ["omniglot", "mini-imagenet", "tiered-imagenet", "fc100", "cifarfs", "glyphs"]
    assert transforms.RandomClassRotation is RandomClassRotation
    for name in list_tasksets():
        record = open_catalog().dataset(benchmarks._DATASETS[name])
        for subset in SUBSETS:
            assert open_catalog().split(record.name, None).classes(subset), f"{name} has no {subset} classes"


def test_tasks_have_the_ways_and_samples_asked_for(glyphs_home: Path) -> None:
    tasksets = get_tasksets("glyphs", 4, 6, 3, 8, num_tasks=7, root=glyphs_home, seed=1)
    assert tasksets._fields == ("train", "validation", "test")
    for tasks, ways, samples in zip(tasksets, (4, 3, 3), (6, 8, 8), strict=True):
        assert len(tasks) == 7
        x, y = tasks[2]
        assert x.shape == (ways * samples, 1, 28, 28)
        assert x.dtype == torch.float32
        assert sorted(y[::samples].tolist()) == list(range(ways))
        assert torch.equal(y, y[::samples].repeat_interleave(samples))
    again = get_tasksets("glyphs", 4, 6, 3, 8, root=glyphs_home, seed=1)
    assert torch.equal(again.test[5][0], tasksets.test[5][0])
    unseeded = get_tasksets("glyphs", root=glyphs_home)
    assert unseeded.train.seed == unseeded.test.seed != tasksets.train.seed
    assert unseeded.validation[0][0].shape == (50, 1, 28, 28)


def test_no_class_is_in_two_of_the_three(glyphs_home: Path) -> None:
    names = []
    for tasks in get_tasksets("glyphs", root=glyphs_home, seed=1):
        dataset = tasks.dataset.dataset
        rows = tasks.describe(range(1000)).all_classes_BN
        names.append({dataset.classes[row] for row in np.unique(rows)})
        assert len(names[-1]) > 0.9 * len(dataset.classes)
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]


def test_a_device_holds_the_examples(glyphs_home: Path) -> None:
    held = get_tasksets("glyphs", root=glyphs_home, device="cpu", seed=1)
    mapped = get_tasksets("glyphs", root=glyphs_home, seed=1)
    for tasks, others in zip(held, mapped, strict=True):
        assert isinstance(tasks.dataset, OnDeviceDataset)
        assert all(map(torch.equal, tasks.batch([0, 9]), others.batch([0, 9])))


def random_pictures(channels: int, size: int) -> Callable[..., PreparedDataset]:
    """Stands in for `load_dataset` where the data is not at hand: four classes of five random pictures a subset."""

    def load(name: str, subset: Subset, **_: object) -> PreparedDataset:
        pictures = np.random.default_rng(SUBSETS.index(subset)).integers(0, 256, (20, channels, size, size), np.uint8)
        held = Held(name, tuple("abcd"), "images", pictures, np.arange(0, 21, 5))
        return PreparedDataset(held, subset=subset, dtype=torch.float32)

    return load


@pytest.mark.parametrize(("name", "size", "padding"), [("mini-imagenet", 84, 8), ("cifarfs", 32, 4)])
def test_augmentations_are_those_of_lee_2019(
    name: str, size: int, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = open_catalog().statistics(benchmarks._DATASETS[name])
    assert statistics is not None
    monkeypatch.setattr(benchmarks, "load_dataset", random_pictures(3, size))
    plain = get_tasksets(name, 2, 3, 2, 3, seed=0)
    assert plain.train[0][0].min() >= 0
    assert plain.train[0][0].max() == 1
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (statistics.mean, statistics.std))
    for which, training in (("normalize", [Normalise]), ("lee2019", [RandomCrop, RandomFlip, ColorJitter, Normalise])):
        tasksets = get_tasksets(name, 2, 3, 2, 3, seed=0, data_augmentation=which)
        for tasks, its_plain, kinds in zip(tasksets, plain, (training, [Normalise], [Normalise]), strict=True):
            assert [type(step) for step in tasks.task_transforms[4:]] == kinds
            x, y = tasks[0]
            assert x.shape == (6, 3, size, size)
            assert torch.equal(y, its_plain[0][1])
            normalised = torch.allclose(x, (its_plain[0][0] - mean) / std, atol=1e-5)
            assert normalised == (kinds == [Normalise])
    crop = get_tasksets(name, 2, 3, 2, 3, data_augmentation="lee2019").train.task_transforms[4]
    assert (crop.size, crop.padding) == ((size, size), padding)


def test_omniglot_s_classes_are_each_turned_by_an_angle_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "load_dataset", random_pictures(1, 28))
    turns = set()
    for tasks in get_tasksets("omniglot", 4, 3, 4, 3, seed=0):
        ids_BM = tasks.describe(range(9)).all_ids_BNK.reshape(9, 12)
        for picture, plain in zip(tasks.batch(range(9))[0], tasks.dataset.gather(ids_BM), strict=True):
            of_classes = []
            for n in range(0, 12, 3):
                fitting = [k for k in range(4) if torch.equal(plain[n : n + 3].rot90(k, (2, 3)), picture[n : n + 3])]
                assert len(fitting) == 1
                of_classes += fitting
            turns.add(tuple(of_classes))
    assert len(turns) == 9, "the same seed turns alike in all three"
    assert {turn for of_classes in turns for turn in of_classes} == {0, 1, 2, 3}


def test_what_cannot_be_had_says_why(glyphs_home: Path, tmp_path: Path) -> None:
    cases = [
        (lambda: get_tasksets("omniglott"), UnknownNameError, "unknown task set 'omniglott'; did you mean 'omniglot'?"),
        (
            lambda: get_tasksets("glyphs", data_augmentation="normalise", root=glyphs_home),
            UnknownNameError,
            "unknown data augmentation 'normalise'; did you mean 'normalize'?",
        ),
        (
            lambda: get_tasksets("glyphs", data_augmentation="normalize", root=glyphs_home),
            UsageError,
            "glyphs has no mean and standard deviation on record; leave data_augmentation out",
        ),
        (lambda: get_tasksets("glyphs", train_ways=0, root=glyphs_home), UsageError, "ways is 0; give at least 1"),
        (
            lambda: get_tasksets("glyphs", seed=-1, root=glyphs_home),
            UsageError,
            "seed -1 is not between 0 and 2**64 - 1",
        ),
        (
            lambda: get_tasksets("glyphs", test_ways=5000, root=glyphs_home),
            TaskError,
            "5000 ways were asked for, but there are 276 classes; lower the ways",
        ),
        (
            lambda: get_tasksets("glyphs", test_samples=21, root=glyphs_home).test[0],
            TaskError,
            "21 examples a class were asked for, but class '",
        ),
        (
            lambda: get_tasksets("mini-imagenet", root=tmp_path, download=False),
            StoreError,
            f"mini-imagenet is not in {tmp_path}; get it with",
        ),
    ]
    for attempt, kind, message in cases:
        with pytest.raises(kind) as caught:
            attempt()
        assert str(caught.value).startswith(message)


def test_real_omniglot_s_three_subsets(omniglot_home: Path) -> None:
    tasksets = get_tasksets("omniglot", 5, 16, 20, 2, num_tasks=3, root=omniglot_home, download=False, seed=0)
    assert [len(tasks.dataset.labels) for tasks in tasksets] == [1028, 172, 423]
    for tasks, examples in zip(tasksets, (80, 40, 40), strict=True):
        x, y = tasks.batch(range(3))
        assert x.shape == (3, examples, 1, 28, 28)
        assert y.shape == (3, examples)
        assert x.min() == 0, "paper"
        assert x.max() == 1, "ink"
        assert x.mean() < 0.3
