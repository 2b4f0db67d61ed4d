"""The benchmarks of sounds and texts on the command line, from the raw files on."""

from pathlib import Path

import pytest

from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.run import evaluate
from l2l_core.training import build_learner
from tests.cli.command import Command, make_command
from tests.headlines import write_headlines
from tests.keywords import write_keywords


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, with nothing in the catalogue but what is always there."""
    return make_command(monkeypatch, capsys)


def test_from_an_archive_of_keywords_to_an_accuracy(command: Command, tmp_path: Path) -> None:
    (store,) = command("import", "speech-commands", write_keywords(tmp_path / "copy.tar.gz")).lines
    assert Path(store).is_file()
    assert command("verify", "speech-commands").lines[-1].startswith("speech-commands: ")
    words = ("evaluate", "speech-commands-5w1s", "--method", "protonet", "--episodes", 6)
    done = command(*words)
    assert done.err == "no --weights given: this is an untrained protonet\n"
    assert done.lines[0].startswith("speech-commands-5w1s protonet: ")
    assert done.lines[0].endswith(" % over 6 episodes")
    benchmark = load_benchmark("speech-commands-5w1s")
    report = evaluate(benchmark, build_learner(benchmark, "protonet"), 6)
    assert f"{100 * report.accuracy:.2f} ± {100 * report.ci95:.2f} %" in done.lines[0]
    assert command(*words, "--json").json["accuracies"] == list(report.accuracies)
    mistake = command("evaluate", "speech-commands-5w1s", "--method", "protonet", "--backbone", "minilm").mistake
    assert mistake.startswith("unknown backbone 'minilm'; known: conv4, ")


def test_from_a_table_of_headlines_to_weights_and_an_accuracy(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_headlines(tmp_path / "mine")
    monkeypatch.setenv("L2L_CATALOG", str(tmp_path / "mine"))
    assert command("import", "headlines", tmp_path / "mine/headlines.csv").status == 0
    words = ("--method", "classemes", "--backbone", "tfidf+mlp")
    (weights,) = command("train", "headlines-3w2s", *words, "--episodes", 2, "--set", "validation_episodes=5").lines
    evaluated = ("evaluate", "headlines-3w2s", "--method", "classemes", "--weights", weights, "--json")
    # The card of the weights says what they are on.
    found = command(*evaluated).json
    assert (found["backbone"], found["method"], found["episodes"]) == ("tfidf+mlp", "classemes", 20)
    assert command(*evaluated, "--backbone", "tfidf+mlp").json["accuracies"] == found["accuracies"]
    assert command("evaluate", "headlines-3w2s", "--method", "classemes").mistake.startswith(
        "headlines-3w2s is of texts; say what makes vectors of them with --backbone"
    )
