"""The gradient through an inner step, three ways: what every layer of ours must allow."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from l2l_core.modules import clone_module, update_module

RATE = 0.3
# Of fourth order: the loss after the inner step is too curved for two points to be right to 1e-6.
STEP = 1e-4
FIVE_POINTS = ((1 / 12, -2), (-2 / 3, -1), (2 / 3, 1), (-1 / 12, 2))


def check_second_order(module: nn.Module, *inputs: Any) -> None:
    """The meta-gradient by cloning and updating, by torch.func and by finite differences is one, to 1e-6."""
    theta = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}

    def support_loss(params: dict[str, Tensor]) -> Tensor:
        return _loss(_called(module, params, inputs), torch.sin)

    def query_loss(params: dict[str, Tensor]) -> Tensor:
        gradients = torch.func.grad(support_loss)(params)
        moved = {name: value - RATE * gradients[name] for name, value in params.items()}
        return _loss(_called(module, moved, inputs), torch.cos)

    clone = clone_module(module)
    loss = _loss(clone(*inputs), torch.sin)
    moving = [parameter for parameter in clone.parameters() if parameter.requires_grad]
    gradients = iter(torch.autograd.grad(loss, moving, create_graph=True))
    update_module(clone, [-RATE * next(gradients) if p.requires_grad else None for p in clone.parameters()])
    query = _loss(clone(*inputs), torch.cos)
    found = torch.cat([part.flatten() for part in torch.autograd.grad(query, list(theta.values()))])

    values = {name: parameter.detach() for name, parameter in theta.items()}
    by_func = torch.func.grad(query_loss)(values)
    expected = torch.cat([by_func[name].flatten() for name in values])
    assert expected.norm() > 1e-3
    assert (found - expected).norm() < 1e-9 * expected.norm()

    numerical = []
    for name, value in values.items():
        for position in range(value.numel()):
            slope = torch.zeros((), dtype=value.dtype)
            for weight, distance in FIVE_POINTS:
                there = value.clone()
                there.view(-1)[position] += distance * STEP
                slope += weight * query_loss({**values, name: there}) / STEP
            numerical.append(slope)
    assert (found - torch.stack(numerical)).norm() < 1e-6 * expected.norm()


def check_copies(module: nn.Module, *inputs: Any) -> None:
    """Copies of every kind give what the module gives, and do not share its parameters."""
    expected = _loss(module(*inputs), torch.sin)
    emptied = copy.deepcopy(module)
    for parameter in emptied.parameters():
        parameter.detach().zero_()
    emptied.load_state_dict(module.state_dict())
    for made in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), emptied):
        assert torch.equal(_loss(made(*inputs), torch.sin), expected)
        assert not {id(p) for p in made.parameters()} & {id(p) for p in module.parameters()}


def _called(module: nn.Module, params: dict[str, Tensor], inputs: tuple[Any, ...]) -> Any:
    # On a copy: functional_call leaves its parameters behind in a module that occurs twice.
    return functional_call(copy.deepcopy(module), params, inputs)


def _loss(outputs: Any, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A scalar in which every number of the outputs counts, each in its own way."""
    if isinstance(outputs, tuple):
        total = _loss(outputs[0], function)
        for output in outputs[1:]:
            total = total + _loss(output, function)
        return total
    weights = torch.arange(1, outputs.numel() + 1, dtype=outputs.dtype).reshape(outputs.shape)
    return (weights * function(outputs)).mean()
