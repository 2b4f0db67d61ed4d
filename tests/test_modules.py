"""Module surgery against hand-written computations."""

import gc
import math
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.modules import (
    accuracy,
    call_with,
    clone_module,
    clone_named_parameters,
    clone_parameters,
    detach_module,
    magic_box,
    update_module,
)


class Tied(nn.Module):
    """tanh(x Wᵀ) W: one parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 4, bias=False)
        self.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.encoder(x)) @ self.weight


class Twice(nn.Module):
    """One submodule under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def test_magic_box_is_one_and_has_the_gradient_of_its_argument() -> None:
    theta = torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64, requires_grad=True)
    box = magic_box(theta.sin())
    assert torch.equal(box, torch.ones(3, dtype=torch.float64))
    (first,) = torch.autograd.grad(box.sum(), theta, create_graph=True)
    torch.testing.assert_close(first, theta.cos())
    # exp(s − c) differentiated twice where s = c: s'' + s'²
    (second,) = torch.autograd.grad(first.sum(), theta)
    torch.testing.assert_close(second, -theta.sin() + theta.cos() ** 2)


@pytest.mark.parametrize("thing", [None, 3, "text", [1]])
def test_magic_box_and_clone_module_leave_other_things_alone(thing: object) -> None:
    assert magic_box(thing) is thing
    assert clone_module(thing) is thing


def test_a_clone_computes_the_same_and_passes_gradients_to_the_module() -> None:
    module = mlp()
    clone = clone_module(module)
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(clone(x), module(x))
    assert type(clone) is type(module)
    for original, copy in zip(module.parameters(), clone.parameters(), strict=True):
        assert copy is not original
        assert not isinstance(copy, nn.Parameter)
        assert not copy.is_leaf
    clone(x).square().sum().backward()
    through_clone = [parameter.grad.clone() for parameter in module.parameters()]
    module.zero_grad()
    module(x).square().sum().backward()
    for found, parameter in zip(through_clone, module.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


def test_changing_a_clone_does_not_change_the_module() -> None:
    module = mlp()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    clone = clone_module(module)
    update_module(clone, [torch.ones_like(parameter) for parameter in clone.parameters()])
    clone[1] = nn.ReLU()
    clone.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert isinstance(module[1], nn.Tanh)
    assert module.training


def test_tied_parameters_stay_tied() -> None:
    module = Tied()
    clone = clone_module(module)
    assert clone.weight is clone.encoder.weight
    assert len(list(clone.parameters())) == 1
    update_module(clone, [torch.ones(4, 3)])
    assert clone.weight is clone.encoder.weight
    torch.testing.assert_close(clone.weight, module.weight + 1)


def test_two_parameters_over_one_storage_do_not_become_one() -> None:
    module = nn.Module()
    module.first = nn.Parameter(torch.zeros(2))
    module.second = nn.Parameter(module.first.data)
    clone = clone_module(module)
    assert clone.first is not clone.second
    assert clone.first.data_ptr() != clone.second.data_ptr()


def test_a_submodule_used_twice_is_one_submodule_of_the_clone() -> None:
    module = Twice()
    clone = clone_module(module)
    assert clone.first is clone.second
    assert clone.first is not module.first


def test_a_memo_keeps_what_two_modules_share_shared() -> None:
    shared = nn.Linear(2, 2)
    memo: dict = {}
    first, second = clone_module(nn.Sequential(shared), memo), clone_module(nn.Sequential(shared), memo)
    assert first[0] is second[0]

    left, right = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    right.weight = left.weight
    memo = {}
    update_module(left, [torch.ones(2, 2)], memo)
    update_module(right, [torch.ones(2, 2)], memo)
    assert right.weight is left.weight


def test_hooks_of_a_clone_and_of_its_module_are_apart() -> None:
    module = nn.Linear(2, 2)
    calls: list[str] = []
    module.register_forward_hook(lambda *_: calls.append("both"))
    clone = clone_module(module)
    clone.register_forward_hook(lambda *_: calls.append("clone"))
    clone.register_forward_pre_hook(lambda *_: calls.append("clone pre"))
    module.register_forward_hook(lambda *_: calls.append("module"))
    module(torch.zeros(1, 2))
    assert calls == ["both", "module"]
    calls.clear()
    clone(torch.zeros(1, 2))
    assert calls == ["clone pre", "both", "clone"]


def test_plain_buffers_are_shared_and_differentiable_ones_cloned() -> None:
    module = nn.BatchNorm1d(3)
    scale = torch.ones(3, requires_grad=True)
    module.register_buffer("scale", scale)
    clone = clone_module(module)
    assert clone.running_mean is module.running_mean
    assert clone.scale is not scale
    clone(torch.randn(8, 3))
    assert int(module.num_batches_tracked) == 1
    clone.scale.sum().backward()
    assert torch.equal(scale.grad, torch.ones(3))


def test_absent_parameters_and_buffers_stay_absent() -> None:
    module = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    clone = clone_module(module)
    assert clone.weight is None
    assert clone.running_mean is None
    update_module(clone, [])


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_networks(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    module = make(2, 3, num_layers=2).double()
    x = torch.randn(4, 5, 2, dtype=torch.float64)
    clone = clone_module(module)
    torch.testing.assert_close(clone(x)[0], module(x)[0])
    updates = [0.1 * torch.randn_like(parameter) for parameter in clone.parameters()]
    update_module(clone, updates)

    reference = make(2, 3, num_layers=2).double()
    with torch.no_grad():
        for parameter, start, update in zip(reference.parameters(), module.parameters(), updates, strict=True):
            parameter.copy_(start + update)
    torch.testing.assert_close(clone(x)[0], reference(x)[0])
    clone(x)[0].sum().backward()
    reference(x)[0].sum().backward()
    for parameter, expected in zip(module.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


def test_the_list_that_a_recurrent_network_keeps_is_the_clones_own() -> None:
    module = nn.RNN(2, 3)
    clone = clone_module(module)
    assert all(kept is own for kept, own in zip(clone._flat_weights, clone.parameters(), strict=True))
    update_module(clone, [torch.ones_like(parameter) for parameter in clone.parameters()])
    assert all(kept is own for kept, own in zip(clone._flat_weights, clone.parameters(), strict=True))
    assert all(kept is own for kept, own in zip(module._flat_weights, module.parameters(), strict=True))


def test_update_module_adds_in_order_and_skips_none() -> None:
    module = mlp()
    start = [parameter.detach().clone() for parameter in module.parameters()]
    updates = [torch.full_like(parameter, number) for number, parameter in enumerate(start)]
    result = update_module(module, [updates[0], None, updates[2], None])
    assert result is module
    expected = [start[0] + updates[0], start[1], start[2] + updates[2], start[3]]
    for parameter, value in zip(module.parameters(), expected, strict=True):
        assert torch.equal(parameter, value)


def test_update_module_takes_and_clears_the_update_attribute() -> None:
    module = nn.BatchNorm1d(2)
    module.weight.update = torch.tensor([1.0, 2.0])
    module.running_mean.update = torch.tensor([5.0, 6.0])
    weight = module.weight
    update_module(module)
    assert module.weight.tolist() == [2.0, 3.0]
    assert module.running_mean.tolist() == [5.0, 6.0]
    assert weight.update is None


def test_update_module_is_differentiable_in_module_and_update() -> None:
    base = mlp()
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    clone = clone_module(base)
    update_module(clone, [rate * torch.ones_like(parameter) for parameter in clone.parameters()])
    sum(parameter.sum() for parameter in clone.parameters()).backward()
    count = sum(parameter.numel() for parameter in base.parameters())
    assert rate.grad.item() == count
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in base.parameters())


def test_update_module_refuses_what_does_not_fit_and_changes_nothing() -> None:
    module = mlp()
    before = list(module.parameters())
    with pytest.raises(UsageError) as wrong_number:
        update_module(module, [None])
    assert str(wrong_number.value) == (
        "update_module was given 1 updates for 4 parameters of Sequential; "
        "give one for each, None where nothing changes"
    )
    with pytest.raises(UsageError) as wrong_shape:
        update_module(module, [torch.ones(4, 3), torch.ones(1), None, None])
    assert str(wrong_shape.value) == (
        "the update of '0.bias' has shape [1], but the parameter has [4]; give an update of the parameter's own shape"
    )
    assert all(now is then for now, then in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("keep", [False, True])
def test_detach_module_cuts_the_graph_in_place(keep: bool) -> None:
    base = mlp()
    clone = clone_module(base)
    update_module(clone, [torch.ones_like(parameter) for parameter in clone.parameters()])
    tensors = list(clone.parameters())
    values = [tensor.detach().clone() for tensor in tensors]
    assert detach_module(clone, keep_requires_grad=keep) is None
    for tensor, now, value in zip(tensors, clone.parameters(), values, strict=True):
        assert now is tensor
        assert now.is_leaf
        assert now.requires_grad is keep
        assert torch.equal(now.detach(), value)
    if keep:
        clone(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
        assert all(parameter.grad is None for parameter in base.parameters())
        assert all(parameter.grad is not None for parameter in clone.parameters())


def test_detach_module_keeps_frozen_parameters_frozen_and_leaves_other_things_alone() -> None:
    module = mlp()
    module[0].weight.requires_grad_(False)
    detach_module(module, keep_requires_grad=True)
    assert [parameter.requires_grad for parameter in module.parameters()] == [False, True, True, True]
    detach_module("not a module")


def test_clone_parameters_by_list_and_by_name() -> None:
    parameters = {"a": nn.Parameter(torch.ones(2)), "b": nn.Parameter(torch.zeros(1))}
    listed = clone_parameters(parameters.values())
    named = clone_named_parameters(parameters)
    assert list(named) == ["a", "b"]
    (listed[0].sum() + 2 * named["a"].sum()).backward()
    assert parameters["a"].grad.tolist() == [3.0, 3.0]


def test_accuracy_is_the_fraction_of_right_rows() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    for targets in (torch.tensor([1, 1, 1]), torch.tensor([[1], [1], [1]])):
        result = accuracy(scores, targets)
        assert result.dtype == torch.float32
        assert math.isclose(result.item(), 2 / 3, rel_tol=1e-6)


def all_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor
        for tensors in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
        for name, tensor in tensors
    }


def test_a_call_with_other_tensors_follows_ties_wherever_they_are() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    other = torch.randn(4, 3, dtype=torch.float64)
    tied = Tied().double()
    assert torch.equal(call_with(tied, {"weight": other}, x), torch.tanh(x @ other.T) @ other)
    assert torch.equal(tied(x), torch.tanh(x @ tied.weight.T) @ tied.weight)

    twice = Twice().double()
    own = twice.first.weight
    square = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    found = call_with(twice, {"first.weight": square}, x)
    reference = Twice().double()
    reference.load_state_dict(twice.state_dict())
    reference.first.weight = nn.Parameter(square.detach().clone())
    torch.testing.assert_close(found, reference(x))
    assert twice.first.weight is twice.second.weight is own


def test_a_call_that_fails_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.LSTM(3, 2))
    before = all_tensors(module)
    instead = {name: tensor.clone() for name, tensor in before.items()}
    lists = list(module[2]._flat_weights)
    for x in (torch.ones(4, 3), torch.ones(4, 7)):
        try:
            call_with(module, instead, x)
        except RuntimeError as error:
            assert x.shape[1] == 7 and "shapes cannot be multiplied" in str(error)
        assert all(now is before[name] for name, now in all_tensors(module).items())
        assert all(now is then for now, then in zip(module[2]._flat_weights, lists, strict=True))
    assert before["1.num_batches_tracked"] == 0
    assert instead["1.num_batches_tracked"] == 1


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_network_is_called_with_the_tensors_and_forgets_them(make: type[nn.RNNBase]) -> None:
    module = make(2, 3).double()
    x = torch.randn(4, 1, 2, dtype=torch.float64)
    instead = {name: torch.randn_like(p).requires_grad_() for name, p in module.named_parameters()}
    reference = make(2, 3).double()
    reference.load_state_dict({name: tensor.detach() for name, tensor in instead.items()})
    found = call_with(module, instead, x)[0]
    torch.testing.assert_close(found, reference(x)[0])
    gradients = torch.autograd.grad(found.sum(), list(instead.values()))
    expected = torch.autograd.grad(reference(x)[0].sum(), list(reference.parameters()))
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    watched = [weakref.ref(tensor) for tensor in instead.values()]
    del found, gradients, instead
    gc.collect()
    assert [watch() for watch in watched] == [None] * len(watched)
    own = make(2, 3).double()
    own.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x)[0], own(x)[0])


def test_a_call_with_a_tensor_of_no_place_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        call_with(mlp(), {"0.wieght": torch.ones(4, 3)}, torch.ones(1, 3))
    assert str(error.value) == (
        "Sequential was called with '0.wieght', which is none of its parameters or buffers; take the names from "
        "named_parameters() and named_buffers()"
    )
