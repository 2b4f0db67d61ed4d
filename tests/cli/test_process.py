"""The command as a process of its own: it starts, without torch, and survives a closed pipe."""

import subprocess
import sys
from pathlib import Path

import pytest

L2L = Path(sys.executable).with_name("l2l")


def _modules(importtime: str) -> set[str]:
    """Top-level packages in what ``-X importtime`` printed."""
    lines = [line for line in importtime.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines[1:]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([L2L, "list"], "omniglot-5w1s"),
        ([L2L, "list", "datasets"], "tiered-imagenet"),
        (["-m", "l2l_core", "show", "omniglot"], "vinyals"),
        ([L2L, "show", "quickdraw"], "meta-dataset"),
        ([L2L, "cache"], "size"),
    ],
)
def test_list_and_show_start_without_torch(words: list[str], expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], capture_output=True, text=True, timeout=60, check=True
    )
    assert expected in done.stdout
    modules = _modules(done.stderr)
    assert "l2l_core" in modules
    assert not modules & {"torch", "torchvision", "matplotlib", "PIL", "requests", "urllib3", "tqdm", "filelock"}
    assert not modules & {"safetensors", "scipy", "datasets"}


def test_a_closed_pipe_is_no_failure() -> None:
    with subprocess.Popen([L2L, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(60)
