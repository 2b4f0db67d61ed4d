"""Evaluation on episodes of different sizes, against a slow loop over them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.errors import UsageError
from l2l_core.evaluation.report import Report
from l2l_core.evaluation.run import accuracies_of, evaluate


@pytest.fixture
def drawn(glyphs_home: Path) -> Benchmark:
    """The drawn glyphs with Meta-Dataset's episodes."""
    benchmark = load_benchmark("glyphs-5w1s", root=glyphs_home)
    return replace(benchmark, record=replace(benchmark.record, kind="variable", ways=0, shots=0, queries=0))


def test_accuracies_are_those_of_the_nearest_mean(drawn: Benchmark) -> None:
    torch.manual_seed(0)
    embedding = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 3, bias=False))
    learner = ProtoNet(embedding).train()
    report = evaluate(drawn, learner, 6, seed=4)
    assert learner.training
    tasks, slow, ways = drawn.episodes(seed=4), [], set()
    for number in range(6):
        support_x, support_y, query_x, query_y = tasks[number]
        ways.add(int(support_y.max()) + 1)
        means = torch.stack([embedding(support_x[support_y == label]).mean(0) for label in support_y.unique()])
        nearest = torch.cdist(embedding(query_x), means).argmin(dim=1)
        slow.append((nearest == query_y).double().mean().item())
    assert len(ways) > 1
    assert report.accuracies == pytest.approx(slow)
    assert accuracies_of(learner, tasks, 6) == list(report.accuracies)
    assert (report.ways, report.shots, report.queries, report.episodes) == (0, 0, 0, 6)
    assert report.episodes_digest == tasks.digest(6)
    assert Report.from_json(report.to_json()) == report


def test_a_head_of_fixed_ways_says_so(drawn: Benchmark) -> None:
    learner = METHODS["maml"].build(Setting(2, 1))
    with pytest.raises(UsageError) as caught:
        evaluate(drawn, learner, 2)
    assert str(caught.value).startswith("MAMLLearner cannot do episode 0, of ")
    assert "in a protocol whose episodes differ in their ways (the support has " in str(caught.value)
    assert str(caught.value).endswith("); take a method that makes its head of the support set, such as protonet")
