"""Pictures for people: episodes as a grid, training curves, results as bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from l2l_core.data.generator import Episode
from l2l_core.fetch.cache import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from l2l_core.evaluation.report import Report
    from l2l_core.training import TrainingRun

MAX_EPISODES: Final = 8
"""Episodes drawn in one picture; more would be too small to see."""
_SUPPORT, _QUERY = "tab:blue", "tab:orange"


def draw_episodes(episodes: Sequence[tuple[int, Episode, Sequence[str]]], title: str, path: Path) -> None:
    """Draw episodes as a PNG: a row a class, its support pictures first, then its queries.

    Args:
        episodes: of each its number, its tensors with float pictures [N·K, C, H, W] in [0, 1], and its N class names;
            the first `MAX_EPISODES` are drawn.
        title: stands above.
        path: the file to be.

    Raises:
        CacheError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    episodes = episodes[:MAX_EPISODES]
    grids = [_grid(episode, len(names)) for _, episode, names in episodes]
    heights = [grid.shape[0] for grid in grids]
    scale = 0.012 if max(heights) > 400 else 0.02
    width = 2.2 + scale * grids[0].shape[1]
    figure = Figure(figsize=(width, 0.5 + sum(scale * height + 0.55 for height in heights)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = np.atleast_1d(figure.subplots(len(episodes), 1, height_ratios=heights))
    for axes, grid, (number, episode, names) in zip(panels, grids, episodes, strict=True):
        ways, shots = len(names), len(episode.support_y) // len(names)
        queries = len(episode.query_y) // ways
        side = grid.shape[0] / ways
        axes.imshow(grid, cmap="gray_r" if grid.ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"episode {number}", fontsize=9, loc="left")
        axes.set_yticks([(way + 0.5) * side for way in range(ways)], [_short(name) for name in names], fontsize=7)
        axes.set_xticks(
            [shots * side / 2, (shots + queries / 2) * side + _GAP],
            [f"{shots} support", f"{queries} query"],
            fontsize=8,
        )
        for label, colour in zip(axes.get_xticklabels(), (_SUPPORT, _QUERY), strict=True):
            label.set_color(colour)
        axes.axvspan(shots * side + 0.5, shots * side + _GAP - 1.5, color="lightgrey")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    _save(figure, path)


_GAP: Final = 4
"""Pixels between support and query."""


def _grid(episode: Episode, ways: int) -> np.ndarray:
    """One picture of an episode: [N·H, (K + Q)·W + gap], with a last axis of 3 for colour."""

    def block(pictures: np.ndarray) -> np.ndarray:
        each, channels, height, width = len(pictures) // ways, *pictures.shape[1:]
        rows = pictures.reshape(ways, each, channels, height, width).transpose(0, 3, 1, 4, 2)
        return rows.reshape(ways * height, each * width, channels)

    support, query = block(episode.support_x.numpy()), block(episode.query_x.numpy())
    gap = np.ones((support.shape[0], _GAP, support.shape[2]), support.dtype)
    grid = np.concatenate([support, gap, query], axis=1)
    return grid[:, :, 0] if grid.shape[2] == 1 else grid


def _short(name: str) -> str:
    return name if len(name) <= 34 else "…" + name[-33:]


def draw_training(runs: Mapping[str, "TrainingRun"], path: Path) -> None:
    """Draw the validation accuracy of some runs over time as a PNG.

    Raises:
        CacheError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for label, run in runs.items():
        seconds = [checkpoint.seconds for checkpoint in run.history]
        accuracies = np.array([100 * checkpoint.accuracy for checkpoint in run.history])
        ci95 = np.array([100 * checkpoint.ci95 for checkpoint in run.history])
        (line,) = axes.plot(seconds, accuracies, marker="o", markersize=3, label=label)
        axes.fill_between(seconds, accuracies - ci95, accuracies + ci95, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="seconds of training", ylabel="validation accuracy, %", title="Training (band: 95% interval)")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    _save(figure, path)


def draw_results(reports: Mapping[str, "Report"], path: Path) -> None:
    """Draw accuracies with their intervals as a PNG, and chance as a line.

    Raises:
        CacheError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.9 + 0.45 * len(reports)), layout="constrained")
    axes = figure.subplots()
    names = list(reports)[::-1]
    values = [100 * reports[name].accuracy for name in names]
    ci95 = [100 * reports[name].ci95 for name in names]
    axes.barh(names, values, xerr=ci95, color=_SUPPORT, ecolor="black", capsize=3)
    for row, value in enumerate(values):
        axes.text(1, row, f"{value:.1f}", va="center", color="white", fontweight="bold")
    first = next(iter(reports.values()))
    axes.axvline(100 / first.ways, color="tab:red", linestyle="--", label="chance")
    axes.set(xlim=(0, 100), xlabel="accuracy, %", title=f"{first.benchmark}, {first.episodes:,} episodes, 95% interval")
    axes.legend(loc="lower right")
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=120)
