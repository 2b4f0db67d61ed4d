"""``l2l fetch``: download, check and prepare a data set."""

from typing import Annotated

import typer

from l2l_core.cli.options import Form, Root, say


def run(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.")],
    root: Root = None,
    form: Form = None,
    mirror: Annotated[
        str | None,
        typer.Option(help="Address or folder with copies, MIRROR/DATASET/FILE, asked first; else L2L_MIRROR."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Make no connection: use what is here or in a mirror folder.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the data set's licence, where that is asked for.")] = False,
) -> None:
    """Download a data set, check it, and prepare its store; print where the store is.

    Examples:
        l2l fetch omniglot
        l2l fetch mini-imagenet --yes --root /data/l2l
        l2l fetch cifar-fs --mirror /mnt/copies --offline
    """
    from l2l_core.catalog import open_catalog
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.build import fetch
    from l2l_core.prepare.stores import prepared_form

    catalog, cache = open_catalog(), Cache.at(root)
    record = catalog.dataset(dataset)
    here = prepared_form(record, cache)
    if here is not None and form in (None, here.name):
        say(f"{dataset} is prepared already; `l2l verify {dataset}` checks it")
    print(fetch(record, catalog, cache, form=form, mirror=mirror, offline=offline, yes=yes))
