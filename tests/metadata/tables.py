"""The files of ``catalog/`` and ``metadata/``, read without the package."""

import csv
import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUBSETS = ("train", "validation", "test")


def entry(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


ENTRIES = {path.stem: entry(path) for path in sorted((ROOT / "catalog/datasets").glob("*.toml"))}
LICENCES = entry(ROOT / "metadata/licences.toml")
PAPERS = entry(ROOT / "metadata/papers.toml")


def table(path: str) -> list[dict[str, str]]:
    with (ROOT / "metadata" / path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def classes(dataset: str, split: str, subset: str | None = None) -> list[str]:
    return [row["class"] for row in table(f"splits/{dataset}/{split}.csv") if subset in (None, row["subset"])]


def digest(lines: Iterable[str]) -> str:
    """The first quarter of the sha256 over lines, sorted and joined by line feeds."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
