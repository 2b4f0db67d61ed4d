"""A server on loopback."""

import socket
import time
from collections.abc import Iterator

import pytest

from .server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def contacted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hosts whose address was looked up, which precedes every connection."""
    hosts = []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args: (hosts.append(host), look_up(host, *args))[1])
    return hosts


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds asked of time.sleep, which returns at once."""
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked
