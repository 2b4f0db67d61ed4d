"""The backbones that have a name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from torch import nn

from l2l_core.errors import UnknownNameError
from l2l_core.nn.backbones import Conv4
from l2l_core.nn.conv_nets import R2D2Backbone
from l2l_core.nn.pictures import embedding_size
from l2l_core.nn.pretrained import pretrained_backbone
from l2l_core.nn.resnet12 import ResNet12Backbone
from l2l_core.nn.wide_resnet import WRN28Backbone

BACKBONES: Final[Mapping[str, Callable[[int, bool], nn.Module]]] = MappingProxyType(
    {
        "conv4": lambda channels, running: Conv4(channels, running_stats=running),
        "conv4-32": lambda channels, running: Conv4(channels, hidden=32, running_stats=running),
        "conv4-stride": lambda channels, running: Conv4(channels, downsample="stride", running_stats=running),
        "r2d2": lambda channels, running: R2D2Backbone(channels),
        "resnet12": lambda channels, running: ResNet12Backbone(channels=channels),
        "wrn28": lambda channels, running: WRN28Backbone(),
    }
)
"""Name to what builds it for pictures of so many channels, and with running statistics or, if it can, without."""


def build_backbone(name: str, image: tuple[int, ...], running_stats: bool = True) -> nn.Module:
    """A backbone, from pictures [M, C, H, W] to embeddings [M, D]: an untrained one, or a trained one that is frozen.

    Args:
        name: one of `BACKBONES`; or a trained one, such as ``torchvision:resnet18``, see `pretrained_backbone`.
        image: C, H and W of the pictures to come. Of vectors, which an encoder has made already, it is their D, and
            the backbone hands them on whatever its name.
        running_stats: whether its BatchNorm keeps running statistics; those of He et al.'s kind always do, and trained
            ones do what they did.

    Raises:
        UnknownNameError: no backbone of that name.
        UsageError: it cannot take such pictures, or its package is not installed.
        FetchError, ContentError: the weights of a trained one cannot be had, or do not fit.
    """
    if len(image) == 1:
        return nn.Identity()
    if ":" in name or name.endswith(".safetensors"):
        backbone: nn.Module = pretrained_backbone(name, image, BACKBONES)
    elif name in BACKBONES:
        backbone = BACKBONES[name](image[0], running_stats)
    else:
        raise UnknownNameError("backbone", name, BACKBONES)
    embedding_size(backbone, image)
    return backbone
