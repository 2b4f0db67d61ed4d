"""Plain batches: each example once an epoch, in an order that any batch can be had from alone."""

import hashlib
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from l2l_core.data.batches import Augmentation, Draws
from l2l_core.data.datasets import MetaDataset
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.own import from_iterable
from l2l_core.data.pretraining import ORDER, ExampleBatches
from l2l_core.errors import TaskError, UsageError
from tests.data.test_tasks import Toy, toy, words
from tests.data.test_variable import even, numbered, numbered_tensors

COUNTS = [5, 9, 3, 14]


def test_slow_python_makes_the_same_batches() -> None:
    batches = ExampleBatches(numbered(COUNTS), 7, seed=4)
    classes = [row for row, count in enumerate(COUNTS) for _ in range(count)]
    assert batches.per_epoch == 5
    for epoch in (0, 3, 1, 10**6):
        order = [place for _, place in sorted((word, place) for place, word in enumerate(words(4, ORDER, epoch, 31)))]
        for place, (inputs, labels) in enumerate(batches.epoch(epoch)):
            expected = order[7 * place : 7 * place + 7]
            assert inputs[:, 0].tolist() == expected
            assert labels.tolist() == [classes[i] for i in expected]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_each_example_comes_once_an_epoch(drop_last: bool, shuffle: bool) -> None:
    batches = ExampleBatches(numbered_tensors(COUNTS), 4, seed=0, shuffle=shuffle, drop_last=drop_last, num_epochs=3)
    assert len(batches) == 3 * (7 if drop_last else 8)
    epochs = [torch.cat([inputs[:, 0] for inputs, _ in batches.epoch(epoch)]).tolist() for epoch in range(3)]
    for ids in epochs:
        assert len(set(ids)) == len(ids) == (28 if drop_last else 31)
        assert shuffle or ids == list(range(len(ids)))
    assert (epochs[0] != epochs[1]) == shuffle
    whole = [int(i) for inputs, _ in batches for i in inputs[:, 0]]
    assert whole == sum(epochs, [])


def test_any_batch_alone_and_after_a_break() -> None:
    batches = ExampleBatches(numbered_tensors(COUNTS), 4, seed=0, drop_last=True)
    numbers = [9, 2, 100, 2]
    inputs, labels = batches.batch(numbers)
    assert inputs.shape == (4, 4, 1)
    for row, number in enumerate(numbers):
        alone = pickle.loads(pickle.dumps(batches))[number]
        assert torch.equal(inputs[row], alone[0])
        assert torch.equal(labels[row], alone[1])
    loader = DataLoader(batches, batch_size=None, sampler=range(5, 9))
    for number, (x, y) in zip(range(5, 9), loader, strict=True):
        assert torch.equal(x, batches[number][0])
        assert torch.equal(y, batches[number][1])


def test_the_orders_of_epochs_are_even() -> None:
    batches = ExampleBatches(numbered([4] * 5), 1, seed=0)
    first = [batches.describe([epoch * 20]).all_ids_BNK.item() for epoch in range(2000)]
    assert even(np.bincount(first, minlength=20), 100)


def test_labels_are_the_data_sets_own_where_these_count_from_zero() -> None:
    dataset = Toy([2, 0, 1, 1, 0, 2, 2, 1])
    batches = ExampleBatches(dataset, 8, seed=0)
    read = dataset.loaded
    batches.describe(range(50))
    assert dataset.loaded == read, "drawing loaded an example"
    inputs, labels = batches[3]
    assert labels.tolist() == [dataset.own_labels[int(i)] for i in inputs[:, 0]]
    assert labels.dtype == torch.int64
    _, tens = ExampleBatches(toy(3, 2), 6, shuffle=False)[0]
    assert tens.tolist() == [2, 1, 0, 2, 1, 0]
    texts = from_iterable([(f"topic {i % 3}", f"text {i}") for i in range(9)])
    inputs, labels = ExampleBatches(texts, 4, seed=0)[0]
    assert [texts[i][0] for i in range(9) if texts[i][0] in inputs] == sorted(inputs, key=lambda t: (int(t[-1]) % 3, t))
    assert [int(text[-1]) % 3 for text in inputs] == labels.tolist()


class Shift(Augmentation):
    """Adds a random number to each example."""

    def apply(self, inputs: Any, draws: Draws) -> Any:
        return inputs + (draws.of_examples(1) % 1000).astype(np.int64)


def test_augmentations_depend_on_the_batch_alone() -> None:
    plain = ExampleBatches(numbered(COUNTS), 4, seed=0)
    batches = ExampleBatches(numbered(COUNTS), 4, seed=0, augmentations=[Shift()])
    shifts = [batches[number][0] - plain[number][0] for number in (0, 5, 7)]
    assert len({int(shift) for part in shifts for shift in part[:, 0]}) > 8
    together, _ = batches.batch([5, 0])
    assert together.tolist() == [batches[5][0].tolist(), batches[0][0].tolist()]


def test_golden_batches() -> None:
    ids = [ExampleBatches(numbered(COUNTS), 31, seed=0).describe([i]).all_ids_BNK for i in (0, 1, 10**9)]
    assert ids[0][0, :8, 0].tolist() == [8, 27, 30, 23, 2, 12, 7, 24]
    assert (
        hashlib.sha256(np.concatenate(ids).astype("<i8").tobytes()).hexdigest()
        == "ab8df22ecb0f1cce8ddcb36e9accd0dc1ec2a409b42b59866274365cc45bc220"
    )


def test_refusals() -> None:
    data = numbered(COUNTS)
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"batch_size": 0}, UsageError, "batch_size is 0; give at least 1"),
        ({"num_epochs": 0}, UsageError, "num_epochs is 0; give at least 1"),
        (
            {"batch_size": 32, "drop_last": True},
            UsageError,
            "31 examples make no batch of 32; lower batch_size or give more",
        ),
        ({"ids": []}, UsageError, "0 examples make no batch of 64; lower batch_size or give more"),
        ({"ids": [0, 31]}, IndexError, "the data set has no example 31; its ids are in 0 to 30"),
        ({"ids": [-1]}, IndexError, "the data set has no example -1; its ids are in 0 to 30"),
        ({"ids": [0.5]}, UsageError, "ids are float64 [1]; give a list of whole numbers"),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind) as caught:
            ExampleBatches(data, **arguments)  # type: ignore[arg-type]
        assert str(caught.value) == message
    batches = ExampleBatches(data, 4, num_epochs=2)
    with pytest.raises(TaskError) as caught:
        batches.batch([6, 7, 8])
    assert str(caught.value) == (
        "batch 7, the last of its epoch, has 3 of 4 examples, so it cannot be stacked with others; set drop_last, or "
        "take batches one by one"
    )
    with pytest.raises(IndexError, match="there is no task 16; the tasks of this set are 0 to 15"):
        next(batches.epoch(2))
    with pytest.raises(TypeError, match="an endless ExampleBatches has no length"):
        len(ExampleBatches(data))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_base_session_is_trained_on_with_its_own_labels(shuffle: bool) -> None:
    data = torch.arange(120.0)
    labels = torch.tensor([3, 0, 2, 1, 5, 4]).repeat_interleave(20)
    dataset = MetaDataset(TensorDataset(data, labels))
    base = IncrementalSessions(dataset, 4, 1, 1, 5, seed=0, shuffle=shuffle).describe(0)
    batches = ExampleBatches(dataset, 7, seed=0, ids=base.support_x, labels=base.support_y)
    label_of = dict(zip(base.support_x.tolist(), base.support_y.tolist(), strict=True))
    for x, y in batches.epoch(0):
        assert [label_of[int(value)] for value in x] == y.tolist()
    for wrong, found in (([1, 2], "int64 [2]"), (base.support_y * 0.5, f"float64 [{len(base.support_y)}]")):
        with pytest.raises(UsageError) as caught:
            ExampleBatches(dataset, 7, ids=base.support_x, labels=wrong)
        assert str(caught.value) == (
            f"labels are {found}; give a whole number for each of {len(base.support_y)} examples"
        )
