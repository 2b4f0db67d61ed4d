"""Substituted modules and transformed parameters against the same nets written out."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.modules import clone_module, update_module
from l2l_core.nn.layers import Lambda, Scale, freeze
from l2l_core.nn.meta_module import Adapter, LoRA, MetaModule, ParameterTransform
from tests.nn.second_order import check_copies, check_second_order


class Residual(nn.Module):
    """x + the inner module of x."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Special(nn.Linear):
    """A subclass, which is no exact nn.Linear."""


class Tied(nn.Module):
    """One linear layer under two names, and one matrix under two."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first
        self.encoder = nn.Linear(3, 4, bias=False)
        self.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.encoder(self.second(torch.tanh(self.first(x))))) @ self.weight


def net() -> nn.Module:
    """Nested, with a container, a layer twice and a subclass."""
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    inner = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.ModuleDict({"out": nn.Linear(4, 3)})["out"])
    return nn.Sequential(shared, nn.Tanh(), Residual(inner), shared, Special(3, 2)).double()


def scaled(parameter: Tensor) -> Scale:
    """A substitution for a parameter that pickles."""
    return Scale(parameter.shape, alpha=1.5).to(parameter.dtype)


def transformed(linear: nn.Linear) -> ParameterTransform:
    return ParameterTransform(linear, scaled)


def drawn_lora(linear: nn.Linear) -> LoRA:
    lora = LoRA(linear, rank=2, alpha=3.0)
    nn.init.normal_(lora.up)
    return lora


def drawn_adapter(linear: nn.Linear) -> Adapter:
    adapter = Adapter(linear, width=5)
    nn.init.normal_(adapter.up.weight)
    return adapter


X = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_exactly_the_type_is_substituted_wherever_it_stands() -> None:
    original = net()
    reference = copy.deepcopy(original)
    found = MetaModule(original, {nn.Linear: LoRA, nn.Tanh: lambda _: nn.ReLU()})
    wrapped = found.wrapped_module
    assert wrapped is original
    inner = wrapped[2].inner
    kinds = [type(part) for part in (*wrapped, *inner)]
    assert kinds == [LoRA, nn.ReLU, Residual, LoRA, Special, LoRA, nn.ReLU, LoRA]
    assert wrapped[0] is wrapped[3]
    x = torch.relu(reference[0](X))
    x = x + reference[2].inner[2](torch.relu(reference[2].inner[0](x)))
    torch.testing.assert_close(found(X), reference[4](reference[3](x)))


def test_each_substitution_is_called_once_with_the_module_as_it_was() -> None:
    seen: list[list[type]] = []

    def note(part: nn.Module) -> nn.Module:
        seen.append([type(child) for child in part.children()])
        return Residual(part)

    original = net()
    MetaModule(original, {nn.Sequential: note, nn.Linear: LoRA})
    assert seen == [[nn.Linear, nn.Tanh, Residual, Special], [nn.Linear, nn.Tanh, nn.Linear]]


def test_what_is_inside_a_substituted_container_is_substituted_there() -> None:
    original = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3))).double()
    reference = copy.deepcopy(original)
    found = MetaModule(original, {nn.Sequential: Residual, nn.Linear: drawn_lora})
    outer = found.wrapped_module
    assert isinstance(outer, Residual)
    assert list(dict(outer.named_children())) == ["inner"]  # learn2learn would have added "0" and "1"
    assert outer.inner is original
    assert isinstance(original[0], LoRA)
    assert isinstance(original[1], Residual)
    assert isinstance(original[1].inner[0], LoRA)
    h = X @ original[0].weight.T + reference[0].bias
    torch.testing.assert_close(found(X), X + h + h @ original[1].inner[0].weight.T + reference[1][0].bias)


def test_a_substitute_built_from_a_containers_children_gets_their_substitutes() -> None:
    original = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3)))
    found = MetaModule(
        original, {nn.Sequential: lambda s: nn.ModuleList([Residual(part) for part in s]), nn.Linear: LoRA}
    )
    assert isinstance(found.wrapped_module, nn.ModuleList)
    assert isinstance(found.wrapped_module[0].inner, nn.ModuleList)
    assert [type(part.inner) for part in found.wrapped_module[0].inner] == [LoRA, LoRA]
    assert [type(part) for part in found.module()[0]] == [nn.Linear, nn.Linear]


def test_the_module_itself_may_be_substituted() -> None:
    linear = nn.Linear(3, 2).double()
    found = MetaModule(linear, {nn.Linear: LoRA})
    assert isinstance(found.wrapped_module, LoRA)
    assert found.module() is linear
    assert MetaModule(linear, {nn.Tanh: LoRA}).module() is linear


def test_module_is_the_module_as_it_was_given() -> None:
    original = net()
    reference = copy.deepcopy(original)
    found = MetaModule(original, {nn.Linear: drawn_lora, nn.Tanh: lambda _: nn.ReLU(), Residual: lambda r: r.inner})
    before = found(X)
    restored = found.module()
    assert str(restored) == str(reference)
    assert list(restored.state_dict()) == list(reference.state_dict())
    assert restored[0] is restored[3]
    torch.testing.assert_close(restored(X), reference(X))
    assert torch.equal(found(X), before)  # and nothing has happened to the substitutes
    assert restored[0].weight is found.wrapped_module[0].module.weight


@pytest.mark.parametrize("copied", [copy.deepcopy, clone_module, lambda module: pickle.loads(pickle.dumps(module))])
def test_module_of_a_copy_is_the_copys(copied: Callable[[nn.Module], MetaModule]) -> None:
    made = MetaModule(net(), {nn.Linear: drawn_lora}, freeze_module=False)
    found = copied(made)
    update_module(found, [torch.ones_like(parameter) for parameter in found.parameters()])
    restored = found.module()
    assert torch.equal(restored[0].weight, made.module()[0].weight + 1)
    assert restored[0].weight is found.wrapped_module[0].module.weight
    assert str(restored) == str(net())


def test_documented_substitution_by_a_longer_chain() -> None:
    single = nn.Sequential(nn.Linear(6, 2), nn.ReLU())
    double = MetaModule(
        module=single,
        substitutions={
            nn.Linear: lambda linear: nn.Sequential(linear, nn.Linear(linear.out_features, linear.out_features))
        },
        freeze_module=True,
    )
    assert list(double.state_dict()) == [
        f"wrapped_module.0.{position}.{name}" for position in (0, 1) for name in ("weight", "bias")
    ]
    assert list(double.meta_parameters()) == list(double.wrapped_module[0][1].parameters())
    assert [type(part) for part in double.module()] == [nn.Linear, nn.ReLU]


@pytest.mark.parametrize("substitution", [LoRA, Adapter, transformed])
def test_the_module_is_frozen_and_what_was_brought_is_not(substitution: Callable[[nn.Linear], nn.Module]) -> None:
    original = net()
    given = list(original.parameters())
    found = MetaModule(original, {nn.Linear: substitution})
    brought = list(found.meta_parameters())
    assert not any(parameter.requires_grad for parameter in given)
    assert all(parameter.requires_grad for parameter in brought)
    assert {id(p) for p in given} | {id(p) for p in brought} == {id(p) for p in found.parameters()}
    assert len(brought) == len({id(p) for p in brought}) == len(list(found.parameters())) - len(given)
    open_ones = MetaModule(net(), {nn.Linear: substitution}, freeze_module=False)
    assert all(parameter.requires_grad for parameter in open_ones.parameters())
    clone = clone_module(found)
    assert len(list(clone.meta_parameters())) == len(brought)
    assert all(parameter.requires_grad for parameter in clone.meta_parameters())


def test_a_substitute_that_copies_the_module_is_learned() -> None:
    found = MetaModule(nn.Sequential(nn.Linear(2, 2)), {nn.Linear: copy.deepcopy})
    assert [parameter.requires_grad for parameter in found.meta_parameters()] == [True, True]
    assert [parameter.requires_grad for parameter in found.module().parameters()] == [False, False]


def test_a_module_that_speaks_for_itself_is_believed_and_may_name_the_modules_own() -> None:
    class Chosen(nn.Module):
        def __init__(self, linear: nn.Linear) -> None:
            super().__init__()
            self.module = linear
            self.kept = Scale()

        def meta_parameters(self) -> list[nn.Parameter]:
            return [self.module.bias, self.module.bias]

    found = MetaModule(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), {nn.Linear: Chosen, nn.Tanh: lambda _: nn.PReLU()})
    assert list(found.meta_parameters()) == [found.wrapped_module[0].module.bias, found.wrapped_module[1].weight]


def test_who_speaks_for_a_container_does_not_speak_for_the_substitutes_inside_the_module_it_holds() -> None:
    def silent(container: nn.Sequential) -> nn.Module:
        made = Residual(container)
        made.meta_parameters = lambda: []
        made.unused = Scale()
        return made

    found = MetaModule(
        nn.Sequential(nn.Linear(2, 2), nn.Tanh()), {nn.Sequential: silent, nn.Tanh: lambda _: nn.PReLU()}
    )
    assert list(found.meta_parameters()) == [found.wrapped_module.inner[1].weight]


def test_meta_modules_nest() -> None:
    inner = MetaModule(net(), {nn.Tanh: lambda _: nn.PReLU(dtype=torch.float64)})
    outer = MetaModule(nn.Sequential(inner), {nn.Linear: LoRA})
    names = {id(parameter): name for name, parameter in outer.named_parameters()}
    brought = {names[id(parameter)].rsplit(".", 1)[1] for parameter in outer.meta_parameters()}
    assert brought == {"weight", "down", "up"}
    assert len(list(outer.meta_parameters())) == 2 + 2 * 3
    middle = outer.module()[0]
    assert isinstance(middle, MetaModule)
    assert str(middle.module()) == str(net())


def test_train_and_eval_reach_everything_and_substitutes_start_in_the_modules_mode() -> None:
    original = net().train()
    original[2].eval()
    found = MetaModule(original, {nn.Linear: lambda linear: nn.Sequential(linear, nn.Dropout(0.9))})
    assert found.training
    assert found.wrapped_module[0][1].training
    assert not found.wrapped_module[2].inner[0][1].training
    assert not any(part.training for part in found.eval().modules())
    assert all(part.training for part in found.train().modules())
    assert not MetaModule(net().eval(), {nn.Linear: LoRA}).training


def test_tied_matrices_stay_tied() -> None:
    torch.manual_seed(0)
    tied = Tied().double()
    found = MetaModule(tied, {nn.Linear: drawn_lora})
    assert found.wrapped_module.first is found.wrapped_module.second
    assert found.wrapped_module.encoder.module.weight is found.wrapped_module.weight
    assert len(list(found.meta_parameters())) == 4
    check_second_order(found, X)
    restored = found.module()
    assert restored.first is restored.second
    assert restored.encoder.weight is restored.weight


def test_a_substitution_must_give_a_module() -> None:
    with pytest.raises(UsageError) as raised:
        MetaModule(net(), {nn.Linear: lambda linear: None})
    assert str(raised.value) == (
        "MetaModule needs a module in the place of each Linear, but the substitution gave None; let it return a module"
    )


@pytest.mark.parametrize("substitution", [drawn_lora, drawn_adapter, transformed])
@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_and_copies(substitution: Callable[[nn.Linear], nn.Module], frozen: bool) -> None:
    torch.manual_seed(0)
    small = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    found = MetaModule(small, {nn.Linear: substitution}, freeze_module=frozen)
    check_second_order(found, X)
    check_copies(found, X)


def test_lora_is_the_formula() -> None:
    linear = nn.Linear(4, 3).double()
    lora = LoRA(linear, rank=2, alpha=5.0)
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    assert torch.equal(lora(x), linear(x))
    assert (lora.down.shape, lora.up.shape) == ((2, 4), (3, 2))
    nn.init.normal_(lora.up)
    weight = linear.weight + 5.0 / 2 * lora.up @ lora.down
    torch.testing.assert_close(lora(x), x @ weight.T + linear.bias)
    torch.testing.assert_close(lora.weight, weight)
    assert lora.bias is linear.bias
    assert list(lora.meta_parameters()) == [lora.down, lora.up]
    assert torch.linalg.matrix_rank(lora.weight - linear.weight) == 2


def test_lora_starts_with_variance_one_over_inputs_and_moves_at_once() -> None:
    torch.manual_seed(0)
    lora = LoRA(nn.Linear(400, 2), rank=50)
    assert lora.down.var().item() * 400 == pytest.approx(1, abs=0.05)
    lora(torch.rand(3, 400)).sum().backward()
    assert lora.up.grad.abs().min() > 0


def test_lora_in_a_transformer_on_its_fast_path_too() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    found = MetaModule(layer, {nn.Linear: drawn_lora})
    x = torch.randn(2, 5, 8)
    slow = found(x)
    with torch.no_grad():
        torch.testing.assert_close(found.eval()(x), slow, rtol=1e-4, atol=1e-5)


def test_adapter_is_the_formula() -> None:
    linear = nn.Linear(4, 3).double()
    adapter = Adapter(linear, width=2)
    x = torch.randn(6, 4, dtype=torch.float64)
    assert torch.equal(adapter(x), linear(x))
    for parameter in adapter.meta_parameters():
        nn.init.normal_(parameter)
    y = linear(x)
    hidden = (y @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    torch.testing.assert_close(adapter(x), y + hidden @ adapter.up.weight.T + adapter.up.bias)
    assert [tuple(p.shape) for p in adapter.meta_parameters()] == [(2, 3), (2,), (3, 2), (3,)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRA(nn.Linear(2, 2), rank=0), "LoRA was asked for rank = 0; give at least 1"),
        (lambda: Adapter(nn.Linear(2, 2), width=0), "Adapter was asked for width = 0; give at least 1"),
        (lambda: LoRA(nn.Tanh()), "LoRA takes a linear layer, but was given a Tanh; give an nn.Linear"),
        (lambda: Adapter(nn.Tanh()), "Adapter takes a linear layer, but was given a Tanh; give an nn.Linear"),
    ],
)
def test_what_lora_and_adapter_refuse(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        make()
    assert str(raised.value) == message


def test_parameters_are_transformed_during_forward_only() -> None:
    linear = nn.Linear(3, 2).double()
    weight, bias = linear.weight, linear.bias
    inside: list[bool] = []
    linear.register_forward_hook(lambda module, _, __: inside.append(module.weight is weight))
    found = ParameterTransform(linear, lambda parameter: Scale(parameter.shape, alpha=2.0))
    torch.testing.assert_close(found(X), 2 * (X @ weight.T + bias))
    assert inside == [False]
    assert linear.weight is weight
    assert linear.bias is bias
    assert sorted(found.state_dict()) == [
        "module.bias",
        "module.weight",
        "parameter_transforms.bias.alpha",
        "parameter_transforms.weight.alpha",
    ]
    assert list(found.meta_parameters()) == [found.parameter_transforms[name].alpha for name in ("weight", "bias")]


def test_the_parameters_are_back_after_an_error_too() -> None:
    linear = nn.Linear(3, 2)
    weight = linear.weight
    found = ParameterTransform(linear, scaled)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        found(torch.rand(5, 4))
    assert linear.weight is weight
    assert isinstance(linear.weight, nn.Parameter)


def test_parameters_of_submodules_are_transformed_and_tied_ones_once() -> None:
    torch.manual_seed(0)
    tied = Tied().double()
    made: list[tuple[int, ...]] = []

    def square(parameter: Tensor) -> nn.Module:
        made.append(tuple(parameter.shape))
        return Lambda(torch.square)

    before = [id(parameter) for parameter in tied.parameters()]
    found = ParameterTransform(tied, square)
    assert made == [(4, 3), (3, 3), (3,)]
    h = torch.tanh(X @ tied.first.weight.T**2 + tied.first.bias**2) @ tied.first.weight.T**2 + tied.first.bias**2
    squared = tied.weight**2
    torch.testing.assert_close(found(X), torch.tanh(h @ squared.T) @ squared)
    assert [id(parameter) for parameter in tied.parameters()] == before
    check_second_order(ParameterTransform(tied, scaled), X)


@pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU])
def test_recurrent_networks_see_the_transformed_parameters(recurrent: type[nn.LSTM]) -> None:
    torch.manual_seed(0)
    net = recurrent(3, 4).double()
    by_hand = recurrent(3, 4).double()
    by_hand.load_state_dict({name: 1.5 * value for name, value in net.state_dict().items()})
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    found = ParameterTransform(net, scaled)
    torch.testing.assert_close(found(x)[0], by_hand(x)[0])
    clone = clone_module(found)
    update_module(clone, [torch.full_like(parameter, 0.1) for parameter in clone.parameters()])
    by_hand.load_state_dict({name: 1.6 * (value + 0.1) for name, value in net.state_dict().items()})
    torch.testing.assert_close(clone(x)[0], by_hand(x)[0])


def test_the_documented_use_learns_a_factor_of_each_weight() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    found = MetaModule(
        module=model,
        substitutions={
            nn.Linear: lambda linear: ParameterTransform(module=linear, transform=lambda param: Scale()),
        },
        freeze_module=True,
    )
    optimiser = torch.optim.SGD(found.meta_parameters(), lr=0.1)
    x, y = torch.rand(8, 6), torch.rand(8, 2)
    losses = []
    for _ in range(5):
        loss = (found(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert all(parameter.grad is None for parameter in found.module().parameters())


def test_a_shared_transform_is_one() -> None:
    shared = Scale(alpha=2.0)
    found = ParameterTransform(freeze(nn.Linear(3, 2)), lambda parameter: shared)
    assert list(found.meta_parameters()) == [shared.alpha]


@pytest.mark.parametrize(
    ("transform", "gave"), [(lambda parameter: 2 * parameter, "a Tensor"), (lambda parameter: None, "None")]
)
def test_a_transform_must_give_a_module(transform: Callable[[Tensor], object], gave: str) -> None:
    with pytest.raises(UsageError) as raised:
        ParameterTransform(nn.Linear(2, 2), transform)
    assert str(raised.value) == (
        f"ParameterTransform needs a module to transform 'weight', but the transform gave {gave}; give a function that "
        "makes a module for a parameter, such as lambda parameter: Scale(parameter.shape)"
    )
