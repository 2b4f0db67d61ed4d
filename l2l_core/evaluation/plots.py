"""Plots for a page, as SVG that stands within HTML: text and axes have the colour of the text around them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from l2l_core.evaluation.markup import Markup
from l2l_core.evaluation.report import GridCell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#2f7ed8", "#e0702c", "#2e9e6b", "#b4509e", "#8a7fd6", "#a8893a", "#3aa6b9", "#d0505a")
"""Of runs, in order: each can be read on white and on black paper."""
_INK: Final = "#010203"
"""Stands for the colour of the text around a plot, which is not known before the page is shown."""
_BARS: Final = 40
"""Bars of a distribution at most: more would be thinner than a line."""
_WIDTH: Final = 7.6
"""Of a plot in inches; one width, so that letters are as large in one plot as in the next."""

Curve = Sequence[tuple[float, float]]


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    # Names are text, whatever dollars are in them; text stays text, so that a page can be searched and read aloud.
    plain = {"text.parse_math": False, "svg.fonttype": "none", "font.size": 10, "axes.titlesize": 10.5}
    shape = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.15}
    frame = {"legend.frameon": False, "axes.titlelocation": "left", "axes.linewidth": 0.6, "lines.linewidth": 1.8}
    settings: dict[Any, Any] = {**dict.fromkeys(inked, _INK), **plain, **shape, **frame}
    with mpl.rc_context(settings):
        yield


def distribution_plot(accuracies: Mapping[str, Sequence[float]], name: str) -> Markup:
    """How many episodes have which accuracy, a line a run.

    Args:
        accuracies: name of a run to the accuracies of its episodes, fractions.
        name: of the plot, a word that no other plot on the page has.
    """
    with _style():
        figure, axes = _figure(3.3)
        edges = _edges(accuracies)
        for colour, (label, values) in zip(_colours(), accuracies.items(), strict=False):
            share = 100 * np.histogram(values, edges)[0] / len(values)
            axes.stairs(share, 100 * edges, color=colour, fill=True, alpha=0.18)
            axes.stairs(share, 100 * edges, color=colour, linewidth=1.6, label=label)
            axes.axvline(100 * float(np.mean(values)), color=colour, linestyle=":", linewidth=1.4)
        axes.set(xlabel="accuracy of an episode, %  (dotted: mean)", ylabel="% of episodes")
        axes.set_xlim(100 * edges[0], 100 * edges[-1])
        axes.set_ylim(bottom=0)
        _legend(figure, axes)
        told = "; ".join(
            f"{label}: mean {100 * np.mean(values):.1f} %, lowest {100 * min(values):.1f} %, "
            f"highest {100 * max(values):.1f} %"
            for label, values in accuracies.items()
        )
        return _svg(figure, name, f"Distribution of the accuracy over episodes. {told}.")


def _edges(accuracies: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Edges of bars of equal width with every accuracy well inside one, fractions [bars + 1]."""
    levels = np.unique(np.concatenate([np.asarray(values) for values in accuracies.values()]).round(6))
    # An episode of 75 queries has accuracies of 1/75 steps: bars of whole steps, so that none is empty by chance.
    step = float(np.diff(levels).min()) if len(levels) > 1 else 0.01
    step *= max(1, int(np.ceil((levels[-1] - levels[0]) / step / _BARS)))
    bars = round((levels[-1] - levels[0]) / step) + 1
    return np.asarray(levels[0] + step * (np.arange(bars + 1) - 0.5))


def intervals_plot(rows: Sequence[tuple[str, float, float | None, bool]], chance: float | None, name: str) -> Markup:
    """Accuracies with their intervals, one below another.

    Args:
        rows: (name, accuracy, ci95 or None, whether it is ours), fractions, the first on top.
        chance: accuracy of guessing, a fraction; None where that differs.
        name: of the plot, a word that no other plot on the page has.
    """
    with _style():
        figure, axes = _figure(0.6 + 0.26 * len(rows))
        low = min(accuracy - (ci95 or 0) for _, accuracy, ci95, _ in rows)
        for place, (_, accuracy, ci95, ours) in enumerate(rows):
            axes.errorbar(
                [100 * accuracy],
                [-place],
                xerr=None if ci95 is None else [[100 * ci95]],
                marker="o" if ours else "D",
                markersize=6 if ours else 4,
                color=COLOURS[0] if ours else COLOURS[5],
                capsize=3,
                linewidth=1.6,
                markerfacecolor=None if ci95 is not None or ours else "none",
            )
        axes.set_yticks([-place for place in range(len(rows))], [label for label, *_ in rows])
        axes.grid(visible=False, axis="y")
        for label, (*_, ours) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set(color=COLOURS[0] if ours else _INK, fontweight="bold" if ours else "normal")
        if chance is not None and low - chance < 0.15:
            axes.axvline(100 * chance, color=COLOURS[7], linestyle="--", linewidth=1)
        axes.set_ylim(0.6 - len(rows), 0.6)
        axes.margins(x=0.06)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("accuracy, %")
        told = "; ".join(
            f"{label} {100 * accuracy:.2f} %" + ("" if ci95 is None else f" ± {100 * ci95:.2f}")
            for label, accuracy, ci95, _ in rows
        )
        return _svg(figure, name, f"Accuracies with 95% intervals. {told}.")


def curves_plot(
    losses: Mapping[str, Curve], validations: Mapping[str, Sequence[tuple[float, float, float]]], name: str
) -> Markup:
    """Training loss and validation accuracy over training episodes, a line a run.

    Args:
        losses: name of a run to (episodes, loss).
        validations: name of a run to (episodes, accuracy, ci95), the latter two as fractions.
        name: of the plot, a word that no other plot on the page has.
    """
    with _style():
        figure, _ = _figure(3.2)
        figure.clear()
        left, right = figure.subplots(1, 2)
        best = []
        for colour, label in zip(_colours(), losses, strict=False):
            episodes, loss = np.array(losses[label]).T
            axes_line = left.plot(episodes, loss, color=colour, alpha=0.3 if len(loss) > 60 else 1, linewidth=1)
            if len(loss) > 60:
                width = len(loss) // 30
                smooth = np.convolve(loss, np.ones(width) / width, "valid")
                axes_line = left.plot(episodes[width - 1 :], smooth, color=colour)
            axes_line[0].set_label(label)
            if validations[label]:
                at, accuracy, ci95 = np.array(validations[label]).T * [[1], [100], [100]]
                right.plot(at, accuracy, color=colour, marker="o", markersize=3, label=label)
                right.fill_between(at, accuracy - ci95, accuracy + ci95, color=colour, alpha=0.18, linewidth=0)
                best.append(f"{label}: best {accuracy.max():.1f} % after {at[accuracy.argmax()]:,.0f} episodes")
        left.set(xlabel="training episodes", title="training loss")
        right.set(xlabel="training episodes", title="validation accuracy, %  (band: 95% interval)")
        for axes in (left, right):
            axes.set_xlim(left=0)
            axes.xaxis.set_major_formatter(lambda value, _: _short(value))
        _legend(figure, left)
        return _svg(figure, name, f"Training curves: loss, and validation accuracy. {'; '.join(best)}.")


def grid_plot(cells: Sequence[GridCell], name: str) -> Markup:
    """Accuracy against shots, a line for each number of ways.

    Args:
        cells: of a report.
        name: of the plot, a word that no other plot on the page has.
    """
    with _style():
        figure, axes = _figure(3.3)
        shots = sorted({cell.shots for cell in cells})
        for colour, ways in zip(_colours(), sorted({cell.ways for cell in cells}), strict=False):
            own = sorted((cell for cell in cells if cell.ways == ways), key=lambda cell: cell.shots)
            axes.errorbar(
                [shots.index(cell.shots) for cell in own],
                [100 * cell.accuracy for cell in own],
                yerr=[100 * cell.ci95 for cell in own],
                color=colour,
                marker="o",
                markersize=4,
                capsize=3,
                label=f"{ways}-way",
            )
        axes.set_xticks(range(len(shots)), [str(k) for k in shots])
        axes.set(xlabel="shots", ylabel="accuracy, %")
        _legend(figure, axes)
        told = "; ".join(f"{cell.ways}-way {cell.shots}-shot {100 * cell.accuracy:.1f} %" for cell in cells)
        return _svg(figure, name, f"Accuracy against shots and ways. {told}.")


def _figure(height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _legend(figure: "Figure", axes: "Axes") -> None:
    """Name the lines above the plot, where none can run through the names; a single line needs no name."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9)


def _svg(figure: "Figure", name: str, label: str) -> Markup:
    """A figure as one SVG element, its ids beginning with `name`.

    Args:
        figure: what is drawn.
        name: a word that no other plot on the page has.
        label: what the plot shows, for who cannot see it.
    """
    import matplotlib as mpl

    content = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace(_INK, "currentColor")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))
