"""Augmentations of all kinds of episode: by the words of each task's own examples and classes, one by one."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from l2l_core.data.augment import ColorJitter, Normalise, RandomClassRotation, RandomCrop, RandomFlip
from l2l_core.data.batches import Augmentation, Tasks
from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.episodes import PaddedEpisodes
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.own import from_arrays
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import UsageError
from tests.data.test_tasks import words

CLASSES, EACH, SEED = 8, 6, 3
EXAMPLES, OF_CLASSES = 16, 17
"""The streams of an augmentation that stands first."""
TASKS = [2, 0, 1]


def variable(data: PreparedDataset, *augmentations: Augmentation) -> VariableTasks:
    return VariableTasks(data, SEED, min_ways=2, max_ways=5, max_queries=2, max_support=12, augmentations=augmentations)


def semi_supervised(data: PreparedDataset, *augmentations: Augmentation) -> SemiSupervisedTasks:
    return SemiSupervisedTasks(data, 3, 1, 2, 3, 2, seed=SEED, augmentations=augmentations)


def incremental(data: PreparedDataset, *augmentations: Augmentation) -> IncrementalSessions:
    return IncrementalSessions(data, 4, 2, 2, 2, SEED, shuffle=True, augmentations=augmentations)


KINDS: dict[str, Callable[..., Any]] = {
    "variable": variable,
    "semi-supervised": semi_supervised,
    "incremental": incremental,
}


def pictures() -> PreparedDataset:
    """Random pictures."""
    values = np.random.default_rng(0).integers(0, 256, (CLASSES * EACH, 3, 6, 6), dtype=np.uint8)
    return from_arrays(values, np.repeat(np.arange(CLASSES), EACH), layout="CHW")


def same_pictures() -> PreparedDataset:
    """The same picture everywhere, of which no pixel comes twice."""
    values = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6)
    return from_arrays(np.repeat(values, CLASSES * EACH, 0), np.repeat(np.arange(CLASSES), EACH), layout="CHW")


def inputs(task: Any) -> Tensor:
    """All pictures of a task, part after part."""
    return torch.cat([*task[0::2]])


def slow_words(kind: str, tasks: Any, number: int, stream: int) -> Iterator[tuple[int, int]]:
    """For each picture of a task, as `inputs` has them: its class, and the word of the example or the class."""
    of_classes = stream == OF_CLASSES
    task = tasks[number]
    if kind == "variable":
        drawn = words(SEED, stream, number, 12 + 5 * 2)
        labels = [*task.support_y.tolist(), *task.query_y.tolist()]
        yield from ((label, drawn[label if of_classes else place]) for place, label in enumerate(labels))
    elif kind == "incremental":
        drawn = words(SEED, stream, 0, CLASSES * EACH)
        session = tasks.describe(number)
        for ids, labels in (session[:2], session[2:]):
            yield from ((int(n), drawn[n if of_classes else i]) for i, n in zip(ids, labels, strict=True))
    else:
        drawn = words(SEED, stream, number, 5 if of_classes else 5 * 6)
        for classes, examples in ((3, range(1)), (3, range(1, 3)), (5, range(3, 6))):
            yield from ((n, drawn[n if of_classes else n * 6 + k]) for n in range(classes) for k in examples)


@pytest.mark.parametrize("kind", KINDS)
def test_flips_and_turns_are_those_of_the_words(kind: str) -> None:
    plain, flipped, turned = (KINDS[kind](pictures(), *each) for each in ((), [RandomFlip()], [RandomClassRotation()]))
    for number in TASKS:
        pairs = zip(inputs(plain[number]), slow_words(kind, plain, number, EXAMPLES), strict=True)
        slow = [picture.flip(-1) if word >> 63 else picture for picture, (_, word) in pairs]
        assert torch.equal(inputs(flipped[number]), torch.stack(slow))
        pairs = zip(inputs(plain[number]), slow_words(kind, plain, number, OF_CLASSES), strict=True)
        slow = [picture.rot90(word >> 62, (-2, -1)) for picture, (_, word) in pairs]
        assert torch.equal(inputs(turned[number]), torch.stack(slow))


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_has_one_turn_and_classes_differ(kind: str) -> None:
    tasks = KINDS[kind](same_pictures(), RandomClassRotation())
    every: set[tuple[int, ...]] = set()
    last: dict[int, tuple[int, ...]] = {}
    for number in TASKS:
        if kind != "incremental":
            last.clear()
        for (label, _), picture in zip(slow_words(kind, tasks, number, EXAMPLES), inputs(tasks[number]), strict=True):
            turn = tuple(picture.flatten().tolist())
            assert last.setdefault(label, turn) == turn, "a class has one turn, in sessions even one for all"
        every |= set(last.values())
    assert len(every) == 4


@pytest.mark.parametrize(
    "augmentation",
    [RandomCrop(5, 1), RandomFlip(), RandomClassRotation(), ColorJitter(0.4, 0.4, 0.4), Normalise(0.5, 2.0)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_is_augmented_alike_alone_and_in_any_batch(kind: str, augmentation: Augmentation) -> None:
    tasks = KINDS[kind](pictures(), RandomFlip(), augmentation)
    batch = tasks.batch(TASKS)
    together = batch.unpadded() if isinstance(batch, PaddedEpisodes) else tasks.__getitems__(TASKS)
    for place, number in enumerate(TASKS):
        for part, other, alone in zip(together[place], tasks.__getitems__([1, number])[1], tasks[number], strict=True):
            assert torch.equal(part, alone)
            assert torch.equal(other, alone)


@pytest.mark.parametrize("kind", KINDS)
def test_normalise_is_plain_arithmetic(kind: str) -> None:
    plain, normalised = KINDS[kind](pictures()), KINDS[kind](pictures(), Normalise([0.1, 0.2, 0.3], [2.0, 3.0, 4.0]))
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([2.0, 3.0, 4.0])
    for number in TASKS:
        slow = (inputs(plain[number]) / 255 - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(inputs(normalised[number]), slow)
        for part, same in zip(plain[number][1::2], normalised[number][1::2], strict=True):
            assert torch.equal(part, same)


def test_examples_tested_in_several_sessions_stay_as_they_are() -> None:
    sessions = incremental(pictures(), RandomCrop(4, 2), ColorJitter(0.5, 0.5, 0.5), RandomClassRotation())
    for earlier, later in ((0, 1), (1, 2)):
        seen = sessions[earlier].query_x
        assert torch.equal(sessions[later].query_x[: len(seen)], seen)


def test_episodes_and_sessions_that_differ_in_size_draw_apart() -> None:
    tasks = variable(pictures())
    sizes = {len(inputs(tasks[number])) for number in range(20)}
    drawn = [word for number in range(20) for _, word in slow_words("variable", tasks, number, EXAMPLES)]
    assert len(sizes) > 3
    assert len(set(drawn)) == len(drawn)


SINGLE: dict[str, Callable[..., Tasks]] = {
    "generator": lambda each: TaskGenerator(pictures(), 2, 1, 1, augmentations=each),
    "plain": lambda each: ExampleBatches(pictures(), augmentations=each),
    "variable": lambda each: VariableTasks(pictures(), augmentations=each),
    "semi-supervised": lambda each: SemiSupervisedTasks(pictures(), 2, distractors=0, unlabelled=1, augmentations=each),
    "incremental": lambda each: IncrementalSessions(pictures(), 4, 2, 2, 2, augmentations=each),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_what_is_no_list_of_augmentations_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="^augmentations is a Normalise; give a list of augmentations$"):
        SINGLE[kind](Normalise(0.0, 1.0))
    with pytest.raises(UsageError, match="^<built-in .*> among the augmentations is none; put a function into Torch"):
        SINGLE[kind]([torch.flip])
