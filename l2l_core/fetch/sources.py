"""What each host needs before it gives a file, and what it says of that file beforehand.

Google Drive, Dropbox, Zenodo and Hugging Face are known; everything else is a plain GET. A new host is a line in one of
the functions below.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from l2l_core.fetch.archives import looks_like
from l2l_core.fetch.checks import HEAD_BYTES, HTML
from l2l_core.fetch.web import Hop, Reply, SourceError, Web, whole_number

PAGE_BYTES: Final = 1 << 18  # more than any warning or login page has
API_BYTES: Final = 1 << 22  # a Zenodo record lists some 500 bytes a file, and 100 files at most

_DRIVE: Final = ("drive.google.com", "docs.google.com")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a host says of a file beforehand; None for what it does not say."""

    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None


@contextmanager
def open_source(web: Web, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Reply]:
    """A context that holds the answer of a catalogue address, its body not yet read, whatever its status.

    Raises:
        SourceError: there is no answer, or it is a page for people; says which.
    """
    step = _drive_form if _is_drive(url) else None
    with web.open(address(url), headers, step) as reply:
        if _is_page(reply) and (reply.status < 400 or _is_quota_page(_page(reply))):
            raise SourceError(f"{_page_name(reply)} instead of the file")
        yield reply


def address(url: str) -> str:
    """The address to ask for a catalogue address: where Drive's files lie, and Dropbox's file and not its preview."""
    parts = _split(url)
    query = dict(parse_qsl(parts.query))
    if _is_drive(url):
        # A key is needed for files that were shared before 2021.
        kept: dict[str, str] = {name: query[name] for name in ("id", "resourcekey") if name in query}
        kept |= {"export": "download", "confirm": "t"}
        return f"https://drive.usercontent.google.com/download?{urlencode(kept)}"
    if parts.hostname in ("dropbox.com", "www.dropbox.com"):
        return urlunsplit(parts._replace(query=urlencode({**query, "dl": "1"})))
    return url


def promise_before(web: Web, url: str) -> Promise:
    """What a host's own interface says of the file at an address; nothing where it has none or does not answer."""
    parts = _split(url)
    match = re.fullmatch(r"/records?/(\d+)/files/([^/]+)", parts.path)
    if parts.hostname != "zenodo.org" or match is None:
        return Promise()
    try:
        with web.open(f"https://zenodo.org/api/records/{match[1]}") as reply:
            listing = json.loads(reply.peek(API_BYTES)[:API_BYTES]) if reply.status == 200 else {}
            return _zenodo_promise(listing, unquote(match[2]))
    except (SourceError, ValueError, RecursionError):
        return Promise()


def promise_on_the_way(hops: Sequence[Hop]) -> Promise:
    """What the redirects that led to a file said of it: Hugging Face names the sha256 of files in its large storage."""
    for url, headers in hops:
        sha256 = headers.get("X-Linked-ETag", "").strip('"')
        if _split(url).hostname == "huggingface.co" and _SHA256.fullmatch(sha256):
            return Promise(whole_number(headers.get("X-Linked-Size", "")), sha256)
    return Promise()


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise SourceError("an address that cannot be used") from error


def _zenodo_promise(listing: object, name: str) -> Promise:
    """The size and md5 of a file in the answer of Zenodo's interface, of which nothing is taken for granted."""
    files = listing.get("files") if isinstance(listing, dict) else None
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and file.get("key") == name:
            match = re.fullmatch(r"md5:([0-9a-f]{32})", str(file.get("checksum")))
            return Promise(whole_number(str(file.get("size"))), md5=match[1] if match else None)
    return Promise()


def _is_drive(url: str) -> bool:
    parts = _split(url)
    return parts.hostname in _DRIVE and "id" in dict(parse_qsl(parts.query))


@dataclass(slots=True)
class _Form:
    """Of a page: where it is sent, what is sent unseen, and whether it asks for a password."""

    action: str
    hidden: dict[str, str] = field(default_factory=dict)
    asks_password: bool = False


class _Forms(HTMLParser):
    """The forms of a page, or of what comes before its first flaw that the parser cannot take."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        with suppress(AssertionError, ValueError):
            self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(given.get("action", "")))
        elif tag == "input" and self.forms:
            kind = given.get("type", "").lower()
            self.forms[-1].asks_password |= kind == "password"
            if kind == "hidden" and "name" in given:
                self.forms[-1].hidden[given["name"]] = given.get("value", "")


def _is_page(reply: Reply) -> bool:
    # A part of a file may begin with anything.
    return reply.status != 206 and looks_like(reply.peek(HEAD_BYTES)) == HTML


def _page(reply: Reply) -> str:
    return reply.peek(PAGE_BYTES)[:PAGE_BYTES].decode("utf-8", "replace")


def _drive_form(reply: Reply) -> str | None:
    """Where the button "Download anyway" leads, where Drive shows it instead of a file that it has not scanned."""
    for form in _Forms(_page(reply)).forms if _is_page(reply) else ():
        if "confirm" in form.hidden and "id" in form.hidden:
            return f"{form.action.partition('?')[0]}?{urlencode(form.hidden)}"
    return None


def _is_quota_page(page: str) -> bool:
    text = page.casefold()
    return "google" in text and ("quota exceeded" in text or "too many users have viewed or downloaded" in text)


def _page_name(reply: Reply) -> str:
    page = _page(reply)
    if _is_quota_page(page):
        return "Google Drive's quota page"
    if _split(reply.url).hostname == "accounts.google.com" or any(form.asks_password for form in _Forms(page).forms):
        return "a login page"
    return HTML
