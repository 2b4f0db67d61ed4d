"""``l2l verify``: is what lies here what was put here?"""

from typing import Annotated

import typer

from l2l_core.cli.options import AsJson, Root, print_json


def run(
    dataset: Annotated[
        str | None, typer.Argument(help="Name of the data set, or of data of your own; all that is here without it.")
    ] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole catalogue, and re-hash downloads and prepared stores; print a line for each data set.

    Examples:
        l2l verify
        l2l verify omniglot
    """
    from l2l_core.catalog import check_catalog, open_catalog
    from l2l_core.errors import CatalogError, StoreError, UnknownNameError
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.stores import check_recipes, is_here, own_stores, verify, verify_own

    catalog, cache = open_catalog(), Cache.at(root)
    problems = check_catalog(catalog) or check_recipes(catalog)
    if problems:
        raise CatalogError(problems)
    own = own_stores(cache)
    known = [*catalog.datasets, *own]
    if dataset is not None and dataset not in known:
        raise UnknownNameError("data set", dataset, known)
    found: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for name in known if dataset is None else [dataset]:
        try:
            if name in own:
                found[name] = verify_own(own[name])
            elif dataset is not None or is_here(catalog.dataset(name), cache):
                found[name] = verify(catalog.dataset(name), catalog, cache)
        except StoreError as error:
            damaged[name] = str(error)
    if as_json:
        states = {name: {"whole": True, "found": text} for name, text in found.items()}
        states |= {name: {"whole": False, "found": text} for name, text in damaged.items()}
        counts = {"datasets": len(catalog.datasets), "benchmarks": len(catalog.benchmarks)}
        print_json({"catalogue": counts, "datasets": states})
    elif not damaged or dataset is None:
        print(f"catalogue: {len(catalog.datasets)} data sets and {len(catalog.benchmarks)} benchmarks are well-formed")
        for name in known if dataset is None else [dataset]:
            print(f"{name}: {found.get(name, 'damaged' if name in damaged else 'not here')}")
    if damaged:
        raise StoreError("; ".join(damaged.values()))
