"""Reptile: move the initialisation towards the parameters that ordinary training on each task ends with.

Letters in shapes: B tasks, M support examples of a task, C H W image.
"""

from collections.abc import Callable
from math import ceil
from typing import Final, TypeAlias, Unpack

import torch
from torch import Tensor, nn

from l2l_core.algorithms.gradient import Chunk, GradientLearner, Settings, checked_rate, cross_entropies
from l2l_core.algorithms.inner_loop import Params, Rule, inner_loop
from l2l_core.errors import UsageError

#: Adam's running means of squared gradients, [B, …] each, and how many steps they have seen.
Moments: TypeAlias = tuple[Params, int]

MOMENTS_DECAY: Final = 0.999
_EPSILON: Final = 1e-8
"""Adam's β2 and ε, as everywhere."""


class Reptile(GradientLearner):
    """Reptile for classification: an initialisation θ that a few steps of Adam on a task bring to good parameters φ.

    The gradients of `meta_loss` are the mean over tasks of θ − φ, so that an outer step of plain SGD at rate ε is the
    paper's θ + ε (φ − θ); its value, the query loss at φ, and the accuracies are for the record only. Everything that
    requires a gradient moves within a task, normalisation layers' scale and shift too: what did not move would never
    be learned.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N]. Give BatchNorm without running statistics, or
            ``norm="batch"``, to have the released code's.
        lr: Adam's in the inner loop, on the mean cross-entropy.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        minibatch, test_minibatch: support examples a step in train mode, and in eval mode; None for as many. Where a
            support set has fewer, each step takes all of them.
        settings: the others of a `GradientLearner`. ``checkpoint`` is refused: there is no graph of the steps to keep.

    Attributes:
        moments: Adam's second moments, which pass from task to task; the paper's Adam has no first ones (β1 = 0).
        moments_seen: how many inner steps they have seen.

    Symbols of the paper and what they are here:
        φ, the initialisation: θ above, the parameters of ``model``; φ̃ or W, a task's parameters: φ above.
        k, the inner steps: ``steps``.
        ε, the outer step size: the rate of the optimiser, plain SGD, for which the paper lowers it linearly to 0.
        U, the inner optimiser: Adam with β1 = 0. Its second moments stay from task to task, in training for good; in
            evaluation each task begins with those of training, and leaves them as they were, as in the released code.
            There the tasks of a batch come one after the other, each with the moments that the last one left. Here
            all of them begin with the moments at the batch's beginning, so that no task depends on another; afterwards
            the moments have followed all of their gradients, one task after the other. ε of Adam is added where
            PyTorch adds it, which is after the correction of the bias and not before.
        minibatches: each takes the next examples of the support set, which is shuffled anew whenever it is used up. The
            order comes from a generator seeded with ``moments_seen``: the same for all tasks of a batch, another for
            each batch of training, and always the same in evaluation.
        the predictor in train mode: its gradients are first-order MAML's, as if the inner gradients were constants.

    Raises:
        UsageError: settings that no run could honour, or a model without a parameter to move.

    Source: Nichol, Achiam & Schulman 2018, "On first-order meta-learning algorithms", algorithm 2 and section 6;
    openai/supervised-reptile.
    """

    moments_seen: Tensor

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1e-3,
        steps: int = 5,
        test_steps: int | None = None,
        minibatch: int = 10,
        test_minibatch: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        moving = tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)
        super().__init__(model, moving, steps, test_steps, first_order=True, **settings)
        test_minibatch = minibatch if test_minibatch is None else test_minibatch
        if minibatch < 1 or test_minibatch < 1:
            raise UsageError(
                f"Reptile was asked for minibatch = {minibatch} and test_minibatch = {test_minibatch}; give at least 1"
            )
        if self.checkpoint:
            raise UsageError(
                "Reptile was asked for checkpoint = True, but it keeps no graph of its steps; leave it out"
            )
        self.lr = checked_rate(self, lr)
        self.minibatch = minibatch
        self.test_minibatch = test_minibatch
        self.moments = nn.Module()
        for name in moving:
            self.moments.register_buffer(_buffer_name(name), torch.zeros_like(model.get_parameter(name)))
        self.register_buffer("moments_seen", torch.tensor(0))
        # Of the batch in work: the moments at the end of each task, by its number.
        self._ends: dict[int, Params] = {}

    def rule(self) -> tuple[Rule[Moments], Moments]:
        """Adam without first moments, from the moments that are kept."""

        def step(params: Params, gradients: Params, moments: Moments) -> tuple[Params, Moments]:
            squares, seen = moments
            seen += 1
            squares = {
                name: MOMENTS_DECAY * squares[name] + (1 - MOMENTS_DECAY) * gradient.detach().square()
                for name, gradient in gradients.items()
            }
            moved = {
                name: value
                - self.lr * gradients[name] / ((squares[name] / (1 - MOMENTS_DECAY**seen)).sqrt() + _EPSILON)
                for name, value in params.items()
            }
            return moved, (squares, seen)

        kept = {name: self._kept(name)[None] for name in self.moving}
        return step, (kept, int(self.moments_seen))

    def query_losses(self, chunk: Chunk, query_x: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The query losses and logits at φ; the gradient of each task's loss is θ − φ."""
        rule, state = self._rule()
        start = self.start(chunk)
        loss_of = self._inner_loss(chunk, chunk.support_x)
        params, (squares, _) = inner_loop(loss_of, start, rule, state, range(self._steps), 0, chunk.tasks)
        for place, task in enumerate(chunk.tasks):
            self._ends[task] = {name: square[place % len(square)] for name, square in squares.items()}
        with torch.no_grad():
            logits_BQN = self.logits(chunk, params, query_x, self._steps)
            losses_B = cross_entropies(logits_BQN, query_y)
        for name, theta in start.items():
            way = theta.detach() - params[name]
            losses_B = losses_B + ((theta - theta.detach()) * way).flatten(1).sum(dim=1)
        return losses_B, logits_BQN

    def meta_loss(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `GradientLearner.meta_loss`; the value is the query loss, the gradients are the means of θ − φ."""
        self._ends = {}
        return super().meta_loss(support_x, support_y, query_x, query_y)

    def trained(self, differentiable: bool) -> None:
        """The kept moments follow the gradients of all tasks, one task after the other."""
        ends = [self._ends[task] for task in sorted(self._ends)]
        self._ends = {}
        if not (differentiable and self.training):
            return
        shrink = MOMENTS_DECAY**self.steps
        for name in self.moving:
            kept = self._kept(name)
            before = kept.clone()
            for end in ends:
                # end − shrink · before is what the task's own gradients add
                kept.mul_(shrink).add_(end[name] - shrink * before)
        self.moments_seen += self.steps * len(ends)

    def _inner_loss(self, chunk: Chunk, prepared: Tensor) -> Callable[[Params, int], Tensor]:
        whole = super()._inner_loss
        size = self.minibatch if self.training else self.test_minibatch
        batches = minibatches(prepared.shape[1], size, self._steps, seed=int(self.moments_seen))

        def loss_of(params: Params, step: int) -> Tensor:
            batch = batches[step].to(prepared.device)
            part = chunk._replace(support_y=chunk.support_y[:, batch])
            return whole(part, prepared[:, batch])(params, step)

        return loss_of

    def _kept(self, name: str) -> Tensor:
        return self.moments.get_buffer(_buffer_name(name))


def minibatches(examples: int, size: int, count: int, seed: int) -> Tensor:
    """Places of examples, int64 [count, size]: all of them in random order, then all again in another, and so on.

    Args:
        examples: how many there are.
        size: of a minibatch; with fewer examples, of all of them.
        count: how many minibatches.
        seed: decides the orders.
    """
    size = min(size, examples)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(examples, generator=generator) for _ in range(ceil(count * size / examples))]
    return torch.cat([*orders, torch.empty(0, dtype=torch.int64)])[: count * size].reshape(count, size)


def _buffer_name(name: str) -> str:
    # A buffer's name holds no dot, and an attribute's no hyphen.
    return name.replace(".", "-")
