"""MAML++: MAML with rates and BatchNorm of each inner step's own, a loss after every step, and a cheap beginning."""

from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from l2l_core.algorithms.gradient import Chunk, GradientLearner, Settings, checked_rate, cross_entropies
from l2l_core.algorithms.inner_loop import Params, Rule, inner_steps
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.errors import UsageError


class PerStepBatchNorm(_BatchNorm):
    """BatchNorm with a set of running statistics, scales and shifts for each inner step.

    Args:
        layer: what each set starts as.
        sets: how many.

    Attributes:
        step: which set is in use, at first the last one.
        weight, bias, running_mean, running_var: [sets, C] each, or None where the layer has none.

    Source: Antoniou et al. 2019, section 4, "per-step batch normalization" of statistics, and of weights and biases.
    """

    def __init__(self, layer: _BatchNorm, sets: int) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats, self.training = layer.affine, layer.track_running_stats, layer.training
        self.step = sets - 1
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, nn.Parameter(_copies(parameter, sets), parameter.requires_grad))
        for name, buffer in layer.named_buffers(recurse=False):
            self.register_buffer(name, _copies(buffer, sets))

    def forward(self, input: Tensor) -> Tensor:
        """What BatchNorm with the set in use gives; in train mode its running statistics follow."""
        mean, var, seen = (
            None if tensor is None else tensor[self.step]
            for tensor in (self.running_mean, self.running_var, self.num_batches_tracked)
        )
        momentum = self.momentum
        if self.training and seen is not None:
            seen += 1
            momentum = 1 / float(seen) if momentum is None else momentum
        weight, bias = (None if tensor is None else tensor[self.step] for tensor in (self.weight, self.bias))
        by_batch = self.training or mean is None
        return functional.batch_norm(input, mean, var, weight, bias, by_batch, momentum or 0.0, self.eps)


class MAMLPlusPlus(GradientLearner):
    """MAML++ for classification: MAML, with what keeps it from being unstable and slow.

    In train mode `meta_loss` gives the query losses after each inner step, weighted as `loss_weights` has it, and the
    accuracy after the last one; in eval mode the loss after the last step. How far training has come is counted in
    calls of `meta_loss` in train mode, with gradients, and kept in the state dict: a checkpoint resumes it.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N]. Changed in place: each BatchNorm layer becomes a
            `PerStepBatchNorm` that starts as that layer.
        lr: where each inner learning rate starts, on the mean cross-entropy.
        steps: inner steps in both modes, since each has rates and statistics of its own.
        multi_step_for: outer steps over which the losses before the last step lose their weight; 0 for none at all.
        first_order_for: outer steps at the start that take inner gradients as constants. It concerns `meta_loss`:
            gradients through a predictor are of second order.
        settings: the others of a `GradientLearner`. ``checkpoint`` is refused, since the graph of all steps is needed
            at once. In training with running statistics, which all tasks write, ``strategy="auto"`` is the loop.

    Attributes:
        rates: the inner learning rates [steps, parameters that move], in the order of ``moving``.
        progress: outer steps so far.

    Symbols of the paper and what they are here:
        v_i, the importance of the query loss after step i (MSL): `loss_weights`. It falls in a straight line to 0; the
            released code stops at 0.03 / N, for as long as the phase lasts, and changes once an epoch.
        derivative-order annealing (DA): ``first_order_for``; the paper takes 50 epochs.
        per-step BatchNorm (BNRS, BNWB): `PerStepBatchNorm`, N sets for N steps. A set serves the support set at a step
            and, after it, the queries. In eval mode the running statistics of the step are used, as the paper has it;
            the released code always uses the batch's: ``norm="batch"``. Scale and shift do not move within a task.
        α, learned per layer and step (LSLR): ``rates``, one for each parameter tensor, as in the released code, which
            also holds an unused one after the last step.
        cosine annealing of the outer rate (CA): the optimiser's, outside this class.
        the ensemble of the best checkpoints at test: whoever evaluates.

    Raises:
        UsageError: settings that no run could honour, a model without a parameter to move, or one whose BatchNorm
            layers are per step already.

    Source: Antoniou et al. 2019, "How to train your MAML", section 4; AntreasAntoniou/HowToTrainYourMAMLPytorch.
    """

    progress: Tensor

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        steps: int = 5,
        multi_step_for: int = 5_000,
        first_order_for: int = 0,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(model, without_normalisation(model), steps, **settings)
        if steps < 1:
            raise UsageError(f"MAMLPlusPlus was asked for steps = {steps}; give at least 1")
        if multi_step_for < 0 or first_order_for < 0:
            raise UsageError(
                f"MAMLPlusPlus was asked for multi_step_for = {multi_step_for} and first_order_for = "
                f"{first_order_for}; give numbers of outer steps of at least 0"
            )
        if self.checkpoint:
            raise UsageError(
                "MAMLPlusPlus was asked for checkpoint = True, but its loss needs the graph of all steps at once; "
                "leave it out"
            )
        _make_per_step(model, steps)
        some = model.get_parameter(self.moving[0])
        self.rates = nn.Parameter(some.new_full((steps, len(self.moving)), checked_rate(self, lr)))
        self.multi_step_for = multi_step_for
        self.first_order_for = first_order_for
        self.register_buffer("progress", torch.tensor(0))

    @property
    def loss_weights(self) -> list[float]:
        """What the query loss after each inner step counts in training now, [steps]; they sum to 1."""
        left = 1 - int(self.progress) / self.multi_step_for if self.multi_step_for else 0.0
        each = max(left, 0.0) / self.steps
        return [each] * (self.steps - 1) + [1 - each * (self.steps - 1)]

    def rule(self) -> tuple[Rule[int], int]:
        """Gradient descent at the rates of the step."""

        def step(params: Params, gradients: Params, number: int) -> tuple[Params, int]:
            moved = {
                name: value - rate * gradients[name]
                for (name, value), rate in zip(params.items(), self.rates[number], strict=True)
            }
            return moved, number + 1

        return step, 0

    def logits(self, chunk: Chunk, params: Params, prepared: Tensor, step: int) -> Tensor:
        """The model's, with the BatchNorm of that step; with the last one after the last step."""
        for layer in chunk.net.modules():
            if isinstance(layer, PerStepBatchNorm):
                layer.step = min(step, self.steps - 1)
        return super().logits(chunk, params, prepared, step)

    def query_losses(self, chunk: Chunk, query_x: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted query losses of each task, [B], and the logits after the last step, [B, Q, N]."""
        if self.training and chunk.order == 2 and int(self.progress) < self.first_order_for:
            chunk = chunk._replace(order=1)
        weights = self.loss_weights if self.training else [0.0] * (self.steps - 1) + [1.0]
        loss_of = self._inner_loss(chunk, self.prepare(chunk, chunk.support_x))
        query = self.prepare(chunk, query_x)
        rule, state = self._rule()
        losses_B = query_x.new_zeros(len(query_x))
        each_step = inner_steps(loss_of, self.start(chunk), rule, state, range(self.steps), chunk.order, chunk.tasks)
        for number, (params, _) in enumerate(each_step):
            if weights[number]:
                logits_BQN = self.logits(chunk, params, query, number)
                losses_B = losses_B + weights[number] * cross_entropies(logits_BQN, query_y)
        return losses_B, logits_BQN

    def trained(self, differentiable: bool) -> None:
        """One outer step more, in train mode."""
        if differentiable and self.training:
            self.progress += 1


def _copies(tensor: Tensor, count: int) -> Tensor:
    return tensor.detach().expand(count, *tensor.shape).clone()


def _make_per_step(model: nn.Module, sets: int) -> None:
    """Nothing; each BatchNorm layer of the model has become one with that many sets, in every place where it stood."""
    if any(isinstance(layer, PerStepBatchNorm) for layer in model.modules()):
        raise UsageError(
            f"MAMLPlusPlus was given a {type(model).__name__} whose BatchNorm layers are per step already; "
            "give a fresh one"
        )
    made = {layer: PerStepBatchNorm(layer, sets) for layer in model.modules() if isinstance(layer, _BatchNorm)}
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if isinstance(child, _BatchNorm) and child in made:
                module._modules[name] = made[child]
