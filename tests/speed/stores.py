"""Stores of the size of known data sets, made on the spot: what is in them makes no difference to the clock."""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from l2l_core.store import Manifest, Store, open_store, write_store
from l2l_core.store import _header as header_of
from l2l_core.store import _padded as padded

OMNIGLOT = (1692, 20, (1, 28, 28))
"""Classes of the benchmarks' test subset with their rotations, examples a class, shape of a picture."""
MINI_IMAGENET = (64, 600, (3, 84, 84))
VAST = (100_000, 100, (1, 28, 28))


def _manifest(name: str, classes: int) -> Manifest:
    names = tuple(f"group{row // 100:04}/class{row:06}" for row in range(classes))
    return Manifest(name, "made", names, {"reader": "none"}, {})


def made_store(path: Path, classes: int, each: int, shape: tuple[int, ...]) -> Store:
    """A store of random pictures, opened, every page of it in the page cache and known to this process."""
    block = np.random.default_rng(0).integers(0, 256, (64, *shape), np.uint8)

    def pictures() -> Iterator[npt.NDArray[np.uint8]]:
        for number in range(classes * each):
            yield block[number % len(block)]

    write_store(path, _manifest(path.stem, classes), [each] * classes, shape, pictures(), lambda: "0" * 64)
    store = open_store(path)
    store.examples.reshape(-1)[::1024].sum()
    return store


def stretches(store: Store, examples: int) -> Callable[[], Tensor]:
    """What gives another stretch of so many neighbouring examples whenever it is called: views of the mapped file."""
    with warnings.catch_warnings():
        # They are read only.
        warnings.simplefilter("ignore", UserWarning)
        everything = torch.from_numpy(store.examples)
    places = count(0, examples)

    def stretch() -> Tensor:
        place = next(places) % (len(everything) - examples)
        return everything[place : place + examples]

    return stretch


def sparse_store(path: Path, classes: int, each: int, shape: tuple[int, ...]) -> Path:
    """The file of a store that is all black, of which the file system keeps the header and the offsets only."""
    manifest, examples = _manifest(path.stem, classes), classes * each
    text = json.dumps(asdict(manifest), ensure_ascii=False, sort_keys=True)
    header = header_of(manifest, text, [each] * classes, shape, examples * int(np.prod(shape)), "0" * 64, "0" * 64)
    length = len(header) + -len(header) % 64
    offsets = (np.arange(classes + 1) * each).astype("<i8").tobytes()
    with path.open("wb") as stream:
        stream.write(padded(header, length) + offsets)
        stream.truncate(length + len(offsets) + examples * int(np.prod(shape)))
    return path
