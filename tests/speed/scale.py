"""What a task costs where there are many more classes or examples: its ids alone, and the opening of a large index."""

from pathlib import Path

import numpy as np

from l2l_core.data.batches import describe
from l2l_core.data.index import ClassIndex
from l2l_core.data.sampling import IntArray
from l2l_core.data.transforms import KShots, NWays
from tests.speed.measure import at_most, batches_of, seconds

TASKS = 256
SIZES = {
    "64 classes, 10^8 examples": (64, 10**8 // 64),
    "1,000,000 classes, 10^8 examples": (10**6, 100),
}


def index_of(classes: int, each: int) -> ClassIndex:
    """An index of classes of one size; a range stands for the names, which nobody is going to ask for."""
    return ClassIndex.of_counts(np.full(classes, each), range(classes))  # type: ignore[arg-type]


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    small = index_of(64, 160)
    numbers = batches_of(TASKS)

    def ids(index: ClassIndex) -> IntArray:
        return describe(index, 0, np.array(numbers()), [NWays(None, 5), KShots(None, 16)]).all_ids_BNK

    for what, size in SIZES.items():
        large = index_of(*size)
        one, other = seconds(lambda: ids(small), lambda large=large: ids(large), rounds=101)
        value, against = f"{1e6 * other / TASKS:.2f} us", f"64 classes, 10^4 examples: {1e6 * one / TASKS:.2f} us"
        at_most(f"ids of a task, {what}", value, other / one, 1.5, against)
