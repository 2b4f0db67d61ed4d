"""Small tasks in float64, a smooth backbone for them, and what every metric learner is checked for."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from l2l_core.algorithms.metric import MetricLearner
from tests.optim.nets import assert_gradients, shaken

WAYS, WIDTH, TASKS = 3, 4, 2


def tasks() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures [2, ·, 1, 4, 4] of 7 support and 5 query examples; classes have 1 to 4 of the former."""
    generator = torch.Generator().manual_seed(0)
    support_x = torch.randn(TASKS, 7, 1, 4, 4, dtype=torch.float64, generator=generator)
    query_x = torch.randn(TASKS, 5, 1, 4, 4, dtype=torch.float64, generator=generator)
    support_y = torch.tensor([[0, 1, 2, 1, 1, 2, 1], [2, 2, 0, 1, 0, 1, 2]])
    query_y = torch.tensor([[0, 1, 2, 2, 1], [1, 1, 0, 2, 0]])
    return support_x, support_y, query_x, query_y


def backbone() -> nn.Module:
    """From such pictures to maps of 4 numbers, which are flattened."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 1, 3), nn.Tanh())


def maps() -> nn.Module:
    """From such pictures to maps [M, 2, 2, 2]."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh())


def check_logits(
    learner: MetricLearner, expected: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], rtol: float = 1e-9
) -> None:
    """The logits are those that a function of one task's embeddings [M, D], labels [M] and queries [Q, D] gives."""
    support_x, support_y, query_x, _ = tasks()
    logits = learner.double().eval().adapt(support_x, support_y)(query_x)
    for task in range(TASKS):
        with torch.no_grad():
            support = learner.backbone(support_x[task]).flatten(1).numpy()
            query = learner.backbone(query_x[task]).flatten(1).numpy()
        wanted = expected(support, support_y[task].numpy(), query)
        np.testing.assert_allclose(logits[task].numpy(), wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


def check_meta_gradients(learner: MetricLearner, idle: tuple[str, ...] = ()) -> None:
    """The meta-loss's gradients are those of finite differences, and no parameter's is 0 but those named.

    The parameters are shaken first, so that none hides at a special place.
    """
    learner.double()
    shaken(learner, std=0.2)
    loss, _ = learner.meta_loss(*tasks())
    loss.backward()
    named = {name: parameter for name, parameter in learner.named_parameters() if not name.startswith(idle or "-")}
    assert named
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in named.values())

    def value() -> float:
        with torch.no_grad():
            return learner.meta_loss(*tasks())[0].item()

    assert_gradients(learner.parameters(), value)
