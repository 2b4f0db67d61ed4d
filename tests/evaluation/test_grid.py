"""Accuracy against ways and shots, each cell an evaluation of its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms.learner import Predictor
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import UsageError
from l2l_core.evaluation import grid, run
from l2l_core.evaluation.grid import accuracy_grid
from l2l_core.evaluation.report import GridCell
from l2l_core.evaluation.run import evaluate
from l2l_core.nn import Conv4
from tests.opened import open_small
from tests.small import SmallData


class _ThreeHeads(ProtoNet):
    """Has a head of three ways."""

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        if int(support_y.max()) != 2:
            raise UsageError("built for 3 ways")
        return super().adapt(support_x, support_y)


@pytest.fixture
def benchmark(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    return open_small(small, monkeypatch)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 2, bias=False))


def test_each_cell_is_an_evaluation_and_what_cannot_be_is_left_out(benchmark: Benchmark) -> None:
    # Three test classes of 8 examples: no 4 ways, and beside 3 queries no 6 shots.
    learner = ProtoNet(_net())
    cells = accuracy_grid(benchmark, learner, (2, 4), (1, 5, 6), 8, seed=3)
    assert [(cell.ways, cell.shots) for cell in cells] == [(n, k) for n in (2, 3) for k in (1, 2, 5)]
    for cell in cells:
        form = {"ways": cell.ways, "shots": cell.shots}
        report = evaluate(replace(benchmark, record=replace(benchmark.record, **form)), learner, 8, 3)
        assert cell == GridCell(cell.ways, cell.shots, report.accuracy, report.ci95)
    assert learner.training


def test_a_head_of_fixed_ways_has_one_line(benchmark: Benchmark) -> None:
    cells = accuracy_grid(benchmark, _ThreeHeads(_net()), (2, 3), (1, 2), 4)
    assert [(cell.ways, cell.shots) for cell in cells] == [(3, 1), (3, 2)]


def test_examples_are_embedded_once_for_all_cells(benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    learner = ProtoNet(Conv4(hidden=2))
    calls: list[Tensor | None] = []

    def counted(*arguments: Any) -> Tensor | None:
        calls.append(run.embedded_once(*arguments))
        return calls[-1]

    monkeypatch.setattr(grid, "embedded_once", counted)
    cells = accuracy_grid(benchmark, learner, (2, 3), (1, 2), 40)
    ((examples, _),) = [embeddings.shape for embeddings in calls if embeddings is not None]
    assert (len(calls), examples) == (1, 24)
    monkeypatch.setattr(grid, "embedded_once", lambda *_: None)
    monkeypatch.setattr(run, "embeds_once", lambda *_: False)
    assert accuracy_grid(benchmark, learner, (2, 3), (1, 2), 40) == cells


def test_a_protocol_without_one_form_has_no_grid(benchmark: Benchmark) -> None:
    varying = replace(benchmark, record=replace(benchmark.record, kind="variable"))
    with pytest.raises(UsageError) as caught:
        accuracy_grid(varying, ProtoNet(_net()))
    assert str(caught.value) == ("the episodes of small-3w2s vary in ways and shots themselves; leave the grid out")
