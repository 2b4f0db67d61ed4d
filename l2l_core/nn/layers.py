"""Small layers with learn2learn's names, and the freezing of modules."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Lambda(nn.Module):
    """A function as a module; its value is the function's.

    Args:
        lmb: the function. To pickle the module, give a function that a module defines, and no ``lambda``.
    """

    def __init__(self, lmb: Callable[..., Any]) -> None:
        super().__init__()
        self.lmb = lmb

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        return self.lmb(*args, **kwargs)


class Flatten(nn.Module):
    """Examples as vectors; its value for [M, …] is [M, the product of the rest].

    Mended from learn2learn: any memory layout will do (channels-last failed there), and so will an empty batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The vectors of x."""
        return x.reshape(len(x), math.prod(x.shape[1:]))


class Scale(nn.Module):
    """A learned factor; its value is x · alpha, with broadcasting.

    Args:
        shape: of the factor; None for (1,).
        alpha: its every element at the start.

    Attributes:
        alpha: the factor, a parameter.
    """

    def __init__(self, shape: int | Sequence[int] | None = None, alpha: float = 1.0) -> None:
        super().__init__()
        shape = (1,) if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        self.alpha = nn.Parameter(torch.full(shape, float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        """x · alpha."""
        return x * self.alpha


def freeze(module: M) -> M:
    """The module itself, no parameter of which requires a gradient any more; those of a clone leave its graph."""
    for parameter in module.parameters():
        # Not requires_grad = False, which a tensor inside a graph refuses; a leaf has no graph, and is told the same.
        parameter.detach_()
    return module


def unfreeze(module: M) -> M:
    """The module itself, every parameter of which requires a gradient.

    Mended from learn2learn: integer parameters, which can have no gradient, are left as they are.
    """
    for parameter in module.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_()
    return module
