"""Augmentations: against slow loops over pictures with the same words, against torchvision, and by their odds."""

import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from l2l_core.data import augment
from l2l_core.data.augment import (
    ColorJitter,
    Normalise,
    RandomClassRotation,
    RandomCrop,
    RandomFlip,
    TorchvisionTransform,
    standard_test,
    standard_training,
)
from l2l_core.data.batches import Augmentation, Draws
from l2l_core.data.datasets import MetaDataset, PreparedDataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.own import from_arrays, from_iterable
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import ConsecutiveLabels, KShots, LoadData, NWays, RemapLabels
from l2l_core.errors import TaskError, UnknownNameError, UsageError

CLASSES, EACH = 8, 6
WAYS, SHOTS, QUERIES = 4, 1, 3
K = SHOTS + QUERIES


def pictures(channels: int = 3, height: int = 11, width: int = 11, dtype: torch.dtype | None = None) -> PreparedDataset:
    """Random pictures of uint8, or of another type with the same values."""
    values = np.random.default_rng(0).integers(0, 256, (CLASSES * EACH, channels, height, width), dtype=np.uint8)
    return from_arrays(values, np.repeat(np.arange(CLASSES), EACH), layout="CHW", dtype=dtype)


def same_pictures(size: int) -> PreparedDataset:
    """The same picture everywhere, each of its pixels another one's colour."""
    values = np.arange(size * size, dtype=np.uint8).reshape(1, 1, size, size)
    return from_arrays(np.repeat(values, CLASSES * EACH, 0), np.repeat(np.arange(CLASSES), EACH), layout="CHW")


def episodes(data: PreparedDataset, *augmentations: Augmentation, seed: int = 3) -> TaskGenerator:
    return TaskGenerator(data, WAYS, SHOTS, QUERIES, seed=seed, augmentations=augmentations)


def by_class(generator: TaskGenerator, tasks: Sequence[int]) -> Tensor:
    """Inputs of some episodes, support and query of a class side by side: [B, N, K, C, H, W]."""
    episode = generator.batch(tasks)
    parts = episode.support_x, episode.query_x
    return torch.cat([part.reshape(len(tasks), WAYS, -1, *part.shape[2:]) for part in parts], 2)


def words_of(generator: TaskGenerator, task: int, count: int, place: int = 0) -> list[list[list[int]]]:
    """The words of each example of a task by itself, [N][K][count]."""
    draws = Draws(generator.describe([task]), place, slice(None))
    words: list[list[list[int]]] = draws.of_examples(count)[0].tolist()
    return words


def bounded(word: int, bound: int) -> int:
    return word * bound >> 64


def unit(word: int) -> float:
    return (word >> 11) / 2**53


def each_example(generator: TaskGenerator, task: int) -> list[tuple[int, int, Tensor]]:
    """Way, place in the class and picture of every example of a task, loaded one by one."""
    ids_NK = generator.describe([task]).all_ids_BNK[0]
    return [(n, k, generator.dataset[int(ids_NK[n, k])][0]) for n in range(WAYS) for k in range(K)]


TASKS = [0, 1, 2, 5, 10**9]


@pytest.mark.parametrize("dtype", [None, torch.float32])
@pytest.mark.parametrize(
    ("size", "padding", "form"),
    [(11, 2, (3, 11, 11)), (8, 0, (3, 11, 11)), ((5, 13), 3, (1, 6, 9)), (11, 0, (1, 11, 11)), (1, 1, (2, 3, 4))],
)
def test_crops_are_slices_of_the_padded_picture(
    size: int | tuple[int, int], padding: int, form: tuple[int, int, int], dtype: torch.dtype | None
) -> None:
    generator = episodes(pictures(*form, dtype), RandomCrop(size, padding))
    found = by_class(generator, TASKS)
    h, w = (size, size) if isinstance(size, int) else size
    for b, task in enumerate(TASKS):
        words = words_of(generator, task, 2)
        for n, k, picture in each_example(generator, task):
            padded = functional.pad(picture, [padding] * 4)
            top = bounded(words[n][k][0], padded.shape[1] - h + 1)
            left = bounded(words[n][k][1], padded.shape[2] - w + 1)
            assert torch.equal(found[b, n, k], functional.crop(padded, top, left, h, w))
            assert torch.equal(found[b, n, k], padded[:, top : top + h, left : left + w])


def test_crops_of_a_type_that_numpy_lacks_are_the_same() -> None:
    generator = episodes(pictures(), RandomCrop(9, 1))
    batch = generator.describe([0, 1])
    draws = Draws(batch, 0, slice(None))
    loaded = generator.dataset.gather(batch.all_ids_BNK)
    found = RandomCrop(9, 1).apply(loaded.to(torch.bfloat16), draws)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found.to(torch.uint8), RandomCrop(9, 1).apply(loaded, draws))


def test_large_pictures_go_through_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "_PIECE", 3 * 11 * 11 * 5 + 1)
    augmentations = [
        RandomCrop(10, 2),
        RandomFlip(),
        RandomClassRotation(),
        ColorJitter(0.3, 0.3, 0.3),
        Normalise(0, 1),
    ]
    in_pieces = by_class(episodes(pictures(), *augmentations), TASKS)
    monkeypatch.undo()
    assert torch.equal(in_pieces, by_class(episodes(pictures(), *augmentations), TASKS))


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_flips_are_those_of_torchvision(dtype: torch.dtype | None) -> None:
    generator = episodes(pictures(3, 4, 7, dtype), RandomFlip())
    found = by_class(generator, TASKS)
    for b, task in enumerate(TASKS):
        words = words_of(generator, task, 1)
        for n, k, picture in each_example(generator, task):
            expected = functional.horizontal_flip(picture) if words[n][k][0] >= 2**63 else picture
            assert torch.equal(found[b, n, k], expected)


@pytest.mark.parametrize("degrees", [(0, 90, 180, 270), [90], [180, 0, 0], [-90, 450]])
def test_a_class_is_turned_by_one_angle_of_its_own(degrees: Sequence[int]) -> None:
    generator = episodes(pictures(), RandomClassRotation(degrees=degrees))
    found = by_class(generator, TASKS)
    for b, task in enumerate(TASKS):
        words = Draws(generator.describe([task]), 0, slice(None)).of_classes(1)[0, :, 0].tolist()
        for n, k, picture in each_example(generator, task):
            angle = degrees[bounded(words[n], len(degrees))]
            assert torch.equal(found[b, n, k], functional.rotate(picture, angle % 360, expand=True))


def test_classes_of_a_task_are_turned_differently_and_learn2learns_arguments_do() -> None:
    """Its own turns all classes of a task alike, in every one of 200 tasks."""
    data = same_pictures(5)
    transforms = [
        NWays(data, WAYS),
        KShots(data, K),
        LoadData(data),
        RemapLabels(data),
        ConsecutiveLabels(data),
        RandomClassRotation(data, [0.0, 90.0, 180.0, 270.0]),
    ]
    inputs = TaskDataset(data, transforms, seed=0).batch(range(200))[0].reshape(200, WAYS, K, 25)
    assert (inputs == inputs[:, :, :1]).all()
    angles = [len({tuple(picture) for picture in task.tolist()}) for task in inputs[:, :, 0]]
    assert angles.count(1) < 10  # of 200, 1 in 64 is expected
    assert len({tuple(picture) for picture in inputs.reshape(-1, 25).tolist()}) == 4
    assert RandomClassRotation([0, 180]).turns.tolist() == RandomClassRotation(data, (0, 180)).turns.tolist() == [0, 2]


def slow_jitter(picture: Tensor, words: Sequence[int], amounts: Sequence[float]) -> Tensor:
    """A picture of [0, 1] through torchvision's functions, in the order and with the factors of its words."""
    order = [0, 1, 2]
    for step in range(3):
        other = step + bounded(words[step], 3 - step)
        order[step], order[other] = order[other], order[step]
    for change in order:
        low, high = max(0.0, 1 - amounts[change]), 1 + amounts[change]
        factor = low + (high - low) * unit(words[3 + change])
        picture = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)[change](
            picture, factor
        )
    return picture


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("amounts", [(0.4, 0.4, 0.4), (0.0, 2.5, 0.0), (1.5, 0.0, 0.7), (0, 0, 0)])
def test_jitter_is_that_of_torchvision(channels: int, amounts: tuple[float, float, float]) -> None:
    generator = episodes(pictures(channels, dtype=torch.float32), ColorJitter(*amounts))
    found = by_class(generator, TASKS)
    for b, task in enumerate(TASKS):
        words = words_of(generator, task, 6)
        for n, k, picture in each_example(generator, task):
            torch.testing.assert_close(found[b, n, k], slow_jitter(picture, words[n][k], amounts), rtol=0, atol=2e-6)
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(by_class(episodes(pictures(channels), ColorJitter(*amounts)), TASKS), found)


def test_normalise_is_that_of_torchvision() -> None:
    mean, std = [0.48, 0.45, 0.4], [0.2, 0.25, 0.3]
    stored, floats = (by_class(episodes(pictures(dtype=dtype)), TASKS) for dtype in (None, torch.float32))
    assert stored.dtype == torch.uint8
    expected = functional.normalize(functional.to_dtype(stored, torch.float32, scale=True), mean, std)
    for data in (pictures(), pictures(dtype=torch.float32)):
        found = by_class(episodes(data, Normalise(mean, std)), TASKS)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(
        by_class(episodes(pictures(), Normalise(0.5, 2)), TASKS), (floats - 0.5) / 2, rtol=0, atol=1e-6
    )
    doubles = Normalise(np.array(mean), torch.tensor(std)).apply(floats.double(), any_draws())
    torch.testing.assert_close(doubles, functional.normalize(floats.double(), mean, std), rtol=0, atol=1e-7)


def any_draws() -> Draws:
    return Draws(episodes(pictures()).describe(TASKS), 0, slice(None))


def test_floats_are_changed_where_they_are() -> None:
    floats = by_class(episodes(pictures(dtype=torch.float32)), TASKS)
    for augmentation in (RandomFlip(), RandomClassRotation(), ColorJitter(0.4), Normalise(0.5, 0.5)):
        before = floats.clone()
        changed = augmentation.apply(floats, any_draws())
        assert changed.data_ptr() == floats.data_ptr()
        assert not torch.equal(changed, before)


def test_normalise_takes_the_published_figures() -> None:
    omniglot, mini = Normalise.of("omniglot"), Normalise.of("mini-imagenet")
    assert (omniglot.mean.tolist(), omniglot.std.tolist()) == ([0.0816812944], [0.2363584364])
    assert mini.mean.tolist() == [0.4721406440, 0.4533082913, 0.4099612805]
    with pytest.raises(UnknownNameError, match=r"unknown data set 'omniglott'; did you mean 'omniglot'"):
        Normalise.of("omniglott")
    with pytest.raises(UsageError) as caught:
        Normalise.of("glyphs")
    assert str(caught.value) == "no mean and std are known for glyphs; compute them, and give Normalise(mean, std)"


def global_states() -> list[Any]:
    numbers = np.random.get_state()
    return [
        torch.get_rng_state().tolist(),
        [each.tolist() if i == 1 else each for i, each in enumerate(numbers)],
        random.getstate(),
    ]


def noisy(picture: Tensor) -> Tensor:
    """A user's function that draws from all three global generators."""
    turned = picture.flip(-1) if random.random() < 0.5 else picture
    return turned + torch.randn(picture.shape) + torch.from_numpy(np.random.standard_normal(picture.shape))


def test_a_users_function_draws_the_tasks_own_numbers_and_leaves_the_global_ones_alone() -> None:
    generator = episodes(pictures(dtype=torch.float32), TorchvisionTransform(noisy))
    before = global_states()
    found = by_class(generator, TASKS)
    assert global_states() == before
    for b, task in enumerate(TASKS):
        words = words_of(generator, task, 1)
        for n, k, picture in each_example(generator, task):
            torch.manual_seed(words[n][k][0] % 2**32)
            np.random.seed(words[n][k][0] // 2**32)
            random.seed(words[n][k][0])
            assert torch.equal(found[b, n, k], noisy(picture))


def test_global_generators_are_put_back_after_an_error() -> None:
    def failing(picture: Tensor) -> Tensor:
        noisy(picture)
        raise ArithmeticError("its own")

    before = global_states()
    with pytest.raises(ArithmeticError, match="its own"):
        episodes(pictures(), TorchvisionTransform(failing))[0]
    assert global_states() == before


TORCHVISION = v2.Compose(
    [
        v2.RandomResizedCrop(9, antialias=True),
        v2.RandomRotation(30),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        v2.RandomErasing(0.5),
        v2.ToDtype(torch.float32, scale=True),
    ]
)


@pytest.mark.parametrize("data", [pictures(), pictures(dtype=torch.float32)], ids=["uint8", "float32"])
def test_torchvisions_transforms_may_change_shape_and_type(data: PreparedDataset) -> None:
    generator = episodes(data, TorchvisionTransform(TORCHVISION))
    found = by_class(generator, TASKS)
    assert (found.shape, found.dtype) == ((len(TASKS), WAYS, K, 3, 9, 9), torch.float32)
    words = words_of(generator, TASKS[1], 1)
    state = torch.get_rng_state()
    for n, k, picture in each_example(generator, TASKS[1]):
        torch.manual_seed(words[n][k][0] % 2**32)
        assert torch.equal(found[1, n, k], TORCHVISION(picture))
    torch.set_rng_state(state)


def test_a_whole_task_goes_through_one_call() -> None:
    shapes = []

    def mirror(examples: Tensor) -> Tensor:
        shapes.append(tuple(examples.shape))
        return examples.flip(-1) if torch.rand(()) < 0.5 else examples

    data = same_pictures(5)
    generator = episodes(data, TorchvisionTransform(mirror, each=False))
    found = by_class(generator, range(40))
    assert shapes == [(WAYS * SHOTS, 1, 5, 5)] * 40 + [(WAYS * QUERIES, 1, 5, 5)] * 40
    flat = found.reshape(40, WAYS * K, 25)
    assert (flat == flat[:, :1]).all(), "support and query are to be treated alike"
    assert 8 < (flat[:, 0, 0] == 0).sum() < 32


def test_threads_that_make_tasks_wait_for_each_other() -> None:
    def slow(picture: Tensor) -> Tensor:
        noise = torch.rand(())
        time.sleep(0.0001)  # lets the other threads go on
        return picture + noise + torch.rand(())

    generator = episodes(pictures(dtype=torch.float32), TorchvisionTransform(slow))
    expected = [by_class(generator, [task]) for task in range(30)]
    found: dict[int, Tensor] = {}

    def work(tasks: Sequence[int]) -> None:
        for task in tasks:
            found[task] = by_class(generator, [task])

    before = global_states()
    threads = [threading.Thread(target=work, args=(range(start, 30, 3),)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert global_states() == before
    for task in range(30):
        assert torch.equal(found[task], expected[task])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_in_the_middle_does_not_wait_for_its_parents_thread() -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(picture: Tensor) -> Tensor:
        entered.set()
        leave.wait(60)
        return picture

    data = pictures()
    thread = threading.Thread(target=lambda: episodes(data, TorchvisionTransform(slow))[0])
    thread.start()
    try:
        assert entered.wait(60)
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(20)  # ends it where it waits
                episodes(data, TorchvisionTransform(torch.clone))[0]
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        leave.set()
        thread.join()


def chi_square(counts: np.ndarray) -> float:
    """How many standard deviations the statistic of equal chances lies above its mean."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5)


def test_chances_are_equal() -> None:
    tasks = range(3000)  # 48,000 examples
    corner = by_class(episodes(same_pictures(7), RandomCrop(4)), tasks)[..., 0, 0].flatten()
    tops, lefts = corner // 7, corner % 7
    assert chi_square(np.bincount(4 * tops + lefts, minlength=16)) < 5
    corner = by_class(episodes(same_pictures(5), RandomFlip()), tasks)[..., 0, 0]
    assert chi_square(np.bincount(corner.flatten(), minlength=5)[[0, 4]]) < 5
    # Neighbours, in the class and in the task, are mirrored independently of each other.
    for one, other in (
        (corner[:, :, :-1], corner[:, :, 1:]),
        (corner[:, :-1], corner[:, 1:]),
        (corner[:-1], corner[1:]),
    ):
        assert chi_square(np.bincount((one // 4 * 2 + other // 4).flatten(), minlength=4)) < 5
    corner = by_class(episodes(same_pictures(5), RandomClassRotation()), tasks)[:, :, 0, 0, 0, 0]
    assert set(corner.flatten().tolist()) == {0, 4, 20, 24}
    assert chi_square(np.bincount(corner.flatten(), minlength=25)[[0, 4, 20, 24]]) < 5
    pairs = np.unique(torch.stack([corner[:, 0], corner[:, 1]], 1), axis=0, return_counts=True)[1]
    assert len(pairs) == 16
    assert chi_square(pairs) < 5


def test_factors_and_orders_of_jitter_are_uniform() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (60_000, 6), dtype=np.uint64)
    orders, factors = ColorJitter(0.4, 1.5, 0.0)._steps(words)
    assert chi_square(np.unique(orders, axis=0, return_counts=True)[1]) < 5
    assert len(np.unique(orders, axis=0)) == 6
    for column, (low, high) in zip(factors.T, ((0.6, 1.4), (0.0, 2.5), (1.0, 1.0)), strict=True):
        assert low <= column.min() <= column.max() <= high
        if low < high:
            assert chi_square(np.histogram(column, 20, (low, high))[0]) < 5
    assert abs(np.corrcoef(factors[:, 0], factors[:, 1])[0, 1]) < 0.02


def test_tasks_examples_seeds_and_places_in_the_list_draw_apart() -> None:
    data = same_pictures(15)
    offsets = by_class(episodes(data, RandomCrop(1)), range(20)).flatten()
    assert len(set(offsets.tolist())) > 150  # of 225, over 320 draws
    assert not torch.equal(offsets, by_class(episodes(data, RandomCrop(1), seed=4), range(20)).flatten())
    second = by_class(episodes(data, RandomCrop(15), RandomCrop(1)), range(20)).flatten()
    assert (offsets == second).double().mean() < 0.05
    # The same object twice: mirrored twice by the same words, every picture would be as it was.
    flip = RandomFlip()
    twice = by_class(episodes(data, flip, flip), range(20))[..., 0, 0]
    assert 0.3 < (twice == 0).double().mean() < 0.7


def test_golden_pictures() -> None:
    """Whole numbers only, so they are the same on every machine and must never change: papers cite such tasks."""
    augmentations = [RandomCrop(9, 2), RandomFlip(), RandomClassRotation(), RandomCrop(8)]
    content = by_class(episodes(same_pictures(10), *augmentations), [0, 1, 7, 10**12]).numpy().tobytes()
    assert hashlib.sha256(content).hexdigest() == "ea449f6821f3d25b114d4f8173de4cba6727f4ef8149b298f32433c253d2fc20"
    orders, factors = ColorJitter(0.4, 0.4, 0.4)._steps(any_draws().of_examples(6)[0, 0])
    assert orders.tolist() == [[2, 0, 1], [2, 1, 0], [0, 1, 2], [2, 1, 0]]
    assert factors.round(6)[0].tolist() == [0.830926, 1.197289, 1.15093]


def test_the_standard_recipe() -> None:
    mean, std = [0.47, 0.45, 0.4], [0.28, 0.27, 0.28]
    crop, flip, jitter, normalise = standard_training(84, mean, std)
    assert isinstance(crop, RandomCrop) and (crop.size, crop.padding) == ((84, 84), 8)
    assert isinstance(flip, RandomFlip)
    assert isinstance(jitter, ColorJitter) and jitter.amounts == (0.4, 0.4, 0.4)
    assert isinstance(normalise, Normalise) and normalise.mean.tolist() == mean
    for size, padding in ((28, 4), (32, 4), (64, 8), (224, 28)):
        crop = standard_training(size, 0, 1)[0]
        assert isinstance(crop, RandomCrop) and crop.padding == padding
    stored = by_class(episodes(pictures(), *standard_training(11, mean, std)), TASKS)
    floats = by_class(episodes(pictures(dtype=torch.float32), *standard_training(11, mean, std)), TASKS)
    torch.testing.assert_close(stored, floats, rtol=0, atol=2e-6)
    (only,) = standard_test(mean, std)
    assert isinstance(only, Normalise) and only.std.tolist() == std


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "height of the crop is 0; give at least 1"),
        (lambda: RandomCrop((5, 0.5)), "width of the crop is 0.5; give a whole number"),
        (lambda: RandomCrop(5, -1), "padding is -1; give at least 0"),
        (lambda: RandomClassRotation([]), "degrees is []; give a list of multiples of 90, such as [0, 90, 180, 270]"),
        (
            lambda: RandomClassRotation(degrees=[0, 45]),
            "degrees is [0, 45]; give a list of multiples of 90, such as [0, 90, 180, 270]",
        ),
        (
            lambda: RandomClassRotation(None, ["90"]),
            "degrees is ['90']; give a list of multiples of 90, such as [0, 90, 180, 270]",
        ),
        (
            lambda: RandomClassRotation(degrees=[float("nan")]),
            "degrees is [nan]; give a list of multiples of 90, such as [0, 90, 180, 270]",
        ),
        (lambda: ColorJitter(-0.1), "brightness is -0.1; give a finite number of at least 0"),
        (lambda: ColorJitter(0, float("nan")), "contrast is nan; give a finite number of at least 0"),
        (lambda: ColorJitter(0, 0, float("inf")), "saturation is inf; give a finite number of at least 0"),
        (lambda: ColorJitter((0.6, 1.4)), "brightness is (0.6, 1.4); give a finite number of at least 0"),
        (lambda: Normalise([0.1, 0.2], 1), "mean is [0.1, 0.2] and std 1; give as many numbers of each, one a channel"),
        (lambda: Normalise([], []), "mean is [] and std []; give as many numbers of each, one a channel"),
        (lambda: Normalise(float("nan"), 1), "mean is nan and std 1; give finite numbers, and a std above 0"),
        (lambda: Normalise([0, 0], [1, 0]), "mean is [0, 0] and std [1, 0]; give finite numbers, and a std above 0"),
        (lambda: Normalise(0, float("inf")), "mean is 0 and std inf; give finite numbers, and a std above 0"),
        (
            lambda: TorchvisionTransform("flip"),
            "TorchvisionTransform takes a function of a tensor, found 'flip'; give one",
        ),
        (lambda: standard_training(0, 0, 1), "size is 0; give at least 1"),
    ],
)
def test_arguments_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message


def wide(examples: Tensor) -> Tensor:
    return examples[..., : random.randint(1, 4)]


@pytest.mark.parametrize(
    ("data", "augmentations", "message"),
    [
        (
            pictures(3, 6, 9),
            [RandomCrop(9, 1)],
            "RandomCrop was asked for 9 x 9 pixels, but pictures of 6 x 9 with a padding of 1 have 8 x 11; lower the "
            "size or raise the padding",
        ),
        (
            pictures(3, 6, 9),
            [RandomClassRotation()],
            "RandomClassRotation cannot turn pictures of 6 x 9 pixels by 90 or 270 degrees, as they are not square; "
            "crop them before, or give degrees=[0, 180]",
        ),
        (
            pictures(2),
            [ColorJitter(0.4)],
            "ColorJitter changes pictures of 1 or 3 channels, but these have 2; leave it out",
        ),
        (
            pictures(dtype=torch.float32),
            [Normalise(0, 1 / 255), ColorJitter(0.4)],
            "ColorJitter changes values in [0, 1], but these are from 0 to 255; load uint8 or divide by 255, and put "
            "it before Normalise",
        ),
        (
            pictures(1),
            [Normalise([0, 0, 0], [1, 1, 1])],
            "Normalise has a mean for each of 3 channels, but the pictures have 1; give one mean and std a channel, or "
            "one for all",
        ),
        (
            pictures(),
            [TorchvisionTransform(Tensor.long), Normalise(0, 1)],
            "Normalise changes pictures of uint8 or floats, but these are torch.int64; convert them before",
        ),
        (
            pictures(),
            [TorchvisionTransform(v2.ToPILImage())],
            "ToPILImage gave Image, but a task is made of tensors; let it end with one",
        ),
        (
            pictures(),
            [TorchvisionTransform(lambda examples: examples[:2], each=False)],
            "<lambda> made [2, 3, 11, 11] of 4 examples; keep their number, or give each=True",
        ),
        (
            pictures(),
            [TorchvisionTransform(lambda picture: picture.sum(), each=False)],
            "<lambda> made [] of 4 examples; keep their number, or give each=True",
        ),
    ],
)
def test_what_a_batch_cannot_be(data: PreparedDataset, augmentations: list[Augmentation], message: str) -> None:
    with pytest.raises(TaskError) as caught:
        episodes(data, *augmentations).batch([0, 1])
    assert str(caught.value) == message


def test_shapes_that_differ_are_refused() -> None:
    message = r"wide gave torch.uint8 \[3, 11, \d\], then torch.uint8 \[3, 11, \d\]; let it give one shape and type"
    with pytest.raises(TaskError, match=message):
        episodes(pictures(), TorchvisionTransform(wide))[0]


def test_values_that_are_no_number_are_refused() -> None:
    broken = TorchvisionTransform(lambda picture: picture / 0 * 0)
    with pytest.raises(TaskError, match=r"ColorJitter changes values in \[0, 1\], but these are from nan to nan; load"):
        episodes(pictures(dtype=torch.float32), broken, ColorJitter(0.4))[0]


def test_there_must_be_pictures() -> None:
    features = from_arrays(np.zeros((CLASSES * EACH, 7), np.float32), np.repeat(np.arange(CLASSES), EACH))
    with pytest.raises(TaskError) as caught:
        episodes(features, RandomFlip())[0]
    assert str(caught.value) == (
        "RandomFlip changes pictures [C, H, W], but an example of this data set is [7]; leave it out"
    )
    texts = from_iterable([(f"topic {i % 6}", f"text {i}") for i in range(60)])
    with pytest.raises(TaskError, match="list cannot be augmented; give the data set a transform that makes tensors"):
        episodes(texts, RandomFlip())[0]
    doubled = by_class(episodes(features, TorchvisionTransform(lambda values: values + 1)), [0])
    assert torch.equal(doubled, torch.ones(1, WAYS, K, 7))


def test_a_list_of_descriptions_is_turned_class_by_class() -> None:
    data = MetaDataset(TensorDataset(torch.arange(4 * 6 * 9).reshape(24, 1, 3, 3).float(), torch.arange(24) % 4))
    rotation = RandomClassRotation(data, [0.0, 90.0, 180.0, 270.0])
    seen = set()
    for trial in range(20):
        random.seed(trial)
        task = None
        for transform in (NWays(data, 3), KShots(data, 2), LoadData(data), RemapLabels(data), rotation):
            task = transform(task)
        turns: dict[int, int] = {}
        for each in task:
            picture, label = each.sample()
            plain = data[each.index][0]
            turn = next(turn for turn in range(4) if torch.equal(torch.rot90(plain, turn, (-2, -1)), picture))
            assert turns.setdefault(int(label), turn) == turn
        seen.add(tuple(turns.values()))
    assert len(seen) > 10
    with pytest.raises(TaskError) as unloaded:
        rotation(NWays(data, 3)(None))[0].sample()
    assert str(unloaded.value) == "RandomClassRotation turns pictures that are tensors; put it behind LoadData"
    with pytest.raises(UsageError) as unknown:
        RandomClassRotation()(task)
    assert str(unknown.value) == (
        "RandomClassRotation was given a list, but no data set that knows its classes; give it both"
    )
