"""Every example of raw data loaded, on all cores, and written to a store."""

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from l2l_core.prepare.readers import RawDataset
from l2l_core.records import Order
from l2l_core.store import Manifest, write_store

_BLOCK: Final = 32
"""Examples that a thread decodes at a time: enough to make the hand-over cheap."""
_WINDOW: Final = 16
"""Blocks decoded ahead of the writer: enough to keep every thread busy, few enough to bound memory."""


def write_raw(path: Path, manifest: Manifest, raw: RawDataset, *, order: Order = "files") -> None:
    """Load every example of the manifest's classes, on all cores, and write the store of them.

    Raises:
        ContentError, ArchiveError: an example cannot be read.
        CacheError: the store cannot be written.
    """
    title, examples = manifest.dataset, {name: raw.examples[name] for name in manifest.classes}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if order == "content":
            examples = _by_content(_load_all(raw, examples, pool, f"ordering {title}"), examples)
        counts = [len(members) for members in examples.values()]
        arrays = _load_all(raw, examples, pool, f"preparing {title}")
        write_store(path, manifest, counts, raw.shape, arrays, raw.digest)


def _by_content(
    arrays: Iterator[npt.NDArray[np.generic]], examples: Mapping[str, Sequence[Hashable]]
) -> dict[str, Sequence[Hashable]]:
    """The examples of each class by the digest of what is stored, so that no packing changes their order.

    Args:
        arrays: every example, loaded, in the given order.
        examples: class to examples.
    """
    digests = (hashlib.sha256(array.tobytes()).digest() for array in arrays)

    def ordered(members: Sequence[Hashable]) -> list[Hashable]:
        pairs = zip(islice(digests, len(members)), members, strict=True)
        return [member for _, member in sorted(pairs, key=itemgetter(0))]

    return {name: ordered(members) for name, members in examples.items()}


def _load_all(
    raw: RawDataset, examples: Mapping[str, Sequence[Hashable]], pool: ThreadPoolExecutor, title: str
) -> Iterator[npt.NDArray[np.generic]]:
    """Every example in order, decoded on all cores, with a progress bar on a terminal."""
    from tqdm import tqdm

    def load_block(block: Sequence[Hashable]) -> list[npt.NDArray[np.generic]]:
        return [raw.load(example) for example in block]

    blocks = _grouped((example for members in examples.values() for example in members), _BLOCK)
    with tqdm(desc=title, total=sum(map(len, examples.values())), unit=" examples", disable=None) as bar:
        for window in _grouped(blocks, _WINDOW):
            for arrays in pool.map(load_block, window):
                yield from arrays
                bar.update(len(arrays))


def _grouped(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
