"""``l2l remove``: free what a data set takes in the cache."""

from typing import Annotated

import typer

from l2l_core.cli.options import Root, size_text


def run(
    dataset: Annotated[str, typer.Argument(help="Name of the data set, as `l2l cache` lists it.")],
    root: Root = None,
    downloads: Annotated[bool, typer.Option("--downloads", help="Only its raw files; the store stays usable.")] = False,
    stores: Annotated[bool, typer.Option("--stores", help="Only its prepared stores; the raw files stay.")] = False,
) -> None:
    """Remove the raw files and prepared stores of a data set from the cache; print what that frees.

    Examples:
        l2l remove tiered-imagenet --downloads
        l2l remove omniglot
    """
    from l2l_core.fetch.cache import Cache, remove

    both = downloads == stores
    freed = remove(Cache.at(root), dataset, downloads=downloads or both, stores=stores or both)
    print(f"{dataset}: {size_text(freed)} freed")
