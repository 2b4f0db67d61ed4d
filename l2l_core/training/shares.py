"""A training step that several processes share out: each takes some of its tasks, or of its examples.

What a step does to the parameters is then what one process would do with all of them, up to rounding; and so it is with
buffers, which a step changes on its way. Random choices, as of dropout, are those of another run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from l2l_core import distributed
from l2l_core.algorithms.gradient import GradientLearner
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.metric import MetricLearner
from l2l_core.algorithms.reptile import MOMENTS_DECAY, Reptile
from l2l_core.nn.dropblock import DropBlock
from l2l_core.nn.shared_batch_norm import statistics_of_all


@dataclass(frozen=True, slots=True)
class Share:
    """What a process does of a step.

    Attributes:
        part: the tasks, or examples, that are its own, counted from 0.
        weight: what their mean loss counts for; over all processes it sums to 1.
        is_part: whether others do the rest.
    """

    part: range
    weight: float
    is_part: bool

    @property
    def draws(self) -> int:
        """Which of the step's random words seeds what is random in this share: none has another's dropout."""
        return distributed.rank() if self.is_part else 0


def share_of(units: int) -> Share:
    """This process's share of so many tasks or examples; of fewer than there are processes, all of them in each."""
    if units < distributed.size():
        return Share(range(units), 1 / distributed.size(), False)
    part = distributed.share(units)
    return Share(part, len(part) / units, distributed.size() > 1)


@contextmanager
def as_one(learner: Learner, share: Share) -> Iterator[None]:
    """A context for the forward pass of a share, in which statistics and buffers become those of the whole step.

    Tasks that gradients adapt to have statistics of their own, and running ones follow them one after the other.
    Learners that embed all tasks in one batch have that batch's, over all processes.
    """
    if not share.is_part:
        yield
    elif isinstance(learner, GradientLearner):
        with _followed_in_turn(learner):
            yield
    elif isinstance(learner, MetricLearner):
        with statistics_of_all(learner):
            yield
    else:
        yield


def sum_gradients(learner: Learner) -> None:
    """Nothing; each gradient is the sum of those of all processes."""
    if distributed.size() == 1:
        return
    gradients = [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]
    for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
        alike = [gradient for gradient in gradients if gradient.dtype == dtype]
        flat = distributed.sum_(torch.cat([gradient.flatten() for gradient in alike]))
        for gradient, values in zip(alike, torch.split(flat, [gradient.numel() for gradient in alike]), strict=True):
            gradient.copy_(values.view_as(gradient))


@contextmanager
def _followed_in_turn(learner: GradientLearner) -> Iterator[None]:
    """A context after which buffers are as if the tasks of all processes had come one after the other.

    n steps of a running mean take it from b to d^n·b + s, where s is of the steps alone; so what the processes did
    can be put one after the other.
    """
    running = [
        (counter, counter.clone(), [(buffer, buffer.clone()) for buffer in buffers], decay)
        for buffers, counter, decay in _running(learner)
    ]
    yield
    for counter, counted, buffers, decay in running:
        steps_R = distributed.gathered(counter - counted)
        counter.copy_(counted + steps_R.sum(dim=0))
        own, later = steps_R[distributed.rank()], steps_R[distributed.rank() + 1 :].sum(dim=0)
        for buffer, before in buffers:
            added = (buffer - before * _power(decay, own, buffer)) * _power(decay, later, buffer)
            buffer.copy_(before * _power(decay, steps_R.sum(dim=0), buffer) + distributed.sum_(added))


def _running(learner: GradientLearner) -> Iterator[tuple[list[Tensor], Tensor, float]]:
    """Running means that follow the tasks: their buffers, the count of their steps, and what a step leaves of them."""
    for layer in learner.modules():
        if isinstance(layer, DropBlock):
            yield [], layer.passes, 1.0
        elif isinstance(layer, _BatchNorm) and layer.num_batches_tracked is not None and layer.momentum is not None:
            assert layer.running_mean is not None
            assert layer.running_var is not None
            yield [layer.running_mean, layer.running_var], layer.num_batches_tracked, 1 - layer.momentum
    if isinstance(learner, Reptile):
        yield list(learner.moments.buffers()), learner.moments_seen, MOMENTS_DECAY


def _power(decay: float, steps: Tensor, buffer: Tensor) -> Tensor:
    """decayⁿ for each set of the buffer, of which n steps are counted one by one, or all together."""
    power = torch.pow(decay, steps.double()).to(buffer.dtype)
    return power.reshape(*steps.shape, *[1] * (buffer.ndim - steps.ndim))
