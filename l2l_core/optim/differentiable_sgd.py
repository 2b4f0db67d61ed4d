"""Gradient descent that stays in the graph."""

from collections.abc import Iterable

from torch import Tensor, nn

from l2l_core.modules import update_module
from l2l_core.optim.gradients import held_gradients


class DifferentiableSGD(nn.Module):
    """One step of gradient descent on a module, in place: each parameter p becomes p − lr · g.

    Args:
        lr: the step; a tensor can be learned.
    """

    def __init__(self, lr: float | Tensor) -> None:
        super().__init__()
        self.lr = lr

    def forward(self, module: nn.Module, gradients: Iterable[Tensor | None] | None = None) -> None:
        """Nothing; the module has taken the step, differentiable in its parameters, in lr and in the gradients.

        Args:
            module: changed in place.
            gradients: one g for each of ``module.parameters()``, in order; None leaves that parameter as it is.
                Without gradients, each parameter's ``.grad`` is taken.

        Raises:
            UsageError: the gradients do not fit the parameters.
        """
        gradients = held_gradients(module) if gradients is None else gradients
        update_module(module, updates=[None if g is None else -self.lr * g for g in gradients])
