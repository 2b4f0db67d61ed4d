"""``l2l fetch``: download, check and prepare a data set."""

from typing import Annotated

import typer

from l2l_core.cli.options import Root, say


def run(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.")],
    root: Root = None,
) -> None:
    """Download a data set, check it, and prepare its store; print where the store is.

    Examples:
        l2l fetch omniglot
        l2l fetch omniglot --root /data/l2l
    """
    from l2l_core.catalog import open_catalog
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.build import fetch, is_prepared

    catalog, cache = open_catalog(), Cache.at(root)
    record = catalog.dataset(dataset)
    if is_prepared(record, cache):
        say(f"{dataset} is prepared already; `l2l verify {dataset}` checks it")
    print(fetch(record, catalog, cache))
