"""Model-agnostic meta-learning: a wrapper with learn2learn's meaning, and a learner on the shared inner loop.

Letters in shapes: B tasks, N ways, M support examples, Q queries, C H W image.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from l2l_core.algorithms.inner_loop import (
    Order,
    Params,
    carry_gradients,
    gradient_step,
    inner_loop,
    without_normalisation,
)
from l2l_core.algorithms.learner import Learner, Predictor, check_query, check_support, check_targets, score
from l2l_core.errors import UsageError
from l2l_core.modules import clone_module, update_module

M = TypeVar("M", bound=nn.Module)


def maml_update(model: M, lr: float | Tensor, grads: Sequence[Tensor | None] | None = None) -> M:
    """The model itself, each parameter p of which is now p − lr · g, differentiable in p, lr and g.

    Args:
        model: changed in place.
        lr: the step.
        grads: one g for each of ``model.parameters()``, in order; None leaves that parameter as it is. Without grads,
            each parameter's ``.grad`` is taken.

    Mended from learn2learn: a wrong number of gradients is refused, and without grads the ``.grad`` attributes are
    used, as was documented there.

    Raises:
        UsageError: the gradients do not fit the parameters.
    """
    if grads is None:
        # To ask a tensor inside the graph for .grad is a warning, and its answer None.
        grads = [p.grad if p.is_leaf or p.retains_grad else None for p in model.parameters()]
    return update_module(model, updates=[None if g is None else -lr * g for g in grads])


class MAML(nn.Module):
    """A module that can be cloned and adapted; its value is the module's. Other attributes are the module's own.

        maml = MAML(model, lr=0.1)
        task = maml.clone()
        task.adapt(loss(task(support_x), support_y))
        loss(task(query_x), query_y).backward()         # gradients arrive in model

    Args:
        model: the module.
        lr: of the inner gradient step.
        first_order: take inner gradients as constants; the clone stays linked to the module.
        allow_unused: let parameters that the loss does not depend on be; None takes ``allow_nograd``.
        allow_nograd: let parameters that require no gradient be.

    Attributes:
        module: the model.

    Mended from learn2learn: where the loss cannot be differentiated, the message names the parameters at fault; a clone
    is in train or eval mode as what it was cloned from.

    Source: Finn et al. 2017, algorithm 1.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float | Tensor,
        first_order: bool = False,
        allow_unused: bool | None = None,
        allow_nograd: bool = False,
    ) -> None:
        super().__init__()
        self.module = model
        self.lr = lr
        self.first_order = first_order
        self.allow_nograd = allow_nograd
        self.allow_unused = allow_nograd if allow_unused is None else allow_unused

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Not self.module: before it is set (as in unpickling) that would come back here without end.
            module = self.__dict__.get("_modules", {}).get("module")
            if module is None:
                raise
            return getattr(module, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        return self.module(*args, **kwargs)

    def adapt(
        self,
        loss: Tensor,
        first_order: bool | None = None,
        allow_unused: bool | None = None,
        allow_nograd: bool | None = None,
    ) -> None:
        """Nothing; the module has taken one gradient step on the loss, in place, so call it on a clone.

        Args:
            loss: a scalar that depends on the module's parameters.
            first_order, allow_unused, allow_nograd: as of the class, for this step; None takes the class's.

        Raises:
            UsageError: the loss is not differentiable, or not with respect to some parameter that nothing excuses.
        """
        first_order = self.first_order if first_order is None else first_order
        allow_unused = self.allow_unused if allow_unused is None else allow_unused
        allow_nograd = self.allow_nograd if allow_nograd is None else allow_nograd
        if not loss.requires_grad:
            raise UsageError(
                "MAML.adapt was given a loss without a graph; compute it from this clone, with gradients enabled"
            )
        named: dict[str, Tensor] = dict(self.module.named_parameters())
        differentiable = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
        frozen = [name for name in named if name not in differentiable]
        if frozen and not allow_nograd:
            raise UsageError(
                f"MAML.adapt was asked to adapt {_some(frozen)}, which requires no gradient; "
                "pass allow_nograd=True to leave it as it is"
            )
        gradients = torch.autograd.grad(
            loss,
            list(differentiable.values()),
            retain_graph=not first_order,
            create_graph=not first_order,
            allow_unused=True,
        )
        of_name = dict(zip(differentiable, gradients, strict=True))
        unused = [name for name, gradient in of_name.items() if gradient is None]
        if unused and not allow_unused:
            raise UsageError(
                f"MAML.adapt was asked to adapt {_some(unused)}, on which the loss does not depend; "
                "pass allow_unused=True to leave it as it is"
            )
        maml_update(self.module, self.lr, [of_name.get(name) for name in named])

    def clone(
        self,
        first_order: bool | None = None,
        allow_unused: bool | None = None,
        allow_nograd: bool | None = None,
    ) -> "MAML":
        """A MAML whose module is a differentiable copy of this one's (`clone_module`).

        Args:
            first_order, allow_unused, allow_nograd: as of the class, for the copy; None takes the class's.
        """
        clone = MAML(
            clone_module(self.module),
            lr=self.lr,
            first_order=self.first_order if first_order is None else first_order,
            allow_unused=self.allow_unused if allow_unused is None else allow_unused,
            allow_nograd=self.allow_nograd if allow_nograd is None else allow_nograd,
        )
        clone.training = self.training
        return clone


class MAMLLearner(Learner):
    """MAML for classification: each task starts from the model's parameters and takes a few gradient steps.

    Normalisation layers' scale and shift are learned across tasks, and do not move within one.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N]. Give BatchNorm without running statistics to have the
            paper's; where there are some, train mode uses and updates them as always, and eval mode needs them.
        lr: the inner learning rate, on the mean cross-entropy.
        steps: inner steps in train mode.
        test_steps: inner steps in eval mode; None for as many.
        first_order: take inner gradients as constants (FOMAML).

    Symbols of the paper and what they are here:
        θ, the initialisation: the parameters of ``model``.
        θ'_i, the parameters adapted to task T_i: what the predictor of `adapt` uses.
        α, the inner step size: ``lr``. The released code's loss is the mean over shots *summed over classes*, so its
            rate times N is ours: 0.4 in 5-way becomes 2.0.
        β, the outer step size: the optimiser's, outside this class.
        K, the shots: the data's business.
        batch normalisation: batch statistics in training and in test; its parameters stay put in the inner loop, as
            in the released code.

    Raises:
        UsageError: settings that no run could honour, or a model without a parameter to move.

    Source: Finn et al. 2017, algorithm 2 and section 5.2; cbfinn/maml.
    """

    def __init__(
        self, model: nn.Module, lr: float, steps: int, test_steps: int | None = None, first_order: bool = False
    ) -> None:
        super().__init__()
        test_steps = steps if test_steps is None else test_steps
        if not lr > 0 or steps < 0 or test_steps < 0:
            raise UsageError(
                f"MAMLLearner was asked for lr = {lr}, steps = {steps} and test_steps = {test_steps}; "
                "give a rate above 0 and steps of at least 0"
            )
        self.model = model
        self.lr = lr
        self.steps = steps
        self.test_steps = test_steps
        self.first_order = first_order
        self.moving = without_normalisation(model)
        if not self.moving:
            raise UsageError(
                f"MAMLLearner was given a {type(model).__name__} without a parameter to move; "
                "give a model with parameters that require a gradient"
            )

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        """As `Learner.adapt`: the inner loop runs here, under ``torch.no_grad()`` too."""
        ways = check_support(support_x, support_y)
        differentiable = self.training and torch.is_grad_enabled()
        # The inner loop needs gradients, whatever mode the caller is in.
        with torch.inference_mode(False), torch.enable_grad():
            adapted = [
                self._adapt_task(task_x, task_y, ways, task, differentiable, self._spare_buffers())
                for task, (task_x, task_y) in enumerate(zip(_ordinary(support_x), _ordinary(support_y), strict=True))
            ]

        def predict(query_x: Tensor) -> Tensor:
            check_query(query_x, support_x)
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
                return torch.stack(
                    [
                        self._logits(params, task_x, self._spare_buffers())
                        for params, task_x in zip(adapted, query_x, strict=True)
                    ]
                )

        return predict

    def meta_loss(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Learner.meta_loss`; ``backward`` through it works once, and to first derivatives only.

        The gradients are computed here, task by task, so that a batch of tasks takes the memory of one.
        """
        ways = check_support(support_x, support_y)
        check_query(query_x, support_x)
        check_targets(query_y, query_x, ways)
        differentiable = torch.is_grad_enabled()
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        gradients = [torch.zeros_like(parameter) for parameter in learned]
        losses, accuracies = [], []
        # A plain loop. On two cores, Conv4 with stride, 32 tasks of 5-way 1-shot with one second-order step took 0.23 s
        # so, as with clone_module; vmap over tasks 0.16 s. But 16 tasks of 20-way with five steps took 0.9 s so and
        # 1.6 s by vmap (its grouped convolutions are slow once a task fills the cores), at many times the memory,
        # and vmap bars models with data-dependent control flow. channels_last changed nothing at these sizes.
        for task, (task_x, task_y) in enumerate(zip(support_x, support_y, strict=True)):
            with torch.enable_grad():
                params = self._adapt_task(task_x, task_y, ways, task, differentiable, {})
            with torch.set_grad_enabled(differentiable):
                logits = self._logits(params, query_x[task], {})
                loss, accuracy = score(logits[None], query_y[task][None])
            if differentiable:
                found = torch.autograd.grad(loss, learned, allow_unused=True, materialize_grads=True)
                for total, gradient in zip(gradients, found, strict=True):
                    total.add_(gradient, alpha=1 / len(support_x))
            losses.append(loss.detach())
            accuracies.append(accuracy)
        mean = torch.stack(losses).mean()
        if differentiable:
            mean = carry_gradients(mean, learned, gradients)
        return mean, torch.cat(accuracies)

    def _adapt_task(
        self,
        support_x: Tensor,
        support_y: Tensor,
        ways: int,
        task: int,
        differentiable: bool,
        buffers: Params,
    ) -> Params:
        def loss_of(params: Params) -> Tensor:
            logits_MN = self._logits(params, support_x, buffers)
            if logits_MN.shape[1:] != (ways,):
                raise UsageError(
                    f"the support has {ways} classes, but the model gives logits {list(logits_MN.shape)}; "
                    f"build it for {ways} ways"
                )
            return functional.cross_entropy(logits_MN, support_y)

        order: Order = 0 if not differentiable else 1 if self.first_order else 2
        parameters: Params = dict(self.model.named_parameters())
        params, _ = inner_loop(
            loss_of,
            {name: parameters[name] for name in self.moving},
            gradient_step(self.lr),
            None,
            self.steps if self.training else self.test_steps,
            order,
            task,
        )
        return params

    def _logits(self, params: Params, pictures_MCHW: Tensor, buffers: Params) -> Tensor:
        logits_MN: Tensor = functional_call(self.model, {**buffers, **params}, (pictures_MCHW,))
        return logits_MN

    def _spare_buffers(self) -> Params:
        # What a forward pass in train mode writes goes here, and not into the learner.
        return {name: buffer.clone() for name, buffer in self.model.named_buffers()}


def _ordinary(tensor: Tensor) -> Tensor:
    """The same values, as a tensor that a graph may keep even where it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
