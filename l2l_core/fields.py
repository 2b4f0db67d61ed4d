"""Reading TOML tables and CSV files field by field; what is wrong is noted, not raised, so that all of it is seen.

A field that is absent or wrong is noted once and read as an empty stand-in: ``""``, ``0``, ``()``, an empty table. So
reading goes on, and whoever compares fields with one another passes over stand-ins, about which enough was said.
"""

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from l2l_core.errors import CatalogError

T = TypeVar("T")
NAME: Final = r"[a-z0-9]+(-[a-z0-9]+)*"
NAME_MEANING: Final = "lower-case words joined by hyphens"
_KINDS: Final = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}
_NOT_BLANK: Final = r"(?s).*\S.*"


class Fields:
    """One table of a TOML file, taken field by field; end with `done`, which notes what nobody took."""

    def __init__(self, table: Mapping[str, Any] | None, where: str, problems: list[str]) -> None:
        """Fields of `table`.

        Args:
            table: as `tomllib` gives it; of None, which was noted as a problem, every field is a stand-in, silently.
            where: put before each field's name in a problem, for example ``catalog/datasets/x.toml: raw.``.
            problems: where what is wrong is noted, one line each: ``file: field: what is wrong``.
        """
        self._table = dict(table or {})
        self._where, self._problems = where, [] if table is None else problems
        self._known: list[str] = []

    def problem(self, field: str, text: str) -> None:
        """Note what is wrong with a field."""
        self._problems.append(f"{self._where}{field}: {text}")

    def _take(self, field: str, kind: type[T], *, required: bool = True) -> T | None:
        """The field's value; None, noted, where it is absent or of another kind."""
        self._known.append(field)
        if field not in self._table:
            if required:
                self.problem(field, "missing")
            return None
        value = self._table.pop(field)
        # Python's True is an int; TOML's is not.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problem(field, f"expected {_KINDS[kind]}, found {value!r}")
            return None
        return value

    def text(self, field: str, pattern: str = _NOT_BLANK, meaning: str = "text") -> str:
        """A text that matches all of the regular expression, which `meaning` puts into words; required."""
        value = self._take(field, str)
        if value is not None and not re.fullmatch(pattern, value):
            self.problem(field, f"expected {meaning}, found {value!r}")
            return ""
        return value or ""

    def optional_text(self, field: str, pattern: str = _NOT_BLANK, meaning: str = "text") -> str | None:
        """As `text`; None where the field is absent."""
        self._known.append(field)
        return self.text(field, pattern, meaning) if field in self._table else None

    def texts(
        self, field: str, pattern: str = _NOT_BLANK, meaning: str = "texts", *, required: bool = False
    ) -> tuple[str, ...]:
        """Those of a list of texts that match the regular expression; where it is required, the list has some."""
        values = self._take(field, list, required=required)
        if required and values == []:
            self.problem(field, f"expected {meaning}, found an empty list")
        good = []
        for value in values or []:
            if isinstance(value, str) and re.fullmatch(pattern, value):
                good.append(value)
            else:
                self.problem(field, f"expected {meaning}, found {value!r} among them")
        return tuple(good)

    def text_or_texts(self, field: str, pattern: str = _NOT_BLANK, meaning: str = "text") -> tuple[str, ...]:
        """A text as `text` takes it, or a list of at least one; required."""
        if isinstance(self._table.get(field), list):
            return self.texts(field, pattern, meaning, required=True)
        text = self.text(field, pattern, meaning)
        return (text,) if text else ()

    def integer(self, field: str, minimum: int = 1) -> int:
        """A whole number, not below the minimum; required."""
        value = self._take(field, int)
        if value is not None and value < minimum:
            self.problem(field, f"expected at least {minimum}, found {value}")
            return 0
        return value or 0

    def optional_integer(self, field: str, minimum: int = 1) -> int | None:
        """As `integer`; None where the field is absent."""
        self._known.append(field)
        return self.integer(field, minimum) if field in self._table else None

    def flag(self, field: str) -> bool:
        """True or false; false where the field is absent."""
        return self._take(field, bool, required=False) or False

    def size(self, field: str) -> tuple[int, int]:
        """Height and width in pixels; required."""
        value = self._take(field, list)
        if value is None:
            return 0, 0
        if len(value) != 2 or not all(type(side) is int and side > 0 for side in value):
            self.problem(field, f"expected [height, width] in pixels, found {value!r}")
            return 0, 0
        return value[0], value[1]

    def optional_size(self, field: str) -> tuple[int, int] | None:
        """As `size`; None where the field is absent."""
        self._known.append(field)
        return self.size(field) if field in self._table else None

    def number(self, field: str, minimum: float, maximum: float) -> float:
        """A number within bounds, both included; required."""
        value = self._take(field, object)
        if isinstance(value, int | float) and not isinstance(value, bool) and minimum <= value <= maximum:
            return float(value)
        if value is not None:
            self.problem(field, f"expected a number from {minimum} to {maximum}, found {value!r}")
        return 0.0

    def optional_number(self, field: str, minimum: float, maximum: float) -> float | None:
        """As `number`; None where the field is absent."""
        self._known.append(field)
        return self.number(field, minimum, maximum) if field in self._table else None

    def numbers(self, field: str) -> tuple[float, ...]:
        """A list of numbers; required, and at least one."""
        value = self._take(field, list)
        # TOML's whole numbers have no end, and floats do.
        if value is not None and not (
            value and all(type(number) in (int, float) and abs(number) < 1e300 for number in value)
        ):
            self.problem(field, f"expected a list of numbers, found {value!r}")
            return ()
        return tuple(map(float, value or ()))

    def choice(self, field: str, choices: Sequence[T]) -> T:
        """One of some texts, of which the first stands for an absent field."""
        self._known.append(field)
        if field not in self._table:
            return choices[0]
        text = self.text(field, "|".join(map(re.escape, map(str, choices))), f"one of {', '.join(map(str, choices))}")
        return next((choice for choice in choices if choice == text), choices[0])

    def mapping(self, field: str) -> dict[str, Any]:
        """A table, unread; an empty one where the field is absent."""
        return self._take(field, dict, required=False) or {}

    def table(self, field: str) -> "Fields":
        """A table, to be taken field by field; required."""
        return Fields(self._take(field, dict), f"{self._where}{field}.", self._problems)

    def optional_table(self, field: str) -> "Fields | None":
        """As `table`; None where the field is absent."""
        self._known.append(field)
        return self.table(field) if field in self._table else None

    def tables(self, field: str) -> Iterator["Fields"]:
        """The tables of a list, each to be taken field by field; none where the field is absent."""
        for number, table in enumerate(self._take(field, list, required=False) or []):
            yield self._inner(f"{field}[{number}]", table)

    def named_tables(self, field: str) -> Iterator[tuple[str, "Fields"]]:
        """The tables of a table by name, each to be taken field by field; required, and at least one."""
        tables = self._take(field, dict)
        if tables == {}:
            self.problem(field, "expected at least one table, found none")
        for name, table in (tables or {}).items():
            if re.fullmatch(NAME, name):
                yield name, self._inner(f"{field}.{name}", table)
            else:
                self.problem(field, f"expected names of {NAME_MEANING}, found {name!r}")

    def _inner(self, field: str, table: object) -> "Fields":
        if not isinstance(table, dict):
            self.problem(field, f"expected a table, found {table!r}")
            table = None
        return Fields(table, f"{self._where}{field}.", self._problems)

    def done(self) -> None:
        """Note the fields that nobody took: most are typing errors."""
        for field in self._table:
            near = get_close_matches(field, self._known, n=1)
            self.problem(field, "unknown field" + (f", did you mean {near[0]!r}?" if near else ""))


@contextmanager
def every_field(table: Mapping[str, Any], where: str) -> Iterator[Fields]:
    """A context to take all fields of a table in; `where` stands before each field's name in a problem.

    Raises:
        CatalogError: at the end, of every problem that was noted, unknown fields among them.
    """
    problems: list[str] = []
    fields = Fields(table, where, problems)
    yield fields
    fields.done()
    if problems:
        raise CatalogError(problems)


def read_toml(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """The content of a TOML file; None, noted in `problems`, where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except (ValueError, RecursionError) as error:  # of syntax, of UTF-8, a number too long for Python, too deep a list
        problems.append(f"{path}: {error}")
    return None


def read_csv(path: Path, columns: Sequence[str], problems: list[str]) -> list[dict[str, str]] | None:
    """Rows of a CSV file, column to text; None, noted in `problems`, where not every row has just these columns."""
    rows, before = [], len(problems)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != list(columns):
                problems.append(f"{path}: line 1: expected the columns {','.join(columns)}, found {','.join(header)}")
                return None
            for row in reader:
                if len(row) == len(columns):
                    rows.append(dict(zip(columns, row, strict=True)))
                else:
                    problems.append(f"{path}: line {reader.line_num}: expected {len(columns)} fields, found {len(row)}")
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except (ValueError, csv.Error) as error:
        problems.append(f"{path}: {error}")
    return rows if len(problems) == before else None
