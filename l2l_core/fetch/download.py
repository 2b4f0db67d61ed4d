"""Files over HTTP, from the first source that gives exactly the bytes of the record."""

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urljoin

from l2l_core.errors import FetchError
from l2l_core.fetch.archives import looks_like
from l2l_core.fetch.cache import Cache
from l2l_core.files import replacing, writing
from l2l_core.records import DatasetRecord, FileRecord

# requests, urllib3 and tqdm together take a tenth of a second to import, so only a download does.
if TYPE_CHECKING:
    from requests import Response
    from urllib3 import BaseHTTPResponse

Opener: TypeAlias = Callable[[str], AbstractContextManager["Response"]]

CHUNK_BYTES = 1 << 18
MAX_REDIRECTS = 10
MAX_RETRY_AFTER_S = 60  # a server may ask for patience, but not for an hour while another source waits
RETRIES = 3


class _SourceError(Exception):
    """One source failed; the message is the reason, without the source's name."""


def fetch_files(record: DatasetRecord, cache: Cache) -> list[Path]:
    """Paths of the record's files in the cache, in the record's order, downloaded where need be.

    The caller holds `Cache.lock` of the data set.

    Raises:
        FetchError: a file came from none of its sources, or the record has no files to download.
        CacheError: the cache folder cannot be written.
    """
    if record.raw.package:
        raise FetchError(
            f"{record.name} has nothing to download: it is made from the installed package {record.raw.package}; "
            "just use it"
        )
    if not record.files:
        raise FetchError(
            f"{record.name} has no address to download from; give a copy of it with `l2l import {record.name} PATH`"
        )
    return [download(file, cache.downloads(record.name) / file.name) for file in record.files]


def download(file: FileRecord, target: Path, *, opener: Opener | None = None) -> Path:
    """The target, holding exactly the bytes that the record describes.

    A target that holds them already is kept, and nothing is asked of the network. Else the sources are tried in order,
    and the target appears, or is replaced, only when a source has given all bytes with the right checksum.

    Args:
        file: names, addresses, size and sha256.
        target: where the file shall be.
        opener: a function from an address to a context that holds the response; `open_url` for None.

    Raises:
        FetchError: no source gave the file; says what each one answered.
        CacheError: the file cannot be written.
    """
    if _holds(target, file):
        return target
    answers = []
    for url in file.urls:
        try:
            with replacing(target) as part:
                _save(file, _checked_chunks(file, url, opener or open_url), part)
            return target
        except _SourceError as error:
            answers.append(f"{_split(url)[1]}: {error}")
    raise FetchError(
        f"cannot download {file.name} ({'; '.join(answers) or 'no source is known'}); get it another way "
        f"({file.size_bytes} bytes, sha256 {file.sha256}) and place it at {target}, or give a copy with `l2l import`"
    )


@contextlib.contextmanager
def open_url(url: str, *, backoff_s: float = 1.0, timeout_s: float = 30.0) -> Iterator["Response"]:
    """A context that holds the response to a GET, its body not yet read, whatever its status.

    Redirects are followed. Addresses are https, and so is whatever they redirect to; plain http is for loopback
    addresses only. Connections that fail and the statuses 429, 500, 502, 503 and 504 are tried again a few times.

    Args:
        url: what to get.
        backoff_s: what the pauses between tries start from, where the server does not say how long to wait.
        timeout_s: how long to wait for a connection, and for each piece of the answer.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    class ShortWait(Retry):
        def get_retry_after(self, response: "BaseHTTPResponse") -> float | None:
            seconds = super().get_retry_after(response)
            return None if seconds is None else min(seconds, MAX_RETRY_AFTER_S)

    retry = ShortWait(
        total=RETRIES,
        read=1,  # a server that is silent for a whole timeout is not worth many more
        backoff_factor=backoff_s,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    with requests.Session() as session:
        session.headers["User-Agent"] = "l2l_core (few-shot data sets; Python requests)"
        session.headers["Accept-Encoding"] = "identity"  # checksums are of the file as it is
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        plain_http = _is_loopback(_split(url)[1])  # so that no public site can send us to a port of this machine
        # Redirects are followed here and not by requests, so that each address is judged before it is contacted.
        for _ in range(MAX_REDIRECTS + 1):
            _refuse_unsafe(url, plain_http)
            with session.get(url, stream=True, allow_redirects=False, timeout=timeout_s) as response:
                location = session.get_redirect_target(response)
                if location is None:
                    yield response
                    return
            url = urljoin(url, location)
        raise _SourceError(f"redirects more than {MAX_REDIRECTS} times")


def _holds(target: Path, file: FileRecord) -> bool:
    """Whether the target is there with the right size and checksum."""
    try:
        if not target.is_file() or target.stat().st_size != file.size_bytes:
            return False
        with target.open("rb") as existing:
            return hashlib.file_digest(existing, "sha256").hexdigest() == file.sha256
    except OSError:  # unreadable: as good as absent, so let it be replaced
        return False


def _save(file: FileRecord, chunks: Generator[bytes, None, None], part: Path) -> None:
    """Write the chunks to a new file, with a progress bar if a person is watching."""
    from tqdm import tqdm

    with (
        contextlib.closing(chunks),
        tqdm(total=file.size_bytes, desc=file.name, unit="B", unit_scale=True, disable=None) as bar,
        writing(file.name, part.parent),
        part.open("xb") as out,
    ):
        for chunk in chunks:
            out.write(chunk)
            bar.update(len(chunk))


def _checked_chunks(file: FileRecord, url: str, opener: Opener) -> Generator[bytes, None, None]:
    """The file's bytes as they arrive, ending in a `_SourceError` unless they are exactly those of the record.

    Nothing but a `_SourceError` leaves this generator, so that an OSError around it is the disk's and not the net's.
    """
    from urllib3.exceptions import HTTPError

    digest, received, head = hashlib.sha256(), 0, b""
    try:
        with opener(url) as response:
            if response.status_code != 200:
                raise _SourceError(f"HTTP status {response.status_code}")
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                digest.update(chunk)
                received += len(chunk)
                head += chunk[: 512 - len(head)]
                if received > file.size_bytes:
                    break
                yield chunk
    except (OSError, HTTPError, ValueError) as error:  # every error of requests is an OSError
        raise _SourceError(_explain(error, received, file.size_bytes)) from error
    if fault := _fault(file, received, digest.hexdigest(), head):
        raise _SourceError(fault)


def _fault(file: FileRecord, received: int, sha256: str, head: bytes) -> str | None:
    """What is wrong with the bytes of a source, or None: the whole decision, without the network."""
    if received == file.size_bytes and sha256 == file.sha256:
        return None
    if looks_like(head) == "an HTML page":
        return "an HTML page instead of the file"
    if received > file.size_bytes:
        return f"more than the expected {file.size_bytes} bytes"
    if received < file.size_bytes:
        return f"{received} bytes instead of {file.size_bytes}"
    return f"wrong content (sha256 {sha256[:12]}… instead of {file.sha256[:12]}…)"


def _explain(error: BaseException, received: int, size_bytes: int) -> str:
    """Why a connection failed, in a few words, from the innermost errors that requests and urllib3 wrap."""
    import requests
    from urllib3.exceptions import TimeoutError as UrllibTimeoutError

    if isinstance(error, ValueError):
        return "an address that cannot be used"
    progress = f" after {received} of {size_bytes} bytes" if received else ""
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    # The words of the system come first, since urllib3 counts a refused connection among its timeouts.
    words = [link.strerror for link in chain if isinstance(link, OSError) and link.strerror]
    if not words and any(isinstance(link, TimeoutError | UrllibTimeoutError | requests.Timeout) for link in chain):
        return f"no answer in time{progress}"
    return ("connection broken" if received else "no connection") + progress + (f" ({words[-1]})" if words else "")


def _refuse_unsafe(url: str, plain_http: bool) -> None:
    scheme, host = _split(url)
    if scheme != "https" and not (plain_http and scheme == "http" and _is_loopback(host)):
        raise _SourceError(f"leads to {scheme}://{host}, and only https is trusted")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, not an address
        return False


def _split(url: str) -> tuple[str, str]:
    """Scheme and host as urllib3 will contact them; another parser might read an odd address otherwise."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parts = parse_url(url)
    except LocationParseError:
        return "?", "?"
    return parts.scheme or "?", parts.host or "?"
