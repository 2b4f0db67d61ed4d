"""One GET: only over https, tried again within reason, never waited for without end."""

import socket
import time

import pytest

from l2l_core.fetch import web as web_module
from l2l_core.fetch.web import BrokenOffError, SourceError, Web, is_loopback, whole_number

from .files import BYTES
from .server import Answer

GOOD = Answer(BYTES)


def get(web: Web, url: str, **kwargs) -> bytes:
    with web.open(url, **kwargs) as reply:
        assert reply.status == 200
        return b"".join(reply.chunks())


def refusal(web: Web, url: str) -> str:
    with pytest.raises(SourceError) as caught, web.open(url) as reply:
        b"".join(reply.chunks())
    return str(caught.value)


def test_a_reply_gives_its_body_once_and_whole(server):
    server.pages["/x"] = [GOOD]
    with server.web().open(server.url("/x"), {"X-Mine": "1"}) as reply:
        assert (reply.url, reply.status, reply.hops) == (server.url("/x"), 200, ())
        assert (reply.length, reply.headers["content-length"], reply.ends_visibly) == (600_000, "600000", True)
        assert reply.peek(1000).startswith(BYTES[:1000])
        assert reply.peek(10).startswith(BYTES[:1000])
        assert b"".join(reply.chunks()) == BYTES
        assert b"".join(reply.chunks()) != BYTES
    [(_, headers)] = server.requests
    assert headers["User-Agent"].startswith("l2l_core")
    assert headers["Accept-Encoding"] == "identity"
    assert headers["X-Mine"] == "1"


def test_a_short_body_is_peeked_to_its_end(server):
    server.pages["/x"] = [Answer(b"short")]
    with server.web().open(server.url("/x")) as reply:
        assert reply.peek(1000) == b"short"
        assert [*reply.chunks()] == [b"short"]


def test_bodies_of_every_framing(server):
    server.pages["/chunked"], server.pages["/plain"] = [Answer(BYTES, chunked=True)], [Answer(BYTES, announced=-1)]
    for path, visible in (("/chunked", True), ("/plain", False)):
        with server.web().open(server.url(path)) as reply:
            assert (reply.length, reply.ends_visibly) == (None, visible)
            assert b"".join(reply.chunks()) == BYTES


def test_a_body_labelled_as_compressed_is_taken_as_it_is(server):
    server.pages["/x"] = [Answer(BYTES, headers={"Content-Encoding": "gzip"})]
    assert get(server.web(), server.url("/x")) == BYTES


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(server, status):
    server.pages["/x"] = [Answer(status=status), Answer(status=status), GOOD]
    assert get(server.web(), server.url("/x")) == BYTES
    assert server.paths() == ["/x"] * 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_lasting_failure_is_tried_again_a_few_times_with_growing_pauses(server, pauses, status):
    server.pages["/x"] = [Answer(status=status)]
    with Web().open(server.url("/x")) as reply:
        assert reply.status == status
    assert server.paths() == ["/x"] * 4
    assert pauses == [2, 4]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("86400", 60)])
def test_retry_after_is_honoured_within_reason(server, pauses, status, asked, waited):
    server.pages["/x"] = [Answer(status=status, headers={"Retry-After": asked}), GOOD]
    assert get(Web(), server.url("/x")) == BYTES
    assert pauses == [waited]


@pytest.mark.parametrize(
    "text",
    [
        "1.5",
        "",
        "soon",
        "-1",
        "120, 120",
        "9" * 5000,
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 1 Jan 1 0:0 +9" + "9" * 20,
    ],
)
def test_a_retry_after_that_says_nothing_counts_as_absent(server, pauses, text):
    server.pages["/x"] = [Answer(status=503, headers={"Retry-After": text})] * 3 + [GOOD]
    assert get(Web(), server.url("/x")) == BYTES
    assert pauses == [2, 4]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_will_not_pass_is_asked_for_once(server, status):
    server.pages["/x"] = [Answer(status=status)]
    with server.web().open(server.url("/x")) as reply:
        assert reply.status == status
    assert server.paths() == ["/x"]


def test_a_silent_server_is_asked_twice(server):
    server.pages["/x"] = [Answer(silent=True)]
    assert refusal(server.web(timeout_s=0.1), server.url("/x")) == "no answer in time"
    assert server.paths() == ["/x"] * 2


def test_a_refused_connection():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert refusal(Web(backoff_s=0), f"http://127.0.0.1:{port}/x") == "no connection (Connection refused)"


def test_a_server_that_does_not_speak_tls(server):
    assert refusal(server.web(), server.url("/x").replace("http:", "https:")).startswith("no connection ([SSL")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_breaks_off(server, chunked):
    server.pages["/x"] = [Answer(BYTES, drop_at=300_000, chunked=chunked)]
    received = []
    with (
        pytest.raises(BrokenOffError, match="^connection broken$"),
        server.web().open(server.url("/x")) as reply,
    ):
        received.extend(reply.chunks())
    assert b"".join(received) == BYTES[:300_000]


def test_a_body_that_stalls(server):
    server.pages["/x"] = [Answer(BYTES, stall_at=1000)]
    start = time.monotonic()
    with (
        pytest.raises(BrokenOffError, match="^no answer in time$"),
        server.web(timeout_s=0.4).open(server.url("/x")) as reply,
    ):
        [*reply.chunks()]
    assert 0.4 <= time.monotonic() - start < 5


def test_a_body_that_trickles(server):
    server.pages["/x"] = [Answer(BYTES, drip_s=0.2)]
    start = time.monotonic()
    reason = refusal(server.web(slow_s=0.35), server.url("/x"))
    assert reason.startswith("too slow (")
    assert reason.endswith(" bytes in 0 s)")
    assert 0.35 <= time.monotonic() - start < 10


HEAD = b"HTTP/1.1 200 OK\r\n"
NEVER_DONE = {
    "status line": (b"", b"H"),
    "header": (HEAD + b"X-A: ", b"a"),
    "headers": (HEAD, b"X: y\r\n"),
    "announcements": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "length of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"0"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("part", NEVER_DONE)
def test_what_comes_in_drops_and_never_to_its_end(server, part):
    server.pages["/x"] = [Answer(verbatim=NEVER_DONE[part])]
    start = time.monotonic()
    assert refusal(server.web(timeout_s=0.3), server.url("/x")) == "no answer in time"
    assert 0.3 <= time.monotonic() - start < 5
    assert len(server.requests) == (1 if "chunked" in str(NEVER_DONE[part]) else 2)


def test_the_whole_of_a_long_body_may_take_longer_than_a_piece_of_it(server):
    server.pages["/x"] = [Answer(BYTES[:2000], drip_s=0.08)]
    start = time.monotonic()
    assert get(server.web(timeout_s=0.5), server.url("/x")) == BYTES[:2000]
    assert time.monotonic() - start > 0.5


def test_a_body_that_is_only_rather_slow(server):
    server.pages["/x"] = [Answer(BYTES[:8000], drip_s=0.01)]  # some 10,000 bytes a second
    assert get(server.web(slow_s=0.3), server.url("/x")) == BYTES[:8000]


def pieces(web: Web, monkeypatch, steps: list[tuple[float, float, int]]) -> list[bytes]:
    """What comes of pieces: the seconds each takes to come, the seconds its reader takes then, and its size."""
    clock = [0.0]
    left = iter(steps)
    monkeypatch.setattr(web_module.time, "monotonic", lambda: clock[0])
    reading = [0.0]

    def read1(*_, **__):
        waits_s, reading[0], size = next(left, (0, 0, 0))
        clock[0] += waits_s
        return bytes(size)

    response = type("Response", (), {"raw": type("Raw", (), {"read1": read1})})
    received = []
    for piece in web._pieces(response):
        received.append(piece)
        clock[0] += reading[0]
    return received


def test_only_waiting_counts_as_slow(monkeypatch):
    web = Web(timeout_s=30, min_bytes_per_s=1000, slow_s=60)
    assert len(pieces(web, monkeypatch, [(0.001, 600, 10_000)] * 5)) == 5
    # Stopped for an hour within a read, of which no more than a timeout can have been the server's.
    assert len(pieces(web, monkeypatch, [(3600, 0, 10), (1, 0, 40_000), (30, 0, 40_000)])) == 3
    with pytest.raises(SourceError, match=r"^too slow \(59,998 bytes in 60 s\)$"):
        pieces(web, monkeypatch, [(30, 0, 29_999)] * 2)


def test_a_fast_beginning_does_not_excuse_a_trickle(monkeypatch):
    fast, slow = (30, 0, 10**6), (30, 0, 90)
    with pytest.raises(SourceError, match=r"^too slow \(180 bytes in 60 s\)$"):
        pieces(Web(), monkeypatch, [fast, fast, slow, slow])


def test_numbers_that_a_server_may_write():
    assert [whole_number(text) for text in ("0", "007", "9" * 18)] == [0, 7, 10**18 - 1]
    for text in ("", "-1", "+1", "1.0", " 1", "1 ", "1\n", "1_0", "²", "٣", "0x1", "9" * 19, "9" * 5000):
        assert whole_number(text) is None


@pytest.mark.parametrize("chunked", [False, True])
def test_an_absurd_length_is_none(server, chunked):
    server.pages["/x"] = [Answer(BYTES, headers={"Content-Length": "9" * 5000}, announced=-1, chunked=chunked)]
    with server.web().open(server.url("/x")) as reply:
        assert (reply.length, reply.ends_visibly) == (None, chunked)


def test_redirects_are_followed_and_remembered(server):
    for i in range(10):
        location = f"{i + 1}" if i % 2 else server.url(f"/{i + 1}")
        server.pages[f"/{i}"] = [Answer(status=302, headers={"Location": location, "X-Hop": str(i)})]
    server.pages["/10"] = [GOOD]
    with server.web().open(server.url("/0")) as reply:
        assert reply.url == server.url("/10")
        assert [(url, headers["x-hop"]) for url, headers in reply.hops] == [
            (server.url(f"/{i}"), str(i)) for i in range(10)
        ]
        assert b"".join(reply.chunks()) == BYTES


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/x", "redirects more than 10 times"),
        ("http://files.example/x.zip", "leads to http://files.example, and only https is trusted"),
        ("http://[::1/x", "an address that cannot be used"),
        ("/\xff", "an address that cannot be used"),
        ("file:///etc/passwd", "leads to file://?, and only https is trusted"),
    ],
)
def test_redirects_that_are_not_followed(server, contacted, location, reason):
    server.pages["/x"] = [Answer(status=302, headers={"Location": location})]
    assert refusal(server.web(), server.url("/x")) == reason
    assert {*contacted} == {"127.0.0.1"}


def test_the_body_of_a_redirect_is_not_read(server):
    server.pages["/x"] = [
        Answer(bytes(65536), status=302, headers={"Location": "/ö?ü".encode().decode("latin-1")}, endless=True)
    ]
    server.pages["/%C3%B6?%C3%BC"] = [GOOD]
    assert get(server.web(), server.url("/x")) == BYTES


def test_the_body_of_a_passing_failure_is_not_read(server):
    server.pages["/x"] = [Answer(bytes(65536), status=503, headers={"Retry-After": "0"}, endless=True), GOOD]
    assert get(server.web(), server.url("/x")) == BYTES


def test_a_public_site_cannot_lead_to_this_machine(server):
    server.pages["/files.example/x"] = [Answer(status=302, headers={"Location": server.url("/secret")})]
    web = server.web("files.example")
    assert refusal(web, "https://files.example/x") == "leads to http://127.0.0.1, and only https is trusted"
    assert server.paths() == ["/files.example/x"]


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
        "https://[bad",
        "nonsense",
    ],
)
def test_only_https_is_contacted(contacted, url):
    assert "and only https is trusted" in refusal(Web(backoff_s=0), url)
    assert contacted == []


def test_which_hosts_are_loopback():
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"]))
    assert not any(map(is_loopback, ["128.0.0.1", "10.0.0.1", "[::2]", "0.0.0.0", "files.example", "?", ""]))


def test_a_stand_in_is_for_its_very_host(server, contacted):
    server.pages["/files.example/x"] = [GOOD]
    assert get(server.web("files.example"), "https://files.example/x") == BYTES
    assert {*contacted} == {"127.0.0.1"}
    assert "no connection" in refusal(server.web("files.example"), "https://files.example.invalid/x")


def test_a_page_may_be_a_step_on_the_way_once(server):
    server.pages["/x"], server.pages["/y"] = [Answer(b"go to /y")], [GOOD]
    web = server.web()
    asked = []

    def step(reply):
        asked.append(reply.peek(5))
        return "/y"

    assert get(web, server.url("/x"), step=step) == BYTES
    assert asked == [b"go to /y"]
    assert get(web, server.url("/x"), step=lambda reply: None) == b"go to /y"


def test_what_goes_wrong_around_a_reply_is_not_the_networks_fault(server):
    server.pages["/x"] = [GOOD]
    with pytest.raises(OSError, match="^disk$"), server.web().open(server.url("/x")):
        raise OSError("disk")
