"""From raw texts and sounds to trained weights and an accuracy, by every method that can."""

import math
from pathlib import Path

import pytest

from l2l_core.algorithms.methods import METHODS, Setting
from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.errors import ContentError, UsageError
from l2l_core.evaluation.run import evaluate
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files
from l2l_core.training import build_learner, load_weights, train
from tests.headlines import open_headlines
from tests.keywords import write_keywords
from tests.training.runs import same_weights, smallest

OF_TEXTS = sorted(set(METHODS) - {"relation-net"})
NOTHING_TO_LEARN = ("matching-net", "protonet")
"""On vectors as they are: theirs is a head without a parameter."""
NOTHING_TO_MOVE = ("boil", "proto-maml")
"""In the inner loop on vectors as they are, where only the backbone's parameters would."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the headlines' catalogue, ``mine``, and a cache that has them and the keywords, ``home``."""
    root = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("L2L_HOME", str(root / "home"))
        catalog = open_catalog([])
        archive = write_keywords(root / "copy.tar.gz")
        import_files(catalog.dataset("speech-commands"), catalog, Cache.at(), [archive])
        open_headlines(root / "mine", patch)
    return root


@pytest.fixture
def news(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """The benchmark ``headlines-3w2s``: 6 training classes of 8 headlines."""
    monkeypatch.setenv("L2L_HOME", str(prepared / "home"))
    monkeypatch.setenv("L2L_CATALOG", str(prepared / "mine"))
    return load_benchmark("headlines-3w2s")


@pytest.fixture
def keywords(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """Speech Commands, 5-way 1-shot, of 16 recordings a word."""
    monkeypatch.setenv("L2L_HOME", str(prepared / "home"))
    return load_benchmark("speech-commands-5w1s")


LESS_WORK = {"reptile": {"test_steps": 3}, "baseline": {"epochs": 5}, "baseline++": {"epochs": 5}}
"""Settings of methods that work long on each test episode."""


def check_trained(benchmark: Benchmark, method: str, backbone: str | None, folder: Path, **ways: int) -> float:
    """Two steps and an evaluation, with finite losses, and weights that can be read back; gives the accuracy."""
    on_examples = METHODS[method].training(Setting(3, 2)).batch_size is not None
    episodes = 2 if on_examples else 4
    settings = smallest(method, **LESS_WORK.get(method, {}), **ways)
    trained, run = train(benchmark, method, episodes=episodes, backbone=backbone, settings=settings, folder=folder)
    assert run.backbone == backbone
    assert len(run.history) == 2
    assert all(math.isfinite(validation.loss) for validation in run.history)
    assert all(value.isfinite().all() for value in trained.state_dict().values())
    again = build_learner(benchmark, method, seed=1, backbone=backbone, settings=settings)
    assert any(True for _ in trained.parameters())
    assert not same_weights(again, trained)
    card = load_weights(folder / "weights.safetensors", again, benchmark, method)
    assert (card["method"], card["backbone"], card["benchmark"]) == (method, backbone, benchmark.record.name)
    assert same_weights(again, trained)
    assert not same_weights(build_learner(benchmark, method, backbone=backbone), trained), "something was learned"
    first, second = (evaluate(benchmark, learner, 4, method=method, backbone=backbone) for learner in (trained, again))
    assert first.accuracies == second.accuracies
    assert first.backbone == backbone
    assert first.episodes_digest == benchmark.episodes().digest(4)
    return first.accuracy


@pytest.mark.parametrize("method", [name for name in OF_TEXTS if name not in NOTHING_TO_LEARN + NOTHING_TO_MOVE])
def test_every_method_with_something_to_learn_on_vectors_as_they_are(
    news: Benchmark, method: str, tmp_path: Path
) -> None:
    accuracy = check_trained(news, method, "tfidf", tmp_path)
    if method in ("classemes", "r2d2", "simpleshot"):
        assert accuracy > 0.7, "the words of a topic tell it"


@pytest.mark.parametrize("method", OF_TEXTS)
def test_every_method_on_a_net_on_vectors(news: Benchmark, method: str, tmp_path: Path) -> None:
    check_trained(news, method, "tfidf+mlp", tmp_path)


@pytest.mark.parametrize("method", OF_TEXTS)
def test_every_method_on_a_net_on_token_ids(news: Benchmark, method: str, tmp_path: Path) -> None:
    check_trained(news, method, "words+cnn", tmp_path)


@pytest.mark.parametrize("method", ["maml", "classemes", "r2d2"])
def test_methods_of_each_kind_on_a_transformer(news: Benchmark, method: str, tmp_path: Path) -> None:
    check_trained(news, method, "words+transformer", tmp_path)


def test_vectors_as_they_are_leave_some_methods_nothing_to_do(news: Benchmark) -> None:
    for method in NOTHING_TO_LEARN:
        with pytest.raises(UsageError) as caught:
            train(news, method, episodes=2, backbone="tfidf")
        assert str(caught.value) == (
            f"{method} on tfidf has nothing to learn, since its backbone is frozen; evaluate it without training"
        )
        learner = build_learner(news, method, backbone="tfidf")
        assert evaluate(news, learner, 10, backbone="tfidf").accuracy > 0.7
    for method in NOTHING_TO_MOVE:
        with pytest.raises(UsageError, match="without a parameter to move; give a model with parameters that require"):
            build_learner(news, method, backbone="tfidf")


def test_maml_on_vectors_learns_to_adapt_its_layer(news: Benchmark) -> None:
    """A linear layer on TF-IDF alone, which is told nothing about the test classes but their support."""
    settings = {**smallest("maml", train_shots=2), "validate_every": 40, "steps": 5, "lr": 5.0}
    learner, _ = train(news, "maml", episodes=80, backbone="tfidf", settings=settings)
    assert evaluate(news, learner, 20, backbone="tfidf").accuracy > 0.7


def test_a_cnn_that_is_trained_end_to_end_knows_the_topics(news: Benchmark) -> None:
    settings = {**smallest("protonet"), "train_ways": 6, "validate_every": 50, "learning_rate": 0.005}
    learner, _ = train(news, "protonet", episodes=100, backbone="words+cnn", settings=settings)
    untrained = build_learner(news, "protonet", backbone="words+cnn")
    before, after = (evaluate(news, each, 20, backbone="words+cnn").accuracy for each in (untrained, learner))
    assert after > 0.85
    assert after > before + 0.05


def test_weights_of_one_backbone_do_not_fit_another(news: Benchmark, tmp_path: Path) -> None:
    train(news, "protonet", episodes=2, backbone="words+cnn", settings=smallest("protonet"), folder=tmp_path)
    file = tmp_path / "weights.safetensors"
    for backbone in ("words+transformer", "tfidf+mlp", "tfidf"):
        with pytest.raises(ContentError) as caught:
            load_weights(file, build_learner(news, "protonet", backbone=backbone), news, "protonet")
        assert str(caught.value).endswith("; give --backbone words+cnn, or leave it out")


@pytest.mark.parametrize("method", ["protonet", "maml", "classemes", "r2d2", "relation-net"])
def test_methods_of_each_kind_on_sounds(keywords: Benchmark, method: str, tmp_path: Path) -> None:
    ways = {"train_ways": 5} if method == "maml" else {}
    check_trained(keywords, method, None if method == "relation-net" else "conv4-32", tmp_path, **ways)


def test_a_conv4_learns_to_tell_tones_apart(keywords: Benchmark) -> None:
    settings = {"train_ways": 20, "train_queries": 3, "validate_every": 30, "validation_episodes": 2}
    learner, _ = train(keywords, "protonet", episodes=30, backbone="conv4-32", settings=settings)
    untrained = build_learner(keywords, "protonet", backbone="conv4-32")
    before, after = (evaluate(keywords, each, 10, backbone="conv4-32").accuracy for each in (untrained, learner))
    assert after > 0.75
    assert after > before + 0.2
