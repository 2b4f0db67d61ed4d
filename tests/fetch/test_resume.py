"""Downloads that break off and go on, in the same call and in the next, and never with bytes of another file."""

import os
import signal
import subprocess
import sys

import pytest

from l2l_core.errors import FetchError
from l2l_core.fetch import cache as cache_module
from l2l_core.fetch.download import download
from l2l_core.fetch.partial import Partial, clear_partials, mark_of
from l2l_core.fetch.receipts import read_receipt
from l2l_core.fetch.web import CHUNK_BYTES
from l2l_core.records import FileRecord

from .files import BYTES, FILES, SHA256, listing, unchecked, wanted
from .server import Answer

ONE = {"ETag": '"one"'}
DATED = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
MARKS = {"etag": ONE, "date": DATED, "weak etag and date": {"ETag": 'W/"one"', **DATED}}
DONE = ["x.zip", "x.zip.receipt.json"]
ZIP = FILES["a.zip"]


def resumable(body: bytes = BYTES, **kwargs) -> Answer:
    return Answer(body, **{"headers": ONE, "ranges": True, **kwargs})


def attempt(server, target, file=None) -> str:
    """What a download says that fails."""
    with pytest.raises(FetchError) as caught:
        download(file or wanted(server.url("/x")), target, web=server.web())
    return str(caught.value)


def partials(folder) -> list[int]:
    return [path.stat().st_size for path in folder.glob(".*.partial")]


@pytest.mark.parametrize("headers", MARKS.values(), ids=MARKS)
def test_what_drops_is_resumed_in_the_same_call(server, tmp_path, headers):
    server.pages["/x"] = [resumable(headers=headers, drop_at=250_000)]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web()).read_bytes() == BYTES
    assert server.asked("Range") == [None, "bytes=250000-", "bytes=500000-"]
    mark = headers["ETag"] if headers is ONE else DATED["Last-Modified"]
    assert server.asked("If-Range") == [None, mark, mark]
    assert listing(tmp_path) == DONE
    assert read_receipt(tmp_path / "x.zip").sha256 == SHA256


def test_what_stalls_is_resumed_in_the_same_call(server, tmp_path):
    server.pages["/x"] = [resumable(stall_at=250_000), resumable()]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web(timeout_s=0.5)).read_bytes() == BYTES
    assert server.asked("Range") == [None, "bytes=250000-"]


def test_what_is_too_slow_is_kept_for_the_next_call(server, tmp_path):
    server.pages["/x"] = [resumable(drip_s=0.3), resumable()]
    with pytest.raises(FetchError, match="too slow"):
        download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web(slow_s=0.01))
    [size] = partials(tmp_path)
    assert 1000 <= size < 2000
    download(wanted(server.url("/x")), tmp_path / "x.zip")
    assert server.asked("Range") == [None, f"bytes={size}-"]


def test_a_server_that_knows_no_ranges_gives_it_from_the_start(server, tmp_path):
    server.pages["/x"] = [resumable(drop_at=250_000, ranges=False), resumable(ranges=False)]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web()).read_bytes() == BYTES
    assert server.asked("Range") == [None, "bytes=250000-"]
    assert listing(tmp_path) == DONE


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"one"'}, {"ETag": "one"}], ids=["none", "weak", "unquoted"])
def test_without_a_mark_of_the_version_it_starts_over(server, tmp_path, headers):
    server.pages["/x"] = [resumable(drop_at=250_000, headers=headers), resumable(headers=headers)]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web()).read_bytes() == BYTES
    assert server.asked("Range") == [None, None]


def test_what_drops_for_good_is_resumed_by_the_next_call(server, tmp_path):
    target = tmp_path / "x.zip"
    server.pages["/x"] = [resumable(drop_at=100_000)] + [resumable(drop_at=0)] * 4 + [resumable()]
    assert "(127.0.0.1: connection broken after 100,000 of 600,000 bytes); get it" in attempt(server, target)
    assert len(server.requests) == 4  # three more tries that brought nothing
    assert partials(tmp_path) == [100_000]
    assert not target.exists()
    server.pages["/x"] = [resumable()]
    assert download(wanted(server.url("/x")), target).read_bytes() == BYTES
    assert server.asked("Range")[1:] == ["bytes=100000-"] * 4
    assert listing(tmp_path) == DONE


def test_tries_that_bring_enough_are_not_counted(server, tmp_path):
    body = BYTES * 3
    server.pages["/x"] = [resumable(body, drop_at=CHUNK_BYTES)]
    file = wanted(server.url("/x"), data=body)
    assert download(file, tmp_path / "x.zip", web=server.web()).read_bytes() == body
    assert len(server.requests) == 7


def test_tries_that_bring_little_end(server, tmp_path, pauses):
    server.pages["/x"] = [resumable(drop_at=1000)]
    with pytest.raises(FetchError, match="connection broken after 4,000 of 600,000 bytes"):
        download(wanted(server.url("/x")), tmp_path / "x.zip")
    assert pauses == [2, 4, 8]


def test_a_killed_process_is_continued_by_the_next(server, tmp_path):
    server.pages["/x"] = [resumable(stall_at=400_000), resumable()]
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from l2l_core.fetch.download import download\nfrom l2l_core.records import FileRecord\n"
        f"download(FileRecord('x.zip', ({server.url('/x')!r},), 600_000, sha256={SHA256!r}), Path(sys.argv[1]))\n"
    )
    target = tmp_path / "x.zip"
    environment = {**os.environ, "PYTHONPATH": str(cache_module.__file__).partition("/l2l_core/")[0]}
    with subprocess.Popen([sys.executable, "-c", code, str(target)], env=environment) as process:
        while not sum(partials(tmp_path)):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    [size] = partials(tmp_path)
    assert download(wanted(server.url("/x")), target).read_bytes() == BYTES
    assert server.asked("Range") == [None, f"bytes={size}-"]
    assert listing(tmp_path) == DONE


OTHER = bytes(reversed(BYTES))
UNFIT = {
    "changed etag": resumable(headers={"ETag": '"two"'}),
    "changed etag, If-Range ignored": Answer(
        BYTES[250_000:], status=206, headers={"ETag": '"two"', "Content-Range": "bytes 250000-599999/600000"}
    ),
    "no etag": Answer(BYTES[250_000:], status=206, headers={"Content-Range": "bytes 250000-599999/600000"}),
    "416": Answer(status=416, headers=ONE),
    "416 of more": Answer(status=416, headers={**ONE, "Content-Range": "bytes */600000"}),
    **{
        f"content range {text}": Answer(BYTES[250_000:], status=206, headers={**ONE, "Content-Range": text})
        for text in (
            "bytes 0-599999/600000",
            "bytes 249999-599999/600000",
            "bytes 250000-599998/600000",
            "bytes 250000-599999/600001",
            "bytes 250000-600000/600001",
            "bytes */600000",
            "items 250000-599999/600000",
            "nonsense",
            f"bytes {'9' * 5000}-599999/600000",
            f"bytes 250000-{'9' * 5000}/{'9' * 5000}",
        )
    },
    "no content range": Answer(BYTES[250_000:], status=206, headers=ONE),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_does_not_continue_starts_over(server, tmp_path, unfit):
    server.pages["/x"] = [resumable(drop_at=250_000), UNFIT[unfit], resumable()]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web()).read_bytes() == BYTES
    assert server.asked("Range")[:3] == [None, "bytes=250000-", None][: len(server.requests)]
    assert len(server.requests) == (2 if unfit == "changed etag" else 3)
    assert listing(tmp_path) == DONE


KNOWN = {"size": {"size_bytes": 600_000}, "checksum": {"about_bytes": 500_000, "sha256": SHA256}}


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("total", ["*", "9" * 5000])
def test_a_total_may_be_unknown_where_something_else_tells_the_end(server, tmp_path, known, total):
    rest = Answer(BYTES[250_000:], status=206, headers={**ONE, "Content-Range": f"bytes 250000-599999/{total}"})
    server.pages["/x"] = [resumable(drop_at=250_000), rest]
    file = FileRecord("x", (server.url("/x"),), **KNOWN[known])
    assert download(file, tmp_path / "x", web=server.web()).read_bytes() == BYTES
    assert len(server.requests) == 2


def test_a_part_that_may_not_be_the_last_is_not_taken_for_the_rest(server, tmp_path):
    part = Answer(BYTES[250_000:400_000], status=206, headers={**ONE, "Content-Range": "bytes 250000-399999/*"})
    server.pages["/x"] = [resumable(drop_at=250_000), part, resumable()]
    file = FileRecord("x", (server.url("/x"),), about_bytes=500_000)
    assert download(file, tmp_path / "x", web=server.web()).read_bytes() == BYTES
    assert server.asked("Range") == [None, "bytes=250000-", None]


def test_without_a_checksum_a_changed_file_is_never_joined_to_its_old_beginning(server, tmp_path):
    new = ZIP.replace(b"set/a.png", b"set/b.png")
    server.pages["/x"] = [
        resumable(ZIP, drop_at=3000),
        Answer(
            new[3000:], status=206, headers={"ETag": '"two"', "Content-Range": f"bytes 3000-{len(new) - 1}/{len(new)}"}
        ),
        resumable(new, headers={"ETag": '"two"'}),
    ]
    assert download(unchecked(server.url("/x")), tmp_path / "a.zip", web=server.web()).read_bytes() == new


def test_a_server_that_lies_about_the_version_is_asked_once_more_from_the_start(server, tmp_path):
    server.pages["/x"] = [resumable(drop_at=250_000), resumable(OTHER), resumable()]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip", web=server.web()).read_bytes() == BYTES
    assert server.asked("Range") == [None, "bytes=250000-", None]
    assert listing(tmp_path) == DONE


def test_a_wrong_checksum_without_a_resume_is_the_end_at_once(server, tmp_path):
    server.pages["/x"] = [resumable(OTHER), resumable()]
    assert "(127.0.0.1: wrong content (sha256 " in attempt(server, tmp_path / "x.zip")
    assert len(server.requests) == 1
    assert listing(tmp_path) == []


def test_a_wrong_checksum_after_a_resume_and_again_is_the_end(server, tmp_path):
    server.pages["/x"] = [resumable(drop_at=250_000), resumable(OTHER), resumable(OTHER)]
    assert "(127.0.0.1: wrong content (sha256 " in attempt(server, tmp_path / "x.zip")
    assert len(server.requests) == 3
    assert listing(tmp_path) == []


def test_a_server_that_drops_and_lies_by_turns_is_given_up(server, tmp_path):
    server.pages["/x"] = [resumable(drop_at=250_000), resumable(OTHER)] * 20
    assert "(127.0.0.1: wrong content (sha256 " in attempt(server, tmp_path / "x.zip")
    assert len(server.requests) == 4
    assert listing(tmp_path) == []


def test_a_server_that_drops_and_forgets_by_turns_is_given_up(server, tmp_path):
    server.pages["/x"] = [resumable(drop_at=250_000), Answer(status=416)] * 20
    assert "connection broken after 250,000 of 600,000 bytes" in attempt(server, tmp_path / "x.zip")
    assert len(server.requests) == 7


def test_a_server_that_drops_early_and_late_by_turns_is_given_up(server, tmp_path):
    early, late = Answer(BYTES, drop_at=1000), Answer(BYTES, drop_at=500_000)
    server.pages["/x"] = [late, early] * 20
    assert "connection broken after 500,000 of 600,000 bytes" in attempt(server, tmp_path / "x.zip")
    assert len(server.requests) == 5
    assert listing(tmp_path) == []


def test_bytes_of_two_sources_never_meet(server, tmp_path):
    server.pages["/x"] = [resumable(drop_at=250_000), Answer(status=404)]
    server.pages["/y"] = [resumable(drop_at=100_000), Answer(status=404)]
    target, file = tmp_path / "x.zip", wanted(server.url("/x"), server.url("/y"))
    attempt(server, target, file)
    assert sorted(partials(tmp_path)) == [100_000, 250_000]
    server.requests.clear()
    server.pages["/x"], server.pages["/y"] = [Answer(status=404)], [resumable()]
    assert download(file, target, web=server.web()).read_bytes() == BYTES
    assert server.asked("Range") == ["bytes=250000-", "bytes=100000-"]
    assert listing(tmp_path) == DONE  # what is left of the other source goes, too


def test_a_passing_page_does_not_cost_what_is_here(server, tmp_path):
    page = Answer(b"<html>Down for maintenance</html>")
    server.pages["/x"] = [resumable(drop_at=250_000), page, resumable()]
    assert "(127.0.0.1: an HTML page instead of the file);" in attempt(server, tmp_path / "x.zip")
    assert partials(tmp_path) == [250_000]
    download(wanted(server.url("/x")), tmp_path / "x.zip")
    assert server.asked("Range") == [None, "bytes=250000-", "bytes=250000-"]


def left(tmp_path, url: str, content: bytes, mark: str = '"one"'):
    """As an earlier run left it."""
    partial = Partial(tmp_path / "x.zip", url)
    partial.start(mark)
    with partial.appending():
        partial.append(content)
    return partial


def test_a_run_killed_at_the_very_end_needs_no_connection(server, tmp_path):
    left(tmp_path, server.url("/x"), BYTES)
    assert download(wanted(server.url("/x")), tmp_path / "x.zip").read_bytes() == BYTES
    assert server.requests == []
    assert listing(tmp_path) == DONE
    assert read_receipt(tmp_path / "x.zip").etag == '"one"'


def test_a_checksum_that_holds_needs_no_connection_whatever_is_known_of_the_size(server, tmp_path):
    left(tmp_path, server.url("/x"), BYTES)
    file = FileRecord("x.zip", (server.url("/x"),), about_bytes=500_000, sha256=SHA256)
    assert download(file, tmp_path / "x.zip").read_bytes() == BYTES
    assert server.requests == []
    assert listing(tmp_path) == DONE


@pytest.mark.parametrize("known", [{"about_bytes": 500_000}, {"size_bytes": 600_000}], ids=["about", "size"])
def test_a_server_may_say_that_nothing_is_left(server, tmp_path, known):
    left(tmp_path, server.url("/x"), BYTES)
    server.pages["/x"] = [resumable()]
    file = FileRecord("x.zip", (server.url("/x"),), **known)
    assert download(file, tmp_path / "x.zip").read_bytes() == BYTES
    assert server.asked("Range") == ["bytes=600000-"]
    assert listing(tmp_path) == DONE


@pytest.mark.parametrize(
    "headers",
    [
        {**ONE, "Content-Range": "bytes */600001"},
        {**ONE, "Content-Range": "bytes */599999"},
        {**ONE, "Content-Range": "bytes */*"},
        {**ONE, "Content-Range": "bytes 0-599999/600000"},
        ONE,
        {"ETag": '"two"', "Content-Range": "bytes */600000"},
        {"Content-Range": "bytes */600000"},
    ],
)
def test_what_says_less_than_that_starts_over(server, tmp_path, headers):
    left(tmp_path, server.url("/x"), BYTES[:-1] + b"!")
    server.pages["/x"] = [Answer(status=416, headers=headers), resumable()]
    file = FileRecord("x", (server.url("/x"),), about_bytes=500_000)
    assert download(file, tmp_path / "x.zip").read_bytes() == BYTES
    assert server.asked("Range") == ["bytes=600000-", None]


@pytest.mark.parametrize("content", [OTHER, BYTES + b"!"], ids=["wrong", "too long"])
def test_a_damaged_rest_of_an_earlier_run_is_fetched_anew(server, tmp_path, content):
    left(tmp_path, server.url("/x"), content)
    server.pages["/x"] = [resumable()]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip").read_bytes() == BYTES
    assert server.asked("Range") == [None]


@pytest.mark.parametrize(
    "note", [None, b"", b"[]", b"[" * 100_000, b"\xff", b'{"url": "elsewhere", "mark": "\\"one\\""}', b'{"url": 1}']
)
def test_a_rest_whose_note_is_lost_counts_nothing(server, tmp_path, note):
    partial = left(tmp_path, server.url("/x"), BYTES[:1000])
    beside = partial.path.with_name(partial.path.name + ".json")
    beside.unlink() if note is None else beside.write_bytes(note)
    server.pages["/x"] = [resumable()]
    assert download(wanted(server.url("/x")), tmp_path / "x.zip").read_bytes() == BYTES
    assert server.asked("Range") == [None]


def test_a_partial_file_knows_its_bytes(tmp_path):
    left(tmp_path, "https://a/x", BYTES[:1000])
    again = Partial(tmp_path / "x.zip", "https://a/x")
    assert (again.size_bytes, again.mark) == (1000, '"one"')
    assert again.asking() == {"Range": "bytes=1000-", "If-Range": '"one"'}
    with again.appending():
        again.append(BYTES[1000:])
    assert again.hasher.fingerprint().digests["sha256"] == SHA256
    assert Partial(tmp_path / "x.zip", "https://b/x").asking() == {}
    again.start(None)
    assert (again.size_bytes, again.asking(), listing(tmp_path)) == (0, {}, [])


def test_only_the_partials_of_that_file_are_cleared(tmp_path):
    for name in (
        ".x[1].tar.0123456789ab.partial",
        ".x[1].tar.0123456789ab.partial.json",
        *(
            others := [
                ".x1.tar.0123456789ab.partial",
                ".x[1].tar.gz.0123456789ab.partial",
                ".y.tar.0123456789ab.partial",
            ]
        ),
        ".x[1].tar.gz.0123456789ab.partial.json",
        "x[1].tar",
    ):
        (tmp_path / name).touch()
    clear_partials(tmp_path / "x[1].tar")
    assert listing(tmp_path) == sorted([*others, ".x[1].tar.gz.0123456789ab.partial.json", "x[1].tar"])
    left(tmp_path, "https://a/x", BYTES[:1000])
    clear_partials(tmp_path / "x.zip")
    assert len(listing(tmp_path)) == 5


def test_marks():
    assert mark_of({"ETag": '"a"', **DATED}) == '"a"'
    assert mark_of({"ETag": 'W/"a"', **DATED}) == DATED["Last-Modified"]
    assert mark_of({"ETag": 'W/"a"'}) is None
    assert mark_of({}) is None
    assert mark_of({"Last-Modified": ""}) is None


def test_an_empty_date_is_no_mark(server, tmp_path):
    empty = {"Last-Modified": ""}
    rest = Answer(OTHER[250_000:], status=206, headers={**empty, "Content-Range": "bytes 250000-599999/600000"})
    server.pages["/x"] = [Answer(BYTES, headers=empty, drop_at=250_000), rest]
    file = FileRecord("x", (server.url("/x"),), about_bytes=600_000)
    assert "(127.0.0.1: HTTP status 206);" in attempt(server, tmp_path / "x", file)
    assert server.asked("Range") == [None, None]
    assert listing(tmp_path) == []
