"""``l2l verify``: is what lies here what was put here?"""

from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Root, print_json


def run(
    dataset: Annotated[str | None, typer.Argument(help="Name of the data set; all that are here without it.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole catalogue, and re-hash downloads and prepared stores; print a line for each data set.

    Examples:
        l2l verify
        l2l verify omniglot
    """
    from l2l_core.catalog import check_catalog, open_catalog
    from l2l_core.errors import CatalogError, StoreError
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.build import check_recipes, downloaded, prepared_form, verify

    catalog, cache = open_catalog(), Cache.at(root)
    problems = check_catalog(catalog) or check_recipes(catalog)
    if problems:
        raise CatalogError(problems)
    names = catalog.datasets if dataset is None else [dataset]
    records = [catalog.dataset(name) for name in names]
    found: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for record in records:
        if dataset is None and prepared_form(record, cache) is None and not downloaded(record, cache):
            continue
        try:
            found[record.name] = verify(record, catalog, cache)
        except StoreError as error:
            damaged[record.name] = str(error)
    if as_json:
        print_json({"catalogue": {"datasets": len(catalog.datasets), "benchmarks": len(catalog.benchmarks)}, **found})
    elif not damaged or dataset is None:
        print(f"catalogue: {len(catalog.datasets)} data sets and {len(catalog.benchmarks)} benchmarks are well-formed")
        for name in names:
            print(f"{name}: {found.get(name, 'damaged' if name in damaged else 'not here')}")
    if damaged:
        raise StoreError("; ".join(damaged.values()))
