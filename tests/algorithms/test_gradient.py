"""Learners by gradient steps, over a grid of nets, orders, policies and strategies, and under stress."""

import copy
import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parametrizations

from l2l_core.algorithms import MAMLLearner
from l2l_core.algorithms.anil import ANIL
from l2l_core.algorithms.meta_curvature import TransformLearner
from l2l_core.algorithms.over_tasks import Strategy
from l2l_core.errors import UsageError
from tests.optim.nets import WAYS, Excused, Recurrent, Tied, assert_gradients, living_tensors, make, mlp

TASKS, RATE = 3, 0.3
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def tasks(dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(1)
    support_x, query_x = torch.randn(2, TASKS, 6, 1, 2, 3, dtype=torch.float64, generator=generator).to(dtype)
    y = torch.stack([torch.arange(6) % WAYS] * TASKS)
    return support_x, y, query_x, y


class Twice(nn.Module):
    """A layer under two names, in use under both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.again = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.again(torch.tanh(self.first(x.flatten(1))))[:, :WAYS]


class Attentive(nn.Module):
    """A transformer over the rows of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(3, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.out = nn.Linear(4, WAYS)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.into(x.flatten(1, 2))).mean(dim=1))


class Branching(nn.Module):
    """A net whose way depends on the values that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = nn.ModuleList(nn.Linear(6, WAYS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return self.ways[int(flat.sum() > 0)](flat) + self.ways[1](torch.tanh(flat))


def conv(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), norm, nn.Softplus(), nn.Flatten(), nn.Linear(12, WAYS))


def without_statistics() -> nn.Module:
    return conv(nn.BatchNorm2d(2, track_running_stats=False))


def with_statistics() -> nn.Module:
    net = conv(nn.BatchNorm2d(2))
    net[1].running_mean.copy_(torch.tensor([0.5, -0.3]))
    net[1].running_var.copy_(torch.tensor([0.8, 2.0]))
    return net


def group_norm() -> nn.Module:
    return conv(nn.GroupNorm(2, 2))


def layer_norm() -> nn.Module:
    return conv(nn.LayerNorm([2, 2, 3]))


def weight_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, WAYS))


def orthogonal() -> nn.Module:
    return nn.Sequential(nn.Flatten(), parametrizations.orthogonal(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, WAYS))


def hooked() -> nn.Module:
    net = mlp()
    net[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    net[3].register_forward_hook(lambda module, inputs, output: output.sin())
    return net


class Long(Recurrent):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 2, batch_first=True)


EVERYWHERE = ("loop", "threads", "together")
CASES: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...]]] = {
    "mlp": (mlp, "running", EVERYWHERE),
    "tied weights": (Tied, "running", EVERYWHERE),
    "a layer under two names": (Twice, "running", EVERYWHERE),
    "frozen and unused": (Excused, "running", EVERYWHERE),
    "no running statistics": (without_statistics, "running", EVERYWHERE),
    "running statistics": (with_statistics, "running", ("auto", "loop")),
    "batch statistics": (with_statistics, "batch", ("auto", "loop")),
    "frozen statistics": (with_statistics, "frozen", EVERYWHERE),
    "group norm": (group_norm, "running", EVERYWHERE),
    "layer norm": (layer_norm, "running", EVERYWHERE),
}
ANY_MODULE: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...]]] = {
    "gru": (Recurrent, "running", ("auto", "loop", "threads")),
    "lstm": (Long, "running", ("auto", "loop", "threads")),
    "transformer": (Attentive, "running", ("auto", "loop", "threads")),
    "weight norm": (weight_norm, "running", ("auto", "threads")),
    "orthogonal": (orthogonal, "running", ("auto", "threads", "together")),
    "hooks": (hooked, "running", ("auto", "threads", "together")),
    "control flow": (Branching, "running", ("auto", "threads")),
}


def reference(
    model: nn.Module, moving: tuple[str, ...], norm: str, values: dict[str, Tensor], steps: int, order: int
) -> Tensor:
    """The meta-loss by torch.func, a task after the other, on copies whose BatchNorm holds no state to write to."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, parametrizations._WeightNorm):
            layer.forward = lambda g, v: g * v / v.square().sum(dim=1, keepdim=True).sqrt()
        if isinstance(layer, nn.BatchNorm2d):
            layer.train(norm != "frozen")
            layer.track_running_stats = norm == "frozen"

    def loss_of(params: dict[str, Tensor], others: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        # A copy for each call: functional_call leaves what it placed behind in a layer with two names.
        logits = functional_call(copy.deepcopy(model), {**others, **params}, (x,))
        return (logits.logsumexp(dim=1) - logits[torch.arange(len(y)), y]).mean()

    total = torch.zeros((), dtype=torch.float64)
    for support_x, support_y, query_x, query_y in zip(*tasks(), strict=True):
        params = {name: values[name] for name in moving}
        others = {name: value for name, value in values.items() if name not in moving}
        for _ in range(steps):
            gradients = torch.func.grad(loss_of)(params, others, support_x, support_y)
            if order == 1:
                gradients = {name: gradient.detach() for name, gradient in gradients.items()}
            params = {name: value - RATE * gradients[name] for name, value in params.items()}
        total = total + loss_of(params, others, query_x, query_y) / TASKS
    return total


def held_against_torch_func(
    net: Callable[[], nn.Module], norm: Any, strategies: tuple[Any, ...], steps: int, order: int, numbers: bool
) -> None:
    model = make(net)
    values = {name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in model.named_parameters()}
    leaves = [value for value in values.values() if value.requires_grad]
    learner = MAMLLearner(model, RATE, steps, first_order=order == 1, norm=norm)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected_loss = reference(model, learner.moving, norm, values, steps, order)
        found = torch.autograd.grad(expected_loss, leaves, allow_unused=True, materialize_grads=True)
    expected = torch.cat([gradient.flatten() for gradient in found])
    assert expected.norm() > 1e-2
    for strategy in strategies:
        learner.strategy = strategy
        learner.zero_grad()
        loss, _ = learner.meta_loss(*tasks())
        loss.backward()
        assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-10)
        ours = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        assert (ours - expected).norm() < 1e-9 * expected.norm(), strategy
    if numbers:
        with torch.no_grad():
            start = {name: p.detach() for name, p in model.named_parameters()}
            assert_gradients(
                [p for p in model.parameters() if p.requires_grad],
                lambda: reference(model, learner.moving, norm, start, steps, order=2).item(),
                width=3e-4,
            )


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("case", CASES)
def test_meta_gradients_are_those_of_torch_func_and_of_finite_differences(case: str, steps: int, order: int) -> None:
    held_against_torch_func(*CASES[case], steps, order, numbers=order == 2 and steps < 5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", ANY_MODULE)
def test_any_module_has_its_meta_gradients(case: str, order: int) -> None:
    held_against_torch_func(*ANY_MODULE[case], steps=2, order=order, numbers=order == 2)


def gradients_of(learner: nn.Module, batch: Batch | None = None) -> tuple[Tensor, Tensor]:
    learner.zero_grad()
    loss, _ = learner.meta_loss(*(tasks() if batch is None else batch))
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in learner.parameters() if p.requires_grad])


def spectral() -> nn.Module:
    return nn.Sequential(nn.Flatten(), parametrizations.spectral_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, WAYS))


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("net", [mlp, without_statistics, with_statistics, Excused, Recurrent, spectral])
def test_checkpointed_training_is_the_same_and_writes_buffers_once(
    net: Callable[[], nn.Module], first_order: bool, clip: float | None
) -> None:
    found, buffers = [], []
    for checkpoint in (False, True):
        learner = MAMLLearner(make(net), RATE, 5, first_order=first_order, clip=clip, checkpoint=checkpoint)
        learner.strategy = "loop"
        found.append(gradients_of(learner))
        buffers.append(dict(learner.named_buffers()))
    for whole, checkpointed in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, whole, rtol=1e-10, atol=1e-12)
    for name, buffer in buffers[0].items():
        torch.testing.assert_close(buffers[1][name], buffer, rtol=1e-12, atol=0)
        if name.endswith("num_batches_tracked"):
            assert buffer == TASKS * 6


def features_and_classifier() -> nn.Module:
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten()))
    net.add_module("classifier", nn.Linear(12, WAYS))
    return net


@pytest.mark.parametrize("first_order", [False, True])
def test_what_is_prepared_is_prepared_once_with_checkpoints_too(first_order: bool) -> None:
    found = []
    for checkpoint in (False, True):
        learner = ANIL(make(features_and_classifier), RATE, 5, first_order=first_order, checkpoint=checkpoint)
        found.append(gradients_of(learner))
        assert learner.model.features[1].num_batches_tracked == TASKS * 2
    for whole, checkpointed in zip(*found, strict=True):
        torch.testing.assert_close(checkpointed, whole, rtol=1e-10, atol=1e-12)


def test_clipped_inner_gradients_are_at_most_that_long_in_each_task() -> None:
    support_x, support_y, query_x, _ = tasks()
    model = make(mlp)
    for clip in (1e-3, 1e3):
        found = MAMLLearner(model, RATE, 1, clip=clip).eval().adapt(support_x, support_y)(query_x)
        for task in range(TASKS):
            loss = functional.cross_entropy(model(support_x[task]), support_y[task])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            factor = min(1.0, clip / float(length))
            values = dict(model.named_parameters())
            moved = {n: p - RATE * factor * g for (n, p), g in zip(values.items(), gradients, strict=True)}
            torch.testing.assert_close(found[task], functional_call(model, moved, (query_x[task],)).detach())


class Counted:
    """How many numbers the graph holds, now and at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> tuple[Tensor, object]:
        class Held:
            pass

        held = Held()
        self.now += tensor.numel()
        self.most = max(self.most, self.now)
        weakref.finalize(held, self._dropped, tensor.numel())
        return tensor, held

    def _dropped(self, count: int) -> None:
        self.now -= count


def peak_of(steps: int, checkpoint: bool, clip: float | None) -> int:
    learner = MAMLLearner(make(mlp), 0.01, steps, checkpoint=checkpoint, clip=clip, strategy="loop")
    counted = Counted()
    with torch.autograd.graph.saved_tensors_hooks(counted.pack, lambda kept: kept[0]):
        learner.meta_loss(*(each[:1] for each in tasks()))
    gc.collect()
    assert counted.now == 0
    return counted.most


@pytest.mark.parametrize("clip", [None, 1.0])
def test_with_checkpoints_the_graph_grows_with_the_root_of_the_steps(clip: float | None) -> None:
    four, sixteen, many = (peak_of(steps, True, clip) for steps in (4, 16, 64))
    assert sixteen < 2.3 * four
    assert many < 2.3 * sixteen
    assert peak_of(64, False, clip) > 3.5 * peak_of(16, False, clip)
    assert many < peak_of(64, False, clip) / 5


def test_hooks_of_backward_passes_are_called() -> None:
    expected = gradients_of(MAMLLearner(make(mlp), RATE, 2, strategy="loop"))
    model, calls = make(mlp), []
    model[3].register_full_backward_hook(lambda module, into, out: calls.append(out[0].shape))
    found = gradients_of(MAMLLearner(model, RATE, 2))
    assert len(calls) > TASKS * 3
    torch.testing.assert_close(found, expected)


# Dynamo asks the parameters that it is handed, which are no leaves, for their gradients.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(("backend", "first_order"), [("eager", False), ("eager", True), ("aot_eager", True)])
def test_a_compiled_model_is_the_model(backend: str, first_order: bool) -> None:
    support_x, support_y, query_x, _ = tasks()
    torch._dynamo.reset()
    plain = MAMLLearner(make(mlp), RATE, 2, first_order=first_order)
    learner = MAMLLearner(torch.compile(make(mlp), backend=backend), RATE, 2, first_order=first_order)
    torch.testing.assert_close(gradients_of(learner), gradients_of(plain), rtol=1e-10, atol=1e-12)
    expected = plain.eval().adapt(support_x, support_y)(query_x)
    torch.testing.assert_close(learner.eval().adapt(support_x, support_y)(query_x), expected)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_what_the_compiler_cannot_do_it_says_itself() -> None:
    torch._dynamo.reset()
    learner = MAMLLearner(torch.compile(make(mlp), backend="aot_eager"), RATE, 1)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        gradients_of(learner)
    torch._dynamo.reset()


@pytest.mark.parametrize("strategy", EVERYWHERE)
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_mixed_precision(dtype: torch.dtype, error: float, first_order: bool, strategy: Any) -> None:
    learner = MAMLLearner(make(mlp).float(), RATE, 2, first_order=first_order, strategy=strategy)
    seen: list[torch.dtype] = []
    wanted_loss, wanted = gradients_of(learner, tasks(torch.float32))
    learner.model[3].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=dtype):
        loss, found = gradients_of(learner, tasks(torch.float32))
        predictor = learner.eval().adapt(*tasks(torch.float32)[:2])
    if strategy != "together":  # vectorised, a linear layer adds its bias in single precision
        assert set(seen) == {dtype}
    assert loss.dtype == found.dtype == torch.float32
    assert predictor(tasks(torch.float32)[2]).dtype == torch.float32  # the steps have left the parameters as they are
    assert abs(loss - wanted_loss) < error
    assert 0 < (found - wanted).norm() < error * wanted.norm()


def test_float16_does_not_lose_small_meta_gradients() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, WAYS))
    with torch.no_grad():
        model[3].weight.mul_(1e-6)
    learner = MAMLLearner(model, RATE, 0)
    _, wanted = gradients_of(learner, tasks(torch.float32))
    for learner.checkpoint in (False, True):
        with torch.autocast("cpu", dtype=torch.float16):
            _, found = gradients_of(learner, tasks(torch.float32))
        assert (found - wanted).norm() < 1e-2 * wanted.norm()
        body = slice(0, 28)  # of the first layer, less than float16 holds
        assert (found[body] - wanted[body]).norm() < 0.1 * wanted[body].norm()


@pytest.mark.parametrize("first_order", [False, True])
def test_a_model_in_bfloat16(first_order: bool) -> None:
    learner = MAMLLearner(make(mlp).bfloat16(), RATE, 2, first_order=first_order)
    exact = MAMLLearner(copy.deepcopy(learner.model).double(), RATE, 2, first_order=first_order)
    loss, found = gradients_of(learner, tasks(torch.bfloat16))
    wanted_loss, wanted = gradients_of(exact)
    assert found.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    assert abs(loss - wanted_loss) < 0.02
    assert (found - wanted).norm() < 0.05 * wanted.norm()
    _, accuracies = learner.meta_loss(*tasks(torch.bfloat16))
    assert accuracies.dtype == torch.float32  # of the other type a third would be 0.334


@pytest.mark.parametrize(
    ("net", "strategy", "times"),
    [(mlp, "loop", 1_000), (mlp, "threads", 200), (Recurrent, "loop", 200), (with_statistics, "loop", 200)],
)
def test_a_thousand_adaptations_leave_nothing_behind(net: Callable[[], nn.Module], strategy: Any, times: int) -> None:
    learner = MAMLLearner(make(net), RATE, 1, strategy=strategy)
    tasks_each = 2 if strategy == "threads" else 1
    support_x, support_y, query_x, _ = (each[:tasks_each] for each in tasks())

    def living(times: int) -> int:
        for _ in range(times):
            learner.adapt(support_x, support_y)(query_x)
        return living_tensors()

    before = living(3)
    # Fewer there may be: what another test left behind goes some time.
    assert living(times) <= before


def test_dropout_is_drawn_task_by_task_and_again_from_the_same_seed() -> None:
    dropout = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, WAYS)).double()
    learner = MAMLLearner(dropout, RATE, 2)
    found = []
    for strategy in ("auto", "auto", "loop"):
        learner.strategy = strategy
        torch.manual_seed(5)
        found.append(gradients_of(learner)[1])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], gradients_of(learner)[1])
    learner.eval()
    batch = tasks()
    assert torch.equal(learner.adapt(*batch[:2])(batch[2]), learner.adapt(*batch[:2])(batch[2]))


def test_the_callers_inference_mode_does_not_matter() -> None:
    learner = MAMLLearner(make(mlp), RATE, 2)
    expected, right = learner.meta_loss(*tasks())
    with torch.inference_mode():
        for learner.strategy in EVERYWHERE:
            loss, accuracy = learner.meta_loss(*tasks())
            torch.testing.assert_close(loss, expected.detach())
            assert torch.equal(accuracy, right)
            assert torch.is_inference_mode_enabled()


def test_what_the_model_raises_arrives_as_it_is() -> None:
    class Broken(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how, self.linear = how, nn.Linear(6, WAYS)

        def forward(self, x: Tensor) -> Tensor:
            if self.how == "raises":
                raise LookupError("of the model's own")
            hidden = self.linear(x.flatten(1)).exp()
            hidden.add_(1)  # exp needs its value for the gradient
            return hidden

    for how, error, words in (
        ("raises", LookupError, "^'?of the model's own"),
        ("in place", RuntimeError, "has been modified by an inplace operation"),
    ):
        for strategy in EVERYWHERE:
            learner = MAMLLearner(Broken(how).double(), RATE, 1, strategy=strategy)
            support_x, support_y, _, _ = tasks()
            with pytest.raises(error, match=words):
                learner.adapt(support_x, support_y)
            with pytest.raises(error, match=words):
                learner.meta_loss(*tasks())


class Only(nn.Module):
    """What a function makes of a linear layer's logits."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.idle, self.function = nn.Linear(6, WAYS).double(), nn.Linear(1, 1).double(), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x.flatten(1)))


@pytest.mark.parametrize("strategy", EVERYWHERE)
def test_models_that_do_not_fit_are_refused_in_words(strategy: Any) -> None:
    refused: dict[str, Callable[[Tensor], Tensor]] = {
        "the inner loss has no graph, so no parameter can follow it; let the model compute it with gradients enabled, "
        "from a parameter that moves": lambda logits: logits.detach(),
        "the support has 6 pictures, but the model gives logits [5, 3]; let it give one row for each "
        "picture": lambda logits: logits[1:],
        "the support has 3 classes, but the model gives logits [6, 2]; build it for 3 ways": lambda logits: logits[
            :, 1:
        ],
        "the support has 3 classes, but the model gives logits [6]; build it for 3 ways": lambda logits: logits.sum(
            dim=1
        ),
    }
    for message, function in refused.items():
        learner = MAMLLearner(Only(function), RATE, 1, strategy=strategy)
        for call in (lambda of: of.meta_loss(*tasks()), lambda of: of.adapt(*tasks()[:2])):
            with pytest.raises(UsageError) as error:
                call(learner)
            assert str(error.value) == message


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_loss_that_no_moving_parameter_reaches_is_refused(checkpoint: bool) -> None:
    learner = MAMLLearner(Only(lambda logits: logits), RATE, 1, checkpoint=checkpoint)
    learner.moving = ("idle.weight", "idle.bias")
    for call in (lambda: learner.meta_loss(*tasks()), lambda: learner.adapt(*tasks()[:2])):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == (
            "the inner loss depends on none of the parameters that move; let the model use one of them, or name others"
        )


@pytest.mark.parametrize("strategy", EVERYWHERE)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_loss_that_is_not_finite_is_named_whatever_the_way(strategy: Any, checkpoint: bool) -> None:
    support_x, support_y, query_x, query_y = tasks()
    learner = MAMLLearner(make(mlp), RATE, 2, strategy=strategy, checkpoint=checkpoint)
    support_x[2, 0] = float("inf")
    message = (
        "the inner loss of task 2 of the batch is nan at step 1; lower the inner learning rate, or look for infinite "
        "values in the pictures or the parameters"
    )
    learner.model[2] = nn.Hardtanh(-1e300, 1e300)
    for call in (
        lambda: learner.meta_loss(support_x, support_y, query_x, query_y),
        lambda: learner.adapt(support_x, support_y),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message


def test_settings_that_no_run_could_honour_are_refused_in_words() -> None:
    refused: dict[str, dict[str, Any]] = {
        "MAMLLearner was asked for strategy = 'thread'; choose 'auto', 'loop', 'threads', 'together'": {
            "strategy": "thread"
        },
        "MAMLLearner was asked for queries = 'single'; choose 'together', 'alone'": {"queries": "single"},
        "MAMLLearner was asked to clip inner gradients to 0; give a length above 0, or None": {"clip": 0},
        "MAMLLearner was asked for norm = 'none'; choose 'running', 'batch', 'frozen'": {"norm": "none"},
    }
    for message, settings in refused.items():
        with pytest.raises(UsageError) as error:
            MAMLLearner(mlp(), RATE, 1, **settings)
        assert str(error.value) == message


def test_tasks_that_all_write_running_statistics_do_so_one_after_the_other() -> None:
    for strategy in ("threads", "together"):
        learner = MAMLLearner(make(with_statistics), RATE, 1, strategy=strategy)
        with pytest.raises(UsageError) as error:
            learner.meta_loss(*tasks())
        assert str(error.value) == (
            f"MAMLLearner was asked for strategy = {strategy!r}, but its model gathers running statistics, which tasks "
            "do one after the other; choose 'auto' or 'loop', or BatchNorm without running statistics"
        )
        learner.adapt(*tasks()[:2])  # nothing is gathered
        learner.eval().meta_loss(*tasks())


def test_pictures_are_laid_out_only_for_layers_that_are_known_to_take_any_format() -> None:
    formats: list[bool] = []

    class Peeking(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            formats.append(input.stride()[1] == 1)
            return super().forward(input)

    def first(layer: nn.Module) -> nn.Module:
        return nn.Sequential(layer, nn.Flatten(), nn.Linear(12, WAYS)).double()

    MAMLLearner(first(Peeking(1, 2, 3, padding=1)), RATE, 1).meta_loss(*tasks())
    assert not any(formats)
    formats.clear()
    Peeking.__module__ = "torch.nn.modules.conv"
    learner = MAMLLearner(first(Peeking(1, 2, 3, padding=1)), RATE, 1, strategy="loop")
    learner.meta_loss(*tasks())
    learner.adapt(*tasks()[:2])(tasks()[2])
    assert formats
    assert all(formats)


def test_weight_norm_by_a_hook_is_that_by_a_parametrization() -> None:
    """It cannot be copied, so that the grid above does without it."""
    new = weight_norm().double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and nets have it
        old = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, WAYS)).double()
    learned = dict(new.named_parameters())
    names = {"1.weight_g": "1.parametrizations.weight.original0", "1.weight_v": "1.parametrizations.weight.original1"}
    with torch.no_grad():
        for name, parameter in old.named_parameters():
            parameter.copy_(learned[names.get(name, name)])
    for model in (old, new):
        MAMLLearner(model, lr=RATE, steps=2).meta_loss(*tasks())[0].backward()
    for name, parameter in old.named_parameters():
        torch.testing.assert_close(parameter.grad, learned[names.get(name, name)].grad, rtol=1e-8, atol=1e-10)


def test_a_parameter_that_was_frozen_since_is_named() -> None:
    learner = MAMLLearner(weight_norm().double(), lr=RATE, steps=1)
    learner.model.requires_grad_(False)
    with pytest.raises(UsageError) as caught:
        learner.meta_loss(*tasks())
    assert str(caught.value) == (
        "MAMLLearner was built to move '1.bias', which requires no gradient any more; freeze before building it, or "
        "let it require one"
    )
    learner.eval().adapt(*tasks()[:2])(tasks()[2])  # values need no graph


def test_transforms_that_draw_at_random_take_the_tasks_one_by_one() -> None:
    def losses(strategy: Strategy) -> list[float]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, WAYS)).double()
        learner = TransformLearner(model, lambda parameter: nn.Dropout(0.5), 0.4, 2, strategy=strategy)
        torch.manual_seed(3)
        return [learner.meta_loss(*tasks())[0].item() for _ in range(3)]

    assert losses("auto") == losses("loop")
