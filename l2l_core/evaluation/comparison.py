"""Two results on the same episodes, compared episode by episode."""

from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Final

import numpy as np

from l2l_core.errors import ContentError, UsageError
from l2l_core.evaluation.report import Report
from l2l_core.evaluation.statistics import mean_ci95

_NOTHING: Final = 1e-9
"""A half-width below this is what rounding leaves of 0."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How far a second result lies from a first one.

    Attributes:
        episodes: how many both were evaluated on.
        difference: mean accuracy of the second minus that of the first, a fraction in [-1, 1].
        ci95: half-width of its 95% interval, 1.96·s/√n over the differences of the episodes.
        unpaired_ci95: what that would be, had each its own episodes: the root of the sum of both intervals' squares.
        correlation: of the two accuracies over the episodes; None where one of them is always the same.
    """

    episodes: int
    difference: float
    ci95: float
    unpaired_ci95: float
    correlation: float | None

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.difference) > self.ci95

    @property
    def gain(self) -> float | None:
        """How many times narrower the paired interval is than the unpaired one; None where it has no width."""
        return self.unpaired_ci95 / self.ci95 if self.ci95 > _NOTHING else None


def paired(a: Report, b: Report) -> PairedDifference:
    """How far b lies from a, from the differences on each episode, whose common difficulty cancels out.

    Args:
        a, b: of the same episodes.

    Raises:
        UsageError: they are of different episodes; names benchmark, number and seed of both.
    """
    if (a.episodes_digest, len(a.accuracies)) != (b.episodes_digest, len(b.accuracies)):
        raise UsageError(
            f"only results on the same episodes compare pair by pair, but {a.learner} had {_episodes(a)}, and "
            f"{b.learner} {_episodes(b)}; evaluate both with the same benchmark, data, --episodes and --seed"
        )
    first_n, second_n = np.array(a.accuracies), np.array(b.accuracies)
    difference, ci95 = mean_ci95(second_n - first_n)
    varied = np.ptp(first_n) > 0 and np.ptp(second_n) > 0
    return PairedDifference(
        episodes=len(first_n),
        difference=difference,
        ci95=ci95,
        unpaired_ci95=hypot(mean_ci95(first_n)[1], mean_ci95(second_n)[1]),
        correlation=float(np.corrcoef(first_n, second_n)[0, 1]) if varied else None,
    )


def _episodes(report: Report) -> str:
    """Which episodes a report is of, in words."""
    return (
        f"{len(report.accuracies):,} of {report.benchmark} (seed {report.seed}, digest {report.episodes_digest[:16]})"
    )


def read_report(path: Path) -> Report:
    """The report in a file, or in the ``report.json`` of a run's folder.

    Raises:
        ContentError: there is no such file, or it holds no report.
    """
    file = path / "report.json" if path.is_dir() else path
    advice = "give a file that `l2l evaluate --json` wrote, or the folder of a run that was evaluated"
    try:
        return Report.from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContentError(f"there is no report {file} ({error.strerror}); {advice}") from None
    except (ContentError, UnicodeDecodeError) as error:
        raise ContentError(f"{file}: {error}; {advice}") from None
