"""SimpleShot and the nearest neighbour against nested loops."""

import numpy as np
import pytest
import torch

from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.algorithms.simple_shot import NearestNeighbour, SimpleShot
from l2l_core.errors import UnknownNameError
from tests.algorithms.metric_tasks import WAYS, WIDTH, backbone, check_logits, check_meta_gradients, tasks

MEAN = np.array([0.3, -0.2, 0.1, 0.4])


def centred(learner: PretrainedLearner) -> PretrainedLearner:
    learner.double().base_mean.copy_(torch.from_numpy(MEAN))
    return learner


def cl2n(x: np.ndarray) -> np.ndarray:
    return np.stack([(row - MEAN) / np.sqrt(((row - MEAN) ** 2).sum()) for row in x])


def nearest_centroid(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    support, query = cl2n(support), cl2n(query)
    centroids = [support[labels == label].mean(axis=0) for label in range(WAYS)]
    return np.array([[-((q - c) ** 2).sum() for c in centroids] for q in query])


def closest_centroid(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    support, query = cl2n(support), cl2n(query)
    centroids = [support[labels == label].mean(axis=0) for label in range(WAYS)]
    return np.array([[10 * (q @ c) / np.sqrt((q @ q) * (c @ c)) for c in centroids] for q in query])


def nearest_example(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    support, query = cl2n(support), cl2n(query)
    return np.array(
        [[max(-((q - s) ** 2).sum() for s in support[labels == label]) for label in range(WAYS)] for q in query]
    )


def test_logits_are_those_of_nested_loops() -> None:
    check_logits(centred(SimpleShot(backbone(), WIDTH, 5)), nearest_centroid)
    check_logits(centred(SimpleShot(backbone(), WIDTH, 5, similarity="cosine")), closest_centroid)
    check_logits(centred(NearestNeighbour(backbone(), WIDTH, 5)), nearest_example)


def test_meta_gradients_are_those_of_finite_differences() -> None:
    for kind in (SimpleShot, NearestNeighbour):
        check_meta_gradients(centred(kind(backbone(), WIDTH, 5)), idle=("classifier",))
    check_meta_gradients(centred(SimpleShot(backbone(), WIDTH, 5, similarity="cosine")), idle=("classifier",))


def test_with_one_shot_distance_and_cosine_decide_alike() -> None:
    support_x, _, query_x, _ = tasks()
    y = torch.arange(7).expand(2, 7)
    learners = (centred(SimpleShot(backbone(), WIDTH, 5, similarity=name)) for name in ("euclidean", "cosine"))
    distances, cosines = (learner.eval().adapt(support_x, y)(query_x) for learner in learners)
    # Of vectors of length 1 the squared distance is 2 minus twice the cosine; the scale of the latter is 10.
    torch.testing.assert_close(cosines / 5 - 2, distances)


def test_an_unknown_similarity() -> None:
    with pytest.raises(UnknownNameError) as caught:
        SimpleShot(backbone(), WIDTH, 5, similarity="cosin")
    assert str(caught.value) == "unknown similarity 'cosin'; did you mean 'cosine'?"


def test_with_one_shot_the_nearest_neighbour_is_simple_shot() -> None:
    support_x, _, query_x, _ = tasks()
    y = torch.arange(7).expand(2, 7)
    simple, nearest = (
        centred(kind(backbone(), WIDTH, 5)).eval().adapt(support_x, y)(query_x)
        for kind in (SimpleShot, NearestNeighbour)
    )
    torch.testing.assert_close(simple, nearest)


def test_a_predictor_keeps_the_base_mean_it_was_made_with() -> None:
    support_x, support_y, query_x, _ = tasks()
    for kind in (SimpleShot, NearestNeighbour):
        learner = centred(kind(backbone(), WIDTH, 5)).eval()
        predict = learner.adapt(support_x, support_y)
        before = predict(query_x)
        learner.base_mean += 1
        assert torch.equal(predict(query_x), before)
        assert not torch.allclose(learner.adapt(support_x, support_y)(query_x), before)
