"""Tasks: the same whatever the batch, order, loader and process; drawn as slow plain Python draws them."""

import pickle
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from l2l_core.data.batches import Augmentation, Draws
from l2l_core.data.datasets import MetaDataset, PreparedDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.sampling import random_words
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import (
    CLASSES,
    LABELS,
    SHOTS,
    ConsecutiveLabels,
    FilterLabels,
    FusedNWaysKShots,
    KShots,
    LoadData,
    NWays,
    RemapLabels,
)
from l2l_core.errors import TaskError, UsageError
from l2l_core.records import Subset
from tests.data.test_sampling import slow_shuffle_head


class Toy(Dataset[tuple[torch.Tensor, int]]):
    """Examples (number, label) with labels in a jumble; counts what is loaded."""

    def __init__(self, labels: Sequence[int]) -> None:
        self.own_labels = list(labels)
        self.loaded = 0

    def __len__(self) -> int:
        return len(self.own_labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.loaded += 1
        return torch.tensor([float(index)]), self.own_labels[index]


def toy(classes: int = 6, each: int = 5) -> Toy:
    return Toy([10 * label for _ in range(each) for label in reversed(range(classes))])


def learn2learn_recipe(dataset: Dataset[object], ways: int = 3, shots: int = 2) -> TaskDataset:
    transforms = [
        NWays(dataset, ways),
        KShots(dataset, shots),
        LoadData(dataset),
        RemapLabels(dataset),
        ConsecutiveLabels(dataset),
    ]
    return TaskDataset(dataset, transforms, num_tasks=12, seed=5)


def words(seed: int, stream: int, task: int, count: int) -> list[int]:
    return [int(word) for word in random_words(seed, stream, np.array([task]), count)[0]]


def slow_task(dataset: Toy, seed: int, task: int, ways: int, shots: int) -> tuple[list[int], list[int]]:
    """Example ids and labels of a task of `learn2learn_recipe`, one choice at a time."""
    by_label: dict[int, list[int]] = {}
    for example, label in enumerate(dataset.own_labels):
        by_label.setdefault(label, []).append(example)
    labels = list(by_label)
    chosen = [labels[row] for row in slow_shuffle_head(words(seed, CLASSES, task, ways), len(labels))]
    shot_words = words(seed, SHOTS, task, ways * shots)
    new_names = slow_shuffle_head(words(seed, LABELS, task, ways), ways)
    groups = []
    for place, label in enumerate(chosen):
        members = by_label[label]
        picks = slow_shuffle_head(shot_words[place * shots : (place + 1) * shots], len(members))
        groups.append((label, [members[pick] for pick in picks], new_names[place]))
    groups.sort()
    ids = [example for _, members, _ in groups for example in members]
    return ids, [name for _, members, name in groups for _ in members]


@pytest.mark.parametrize(("ways", "shots"), [(3, 2), (6, 5), (1, 1)])
def test_tasks_are_those_of_slow_plain_python(ways: int, shots: int) -> None:
    dataset = toy()
    tasks = learn2learn_recipe(dataset, ways, shots)
    for number in range(12):
        x, y = tasks[number]
        ids, labels = slow_task(dataset, 5, number, ways, shots)
        assert x[:, 0].tolist() == ids
        assert y.tolist() == labels


def flat(tasks: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[tuple[bytes, bytes]]:
    return [(x.numpy().tobytes(), y.numpy().tobytes()) for x, y in tasks]


@pytest.fixture(scope="module")
def glyph_tasks(glyphs_home: Path) -> TaskDataset:
    return learn2learn_recipe(load_dataset("glyphs", "train", root=glyphs_home))


def test_batches_and_order_do_not_matter(glyph_tasks: TaskDataset) -> None:
    expected = flat([glyph_tasks[number] for number in range(12)])
    backwards = flat([glyph_tasks[number] for number in reversed(range(12))])
    assert backwards[::-1] == expected
    assert flat(list(glyph_tasks)) == expected
    for size in (1, 5, 12):
        batches = [glyph_tasks.batch(range(start, min(start + size, 12))) for start in range(0, 12, size)]
        assert flat([task for x, y in batches for task in zip(x, y, strict=True)]) == expected
    jumbled = [7, 0, 1, 2, 11, 3, 3]
    assert flat(list(zip(*glyph_tasks.batch(jumbled), strict=True))) == [expected[number] for number in jumbled]
    assert flat(glyph_tasks.__getitems__(jumbled)) == [expected[number] for number in jumbled]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "fork"), (3, "fork"), (3, "spawn")])
def test_loaders_and_workers_do_not_matter(glyph_tasks: TaskDataset, workers: int, context: str | None) -> None:
    expected = flat([glyph_tasks[number] for number in range(12)])
    for batch_size in (1, 5):
        loader = DataLoader(glyph_tasks, batch_size, num_workers=workers, multiprocessing_context=context)
        assert flat([task for x, y in loader for task in zip(x, y, strict=True)]) == expected


def test_the_task_set_travels_in_a_pickle_that_holds_no_pictures(glyph_tasks: TaskDataset) -> None:
    text = pickle.dumps(glyph_tasks)
    assert len(text) < 2_000_000, "the store must travel as its path"
    assert flat([pickle.loads(text)[3]]) == flat([glyph_tasks[3]])


def test_seeds_and_tasks_differ(glyph_tasks: TaskDataset) -> None:
    other = TaskDataset(glyph_tasks.dataset, glyph_tasks.task_transforms, num_tasks=12, seed=6)
    assert len(set(flat(list(glyph_tasks)) + flat(list(other)))) == 24


def test_without_a_seed_it_draws_one_that_repeats_the_tasks() -> None:
    dataset = toy()
    first = TaskDataset(dataset, [NWays(dataset, 3), KShots(dataset, 2)])
    assert first.seed != TaskDataset(dataset, first.task_transforms).seed
    again = TaskDataset(dataset, first.task_transforms, seed=first.seed)
    assert torch.equal(first[4], again[4])


def test_sampling_loads_no_example_and_loading_only_those_of_the_task() -> None:
    dataset = toy()
    tasks = TaskDataset(MetaDataset(dataset), seed=0)
    scanned = dataset.loaded
    assert scanned == len(dataset)
    tasks.task_transforms = [NWays(tasks.dataset, 3), KShots(tasks.dataset, 2)]
    assert tasks[0].shape == (6,)
    assert dataset.loaded == scanned
    tasks.task_transforms.append(LoadData(tasks.dataset))
    assert tasks[0][0].shape == (6, 1)
    assert dataset.loaded == scanned + 6


def test_labels_stay_the_data_set_s_own_without_remap() -> None:
    dataset = toy()
    tasks = TaskDataset(dataset, [NWays(dataset, 4), KShots(dataset, 2), LoadData(dataset)], seed=1)
    x, y = tasks[0]
    assert y.tolist() == [dataset.own_labels[int(example)] for example in x[:, 0]]


def test_remap_without_shuffle_numbers_the_sorted_labels() -> None:
    dataset = toy()
    steps = [NWays(dataset, 4), KShots(dataset, 2), LoadData(dataset), RemapLabels(dataset, shuffle=False)]
    for x, y in TaskDataset(dataset, steps, num_tasks=20, seed=1):
        own = [dataset.own_labels[int(example)] for example in x[:, 0]]
        assert y.tolist() == [sorted(set(own)).index(label) for label in own]


@pytest.mark.parametrize("consecutive_first", [True, False])
def test_a_class_s_examples_stay_together_in_either_order(consecutive_first: bool) -> None:
    dataset = toy()
    last = [RemapLabels(dataset), ConsecutiveLabels(dataset)]
    steps = [NWays(dataset, 4), KShots(dataset, 3), LoadData(dataset), *(last[::-1] if consecutive_first else last)]
    tasks = TaskDataset(dataset, steps, num_tasks=20, seed=1)
    for x, y in tasks:
        own = [dataset.own_labels[int(example)] for example in x[:, 0]]
        assert own == sorted(own)
        assert all(len(set(y[start : start + 3].tolist())) == 1 for start in range(0, 12, 3))
    assert len({tuple(y[::3].tolist()) for _, y in tasks}) > 5, "the names of the classes are shuffled"


def test_fused_is_filter_ways_and_shots_one_after_the_other() -> None:
    dataset, keep = toy(), [0, 20, 30, 50]
    fused = [FusedNWaysKShots(dataset, n=3, k=2, filter_labels=keep)]
    apart = [FilterLabels(dataset, keep), NWays(dataset, 3), KShots(dataset, 2)]
    for number in range(20):
        task = TaskDataset(dataset, fused, seed=2)[number]
        assert torch.equal(task, TaskDataset(dataset, apart, seed=2)[number])
        assert {dataset.own_labels[example] for example in task.tolist()} <= set(keep)


def test_transforms_may_come_in_other_orders_and_more_than_once() -> None:
    dataset = toy()
    shots_first = TaskDataset(dataset, [KShots(dataset, 2), NWays(dataset, 3)], seed=3)
    for number in range(10):
        labels = [dataset.own_labels[example] for example in shots_first[number].tolist()]
        assert sorted(labels) == sorted(labels[::2] * 2)
        assert len(set(labels)) == 3
    twice = TaskDataset(dataset, [NWays(dataset, 5), NWays(dataset, 2), KShots(dataset, 1)], seed=3)
    counts = np.zeros(6)
    for number in range(3000):
        for example in twice[number].tolist():
            counts[dataset.own_labels[example] // 10] += 1
    # 6,000 draws over 6 classes; within 5 standard deviations of 1,000 each.
    assert abs(counts - 1000).max() < 5 * (6000 / 6 * 5 / 6) ** 0.5
    narrowed = TaskDataset(dataset, [NWays(dataset, 3), KShots(dataset, 4), KShots(dataset, 2)], seed=3)
    assert len(set(narrowed[0].tolist())) == 6


def test_the_same_transform_twice_draws_afresh() -> None:
    dataset = toy()
    batch = TaskDataset(dataset, [NWays(dataset, 6), NWays(dataset, 4)], seed=3).describe(range(20))
    for task, classes in enumerate(batch.all_classes_BN.tolist()):
        first = slow_shuffle_head(words(3, CLASSES, task, 6), 6)
        assert classes == [first[place] for place in slow_shuffle_head(words(3, CLASSES + (1 << 32), task, 4), 6)]


def test_replacement_may_repeat_an_example_and_exceed_the_class() -> None:
    dataset = toy(each=2)
    tasks = TaskDataset(dataset, [NWays(dataset, 2), KShots(dataset, 5, replacement=True)], seed=0)
    ids = tasks[0].tolist()
    assert len(ids) == 10
    assert len(set(ids)) <= 4


def test_a_task_without_transforms_is_all_examples_by_class() -> None:
    dataset = toy(classes=3, each=2)
    assert TaskDataset(dataset, seed=0)[0].tolist() == [0, 3, 1, 4, 2, 5]


def test_task_collate_gets_the_examples_of_each_task() -> None:
    dataset = toy()
    steps = [NWays(dataset, 2), KShots(dataset, 2), LoadData(dataset)]
    tasks = TaskDataset(dataset, steps, task_collate=lambda pairs: torch.stack([x for x, _ in pairs]).sum(), seed=0)
    plain = TaskDataset(dataset, steps, seed=0)
    assert float(tasks[3]) == float(plain[3][0].sum())
    assert tasks.batch([3, 4]).shape == (2,)


def as_mapping(pairs: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
    return {"x": torch.stack([x for x, _ in pairs]), "y": torch.tensor([y for _, y in pairs])}


def test_a_task_of_another_make_stays_whole_alone_and_in_loaders() -> None:
    dataset = toy()
    steps = [NWays(dataset, 2), KShots(dataset, 2), LoadData(dataset)]
    plain = TaskDataset(dataset, steps, num_tasks=4, seed=0)
    mapped = TaskDataset(dataset, steps, num_tasks=4, task_collate=as_mapping, seed=0)
    named = TaskDataset(dataset, steps, num_tasks=4, task_collate=lambda pairs: f"{len(pairs)} examples", seed=0)
    assert torch.equal(mapped[3]["x"], plain[3][0])
    assert torch.equal(mapped.batch([1, 3])["y"], plain.batch([1, 3])[1])
    (batch,) = DataLoader(mapped, batch_size=4)
    assert torch.equal(batch["x"], plain.batch(range(4))[0])
    assert named[0] == "4 examples"


class Pairs(Toy):
    """Examples whose input is a pair."""

    def __getitem__(self, index: int) -> tuple[tuple[torch.Tensor, int], int]:
        return (torch.tensor([float(index)]), -index), self.own_labels[index]


def test_an_input_of_several_parts_keeps_them() -> None:
    dataset = Pairs([0, 0, 1, 1])
    (first, second), y = TaskDataset(dataset, [NWays(dataset, 2), KShots(dataset, 1), LoadData(dataset)], seed=0)[0]
    assert first[:, 0].tolist() == (-second).tolist()
    assert y.tolist() == [dataset.own_labels[int(index)] for index in first[:, 0]]


class Brighter(MetaDataset):
    """One that changes what it gives."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = super().__getitem__(index)
        return image + 1, label


def test_a_data_set_s_own_way_of_giving_examples_is_used(glyphs_home: Path) -> None:
    prepared = load_dataset("glyphs", "test", root=glyphs_home)
    steps = [NWays(prepared, 2), KShots(prepared, 1), LoadData(prepared)]
    x, _ = TaskDataset(Brighter(prepared), steps, seed=0)[0]
    assert torch.equal(x, TaskDataset(prepared, steps, seed=0)[0][0] + 1)


def test_the_class_that_is_too_small_comes_with_its_own_count() -> None:
    dataset = Toy([0] * 2 + [1] * 3 + [2] * 9)
    with pytest.raises(TaskError, match="class '0' has 2; lower"):
        TaskDataset(dataset, [KShots(dataset, 4)], seed=0)[0]


def test_task_collate_is_asked_for_a_prepared_data_set_too(glyphs_home: Path) -> None:
    dataset = load_dataset("glyphs", "test", root=glyphs_home)
    steps = [NWays(dataset, 2), KShots(dataset, 2), LoadData(dataset)]
    mapped = TaskDataset(dataset, steps, task_collate=as_mapping, seed=0)
    assert torch.equal(mapped[3]["x"], TaskDataset(dataset, steps, seed=0)[3][0])


def test_length_iteration_and_sample() -> None:
    dataset = toy()
    steps = [NWays(dataset, 2), KShots(dataset, 1)]
    finite, endless = TaskDataset(dataset, steps, num_tasks=3, seed=0), TaskDataset(dataset, steps, seed=0)
    assert len(finite) == 3
    with pytest.raises(TypeError, match="an endless TaskDataset has no length; give num_tasks, or iterate over it"):
        len(endless)
    tasks = [task.tolist() for task in finite]
    assert [task.tolist() for task in islice(endless, 3)] == tasks
    nested = [(a.tolist(), b.tolist()) for a in finite for b in finite]
    assert nested == [(a, b) for a in tasks for b in tasks]
    assert [finite.sample().tolist() for _ in range(5)] == [*tasks, *tasks[:2]]
    for bad in (3, -1):
        with pytest.raises(IndexError, match=f"there is no task {bad}; the tasks of this set are 0 to 2"):
            finite[bad]
    assert endless[10**12].shape == (2,)
    assert torch.equal(endless[np.int64(3)], endless[3])
    for bad in (-1, 2**63):
        with pytest.raises(IndexError, match=f"there is no task {bad}; the tasks of this set are any number from 0"):
            endless[bad]
    for wrong in (1.9, "1", None):
        with pytest.raises(UsageError, match=f"task number is {wrong!r}; give a whole number"):
            endless[wrong]


@pytest.mark.parametrize("number", [0, -2])
def test_num_tasks_that_cannot_be(number: int) -> None:
    with pytest.raises(UsageError, match=f"num_tasks is {number}; give a positive number, or -1 for an endless set"):
        TaskDataset(toy(), num_tasks=number)


def test_what_cannot_be_drawn_is_refused_in_one_sentence() -> None:
    dataset = Toy([0, 0, 0, 1, 1, 2])
    cases = [
        (lambda: NWays(dataset, 1.5), UsageError, "ways is 1.5; give a whole number"),
        (lambda: FilterLabels(dataset, []), TaskError, "FilterLabels was given no label to keep; give at least one"),
        (lambda: NWays(dataset, 0), UsageError, "ways is 0; give at least 1"),
        (lambda: KShots(dataset, 0), UsageError, "shots is 0; give at least 1"),
        (
            lambda: NWays(MetaDataset(dataset), 4),
            TaskError,
            "4 ways were asked for, but there are 3 classes; lower the ways",
        ),
        (
            lambda: TaskDataset(dataset, [NWays(dataset, 4)], seed=0)[0],
            TaskError,
            "4 ways were asked for, but there are 3 classes; lower the ways",
        ),
        (
            lambda: TaskDataset(dataset, [NWays(dataset, 3), KShots(dataset, 2)], seed=0)[0],
            TaskError,
            "2 examples a class were asked for, but class '2' has 1; lower shots or queries, or drop the class",
        ),
        (
            lambda: TaskDataset(dataset, [NWays(dataset, 3)], seed=0).batch([0, 1]),
            TaskError,
            "the classes of these tasks have 1 to 3 examples; add KShots to take the same number of each",
        ),
        (
            lambda: FilterLabels(MetaDataset(dataset), [0, 7]),
            TaskError,
            "no example has the label 7; the data set has 3 labels, see its .labels",
        ),
        (
            lambda: TaskDataset(dataset, [NWays(dataset, 2), FilterLabels(dataset, [0])], seed=0).batch(range(9)),
            TaskError,
            "of the chosen classes, FilterLabels would keep 0 to 1 a task; put it before NWays",
        ),
        (lambda: TaskDataset(dataset).batch([]), UsageError, "no task was asked for; give at least one task number"),
        (
            lambda: TaskDataset(dataset).batch(5),
            UsageError,
            "found 5 instead of a list of task numbers; give [5] for a single task",
        ),
        (
            lambda: TaskDataset(dataset).get_task([]),
            UsageError,
            "a task of no examples was asked for; give at least one DataDescription",
        ),
        (
            lambda: TaskDataset(dataset, 5),
            UsageError,
            "5 among the task_transforms cannot be called; give transforms",
        ),
        (
            lambda: TaskDataset(dataset, [NWays(dataset, 2), 5]),
            UsageError,
            "5 among the task_transforms cannot be called; give transforms",
        ),
        (
            lambda: TaskDataset(dataset, [LoadData]),
            UsageError,
            "LoadData among the task_transforms is a class; give LoadData(dataset)",
        ),
        (lambda: TaskDataset(dataset, seed=-1), UsageError, "seed -1 is not between 0 and 2**64 - 1; give another"),
    ]
    for attempt, kind, message in cases:
        with pytest.raises(kind) as caught:
            attempt()
        assert str(caught.value) == message
        assert isinstance(caught.value, ValueError)


def test_only_torch_data_sets_are_taken() -> None:
    with pytest.raises(TypeError, match=r"MetaDataset takes a torch.utils.data.Dataset, found list"):
        TaskDataset([(0, 0)])


def test_the_prepared_data_set_is_taken_as_it_is(glyphs_home: Path) -> None:
    dataset = load_dataset("glyphs", "test", root=glyphs_home)
    meta = MetaDataset(dataset)
    assert meta.class_index is dataset.class_index
    assert isinstance(dataset, PreparedDataset)
    assert meta.labels == list(range(len(dataset.classes)))
    assert meta.labels_to_indices[1] == list(range(20, 40))
    assert meta.indices_to_labels[39] == 1


def test_text_labels_need_remapping() -> None:
    dataset = Toy([])
    dataset.own_labels = ["cat", "dog", "cat", "dog"]
    steps = [NWays(dataset, 2), KShots(dataset, 2), LoadData(dataset)]
    with pytest.raises(TaskError, match="label 'cat' is no integer, so it cannot be a target; add RemapLabels"):
        TaskDataset(dataset, steps, seed=0)[0]
    assert sorted(TaskDataset(dataset, [*steps, RemapLabels(dataset)], seed=0)[0][1].tolist()) == [0, 0, 1, 1]


def test_a_digest_names_tasks_and_tells_others_apart(glyphs_home: Path) -> None:
    def digest(tasks: int = 1030, seed: int = 0, ways: int = 3, shuffle: bool = True, subset: Subset = "test") -> str:
        meta = MetaDataset(load_dataset("glyphs", subset=subset, root=glyphs_home))
        steps = [NWays(meta, ways), KShots(meta, 2), LoadData(meta), RemapLabels(meta, shuffle)]
        return TaskDataset(meta, steps, seed=seed).digest(tasks)

    assert digest() == digest()
    others = [digest(1031), digest(seed=1), digest(ways=4), digest(shuffle=False), digest(subset="train")]
    assert len({digest(), *others}) == 6
    with pytest.raises(UsageError, match="only tasks of a prepared data set have a digest; load it with load_dataset"):
        TaskDataset(TensorDataset(torch.zeros(4), torch.arange(4) % 2), seed=0).digest(1)


@pytest.mark.parametrize("number", [2.5, -1, 0])
def test_there_is_no_digest_of_such_a_number(glyphs_home: Path, number: float) -> None:
    glyphs = load_dataset("glyphs", "test", root=glyphs_home)
    advice = "a whole number" if number == 2.5 else "at least 1"
    for tasks in (TaskDataset(glyphs, [KShots(glyphs, 1)], seed=0), TaskGenerator(glyphs, 2, 1, 1, seed=0)):
        with pytest.raises(UsageError, match=f"^the number of tasks to digest is {number}; give {advice}$"):
            tasks.digest(number)


class Noisy(Toy):
    """One with a random transform, as of torchvision: from every global generator."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        x, y = super().__getitem__(index)
        return x + torch.rand(1) / 4 + random.random() / 4 + np.random.rand() / 4, y


class Untouched(Augmentation):
    """One that changes nothing."""

    def apply(self, inputs: torch.Tensor, draws: Draws) -> torch.Tensor:
        return inputs


def unchanged(descriptions: Any) -> Any:
    return descriptions


@pytest.mark.parametrize(
    ("collate", "more"),
    [(None, []), (None, [unchanged]), (None, [Untouched()]), (as_mapping, []), (as_mapping, [unchanged])],
)
def test_a_data_set_s_own_chances_are_the_task_s(collate: Any, more: list[Any]) -> None:
    dataset = Noisy(toy().own_labels)
    steps = [NWays(dataset, 3), KShots(dataset, 2), LoadData(dataset), RemapLabels(dataset)]
    tasks = TaskDataset(dataset, [*steps, *more], num_tasks=8, task_collate=collate, seed=5)

    def x_of(task: Any) -> Any:
        return (task["x"] if collate else task[0]).tolist()

    before = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    expected = [x_of(tasks[number]) for number in range(8)]
    assert before == (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())
    assert [x_of(task) for task in tasks.__getitems__(range(7, -1, -1))] == expected[::-1]
    assert x_of(tasks.batch([6, 2])) == [expected[6], expected[2]]
    assert expected == [x_of(task) for task in TaskDataset(dataset, steps, num_tasks=8, task_collate=collate, seed=5)]
    chances = [value[0] % 1 for task in expected for value in task]
    assert len({round(chance, 5) for chance in chances}) == len(chances), "no chance comes twice"


def test_task_collate_gets_labels_as_python_has_them() -> None:
    dataset = toy()
    steps = [NWays(dataset, 3), KShots(dataset, 2), LoadData(dataset), RemapLabels(dataset)]
    for more in ([], [unchanged]):
        pairs = TaskDataset(dataset, [*steps, *more], task_collate=list, seed=5)[2]
        assert [type(label) for _, label in pairs] == [int] * 6
        assert [label for _, label in pairs] == TaskDataset(dataset, steps, seed=5)[2][1].tolist()


class Named(Toy):
    """Inputs by name."""

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
        x, y = super().__getitem__(index)
        return {"there": x, "back": -x}, y


def test_inputs_by_name_come_task_by_task() -> None:
    dataset = Named(toy().own_labels)
    episodes, plain = (TaskGenerator(each, 3, 1, 2, seed=4, num_tasks=5) for each in (dataset, toy()))
    for together, alone, expected in zip(episodes.__getitems__(range(5)), episodes, plain, strict=True):
        for episode in (together, alone):
            assert torch.equal(episode.support_x["there"], expected.support_x)
            assert torch.equal(episode.query_x["back"], -expected.query_x)
            assert torch.equal(episode.query_y, expected.query_y)
    steps = [NWays(dataset, 3), KShots(dataset, 2), LoadData(dataset)]
    tasks, x = TaskDataset(dataset, steps, seed=4), TaskDataset(toy(), steps, seed=4).batch([3, 1])[0]
    assert torch.equal(tasks.batch([3, 1])[0]["back"], -x)
    assert torch.equal(tasks[1][0]["there"], x[1])


@pytest.mark.parametrize("more", [[], [unchanged]])
def test_one_task_may_have_classes_of_different_sizes(more: list[Any]) -> None:
    dataset = Toy([0, 1, 0, 2, 1, 0])
    tasks = TaskDataset(dataset, [FilterLabels(dataset, [1, 0]), LoadData(dataset), *more], seed=0)
    x, y = tasks[7]
    assert x[:, 0].tolist() == [0, 2, 5, 1, 4]
    assert y.tolist() == [0, 0, 0, 1, 1]
    assert y.dtype == torch.int64
    assert torch.equal(tasks.batch([7])[0][0], x)
    assert torch.equal(tasks.__getitems__([7])[0][1], y)
    collated = TaskDataset(dataset, tasks.task_transforms, task_collate=list, seed=0)[7]
    assert [label for _, label in collated] == y.tolist()
    assert TaskDataset(dataset, seed=0)[0].tolist() == [0, 2, 5, 1, 4, 3]


class Wide(Toy):
    """Examples with more behind the label."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return *super().__getitem__(index), index


def test_labels_are_those_the_classes_go_by_and_nothing_is_behind_them() -> None:
    dataset = MetaDataset(Wide(toy().own_labels), indices_to_labels={i: 100 + i % 6 for i in range(30)})
    steps = [NWays(dataset, 3), KShots(dataset, 2), LoadData(dataset)]
    for more in ([], [unchanged]):
        x, y = TaskDataset(dataset, [*steps, *more], seed=5)[2]
        assert y.tolist() == [100 + int(example) % 6 for example in x[:, 0]]
        pairs = TaskDataset(dataset, [*steps, *more], task_collate=list, seed=5)[2]
        assert [label for _, label in pairs] == y.tolist()
