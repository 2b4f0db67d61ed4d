"""What every augmentation must hold to: the same pixels whatever the batch, the split and the global generators."""

import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from l2l_core.data import augment
from l2l_core.data.arrays import ArrayDataset, load_arrays
from l2l_core.data.augment import (
    ColorJitter,
    Normalise,
    RandomClassRotation,
    RandomCrop,
    RandomFlip,
    TorchvisionTransform,
    crop_flip_jitter,
    standard_test,
    standard_training,
)
from l2l_core.data.batches import Augmentation
from l2l_core.data.datasets import load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.own import from_arrays
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import KShots, LoadData, NWays
from l2l_core.errors import TaskError

WAYS, SHOTS, QUERIES = 3, 2, 3
K = SHOTS + QUERIES


def jittered(picture: Tensor) -> Tensor:
    """A user's own function, with numbers of all three global generators."""
    noise = torch.rand(picture.shape) + torch.from_numpy(np.random.random_sample(picture.shape)).float()
    return picture + noise * random.random()


CASES: dict[str, list[Augmentation]] = {
    "ColorJitter": [ColorJitter(0.4, 0.4, 0.4)],
    "Normalise": [Normalise(0.4, 0.3)],
    "RandomClassRotation": [RandomClassRotation()],
    "RandomCrop": [RandomCrop(28, 4)],
    "RandomCrop, smaller": [RandomCrop((20, 13))],
    "RandomFlip": [RandomFlip()],
    "TorchvisionTransform": [TorchvisionTransform(v2.Compose([v2.RandomCrop(20), v2.RandomRotation(15)]))],
    "TorchvisionTransform, own function": [TorchvisionTransform(jittered)],
    "TorchvisionTransform, whole task": [TorchvisionTransform(v2.RandomCrop(20), each=False)],
    "crop_flip_jitter": crop_flip_jitter(28),
    "standard_training": standard_training(28, 0.4, 0.3),
    "standard_test": standard_test(0.4, 0.3),
    "all": [
        RandomClassRotation(),
        TorchvisionTransform(jittered),
        RandomCrop(24, 2),
        TorchvisionTransform(torch.sigmoid),
        *standard_training(24, 0.5, 0.5),
    ],
}
RANDOM = sorted(set(CASES) - {"Normalise", "standard_test"})


def test_every_augmentation_is_here() -> None:
    public = {
        name
        for name, value in vars(augment).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == augment.__name__
    }
    assert public == {name.split(",")[0] for name in CASES} - {"all"}


@pytest.fixture(scope="module", params=["uint8", "float32", "arrays"])
def glyphs(request: pytest.FixtureRequest, glyphs_home: Path) -> ArrayDataset:
    """The pictures 1 x 28 x 28, as they are loaded with and without torch."""
    if request.param == "arrays":
        return load_arrays("glyphs", "validation", root=glyphs_home)
    return load_dataset("glyphs", "validation", root=glyphs_home, dtype=getattr(torch, request.param))


def episodes(data: Any, augmentations: Sequence[Augmentation]) -> TaskGenerator:
    return TaskGenerator(data, WAYS, SHOTS, QUERIES, seed=9, augmentations=augmentations)


def flat(inputs: Any) -> list[bytes]:
    """The bytes of each task."""
    return [np.asarray(task).tobytes() for task in inputs]


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_task_is_the_same_alone_and_in_any_batch(case: str, glyphs: ArrayDataset) -> None:
    generator = episodes(glyphs, CASES[case])
    tasks = [7, 0, 1, 2, 10**12, 0]
    batch = generator.batch(tasks)
    kind = np.ndarray if type(glyphs) is ArrayDataset else Tensor
    assert isinstance(batch.support_x, kind)
    for place, task in enumerate(tasks):
        alone = generator[task]
        assert flat([alone.support_x, alone.query_x]) == flat([batch.support_x[place], batch.query_x[place]])
    assert flat(generator.batch(tasks[::-1]).query_x)[::-1] == flat(batch.query_x)


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_support_and_query_are_parts_of_the_same_task(case: str, dtype: torch.dtype, glyphs_home: Path) -> None:
    glyphs = load_dataset("glyphs", "validation", root=glyphs_home, dtype=dtype)
    episode = episodes(glyphs, CASES[case]).batch(range(4))
    transforms = [NWays(glyphs, WAYS), KShots(glyphs, K), LoadData(glyphs), *CASES[case]]
    inputs, _ = TaskDataset(glyphs, transforms, seed=9).batch(range(4))
    inputs_BNK = inputs.reshape(4, WAYS, K, *inputs.shape[2:])
    assert torch.equal(inputs_BNK[:, :, :SHOTS].flatten(1, 2), episode.support_x)
    assert torch.equal(inputs_BNK[:, :, SHOTS:].flatten(1, 2), episode.query_x)


@pytest.mark.parametrize("case", sorted(CASES))
def test_it_neither_reads_nor_moves_the_global_generators(case: str, glyphs: ArrayDataset) -> None:
    generator = episodes(glyphs, CASES[case])
    expected = flat(generator.batch(range(3)).query_x)
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        np.random.standard_normal()  # leaves a second number behind, which is part of the state
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        assert flat(generator.batch(range(3)).query_x) == expected
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_equal(np.random.get_state(), before[1])
        assert random.getstate() == before[2]


@pytest.mark.parametrize("case", sorted(CASES))
def test_it_travels_in_a_pickle_and_leaves_the_data_alone(case: str, glyphs: ArrayDataset) -> None:
    generator = episodes(glyphs, CASES[case])
    plain = flat(episodes(glyphs, []).batch(range(3)).query_x)
    expected = flat(generator.batch(range(3)).query_x)
    assert flat(pickle.loads(pickle.dumps(generator)).batch(range(3)).query_x) == expected
    assert flat(episodes(glyphs, []).batch(range(3)).query_x) == plain


@pytest.mark.parametrize("case", RANDOM)
def test_tasks_and_places_in_the_list_draw_apart(case: str) -> None:
    """Of one picture for all examples, every task makes something else, and so does the second of two in a list."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 1, 40, 40), dtype=np.uint8)
    data = from_arrays(np.repeat(picture, 40, 0), np.arange(40) % 5, layout="CHW", dtype=torch.float32)
    inputs = episodes(data, CASES[case]).batch(range(40)).query_x
    assert len(set(flat(inputs))) > 20
    moved = episodes(data, [Normalise(0, 1), *CASES[case]]).batch(range(40)).query_x
    assert sum(one != other for one, other in zip(flat(inputs), flat(moved), strict=True)) > 30


@pytest.mark.parametrize("case", sorted(CASES))
def test_it_stands_behind_the_loading(case: str, glyphs_home: Path) -> None:
    glyphs = load_dataset("glyphs", "validation", root=glyphs_home)
    first = CASES[case][0]
    tasks = TaskDataset(glyphs, [NWays(glyphs, 2), KShots(glyphs, 2), first])
    with pytest.raises(TaskError) as caught:
        tasks[0]
    assert str(caught.value) == f"{type(first).__name__} changes what has been loaded; put it behind LoadData"
