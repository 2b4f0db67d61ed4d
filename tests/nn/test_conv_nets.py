"""The small nets against their layers written out, their sizes counted by hand, and what they refuse."""

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from l2l_core.errors import UsageError
from l2l_core.modules import clone_module, update_module
from l2l_core.nn.conv_nets import (
    CNN4,
    CNN4Backbone,
    ConvBase,
    ConvBlock,
    MiniImagenetCNN,
    OmniglotCNN,
    OmniglotFC,
    R2D2Backbone,
    fc_init_,
)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def normalised(maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """BatchNorm by its formula, on the batch's statistics."""
    axes = [axis for axis in range(maps.ndim) if axis != 1]
    mean, variance = maps.mean(axes, keepdim=True), maps.var(axes, keepdim=True, unbiased=False)
    shape = [1, -1] + [1] * (maps.ndim - 2)
    return (maps - mean) / (variance + eps).sqrt() * scale.reshape(shape) + shift.reshape(shape)


def pooled(maps: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """A max-pool, window by window."""
    rows, columns = ((size - side) // stride + 1 for size in maps.shape[2:])
    windows = [
        maps[:, :, i * stride : i * stride + side, j * stride : j * stride + side].amax(dim=(2, 3))
        for i in range(rows)
        for j in range(columns)
    ]
    return torch.stack(windows, dim=-1).unflatten(-1, (rows, columns))


def scatter_(module: nn.Module) -> None:
    """Every parameter from a normal: negative scales too, since the pool commutes with the ReLU only."""
    for parameter in module.parameters():
        nn.init.normal_(parameter)


def conv_written_out(state: dict[str, torch.Tensor], prefix: str, maps: torch.Tensor, pool: bool) -> torch.Tensor:
    """A `ConvBlock` in learn2learn's order, ReLU before the pool."""
    weight, bias = state[f"{prefix}.conv.weight"], state[f"{prefix}.conv.bias"]
    maps = functional.conv2d(maps, weight, bias, stride=1 if pool else 2, padding=1)
    maps = normalised(maps, state[f"{prefix}.normalize.weight"], state[f"{prefix}.normalize.bias"]).clamp(min=0)
    return pooled(maps, 2, 2) if pool else maps


def test_cnn4_is_the_net_of_the_papers() -> None:
    torch.manual_seed(0)
    model = CNN4(3, hidden_size=4, channels=2, embedding_size=8).double()
    scatter_(model)
    images = torch.rand(5, 2, 19, 35, dtype=torch.float64, requires_grad=True)
    state = dict(model.named_parameters())
    maps = images
    for layer in range(4):
        maps = conv_written_out(state, f"features.{layer}", maps, pool=True)
    expected = maps.reshape(5, 8) @ state["classifier.weight"].T + state["classifier.bias"]
    found = model(images)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    inputs = [images, *model.parameters()]
    gradients = torch.autograd.grad((weights * found).sum(), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad((weights * expected).sum(), inputs))


def test_omniglot_cnn_is_the_strided_net() -> None:
    torch.manual_seed(0)
    model = OmniglotCNN(output_size=5, hidden_size=4).double()
    scatter_(model)
    images = torch.rand(6, 1, 28, 28, dtype=torch.float64)
    state = dict(model.named_parameters())
    maps = images
    for layer in range(4):
        maps = conv_written_out(state, f"features.1.{layer}", maps, pool=False)
    assert maps.shape == (6, 4, 2, 2)
    expected = maps.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]
    torch.testing.assert_close(model(images), expected)
    for form in (images[:, 0], images.flatten(1)):
        assert torch.equal(model(form), model(images))


def test_omniglot_fc_is_blocks_on_the_batch_statistics() -> None:
    torch.manual_seed(0)
    model = OmniglotFC(12, 3, sizes=[5, 4]).double()
    scatter_(model)
    images = torch.rand(7, 1, 3, 4, dtype=torch.float64)
    state = dict(model.named_parameters())
    x = images.reshape(7, 12)
    for prefix in ("features.1.0", "features.1.1"):
        x = x @ state[f"{prefix}.linear.weight"].T + state[f"{prefix}.linear.bias"]
        x = normalised(x, state[f"{prefix}.normalize.weight"], state[f"{prefix}.normalize.bias"], eps=1e-3).clamp(min=0)
    expected = x @ state["classifier.weight"].T + state["classifier.bias"]
    torch.testing.assert_close(model(images), expected)
    torch.testing.assert_close(model.eval()(images), expected)
    assert not list(model.buffers())


def test_r2d2_is_the_net_of_the_released_code() -> None:
    torch.manual_seed(0)
    model = R2D2Backbone(channels=2, widths=(3, 4, 5, 6), dropout=0.0).double()
    scatter_(model)
    images = torch.rand(4, 2, 25, 33, dtype=torch.float64)
    state = dict(model.named_parameters())
    maps, embeddings = images, []
    for number in (1, 2, 3, 4):
        maps = functional.conv2d(maps, state[f"block{number}.0.weight"], state[f"block{number}.0.bias"], padding=1)
        maps = normalised(maps, state[f"block{number}.1.weight"], state[f"block{number}.1.bias"])
        maps = pooled(maps, 2, 1 if number == 4 else 2)
        maps = torch.where(maps > 0, maps, 0.1 * maps)
        if number == 3:
            embeddings.append(pooled(maps, 2, 1).reshape(4, -1))
    embeddings.append(maps.reshape(4, -1))
    torch.testing.assert_close(model(images), torch.cat(embeddings, dim=1))


@pytest.mark.parametrize(
    ("channels", "side", "width"),
    [
        (1, 28, 3584),  # Bertinetto et al. 2019, section 4: Omniglot,
        (3, 84, 72576),  # mini-ImageNet
        (3, 32, 8064),  # and CIFAR-FS
        (3, 16, 896),
    ],
)
def test_r2d2_is_as_wide_as_published(channels: int, side: int, width: int) -> None:
    with torch.device("meta"):
        model = R2D2Backbone(channels)
        assert model(torch.rand(2, channels, side, side)).shape == (2, width)
    weights = 9 * (channels * 96 + 96 * 192 + 192 * 384 + 384 * 512)
    assert count(model) == weights + 3 * (96 + 192 + 384 + 512)


def test_r2d2_drops_out_after_blocks_3_and_4_alone() -> None:
    torch.manual_seed(0)
    model = R2D2Backbone(1, widths=(2, 2, 40, 50), dropout=0.5)
    found = model(torch.rand(20, 1, 16, 16))
    assert found[:, :40].eq(0).float().mean().item() == pytest.approx(0.5**4, abs=0.04)  # a pool over four numbers
    assert found[:, 40:].eq(0).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert not model.eval()(torch.rand(20, 1, 16, 16)).eq(0).any()


def test_parameters_are_those_of_learn2learn() -> None:
    block = [("normalize.weight", ()), ("normalize.bias", ()), ("conv.weight", None), ("conv.bias", ())]
    expected: dict[str, tuple[int, ...]] = {}
    for layer in range(4):
        for name, shape in block:
            expected[f"features.{layer}.{name}"] = (64, 64 if layer else 3, 3, 3) if shape is None else (64,)
    expected |= {"classifier.weight": (5, 1600), "classifier.bias": (5,)}
    model = CNN4(5)
    assert list(shapes(model).items()) == list(expected.items())
    # (9 · 3 + 3) · 64, three times (9 · 64 + 3) · 64, and 1601 · 5
    assert count(model) == 1_920 + 3 * 37_056 + 8_005 == 121_093

    # (9 + 3) · 64, three times (9 · 64 + 3) · 64, and 65 · 5
    assert count(OmniglotCNN()) == 768 + 3 * 37_056 + 325 == 112_261
    assert list(shapes(OmniglotCNN()))[0] == "features.1.0.normalize.weight"

    # (784 + 3) · 256, (256 + 3) · 128, (128 + 3) · 64, (64 + 3) · 64, and 65 · 5
    assert count(OmniglotFC(784, 5)) == 201_472 + 33_152 + 8_384 + 4_288 + 325 == 247_621
    assert list(shapes(OmniglotFC(784, 5)))[:4] == [
        "features.1.0.normalize.weight",
        "features.1.0.normalize.bias",
        "features.1.0.linear.weight",
        "features.1.0.linear.bias",
    ]
    assert {name.rpartition(".")[2] for name, _ in CNN4(5).named_buffers()} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }


@pytest.mark.parametrize(
    ("backbone", "side", "shape"),
    [
        (ConvBase(), 28, (64, 2, 2)),
        (ConvBase(hidden=8, max_pool=True, layers=3), 28, (8, 3, 3)),
        (ConvBase(hidden=8, layers=2, max_pool_factor=2.0), 28, (8, 2, 2)),
        (CNN4Backbone(channels=1), 84, (1600,)),
        (CNN4Backbone(hidden_size=8, channels=1, max_pool=False), 84, (288,)),  # 84, 42, 21, 11, 6
        (CNN4Backbone(hidden_size=8, channels=1, layers=2), 84, (200,)),  # 84, 21, 5
        (CNN4Backbone(hidden_size=8, channels=1, layers=3), 84, (800,)),  # 84, 42, 21, 10
        (CNN4Backbone(hidden_size=8, channels=1, layers=6), 84, (8,)),
        (ConvBlock(1, 8, (3, 3), max_pool_factor=0.5), 10, (8, 10, 10)),
        (ConvBlock(1, 8, 5), 10, (8, 4, 4)),  # padded by 1: 10, 8, 4
    ],
)
def test_what_comes_out(backbone: nn.Module, side: int, shape: tuple[int, ...]) -> None:
    assert backbone(torch.rand(2, 1, side, side)).shape == (2, *shape)


def test_pictures_of_84_fit_cnn4_as_it_comes() -> None:
    assert MiniImagenetCNN is CNN4
    for layers in (1, 2, 4):
        assert (
            CNN4(5, hidden_size=4, layers=layers, embedding_size=None if layers > 1 else 400)(
                255 * torch.rand(2, 3, 84, 84)
            )
            .isfinite()
            .all()
        )


def test_initial_values() -> None:
    torch.manual_seed(0)
    model = CNN4(20, hidden_size=32)
    for block in model.features:
        assert 0 <= block.normalize.weight.min() < 0.2
        assert 0.8 < block.normalize.weight.max() < 1
        assert not block.normalize.bias.any()
        assert not block.conv.bias.any()
        bound = math.sqrt(6 / (9 * (block.conv.in_channels + 32)))
        assert 0.9 * bound < block.conv.weight.abs().max() <= bound
    bound = math.sqrt(6 / (800 + 20))
    assert 0.9 * bound < model.classifier.weight.abs().max() <= bound

    head = OmniglotCNN(200).classifier
    assert head.weight.std().item() == pytest.approx(1, abs=0.03)
    assert not head.bias.any()
    assert OmniglotFC(784, 5).classifier.weight.abs().max() <= 0.02


def test_fc_init_is_a_truncated_normal_that_a_seed_repeats() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 300)
    assert fc_init_(layer) is layer
    assert layer.weight.abs().max() <= 0.02
    # Variance of a normal cut off at a: 1 − 2aφ(a)/(2Φ(a) − 1), with a = 2.
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    assert layer.weight.std().item() == pytest.approx(0.01 * math.sqrt(1 - 4 * density / mass), rel=0.01)
    assert not layer.bias.any()
    torch.manual_seed(0)
    again = fc_init_(nn.Linear(300, 300))
    assert torch.equal(again.weight, layer.weight)
    fc_init_(nn.Linear(3, 3, bias=False))
    assert isinstance(fc_init_(nn.ReLU()), nn.ReLU)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: CNN4(3, hidden_size=4, embedding_size=4), (3, 16, 16)),
        (lambda: CNN4(3, hidden_size=4, max_pool=False, embedding_size=4), (3, 16, 16)),
        (lambda: OmniglotCNN(3, hidden_size=4), (1, 28, 28)),
        (lambda: OmniglotFC(784, 3, sizes=[8]), (1, 28, 28)),
        (lambda: nn.Sequential(R2D2Backbone(3, (2, 2, 2, 2), dropout=0.0), nn.Linear(4, 3)), (3, 16, 16)),
    ],
    ids=["CNN4 pooled", "CNN4 strided", "OmniglotCNN", "OmniglotFC", "R2D2"],
)
def test_models_do_what_modules_do(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, images = make(), torch.rand(4, *shape)
    expected = model(images)
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), expected)
    assert torch.equal(copy.deepcopy(model)(images), expected)
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert torch.equal(torch.func.functional_call(model, (parameters, buffers), (images,)), expected)
    double = copy.deepcopy(model).double()
    last = copy.deepcopy(double).to(memory_format=torch.channels_last)
    pictures = images.double()
    torch.testing.assert_close(last(pictures.to(memory_format=torch.channels_last)), double(pictures))
    half = copy.deepcopy(model).bfloat16()(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.2, rtol=0.2)

    clone = clone_module(model)
    gradients = torch.autograd.grad(clone(images).square().sum(), list(clone.parameters()), create_graph=True)
    update_module(clone, [-0.01 * gradient for gradient in gradients])
    clone(images).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())

    model.eval()
    stacked = {name: torch.stack([parameter, 2 * parameter]).detach() for name, parameter in parameters.items()}

    def logits(own: dict[str, torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, own, (pictures,))

    both = torch.vmap(logits, in_dims=(0, None))(stacked, images)
    torch.testing.assert_close(both[0], model(images))
    doubled = {name: 2 * parameter for name, parameter in parameters.items()}
    torch.testing.assert_close(both[1], logits(doubled, images))


def test_vmap_in_training_with_statistics_a_task() -> None:
    torch.manual_seed(0)
    model = CNN4(3, hidden_size=4, embedding_size=4)
    parameters, buffers = torch.func.stack_module_state([model, model])
    images = torch.rand(2, 5, 3, 16, 16)
    found = torch.vmap(lambda p, b, x: torch.func.functional_call(model, (p, b), (x,)))(parameters, buffers, images)
    torch.testing.assert_close(found, torch.stack([model(images[0]), model(images[1])]))
    assert buffers["features.0.normalize.num_batches_tracked"].tolist() == [1, 1]


def test_omniglot_cnn_loads_checkpoints_that_hold_the_blocks_twice() -> None:
    model = OmniglotCNN(3, hidden_size=4)
    state = OmniglotCNN(3, hidden_size=4).state_dict()
    twice = state | {name.replace("features.1", "base"): state[name] for name in state if name.startswith("features")}
    assert "base.3.conv.weight" in twice
    nn.ModuleDict({"net": model}).load_state_dict({f"net.{name}": tensor for name, tensor in twice.items()})
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.base is model.features[1]
    with pytest.raises(RuntimeError, match="basis"):
        model.load_state_dict(state | {"basis.0.conv.weight": torch.zeros(1)})


def test_another_classifier_may_take_the_place() -> None:
    model = CNN4(5, hidden_size=4)
    model.classifier = nn.Identity()
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 4)


def test_what_does_not_fit_is_refused_in_words() -> None:
    refused = {
        "the features of CNN4 are 256 wide for pictures [3, 32, 32], but its classifier takes 1600; build it with "
        "embedding_size=256, or resize the pictures": lambda: CNN4(5)(torch.rand(2, 3, 32, 32)),
        "CNN4Backbone takes pictures [M, 3, H, W], but was given [2, 1, 28, 28]; reshape them, or build it with their "
        "number of channels": lambda: CNN4(5)(torch.rand(2, 1, 28, 28)),
        "ConvBase takes pictures [M, 1, H, W], but was given [5, 1, 28]; reshape them, or build it with their number "
        "of channels": lambda: ConvBase()(torch.rand(5, 1, 28)),
        "CNN4Backbone was given pictures of 15×28 pixels, but its pools leave nothing of less than 16×16; resize "
        "them": lambda: CNN4Backbone()(torch.rand(2, 3, 15, 28)),
        "ConvBase was asked for 64 hidden channels, channels = 1 and layers = 0; give at least 1 of each": lambda: (
            ConvBase(layers=0)
        ),
        "CNN4Backbone was asked for 0 hidden channels, channels = 3 and layers = 4; give at least 1 of each": lambda: (
            CNN4(5, hidden_size=0)
        ),
        "ConvBlock was asked for max_pool_factor = 0.4, a pool of side 0; give 0.5, which leaves maps as large as they "
        "are, or more": lambda: ConvBlock(1, 1, 3, max_pool_factor=0.4),
        "OmniglotFC takes examples [M, …] of 784 numbers, but was given [2, 1, 32, 32]; reshape them, or build it with "
        "their input_size": lambda: OmniglotFC(784, 5)(torch.rand(2, 1, 32, 32)),
        "OmniglotFC was given no sizes; give the width of at least one hidden layer": lambda: OmniglotFC(784, 5, []),
        "OmniglotCNN takes pictures [M, 1, 28, 28], but was given [2, 1, 84, 84]; resize them, or build a CNN4 with "
        "their number of channels": lambda: OmniglotCNN()(torch.rand(2, 1, 84, 84)),
        "R2D2Backbone was asked for channels = 3 and widths = [64]; give four widths, and at least 1 of each": lambda: (
            R2D2Backbone(3, [64])
        ),
        "R2D2Backbone was given pictures of 28×15 pixels, but its pools leave nothing of less than 16×16; resize "
        "them": lambda: R2D2Backbone()(torch.rand(2, 3, 28, 15)),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
