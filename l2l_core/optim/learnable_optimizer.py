"""An optimiser whose steps stay in the graph, so that the next backward pass trains it too."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.modules import update_module
from l2l_core.optim.gradients import held_gradients
from l2l_core.optim.transforms import TransformOf, transform_of


class LearnableOptimizer(nn.Module):
    """An optimiser of a model with a learned transform of each gradient; its parameters are the transforms'.

    A step is differentiable in the transforms: the next loss's ``backward`` gives gradients to the model and, through
    the step that led there, to the transforms, which an ordinary optimiser then trains. With one rate per parameter
    that is hyper-gradient descent:

        class Rate(nn.Module):
            def __init__(self, param):
                super().__init__()
                self.rate = nn.Parameter(torch.full((), 0.1, dtype=param.dtype))

            def forward(self, grad):
                return self.rate * grad

        optimiser = LearnableOptimizer(model, Rate)
        of_rates = torch.optim.SGD(optimiser.parameters(), lr=0.001)
        for x, y in batches:
            optimiser.zero_grad()
            of_rates.zero_grad()
            loss(model(x), y).backward()
            of_rates.step()             # the rates, by the gradient of this loss
            optimiser.step()            # the model, by the new rates

    The graph of a step goes no further back than that step, so a long run takes no more memory than a short one. The
    parameters of the model are plain tensors after the first step; ``detach_module(model, keep_requires_grad=True)``
    makes leaves of them, as copying or pickling the model needs.

    Args:
        model: changed in place at each step; it is not part of this module.
        transform: from each of the model's parameters to the module that transforms its gradient; None there leaves
            gradients as they are.
        lr: a factor of the updates, not learned.

    Mended from learn2learn: frozen parameters stay as they are, and parameters without a learned transform go on
    learning; there both stopped the step. A closure is called.

    Raises:
        UsageError: the model is not a module, or the transform of a parameter is neither a module nor None.

    Source: Baydin et al. 2018, "Online learning rate adaptation with hypergradient descent", section 3.
    """

    def __init__(self, model: nn.Module, transform: TransformOf, lr: float = 1.0) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise UsageError(f"LearnableOptimizer was given a {type(model).__name__} as its model; give a module")
        self.info = {"model": model}  # in a dictionary, where this module does not take it for one of its own
        self.transforms = nn.ModuleList()
        for parameter in model.parameters():
            made = transform_of(transform, parameter)
            self.transforms.append(nn.Identity() if made is None else made)
        self.lr = lr

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """The closure's loss, if there is one; each parameter p with a gradient g is now p − lr · transform(g).

        Args:
            closure: computes a loss, and calls ``backward`` on it, before the step.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        model = self.info["model"]
        updates: list[Tensor | None] = []
        for parameter, gradient, transform in zip(
            model.parameters(), held_gradients(model), self.transforms, strict=True
        ):
            if gradient is None or not parameter.requires_grad:
                updates.append(None)
                continue
            updates.append(-self.lr * transform(gradient.detach()))
            parameter.detach_()  # from the step before
        update_module(model, updates)
        for parameter, update in zip(model.parameters(), updates, strict=True):
            if update is not None:
                # A leaf keeps its gradient anyway; it is one where nothing in its transform is learned.
                parameter.requires_grad_().retain_grad()
        return loss

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Nothing; the model's gradients are zero, or None if so asked. Those of the transforms stay.

        Args:
            set_to_none: so that a parameter which the next loss does not depend on takes no step.
        """
        model = self.info["model"]
        for parameter, gradient in zip(model.parameters(), held_gradients(model), strict=True):
            if gradient is not None:
                parameter.grad = None if set_to_none else torch.zeros_like(gradient)
