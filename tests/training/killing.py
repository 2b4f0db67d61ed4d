"""A process that trains in children of its own, and kills them where it is told, as `tests.prepare.killing` does.

It loads torch once and then forks. It reads an order a line, as JSON, and answers each with a line; see `Order`.
"""

import itertools
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from l2l_core import files
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.errors import L2LError
from l2l_core.training import checkpoints, log, loop, train
from tests.training.runs import QUICK

SETTINGS = {**QUICK, "validation_episodes": 2, "train_ways": 3}
WATCHED = tuple(module.__file__ for module in (files, checkpoints, log, loop))


@dataclass(frozen=True)
class Order:
    """What a child is to do.

    Attributes:
        folder: of the run.
        episodes: its budget.
        line: kill it before the line with that number of those that it passes in the modules that write.
        delay_s: kill it after that time.
        limit_bytes: of every file that it writes.
    """

    folder: str
    episodes: int = 12
    line: int | None = None
    delay_s: float | None = None
    limit_bytes: int | None = None


def run(order: Order, benchmark: Benchmark) -> dict[str, Any]:
    """How the child ended, minus a signal, 0, 1 with an error of ours or 2 with another; what it said; its lines."""
    started = time.perf_counter()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(order, benchmark, writing)
    os.close(writing)
    if order.delay_s is not None:
        time.sleep(order.delay_s)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    end = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    answer: dict[str, Any] = json.loads(said) if said else {"said": [], "lines": 0}
    return {**answer, "end": end, "seconds": time.perf_counter() - started}


def _child(order: Order, benchmark: Benchmark, writing: int) -> None:
    said: list[str] = []
    numbers = itertools.count()
    try:
        if order.limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order.limit_bytes, resource.RLIM_INFINITY))
        sys.settrace(_tracer(order.line, numbers))
        folder = Path(order.folder)
        train(benchmark, "protonet-cosine", episodes=order.episodes, settings=SETTINGS, folder=folder, say=said.append)
        status = 0
    except L2LError as error:
        said.append(f"{type(error).__name__}: {error}")
        status = 1
    except BaseException as error:
        said.append(repr(error))
        status = 2
    sys.settrace(None)
    os.write(writing, json.dumps({"said": said, "lines": next(numbers)}).encode())
    os._exit(status)


def _tracer(line: int | None, numbers: "itertools.count[int]") -> Callable[..., Any]:
    """What counts the lines of the modules that write, and kills this process before one of them."""

    def on_line(_: FrameType, event: str, __: object) -> Callable[..., Any]:
        if event == "line" and next(numbers) == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: FrameType, _: str, __: object) -> Callable[..., Any] | None:
        return on_line if frame.f_code.co_filename in WATCHED else None

    return on_call


def main() -> None:
    pytest.MonkeyPatch().setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    benchmark = load_benchmark("small-3w2s")
    # What a first step imports takes seconds, so that children should find it there.
    train(benchmark, "protonet-cosine", episodes=1, settings=SETTINGS)
    for line in sys.stdin:
        print(json.dumps(run(Order(**json.loads(line)), benchmark)), flush=True)


if __name__ == "__main__":
    main()
