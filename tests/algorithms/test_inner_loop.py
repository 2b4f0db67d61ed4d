"""The inner loop against closed forms."""

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms.inner_loop import (
    Order,
    Params,
    carry_gradients,
    checkpointed_gradients,
    clipped,
    gradient_step,
    inner_loop,
    inner_steps,
)
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.errors import UsageError

CURVATURE, CENTRE, RATE = 0.7, 2.0, 0.3
ONE = range(1)


def quadratic(params: Params, step: int = 0) -> Tensor:
    return CURVATURE / 2 * (params["theta"] - CENTRE) ** 2


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_gradient_descent_on_a_quadratic(steps: int, order: int) -> None:
    start = torch.tensor([5.0], dtype=torch.float64, requires_grad=order > 0)
    params, state = inner_loop(quadratic, {"theta": start}, gradient_step(RATE), None, range(steps), order, ONE)
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

    start = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    rest = {"theta": torch.zeros(1, dtype=torch.float64)}
    params, velocity = inner_loop(quadratic, {"theta": start}, momentum, rest, range(3), 2, ONE)
    theta, speed = 5.0, 0.0
    for _ in range(3):
        speed = 0.9 * speed + CURVATURE * (theta - CENTRE)
        theta -= RATE * speed
    assert params["theta"].item() == pytest.approx(theta, rel=1e-12)
    assert velocity["theta"].item() == pytest.approx(speed, rel=1e-12)


def test_a_parameter_that_the_loss_does_not_know_stays() -> None:
    params = {"theta": torch.tensor([5.0], requires_grad=True), "idle": torch.tensor([1.0], requires_grad=True)}
    adapted, _ = inner_loop(quadratic, params, gradient_step(RATE), None, range(2), 2, ONE)
    assert adapted["idle"].item() == 1.0


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_loss_that_is_not_finite_is_named_by_step_and_task(order: int) -> None:
    start = {"theta": torch.tensor([0.0, 5.0], requires_grad=True)}
    with pytest.raises(UsageError) as error:
        inner_loop(
            lambda params, step: params["theta"] ** 4, start, gradient_step(1e6), None, range(5), order, range(7, 9)
        )
    assert str(error.value) == (
        "the inner loss of task 8 of the batch is inf at step 3; lower the inner learning rate, or look for "
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


def test_the_steps_one_by_one_are_those_of_the_loop() -> None:
    start = {"theta": torch.tensor([5.0], dtype=torch.float64, requires_grad=True)}
    along = [
        params["theta"].item()
        for params, _ in inner_steps(quadratic, start, gradient_step(RATE), None, range(4), 2, ONE)
    ]
    shrink = 1 - RATE * CURVATURE
    assert along == pytest.approx([CENTRE + shrink**step * 3.0 for step in range(1, 5)], rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9])
def test_checkpointed_gradients_are_those_of_the_whole_graph(steps: int, order: Order) -> None:
    generator = torch.Generator().manual_seed(0)
    base, rates, weights = (torch.randn(3, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(3))
    runs = []

    def loss_of(params: Params, step: int) -> Tensor:
        runs.append(step)
        return ((params["theta"] - weights).sin() * (step + 1)).sum(dim=1).cosh()

    def query_loss_of(params: Params) -> Tensor:
        return (params["theta"] * weights).cos().sum()

    def rule(params: Params, gradients: Params, step: int) -> tuple[Params, int]:
        return {"theta": params["theta"] - 0.1 * rates * (step + 1) * gradients["theta"]}, step + 1

    def start() -> Params:
        return {"theta": (base * 2).expand(2, 3)}

    learned = [base, rates, weights]
    params, _ = inner_loop(loss_of, start(), rule, 0, range(steps), order, range(2))
    expected_loss = query_loss_of(params)
    expected = torch.autograd.grad(expected_loss, learned, allow_unused=True, materialize_grads=True)
    runs.clear()
    loss, found = checkpointed_gradients(loss_of, query_loss_of, start(), rule, 0, steps, order, range(2), learned)
    assert len(runs) == 2 * steps
    torch.testing.assert_close(loss, expected_loss.detach(), rtol=1e-12, atol=0)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_checkpointing_repeats_random_choices() -> None:
    base = torch.ones(4, dtype=torch.float64, requires_grad=True)

    def loss_of(params: Params, step: int) -> Tensor:
        return (nn.functional.dropout(params["theta"], 0.5) ** 3).sum(dim=1)

    def query_loss_of(params: Params) -> Tensor:
        return params["theta"].sum()

    torch.manual_seed(3)
    params, _ = inner_loop(loss_of, {"theta": base[None]}, gradient_step(0.01), None, range(5), 2, ONE)
    (expected,) = torch.autograd.grad(query_loss_of(params), base)
    torch.manual_seed(3)
    _, (found,) = checkpointed_gradients(
        loss_of, query_loss_of, {"theta": base[None]}, gradient_step(0.01), None, 5, 2, ONE, [base]
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_clipping_shortens_each_tasks_gradients_and_has_a_gradient_itself() -> None:
    params = {"a": torch.zeros(2, 2, dtype=torch.float64), "b": torch.zeros(2, 1, dtype=torch.float64)}
    long, short = torch.tensor([2.0, 4.0]), torch.tensor([0.2, 0.4])
    gradients = {
        "a": torch.stack([long, short]).double().requires_grad_(),
        "b": torch.tensor([[4.0], [0.4]], dtype=torch.float64),
    }
    moved, _ = clipped(gradient_step(1.0), max_norm=3.0)(params, gradients, None)
    assert -moved["a"].detach().numpy() == pytest.approx(
        torch.tensor([[1.0, 2.0], [0.2, 0.4]]).numpy()
    )  # the first was 6 long
    assert moved["b"].flatten().tolist() == pytest.approx([-2.0, -0.4])

    def moved_by(a: Tensor) -> Tensor:
        step = clipped(gradient_step(1.0), max_norm=3.0)
        result: Tensor = step(params, {**gradients, "a": a}, None)[0]["a"]
        return result

    assert torch.autograd.gradcheck(moved_by, (gradients["a"],))
    nothing = {name: torch.zeros_like(value) for name, value in gradients.items()}
    assert clipped(gradient_step(1.0), 1.0)(params, nothing, None)[0]["a"].abs().max() == 0


def test_float16_scales_the_inner_loss_and_the_gradients_back() -> None:
    start = {"theta": torch.tensor([5.0], requires_grad=True)}
    with torch.autocast("cpu", dtype=torch.float16):
        params, _ = inner_loop(quadratic, start, gradient_step(RATE), None, range(1), 2, ONE)
    assert params["theta"].item() == pytest.approx(CENTRE + (1 - RATE * CURVATURE) * 3.0)
    # Smaller than float16 can hold: it survives the way through a matrix product in that type.
    tiny = torch.tensor([[1e-8]])

    def faint(params: Params, step: int) -> Tensor:
        return (params["theta"] @ torch.ones(1, 1) * tiny)[:, 0]

    with torch.autocast("cpu", dtype=torch.float16):
        theta = {"theta": torch.ones(1, 1, requires_grad=True)}
        moved, _ = inner_loop(faint, theta, gradient_step(1e8), None, range(1), 1, ONE)
    assert moved["theta"].item() == pytest.approx(0.0, abs=0.01)


def test_a_loss_without_a_graph_or_of_another_shape_is_refused() -> None:
    start = {"theta": torch.tensor([5.0], requires_grad=True)}
    with pytest.raises(UsageError) as error:
        inner_loop(lambda params, step: torch.ones(1), start, gradient_step(1.0), None, range(1), 2, ONE)
    assert str(error.value) == (
        "the inner loss has no graph, so no parameter can follow it; let the model compute it with gradients enabled, "
        "from a parameter that moves"
    )
    with pytest.raises(UsageError) as error:
        inner_loop(lambda params, step: params["theta"].sum(), start, gradient_step(1.0), None, range(1), 2, ONE)
    assert str(error.value) == (
        "the inner loss has shape [], but must be one number for each of 1 tasks; take the mean over a task's examples"
    )


def test_normalisation_and_frozen_parameters_do_not_move() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)))
    assert without_normalisation(model) == ("0.weight", "0.bias", "2.1.weight", "2.1.bias")
    model[0].bias.requires_grad_(False)
    assert without_normalisation(model) == ("0.weight", "2.1.weight", "2.1.bias")
