"""Cosine, matching, nearest-neighbour and CL2N heads against nested loops."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.nn.metric_heads import (
    cl2n,
    cl2n_logits,
    cosine_logits,
    cosine_similarities,
    matching_log_probabilities,
    nearest_neighbour_logits,
)
from tests.nn.test_closed_form import SHAPES, tasks


def cl2n_about_a_mean(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
    return cl2n_logits(support, labels, query, ways, torch.linspace(-1, 1, support.shape[2], dtype=torch.float64))


HEADS: list[Callable[..., Tensor]] = [
    cosine_logits,
    matching_log_probabilities,
    nearest_neighbour_logits,
    cl2n_about_a_mean,
]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def minus_squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    return -sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


SIMILAR = {"cosine": cosine, "euclidean": minus_squared_distance}


@pytest.mark.parametrize(("examples", "ways", "width"), SHAPES)
def test_heads_are_those_of_nested_loops(examples: int, ways: int, width: int) -> None:
    support, labels, query = tasks(0, examples, ways, width)
    mean = np.linspace(-1, 1, width)
    cosines = cosine_logits(support, labels, query, ways, scale=4.0)
    centred = cl2n_about_a_mean(support, labels, query, ways)
    matched = {
        name: matching_log_probabilities(support, labels, query, ways, similarity=name, scale=0.5) for name in SIMILAR
    }
    nearest = {name: nearest_neighbour_logits(support, labels, query, ways, similarity=name) for name in SIMILAR}
    assert cosines.shape == centred.shape == matched["cosine"].shape == nearest["cosine"].shape == (2, 3, ways)

    def unit(x: np.ndarray) -> np.ndarray:
        return (x - mean) / np.linalg.norm(x - mean)

    for task in range(2):
        members = [[x.numpy() for x in support[task][labels[task] == label]] for label in range(ways)]
        for q, x in enumerate(query[task].numpy()):
            for label in range(ways):
                prototype = sum(members[label]) / len(members[label])
                centroid = sum(unit(member) for member in members[label]) / len(members[label])
                assert cosines[task, q, label] == pytest.approx(4 * cosine(x, prototype), rel=1e-10)
                assert centred[task, q, label] == pytest.approx(minus_squared_distance(unit(x), centroid), rel=1e-10)
                for name, similar in SIMILAR.items():
                    attention = [[math.exp(0.5 * similar(x, member)) for member in group] for group in members]
                    share = sum(attention[label]) / sum(map(sum, attention))
                    assert matched[name][task, q, label] == pytest.approx(math.log(share), rel=1e-9, abs=1e-12)
                    closest = max(similar(x, member) for member in members[label])
                    assert nearest[name][task, q, label] == pytest.approx(closest, rel=1e-10)


@pytest.mark.parametrize("head", HEADS)
def test_gradients_of_metric_heads_are_those_of_finite_differences(head: Callable[..., Tensor]) -> None:
    support, labels, query = tasks(1, 5, 2, 3)
    inputs: tuple[Tensor, ...] = (support.requires_grad_(), query[:, :2].clone().requires_grad_())
    if head in (cosine_logits, matching_log_probabilities):
        inputs += (torch.tensor(1.5, dtype=torch.float64, requires_grad=True),)

    def logits(support: Tensor, query: Tensor, *scale: Tensor) -> Tensor:
        settings: dict[str, Any] = {"scale": scale[0]} if scale else {}
        return head(support, labels, query, 2, **settings)

    assert gradcheck(logits, inputs, atol=1e-8, rtol=1e-6)
    assert gradgradcheck(logits, inputs, atol=1e-7, rtol=1e-6)


def test_matching_is_a_distribution_also_far_away() -> None:
    support, labels, query = tasks(2, 6, 3, 4)
    near = matching_log_probabilities(support, labels, query, 3)
    torch.testing.assert_close(near.exp().sum(dim=2), torch.ones(2, 3, dtype=torch.float64))
    far = matching_log_probabilities(torch.tensor([[[0.0], [100.0]]]), torch.tensor([[0, 1]]), torch.zeros(1, 1, 1), 2)
    assert far.tolist() == [[[0.0, -10000.0]]]


def test_a_class_with_more_examples_weighs_more_in_matching_only() -> None:
    support, labels, query = torch.zeros(1, 4, 2), torch.tensor([[0, 1, 1, 1]]), torch.ones(1, 1, 2)
    shares = matching_log_probabilities(support, labels, query, 2).exp()
    torch.testing.assert_close(shares, torch.tensor([[[0.25, 0.75]]]))
    assert nearest_neighbour_logits(support, labels, query, 2).tolist() == [[[-2.0, -2.0]]]


def test_embeddings_of_zeros_have_cosine_0() -> None:
    assert cosine_similarities(torch.zeros(1, 1, 3), torch.ones(1, 2, 3)).tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize("head", HEADS[:3])
def test_half_precision_is_compared_in_float32_also_under_autocast(head: Callable[..., Tensor]) -> None:
    support, labels, query = (x.to(torch.bfloat16) if x.is_floating_point() else x for x in tasks(3, 8, 3, 6))
    expected = head(support.float(), labels, query.float(), 3)
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(support, labels, query, 3), expected)


@pytest.mark.parametrize("head", HEADS)
def test_metric_heads_refuse_in_words(head: Callable[..., Tensor]) -> None:
    support, labels, query = tasks(4, 4, 2, 3)
    broken = query.clone()
    broken[1, 0, 0] = torch.inf
    refused = {
        "the support labels run from 0 to 1, but 1 ways are numbered 0..0; renumber them within each task": lambda: (
            head(support, labels, query, 1)
        ),
        "class 2 of 0..2 has no support example in task 0 of the batch; give at least one of each class, or renumber "
        "the labels": lambda: head(support, labels, query, 3),
        "a head is fitted on embeddings [B, M, D] and labels [B, M], but was given [2, 4, 3] and [2, 3]; give one "
        "label for each embedding, and at least one of them": lambda: head(support, labels[:, :3], query, 2),
        "a head fitted on 2 tasks of embeddings of 3 numbers was given queries [2, 3, 2]; give queries [2, Q, 3]": (
            lambda: head(support, labels, query[..., :2], 2)
        ),
        "the query embeddings of task 1 of the batch are not all finite; look for a diverged backbone, or lower its "
        "learning rate": lambda: head(support, labels, broken, 2),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


def test_names_and_shapes_of_their_own_are_refused_in_words() -> None:
    support, labels, query = tasks(4, 4, 2, 3)
    with pytest.raises(UnknownNameError) as unknown:
        matching_log_probabilities(support, labels, query, 2, similarity="cosin")
    assert str(unknown.value) == "unknown similarity 'cosin'; did you mean 'cosine'?"
    with pytest.raises(UsageError) as error:
        cl2n(support, torch.zeros(4))
    assert str(error.value) == (
        "cl2n takes embeddings [..., D] and a mean [D], but was given [2, 4, 3] and [4]; give the mean over all base "
        "examples, one number a feature"
    )
    with pytest.raises(UsageError) as error:
        cosine_similarities(query, support[0])
    assert str(error.value) == (
        "cosine_similarities takes embeddings [B, M, D], but was given [4, 3]; add the missing axes, for one task with "
        "x[None]"
    )
