"""Gradient-based meta-learning with a learned transform of the inner gradients."""

from typing import Any

from torch import Tensor, nn

from l2l_core.modules import clone_module
from l2l_core.optim.differentiable_sgd import DifferentiableSGD
from l2l_core.optim.gradients import named_gradients
from l2l_core.optim.parameter_update import ParameterUpdate
from l2l_core.optim.transforms import TransformOf


class GBML(nn.Module):
    """A module that can be cloned and adapted by transformed gradients; its value is the module's.

        gbml = GBML(model, MetaCurvatureTransform, lr=0.1)
        task = gbml.clone()
        task.adapt(loss(task(support_x), support_y))
        loss(task(query_x), query_y).backward()         # gradients arrive in model and in the transforms

    With `MetaCurvatureTransform` it is Meta-Curvature; with `KroneckerTransform` of `KroneckerLinear`, KFO; with a
    factor per element, Meta-SGD, and Alpha MAML where ``adapt_transform`` is set.

    Args:
        module: the module.
        transform: from each of its parameters to the module that transforms its gradient; None there leaves gradients
            as they are.
        lr: of the inner step.
        adapt_transform: in the inner loop, move the transforms too, by plain gradient steps of rate ``lr``. The loss
            of the first inner step does not depend on them yet, so this begins with the second.
        first_order: take inner gradients as constants; the clone stays linked to the module and to the transforms.
        allow_unused: let parameters that the loss does not depend on be.
        allow_nograd: let parameters that require no gradient be.
        compute_update: used instead of a new `ParameterUpdate` of the transform; a clone has one.

    Attributes:
        module: the module.
        compute_update: the transforms, a `ParameterUpdate`.

    Mended from learn2learn: ``first_order`` and ``adapt_transform`` go together (there the second step failed, and
    gradients were not constants); where the loss cannot be differentiated, the message names the parameters at fault;
    an unknown keyword is refused; a clone is in train or eval mode as what it was cloned from.

    Source: Park & Oliva 2019, algorithm 1; Arnold, Iqbal & Sha 2021, section 4.
    """

    def __init__(
        self,
        module: nn.Module,
        transform: TransformOf,
        lr: float | Tensor = 1.0,
        adapt_transform: bool = False,
        first_order: bool = False,
        allow_unused: bool = False,
        allow_nograd: bool = False,
        *,
        compute_update: ParameterUpdate | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.transform = transform
        self.lr = lr
        self.adapt_transform = adapt_transform
        self.first_order = first_order
        self.allow_unused = allow_unused
        self.allow_nograd = allow_nograd
        self.compute_update = (
            ParameterUpdate(module.parameters(), transform) if compute_update is None else compute_update
        )
        self.diff_sgd = DifferentiableSGD(lr)
        self._adapted = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        return self.module(*args, **kwargs)

    def adapt(
        self,
        loss: Tensor,
        first_order: bool | None = None,
        allow_nograd: bool | None = None,
        allow_unused: bool | None = None,
    ) -> None:
        """Nothing; the module has taken one transformed gradient step on the loss, in place, so call it on a clone.

        Args:
            loss: a scalar that depends on the module's parameters.
            first_order, allow_nograd, allow_unused: as of the class, for this step; None takes the class's.

        Raises:
            UsageError: the loss is not differentiable, or not with respect to some parameter that nothing excuses; or
                an update has another shape than its parameter.
        """
        create_graph = not (self.first_order if first_order is None else first_order)
        allow_unused = self.allow_unused if allow_unused is None else allow_unused
        allow_nograd = self.allow_nograd if allow_nograd is None else allow_nograd
        if self.adapt_transform and self._adapted:
            of_transforms = named_gradients(
                "GBML.adapt",
                loss,
                [(f"compute_update.{name}", p) for name, p in self.compute_update.named_parameters()],
                create_graph=create_graph,
                retain_graph=True,  # the module's gradients are still to come
                allow_unused=allow_unused,
                allow_nograd=allow_nograd,
            )
            self.diff_sgd(self.compute_update, of_transforms)
        updates = self.compute_update(
            loss,
            self.module.named_parameters(),
            create_graph=create_graph,
            allow_unused=allow_unused,
            allow_nograd=allow_nograd,
        )
        self.diff_sgd(self.module, updates)
        self._adapted = True

    def clone(
        self,
        first_order: bool | None = None,
        allow_unused: bool | None = None,
        allow_nograd: bool | None = None,
        adapt_transform: bool | None = None,
    ) -> "GBML":
        """A GBML whose module and transforms are differentiable copies of this one's (`clone_module`).

        Args:
            first_order, allow_unused, allow_nograd, adapt_transform: as of the class, for the copy; None takes the
                class's.
        """
        clone = GBML(
            clone_module(self.module),
            self.transform,
            lr=self.lr,
            adapt_transform=self.adapt_transform if adapt_transform is None else adapt_transform,
            first_order=self.first_order if first_order is None else first_order,
            allow_unused=self.allow_unused if allow_unused is None else allow_unused,
            allow_nograd=self.allow_nograd if allow_nograd is None else allow_nograd,
            compute_update=clone_module(self.compute_update),
        )
        clone.training = self.training
        return clone
