"""MAML's gradients against finite differences and against computations written by hand."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional

from l2l_core.algorithms import MAML, MAMLLearner, maml_update
from l2l_core.errors import UsageError

TASKS, WAYS, SHOTS, QUERIES = 3, 3, 2, 2
RATE = 0.4


class TiedNet(nn.Module):
    """One weight used twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.flatten(1))))[:, :WAYS]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, WAYS))


def batch_norm_net(running_stats: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.BatchNorm2d(2, track_running_stats=running_stats),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(12, WAYS),
    )


def running_stats_net() -> nn.Module:
    return batch_norm_net(running_stats=True)


NETS = [mlp, TiedNet, batch_norm_net, running_stats_net]


def make(net: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = net().double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model


def tasks(seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    support_y = torch.stack([torch.arange(WAYS * SHOTS) % WAYS] * TASKS)
    query_y = torch.stack([torch.arange(WAYS * QUERIES) % WAYS] * TASKS)
    support_x = torch.randn(TASKS, WAYS * SHOTS, 1, 2, 3, dtype=torch.float64, generator=generator)
    query_x = torch.randn(TASKS, WAYS * QUERIES, 1, 2, 3, dtype=torch.float64, generator=generator)
    return support_x, support_y, query_x, query_y


def slow_meta_loss(model: nn.Module, moving: tuple[str, ...], steps: int) -> float:
    """The meta-loss of `tasks` by deep copies and plain SGD on them: no graph, no functional call."""
    support_x, support_y, query_x, query_y = tasks()
    total = 0.0
    for task in range(TASKS):
        twin = copy.deepcopy(model)
        named = dict(twin.named_parameters())
        optimiser = torch.optim.SGD([named[name] for name in moving], lr=RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            functional.cross_entropy(twin(support_x[task]), support_y[task]).backward()
            optimiser.step()
        with torch.no_grad():
            total += functional.cross_entropy(twin(query_x[task]), query_y[task]).item() / TASKS
    return total


def assert_gradient(parameter: Tensor, value: Callable[[], float], width: float = 1e-5) -> None:
    """Compare a parameter's gradient with central finite differences of the value, along two random directions."""
    generator = torch.Generator().manual_seed(0)
    start = parameter.detach().clone()
    for _ in range(2):
        direction = torch.randn(start.shape, dtype=start.dtype, generator=generator)
        parameter.data.copy_(start + width * direction)
        above = value()
        parameter.data.copy_(start - width * direction)
        below = value()
        parameter.data.copy_(start)
        expected = (above - below) / (2 * width)
        # relative to the gradient's length, which bounds what any direction can show
        assert abs((parameter.grad * direction).sum().item() - expected) < 1e-6 * parameter.grad.norm().item()
    assert parameter.grad.norm() > 1e-3


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_meta_gradients_are_those_of_finite_differences(net: Callable[[], nn.Module], steps: int) -> None:
    model = make(net)
    learner = MAMLLearner(model, lr=RATE, steps=steps)
    loss, _ = learner.meta_loss(*tasks())
    loss.backward()
    assert loss.item() == pytest.approx(slow_meta_loss(model, learner.moving, steps), rel=1e-12)
    for parameter in model.parameters():
        assert_gradient(parameter, lambda: slow_meta_loss(model, learner.moving, steps))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_the_wrapper_has_the_meta_gradients_of_finite_differences(net: Callable[[], nn.Module], steps: int) -> None:
    model = make(net)
    support_x, support_y, query_x, query_y = tasks()
    maml = MAML(model, lr=RATE)
    for task in range(TASKS):
        clone = maml.clone()
        for _ in range(steps):
            clone.adapt(functional.cross_entropy(clone(support_x[task]), support_y[task]))
        (functional.cross_entropy(clone(query_x[task]), query_y[task]) / TASKS).backward()
    everything = tuple(dict(model.named_parameters()))
    for parameter in model.parameters():
        assert_gradient(parameter, lambda: slow_meta_loss(model, everything, steps))


@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradients_are_those_of_a_net_written_out(steps: int) -> None:
    """Second order by torch.func on bare matrices, which shares nothing with the learner."""
    model = make(mlp)
    support_x, support_y, query_x, query_y = tasks()

    def cross_entropy(weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.tanh(x.flatten(1) @ weights[0].T + weights[1]) @ weights[2].T + weights[3]
        return (logits.logsumexp(dim=1) - logits[torch.arange(len(y)), y]).mean()

    def meta(weights: list[Tensor]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for task in range(TASKS):
            adapted = weights
            for _ in range(steps):
                gradients = grad(cross_entropy)(adapted, support_x[task], support_y[task])
                adapted = [w - RATE * g for w, g in zip(adapted, gradients, strict=True)]
            total = total + cross_entropy(adapted, query_x[task], query_y[task]) / TASKS
        return total

    expected = grad(meta)([parameter.detach() for parameter in model.parameters()])
    loss, _ = MAMLLearner(model, lr=RATE, steps=steps).meta_loss(support_x, support_y, query_x, query_y)
    loss.backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)


def first_order_reference(model: nn.Module, moving: tuple[str, ...], steps: int) -> dict[str, Tensor]:
    """The mean over tasks of the query gradient at the adapted parameters, by deep copies and SGD."""
    support_x, support_y, query_x, query_y = tasks()
    totals = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for task in range(TASKS):
        twin = copy.deepcopy(model)
        named = dict(twin.named_parameters())
        optimiser = torch.optim.SGD([named[name] for name in moving], lr=RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            functional.cross_entropy(twin(support_x[task]), support_y[task]).backward()
            optimiser.step()
        twin.zero_grad()
        functional.cross_entropy(twin(query_x[task]), query_y[task]).backward()
        for name, parameter in named.items():
            totals[name] += parameter.grad / TASKS
    return totals


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_first_order_is_the_gradient_at_the_adapted_parameters(net: Callable[[], nn.Module], steps: int) -> None:
    model = make(net)
    learner = MAMLLearner(model, lr=RATE, steps=steps, first_order=True)
    loss, _ = learner.meta_loss(*tasks())
    loss.backward()
    for name, expected in first_order_reference(model, learner.moving, steps).items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, expected, rtol=1e-10, atol=1e-12)

    model.zero_grad()
    everything = tuple(dict(model.named_parameters()))
    support_x, support_y, query_x, query_y = tasks()
    maml = MAML(model, lr=RATE, first_order=True)
    for task in range(TASKS):
        clone = maml.clone()
        for _ in range(steps):
            clone.adapt(functional.cross_entropy(clone(support_x[task]), support_y[task]))
        (functional.cross_entropy(clone(query_x[task]), query_y[task]) / TASKS).backward()
    for name, expected in first_order_reference(model, everything, steps).items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, expected, rtol=1e-10, atol=1e-12)


def test_meta_gradients_reach_the_parameters_that_do_not_move() -> None:
    model = make(batch_norm_net)
    learner = MAMLLearner(model, lr=RATE, steps=1)
    assert learner.moving == ("0.weight", "4.weight", "4.bias")
    learner.meta_loss(*tasks())[0].backward()
    assert model[1].weight.grad.abs().max() > 1e-4


def test_adapt_uses_test_steps_in_eval_mode() -> None:
    support_x, support_y, query_x, _ = tasks()
    for test_steps in (0, 2, 5):
        model = make(mlp)
        learner = MAMLLearner(model, lr=RATE, steps=2, test_steps=test_steps).eval()
        found = learner.adapt(support_x, support_y)(query_x)
        reference = MAMLLearner(model, lr=RATE, steps=test_steps).train().adapt(support_x, support_y)(query_x)
        torch.testing.assert_close(found, reference.detach())


def test_training_gathers_running_statistics_as_training_does() -> None:
    model = make(running_stats_net)
    MAMLLearner(model, lr=RATE, steps=2).meta_loss(*tasks())
    assert int(model[1].num_batches_tracked) == TASKS * 3


def test_the_learner_refuses_in_words() -> None:
    support_x, support_y, query_x, query_y = tasks()
    model = make(mlp)
    wide = make(lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 5)))
    frozen = make(mlp).requires_grad_(False)
    bad_task = support_x.clone()
    bad_task[1] = float("nan")
    refused = {
        "MAMLLearner was asked for lr = 0; give a rate above 0": lambda: MAMLLearner(model, lr=0, steps=1),
        "MAMLLearner was asked for steps = 1 and test_steps = -1; give steps of at least 0": lambda: MAMLLearner(
            model, lr=0.1, steps=1, test_steps=-1
        ),
        "MAMLLearner was given a Sequential without a parameter to move; give a model with parameters that require a "
        "gradient": lambda: MAMLLearner(frozen, lr=0.1, steps=1),
        "the support has 3 classes, but the model gives logits [6, 5]; build it for 3 ways": lambda: MAMLLearner(
            wide, lr=0.1, steps=1
        ).adapt(support_x, support_y),
        "the inner loss of task 1 of the batch is nan at step 1; lower the inner learning rate, or look for "
        "infinite values in the pictures or the "
        "parameters": lambda: MAMLLearner(model, lr=0.1, steps=2).adapt(bad_task, support_y),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
    with pytest.raises(UsageError, match=r"^the inner loss of task 1 of the batch is nan at step 1; lower"):
        MAMLLearner(model, lr=0.1, steps=2).meta_loss(bad_task, support_y, query_x, query_y)


def test_maml_update_is_a_differentiable_step() -> None:
    model = make(mlp)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    gradients = [torch.full_like(parameter, 2.0) for parameter in start]
    assert maml_update(model, rate, [gradients[0], None, gradients[2], None]) is model
    expected = [start[0] - 1, start[1], start[2] - 1, start[3]]
    assert all(torch.equal(now, value) for now, value in zip(model.parameters(), expected, strict=True))
    sum(parameter.sum() for parameter in model.parameters()).backward()
    assert rate.grad.item() == -2.0 * (start[0].numel() + start[2].numel())


def test_maml_update_without_gradients_takes_those_of_the_parameters() -> None:
    model = make(mlp)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    model[1].weight.grad = torch.ones_like(model[1].weight)
    maml_update(model, 0.5)
    assert torch.equal(model[1].weight, start[0] - 0.5)
    assert torch.equal(model[1].bias, start[1])
    maml_update(model, 0.5)  # now inside the graph, where asking for .grad would warn
    with pytest.raises(UsageError, match="update_module was given 1 updates for 4 parameters"):
        maml_update(model, 0.5, [None])


def test_the_wrapper_is_its_module_and_can_be_copied() -> None:
    model = make(mlp)
    model.note = "kept"
    maml = MAML(model, lr=0.1)
    x = tasks()[0][0]
    assert maml.note == "kept"
    assert torch.equal(maml(x), model(x))
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = maml.nothing_of_that_name
    for twin in (copy.deepcopy(maml), pickle.loads(pickle.dumps(maml))):
        assert torch.equal(twin(x), model(x))


def test_a_clone_keeps_the_settings_and_the_mode() -> None:
    maml = MAML(make(batch_norm_net), lr=0.3, first_order=True, allow_nograd=True).eval()
    clone = maml.clone()
    assert (clone.lr, clone.first_order, clone.allow_unused, clone.allow_nograd) == (0.3, True, True, True)
    assert not clone.training
    assert not clone.module[1].training
    other = maml.clone(first_order=False, allow_unused=False, allow_nograd=False)
    assert (other.first_order, other.allow_unused, other.allow_nograd) == (False, False, False)


def test_adapt_lets_excused_parameters_be_and_names_the_others() -> None:
    class Partial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(6, WAYS).double(), nn.Linear(1, 1, bias=False).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x.flatten(1))

    x, y = tasks()[0][0], tasks()[1][0]
    maml = MAML(Partial(), lr=RATE)
    clone = maml.clone()
    with pytest.raises(UsageError) as unused:
        clone.adapt(functional.cross_entropy(clone(x), y))
    assert str(unused.value) == (
        "MAML.adapt was asked to adapt 'idle.weight', on which the loss does not depend; "
        "pass allow_unused=True to leave it as it is"
    )
    before = clone.used.weight.detach().clone()
    clone.adapt(functional.cross_entropy(clone(x), y), allow_unused=True)
    assert torch.equal(clone.idle.weight, maml.idle.weight)
    assert not torch.equal(clone.used.weight, before)

    maml.used.bias.requires_grad_(False)
    clone = maml.clone(allow_unused=True)
    with pytest.raises(UsageError) as frozen:
        clone.adapt(functional.cross_entropy(clone(x), y))
    assert str(frozen.value) == (
        "MAML.adapt was asked to adapt 'used.bias', which requires no gradient; "
        "pass allow_nograd=True to leave it as it is"
    )
    clone.adapt(functional.cross_entropy(clone(x), y), allow_nograd=True)
    assert torch.equal(clone.used.bias, maml.used.bias)
    with pytest.raises(UsageError) as no_graph:
        clone.adapt(torch.tensor(1.0))
    assert str(no_graph.value) == (
        "MAML.adapt was given a loss without a graph; compute it from this clone, with gradients enabled"
    )


def test_adapt_refuses_what_is_no_loss_or_not_finite() -> None:
    maml = MAML(make(mlp), lr=RATE)
    for loss, message in (
        (1.0, "MAML.adapt was given a float for a loss; give a tensor with a graph"),
        (
            maml(tasks()[0][0]).sum() * float("nan"),
            "MAML.adapt was given a loss that is nan; lower the inner learning rate, or look for infinite values in "
            "the inputs or the parameters",
        ),
        (maml(tasks()[0][0])[:, 0], "MAML.adapt was given a loss of shape [6]; reduce it to a scalar"),
    ):
        with pytest.raises(UsageError) as caught:
            maml.adapt(loss)  # type: ignore[arg-type]
        assert str(caught.value) == message
