"""Small nets in float64, a task for each, and finite differences to hold gradients against."""

import gc
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

WAYS = 3


class Tied(nn.Module):
    """One weight used twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.flatten(1))))[:, :WAYS]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 2, batch_first=True)
        self.out = nn.Linear(2, WAYS)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x.flatten(1, 2))[0][:, -1])


class Excused(nn.Module):
    """A net with a frozen bias and a layer that its value does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)
        self.first = nn.Linear(6, 3)
        self.first.bias.requires_grad_(False)
        self.second = nn.Linear(3, WAYS)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.flatten(1))))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.Tanh(), nn.Linear(2, WAYS))


def batch_norm_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Softplus(), nn.Flatten(), nn.Linear(12, WAYS)
    )


NETS = [mlp, Tied, Recurrent, Excused, batch_norm_net]


def make(net: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return shaken(net().double())


def shaken(module: nn.Module, std: float = 0.5) -> nn.Module:
    """The module itself, each parameter moved at random, so that no gradient hides behind a symmetric start."""
    with torch.no_grad():
        for parameter in module.parameters():
            # By place and not as they lie in memory: noise is the same for kernels laid out in another way.
            parameter += std * torch.randn(parameter.shape, dtype=parameter.dtype)
    return module


def task() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support x, y and query x, y: 6 pictures [1, 2, 3] each, two of a class."""
    generator = torch.Generator().manual_seed(1)
    support_x, query_x = torch.randn(2, 6, 1, 2, 3, dtype=torch.float64, generator=generator)
    y = torch.arange(6) % WAYS
    return support_x, y, query_x, y


def assert_gradients(parameters: Iterable[Tensor], value: Callable[[], float], width: float = 1e-3) -> None:
    """Compare each ``.grad`` with fourth-order central differences of the value, along a random direction."""
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters:
        start = parameter.detach().clone()
        direction = torch.randn(start.shape, dtype=start.dtype, generator=generator)
        direction /= direction.norm()
        values = {}
        for steps in (-2, -1, 1, 2):
            parameter.data.copy_(start + steps * width * direction)
            values[steps] = value()
        parameter.data.copy_(start)
        expected = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * width)
        if parameter.grad is None:
            assert expected == 0
            continue
        # relative to the gradient's length, which bounds what any direction can show
        assert abs((parameter.grad * direction).sum().item() - expected) < 1e-6 * parameter.grad.norm().item() + 1e-12


def living_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
