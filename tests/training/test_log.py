"""The table of a run."""

import csv
from pathlib import Path

import pytest

from l2l_core.data.benchmarks import Benchmark
from l2l_core.errors import CacheError
from l2l_core.training import loop, train
from l2l_core.training.log import LogRow, TrainingLog
from tests.training.runs import QUICK

HEADER = "step,episodes,seconds,loss,learning_rate,validation_accuracy,validation_ci95"


def test_rows_are_there_at_once_and_those_after_the_step_are_forgotten(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, 0)
    for step in range(1, 5):
        log.add(LogRow(step, 10 * step, 0.5 * step, 1 / step, 1e-3))
    log.add(LogRow(5, 50, 2.5, 0.25, 1e-3, 0.75, 0.0125))
    text = (tmp_path / "training.csv").read_text()
    assert text.splitlines()[:2] == [HEADER, "1,10,0.5,1,0.001,,"]
    assert text.splitlines()[5] == "5,50,2.5,0.25,0.001,0.75,0.0125"
    TrainingLog(tmp_path, 5)
    assert (tmp_path / "training.csv").read_text() == text
    TrainingLog(tmp_path, 3).add(LogRow(4, 40, 9.0, 0.5, 1e-3))
    steps = [line.split(",")[0] for line in (tmp_path / "training.csv").read_text().splitlines()]
    assert steps == ["step", "1", "2", "3", "4"]
    TrainingLog(tmp_path, 0)
    assert (tmp_path / "training.csv").read_text() == f"{HEADER}\n"


@pytest.mark.parametrize("cut", [b"2,20,1.0,0.5", b"2", b"\xff\xfe\x00\n", "²,20,1,0.5,0.001,,\n".encode(), b"\0" * 40])
def test_rows_that_are_cut_off_or_damaged_are_no_rows(tmp_path: Path, cut: bytes) -> None:
    TrainingLog(tmp_path, 0).add(LogRow(1, 10, 0.5, 1.0, 1e-3))
    path = tmp_path / "training.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + cut)
    TrainingLog(tmp_path, 9)
    assert path.read_bytes() == whole


def test_a_log_that_is_gone_begins_again(tmp_path: Path) -> None:
    TrainingLog(tmp_path / "new", 7)
    assert (tmp_path / "new/training.csv").read_text() == f"{HEADER}\n"


def test_no_folder_no_file(tmp_path: Path) -> None:
    TrainingLog(None, 0).add(LogRow(1, 10, 0.5, 1.0, 1e-3))
    assert not list(tmp_path.iterdir())


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "run", 0)
    (tmp_path / "run/training.csv").unlink()
    (tmp_path / "run/training.csv").mkdir()
    with pytest.raises(CacheError) as caught:
        log.add(LogRow(1, 10, 0.5, 1.0, 1e-3))
    assert str(caught.value) == (
        f"cannot write training.csv to {tmp_path}/run/training.csv: a folder stands where the file should be; "
        "choose another folder with --out"
    )


def test_a_run_logs_every_so_many_steps_and_each_validation(
    opened: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    settings = {**QUICK, "train_ways": 2, "meta_batch": 2, "validate_every": 5, "learning_rate": 0.5, "halve_every": 8}
    losses: list[float] = []
    step = loop._Run._step

    def watched(self: loop._Run, rate: float) -> float:
        losses.append(step(self, rate))
        return losses[-1]

    monkeypatch.setattr(loop._Run, "_step", watched)
    _, run = train(opened, "protonet", episodes=22, settings=settings, folder=tmp_path)
    with (tmp_path / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4, 5, 6, 8, 10, 11]
    assert [int(row["episodes"]) for row in rows] == [4, 8, 10, 12, 16, 20, 22]
    # Of each row the mean loss since the one before, and the rate of the last step.
    means = [sum(losses[start:end]) / (end - start) for start, end in ((0, 2), (2, 4), (4, 5), (5, 6), (6, 8))]
    assert [float(row["loss"]) for row in rows[:5]] == pytest.approx(means, rel=1e-5)
    assert [float(row["learning_rate"]) for row in rows] == [0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert [int(row["step"]) for row in rows if row["validation_ci95"]] == [5, 10, 11]
    scores = [float(row["validation_accuracy"]) for row in rows if row["validation_accuracy"]]
    assert scores == pytest.approx([validation.accuracy for validation in run.history], rel=1e-5)
