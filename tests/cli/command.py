"""Running the command as a user does: the real `main`, its exit status, and what it prints."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from l2l_core.cli import main


@dataclass(frozen=True)
class Done:
    """What a run of the command left: its exit status, its stdout and its stderr."""

    status: object
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines on stdout."""
        assert self.status == 0, self.err
        return self.out.splitlines()

    @property
    def mistake(self) -> str:
        """The one line on stderr, without its beginning, of a run that failed because of the user."""
        assert self.status == 1
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("l2l: ")
        return line.removeprefix("l2l: ")


Command = Callable[..., Done]


def make_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A function that takes the words after ``l2l``."""

    def l2l(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["l2l", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Done(stopped.value.code, printed.out, printed.err)

    return l2l
