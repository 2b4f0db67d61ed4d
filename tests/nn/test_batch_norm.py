"""Batch normalisation whose second derivative is written out, against PyTorch's own and finite differences."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.modules import clone_module
from l2l_core.nn.batch_norm import batch_normalised, quickened

EPS = 1e-3
FORMATS = [torch.contiguous_format, torch.channels_last]


def given(memory_format: torch.memory_format, shape: tuple[int, ...] = (3, 4, 2, 5)) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    x = 2 + torch.randn(shape, dtype=torch.float64, generator=draws)
    weight, bias = (torch.randn(shape[1], dtype=torch.float64, generator=draws) for _ in range(2))
    laid_out = x.contiguous(memory_format=memory_format)
    return laid_out.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_derivatives_are_those_of_finite_differences(memory_format: torch.memory_format) -> None:
    inputs = given(memory_format)
    assert torch.autograd.gradcheck(lambda *each: batch_normalised(*each, EPS), inputs)
    assert torch.autograd.gradgradcheck(lambda *each: batch_normalised(*each, EPS), inputs)


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_everything_is_as_pytorch_has_it(memory_format: torch.memory_format) -> None:
    inputs = given(memory_format, (5, 6, 7, 7))
    results = []
    for normalise in (
        lambda x, w, b: batch_normalised(x, w, b, EPS),
        lambda x, w, b: functional.batch_norm(x, None, None, w, b, True, 0.0, EPS),
    ):
        y = normalise(*inputs)
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(each.cos().sum() for each in first), inputs)
        results.append((y, *first, *second))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_weight_of_zero_is_no_division_by_it() -> None:
    x, weight, bias = given(torch.contiguous_format)
    weight = torch.zeros_like(weight).requires_grad_()
    y = batch_normalised(x, weight, bias, EPS)
    first = torch.autograd.grad(y.exp().sum(), (x, weight), create_graph=True)
    second = torch.autograd.grad(sum(each.square().sum() for each in first), (x, weight, bias))
    assert all(each.isfinite().all() for each in second)


def test_a_third_derivative_is_pytorchs() -> None:
    inputs = given(torch.contiguous_format)
    found = []
    for normalise in (
        lambda x, w, b: batch_normalised(x, w, b, EPS),
        lambda x, w, b: functional.batch_norm(x, None, None, w, b, True, 0.0, EPS),
    ):
        value = normalise(*inputs).pow(3).sum()
        for _ in range(2):
            gradients = torch.autograd.grad(value, inputs[:2], create_graph=True)
            value = sum(each.pow(3).sum() for each in gradients)
        found.append(torch.autograd.grad(value, inputs[:2]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_a_constant_has_no_derivative_and_takes_none_from_the_others() -> None:
    x, weight, bias = (each.detach() for each in given(torch.contiguous_format))
    weight.requires_grad_()
    (first,) = torch.autograd.grad(batch_normalised(x, weight, bias, EPS).pow(3).sum(), weight, create_graph=True)
    (third,) = torch.autograd.grad(first.pow(2).sum(), weight, create_graph=True)
    (theirs,) = torch.autograd.grad(
        functional.batch_norm(x, None, None, weight, bias, True, 0.0, EPS).pow(3).sum(), weight, create_graph=True
    )
    (expected,) = torch.autograd.grad(theirs.pow(2).sum(), weight, create_graph=True)
    torch.testing.assert_close(third, expected)


def test_only_layers_that_take_the_batchs_statistics_alone_are_quickened() -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.BatchNorm2d(2),
        nn.BatchNorm2d(2, affine=False, track_running_stats=False),
        nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False, eps=0.1)),
        nn.GroupNorm(1, 2),
    ).double()
    twin = quickened(clone_module(model))
    changed = [type(ours) is not type(theirs) for ours, theirs in zip(twin.modules(), model.modules(), strict=True)]
    assert changed == [False, True, False, False, False, True, False]
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    for mode in (True, False):
        model.train(mode)
        twin.train(mode)
        torch.testing.assert_close(twin(x), copy.deepcopy(model)(x), rtol=1e-12, atol=1e-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs = copy.deepcopy(model).float()[0](x.float())
        torch.testing.assert_close(quickened(model.float())[0](x.float()), theirs)
    with pytest.raises(ValueError, match="expected 4D input"):
        twin[0](x[0])


def test_a_single_value_a_channel_is_refused_as_pytorch_does() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        quickened(nn.BatchNorm2d(2, track_running_stats=False))(torch.ones(1, 2, 1, 1))
