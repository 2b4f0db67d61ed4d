"""DropBlock: dropout of whole squares of a map, whose neighbours would otherwise tell what a dropped number was.

Letters in shapes: M examples, C channels, H W map.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.errors import UsageError


def kept(seeds: Tensor, block: tuple[int, int]) -> Tensor:
    """1 where a map is kept and 0 where a block covers it, [M, C, H, W].

    Args:
        seeds: floating point, 1 where a block has its upper left corner and 0 elsewhere; a block lies within the map
            whole, so [M, C, H − h + 1, W − w + 1].
        block: its height h and width w.
    """
    height, width = block
    around = functional.pad(seeds, (width - 1, width - 1, height - 1, height - 1))
    return 1 - functional.max_pool2d(around, block, stride=1)


class DropBlock(nn.Module):
    """Maps [M, C, H, W], squares of which are 0 in training, the rest scaled up to make up for them.

    Each channel of each example draws its blocks of its own from torch's generator, about as many as drop the fraction
    ``rate`` of the numbers. What is left is scaled by (all numbers) / (numbers kept), counted over the batch. In eval
    mode maps pass unchanged.

    Args:
        rate: fraction in [0, 1] to be dropped, 1 − keep_prob in the paper.
        block_size: side of a block; on a smaller map a block covers as much as there is.
        ramp: the rate grows linearly from 0 over that many training passes.

    Mended from learn2learn: passes in eval mode do not count for the ramp, and the count is a buffer, so that a clone's
    passes count for its model (each clone counted its own there, and the rate of a meta-learned net stayed at 0) and a
    training that goes on from a checkpoint goes on with its rate; a map that is not square, or smaller than a block,
    has its own number of positions; and no mask, however thick, divides by 0.

    Raises:
        UsageError: a rate outside [0, 1], or a block or ramp below 1.

    Source: Ghiasi et al. 2018, algorithm 1 and equation 1. The ramp, over 40,000 passes: kjunelee/MetaOptNet,
    ``models/ResNet12_embedding.py``.
    """

    passes: Tensor

    def __init__(self, rate: float, block_size: int = 5, ramp: int = 40_000) -> None:
        super().__init__()
        if not 0 <= rate <= 1 or block_size < 1 or ramp < 1:
            raise UsageError(
                f"DropBlock was asked for rate = {rate}, block_size = {block_size} and ramp = {ramp}; give a rate in "
                "[0, 1] and at least 1 of the others"
            )
        self.rate = rate
        self.block_size = block_size
        self.ramp = ramp
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"rate={self.rate}, block_size={self.block_size}, ramp={self.ramp}"

    def forward(self, maps_MCHW: Tensor) -> Tensor:
        """The maps, with blocks of 0 in training."""
        if not self.training or not self.rate:
            return maps_MCHW
        self.passes.add_(1)
        rate = self.rate * (self.passes / self.ramp).clamp(max=1)  # a tensor: no wait for the device
        examples, channels, height, width = maps_MCHW.shape
        block = min(self.block_size, height), min(self.block_size, width)
        positions = height - block[0] + 1, width - block[1] + 1
        density = rate * (height * width) / (block[0] * block[1] * positions[0] * positions[1])
        # Drawn by shape and in single precision: the mask depends neither on the memory format nor on the precision.
        draws = torch.rand(examples, channels, *positions, device=maps_MCHW.device)
        mask = kept((draws < density).to(draws.dtype), block)
        mask = mask * (mask.numel() / mask.sum().clamp(min=1))
        return maps_MCHW * mask.to(maps_MCHW.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # learn2learn's checkpoints hold no count, and are complete without it.
        state_dict.setdefault(f"{prefix}passes", self.passes)
        super()._load_from_state_dict(state_dict, prefix, *args)
