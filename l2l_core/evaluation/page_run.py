"""A run as a page shows it: its report, and its training where that was logged."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from l2l_core.errors import ContentError
from l2l_core.evaluation.comparison import read_report
from l2l_core.evaluation.report import Report

TRAINING_LOG: Final = "training.csv"
_NEEDED: Final = ("episodes", "loss", "validation_accuracy", "validation_ci95")


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run.

    Attributes:
        name: what to call it: method and backbone, and the file or folder it was read from where that is not enough.
        report: of its evaluation.
        losses: (training episodes, loss), in order; empty where no training was logged.
        validations: (training episodes, accuracy, ci95), the latter two as fractions, in order.
    """

    name: str
    report: Report
    losses: Sequence[tuple[float, float]] = ()
    validations: Sequence[tuple[float, float, float]] = ()


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in some report files, or folders with a ``report.json`` and perhaps a ``training.csv``.

    Raises:
        ContentError: a file is absent, or is no report or no log of training.
    """
    reports = [read_report(path) for path in paths]
    labels = [_label(report) for report in reports]
    runs: list[Run] = []
    for path, report, label in zip(paths, reports, labels, strict=True):
        name = label if labels.count(label) == 1 else f"{label} ({path.name if path.is_dir() else path.stem})"
        # Twice the same file is told apart by its place.
        taken = [run.name for run in runs]
        name = name if name not in taken else f"{name}, {len(runs) + 1}"
        log = path / TRAINING_LOG if path.is_dir() else path.with_name(TRAINING_LOG)
        # A file beside a report belongs to it only in a run's folder, where the report is called so.
        logged = log.is_file() and (path.is_dir() or path.name == "report.json")
        runs.append(Run(name, report, *(read_training(log) if logged else ())))
    return runs


def _label(report: Report) -> str:
    return report.learner if report.weights else f"{report.learner}, untrained"


def read_training(path: Path) -> tuple[list[tuple[float, float]], list[tuple[float, float, float]]]:
    """The losses and the validations of a training log, as `Run` has them.

    Raises:
        ContentError: it has other columns, or something in it is no number.
    """
    losses: list[tuple[float, float]] = []
    validations: list[tuple[float, float, float]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise ContentError(f"{path} has no column {missing[0]}; give the training.csv that `l2l train` wrote")
            for row in reader:
                # The last line of a run that was killed may be cut off.
                if None in row.values():
                    continue
                losses.append((float(row["episodes"]), float(row["loss"])))
                if row["validation_accuracy"]:
                    figures = row["episodes"], row["validation_accuracy"], row["validation_ci95"]
                    episodes, accuracy, ci95 = map(float, figures)
                    validations.append((episodes, accuracy, ci95))
    except (ValueError, csv.Error) as error:
        if isinstance(error, ContentError):
            raise
        raise ContentError(f"{path} is no log of training ({error}); remove it, or train again") from None
    return losses, validations
