"""``l2l import``: prepare a data set from files that are here already."""

from pathlib import Path
from typing import Annotated

import typer

from l2l_core.cli.options import Form, Root, say


def run(
    dataset: Annotated[str, typer.Argument(help="Name of the data set.")],
    paths: Annotated[list[Path], typer.Argument(help="Its files, or a folder that holds them or their content.")],
    root: Root = None,
    form: Form = None,
) -> None:
    """Check a copy of a data set that you have, and prepare its store; print where the store is.

    Examples:
        l2l import omniglot ~/downloads/omniglot
        l2l import omniglot images_background.zip images_evaluation.zip
        l2l import tiered-imagenet /data/ILSVRC2012/train --form ilsvrc
    """
    from l2l_core.catalog import open_catalog
    from l2l_core.fetch.cache import Cache
    from l2l_core.prepare.build import import_files
    from l2l_core.prepare.stores import edition
    from l2l_core.store import open_store

    catalog = open_catalog()
    record = catalog.dataset(dataset)
    path = import_files(record, catalog, Cache.at(root), paths, form=form)
    found = edition(record, open_store(path))
    if found:
        say(f"{dataset}: {found}")
    print(path)
