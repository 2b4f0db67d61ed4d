"""Backbones that others have trained, as frozen features: from torchvision, from timm, from weights of our own.

Letters in shapes: M examples, C H W image, D embedding.
"""

import pickle
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.catalog import open_catalog, read_card
from l2l_core.errors import ContentError, FetchError, UnknownNameError, UsageError
from l2l_core.fetch.download import download
from l2l_core.nn.layers import freeze
from l2l_core.records import FileRecord

_AT_MOST_BYTES: Final = 4_000_000_000
"""No file of torchvision's is larger: RegNetY-128GF has 645 million parameters of 4 bytes."""
_OWN: Final = "backbone."
"""What the names of a backbone's tensors begin with in a file of weights."""


class FrozenBackbone(nn.Module):
    """A trained network that is only looked through; its value is an embedding [M, D] of pictures [M, C, H, W].

    No parameter of it asks for a gradient, and it is in eval mode whatever mode the learner is in, so that BatchNorm
    normalises with the statistics it was trained with and none of them moves.

    Args:
        net: from pictures as it was trained on to embeddings, or to maps, which are flattened.
        size: height and width in pixels that it was trained on, to which pictures are resized whole; None takes them
            as they are.
        mean, std: of each of the three channels it was trained on; pictures are float in [0, 1] and are normalised so,
            grey ones having been made of three equal channels. None takes values and channels as they are.
        interpolation: how pictures are resized, "bilinear" or "bicubic".
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        net: nn.Module,
        size: tuple[int, int] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        self.net = freeze(net)
        self.size = size
        self.interpolation = interpolation
        for name, values in (("mean", mean), ("std", std)):
            # Not among the weights: it is a fact of the network, which whoever builds it again knows.
            self.register_buffer(
                name, None if values is None else torch.tensor(values)[:, None, None], persistent=False
            )
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """The module itself, in eval mode."""
        return super().train(False)

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Embeddings [M, D] of pictures [M, C, H, W], float.

        Raises:
            UsageError: the network wants pictures of three channels, and those have neither one nor three.
        """
        # Whoever sets the mode of each BatchNorm by itself, as the policies of learners do, does not mean these.
        self.net.eval()
        images = images_MCHW
        if self.mean is not None:
            if images.ndim != 4 or images.shape[1] not in (1, 3):
                raise UsageError(
                    f"a pretrained backbone takes pictures [M, 1 or 3, H, W], but was given {list(images.shape)}; "
                    "reshape them, or take another backbone"
                )
            images = images.expand(-1, 3, -1, -1)
        if self.size is not None and images.shape[2:] != self.size:
            images = functional.interpolate(
                images, self.size, mode=self.interpolation, align_corners=False, antialias=True
            )
        if self.mean is not None and self.std is not None:
            images = (images - self.mean) / self.std
        return self.net(images).flatten(1)  # type: ignore[no-any-return]  # Module.__call__ is untyped


def pretrained_backbone(
    source: str, image: tuple[int, ...], ours: Mapping[str, Callable[[int, bool], nn.Module]]
) -> FrozenBackbone:
    """The trained backbone that a source names, frozen.

    Args:
        source: ``torchvision:NAME`` or ``timm:NAME``, a classifier of theirs with its default weights, whose last layer
            is taken off; ``zoo:NAME``, as in ``l2l list weights``; or the path of a file of weights.
        image: C, H and W of the pictures to come.
        ours: backbones that a file of weights may be of; name to what builds one for pictures of so many channels,
            with or without running statistics.

    Raises:
        UnknownNameError: the source has nothing of that name.
        UsageError: no such kind of source, or its package is not installed.
        FetchError: the weights are not here, and could not be fetched; says from where, and where to place them.
        ContentError: a file of weights is absent, damaged, or of no backbone for such pictures.
    """
    kind, colon, name = source.partition(":")
    if source.endswith(".safetensors") or not colon:
        return _from_file(Path(source), image, ours)
    if kind == "zoo":
        zoo = open_catalog().zoo()
        if name not in zoo:
            raise UnknownNameError("weights in the zoo", name, zoo)
        return _from_file(zoo[name], image, ours)
    if kind == "torchvision":
        return _from_torchvision(name)
    if kind == "timm":
        return _from_timm(name)
    raise UsageError(
        f"found the backbone {source!r}; give torchvision:NAME, timm:NAME, zoo:NAME or the path of a .safetensors file"
    )


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file of weights by name, and its card.

    Raises:
        ContentError: the file is absent, or no such file.
    """
    card = read_card(path)
    try:
        return safetensors.torch.load_file(path), card
    except (OSError, SafetensorError) as error:
        raise ContentError(f"{path} is damaged ({error}); train again, or get another copy") from None


def _from_file(
    path: Path, image: tuple[int, ...], ours: Mapping[str, Callable[[int, bool], nn.Module]]
) -> FrozenBackbone:
    tensors, card = read_weights(path)
    own = {name.removeprefix(_OWN): value for name, value in tensors.items() if name.startswith(_OWN)}
    if not own:
        raise ContentError(
            f"{path} holds weights of {card['method']}, none of which is of a backbone; give those of a method that "
            "embeds, such as protonet"
        )
    shapes = {name: value.shape for name, value in own.items()}
    # A card without a name means the method's own, which is the first that has such tensors.
    names = [card["backbone"]] if card.get("backbone") in ours else list(ours)
    for name in names:
        for running_stats in (True, False):
            with torch.device("meta"):
                outline = ours[name](image[0], running_stats).state_dict()
            if {key: value.shape for key, value in outline.items()} == shapes:
                net = ours[name](image[0], running_stats)
                net.load_state_dict(own)
                return FrozenBackbone(net)
    raise ContentError(
        f"the backbone in {path}, which was trained on {card['benchmark']}, is none of {', '.join(names)} for pictures "
        f"of {image[0]} channel{'s' if image[0] > 1 else ''}; take weights that were trained on such pictures"
    )


def _from_torchvision(name: str) -> FrozenBackbone:
    models: Any = import_module("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError("model of torchvision", name, known)
    weights = models.get_model_weights(name).DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not path.is_file():
        try:
            download(FileRecord(path.name, (weights.url,), at_most_bytes=_AT_MOST_BYTES), path)
        except FetchError as error:
            raise FetchError(f"torchvision:{name} needs {weights.url}: {error}") from None
    try:
        # torchvision reads the file as it likes; this makes sure that there is nothing in it but numbers.
        torch.load(path, map_location="meta", weights_only=True)
        net = models.get_model(name, weights=weights)
    except (OSError, RuntimeError, TypeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise ContentError(f"{path} holds no weights of {name} ({what}); remove it and fetch it again") from error
    form = weights.transforms()
    size = form.crop_size[0]
    headless = _without_head(net, len(weights.meta["categories"]))
    return FrozenBackbone(headless, (size, size), tuple(form.mean), tuple(form.std), form.interpolation.value)


def _without_head(net: nn.Module, classes: int) -> nn.Module:
    """The network, its last layer of so many outputs replaced by nothing."""
    heads = [
        name
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.weight.shape[0] == classes
    ]
    net.set_submodule(heads[-1], nn.Identity())
    return net


def _from_timm(name: str) -> FrozenBackbone:
    try:
        timm = import_module("timm")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"timm:{name} was asked for, but the package timm is not here ({error}); install it with "
            "`pip install l2l-core[timm]`"
        ) from None
    if not timm.is_model(name):
        raise UnknownNameError("model of timm", name, timm.list_models())
    try:
        net = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever the hub's client raises without a network, and timm without weights
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise FetchError(
            f"the weights of timm:{name} could not be got ({what}); let timm fetch them where there is a network, and "
            "copy the hub's cache folder (HF_HOME) here"
        ) from error
    form = timm.data.resolve_model_data_config(net)
    return FrozenBackbone(
        net, tuple(form["input_size"][1:]), tuple(form["mean"]), tuple(form["std"]), form["interpolation"]
    )
