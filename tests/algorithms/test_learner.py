"""What every learner promises, held for each of them by name."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms import METHODS, Learner, MAMLLearner, ProtoNet, Setting, get_method
from l2l_core.algorithms.gradient import GradientLearner
from l2l_core.algorithms.inner_loop import Rule, gradient_step
from l2l_core.algorithms.metric import Head, MetricLearner
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.errors import UsageError

TASKS, WAYS, SHOTS, QUERIES = 3, 5, 1, 2


def episodes(tasks: int = TASKS, size: int = 16, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    support_y = torch.arange(WAYS).repeat_interleave(SHOTS).repeat(tasks, 1)
    query_y = torch.arange(WAYS).repeat_interleave(QUERIES).repeat(tasks, 1)
    support_x = torch.rand(tasks, WAYS * SHOTS, 1, size, size, generator=generator)
    query_x = torch.rand(tasks, WAYS * QUERIES, 1, size, size, generator=generator)
    return support_x, support_y, query_x, query_y


def with_running_stats() -> MAMLLearner:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, WAYS))
    return MAMLLearner(model, lr=0.1, steps=2)


LEARNERS: dict[str, Callable[[], Learner]] = {
    name: lambda name=name: get_method(name).build(Setting(WAYS, SHOTS, (1, 16, 16), classes=6)) for name in METHODS
} | {"maml with running statistics": with_running_stats}


def of_episodes(learner: Learner) -> list[nn.Parameter]:
    """The parameters that episodes train: all but a classifier of the training classes."""
    aside = set(learner.classifier.parameters()) if isinstance(learner, PretrainedLearner) else set()
    return [parameter for parameter in learner.parameters() if parameter not in aside]


@pytest.fixture(params=sorted(LEARNERS))
def learner(request: pytest.FixtureRequest) -> Learner:
    torch.manual_seed(0)
    return LEARNERS[request.param]()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_adapting_and_predicting_leave_parameters_and_buffers_as_they_were(learner: Learner, mode: str) -> None:
    support_x, support_y, query_x, _ = episodes()
    learner.train(mode == "train")
    parameters, before = list(learner.parameters()), {k: v.clone() for k, v in learner.state_dict().items()}
    first = learner.adapt(support_x, support_y)
    first_logits = first(query_x)
    learner.adapt(1 - support_x, support_y)(1 - query_x)  # other tasks in between
    assert torch.equal(first(query_x), first_logits)
    assert torch.equal(learner.adapt(support_x, support_y)(query_x), first_logits)

    assert all(now is then for now, then in zip(learner.parameters(), parameters, strict=True))
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state_dict().items())
    assert all(parameter.grad is None and parameter.is_leaf for parameter in learner.parameters())
    assert learner.training is (mode == "train")
    assert first_logits.shape == (TASKS, WAYS * QUERIES, WAYS)


def test_in_eval_mode_no_graph_is_kept_and_the_callers_mode_does_not_matter(learner: Learner) -> None:
    support_x, support_y, query_x, _ = episodes()
    learner.eval()
    expected = learner.adapt(support_x, support_y)(query_x)
    assert not expected.requires_grad
    with torch.no_grad():
        assert torch.equal(learner.adapt(support_x, support_y)(query_x), expected)
    with torch.inference_mode():
        made_here = support_x.clone()
        assert torch.equal(learner.adapt(made_here, support_y.clone())(query_x.clone()), expected)
        assert not torch.is_grad_enabled()


def test_in_train_mode_gradients_pass_through_the_predictor(learner: Learner) -> None:
    support_x, support_y, query_x, _ = episodes()
    learner.adapt(support_x, support_y)(query_x).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in of_episodes(learner))
    with torch.no_grad():
        assert not learner.adapt(support_x, support_y)(query_x).requires_grad


def test_a_batch_of_tasks_is_its_tasks_one_by_one(learner: Learner) -> None:
    support_x, support_y, query_x, query_y = episodes()
    learner.eval()  # a prototypical network in train mode normalises over the whole batch, by design
    together = learner.adapt(support_x, support_y)(query_x)
    loss, accuracy = learner.meta_loss(support_x, support_y, query_x, query_y)
    losses = []
    for task in range(TASKS):
        one = slice(task, task + 1)
        alone = learner.adapt(support_x[one], support_y[one])(query_x[one])
        torch.testing.assert_close(alone[0], together[task], rtol=1e-4, atol=1e-4)
        task_loss, task_accuracy = learner.meta_loss(support_x[one], support_y[one], query_x[one], query_y[one])
        losses.append(task_loss)
        assert torch.equal(task_accuracy[0], accuracy[task])
        assert accuracy[task] == (together[task].argmax(dim=1) == query_y[task]).float().mean()
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-4)


def test_the_meta_loss_has_a_gradient_for_every_parameter(learner: Learner) -> None:
    loss, accuracy = learner.meta_loss(*episodes())
    assert loss.shape == ()
    assert accuracy.shape == (TASKS,)
    assert accuracy.dtype == torch.float32
    assert not accuracy.requires_grad
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in of_episodes(learner))
    with torch.no_grad():
        without_graph, _ = learner.meta_loss(*episodes())
    assert not without_graph.requires_grad


def test_nothing_is_left_behind(learner: Learner) -> None:
    def tensors_alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    def work() -> None:
        support_x, support_y, query_x, query_y = episodes(tasks=1)
        loss, _ = learner.train().meta_loss(support_x, support_y, query_x, query_y)
        loss.backward()
        learner.zero_grad()
        learner.eval().adapt(support_x, support_y)(query_x)

    work()
    before = tensors_alive()
    for _ in range(3):
        work()
    assert tensors_alive() == before


def test_bad_tensors_are_refused_in_words(learner: Learner) -> None:
    x, y, qx, qy = episodes()
    lacks_four = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 3, 3], [0, 1, 2, 3, 4]])
    refused = {
        "support_x must be [tasks, examples, …], of pictures [tasks, examples, C, H, W], but has shape [5, 16]; add "
        "the missing axes, for one task with x[None]": (x[0, :, 0, 0], y, qx, qy),
        "support_y has shape [3, 5], but its inputs come as [5, 1] [tasks, examples]; give one label for each, and a "
        "single task as x[None], y[None]": (x[0], y, qx, qy),
        "support_x has shape [3, 0, 1, 16, 16] and holds no example; give at least one a task": (x[:, :0], y, qx, qy),
        "support_x must be floating point, but is torch.uint8; convert it, as in x.float() / 255": (
            (x * 255).byte(),
            y,
            qx,
            qy,
        ),
        "support_y has shape [5], but its inputs come as [3, 5] [tasks, examples]; give one label for each, and a "
        "single task as x[None], y[None]": (x, y[0], qx, qy),
        "support_y must be int64, but is torch.float32; convert it with y.long()": (x, y.float(), qx, qy),
        "the support labels run from -1 to 3, but 4 ways are numbered 0..3; renumber them within each task": (
            x,
            y - 1,
            qx,
            qy,
        ),
        "class 4 of 0..4 has no support example in task 1 of the batch; give at least one of each class, or renumber "
        "the labels": (x, lacks_four, qx, qy),
        "query_x must be [tasks, examples, …], of pictures [tasks, examples, C, H, W], but has shape [10, 16]; add the "
        "missing axes, for one task with x[None]": (x, y, qx[0, :, 0, 0], qy),
        "query_x holds pictures [1, 16, 14], but support_x [1, 16, 16]; give pictures of one size": (
            x,
            y,
            qx[..., :14],
            qy,
        ),
        "query_x holds 2 tasks, but support_x holds 3; give a query set for each support set": (x, y, qx[:2], qy),
        "query_y has shape [3, 9], but its inputs come as [3, 10] [tasks, examples]; give one label for each, and a "
        "single task as x[None], y[None]": (x, y, qx, qy[:, :9]),
        "query_y must be int64, but is torch.int32; convert it with y.long()": (x, y, qx, qy.int()),
        "the query labels run from 0 to 5, but the support has the classes 0..4; number both in the same way": (
            x,
            y,
            qx,
            qy + (qy == 4),
        ),
    }
    for message, (support_x, support_y, query_x, query_y) in refused.items():
        with pytest.raises(UsageError) as error:
            learner.meta_loss(support_x, support_y, query_x, query_y)
        assert str(error.value) == message
        if message.startswith(("support", "class", "the support")):
            with pytest.raises(UsageError) as error:
                learner.adapt(support_x, support_y)
            assert str(error.value) == message
        elif message.startswith("query_x"):
            with pytest.raises(UsageError) as error:
                learner.adapt(support_x, support_y)(query_x)
            assert str(error.value) == message


class SyntheticTasks:
    """Pictures of 4×4 pixels, 4 of which tell the classes apart, while the others are louder noise."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def batch(self, tasks: int, queries: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        centres = self.normal(tasks, WAYS, 1, 4)

        def draw(count: int) -> tuple[Tensor, Tensor]:
            informative = centres + 0.2 * self.normal(tasks, WAYS, count, 4)
            pixels = torch.cat([informative, 1.5 * self.normal(tasks, WAYS, count, 12)], dim=-1)
            labels = torch.arange(WAYS).repeat_interleave(count).repeat(tasks, 1)
            return pixels.reshape(tasks, WAYS * count, 1, 4, 4), labels

        return *draw(SHOTS), *draw(queries)


@pytest.mark.parametrize("method", ["protonet", "maml", "fomaml"])
def test_training_beats_the_untrained_self(method: str) -> None:
    torch.manual_seed(0)
    learner: Learner
    if method == "protonet":
        learner = ProtoNet(nn.Sequential(nn.Flatten(), nn.Linear(16, 16)))
    else:
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, WAYS))
        learner = MAMLLearner(model, lr=1.0, steps=1, test_steps=2, first_order=method == "fomaml")

    def accuracy() -> float:
        support_x, support_y, query_x, query_y = SyntheticTasks(seed=1).batch(tasks=60, queries=5)
        logits = learner.eval().adapt(support_x, support_y)(query_x)
        return (logits.argmax(dim=-1) == query_y).float().mean().item()

    untrained = accuracy()
    learner.train()
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.01)
    data = SyntheticTasks(seed=2)
    for _ in range(100):
        loss, _ = learner.meta_loss(*data.batch(tasks=6, queries=5))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert accuracy() > untrained + 0.2


class Reader(nn.Module):
    """Token ids [M, L] to what a recurrent network has in mind at their end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.recurrent = nn.Embedding(9, 6), nn.GRU(6, width, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.recurrent(self.words(ids))[1][0]


@pytest.mark.parametrize("kind", ["vectors", "token ids", "sequences"])
def test_inputs_need_not_be_pictures(kind: str) -> None:
    draws = torch.Generator().manual_seed(0)

    def inputs(examples: int) -> Tensor:
        if kind == "token ids":
            return torch.randint(0, 9, (TASKS, examples, 7), generator=draws)
        shape = (4,) if kind == "vectors" else (7, 4)
        return torch.randn(TASKS, examples, *shape, generator=draws)

    def net(width: int) -> nn.Module:
        if kind == "token ids":
            return Reader(width)
        return nn.Sequential(nn.Flatten(), nn.Linear(4 if kind == "vectors" else 28, width))

    _, support_y, _, query_y = episodes()
    batch = inputs(WAYS), support_y, inputs(WAYS * QUERIES), query_y
    torch.manual_seed(0)
    for learner in (MAMLLearner(net(WAYS), lr=0.1, steps=2), ProtoNet(net(8))):
        loss, _ = learner.meta_loss(*batch)
        loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in learner.parameters())
        assert learner.eval().adapt(*batch[:2])(batch[2]).shape == (TASKS, WAYS * QUERIES, WAYS)


def test_a_head_that_gives_no_logits_is_refused() -> None:
    class Echo(MetricLearner):
        def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
            return lambda query_BQD: query_BQD

    learner = Echo(nn.Sequential(nn.Flatten(), nn.Linear(256, 7)))
    support_x, support_y, query_x, query_y = episodes()
    for call in (
        lambda: learner.meta_loss(support_x, support_y, query_x, query_y),
        lambda: learner.adapt(support_x, support_y)(query_x),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == (
            "the head of Echo gave [3, 10, 7] instead of logits [3, 10, 5]; let fit return a function that scores "
            "every way for every query"
        )


def test_a_parameter_to_move_that_is_not_there_is_named() -> None:
    class Typing(GradientLearner):
        def rule(self) -> tuple[Rule[None], None]:
            return gradient_step(0.1), None

    with pytest.raises(UsageError) as error:
        Typing(nn.Linear(2, 2), ("weigth",), 1)
    assert str(error.value) == (
        "Typing was asked to move 'weigth', but Linear has no such parameter; give names of its named_parameters()"
    )
