"""The inner loop that every gradient-based learner shares: parameters in, parameters out, nothing hidden.

A method is what it puts into `inner_loop`: which parameters move (the dictionary it passes; all others stay with the
model), from where (their values), by which rule, and how far the outer gradient follows (the order).
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError

S = TypeVar("S")

#: Parameters, or their gradients, by name.
Params: TypeAlias = dict[str, Tensor]

#: (parameters, gradients, state) to (parameters, state) after one step.
Rule: TypeAlias = Callable[[Params, Params, S], tuple[Params, S]]

#: What links the adapted parameters to the initial ones. 0: nothing, they are values. 1: the identity, as if the inner
#: gradients were constants. 2: the whole computation.
Order: TypeAlias = Literal[0, 1, 2]


def inner_loop(
    loss_of: Callable[[Params], Tensor],
    params: Params,
    rule: Rule[S],
    state: S,
    steps: int,
    order: Order,
    task: int,
) -> tuple[Params, S]:
    """The parameters of one task after some steps, and the rule's last state. It needs gradients enabled.

    Args:
        loss_of: the support loss at given parameters, a scalar.
        params: those that move, at their start; each requires a gradient, unless the order is 0. They are not changed.
        rule: one step.
        state: the rule's, at the start.
        steps: how many.
        order: what links the result to the start.
        task: which of the batch it is, for messages.

    Raises:
        UsageError: the loss is not finite at some step.
    """
    losses = []
    for _ in range(steps):
        if order == 0:
            params = {name: value.detach().requires_grad_() for name, value in params.items()}
        loss = loss_of(params)
        losses.append(loss.detach())
        gradients = torch.autograd.grad(
            loss, list(params.values()), create_graph=order == 2, allow_unused=True, materialize_grads=True
        )
        params, state = rule(params, dict(zip(params, gradients, strict=True)), state)
    _check_finite(losses, task)
    if order == 0:
        params = {name: value.detach() for name, value in params.items()}
    return params, state


def gradient_step(rate: float) -> Rule[None]:
    """Plain gradient descent: θ − rate · ∇, for every parameter."""

    def step(params: Params, gradients: Params, state: None) -> tuple[Params, None]:
        return {name: value - rate * gradients[name] for name, value in params.items()}, None

    return step


def without_normalisation(model: nn.Module) -> tuple[str, ...]:
    """The names of the parameters that require a gradient and do not belong to a normalisation layer."""
    scale_and_shift = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NORMALISATION)
        for parameter in module.parameters(recurse=False)
    }
    return tuple(
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in scale_and_shift
    )


def carry_gradients(value: Tensor, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """The same value, for which ``backward`` gives each parameter its gradient of that list.

    With it the graph of a task can be dropped as soon as its gradients are known, so that a batch takes the memory of
    one task. Second derivatives are lost with the graph.
    """
    value = value.detach()
    for parameter, gradient in zip(params, gradients, strict=True):
        value = value + ((parameter - parameter.detach()) * gradient).sum()
    return value


_NORMALISATION = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)


def _check_finite(losses: Sequence[Tensor], task: int) -> None:
    # All steps in one go: on an accelerator each look at a value waits for the device.
    if not losses or torch.stack(list(losses)).isfinite().all():
        return
    step = next(number for number, loss in enumerate(losses) if not loss.isfinite())
    raise UsageError(
        f"the inner loss of task {task} of the batch is {float(losses[step])} at step {step + 1} of {len(losses)}; "
        "lower the inner learning rate, or look for infinite values in the pictures or the parameters"
    )
