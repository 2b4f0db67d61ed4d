"""Copies of distributions: linked by the graph, alike in values, and cut from it on demand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Categorical,
    Distribution,
    ExpTransform,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

from l2l_core.utils import clone_distribution, detach_distribution

VALUE = torch.tensor([0.3, 1.2], dtype=torch.float64)


def transformed(p: Tensor) -> Distribution:
    affine = AffineTransform(p.sin(), p.exp())
    return TransformedDistribution(Normal(p, p.exp()), [affine, ExpTransform(), affine.inv])


MADE: dict[str, Callable[[Tensor], Distribution]] = {
    "normal": lambda p: Normal(p.cos(), p.exp()),
    "leaf": lambda p: Normal(p, 1.0),
    "independent": lambda p: Independent(Normal(p, p.exp()), 1),
    "multivariate": lambda p: MultivariateNormal(p, torch.diag(p.exp())),
    "transformed": transformed,
    "mixture": lambda p: MixtureSameFamily(Categorical(logits=p), Normal(p, p.exp())),
}


def parameter() -> Tensor:
    return torch.tensor([0.2, -0.7], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("make", list(MADE.values()), ids=list(MADE))
def test_a_copy_has_the_same_densities_and_gradients(make: Callable[[Tensor], Distribution]) -> None:
    p = parameter()
    original = make(p)
    copy = clone_distribution(original)
    assert type(copy) is type(original)
    expected = original.log_prob(VALUE + 2).sum()
    found = copy.log_prob(VALUE + 2).sum()
    assert torch.equal(found, expected)
    (wanted,) = torch.autograd.grad(expected, p, retain_graph=True)
    (gradient,) = torch.autograd.grad(found, p)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", list(MADE.values()), ids=list(MADE))
def test_detaching_cuts_it_from_the_graph(make: Callable[[Tensor], Distribution]) -> None:
    p = parameter()
    original, copy = make(p), clone_distribution(make(p))
    expected = original.log_prob(VALUE + 2)
    assert detach_distribution(copy) is copy
    found = copy.log_prob(VALUE + 2)
    assert torch.equal(found, expected)
    assert expected.requires_grad
    assert not found.requires_grad
    assert p.requires_grad
    assert p.is_leaf


def test_what_needs_no_gradient_is_shared_and_what_occurs_twice_stays_one() -> None:
    p = parameter()
    original = Categorical(logits=p)
    copy = clone_distribution(original)
    assert copy.logits is copy._param
    assert copy.logits is not original.logits
    shared = clone_distribution(Normal(p, torch.ones(2)))
    assert isinstance(shared.scale, Tensor)
    base = Normal(torch.zeros(2), torch.ones(2))
    assert clone_distribution(base).loc is base.loc


def test_a_module_that_it_holds_is_copied_and_detached() -> None:
    class Policy(Distribution):
        arg_constraints: dict[str, object] = {}

        def __init__(self, net: nn.Module) -> None:
            super().__init__(validate_args=False)
            self.net = net

    net = nn.Linear(2, 1)
    copy = clone_distribution(Policy(net))
    assert copy.net is not net
    copy.net(torch.ones(2)).sum().backward()
    assert torch.equal(net.weight.grad, torch.ones(1, 2))
    assert detach_distribution(copy).net is copy.net
    assert isinstance(copy.net, nn.Linear)
    assert not copy.net(torch.ones(2)).requires_grad
    assert net.weight.requires_grad
