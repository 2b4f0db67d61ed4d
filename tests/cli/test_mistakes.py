"""A user's mistakes: a status that is not 0, one line that says what to do, no traceback, nothing written."""

import os
from pathlib import Path

import pytest

from l2l_core import training
from l2l_core.algorithms.methods import METHODS
from l2l_core.cli import main, train_command
from l2l_core.training import loop
from tests.cli.command import Command
from tests.small import SmallData

UNKNOWN_DATASET = "unknown data set 'smal'; did you mean 'small'?"
UNKNOWN_NAME = "unknown data set or benchmark 'smal'; did you mean 'small'"
UNKNOWN_BENCHMARK = "unknown benchmark 'small-3w1s'; did you mean 'small-3w2s'?"
UNKNOWN_METHOD = "unknown method 'reptil'; did you mean 'reptile'?"
BAD_SUBSET = "small: subset 'tset' is none of train, validation, test; None takes all classes"


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        ("fetch smal", UNKNOWN_DATASET),
        ("import smal .", UNKNOWN_DATASET),
        ("verify smal", UNKNOWN_DATASET),
        ("sample smal", UNKNOWN_NAME),
        (
            "sample omniglot",
            "omniglot is not in {home}; get it with `l2l fetch omniglot` (in Python: download=True), or bring ",
        ),
        ("train small-3w1s --method maml", UNKNOWN_BENCHMARK),
        ("evaluate small-3w1s --method maml", UNKNOWN_BENCHMARK),
        ("evaluate small --method maml", "unknown benchmark 'small'; did you mean"),
        ("train small-3w2s --method reptil", UNKNOWN_METHOD),
        ("evaluate small-3w2s --method reptil", UNKNOWN_METHOD),
        ("sample small --subset tset", BAD_SUBSET),
        ("sample small-3w2s --subset tset", BAD_SUBSET),
        ("sample small --ways 0", "ways is 0; give at least 1"),
        ("sample small --shots 0", "shots is 0; give at least 1"),
        ("sample small --queries -1", "queries is -1; give at least 1"),
        ("sample small --queries 1 --ways 7", "7 ways were asked for, but there are 6 classes; lower the ways"),
        (
            "sample small --shots 4 --queries 5",
            "class 'set/Abc/character01' has 8 examples, but shots + queries = 9; lower one of them or drop the class",
        ),
        ("sample small --queries 1 --seed -1", "seed -1 is not between 0 and 2**64 - 1"),
        (f"sample small --queries 1 --seed {2**64}", f"seed {2**64} is not between 0 and 2**64 - 1"),
        (f"train small-3w2s --method maml --seed {2**64} --episodes 1", f"seed {2**64} is not between 0 and 2**64 - 1"),
        (f"evaluate small-3w2s --method maml --seed {2**64}", f"seed {2**64} is not between 0 and 2**64 - 1"),
        (
            "sample small --queries 1 --png {file}/a.png",
            "cannot write to {file}: a file stands where a folder should be; ",
        ),
        (
            "train small-3w2s --method maml --episodes 1 --out {file}/run",
            "cannot write to {file}/run: a file stands where a folder should be; choose another folder with --out",
        ),
        ("quickstart --out {file}/run", "cannot write to {file}/run: a file stands where a folder should be; choose "),
        (
            "train small-3w2s --method maml --minutes 0",
            "found minutes = 0.0, episodes = None, examples = None; give one of them, above",
        ),
        (
            "train small-3w2s --method maml --minutes nan",
            "found minutes = nan, episodes = None, examples = None; give one of them",
        ),
        (
            "train small-3w2s --method maml --episodes -5",
            "found minutes = None, episodes = -5, examples = None; give one of them, above",
        ),
        (
            "train small-3w2s --method maml --minutes 1 --episodes 5",
            "found minutes = 1.0, episodes = 5, examples = None; give one of ",
        ),
        (
            "evaluate small-3w2s --method maml --weights {file}.st",
            "there is no file {file}.st; give a file of weights that",
        ),
        ("evaluate small-3w2s --method maml --weights {file}", "{file} holds no weights with a card ("),
        ("sample small --root {file}", "small is not in {file}; get it with `l2l fetch small`"),
        (
            "import small {pictures} --root {file}",
            "cannot write the lock of small to {file}/locks/small.lock: a file stands where a folder should be; ",
        ),
        (
            "fetch glyphs --root {file}",
            "cannot write the lock of glyphs to {file}/locks/glyphs.lock: a file stands where ",
        ),
        (
            "sample small --root ~nobody-of-that-name",
            "cannot keep data in '~nobody-of-that-name': there is no such home",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    l2l: Command, imported: SmallData, tmp_path: Path, words: str, mistake: str
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    places = {"file": file, "home": os.environ["L2L_HOME"], "pictures": imported.folder}
    before = sorted(tmp_path.rglob("*"))
    found = l2l(*words.format(**places).split())
    if words.startswith("evaluate") and "--weights" not in words:
        found = type(found)(found.status, found.out, found.err.replace(_untrained(words), ""))
    assert found.mistake.startswith(mistake.format(**places))
    assert ";" in found.mistake or "between" in found.mistake
    made = {path for path in tmp_path.rglob("*") if path not in before and "runs" not in path.parts}
    assert not {path for path in made if "locks" not in path.parts}
    assert file.read_text() == "mine"


def _untrained(words: str) -> str:
    return f"no --weights given: this is an untrained {words.split()[3]}\n"


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        ("trian", "No such command 'trian'"),
        ("sample", "Missing argument"),
        ("sample small --wayz 3", "No such option"),
        ("sample small --ways three", "Invalid value for '--ways'"),
        ("sample small --start -1", "Invalid value for '--start'"),
        (f"sample small --start {2**63}", "Invalid value for '--start'"),
        ("sample small --episodes 0", "Invalid value for '--episodes'"),
        ("sample small --png {file}", "Invalid value for '--png'"),
        ("list dataset", "Invalid value for"),
        ("train small-3w2s", "Missing option '--method'"),
        ("train small-3w2s --method maml --seed -1", "Invalid value for '--seed'"),
        ("train small-3w2s --method maml --out {text}", "Invalid value for '--out'"),
        ("evaluate small-3w2s --method maml --episodes 1", "Invalid value for '--episodes'"),
        ("evaluate small-3w2s --method maml --seed -1", "Invalid value for '--seed'"),
        ("import small", "Missing argument"),
        ("quickstart --episodes 1", "Invalid value for '--episodes'"),
    ],
)
def test_wrong_words_get_short_plain_text(l2l: Command, tmp_path: Path, words: str, mistake: str) -> None:
    (tmp_path / "text").write_text("mine")
    done = l2l(*words.format(file=tmp_path, text=tmp_path / "text").split())
    assert (done.status, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0].startswith("Usage: l2l")
    assert lines[1].startswith("Try 'l2l")
    assert lines[-1].startswith("Error: ")
    assert mistake in lines[-1]
    assert len(lines) == 4


def test_weights_that_do_not_fit(l2l: Command, imported: SmallData, tmp_path: Path) -> None:
    words = ("--method", "fomaml", "--episodes", 1, "--out", tmp_path / "run", "--set", "validation_episodes=2")
    (weights,) = l2l("train", "small-3w2s", *words).lines
    assert l2l("evaluate", "small-3w2s", "--method", "maml", "--weights", weights).mistake == (
        f"{weights} holds weights of fomaml, not of maml; give --method fomaml"
    )
    Path(weights).write_bytes(Path(weights).read_bytes()[:-7])
    mistake = l2l("evaluate", "small-3w2s", "--method", "fomaml", "--weights", weights).mistake
    assert mistake.startswith(f"{weights} is damaged (")


def test_nothing_is_trained_where_nothing_can_be_written(
    l2l: Command, imported: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(training, "train", never)
    (tmp_path / "file").write_text("")
    assert "cannot write to" in l2l("train", "small-3w2s", "--method", "maml", "--out", tmp_path / "file/x").mistake


def test_ctrl_c_is_one_line_and_status_130(
    l2l: Command, imported: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "_step", interrupted)
    done = l2l("train", "small-3w2s", "--method", "maml", "--episodes", 1)
    assert (done.status, done.out, done.err.strip()) == (130, "", "l2l: interrupted")
    assert not list(tmp_path.rglob("weights.safetensors"))


def test_an_error_of_our_own_is_not_hidden(mine: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["l2l", "show", "wrong"])
    monkeypatch.setitem(METHODS, "wrong", None)
    with pytest.raises(AttributeError):
        main()


def test_the_default_of_minutes_is_the_one_in_the_help(l2l: Command) -> None:
    assert f"[default: {train_command.DEFAULT_MINUTES:g}]" in l2l("train", "--help").out
