"""WRN28: the wide residual net of 28 layers, ten times as wide as a plain one, with learn2learn's names and parameters.

Letters in shapes: M examples, C H W image, D embedding, N ways.
"""

from torch import Tensor, nn
from torch.nn import functional

from l2l_core.nn.pictures import FeaturesClassifier, check_pictures

_CHANNELS = 3
_WIDTHS = (16, 160, 320, 640)
_BLOCKS = 4  # of a group: 28 = 6 · 4 + 4 layers
_WINDOW = 21  # side of the average pool: the whole of the last map for 84×84 pictures


class WideBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, each after BatchNorm and ReLU; its value is maps [M, after, H', W'].

    The shortcut is a 1×1 convolution where channels or size change, and nothing else.

    Args:
        before, after: channels that come in and go out.
        dropout: rate between the convolutions.
        stride: of the second convolution and the shortcut.
    """

    def __init__(self, before: int, after: int, dropout: float, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, kernel_size=3, stride=stride, padding=1)
        same = before == after and stride == 1
        self.shortcut = nn.Sequential(*([] if same else [nn.Conv2d(before, after, kernel_size=1, stride=stride)]))

    def forward(self, x: Tensor) -> Tensor:
        """Maps of maps [M, before, H, W]."""
        maps = self.dropout(self.conv1(functional.relu(self.bn1(x))))
        maps = self.conv2(functional.relu(self.bn2(maps)))
        return maps + self.shortcut(x)  # type: ignore[no-any-return]  # Module.__call__ is untyped


class WRN28Backbone(nn.Module):
    """A convolution and three groups of four `WideBlock`; the value is an embedding [M, D] of pictures [M, 3, H, W].

    The last maps, ⌈H/4⌉ × ⌈W/4⌉, go through an average pool of side and stride 21, which leaves D = 640 of an 84×84
    picture.

    Args:
        dropout: rate between the two convolutions of each block.

    Mended from learn2learn: an average pool over a map smaller than 21×21 (pictures of 80×80 or less) takes what there
    is of it, where it failed.

    Source: Zagoruyko and Komodakis 2016, section 2; Dhillon et al. 2020, section 4; Sha-Lab/FEAT, whose convolutions
    have biases.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_CHANNELS, _WIDTHS[0], kernel_size=3, padding=1)
        self.layer1 = _group(_WIDTHS[0], _WIDTHS[1], dropout, stride=1)
        self.layer2 = _group(_WIDTHS[1], _WIDTHS[2], dropout, stride=2)
        self.layer3 = _group(_WIDTHS[2], _WIDTHS[3], dropout, stride=2)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[3], momentum=0.9)

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures [M, 3, H, W].

        Raises:
            UsageError: the pictures have another number of axes or channels.
        """
        check_pictures("WRN28Backbone", images_MCHW, _CHANNELS)
        maps = self.layer3(self.layer2(self.layer1(self.conv1(images_MCHW))))
        maps = functional.relu(self.bn1(maps))
        return functional.avg_pool2d(maps, [min(_WINDOW, side) for side in maps.shape[2:]]).flatten(1)


class WRN28(FeaturesClassifier):
    """`WRN28Backbone` and a linear layer; its value is logits [M, N].

    Args:
        output_size: N.
        hidden_size: D, which the linear layer takes; 640 for pictures of up to 164×164.
        dropout: as in `WRN28Backbone`.

    Mended from learn2learn: pictures that do not fit hidden_size are refused in words; and what `WRN28Backbone` says.

    Source: as `WRN28Backbone`.
    """

    def __init__(self, output_size: int, hidden_size: int = 640, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = WRN28Backbone(dropout)
        self.classifier = nn.Linear(hidden_size, output_size)


def _group(before: int, after: int, dropout: float, stride: int) -> nn.Sequential:
    first = WideBlock(before, after, dropout, stride)
    return nn.Sequential(first, *(WideBlock(after, after, dropout, stride=1) for _ in range(_BLOCKS - 1)))
