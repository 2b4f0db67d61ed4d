"""The tutorials run as they stand, offline and leaving nothing behind, print what they promise, and are notebooks."""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from l2l_core.catalog import open_catalog

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "tutorials"
NAMES = ("1_fetch", "2_sample", "3_evaluate", "4_own_data", "5_own_algorithm")

ACCURACY = r"\d+\.\d\d ± \d\.\d\d %"
DIFFERENCE = r"[+-]\d+\.\d\d ± \d\.\d\d points"
# Whole lines of the output, in this order, others between them.
PROMISES: dict[str, tuple[str, ...]] = {
    "1_fetch": (
        r"Omniglot: 1,623 classes, 32,460 examples",
        r"vinyals: train 1,028, validation 172, test 423 classes",
        r"ConsentError: the data comes under ImageNet terms .* accept them with --yes or L2L_ACCEPT_LICENCES=imagenet",
        r"StoreError: omniglot is not in .* `l2l fetch omniglot` .*",
        r"FetchError: cannot download images_background.zip \(no connection is made offline\).*",
        r"ContentError: omniglot: 1,623 of 1,623 classes are missing from wrong .*",
        r"second time: .* ms",
        r"example 20: \[1, 28, 28\] torch.float32, label 1, which is class U\+0022",
        r"glyphs stores: 26\.\d MB in …/stores/glyphs",
        r"examples: uint8 \(33420, 1, 28, 28\)",
        r"the store is as it was written",
        r"StoreError: …/damaged.safetensors is not a usable store: its data has sha256 .*",
    ),
    "2_sample": (
        r"support \[5, 1, 28, 28\] labels \[0, 1, 2, 3, 4\]",
        r"episode 7 within it is the same: True",
        r"episode 7 of seed 1 is the same: False",
        r"wrote episode.png, .* bytes",
        r"\[10, 1, 28, 28\] \[(\d), \1, (\d), \2, (\d), \3, (\d), \4, (\d), \5\]",
        r"with two workers the same: True",
        r"from a thread the same: True",
        r"rank 0 of 2: \[\[0, 1, 2, 3\], \[8, 9, 10, 11\]\]",
        r"rank 1 of 2: \[\[4, 5, 6, 7\], \[12, 13, 14, 15\]\]",
        r"first of epoch 1 is task 16: True",
        r"goes on with task 8: True",
        r"TaskError: class 'U\+0021' has 20 examples, but shots \+ queries = 25; .*",
    ),
    "3_evaluate": (
        rf"glyphs-5w1s protonet: {ACCURACY} over 100 episodes",
        r"trained on 20 episodes; validation .*",
        r"kept: .*training.csv, weights.safetensors",
        r"trained minus untrained: \+\d+\.\d\d ± .* points",
        r"beyond noise: True",
        rf"glyphs-5w1s maml: {ACCURACY} over 100 episodes",
        rf"maml minus protonet: {DIFFERENCE}",
        r"UsageError: only results on the same episodes compare pair by pair, .*",
        r"wrote report.html, \d{3} KiB",
        r"\d+ figures of omniglot-5w1s, the best three:",
        r"\d+ recipes, such as omniglot-5w1s-protonet: .*",
        r"in the zoo: \d+",
    ),
    "4_own_data": (
        r"support \[5, 1, 28, 28\] query \[25, 1, 28, 28\]",
        r"the same pictures: True",
        r"PreparedDataset\('pictures', all classes: 60 examples of 3 classes\)",
        r"UnknownNameError: unknown column 'fiel' of pictures.csv; did you mean 'file'\?",
        r"of torch: torch.Size\(\[25, 1, 28, 28\]\)",
        r"of Hugging Face: .+",
        r"PreparedDataset\('shapes', test: 100 examples of 5 classes\)",
        r"UnknownNameError: unknown data set 'shape'; did you mean 'shapes'\?",
        r"trained 14-way, as there are no more training classes",
        rf"shapes-5w1s protonet: {ACCURACY} over 100 episodes",
    ),
    "5_own_algorithm": (
        rf"glyphs-5w1s weighted: {ACCURACY} over 100 episodes",
        r"weights from 0\.\d+ to 1\.\d+",
        rf"weighted minus protonet: {DIFFERENCE}",
        rf"glyphs-5w1s sign-maml: {ACCURACY} over 50 episodes",
        r" 0 steps: \d\d\.\d %",
        r"10 steps: \d\d\.\d %",
        r"UsageError: support_y has shape \[5\], .*",
        r"step 200: accuracy on new classes \d\d\.\d %",
    ),
}

CLOSED = """
import socket, sys

def closed(event, arguments):
    local = event == "socket.connect" and arguments[0].family == getattr(socket, "AF_UNIX", None)
    if event in ("socket.connect", "socket.getaddrinfo") and not local:
        raise OSError("the network is closed")

sys.addaudithook(closed)
"""


def run(words: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python process in an empty home and an empty working folder, its temporary files apart, the network closed."""
    for name in ("home", "work", "temporary", "closed"):
        (folder / name).mkdir()
    (folder / "closed" / "sitecustomize.py").write_text(CLOSED)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("L2L_", "XDG_", "HF_"))}
    environment |= {
        "HOME": str(folder / "home"),
        "USERPROFILE": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        "PYTHONPATH": str(folder / "closed"),
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder / "work",
        env=environment | more,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )


@pytest.fixture
def nearby() -> Iterator[Path]:
    """A folder with a short path: workers hand on tensors through sockets in it, whose paths must not be long."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def cells_of(text: str) -> list[tuple[str, str]]:
    """The cells of a script in percent format, each "markdown" or "code" and its source."""
    cells: list[tuple[str, str]] = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        if heading == " [markdown]":
            lines = body.strip().splitlines()
            assert all(line == "#" or line.startswith("# ") for line in lines), body
            cells.append(("markdown", "\n".join(line[2:] for line in lines)))
        else:
            assert heading == ""
            cells.append(("code", body.strip()))
    return cells


def notebook_of(text: str) -> dict[str, Any]:
    """The notebook, format 4.4, of a script in percent format."""

    def cell(kind: str, source: str) -> dict[str, Any]:
        found: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
        return found if kind == "markdown" else {**found, "outputs": [], "execution_count": None}

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {"kernelspec": kernel},
        "cells": [cell(*each) for each in cells_of(text)],
    }


def read(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def prose(name: str) -> str:
    return "\n\n".join(source for kind, source in cells_of(read(name)) if kind == "markdown")


def test_these_are_all_tutorials() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_what_it_promises_and_leaves_nothing(name: str, glyphs_home: Path, nearby: Path) -> None:
    # Drawing `glyphs` takes as long as the rest; two of the tours do it anew.
    drawn = {} if name in ("1_fetch", "2_sample") else {"L2L_HOME": str(glyphs_home)}
    done = run([str(FOLDER / f"{name}.py")], nearby, **drawn)
    assert (done.returncode, done.stderr) == (0, "")
    lines = iter(done.stdout.splitlines())
    for promise in PROMISES[name]:
        assert any(re.fullmatch(promise, line) for line in lines), (
            f"no line {promise!r}, in its turn, in\n{done.stdout}"
        )
    assert list((nearby / "work").iterdir()) == []
    for place in ("home", "temporary"):
        assert list((nearby / place).rglob("*l2l*")) == []


def test_the_network_is_closed_to_them(tmp_path: Path) -> None:
    done = run(["-c", "import socket; socket.create_connection(('127.0.0.1', 9))"], tmp_path)
    assert done.stderr.splitlines()[-1] == "OSError: the network is closed"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_notebook(name: str) -> None:
    text = read(name)
    assert text.startswith("# %% [markdown]\n# # ")
    notebook = json.loads(json.dumps(notebook_of(text)))
    if find_spec("nbformat"):
        import_module("nbformat").validate(notebook)
    assert all(cell["source"] for cell in notebook["cells"])
    # Each cell of code is whole, and all of them in turn are the script.
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = [ast.dump(statement) for source in code for statement in ast.parse(source).body]
    assert found == [ast.dump(statement) for statement in ast.parse(text).body]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_names_exists(name: str) -> None:
    from typer.main import get_command

    from l2l_core.cli import app

    text = prose(name)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / target).is_file(), target
    for heading in re.findall(r'"([^"]+)" in the README', text):
        assert f"# {heading}\n" in (ROOT / "README.md").read_text(encoding="utf-8"), heading
    commands = vars(get_command(app))["commands"]
    # In a line of prose, or in a block.
    for line in re.findall(r"`(l2l\s[^`]+)`|^(l2l .+)$", text, flags=re.MULTILINE):
        command, *words = " ".join(line).split()[1:]
        assert command in commands, command
        options = {option for parameter in commands[command].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
    code = [source for kind, source in cells_of(read(name)) if kind == "code"]
    code += [path.read_text(encoding="utf-8") for path in ROOT.glob("l2l_core/**/*.py")]
    known = {*re.findall(r"\w+", "\n".join(code)), *open_catalog().datasets}
    for word in re.findall(r"`([A-Za-z_]\w*)(?:\(\))?`", text):
        assert word in known, word
