"""Files over HTTP: the right bytes in the end, or one clear sentence and a clean folder."""

import contextlib
import hashlib
import io
import random
import resource
import socket
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from l2l_core.errors import CacheError, FetchError
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.download import (
    CHUNK_BYTES,
    _is_loopback,
    _refuse_unsafe,
    _SourceError,
    download,
    fetch_files,
    open_url,
)
from l2l_core.records import DatasetRecord, FileRecord, RawRecord

from .server import Answer, serving

BYTES = random.Random(0).randbytes(600_000)  # several chunks
SHA256 = hashlib.sha256(BYTES).hexdigest()
GOOD = Answer(BYTES)

quick = partial(open_url, backoff_s=0.0, timeout_s=0.3)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def contacted(monkeypatch):
    """Hosts whose address was looked up, which precedes every connection."""
    hosts = []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args: (hosts.append(host), look_up(host, *args))[1])
    return hosts


@pytest.fixture
def pauses(monkeypatch):
    """Seconds asked of time.sleep, which returns at once."""
    asked = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked


def wanted(*urls: str, name: str = "x.zip", data: bytes = BYTES) -> FileRecord:
    return FileRecord(name, urls, len(data), hashlib.sha256(data).hexdigest())


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(file: FileRecord, target: Path, **kwargs) -> str:
    with pytest.raises(FetchError) as caught:
        download(file, target, **kwargs)
    return str(caught.value)


def test_a_file_is_downloaded_as_it_is(server, tmp_path, capsys):
    server.pages["/x"] = [GOOD]
    target = tmp_path / "new/folder/x.zip"
    assert download(wanted(server.url("/x")), target) == target
    assert target.read_bytes() == BYTES
    assert listing(target.parent) == ["x.zip"]
    [(_, headers)] = server.requests
    assert headers["User-Agent"].startswith("l2l_core")
    assert headers["Accept-Encoding"] == "identity"
    assert capsys.readouterr() == ("", "")  # nobody is watching


def test_an_empty_file_is_a_file(server, tmp_path):
    server.pages["/x"] = [Answer(b"")]
    assert download(wanted(server.url("/x"), data=b""), tmp_path / "x").read_bytes() == b""


def test_progress_is_shown_to_a_terminal(server, tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    server.pages["/x"] = [GOOD]
    download(wanted(server.url("/x")), tmp_path / "x.zip")
    assert "x.zip: 100%" in terminal.getvalue()
    assert "600k/600k" in terminal.getvalue()


def test_a_body_labelled_as_compressed_is_still_taken_as_it_is(server, tmp_path):
    server.pages["/x"] = [Answer(BYTES, headers={"Content-Encoding": "gzip"})]
    assert download(wanted(server.url("/x")), tmp_path / "x").read_bytes() == BYTES


def test_a_file_that_is_there_is_kept_without_a_connection(server, tmp_path, contacted):
    target = tmp_path / "x.zip"
    target.write_bytes(BYTES)
    before = target.stat()
    assert download(wanted(server.url("/x")), target) == target
    assert (target.stat().st_mtime_ns, target.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert server.requests == []
    assert contacted == []


@pytest.mark.parametrize("old", [b"short", BYTES[:-1] + bytes([BYTES[-1] ^ 1])], ids=["size", "content"])
def test_a_wrong_file_is_replaced_by_a_good_one_only(server, tmp_path, old):
    target = tmp_path / "x.zip"
    target.write_bytes(old)
    server.pages["/bad"] = [Answer(BYTES[:-1])]
    server.pages["/good"] = [GOOD]
    refusal(wanted(server.url("/bad")), target)
    assert target.read_bytes() == old
    download(wanted(server.url("/good")), target)
    assert target.read_bytes() == BYTES
    assert listing(tmp_path) == ["x.zip"]


HTML = b"<!DOCTYPE html><html>Please sign in</html>"
WRONG = bytes(len(BYTES))
WRONG_SHA256 = hashlib.sha256(WRONG).hexdigest()
FAULTS = {
    "absent": (Answer(status=404), "HTTP status 404"),
    "forbidden": (Answer(status=403), "HTTP status 403"),
    "part of it": (Answer(BYTES, status=206), "HTTP status 206"),
    "broken for good": (Answer(status=500), "HTTP status 500"),
    "busy for good": (Answer(status=503, headers={"Retry-After": "0"}), "HTTP status 503"),
    "too many requests": (Answer(status=429), "HTTP status 429"),
    "too short": (Answer(BYTES[:9]), "9 bytes instead of 600000"),
    "nothing": (Answer(b""), "0 bytes instead of 600000"),
    "too long": (Answer(BYTES + b"!"), "more than the expected 600000 bytes"),
    "endless": (Answer(bytes(65536), endless=True), "more than the expected 600000 bytes"),
    "wrong content": (Answer(WRONG), f"wrong content (sha256 {WRONG_SHA256[:12]}… instead of {SHA256[:12]}…)"),
    "short page": (Answer(HTML), "an HTML page instead of the file"),
    "long page": (Answer(HTML.ljust(700_000)), "an HTML page instead of the file"),
    "page of the right size": (Answer(HTML.ljust(600_000)), "an HTML page instead of the file"),
    "dropped": (
        Answer(BYTES[:CHUNK_BYTES], announced=600_000),
        f"connection broken after {CHUNK_BYTES} of 600000 bytes",
    ),
    "dropped without a length": (Answer(BYTES[:300_000], announced=-1), "300000 bytes instead of 600000"),
    "silent": (Answer(silent=True), "no answer in time"),
    "redirect to nowhere": (Answer(status=302), "HTTP status 302"),
    "redirect in a circle": (Answer(status=302, headers={"Location": "/x"}), "redirects more than 10 times"),
    "redirect to plain http": (
        Answer(status=301, headers={"Location": "http://files.example/x.zip"}),
        "leads to http://files.example, and only https is trusted",
    ),
    "redirect to half an address": (
        Answer(status=302, headers={"Location": "http://[::1/x"}),
        "an address that cannot be used",
    ),
    "redirect to bytes that are no text": (
        Answer(status=302, headers={"Location": "/\xff"}),
        "an address that cannot be used",
    ),
    "redirect to another scheme": (
        Answer(status=302, headers={"Location": "file:///etc/passwd"}),
        "leads to file://?, and only https is trusted",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_fails(server, tmp_path, contacted, fault):
    answer, reason = FAULTS[fault]
    server.pages["/x"] = [answer]
    server.pages["/good"] = [GOOD]
    target = tmp_path / "x.zip"
    assert refusal(wanted(server.url("/x")), target, opener=quick) == (
        f"cannot download x.zip (127.0.0.1: {reason}); get it another way "
        f"(600000 bytes, sha256 {SHA256}) and place it at {target}, or give a copy with `l2l import`"
    )
    assert listing(tmp_path) == []
    download(wanted(server.url("/x"), server.url("/good")), target, opener=quick)
    assert target.read_bytes() == BYTES
    assert listing(tmp_path) == ["x.zip"]
    assert {*contacted} == {"127.0.0.1"}


def test_a_refused_connection(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    dead = f"http://127.0.0.1:{port}/x"
    assert "(127.0.0.1: no connection (Connection refused));" in refusal(wanted(dead), tmp_path / "x", opener=quick)
    server.pages["/good"] = [GOOD]
    assert download(wanted(dead, server.url("/good")), tmp_path / "x", opener=quick).read_bytes() == BYTES


def test_a_server_that_does_not_speak_tls(server, tmp_path):
    url = server.url("/x").replace("http:", "https:")
    assert "(127.0.0.1: no connection ([SSL" in refusal(wanted(url), tmp_path / "x", opener=quick)


def test_every_source_is_named_with_its_reason_in_order(server, tmp_path):
    server.pages["/b"] = [Answer(HTML)]
    port = server.server_port
    urls = [server.url("/a"), f"http://localhost:{port}/b", "http://files.example/x", "https://[bad", "nonsense"]
    assert refusal(wanted(*urls), tmp_path / "x", opener=quick).startswith(
        "cannot download x.zip (127.0.0.1: HTTP status 404; localhost: an HTML page instead of the file; "
        "files.example: leads to http://files.example, and only https is trusted; "
        "?: leads to ?://?, and only https is trusted; "
    )


def test_no_source_at_all(tmp_path):
    assert refusal(wanted(), tmp_path / "x").startswith("cannot download x.zip (no source is known); get it another")


def test_a_good_source_ends_the_search(server, tmp_path):
    server.pages["/x"] = [GOOD]
    download(wanted(server.url("/x"), server.url("/y")), tmp_path / "x")
    assert server.paths() == ["/x"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(server, tmp_path, status):
    server.pages["/x"] = [Answer(status=status), Answer(status=status), GOOD]
    assert download(wanted(server.url("/x")), tmp_path / "x", opener=quick).read_bytes() == BYTES
    assert server.paths() == ["/x"] * 3


def test_a_lasting_failure_is_tried_again_a_few_times_with_growing_pauses(server, tmp_path, pauses):
    server.pages["/x"] = [Answer(status=500)]
    refusal(wanted(server.url("/x")), tmp_path / "x")
    assert server.paths() == ["/x"] * 4
    assert pauses == [2, 4]


def test_a_silent_server_is_asked_twice(server, tmp_path):
    server.pages["/x"] = [Answer(silent=True)]
    refusal(wanted(server.url("/x")), tmp_path / "x", opener=partial(open_url, backoff_s=0.0, timeout_s=0.1))
    assert server.paths() == ["/x"] * 2


def test_a_file_that_is_absent_is_asked_for_once(server, tmp_path):
    refusal(wanted(server.url("/x")), tmp_path / "x")
    assert server.paths() == ["/x"]


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("86400", 60)])
def test_retry_after_is_honoured_within_reason(server, tmp_path, pauses, asked, waited):
    server.pages["/x"] = [Answer(status=503, headers={"Retry-After": asked}), GOOD]
    download(wanted(server.url("/x")), tmp_path / "x")
    assert pauses == [waited]


def test_redirects_are_followed(server, tmp_path):
    for i in range(10):
        server.pages[f"/{i}"] = [
            Answer(status=302, headers={"Location": f"{i + 1}" if i % 2 else server.url(f"/{i + 1}")})
        ]
    server.pages["/10"] = [GOOD]
    assert download(wanted(server.url("/0")), tmp_path / "x").read_bytes() == BYTES


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/x",
        "http://127.0.0.1.files.example/x",
        "http://127.0.0.1@files.example/x",
        "http://files.example\\@127.0.0.1/x",
        "http://localhost.files.example/x",
        "ftp://files.example/x",
        "files.example/x",
    ],
)
def test_only_https_is_contacted(tmp_path, contacted, url):
    assert "and only https is trusted" in refusal(wanted(url), tmp_path / "x", opener=quick)
    assert contacted == []


def test_a_public_site_cannot_lead_to_this_machine():
    with pytest.raises(_SourceError, match=r"leads to http://127.0.0.1, and only https is trusted"):
        _refuse_unsafe("http://127.0.0.1:8080/x", plain_http=False)
    _refuse_unsafe("http://127.0.0.1:8080/x", plain_http=True)
    _refuse_unsafe("HTTPS://files.example/x", plain_http=False)


def test_which_hosts_are_loopback():
    assert all(map(_is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"]))
    assert not any(map(_is_loopback, ["128.0.0.1", "10.0.0.1", "[::2]", "0.0.0.0", "files.example", "?", ""]))


def test_an_interrupt_leaves_everything_as_it_was(tmp_path):
    closed = []

    def stream(*_, **__):
        yield BYTES[:1000]
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def opener(url):
        try:
            yield SimpleNamespace(status_code=200, raw=SimpleNamespace(stream=stream))
        finally:
            closed.append(url)

    target = tmp_path / "x.zip"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        download(wanted("https://files.example/x"), target, opener=opener)
    assert listing(tmp_path) == ["x.zip"]
    assert target.read_bytes() == b"old"
    assert closed == ["https://files.example/x"]


def test_a_full_disk_is_no_fault_of_the_source(server, tmp_path):
    closed = []

    @contextlib.contextmanager
    def opener(url):
        try:
            with open_url(url) as response:
                yield response
        finally:
            closed.append(url)

    server.pages["/x"] = server.pages["/y"] = [GOOD]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(CacheError) as caught:
            download(wanted(server.url("/x"), server.url("/y")), tmp_path / "x.zip", opener=opener)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == (
        f"cannot write x.zip to {tmp_path}: the file is larger than this system allows; "
        "choose another folder with --root or L2L_HOME"
    )
    assert listing(tmp_path) == []
    assert server.paths() == ["/x"]
    assert closed == [server.url("/x")]


def test_a_folder_that_cannot_be_made_is_noticed_before_connecting(server, tmp_path):
    (tmp_path / "root").write_bytes(b"mine")
    with pytest.raises(CacheError, match="a file stands where a folder should be"):
        download(wanted(server.url("/x")), tmp_path / "root/x.zip")
    assert server.requests == []


def record(*files: FileRecord, package: str | None = None) -> DatasetRecord:
    return DatasetRecord(
        name="shapes",
        title="Shapes",
        description="",
        licence="MIT",
        papers=(),
        raw=RawRecord("image_folders", classes=2, examples=4, package=package),
        prepared={},
        files=files,
        splits={},
        default_split="all",
    )


def test_all_files_of_a_record_in_its_order(server, tmp_path):
    server.pages["/b"], server.pages["/a"] = [Answer(b"bbb")], [Answer(b"aa")]
    files = wanted(server.url("/b"), name="b.zip", data=b"bbb"), wanted(server.url("/a"), name="a.zip", data=b"aa")
    folder = tmp_path / "downloads/shapes"
    assert fetch_files(record(*files), Cache(tmp_path)) == [folder / "b.zip", folder / "a.zip"]
    assert ((folder / "b.zip").read_bytes(), (folder / "a.zip").read_bytes()) == (b"bbb", b"aa")
    fetch_files(record(*files), Cache(tmp_path))
    assert server.paths() == ["/b", "/a"]


def test_a_record_without_files(tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch_files(record(), Cache(tmp_path))
    assert str(caught.value) == (
        "shapes has no address to download from; give a copy of it with `l2l import shapes PATH`"
    )
    with pytest.raises(FetchError) as caught:
        fetch_files(record(package="matplotlib"), Cache(tmp_path))
    assert str(caught.value) == (
        "shapes has nothing to download: it is made from the installed package matplotlib; just use it"
    )
    assert list(tmp_path.iterdir()) == []
