"""Prototypes, distances and the prototypical classifier against slow loops and NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.nn import PrototypicalClassifier, prototypes, squared_distances


def random_labels(generator: np.random.Generator, tasks: int, examples: int, ways: int) -> np.ndarray:
    """Labels [B, M] in which every class occurs, in unequal numbers."""
    extra = generator.integers(ways, size=(tasks, examples - ways))
    labels = np.concatenate([np.tile(np.arange(ways), (tasks, 1)), extra], axis=1)
    return generator.permuted(labels, axis=1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_prototypes_and_distances_are_those_of_nested_loops(
    tasks: int, ways: int, extra: int, width: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    labels = random_labels(generator, tasks, ways + extra, ways)
    support = generator.normal(size=(tasks, ways + extra, width))
    query = generator.normal(size=(tasks, 3, width))

    found = prototypes(torch.from_numpy(support), torch.from_numpy(labels), ways).numpy()
    distances = squared_distances(torch.from_numpy(query), torch.from_numpy(found)).numpy()
    assert found.shape == (tasks, ways, width)
    assert distances.shape == (tasks, 3, ways)
    for task in range(tasks):
        for label in range(ways):
            members = [support[task, m] for m in range(ways + extra) if labels[task, m] == label]
            mean = [sum(member[d] for member in members) / len(members) for d in range(width)]
            np.testing.assert_allclose(found[task, label], mean, rtol=1e-12, atol=1e-12)
            for q in range(3):
                slow = sum((query[task, q, d] - mean[d]) ** 2 for d in range(width))
                np.testing.assert_allclose(distances[task, q, label], slow, rtol=1e-10, atol=1e-12)


def test_distances_do_not_cancel_far_from_the_origin() -> None:
    query, prototype = torch.tensor([[[1e4 + 0.25, 0.0]]]), torch.tensor([[[1e4, 0.0]]])
    assert squared_distances(query, prototype).item() == 0.0625


def test_prototypes_are_differentiable() -> None:
    support = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 0]])
    assert torch.autograd.gradcheck(lambda x: squared_distances(x, prototypes(x, labels, 2)), (support,))


def test_the_classifier_gives_minus_the_squared_distance_to_means_sorted_by_label() -> None:
    support = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 2.0], [10.0, 10.0]])
    labels = torch.tensor([7, 3, 7, 50])
    classifier = PrototypicalClassifier(support, labels)
    assert classifier.prototypes.tolist() == [[4.0, 0.0], [1.0, 1.0], [10.0, 10.0]]
    assert classifier(torch.tensor([[4.0, 1.0]])).tolist() == [[-1.0, -9.0, -117.0]]


@pytest.mark.parametrize(("distance", "normalize"), [("euclidean", True), ("cosine", False), ("cosine", True)])
def test_normalised_classifiers_against_numpy(distance: str, normalize: bool) -> None:
    generator = np.random.default_rng(0)
    support, query = generator.normal(size=(9, 4)), generator.normal(size=(6, 4))
    labels = random_labels(generator, 1, 9, 3)[0]
    classifier = PrototypicalClassifier(distance=distance, normalize=normalize)
    classifier.fit_(torch.from_numpy(support), torch.from_numpy(labels))
    logits = classifier(torch.from_numpy(query)).numpy()

    means = np.stack([support[labels == label].mean(axis=0) for label in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    unit = query / np.linalg.norm(query, axis=1, keepdims=True)
    cosine = unit @ means.T
    expected = cosine if distance == "cosine" else -(2 - 2 * cosine)
    np.testing.assert_allclose(logits, expected, rtol=1e-10, atol=1e-12)


def test_a_distance_of_ones_own_takes_prototypes_then_queries() -> None:
    def manhattan(prototypes_ND: torch.Tensor, queries_QD: torch.Tensor) -> torch.Tensor:
        assert prototypes_ND.shape == (2, 3)
        return (queries_QD[:, None] - prototypes_ND[None]).abs().sum(dim=-1)

    classifier = PrototypicalClassifier(torch.eye(3)[:2], torch.tensor([0, 1]), distance=manhattan)
    assert classifier(torch.eye(3)[:1]).tolist() == [[0.0, -2.0]]


def test_fitting_again_forgets_the_first_support() -> None:
    classifier = PrototypicalClassifier(torch.eye(3), torch.arange(3))
    assert classifier.fit_(torch.zeros(2, 3), torch.tensor([0, 1])) is classifier.prototypes
    assert classifier(torch.zeros(4, 3)).shape == (4, 2)


def test_heads_refuse_in_words() -> None:
    support, labels = torch.zeros(2, 4, 3), torch.tensor([[0, 1, 2, 0], [0, 1, 1, 0]])
    fitted = PrototypicalClassifier(torch.eye(3), torch.arange(3))
    refused = {
        "class 2 of 0..2 has no support example in task 1 of the batch; give at least one of each class, or renumber "
        "the labels": lambda: prototypes(support, labels, 3),
        "the support labels run from 0 to 2, but 2 ways are numbered 0..1; renumber them within each task": lambda: (
            prototypes(support, labels, 2)
        ),
        "the support labels run from -1 to 1, but 3 ways are numbered 0..2; renumber them within each task": lambda: (
            prototypes(support, labels - 1, 3)
        ),
        "prototypes takes embeddings [B, M, D] and labels [B, M], but was given [2, 4, 3] and [2, 3]; give one label "
        "for each embedding": lambda: prototypes(support, labels[:, :3], 3),
        "squared_distances takes queries [B, Q, D] and prototypes [B, N, D], but was given [2, 4, 3] and [1, 4, 3]; B "
        "and D must agree": lambda: squared_distances(support, support[:1]),
        "squared_distances takes queries [B, Q, D] and prototypes [B, N, D], but was given [2, 4, 1] and [2, 4, 3]; B "
        "and D must agree": lambda: squared_distances(support[..., :1], support),
        "unknown distance 'euclidian'; did you mean 'euclidean'?": lambda: PrototypicalClassifier(distance="euclidian"),
        "PrototypicalClassifier was given only one of support and labels; give both or neither": lambda: (
            PrototypicalClassifier(torch.eye(3))
        ),
        "fit_ takes embeddings [M, D] and labels [M], but was given [3, 3] and [2]; give one label for each embedding, "
        "and at least one of them": lambda: fitted.fit_(torch.eye(3), torch.arange(2)),
        "fit_ takes embeddings [M, D] and labels [M], but was given [0, 3] and [0]; give one label for each embedding, "
        "and at least one of them": lambda: fitted.fit_(torch.zeros(0, 3), torch.arange(0)),
        "PrototypicalClassifier was asked to classify before it saw a support set; call fit_ first": lambda: (
            PrototypicalClassifier()(torch.eye(3))
        ),
        "PrototypicalClassifier was fitted on embeddings of 3 numbers, but was given queries [2, 1]; give queries "
        "[Q, 3]": lambda: fitted(torch.zeros(2, 1)),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
    with pytest.raises(UnknownNameError) as unknown:
        PrototypicalClassifier(distance="euclidian")
    assert unknown.value.nearest == ["euclidean"]
