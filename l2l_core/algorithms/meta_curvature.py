"""Learners whose inner gradients go through a learned transform: meta-curvature, Kronecker-factored maps, any other."""

from typing import Unpack

import torch
from torch import Tensor, nn

from l2l_core.algorithms.gradient import GradientLearner, Settings, checked_rate
from l2l_core.algorithms.inner_loop import Params, Rule
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.nn.closed_form import exactly
from l2l_core.nn.kronecker import KroneckerLinear
from l2l_core.optim.transforms import KroneckerTransform, MetaCurvatureTransform, TransformOf, transform_of


class TransformLearner(GradientLearner):
    """MAML whose inner step is θ − lr · T(∇), with a learned transform T for each parameter that moves.

    Args:
        model: from pictures [M, C, H, W] to logits [M, N].
        transform: from a parameter to the module that transforms its gradient, or None to leave gradients as they are;
            `l2l_core.optim.transforms` has several, and `TransformDictionary` gives each layer its own.
        lr: the inner learning rate, on the mean cross-entropy.
        steps, test_steps: inner steps in train mode, and in eval mode; None for as many.
        first_order: take inner gradients as constants; the transforms are learned all the same.
        settings: the others of a `GradientLearner`.

    Attributes:
        transforms: one for each name of ``moving``, in order; they are shared by all steps and tasks. ``clip`` shortens
            gradients before they are transformed.

    Raises:
        UsageError: settings that no run could honour, a model without a parameter to move, or a transform that is
            neither a module nor None.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: TransformOf,
        lr: float,
        steps: int,
        test_steps: int | None = None,
        first_order: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(model, without_normalisation(model), steps, test_steps, first_order=first_order, **settings)
        self.lr = checked_rate(self, lr)
        made = [transform_of(transform, model.get_parameter(name)) for name in self.moving]
        self.transforms = nn.ModuleList(nn.Identity() if module is None else module for module in made)

    def rule(self) -> tuple[Rule[None], None]:
        """Gradient descent along the transformed gradients."""

        def step(params: Params, gradients: Params, state: None) -> tuple[Params, None]:
            # Parameters and gradients are in full precision, and so is the way from one to the other.
            with exactly(next(iter(params.values()))):
                moved = {
                    name: value - self.lr * _of_tasks(transform, gradients[name])
                    for (name, value), transform in zip(params.items(), self.transforms, strict=True)
                }
            return moved, None

        return step, None


class MetaCurvatureLearner(TransformLearner):
    """MAML with meta-curvature: each gradient is multiplied by a learned matrix along each of its axes.

    Args:
        model, lr, steps, test_steps, first_order, settings: as of `TransformLearner`. At the start, where the matrices
            are identities, it is MAML with that ``lr``.

    Symbols of the paper and what they are here:
        M_o, M_i, M_f: the parameters of ``transforms``; see `MetaCurvatureTransform`.
        α, the inner step size: ``lr``, a constant.
        normalisation layers: their scale and shift do not move within a task, so they have no curvature.

    Raises:
        UsageError: settings that no run could honour, or a model without a parameter to move.

    Source: Park & Oliva 2019, "Meta-curvature", section 3.
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
        super().__init__(model, MetaCurvatureTransform, lr, steps, test_steps, first_order, **settings)


class KFOLearner(TransformLearner):
    """MAML with a meta-learned Kronecker-factored optimiser: each gradient G, a matrix, becomes LᵀL G RᵀR.

    Args:
        model, lr, steps, test_steps, first_order, settings: as of `TransformLearner`. At the start, where L and R are
            identities, it is MAML with that ``lr``.

    Symbols of the paper and what they are here:
        U_ξ, the meta-optimiser: ``transforms``.
        L_l and R_l, the factors: see `KroneckerTransform` for how parameters are matrices. There is no learned bias,
            and the map is positive semi-definite, as in learn2learn.
        α, the inner step size: ``lr``, a constant.

    Raises:
        UsageError: settings that no run could honour, or a model without a parameter to move.

    Source: Arnold, Iqbal & Sha 2021, "When MAML can adapt fast and how to assist when it cannot", section 4.
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
        super().__init__(model, KroneckerTransform(KroneckerLinear), lr, steps, test_steps, first_order, **settings)


def _of_tasks(transform: nn.Module, gradient: Tensor) -> Tensor:
    """What a transform, which takes the gradient of one task, makes of those of all tasks, [B, …]."""
    if len(gradient) == 1:
        transformed: Tensor = transform(gradient[0])[None]
    else:
        transformed = torch.vmap(transform, randomness="different")(gradient)
    return transformed
