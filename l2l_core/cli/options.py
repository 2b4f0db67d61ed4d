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
Backbone: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="conv4, conv4-32, conv4-stride, r2d2, resnet12 or wrn28; else the method's own (conv4; MAML and its kin: "
        "conv4-stride for grey pictures, conv4-32 for colour)."
    ),
]
Form: TypeAlias = Annotated[
    str | None, typer.Option(help="Which form of the raw data, as `l2l show` lists them; else the first that is there.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_json(value: Any) -> None:
    """Print one JSON object or array on a line of its own."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text in aligned columns; numbers stand to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_right = [
        bool(rows) and any(map(_is_number, column[1:])) and all(map(_is_amount, column[1:])) for column in columns
    ]
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, to_right, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in tuple("+-−±")


def _is_amount(text: str) -> bool:
    return _is_number(text.lstrip("~<")) or text in ("", "unknown", "none")


def size_text(size_bytes: int) -> str:
    """A size for people to read: 9.5 MB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes} B"


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
