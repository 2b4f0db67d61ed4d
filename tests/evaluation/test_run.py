"""Evaluation against a slow loop over episodes, and what it leaves behind."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version

import pytest
import torch
from torch import Tensor, nn

from l2l_core.algorithms.learner import Learner, Predictor
from l2l_core.algorithms.protonet import ProtoNet
from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import TaskError, UsageError
from l2l_core.evaluation import run
from l2l_core.evaluation.report import hardware
from l2l_core.evaluation.run import evaluate
from tests.opened import open_small
from tests.small import SmallData

Tensors = tuple[Tensor, Tensor]


class _Fixed(Learner):
    """Gives the same logits whatever it sees, and keeps what it saw."""

    def __init__(self, logits_QN: Tensor) -> None:
        super().__init__()
        self.logits_QN = logits_QN
        self.frozen = nn.Dropout()
        self.seen: list[tuple[bool, bool, Tensor]] = []

    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        self.seen.append((self.training or self.frozen.training, torch.is_grad_enabled(), support_x))
        return lambda query_x: self.logits_QN.expand(len(query_x), -1, -1)

    def meta_loss(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensors:
        raise NotImplementedError


class _Broken(_Fixed):
    def adapt(self, support_x: Tensor, support_y: Tensor) -> Predictor:
        raise ZeroDivisionError


def _knowing(benchmark: Benchmark) -> _Fixed:
    """Labels come in order, so who knows that knows the answer."""
    record = benchmark.record
    return _Fixed(torch.eye(record.ways).repeat_interleave(record.queries, dim=0))


@pytest.fixture
def benchmark_3w2s(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    return open_small(small, monkeypatch)


def _slow_product(rows: Tensor, weights: Tensor) -> list[list[float]]:
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in weights.tolist()] for row in rows.tolist()
    ]


def _slow_accuracy(support: list[list[float]], labels: list[int], query: list[list[float]], truth: list[int]) -> float:
    """The accuracy of the nearest mean, number by number."""
    means = []
    for label in sorted(set(labels)):
        rows = [row for row, its_label in zip(support, labels, strict=True) if its_label == label]
        means.append([sum(column) / len(rows) for column in zip(*rows, strict=True)])
    correct = 0
    for row, its_label in zip(query, truth, strict=True):
        distances = [sum((a - b) ** 2 for a, b in zip(row, mean, strict=True)) for mean in means]
        correct += distances.index(min(distances)) == its_label
    return correct / len(query)


def test_accuracies_are_those_of_a_slow_loop_over_single_episodes(benchmark_3w2s: Benchmark) -> None:
    episodes = 37  # two full batches and a part
    torch.manual_seed(0)
    projection = nn.Linear(16 * 16, 2, bias=False)  # two numbers a picture are too few to be always right
    report = evaluate(benchmark_3w2s, ProtoNet(nn.Sequential(nn.Flatten(), projection)), episodes, seed=5)
    generator = benchmark_3w2s.episodes(seed=5)
    slow = []
    for number in range(episodes):
        support_x, support_y, query_x, query_y = generator[number]
        embedded = [_slow_product(pictures.flatten(1), projection.weight) for pictures in (support_x, query_x)]
        slow.append(_slow_accuracy(embedded[0], support_y.tolist(), embedded[1], query_y.tolist()))
    assert 0 < min(slow) < max(slow)
    assert report.accuracies == pytest.approx(slow)
    assert report.accuracy == pytest.approx(sum(slow) / episodes)


def test_who_knows_the_answer_gets_1_and_a_constant_gets_exactly_chance(benchmark_3w2s: Benchmark) -> None:
    knowing = evaluate(benchmark_3w2s, _knowing(benchmark_3w2s))
    constant = evaluate(benchmark_3w2s, _Fixed(torch.tensor([0.0, 1.0, 0.0]).expand(9, 3)))
    assert (knowing.accuracy, knowing.ci95, knowing.accuracies) == (1.0, 0.0, (1.0,) * 20)
    assert (constant.accuracy, constant.ci95) == (pytest.approx(1 / 3), pytest.approx(0.0, abs=1e-12))


def test_the_protocol_gives_what_nobody_says(benchmark_3w2s: Benchmark) -> None:
    report = evaluate(benchmark_3w2s, _knowing(benchmark_3w2s))
    assert (report.benchmark, report.dataset, report.split, report.subset) == ("small-3w2s", "small", "own", "test")
    assert (report.ways, report.shots, report.queries, report.episodes, report.seed) == (3, 2, 3, 20, 7)
    assert (report.method, report.weights) == ("_Fixed", None)
    assert report.versions["torch"] == version("torch")
    assert report.seconds > 0
    assert report == evaluate(benchmark_3w2s, _knowing(benchmark_3w2s), 20, 7).__class__.from_json(report.to_json())


def test_mistakes_are_those_of_a_slow_count(benchmark_3w2s: Benchmark) -> None:
    torch.manual_seed(0)
    learner = ProtoNet(nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 1, bias=False)))
    report = evaluate(benchmark_3w2s, learner, 20)
    generator, names = benchmark_3w2s.episodes(), benchmark_3w2s.dataset().classes
    totals: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for number in range(20):
        support_x, support_y, query_x, query_y = generator[number]
        classes = [names[row] for row in generator.describe([number]).all_classes_BN[0]]
        with torch.no_grad():
            found = learner.adapt(support_x[None], support_y[None])(query_x[None]).argmax(dim=-1)[0]
        for label, its_label in zip(query_y.tolist(), found.tolist(), strict=True):
            totals[classes[label]] += 1
            pairs[classes[label], classes[its_label]] += 1
    assert report.per_class == {name: (pairs[name, name], totals[name]) for name in names}
    wrong = [(*pair, count) for pair, count in pairs.items() if pair[0] != pair[1]]
    assert len(wrong) > 2
    assert sorted(report.confusions) == sorted(wrong)
    counts = [count for _, _, count in report.confusions]
    assert counts == sorted(counts, reverse=True)


def test_the_most_frequent_mistakes_are_kept(benchmark_3w2s: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    constant = _Fixed(torch.tensor([0.0, 1.0, 0.0]).expand(9, 3))
    every = evaluate(benchmark_3w2s, constant).confusions
    monkeypatch.setattr(run, "CONFUSIONS", 2)
    assert evaluate(benchmark_3w2s, constant).confusions == every[:2]
    assert len(every) > 2
    assert evaluate(benchmark_3w2s, _knowing(benchmark_3w2s)).confusions == ()


def test_a_report_says_how_it_was_got(benchmark_3w2s: Benchmark) -> None:
    report = evaluate(benchmark_3w2s, _knowing(benchmark_3w2s), 2, settings={"lr": 0.5}, command="l2l evaluate")
    assert (report.settings, report.command, report.hardware) == ({"lr": 0.5}, "l2l evaluate", hardware())
    today = datetime.now(UTC).date()
    assert today - timedelta(days=1) <= date.fromisoformat(report.date) <= today


def test_every_learner_gets_the_same_episodes(benchmark_3w2s: Benchmark) -> None:
    first, second = _knowing(benchmark_3w2s), _Fixed(torch.zeros(9, 3))
    digests = {evaluate(benchmark_3w2s, learner, 5).episodes_digest for learner in (first, second)}
    assert len(digests) == 1
    assert torch.equal(first.seen[0][2], second.seen[0][2])
    assert torch.equal(first.seen[0][2][3], benchmark_3w2s.episodes()[3].support_x)


def test_the_digest_changes_with_seed_form_and_number(benchmark_3w2s: Benchmark) -> None:
    def digest(episodes: int = 5, seed: int = 7, **form: int) -> str:
        changed = replace(benchmark_3w2s, record=replace(benchmark_3w2s.record, **form))
        return evaluate(changed, _knowing(changed), episodes, seed).episodes_digest

    others = [digest(seed=8), digest(episodes=6), digest(ways=2), digest(shots=3, queries=2), digest(queries=4)]
    assert len({digest(), *others}) == 6
    assert digest() == digest(5, 7)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.full((9, 3), torch.nan), "_Fixed gave logits that are not finite, so its accuracy has no meaning;"),
        (
            torch.zeros(9, 4),
            "_Fixed gave logits [5, 9, 4] instead of [tasks, queries, ways] = [5, 9, 3]; its predictor",
        ),
    ],
)
def test_what_has_no_meaning_gets_no_figure(benchmark_3w2s: Benchmark, logits: Tensor, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate(benchmark_3w2s, _Fixed(logits), 5)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_learner_is_in_evaluation_mode_and_each_part_gets_its_own_mode_back(
    benchmark_3w2s: Benchmark, training: bool, frozen: bool
) -> None:
    for learner in (_knowing(benchmark_3w2s), _Broken(torch.zeros(9, 3))):
        learner.train(training)
        learner.frozen.train(frozen)
        if isinstance(learner, _Broken):
            with pytest.raises(ZeroDivisionError):
                evaluate(benchmark_3w2s, learner, 2)
        else:
            evaluate(benchmark_3w2s, learner, 2)
            assert [seen[:2] for seen in learner.seen] == [(False, False)]
        assert (learner.training, learner.frozen.training) == (training, frozen)


def test_one_episode_is_too_few(benchmark_3w2s: Benchmark) -> None:
    with pytest.raises(UsageError, match="1 episodes were asked for, but an interval needs at least 2; give more"):
        evaluate(benchmark_3w2s, _knowing(benchmark_3w2s), 1)


def test_a_protocol_that_the_data_cannot_give(benchmark_3w2s: Benchmark) -> None:
    wide = replace(benchmark_3w2s, record=replace(benchmark_3w2s.record, ways=4))
    with pytest.raises(TaskError, match="4 ways were asked for, but there are 3 classes; lower the ways"):
        evaluate(wide, _knowing(wide))
