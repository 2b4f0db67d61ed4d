"""What the metric methods promise besides what every learner does: embedding first, and their policies."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms.baseline import Baseline, BaselinePlusPlus
from l2l_core.algorithms.learner import Learner
from l2l_core.algorithms.matching import MatchingNet
from l2l_core.algorithms.meta_opt_net import MetaOptNet, MetaOptNetRidge
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.algorithms.r2d2 import LRD2, R2D2
from l2l_core.algorithms.relation import RelationNet
from l2l_core.algorithms.simple_shot import NearestNeighbour, SimpleShot
from tests.algorithms import test_learner as promises

WIDTH, CLASSES = 16, 7


def maps() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=7), nn.BatchNorm2d(4), nn.Softplus())


def vectors() -> nn.Module:
    return nn.Sequential(maps(), nn.Flatten())


def relation() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 3, 1), nn.BatchNorm2d(3), nn.Softplus(), nn.Flatten(), nn.Linear(12, 1), nn.Sigmoid()
    )


LEARNERS: dict[str, Callable[[], Learner]] = {
    "baseline": lambda: Baseline(vectors(), WIDTH, CLASSES, epochs=5),
    "baseline++": lambda: BaselinePlusPlus(vectors(), WIDTH, CLASSES, epochs=5),
    "lr-d2": lambda: LRD2(vectors()),
    "matching": lambda: MatchingNet(vectors(), learn_scale=True),
    "metaoptnet": lambda: MetaOptNet(vectors(), label_smoothing=0.1),
    "metaoptnet ridge": lambda: MetaOptNetRidge(vectors()),
    "nearest neighbour": lambda: NearestNeighbour(vectors(), WIDTH, CLASSES),
    "protonet": lambda: ProtoNet(vectors(), "euclidean per feature", learn_scale=True),
    "r2-d2": lambda: R2D2(vectors(), lam=0.1, scale=1.0),
    "relation": lambda: RelationNet(maps(), relation()),
    "simple shot": lambda: SimpleShot(vectors(), WIDTH, CLASSES),
}


@pytest.fixture(params=sorted(LEARNERS))
def learner(request: pytest.FixtureRequest) -> Learner:
    torch.manual_seed(0)
    return LEARNERS[request.param]()


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_buffers_stay_whatever_the_policy(learner: Learner, norm: str) -> None:
    learner.norm = norm  # type: ignore[assignment]
    promises.test_adapting_and_predicting_leave_parameters_and_buffers_as_they_were(learner, "eval")
    promises.test_adapting_and_predicting_leave_parameters_and_buffers_as_they_were(learner, "train")


def test_embedding_first_and_predicting_then_is_the_same(learner: Learner) -> None:
    support_x, support_y, query_x, _ = promises.episodes()
    learner.eval()
    assert learner.embeds_alone

    def embedded(pictures: Tensor) -> Tensor:
        flat: Tensor = learner.embed(pictures.flatten(0, 1))
        return flat.reshape(*pictures.shape[:2], *flat.shape[1:])

    with torch.no_grad():
        logits = learner.fit(embedded(support_x), support_y, promises.WAYS)(embedded(query_x))
    torch.testing.assert_close(logits, learner.adapt(support_x, support_y)(query_x), rtol=1e-5, atol=1e-5)


def test_embedding_leaves_buffers_as_they_were_in_train_mode_too(learner: Learner) -> None:
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.train().embed(promises.episodes()[0].flatten(0, 1))
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
