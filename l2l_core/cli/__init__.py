"""The command ``l2l``: one module a subcommand. Results go to stdout, progress and messages to stderr.

Each module imports what it needs inside its function, so that ``l2l list`` does not wait for torch.
"""

import sys

import typer

from l2l_core._version import __version__
from l2l_core.cli import (
    evaluate_command,
    fetch_command,
    import_command,
    list_command,
    quickstart_command,
    sample_command,
    show_command,
    train_command,
    verify_command,
)
from l2l_core.errors import L2LError

app = typer.Typer(
    help="Few-shot data sets, the tasks drawn from them, and algorithms evaluated on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("list")(list_command.run)
app.command("show")(show_command.run)
app.command("fetch")(fetch_command.run)
app.command("import")(import_command.run)
app.command("verify")(verify_command.run)
app.command("sample")(sample_command.run)
app.command("train")(train_command.run)
app.command("evaluate")(evaluate_command.run)
app.command("quickstart")(quickstart_command.run)


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
    try:
        app()
    except L2LError as error:
        print(f"l2l: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:  # `l2l list | head`: nobody reads on, which is no failure
        sys.stderr.close()
        raise SystemExit(0) from None
