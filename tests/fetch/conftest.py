"""A server on loopback, and an environment that says nothing of mirrors, proxies or consent."""

import socket
import time
from collections.abc import Iterator

import pytest

from .server import Server, serving


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("L2L_MIRROR", "L2L_OFFLINE", "L2L_ACCEPT_LICENCES"):
        monkeypatch.delenv(name, raising=False)


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
