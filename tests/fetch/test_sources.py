"""What each host needs, and what is held to what it promises."""

import hashlib
import json

import pytest

from l2l_core.errors import FetchError
from l2l_core.fetch.download import download
from l2l_core.fetch.sources import PAGE_BYTES, Promise, _zenodo_promise, address, promise_before
from l2l_core.records import FileRecord

from .files import BYTES, FILES, HTML, listing, unchecked, wanted
from .server import Answer

ZIP = FILES["a.zip"]
GOOD = Answer(ZIP)
MD5 = hashlib.md5(ZIP, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(ZIP).hexdigest()
DRIVE, ZENODO, HUB, CDN = "drive.usercontent.google.com", "zenodo.org", "huggingface.co", "cdn.hub.example"


def page(*body: str) -> bytes:
    return f"<!DOCTYPE html><html><head><title>Google Drive</title></head><body>{''.join(body)}</body></html>".encode()


def refusal(server, file: FileRecord, target, *hosts: str) -> str:
    """What each host answered."""
    with pytest.raises(FetchError) as caught:
        download(file, target, web=server.web(*hosts))
    assert listing(target.parent) == []
    return str(caught.value).partition("(")[2].partition("); get it another way")[0]


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (
            "https://drive.google.com/uc?id=1aB_-9&export=download",
            "https://drive.usercontent.google.com/download?id=1aB_-9&export=download&confirm=t",
        ),
        (
            "https://docs.google.com/uc?export=download&id=0B3&resourcekey=0-x_Y",
            "https://drive.usercontent.google.com/download?id=0B3&resourcekey=0-x_Y&export=download&confirm=t",
        ),
        ("https://www.dropbox.com/s/abc/x.zip?dl=0", "https://www.dropbox.com/s/abc/x.zip?dl=1"),
        ("https://www.dropbox.com/s/abc/x.zip", "https://www.dropbox.com/s/abc/x.zip?dl=1"),
        (
            "https://www.dropbox.com/scl/fi/abc/x.zip?rlkey=k&dl=0",
            "https://www.dropbox.com/scl/fi/abc/x.zip?rlkey=k&dl=1",
        ),
        ("https://files.example/dropbox.com/x.zip?dl=0", "https://files.example/dropbox.com/x.zip?dl=0"),
        ("https://drive.google.com.files.example/uc?id=1", "https://drive.google.com.files.example/uc?id=1"),
        ("https://zenodo.org/records/1/files/a.zip", "https://zenodo.org/records/1/files/a.zip"),
    ],
)
def test_what_is_asked_for_a_catalogue_address(url, asked):
    assert address(url) == asked


SOURCE = "https://drive.google.com/uc?id=1aB&export=download"
ASKED = f"/{DRIVE}/download?id=1aB&export=download&confirm=t"
WARNING = page(
    '<form id="search" action="/search" method="get"><input type="hidden" name="hl" value="en"></form>',
    "<p>Google Drive can't scan this file for viruses.</p>",
    f'<form id="download-form" action="https://{DRIVE}/download" method="get">',
    '<input type="submit" name="go" id="uc-download-link" value="Download anyway"/>',
    '<input type="hidden" name="id" value="1aB"><input type="hidden" name="export" value="download">',
    '<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="6f-&amp;1">',
    '<input type="hidden" name="at" value="AN_:17"></form>',
)
CONFIRMED = f"/{DRIVE}/download?id=1aB&export=download&confirm=t&uuid=6f-%261&at=AN_%3A17"


def test_drive_gives_a_file_at_once(server, tmp_path):
    server.pages[ASKED] = [GOOD]
    assert download(unchecked(SOURCE), tmp_path / "a.zip", web=server.web(DRIVE)).read_bytes() == ZIP
    assert server.paths() == [ASKED]


def test_drives_confirm_page_is_followed_with_all_it_hides(server, tmp_path):
    cookie = {"Set-Cookie": "download=yes"}
    server.pages[ASKED], server.pages[CONFIRMED] = [Answer(WARNING, headers=cookie)], [GOOD]
    assert download(unchecked(SOURCE), tmp_path / "a.zip", web=server.web(DRIVE)).read_bytes() == ZIP
    assert server.paths() == [ASKED, CONFIRMED]
    assert server.asked("Cookie") == [None, "download=yes"]


def test_a_download_through_the_confirm_page_is_resumed(server, tmp_path):
    etag = {"ETag": '"one"'}
    server.pages[ASKED] = [Answer(WARNING)]
    server.pages[CONFIRMED] = [Answer(BYTES, headers=etag, ranges=True, drop_at=400_000)]
    assert download(wanted(SOURCE), tmp_path / "x.zip", web=server.web(DRIVE)).read_bytes() == BYTES
    assert server.paths() == [ASKED, CONFIRMED] * 2
    assert server.asked("Range") == [None, None, "bytes=400000-", "bytes=400000-"]


QUOTA = [
    page("<p class='uc-error-subcaption'>Too many users have viewed or downloaded this file recently.</p>"),
    b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>",
]
LOGIN = page('<form action="/signin" method="post"><input type="email"><input type="Password" name="p"></form>')
PAGES = {
    "quota": (Answer(QUOTA[0]), "Google Drive's quota page instead of the file"),
    "quota, old": (Answer(QUOTA[1]), "Google Drive's quota page instead of the file"),
    "quota, forbidden": (Answer(QUOTA[0], status=403), "Google Drive's quota page instead of the file"),
    "login": (Answer(LOGIN), "a login page instead of the file"),
    "login elsewhere": (
        Answer(status=302, headers={"Location": "https://accounts.google.com/signin"}),
        "a login page instead of the file",
    ),
    "confirm page again and again": (Answer(WARNING), "an HTML page instead of the file"),
    "any page": (Answer(HTML), "an HTML page instead of the file"),
    "long page": (Answer(HTML + bytes(2 * PAGE_BYTES)), "an HTML page instead of the file"),
    "form that leads to plain http": (
        Answer(WARNING.replace(b"https:", b"http:")),
        "leads to http://drive.usercontent.google.com, and only https is trusted",
    ),
    **{
        f"page that no parser takes: {flaw[:12]!r}": (
            Answer(b"<!doctype html>" + flaw),
            "an HTML page instead of the file",
        )
        for flaw in (b"<![foo bar]>", b"<![ ]>", b"<a href='&#" + b"9" * 6000 + b";'>", b"&#" + b"9" * 6000 + b";")
    },
    "login, and then what no parser takes": (Answer(LOGIN + b"<![foo bar]>"), "a login page instead of the file"),
    "form that leads to an address that is none": (
        Answer(WARNING.replace(DRIVE.encode(), b"[bad")),
        "an address that cannot be used",
    ),
    "absent": (Answer(HTML, status=404), "HTTP status 404"),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_drive_are_named(server, tmp_path, name):
    answer, reason = PAGES[name]
    server.pages[ASKED] = server.pages[CONFIRMED] = [answer]
    server.pages["/accounts.google.com/signin"] = [Answer(HTML)]
    found = refusal(server, unchecked(SOURCE), tmp_path / "a.zip", DRIVE, "accounts.google.com")
    assert found == f"drive.google.com: {reason}"
    assert len(server.requests) <= 2


def test_a_page_after_the_confirm_page_is_named(server, tmp_path):
    server.pages[ASKED], server.pages[CONFIRMED] = [Answer(WARNING)], [Answer(QUOTA[0])]
    reason = refusal(server, unchecked(SOURCE), tmp_path / "a.zip", DRIVE)
    assert reason == "drive.google.com: Google Drive's quota page instead of the file"


def test_forms_of_other_hosts_are_not_followed(server, tmp_path):
    server.pages["/files.example/x"] = [Answer(WARNING)]
    reason = refusal(server, unchecked("https://files.example/x"), tmp_path / "a.zip", "files.example", DRIVE)
    assert reason == "files.example: an HTML page instead of the file"
    assert server.paths() == ["/files.example/x"]


def test_a_part_of_a_file_may_look_like_a_page(server, tmp_path):
    data = BYTES[:5000] + HTML + BYTES[:5000]
    etag = {"ETag": '"one"'}
    server.pages["/x"] = [
        Answer(data, headers=etag, ranges=True, drop_at=5000),
        Answer(data, headers=etag, ranges=True),
    ]
    file = wanted(server.url("/x"), data=data)
    assert download(file, tmp_path / "x.zip", web=server.web()).read_bytes() == data
    assert server.asked("Range") == [None, "bytes=5000-"]


RECORD = "https://zenodo.org/records/77/files/a%20b.zip?download=1"
API, FILE = f"/{ZENODO}/api/records/77", f"/{ZENODO}/records/77/files/a%20b.zip?download=1"


def listed(size: object = len(ZIP), checksum: object = f"md5:{MD5}") -> Answer:
    files = [{"key": "other", "size": 1, "checksum": "md5:0"}, {"key": "a b.zip", "size": size, "checksum": checksum}]
    return Answer(json.dumps({"id": 77, "files": files}).encode())


def zenodo(*urls: str) -> FileRecord:
    return FileRecord("a.zip", urls or (RECORD,), about_bytes=5000)


@pytest.mark.parametrize("url", [RECORD, RECORD.replace("/records/", "/record/")])
def test_zenodo_promises_size_and_md5(server, url):
    server.pages[API] = [listed()]
    assert promise_before(server.web(ZENODO), url) == Promise(len(ZIP), md5=MD5)


def test_a_download_from_zenodo_that_keeps_its_promise(server, tmp_path):
    server.pages[API], server.pages[FILE] = [listed()], [GOOD]
    assert download(zenodo(), tmp_path / "a.zip", web=server.web(ZENODO)).read_bytes() == ZIP
    assert server.paths() == [API, FILE]


def test_a_download_from_zenodo_that_does_not(server, tmp_path):
    server.pages[API], server.pages[FILE] = [listed()], [Answer(ZIP[:-1] + b"!")]
    reason = refusal(server, zenodo(), tmp_path / "a.zip", ZENODO)
    assert reason.startswith("zenodo.org: wrong content (md5 ")
    assert reason.endswith(f"… instead of {MD5[:12]}…)")
    server.pages[FILE] = [Answer(ZIP[:-1])]
    reason = refusal(server, zenodo(), tmp_path / "a.zip", ZENODO)
    assert reason == f"zenodo.org: {len(ZIP) - 1:,} bytes instead of {len(ZIP):,}"


def test_a_promise_cannot_raise_the_limit_of_the_record(server, tmp_path):
    server.pages[API], server.pages[FILE] = [listed(size=10_001)], [Answer(bytes(10_001))]
    reason = refusal(server, zenodo(), tmp_path / "a.zip", ZENODO)
    assert reason == "zenodo.org: 10,001 bytes instead of about 5,000, by what the host says of it"


def test_what_the_record_knows_is_not_asked_for(server, tmp_path):
    server.pages[API], server.pages[FILE] = [listed(checksum="md5:" + "0" * 32)], [GOOD]
    file = FileRecord("a.zip", (RECORD,), len(ZIP), md5=MD5)
    assert download(file, tmp_path / "a.zip", web=server.web(ZENODO)).read_bytes() == ZIP
    assert server.paths() == [FILE]


ODD = {
    "unreachable": Answer(silent=True),
    "absent": Answer(status=404),
    "broken": Answer(status=500),
    "page": Answer(HTML),
    "cut off": Answer(listed().body[:-20]),
    "dropped": Answer(listed().body, drop_at=20),
    "another file": Answer(b'{"files": [{"key": "b.zip"}]}'),
    **{f"json {text}": Answer(text.encode()) for text in ("[]", "1", "null", '{"files": 1}', '{"files": [1, null]}')},
    "nested": Answer(b"[" * 200_000),
    "nested checksum": Answer(b'{"files": [{"key": "a b.zip", "checksum": ' + b"[" * 900 + b"]" * 900 + b"}]}"),
    "size of 4,000 digits": listed(size=10**3999, checksum=None),
    "negative size": listed(size=-1, checksum=None),
    "odd values": listed(size=True, checksum=None),
    "another digest": listed(size=None, checksum="sha512:00"),
    "endless": Answer(b" " * 65536, endless=True),
}


@pytest.mark.parametrize("odd", ODD)
def test_without_zenodos_promise_the_download_goes_on(server, tmp_path, odd):
    server.pages[API], server.pages[FILE] = [ODD[odd]], [GOOD]
    web = server.web(ZENODO, timeout_s=0.1 if odd == "unreachable" else 5)
    assert promise_before(web, RECORD) == Promise()
    assert download(zenodo(), tmp_path / "a.zip", web=web).read_bytes() == ZIP


def test_an_md5_is_one_whatever_else_is_missing():
    listing_ = {"files": [{"key": "a", "checksum": f"md5:{MD5}"}]}
    assert _zenodo_promise(listing_, "a") == Promise(md5=MD5)


def test_other_hosts_are_asked_for_no_promise(server):
    for url in ("https://files.example/records/77/files/a.zip", "https://zenodo.org/api/records/77"):
        assert promise_before(server.web("files.example", ZENODO), url) == Promise()
    assert server.requests == []


RESOLVE = "https://huggingface.co/datasets/o/n/resolve/abc/a.zip"


def linked(etag: str = f'"{SHA256}"', size: object = len(ZIP)) -> Answer:
    headers = {"Location": f"https://{CDN}/a.zip", "X-Linked-ETag": etag, "X-Linked-Size": str(size)}
    return Answer(status=302, headers=headers)


@pytest.fixture
def hub(server):
    """Where the hub's answers stand."""
    server.pages[f"/{CDN}/a.zip"] = [GOOD]
    return f"/{HUB}/datasets/o/n/resolve/abc/a.zip"


def test_a_file_of_the_hub_that_keeps_the_hubs_promise(server, hub, tmp_path):
    server.pages[hub] = [linked()]
    target = download(unchecked(RESOLVE), tmp_path / "a.zip", web=server.web(HUB, CDN))
    assert target.read_bytes() == ZIP
    assert server.paths() == [hub, f"/{CDN}/a.zip"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (linked(f'"{"0" * 64}"'), f"wrong content (sha256 {SHA256[:12]}… instead of 000000000000…)"),
        (linked(size=len(ZIP) - 1), f"{len(ZIP):,} bytes instead of {len(ZIP) - 1:,}"),
        (linked(size=10**9), f"1,000,000,000 bytes instead of about {len(ZIP):,}, by what the host says of it"),
    ],
)
def test_a_file_of_the_hub_that_does_not(server, hub, tmp_path, answer, reason):
    server.pages[hub] = [answer]
    assert refusal(server, unchecked(RESOLVE), tmp_path / "a.zip", HUB, CDN) == f"huggingface.co: {reason}"


@pytest.mark.parametrize(
    "answer",
    [linked('"d41d8cd98f00b204e9800998ecf8427e"', 1), linked("", 1), linked(size="?"), linked(size="9" * 5000)],
)
def test_a_promise_of_the_hub_that_is_none(server, hub, tmp_path, answer):
    server.pages[hub] = [answer]
    assert download(unchecked(RESOLVE), tmp_path / "a.zip", web=server.web(HUB, CDN)).read_bytes() == ZIP


def test_nobody_else_can_promise_for_the_hub(server, tmp_path):
    server.pages["/files.example/a.zip"] = [linked(f'"{"0" * 64}"')]
    server.pages[f"/{CDN}/a.zip"] = [GOOD]
    file = unchecked("https://files.example/a.zip")
    assert download(file, tmp_path / "a.zip", web=server.web("files.example", CDN)).read_bytes() == ZIP


def test_dropbox_is_asked_for_the_file_and_not_for_its_preview(server, tmp_path):
    server.pages["/www.dropbox.com/s/abc/a.zip?dl=0"] = [Answer(HTML)]
    server.pages["/www.dropbox.com/s/abc/a.zip?dl=1"] = [GOOD]
    file = unchecked("https://www.dropbox.com/s/abc/a.zip?dl=0")
    assert download(file, tmp_path / "a.zip", web=server.web("www.dropbox.com")).read_bytes() == ZIP
