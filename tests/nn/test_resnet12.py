"""ResNet12 against its layers written out, its sizes counted by hand, and what it refuses."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.modules import clone_module, update_module
from l2l_core.nn.dropblock import DropBlock
from l2l_core.nn.resnet12 import ResNet12, ResNet12Backbone, ResNet12Block


def normalised(maps: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """BatchNorm by its formula, on the batch's statistics."""
    mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True, unbiased=False)
    scale, shift = state[f"{name}.weight"][:, None, None], state[f"{name}.bias"][:, None, None]
    return (maps - mean) / (variance + 1e-5).sqrt() * scale + shift


def block_written_out(state: dict[str, torch.Tensor], maps: torch.Tensor) -> torch.Tensor:
    """A block in learn2learn's order, LeakyReLU before the pool, without dropout."""
    given = maps
    for number in (1, 2, 3):
        maps = functional.conv2d(maps, state[f"conv{number}.weight"], padding=1)
        maps = normalised(maps, state, f"bn{number}")
        if number == 3:
            shortcut = functional.conv2d(given, state["downsample.0.weight"])
            maps = maps + normalised(shortcut, state, "downsample.1")
        maps = torch.where(maps > 0, maps, 0.1 * maps)
    height, width = maps.shape[2] // 2, maps.shape[3] // 2
    maps = maps[:, :, : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2))
    return maps.amax(dim=(3, 5))


def test_a_block_is_that_of_the_released_code() -> None:
    torch.manual_seed(0)
    block = ResNet12Block(3, 5, nn.Identity()).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    maps = torch.rand(4, 3, 7, 10, dtype=torch.float64, requires_grad=True)
    found, expected = block(maps), block_written_out(dict(block.named_parameters()), maps)
    assert found.shape == (4, 5, 3, 5)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    inputs = [maps, *block.parameters()]
    gradients = torch.autograd.grad((weights * found).sum(), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad((weights * expected).sum(), inputs))


@pytest.mark.parametrize("avg_pool", [True, False])
def test_the_net_is_its_blocks_in_a_row(avg_pool: bool) -> None:
    torch.manual_seed(0)
    model = ResNet12(4, hidden_size=512 * (1 if avg_pool else 2), avg_pool=avg_pool, wider=False, dropblock_dropout=0.0)
    model.double()
    maps = torch.rand(2, 3, 16, 32, dtype=torch.float64)
    found = model(maps)
    state = dict(model.named_parameters())
    for layer in range(1, 5):
        prefix = f"features.layer{layer}.0."
        maps = block_written_out(
            {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}, maps
        )
    assert maps.shape == (2, 512, 1, 2)
    embedding = maps.mean(dim=(2, 3)) if avg_pool else maps.reshape(2, -1)
    torch.testing.assert_close(found, embedding @ state["classifier.weight"].T + state["classifier.bias"])


@pytest.mark.parametrize(
    ("settings", "side", "width"),
    [
        ({}, 84, 640),
        ({"wider": False}, 84, 512),
        ({"avg_pool": False}, 84, 16000),  # Lee et al. 2019
        ({"avg_pool": False}, 32, 2560),
        ({}, 32, 640),
        ({}, 16, 640),
        ({}, 112, 640 * 9),  # the last map is 7×7: nine windows of 5×5
        ({"channels": 1, "dropblock_size": 2}, 28, 640),
    ],
)
def test_what_comes_out(settings: dict[str, int], side: int, width: int) -> None:
    with torch.device("meta"):
        backbone = ResNet12Backbone(**settings)
        assert backbone(torch.rand(2, settings.get("channels", 3), side, side)).shape == (2, width)
        model = ResNet12(5, hidden_size=width, **settings)
        assert model(torch.rand(2, settings.get("channels", 3), side, side)).shape == (2, 5)


@pytest.mark.parametrize(("wider", "widths"), [(True, (64, 160, 320, 640)), (False, (64, 128, 256, 512))])
def test_parameters_are_those_of_learn2learn(wider: bool, widths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = ResNet12(5, hidden_size=widths[-1], wider=wider)
    expected: dict[str, tuple[int, ...]] = {}
    before = 3
    for layer, after in enumerate(widths, start=1):
        prefix = f"features.layer{layer}.0"
        for number in (1, 2, 3):
            expected[f"{prefix}.conv{number}.weight"] = (after, before if number == 1 else after, 3, 3)
            expected |= {f"{prefix}.bn{number}.weight": (after,), f"{prefix}.bn{number}.bias": (after,)}
        expected[f"{prefix}.downsample.0.weight"] = (after, before, 1, 1)
        expected |= {f"{prefix}.downsample.1.weight": (after,), f"{prefix}.downsample.1.bias": (after,)}
        before = after
    expected |= {"classifier.weight": (5, widths[-1]), "classifier.bias": (5,)}
    found = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert list(found.items()) == list(expected.items())
    # A block of a channels in and b out has 9(ab + 2bb) + ab + 8b.
    blocks = [9 * (a * b + 2 * b * b) + a * b + 8 * b for a, b in zip((3, *widths), widths, strict=False)]
    assert blocks == ([76_160, 564_480, 2_357_760, 9_425_920] if wider else [76_160, 377_856, 1_509_376, 6_033_408])
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(blocks) + (widths[-1] + 1) * 5


def test_dropout_stands_where_the_released_code_has_it() -> None:
    with torch.device("meta"):
        backbone = ResNet12Backbone(embedding_dropout=0.4, dropblock_dropout=0.2, dropblock_size=2)
    drops = [layer[0].drop for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)]
    assert [type(drop) for drop in drops] == [nn.Dropout, nn.Dropout, DropBlock, DropBlock]
    assert [drop.p for drop in drops[:2]] == [0.2, 0.2]
    assert [(drop.rate, drop.block_size) for drop in drops[2:]] == [(0.2, 2), (0.2, 2)]
    assert backbone.dropout.p == 0.4


def test_weights_start_as_he_et_al_have_it() -> None:
    torch.manual_seed(0)
    block = ResNet12Block(32, 48, nn.Identity())
    for conv, area in ((block.conv1, 9), (block.conv3, 9), (block.downsample[0], 1)):
        assert conv.weight.std().item() == pytest.approx((2 / (area * 48)) ** 0.5, rel=0.05)
    assert block.bn2.weight.eq(1).all()


def test_the_model_does_what_modules_do() -> None:
    torch.manual_seed(0)
    model = ResNet12(3, hidden_size=512, wider=False, dropblock_dropout=0.3).eval()
    images = 255 * torch.rand(2, 3, 16, 16)
    expected = model(images)
    assert torch.equal(model(images), expected)  # no dropout
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), expected)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(images.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-3)
    half = copy.deepcopy(model).bfloat16()(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())

    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())

    def logits(scale: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        own = {name: scale * parameter for name, parameter in parameters.items()}
        return torch.func.functional_call(model, (own, buffers), (pictures,))

    found = torch.vmap(logits)(torch.tensor([1.0, 0.5]), torch.stack([images, images]))
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found[1], logits(torch.tensor(0.5), images), rtol=1e-4, atol=1e-3)

    model.train()
    clone = clone_module(model)
    first = clone(images)
    gradients = torch.autograd.grad(first.square().sum(), list(clone.parameters()), create_graph=True)
    update_module(clone, [-1e-4 * gradient for gradient in gradients])
    clone(images).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.features.layer4[0].drop.passes == 2


def test_what_does_not_fit_is_refused_in_words() -> None:
    with torch.device("meta"):
        model, small = ResNet12(5), torch.rand(2, 3, 15, 84)
        narrow = ResNet12(5, wider=False)
        refused = {
            "ResNet12Backbone takes pictures [M, 3, H, W], but was given [2, 1, 84, 84]; reshape them, or build it "
            "with their number of channels": lambda: model(torch.rand(2, 1, 84, 84)),
            "ResNet12Backbone was given pictures of 15×84 pixels, but its pools leave nothing of less than 16×16; "
            "resize them": lambda: model(small),
            "the features of ResNet12 are 512 wide for pictures [3, 84, 84], but its classifier takes 640; build it "
            "with hidden_size=512, or resize the pictures": lambda: narrow(torch.rand(2, 3, 84, 84)),
            "DropBlock was asked for rate = 0.1, block_size = 0 and ramp = 40000; give a rate in [0, 1] and at least 1 "
            "of the others": lambda: ResNet12(5, dropblock_size=0),
        }
        for message, call in refused.items():
            with pytest.raises(UsageError) as error:
                call()
            assert str(error.value) == message
