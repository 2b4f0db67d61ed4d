"""``l2l report``, and what ``l2l evaluate`` writes for it."""

import json
import re
from pathlib import Path

from l2l_core.evaluation.report import Report
from tests.cli.command import Command
from tests.small import SmallData

EVALUATE = ("evaluate", "small-3w2s", "--method", "protonet", "--episodes", 4)


def test_evaluate_writes_the_report_that_it_prints(l2l: Command, imported: SmallData, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    done = l2l(*EVALUATE, "--out", path, "--json")
    report = Report.from_json(path.read_text())
    assert report == Report.from_json(done.out)
    assert report.command == f"l2l evaluate small-3w2s --method protonet --episodes 4 --out {path} --json"
    assert report.grid == ()
    assert sum(queries for _, queries in report.per_class.values()) == 4 * 9


def test_evaluate_at_other_ways_and_shots(l2l: Command, imported: SmallData) -> None:
    found = l2l(*EVALUATE, "--grid", "--seed", 5, "--json").json["grid"]
    assert [(cell["ways"], cell["shots"]) for cell in found] == [(n, k) for n in (2, 3) for k in (1, 2, 5)]


def test_the_page_of_runs(l2l: Command, imported: SmallData, tmp_path: Path) -> None:
    l2l(*EVALUATE, "--out", tmp_path / "run" / "report.json")
    l2l("evaluate", "small-3w2s", "--method", "r2d2", "--episodes", 4, "--out", tmp_path / "r2d2.json")
    out = tmp_path / "pages" / "both.html"
    done = l2l("report", tmp_path / "run", tmp_path / "r2d2.json", "--out", out)
    assert done.lines == [str(out)]
    html = out.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    for part in ("protonet, untrained", "r2d2, untrained", "Differences, episode by episode"):
        assert part in html
    pictures = re.findall(r"data:image/png", html)
    assert len(pictures) == 2 * 2 * 2, "two runs, of each the two hardest and the two easiest of four episodes"
    assert l2l("report", tmp_path / "r2d2.json").lines == ["report.html"]


def test_what_is_no_run(l2l: Command, tmp_path: Path) -> None:
    assert l2l("report", tmp_path).mistake.startswith(f"there is no report {tmp_path / 'report.json'}")
    (tmp_path / "a.json").write_text(json.dumps({"accuracies": [1]}))
    assert "a.json: not a report (" in l2l("report", tmp_path / "a.json").mistake
    assert not Path("report.html").exists()
