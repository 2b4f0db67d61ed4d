"""The backbones that have a name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from torch import nn

from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.nn.backbones import Conv4
from l2l_core.nn.conv_nets import R2D2Backbone
from l2l_core.nn.pictures import embedding_size
from l2l_core.nn.pretrained import pretrained_backbone
from l2l_core.nn.resnet12 import ResNet12Backbone
from l2l_core.nn.text import TextCNN, TextTransformer
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


VECTOR_NETS: Final[Mapping[str, Callable[[int], nn.Module]]] = MappingProxyType(
    {
        "mlp": lambda width: nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 256)),
    }
)
"""Name to what builds the net on top of vectors of so many numbers, as behind the plus in ``minilm+mlp``."""

TOKEN_NETS: Final[Mapping[str, Callable[[int], nn.Module]]] = MappingProxyType(
    {"cnn": TextCNN, "transformer": TextTransformer}
)
"""Name to what builds the net on top of token ids, of which there are so many, as behind the plus in ``words+cnn``."""


def build_backbone(name: str, image: tuple[int, ...], running_stats: bool = True, vocabulary: int = 0) -> nn.Module:
    """A backbone, from pictures [M, C, H, W] to embeddings [M, D]: an untrained one, or a trained one that is frozen.

    Of texts, for which an encoder has made something, it is the untrained net that the name has behind its plus, one of
    `VECTOR_NETS` or `TOKEN_NETS`; without a plus it hands vectors on as they are.

    Args:
        name: one of `BACKBONES`; or a trained one, such as ``torchvision:resnet18``, see `pretrained_backbone`; or of
            texts, such as ``minilm``, ``minilm+mlp`` and ``words+cnn``.
        image: C, H and W of the pictures to come; of vectors their D, of token ids how many a text has at most.
        running_stats: whether its BatchNorm keeps running statistics; those of He et al.'s kind always do, and trained
            ones do what they did.
        vocabulary: of token ids, how many different ones there are; else 0.

    Raises:
        UnknownNameError: no backbone of that name.
        UsageError: it cannot take such pictures, or its package is not installed; or token ids without a net.
        FetchError, ContentError: the weights of a trained one cannot be had, or do not fit.
    """
    if len(image) == 1:
        encoder, plus, net = name.partition("+")
        if not plus and not vocabulary:
            return nn.Identity()
        nets = TOKEN_NETS if vocabulary else VECTOR_NETS
        if not plus:
            raise UsageError(f"{name} gives token ids; say what takes them, as in {encoder}+{next(iter(nets))}")
        if net not in nets:
            raise UnknownNameError("net", net, nets, where=f"on top of {encoder}")
        return nets[net](vocabulary or image[0])
    if ":" in name or name.endswith(".safetensors"):
        backbone: nn.Module = pretrained_backbone(name, image, BACKBONES)
    elif name in BACKBONES:
        backbone = BACKBONES[name](image[0], running_stats)
    else:
        raise UnknownNameError("backbone", name, BACKBONES)
    embedding_size(backbone, image)
    return backbone
