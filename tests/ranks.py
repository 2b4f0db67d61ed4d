"""Processes that share work out, each a rank of one group, started once and told what to do over a pipe.

They are forked from a process that has loaded what they need, since loading torch takes seconds.
"""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from l2l_core.errors import L2LError

_LOADED = ["l2l_core.distributed", "l2l_core.evaluation.run", "l2l_core.training.loop", "l2l_core.algorithms.methods"]
_WAIT_S = 120


class Ranks:
    """A group of processes.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_LOADED)
        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            port = any_port.getsockname()[1]
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(count):
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1"}
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=({**told, "MASTER_PORT": port}, theirs), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function gives in each rank: a value, an error of ours, or None where the process has died.

        Args:
            function: of a module, called with the arguments.
        """
        return self.call_each(function, [arguments] * len(self.pipes))

    def call_each(self, function: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Any]:
        """As `call`, with arguments of its own for each rank."""
        environment = {name: value for name, value in os.environ.items() if name.startswith("L2L_")}
        for pipe, own in zip(self.pipes, arguments, strict=True):
            pipe.send((function, tuple(own), environment))
        return [_answer(pipe) for pipe in self.pipes]

    def end(self) -> None:
        """Nothing; the processes are gone."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(5)
            process.kill()
            process.join()


@contextmanager
def ranks(count: int) -> Iterator[Ranks]:
    """A group of processes for a while."""
    group = Ranks(count)
    try:
        yield group
    finally:
        group.end()


def _answer(pipe: Connection) -> Any:
    assert pipe.poll(_WAIT_S), "a rank hangs"
    try:
        kind, value = pipe.recv()
    except (EOFError, ConnectionError):
        return None
    assert kind == "value", value
    return value


def _serve(told: dict[str, Any], pipe: Connection) -> None:
    os.environ.update({name: str(value) for name, value in told.items()})
    os.environ.pop("L2L_CATALOG", None)
    import torch

    from l2l_core.distributed import joined

    torch.set_num_threads(1)
    done: Any = None
    try:
        with joined(timeout_s=60):
            while True:
                try:
                    function, arguments, environment = pipe.recv()
                except EOFError:
                    os._exit(0)
                os.environ.update(environment)
                done = function(*arguments)
                pipe.send(("value", done))
    except L2LError as error:
        pipe.send(("value", error))
    except BaseException:
        pipe.send(("error", traceback.format_exc()))
