"""The learnable optimiser: hyper-gradient descent against NumPy, and its gradients against finite differences."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.modules import detach_module
from l2l_core.optim import LearnableOptimizer, MetaCurvatureTransform, ModuleTransform
from tests.optim.nets import NETS, Excused, assert_gradients, living_tensors, make, mlp, shaken, task


class Rate(nn.Module):
    """One rate for all elements of a parameter."""

    def __init__(self, param: Tensor) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.full((), 0.1, dtype=param.dtype))

    def forward(self, grad: Tensor) -> Tensor:
        return self.rate * grad


class Quadratic(nn.Module):
    """½ θᵀ A θ."""

    def __init__(self, A: np.ndarray, start: np.ndarray) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start))
        self.A = torch.tensor(A)

    def forward(self) -> Tensor:
        return self.theta @ self.A @ self.theta / 2


def test_hyper_gradient_descent_is_the_published_one() -> None:
    """SGD-HD of Baydin et al., algorithm 4: α += β ∇f(θ_t)·∇f(θ_{t−1}), then θ −= α ∇f(θ_t)."""
    A, theta, alpha, beta = np.diag([1.0, 3.0]) + 0.2, np.array([1.0, -2.0]), 0.1, 0.01
    model = Quadratic(A, theta)
    optimiser = LearnableOptimizer(model, Rate)
    of_rates = torch.optim.SGD(optimiser.parameters(), lr=beta)
    before = np.zeros(2)
    for _ in range(20):
        optimiser.zero_grad()
        of_rates.zero_grad()
        model().backward()
        of_rates.step()
        optimiser.step()

        gradient = A @ theta
        alpha += beta * gradient @ before
        theta = theta - alpha * gradient
        before = gradient
        np.testing.assert_allclose(model.theta.detach().numpy(), theta, rtol=1e-12)
        np.testing.assert_allclose(optimiser.transforms[0].rate.item(), alpha, rtol=1e-12)
    assert abs(alpha - 0.1) > 0.01


@pytest.mark.parametrize("net", NETS)
def test_gradients_after_a_step_are_those_of_finite_differences(net: Callable[[], nn.Module]) -> None:
    model = make(net)
    support_x, support_y, query_x, query_y = task()
    frozen = [parameter.detach().clone() for parameter in model.parameters() if not parameter.requires_grad]
    torch.manual_seed(3)
    optimiser = shaken(LearnableOptimizer(model, MetaCurvatureTransform, lr=0.3))
    twin = copy.deepcopy(model)
    for _ in range(2):  # gradients come through the last step only
        start = copy.deepcopy(twin)
        optimiser.zero_grad()
        optimiser.transforms.zero_grad()
        functional.cross_entropy(model(support_x), support_y).backward()
        optimiser.step()
        advance(twin, optimiser, support_x, support_y)
        for now, expected in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(now, expected, rtol=1e-12, atol=1e-14)
    optimiser.transforms.zero_grad()
    functional.cross_entropy(model(query_x), query_y).backward()

    def value() -> float:
        after = copy.deepcopy(start)
        advance(after, optimiser, support_x, support_y)
        return functional.cross_entropy(after(query_x), query_y).item()

    assert sum(parameter.grad is not None for parameter in optimiser.parameters()) >= 4
    assert_gradients(optimiser.parameters(), value)
    still = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    assert all(torch.equal(now, value) for now, value in zip(still, frozen, strict=True))


def advance(twin: nn.Module, optimiser: LearnableOptimizer, x: Tensor, y: Tensor) -> None:
    """The step on a module of leaves, without a graph."""
    moving = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    gradients = iter(torch.autograd.grad(functional.cross_entropy(twin(x), y), moving, allow_unused=True))
    with torch.no_grad():
        for parameter, transform in zip(twin.parameters(), optimiser.transforms, strict=True):
            gradient = next(gradients) if parameter.requires_grad else None
            if gradient is not None:
                parameter -= optimiser.lr * transform(gradient)


def test_without_a_learned_transform_it_is_plain_descent() -> None:
    model, twin = make(mlp), make(mlp)
    x, y, _, _ = task()
    optimiser = LearnableOptimizer(model, lambda parameter: None, lr=0.3)
    plain = torch.optim.SGD(twin.parameters(), lr=0.3)
    for _ in range(3):
        for each, net in ((optimiser, model), (plain, twin)):
            each.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            each.step()
    for now, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(now, expected.detach(), check_dtype=True)
    assert list(optimiser.parameters()) == []


def test_the_documented_program_learns() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(4, 2)
    x = torch.randn(20, 4)
    y = (x[:, 0] > 0).long()
    metaopt = LearnableOptimizer(linear, ModuleTransform(nn.Linear), lr=0.1)
    opt = torch.optim.SGD(metaopt.parameters(), lr=1.0)
    errors = []
    for _ in range(100):
        metaopt.zero_grad()
        opt.zero_grad()
        error = functional.cross_entropy(linear(x), y)
        error.backward()
        opt.step()
        metaopt.step()
        errors.append(error.item())
    assert errors[-1] < errors[0] / 2


def test_zero_grad_makes_new_zeros_and_leaves_the_transforms() -> None:
    model = make(Excused)
    optimiser = LearnableOptimizer(model, Rate)
    x, y, _, _ = task()
    optimiser.zero_grad()  # nothing there yet
    functional.cross_entropy(model(x), y).backward()
    held = model.second.bias.grad
    optimiser.transforms[0].rate.grad = torch.ones((), dtype=torch.float64)
    optimiser.zero_grad()
    assert held.norm() > 0
    assert model.second.bias.grad.norm() == 0
    assert model.idle.bias.grad is None
    assert optimiser.transforms[0].rate.grad == 1
    optimiser.zero_grad(set_to_none=True)
    assert model.second.bias.grad is None


def test_a_frozen_parameter_that_holds_a_gradient_stays() -> None:
    model = make(Excused)
    before = model.first.bias.clone()
    model.first.bias.grad = torch.ones_like(before)
    LearnableOptimizer(model, Rate).step()
    assert torch.equal(model.first.bias, before)
    assert not model.first.bias.requires_grad


def test_a_step_calls_its_closure_first() -> None:
    model = make(mlp)
    start = model[1].weight.detach().clone()
    optimiser = LearnableOptimizer(model, Rate)
    x, y, _, _ = task()

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with torch.no_grad():
        expected = functional.cross_entropy(model(x), y)
    assert torch.equal(optimiser.step(closure).detach(), expected)
    assert not torch.equal(model[1].weight, start)
    assert optimiser.step() is None


def test_a_long_run_takes_no_more_memory_than_a_short_one() -> None:
    model = make(mlp)
    optimiser = LearnableOptimizer(model, MetaCurvatureTransform, lr=0.01)
    x, y, _, _ = task()

    def run(steps: int) -> int:
        for _ in range(steps):
            optimiser.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimiser.step()
        return living_tensors()

    first = run(10)
    assert run(1_000) == first
    depth, node = 0, model[1].weight.grad_fn
    while node is not None:
        depth, node = depth + 1, node.next_functions[0][0] if node.next_functions else None
    assert depth < 10


def test_it_can_be_copied() -> None:
    model = make(mlp)
    optimiser = LearnableOptimizer(model, Rate)
    x, y, _, _ = task()
    functional.cross_entropy(model(x), y).backward()
    optimiser.step()
    detach_module(model, keep_requires_grad=True)
    for twin_model, twin in (copy.deepcopy((model, optimiser)), pickle.loads(pickle.dumps((model, optimiser)))):
        assert twin.info["model"] is twin_model
        before = twin_model[1].weight.detach().clone()
        functional.cross_entropy(twin_model(x), y).backward()
        twin.step()
        assert torch.equal(model[1].weight, before)
        assert not torch.equal(twin_model[1].weight, before)


def test_it_refuses_in_words() -> None:
    refused = {
        "LearnableOptimizer was given a list as its model; give a module": lambda: LearnableOptimizer([], Rate),
        "a transform makes a int for a parameter of shape [2, 6]; let it make a module, or None to leave gradients as "
        "they are": lambda: LearnableOptimizer(make(mlp), lambda parameter: 3),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
