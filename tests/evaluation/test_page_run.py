"""Runs read from their files."""

from pathlib import Path

import pytest

from l2l_core.errors import ContentError
from l2l_core.evaluation.page_run import read_runs, read_training
from tests.evaluation.test_report import make_report

HEADER = "step,episodes,seconds,loss,learning_rate,validation_accuracy,validation_ci95\n"


def test_a_folder_a_file_and_the_same_method_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_report(weights="w").save(tmp_path / name / "report.json")
    make_report(backbone="resnet12").save(tmp_path / "three.json")
    (tmp_path / "one" / "training.csv").write_text(f"{HEADER}1,8,0.5,1.25,0.001,,\n2,16,1,0.5,0.001,0.75,0.01\n3,2")
    # Beside a report that is not a run's own, a log is of something else.
    (tmp_path / "training.csv").write_text(HEADER)
    paths = [tmp_path / "one", tmp_path / "two", tmp_path / "three.json", tmp_path / "one" / "report.json"]
    one, two, three, again = read_runs(paths)
    names = [run.name for run in (one, two, three, again)]
    assert names == ["protonet (one)", "protonet (two)", "protonet on resnet12, untrained", "protonet (report)"]
    assert (one.losses, one.validations) == ([(8.0, 1.25), (16.0, 0.5)], [(16.0, 0.75, 0.01)])
    assert (again.losses, two.losses, three.losses) == (one.losses, (), ())
    assert two.report == make_report(weights="w")
    assert [run.name for run in read_runs([tmp_path / "one"] * 2)] == ["protonet (one)", "protonet (one), 2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,2\n", "{path} has no column episodes; give the training.csv that `l2l train` wrote"),
        (f"{HEADER}1,8,0.5,much,0.001,,\n", "{path} is no log of training (could not convert string to float: 'much')"),
        (f"{HEADER}1,8,0.5,\x00\udc80", "{path} is no log of training ("),
    ],
)
def test_what_is_no_log(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "training.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ContentError) as caught:
        read_training(path)
    assert str(caught.value).startswith(message.format(path=path))
