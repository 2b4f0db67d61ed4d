"""Help texts: each ends in examples, and the examples are such as the command takes."""

import shlex

import pytest
import typer.main

from l2l_core._version import __version__
from l2l_core.cli import app
from tests.cli.command import Command

COMMANDS = (
    "list",
    "show",
    "fetch",
    "import",
    "verify",
    "cache",
    "remove",
    "sample",
    "train",
    "evaluate",
    "reproduce",
    "compare",
    "leaderboard",
    "report",
    "quickstart",
)


def _examples(help_text: str) -> list[str]:
    text, found, examples = help_text.partition("\n  Examples:\n")
    assert found
    assert "Options:" in text, "the examples come last"
    return [line.strip() for line in examples.splitlines()]


def test_every_command_is_listed_with_its_purpose(l2l: Command) -> None:
    lines = l2l("--help").lines
    listed = [line.split(maxsplit=1) for line in lines[lines.index("Commands:") + 1 :]]
    assert [name for name, _ in listed] == list(COMMANDS)
    assert all(len(purpose) > 15 for _, purpose in listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_examples_that_the_command_takes(l2l: Command, command: str) -> None:
    group = typer.main.get_command(app)
    examples = _examples(l2l(command, "--help").out)
    assert len(examples) >= 2
    for example in examples:
        program, name, *words = shlex.split(example)
        assert (program, name) == ("l2l", command)
        # Parses every word as a run would, and runs nothing.
        group.commands[command].make_context(command, words)


def test_the_version(l2l: Command) -> None:
    assert l2l("--version").lines == [__version__]


def test_no_words_show_the_help(l2l: Command) -> None:
    done = l2l()
    assert done.status == 2
    assert "Commands:" in done.out + done.err
