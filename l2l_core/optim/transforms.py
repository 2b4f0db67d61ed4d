"""Gradient transforms: for each parameter a module, made by a callable, from its gradient to its update.

A new transform starts as near to the identity as its module does, on the parameter's device and in its dtype.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError

#: From a parameter to the module that transforms its gradient; None for none.
TransformOf: TypeAlias = Callable[[Tensor], nn.Module | None]


_LARGEST: Final = 16_384
"""Longest axis along which there may be a matrix: a gigabyte of float32."""


def transform_of(transform: TransformOf, parameter: Tensor) -> nn.Module | None:
    """What the transform makes for that parameter, a module or None.

    Raises:
        UsageError: it makes something else.
    """
    made = transform(parameter)
    if made is not None and not isinstance(made, nn.Module):
        raise UsageError(
            f"a transform makes a {type(made).__name__} for a parameter of shape {list(parameter.shape)}; "
            "let it make a module, or None to leave gradients as they are"
        )
    return made


class ReshapedTransform(nn.Module):
    """A transform applied to gradients in another shape; the update has the gradient's own.

    Args:
        transform: a module that keeps the number of elements.
        shape: what it is given; -1 fits itself to the gradient.

    Mended from learn2learn: gradients may have any memory layout.
    """

    def __init__(self, transform: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.transform = transform
        self.in_shape = shape

    def forward(self, grad: Tensor) -> Tensor:
        """The update, of the gradient's shape."""
        update: Tensor = self.transform(grad.reshape(self.in_shape))
        return update.reshape(grad.shape)


class ModuleTransform:
    """Makes for each parameter a module of its own, which sees the gradient as one row [1, n], n its elements.

    Args:
        module_cls: called as ``module_cls(n, n)``, as ``nn.Linear`` can be; n² weights are much for a large parameter.
    """

    def __init__(self, module_cls: Callable[[int, int], nn.Module]) -> None:
        self.module_cls = module_cls

    def __call__(self, parameter: Tensor) -> ReshapedTransform:
        """The transform for gradients of that parameter."""
        elements = parameter.numel()
        return ReshapedTransform(_like(self.module_cls(elements, elements), parameter), (1, elements))


class KroneckerTransform:
    """Makes for each parameter a Kronecker-factored linear map of its gradient, which is seen as matrices [-1, n, m].

    n × m is the shape of a matrix; n × 1 for a vector; input channels × kernel size for a convolution, whose output
    channels are so many matrices under one map.

    Args:
        kronecker_cls: called as ``kronecker_cls(n=…, m=…, bias=…, psd=…)``, as `KroneckerLinear` can be.
        bias: add a learned matrix.
        psd: keep the map positive semi-definite, so that to first order a step never climbs.

    Mended from learn2learn: parameters of other than 1, 2 or 4 axes are taken too.

    Source: Arnold, Iqbal & Sha 2021, "When MAML can adapt fast and how to assist when it cannot", section 4.
    """

    def __init__(self, kronecker_cls: Callable[..., nn.Module], bias: bool = False, psd: bool = True) -> None:
        self.kronecker_cls = kronecker_cls
        self.bias = bias
        self.psd = psd

    def __call__(self, parameter: Tensor) -> ReshapedTransform:
        """The transform for gradients of that parameter."""
        shape = tuple(parameter.shape)
        n, m = (shape[1], prod(shape[2:])) if len(shape) > 2 else (*shape, 1, 1)[:2]
        made = self.kronecker_cls(n=_check_size(n), m=_check_size(m), bias=self.bias, psd=self.psd)
        return ReshapedTransform(_like(made, parameter), (-1, n, m))


class MetaCurvatureTransform(nn.Module):
    """Meta-curvature: a learned matrix along each axis of a gradient, at first the identity.

    It is made of a parameter itself, so the class is what a `ParameterUpdate` or a `GBML` takes.

    Args:
        param: whose gradients are transformed: a vector, a matrix, or a kernel [I, O, …], whose axes after the first
            two count as one.
        lr: a factor of the update, not learned.

    Symbols of the paper and what they are here:
        G, the gradient: the argument of the call.
        M_o, along the output channels: ``mc_in``. learn2learn named the axes as TensorFlow orders them, and the names
            stand in checkpoints; in PyTorch the first axis of a weight is the output.
        M_i, along the input channels: ``mc_out``, applied from the right, so it is M_i transposed.
        M_f, along the filter's positions: ``mc_f``.
        for a bias: a factor for each element, ``mc``, which is a diagonal matrix.
        α, the inner rate: ``lr`` here, or the inner loop's.

    Mended from learn2learn: parameters of other than 1, 2 or 4 axes are taken too.

    Source: Park & Oliva 2019, "Meta-curvature", section 3.
    """

    def __init__(self, param: Tensor, lr: float = 1.0) -> None:
        super().__init__()
        self.lr = lr
        self.dim = param.ndim
        if self.dim < 2:
            self.mc = nn.Parameter(torch.ones_like(param))
            return
        self.mc_in = _identity(param.shape[0], param)
        self.mc_out = _identity(param.shape[1], param)
        if self.dim > 2:
            self.mc_f = _identity(prod(param.shape[2:]), param)

    def forward(self, grad: Tensor) -> Tensor:
        """The update, of the gradient's shape."""
        if self.dim < 2:
            return self.lr * (self.mc * grad)
        if self.dim == 2:
            return self.lr * (self.mc_in @ grad @ self.mc_out)
        update = torch.einsum("ia,abf,bo,gf->iog", self.mc_in, grad.flatten(2), self.mc_out, self.mc_f)
        return self.lr * update.reshape(grad.shape)


class TransformDictionary:
    """Makes for each parameter the transform of the module or parameter that it is listed under; None for no other.

    Args:
        dictionary: from modules, which stand for all their parameters, or parameters to what makes their transforms.
            A later entry replaces an earlier one for the parameters that they share.

    Raises:
        UsageError: a key is neither a module nor a parameter.
    """

    def __init__(self, dictionary: Mapping[nn.Module | nn.Parameter, Callable[..., nn.Module | None]]) -> None:
        self.param_to_transform: dict[Tensor, Callable[..., nn.Module | None]] = {}
        for key, transform in dictionary.items():
            if not isinstance(key, nn.Module | nn.Parameter):
                raise UsageError(
                    f"TransformDictionary was given a {type(key).__name__} as a key; give modules or parameters"
                )
            listed = key.parameters() if isinstance(key, nn.Module) else [key]
            self.param_to_transform.update(dict.fromkeys(listed, transform))

    def __call__(self, param: Tensor, *args: Any, **kwargs: Any) -> nn.Module | None:
        """The transform for gradients of that parameter, made with the other arguments; None if none is listed."""
        transform = self.param_to_transform.get(param)
        return None if transform is None else transform(param, *args, **kwargs)


def _check_size(size: int) -> int:
    """The length of an axis along which a transform has a matrix, where that can be held."""
    if size > _LARGEST:
        raise UsageError(
            f"a transform along an axis of {size:,} needs a matrix of {4 * size**2 / 2**30:,.0f} GiB; leave that "
            "parameter out with a TransformDictionary, or take a backbone with shorter embeddings"
        )
    return size


def _identity(size: int, like: Tensor) -> nn.Parameter:
    _check_size(size)
    return nn.Parameter(torch.eye(size, dtype=like.dtype, device=like.device))


def _like(transform: nn.Module, parameter: Tensor) -> nn.Module:
    return transform.to(device=parameter.device, dtype=parameter.dtype)
