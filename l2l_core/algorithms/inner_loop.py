"""The inner loop that every gradient-based learner shares: parameters in, parameters out, nothing hidden.

A method is what it puts into `inner_steps`: which parameters move (the dictionary it passes; all others stay with the
model), from where (their values), by which rule, and how far the outer gradient follows (the order).

Letters in shapes: B tasks, each with parameters of its own, which lie stacked along a first axis.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import ceil, sqrt
from typing import Final, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from l2l_core.errors import UsageError

S = TypeVar("S")

#: Parameters of B tasks, or their gradients, by name; each [B, …].
Params: TypeAlias = dict[str, Tensor]

#: (parameters, gradients, state) to (parameters, state) after one step.
Rule: TypeAlias = Callable[[Params, Params, S], tuple[Params, S]]

#: What links the adapted parameters to the initial ones. 0: nothing, they are values. 1: the identity, as if the inner
#: gradients were constants. 2: the whole computation.
Order: TypeAlias = Literal[0, 1, 2]

#: (parameters, number of the step) to the support loss of each task, [B].
LossOf: TypeAlias = Callable[[Params, int], Tensor]

_HALF_SCALE: Final = 1024.0
"""What losses are multiplied by, and gradients divided by, where float16 would round the latter to 0."""


def inner_steps(
    loss_of: LossOf, params: Params, rule: Rule[S], state: S, steps: range, order: Order, tasks: range
) -> Iterator[tuple[Params, S]]:
    """The parameters after each step, and the rule's state. It needs gradients enabled.

    Args:
        loss_of: the support loss.
        params: those that move, at their start; each requires a gradient, unless the order is 0. They are not changed.
        rule: one step.
        state: the rule's, at the start.
        steps: the numbers of the steps, 0 first.
        order: what links the results to the start.
        tasks: which of the batch they are, for messages.

    Raises:
        UsageError: a loss is not finite at some step, has no graph, or is not one number a task.
    """
    losses = []
    for step in steps:
        if order == 0:
            params = {name: value.detach().requires_grad_() for name, value in params.items()}
        loss_B = loss_of(params, step)
        _check_loss(loss_B, len(tasks))
        losses.append(loss_B.detach())
        scale = loss_scale(loss_B.device.type)
        found = torch.autograd.grad(
            loss_B.sum() * scale,
            list(params.values()),
            create_graph=order == 2,
            allow_unused=True,
        )
        _check_followed(found)
        gradients = [
            torch.zeros_like(value) if gradient is None else gradient
            for value, gradient in zip(params.values(), found, strict=True)
        ]
        params, state = rule(params, dict(zip(params, unscaled(gradients, scale), strict=True)), state)
        yield params, state
    _check_finite(losses, steps, tasks)


def inner_loop(
    loss_of: LossOf, params: Params, rule: Rule[S], state: S, steps: range, order: Order, tasks: range
) -> tuple[Params, S]:
    """The parameters after the last step, and the rule's last state; see `inner_steps`."""
    for adapted in inner_steps(loss_of, params, rule, state, steps, order, tasks):
        params, state = adapted
    if order == 0:
        params = {name: value.detach() for name, value in params.items()}
    return params, state


def checkpointed_gradients(
    loss_of: LossOf,
    query_loss_of: Callable[[Params], Tensor],
    start: Params,
    rule: Rule[S],
    state: S,
    steps: int,
    order: Order,
    tasks: range,
    learned: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """The query loss after the inner loop and its gradients, at the memory of √steps inner steps instead of all.

    The steps go by in segments of √steps: first without a graph, keeping the parameters between segments; then each
    segment once more, last first, with a graph to lead the gradients back through. So it takes one more run of the
    inner loop. Randomness (dropout) is the same in both runs.

    Args:
        loss_of, rule, state, order, tasks: as of `inner_steps`; the state must hold no graph.
        query_loss_of: parameters to a scalar.
        start: the parameters at the start, linked to `learned`.
        steps: how many.
        learned: the tensors to find gradients for, [L].

    Returns:
        The query loss, detached, and its gradient with respect to each of `learned`.

    Raises:
        UsageError: as `inner_steps`.

    Source: Griewank 1992, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
    differentiation", here with one level of check points; Chen et al. 2016, "Training deep nets with sublinear memory
    cost", section 4.
    """
    bounds = [*range(0, steps, max(1, ceil(sqrt(steps)))), steps]
    segments = [range(*bound) for bound in pairwise(bounds)]
    params = {name: value.detach() for name, value in start.items()}
    before = []
    for segment in segments:
        before.append((params, state, _random_state(params)))
        params, state = inner_loop(loss_of, params, rule, state, segment, 0, tasks)
    leaves = _leaves(params)
    loss = query_loss_of(leaves)
    along, totals = _led_back([loss], [torch.ones_like(loss)], leaves, learned)
    for segment, (params, state, random) in zip(reversed(segments), reversed(before), strict=True):
        leaves = _leaves(params)
        with torch.random.fork_rng(devices=_devices(leaves)):
            _set_random_state(random, leaves)
            after, _ = inner_loop(loss_of, leaves, rule, state, segment, order, tasks)
        along, found = _led_back(list(after.values()), along, leaves, learned)
        totals = [total + gradient for total, gradient in zip(totals, found, strict=True)]
    _, found = _led_back(list(start.values()), along, {}, learned)
    return loss.detach(), [total + gradient for total, gradient in zip(totals, found, strict=True)]


def loss_scale(device: str) -> float:
    """What a loss is multiplied by before its gradients are taken, on that type of device; see `unscaled`."""
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return _HALF_SCALE if half else 1.0


def unscaled(gradients: Sequence[Tensor], scale: float) -> list[Tensor]:
    """The gradients of a loss, of those of a loss that was multiplied by the scale."""
    return list(gradients) if scale == 1 else [gradient / scale for gradient in gradients]


def gradient_step(rate: float | Tensor) -> Rule[None]:
    """Plain gradient descent: θ − rate · ∇, for every parameter."""

    def step(params: Params, gradients: Params, state: None) -> tuple[Params, None]:
        return {name: value - rate * gradients[name] for name, value in params.items()}, None

    return step


def clipped(rule: Rule[S], max_norm: float) -> Rule[S]:
    """The rule with each task's gradients shortened to a length of `max_norm` where they are longer, differentiably."""

    def step(params: Params, gradients: Params, state: S) -> tuple[Params, S]:
        squares_B = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients.values()]
        # Clamped under the root, whose slope at 0 is infinite.
        norm_B = torch.stack(squares_B).sum(dim=0).clamp_min(max_norm**2).sqrt()
        factor_B = max_norm / norm_B
        shortened = {
            name: gradient * factor_B.reshape(-1, *[1] * (gradient.ndim - 1)) for name, gradient in gradients.items()
        }
        return rule(params, shortened, state)

    return step


def carry_gradients(value: Tensor, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """The same value, for which ``backward`` gives each parameter its gradient of that list.

    With it the graph of a task can be dropped as soon as its gradients are known, so that a batch takes the memory of
    one task. Second derivatives are lost with the graph.
    """
    value = value.detach()
    for parameter, gradient in zip(params, gradients, strict=True):
        value = value + ((parameter - parameter.detach()) * gradient).sum()
    return value


def _leaves(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def _led_back(
    outputs: list[Tensor], along: Sequence[Tensor], leaves: Params, learned: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of the leaves and of what is learned, of outputs weighted by `along`."""
    linked = [(output, weight) for output, weight in zip(outputs, along, strict=True) if output.requires_grad]
    inputs = [*leaves.values(), *learned]
    if not linked:
        return [torch.zeros_like(leaf) for leaf in leaves.values()], [torch.zeros_like(each) for each in learned]
    found = torch.autograd.grad(
        [output for output, _ in linked],
        inputs,
        [weight for _, weight in linked],
        allow_unused=True,
        materialize_grads=True,
    )
    return list(found[: len(leaves)]), list(found[len(leaves) :])


def _devices(params: Params) -> list[torch.device]:
    return list({value.device for value in params.values() if value.device.type == "cuda"})


def _random_state(params: Params) -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in _devices(params)]


def _set_random_state(state: tuple[Tensor, list[Tensor]], params: Params) -> None:
    torch.set_rng_state(state[0])
    for device, of_device in zip(_devices(params), state[1], strict=True):
        torch.cuda.set_rng_state(of_device, device)


def _check_followed(found: Sequence[Tensor | None]) -> None:
    if all(gradient is None for gradient in found):
        raise UsageError(
            "the inner loss depends on none of the parameters that move; let the model use one of them, or name others"
        )


def _check_loss(loss_B: Tensor, tasks: int) -> None:
    if loss_B.shape != (tasks,):
        raise UsageError(
            f"the inner loss has shape {list(loss_B.shape)}, but must be one number for each of {tasks} tasks; "
            "take the mean over a task's examples"
        )
    if not loss_B.requires_grad:
        raise UsageError(
            "the inner loss has no graph, so no parameter can follow it; let the model compute it with gradients "
            "enabled, from a parameter that moves"
        )


def _check_finite(losses: Sequence[Tensor], steps: range, tasks: range) -> None:
    # All steps in one go: on an accelerator each look at a value waits for the device.
    if not losses or torch.stack(list(losses)).isfinite().all():
        return
    step, loss_B = next(
        (step, loss_B) for step, loss_B in zip(steps, losses, strict=True) if not loss_B.isfinite().all()
    )
    place = int((~loss_B.isfinite()).nonzero()[0])
    raise UsageError(
        f"the inner loss of task {tasks[place]} of the batch is {float(loss_B[place])} at step {step + 1}; "
        "lower the inner learning rate, or look for infinite values in the pictures or the parameters"
    )
