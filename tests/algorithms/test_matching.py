"""Matching networks against nested loops."""

import math

import numpy as np
import pytest
import torch

from l2l_core.algorithms.matching import MatchingNet
from l2l_core.errors import UnknownNameError, UsageError
from tests.algorithms.metric_tasks import WAYS, backbone, check_logits, check_meta_gradients, tasks


def attention(support: np.ndarray, labels: np.ndarray, query: np.ndarray, similarity: str, scale: float) -> np.ndarray:
    """The log of each class's share of the attention, query by query and example by example."""
    logits = np.zeros((len(query), WAYS))
    for row, q in enumerate(query):
        weights = []
        for s in support:
            cosine = (q @ s) / math.sqrt((q @ q) * (s @ s))
            weights.append(math.exp(scale * (cosine if similarity == "cosine" else -((q - s) @ (q - s)))))
        for label in range(WAYS):
            of_class = sum(w for w, y in zip(weights, labels, strict=True) if y == label)
            logits[row, label] = math.log(of_class / sum(weights))
    return logits


@pytest.mark.parametrize(("similarity", "scale"), [("euclidean", 1.0), ("cosine", 3.0)])
def test_logits_are_those_of_nested_loops(similarity: str, scale: float) -> None:
    learner = MatchingNet(backbone(), similarity, scale)
    check_logits(learner, lambda *task: attention(*task, similarity, scale))
    assert [name for name, _ in learner.named_parameters()] == ["backbone.0.weight", "backbone.0.bias"]
    # They are log-probabilities, so the loss is what the paper has: minus the log-probability of the right class.
    support_x, support_y, query_x, query_y = tasks()
    logits = learner.adapt(support_x, support_y)(query_x)
    loss, _ = learner.meta_loss(support_x, support_y, query_x, query_y)
    torch.testing.assert_close(loss, -logits.gather(2, query_y[..., None]).mean())


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_meta_gradients_are_those_of_finite_differences(similarity: str) -> None:
    learner = MatchingNet(backbone(), similarity, scale=5, learn_scale=True)
    assert dict(learner.named_parameters())["scale"].item() == 5
    check_meta_gradients(learner)


def test_settings_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(UnknownNameError) as error:
        MatchingNet(backbone(), "cosin")
    assert "cosine" in str(error.value)
    with pytest.raises(UsageError) as error:
        MatchingNet(backbone(), scale=0)
    assert str(error.value) == "scale is 0; give a finite number above 0"
