"""An HTTP server on loopback that serves bytes and misbehaves on request."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer to a GET.

    Attributes:
        announced: the Content-Length to claim; that of the body for None, no such header for -1.
        endless: send the body again and again until the client hangs up.
        silent: take the request and never answer.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    endless: bool = False
    silent: bool = False


class Server(ThreadingHTTPServer):
    """Gives the answers of `pages` path by path: the n-th for the n-th request, and then the last one again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Sequence[Answer]] = {}
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.stopping = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def paths(self) -> list[str]:
        """Of all requests so far."""
        return [path for path, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        earlier = self.server.paths().count(self.path)
        self.server.requests.append((self.path, dict(self.headers)))
        answers = self.server.pages.get(self.path, [Answer(b"no such page", status=404)])
        answer = answers[min(earlier, len(answers) - 1)]
        if answer.silent:
            self.server.stopping.wait(20)
            return
        with contextlib.suppress(ConnectionError):
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.announced != -1 and not answer.endless:
                announced = len(answer.body) if answer.announced is None else answer.announced
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(answer.body)
            while answer.endless:
                self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs as long as the context lasts."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
