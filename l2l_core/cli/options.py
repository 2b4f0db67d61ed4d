"""Options and output that several subcommands share."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from l2l_core.errors import UsageError

Root: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder that holds the data; else L2L_HOME, else the user's cache folder.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_json(value: Any) -> None:
    """Print one JSON object or array on a line of its own."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text in aligned columns; numbers stand to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_right = [bool(rows) and all(_is_number(text) for text in column[1:]) for column in columns]
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, to_right, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] in "+-−±"


def make_folder(folder: Path, option: str) -> None:
    """Nothing; the folder is there and can be written to, which a run should know before its work and not after.

    Raises:
        UsageError: it cannot; names the option that chose it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file stands where a folder should be" if in_the_way else error.strerror
        raise UsageError(f"cannot write to {folder}: {reason}; choose another folder with {option}") from None


def say(message: str) -> None:
    """A message to the person at the terminal, on stderr."""
    print(message, file=sys.stderr, flush=True)
