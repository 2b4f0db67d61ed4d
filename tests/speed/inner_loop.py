"""A training step of MAML, second order, against the plain loop over tasks: clone, adapt, backward.

The loop has the default memory format and the layers in their usual order, ReLU before pooling, on the same parameters.
"""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.maml import MAMLLearner
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.modules import clone_module, update_module
from l2l_core.nn import Conv4, ConvClassifier, maml_init_
from tests.speed.measure import at_least, at_most, row, seconds

WAYS, SHOTS, QUERIES, RATE = 5, 1, 15, 0.4
STEPS = (1, 5)
Batch = tuple[Tensor, ...]


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    before = torch.get_num_threads()
    # The target is one for two cores, of which both sides may make what they can.
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    for steps in STEPS:
        _against_the_loop(torch.device("cpu"), 16, steps, 1.4)
    torch.set_num_threads(before)
    for steps in STEPS:
        if torch.cuda.is_available():
            _against_the_loop(torch.device("cuda"), 32, steps, 8)
        else:
            row(_what(torch.device("cuda"), 32, steps), "not measured", "no GPU")


def _against_the_loop(device: torch.device, tasks: int, steps: int, target: float) -> None:
    torch.manual_seed(0)
    model = maml_init_(ConvClassifier(Conv4(1, running_stats=False), WAYS)).to(device)
    learner, usual = MAMLLearner(model, RATE, steps), _usual(model)
    batch = _tasks(tasks, device)

    def run(step: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, Tensor]]:
        def awaited() -> tuple[Tensor, Tensor]:
            model.zero_grad()
            loss = step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return loss, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

        return awaited

    ours, loop = run(lambda: _ours(learner, batch)), run(lambda: _loop(usual, steps, batch))
    ours_s, loop_s = seconds(ours, loop, rounds=9)
    what = _what(device, tasks, steps)
    at_least(what, f"{1e3 * ours_s:.0f} ms", loop_s / ours_s, target, f"plain loop {1e3 * loop_s:.0f} ms")

    # In double precision: in single, each of the two is up to some percent away from it after five steps, because a
    # rounding error decides which pixel of a pool is the greatest, and the steps after it go elsewhere.
    model.double()
    batch = tuple(x.double() if x.is_floating_point() else x for x in batch)
    (loss, gradient), (loop_loss, loop_gradient) = ours(), loop()
    apart = max(abs(loss / loop_loss - 1), (gradient - loop_gradient).norm() / loop_gradient.norm())
    at_most("  loss and gradient", "", float(apart), 1e-5, "relative difference to the plain loop's, float64")


def _ours(learner: MAMLLearner, batch: Batch) -> Tensor:
    loss, _ = learner.meta_loss(*batch)
    loss.backward()
    return loss.detach()


def _usual(model: nn.Module) -> nn.Module:
    """The model's own layers, each block in the usual order: pooling after ReLU."""
    blocks = (nn.Sequential(conv, norm, relu, pool) for conv, norm, pool, relu in model.features.blocks)
    return nn.Sequential(*blocks, nn.Flatten(), model.classifier)


def _loop(model: nn.Module, steps: int, batch: Batch) -> Tensor:
    """The mean query loss, whose gradients are left in the model, a task after the other."""
    moving = set(without_normalisation(model))
    total = batch[0].new_zeros(())
    for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
        clone = clone_module(model)
        for _ in range(steps):
            named = dict(clone.named_parameters())
            loss = functional.cross_entropy(clone(support_x), support_y)
            found = iter(
                torch.autograd.grad(loss, [named[name] for name in named if name in moving], create_graph=True)
            )
            update_module(clone, [-RATE * next(found) if name in moving else None for name in named])
        loss = functional.cross_entropy(clone(query_x), query_y) / len(batch[0])
        loss.backward()
        total += loss.detach()
    return total


def _what(device: torch.device, tasks: int, steps: int) -> str:
    where = f"{torch.get_num_threads()} cores" if device.type == "cpu" else "GPU"
    return f"MAML, Conv4 28x28, {tasks} tasks 5w1s15q, inner steps {steps}, {where}"


def _tasks(tasks: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def some(examples: int) -> tuple[Tensor, Tensor]:
        y = torch.arange(WAYS).repeat_interleave(examples).repeat(tasks, 1)
        return torch.rand(tasks, WAYS * examples, 1, 28, 28, generator=generator).to(device), y.to(device)

    return *some(SHOTS), *some(QUERIES)
