"""The inner loop against closed forms."""

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms.inner_loop import (
    Params,
    carry_gradients,
    gradient_step,
    inner_loop,
    without_normalisation,
)
from l2l_core.errors import UsageError

CURVATURE, CENTRE, RATE = 0.7, 2.0, 0.3


def quadratic(params: Params) -> Tensor:
    return CURVATURE / 2 * (params["theta"] - CENTRE) ** 2


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_gradient_descent_on_a_quadratic(steps: int, order: int) -> None:
    start = torch.tensor(5.0, dtype=torch.float64, requires_grad=order > 0)
    params, state = inner_loop(quadratic, {"theta": start}, gradient_step(RATE), None, steps, order, task=0)
    shrink = (1 - RATE * CURVATURE) ** steps
    assert state is None
    assert params["theta"].item() == pytest.approx(CENTRE + shrink * 3.0, rel=1e-12)
    assert start.item() == 5.0
    if order == 0:
        assert not params["theta"].requires_grad
    else:
        (gradient,) = torch.autograd.grad(params["theta"], start)
        assert gradient.item() == pytest.approx(shrink if order == 2 else 1.0, rel=1e-12)


def test_a_rule_with_a_state() -> None:
    def momentum(params: Params, gradients: Params, velocity: Params) -> tuple[Params, Params]:
        velocity = {name: 0.9 * velocity[name] + gradients[name] for name in params}
        return {name: params[name] - RATE * velocity[name] for name in params}, velocity

    start = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    rest = {"theta": torch.zeros((), dtype=torch.float64)}
    params, velocity = inner_loop(quadratic, {"theta": start}, momentum, rest, 3, 2, task=0)
    theta, speed = 5.0, 0.0
    for _ in range(3):
        speed = 0.9 * speed + CURVATURE * (theta - CENTRE)
        theta -= RATE * speed
    assert params["theta"].item() == pytest.approx(theta, rel=1e-12)
    assert velocity["theta"].item() == pytest.approx(speed, rel=1e-12)


def test_a_parameter_that_the_loss_does_not_know_stays() -> None:
    params = {"theta": torch.tensor(5.0, requires_grad=True), "idle": torch.tensor(1.0, requires_grad=True)}
    adapted, _ = inner_loop(quadratic, params, gradient_step(RATE), None, 2, 2, task=0)
    assert adapted["idle"].item() == 1.0


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_loss_that_is_not_finite_is_named_by_step_and_task(order: int) -> None:
    start = {"theta": torch.tensor(5.0, requires_grad=True)}
    with pytest.raises(UsageError) as error:
        inner_loop(lambda params: params["theta"] ** 4, start, gradient_step(1e6), None, 5, order, task=7)
    assert str(error.value) == (
        "the inner loss of task 7 of the batch is inf at step 3 of 5; lower the inner learning rate, or look for "
        "infinite values in the pictures or the parameters"
    )


def test_carried_gradients_arrive_and_the_value_stays() -> None:
    first, second = torch.tensor([1e8, 2.0], requires_grad=True), torch.tensor(3.0, requires_grad=True)
    value = torch.tensor(0.1, requires_grad=True)
    carried = carry_gradients(value, [first, second], [torch.tensor([4.0, 5.0]), torch.tensor(6.0)])
    assert carried.item() == value.item()
    (2 * carried).backward()
    assert first.grad.tolist() == [8.0, 10.0]
    assert second.grad.item() == 12.0
    assert value.grad is None


def test_normalisation_and_frozen_parameters_do_not_move() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)))
    assert without_normalisation(model) == ("0.weight", "0.bias", "2.1.weight", "2.1.bias")
    model[0].bias.requires_grad_(False)
    assert without_normalisation(model) == ("0.weight", "2.1.weight", "2.1.bias")
