"""Evaluation on embeddings gives what evaluation on pictures does, and is left where it would not."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from l2l_core.algorithms import MAMLLearner, Predictor, ProtoNet
from l2l_core.data.augment import RandomFlip
from l2l_core.data.datasets import load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.meta import OnDeviceDataset
from l2l_core.evaluation import embedded, run
from l2l_core.evaluation.embedded import embeddings_of, embeds_once, logits_on_embeddings
from l2l_core.nn import Conv4, ConvClassifier

EPISODES = 40


@pytest.fixture
def generator(glyphs_home: Path) -> TaskGenerator:
    return TaskGenerator(load_dataset("glyphs", "validation", root=glyphs_home), 5, 2, 6, seed=3)


@pytest.fixture
def learner() -> ProtoNet:
    torch.manual_seed(0)
    return ProtoNet(Conv4(hidden=8)).eval()


def test_the_logits_are_those_of_the_pictures(generator: TaskGenerator, learner: ProtoNet) -> None:
    with torch.no_grad():
        embeddings = embeddings_of(learner, generator)
        assert embeddings is not None
        assert embeddings.shape == (len(generator.dataset), 8)
        found, labels = logits_on_embeddings(learner, generator, embeddings, range(7, 12))
        episode = generator.batch(range(7, 12))
        expected = learner.adapt(episode.support_x, episode.support_y)(episode.query_x)
    assert torch.equal(labels, episode.query_y)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_accuracies_are_those_of_the_pictures(
    generator: TaskGenerator, learner: ProtoNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "embeds_once", lambda *_: True)
    once = run.accuracies_of(learner, generator, EPISODES)
    monkeypatch.setattr(run, "embeds_once", lambda *_: False)
    assert run.accuracies_of(learner, generator, EPISODES) == once


def test_it_is_done_where_it_is_right_and_pays(generator: TaskGenerator, learner: ProtoNet) -> None:
    many = 1 + len(generator.dataset) // 40
    assert embeds_once(learner, generator, many)
    assert not embeds_once(learner, generator, many - 2)
    together = ProtoNet(Conv4(hidden=8, running_stats=False)).eval()
    assert not embeds_once(together, generator, many), "BatchNorm takes the batch's statistics"
    assert not embeds_once(ProtoNet(Conv4(hidden=8), norm="batch").eval(), generator, many)
    assert not embeds_once(learner.train(), generator, many)
    assert not embeds_once(MAMLLearner(ConvClassifier(Conv4(hidden=8), 5), 0.1, 1).eval(), generator, many)
    learner.eval()
    form = generator.ways, generator.shots, generator.queries
    assert not embeds_once(learner, TaskGenerator(generator.dataset, *form, augmentations=[RandomFlip()]), many)
    assert embeds_once(learner, TaskGenerator(OnDeviceDataset(generator.dataset, "cpu"), *form), many)

    class Noisy(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 80

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.rand(1, 28, 28), index % 5

    assert not embeds_once(learner, TaskGenerator(Noisy(), *form), 1000)


def test_embeddings_that_are_too_large_are_not_kept(
    generator: TaskGenerator, learner: ProtoNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run.accuracies_of(learner, generator, EPISODES)
    monkeypatch.setattr(embedded, "_NUMBERS", 8 * len(generator.dataset) - 1)
    with torch.no_grad():
        assert embeddings_of(learner, generator) is None
    monkeypatch.setattr(run, "embeds_once", lambda *_: True)
    assert run.accuracies_of(learner, generator, EPISODES) == expected


def test_a_backbone_of_maps_is_flattened(generator: TaskGenerator) -> None:
    torch.manual_seed(0)
    learner = ProtoNet(nn.Conv2d(1, 2, 5, stride=4)).eval()
    with torch.no_grad():
        embeddings = embeddings_of(learner, generator)
    assert embeddings is not None
    assert embeddings.shape == (len(generator.dataset), 2 * 6 * 6)


def test_whoever_adapts_or_embeds_otherwise_is_evaluated_so(generator: TaskGenerator) -> None:
    class Constant(ProtoNet):
        def adapt(self, support_x: torch.Tensor, support_y: torch.Tensor) -> Predictor:
            return lambda query_x: torch.eye(5)[0].expand(*query_x.shape[:2], 5)

    class Centred(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(dim=0)

    assert not embeds_once(Constant(Conv4(hidden=8)).eval(), generator, 10_000)
    assert set(run.accuracies_of(Constant(Conv4(hidden=8)), generator, 400)) == {0.2}
    foreign = ProtoNet(nn.Sequential(Conv4(hidden=8), Centred())).eval()
    assert not foreign.embeds_alone
    assert not embeds_once(foreign, generator, 10_000)
    pictures = torch.rand(1, 200, 1, 28, 28)
    with torch.no_grad():
        whole = foreign.backbone(pictures[0])
    torch.testing.assert_close(foreign.embed(pictures[0]), whole)
    assert not ProtoNet(nn.Sequential(Conv4(), nn.Dropout(0.5))).train().embeds_alone


def test_large_embeddings_are_answered_for_fewer_episodes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EMBEDDED_NUMBERS", 3 * 3 * 2 * 6 * 7)
    form = SimpleNamespace(ways=3, queries=2)
    learner = ProtoNet(torch.nn.Linear(6, 6))
    # 3 · 3 · 2 pairs of an episode, of 6 numbers each.
    for numbers, batch in ((6, 7), (3, 14), (6_000, 1)):
        answers = run._answers(learner, form, 300, torch.zeros(40, numbers), hidden=True)  # type: ignore[arg-type]
        assert answers[1] == batch
