"""Relation networks against pairs of maps compared one by one."""

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms.relation import RelationModule, RelationNet, relation_backbone
from l2l_core.errors import UsageError
from tests.algorithms.metric_tasks import TASKS, WAYS, check_meta_gradients, maps, tasks


def comparer(last: nn.Module) -> nn.Module:
    """From pairs of maps [M, 4, 2, 2] to scores."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(3, 1), last)


def slow_scores(learner: RelationNet, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """One task: each query with each class, one pair at a time."""
    support, query = learner.backbone(support_x), learner.backbone(query_x)
    rows = []
    for q in query:
        sums = [sum(s for s, y in zip(support, support_y, strict=True) if y == label) for label in range(WAYS)]
        rows.append(torch.cat([learner.relation(torch.cat([total, q])[None]).reshape(1) for total in sums]))
    return torch.stack(rows)


@pytest.mark.parametrize("objective", ["mse", "cross-entropy"])
def test_scores_and_loss_are_those_of_pairs_one_by_one(objective: str) -> None:
    learner = RelationNet(maps(), comparer(nn.Sigmoid()), objective).double()  # type: ignore[arg-type]
    support_x, support_y, query_x, query_y = tasks()
    logits = learner.adapt(support_x, support_y)(query_x)
    loss, accuracy = learner.meta_loss(support_x, support_y, query_x, query_y)
    errors = []
    for task in range(TASKS):
        scores = slow_scores(learner, support_x[task], support_y[task], query_x[task])
        torch.testing.assert_close(logits[task], scores)
        assert accuracy[task] == (scores.argmax(dim=1) == query_y[task]).double().mean()
        for row, label in zip(scores, query_y[task], strict=True):
            squares = [(row[n] - float(n == label)) ** 2 for n in range(WAYS)]
            errors.append(sum(squares) / WAYS if objective == "mse" else -row.log_softmax(dim=0)[label])
    torch.testing.assert_close(loss, sum(errors) / len(errors))


@pytest.mark.parametrize("objective", ["mse", "cross-entropy"])
def test_meta_gradients_are_those_of_finite_differences(objective: str) -> None:
    last = nn.Sigmoid() if objective == "mse" else nn.Identity()
    # A shift of all logits is nothing to a softmax.
    idle = () if objective == "mse" else ("relation.3.bias",)
    check_meta_gradients(RelationNet(maps(), comparer(last), objective), idle)  # type: ignore[arg-type]


def test_the_papers_modules_fit_each_other() -> None:
    torch.manual_seed(0)
    backbone, relation = relation_backbone(hidden=8), RelationModule(channels=8)
    pictures = torch.rand(6, 1, 28, 28)
    assert backbone(pictures).shape == (6, 8, 5, 5)
    scores = relation(torch.rand(6, 16, 5, 5))
    assert scores.shape == (6, 1)
    assert (0 < scores).all()
    assert (scores < 1).all()

    y = torch.arange(3)[None]
    learner = RelationNet(relation_backbone(hidden=8), RelationModule(channels=8))
    counts = [buffer for name, buffer in learner.named_buffers() if name.endswith("num_batches_tracked")]
    loss, _ = learner.meta_loss(pictures[None, :3], y, pictures[None, 3:], y)
    loss.backward()
    assert all(parameter.grad is not None for parameter in learner.parameters())
    # The statistics of both modules follow a training step, and only that.
    assert [int(count) for count in counts] == [1] * 6
    learner.adapt(pictures[None, :3], y)(pictures[None, 3:])
    assert [int(count) for count in counts] == [1] * 6


@pytest.mark.parametrize(("size", "numbers"), [((5, 5), 8), ((8, 4), 16), ((2, 3), 8), ((1, 3), 24)])
def test_the_relation_module_halves_maps_while_it_can(size: tuple[int, int], numbers: int) -> None:
    relation = RelationModule(size, channels=8)
    assert relation.classifier[0].in_features == numbers
    assert relation(torch.rand(2, 16, *size)).shape == (2, 1)


def test_embeddings_are_maps_that_fit_and_its_head_take() -> None:
    learner = RelationNet(maps(), comparer(nn.Sigmoid())).double().eval()
    support_x, support_y, query_x, _ = tasks()
    support = torch.stack([learner.embed(x) for x in support_x])
    query = torch.stack([learner.embed(x) for x in query_x])
    assert support.shape == (TASKS, 7, 2, 2, 2)
    logits = learner.fit(support, support_y, WAYS)(query)
    torch.testing.assert_close(logits.detach(), learner.adapt(support_x, support_y)(query_x))
    # A relation module that normalises over its batch keeps company, whatever the backbone does.
    assert learner.embeds_alone
    relation = nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False), comparer(nn.Sigmoid()))
    assert not RelationNet(maps(), relation).eval().embeds_alone


def test_what_cannot_be_is_refused_in_words() -> None:
    support_x, support_y, query_x, _ = (part.float() if part.is_floating_point() else part for part in tasks())
    flat = RelationNet(nn.Flatten(), nn.Identity())
    many = RelationNet(maps(), nn.Flatten())
    refused = {
        "RelationNet was asked for objective = 'mae'; choose 'mse', 'cross-entropy'": lambda: RelationNet(
            maps(),
            nn.Identity(),
            "mae",  # type: ignore[arg-type]
        ),
        "RelationNet compares maps [M, D, h, w], but its backbone gives [14, 16]; give one that does not flatten them, "
        "such as relation_backbone()": lambda: flat.adapt(support_x, support_y),
        "the relation module gave [30, 16] for 30 pairs of maps; let it give one score for each": lambda: many.adapt(
            support_x, support_y
        )(query_x),
        "RelationModule was asked for maps of 0×5, channels = 64 and hidden = 8; give at least 1 of each": lambda: (
            RelationModule((0, 5))
        ),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
