"""One GET over https, with the patience that a download needs: retries, redirects, and an end to every wait."""

import contextlib
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias
from urllib.parse import urljoin

# requests and urllib3 together take a tenth of a second to import, so only a download does.
if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from requests import Response, Session
    from urllib3 import BaseHTTPResponse

CHUNK_BYTES: Final = 1 << 18
MAX_REDIRECTS: Final = 10
MAX_RETRY_AFTER_S: Final = 60  # a server may ask for patience, but not for an hour while another source waits
RETRIES: Final = 3


class SourceError(Exception):
    """One source failed; the message is the reason, without the source's name."""


class BrokenOffError(SourceError):
    """The answer began well and broke off, so that asking again may bring the rest."""


@dataclass(frozen=True, slots=True)
class Web:
    """How the network is reached, and how long it is waited for.

    Attributes:
        backoff_s: what the pauses between tries start from, where the server does not say how long to wait.
        timeout_s: how long to wait for a connection, for the whole head of an answer, and for each piece of its body.
        min_bytes_per_s, slow_s: an answer that brings less than this rate over so much waiting for it is given up.
        hosts: an origin (``https://host``) to the one that is contacted in its place, for tests.
    """

    backoff_s: float = 1.0
    timeout_s: float = 30.0
    min_bytes_per_s: float = 1000.0
    slow_s: float = 60.0
    hosts: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None, step: "Step | None" = None) -> Iterator["Reply"]:
        """A context that holds the answer to a GET, its body not yet read, whatever its status.

        Redirects are followed. Addresses are https, and so is whatever they lead to; plain http is for loopback
        addresses only. Connections that fail and the statuses 429, 500, 502, 503 and 504 are tried again a few times.

        Args:
            url: what to get.
            headers: of the request, beside the usual ones.
            step: what says of an answer that it is a step on the way, and where it leads; asked until it says so once.

        Raises:
            SourceError: there is no answer, or the way to it is not safe.
        """
        with self._session(headers or {}) as session:
            plain_http = is_loopback(origin(url)[1])  # so that no public site can send us to a port of this machine
            hops: list[Hop] = []
            # Redirects are followed here and not by requests, so that each address is judged before it is contacted.
            for _ in range(MAX_REDIRECTS + 1):
                _refuse_unsafe(url, plain_http)
                with _explained(SourceError, "no connection"):
                    response = session.get(
                        self._contact(url), stream=True, allow_redirects=False, timeout=self.timeout_s
                    )
                with contextlib.closing(response):
                    reply = Reply(url, response.status_code, response.headers, tuple(hops), self._pieces(response))
                    with _explained(SourceError, "no connection"):
                        location = _location(response)
                        if location is None and step is not None and (location := step(reply)) is not None:
                            step = None
                        following = None if location is None else urljoin(url, location)
                    if following is None:
                        yield reply
                        return
                    hops.append((url, response.headers))
                url = following
            raise SourceError(f"redirects more than {MAX_REDIRECTS} times")

    def pause(self, number: int) -> None:
        """Wait before the try of that number, counted from 0: the longer, the more have failed."""
        time.sleep(self.backoff_s * 2**number)

    def _session(self, headers: Mapping[str, str]) -> "Session":
        from http.client import HTTPResponse

        from requests import Response, Session
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry
        from urllib3.exceptions import HTTPError

        timeout_s = self.timeout_s

        class PlainSession(Session):
            def get_redirect_target(self, resp: Response) -> None:
                """None, because requests reads the body of a redirect to its end, which may never come."""

        class ShortWait(Retry):
            def get_retry_after(self, response: "BaseHTTPResponse") -> float | None:
                try:
                    seconds = super().get_retry_after(response)
                except (HTTPError, ValueError, OverflowError):  # neither a number nor a date
                    return None
                return None if seconds is None else min(seconds, MAX_RETRY_AFTER_S)

            def increment(self, *args: Any, **kwargs: Any) -> Self:
                following = super().increment(*args, **kwargs)
                if response := kwargs.get("response"):
                    response.close()  # or else urllib3 reads its body to the end, which may never come
                return following

        class PromptResponse(HTTPResponse):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self._wire = _Wire(self.fp.detach(), timeout_s)
                self.fp = BufferedReader(self._wire)

            def read1(self, n: int = -1) -> bytes:
                self._wire.expect()
                return super().read1(n)

        class PromptAdapter(HTTPAdapter):
            def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
                pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
                pool.ConnectionCls = type("PromptConnection", (pool.ConnectionCls,), {"response_class": PromptResponse})
                return pool

        retry = ShortWait(
            total=RETRIES,
            read=1,  # a server that is silent for a whole timeout is not worth many more
            backoff_factor=self.backoff_s,
            status_forcelist=(429, 500, 502, 503, 504),
            raise_on_status=False,
        )
        session = PlainSession()
        session.headers["User-Agent"] = "l2l_core (few-shot data sets; Python requests)"
        session.headers["Accept-Encoding"] = "identity"  # checksums are of the file as it is
        session.headers.update(headers)
        for scheme in ("http://", "https://"):
            session.mount(scheme, PromptAdapter(max_retries=retry))
        return session

    def _contact(self, url: str) -> str:
        for name, stand_in in self.hosts.items():
            if url.startswith(f"{name}/"):
                return stand_in + url.removeprefix(name)
        return url

    def _pieces(self, response: "Response") -> Iterator[bytes]:
        """The body as it comes in, ending in `BrokenOffError` where it breaks off."""
        waited_s, received = 0.0, 0
        while True:
            since = time.monotonic()
            with _explained(BrokenOffError, "connection broken"):
                # Not `read`, which waits until a whole chunk is there, and so would hide a server that trickles.
                piece = response.raw.read1(CHUNK_BYTES, decode_content=False)
            # The time between two pieces is the caller's own. What is beyond the timeout, this process was stopped for.
            waited_s += min(time.monotonic() - since, self.timeout_s)
            if not piece:
                return
            yield piece
            received += len(piece)
            if waited_s >= self.slow_s:
                if received < self.min_bytes_per_s * waited_s:
                    raise SourceError(f"too slow ({received:,} bytes in {waited_s:.0f} s)")
                waited_s, received = 0.0, 0


class _Wire(RawIOBase):
    """What comes in over a connection, until `timeout_s` have passed since it was last `expect`ed.

    A socket's own timeout begins anew with every byte, so a head that comes in drops, or after endless announcements
    that it will come, would hold us for ever.
    """

    def __init__(self, raw: RawIOBase, timeout_s: float) -> None:
        self._raw, self._timeout_s = raw, timeout_s
        self.expect()

    def expect(self) -> None:
        """Begin to wait."""
        self._until = time.monotonic() + self._timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        if time.monotonic() >= self._until:
            raise TimeoutError
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


@dataclass(slots=True)
class Reply:
    """An answer whose body is read as it is asked for.

    Attributes:
        url: where it came from in the end.
        headers: by name, in any case.
        hops: the addresses that led there, each with the headers of its answer.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    hops: tuple["Hop", ...]
    _pieces: Iterator[bytes]
    _seen: bytes = b""

    def peek(self, count: int) -> bytes:
        """The first bytes of the body, at least so many unless it is shorter; `chunks` gives them again.

        Raises:
            SourceError: the body breaks off before.
        """
        while len(self._seen) < count and (piece := next(self._pieces, b"")):
            self._seen += piece
        return self._seen

    def chunks(self) -> Generator[bytes, None, None]:
        """The whole body; once.

        Raises:
            SourceError: it breaks off, or comes too slowly.
        """
        if self._seen:
            yield self._seen
        yield from self._pieces

    @property
    def length(self) -> int | None:
        """How many bytes the body is said to have; None where nothing useful is said."""
        return whole_number(self.headers.get("Content-Length", ""))

    @property
    def ends_visibly(self) -> bool:
        """Whether a body that is cut off can be told from one that is complete."""
        return self.length is not None or "chunked" in self.headers.get("Transfer-Encoding", "").lower()


Hop: TypeAlias = tuple[str, Mapping[str, str]]
Step: TypeAlias = Callable[[Reply], str | None]


def whole_number(text: str) -> int | None:
    """The number that a server wrote; None where it is none, or one that no file has."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def is_loopback(host: str) -> bool:
    """Whether the host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, not an address
        return False


def origin(url: str) -> tuple[str, str]:
    """Scheme and host as urllib3 will contact them; another parser might read an odd address otherwise."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parts = parse_url(url)
    except LocationParseError:
        return "?", "?"
    return parts.scheme or "?", parts.host or "?"


def _location(response: "Response") -> str | None:
    """Where an answer redirects to; None where it does not."""
    # Headers are read as latin-1, and what is really sent is UTF-8.
    return response.headers["Location"].encode("latin-1").decode("utf-8") if response.is_redirect else None


def _refuse_unsafe(url: str, plain_http: bool) -> None:
    scheme, host = origin(url)
    if scheme != "https" and not (plain_http and scheme == "http" and is_loopback(host)):
        raise SourceError(f"leads to {scheme}://{host}, and only https is trusted")


@contextlib.contextmanager
def _explained(kind: type[SourceError], what: str) -> Iterator[None]:
    """A context in which every error of the network becomes a `SourceError` of that kind, in a few words."""
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (OSError, HTTPError, ValueError) as error:  # every error of requests is an OSError
        raise kind(_words(error, what)) from error


def _words(error: BaseException, what: str) -> str:
    """Why a connection failed, from the innermost errors that requests and urllib3 wrap."""
    import requests
    from urllib3.exceptions import TimeoutError as UrllibTimeoutError

    if isinstance(error, ValueError):
        return "an address that cannot be used"
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    # The words of the system come first, since urllib3 counts a refused connection among its timeouts.
    words: list[Any] = [link.strerror for link in chain if isinstance(link, OSError) and link.strerror]
    if not words and any(isinstance(link, TimeoutError | UrllibTimeoutError | requests.Timeout) for link in chain):
        return "no answer in time"
    return what + (f" ({words[-1]})" if words else "")
