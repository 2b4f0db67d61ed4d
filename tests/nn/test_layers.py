"""Lambda, Flatten, Scale and freezing, against what they stand for."""

import pickle

import pytest
import torch
from torch import nn

from l2l_core.modules import clone_module
from l2l_core.nn.layers import Flatten, Lambda, Scale, freeze, unfreeze
from tests.nn.second_order import check_copies, check_second_order


def test_lambda_passes_everything_on() -> None:
    layer = Lambda(lambda x, power=1, *, shift=0: x**power + shift)
    assert layer(torch.tensor(3.0), 2, shift=1).item() == 10
    assert not list(layer.parameters())
    assert pickle.loads(pickle.dumps(Lambda(torch.tanh)))(torch.tensor(0.5)) == torch.tensor(0.5).tanh()


@pytest.mark.parametrize("shape", [(5, 3, 4, 2), (5, 3), (5,), (0, 3, 4), (5, 0, 2)])
def test_flatten_keeps_the_examples_apart(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    flat = Flatten()(x)
    assert flat.ndim == 2
    assert len(flat) == shape[0]
    assert flat.tolist() == [example.flatten().tolist() for example in x]


def test_flatten_takes_channels_last() -> None:
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert torch.equal(Flatten()(x.to(memory_format=torch.channels_last)), torch.arange(24.0)[None])


@pytest.mark.parametrize(
    ("shape", "expected"), [(None, (1,)), (3, (3,)), ((2, 3), (2, 3)), ([2, 3], (2, 3)), (torch.Size(()), ())]
)
def test_scale_multiplies_by_a_parameter_of_that_shape(shape: object, expected: tuple[int, ...]) -> None:
    scale = Scale(shape, alpha=0.5)
    assert isinstance(scale.alpha, nn.Parameter)
    assert scale.alpha.shape == expected
    assert torch.equal(scale(torch.ones(4, 2, 3)), torch.full((4, 2, 3), 0.5))
    assert torch.equal(Scale(shape).alpha, torch.ones(expected))
    assert Scale(shape, alpha=2).alpha.dtype == torch.float32


def test_gradients_through_an_inner_step() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Scale((2, 3), alpha=0.7), Lambda(torch.tanh), Flatten(), nn.Linear(6, 2), Scale()).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    check_second_order(net, x)
    check_copies(net, x)


def test_freeze_and_unfreeze_are_each_others_opposite() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert freeze(net) is net
    assert [parameter.requires_grad for parameter in net.parameters()] == [False] * 4
    assert unfreeze(net) is net
    assert [parameter.requires_grad for parameter in net.parameters()] == [True] * 4


def test_a_frozen_clone_has_left_the_graph_and_the_module_has_not() -> None:
    net = nn.Linear(2, 2)
    clone = clone_module(net)
    freeze(clone)
    assert not clone(torch.rand(1, 2)).requires_grad
    assert net.weight.requires_grad
    unfreeze(clone)(torch.rand(1, 2)).sum().backward()
    assert clone.weight.grad is not None
    assert net.weight.grad is None


def test_unfreeze_leaves_integer_parameters() -> None:
    net = nn.Linear(2, 2)
    net.codes = nn.Parameter(torch.arange(3), requires_grad=False)
    unfreeze(freeze(net))
    assert [parameter.requires_grad for parameter in net.parameters()] == [True, True, False]
