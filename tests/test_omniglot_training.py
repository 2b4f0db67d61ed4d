"""Short training runs on the real Omniglot, from the store to the report; for `make test-all`."""

from pathlib import Path

import pytest

from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.run import evaluate
from l2l_core.training import build_learner, train


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "episodes", "least"),
    [("protonet", 120, 0.92), ("maml", 4000, 0.80), ("fomaml", 4000, 0.75)],
)
def test_a_few_minutes_of_training_go_far(omniglot_home: Path, method: str, episodes: int, least: float) -> None:
    benchmark = load_benchmark("omniglot-5w1s", root=omniglot_home)
    before = evaluate(benchmark, build_learner(benchmark, method), 200)
    learner, _ = train(benchmark, method, episodes=episodes, seed=0)
    after = evaluate(benchmark, learner, 200)
    assert after.episodes_digest == before.episodes_digest
    assert after.accuracy - after.ci95 > least > before.accuracy
