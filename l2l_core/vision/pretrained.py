"""Backbones with the weights that learn2learn's authors trained and published."""

import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import nn

from l2l_core.catalog import open_catalog
from l2l_core.errors import ContentError, UnknownNameError
from l2l_core.fetch.cache import home
from l2l_core.fetch.download import download as fetch
from l2l_core.nn.conv_nets import CNN4Backbone
from l2l_core.nn.resnet12 import ResNet12Backbone
from l2l_core.nn.wide_resnet import WRN28Backbone
from l2l_core.records import FileRecord

_BUILDERS: Final[Mapping[str, Callable[[], nn.Module]]] = MappingProxyType(
    {
        "cnn4": lambda: CNN4Backbone(channels=3, max_pool=True),
        "resnet12": lambda: ResNet12Backbone(avg_pool=False),
        "wrn28": WRN28Backbone,
    }
)
_AT_MOST_BYTES: Final = 400_000_000
"""No file of weights is larger: WRN28 has 36.5 million parameters of 4 bytes."""


def get_pretrained_backbone(
    model: str,
    dataset: str,
    spec: str = "default",
    root: str | os.PathLike[str] | None = "~/data",
    download: bool = False,
) -> nn.Module:
    """A backbone trained on the training classes of a data set by plain classification.

    Its weights lie in ``ROOT/pretrained_models/DATASET/MODEL.pth``, as learn2learn has it, and are read as numbers
    only: nothing in the file is run.

    Args:
        model: "cnn4", "resnet12" (without its last pool) or "wrn28".
        dataset: "mini-imagenet" or "tiered-imagenet" (the last two), "cifar-fs" or "fc100" (the first).
        spec: which training; "supervised" is the only one, and the default.
        root: folder of the weights; None for the cache folder.
        download: whether they may be fetched where they are not there.

    Mended from learn2learn: a broken or foreign file is refused in words, a half download is never taken for a whole
    one, and the file cannot run code.

    Raises:
        UnknownNameError: there are no weights for those names.
        ContentError: they are not there and may not be fetched, or the file does not fit.
        FetchError: they could not be fetched.

    Source: Zenodo record 5651278, named in learn2learn's ``vision/models``.
    """
    rows = open_catalog().pretrained()
    for what, name, known in (
        ("data set with pretrained backbones", dataset, {row["dataset"] for row in rows}),
        (f"backbone pretrained on {dataset}", model, {row["model"] for row in rows if row["dataset"] == dataset}),
        ("training of a backbone", spec, {"default", *(row["spec"] for row in rows)}),
    ):
        if name not in known:
            raise UnknownNameError(what, name, known)
    (url,) = (row["url"] for row in rows if (row["dataset"], row["model"]) == (dataset, model))
    path = home(root) / "pretrained_models" / dataset / f"{model}.pth"
    if not path.is_file():
        if not download:
            raise ContentError(f"there is no file {path}; give download=True, or place {url} there")
        fetch(FileRecord(path.name, (url,), at_most_bytes=_AT_MOST_BYTES), path)
    backbone = _BUILDERS[model]()
    try:
        with warnings.catch_warnings():
            # Of files that are something else entirely; what follows says so better.
            warnings.simplefilter("ignore")
            weights = torch.load(path, map_location="cpu", weights_only=True)
        # A counter of our own that the published files do not have.
        own = {name: value for name, value in backbone.state_dict().items() if name.endswith(".passes")}
        backbone.load_state_dict({**own, **weights})
    except (OSError, RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise ContentError(f"{path} holds no weights of {model} ({what}); remove it and fetch it again") from error
    return backbone
