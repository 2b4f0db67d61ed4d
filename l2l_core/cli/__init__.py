"""The command ``l2l``: one module a subcommand. Results go to stdout, progress and messages to stderr.

Each module imports what it needs inside its function, so that ``l2l list`` does not wait for torch.
"""

import inspect
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Final

import typer

from l2l_core._version import __version__
from l2l_core.cli import (
    cache_command,
    compare_command,
    evaluate_command,
    fetch_command,
    import_command,
    leaderboard_command,
    list_command,
    quickstart_command,
    remove_command,
    report_command,
    reproduce_command,
    sample_command,
    show_command,
    train_command,
    verify_command,
)
from l2l_core.cli.processes import complain, is_one_of_several
from l2l_core.errors import L2LError

_INTERRUPTED: Final = 130
"""The exit status that typer gives when Ctrl-C ends a command, as shells do."""

app = typer.Typer(
    help="Few-shot data sets, the tasks drawn from them, and algorithms evaluated on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _add(name: str, run: Callable[..., None]) -> None:
    """Add a subcommand; the examples that end its docstring end its help, a line each."""
    text, _, examples = (inspect.getdoc(run) or "").partition("\n\nExamples:\n")
    app.command(name, help=text, epilog=f"\b\nExamples:\n{examples}")(run)


_add("list", list_command.run)
_add("show", show_command.run)
_add("fetch", fetch_command.run)
_add("import", import_command.run)
_add("verify", verify_command.run)
_add("cache", cache_command.run)
_add("remove", remove_command.run)
_add("sample", sample_command.run)
_add("train", train_command.run)
_add("evaluate", evaluate_command.run)
_add("reproduce", reproduce_command.run)
_add("compare", compare_command.run)
_add("leaderboard", leaderboard_command.run)
_add("report", report_command.run)
_add("quickstart", quickstart_command.run)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Few-shot data sets, the tasks drawn from them, and algorithms evaluated on them."""


def main() -> None:
    """Run the command; a mistake of the user's is one line on stderr and exit status 1, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # where there is no ± to print, a question mark will do
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="l2l")
    except L2LError as error:
        complain(str(error))
        raise SystemExit(1) from None
    except SystemExit as stop:
        if stop.code == _INTERRUPTED and not is_one_of_several():
            print("l2l: interrupted", file=sys.stderr)
        raise
    except OSError as error:
        # What no layer below has put into words: an unreadable path, a full disk behind stdout.
        place = f" {error.filename}" if error.filename else ""
        complain(f"cannot go on:{place} {error.strerror or error}; check that path and its disk")
        raise SystemExit(1) from None
