"""Classemes against a slow computation, what its training learns, and what is left where nothing of it counts."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from l2l_core.algorithms.classemes import Classemes, Directions
from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.algorithms.simple_shot import SimpleShot
from l2l_core.errors import UnknownNameError, UsageError
from tests.algorithms.metric_tasks import WAYS, WIDTH, backbone, check_logits, check_meta_gradients, tasks
from tests.optim.nets import assert_gradients

MEAN = np.array([0.3, -0.2, 0.1, 0.4])
CLASSES, SCALE, SHARE, COMMON = 5, 6.0, 0.7, 0.4


def learner(share: float = SHARE, common: float = COMMON) -> Classemes:
    torch.manual_seed(1)
    made = Classemes(backbone(), WIDTH, CLASSES, SCALE, share, common).double()
    made.base_mean.copy_(torch.from_numpy(MEAN))
    return made


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / math.sqrt(sum(number**2 for number in vector))


def joined(embedding: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """An embedding and its classemes, number by number."""
    centred = unit(embedding - MEAN)
    powers = [math.exp(SCALE * float(centred @ unit(direction))) for direction in directions]
    roots = [math.sqrt(power / sum(powers)) for power in powers]
    return np.array([*centred, *(SHARE * (root - sum(roots) / CLASSES) for root in roots)])


def test_an_example_is_its_embedding_and_the_roots_of_its_probabilities() -> None:
    made = learner()
    embedded_BMD = torch.randn(2, 3, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = made.joined(embedded_BMD).detach().numpy()
    assert found.shape == (2, 3, WIDTH + CLASSES)
    directions = made.classifier.weight.detach().numpy()
    wanted = [[joined(each, directions) for each in task] for task in embedded_BMD.numpy()]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(found[..., WIDTH:].sum(axis=-1), 0, atol=1e-12)


def test_logits_are_those_of_nested_loops() -> None:
    made = learner()
    directions = made.classifier.weight.detach().numpy()

    def nearest(support: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
        ours, theirs = ([joined(each, directions) for each in part] for part in (support, query))
        centroids = [np.mean([x for x, label in zip(ours, labels, strict=True) if label == n], 0) for n in range(WAYS)]
        common = COMMON * sum(centroids) / WAYS
        return np.array([[10 * unit(x - common) @ unit(centroid - common) for centroid in centroids] for x in theirs])

    check_logits(made, nearest)


def test_meta_gradients_are_those_of_finite_differences() -> None:
    check_meta_gradients(learner())


def test_where_nothing_of_it_counts_it_is_simpleshot_by_cosine() -> None:
    support_x, support_y, query_x, _ = tasks()
    plain = SimpleShot(backbone(), WIDTH, CLASSES, similarity="cosine").double().eval()
    plain.base_mean.copy_(torch.from_numpy(MEAN))
    wanted = plain.adapt(support_x, support_y)(query_x)
    # Up to the last digits: the zeros behind an embedding are added up too, in another order.
    torch.testing.assert_close(
        learner(0, 0).eval().adapt(support_x, support_y)(query_x), wanted, rtol=1e-13, atol=1e-13
    )
    for share, common in ((SHARE, 0), (0, COMMON)):
        other = learner(share, common).eval().adapt(support_x, support_y)(query_x)
        assert not torch.allclose(other, wanted, atol=1e-3)


def test_the_example_loss_is_of_cosines_with_the_centred_embedding() -> None:
    made = learner().eval()
    x, y = tasks()[0][0], torch.tensor([0, 4, 2, 1, 1, 3, 0])
    loss, accuracy = made.example_loss(x, y)
    logits = []
    for embedding in made.backbone(x).flatten(1).detach().numpy():
        centred = unit(embedding - MEAN)
        logits.append([SCALE * centred @ unit(row) for row in made.classifier.weight.detach().numpy()])
    torch.testing.assert_close(loss.detach(), functional.cross_entropy(torch.tensor(np.array(logits)), y))
    assert accuracy == (np.argmax(logits, axis=1) == y.numpy()).mean()
    loss.backward()
    assert_gradients(made.parameters(), lambda: made.example_loss(x, y)[0].item())


@pytest.mark.parametrize("pictures", [False, True])
def test_training_lowers_the_loss_and_only_the_directions_of_a_frozen_backbone(pictures: bool) -> None:
    torch.manual_seed(0)
    centres = torch.rand(4, 1, 16, 16) if pictures else torch.randn(4, 12)
    y = torch.arange(40) % 4
    x = centres[y] + 0.1 * torch.randn(40, *centres.shape[1:])
    name = "conv4" if pictures else "minilm"
    made = METHODS["classemes"].build(Setting(2, 1, tuple(centres.shape[1:]), classes=4, backbone=name)).train()
    assert isinstance(made, Classemes)
    names = {name for name, _ in made.named_parameters() if not name.startswith("backbone.")}
    assert names == {"classifier.weight"}
    assert pictures == any(True for _ in made.backbone.parameters())
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    losses = []
    for _ in range(40):
        loss, accuracy = made.example_loss(x, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert accuracy == 1
    assert made.base_batches == 40
    if not pictures:
        torch.testing.assert_close(made.base_mean, x.mean(dim=0))
    logits = made.eval().adapt(x[None, :2], y[None, :2])(x[None, 4:6])
    assert logits.argmax(dim=2).tolist() == [[0, 1]]


def test_a_class_that_is_all_but_impossible_has_a_finite_gradient() -> None:
    made = Classemes(nn.Flatten(), 2, 3, scale=1e4, share=1)
    with torch.no_grad():
        made.classifier.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
    support_x, query_x = torch.eye(2).reshape(1, 2, 2), torch.tensor([[[1.0, 0.01], [0.0, -3.0]]])
    assert made.joined(support_x)[0, 0, 3].exp() > 0
    y = torch.arange(2)[None]
    for loss in (made.meta_loss(support_x, y, query_x, y)[0], made.example_loss(query_x[0], y[0])[0]):
        made.zero_grad()
        loss.backward()
        assert loss.isfinite()
        assert made.classifier.weight.grad is not None
        assert made.classifier.weight.grad.isfinite().all()


def test_directions_tell_by_cosine_alone() -> None:
    directions = Directions(3, 4, 2.0)
    assert [name for name, _ in directions.named_parameters()] == ["weight"]
    embedded = torch.randn(5, 2, 3)
    logits = directions(embedded)
    assert logits.shape == (5, 2, 4)
    torch.testing.assert_close(directions(7 * embedded), logits)
    with torch.no_grad():
        directions.weight.mul_(torch.tensor([[0.5], [1.0], [2.0], [30.0]]))
    torch.testing.assert_close(directions(embedded), logits)
    assert logits.abs().max() <= 2


ADVICE = "give a share of at least 0, and for the common part a number from 0 to below 1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": -0.1}, f"Classemes was asked for share = -0.1 and common = 0.5; {ADVICE}"),
        ({"share": math.nan}, f"Classemes was asked for share = nan and common = 0.5; {ADVICE}"),
        ({"common": 1}, f"Classemes was asked for share = 0.5 and common = 1; {ADVICE}"),
        ({"common": -0.5}, f"Classemes was asked for share = 0.5 and common = -0.5; {ADVICE}"),
        ({"common": math.nan}, f"Classemes was asked for share = 0.5 and common = nan; {ADVICE}"),
        ({"scale": 0}, "scale is 0; give a finite number above 0"),
        ({"scale": math.inf}, "scale is inf; give a finite number above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Classemes(backbone(), WIDTH, CLASSES, **settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    setting = Setting(2, 1, (12,), classes=4, backbone="minilm", settings={"shares": 1})
    with pytest.raises(UnknownNameError) as caught:
        METHODS["classemes"].build(setting)
    assert str(caught.value) == "unknown setting 'shares' of Classemes or its training; did you mean 'share'?"
