"""Gradients for an inner step, and a word for each reason why there can be none."""

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError


def named_gradients(
    asker: str,
    loss: Tensor,
    named: Iterable[tuple[str, Tensor]],
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
    allow_unused: bool = False,
    allow_nograd: bool = False,
) -> list[Tensor | None]:
    """The gradient of the loss for each parameter, in order; None where there is none and that is allowed.

    Args:
        asker: who asks, for messages.
        loss: a scalar.
        named: names and parameters.
        create_graph: keep the graph of the gradients, for second derivatives; that takes the graph of the loss too.
        retain_graph: keep the graph of the loss.
        allow_unused: let parameters that the loss does not depend on be.
        allow_nograd: let parameters that require no gradient be.

    Raises:
        UsageError: the loss is not differentiable, or not with respect to some parameter that nothing excuses.
    """
    if not isinstance(loss, Tensor):
        raise UsageError(f"{asker} was given a {type(loss).__name__} for a loss; give a tensor with a graph")
    if loss.numel() != 1:
        raise UsageError(f"{asker} was given a loss of shape {list(loss.shape)}; reduce it to a scalar")
    if not loss.requires_grad:
        raise UsageError(
            f"{asker} was given a loss without a graph; compute it from this clone, with gradients enabled"
        )
    # A look at the value makes a GPU wait; there the steps after it show what happened.
    if loss.device.type == "cpu" and not loss.isfinite():
        raise UsageError(
            f"{asker} was given a loss that is {loss.item()}; lower the inner learning rate, or look for infinite "
            "values in the inputs or the parameters"
        )
    pairs = list(named)
    frozen = [name for name, parameter in pairs if not parameter.requires_grad]
    if frozen and not allow_nograd:
        raise UsageError(
            f"{asker} was asked to adapt {_some(frozen)}, which requires no gradient; "
            "pass allow_nograd=True to leave it as it is"
        )
    differentiable = [parameter for _, parameter in pairs if parameter.requires_grad]
    if not differentiable:  # which autograd refuses
        return [None] * len(pairs)
    found = iter(
        torch.autograd.grad(
            loss,
            differentiable,
            retain_graph=retain_graph or create_graph,
            create_graph=create_graph,
            allow_unused=True,
        )
    )
    gradients = [next(found) if parameter.requires_grad else None for _, parameter in pairs]
    unused = [
        name
        for (name, parameter), gradient in zip(pairs, gradients, strict=True)
        if parameter.requires_grad and gradient is None
    ]
    if unused and not allow_unused:
        raise UsageError(
            f"{asker} was asked to adapt {_some(unused)}, on which the loss does not depend; "
            "pass allow_unused=True to leave it as it is"
        )
    return gradients


def held_gradients(module: nn.Module) -> list[Tensor | None]:
    """The ``.grad`` of each of the module's parameters, in order."""
    with warnings.catch_warnings():
        # To ask a tensor inside the graph for .grad is a warning, though it may retain one or have been given one.
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
        return [parameter.grad for parameter in module.parameters()]


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
