"""``l2l train``, ``evaluate`` and ``quickstart``: the files and figures that they give."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from l2l_core.algorithms.methods import METHODS
from l2l_core.cli import quickstart_command
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.report import Report
from l2l_core.evaluation.run import evaluate
from l2l_core.training import build_learner, load_weights, train
from tests.cli.command import Command
from tests.small import SmallData

SHORT = ("--set", "validation_episodes=5")
REPORTED = {
    *("benchmark", "dataset", "subset", "method", "ways", "shots", "queries", "episodes", "seed"),
    *("accuracy", "ci95", "seconds", "episodes_digest", "versions"),
}


@pytest.fixture
def weights(l2l: Command, imported: SmallData, tmp_path: Path) -> Path:
    """Weights of a ProtoNet trained on the small benchmark."""
    words = ("--method", "protonet", "--episodes", 3, "--seed", 2, "--out", tmp_path / "run")
    (line,) = l2l("train", "small-3w2s", *words, *SHORT).lines
    return Path(line)


def test_train_prints_its_weights(l2l: Command, weights: Path, tmp_path: Path) -> None:
    assert weights == tmp_path / "run" / "weights.safetensors"
    with Image.open(weights.with_name("training.png")) as image:
        assert image.format == "PNG"
    benchmark = load_benchmark("small-3w2s")
    learner = build_learner(benchmark, "protonet")
    card = load_weights(weights, learner, benchmark, "protonet")
    assert (card["benchmark"], card["method"], card["seed"], card["episodes"]) == ("small-3w2s", "protonet", 2, 3)
    same, _ = train(benchmark, "protonet", episodes=3, seed=2, settings={"validation_episodes": 5})
    ours, theirs = learner.state_dict(), same.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_train_as_json_and_where_nobody_says_where(l2l: Command, imported: SmallData, tmp_path: Path) -> None:
    done = l2l("train", "small-3w2s", "--method", "maml", "--minutes", 0.001, "--json", *SHORT)
    assert done.json["weights"] == "runs/small-3w2s-maml-s0/weights.safetensors"
    assert (tmp_path / done.json["weights"]).is_file()
    assert done.json["settings"]["train_ways"] == 3
    best = max(done.json["history"], key=lambda checkpoint: checkpoint["accuracy"])
    told = done.err.splitlines()[-1]
    assert told.startswith(f"trained maml on {done.json['episodes']:,} episodes in ")
    assert told.endswith(
        f"validation accuracy {100 * best['accuracy']:.2f} ± {100 * best['ci95']:.2f} % "
        f"after {best['episodes']:,} episodes"
    )


def test_evaluate_as_json_is_the_report_of_python(l2l: Command, weights: Path) -> None:
    done = l2l("evaluate", "small-3w2s", "--method", "protonet", "--weights", weights, "--json")
    found = done.json
    assert REPORTED <= set(found)
    assert len(done.lines) == 1
    assert done.err == ""
    benchmark = load_benchmark("small-3w2s")
    learner = build_learner(benchmark, "protonet")
    load_weights(weights, learner, benchmark, "protonet")
    expected = json.loads(evaluate(benchmark, learner, method="protonet", weights=str(weights)).to_json())
    told = {"seconds": 0, "command": None}
    assert {**found, **told} == {**expected, **told}
    assert Report.from_json(done.out).accuracies == tuple(expected["accuracies"])


def test_evaluate_other_episodes(l2l: Command, weights: Path) -> None:
    words = ("evaluate", "small-3w2s", "--method", "protonet", "--weights", weights, "--json")
    found = l2l(*words, "--episodes", 4, "--seed", 99).json
    assert (found["episodes"], found["seed"], len(found["accuracies"])) == (4, 99, 4)
    assert found["episodes_digest"] == load_benchmark("small-3w2s").episodes(seed=99).digest(4)


@pytest.mark.parametrize("method", METHODS)
def test_evaluate_says_that_a_net_is_untrained(l2l: Command, imported: SmallData, method: str) -> None:
    done = l2l("evaluate", "small-3w2s", "--method", method, "--episodes", 2)
    assert done.err == f"no --weights given: this is an untrained {method}\n"
    first, second = done.lines
    assert first.startswith(f"small-3w2s {method}: ")
    assert first.endswith(" % over 2 episodes")
    assert second.endswith("(seed 7)")


def test_evaluate_sets_published_figures_beside(l2l: Command, imported: SmallData) -> None:
    (imported.catalog / "metadata/results/published").mkdir(parents=True)
    table = "method,backbone,accuracy,ci95,source,verified\nA,net,0.5,0.9,paper,no\nB,net,0.75,,paper,yes\n"
    (imported.catalog / "metadata/results/published/small-3w2s.csv").write_text(table)
    words = ("evaluate", "small-3w2s", "--method", "maml", "--episodes", 2)
    accuracy = l2l(*words, "--json").json["accuracy"]
    lines = l2l(*words).lines
    assert lines[2:4] == ["", "published:"]
    assert lines[4].split() == ["method", "backbone", "accuracy", "ours", "minus", "theirs"]
    assert lines[6].split()[:4] == ["B", "net", "75.00", "%"]
    assert f"{100 * (accuracy - 0.75):+.2f}" in lines[6]
    assert "unverified" not in lines[6]
    assert "50.00 ± 90.00 %" in lines[7]
    assert "(within both intervals)" in lines[7]
    assert "unverified" in lines[7]


def test_evaluate_says_that_weights_are_of_another_benchmark(l2l: Command, weights: Path, imported: SmallData) -> None:
    entry = imported.catalog / "catalog/benchmarks/small-3w2s.toml"
    entry.with_name("small-3w1s.toml").write_text(entry.read_text().replace("shots = 2", "shots = 1"))
    words = ("--method", "protonet", "--weights", weights, "--episodes", 2)
    # The catalogue is read once a process, so the new entry needs a name of its own for it.
    link = imported.catalog.with_name("again")
    link.symlink_to(imported.catalog)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("L2L_CATALOG", str(link))
        done = l2l("evaluate", "small-3w1s", *words)
    assert done.status == 0
    assert done.err == f"note: {weights} was trained on small-3w2s, and is evaluated on small-3w1s\n"
    assert l2l("evaluate", "small-3w2s", *words).err == ""


def test_quickstart_gives_table_pictures_weights_and_reports(
    l2l: Command, glyphs_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--minutes", 0.02, "--episodes", 4, "--root", glyphs_home)
    done = l2l("quickstart", *words, "--out", tmp_path / "q")
    lines = done.lines
    assert lines[1] == "glyphs-5w1s, 4 test episodes, 95% interval"
    first_words = [line.split("  ")[0] for line in lines[4:]]
    trained = [f"{method}, {state}" for method in ("protonet", "maml") for state in ("untrained", "trained")]
    assert first_words == ["chance", *trained]
    assert "20.00 %" in lines[4]
    files = {path.name for path in (tmp_path / "q").iterdir()}
    assert files == {
        *("episode.png", "training.png", "results.png"),
        *("protonet.safetensors", "protonet.json", "maml.safetensors", "maml.json"),
    }
    for method, line in (("protonet", lines[6]), ("maml", lines[8])):
        report = Report.from_json((tmp_path / "q" / f"{method}.json").read_text())
        assert (report.method, report.episodes, report.benchmark) == (method, 4, "glyphs-5w1s")
        assert f"{100 * report.accuracy:.2f} ± {100 * report.ci95:.2f} %" in line
    for name in ("episode", "training", "results"):
        with Image.open(tmp_path / "q" / f"{name}.png") as image:
            assert image.format == "PNG"


def test_quickstart_as_json(l2l: Command, glyphs_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart_command, "METHODS", ("maml",))
    done = l2l("quickstart", "--minutes", 0.001, "--episodes", 2, "--root", glyphs_home, "--json")
    assert list(done.json) == ["maml, untrained", "maml, trained"]
    assert set(done.json["maml, trained"]) == {"accuracy", "ci95"}
    assert done.err.splitlines()[-1] == "pictures, weights and reports are in quickstart/"
