"""``l2l show``: all that is known of one data set, benchmark, method or recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from l2l_core.cli.options import AsJson, Root, form_of, print_json

_SHOWN: Final = 40
"""Items of a list that are printed as text."""


def run(
    name: Annotated[str, typer.Argument(help="A data set, a benchmark, a method or a recipe.")],
    digest: Annotated[
        bool, typer.Option("--digest", help="Also the digest that names a benchmark's episodes; needs its data.")
    ] = False,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show an entry: sources, checksums, splits, papers; a protocol and its figures, published and ours; a recipe.

    Examples:
        l2l show omniglot
        l2l show omniglot-5w1s --json
        l2l show glyphs-5w1s --digest
        l2l show omniglot-5w1s-protonet
    """
    found = _find(name, root)
    if digest:
        found["episodes_digest"] = _digest(name, root)
    if as_json:
        print_json(found)
    else:
        _print_fields(found)


def _find(name: str, root: Root) -> dict[str, Any]:
    from l2l_core.algorithms.methods import METHODS, Setting
    from l2l_core.catalog import open_catalog
    from l2l_core.errors import UnknownNameError

    catalog = open_catalog()
    if name in catalog.datasets:
        return _dataset(name, root)
    if name in catalog.benchmarks:
        papers = catalog.papers()
        record = catalog.benchmark(name)
        return {
            **asdict(record),
            **form_of(record),
            "papers": [asdict(papers[key]) for key in record.papers],
            "published": [_without_benchmark(asdict(row)) for row in catalog.published(name)],
            "own": [_without_benchmark(asdict(row)) for row in catalog.own_results(name)],
        }
    if name in METHODS:
        spec = METHODS[name]
        training = {
            f"{ways}w{shots}s": {
                "learner": dict(spec.settings(Setting(ways, shots))),
                "training": asdict(spec.training(Setting(ways, shots))),
            }
            for ways in (5, 20)
            for shots in (1, 5)
        }
        return {"name": name, "description": spec.description, **training}
    if name in catalog.recipes:
        recipe, papers = catalog.recipe(name), catalog.papers()
        return {**asdict(recipe), "papers": [asdict(papers[key]) for key in recipe.papers]}
    known = [*catalog.datasets, *catalog.benchmarks, *METHODS, *catalog.recipes]
    raise UnknownNameError("data set, benchmark, method or recipe", name, known)


def _without_benchmark(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "benchmark"}


def _digest(name: str, root: Root) -> str:
    """What names the episodes that a figure of the benchmark is the mean over."""
    from l2l_core.catalog import open_catalog
    from l2l_core.data.benchmarks import load_benchmark
    from l2l_core.errors import UsageError

    if name not in open_catalog().benchmarks:
        raise UsageError(f"{name} is no benchmark and has no list of episodes; leave --digest out")
    benchmark = load_benchmark(name, root=root)
    return benchmark.episodes().digest(benchmark.record.episodes)


def _dataset(name: str, root: Root) -> dict[str, Any]:
    from l2l_core.catalog import open_catalog
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.stores import prepared_form, store_path
    from l2l_core.records import SUBSETS

    catalog = open_catalog()
    record = catalog.dataset(name)
    papers = catalog.papers()
    found = asdict(record)
    for split in record.splits:
        classes = catalog.split(name, split)
        found["splits"][split]["classes"] = {subset: len(classes.classes(subset)) for subset in SUBSETS}
    found["licence"] = asdict(catalog.licences()[record.licence])
    found["papers"] = [asdict(papers[key]) for key in record.papers]
    statistics = catalog.statistics(name)
    cache = Cache.at(root)
    here = prepared_form(record, cache)
    return {
        **found,
        "statistics": asdict(statistics) if statistics else None,
        "store": str(store_path(record, here, cache)) if here else None,
        "here": here.name if here else None,
    }


def _print_fields(fields: Mapping[str, Any], indent: str = "") -> None:
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            print(f"{indent}{name}")
            _print_fields(value, indent + "    ")
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            print(f"{indent}{name}")
            for item in value[:_SHOWN]:
                print(f"{indent}  - " + _one_line(item))
            if len(value) > _SHOWN:
                print(f"{indent}  - and {len(value) - _SHOWN} more, which --json shows")
        elif value not in (None, (), [], {}):
            print(f"{indent}{name:<{width}}  {_plain(value)}")


def _one_line(item: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {_plain(value)}" for name, value in item.items() if value not in (None, (), []))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)
