"""Paired comparison against sums written out by hand, and files that are no reports."""

from pathlib import Path
from statistics import correlation, fmean, stdev

import numpy as np
import pytest

from l2l_core.errors import ContentError, UsageError
from l2l_core.evaluation.comparison import paired, read_report
from l2l_core.evaluation.report import Report
from l2l_core.evaluation.statistics import mean_ci95
from tests.evaluation.test_report import make_report


def with_accuracies(values: list[float], **changes: object) -> Report:
    """A report of these accuracies."""
    accuracy, ci95 = mean_ci95(values)
    figures = {"accuracies": tuple(values), "accuracy": accuracy, "ci95": ci95, "episodes": len(values)}
    return make_report(**{**figures, **changes})


def test_a_difference_is_that_of_the_episodes() -> None:
    draws = np.random.default_rng(0)
    first = draws.uniform(0.3, 0.9, 50)
    second = first + draws.normal(0.01, 0.02, 50)
    found = paired(with_accuracies(first.tolist()), with_accuracies(second.tolist(), method="maml"))
    differences = [b - a for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert found.episodes == 50
    assert found.difference == pytest.approx(fmean(differences))
    assert found.ci95 == pytest.approx(1.96 * stdev(differences) / 50**0.5)
    alone = [1.96 * stdev(values.tolist()) / 50**0.5 for values in (first, second)]
    assert found.unpaired_ci95 == pytest.approx((alone[0] ** 2 + alone[1] ** 2) ** 0.5)
    assert found.correlation == pytest.approx(correlation(first.tolist(), second.tolist()))
    assert found.gain == pytest.approx(found.unpaired_ci95 / found.ci95)
    assert found.gain > 3  # which is why episodes are compared one by one
    turned = paired(with_accuracies(second.tolist()), with_accuracies(first.tolist()))
    assert (turned.difference, turned.ci95) == pytest.approx((-found.difference, found.ci95))


@pytest.mark.parametrize(
    ("second", "beyond"),
    [
        ([0.5, 0.5, 0.5, 0.5], False),  # the same
        ([0.6, 0.6, 0.6, 0.6], True),  # always as much better
        ([0.4, 0.4, 0.4, 0.5], True),  # -0.075 with an interval of 0.049
        ([0.4, 0.5, 0.5, 0.5], False),  # -0.025 with the same
    ],
)
def test_noise_is_what_the_interval_covers(second: list[float], beyond: bool) -> None:
    assert paired(with_accuracies([0.5] * 4), with_accuracies(second)).beyond_noise is beyond


def test_what_never_changes_correlates_with_nothing() -> None:
    found = paired(with_accuracies([1.0] * 3), with_accuracies([0.9, 1.0, 0.8]))
    assert found.correlation is None
    same = paired(with_accuracies([0.9, 1.0, 0.8]), with_accuracies([0.9, 1.0, 0.8]))
    assert (same.difference, same.ci95, same.gain) == (0.0, 0.0, None)
    assert same.correlation == pytest.approx(1.0)
    shifted = paired(with_accuracies([0.3, 0.6, 0.2]), with_accuracies([0.4, 0.7, 0.3]))
    assert shifted.gain is None  # but for rounding, all differences are one


@pytest.mark.parametrize(
    ("changes", "values"), [({"episodes_digest": "cd" * 32, "seed": 3, "benchmark": "other-3w2s"}, 3), ({}, 4)]
)
def test_other_episodes_are_refused(changes: dict[str, object], values: int) -> None:
    first = with_accuracies([0.5, 0.6, 0.7], seed=7)
    second = (
        with_accuracies([0.5] * values, seed=7, **changes) if not changes else with_accuracies([0.5] * 3, **changes)
    )
    with pytest.raises(UsageError) as caught:
        paired(first, second)
    digest = str(changes.get("episodes_digest", "ab" * 32))[:16]
    assert str(caught.value) == (
        "only results on the same episodes compare pair by pair, but protonet had 3 of small-3w2s (seed 7, digest "
        f"abababababababab), and protonet {values} of {second.benchmark} (seed {second.seed}, digest {digest}); "
        "evaluate both with the same benchmark, data, --episodes and --seed"
    )


def test_a_report_is_a_file_or_lies_in_a_run(tmp_path: Path) -> None:
    report = make_report()
    report.save(tmp_path / "run/report.json")
    assert read_report(tmp_path / "run") == read_report(tmp_path / "run/report.json") == report


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"method,backbone\n"])
def test_what_is_no_report_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    with pytest.raises(ContentError) as caught:
        read_report(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).endswith(
        "; give a file that `l2l evaluate --json` wrote, or the folder of a run that was evaluated"
    )


def test_a_report_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ContentError, match=r"^there is no report .*/run/report\.json \(No such file or directory\); give"
    ):
        (tmp_path / "run").mkdir()
        read_report(tmp_path / "run")
