"""The real headlines: every baseline runs on them, and the weights that travel with the package do what they say."""

from pathlib import Path

import pytest

from l2l_core.catalog import open_catalog, read_card
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.run import evaluate
from l2l_core.training.build import build_learner
from l2l_core.training.weights import load_weights, zoo_weights

# What each reaches over 10,000 episodes on GloVe's vectors, metadata/results/paired/news-journals-5w5s.csv. The nets on
# top of them are trained by other tests.
REACHED = {
    row.run.removeprefix("glove-"): row
    for row in open_catalog([]).paired_results("news-journals-5w5s")
    if row.run.startswith("glove-") and row.method != "classemes"
}


def test_the_table_holds_every_baseline() -> None:
    baselines = {
        "centroid",
        "centroid-cosine",
        "simpleshot",
        "simpleshot-cosine",
        "1nn",
        "ridge",
        "logistic",
        "finetuned",
    }
    assert set(REACHED) == baselines


@pytest.mark.parametrize("run", REACHED)
def test_a_baseline_reaches_on_vectors_of_words_what_the_table_says(news_home: Path, run: str) -> None:
    row = REACHED[run]
    settings = {"similarity": "cosine"} if run == "simpleshot-cosine" else {}
    news = load_benchmark("news-journals-5w5s", root=news_home)
    learner = build_learner(news, row.method, backbone="glove", settings=settings)
    report = evaluate(news, learner, 100, method=row.method, backbone="glove")
    assert abs(report.accuracy - row.accuracy) < 2 * report.ci95


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["news-journals-5w1s", "news-journals-5w5s"])
def test_the_weights_of_classemes_beat_the_nearest_centroid(news_home: Path, benchmark: str) -> None:
    news = load_benchmark(benchmark, root=news_home)
    plain = build_learner(news, "simpleshot", backbone="minilm", settings={"similarity": "cosine"})
    path = zoo_weights(benchmark, "classemes")
    learner = build_learner(news, "classemes", backbone="minilm", settings=read_card(path)["learner"])
    load_weights(path, learner, news, "classemes")
    found = [evaluate(news, each, 2000, backbone="minilm") for each in (learner, plain)]
    rows = open_catalog([]).paired_results(benchmark)
    reached = next(row for row in rows if row.run == "minilm-classemes-0")
    assert abs(found[0].accuracy - reached.accuracy) < 2 * found[0].ci95
    assert found[0].accuracy - found[1].accuracy == pytest.approx(reached.difference, abs=0.005)
