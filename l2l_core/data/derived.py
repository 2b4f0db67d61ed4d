"""What is made of a data set once and kept beside its store, such as the vectors of its texts."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from l2l_core.fetch.cache import Cache
from l2l_core.files import replacing, writing

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Arrays by name, as a safetensors file holds them."""


def made_or_kept(
    cache: Cache, dataset: str, file: str, make: Callable[[], Arrays], fits: Callable[[Arrays], bool]
) -> Arrays:
    """Arrays that belong to a data set, from a file where it is there and right; else they are made, and kept in it.

    The file lies beside the data set's store and goes with it. One that cannot be read is made anew.

    Args:
        cache: where the data set lies.
        dataset: its name.
        file: a name that is the same only for the same arrays, relative to the data set's stores.
        make: makes them; called by one process at a time.
        fits: whether arrays can be what `make` would make; may raise KeyError where one is absent.

    Raises:
        CacheError: the cache cannot be written.
    """
    path = cache.stores(dataset) / file
    if (found := _read(path, fits)) is not None:
        return found
    with cache.lock(dataset):
        # Another process may have made them while this one waited.
        if (found := _read(path, fits)) is not None:
            return found
        made = make()
        with replacing(path) as part, writing(path.name, path):
            safetensors.numpy.save_file(dict(made), part)
        return made


def _read(path: Path, fits: Callable[[Arrays], bool]) -> Arrays | None:
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        arrays: Arrays = safetensors.numpy.load_file(path)
        if fits(arrays):
            return arrays
    return None
