"""The result of an evaluation, with how it was got."""

import json
import os
import platform
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from l2l_core._version import __version__
from l2l_core.errors import ContentError
from l2l_core.files import write_file


@dataclass(frozen=True, slots=True)
class GridCell:
    """An accuracy at other ways and shots than the benchmark's.

    Attributes:
        ways, shots: of the episodes.
        accuracy, ci95: mean and half-width of its 95% interval, fractions.
    """

    ways: int
    shots: int
    accuracy: float
    ci95: float


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
        per_class: name of a class to its correct queries and all its queries, of the classes that were drawn.
        confusions: (true class, predicted class, count) of the most frequent mistakes, most frequent first.
        settings: how the method is set.
        grid: accuracies at other ways and shots, where they were asked for.
        hardware: what computed it, in one line; empty where nobody said.
        command: what was typed; None where it was no command.
        date: of the evaluation, ``2026-01-31`` in UTC; empty where nobody said.
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
    per_class: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    confusions: tuple[tuple[str, str, int], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: tuple[GridCell, ...] = ()
    hardware: str = ""
    command: str | None = None
    date: str = ""

    def __str__(self) -> str:
        return f"{self.benchmark} {self.learner}: {percent(self.accuracy, self.ci95)} over {self.episodes:,} episodes"

    @property
    def learner(self) -> str:
        """The method, and its backbone where it is not the method's own."""
        return self.method if self.backbone is None else f"{self.method} on {self.backbone}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the figures as a table, and the accuracies of the episodes as a plot."""
        from l2l_core.evaluation.markup import table
        from l2l_core.evaluation.plots import distribution_plot

        rows = [[self.learner, self.benchmark, percent(self.accuracy, self.ci95), f"{self.episodes:,}"]]
        # Two reports in a notebook are on one page, where each id stands once.
        plot = distribution_plot({self.learner: self.accuracies}, f"r{zlib.crc32(self.to_json().encode()):08x}")
        return f"<div>{table(['method', 'benchmark', 'accuracy', 'episodes'], rows)}{plot}</div>"

    def to_json(self) -> str:
        """One JSON object on one line; its keys are the attributes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` wrote, by this version or an earlier one.

        Raises:
            ContentError: the text is no such object, or a value in it is of another kind.
        """
        try:
            found: dict[str, Any] = {**json.loads(text)}
            found["accuracies"] = tuple(map(float, found["accuracies"]))
            report = cls(**{**found, **{name: read(found[name]) for name, read in _READERS.items() if name in found}})
            _check_kinds(report)
            for cell in report.grid:
                _check_kinds(cell)
            return report
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ContentError(f"not a report ({error}); one JSON object with {names} was expected") from None

    def save(self, path: Path) -> None:
        """Write the JSON to a file, whole or not at all.

        Raises:
            CacheError: the file cannot be written.
        """
        write_file(path, f"{self.to_json()}\n".encode())


# What JSON has no kind of its own for, or would take in any.
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "per_class": lambda found: {name: (int(correct), int(queries)) for name, (correct, queries) in found.items()},
    "confusions": lambda found: tuple((str(true), str(taken_for), int(count)) for true, taken_for, count in found),
    "settings": dict,
    "versions": dict,
    "grid": lambda found: tuple(GridCell(**cell) for cell in found),
}


def _check_kinds(value: "Report | GridCell") -> None:
    """Refuse numbers that are text and text that is a number; every plain field is looked at."""
    for each in fields(value):
        kind, found = each.type, getattr(value, each.name)
        if kind in (int, float, str, str | None):
            assert not isinstance(kind, str)
            wanted = int | float if kind is float else kind
            if not isinstance(found, wanted) or isinstance(found, bool):
                raise TypeError(f"{each.name} is {found!r}")


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


def hardware(device: str = "cpu") -> str:
    """What computes, in one line: the processor and its threads; before them the accelerator, where that is used.

    Args:
        device: the kind of device, as torch names it.
    """
    import torch

    threads = torch.get_num_threads()
    processor = f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{torch.cuda.get_device_name()}; {processor}" if device == "cuda" else processor


def _processor() -> str:
    """The processor's name; Linux keeps it in a file, and tells Python the family only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [
            value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name"
        ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine() or f"{os.cpu_count()} cores"
