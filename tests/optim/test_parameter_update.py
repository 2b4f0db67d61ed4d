"""Learned updates and differentiable descent, used the way learn2learn's documentation shows."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.modules import clone_module, update_module
from l2l_core.optim import DifferentiableSGD, MetaCurvatureTransform, ParameterUpdate, TransformDictionary
from tests.optim.nets import Excused, assert_gradients, make, mlp, shaken, task


def learned(model: nn.Module) -> ParameterUpdate:
    torch.manual_seed(3)
    return shaken(ParameterUpdate(model.parameters(), MetaCurvatureTransform))


def test_updates_are_transformed_gradients() -> None:
    model = make(mlp)
    x, y, _, _ = task()
    update = learned(model)
    found = update(functional.cross_entropy(model(x), y), model.parameters())
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    for given, gradient, transform in zip(found, gradients, update.transforms_modules, strict=True):
        torch.testing.assert_close(given, transform(gradient))
    # constants, but for the transforms
    assert torch.autograd.grad(found[0].sum(), model[1].weight, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(found[0].sum(), update.transforms_modules[0].mc_in)[0].norm() > 0


def test_the_documented_loop_has_the_gradients_of_finite_differences() -> None:
    model = make(mlp)
    update = learned(model)
    support_x, support_y, query_x, query_y = task()

    clone = clone_module(model)
    updates = update(functional.cross_entropy(clone(support_x), support_y), clone.parameters(), create_graph=True)
    update_module(clone, updates=updates)
    functional.cross_entropy(clone(query_x), query_y).backward()

    def value() -> float:
        gradients = torch.autograd.grad(functional.cross_entropy(model(support_x), support_y), list(model.parameters()))
        with torch.no_grad():
            adapted = [
                parameter + transform(gradient)
                for parameter, gradient, transform in zip(
                    model.parameters(), gradients, update.transforms_modules, strict=True
                )
            ]
            hidden = torch.tanh(query_x.flatten(1) @ adapted[0].T + adapted[1])
            return functional.cross_entropy(hidden @ adapted[2].T + adapted[3], query_y).item()

    assert all(parameter.grad is not None for parameter in update.parameters())
    assert_gradients([*model.parameters(), *update.parameters()], value)


def test_parameters_without_a_transform_have_their_gradient() -> None:
    model = make(mlp)
    x, y, _, _ = task()
    update = ParameterUpdate(model.parameters(), TransformDictionary({model[3].weight: MetaCurvatureTransform}))
    assert update.transforms_indices == [None, None, 0, None]
    assert set(update.state_dict()) == {"transforms_modules.0.mc_in", "transforms_modules.0.mc_out"}
    found = update(functional.cross_entropy(model(x), y), model.parameters())
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    for given, gradient in zip(found, gradients, strict=True):  # the transform is the identity yet
        torch.testing.assert_close(given, gradient)


def test_the_graph_of_the_loss_is_kept_when_asked() -> None:
    model = make(mlp)
    x, y, _, _ = task()
    update = learned(model)
    for keep in ({"retain_graph": True}, {"create_graph": True}, {"retain_graph": True, "allow_nograd": True}):
        loss = functional.cross_entropy(model(x), y)
        update(loss, model.parameters(), **keep)
        loss.backward()
    loss = functional.cross_entropy(model(x), y)
    update(loss, model.parameters())
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_excused_parameters_have_no_update() -> None:
    model = make(Excused)
    x, y, _, _ = task()
    found = learned(model)(
        functional.cross_entropy(model(x), y), model.parameters(), allow_unused=True, allow_nograd=True
    )
    assert [given is None for given in found] == [True, True, False, True, False, False]
    frozen = make(mlp).requires_grad_(False)
    scale = torch.ones((), requires_grad=True)
    assert learned(frozen)(scale.square(), frozen.parameters(), allow_nograd=True) == [None] * 4


def test_it_refuses_in_words() -> None:
    model = make(Excused)
    x, y, _, _ = task()
    update = learned(model)

    def ask(loss: Tensor | None = None, **settings: bool) -> None:
        loss = functional.cross_entropy(model(x), y) if loss is None else loss
        named = settings.pop("named", False)
        update(loss, model.named_parameters() if named else model.parameters(), **settings)

    refused = {
        "ParameterUpdate was given a loss of shape [6]; reduce it to a scalar": lambda: ask(model(x)[:, 0]),
        "ParameterUpdate was given a loss without a graph; compute it from this clone, with gradients "
        "enabled": lambda: ask(torch.tensor(1.0)),
        "ParameterUpdate was asked to adapt 'parameter 3', which requires no gradient; pass allow_nograd=True to leave "
        "it as it is": lambda: ask(),
        "ParameterUpdate was asked to adapt 'first.bias', which requires no gradient; pass allow_nograd=True to leave "
        "it as it is": lambda: ask(named=True),
        "ParameterUpdate was asked to adapt 'idle.weight', 'idle.bias', on which the loss does not depend; pass "
        "allow_unused=True to leave it as it is": lambda: ask(named=True, allow_nograd=True),
        "ParameterUpdate was made for 6 parameters, but was given 2; give those it was made for, or a clone's, in the "
        "same order": lambda: update(model(x).sum(), model.second.parameters()),
        "a transform makes a str for a parameter of shape [2, 2]; let it make a module, or None to leave gradients as "
        "they are": lambda: ParameterUpdate(model.parameters(), lambda parameter: "no module"),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


def test_differentiable_sgd_is_a_step_in_the_graph() -> None:
    model = make(mlp)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    gradients = [torch.full_like(parameter, 2.0) for parameter in start]
    DifferentiableSGD(lr=rate)(model, gradients=[gradients[0], None, gradients[2], None])
    expected = [start[0] - 1, start[1], start[2] - 1, start[3]]
    assert all(torch.equal(now, value) for now, value in zip(model.parameters(), expected, strict=True))
    sum(parameter.sum() for parameter in model.parameters()).backward()
    assert rate.grad.item() == -2.0 * (start[0].numel() + start[2].numel())


def test_differentiable_sgd_takes_the_gradients_that_the_parameters_hold() -> None:
    model = make(mlp)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    model[1].weight.grad = torch.ones_like(model[1].weight)
    step = DifferentiableSGD(lr=0.5)
    step(model)
    assert torch.equal(model[1].weight, start[0] - 0.5)
    assert torch.equal(model[1].bias, start[1])
    model[1].weight.grad = torch.ones_like(model[1].weight)  # a tensor inside the graph now
    step(model)
    assert torch.equal(model[1].weight, start[0] - 1)
    clone = clone_module(model)  # all inside the graph, where asking for .grad would warn
    step(clone)
    assert torch.equal(clone[1].weight, model[1].weight)
    with pytest.raises(UsageError, match="update_module was given 1 updates for 4 parameters"):
        step(model, [None])
