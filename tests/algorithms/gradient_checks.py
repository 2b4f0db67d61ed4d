"""Meta-gradients in other ways than the learners': by `torch.func`, and by finite differences of a slow computation."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from l2l_core.algorithms.gradient import GradientLearner
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.over_tasks import Strategy
from tests.algorithms import test_learner
from tests.algorithms.test_maml import TASKS, WAYS, tasks

Tensors = dict[str, Tensor]

# Of fourth order: a loss after several inner steps is too curved for two points to be right to 1e-6.
WIDTH = 1e-3
FOUR_POINTS = ((1 / 12, -2), (-2 / 3, -1), (2 / 3, 1), (-1 / 12, 2))

#: What every learner promises, each a function of a fresh learner for pictures [1, 16, 16] of 5 classes.
PROMISES: dict[str, Callable[[Learner], None]] = {
    **{
        f"leaves itself alone in {mode} mode": partial(
            test_learner.test_adapting_and_predicting_leave_parameters_and_buffers_as_they_were, mode=mode
        )
        for mode in ("train", "eval")
    },
    "keeps no graph in eval mode": (
        test_learner.test_in_eval_mode_no_graph_is_kept_and_the_callers_mode_does_not_matter
    ),
    "gradients pass": test_learner.test_in_train_mode_gradients_pass_through_the_predictor,
    "batch is tasks": test_learner.test_a_batch_of_tasks_is_its_tasks_one_by_one,
    "every parameter has a gradient": test_learner.test_the_meta_loss_has_a_gradient_for_every_parameter,
    "leaves nothing behind": test_learner.test_nothing_is_left_behind,
    "refuses in words": test_learner.test_bad_tensors_are_refused_in_words,
}


class Net(nn.Module):
    """A classifier on features, as learn2learn's models are."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def small_net() -> Net:
    return _drawn(Net(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh()), nn.Linear(4, WAYS)))


def batch_norm_net(running_stats: bool = False) -> Net:
    features = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.BatchNorm2d(2, track_running_stats=running_stats),
        nn.Softplus(),
        nn.Flatten(),
    )
    return _drawn(Net(features, nn.Linear(12, WAYS)))


def picture_net() -> Net:
    """For the promises: with running statistics, in single precision."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten())
    return Net(features, nn.Linear(64, test_learner.WAYS))


def each_task() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    return list(zip(*tasks(), strict=True))


def learned(learner: nn.Module) -> Tensors:
    return {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}


def part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def func_loss(model: nn.Module, tensors: Tensors, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(functional_call(model, tensors, (x,)), y)


def descended(
    loss: Callable[[Tensors, int], Tensor],
    params: Tensors,
    update: Callable[[str, Tensor, int], Tensor],
    steps: int,
    first_order: bool,
) -> Sequence[Tensors]:
    """The parameters after each of `steps` steps, and before, by torch.func."""
    path = [params]
    for step in range(steps):
        gradients = torch.func.grad(loss)(params, step)
        if first_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        params = {name: value - update(name, gradients[name], step) for name, value in params.items()}
        path.append(params)
    return path


def slowly_descended(
    loss: Callable[[], Tensor], params: Tensors, update: Callable[[str, Tensor, int], Tensor], steps: int
) -> None:
    """Nothing; the leaves in `params` have taken the steps in place."""
    for step in range(steps):
        gradients = torch.autograd.grad(loss(), list(params.values()))
        with torch.no_grad():
            for (name, parameter), gradient in zip(params.items(), gradients, strict=True):
                parameter -= update(name, gradient, step)


def check_meta_gradients(
    learner: GradientLearner, by_func: Callable[[Tensors], Tensor], slow: Callable[[Tensors], float] | None = None
) -> None:
    """The learner's loss and gradients are those of both functions of its parameters.

    Args:
        learner: in train mode.
        by_func: the meta-loss, which torch.func can differentiate.
        slow: the same without a graph, for finite differences; None for gradients that are of first order.
    """
    theta = learned(learner)
    loss, _ = learner.meta_loss(*tasks())
    loss.backward()
    found = {name: parameter.grad for name, parameter in learner.named_parameters()}
    expected = torch.func.grad(by_func)(theta)
    assert loss.item() == pytest.approx(by_func(theta).item(), rel=1e-12)
    for name in theta:
        assert expected[name].norm() > 1e-4, name
        assert (found[name] - expected[name]).norm() < 1e-9 * expected[name].norm(), name

    if slow is None:
        return
    assert loss.item() == pytest.approx(slow(theta), rel=1e-12)
    generator = torch.Generator().manual_seed(0)
    for name, value in theta.items():
        direction = torch.randn(value.shape, dtype=value.dtype, generator=generator)
        slope = sum(
            weight * slow({**theta, name: value + distance * WIDTH * direction}) / WIDTH
            for weight, distance in FOUR_POINTS
        )
        # relative to the gradient's length, which bounds what any direction can show
        assert abs((found[name] * direction).sum().item() - slope) < 1e-6 * found[name].norm().item(), name


def check_descent(
    learner: GradientLearner, update: Callable[[Tensors, str, Tensor, int], Tensor], steps: int, first_order: bool
) -> None:
    """As `check_meta_gradients`, of a learner whose model takes steps from where it is.

    Args:
        learner: in train mode.
        update: the learner's parameters, a name of the model's, its inner gradient, and the step to what is subtracted.
        steps, first_order: of the learner.
    """
    model, moving = learner.model, learner.moving

    def by_func(theta: Tensors) -> Tensor:
        model_theta = part(theta, "model.")

        def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            def loss(params: Tensors, step: int) -> Tensor:
                return func_loss(model, {**model_theta, **params}, support_x, support_y)

            start = {name: model_theta[name] for name in moving}
            params = descended(loss, start, partial(update, theta), steps, first_order)[-1]
            return func_loss(model, {**model_theta, **params}, query_x, query_y)

        return mean_over_tasks(of_task)

    def slow(theta: Tensors) -> float:
        def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            twin = copy.deepcopy(model)
            twin.load_state_dict(part(theta, "model."))
            slowly_descended(
                lambda: functional.cross_entropy(twin(support_x), support_y),
                {name: twin.get_parameter(name) for name in moving},
                partial(update, theta),
                steps,
            )
            return functional.cross_entropy(twin(query_x), query_y).detach()

        return mean_over_tasks(of_task).item()

    check_meta_gradients(learner, by_func, None if first_order else slow)


def check_strategies(build: Callable[[Strategy], GradientLearner]) -> None:
    """The loss, the gradients and the predictions are the same whichever way tasks share the device."""
    loop, together = _results(build("loop")), _results(build("together"))
    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = _results(build("threads"))
    finally:
        torch.set_num_threads(cores)
    for other in (together, threads):
        for name, expected in loop.items():
            torch.testing.assert_close(other[name], expected, rtol=1e-9, atol=1e-12)


def _results(learner: GradientLearner) -> Tensors:
    support_x, support_y, query_x, query_y = tasks()
    loss, accuracy = learner.meta_loss(support_x, support_y, query_x, query_y)
    loss.backward()
    learner.eval()
    return {
        "loss": loss.detach(),
        "accuracy": accuracy,
        "logits": learner.adapt(support_x, support_y)(query_x),
        **{name: parameter.grad for name, parameter in learner.named_parameters()},
    }


def mean_over_tasks(of_task: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    return torch.stack([of_task(*task) for task in each_task()]).sum() / TASKS


def _drawn(net: Net) -> Net:
    torch.manual_seed(0)
    for parameter in net.double().parameters():
        nn.init.normal_(parameter, std=0.7)
    return net
