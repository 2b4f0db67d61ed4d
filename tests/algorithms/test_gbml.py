"""GBML's gradients against finite differences and nets written out, and learn2learn's way of using it."""

import copy
import pickle
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional

from l2l_core.algorithms.gbml import GBML
from l2l_core.algorithms.maml import MAML
from l2l_core.errors import UsageError
from l2l_core.nn.kronecker import KroneckerLinear
from l2l_core.optim import (
    KroneckerTransform,
    MetaCurvatureTransform,
    ModuleTransform,
    ParameterUpdate,
    ReshapedTransform,
)
from tests.optim.nets import NETS, Excused, assert_gradients, living_tensors, make, mlp, shaken, task

RATE = 0.3


class Factor(nn.Module):
    """A factor for each element, as a program for learn2learn makes one."""

    def __init__(self, elements: int, _: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(elements))

    def forward(self, gradient: Tensor) -> Tensor:
        return self.factor * gradient


def of_matrices(parameter: Tensor) -> nn.Module | None:
    """A linear map of matrices' gradients, and none of vectors'."""
    return ModuleTransform(nn.Linear)(parameter) if parameter.ndim > 1 else None


TRANSFORMS = [MetaCurvatureTransform, KroneckerTransform(KroneckerLinear, bias=True), of_matrices]


def wrapped(net: Callable[[], nn.Module], transform: Callable[[Tensor], nn.Module | None], **settings: bool) -> GBML:
    torch.manual_seed(4)
    gbml = GBML(make(net), transform, lr=RATE, allow_unused=True, allow_nograd=True, **settings)
    shaken(gbml.compute_update, std=0.3)
    return gbml


def adapted_loss(gbml: nn.Module, steps: int) -> Tensor:
    support_x, support_y, query_x, query_y = task()
    clone = gbml.clone()
    for _ in range(steps):
        clone.adapt(functional.cross_entropy(clone(support_x), support_y))
    return functional.cross_entropy(clone(query_x), query_y)


def slow_loss(gbml: GBML, steps: int, constants: list[Sequence[Tensor | None]] | None = None) -> float:
    """The same by in-place steps on a deep copy; with constants, these gradients, or its own are put there."""
    support_x, support_y, query_x, query_y = task()
    twin = copy.deepcopy(gbml.module)
    moving = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    transforms = [
        None if index is None else gbml.compute_update.transforms_modules[index]
        for index, parameter in zip(gbml.compute_update.transforms_indices, twin.parameters(), strict=True)
        if parameter.requires_grad
    ]
    for step in range(steps):
        if constants is None or len(constants) == step:
            loss = functional.cross_entropy(twin(support_x), support_y)
            gradients = torch.autograd.grad(loss, moving, allow_unused=True)
            if constants is not None:
                constants.append(gradients)
        else:
            gradients = constants[step]
        with torch.no_grad():
            for parameter, transform, gradient in zip(moving, transforms, gradients, strict=True):
                if gradient is not None:
                    parameter -= RATE * (gradient if transform is None else transform(gradient))
    return functional.cross_entropy(twin(query_x), query_y).item()


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("net", NETS)
def test_meta_gradients_are_those_of_finite_differences(
    net: Callable[[], nn.Module],
    transform: Callable[[Tensor], nn.Module | None],
    steps: int,
    first_order: bool,
) -> None:
    gbml = wrapped(net, transform, first_order=first_order)
    constants: list[Sequence[Tensor | None]] | None = [] if first_order else None
    loss = adapted_loss(gbml, steps)
    assert loss.item() == pytest.approx(slow_loss(gbml, steps, constants), rel=1e-12)
    loss.backward()
    assert sum(weight.grad is not None for weight in gbml.compute_update.parameters()) >= 2
    moving = [parameter for parameter in gbml.parameters() if parameter.requires_grad]
    assert_gradients(moving, lambda: slow_loss(gbml, steps, constants))


@pytest.mark.parametrize("first_order", [False, True])
def test_without_a_transform_it_is_maml(first_order: bool) -> None:
    gbml = GBML(make(mlp), lambda parameter: None, lr=RATE, first_order=first_order)
    maml = MAML(make(mlp), lr=RATE, first_order=first_order)
    adapted_loss(gbml, 2).backward()
    adapted_loss(maml, 2).backward()
    for found, expected in zip(gbml.parameters(), maml.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_adapted_transforms_are_those_of_a_net_written_out(steps: int, first_order: bool) -> None:
    """Transforms that move from the second step on, by torch.func on bare matrices."""
    gbml = wrapped(mlp, ModuleTransform(Factor), adapt_transform=True, first_order=first_order)
    support_x, support_y, query_x, query_y = task()

    def cross_entropy(weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.tanh(x.flatten(1) @ weights[0].T + weights[1]) @ weights[2].T + weights[3]
        return (logits.logsumexp(dim=1) - logits[torch.arange(len(y)), y]).mean()

    def constant(gradients: list[Tensor]) -> list[Tensor]:
        return [g.detach() for g in gradients] if first_order else gradients

    def moved(weights: list[Tensor], factors: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        return [w - RATE * f.reshape(w.shape) * g for w, f, g in zip(weights, factors, gradients, strict=True)]

    def support_loss_of(weights: list[Tensor], gradients: list[Tensor]) -> Callable[[list[Tensor]], Tensor]:
        return lambda factors: cross_entropy(moved(weights, factors, gradients), support_x, support_y)

    def meta(weights: list[Tensor], factors: list[Tensor]) -> Tensor:
        # The weights before a step and their gradients: before the first, a step that goes nowhere.
        before, gradients = weights, [torch.zeros_like(w) for w in weights]
        for _ in range(steps):
            of_factors = constant(grad(support_loss_of(before, gradients))(factors))
            factors = [f - RATE * g for f, g in zip(factors, of_factors, strict=True)]
            gradients = constant(grad(cross_entropy)(weights, support_x, support_y))
            before, weights = weights, moved(weights, factors, gradients)
        return cross_entropy(weights, query_x, query_y)

    loss = adapted_loss(gbml, steps)
    loss.backward()
    weights = list(gbml.module.parameters())
    factors = list(gbml.compute_update.parameters())
    leaves = [[p.detach().requires_grad_() for p in part] for part in (weights, factors)]
    expected = meta(*leaves)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    expected.backward()
    for parameter, leaf in zip([*weights, *factors], [*leaves[0], *leaves[1]], strict=True):
        torch.testing.assert_close(parameter.grad, leaf.grad, rtol=1e-10, atol=1e-12)


def test_adapting_leaves_what_was_cloned_as_it_was() -> None:
    gbml = wrapped(mlp, MetaCurvatureTransform, adapt_transform=True)
    before = {name: tensor.clone() for name, tensor in gbml.state_dict().items()}
    adapted_loss(gbml, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in gbml.state_dict().items())


def test_a_clone_keeps_the_settings_and_the_mode() -> None:
    gbml = wrapped(mlp, MetaCurvatureTransform, adapt_transform=True, first_order=True).eval()
    clone = gbml.clone()
    settings = ("lr", "adapt_transform", "first_order", "allow_unused", "allow_nograd", "training")
    assert [getattr(clone, name) for name in settings] == [RATE, True, True, True, True, False]
    other = gbml.clone(first_order=False, allow_unused=False, allow_nograd=False, adapt_transform=False)
    assert [getattr(other, name) for name in settings] == [RATE, False, False, False, False, False]
    assert isinstance(clone.compute_update, ParameterUpdate)
    with pytest.raises(TypeError, match="unexpected keyword argument 'adapt_transforms'"):
        GBML(mlp(), MetaCurvatureTransform, adapt_transforms=True)


def test_training_it_lowers_the_loss_after_adaptation() -> None:
    gbml = wrapped(mlp, MetaCurvatureTransform)
    optimiser = torch.optim.Adam(gbml.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = adapted_loss(gbml, 1)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_it_can_be_copied() -> None:
    for transform in (MetaCurvatureTransform, ModuleTransform(Factor), KroneckerTransform(KroneckerLinear)):
        gbml = wrapped(mlp, transform)
        expected = adapted_loss(gbml, 2)
        for twin in (copy.deepcopy(gbml), pickle.loads(pickle.dumps(gbml))):
            assert torch.equal(adapted_loss(twin, 2), expected)


@pytest.mark.parametrize("adapt_transform", [False, True])
def test_memory_does_not_grow(adapt_transform: bool) -> None:
    gbml = wrapped(mlp, ModuleTransform(Factor), adapt_transform=adapt_transform)

    def run(clones: int) -> int:
        for _ in range(clones):
            adapted_loss(gbml, 2).backward()
            gbml.zero_grad()
        return living_tensors()

    first = run(5)
    assert run(500) == first


def test_it_refuses_in_words() -> None:
    x, y, _, _ = task()
    clone = GBML(make(Excused), MetaCurvatureTransform).clone()
    wide = GBML(make(mlp), lambda parameter: ReshapedTransform(nn.Identity(), (-1,))).clone()
    grown = GBML(make(mlp), lambda parameter: nn.Flatten(0)).clone()

    def loss(of: GBML) -> Tensor:
        return functional.cross_entropy(of(x), y)

    refused = {
        "ParameterUpdate was given a loss without a graph; compute it from this clone, with gradients "
        "enabled": lambda: clone.adapt(loss(clone).detach()),
        "ParameterUpdate was asked to adapt 'first.bias', which requires no gradient; pass allow_nograd=True to leave "
        "it as it is": lambda: clone.adapt(loss(clone)),
        "ParameterUpdate was asked to adapt 'idle.weight', 'idle.bias', on which the loss does not depend; pass "
        "allow_unused=True to leave it as it is": lambda: clone.adapt(loss(clone), allow_nograd=True),
        "the update of '1.weight' has shape [12], but the parameter has [2, 6]; give an update of the parameter's own "
        "shape": lambda: grown.adapt(loss(grown)),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
    wide.adapt(loss(wide))

    moving = GBML(make(mlp), MetaCurvatureTransform, adapt_transform=True).clone()
    moving.adapt(loss(moving))
    with pytest.raises(UsageError) as error:
        moving.adapt(moving.module[1].weight.sum())
    assert str(error.value) == (
        "GBML.adapt was asked to adapt 'compute_update.transforms_modules.1.mc', "
        "'compute_update.transforms_modules.2.mc_in', 'compute_update.transforms_modules.2.mc_out' and 1 more, "
        "on which the loss does not depend; pass allow_unused=True to leave it as it is"
    )
