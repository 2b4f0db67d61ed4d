"""Meta-SGD: MAML with a learned rate for each element of each parameter, as learn2learn's wrapper and as a learner."""

from collections.abc import Iterable, Sequence
from typing import TypeVar, Unpack

import torch
from torch import Tensor, nn

from l2l_core.algorithms.gradient import GradientLearner, Settings
from l2l_core.algorithms.inner_loop import Params, Rule
from l2l_core.algorithms.maml import MAML
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.errors import UsageError
from l2l_core.modules import clone_module, clone_parameters, update_module
from l2l_core.optim.gradients import held_gradients

M = TypeVar("M", bound=nn.Module)


def meta_sgd_update(model: M, lrs: Iterable[Tensor] | None = None, grads: Iterable[Tensor | None] | None = None) -> M:
    """The model itself, each parameter p of which is now p − lr · g, differentiable in p, lr and g.

    Args:
        model: changed in place.
        lrs: one lr for each of ``model.parameters()``, in order: of its shape, or one that broadcasts to it. Without
            lrs, each parameter's attribute ``_lr`` is taken.
        grads: one g for each of them; None leaves that parameter as it is. Without grads, each parameter's ``.grad``
            is taken.

    Mended from learn2learn: rates or gradients of a wrong number are refused, lrs and grads can be given alone, and the
    gradients and rates given are not left behind on the parameters.

    Raises:
        UsageError: the rates or the gradients do not fit the parameters.
    """
    parameters = list(model.parameters())
    rates = [getattr(p, "_lr", None) for p in parameters] if lrs is None else list(lrs)
    gradients = held_gradients(model) if grads is None else list(grads)
    if not len(rates) == len(gradients) == len(parameters):
        raise UsageError(
            f"meta_sgd_update was given {len(rates)} rates and {len(gradients)} gradients for {len(parameters)} "
            f"parameters of {type(model).__name__}; give one of each for each"
        )
    updates: list[Tensor | None] = []
    for (name, _), rate, gradient in zip(model.named_parameters(), rates, gradients, strict=True):
        if gradient is None:
            updates.append(None)
            continue
        if rate is None:
            raise UsageError(f"meta_sgd_update found no rate for {name!r}; pass lrs, or set its attribute _lr")
        updates.append(-rate * gradient)
    return update_module(model, updates)


class MetaSGD(MAML):
    """A module that can be cloned and adapted with learned rates; its value and other attributes are the module's.

        meta_sgd = MetaSGD(model, lr=0.01)
        task = meta_sgd.clone()
        task.adapt(loss(task(support_x), support_y))
        loss(task(query_x), query_y).backward()         # gradients arrive in model and in meta_sgd.lrs

    Args:
        model: the module.
        lr: where every rate starts.
        first_order: take inner gradients as constants; the clone stays linked to the module and to the rates.
        lrs: the rates instead, one for each of ``model.parameters()``, in order: of its shape, or one that broadcasts
            to it.
        allow_unused: let parameters that the loss does not depend on be; None takes ``allow_nograd``.
        allow_nograd: let parameters that require no gradient be.

    Attributes:
        module: the model.
        lrs: the rates, a ParameterList; a clone's are a plain list of tensors.

    Symbols of the paper and what they are here:
        θ, the initialisation: the parameters of ``model``.
        α, the rates, which are direction and step at once and may become negative: ``lrs``. The paper draws each start
            at random near a small value; learn2learn and we start them all at ``lr``, and you can pass others.
        α ∘ ∇L: `meta_sgd_update`. The paper takes one inner step; call `adapt` once for that.
        β, the outer step size: the optimiser's.

    Mended from learn2learn: unused and frozen parameters can be allowed; where the loss cannot be differentiated, the
    message names the parameters at fault; Parameters given as a plain list are trained with the rest; parameters that
    are tied stay tied; a clone is in train or eval mode as what it was cloned from.

    Raises:
        UsageError: another number of rates than of parameters.

    Source: Li et al. 2017, "Meta-SGD: learning to learn quickly for few-shot learning", algorithm 1.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float | Tensor = 1.0,
        first_order: bool = False,
        lrs: Iterable[Tensor] | None = None,
        allow_unused: bool | None = None,
        allow_nograd: bool = False,
    ) -> None:
        super().__init__(model, lr, first_order, allow_unused, allow_nograd)
        parameters = list(model.parameters())
        rates: list[Tensor] = [nn.Parameter(torch.ones_like(p) * lr) for p in parameters] if lrs is None else list(lrs)
        if len(rates) != len(parameters):
            raise UsageError(
                f"MetaSGD was given {len(rates)} rates for {len(parameters)} parameters of {type(model).__name__}; "
                "give one for each"
            )
        # A ParameterList would make new leaves of the tensors of a clone.
        learned = all(isinstance(rate, nn.Parameter) for rate in rates)
        self.lrs: Iterable[Tensor] = nn.ParameterList(rates) if learned else rates

    def _step(self, gradients: Sequence[Tensor | None]) -> None:
        meta_sgd_update(self.module, self.lrs, gradients)

    def _copy(self) -> "MetaSGD":
        return MetaSGD(clone_module(self.module), self.lr, lrs=clone_parameters(self.lrs))


class MetaSGDLearner(GradientLearner):
    """Meta-SGD for classification: MAML whose inner step has a learned rate for each element of each parameter.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N].
        lr_range: each rate starts at random between these two, uniformly, by torch's global generator.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        first_order: take inner gradients as constants; the rates are learned all the same.
        settings: the others of a `GradientLearner`.

    Attributes:
        lrs: the rates, one tensor for each name of ``moving``, in order and of its shape.

    Symbols of the paper and what they are here:
        θ, the initialisation: the parameters of ``model``. Normalisation layers' scale and shift do not move within a
            task, and have no rates.
        α, the rates: ``lrs``. They are direction and step at once, and may become negative.
        β, the outer step size: the optimiser's, the same for θ and α.

    Raises:
        UsageError: settings that no run could honour, or a model without a parameter to move.

    Source: Li et al. 2017, "Meta-SGD: learning to learn quickly for few-shot learning", algorithm 1 and section 4.2.
    """

    def __init__(
        self,
        model: nn.Module,
        lr_range: tuple[float, float] = (0.005, 0.1),
        steps: int = 1,
        test_steps: int | None = None,
        first_order: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(model, without_normalisation(model), steps, test_steps, first_order=first_order, **settings)
        low, high = lr_range
        if not 0 < low <= high:
            raise UsageError(
                f"MetaSGDLearner was asked for rates that start from {low} to {high}; give a range above 0, low first"
            )
        self.lrs = nn.ParameterList(torch.empty_like(model.get_parameter(n)).uniform_(low, high) for n in self.moving)

    def rule(self) -> tuple[Rule[None], None]:
        """Gradient descent at the learned rates."""

        def step(params: Params, gradients: Params, state: None) -> tuple[Params, None]:
            moved = {
                name: value - lr * gradients[name] for (name, value), lr in zip(params.items(), self.lrs, strict=True)
            }
            return moved, None

        return step, None
