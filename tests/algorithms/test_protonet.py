"""The prototypical network against episodes worked out one by one."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms import ProtoNet
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.nn import Conv4
from tests.algorithms import metric_tasks

WAYS, SHOTS, QUERIES = 4, 2, 3


def episodes(tasks: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    support_y = torch.stack([torch.arange(WAYS * SHOTS) % WAYS] * tasks)
    query_y = torch.stack([torch.arange(WAYS * QUERIES) // QUERIES] * tasks)
    support_x = torch.rand(tasks, WAYS * SHOTS, 1, 16, 16, dtype=torch.float64, generator=generator)
    query_x = torch.rand(tasks, WAYS * QUERIES, 1, 16, 16, dtype=torch.float64, generator=generator)
    return support_x, support_y, query_x, query_y


def slow_logits(embed: nn.Module, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """One episode, class by class and query by query."""
    support, query = embed(support_x).flatten(1), embed(query_x).flatten(1)
    means = [support[support_y == label].mean(dim=0) for label in range(WAYS)]
    return torch.stack([torch.stack([-(((q - mean) ** 2).sum()) for mean in means]) for q in query])


def test_loss_accuracy_and_gradient_are_the_slow_ones() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AvgPool2d(7)).double()  # maps are flattened
    support_x, support_y, query_x, query_y = episodes(3)
    loss, accuracy = ProtoNet(backbone).meta_loss(support_x, support_y, query_x, query_y)
    loss.backward()
    found = [parameter.grad.clone() for parameter in backbone.parameters()]
    backbone.zero_grad()

    total, fractions = torch.zeros(()), []
    for task in range(3):
        logits = slow_logits(backbone, support_x[task], support_y[task], query_x[task])
        probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
        right = probabilities[torch.arange(len(logits)), query_y[task]]
        total = total - right.log().mean() / 3
        fractions.append((logits.argmax(dim=1) == query_y[task]).double().mean())
    torch.testing.assert_close(loss, total)
    assert accuracy.shape == (3,)
    assert not accuracy.requires_grad
    torch.testing.assert_close(accuracy, torch.stack(fractions))
    total.backward()
    for parameter, gradient in zip(backbone.parameters(), found, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


CLOSENESS = {
    "euclidean": lambda q, c: -((q - c) ** 2).sum(),
    "euclidean per feature": lambda q, c: -((q - c) ** 2).sum() / len(q),
    "cosine": lambda q, c: (q @ c) / math.sqrt((q @ q) * (c @ c)),
}


@pytest.mark.parametrize("distance", CLOSENESS)
def test_every_distance_is_that_of_nested_loops_scaled(distance: str) -> None:
    def expected(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        means = [support[labels == label].mean(axis=0) for label in range(metric_tasks.WAYS)]
        return np.array([[2.5 * CLOSENESS[distance](q, mean) for mean in means] for q in query])

    learner = ProtoNet(metric_tasks.backbone(), distance, scale=2.5)
    metric_tasks.check_logits(learner, expected)
    assert "scale" not in learner.state_dict()  # weights of one with another fixed scale fit


@pytest.mark.parametrize("distance", CLOSENESS)
def test_meta_gradients_are_those_of_finite_differences_also_of_a_learned_scale(distance: str) -> None:
    learner = ProtoNet(metric_tasks.backbone(), distance, scale=2.5, learn_scale=True)
    assert learner.scale.item() == 2.5
    metric_tasks.check_meta_gradients(learner)


def test_settings_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(UnknownNameError) as error:
        ProtoNet(nn.Flatten(), "euclid")
    assert str(error.value).startswith("unknown distance 'euclid'; did you mean 'euclidean'")
    with pytest.raises(UsageError) as error:
        ProtoNet(nn.Flatten(), scale=math.inf)
    assert str(error.value) == "scale is inf; give a finite number above 0"


def test_training_embeds_support_and_query_in_one_batch() -> None:
    torch.manual_seed(0)
    learner = ProtoNet(Conv4(hidden=4).double())
    support_x, support_y, query_x, query_y = episodes(2)
    seen: list[torch.Size] = []
    learner.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    learner.meta_loss(support_x, support_y, query_x, query_y)
    assert seen == [(2 * WAYS * (SHOTS + QUERIES), 1, 16, 16)]
    seen.clear()
    learner.adapt(support_x, support_y)(query_x)
    assert seen == [(2 * WAYS * SHOTS, 1, 16, 16), (2 * WAYS * QUERIES, 1, 16, 16)]


def test_eval_mode_uses_running_statistics_and_classifies_each_query_on_its_own() -> None:
    torch.manual_seed(0)
    learner = ProtoNet(Conv4(hidden=4).double())
    support_x, support_y, query_x, query_y = episodes(2)
    for _ in range(3):
        learner.meta_loss(support_x, support_y, query_x, query_y)
    assert int(learner.backbone.blocks[0][1].num_batches_tracked) == 3
    learner.eval()
    logits = learner.adapt(support_x, support_y)(query_x)
    for task in range(2):
        expected = slow_logits(learner.backbone, support_x[task], support_y[task], query_x[task])
        torch.testing.assert_close(logits[task], expected.detach())
    alone = learner.adapt(support_x, support_y)(query_x[:, 4:5])
    torch.testing.assert_close(alone, logits[:, 4:5])


def test_an_identity_backbone_gives_the_softmax_over_distances() -> None:
    learner = ProtoNet(nn.Flatten())
    support_x = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1, 1)
    query_x = torch.tensor([0.5]).reshape(1, 1, 1, 1, 1)
    loss, accuracy = learner.meta_loss(support_x, torch.tensor([[0, 1]]), query_x, torch.tensor([[0]]))
    expected = -math.log(math.exp(-0.25) / (math.exp(-0.25) + math.exp(-2.25)))
    assert math.isclose(loss.item(), expected, rel_tol=1e-6)
    assert accuracy.tolist() == [1.0]
    assert functional.softmax(learner.adapt(support_x, torch.tensor([[0, 1]]))(query_x), dim=-1).argmax() == 0


def test_distances_keep_their_precision_under_autocast() -> None:
    torch.manual_seed(0)
    learner = ProtoNet(nn.Flatten()).eval()
    support_x, query_x = 30 + torch.rand(1, 5, 1, 4, 4), 30 + torch.rand(1, 10, 1, 4, 4)
    support_y = torch.arange(5)[None]
    expected = learner.adapt(support_x, support_y)(query_x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = learner.adapt(support_x, support_y)(query_x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
