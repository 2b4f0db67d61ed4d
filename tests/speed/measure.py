"""Times, and the lines of the table."""

import time
from collections.abc import Callable, Iterator
from statistics import quantiles


def seconds(*actions: Callable[[], object], rounds: int = 15) -> tuple[float, ...]:
    """Lower quartile of the times of each action, after one round that warms up.

    Every round does all of them, so that a slow moment of the machine falls on what is compared alike; and other work
    on the machine only ever adds to a time, so that the lower ones say more than the median.
    """
    times: list[list[float]] = [[] for _ in actions]
    for turn in range(rounds + 1):
        for action, its_times in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if turn:
                its_times.append(time.perf_counter() - start)
    return tuple(quantiles(its_times, n=4)[0] for its_times in times)


def row(what: str, value: str, against: str = "") -> None:
    """Print a line of the table: something for which there is no target."""
    print(f"{what:<62} {value:>14}                    {against}".rstrip(), flush=True)


def at_least(what: str, value: str, ratio: float, target: float, against: str) -> None:
    """Print a line whose ratio is to reach the target."""
    _judged(what, value, ratio, f">= {target:.4g}", ratio >= target, against)


def at_most(what: str, value: str, ratio: float, target: float, against: str) -> None:
    """Print a line whose ratio, or other figure, is not to pass the target."""
    _judged(what, value, ratio, f"<= {target:.4g}", ratio <= target, against)


def _judged(what: str, value: str, ratio: float, target: str, met: bool, against: str) -> None:
    print(f"{what:<62} {value:>14} {ratio:>8.3g} {target:>7} {'' if met else '!':<1} {against}", flush=True)


def repeated(action: Callable[[], object], times: int) -> Callable[[], None]:
    """The action so many times, to be timed as one: for those that do the work of several calls in one of them."""

    def all_of_them() -> None:
        for _ in range(times):
            action()

    return all_of_them


def batches_of(size: int) -> Callable[[], range]:
    """What gives the next so many task numbers whenever it is called, never the same twice."""
    starts: Iterator[int] = iter(range(0, 10**12, size))

    def following() -> range:
        start = next(starts)
        return range(start, start + size)

    return following
