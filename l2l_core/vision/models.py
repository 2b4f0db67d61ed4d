"""learn2learn's models of pictures, under the names that it gives them."""

from l2l_core.nn.backbones import maml_init_
from l2l_core.nn.conv_nets import (
    CNN4,
    CNN4Backbone,
    ConvBase,
    ConvBlock,
    MiniImagenetCNN,
    OmniglotCNN,
    OmniglotFC,
    fc_init_,
)
from l2l_core.nn.resnet12 import ResNet12, ResNet12Backbone
from l2l_core.nn.wide_resnet import WRN28, WRN28Backbone
from l2l_core.vision.pretrained import get_pretrained_backbone

__all__ = [
    "CNN4",
    "CNN4Backbone",
    "ConvBase",
    "ConvBlock",
    "MiniImagenetCNN",
    "OmniglotCNN",
    "OmniglotFC",
    "ResNet12",
    "ResNet12Backbone",
    "WRN28",
    "WRN28Backbone",
    "fc_init_",
    "get_pretrained_backbone",
    "maml_init_",
]
