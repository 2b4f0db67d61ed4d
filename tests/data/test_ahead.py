"""Tasks described ahead are those described when asked for."""

import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2l_core.data.ahead import ReadAhead
from l2l_core.data.batches import BatchTransform, TaskBatch, describe
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray
from l2l_core.data.transforms import KShots, LoadData, NWays, RemapLabels, on_batches
from l2l_core.errors import TaskError

INDEX = ClassIndex.of_counts(np.arange(8, 20), [f"class {row}" for row in range(12)])
TRANSFORMS: list[BatchTransform] = [NWays(None, 3), KShots(None, 4), RemapLabels(None), LoadData(None)]


class Counted:
    """A transform that changes nothing, and remembers how many tasks it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    @on_batches
    def __call__(self, batch: TaskBatch) -> TaskBatch:
        self.given.append(len(batch))
        return batch


def same(one: TaskBatch, other: TaskBatch) -> None:
    for field in fields(TaskBatch):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(mine, its) if isinstance(mine, np.ndarray) else mine == its or mine is its, field.name


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 900), st.integers(1, 400)).map(lambda run: range(run[0], run[0] + run[1])),
            st.integers(1, 40).map(lambda size: range(-1, size)),  # −1: as many as that, after the last ones
            st.lists(st.integers(0, 2000), min_size=1, max_size=5),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_is_asked_for_in_whatever_order(asked: list[range | list[int]]) -> None:
    ahead, stop = ReadAhead(), 0
    for numbers in asked:
        wanted = np.array([stop + place for place in range(len(numbers) - 1)] if numbers[0] == -1 else numbers)
        stop = int(wanted[-1]) + 1
        same(ahead(INDEX, 5, wanted, TRANSFORMS), describe(INDEX, 5, wanted, TRANSFORMS))


def test_small_batches_in_a_row_are_described_together() -> None:
    counted, ahead = Counted(), ReadAhead()
    for start in range(0, 64, 4):
        ahead(INDEX, 5, np.arange(start, start + 4), [*TRANSFORMS, counted])
    assert counted.given == [4, 256]
    # No task is described that shuffled numbers do not ask for.
    for number in (7, 1, 3, 9):
        ahead(INDEX, 6, np.array([number]), [*TRANSFORMS, counted])
    assert counted.given == [4, 256, 1, 1, 1, 1]


def test_what_is_kept_is_bounded() -> None:
    counted, ahead = Counted(), ReadAhead()
    large = ClassIndex.of_counts(np.full(4, 2500), list("abcd"))
    transforms: list[BatchTransform] = [NWays(None, 3), KShots(None, 2000), counted]
    for number in range(12):
        ahead(large, 5, np.array([number]), transforms)
    assert counted.given == [1, 5, 5, 5]  # 5 tasks have 30,000 ids, 6 would have more than 32,768


def test_other_transforms_a_seed_or_a_data_set_are_noticed() -> None:
    ahead, transforms = ReadAhead(), list(TRANSFORMS)
    other = ClassIndex.of_counts(np.full(12, 9), [str(label) for label in INDEX.labels])
    numbers = [np.arange(start, start + 2) for start in range(0, 40, 2)]
    for place, asked in enumerate(numbers[:4]):
        same(ahead(INDEX, 5, asked, transforms), describe(INDEX, 5, asked, TRANSFORMS))
        assert place < 1 or ahead._kept is not None
    transforms[1] = KShots(None, 2)
    same(ahead(INDEX, 5, numbers[4], transforms), describe(INDEX, 5, numbers[4], transforms))
    same(ahead(INDEX, 6, numbers[5], transforms), describe(INDEX, 6, numbers[5], transforms))
    same(ahead(other, 6, numbers[6], transforms), describe(other, 6, numbers[6], transforms))


def test_nobody_writes_into_what_is_kept() -> None:
    ahead = ReadAhead()
    for _ in range(2):
        for start in range(0, 12, 2):
            batch = ahead(INDEX, 5, np.arange(start, start + 2), TRANSFORMS)
            same(batch, describe(INDEX, 5, np.arange(start, start + 2), TRANSFORMS))
            for array in (batch.tasks_B, batch.classes_BN, batch.ids_BNK, batch.labels_BN):
                assert array is not None
                array[:] = -7


def test_a_task_that_cannot_be_made_is_an_error_only_for_who_asks_for_it() -> None:
    @on_batches
    def none_above_nine(batch: TaskBatch) -> TaskBatch:
        if batch.tasks_B.max() > 9:
            raise TaskError("no task above 9")
        return batch

    ahead = ReadAhead()

    def asked(number: int) -> IntArray:
        ids = ahead(INDEX, 5, np.array([number]), [*TRANSFORMS, none_above_nine]).ids_BNK
        assert ids is not None
        return ids

    assert all(len(asked(number)) == 1 for number in range(10))
    with pytest.raises(TaskError, match="no task above 9"):
        asked(10)


def test_a_pickled_one_keeps_nothing() -> None:
    ahead = ReadAhead()
    for number in range(3):
        ahead(INDEX, 5, np.array([number]), TRANSFORMS)
    twin = pickle.loads(pickle.dumps(ahead))
    assert twin._kept is None
    same(twin(INDEX, 5, np.array([3]), TRANSFORMS), describe(INDEX, 5, np.array([3]), TRANSFORMS))
