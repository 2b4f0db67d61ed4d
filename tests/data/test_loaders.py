"""Loaders: the same tasks in the same order whatever the batches, ranks, workers and stops; against one plain loop."""

import pickle
import re
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import multiprocessing
from torch.utils.data import DataLoader

from l2l_core.data.datasets import MetaDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.loaders import InfiniteIterator, TaskSampler, TasksetSampler, TaskStream, collate_tasks
from l2l_core.data.tasks import TaskDataset
from l2l_core.data.transforms import KShots, NWays
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import TaskError, UsageError
from tests.data.processes import Dying, Failing, Numbers, gloo_rank
from tests.data.test_tasks import toy

# Two cores have their say in the first, torchdata in the second.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]

GOLDEN_ORDERS = {0: [6, 2, 0, 3, 1, 5, 4, 7], 1: [2, 0, 6, 4, 5, 7, 1, 3], 10**9: [2, 3, 6, 5, 4, 0, 1, 7]}


def tasks_of(batches: Any) -> list[int]:
    """Numbers of the tasks in stacked batches, each checked to be that task."""
    numbers = []
    for tasks_B, words_B in batches:
        expected = Numbers().batch(tasks_B.tolist())[1]
        assert torch.equal(words_B, expected)
        numbers += tasks_B.tolist()
    return numbers


def mapped(tasks: Numbers, sampler: TaskSampler, workers: int = 0, context: str | None = None) -> DataLoader[Any]:
    return DataLoader(
        tasks,
        batch_sampler=sampler,
        collate_fn=collate_tasks,
        num_workers=workers,
        multiprocessing_context=context,
    )


def streamed(stream: TaskStream, workers: int = 0, context: str | None = None, **options: Any) -> DataLoader[Any]:
    return DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=context, **options)


@given(
    num_tasks=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 4),
    epoch=st.integers(0, 3),
    endless=st.booleans(),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_ranks_together_take_what_one_loop_would(
    num_tasks: int, batch_size: int, world_size: int, epoch: int, endless: bool, shuffle: bool, drop_last: bool
) -> None:
    tasks = Numbers() if endless else Numbers(num_tasks)
    epoch_of = {"num_tasks": num_tasks} if endless else {}
    alone = TaskSampler(tasks, 1, shuffle=shuffle, rank=0, world_size=1, **epoch_of)
    alone.set_epoch(epoch)
    row = [task for (task,) in alone]
    # One batch after the other is dealt out, like cards.
    hands: list[list[list[int]]] = [[] for _ in range(world_size)]
    for place, start in enumerate(range(0, num_tasks, batch_size)):
        hands[place % world_size].append(row[start : start + batch_size])
    if drop_last:
        hands = [[batch for batch in hand if len(batch) == batch_size] for hand in hands]
        hands = [hand[: len(hands[-1])] for hand in hands]
    if len({len(hand) for hand in hands}) > 1 or not hands[-1]:
        with pytest.raises(UsageError):
            TaskSampler(tasks, batch_size, rank=0, world_size=world_size, drop_last=drop_last, **epoch_of)
        return
    for rank, hand in enumerate(hands):
        options = {"shuffle": shuffle, "rank": rank, "world_size": world_size, "drop_last": drop_last, **epoch_of}
        sampler, stream = TaskSampler(tasks, batch_size, **options), TaskStream(tasks, batch_size, **options)
        sampler.set_epoch(epoch)
        stream.set_epoch(epoch)
        assert list(sampler) == hand
        assert len(sampler) == len(stream) == len(hand)
        assert [tasks_B.tolist() for tasks_B, _ in stream] == hand


def test_epochs_of_a_finite_set_are_its_tasks_in_golden_orders() -> None:
    sampler = TaskSampler(Numbers(8), 8, shuffle=True)
    for epoch, order in GOLDEN_ORDERS.items():
        sampler.set_epoch(epoch)
        assert list(sampler) == [order]
    assert list(TaskSampler(Numbers(8, seed=1), 8, shuffle=True)) != [GOLDEN_ORDERS[0]]
    plain = TaskSampler(Numbers(8), 3)
    plain.set_epoch(5)
    assert list(plain) == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_orders_are_even() -> None:
    sampler = TaskSampler(Numbers(4), 4, shuffle=True)
    counts = torch.zeros(4, 4)
    for epoch in range(2000):
        sampler.set_epoch(epoch)
        (order,) = sampler
        assert sorted(order) == [0, 1, 2, 3]
        counts[torch.arange(4), order] += 1
    # Each cell is binomial, 2,000 draws of 1/4; within 5 standard deviations.
    assert abs(counts - 500).max() < 5 * (2000 * 3 / 16) ** 0.5


def test_epochs_of_an_endless_set_are_new_tasks() -> None:
    sampler = TaskSampler(Numbers(), 4, num_tasks=6, shuffle=True)
    batches = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches += sampler
    assert batches == [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11], [12, 13, 14, 15], [16, 17]]
    endless = TaskSampler(Numbers(), 2, rank=1, world_size=3)
    endless.set_epoch(7)
    assert list(islice(endless, 3)) == [[2, 3], [8, 9], [14, 15]]
    for unsized in (endless, TaskStream(Numbers(), 2)):
        with pytest.raises(TypeError, match="an epoch of an endless set has no length; give num_tasks, or count the"):
            len(unsized)


@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "fork"), (2, "fork"), (3, "fork"), (2, "spawn")])
def test_workers_change_nothing(workers: int, context: str | None) -> None:
    tasks = Numbers(13)
    for batch_size in (4,) if context == "spawn" else (1, 4, 13):
        sampler = TaskSampler(tasks, batch_size, shuffle=True)
        sampler.set_epoch(2)
        expected = [task for batch in sampler for task in batch]
        stream = TaskStream(tasks, batch_size, shuffle=True)
        stream.set_epoch(2)
        assert tasks_of(streamed(stream, workers, context)) == expected
        assert tasks_of(mapped(tasks, sampler, workers, context)) == expected
    ranks = [TaskStream(Numbers(), 2, num_tasks=12, rank=rank, world_size=2) for rank in range(2)]
    if context != "spawn":
        assert [tasks_of(streamed(stream, workers, context)) for stream in ranks] == [
            [0, 1, 4, 5, 8, 9],
            [2, 3, 6, 7, 10, 11],
        ]
    assert [
        task.item() for tasks_B, _ in islice(streamed(TaskStream(Numbers(), 1), workers), 7) for task in tasks_B
    ] == [*range(7)]


def test_real_episodes_come_out_whole(glyphs_home: Path) -> None:
    episodes = TaskGenerator(load_dataset("glyphs", "test", root=glyphs_home), 3, 1, 2, seed=4)
    sampler = TaskSampler(episodes, 2, num_tasks=6)
    loaders = [
        mapped(episodes, sampler, 2, "fork"),
        streamed(TaskStream(episodes, 2, num_tasks=6), 2, "spawn"),
        streamed(TaskStream(episodes, 2, num_tasks=6)),
    ]
    for loader in loaders:
        batches = list(loader)
        assert len(batches) == len(loader) == 3
        for number, batch in enumerate(batches):
            for found, expected in zip(batch, episodes.batch([2 * number, 2 * number + 1]), strict=True):
                assert torch.equal(found, expected)


@pytest.mark.parametrize(("persistent", "context"), [(True, "fork"), (True, "spawn"), (False, "fork")])
def test_the_epoch_reaches_the_workers(persistent: bool, context: str) -> None:
    stream = pickle.loads(pickle.dumps(TaskStream(Numbers(), 2, num_tasks=4)))
    loader = streamed(stream, 2, context, persistent_workers=persistent)
    for epoch in range(3):
        stream.set_epoch(epoch)
        assert tasks_of(loader) == [*range(4 * epoch, 4 * epoch + 4)]


@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_a_loop_goes_on_in_the_middle(rank: int, world_size: int) -> None:
    options: dict[str, Any] = {"shuffle": True, "rank": rank, "world_size": world_size}
    for make in (TaskSampler, TaskStream):
        first = make(Numbers(24), 2, **options)
        first.set_epoch(3)
        whole = [batch if isinstance(batch, list) else batch[0].tolist() for batch in first]
        steps = len(whole)
        for stop in (0, 1, 2, steps - 1, steps):
            loop = iter(first)
            for _ in range(stop):
                next(loop)
            state = first.state_dict()
            assert state == {"seed": 0, "epoch": 3, "tasks": stop * 2 * world_size}
            second = make(Numbers(24), 2, **options)
            second.load_state_dict(pickle.loads(pickle.dumps(state)))
            assert second.state_dict() == state
            second.set_epoch(3)
            for expected in (whole[stop:], whole):
                assert [batch if isinstance(batch, list) else batch[0].tolist() for batch in second] == expected


def test_a_state_fits_other_batch_sizes_and_ranks() -> None:
    loop = iter(sampler := TaskSampler(Numbers(24), 4, shuffle=True))
    done = next(loop) + next(loop) + next(loop)
    rest = [TaskSampler(Numbers(24), 3, shuffle=True, rank=rank, world_size=2, drop_last=True) for rank in range(2)]
    for other in rest:
        other.load_state_dict(sampler.state_dict())
    left = [task for batches in zip(*rest, strict=True) for batch in batches for task in batch]
    assert done + left == next(iter(TaskSampler(Numbers(24), 24, shuffle=True)))


def test_another_epoch_begins_at_its_start_whatever_was_loaded() -> None:
    sampler = TaskSampler(Numbers(), 2, num_tasks=6)
    sampler.load_state_dict({"seed": 0, "epoch": 1, "tasks": 4})
    assert sampler.epoch == 1
    sampler.set_epoch(2)
    assert list(sampler) == [[12, 13], [14, 15], [16, 17]]
    sampler.load_state_dict({"seed": 0, "epoch": 1, "tasks": 6})
    assert list(sampler) == []
    endless = TaskSampler(Numbers(), 2)
    endless.load_state_dict({"seed": 0, "epoch": 0, "tasks": 10**12})
    assert next(iter(endless)) == [10**12, 10**12 + 1]
    assert endless.state_dict()["tasks"] == 10**12 + 2


def test_a_stream_that_was_told_goes_on_in_any_number_of_workers() -> None:
    for workers in (0, 1, 3):
        stream = TaskStream(Numbers(), 2, num_tasks=14)
        stream.load_state_dict({"seed": 0, "epoch": 1, "tasks": 6})
        loader = streamed(stream, workers)
        assert tasks_of(loader) == [*range(20, 28)]
        stream.set_epoch(2)
        assert tasks_of(loader) == [*range(28, 42)]


def stateful(kind: str, workers: int) -> Any:
    loaders = pytest.importorskip("torchdata.stateful_dataloader")
    tasks = Numbers(23)
    if kind == "stream":
        return loaders.StatefulDataLoader(TaskStream(tasks, 2, shuffle=True), batch_size=None, num_workers=workers)
    sampler = TaskSampler(tasks, 2, shuffle=True)
    return loaders.StatefulDataLoader(tasks, batch_sampler=sampler, collate_fn=collate_tasks, num_workers=workers)


@pytest.mark.parametrize("kind", ["sampler", "stream"])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_torchdata_s_loader_goes_on_in_the_middle(kind: str, workers: int) -> None:
    row = next(iter(TaskSampler(Numbers(23), 23, shuffle=True)))
    loader = stateful(kind, workers)
    states, done = [loader.state_dict()], []
    for batch in loader:
        done += tasks_of([batch])
        states.append(loader.state_dict())
    assert done == row
    for stop in (0, 3, 7, 12):
        other = stateful(kind, workers)
        other.load_state_dict(pickle.loads(pickle.dumps(states[stop])))
        assert tasks_of(other) == row[2 * stop :]
        assert tasks_of(other) == row, "the loop after it is a whole one"


def test_loops_nest_and_run_side_by_side() -> None:
    sampler = TaskSampler(Numbers(6), 2)
    stream = TaskStream(Numbers(6), 2)
    rows = [[0, 1], [2, 3], [4, 5]]
    assert [(a, b) for a in sampler for b in sampler] == [(a, b) for a in rows for b in rows]
    assert [(a.tolist(), b.tolist()) for a, _ in stream for b, _ in stream] == [(a, b) for a in rows for b in rows]
    long = TaskSampler(Numbers(4000), 1, shuffle=True)
    found: list[list[list[int]]] = []
    threads = [threading.Thread(target=lambda: found.append(list(long))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(long)] * 4


def test_they_pickle() -> None:
    for source in (TaskSampler(Numbers(7), 2, shuffle=True), TaskStream(Numbers(7), 2, shuffle=True)):
        source.set_epoch(4)
        assert str(list(pickle.loads(pickle.dumps(source)))) == str(list(source))


def test_two_real_processes_share_the_tasks(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=gloo_rank, args=(rank, 2, tmp_path / "meeting", results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    sampler = TaskSampler(Numbers(12), 2, shuffle=True)
    sampler.set_epoch(3)
    batches = list(sampler)
    assert [batch for _, batch, _, _ in found] == [batches[::2], batches[1::2]]
    assert [stream for _, _, stream, _ in found] == [[0, 1, 2, 6, 7, 8, 12, 13, 14], [3, 4, 5, 9, 10, 11, 15, 16, 17]]
    assert all(refused for *_, refused in found)


def test_batches_of_examples_are_those_of_the_tasks() -> None:
    dataset = MetaDataset(toy())
    tasks = TaskDataset(dataset, [NWays(dataset, 3), KShots(dataset, 2)], num_tasks=9, seed=5)
    ids = [task.tolist() for task in tasks]
    assert list(TasksetSampler(tasks, shuffle=False)) == ids
    sampler = TasksetSampler(tasks)
    order = [task for (task,) in TaskSampler(tasks, 1, shuffle=True)]
    assert list(sampler) == [ids[task] for task in order]
    sampler.set_epoch(1)
    assert sorted(sampler) == sorted(ids) != list(sampler)
    own = dataset.dataset.own_labels
    for (x, y), task in zip(DataLoader(dataset, batch_sampler=TasksetSampler(tasks, False)), ids, strict=True):
        assert x[:, 0].tolist() == task
        assert y.tolist() == [own[example] for example in task]
    sampler.load_state_dict({"seed": 5, "epoch": 0, "tasks": 7})
    assert list(sampler) == [ids[task] for task in order[7:]]


def test_batches_of_examples_of_endless_episodes() -> None:
    episodes = TaskGenerator(dataset := toy(), 2, 1, 3, seed=1)
    loaded = dataset.loaded
    for number, ids in enumerate(islice(TasksetSampler(episodes), 5)):
        assert ids == episodes.describe([number]).all_ids_BNK.ravel().tolist()
    assert dataset.loaded == loaded, "no example is loaded to say which"


def test_the_infinite_iterator_begins_again() -> None:
    loader = streamed(TaskStream(Numbers(5), 2))
    endless = InfiniteIterator(loader)
    assert endless.dataloader is loader
    assert tasks_of(islice(endless, 7)) == [*range(5), *range(5), 0, 1]
    assert list(InfiniteIterator([])) == []


def cases() -> Iterator[tuple[Any, str]]:
    endless, finite = Numbers(), Numbers(10)
    yield lambda: TaskSampler(finite, 0), "batch_size is 0; give at least 1"
    yield lambda: TaskSampler(finite, 2.5), "batch_size is 2.5; give a whole number"
    yield (
        lambda: TaskSampler(endless, 2, num_tasks=0),
        "num_tasks is 0; give a positive number, or -1 for an endless set",
    )
    yield (
        lambda: TaskSampler(finite, 2, num_tasks=4),
        "num_tasks is 4, but an epoch of this set is all its 10 tasks; leave it out",
    )
    yield (
        lambda: TaskSampler(finite, 2, rank=1),
        "found rank = 1 and world_size = None; give both, or neither",
    )
    yield lambda: TaskSampler(finite, 2, rank=2, world_size=2), "there is no rank 2 of 2; ranks are 0 to 1"
    yield lambda: TaskSampler(finite, 2, rank=0, world_size=0), "world_size is 0; give at least 1"
    yield (
        lambda: TaskSampler(finite, 4, rank=0, world_size=2),
        "10 tasks make 3 batches of 4, which 2 ranks cannot share evenly; take another number, or drop_last=True",
    )
    yield (
        lambda: TaskStream(endless, 4, num_tasks=7, rank=0, world_size=2, drop_last=True),
        "7 tasks do not fill a batch of 4 for each of 2 ranks; lower batch_size, or take more tasks",
    )
    yield lambda: TaskSampler(finite, 2).set_epoch(-1), "epoch is -1; give 0 or more"
    yield lambda: TaskStream(finite, 2).set_epoch("1"), "epoch is '1'; give a whole number"
    state = {"seed": 0, "epoch": 0, "tasks": 6}
    yield (
        lambda: TaskSampler(finite, 2).load_state_dict({"tasks": 6}),
        "a state has seed, epoch and tasks, found ['tasks']; give what state_dict returned",
    )
    yield (
        lambda: TaskSampler(finite, 2).load_state_dict(None),
        "a state is a dictionary, found None; give what state_dict returned",
    )
    yield (
        lambda: TaskSampler(finite, 2).load_state_dict({**state, "seed": 9}),
        "the state is one of tasks with seed 9, but these have seed 0; make them with the seed of the state",
    )
    yield (
        lambda: TaskStream(finite, 4).load_state_dict(state),
        "the state has done 6 tasks, which are no whole steps of 4 (batch_size · world_size); "
        "take a batch size that divides them",
    )
    for done in (12, -2):
        yield (
            lambda done=done: TaskSampler(finite, 2).load_state_dict({**state, "tasks": done}),
            f"the state has done {done} tasks, but an epoch has 10; give num_tasks as then",
        )


@pytest.mark.parametrize(("attempt", "message"), list(cases()))
def test_what_cannot_be_is_refused_in_one_sentence(attempt: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        attempt()
    assert str(caught.value) == message


def error_of(batches: Iterable[Any]) -> tuple[type[Exception], str]:
    """The error that a loop ends with, without its traceback: that would keep the loader's iterator as garbage."""
    try:
        list(batches)
    except Exception as error:
        error.with_traceback(None)
        return type(error), str(error)
    raise AssertionError("there is none")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_reaches_the_user_as_itself(workers: int) -> None:
    tasks = Failing(9)
    for loader in (streamed(TaskStream(tasks, 2), workers), mapped(tasks, TaskSampler(tasks, 2), workers)):
        loop = iter(loader)
        assert tasks_of(islice(loop, 2)) == [0, 1, 2, 3]
        kind, message = error_of(loop)
        assert kind is TaskError
        assert "task 5 cannot be drawn; take another" in message


def test_a_number_out_of_range_reaches_the_user_as_itself() -> None:
    tasks = Numbers(9)
    loader = DataLoader(tasks, batch_sampler=[[0, 1], [8, 9]], collate_fn=collate_tasks, num_workers=1)
    kind, message = error_of(loader)
    assert kind is IndexError
    assert "there is no task 9; the tasks of this set are 0 to 8" in message


def test_of_a_worker_that_dies_torch_names_the_process() -> None:
    kind, message = error_of(streamed(TaskStream(Dying(9), 2), 2, "fork"))
    assert kind is RuntimeError
    assert re.fullmatch(r"DataLoader worker \(pid(\(s\))? [\d, ]+\) exited unexpectedly.*", message, re.DOTALL)


def test_episodes_of_different_sizes_are_filled_up(glyphs_home: Path) -> None:
    tasks = VariableTasks(load_dataset("glyphs", "test", root=glyphs_home), seed=0)
    sampler = TaskSampler(tasks, batch_size=3, num_tasks=6)
    first, second = DataLoader(tasks, batch_sampler=sampler, collate_fn=collate_tasks)
    assert torch.equal(first.query_x, tasks.batch(range(3)).query_x)
    assert torch.equal(second.support_mask, tasks.batch(range(3, 6)).support_mask)
    with pytest.raises(UsageError) as caught:
        TasksetSampler(tasks)
    assert str(caught.value) == (
        "TasksetSampler takes a TaskDataset or a TaskGenerator, found VariableTasks; give one of them"
    )
