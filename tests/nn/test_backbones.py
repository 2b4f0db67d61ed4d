"""Conv4 against the layers written out, and what it refuses."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.nn import BackboneClassifier, Conv4, ConvClassifier, TextCNN, maml_init_
from l2l_core.nn.pictures import embedding_size


def written_out(backbone: Conv4, images: torch.Tensor) -> torch.Tensor:
    """The same net in the papers' order, ReLU before the pool, with BatchNorm by its formula on batch statistics."""
    maps = images
    for block in backbone.blocks:
        stride = 2 if backbone.downsample == "stride" else 1
        maps = functional.conv2d(maps, block[0].weight, stride=stride, padding=1)
        mean = maps.mean(dim=(0, 2, 3), keepdim=True)
        variance = maps.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
        maps = (maps - mean) / (variance + 1e-5).sqrt()
        maps = maps * block[1].weight[:, None, None] + block[1].bias[:, None, None]
        maps = maps.clamp(min=0)
        if backbone.downsample == "pool":
            height, width = maps.shape[2] // 2, maps.shape[3] // 2
            maps = maps[:, :, : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2))
            maps = maps.amax(dim=(3, 5))
    return maps.flatten(1) if backbone.downsample == "pool" else maps.mean(dim=(2, 3))


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_conv4_is_the_net_of_the_papers(downsample: str) -> None:
    torch.manual_seed(0)
    backbone = Conv4(channels=3, hidden=4, downsample=downsample).double()
    for parameter in backbone.parameters():
        nn.init.normal_(parameter)  # negative scales too: the pool must commute with the ReLU, not with BatchNorm
    images = torch.rand(5, 3, 35, 49, dtype=torch.float64, requires_grad=True)
    found, expected = backbone(images), written_out(backbone, images)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    (gradient,) = torch.autograd.grad((weights * found).sum(), images)
    (expected_gradient,) = torch.autograd.grad((weights * expected).sum(), images)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize(
    ("downsample", "size", "width"),
    [
        ("pool", (28, 28), 64),  # Snell et al. 2017: 64-dimensional for Omniglot
        ("pool", (84, 84), 1600),  # and 1600-dimensional for mini-ImageNet
        ("pool", (16, 50), 192),
        ("stride", (28, 28), 64),
        ("stride", (5, 9), 64),
    ],
)
def test_features_dim_is_what_comes_out(downsample: str, size: tuple[int, int], width: int) -> None:
    backbone = Conv4(downsample=downsample)
    assert backbone.features_dim(size) == width
    assert backbone(torch.rand(2, 1, *size)).shape == (2, width)


def test_the_strided_net_ends_in_a_map_of_two_by_two() -> None:
    assert Conv4(downsample="stride").blocks(torch.rand(2, 1, 28, 28)).shape == (2, 64, 2, 2)


def test_without_running_stats_the_batch_decides_in_eval_mode_too() -> None:
    torch.manual_seed(0)
    images = torch.rand(6, 1, 28, 28)
    transductive = Conv4(running_stats=False)
    assert not list(transductive.buffers())
    in_training = transductive(images)
    assert torch.equal(transductive.eval()(images), in_training)
    assert not torch.allclose(transductive(images[:3]), in_training[:3], atol=1e-3)

    inductive = Conv4(running_stats=True)
    inductive(images)
    inductive.eval()
    torch.testing.assert_close(inductive(images[:3]), inductive(images)[:3])


def test_the_classifier_is_features_and_a_linear_layer() -> None:
    model = ConvClassifier(Conv4(downsample="pool"), ways=7, image_size=(32, 40)).eval()
    images = torch.rand(3, 1, 32, 40)
    logits = model(images)
    assert logits.shape == (3, 7)
    torch.testing.assert_close(logits, model.features(images) @ model.classifier.weight.T + model.classifier.bias)


def test_a_classifier_on_any_backbone_is_its_embeddings_and_a_linear_layer() -> None:
    torch.manual_seed(0)
    for backbone, inputs in (
        (nn.Sequential(nn.Linear(6, 4), nn.Tanh()), torch.rand(3, 6)),
        (TextCNN(9, width=5, channels=2), torch.randint(0, 9, (3, 7))),
    ):
        width = embedding_size(backbone, tuple(inputs.shape[1:]))
        model = BackboneClassifier(backbone, ways=5, width=width)
        assert model.features is backbone
        assert width == backbone(inputs).shape[1]
        expected = backbone(inputs) @ model.classifier.weight.T + model.classifier.bias
        torch.testing.assert_close(model(inputs), expected)
        with pytest.raises(UsageError) as caught:
            BackboneClassifier(backbone, ways=5, width=width + 1)(inputs)
        assert f"but its classifier takes {width + 1}; build it with width={width}, or" in str(caught.value)


def test_maml_init_is_xavier_uniform_with_zero_biases() -> None:
    torch.manual_seed(0)
    model = ConvClassifier(Conv4(downsample="stride"), ways=5)
    assert maml_init_(model) is model
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            area = math.prod(layer.weight.shape[2:])
            bound = math.sqrt(6 / (area * (layer.weight.shape[0] + layer.weight.shape[1])))
            assert layer.weight.abs().max() <= bound
            assert layer.weight.abs().max() > 0.9 * bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
            assert layer.bias is None or not layer.bias.any()


def test_conv4_refuses_in_words() -> None:
    refused = {
        "Conv4 was asked to downsample by 'max'; choose 'pool' or 'stride'": lambda: Conv4(downsample="max"),
        "Conv4 was asked for channels = 0 and hidden = 64; give at least 1 of each": lambda: Conv4(channels=0),
        "Conv4 was asked to embed pictures of 15×28 pixels, but four blocks with downsample='pool' need at least "
        "16×16; resize them": lambda: Conv4()(torch.rand(1, 1, 15, 28)),
        "Conv4 embeds pictures [M, 1, H, W], but was given [2, 3, 28, 28]; reshape them, or build it with their "
        "number of channels": lambda: Conv4()(torch.rand(2, 3, 28, 28)),
        "Conv4 embeds pictures [M, 1, H, W], but was given [1, 28, 28]; reshape them, or build it with their number "
        "of channels": lambda: Conv4()(torch.rand(1, 28, 28)),
        "ConvClassifier was asked for 0 ways; give at least 1": lambda: ConvClassifier(Conv4(), 0),
        "BackboneClassifier was asked for 0 ways; give at least 1": lambda: BackboneClassifier(nn.Identity(), 0, 3),
        "ConvClassifier takes a backbone with convolutions, and Identity has none; take a method that compares "
        "embeddings, such as protonet or simpleshot": lambda: ConvClassifier(nn.Identity(), 2),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
