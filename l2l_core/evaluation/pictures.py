"""Pictures for people: episodes as a grid, training curves, results as bars."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from l2l_core.data.episodes import Episode
from l2l_core.evaluation.report import percent
from l2l_core.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from l2l_core.evaluation.report import Report

MAX_EPISODES: Final = 8
"""Episodes drawn in one picture; more would be too small to see."""
_GAP: Final = 4
"""Pixels between support and query."""
_SIDE: Final = 0.56
"""Side of a picture in inches, where an episode has few ways; a picture of 7 pixels is no smaller than one of 84."""
_NAME: Final = 34
"""Letters of a class name that are shown."""
_SUPPORT, _QUERY = "tab:blue", "tab:orange"


def draw_episodes(episodes: Sequence[tuple[int, Episode, Sequence[str]]], title: str, path: Path) -> None:
    """Draw episodes: a row a class, its support pictures first, then its queries.

    Args:
        episodes: of each its number, its tensors with float pictures [N·K, C, H, W] in [0, 1], and its N class names;
            the first `MAX_EPISODES` are drawn.
        title: stands above.
        path: the file to be; an SVG where its name ends so, else a PNG.

    Raises:
        CacheError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    episodes = episodes[:MAX_EPISODES]
    grids = [_grid(episode, len(names)) for _, episode, names in episodes]
    labels = [[_short(name) for name in names] for _, _, names in episodes]
    # Inches: a picture's side, the rows' names at 7 points, and the title at 11.
    side = _SIDE if max(map(len, labels)) <= 14 else 0.6 * _SIDE
    heights = [side * len(names) for names in labels]
    width = max(side * grid.shape[1] / (grid.shape[0] / len(names)) for grid, names in zip(grids, labels, strict=True))
    width += 0.3 + 0.06 * max(len(name) for names in labels for name in names)
    figure = Figure(
        figsize=(max(width, 0.1 * len(title)), 0.5 + sum(heights) + 0.55 * len(grids)), layout="constrained"
    )
    figure.suptitle(title, fontsize=11)
    panels = np.atleast_1d(figure.subplots(len(episodes), 1, height_ratios=heights))
    for axes, grid, names, (number, episode, _) in zip(panels, grids, labels, episodes, strict=True):
        ways = len(names)
        shots, queries = len(episode.support_y) // ways, len(episode.query_y) // ways
        height, pitch = grid.shape[0] / ways, (grid.shape[1] - _GAP) / (shots + queries)
        axes.imshow(grid, cmap="gray_r" if grid.ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"episode {number}", fontsize=9, loc="left")
        # A dollar sign in a name is a dollar sign, and begins no formula.
        axes.set_yticks([(way + 0.5) * height for way in range(ways)], names, fontsize=7, parse_math=False)
        axes.set_xticks(
            [shots * pitch / 2, (shots + queries / 2) * pitch + _GAP],
            [f"{shots} support", f"{queries} query"],
            fontsize=8,
        )
        for label, colour in zip(axes.get_xticklabels(), (_SUPPORT, _QUERY), strict=True):
            label.set_color(colour)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    _save(figure, path)


def _grid(episode: Episode, ways: int) -> np.ndarray:
    """One picture of an episode: [N·(H + 1), (K + Q)·(W + 1) + gap], with a last axis of 3 for colour.

    Each picture has a line of paper below and to the right; paper is 0 without colour, where 1 is ink, and white with.
    """

    def block(pictures: np.ndarray) -> np.ndarray:
        framed = np.pad(pictures, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=paper)
        _, channels, height, width = framed.shape
        each = len(framed) // ways
        rows = framed.reshape(ways, each, channels, height, width).transpose(0, 3, 1, 4, 2)
        return rows.reshape(ways * height, each * width, channels)

    coloured = episode.support_x.shape[1] != 1
    paper, grey = (1.0, 0.8) if coloured else (0.0, 0.2)
    support, query = block(episode.support_x.numpy()), block(episode.query_x.numpy())
    gap = np.full((support.shape[0], _GAP, support.shape[2]), grey, support.dtype)
    # Paper beside the bar too: the last picture of the support has some, and the first query gets it here.
    gap[:, -1] = paper
    grid = np.concatenate([support, gap, query], axis=1)
    return grid if coloured else grid[:, :, 0]


def episode_png(episode: Episode, ways: int) -> bytes:
    """An episode as a PNG without words, a row a class, each number of a picture one pixel; ink is dark.

    Args:
        episode: its tensors, with float pictures [N·K, C, H, W] in [0, 1].
        ways: N.
    """
    from PIL import Image

    grid = _grid(episode, ways)
    shown = 1 - grid if grid.ndim == 2 else grid
    content = BytesIO()
    Image.fromarray((255 * shown.clip(0, 1)).round().astype(np.uint8)).save(content, format="PNG", optimize=True)
    return content.getvalue()


def _short(name: str) -> str:
    """A name, of a long one its end, which is what tells classes of one group apart."""
    return name if len(name) <= _NAME else "…" + name[1 - _NAME :]


def draw_training(curves: Mapping[str, Sequence[tuple[float, float, float]]], path: Path) -> None:
    """Draw the validation accuracy of some runs over time.

    Args:
        curves: name of a run to its (seconds, accuracy, ci95), the latter two as fractions.
        path: the file to be; an SVG where its name ends so, else a PNG.

    Raises:
        CacheError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for label, curve in curves.items():
        seconds, accuracies, ci95 = np.array(curve).T * [[1], [100], [100]]
        (line,) = axes.plot(seconds, accuracies, marker="o", markersize=3, label=label)
        axes.fill_between(seconds, accuracies - ci95, accuracies + ci95, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="seconds of training", ylabel="validation accuracy, %", title="Training (band: 95% interval)")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    _save(figure, path)


def draw_results(reports: Mapping[str, "Report"], path: Path) -> None:
    """Draw accuracies with their intervals, and chance as a line.

    Args:
        reports: name of a row to its report.
        path: the file to be; an SVG where its name ends so, else a PNG.

    Raises:
        CacheError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.1 + 0.4 * len(reports)), layout="constrained")
    axes = figure.subplots()
    names = list(reports)[::-1]
    values = [100 * reports[name].accuracy for name in names]
    ci95 = [100 * reports[name].ci95 for name in names]
    axes.barh(names, values, xerr=ci95, color=_SUPPORT, ecolor="black", capsize=3)
    for row, name in enumerate(names):
        # Right of the frame, where no bar, line or interval is.
        axes.text(101, row, percent(reports[name].accuracy, reports[name].ci95), va="center", fontsize=9)
    first = next(iter(reports.values()))
    axes.axvline(100 / first.ways, color="tab:red", linestyle="--")
    axes.set(xlim=(0, 100), xlabel="accuracy, %; dashed: chance; black: 95% interval")
    axes.set_title(f"{first.benchmark}, {first.episodes:,} episodes")
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    """Write a figure as its file's name says."""
    content = BytesIO()
    if path.suffix.lower() == ".svg":
        # Without a date the same figure is the same file.
        figure.savefig(content, format="svg", metadata={"Date": None})
    else:
        figure.savefig(content, format="png", dpi=120)
    write_file(path, content.getvalue())
