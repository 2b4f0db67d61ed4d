"""Meta-SGD's gradients against finite differences, a net written out, and learn2learn's way of using it."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional

from l2l_core.algorithms.maml import MAMLLearner
from l2l_core.algorithms.meta_sgd import MetaSGD, MetaSGDLearner, meta_sgd_update
from l2l_core.algorithms.over_tasks import Strategy
from l2l_core.errors import UsageError
from l2l_core.modules import clone_module
from tests.algorithms.gradient_checks import (
    PROMISES,
    batch_norm_net,
    check_descent,
    check_strategies,
    picture_net,
    small_net,
)
from tests.algorithms.test_maml import RATE, tasks
from tests.optim.nets import NETS, Excused, Tied, assert_gradients, living_tensors, make, mlp, shaken, task


def wrapped(net: Callable[[], nn.Module], first_order: bool = False) -> MetaSGD:
    torch.manual_seed(4)
    meta_sgd = MetaSGD(make(net), lr=0.3, first_order=first_order, allow_unused=True, allow_nograd=True)
    shaken(meta_sgd.lrs, std=0.2)
    return meta_sgd


def adapted_loss(meta_sgd: MetaSGD, steps: int) -> Tensor:
    support_x, support_y, query_x, query_y = task()
    clone = meta_sgd.clone()
    for _ in range(steps):
        clone.adapt(functional.cross_entropy(clone(support_x), support_y))
    return functional.cross_entropy(clone(query_x), query_y)


def slow_loss(meta_sgd: MetaSGD, steps: int, constants: list[list[Tensor | None]] | None = None) -> float:
    """The same by in-place steps on a deep copy; with constants, these gradients, or its own are put there."""
    support_x, support_y, query_x, query_y = task()
    twin = copy.deepcopy(meta_sgd.module)
    moving = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    rates = [rate for rate, parameter in zip(meta_sgd.lrs, twin.parameters(), strict=True) if parameter.requires_grad]
    for step in range(steps):
        if constants is None or len(constants) == step:
            loss = functional.cross_entropy(twin(support_x), support_y)
            gradients = torch.autograd.grad(loss, moving, allow_unused=True)
            if constants is not None:
                constants.append(gradients)
        else:
            gradients = constants[step]
        with torch.no_grad():
            for parameter, rate, gradient in zip(moving, rates, gradients, strict=True):
                if gradient is not None:
                    parameter -= rate * gradient
    return functional.cross_entropy(twin(query_x), query_y).item()


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("net", NETS)
def test_meta_gradients_are_those_of_finite_differences(
    net: Callable[[], nn.Module], steps: int, first_order: bool
) -> None:
    meta_sgd = wrapped(net, first_order)
    constants: list[list[Tensor | None]] | None = [] if first_order else None
    loss = adapted_loss(meta_sgd, steps)
    assert loss.item() == pytest.approx(slow_loss(meta_sgd, steps, constants), rel=1e-12)
    loss.backward()
    assert sum(rate.grad is not None for rate in meta_sgd.lrs) >= 3
    moving = [parameter for parameter in meta_sgd.parameters() if parameter.requires_grad]
    assert_gradients(moving, lambda: slow_loss(meta_sgd, steps, constants))


def test_meta_gradients_are_those_of_a_net_written_out() -> None:
    """Three steps by torch.func on bare matrices, which shares nothing with the wrapper."""
    meta_sgd = wrapped(mlp)
    support_x, support_y, query_x, query_y = task()

    def cross_entropy(weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.tanh(x.flatten(1) @ weights[0].T + weights[1]) @ weights[2].T + weights[3]
        return (logits.logsumexp(dim=1) - logits[torch.arange(len(y)), y]).mean()

    def meta(weights: list[Tensor], rates: list[Tensor]) -> Tensor:
        for _ in range(3):
            gradients = grad(cross_entropy)(weights, support_x, support_y)
            weights = [w - rate * g for w, rate, g in zip(weights, rates, gradients, strict=True)]
        return cross_entropy(weights, query_x, query_y)

    adapted_loss(meta_sgd, 3).backward()
    values = [[p.detach() for p in meta_sgd.module.parameters()], [rate.detach() for rate in meta_sgd.lrs]]
    for part, expected in zip((meta_sgd.module.parameters(), meta_sgd.lrs), grad(meta, (0, 1))(*values), strict=True):
        for parameter, gradient in zip(part, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


def test_the_rates_are_parameters_and_those_of_a_clone_a_list() -> None:
    model = make(mlp)
    meta_sgd = MetaSGD(model, lr=0.25)
    assert isinstance(meta_sgd.lrs, nn.ParameterList)
    assert len(list(meta_sgd.parameters())) == 8
    for rate, parameter in zip(meta_sgd.lrs, model.parameters(), strict=True):
        assert torch.equal(rate, torch.full_like(parameter, 0.25))
    clone = meta_sgd.eval().clone()
    assert type(clone.lrs) is list
    assert (clone.lr, clone.first_order, clone.training) == (0.25, False, False)
    assert clone.clone(first_order=True).first_order
    model.note = "kept"
    assert meta_sgd.note == "kept"  # other attributes are the module's

    # rates of one's own: one a parameter, trained with the rest
    own = [nn.Parameter(torch.full((), 0.5, dtype=torch.float64)) for _ in model.parameters()]
    meta_sgd = MetaSGD(model, lrs=own)
    assert len(list(meta_sgd.parameters())) == 8
    adapted_loss(meta_sgd, 2).backward()
    assert all(rate.grad.abs() > 0 for rate in own)


def test_a_clone_of_a_clone_is_linked_to_the_first() -> None:
    meta_sgd = wrapped(mlp)
    support_x, support_y, query_x, query_y = task()
    clone = meta_sgd.clone()
    clone.adapt(functional.cross_entropy(clone(support_x), support_y))
    further = clone.clone()
    further.adapt(functional.cross_entropy(further(support_x), support_y))
    loss = functional.cross_entropy(further(query_x), query_y)
    torch.testing.assert_close(loss, adapted_loss(meta_sgd, 2))
    loss.backward()
    assert_gradients(meta_sgd.parameters(), lambda: slow_loss(meta_sgd, 2))


def test_it_can_be_copied() -> None:
    meta_sgd = wrapped(mlp)
    expected = adapted_loss(meta_sgd, 2)
    for twin in (copy.deepcopy(meta_sgd), pickle.loads(pickle.dumps(meta_sgd))):
        assert torch.equal(adapted_loss(twin, 2), expected)
    fresh = MetaSGD(make(mlp, seed=9))
    fresh.load_state_dict(meta_sgd.state_dict())
    assert torch.equal(adapted_loss(fresh, 2), expected)


def test_memory_does_not_grow() -> None:
    meta_sgd = wrapped(mlp)

    def run(clones: int) -> int:
        for _ in range(clones):
            adapted_loss(meta_sgd, 1).backward()
            meta_sgd.zero_grad()
        return living_tensors()

    first = run(5)
    assert run(1_000) == first


def test_meta_sgd_update_is_a_differentiable_step() -> None:
    model = make(Tied)
    clone = clone_module(model)
    rates = [torch.full_like(parameter, 0.5, requires_grad=True) for parameter in model.parameters()]
    gradients = [torch.full_like(parameter, 2.0) for parameter in model.parameters()]
    assert meta_sgd_update(clone, lrs=rates, grads=[gradients[0], None, gradients[2]]) is clone
    assert clone.first.weight is clone.second.weight
    expected = [model.first.weight - 1, model.first.bias, model.second.bias - 1]
    assert all(torch.equal(now, value) for now, value in zip(clone.parameters(), expected, strict=True))
    sum(parameter.sum() for parameter in clone.parameters()).backward()
    assert torch.equal(rates[0].grad, -gradients[0])
    assert rates[1].grad is None


def test_meta_sgd_update_takes_what_the_parameters_hold() -> None:
    model = make(mlp)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    model[1].weight.grad = torch.ones_like(model[1].weight)
    model[1].weight._lr = 0.5
    meta_sgd_update(model)
    assert torch.equal(model[1].weight, start[0] - 0.5)
    assert torch.equal(model[3].weight, start[2])


def test_it_refuses_in_words() -> None:
    model = make(Excused)
    x, y, _, _ = task()
    meta_sgd = MetaSGD(model)
    clone = meta_sgd.clone()

    def loss() -> Tensor:
        return functional.cross_entropy(clone(x), y)

    model.second.bias.grad = torch.ones_like(model.second.bias)
    refused = {
        "MetaSGD.adapt was given a loss without a graph; compute it from this clone, with gradients enabled": lambda: (
            clone.adapt(loss().detach())
        ),
        "MetaSGD.adapt was given a loss of shape [6, 3]; reduce it to a scalar": lambda: clone.adapt(clone(x)),
        "MetaSGD.adapt was asked to adapt 'first.bias', which requires no gradient; pass allow_nograd=True to leave it "
        "as it is": lambda: clone.adapt(loss()),
        "MetaSGD.adapt was asked to adapt 'idle.weight', 'idle.bias', on which the loss does not depend; pass "
        "allow_unused=True to leave it as it is": lambda: clone.adapt(loss(), allow_nograd=True),
        "MetaSGD was given 1 rates for 6 parameters of Excused; give one for each": lambda: MetaSGD(
            model, lrs=[torch.ones(2, 2)]
        ),
        "meta_sgd_update was given 1 rates and 2 gradients for 6 parameters of Excused; give one of each for "
        "each": lambda: meta_sgd_update(model, [torch.ones(1)], [None, None]),
        "meta_sgd_update found no rate for 'second.bias'; pass lrs, or set its attribute _lr": lambda: meta_sgd_update(
            model
        ),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


LEARNER_RATES = (0.1, 0.5)  # large enough for every rate to matter


@pytest.mark.parametrize("net", [small_net, batch_norm_net])
@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("first_order", [False, True])
def test_the_learners_meta_gradients(net: Callable[[], nn.Module], steps: int, first_order: bool) -> None:
    learner = MetaSGDLearner(net(), LEARNER_RATES, steps, first_order=first_order)
    check_descent(
        learner, lambda theta, name, g, step: theta[f"lrs.{learner.moving.index(name)}"] * g, steps, first_order
    )


def test_the_learners_strategies_agree() -> None:
    def build(strategy: Strategy) -> MetaSGDLearner:
        torch.manual_seed(2)
        return MetaSGDLearner(batch_norm_net(), LEARNER_RATES, 2, strategy=strategy)

    check_strategies(build)


def test_the_learners_rates_start_at_random_in_the_papers_range_and_are_of_the_parameters_that_move() -> None:
    model = nn.Sequential(nn.Conv2d(1, 50, 3), nn.BatchNorm2d(50), nn.Flatten(), nn.Linear(50, 40))
    learner = MetaSGDLearner(model)
    assert [rate.shape for rate in learner.lrs] == [model.get_parameter(name).shape for name in learner.moving]
    assert learner.moving == ("0.weight", "0.bias", "3.weight", "3.bias")
    for rate in learner.lrs:
        assert 0.005 <= rate.min() < 0.02
        assert 0.085 < rate.max() <= 0.1
    assert (learner.steps, learner.test_steps) == (1, 1)


def test_the_learner_is_maml_where_all_rates_are_one() -> None:
    ours, maml = MetaSGDLearner(batch_norm_net(), (RATE, RATE), 3), MAMLLearner(batch_norm_net(), RATE, 3)
    for learner in (ours, maml):
        learner.meta_loss(*tasks())[0].backward()
    for one, other in zip(ours.model.parameters(), maml.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("promise", list(PROMISES))
def test_the_learner_keeps_the_promises_of_every_learner(promise: str) -> None:
    PROMISES[promise](MetaSGDLearner(picture_net(), steps=2))


@pytest.mark.parametrize("lr_range", [(0.0, 0.1), (0.2, 0.1), (float("nan"), 0.1)])
def test_the_learner_refuses_a_range_that_is_none(lr_range: tuple[float, float]) -> None:
    with pytest.raises(UsageError) as error:
        MetaSGDLearner(small_net(), lr_range)
    assert str(error.value) == (
        f"MetaSGDLearner was asked for rates that start from {lr_range[0]} to {lr_range[1]}; give a range above 0, low "
        "first"
    )
