"""Options and output that several subcommands share."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from l2l_core.cli.processes import speaks
from l2l_core.errors import UsageError

if TYPE_CHECKING:
    from l2l_core.records import BenchmarkRecord

Root: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder that holds the data; else L2L_HOME, else the user's cache folder.")
]
Backbone: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="conv4, conv4-32, conv4-stride, r2d2, resnet12 or wrn28; else the method's own (conv4; MAML and its kin: "
        "conv4-stride for grey pictures, conv4-32 for colour). Trained ones, frozen: torchvision:NAME, timm:NAME, "
        "zoo:NAME, or a file of weights. Of texts: minilm or tfidf."
    ),
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set something of the method or its training otherwise than its recipe; may be repeated.",
    ),
]
Device: TypeAlias = Annotated[
    str | None, typer.Option(help="As torch calls it, as in cuda:1. [default: cuda where there is one, else cpu]")
]
Devices: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1,
        help="Share the work out to that many processes of this machine: on a GPU each where there are GPUs, else on "
        "the processor. For several machines see the README.",
    ),
]
Record: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Add the result to this folder's table of the benchmark, as metadata/results/own has them."),
]
Note: TypeAlias = Annotated[str, typer.Option(help="What else a reader of that table should know.")]
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


def parse_settings(texts: Sequence[str] | None) -> dict[str, Any]:
    """Settings by name, of texts ``name=value``; a value that is JSON is what it says there, and any other is a text.

    Raises:
        UsageError: a text is no such pair, or names what another one has named.
    """
    settings: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals) or name in settings:
            raise UsageError(f"found --set {text}; give --set NAME=VALUE, each name once")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def form_of(record: "BenchmarkRecord") -> dict[str, int | str]:
    """Ways, shots and queries of a benchmark's episodes."""
    sizes = {"ways": record.ways, "shots": record.shots, "queries": record.queries}
    return {name: "varies" if record.kind == "variable" else size for name, size in sizes.items()}


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
    """A message to the person at the terminal, on stderr; of several processes only the first one speaks."""
    if speaks():
        print(message, file=sys.stderr, flush=True)
