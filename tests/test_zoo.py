"""The trained weights that travel with the package: small, with cards, and as good as these say."""

from pathlib import Path

import pytest

from l2l_core.algorithms.methods import Setting, get_method
from l2l_core.catalog import open_catalog, read_card
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.run import evaluate
from l2l_core.training.build import build_learner
from l2l_core.training.weights import load_weights, read_weights, zoo_weights

CATALOG = open_catalog([])
ZOO = CATALOG.zoo()
MOST_BYTES = 2_000_000


def test_there_are_weights_and_they_are_small() -> None:
    assert {"omniglot-5w1s-protonet", "omniglot-5w1s-maml"} <= set(ZOO)
    assert sum(path.stat().st_size for path in ZOO.values()) < MOST_BYTES


@pytest.mark.parametrize("name", ZOO)
def test_a_card_says_how_its_weights_came_about_and_they_fit(name: str) -> None:
    tensors, card = read_weights(ZOO[name])
    record = CATALOG.benchmark(card["benchmark"])
    assert name == f"{card['benchmark']}-{card['method']}"
    assert card["command"] == f"l2l reproduce {name}"
    assert card["test_episodes"] == record.episodes
    assert 0 < card["ci95"] < 0.005 < 2 / record.ways < card["accuracy"] < 1
    # Of headlines MiniLM's vectors, and Bao et al.'s 20 training classes.
    headlines = record.dataset == "news-journals"
    shape, classes = ((384,), 20) if headlines else ((1, 28, 28), 0)
    setting = Setting(record.ways, record.shots, shape, classes, card["backbone"], card["learner"])
    wanted = get_method(card["method"]).build(setting).state_dict()
    assert {key: value.shape for key, value in tensors.items()} == {key: value.shape for key, value in wanted.items()}


def test_a_row_of_our_results_is_what_the_weights_reach() -> None:
    for path in ZOO.values():
        card = read_card(path)
        rows = {row.method: row for row in CATALOG.own_results(card["benchmark"]) if row.recipe}
        row = rows[card["method"]]
        assert row.episodes_digest == card["episodes_digest"]
        # Sixteen bits instead of 32 change a query here and there.
        assert abs(row.accuracy - card["accuracy"]) < 2e-4


@pytest.mark.parametrize("benchmark", ["omniglot-5w1s", "omniglot-20w5s"])
def test_they_do_what_they_say_on_the_real_thing(omniglot_home: Path, benchmark: str) -> None:
    opened = load_benchmark(benchmark, root=omniglot_home)
    path = zoo_weights(benchmark, "protonet")
    learner = build_learner(opened, "protonet", settings=read_card(path)["learner"])
    load_weights(path, learner, opened, "protonet")
    report = evaluate(opened, learner, 100)
    (row,) = (row for row in CATALOG.own_results(benchmark) if row.method == "protonet")
    assert abs(report.accuracy - row.accuracy) < 2 * report.ci95
