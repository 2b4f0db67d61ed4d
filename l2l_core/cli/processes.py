"""A command in several processes, each of which does its share; without torch. What they say to each other is
`l2l_core.distributed`'s business."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import Final

from l2l_core.errors import DistributedError

_GRACE_S: Final = 10.0
"""How long the other processes may go on once one has failed: they notice, and have something to say."""
_WAY_S: Final = 1.0
"""How long other processes hold back their errors. Where the first one has the same it is done by then, and so are
they, since whoever started them ends them."""


def is_one_of_several() -> bool:
    """Whether this process has been started, by ``--devices`` or torchrun, beside others."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def speaks() -> bool:
    """Whether this process is the one that prints, and writes files."""
    return not is_one_of_several() or os.environ.get("RANK", "0") == "0"


def complain(message: str) -> None:
    """Print why the command cannot go on."""
    if speaks():
        who = ""
    else:
        who = f"process {os.environ['RANK']}: "
        time.sleep(_WAY_S)
    print(f"l2l: {who}{message}", file=sys.stderr, flush=True)


def start_processes(count: int) -> None:
    """Nothing, where one process is asked for or this is one of several; else that many run the command, and it ends.

    Each is told of the others as torchrun does it, and has its share of the processor's threads. When one of them
    fails, the others are ended.

    Raises:
        DistributedError: a signal has ended one of them.
        SystemExit: with the status of theirs.
    """
    if count == 1 or is_one_of_several():
        return
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = {
        "OMP_NUM_THREADS": str(max(1, cores // count)),
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
    }
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(subprocess.Popen([sys.executable, "-m", "l2l_core", *sys.argv[1:]], env={**shared, **own}))
        failed = _first_failure(children)
    finally:
        for child in children:
            child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed is None:
        raise SystemExit(0)
    rank, status = failed
    if status > 0:
        raise SystemExit(status)
    raise DistributedError(
        f"process {rank} (counted from 0) of {count} was ended by {signal.Signals(-status).name}, and with it the job; "
        "start the same again: a training goes on from its last checkpoint"
    )


def _first_failure(children: list[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    """Number and status of the child that failed first, once all are done or have had their time; None if none did."""
    failed, until = None, float("inf")
    # Each is asked, and not only the first that is there still.
    while None in [child.poll() for child in children] and time.monotonic() < until:
        if failed is None:
            failed = _failure(children)
            until = time.monotonic() + _GRACE_S if failed else until
        time.sleep(0.05)
    return failed or _failure(children)


def _failure(children: list[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    return next(((rank, child.returncode) for rank, child in enumerate(children) if child.returncode), None)
