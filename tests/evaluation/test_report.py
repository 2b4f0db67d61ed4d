"""Reports: what they say, and their way through a file."""

import json
import re
from dataclasses import fields
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from l2l_core.errors import CacheError, ContentError
from l2l_core.evaluation import report as report_module
from l2l_core.evaluation.report import GridCell, Report, hardware, percent, versions


def make_report(**changes: object) -> Report:
    values = {
        "benchmark": "small-3w2s",
        "dataset": "small",
        "split": "own",
        "subset": "test",
        "method": "protonet",
        "weights": None,
        "ways": 3,
        "shots": 2,
        "queries": 3,
        "episodes": 3,
        "seed": 2**64 - 1,
        "accuracy": 0.1 + 0.2,
        "ci95": 0.0123,
        "accuracies": (0.1, 1 / 3, 1.0),
        "seconds": 0.25,
        "episodes_digest": "ab" * 32,
        "versions": {"l2l_core": "1", "python": "3"},
    }
    return Report(**{**values, **changes})


def test_json_goes_round_without_loss(tmp_path: Path) -> None:
    report = make_report(weights="Gewichte/é.safetensors")
    assert Report.from_json(report.to_json()) == report
    report.save(tmp_path / "new" / "report.json")
    text = (tmp_path / "new" / "report.json").read_text(encoding="utf-8")
    assert text == report.to_json() + "\n"
    assert Report.from_json(text) == report


def test_json_of_the_page_goes_round_too() -> None:
    report = make_report(
        per_class={"a": (1, 3), "b": (0, 3)},
        confusions=(("a", "b", 2),),
        settings={"lr": 0.5, "steps": [1, 2]},
        grid=(GridCell(3, 1, 0.5, 0.1),),
        hardware="a processor, 2 threads",
        command="l2l evaluate",
        date="2026-01-31",
    )
    assert Report.from_json(report.to_json()) == report


def test_a_report_of_before_the_page_is_read() -> None:
    values = json.loads(make_report().to_json())
    for name in ("backbone", "per_class", "confusions", "settings", "grid", "hardware", "command", "date"):
        del values[name]
    assert Report.from_json(json.dumps(values)) == make_report()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("accuracy", "high", "accuracy is 'high'"),
        ("ways", 5.5, "ways is 5.5"),
        ("method", None, "method is None"),
        ("command", 7, "command is 7"),
        ("per_class", {"a": [1]}, "not enough values to unpack"),
        ("per_class", [1], "'list' object has no attribute 'items'"),
        ("confusions", [["a", "b", "many"]], "invalid literal for int()"),
        ("grid", [{"ways": 5, "shots": 1, "accuracy": None, "ci95": 0.1}], "accuracy is None"),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: object, reason: str) -> None:
    values = json.loads(make_report().to_json())
    with pytest.raises(ContentError) as caught:
        Report.from_json(json.dumps({**values, name: value}))
    assert str(caught.value).startswith(f"not a report ({reason}")


def test_in_a_notebook() -> None:
    first, second = make_report(method="<b>"), make_report()
    shown = first._repr_html_()
    assert "&lt;b&gt;" in shown and "<b>" not in shown
    assert "30.00 ± 1.23 %" in shown
    assert "small-3w2s" in shown
    (plot,) = re.findall(r"<svg.*</svg>", shown, re.DOTALL)
    ElementTree.fromstring(plot)
    assert not set(re.findall(r' id="([^"]+)', shown)) & set(re.findall(r' id="([^"]+)', second._repr_html_()))


def test_hardware_names_the_processor_and_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "_processor", lambda: "a processor")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an accelerator")
    assert hardware() == "a processor, 2 threads"
    assert hardware("cuda") == "an accelerator; a processor, 2 threads"
    monkeypatch.undo()
    assert len(report_module._processor()) > 2


def test_json_is_one_line_with_all_attributes() -> None:
    text = make_report().to_json()
    assert "\n" not in text
    assert list(json.loads(text)) == [field.name for field in fields(Report)]
    assert json.loads(text)["accuracies"] == [0.1, 1 / 3, 1.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "'list' object is not a mapping"),
        ("{}", "'accuracies'"),
        ('{"accuracies": 3}', "'int' object is not iterable"),
        ('{"accuracies": [], "colour": 1}', "unexpected keyword argument 'colour'"),
        ('{"accuracies": []}', "missing 16 required positional arguments"),
    ],
)
def test_what_is_no_report_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ContentError) as caught:
        Report.from_json(text)
    assert str(caught.value).startswith("not a report (")
    assert reason in str(caught.value)
    assert "one JSON object with benchmark, dataset, split" in str(caught.value)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CacheError, match="cannot write report.json to .*: a file stands where a folder should be"):
        make_report().save(tmp_path / "file" / "report.json")
    assert (tmp_path / "file").read_text() == "mine"


def test_figures_for_people() -> None:
    assert percent(0.98804, 0.00126) == "98.80 ± 0.13 %"
    assert percent(1.0) == "100.00 %"
    assert percent(0.5, 0.0) == "50.00 ± 0.00 %"
    assert str(make_report(episodes=1000)) == "small-3w2s protonet: 30.00 ± 1.23 % over 1,000 episodes"


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"l2l_core", "python", "torch", "torchvision", "numpy", "pillow"} == set(versions())

    def version(package: str) -> str:
        if package == "torchvision":
            raise PackageNotFoundError
        return f"{package} 1"

    monkeypatch.setattr(report_module, "version", version)
    assert versions()["numpy"] == "numpy 1"
    assert "torchvision" not in versions()
