"""Model-agnostic meta-learning: a wrapper with learn2learn's meaning, and a learner on the shared inner loop."""

from collections.abc import Sequence
from typing import Any, TypeVar, Unpack

from torch import Tensor, nn

from l2l_core.algorithms.gradient import GradientLearner, Settings, checked_rate
from l2l_core.algorithms.inner_loop import Rule, gradient_step
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.modules import clone_module, update_module
from l2l_core.optim.gradients import held_gradients, named_gradients

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
        grads = held_gradients(model)
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
        gradients = named_gradients(
            f"{type(self).__name__}.adapt",
            loss,
            self.module.named_parameters(),
            create_graph=not first_order,
            retain_graph=not first_order,
            allow_unused=allow_unused,
            allow_nograd=allow_nograd,
        )
        self._step(gradients)

    def clone(
        self,
        first_order: bool | None = None,
        allow_unused: bool | None = None,
        allow_nograd: bool | None = None,
    ) -> "MAML":
        """Another of its kind, whose module, and rates where they are learned, are differentiable copies of this one's.

        Args:
            first_order, allow_unused, allow_nograd: as of the class, for the copy; None takes the class's.
        """
        clone = self._copy()
        clone.first_order = self.first_order if first_order is None else first_order
        clone.allow_unused = self.allow_unused if allow_unused is None else allow_unused
        clone.allow_nograd = self.allow_nograd if allow_nograd is None else allow_nograd
        clone.training = self.training
        return clone

    def _step(self, gradients: Sequence[Tensor | None]) -> None:
        maml_update(self.module, self.lr, gradients)

    def _copy(self) -> "MAML":
        return MAML(clone_module(self.module), self.lr)


class MAMLLearner(GradientLearner):
    """MAML for classification: each task starts from the model's parameters and takes a few gradient steps.

    Normalisation layers' scale and shift are learned across tasks, and do not move within one.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N]. Give BatchNorm without running statistics, or
            ``norm="batch"``, to have the paper's.
        lr: the inner learning rate, on the mean cross-entropy.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        first_order: take inner gradients as constants (FOMAML).
        settings: the others of a `GradientLearner`.

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
        self,
        model: nn.Module,
        lr: float,
        steps: int,
        test_steps: int | None = None,
        first_order: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(model, without_normalisation(model), steps, test_steps, first_order=first_order, **settings)
        self.lr = checked_rate(self, lr)

    def rule(self) -> tuple[Rule[None], None]:
        """Plain gradient descent."""
        return gradient_step(self.lr), None
