"""A process that fetches and prepares the small data set in children of its own, and kills them where it is told.

It loads what a fetch needs once and then forks, which takes milliseconds where a new interpreter takes half a second.
It reads an order a line, as JSON, and answers each with a line; see `Order`.
"""

import itertools
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

# What a fetch imports inside its functions, so that no child has to.
import filelock
import numpy
import requests
import tqdm
import urllib3

from l2l_core.catalog import open_catalog
from l2l_core.errors import L2LError
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import fetch
from l2l_core.prepare.readers import image_folders
from l2l_core.records import FileRecord
from tests.small import with_form

LOADED = (filelock, image_folders, numpy, requests, tqdm, urllib3)
PACKAGE = str(Path(fetch.__code__.co_filename).parents[1])


@dataclass(frozen=True)
class Order:
    """What the children are to do.

    Attributes:
        root: of the cache.
        children: how many fetch at once.
        step: kill a child before the line of the package with that number, counted from 0 in its main thread.
        delay_s: kill it after that time.
        limit_bytes: of every file that it writes.
        image_size: of the prepared pictures.
        checksum: whether the record knows its file's size and checksum, or only about how many bytes it has.
        trace: write the lines that a child passes, ``file:line``, to this file.
    """

    root: str
    children: int = 1
    step: int | None = None
    delay_s: float | None = None
    limit_bytes: int | None = None
    image_size: int = 7
    checksum: bool = True
    trace: str | None = None


def run(order: Order, url: str, file: dict[str, Any]) -> dict[str, Any]:
    """How the children ended, and what they said: minus a signal, 0, 1 with an error of ours or 2 with another."""
    started, pids, pipes = time.perf_counter(), [], []
    for _ in range(order.children):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(order, FileRecord(urls=(url,), **file), writing)
        os.close(writing)
        pids.append(pid)
        pipes.append(reading)
    if order.delay_s is not None:
        time.sleep(order.delay_s)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    said = []
    for reading in pipes:
        with os.fdopen(reading) as pipe:
            said.append(pipe.read())
    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"ends": ends, "said": said, "seconds": time.perf_counter() - started}


def _child(order: Order, file: FileRecord, writing: int) -> None:
    status = 2
    try:
        catalog = open_catalog()
        if not order.checksum:
            file = replace(file, size_bytes=None, about_bytes=file.size_bytes, sha256=None)
        record = with_form(catalog.dataset("small"), files=(file,))
        record.prepared["image_size"][:] = [order.image_size] * 2
        if order.limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order.limit_bytes, resource.RLIM_INFINITY))
        lines: list[str] = []
        if order.step is not None or order.trace is not None:
            sys.settrace(_tracer(order.step, lines))
        said = str(fetch(record, catalog, Cache.at(order.root)))
        sys.settrace(None)
        if order.trace is not None:
            Path(order.trace).write_text("\n".join(lines))
        status = 0
    except L2LError as error:
        said, status = f"{type(error).__name__}: {error}", 1
    except BaseException as error:
        said = repr(error)
    os.write(writing, said.encode())
    os._exit(status)


def _tracer(step: int | None, lines: list[str]) -> Callable[..., Any]:
    """What counts the lines of the package, and kills this process before one of them."""
    numbers, main = itertools.count(), threading.get_ident()

    def on_line(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "line" and threading.get_ident() == main:
            if next(numbers) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            lines.append(f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}")
        return on_line

    def on_call(frame: FrameType, _: str, __: object) -> Callable[..., Any] | None:
        return on_line if frame.f_code.co_filename.startswith(PACKAGE) else None

    return on_call


def main() -> None:
    url, file = sys.argv[1], json.loads(sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(run(Order(**json.loads(line)), url, file)), flush=True)


if __name__ == "__main__":
    main()
