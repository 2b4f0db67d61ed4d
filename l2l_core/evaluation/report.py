"""The result of an evaluation, with how it was got."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from l2l_core._version import __version__
from l2l_core.errors import ContentError
from l2l_core.files import write_file


@dataclass(frozen=True, slots=True)
class Report:
    """An accuracy, and everything one needs to get it again.

    Attributes:
        benchmark, dataset, split, subset: what was drawn from.
        method: which learner.
        weights: the file of its weights; None for an untrained learner.
        ways, shots, queries, episodes, seed: which episodes.
        accuracy: mean over episodes, a fraction in [0, 1].
        ci95: half-width of the 95% interval of `accuracy`, 1.96·s/√n over episodes.
        accuracies: of each episode, in order.
        seconds: of the evaluation, without loading packages and data.
        episodes_digest: names the episodes: equal digests, equal data, classes and examples.
        versions: of Python and the packages that matter.
        backbone: name of the learner's backbone; None for the method's own.
    """

    benchmark: str
    dataset: str
    split: str
    subset: str
    method: str
    weights: str | None
    ways: int
    shots: int
    queries: int
    episodes: int
    seed: int
    accuracy: float
    ci95: float
    accuracies: tuple[float, ...]
    seconds: float
    episodes_digest: str
    versions: Mapping[str, str]
    backbone: str | None = None

    def __str__(self) -> str:
        method = self.method if self.backbone is None else f"{self.method} on {self.backbone}"
        return f"{self.benchmark} {method}: {percent(self.accuracy, self.ci95)} over {self.episodes:,} episodes"

    def to_json(self) -> str:
        """One JSON object on one line; its keys are the attributes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` wrote.

        Raises:
            ContentError: the text is no such object.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            return cls(**{**found, "accuracies": tuple(found["accuracies"])})
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ContentError(f"not a report ({error}); one JSON object with {names} was expected") from None

    def save(self, path: Path) -> None:
        """Write the JSON to a file, whole or not at all.

        Raises:
            CacheError: the file cannot be written.
        """
        write_file(path, f"{self.to_json()}\n".encode())


def percent(accuracy: float, ci95: float | None = None) -> str:
    """An accuracy as people print it: ``98.80 ± 0.13 %``."""
    return f"{100 * accuracy:.2f}" + ("" if ci95 is None else f" ± {100 * ci95:.2f}") + " %"


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of the packages that can change a figure."""
    found = {"l2l_core": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
