"""Batch normalisation by the statistics of a batch that lies in parts on several processes.

Letters in shapes: C channels, R processes; a sum Σ or mean m is over the values of a channel in all parts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core import distributed

_KINDS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def statistics_of_all(model: nn.Module) -> Iterator[None]:
    """A context in which BatchNorm layers that normalise by their batch do so by those of all processes, as if one.

    Each process must run the same layers in the same order, forward and backward; the backward pass may come later.
    What flows back is the gradient of the sum of the processes' losses, to the first order. `torch.nn.SyncBatchNorm`
    does the same on GPUs only.
    """
    layers = [(layer, type(layer)) for layer in model.modules() if type(layer) in _KINDS]
    for layer, _ in layers:
        layer.__class__ = _OfAll
    try:
        yield
    finally:
        for layer, kind in layers:
            layer.__class__ = kind


class _OfAll(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        mean_C, variance_C, count = _statistics(x.detach())
        if self.training and self.running_mean is not None:
            self._follow(mean_C, variance_C, count)
        weight, bias = self.weight, self.bias
        if weight is None:
            weight, bias = x.new_ones(x.shape[1]), x.new_zeros(x.shape[1])
        result: Tensor = _Normalised.apply(x, weight, bias, mean_C.to(x), variance_C.to(x), count, self.eps)  # type: ignore[no-untyped-call]
        return result.to(input.dtype)

    def _follow(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean), momentum)
        self.running_var.lerp_((variance_C * count / max(count - 1, 1)).to(self.running_var), momentum)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of each channel over all parts, float64 [C] each, and the values of a channel."""
    variance_C, mean_C = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
    own = torch.cat([mean_C, variance_C, mean_C.new_tensor([x.numel() // x.shape[1]])])
    # In double precision, so that counts are exact.
    parts_R = distributed.gathered(own.double())
    means_RC, variances_RC = parts_R[:, :-1].chunk(2, dim=1)
    counts_R = parts_R[:, -1:]
    weights_R = counts_R / counts_R.sum()
    mean_C = (weights_R * means_RC).sum(dim=0)
    variance_C = (weights_R * (variances_RC + (means_RC - mean_C).square())).sum(dim=0)
    return mean_C, variance_C, int(counts_R.sum())


class _Normalised(torch.autograd.Function):
    """γ·x̂ + β with x̂ = (x − m)·r; backward (g) to γ·r·(g − m(g) − x̂·m(g·x̂)), Σ g·x̂ and Σ g, these of the own part."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: int, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.count, ctx.eps = count, eps
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight, mean, invstd = ctx.saved_tensors
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            g, x, weight, None, None, mean, invstd, True, ctx.eps, [False, True, True]
        )
        sum_gx, sum_g = distributed.sum_(torch.stack([of_weight, of_bias])) / ctx.count
        scale = weight * invstd
        slope = -scale * invstd * sum_gx
        shape = (1, -1, *[1] * (x.ndim - 2))
        of_x = g * scale.reshape(shape)
        of_x += x * slope.reshape(shape)
        of_x -= (scale * sum_g + slope * mean).reshape(shape)
        return of_x, of_weight, of_bias, None, None, None, None
