"""Small nets of a few like blocks, with learn2learn's names, parameters and initial values, and that of R2-D2.

Letters in shapes: M examples, C H W image, D embedding, N ways.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.nn.backbones import maml_init_
from l2l_core.nn.pictures import FeaturesClassifier, check_pictures

Module = TypeVar("Module", bound=nn.Module)

_OMNIGLOT_SIDE = 28


def fc_init_(module: Module) -> Module:
    """The layer itself: its weights from a normal of deviation 0.01, cut off at two deviations; its biases zero.

    Mended from learn2learn: drawn by torch's generator, so that ``torch.manual_seed`` seeds it (SciPy's drew there).

    Source: cbfinn/maml, ``maml.py``, ``construct_fc_weights``.
    """
    if isinstance(weight := getattr(module, "weight", None), Tensor):
        nn.init.trunc_normal_(weight, std=0.01, a=-0.02, b=0.02)
    if isinstance(bias := getattr(module, "bias", None), Tensor):
        nn.init.zeros_(bias)
    return module


class LinearBlock(nn.Module):
    """A linear layer, BatchNorm on the batch's statistics always, and ReLU; its value is [M, output_size].

    Args:
        input_size: numbers of an example.
        output_size: D.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.normalize = nn.BatchNorm1d(output_size, eps=1e-3, momentum=0.999, track_running_stats=False)
        self.linear = fc_init_(nn.Linear(input_size, output_size))

    def forward(self, x: Tensor) -> Tensor:
        """Activations [M, output_size] of [M, input_size]."""
        return self.relu(self.normalize(self.linear(x)))  # type: ignore[no-any-return]  # Module.__call__ is untyped


class ConvBlock(nn.Module):
    """A padded convolution, BatchNorm, ReLU and a way of halving; its value is maps [M, out_channels, H', W'].

    BatchNorm scales start uniform in [0, 1), convolutions as `maml_init_` has it. The pool comes before the ReLU, with
    which it commutes (see `Conv4`).

    Args:
        in_channels, out_channels: of the convolution.
        kernel_size: of the convolution, which is padded by 1 whatever its size.
        max_pool: True for a max-pool; False for a convolution with that stride.
        max_pool_factor: the pool's side, or the stride, is ⌊2 · max_pool_factor⌋.

    Mended from learn2learn: a block without pool pickles.

    Raises:
        UsageError: a side or stride below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        max_pool: bool = True,
        max_pool_factor: float = 1.0,
    ) -> None:
        super().__init__()
        side = int(2 * max_pool_factor)
        if side < 1:
            raise UsageError(
                f"ConvBlock was asked for max_pool_factor = {max_pool_factor}, a pool of side {side}; "
                "give 0.5, which leaves maps as large as they are, or more"
            )
        self.max_pool = nn.MaxPool2d(side) if max_pool else nn.Identity()
        self.normalize = nn.BatchNorm2d(out_channels)
        nn.init.uniform_(self.normalize.weight)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=1 if max_pool else side, padding=1)
        maml_init_(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of maps [M, in_channels, H, W]."""
        return self.relu(self.max_pool(self.normalize(self.conv(x))))  # type: ignore[no-any-return]


class ConvBase(nn.Sequential):
    """A chain of `ConvBlock`; its value is the last maps [M, hidden, H', W'].

    Args:
        hidden: channels of every block.
        channels: C.
        max_pool: as in `ConvBlock`.
        layers: how many blocks.
        max_pool_factor: as in `ConvBlock`.

    Raises:
        UsageError: hidden, channels or layers below 1, or as `ConvBlock`.
    """

    def __init__(
        self,
        hidden: int = 64,
        channels: int = 1,
        max_pool: bool = False,
        layers: int = 4,
        max_pool_factor: float = 1.0,
    ) -> None:
        if min(hidden, channels, layers) < 1:
            raise UsageError(
                f"{type(self).__name__} was asked for {hidden} hidden channels, channels = {channels} and layers = "
                f"{layers}; give at least 1 of each"
            )
        widths = [channels] + layers * [hidden]
        super().__init__(
            *(
                ConvBlock(before, after, (3, 3), max_pool, max_pool_factor)
                for before, after in zip(widths, widths[1:], strict=False)
            )
        )
        self.channels = channels
        self.smallest = int(2 * max_pool_factor) ** layers if max_pool else 1

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """The last maps of pictures [M, C, H, W].

        Raises:
            UsageError: the pictures have another number of axes or channels, or are too small.
        """
        check_pictures(type(self).__name__, images_MCHW, self.channels, self.smallest)
        return super().forward(images_MCHW)  # type: ignore[no-any-return, no-untyped-call]  # as torch has it


class OmniglotFC(FeaturesClassifier):
    """A fully connected net for small pictures; its value is logits [M, N]. `LinearBlock` follows `LinearBlock`.

    Args:
        input_size: numbers of a picture, C · H · W.
        output_size: N.
        sizes: widths of the blocks; [256, 128, 64, 64] where none are given.

    Raises:
        UsageError: an empty list of sizes.

    Source: Finn et al. 2017, section 5.2, after Santoro et al. 2016.
    """

    def __init__(self, input_size: int, output_size: int, sizes: Sequence[int] | None = None) -> None:
        super().__init__()
        widths = [input_size, *(sizes if sizes is not None else (256, 128, 64, 64))]
        if len(widths) == 1:
            raise UsageError("OmniglotFC was given no sizes; give the width of at least one hidden layer")
        blocks = (LinearBlock(before, after) for before, after in zip(widths, widths[1:], strict=False))
        self.features = nn.Sequential(nn.Flatten(), nn.Sequential(*blocks))
        self.classifier = fc_init_(nn.Linear(widths[-1], output_size))
        self.input_size = input_size

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Logits [M, N] of pictures [M, C, H, W], or of any examples [M, …] of ``input_size`` numbers.

        Raises:
            UsageError: examples of another size.
        """
        if images_MCHW.ndim < 2 or images_MCHW[0].numel() != self.input_size:
            raise UsageError(
                f"OmniglotFC takes examples [M, …] of {self.input_size} numbers, but was given "
                f"{list(images_MCHW.shape)}; reshape them, or build it with their input_size"
            )
        return super().forward(images_MCHW)


class OmniglotCNN(FeaturesClassifier):
    """The strided net of MAML for Omniglot; its value is logits [M, N].

    Convolutions of stride 2, the mean over the last map, and a linear layer whose weights start standard normal.

    Args:
        output_size: N.
        hidden_size: channels of every block, and D.
        layers: how many blocks.

    Mended from learn2learn: the blocks, which it registers twice, as ``base`` and in ``features``, are registered in
    ``features`` alone, since `torch.func.functional_call` leaves a module that has two names with the parameters of the
    call. Checkpoints with both names load. Pictures of another size are refused (84×84 ones each counted as nine).

    Raises:
        UsageError: hidden_size or layers below 1.

    Source: Finn et al. 2017, section 5.2 and appendix A.
    """

    def __init__(self, output_size: int = 5, hidden_size: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        base = ConvBase(hidden=hidden_size, channels=1, max_pool=False, layers=layers)
        self.features = nn.Sequential(_OmniglotPictures(), base, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(hidden_size, output_size)
        nn.init.normal_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @property
    def base(self) -> nn.Module:
        """The blocks."""
        return cast(nn.Sequential, self.features)[1]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state_dict if name.startswith(f"{prefix}base.")]:
            del state_dict[name]  # the second name of learn2learn's checkpoints
        super()._load_from_state_dict(state_dict, prefix, *args)


class CNN4Backbone(ConvBase):
    """A chain of `ConvBlock`; its value is the last maps laid flat, [M, D].

    Args:
        hidden_size: channels of every block.
        layers: how many blocks.
        channels: C.
        max_pool: as in `ConvBlock`.
        max_pool_factor: as in `ConvBlock`; where none is given, ⌊4 / layers⌋, so that fewer layers shrink pictures as
            much as four do.

    Mended from learn2learn: more than four layers, whose pools had side 0 there, halve as four do.

    Raises:
        UsageError: as `ConvBase`.
    """

    def __init__(
        self,
        hidden_size: int = 64,
        layers: int = 4,
        channels: int = 3,
        max_pool: bool = True,
        max_pool_factor: float | None = None,
    ) -> None:
        if max_pool_factor is None:
            max_pool_factor = max(1, 4 // max(1, layers))
        super().__init__(hidden_size, channels, max_pool, layers, max_pool_factor)

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures [M, C, H, W].

        Raises:
            UsageError: as `ConvBase.forward`.
        """
        return super().forward(images_MCHW).flatten(1)


class CNN4(FeaturesClassifier):
    """The four-block net for mini-ImageNet; its value is logits [M, N]. `MiniImagenetCNN` is another name of it.

    Args:
        output_size: N.
        hidden_size: channels of every block.
        layers: how many blocks.
        channels: C.
        max_pool: as in `ConvBlock`.
        embedding_size: D, hidden_size times the pixels of the last map; where none is given, 25 · hidden_size, which
            is right for 84×84 pictures and four layers with pools.

    Mended from learn2learn: pictures that do not fit embedding_size are refused in words; more than four layers.

    Raises:
        UsageError: as `ConvBase`.

    Source: Ravi and Larochelle 2017, section 5; Finn et al. 2017, appendix A.
    """

    width_argument = "embedding_size"

    def __init__(
        self,
        output_size: int,
        hidden_size: int = 64,
        layers: int = 4,
        channels: int = 3,
        max_pool: bool = True,
        embedding_size: int | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.features = CNN4Backbone(hidden_size, layers, channels, max_pool)
        self.classifier = nn.Linear(25 * hidden_size if embedding_size is None else embedding_size, output_size)
        maml_init_(self.classifier)


MiniImagenetCNN = CNN4


class R2D2Backbone(nn.Module):
    """The net of R2-D2 and LR-D2; its value is the last two blocks' maps, laid flat one after the other: [M, D].

    Each of four blocks is a 3×3 convolution, BatchNorm, a 2×2 max-pool and LeakyReLU of slope 0.1; pools have stride 2,
    the last one 1. The third block's maps go through a pool of stride 1 more on their way into the embedding, so that
    both have h × w pixels and D is (widths[2] + widths[3]) · h · w, with h = ⌊H/8⌋ − 1 and w = ⌊W/8⌋ − 1.

    Args:
        channels: C.
        widths: channels of the four blocks; 64 each in the paper's comparison with smaller nets.
        dropout: rate after blocks 3 and 4; the released code trains with 0 on Omniglot and 0.1 on mini-ImageNet.

    Raises:
        UsageError: not four widths, or channels or one of the widths below 1.

    Source: Bertinetto et al. 2019, section 4; bertinetto/r2d2, ``fewshots/models/load_model.py``.
    """

    def __init__(self, channels: int = 3, widths: Sequence[int] = (96, 192, 384, 512), dropout: float = 0.1) -> None:
        super().__init__()
        if len(widths) != 4 or min(channels, *widths) < 1:
            raise UsageError(
                f"R2D2Backbone was asked for channels = {channels} and widths = {list(widths)}; give four widths, and "
                "at least 1 of each"
            )
        self.channels = channels
        self.block1 = _pooled_first(channels, widths[0])
        self.block2 = _pooled_first(widths[0], widths[1])
        self.block3 = _pooled_first(widths[1], widths[2])
        self.block4 = _pooled_first(widths[2], widths[3], stride=1)
        self.pool3 = nn.MaxPool2d(2, stride=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures [M, C, H, W].

        Raises:
            UsageError: the pictures have another number of axes or channels, or are smaller than 16×16.
        """
        check_pictures("R2D2Backbone", images_MCHW, self.channels, smallest=16)
        third = self.dropout(self.block3(self.block2(self.block1(images_MCHW))))
        fourth = self.dropout(self.block4(third))
        return torch.cat((self.pool3(third).flatten(1), fourth.flatten(1)), dim=1)


class _OmniglotPictures(nn.Module):
    """Pictures [M, 1, 28, 28] of [M, 1, 28, 28], [M, 28, 28] or [M, 784]."""

    def forward(self, x: Tensor) -> Tensor:
        # A mere reshape would make nine pictures of one of 84×84.
        if x.shape[-2:] != (_OMNIGLOT_SIDE, _OMNIGLOT_SIDE) and x.shape[-1] != _OMNIGLOT_SIDE**2:
            raise UsageError(
                f"OmniglotCNN takes pictures [M, 1, 28, 28], but was given {list(x.shape)}; resize them, or build a "
                "CNN4 with their number of channels"
            )
        return x.reshape(-1, 1, _OMNIGLOT_SIDE, _OMNIGLOT_SIDE)


def _pooled_first(before: int, after: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1),
        nn.BatchNorm2d(after),
        nn.MaxPool2d(2, stride=stride),
        nn.LeakyReLU(0.1),
    )
