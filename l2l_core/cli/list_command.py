"""``l2l list``: what there is."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_core.cli.options import AsJson, Root, form_of, print_json, print_table, size_text

if TYPE_CHECKING:
    from l2l_core.records import FormRecord


class Kind(StrEnum):
    """What can be listed."""

    datasets = "datasets"
    benchmarks = "benchmarks"
    methods = "methods"
    recipes = "recipes"
    weights = "weights"


def run(
    kind: Annotated[Kind | None, typer.Argument(help="Only these; everything without it.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """List data sets, benchmarks, methods, recipes and trained weights.

    Examples:
        l2l list
        l2l list benchmarks --json
    """
    tables = {
        Kind.datasets: _datasets,
        Kind.benchmarks: _benchmarks,
        Kind.methods: _methods,
        Kind.recipes: _recipes,
        Kind.weights: _weights,
    }
    kinds = list(Kind) if kind is None else [kind]
    rows = {each.value: tables[each](root) for each in kinds}
    if as_json:
        print_json(rows if kind is None else rows[kind.value])
        return
    for number, (title, entries) in enumerate(rows.items()):
        if kind is None:
            print(("\n" if number else "") + title.upper())
        if not entries:
            print("none")
            continue
        header = [column for column in entries[0] if not column.endswith("_bytes")]
        print_table(header, [[_text(entry[column]) for column in header] for entry in entries])


def _download(form: "FormRecord | None") -> str:
    """How much there is to download, and how well that is known."""
    if form is None:
        return "none"
    if all(file.size_bytes for file in form.files):
        return size_text(form.expected_bytes)
    return f"~{size_text(form.expected_bytes)}" if form.expected_bytes else f"<{size_text(form.limit_bytes)}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _datasets(root: Root) -> list[dict[str, object]]:
    from l2l_core.catalog import open_catalog
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.stores import prepared_form

    catalog, cache = open_catalog(), Cache.at(root)
    records = [catalog.dataset(name) for name in catalog.datasets]
    return [
        {
            "name": record.name,
            "title": record.title,
            "classes": record.raw.classes,
            "examples": record.raw.examples,
            "download": _download(record.download),
            "download_bytes": (record.download.expected_bytes or None) if record.download else None,
            "licence": record.licence,
            "here": prepared_form(record, cache) is not None,
        }
        for record in records
    ]


def _benchmarks(root: Root) -> list[dict[str, object]]:
    from l2l_core.catalog import open_catalog

    catalog = open_catalog()
    records = [catalog.benchmark(name) for name in catalog.benchmarks]
    return [
        {
            "name": record.name,
            "dataset": record.dataset,
            "split": record.split,
            "subset": record.subset,
            **form_of(record),
            "episodes": record.episodes,
            "seed": record.seed,
            "image": "x".join(map(str, record.image_size or ())),
            "augmentation": record.augmentation,
        }
        for record in records
    ]


def _methods(root: Root) -> list[dict[str, object]]:
    from l2l_core.algorithms.methods import METHODS

    return [{"name": name, "description": spec.description} for name, spec in METHODS.items()]


def _recipes(root: Root) -> list[dict[str, object]]:
    from l2l_core.catalog import open_catalog
    from l2l_core.evaluation.report import percent

    catalog = open_catalog()
    rows: list[dict[str, object]] = []
    for name in catalog.recipes:
        recipe = catalog.recipe(name)
        published = {(row.method, row.backbone): row.accuracy for row in catalog.published(recipe.benchmark)}
        theirs = None if recipe.published is None else published[recipe.published]
        short = recipe.forms["short"]
        rows.append(
            {
                "name": name,
                "title": recipe.title,
                "published": None if theirs is None else percent(theirs),
                "short form": None if short.expected is None else percent(short.expected),
                "minutes": short.minutes,
            }
        )
    return rows


def _weights(root: Root) -> list[dict[str, object]]:
    from l2l_core.catalog import open_catalog, read_card
    from l2l_core.evaluation.report import percent

    rows: list[dict[str, object]] = []
    for name, path in sorted(open_catalog().zoo().items()):
        card, size_bytes = read_card(path), path.stat().st_size
        accuracy = card.get("accuracy")
        rows.append(
            {
                "name": name,
                "method": card["method"],
                "benchmark": card["benchmark"],
                "accuracy": None if accuracy is None else percent(accuracy, card.get("ci95")),
                "size": size_text(size_bytes),
                "size_bytes": size_bytes,
            }
        )
    return rows
