"""Recipes: every entry can be run, and what a run of one says and leaves."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_core.algorithms.methods import Setting, TrainingSettings, get_method
from l2l_core.catalog import check_catalog, open_catalog, read_card
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.data.index import ClassIndex
from l2l_core.errors import CatalogError, L2LError, UnknownNameError
from l2l_core.evaluation.report import Report
from l2l_core.evaluation.run import evaluate
from l2l_core.records import RECIPE_FORMS
from l2l_core.training import recipes
from l2l_core.training.build import build_learner, training_for
from l2l_core.training.loop import train
from l2l_core.training.recipes import command_of, reproduce
from l2l_core.training.weights import load_weights, read_weights, zoo_weights
from tests.opened import open_small
from tests.small import SmallData

CATALOG = open_catalog([])
TRAINED = [
    (name, form) for name in CATALOG.recipes for form in RECIPE_FORMS if CATALOG.recipe(name).forms[form].episodes
]
EXPECTED = {
    *(f"omniglot-{ways}w{shots}s" for ways in (5, 20) for shots in (1, 5)),
    *(f"{data}-5w{shots}s" for data in ("cifar-fs", "mini-imagenet") for shots in (1, 5)),
}
OF_TRAINING = {field.name for field in fields(TrainingSettings)}
RECIPE = """
title = "ProtoNets on bars"
benchmark = "small-3w2s"
method = "protonet"
published = { method = "Bars", backbone = "Eyes" }

[full]
episodes = 6

[short]
episodes = 4
expected = 0.5
settings = { train_ways = 3, train_queries = 2, validate_every = 2, validation_episodes = 5, scale = 2.0 }
"""


@pytest.fixture
def catalogue(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a catalogue with the small data set, a published figure and a recipe for it."""
    open_small(small, monkeypatch)
    _write(small.catalog, "small-3w2s-protonet", RECIPE)
    published = small.catalog / "metadata/results/published/small-3w2s.csv"
    published.parent.mkdir(parents=True, exist_ok=True)
    published.write_text("method,backbone,accuracy,ci95,source,verified\nBars,Eyes,0.99,0.001,a paper,no\n")
    return small.catalog


def _write(root: Path, name: str, text: str) -> None:
    path = root / "catalog/recipes" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_the_recipes_that_people_look_for_are_there() -> None:
    for benchmark in EXPECTED:
        drawn = benchmark.startswith("omniglot")
        methods = ("anil", "maml", "protonet", "r2d2", "reptile") if drawn else ("maml", "metaoptnet", "simpleshot")
        assert {f"{benchmark}-{method}" for method in (*methods, "protonet", "r2d2")} <= set(CATALOG.recipes)


@pytest.mark.parametrize(("name", "form"), TRAINED)
def test_a_recipe_can_be_built_and_its_settings_are_taken(name: str, form: str) -> None:
    recipe = CATALOG.recipe(name)
    record, budget = CATALOG.benchmark(recipe.benchmark), recipe.forms[form]  # type: ignore[index]
    drawn = record.dataset == "omniglot"
    height, width = record.image_size or (28, 28)
    own = {key: value for key, value in budget.settings.items() if key not in OF_TRAINING}
    # Of headlines MiniLM's vectors.
    shape = (384,) if record.dataset == "news-journals" else (1 if drawn else 3, height, width)
    setting = Setting(record.ways, record.shots, shape, 64, budget.backbone, own)
    counts = np.full(64, 20 if drawn else 600)
    index = ClassIndex(range(64), np.cumsum(counts) - counts, counts)
    how = training_for(recipe.method, setting, record, index, budget.settings)
    taken = {key: getattr(how, key) for key in budget.settings if key in OF_TRAINING and key != "drops"}
    assert taken == {key: budget.settings[key] for key in taken}
    spec = get_method(recipe.method)
    assert spec.settings(setting).items() >= own.items()
    spec.build(setting)


def test_a_reproduction_trains_evaluates_and_compares(catalogue: Path, tmp_path: Path) -> None:
    done = reproduce("small-3w2s-protonet", folder=tmp_path, episodes=20)
    benchmark = load_benchmark("small-3w2s")
    settings = {"train_ways": 3, "train_queries": 2, "validate_every": 2, "validation_episodes": 5, "scale": 2.0}
    learner, run = train(benchmark, "protonet", episodes=4, settings=settings)
    assert done.report.accuracies == evaluate(benchmark, learner, 20).accuracies
    assert done.training is not None
    assert done.training.episodes == run.episodes == 4
    assert done.report.settings["scale"] == 2.0
    assert done.published is not None
    assert done.published.accuracy == 0.99
    run_folder = tmp_path / "small-3w2s-protonet-short"
    assert Report.from_json((run_folder / "report.json").read_text()).accuracies == done.report.accuracies
    assert {"report.json", "training.csv", "weights.safetensors"} <= {path.name for path in run_folder.iterdir()}
    row = done.as_result("on bars")
    assert (row.recipe, row.form, row.note, row.command) == (
        *("small-3w2s-protonet", "short", "on bars"),
        "l2l reproduce small-3w2s-protonet",
    )
    assert row.accuracy == done.report.accuracy


def test_what_is_trained_is_not_trained_again(catalogue: Path, tmp_path: Path) -> None:
    first = reproduce("small-3w2s-protonet", folder=tmp_path, episodes=5)
    again = reproduce("small-3w2s-protonet", folder=tmp_path, episodes=5)
    assert first.training is not None and again.training is not None
    assert again.training.history == first.training.history
    assert again.report.accuracies == first.report.accuracies


def _said(done_accuracy: float, ci95: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a reproduction with this figure says, a line each."""

    class _Fixed:
        def __call__(self, *args: object, **named: object) -> Report:
            report = evaluate(*args, **named)  # type: ignore[arg-type]

            return replace(report, accuracy=done_accuracy, ci95=ci95)

    monkeypatch.setattr(recipes, "evaluate", _Fixed())
    return str(reproduce("small-3w2s-protonet", folder=tmp_path, episodes=5)).splitlines()


@pytest.mark.parametrize(
    ("accuracy", "ci95", "verdict", "expectation"),
    [
        (0.985, 0.005, "reproduced: -0.50 points from 99.00 ± 0.10 % (Bars on Eyes; a paper, unverified)", "not as"),
        (0.995, 0.001, "reproduced: +0.50 points", "not as expected of the short form, which reaches 50.00 %"),
        (0.9839, 0.005, "not reproduced: -0.61 points", "not as"),
        (0.4945, 0.001, "not reproduced: -49.55 points", "as expected of the short form: 50.00 %"),
        (0.493, 0.001, "not reproduced", "not as"),
    ],
)
def test_the_verdict(
    catalogue: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accuracy: float,
    ci95: float,
    verdict: str,
    expectation: str,
) -> None:
    _, theirs, ours = _said(accuracy, ci95, tmp_path, monkeypatch)
    assert theirs.startswith(verdict)
    assert ours.startswith(expectation)


def test_without_a_published_figure_or_an_expectation(catalogue: Path, tmp_path: Path) -> None:
    text = RECIPE.replace('published = { method = "Bars", backbone = "Eyes" }\n', "").replace("expected = 0.5\n", "")
    _write(catalogue, "small-3w2s-protonet", text)
    done = reproduce("small-3w2s-protonet", folder=tmp_path, episodes=5)
    assert (done.reproduced, done.as_expected) == (None, None)
    assert str(done).splitlines()[1:] == [
        "no published figure is known",
        "nobody has measured what the short form reaches",
    ]


def test_a_recipe_can_take_the_weights_of_another(catalogue: Path, tmp_path: Path) -> None:
    entry = catalogue / "catalog/benchmarks/small-3w2s.toml"
    two_way = entry.with_name("small-2w2s.toml")
    two_way.write_text(entry.read_text().replace("ways = 3", "ways = 2"))
    _write(
        catalogue,
        "small-2w2s-protonet",
        'title = "Two"\nbenchmark = "small-2w2s"\nmethod = "protonet"\ntrained_by = "small-3w2s-protonet"\n'
        "[full]\n[short]\n",
    )
    done = reproduce("small-2w2s-protonet", folder=tmp_path, episodes=5)
    assert done.report.ways == 2
    assert done.report.weights == "small-3w2s-protonet-short/weights.safetensors"
    weights, _ = read_weights(tmp_path / "small-3w2s-protonet-short")
    learner = build_learner("small-2w2s", "protonet", settings={"scale": 2.0})
    learner.load_state_dict(weights)
    assert evaluate("small-2w2s", learner, 5).accuracies == done.report.accuracies


def test_the_zoo_holds_halves_and_says_what_they_reach(catalogue: Path, tmp_path: Path) -> None:
    zoo = catalogue / "metadata/zoo"
    zoo.mkdir()
    done = reproduce("small-3w2s-protonet", folder=tmp_path, episodes=5, zoo=zoo)
    path = zoo_weights("small-3w2s", "protonet")
    assert path == zoo / "small-3w2s-protonet.safetensors"
    tensors, card = read_weights(path)
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float16}
    assert path.stat().st_size < 0.6 * (tmp_path / "small-3w2s-protonet-short/weights.safetensors").stat().st_size
    benchmark = load_benchmark("small-3w2s")
    learner = build_learner(benchmark, "protonet", settings=card["learner"])
    load_weights(path, learner, benchmark, "protonet")
    assert {parameter.dtype for parameter in learner.parameters()} == {torch.float32}
    measured = evaluate(benchmark, learner, 5)
    assert (card["accuracy"], card["ci95"], card["episodes_digest"], card["test_episodes"]) == (
        *(measured.accuracy, measured.ci95, done.report.episodes_digest, 5),
    )
    assert read_card(path)["command"] == command_of("small-3w2s-protonet", "short")
    with pytest.raises(UnknownNameError, match=r"unknown weights 'small-3w2s-maml' in the zoo; did you mean 'small-3w"):
        zoo_weights("small-3w2s", "maml")


def test_unknown_names(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'small-3w2s-protonets'; did you mean 'small-3w2s-prot"):
        reproduce("small-3w2s-protonets", folder=tmp_path)
    with pytest.raises(UnknownNameError, match="unknown form 'shrot'; did you mean 'short'"):
        reproduce("small-3w2s-protonet", "shrot", folder=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('benchmark = "small-3w2s"', 'benchmark = "small-3w3s"', "benchmark: unknown benchmark 'small-3w3s'"),
        ('"Bars", backbone', '"Bar", backbone', "published: metadata/results has no row Bar on Eyes"),
        ('title = "ProtoNets on bars"', 'trained_by = "x"\ntitle = "Bars"', "trained_by: unknown recipe 'x'"),
        ("[full]\nepisodes = 6", "[full]\nepisodes = 6\nepisode = 7", "full.episode: unknown field"),
        ("expected = 0.5", "expected = 50", "short.expected: "),
        ('method = "protonet"\n', "", "method: missing"),
    ],
)
def test_a_malformed_recipe_is_a_problem_of_the_catalogue(catalogue: Path, old: str, new: str, problem: str) -> None:
    assert check_catalog(open_catalog()) == []
    assert old in RECIPE
    _write(catalogue, "small-3w2s-protonet", RECIPE.replace(old, new))
    assert any(problem in text for text in check_catalog(open_catalog()))


def test_a_recipe_that_cannot_be_read_is_not_run(catalogue: Path, tmp_path: Path) -> None:
    _write(catalogue, "small-3w2s-protonet", RECIPE.replace("episodes = 4", 'episodes = "four"'))
    with pytest.raises(CatalogError, match=r"short\.episodes: expected a whole number, found 'four'"):
        reproduce("small-3w2s-protonet", folder=tmp_path)
    assert not list(tmp_path.glob("small-*"))


def test_absent_data_is_asked_for(catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("L2L_HOME", str(tmp_path / "empty"))
    with pytest.raises(L2LError, match="l2l import small"):
        reproduce("small-3w2s-protonet", folder=tmp_path)


def test_the_card_of_a_run_is_json(catalogue: Path, tmp_path: Path) -> None:
    reproduce("small-3w2s-protonet", folder=tmp_path, episodes=5)
    card = read_card(tmp_path / "small-3w2s-protonet-short/weights.safetensors")
    assert json.loads(json.dumps(card))["learner"]["scale"] == 2.0
