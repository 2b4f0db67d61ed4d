"""``--devices``: how the processes of a command start and end, with a stand-in for the command in them."""

import json
import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from l2l_core.cli import processes
from tests.cli.command import Command
from tests.small import SmallData

STAND_IN = """#!{python}
import json, os, pathlib, signal, sys, time
rank = int(os.environ["RANK"])
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
told = {{name: os.environ[name] for name in names}}
pathlib.Path(f"rank{{rank}}.json").write_text(json.dumps([sys.argv[1:], told]))
{body}
"""


def _stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Have processes run that Python code, in which `rank` is theirs, instead of the command."""
    path = folder / "python"
    path.write_text(STAND_IN.format(python=sys.executable, body=body))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(path))


def test_each_process_is_told_of_the_others(
    l2l: Command, mine: SmallData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(monkeypatch, tmp_path, "if rank == 0: print('done')")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)), raising=False)
    words = ["evaluate", "small-3w2s", "--method", "maml", "--devices", "3"]
    assert l2l(*words).status == 0
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(3)]
    assert [argv for argv, _ in told] == [["-m", "l2l_core", *words]] * 3
    assert [(each["RANK"], each["LOCAL_RANK"]) for _, each in told] == [(n, n) for n in "012"]
    for _, each in told:
        assert (each["WORLD_SIZE"], each["MASTER_ADDR"], each["OMP_NUM_THREADS"]) == ("3", "127.0.0.1", "2")
        assert each["MASTER_PORT"] == told[0][1]["MASTER_PORT"]


def test_one_that_is_killed_ends_the_others(
    l2l: Command, mine: SmallData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "_GRACE_S", 0.2)
    _stand_in(monkeypatch, tmp_path, "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)")
    start = time.monotonic()
    assert l2l("train", "small-3w2s", "--method", "maml", "--devices", 2).mistake == (
        "process 1 (counted from 0) of 2 was ended by SIGKILL, and with it the job; start the same again: a training "
        "goes on from its last checkpoint"
    )
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("body", "status"), [("sys.exit(3 if rank == 1 else 0)", 3), ("sys.exit(1)", 1)])
def test_one_that_fails_gives_its_status_and_has_said_why(
    l2l: Command, mine: SmallData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, status: int
) -> None:
    _stand_in(monkeypatch, tmp_path, body)
    done = l2l("evaluate", "small-3w2s", "--method", "maml", "--devices", 2)
    assert (done.status, done.out, done.err) == (status, "", "")


def test_ctrl_c_is_passed_on(l2l: Command, mine: SmallData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = (
        "rank == 0 and os.kill(os.getppid(), signal.SIGINT)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit(0)"
    )
    _stand_in(monkeypatch, tmp_path, body)
    # Until then the others must be there.
    before = signal.getsignal(signal.SIGINT)
    done = l2l("train", "small-3w2s", "--method", "maml", "--devices", 1 + 1)
    assert done.status in (0, 1)  # one that was hit before it could catch it has failed
    assert signal.getsignal(signal.SIGINT) is before


def test_one_of_several_starts_no_others_and_only_the_first_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "_WAY_S", 0.0)
    assert (processes.is_one_of_several(), processes.speaks()) == (False, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, speaks, line in (("0", True, "l2l: no\n"), ("1", False, "l2l: process 1: no\n")):
        monkeypatch.setenv("RANK", rank)
        processes.start_processes(2)
        assert processes.speaks() is speaks
        processes.complain("no")
        assert capsys.readouterr().err == line


def test_a_number_that_cannot_be(l2l: Command, mine: SmallData) -> None:
    done = l2l("train", "small-3w2s", "--method", "maml", "--devices", 0)
    assert done.status == 2
    assert "--devices" in done.err
