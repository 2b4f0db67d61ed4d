"""``l2l verify``: is what lies here what was put here?"""

from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Root, print_json


def run(
    dataset: Annotated[str | None, typer.Argument(help="Name of the data set; all that are here without it.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole catalogue, and re-hash the prepared stores; print a line for each.

    Examples:
        l2l verify
        l2l verify omniglot
    """
    from l2l_core.catalog import check_catalog, open_catalog
    from l2l_core.errors import CatalogError
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.build import is_prepared, verify

    catalog, cache = open_catalog(), Cache.at(root)
    problems = check_catalog(catalog)
    if problems:
        raise CatalogError(problems)
    names = catalog.datasets if dataset is None else [dataset]
    records = [catalog.dataset(name) for name in names]
    found = {record.name: verify(record, cache) for record in records if dataset or is_prepared(record, cache)}
    if as_json:
        print_json({"catalogue": {"datasets": len(catalog.datasets), "benchmarks": len(catalog.benchmarks)}, **found})
        return
    print(f"catalogue: {len(catalog.datasets)} data sets and {len(catalog.benchmarks)} benchmarks are well-formed")
    for name, sentence in found.items():
        print(f"{name}: {sentence}")
    for record in records:
        if record.name not in found:
            print(f"{record.name}: not here")
