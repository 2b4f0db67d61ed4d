"""What happened during training, as a table that grows: ``training.csv`` in the folder of a run."""

import csv
from pathlib import Path
from typing import Final, NamedTuple

from l2l_core.evaluation.page_run import TRAINING_LOG
from l2l_core.files import write_file, writing

FILE_NAME: Final = TRAINING_LOG


class LogRow(NamedTuple):
    """A row of the table; its fields are the columns.

    Attributes:
        step, episodes: done so far.
        seconds: since the start, validation included.
        loss: mean training loss since the row before.
        learning_rate: of the last step.
        validation_accuracy, validation_ci95: fractions; empty between validations.
    """

    step: int
    episodes: int
    seconds: float
    loss: float
    learning_rate: float
    validation_accuracy: float | str = ""
    validation_ci95: float | str = ""


class TrainingLog:
    """The table of a run.

    Args:
        folder: where it lies; None writes nothing.
        step: rows after it are forgotten, since the run goes on from there.

    Raises:
        CacheError: the file cannot be written.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._path = None if folder is None else folder / FILE_NAME
        if self._path is not None:
            lines = [",".join(LogRow._fields)]
            if step and self._path.is_file():
                with self._path.open(encoding="utf-8", errors="replace", newline="") as file:
                    lines += [",".join(row) for row in list(csv.reader(file))[1:] if _is_before(row, step)]
            write_file(self._path, ("\n".join(lines) + "\n").encode())

    def add(self, row: LogRow) -> None:
        """Nothing; the table has the row, also if the run is killed at once.

        Raises:
            CacheError: the file cannot be written.
        """
        if self._path is None:
            return
        text = ",".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row)
        advice = "choose another folder with --out"
        with writing(FILE_NAME, self._path, advice), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _is_before(row: list[str], step: int) -> bool:
    # A row that was cut off by a kill is no row.
    return len(row) == len(LogRow._fields) and row[0].isdecimal() and int(row[0]) <= step
