"""WRN28 against its layers written out, its sizes counted by hand, and what it refuses."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.nn.wide_resnet import WRN28, WideBlock, WRN28Backbone


def normalised(maps: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """BatchNorm by its formula, on the batch's statistics."""
    mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True, unbiased=False)
    scale, shift = state[f"{name}.weight"][:, None, None], state[f"{name}.bias"][:, None, None]
    return (maps - mean) / (variance + 1e-5).sqrt() * scale + shift


def block_written_out(state: dict[str, torch.Tensor], prefix: str, given: torch.Tensor, stride: int) -> torch.Tensor:
    maps = normalised(given, state, f"{prefix}bn1").clamp(min=0)
    maps = functional.conv2d(maps, state[f"{prefix}conv1.weight"], state[f"{prefix}conv1.bias"], padding=1)
    maps = normalised(maps, state, f"{prefix}bn2").clamp(min=0)
    maps = functional.conv2d(maps, state[f"{prefix}conv2.weight"], state[f"{prefix}conv2.bias"], stride, padding=1)
    if f"{prefix}shortcut.0.weight" in state:
        weight, bias = state[f"{prefix}shortcut.0.weight"], state[f"{prefix}shortcut.0.bias"]
        given = functional.conv2d(given, weight, bias, stride)
    return maps + given


@pytest.mark.parametrize(("before", "after", "stride"), [(3, 5, 1), (4, 4, 1), (4, 4, 2), (3, 5, 2)])
def test_a_block_is_that_of_the_released_code(before: int, after: int, stride: int) -> None:
    torch.manual_seed(0)
    block = WideBlock(before, after, 0.0, stride).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    maps = torch.rand(3, before, 7, 8, dtype=torch.float64)
    state = dict(block.named_parameters())
    assert ("shortcut.0.weight" in state) == (before != after or stride > 1)
    torch.testing.assert_close(block(maps), block_written_out(state, "", maps, stride))


def test_the_net_is_its_blocks_in_a_row_and_does_what_modules_do() -> None:
    torch.manual_seed(0)
    model = WRN28(4)
    images = torch.rand(2, 3, 8, 12)
    state = dict(model.named_parameters())
    found = model(images)
    maps = functional.conv2d(images, state["features.conv1.weight"], state["features.conv1.bias"], padding=1)
    for layer in range(1, 4):
        for number in range(4):
            stride = 2 if layer > 1 and number == 0 else 1
            maps = block_written_out(state, f"features.layer{layer}.{number}.", maps, stride)
    assert maps.shape == (2, 640, 2, 3)
    embedding = normalised(maps, state, "features.bn1").clamp(min=0).mean(dim=(2, 3))
    expected = embedding @ state["classifier.weight"].T + state["classifier.bias"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    model.eval()
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(last), model(images), rtol=1e-4, atol=1e-4)
    buffers = dict(model.named_buffers())
    by_task = torch.vmap(lambda x: torch.func.functional_call(model, (state, buffers), (x,)))(images[:, None])
    torch.testing.assert_close(by_task[:, 0], model(images), rtol=1e-4, atol=1e-4)
    expected = model(images).detach()
    half = model.bfloat16()(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("side", "width"), [(84, 640), (80, 640), (32, 640), (164, 640), (168, 4 * 640)])
def test_what_comes_out(side: int, width: int) -> None:
    with torch.device("meta"):
        assert WRN28Backbone()(torch.rand(2, 3, side, side)).shape == (2, width)
        assert WRN28(5, hidden_size=width)(torch.rand(2, 3, side, side)).shape == (2, 5)


def test_parameters_are_those_of_learn2learn() -> None:
    with torch.device("meta"):
        model = WRN28(5, dropout=0.3)
    expected: dict[str, tuple[int, ...]] = {"features.conv1.weight": (16, 3, 3, 3), "features.conv1.bias": (16,)}
    before = 16
    for layer, after in enumerate((160, 320, 640), start=1):
        for number in range(4):
            prefix = f"features.layer{layer}.{number}"
            expected |= {f"{prefix}.bn1.weight": (before,), f"{prefix}.bn1.bias": (before,)}
            expected |= {f"{prefix}.conv1.weight": (after, before, 3, 3), f"{prefix}.conv1.bias": (after,)}
            expected |= {f"{prefix}.bn2.weight": (after,), f"{prefix}.bn2.bias": (after,)}
            expected |= {f"{prefix}.conv2.weight": (after, after, 3, 3), f"{prefix}.conv2.bias": (after,)}
            if number == 0:
                expected |= {
                    f"{prefix}.shortcut.0.weight": (after, before, 1, 1),
                    f"{prefix}.shortcut.0.bias": (after,),
                }
            before = after
    expected |= {"features.bn1.weight": (640,), "features.bn1.bias": (640,)}
    expected |= {"classifier.weight": (5, 640), "classifier.bias": (5,)}
    found = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert list(found.items()) == list(expected.items())
    # Of a channels in and b out, a first block has 9(ab + bb) + ab + 2a + 5b, each of the three others 18bb + 6b.
    first = [9 * (a * b + b * b) + a * b + 2 * a + 5 * b for a, b in ((16, 160), (160, 320), (320, 640))]
    others = [3 * (18 * b * b + 6 * b) for b in (160, 320, 640)]
    assert first + others == [256_832, 1_435_520, 5_738_240, 1_385_280, 5_535_360, 22_129_920]
    total = sum(parameter.numel() for parameter in model.parameters())
    # 36,479,194 is what the paper's net has: no biases but the last layer's, and 10 ways.
    assert total == 448 + 36_481_152 + 1_280 + 3_205 == 36_479_194 - 6_410 + (16 + 9 * (160 + 320 + 640)) + 3_205
    assert all(block.dropout.p == 0.3 for block in model.modules() if isinstance(block, WideBlock))
    assert model.features.bn1.momentum == 0.9


def test_what_does_not_fit_is_refused_in_words() -> None:
    with torch.device("meta"):
        model = WRN28(5)
        refused = {
            "WRN28Backbone takes pictures [M, 3, H, W], but was given [2, 1, 28, 28]; reshape them, or build it with "
            "their number of channels": lambda: model(torch.rand(2, 1, 28, 28)),
            "the features of WRN28 are 2560 wide for pictures [3, 168, 168], but its classifier takes 640; build it "
            "with hidden_size=2560, or resize the pictures": lambda: model(torch.rand(2, 3, 168, 168)),
        }
        for message, call in refused.items():
            with pytest.raises(UsageError) as error:
                call()
            assert str(error.value) == message
