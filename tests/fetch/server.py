"""An HTTP server on loopback that serves bytes and misbehaves on request."""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from l2l_core.fetch.web import Web


@dataclass(frozen=True)
class Answer:
    """One answer to a GET.

    Attributes:
        announced: the Content-Length to claim; that of the body for None, no such header for -1.
        ranges: honour Range, and If-Range where it names the ETag or Last-Modified among the headers.
        drop_at: hang up after so many bytes of what was to be sent.
        stall_at: send nothing more after so many bytes, without hanging up.
        drip_s: after 1000 bytes send pieces of 100 bytes with this pause between them.
        chunked: send the body with an encoding that shows its end, and no length.
        endless: send the body again and again until the client hangs up.
        silent: take the request and never answer.
        verbatim: send these two instead of all this, the second again and again until the client hangs up.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    ranges: bool = False
    drop_at: int | None = None
    stall_at: int | None = None
    drip_s: float = 0.0
    chunked: bool = False
    endless: bool = False
    silent: bool = False
    verbatim: tuple[bytes, bytes] | None = None


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

    def asked(self, header: str) -> list[str | None]:
        """A header of all requests so far."""
        return [headers.get(header) for _, headers in self.requests]

    def web(self, *hosts: str, timeout_s: float = 5.0, slow_s: float = 60.0) -> Web:
        """A quick way to this server, which stands in for those hosts, each under a path of its name."""
        stand_ins = {f"https://{host}": self.url(f"/{host}") for host in hosts}
        return Web(backoff_s=0.0, timeout_s=timeout_s, slow_s=slow_s, hosts=stand_ins)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        earlier = self.server.paths().count(self.path)
        self.server.requests.append((self.path, dict(self.headers)))
        answers = self.server.pages.get(self.path, [Answer(b"no such page", status=404)])
        answer = answers[min(earlier, len(answers) - 1)]
        if answer.silent:
            self.server.stopping.wait(20)
            return
        with contextlib.suppress(ConnectionError):
            if answer.verbatim is None:
                self._send(answer)
            else:
                self._repeat(*answer.verbatim)

    def _repeat(self, beginning: bytes, piece: bytes) -> None:
        self.wfile.write(beginning)
        while not self.server.stopping.wait(0.02):
            self.wfile.write(piece)

    def _send(self, answer: Answer) -> None:
        status, body, headers = answer.status, answer.body, {"Connection": "close", **answer.headers}
        first = self._first_byte(answer)
        if first is not None and first >= len(body):
            status, body, headers["Content-Range"] = 416, b"", f"bytes */{len(body)}"
        elif first is not None:
            status, headers["Content-Range"] = 206, f"bytes {first}-{len(body) - 1}/{len(body)}"
            body = body[first:]
        if answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif answer.announced != -1 and not answer.endless:
            headers["Content-Length"] = str(len(body) if answer.announced is None else answer.announced)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        stop_at = answer.drop_at if answer.stall_at is None else answer.stall_at
        body = body[:stop_at]
        if answer.chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body)
            body += b"" if stop_at is not None else b"0\r\n\r\n"
        first = 1000 if answer.drip_s else len(body)
        self.wfile.write(body[:first])
        for start in range(first, len(body), 100):
            self.server.stopping.wait(answer.drip_s)
            self.wfile.write(body[start : start + 100])
        while answer.endless:
            self.wfile.write(body)
        if answer.stall_at is not None:
            self.server.stopping.wait(20)

    def _first_byte(self, answer: Answer) -> int | None:
        """Where the part that is asked for begins; None for the whole."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        validators = {answer.headers.get("ETag"), answer.headers.get("Last-Modified")}
        if not answer.ranges or match is None or self.headers.get("If-Range") not in {None, *validators}:
            return None
        return int(match[1])

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
