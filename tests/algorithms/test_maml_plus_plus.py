"""MAML++ against plain networks whose BatchNorm is exchanged by hand from step to step."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.algorithms.maml import MAMLLearner
from l2l_core.algorithms.maml_plus_plus import MAMLPlusPlus, PerStepBatchNorm
from l2l_core.algorithms.over_tasks import Strategy
from l2l_core.errors import UsageError
from tests.algorithms.gradient_checks import (
    PROMISES,
    Net,
    Tensors,
    batch_norm_net,
    check_meta_gradients,
    check_strategies,
    descended,
    each_task,
    func_loss,
    mean_over_tasks,
    part,
    picture_net,
    slowly_descended,
    small_net,
)
from tests.algorithms.test_maml import TASKS, tasks

RATE = 0.4
MOVING = ("features.0.weight", "classifier.weight", "classifier.bias")
NORM = ("features.1.weight", "features.1.bias")


def disturbed(learner: MAMLPlusPlus) -> MAMLPlusPlus:
    """The learner, whose rates, scales and shifts differ from step to step."""
    torch.manual_seed(1)
    for name, parameter in learner.named_parameters():
        if name == "rates" or name.removeprefix("model.") in NORM:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return learner


# progress, multi_step_for, first_order_for; what the losses count, of steps inner steps; whether of first order
PHASES: dict[str, tuple[int, int, int, Callable[[int], list[float]], bool]] = {
    "plain": (0, 0, 0, lambda steps: [0.0] * (steps - 1) + [1.0], False),
    "all steps alike": (0, 8, 0, lambda steps: [1 / steps] * steps, False),
    "halfway": (4, 8, 4, lambda steps: [0.5 / steps] * (steps - 1) + [0.5 + 0.5 / steps], False),
    "almost halfway, first order": (
        3,
        8,
        4,
        lambda steps: [0.625 / steps] * (steps - 1) + [0.375 + 0.625 / steps],
        True,
    ),
    "afterwards": (8, 8, 4, lambda steps: [0.0] * (steps - 1) + [1.0], False),
}


@pytest.mark.parametrize("phase", list(PHASES))
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_meta_gradients(phase: str, steps: int) -> None:
    progress, multi_step_for, first_order_for, weights_of, first_order = PHASES[phase]
    weights = weights_of(steps)
    learner = disturbed(MAMLPlusPlus(batch_norm_net(), RATE, steps, multi_step_for, first_order_for))
    learner.progress.fill_(progress)
    assert learner.loss_weights == pytest.approx(weights)
    assert learner.moving == MOVING
    plain = batch_norm_net()

    def update(theta: Tensors, name: str, g: Tensor, step: int) -> Tensor:
        return theta["rates"][step][MOVING.index(name)] * g

    def of_step(theta: Tensors, step: int) -> Tensors:
        model_theta = part(theta, "model.")
        return {name: value[step] if name in NORM else value for name, value in model_theta.items()}

    def by_func(theta: Tensors) -> Tensor:
        def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            def loss(params: Tensors, step: int) -> Tensor:
                return func_loss(plain, {**of_step(theta, step), **params}, support_x, support_y)

            start = {name: theta[f"model.{name}"] for name in MOVING}
            path = descended(loss, start, partial(update, theta), steps, first_order)
            losses = [
                func_loss(plain, {**of_step(theta, step), **path[step + 1]}, query_x, query_y) for step in range(steps)
            ]
            return sum(weight * loss for weight, loss in zip(weights, losses, strict=True))

        return mean_over_tasks(of_task)

    def slow(theta: Tensors) -> float:
        def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            twin = copy.deepcopy(plain)
            total, moved = torch.zeros((), dtype=torch.float64), Tensors()
            for step in range(steps):
                twin.load_state_dict({**of_step(theta, step), **moved})
                slowly_descended(
                    lambda: functional.cross_entropy(twin(support_x), support_y),
                    {name: twin.get_parameter(name) for name in MOVING},
                    lambda name, g, _, now=step: update(theta, name, g, now),
                    steps=1,
                )
                moved = {name: twin.get_parameter(name).detach().clone() for name in MOVING}
                total += weights[step] * functional.cross_entropy(twin(query_x), query_y).detach()
            return total

        return mean_over_tasks(of_task).item()

    check_meta_gradients(learner, by_func, None if first_order else slow)


def test_at_the_start_the_last_loss_is_mamls() -> None:
    support_x, support_y, query_x, query_y = tasks()
    ours, maml = MAMLPlusPlus(batch_norm_net(), RATE, 3, multi_step_for=0), MAMLLearner(batch_norm_net(), RATE, 3)
    found, expected = (each.meta_loss(support_x, support_y, query_x, query_y) for each in (ours, maml))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    logits = [each.eval().adapt(support_x, support_y)(query_x) for each in (ours, maml)]
    torch.testing.assert_close(*logits, rtol=1e-12, atol=1e-12)


def test_progress_is_counted_in_training_only_and_a_checkpoint_resumes_it() -> None:
    def build() -> MAMLPlusPlus:
        return MAMLPlusPlus(batch_norm_net(), RATE, steps=2, multi_step_for=4, first_order_for=2)

    learner = build()
    seen = []
    for _ in range(6):
        seen.append(learner.loss_weights)
        learner.meta_loss(*tasks())
    assert seen == [[0.5, 0.5], [0.375, 0.625], [0.25, 0.75], [0.125, 0.875], [0.0, 1.0], [0.0, 1.0]]
    learner.eval().meta_loss(*tasks())
    with torch.no_grad():
        learner.train().meta_loss(*tasks())
    learner.adapt(*tasks()[:2])(tasks()[2])
    assert int(learner.progress) == 6

    learner.progress.fill_(3)
    resumed = build()
    resumed.load_state_dict(learner.state_dict())
    assert resumed.loss_weights == [0.125, 0.875]


def test_in_eval_mode_the_loss_is_the_last_steps_whatever_the_progress() -> None:
    learner = disturbed(MAMLPlusPlus(batch_norm_net(), RATE, steps=3, multi_step_for=4)).eval()
    support_x, support_y, query_x, query_y = tasks()
    logits = learner.adapt(support_x, support_y)(query_x)
    loss, _ = learner.meta_loss(support_x, support_y, query_x, query_y)
    assert loss.item() == pytest.approx(
        functional.cross_entropy(logits.flatten(0, 1), query_y.flatten()).item(), rel=1e-12
    )


@pytest.mark.parametrize("multi_step_for", [0, 10])
def test_each_step_gathers_and_uses_statistics_of_its_own(multi_step_for: int) -> None:
    steps = 3
    learner = disturbed(MAMLPlusPlus(batch_norm_net(running_stats=True), RATE, steps, multi_step_for=multi_step_for))
    layer = learner.model.features[1]
    learner.meta_loss(*tasks())
    twin, (scale, shift) = copy.deepcopy(learner.model), (layer.weight.detach(), layer.bias.detach())
    twin.features[1] = plain = nn.BatchNorm2d(2).double()

    def exchange(step: int, mean: Tensor, var: Tensor) -> None:
        plain.load_state_dict(
            {
                "weight": scale[step],
                "bias": shift[step],
                "running_mean": mean[step],
                "running_var": var[step],
                "num_batches_tracked": torch.tensor(0),
            }
        )

    def slow_step(x: Tensor, y: Tensor, step: int) -> None:
        slowly_descended(
            lambda: functional.cross_entropy(twin(x), y),
            {name: twin.get_parameter(name) for name in MOVING},
            lambda name, g, _: learner.rates[step][MOVING.index(name)] * g,
            steps=1,
        )

    def restart() -> None:
        with torch.no_grad():
            for name in MOVING:
                twin.get_parameter(name).copy_(learner.model.get_parameter(name))

    means, variances = torch.zeros(steps, 2).double(), torch.ones(steps, 2).double()
    for x, y, qx, _ in each_task():
        restart()
        for step in range(steps):
            exchange(step, means, variances)
            slow_step(x, y, step)
            if multi_step_for or step == steps - 1:
                twin(qx)
            means[step], variances[step] = plain.running_mean, plain.running_var
    torch.testing.assert_close(layer.running_mean, means, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(layer.running_var, variances, rtol=1e-9, atol=1e-12)
    assert layer.num_batches_tracked.tolist() == [TASKS * (2 if multi_step_for else 1)] * 2 + [2 * TASKS]

    twin.eval()
    support_x, support_y, query_x, _ = tasks()
    found = learner.eval().adapt(support_x, support_y)(query_x)
    for task, (x, y, qx, _) in enumerate(each_task()):
        restart()
        for step in range(steps):
            exchange(step, means, variances)
            slow_step(x, y, step)
        torch.testing.assert_close(found[task], twin(qx).detach(), rtol=1e-9, atol=1e-12)


def test_strategies_agree() -> None:
    check_strategies(
        lambda strategy: disturbed(
            MAMLPlusPlus(batch_norm_net(), RATE, 2, multi_step_for=4, first_order_for=1, strategy=strategy)
        )
    )


def test_tasks_that_write_running_statistics_go_one_after_the_other() -> None:
    def results(strategy: Strategy) -> list[Tensor]:
        learner = MAMLPlusPlus(batch_norm_net(running_stats=True), RATE, 2, strategy=strategy)
        learner.meta_loss(*tasks())[0].backward()
        return [*learner.buffers(), *(parameter.grad for parameter in learner.parameters())]

    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        automatic = results("auto")
    finally:
        torch.set_num_threads(cores)
    assert all(torch.equal(*pair) for pair in zip(automatic, results("loop"), strict=True))
    for strategy in ("threads", "together"):
        with pytest.raises(UsageError, match=f"^MAMLPlusPlus was asked for strategy = '{strategy}', but its model"):
            results(strategy)


@pytest.mark.parametrize("promise", list(PROMISES))
def test_it_keeps_the_promises_of_every_learner(promise: str) -> None:
    PROMISES[promise](MAMLPlusPlus(picture_net(), lr=0.1, steps=2))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("track", [True, False])
def test_a_set_of_the_layer_is_a_layer(momentum: float | None, affine: bool, track: bool) -> None:
    plain = nn.BatchNorm2d(2, momentum=momentum, affine=affine, track_running_stats=track).eval()
    if track:
        plain.running_mean += 1
    layer = PerStepBatchNorm(plain, sets=3)
    assert not layer.training
    assert layer.step == 2
    generator = torch.Generator().manual_seed(0)
    for mode in (False, True, True, False):
        x = torch.randn(4, 2, 3, 3, generator=generator)
        layer.step = 1
        torch.testing.assert_close(layer.train(mode)(x), plain.train(mode)(x))
    for name, tensor in plain.state_dict().items():
        own = layer.state_dict()[name]
        torch.testing.assert_close(own[1], tensor)
        if name.startswith(("running", "num")):
            assert not torch.equal(own[0].float(), tensor.float())


def test_a_layer_in_two_places_stays_one() -> None:
    shared = nn.BatchNorm1d(6)
    model = nn.Sequential(nn.Flatten(), shared, nn.Linear(6, 6), shared, nn.Linear(6, 3)).double()
    MAMLPlusPlus(model, RATE, steps=2)
    assert isinstance(model[1], PerStepBatchNorm)
    assert model[1] is model[3]


def test_it_refuses_in_words() -> None:
    def build(net: Callable[[], Net] = small_net, steps: int = 2, **settings: object) -> MAMLPlusPlus:
        return MAMLPlusPlus(net(), RATE, steps, **settings)

    twice = batch_norm_net()
    MAMLPlusPlus(twice, RATE, steps=2)
    refused = {
        "MAMLPlusPlus was asked for steps = 0; give at least 1": lambda: build(steps=0),
        "MAMLPlusPlus was asked for multi_step_for = -1 and first_order_for = 0; give numbers of outer steps of at "
        "least 0": lambda: build(multi_step_for=-1),
        "MAMLPlusPlus was asked for checkpoint = True, but its loss needs the graph of all steps at once; leave it "
        "out": lambda: build(checkpoint=True),
        "MAMLPlusPlus was given a Net whose BatchNorm layers are per step already; give a fresh one": lambda: build(
            lambda: twice
        ),
        "MAMLPlusPlus was asked for lr = 0; give a rate above 0": lambda: MAMLPlusPlus(small_net(), lr=0),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
