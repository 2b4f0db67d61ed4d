"""partition_task against a slow loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2l_core.data.partition import partition_task
from l2l_core.errors import TaskError, UsageError


@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=5, unique=True),
    st.integers(1, 4),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_the_first_of_each_class_are_its_support(labels: list[int], shots: int, queries: int, rng: object) -> None:
    of_all = labels * (shots + queries)
    rng.shuffle(of_all)
    data = torch.arange(len(of_all) * 2.0).reshape(-1, 2)
    expected: list[list[int]] = [[], []]
    for label in sorted(labels):
        places = [place for place, its in enumerate(of_all) if its == label]
        expected[0] += places[:shots]
        expected[1] += places[shots:]
    for (x, y), places in zip(partition_task(data, torch.tensor(of_all), shots), expected, strict=True):
        assert torch.equal(x, data[places])
        assert y.tolist() == [of_all[place] for place in places]


def test_gradients_reach_the_data() -> None:
    data = torch.ones(4, 1, requires_grad=True)
    (support, _), (query, _) = partition_task(data, torch.tensor([1, 0, 1, 0]))
    (support.sum() + 2 * query.sum()).backward()
    assert data.grad is not None
    assert data.grad.flatten().tolist() == [1, 1, 2, 2]


def test_what_cannot_be_partitioned() -> None:
    data = torch.zeros(5)
    with pytest.raises(TaskError, match="label 7 comes 2 times, but label 3 3; give the same number of each"):
        partition_task(data, torch.tensor([3, 7, 3, 7, 3]))
    with pytest.raises(TaskError, match="6 shots were asked for, but each class has 5 examples; lower the shots"):
        partition_task(data, torch.zeros(5), shots=6)
    with pytest.raises(UsageError, match="shots is 0; give at least 1"):
        partition_task(data, torch.zeros(5), shots=0)
    cases = [
        (data.numpy(), torch.zeros(5), "inputs are ndarray"),
        (data, np.zeros(5), "labels are ndarray"),
        (["text"] * 5, torch.zeros(5), "inputs are list"),
    ]
    for inputs, labels, found in cases:
        with pytest.raises(UsageError, match=f"^the {found}; give a tensor, as torch.as_tensor makes one$"):
            partition_task(inputs, labels)
    for labels in (torch.zeros(4), torch.zeros(5, 1)):
        with pytest.raises(
            UsageError, match=r"5 inputs have labels of shape .*; give one label for each, and at least"
        ):
            partition_task(data, labels)
