"""Backbones: networks from pictures to embeddings, and a classifier on top of one.

Letters in shapes: M examples, C H W image, D embedding, N ways.
"""

from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.nn.pictures import FeaturesClassifier, embedding_size

Downsample: TypeAlias = Literal["pool", "stride"]


class Conv4(nn.Module):
    """The four-block convolutional net of the few-shot literature; its value is an embedding [M, D] of pictures.

    Each of four blocks is a 3×3 convolution, BatchNorm, ReLU, and halves height and width.

    Args:
        channels: C of the pictures.
        hidden: channels of every block.
        downsample: how a block halves.
            "pool": a 2×2 max-pool after the ReLU, rounding down; the last map is flattened, so D is
            hidden · ⌊H/16⌋ · ⌊W/16⌋, 64 for 28×28 (Vinyals et al. 2016; Snell et al. 2017).
            "stride": the convolution has stride 2, rounding up; D is hidden, the mean over the last map, which is 2×2
            for 28×28 (Finn et al. 2017, for Omniglot).
        running_stats: what BatchNorm normalises with.
            True: statistics of the batch in training, running statistics in eval mode.
            False: statistics of the batch always, so that the examples of a batch see each other (a transductive
            test, as in Finn et al. 2017), and no statistic passes from one task to the next.

    Two differences from the papers change no function that the net can compute. The convolutions have no bias:
    BatchNorm would subtract it again, and carries a shift of its own. And the pool comes before the ReLU: both are
    monotone, so they commute, and the ReLU then has a quarter of the work.

    Raises:
        UsageError: no such way of downsampling, or channels or hidden below 1.

    Source: Vinyals et al. 2016, section 4.1; Snell et al. 2017, section 3; Finn et al. 2017, section 5.2 and
    appendix A.
    """

    def __init__(
        self,
        channels: int = 1,
        hidden: int = 64,
        downsample: Downsample = "pool",
        running_stats: bool = True,
    ) -> None:
        super().__init__()
        if downsample not in get_args(Downsample):
            raise UsageError(f"Conv4 was asked to downsample by {downsample!r}; choose 'pool' or 'stride'")
        if channels < 1 or hidden < 1:
            raise UsageError(
                f"Conv4 was asked for channels = {channels} and hidden = {hidden}; give at least 1 of each"
            )
        self.channels = channels
        self.hidden = hidden
        self.downsample = downsample
        widths = [channels, hidden, hidden, hidden, hidden]
        self.blocks = nn.Sequential(
            *(
                _block(before, after, downsample, running_stats)
                for before, after in zip(widths, widths[1:], strict=False)
            )
        )

    def features_dim(self, image_size: tuple[int, int]) -> int:
        """D for pictures of that height and width in pixels.

        Raises:
            UsageError: the pictures are too small to be halved four times.
        """
        height, width = image_size
        smallest = 16 if self.downsample == "pool" else 1
        if min(height, width) < smallest:
            raise UsageError(
                f"Conv4 was asked to embed pictures of {height}×{width} pixels, but four blocks with "
                f"downsample={self.downsample!r} need at least {smallest}×{smallest}; resize them"
            )
        return self.hidden * (height // 16) * (width // 16) if self.downsample == "pool" else self.hidden

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures [M, C, H, W].

        Raises:
            UsageError: the pictures have another number of axes or channels, or are too small.
        """
        if images_MCHW.ndim != 4 or images_MCHW.shape[1] != self.channels:
            raise UsageError(
                f"Conv4 embeds pictures [M, {self.channels}, H, W], but was given {list(images_MCHW.shape)}; "
                "reshape them, or build it with their number of channels"
            )
        height, width = images_MCHW.shape[2:]
        features_dim = self.features_dim((height, width))
        maps = self.blocks(images_MCHW)
        if self.downsample == "stride":
            maps = maps.mean(dim=(2, 3))
        return maps.reshape(-1, features_dim)  # type: ignore[no-any-return]  # Module.__call__ is untyped


class BackboneClassifier(FeaturesClassifier):
    """A backbone of any kind with a linear layer on top; its value is logits [M, N].

    Attributes:
        features: the backbone, as learn2learn's models name it.
        classifier: the linear layer.

    Args:
        backbone: from inputs [M, …] to embeddings [M, D].
        ways: N.
        width: D.

    Raises:
        UsageError: ways below 1.
    """

    width_argument = "width"

    def __init__(self, backbone: nn.Module, ways: int, width: int) -> None:
        super().__init__()
        if ways < 1:
            raise UsageError(f"{type(self).__name__} was asked for {ways} ways; give at least 1")
        self.features = backbone
        self.classifier = nn.Linear(width, ways)


class ConvClassifier(BackboneClassifier):
    """A backbone of pictures with a linear layer on top; its value is logits [M, N].

    Args:
        backbone: from pictures [M, C, H, W] to embeddings [M, D].
        ways: N.
        image_size: height and width in pixels of the pictures to come, which fix D where the backbone pools.

    Raises:
        UsageError: ways below 1, a backbone without convolutions, or pictures that the backbone cannot take.
    """

    width_argument = "image_size"

    def __init__(self, backbone: nn.Module, ways: int, image_size: tuple[int, int] = (28, 28)) -> None:
        channels = next((layer.in_channels for layer in backbone.modules() if isinstance(layer, nn.Conv2d)), None)
        if channels is None:
            raise UsageError(
                f"ConvClassifier takes a backbone with convolutions, and {type(backbone).__name__} has none; take a "
                "method that compares embeddings, such as protonet or simpleshot"
            )
        super().__init__(backbone, ways, embedding_size(backbone, (channels, *image_size)))


def maml_init_(module: nn.Module) -> nn.Module:
    """The module itself, its convolutions and linear layers initialised for MAML: Xavier uniform weights, zero biases.

    It is what the released code of Finn et al. 2017 draws for every convolution (and for mini-ImageNet's last layer).
    For Omniglot's last layer that code draws a standard normal instead; we keep Xavier, whose smaller first logits
    spare the early tasks a saturated softmax. PyTorch's default would start convolutions at a third of that variance,
    with biases that BatchNorm removes again.

    Source: cbfinn/maml, ``maml.py``, ``construct_conv_weights``.
    """
    for layer in module.modules():
        # What is frozen was trained by somebody, and stays as it is.
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.requires_grad:
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def _block(before: int, after: int, downsample: Downsample, running_stats: bool) -> nn.Sequential:
    stride = 2 if downsample == "stride" else 1
    layers: list[nn.Module] = [
        nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after, track_running_stats=running_stats),
    ]
    if downsample == "pool":
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.ReLU())
