"""``l2l compare``, ``leaderboard`` and ``show --digest``."""

from dataclasses import replace
from pathlib import Path

import pytest

from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.comparison import paired
from l2l_core.results import read_paired_results
from tests.cli.command import Command
from tests.evaluation.test_comparison import with_accuracies
from tests.evaluation.test_leaderboard import write
from tests.small import SmallData

FIRST = with_accuracies([0.5, 0.7, 0.9, 0.5])
BETTER = with_accuracies([0.6, 0.8, 0.97, 0.6], method="maml")
ALIKE = with_accuracies([0.6, 0.7, 0.8, 0.5], method="anil", backbone="resnet12")


@pytest.fixture
def reports(tmp_path: Path) -> list[Path]:
    """Two files and a run's folder."""
    paths = [tmp_path / "first.json", tmp_path / "better.json", tmp_path / "run"]
    for path, report in zip(paths, (FIRST, BETTER, ALIKE), strict=True):
        report.save(path if path.suffix else path / "report.json")
    return paths


def test_compare_says_what_is_beyond_noise(l2l: Command, reports: list[Path]) -> None:
    lines = l2l("compare", *reports).lines
    assert lines[0] == "small-3w2s, 4 episodes abababababababab (seed 18446744073709551615)"
    assert [line.split()[:2] for line in lines[3:6]] == [["A", "protonet"], ["B", "maml"], ["C", "anil"]]
    assert lines[3].split()[-1] == str(reports[0])
    better, alike = paired(FIRST, BETTER), paired(FIRST, ALIKE)
    assert lines[6] == (
        f"B minus A: +9.25 ± {100 * better.ci95:.2f} points, beyond noise: B is better than A "
        f"(interval {better.gain:.1f} times narrower than unpaired, correlation {better.correlation:.2f})"
    )
    assert lines[7].startswith(
        f"C minus A: +0.00 ± {100 * alike.ci95:.2f} points, within noise: these episodes do not tell them apart ("
    )
    turned = l2l("compare", reports[1], reports[0]).lines
    assert "B minus A: -9.25" in turned[-1]
    assert "A is better than B" in turned[-1]


def test_compare_as_json(l2l: Command, reports: list[Path]) -> None:
    better, alike = l2l("compare", *reports, "--json").json
    assert (better["first"], better["second"]) == (str(reports[0]), str(reports[1]))
    assert better["difference"] == pytest.approx(0.0925)
    assert (better["beyond_noise"], alike["beyond_noise"]) == (True, False)


def test_compare_records_runs_by_the_names_of_their_folders(l2l: Command, reports: list[Path], tmp_path: Path) -> None:
    commanded = [
        replace(report, command="l2l evaluate", hardware="here", date="2026-01-31") for report in (FIRST, ALIKE)
    ]
    paths = [tmp_path / "plain.json", tmp_path / "run"]
    for path, report in zip(paths, commanded, strict=True):
        report.save(path if path.suffix else path / "report.json")
    l2l("compare", *paths, "--record", tmp_path / "paired")
    plain, run = read_paired_results(tmp_path / "paired/small-3w2s.csv", problems := [])
    assert not problems
    assert (plain.run, run.run, run.method, run.backbone) == ("plain", "run", "anil", "resnet12")
    assert run.difference_ci95 == pytest.approx(paired(FIRST, ALIKE).ci95, abs=1e-6)
    (tmp_path / "other").mkdir()
    commanded[0].save(tmp_path / "other/run.json")
    mistake = l2l("compare", paths[1], tmp_path / "other/run.json", "--record", tmp_path / "paired").mistake
    assert mistake == "['run', 'run'] was asked to be recorded, with a name twice; give folders of different names"


def test_compare_refuses_what_is_not_comparable(l2l: Command, reports: list[Path], tmp_path: Path) -> None:
    assert l2l("compare", reports[0]).mistake == (
        f"{reports[0]} alone has nothing to be compared with; give two reports or more"
    )
    with_accuracies([0.5, 0.6], benchmark="omniglot-5w1s", seed=1).save(tmp_path / "other.json")
    mistake = l2l("compare", reports[0], tmp_path / "other.json").mistake
    assert "protonet had 4 of small-3w2s (seed 18446744073709551615, " in mistake
    assert "and protonet 2 of omniglot-5w1s (seed 1, " in mistake
    assert l2l("compare", reports[0], tmp_path / "none").mistake.startswith(f"there is no report {tmp_path / 'none'} (")


def test_leaderboard_marks_ours_the_overlap_and_the_unverified(l2l: Command, mine: SmallData) -> None:
    assert l2l("leaderboard", "small-3w2s").err == (
        "there is no figure of small-3w2s yet, neither published nor ours\n"
    )
    write(mine, 0.5, 0.75)
    lines = [line.split() for line in l2l("leaderboard", "small-3w2s").lines]
    assert lines[0] == ["method", "backbone", "accuracy,", "%", "~", "source"]
    assert lines[2:6] == [
        ["Top", "net", "99.00", "±", "1.00", "published"],
        ["Near", "net", "87.50", "±", "6.25", "~", "unverified"],
        ["Bare", "net", "87.50", "published"],
        ["ours", "ours1", "75.00", "±", "6.25", "~", "small-maml", "short"],
    ]
    rows = l2l("leaderboard", "small-3w2s", "--json").json
    assert [row["method"] for row in rows] == ["Top", "Near", "Bare", "ours1", "Equal", "ours0"]
    table = l2l("leaderboard", "small-3w2s", "--markdown").lines
    assert table[:3] == [
        "| method | backbone | accuracy, % | ~ | source |",
        "|---|---|---|---|---|",
        "| Top | net | 99.00 ± 1.00 |  | published |",
    ]
    assert table[5] == "| **ours1** |  | **75.00 ± 6.25** | ~ | ours, small-maml short |"


def test_show_gives_our_figures_and_the_protocol(l2l: Command, mine: SmallData) -> None:
    write(mine, 0.75)
    found = l2l("show", "small-3w2s", "--json").json
    assert [row["method"] for row in found["own"]] == ["ours0"]
    assert (found["kind"], found["augmentation"], found["ways"]) == ("fixed", "none", 3)
    varying = l2l("show", "meta-dataset-cub", "--json").json
    assert (varying["kind"], varying["ways"], varying["image_size"]) == ("variable", "varies", [84, 84])
    (listed,) = [row for row in l2l("list", "benchmarks", "--json").json if row["name"] == "meta-dataset-cub"]
    assert (listed["shots"], listed["image"], listed["augmentation"]) == ("varies", "84x84", "none")


def test_show_names_the_episodes_by_a_digest(l2l: Command, imported: SmallData) -> None:
    assert "episodes_digest" not in l2l("show", "small-3w2s", "--json").json
    found = l2l("show", "small-3w2s", "--digest", "--json").json
    assert found["episodes_digest"] == load_benchmark("small-3w2s").episodes().digest(20)
    assert l2l("show", "small", "--digest").mistake == (
        "small is no benchmark and has no list of episodes; leave --digest out"
    )
    assert "`l2l fetch omniglot`" in l2l("show", "omniglot-5w1s", "--digest").mistake


def test_sample_asks_for_the_form_of_episodes_that_vary(l2l: Command) -> None:
    assert l2l("sample", "meta-dataset-cub", "--ways", 5).mistake == (
        "the episodes of meta-dataset-cub vary in their form; give --ways, --shots and --queries"
    )
    whole = ("--ways", 5, "--shots", 1, "--queries", 1)
    assert l2l("sample", "meta-dataset-cub", *whole).mistake.startswith("cub is not in ")
