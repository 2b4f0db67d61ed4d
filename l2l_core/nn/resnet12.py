"""ResNet12: the twelve-layer residual net of the few-shot literature, with learn2learn's names and parameters.

Letters in shapes: M examples, C H W image, D embedding, N ways.
"""

from torch import Tensor, nn
from torch.nn import functional

from l2l_core.nn.dropblock import DropBlock
from l2l_core.nn.pictures import FeaturesClassifier, check_pictures

_WINDOW = 5  # side of the average pool: the whole of the last map for 84×84 pictures


class ResNet12Block(nn.Module):
    """Three 3×3 convolutions beside a 1×1 shortcut, then a 2×2 max-pool; its value is maps [M, after, ⌊H/2⌋, ⌊W/2⌋].

    BatchNorm follows every convolution, LeakyReLU of slope 0.1 the first, the second and the sum. The pool comes before
    that last LeakyReLU, with which it commutes (see `Conv4`).

    Args:
        before, after: channels that come in and go out.
        drop: what drops numbers of the block's value.
    """

    def __init__(self, before: int, after: int, drop: nn.Module) -> None:
        super().__init__()
        self.conv1 = _conv(before, after)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.LeakyReLU(0.1)
        self.conv2 = _conv(after, after)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv3 = _conv(after, after)
        self.bn3 = nn.BatchNorm2d(after)
        self.maxpool = nn.MaxPool2d(2)
        self.downsample = nn.Sequential(_conv(before, after, side=1), nn.BatchNorm2d(after))
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Maps of maps [M, before, H, W]."""
        maps = self.relu(self.bn1(self.conv1(x)))
        maps = self.relu(self.bn2(self.conv2(maps)))
        maps = self.bn3(self.conv3(maps)) + self.downsample(x)
        return self.drop(self.relu(self.maxpool(maps)))  # type: ignore[no-any-return]  # Module.__call__ is untyped


class ResNet12Backbone(nn.Module):
    """Four `ResNet12Block`; the value is an embedding [M, D] of pictures.

    Args:
        avg_pool: whether the last maps, ⌊H/16⌋ × ⌊W/16⌋, go through an average pool of side 5 and stride 1, which
            leaves D = 640 of an 84×84 picture. False, as in Lee et al. 2019, lays them flat: 16,000 of 84×84, 2,560
            of 32×32.
        wider: channels 64, 160, 320, 640 as in Lee et al. 2019; False for 64, 128, 256, 512 as in Oreshkin et al. 2018.
        embedding_dropout: rate of the dropout on the embedding.
        dropblock_dropout: rate of the dropout after blocks 1 and 2 and of `DropBlock` after blocks 3 and 4.
        dropblock_size: side of its blocks; Lee et al. take 5, and 2 for 32×32 pictures.
        channels: C.

    Mended from learn2learn: an average pool over a map smaller than 5×5 (pictures below 80×80) takes what there is of
    it, where it failed; and what `DropBlock` says.

    Raises:
        UsageError: as `DropBlock`.

    Source: Lee et al. 2019, section 4.1; kjunelee/MetaOptNet, ``models/ResNet12_embedding.py``; Mishra et al. 2018.
    """

    def __init__(
        self,
        avg_pool: bool = True,
        wider: bool = True,
        embedding_dropout: float = 0.0,
        dropblock_dropout: float = 0.1,
        dropblock_size: int = 5,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.keep_avg_pool = avg_pool
        widths = (64, 160, 320, 640) if wider else (64, 128, 256, 512)
        rate, size = dropblock_dropout, dropblock_size
        # Chains of one block: their names are those of learn2learn's parameters.
        self.layer1 = nn.Sequential(ResNet12Block(channels, widths[0], nn.Dropout(rate)))
        self.layer2 = nn.Sequential(ResNet12Block(widths[0], widths[1], nn.Dropout(rate)))
        self.layer3 = nn.Sequential(ResNet12Block(widths[1], widths[2], DropBlock(rate, size)))
        self.layer4 = nn.Sequential(ResNet12Block(widths[2], widths[3], DropBlock(rate, size)))
        self.dropout = nn.Dropout(embedding_dropout)

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures [M, C, H, W].

        Raises:
            UsageError: the pictures have another number of axes or channels, or are smaller than 16×16.
        """
        check_pictures("ResNet12Backbone", images_MCHW, self.channels, smallest=16)
        maps = self.layer4(self.layer3(self.layer2(self.layer1(images_MCHW))))
        if self.keep_avg_pool:
            window = [min(_WINDOW, side) for side in maps.shape[2:]]
            maps = functional.avg_pool2d(maps, window, stride=1)
        return self.dropout(maps.flatten(1))  # type: ignore[no-any-return]  # Module.__call__ is untyped


class ResNet12(FeaturesClassifier):
    """`ResNet12Backbone` and a linear layer; its value is logits [M, N].

    Args:
        output_size: N.
        hidden_size: D, which the linear layer takes.
        avg_pool, wider, embedding_dropout, dropblock_dropout, dropblock_size, channels: as in `ResNet12Backbone`, whose
            D for 84×84 pictures is 640 with both of the first two, 16,000 without the average pool and 512 without
            ``wider``.

    Mended from learn2learn: pictures that do not fit hidden_size are refused in words; and what `ResNet12Backbone`
    says.

    Raises:
        UsageError: as `ResNet12Backbone`.

    Source: as `ResNet12Backbone`.
    """

    def __init__(
        self,
        output_size: int,
        hidden_size: int = 640,
        avg_pool: bool = True,
        wider: bool = True,
        embedding_dropout: float = 0.0,
        dropblock_dropout: float = 0.1,
        dropblock_size: int = 5,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.features = ResNet12Backbone(
            avg_pool, wider, embedding_dropout, dropblock_dropout, dropblock_size, channels
        )
        self.classifier = nn.Linear(hidden_size, output_size)


def _conv(before: int, after: int, side: int = 3) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, kernel_size=side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="leaky_relu")
    return conv
