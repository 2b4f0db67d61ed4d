"""The models under learn2learn's names, used as its programs use them."""

import inspect
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from l2l_core.algorithms.maml import MAML
from l2l_core.nn import backbones, conv_nets, resnet12, wide_resnet
from l2l_core.vision import models, pretrained

SIGNATURES = {
    "ConvBlock": "in_channels, out_channels, kernel_size, max_pool=True, max_pool_factor=1.0",
    "ConvBase": "hidden=64, channels=1, max_pool=False, layers=4, max_pool_factor=1.0",
    "OmniglotFC": "input_size, output_size, sizes=None",
    "OmniglotCNN": "output_size=5, hidden_size=64, layers=4",
    "CNN4": "output_size, hidden_size=64, layers=4, channels=3, max_pool=True, embedding_size=None",
    "CNN4Backbone": "hidden_size=64, layers=4, channels=3, max_pool=True, max_pool_factor=None",
    "ResNet12": "output_size, hidden_size=640, avg_pool=True, wider=True, embedding_dropout=0.0, "
    "dropblock_dropout=0.1, dropblock_size=5, channels=3",
    "ResNet12Backbone": "avg_pool=True, wider=True, embedding_dropout=0.0, dropblock_dropout=0.1, dropblock_size=5, "
    "channels=3",
    "WRN28": "output_size, hidden_size=640, dropout=0.0",
    "WRN28Backbone": "dropout=0.0",
    "fc_init_": "module",
    "maml_init_": "module",
}


@pytest.mark.parametrize("name", list(SIGNATURES))
def test_signatures_are_learn2learns(name: str) -> None:
    parameters = inspect.signature(getattr(models, name)).parameters.values()
    bare = [str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in parameters]
    assert ", ".join(bare) == SIGNATURES[name]


def test_the_list_holds_each_name_once_and_the_things_of_nn() -> None:
    assert models.__all__ == sorted(models.__all__)
    assert set(models.__all__) == {*SIGNATURES, "MiniImagenetCNN", "get_pretrained_backbone"}
    homes = (backbones, conv_nets, resnet12, wide_resnet, pretrained)
    for name in models.__all__:
        assert any(getattr(home, name, None) is getattr(models, name) for home in homes)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: models.OmniglotFC(28**2, 5, sizes=[16, 8]), (1, 28, 28)),
        (lambda: models.OmniglotCNN(5, hidden_size=8), (1, 28, 28)),
        (lambda: models.MiniImagenetCNN(5, hidden_size=4), (3, 84, 84)),
        (lambda: models.CNN4(5, hidden_size=4, max_pool=False, embedding_size=16), (3, 32, 32)),
        (lambda: models.ResNet12(5, hidden_size=512, wider=False, dropblock_dropout=0), (3, 16, 16)),
    ],
)
@pytest.mark.parametrize("head_only", [False, True], ids=["MAML", "ANIL"])
def test_a_step_of_maml_and_of_anil(make: Callable[[], nn.Module], shape: tuple[int, ...], head_only: bool) -> None:
    torch.manual_seed(0)
    model = make()
    images, labels = 255 * torch.rand(5, *shape), torch.arange(5)
    loss = nn.CrossEntropyLoss()
    if head_only:
        head = MAML(model.classifier, lr=1e-3).clone()
        features = model.features(images)
        head.adapt(loss(head(features), labels))
        loss(head(features), labels).backward()
    else:
        learner = MAML(model, lr=1e-3).clone()
        learner.adapt(loss(learner(images), labels))
        loss(learner(images), labels).backward()
    parameters = itertools.chain(model.features.parameters(), model.classifier.parameters())
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in parameters)
