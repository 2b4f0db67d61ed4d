"""Runs as one HTML page that needs nothing but itself: no script, no network."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import combinations
from os.path import commonprefix
from pathlib import Path
from string import Template
from typing import Final

from l2l_core._version import __version__
from l2l_core.errors import L2LError
from l2l_core.evaluation.comparison import paired
from l2l_core.evaluation.extremes import Drawn, extreme_episodes
from l2l_core.evaluation.markup import Markup, element, markup, scrolling, table
from l2l_core.evaluation.page_run import Run
from l2l_core.evaluation.pictures import episode_png
from l2l_core.evaluation.plots import curves_plot, distribution_plot, grid_plot, intervals_plot
from l2l_core.evaluation.published import beside_published
from l2l_core.evaluation.report import Report, percent
from l2l_core.records import PublishedResult

MATRIX_CLASSES: Final = 20
"""More classes than that are no matrix that one can read; their most frequent mistakes are listed."""
_LISTED: Final = 15
_EXTREMES: Final = 3


def report_page(runs: Sequence[Run], root: Path | None = None) -> str:
    """An HTML page on some runs.

    Args:
        runs: at least one, each with a name of its own.
        root: folder of the cache, which the hardest episodes are drawn from; None for the usual one.

    Raises:
        CatalogError: the table of published figures is malformed.
    """
    benchmarks = list(dict.fromkeys(run.report.benchmark for run in runs))
    body = [
        *(_results(benchmark, [run for run in runs if run.report.benchmark == benchmark]) for benchmark in benchmarks),
        *_differences(runs),
        *_training(runs),
        _section("How accuracy varies over episodes", *_distributions(runs, benchmarks)),
        *(_details(number, run, len(runs), root) for number, run in enumerate(runs)),
    ]
    title = f"Results on {', '.join(benchmarks)}"
    template = files("l2l_core.evaluation").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=markup(title), summary=_summary(runs), body="\n".join(body), version=markup(__version__)
    )


def _summary(runs: Sequence[Run]) -> Markup:
    """The first thing to read: a tile a run."""
    return Markup(
        "".join(
            element(
                "div",
                element("span", run.name, class_="label"),
                element("strong", f"{100 * run.report.accuracy:.2f}", element("small", " %")),
                element("span", f"± {100 * run.report.ci95:.2f} on {run.report.benchmark}", class_="label"),
                class_="tile",
            )
            for run in runs
        )
    )


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)


def _note(text: object) -> Markup:
    return element("p", text, class_="note")


def _results(benchmark: str, runs: Sequence[Run]) -> Markup:
    """Our figures of a benchmark, best first, and all in one row with the published ones."""
    ours = sorted(runs, key=lambda run: -run.report.accuracy)
    best = ours[0].report
    published = beside_published(best)
    figures: list[tuple[str, float, float | None, bool]] = [
        (run.name, run.report.accuracy, run.report.ci95, True) for run in ours
    ]
    figures += [(_named(row), row.accuracy, row.ci95, False) for row in (each.published for each in published)]
    figures.sort(key=lambda figure: -figure[1])
    form = f"{best.ways}-way {best.shots}-shot, {best.queries} queries a class" if best.ways else "of varying form"
    chance = f" Chance is {percent(1 / best.ways)}." if best.ways else ""
    rows = [[run.name, percent(run.report.accuracy, run.report.ci95), f"{run.report.episodes:,}"] for run in ours]
    parts: list[Markup] = [
        _note(f"Accuracy with its 95% interval on the {best.subset} classes of {best.dataset}, {form}.{chance}"),
        table(["run", "accuracy", "episodes"], rows),
    ]
    if len(figures) > 1:
        plot = intervals_plot(figures, 1 / best.ways if best.ways else None, f"intervals-{_word(benchmark)}")
        caption = element("figcaption", "Circles: these runs. Diamonds: published, hollow where without an interval.")
        parts.append(element("figure", plot, caption))
    if published:
        cells = [
            [
                _named(each.published),
                percent(each.published.accuracy, each.published.ci95),
                f"{100 * each.difference:+.2f}" + (" (within both intervals)" if each.within else ""),
                each.published.source + ("" if each.published.verified else " (unverified)"),
            ]
            for each in published
        ]
        header = ["method", "accuracy", f"{ours[0].name} minus it", "where it was read"]
        parts.append(_more(f"the {len(cells)} published figures and where they were read", table(header, cells)))
    return _section(benchmark, *parts)


def _named(row: PublishedResult) -> str:
    return f"{row.method}, {row.backbone}"


def _word(text: str) -> str:
    """A text as a word for ids; different texts on a page may only differ in letters that an id can have."""
    return "".join(letter if letter.isascii() and letter.isalnum() else f"-{ord(letter):x}-" for letter in text)


def _differences(runs: Sequence[Run]) -> Iterator[Markup]:
    """Pairs of runs on the same episodes."""
    rows = []
    for a, b in combinations(runs, 2):
        if (a.report.episodes_digest, a.report.episodes) == (b.report.episodes_digest, b.report.episodes):
            found = paired(a.report, b.report)
            verdict = "beyond noise" if found.beyond_noise else "within noise"
            difference = f"{100 * found.difference:+.2f} ± {100 * found.ci95:.2f} %"
            rows.append([b.name, a.name, difference, verdict])
    if rows:
        yield _section(
            "Differences, episode by episode",
            _note("These runs had the same episodes, so a difference is more certain than the two figures apart."),
            table(["run", "compared with", "difference", ""], rows),
        )


def _training(runs: Sequence[Run]) -> Iterator[Markup]:
    logged = [run for run in runs if run.losses]
    if logged:
        losses = {run.name: run.losses for run in logged}
        plot = curves_plot(losses, {run.name: run.validations for run in logged}, "training")
        yield _section("Training", element("figure", plot))


def _distributions(runs: Sequence[Run], benchmarks: Sequence[str]) -> Iterator[Markup]:
    for benchmark in benchmarks:
        own = {run.name: run.report.accuracies for run in runs if run.report.benchmark == benchmark}
        caption = [element("figcaption", benchmark)] if len(benchmarks) > 1 else []
        yield element("figure", *caption, distribution_plot(own, f"distribution-{_word(benchmark)}"))


def _details(number: int, run: Run, runs: int, root: Path | None) -> Markup:
    """What concerns one run alone."""
    report = run.report
    parts = [
        *_grid(number, report),
        element("div", *_classes(report), class_="pair"),
        _extremes(report, root),
        _how(report),
    ]
    if runs == 1:
        return Markup("".join(parts))
    return element("article", element("h2", run.name, class_="run"), *parts)


def _grid(number: int, report: Report) -> Iterator[Markup]:
    if report.grid:
        shots = sorted({cell.shots for cell in report.grid})
        cells = {(cell.ways, cell.shots): percent(cell.accuracy, cell.ci95) for cell in report.grid}
        rows = [[f"{n}-way", *(cells.get((n, k), "") for k in shots)] for n in sorted({n for n, _ in cells})]
        yield _section(
            "Accuracy against shots and ways",
            element("figure", grid_plot(report.grid, f"grid-{number}")),
            table(["", *(f"{k}-shot" for k in shots)], rows),
        )


def _classes(report: Report) -> Iterator[Markup]:
    """Accuracy per class, and what is taken for what."""
    if not report.per_class:
        return
    report = _with_short_names(report)
    shares = sorted((right / max(1, all_), name, all_) for name, (right, all_) in report.per_class.items())
    rows = [[name, _bar(share), f"{100 * share:.1f} %", f"{queries:,}"] for share, name, queries in shares]
    header = ["class", "", "recognised", "queries"]
    more = [_more(f"and {len(rows) - _LISTED} more", table(header, rows[_LISTED:]))] if rows[_LISTED:] else []
    yield _section(
        "Accuracy per class, hardest first",
        _note("Of all queries of the class in all episodes, in whatever company."),
        table(header, rows[:_LISTED]),
        *more,
    )
    if report.confusions:
        yield _section("What is taken for what", *_confusions(report))


def _with_short_names(report: Report) -> Report:
    """The report without the folders that begin every class's name, as `images_evaluation/` does Omniglot's."""
    folder = commonprefix([f"{name.rpartition('/')[0]}/" for name in report.per_class]).rpartition("/")[0]
    start = len(folder) + 1 if folder else 0
    return replace(
        report,
        per_class={name[start:]: counts for name, counts in report.per_class.items()},
        confusions=tuple((true[start:], taken_for[start:], count) for true, taken_for, count in report.confusions),
    )


def _bar(share: float) -> Markup:
    return element("span", class_="bar", style=f"--share:{share:.4f}", role="presentation")


def _more(title: str, content: Markup) -> Markup:
    return element("details", element("summary", title), content)


def _confusions(report: Report) -> Iterator[Markup]:
    wrong = sum(all_ - right for right, all_ in report.per_class.values())
    kept = sum(count for _, _, count in report.confusions)
    if len(report.per_class) > MATRIX_CLASSES:
        yield _note(f"The most frequent of {wrong:,} mistakes.")
        rows = [[true, taken_for, f"{count:,}"] for true, taken_for, count in report.confusions]
        header = ["class", "taken for", "queries"]
        yield table(header, rows[:_LISTED])
        if rows[_LISTED:]:
            yield _more(f"and {len(rows) - _LISTED} more", table(header, rows[_LISTED:]))
        return
    text = "Rows: the class; columns: what it was taken for; figures: % of the class's queries."
    if kept < wrong:
        text += f" Pairs are left blank that are not among the {len(report.confusions)} most frequent mistakes."
    yield _note(text)
    yield _matrix(report)


def _matrix(report: Report) -> Markup:
    names = sorted(report.per_class)
    counts = {(true, taken_for): count for true, taken_for, count in report.confusions}
    counts |= {(name, name): right for name, (right, _) in report.per_class.items()}
    # A column is as narrow as a figure; its class is named by the number that stands before the row's name.
    head = element("tr", element("th"), *(element("th", place + 1, title=name) for place, name in enumerate(names)))
    rows = []
    for place, true in enumerate(names):
        cells = []
        for taken_for in names:
            count = counts.get((true, taken_for))
            share = (count or 0) / max(1, report.per_class[true][1])
            kind = "cell right" if true == taken_for else "cell"
            text = "" if count is None else f"{100 * share:.1f}" if share < 0.995 else "100"
            cells.append(
                element("td", text, class_=kind, style=f"--share:{share:.4f}", title=f"{true} taken for {taken_for}")
            )
        rows.append(element("tr", element("th", f"{place + 1} {true}", scope="row"), *cells))
    whole = element("table", element("thead", head), element("tbody", *rows), class_="matrix")
    return scrolling(whole)


def _extremes(report: Report, root: Path | None) -> Markup:
    """Pictures of the hardest and the easiest episodes, or why there are none."""
    title = "Hardest and easiest episodes"
    try:
        hardest, easiest = extreme_episodes(report, _EXTREMES, root)
    except L2LError as error:
        return _section(title, _note(f"No pictures: {error}. Then ask for this page again."))
    note = f"A row a class: support left of the line, queries right of it. Drawn again from seed {report.seed}."
    return _section(
        title,
        _note(note),
        element("h3", "hardest"),
        element("div", *map(_episode, hardest), class_="episodes"),
        element("h3", "easiest"),
        element("div", *map(_episode, easiest), class_="episodes"),
    )


def _episode(drawn: Drawn) -> Markup:
    content = b64encode(episode_png(drawn.episode, len(drawn.names))).decode()
    told = f"Episode {drawn.number}, classes {', '.join(drawn.names)}"
    picture = f'<img src="data:image/png;base64,{content}" alt="{markup(told)}">'
    names = element("ol", *(element("li", element("bdi", name), title=name) for name in drawn.names))
    caption = element("figcaption", f"episode {drawn.number:,} · ", element("b", percent(drawn.accuracy)))
    return element("figure", caption, element("div", names, Markup(picture), class_="episode"))


def _how(report: Report) -> Markup:
    """Everything one needs to get the figure again."""
    facts: Mapping[str, object] = {
        "command": None if report.command is None else element("code", report.command),
        "date": report.date,
        "method": report.learner,
        "weights": report.weights or "none: untrained",
        "settings": _pairs({name: json.dumps(value) for name, value in report.settings.items()}),
        "data": f"{report.dataset}, split {report.split}, subset {report.subset}",
        "episodes": f"{report.episodes:,} of seed {report.seed}, evaluated in {report.seconds:.1f} s",
        "digest of the episodes": element("code", report.episodes_digest),
        "hardware": report.hardware,
        "versions": _pairs(report.versions),
    }
    listed = [Markup(element("dt", name) + element("dd", value)) for name, value in facts.items() if value]
    return _section("How it was run", element("dl", *listed))


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
