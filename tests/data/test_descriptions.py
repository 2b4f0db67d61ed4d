"""A user's own callables of lists of DataDescription, beside the transforms of arrays, as learn2learn takes them."""

import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from l2l_core.data.augment import Normalise
from l2l_core.data.datasets import MetaDataset, load_dataset
from l2l_core.data.descriptions import DataDescription, TaskTransform
from l2l_core.data.index import ClassIndex
from l2l_core.data.loaders import TasksetSampler
from l2l_core.data.tasks import TaskDataset, Taskset
from l2l_core.data.transforms import (
    CLASSES,
    SHOTS,
    ArrayTransform,
    ConsecutiveLabels,
    FilterLabels,
    FusedNWaysKShots,
    KShots,
    LoadData,
    NWays,
    RemapLabels,
    on_batches,
    takes_batches,
)
from l2l_core.data.transforms import LABELS as NAMES
from l2l_core.data.weighted import WeightedNWays
from l2l_core.errors import TaskError, UsageError
from tests.data.test_sampling import slow_shuffle_head
from tests.data.test_tasks import words

Descriptions = list[DataDescription]

LABELS = [20, 10, 30, 40] * 5
PICTURES = TensorDataset(torch.arange(20.0).reshape(20, 1, 1, 1).expand(20, 3, 2, 2).contiguous(), torch.tensor(LABELS))
META = MetaDataset(PICTURES)


def same(descriptions: Descriptions | None) -> Descriptions:
    return [DataDescription(i) for i in range(20)] if descriptions is None else descriptions


def recipe() -> list[Callable[[Any], Any]]:
    return [FilterLabels(META, [10, 30, 40]), NWays(META, 3), KShots(META, 2), LoadData(META), RemapLabels(META)]


def ids(task: tuple[torch.Tensor, torch.Tensor]) -> list[int]:
    return task[0][:, 0, 0, 0].int().tolist()


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first.dtype == second.dtype and torch.equal(first, second)


@pytest.mark.parametrize("last", [[], [ConsecutiveLabels(META)]])
def test_a_callable_that_changes_nothing_changes_nothing_wherever_it_stands(last: list[Any]) -> None:
    steps = [*recipe(), *last]
    expected = list(TaskDataset(META, steps, num_tasks=6, seed=3))
    for place in range(len(steps) + 1):
        tasks = TaskDataset(META, [*steps[:place], same, *steps[place:]], num_tasks=6, seed=3)
        for i in (5, 0, 3):
            assert equal(tasks[i], expected[i]), f"at place {place}"
        assert equal(tasks.batch([4, 1]), TaskDataset(META, steps, seed=3).batch([4, 1]))
    twice = TaskDataset(META, [same, *steps[:3], same, *steps[3:], same], num_tasks=6, seed=3)
    assert all(map(equal, twice, expected))


def test_nor_does_it_without_loading() -> None:
    steps = [NWays(META, 2), KShots(META, 3)]
    assert equal(TaskDataset(META, [*steps, same], seed=3)[4], TaskDataset(META, steps, seed=3)[4])
    assert TaskDataset(META, same, seed=3)[0].tolist() == list(range(20))
    assert TaskDataset(META, [ConsecutiveLabels(META), same], seed=3)[0].tolist() == [
        i for label in (10, 20, 30, 40) for i in range(20) if LABELS[i] == label
    ]


def test_the_first_gets_none_and_others_the_list_so_far() -> None:
    seen: list[Any] = []

    def note(descriptions: Descriptions | None) -> Descriptions:
        seen.append(descriptions)
        return same(descriptions)

    TaskDataset(META, [note, NWays(META, 2), note, KShots(META, 1), LoadData(META), note], seed=0)[0]
    first, second, third = seen
    assert first is None
    assert len(second) == 10
    assert len({LABELS[each.index] for each in second}) == 2
    assert all(each.transforms == [] for each in second)
    assert len(third) == 2
    assert third[0].transforms[0](7)[1] == LABELS[7]
    seen.clear()
    TaskDataset(META, [LoadData(META), note], seed=0)[0]
    assert [each.index for each in seen[0]] == list(range(20)), "LoadData has been there, so it is a list"


def test_order_number_and_repetition_are_the_callable_s() -> None:
    def jumble(descriptions: Descriptions) -> Descriptions:
        first, second, *_, last = descriptions
        return [last, first, last, second, DataDescription(0)]

    tasks = TaskDataset(META, [*recipe()[:4], jumble, RemapLabels(META)], num_tasks=8, seed=1)
    plain = TaskDataset(META, recipe()[:4], seed=1)
    for i in range(8):
        before = ids(plain[i])
        expected = [before[5], before[0], before[5], before[1], before[0]]
        x, y = tasks[i]
        assert ids((x, y))[:4] == expected[:4]
        own = [LABELS[each] for each in expected[:4]]
        pairs = set(zip(own, y.tolist()[:4], strict=True))
        assert len(pairs) == len(set(own)), "one new label a class"
        assert y.dtype == torch.int64
        # Example 0 is of label 20, which none of the others is, and was made without functions, after LoadData.
        assert x[4, 0, 0, 0] == 0
        assert sorted(set(y.tolist())) == list(range(len(set(own)) + 1))


def test_transforms_behind_a_list_see_it_as_their_data_set() -> None:
    def uneven(descriptions: Descriptions | None) -> Descriptions:
        return [DataDescription(i) for i in (19, 3, 0, 4, 8, 1, 5)]  # labels 40 40 20 20 20 10 10

    assert TaskDataset(META, [uneven, FilterLabels(META, [20, 30, 40])], seed=0)[0].tolist() == [19, 3, 0, 4, 8]
    ways = TaskDataset(META, [uneven, NWays(META, 2)], seed=0)
    assert {tuple(sorted(ways[i].tolist())) for i in range(30)} == {
        tuple(sorted(a + b)) for a, b in (([3, 19], [0, 4, 8]), ([3, 19], [1, 5]), ([0, 4, 8], [1, 5]))
    }
    for task in TaskDataset(META, [uneven, KShots(META, 2), LoadData(META), RemapLabels(META)], num_tasks=9, seed=0):
        chosen = ids(task)
        assert set(chosen[:2]) == {3, 19}
        assert set(chosen[2:4]) < {0, 4, 8}
        assert set(chosen[4:]) == {1, 5}
    messages = [
        (KShots(META, 3), "3 examples a class were asked for, but class '40' has 2; lower shots or queries, or drop"),
        (NWays(META, 4), "4 ways were asked for, but there are 3 classes; lower the ways"),
        (FilterLabels(META, [30]), "no example of the list has a label that FilterLabels keeps; keep others"),
    ]
    for step, message in messages:
        with pytest.raises(TaskError, match=message):
            TaskDataset(META, [uneven, step], seed=0)[0]


def test_functions_run_one_after_another_from_the_index_on() -> None:
    log: list[Any] = []

    def nosy(descriptions: Descriptions | None) -> Descriptions:
        for description in (descriptions := same(descriptions)):
            description.transforms.append(lambda value: log.append(value) or value)
        return descriptions

    def doubled(descriptions: Descriptions) -> Descriptions:
        for description in descriptions:
            description.transforms.append(lambda sample: [sample[0] * 2, *sample[1:]])
        return descriptions

    steps = [KShots(META, 1), NWays(META, 1), nosy, LoadData(META), nosy, RemapLabels(META), nosy, doubled]
    x, y = TaskDataset(META, steps, seed=0)[0]
    index, loaded, relabelled = log
    assert isinstance(index, int)
    assert (loaded[0][0, 0, 0], loaded[1]) == (index, LABELS[index])
    assert relabelled[1] == 0
    assert x[0, 0, 0, 0] == 2 * index
    assert y.tolist() == [0]


def test_a_function_before_load_data_may_send_it_elsewhere() -> None:
    def next_one(descriptions: Descriptions) -> Descriptions:
        for description in descriptions:
            description.transforms.append(lambda index: (index + 4) % 20)
        return descriptions

    steps = [NWays(META, 2), KShots(META, 2), next_one, LoadData(META)]
    assert ids(TaskDataset(META, steps, seed=0)[0]) == [
        (i + 4) % 20 for i in TaskDataset(META, steps[:2], seed=0)[0].tolist()
    ]


def noisy(descriptions: Descriptions) -> Descriptions:
    """One that draws from every global generator, now and when its function runs."""
    random.shuffle(descriptions)
    descriptions = [descriptions[i] for i in np.random.permutation(len(descriptions))[:5]]
    shift = torch.rand(1)
    for description in descriptions:
        description.transforms.append(
            lambda sample: (sample[0] + shift + torch.rand(1) + random.random() + np.random.rand(), sample[1])
        )
    return descriptions


def states() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, keys.tolist(), rest, torch.get_rng_state().tolist()


def test_a_random_callable_s_task_is_a_function_of_seed_and_number() -> None:
    steps = [*recipe()[:4], noisy, noisy, RemapLabels(META)]
    tasks = TaskDataset(META, steps, num_tasks=6, seed=8)
    before = states()
    expected = [tasks[i] for i in range(6)]
    assert states() == before
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    again = pickle.loads(pickle.dumps(tasks))
    assert all(equal(again[i], expected[i]) for i in (3, 5, 0, 3))
    x, y = tasks.batch([4, 2])
    assert equal((x[0], y[0]), expected[4])
    assert equal((x[1], y[1]), expected[2])
    (loaded,) = DataLoader(tasks, batch_size=6)
    assert torch.equal(loaded[0], torch.stack([x for x, _ in expected]))
    others = [TaskDataset(META, steps, seed=9)[0], expected[1]]
    assert not any(torch.equal(other[0], expected[0][0]) for other in others)
    drawn: list[float] = []

    def draws(descriptions: Descriptions | None) -> Descriptions:
        drawn.append(random.random())
        return same(descriptions)

    TaskDataset(META, [draws, draws], seed=8)[0]
    assert len(set(drawn)) == 2, "each place has words of its own"


def test_new_labels_are_whole_numbers_whatever_the_old_ones_are() -> None:
    dataset = TensorDataset(torch.arange(8.0).reshape(8, 1), torch.tensor([1, 2] * 4, dtype=torch.uint8))
    steps = [NWays(dataset, 2), KShots(dataset, 2), LoadData(dataset), RemapLabels(dataset)]
    assert equal(TaskDataset(dataset, [*steps, same], seed=0)[1], TaskDataset(dataset, steps, seed=0)[1])


def test_the_generators_are_put_back_after_an_error() -> None:
    def fails(descriptions: Descriptions | None) -> Descriptions:
        random.random()
        raise RuntimeError("on purpose")

    before = states()
    with pytest.raises(RuntimeError, match="on purpose"):
        TaskDataset(META, fails, seed=0)[0]
    assert states() == before


def test_augmentations_may_stand_behind_and_see_classes() -> None:
    order = [0, 3, 1, 4, 2, 5]

    def in_turn(descriptions: Descriptions) -> Descriptions:
        return [descriptions[place] for place in order]

    steps = [NWays(META, 2), KShots(META, 3), LoadData(META), RemapLabels(META)]
    normalise = Normalise(1.0, 2.0)
    plain, listed = (TaskDataset(META, [*steps, *more], seed=2)[5] for more in ([normalise], [in_turn, normalise]))
    assert equal(tuple(part[order] for part in plain), listed)
    grouped = TaskDataset(META, [*steps, in_turn, KShots(META, 3), normalise], seed=2)[5]
    assert grouped[1].tolist() == plain[1].tolist(), "class by class again"
    with pytest.raises(TaskError, match="Normalise changes whole tasks, so it is no part of a description; put trans"):
        TaskDataset(META, [*steps, normalise, in_turn], seed=2)[5]
    with pytest.raises(TaskError, match="Normalise changes whole tasks, but task_collate is given single examples"):
        TaskDataset(META, [*steps, in_turn, normalise], task_collate=len, seed=2)[5]


def test_descriptions_of_tasks_are_the_tasks() -> None:
    tasks, other = (TaskDataset(META, recipe(), num_tasks=3, seed=4) for _ in range(2))
    for _ in range(4):
        description = tasks.sample_task_description()
        assert [type(each) for each in description] == [DataDescription] * 6
        assert equal(tasks.get_task(description), other.sample())
    assert equal(tasks.sample(), other[1])
    collated = TaskDataset(META, recipe(), task_collate=len, seed=4)
    assert collated.get_task(collated.sample_task_description()) == 6
    assert TaskDataset(META, [*recipe(), same], task_collate=len, seed=4)[0] == 6
    assert Taskset is TaskDataset


def test_texts_and_prepared_data_sets_are_described_too(glyphs_home: Path) -> None:
    class Words(TensorDataset):
        def __getitem__(self, index: int) -> tuple[str, str]:
            return f"word {index}", "even" if index % 2 else "odd"

    words = Words(torch.arange(6))
    steps = [NWays(words, 2), KShots(words, 2), LoadData(words), RemapLabels(words)]
    plain, listed = (TaskDataset(words, [*steps, *more], seed=0) for more in ([], [same]))
    assert listed[1][0] == plain[1][0]
    assert torch.equal(listed.batch([1, 2])[1], plain.batch([1, 2])[1])
    assert listed.batch([1, 2])[0] == plain.batch([1, 2])[0]
    glyphs = load_dataset("glyphs", "test", root=glyphs_home)
    steps = [NWays(glyphs, 3), KShots(glyphs, 2), LoadData(glyphs)]
    assert equal(TaskDataset(glyphs, [*steps, same], seed=0)[7], TaskDataset(glyphs, steps, seed=0)[7])
    with pytest.raises(TaskError, match=re.escape(f"but class '{glyphs.classes[0]}' has 1; lower")):
        TaskDataset(glyphs, [lambda _: [DataDescription(0)], KShots(glyphs, 2)], seed=0)[0]


class EveryOther(TaskTransform):
    def __call__(self, task_description: Descriptions | None) -> Descriptions:
        return (self.new_task() if task_description is None else task_description)[::2]


def test_a_class_derived_from_task_transform() -> None:
    assert TaskDataset(META, EveryOther(META), seed=0)[0].tolist() == list(range(0, 20, 2))
    assert len(TaskDataset(META, [KShots(META, 2), EveryOther(META)], seed=0)[0]) == 4
    with pytest.raises(NotImplementedError, match="TaskTransform has no __call__ of its own"):
        TaskDataset(META, TaskTransform(META), seed=0)[0]


def test_marks_tell_the_two_kinds_apart() -> None:
    @on_batches
    def marked(batch: Any) -> Any:
        assert len(batch) == 3
        return batch

    assert all(map(takes_batches, [marked, Normalise(0.0, 1.0), *recipe(), ConsecutiveLabels(META)]))
    assert not any(map(takes_batches, [same, EveryOther(META), len]))
    assert TaskDataset(META, [marked], seed=0).batch(range(3)).shape == (3, 20)


def test_what_a_callable_may_not_return() -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            lambda _: None,
            UsageError,
            "<lambda>, for task 6, gave NoneType instead of a list of DataDescription; let it return one, or "
            "mark it with on_batches if it takes and returns a TaskBatch",
        ),
        (
            lambda _: [DataDescription(0), 1],
            UsageError,
            "<lambda>, for task 6, gave a list with a int in it instead of a list of Data",
        ),
        (
            lambda _: [DataDescription(1.0)],
            UsageError,
            "the index <lambda>, for task 6, gave is 1.0; give a whole number",
        ),
        (lambda _: [], TaskError, "<lambda>, for task 6, gave no example; a task has at least one"),
        (lambda _: [DataDescription(20)], IndexError, "<lambda>, for task 6, gave example 20, which the data set does"),
        (lambda _: [DataDescription(-1)], IndexError, "<lambda>, for task 6, gave example -1, which the data set does"),
    ]
    for function, kind, message in cases:
        with pytest.raises(kind) as caught:
            TaskDataset(META, function, seed=0)[6]
        assert str(caught.value).startswith(message)


def test_a_transform_of_arrays_without_its_mark_is_told_so() -> None:
    def unmarked(batch: Any) -> Any:
        return batch.draw(100, 1)[1]

    with pytest.raises(AttributeError) as caught:
        TaskDataset(META, [NWays(META, 2), unmarked], seed=0)[0]
    (note,) = caught.value.__notes__
    assert note == (
        "unmarked was given a list of DataDescription; a transform that takes a TaskBatch is to be marked with "
        "on_batches"
    )


def test_tasks_that_differ_in_size_come_one_by_one() -> None:
    def some(descriptions: Descriptions | None) -> Descriptions:
        return same(descriptions)[: random.randint(1, 15)]

    tasks = TaskDataset(META, [some, LoadData(META)], seed=0)
    assert len({len(x) for x, _ in tasks.__getitems__(range(9))}) > 1
    with pytest.raises(
        TaskError, match="the tasks asked for cannot be stacked, since they are not alike; ask for them"
    ):
        tasks.batch(range(9))
    with pytest.raises(
        TaskError, match="tasks with a transform of DataDescription are no arrays; describe them one by"
    ):
        tasks.describe(range(2))
    assert tasks.describe([2]).listed is not None

    def ragged(descriptions: Descriptions | None) -> Descriptions:
        for description in (descriptions := same(descriptions)):
            description.transforms.append(lambda index: torch.zeros(index))
        return descriptions

    with pytest.raises(
        TaskError, match="the examples of a task cannot be stacked, since they are not alike; add a tran"
    ):
        TaskDataset(META, ragged, seed=0)[0]


@pytest.mark.parametrize("order", [None, np.array([7, 0, 3, 1, 9])])
def test_rows_of_examples_and_of_none(order: np.ndarray | None) -> None:
    counts_C = np.array([2, 0, 3, 0])
    index = ClassIndex("abcd", np.cumsum(counts_C) - counts_C, counts_C, order)
    row_of = {int(index.ids(np.array([place]))[0]): row for place, row in enumerate([0, 0, 2, 2, 2])}
    numbers = np.arange(-2, 12)
    assert index.rows_of(numbers).tolist() == [row_of.get(number, -1) for number in numbers.tolist()]


def test_tasks_with_a_callable_have_no_digest(glyphs_home: Path) -> None:
    glyphs = load_dataset("glyphs", "test", root=glyphs_home)
    steps = [NWays(glyphs, 2), KShots(glyphs, 2)]
    assert TaskDataset(glyphs, steps, seed=0).digest(1)
    for tasks in (1, 2):
        with pytest.raises(UsageError) as caught:
            TaskDataset(glyphs, [*steps, same], seed=0).digest(tasks)
        assert str(caught.value) == (
            "tasks with a transform of DataDescription have no digest, as it may load something else; "
            "leave that transform out"
        )


def test_a_loader_of_examples_gets_those_that_a_callable_has_listed() -> None:
    steps = [NWays(META, 2), KShots(META, 2), LoadData(META)]

    def backwards(descriptions: Descriptions) -> Descriptions:
        return descriptions[::-1]

    for more in ([], [same], [backwards], [backwards, RemapLabels(META)], [same, Normalise(0.0, 1.0)]):
        tasks = TaskDataset(META, [*steps, *more], num_tasks=5, seed=0)
        expected = [ids(task) for task in TaskDataset(META, steps, num_tasks=5, seed=0)]
        if backwards in more:
            expected = [task[::-1] for task in expected]
        assert list(TasksetSampler(tasks, shuffle=False)) == expected
    uneven = TaskDataset(META, lambda _: [DataDescription(i) for i in (19, 3, 0, 4, 8)], num_tasks=1, seed=0)
    assert list(TasksetSampler(uneven)) == [[19, 3, 0, 4, 8]]


def test_a_function_may_not_lead_to_an_example_without_a_label() -> None:
    few = MetaDataset(PICTURES, indices_to_labels={i: LABELS[i] for i in range(8)})

    def beyond(descriptions: Descriptions) -> Descriptions:
        for description in descriptions:
            description.transforms.append(lambda index: 19)
        return descriptions

    with pytest.raises(IndexError, match="^example 19 has no label in this data set; take another$"):
        TaskDataset(few, [KShots(few, 1), beyond, LoadData(few)], seed=0)[0]


class LastOnes(KShots):
    """Derived from a transform of arrays, but with a `__call__` of lists, as learn2learn's users write it."""

    def __call__(self, task_description: Descriptions) -> Descriptions:
        return task_description[-self.k :]


def test_a_class_derived_from_one_of_arrays_may_take_lists() -> None:
    class Same(KShots):
        pass

    assert takes_batches(Same(META, 2))
    assert not takes_batches(LastOnes(META, 2))
    steps = [NWays(META, 2), KShots(META, 3)]
    expected = TaskDataset(META, steps, seed=0)[1][-2:]
    assert equal(TaskDataset(META, [*steps, LastOnes(META, 2)], seed=0)[1], expected)


def test_augmentations_say_what_they_take() -> None:
    for given in (None, TaskTransform(META).new_task()):
        with pytest.raises(UsageError) as caught:
            Normalise(0.0, 1.0)(given)  # type: ignore[arg-type]
        kind = type(given).__name__
        message = f"Normalise was given {kind} instead of a TaskBatch; let a TaskDataset call Normalise"
        assert str(caught.value) == message


LISTED = [19, 3, 0, 4, 8, 1, 5, 9]
"""Of the labels 40 40 20 20 20 10 10 10."""


def slow_lists(indices: list[int]) -> dict[str, list[int]]:
    """What transforms should leave of the examples, each with a seed from `random`, one choice at a time."""
    groups: dict[int, list[int]] = {}
    for index in indices:
        groups.setdefault(LABELS[index], []).append(index)
    members = list(groups.values())

    def shots(of: list[list[int]], k: int, seed: int) -> list[int]:
        drawn = words(seed, SHOTS, 0, k * len(of))
        heads = [slow_shuffle_head(drawn[n * k : (n + 1) * k], len(group)) for n, group in enumerate(of)]
        return [group[place] for group, head in zip(of, heads, strict=True) for place in head]

    def ways(seed: int) -> list[list[int]]:
        return [members[row] for row in slow_shuffle_head(words(seed, CLASSES, 0, 2), len(members))]

    seeds = [random.getrandbits(63) for _ in range(8)]
    return {
        "ways": [i for group in ways(seeds[0]) for i in group],
        "shots": shots(members, 2, seeds[1]),
        "filter": [i for label in groups if label in (10, 40) for i in groups[label]],
        "fused": shots(ways(seeds[3]), 2, seeds[3]),
        "consecutive": [i for label in sorted(groups) for i in groups[label]],
    }


def built_in() -> dict[str, ArrayTransform]:
    return {
        "ways": NWays(META, 2),
        "shots": KShots(META, 2),
        "filter": FilterLabels(META, [40, 10]),
        "fused": FusedNWaysKShots(META, 2, 2),
        "consecutive": ConsecutiveLabels(META),
    }


@pytest.mark.parametrize("given", [None, LISTED])
def test_lists_become_what_slow_plain_python_makes_of_them(given: list[int] | None) -> None:
    for seed in range(9):
        random.seed(seed)
        expected = slow_lists(list(range(20)) if given is None else given)
        random.seed(seed)
        for name, step in built_in().items():
            made = step(None if given is None else [DataDescription(i) for i in given])
            assert [each.index for each in made] == expected[name], name
            assert all(type(each) is DataDescription and each.transforms == [] for each in made)


def test_lists_are_loaded_and_labelled_where_they_stand() -> None:
    for indices in (None, LISTED):
        order = list(range(20)) if indices is None else indices
        given = None if indices is None else [DataDescription(i) for i in indices]
        loaded = [each.sample() for each in LoadData(META)(given)]
        assert [(int(x[0, 0, 0]), int(y)) for x, y in loaded] == [(i, LABELS[i]) for i in order]
        assert given is None or all(not each.transforms for each in given), "the list given stays as it is"
        seed = random.Random(4).getrandbits(63)
        random.seed(4)
        new = slow_shuffle_head(words(seed, NAMES, 0, len({LABELS[i] for i in order})), len({LABELS[i] for i in order}))
        firsts = list(dict.fromkeys(LABELS[i] for i in order))
        made = RemapLabels(META)(given)
        random.seed(4)
        again = RemapLabels(META)(LoadData(META)(given))[0]
        assert [each.index for each in made] == order
        assert [each.transforms[0](("x", 0))[1] for each in made] == [new[firsts.index(LABELS[i])] for i in order]
        assert len(again.transforms) == 2
        named = [each.transforms[0](("x", 0))[1] for each in RemapLabels(META, shuffle=False)(given)]
        assert named == [sorted(firsts).index(LABELS[i]) for i in order]


class Own(TaskTransform):
    """A user's own transform, as learn2learn has them call others."""

    def __call__(self, task_description: Descriptions | None) -> Descriptions:
        return KShots(self.dataset, 2)(NWays(self.dataset, 3)(task_description))


class Backwards(KShots):
    """One derived from a transform of arrays, which it calls with the list that it is given."""

    def __call__(self, task_description: Descriptions | None) -> Descriptions:
        return super().__call__(task_description)[::-1]


@pytest.mark.parametrize("steps", [[Own(META)], [NWays(META, 3), Backwards(META, 2)], [Backwards(META, 2), Own(META)]])
def test_one_s_own_transforms_may_call_those_of_arrays(steps: list[Any]) -> None:
    tasks = TaskDataset(META, [*steps, LoadData(META), RemapLabels(META)], num_tasks=9, seed=5)
    before = states()
    expected = [tasks[i] for i in range(9)]
    assert states() == before
    assert len({tuple(ids(task)) for task in expected}) > 5
    for x, y in expected:
        own = [LABELS[i] for i in ids((x, y))]
        assert sorted(own.count(label) for label in set(own)) in ([2, 2, 2], [2, 2, 2, 2])
        assert len(set(ids((x, y)))) == len(own)
        assert len(set(zip(own, y.tolist(), strict=True))) == len(set(own)) == len(set(y.tolist()))
    random.seed(1)
    again = pickle.loads(pickle.dumps(tasks))
    assert all(equal(again[i], expected[i]) for i in (7, 0, 8, 3))


def test_transforms_may_be_called_one_after_another_by_hand() -> None:
    tasks = TaskDataset(META, seed=0)
    for steps in (recipe(), [*recipe(), ConsecutiveLabels(META)]):
        description = None
        for step in steps:
            description = step(description)
        x, y = tasks.get_task(description)
        own = [LABELS[i] for i in ids((x, y))]
        assert sorted(own) == [10, 10, 30, 30, 40, 40]
        assert len(set(zip(own, y.tolist(), strict=True))) == 3
        assert sorted(set(y.tolist())) == [0, 1, 2]
        assert own[::2] == own[1::2], "class by class"
    assert own == sorted(own)


def test_a_derived_transform_s_list_is_its_own() -> None:
    assert not takes_batches(Backwards(META, 2))
    random.seed(0)
    forwards = [each.index for each in KShots(META, 2)(None)]
    random.seed(0)
    assert [each.index for each in Backwards(META, 2)(None)] == forwards[::-1]
    assert [each.index for each in NWays(META, 2).new_task()] == list(range(20))


@pytest.mark.parametrize("step", [*recipe(), ConsecutiveLabels(META), FusedNWaysKShots(META, 1)])
def test_what_transforms_of_arrays_cannot_take(step: ArrayTransform) -> None:
    who = type(step).__name__
    cases: list[tuple[Any, type[Exception], str]] = [
        (5, UsageError, "int instead of a list of DataDescription; give one, or None for all examples"),
        ([1], UsageError, "a list with a int in it instead of a list of DataDescription; give one, or None for all"),
        ([], TaskError, "no example; a task has at least one"),
        ([DataDescription(20)], IndexError, "example 20, which the data set does not have"),
    ]
    for given, kind, message in cases:
        with pytest.raises(kind) as caught:
            step(given)
        assert str(caught.value).startswith(f"{who} was given {message}")
    with pytest.raises(TypeError, match="takes a torch.utils.data.Dataset, found str"):
        KShots("pictures", 2)(None)


def test_a_plain_data_set_is_sorted_out_by_label_where_a_list_is_given() -> None:
    random.seed(0)
    expected = [each.index for each in KShots(META, 2)(None)]
    random.seed(0)
    assert [each.index for each in KShots(PICTURES, 2)(None)] == expected


def test_classes_with_weights_are_drawn_from_lists_too() -> None:
    step = WeightedNWays(META, 2, weights={10: 1, 20: 0, 30: 1, 40: 0})
    for given in (None, TaskTransform(META).new_task()):
        assert {LABELS[each.index] for each in step(given)} == {10, 30}


class Named(TensorDataset):
    """Pictures with texts for labels."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        return super().__getitem__(index)[0], f"label {LABELS[index]}"


def test_text_labels_come_in_the_order_of_the_list_behind_augmentations() -> None:
    named = Named(PICTURES.tensors[0])

    def in_turn(descriptions: Descriptions) -> Descriptions:
        return [descriptions[place] for place in (0, 3, 1, 4, 2, 5)]

    steps = [NWays(named, 2), KShots(named, 3), LoadData(named), in_turn]
    plain, changed = (TaskDataset(named, [*steps, *more], seed=2)[5] for more in ([], [Normalise(1.0, 2.0)]))
    assert changed[1] == plain[1] == [f"label {LABELS[i]}" for i in ids(plain)]
    assert torch.equal(changed[0], (plain[0] - 1) / 2)


def test_texts_and_parts_by_name_are_not_augmented_behind_a_list() -> None:
    class Parts(TensorDataset):
        def __init__(self, part: Any) -> None:
            super().__init__(torch.arange(4))
            self.part = part

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.part, index % 2

    for part, kind in (("text", "list"), ({"x": torch.zeros(1)}, "dict")):
        dataset = Parts(part)
        with pytest.raises(TaskError, match=f"^{kind} cannot be augmented; give the data set a transform that makes t"):
            TaskDataset(dataset, [KShots(dataset, 1), LoadData(dataset), same, Normalise(0.0, 1.0)], seed=0)[0]
