"""Files over HTTP or from a mirror: the right bytes in the end, or one clear sentence and a clean folder."""

import contextlib
import hashlib
import io
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from l2l_core.errors import CacheError, FetchError, UsageError
from l2l_core.fetch import cache as cache_module
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.checks import Hasher
from l2l_core.fetch.download import download, fetch_files
from l2l_core.fetch.receipts import read_receipt, write_receipt
from l2l_core.fetch.web import CHUNK_BYTES, Web
from l2l_core.records import FileRecord, FormRecord

from .files import BYTES, FILES, HTML, SHA256, listing, unchecked, wanted
from .server import Answer

GOOD = Answer(BYTES)
ZIP = FILES["a.zip"]


def refusal(file: FileRecord, target: Path, *args, **kwargs) -> str:
    with pytest.raises(FetchError) as caught:
        download(file, target, *args, **kwargs)
    return str(caught.value)


def form(*files: FileRecord) -> FormRecord:
    return FormRecord("pictures", "Pictures", "image_folders", {}, files)


def test_a_file_is_downloaded_with_a_receipt(server, tmp_path, capsys):
    server.pages["/x"] = [Answer(BYTES, headers={"ETag": '"one"'})]
    target = tmp_path / "new/folder/x.zip"
    assert download(wanted(server.url("/x")), target) == target
    assert target.read_bytes() == BYTES
    assert listing(target.parent) == ["x.zip", "x.zip.receipt.json"]
    receipt = read_receipt(target)
    assert (receipt.url, receipt.size_bytes, receipt.sha256) == (server.url("/x"), 600_000, SHA256)
    assert (receipt.md5, receipt.etag) == (hashlib.md5(BYTES, usedforsecurity=False).hexdigest(), '"one"')
    assert capsys.readouterr() == ("", "")  # nobody is watching


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_format_without_a_known_checksum(server, tmp_path, name):
    server.pages["/x"] = [Answer(FILES[name])]
    target = tmp_path / name
    assert download(unchecked(server.url("/x"), name=name), target).read_bytes() == FILES[name]


def test_an_empty_file_is_a_file(server, tmp_path):
    server.pages["/x"] = [Answer(b"")]
    assert download(wanted(server.url("/x"), data=b""), tmp_path / "x").read_bytes() == b""


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
    reason = refusal(wanted(server.url("/bad")), target)
    found = "5 bytes instead of 600,000" if old == b"short" else "wrong content (sha256 "
    assert reason.startswith(f"cannot download x.zip (the file that is there: {found}")
    assert target.read_bytes() == old
    download(wanted(server.url("/good")), target)
    assert target.read_bytes() == BYTES
    assert listing(tmp_path) == ["x.zip", "x.zip.receipt.json"]


WRONG = bytes(len(BYTES))
WRONG_SHA256 = hashlib.sha256(WRONG).hexdigest()
FAULTS = {
    "absent": (Answer(status=404), "HTTP status 404"),
    "absent, with a page that says so": (Answer(HTML, status=404), "HTTP status 404"),
    "forbidden": (Answer(status=403), "HTTP status 403"),
    "part of it": (Answer(BYTES, status=206), "HTTP status 206"),
    "beyond its end": (Answer(status=416), "HTTP status 416"),
    "broken for good": (Answer(status=500), "HTTP status 500"),
    "busy for good": (Answer(status=503, headers={"Retry-After": "0"}), "HTTP status 503"),
    "too many requests": (Answer(status=429), "HTTP status 429"),
    "too short": (Answer(BYTES[:9]), "9 bytes instead of 600,000"),
    "nothing": (Answer(b""), "0 bytes instead of 600,000"),
    "too long": (Answer(BYTES + b"!"), "600,001 bytes instead of 600,000"),
    "too long, without a length": (Answer(BYTES + b"!", chunked=True), "more than the 600,000 bytes that are allowed"),
    "too short, without a length": (Answer(BYTES[:-1], chunked=True), "599,999 bytes instead of 600,000"),
    "endless": (Answer(bytes(65536), endless=True), "more than the 600,000 bytes that are allowed"),
    "wrong length": (Answer(BYTES, announced=7), "7 bytes instead of 600,000"),
    "wrong content": (Answer(WRONG), f"wrong content (sha256 {WRONG_SHA256[:12]}… instead of {SHA256[:12]}…)"),
    "short page": (Answer(HTML), "an HTML page instead of the file"),
    "long page": (Answer(HTML.ljust(700_000)), "an HTML page instead of the file"),
    "page of the right size": (Answer(HTML.ljust(600_000)), "an HTML page instead of the file"),
    "dropped": (Answer(BYTES, drop_at=CHUNK_BYTES), f"connection broken after {CHUNK_BYTES:,} of 600,000 bytes"),
    "dropped at once": (Answer(BYTES, drop_at=1), "connection broken after 0 of 600,000 bytes"),
    "dropped without a length": (
        Answer(BYTES[:200_000], announced=-1),
        "connection broken after 200,000 of 600,000 bytes",
    ),
    "stalled": (Answer(BYTES, stall_at=1000), "no answer in time after 1,000 of 600,000 bytes"),
    "too slow": (Answer(BYTES, drip_s=0.3), "too slow (100 bytes in 0 s)"),
    "silent": (Answer(silent=True), "no answer in time"),
    "redirect to nowhere": (Answer(status=302), "HTTP status 302"),
    "redirect in a circle": (Answer(status=302, headers={"Location": "/x"}), "redirects more than 10 times"),
    "redirect to plain http": (
        Answer(status=301, headers={"Location": "http://files.example/x.zip"}),
        "leads to http://files.example, and only https is trusted",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_fails(server, tmp_path, contacted, fault):
    answer, reason = FAULTS[fault]
    server.pages["/x"] = [answer]
    server.pages["/good"] = [GOOD]
    target = tmp_path / "x.zip"
    web = server.web(timeout_s=0.2 if fault in ("stalled", "silent") else 5, slow_s=0.01 if fault == "too slow" else 60)
    message = refusal(wanted(server.url("/x")), target, web=web)
    assert message == (
        f"cannot download x.zip (127.0.0.1: {reason}); get it another way "
        f"(600,000 bytes, sha256 {SHA256}) and place it at {target}, or give a copy with `l2l import`"
    )
    assert listing(tmp_path) == []
    download(wanted(server.url("/x"), server.url("/good")), target, web=web)
    assert target.read_bytes() == BYTES
    assert listing(tmp_path) == ["x.zip", "x.zip.receipt.json"]
    assert {*contacted} == {"127.0.0.1"}


def test_a_body_that_grows_is_stopped_at_the_limit(server, tmp_path):
    server.pages["/x"] = [Answer(ZIP, endless=True)]
    file = unchecked(server.url("/x"), about=10_000)
    assert "(127.0.0.1: an answer without a length, which nobody can tell from" in refusal(file, tmp_path / "a.zip")
    server.pages["/x"] = [Answer(ZIP + BYTES, chunked=True)]
    assert "(127.0.0.1: more than the 20,000 bytes that are allowed);" in refusal(file, tmp_path / "a.zip")
    server.pages["/x"] = [Answer(ZIP + BYTES)]
    assert f"(127.0.0.1: {len(ZIP + BYTES):,} bytes instead of about 10,000);" in refusal(file, tmp_path / "a.zip")
    assert listing(tmp_path) == []


def test_what_no_checksum_decides_must_fit_its_name_and_have_an_end(server, tmp_path):
    server.pages["/gzip"] = [Answer(FILES["a.tgz"].ljust(len(ZIP)))]
    server.pages["/unending"] = [Answer(ZIP, announced=-1)]
    server.pages["/short"] = [Answer(ZIP[:1000])]
    server.pages["/dropped"] = [Answer(ZIP, drop_at=1000)]
    server.pages["/chunked"] = [Answer(ZIP, chunked=True)]
    file = unchecked(*(server.url(f"/{path}") for path in ("gzip", "unending", "short", "dropped")))
    about = f"about {len(ZIP):,}"
    assert refusal(file, tmp_path / "a.zip", web=server.web()).startswith(
        "cannot download a.zip (127.0.0.1: gzip data instead of a zip file; "
        "127.0.0.1: an answer without a length, which nobody can tell from one that is cut off; "
        f"127.0.0.1: 1,000 bytes instead of {about}; "
        f"127.0.0.1: connection broken after 1,000 of {about} bytes); get it another way ({about} bytes) and place it"
    )
    assert listing(tmp_path) == []
    good = unchecked(server.url("/chunked"))
    assert download(good, tmp_path / "a.zip").read_bytes() == ZIP


@pytest.mark.parametrize("encoding", ["gzip", "br", "x" * 5000])
def test_without_a_checksum_nothing_is_taken_that_was_packed_for_the_way(server, tmp_path, encoding):
    server.pages["/x"] = [Answer(BYTES, headers={"Content-Encoding": encoding, "ETag": '"one"'})]
    file = FileRecord("x.bin", (server.url("/x"),), about_bytes=600_000)
    assert "(127.0.0.1: an answer in a Content-Encoding that was not asked for);" in refusal(file, tmp_path / "x.bin")
    assert listing(tmp_path) == []
    download(wanted(server.url("/x")), tmp_path / "x.bin")  # the checksum tells that they are the file's own
    assert server.asked("Accept-Encoding") == ["identity"] * 2


@pytest.mark.parametrize(
    ("name", "encoding"), [("a.zip", "identity"), ("a.tar.gz", "x-gzip"), ("a.tar.gz", "gzip"), ("a.tgz", "GZIP")]
)
def test_what_a_file_is_packed_with_itself_may_be_named(server, tmp_path, name, encoding):
    server.pages["/x"] = [Answer(FILES[name], headers={"Content-Encoding": encoding})]
    target = tmp_path / name
    assert download(unchecked(server.url("/x"), name=name), target).read_bytes() == FILES[name]


def test_a_rest_that_was_packed_for_the_way_is_not_taken(server, tmp_path):
    etag = {"ETag": '"one"'}
    rest = f"bytes 3000-{len(ZIP) - 1}/{len(ZIP)}"
    server.pages["/x"] = [
        Answer(ZIP, headers=etag, drop_at=3000),
        Answer(ZIP[::-1][3000:], 206, {**etag, "Content-Range": rest, "Content-Encoding": "gzip"}),
        Answer(ZIP),
    ]
    assert download(unchecked(server.url("/x")), tmp_path / "a.zip", web=server.web()).read_bytes() == ZIP
    assert server.asked("Range") == [None, "bytes=3000-", None]


def test_every_source_is_named_with_its_reason_in_order(server, tmp_path):
    server.pages["/b"] = [Answer(HTML)]
    port = server.server_port
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    urls = [server.url("/a"), f"http://localhost:{port}/b", dead, "http://files.example/x", "https://[bad", "nonsense"]
    assert refusal(wanted(*urls), tmp_path / "x", web=server.web()).startswith(
        "cannot download x.zip (127.0.0.1: HTTP status 404; localhost: an HTML page instead of the file; "
        "127.0.0.1: no connection (Connection refused); "
        "files.example: leads to http://files.example, and only https is trusted; "
        "?: an address that cannot be used; "
        "nonsense: leads to ?://nonsense, and only https is trusted); get it another way "
    )


def test_a_file_to_be_placed_by_hand(tmp_path):
    target = tmp_path / "x.zip"
    file = FileRecord("x.zip", (), size_bytes=1234, md5="0" * 32)
    assert refusal(file, target) == (
        "cannot download x.zip (no source is known); get it another way (1,234 bytes, md5 "
        f"{'0' * 32}) and place it at {target}, or give a copy with `l2l import`"
    )
    target.write_bytes(ZIP)
    assert f"(the file that is there: {len(ZIP):,} bytes instead of 1,234); get it" in refusal(file, target)
    assert download(unchecked(name="a.zip"), target) == target  # its size is plausible, and it begins like a zip file


def test_the_receipt_of_an_earlier_file_is_no_obstacle(tmp_path):
    target = tmp_path / "a.zip"
    write_receipt(target, "https://files.example/a.zip", Hasher([ZIP]).fingerprint(), None)
    target.write_bytes(ZIP + b"!")
    assert download(unchecked(), target) == target
    target.write_bytes(ZIP[:-1] + b"!")
    message = refusal(unchecked(), target)
    assert " by a.zip.receipt.json, to be removed if you placed the file yourself); get it another way " in message
    (tmp_path / "a.zip.receipt.json").unlink()
    assert download(unchecked(), target) == target


def test_a_good_source_ends_the_search(server, tmp_path):
    server.pages["/x"] = [GOOD]
    download(wanted(server.url("/x"), server.url("/y")), tmp_path / "x")
    assert server.paths() == ["/x"]


def test_progress_is_shown_to_a_terminal(server, tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    server.pages["/x"], server.pages["/y"] = [GOOD], [GOOD]
    files = wanted(server.url("/x")), wanted(server.url("/y"), name="y.zip")
    fetch_files("shapes", form(*files), Cache(tmp_path))
    fetch_files("others", form(files[0]), Cache(tmp_path), mirror=str(tmp_path / "downloads/../shapes"))
    assert "x.zip (file 1 of 2): 100%" in terminal.getvalue()
    assert "y.zip (file 2 of 2): 100%" in terminal.getvalue()
    assert "\rx.zip: 100%" in terminal.getvalue()
    assert "600k/600k" in terminal.getvalue()
    assert "B/s]" in terminal.getvalue()


def test_an_interrupt_leaves_everything_as_it_was(server, tmp_path, monkeypatch):
    def interrupted(self, response):
        yield BYTES[:1000]
        raise KeyboardInterrupt

    server.pages["/x"] = [GOOD]
    monkeypatch.setattr(Web, "_pieces", interrupted)
    target = tmp_path / "x.zip"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        download(wanted(server.url("/x")), target)
    assert listing(tmp_path) == ["x.zip"]
    assert target.read_bytes() == b"old"


@contextlib.contextmanager
def small_files_only(limit_bytes: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("resumable", [False, True])
def test_a_full_disk_is_no_fault_of_the_source(server, tmp_path, resumable):
    answer = Answer(BYTES, headers={"ETag": '"one"'} if resumable else {}, ranges=resumable)
    server.pages["/x"] = server.pages["/y"] = [answer]
    target = tmp_path / "x.zip"
    target.write_bytes(b"old")
    with small_files_only(300_000), pytest.raises(CacheError) as caught:
        download(wanted(server.url("/x"), server.url("/y")), target)
    assert str(caught.value) == (
        f"cannot write x.zip to {tmp_path}: the file is larger than this system allows; "
        "choose another folder with --root or L2L_HOME"
    )
    assert target.read_bytes() == b"old"
    assert server.paths() == ["/x"]
    if not resumable:
        assert listing(tmp_path) == ["x.zip"]
    assert download(wanted(server.url("/x"), server.url("/y")), target).read_bytes() == BYTES
    assert server.asked("Range") == [None, "bytes=300000-" if resumable else None]
    assert listing(tmp_path) == ["x.zip", "x.zip.receipt.json"]


def test_a_full_disk_in_a_process_of_its_own(server, tmp_path):
    server.pages["/x"] = [GOOD]
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from l2l_core.errors import CacheError\n"
        "from l2l_core.fetch.download import download\n"
        "from l2l_core.records import FileRecord\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        f"file = FileRecord('x.zip', ({server.url('/x')!r},), 600_000, sha256={SHA256!r})\n"
        "try:\n    download(file, Path(sys.argv[1]))\n"
        "except CacheError as error:\n    print(error)\n"
    )
    target = tmp_path / "x.zip"
    target.write_bytes(b"old")
    assert python(code, str(target)).communicate(timeout=20)[0] == (
        f"cannot write x.zip to {tmp_path}: the file is larger than this system allows; "
        "choose another folder with --root or L2L_HOME\n"
    )
    assert listing(tmp_path) == ["x.zip"]
    assert target.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made_is_noticed_before_connecting(server, tmp_path):
    (tmp_path / "root").write_bytes(b"mine")
    with pytest.raises(CacheError, match="a file stands where a folder should be"):
        download(wanted(server.url("/x")), tmp_path / "root/x.zip")
    assert server.requests == []


def test_all_files_of_a_form_in_its_order(server, tmp_path):
    server.pages["/b"], server.pages["/a"] = [Answer(b"bbb")], [Answer(b"aa")]
    files = wanted(server.url("/b"), name="b.zip", data=b"bbb"), wanted(server.url("/a"), name="a.zip", data=b"aa")
    folder = tmp_path / "downloads/shapes"
    assert fetch_files("shapes", form(*files), Cache(tmp_path)) == [folder / "b.zip", folder / "a.zip"]
    assert ((folder / "b.zip").read_bytes(), (folder / "a.zip").read_bytes()) == (b"bbb", b"aa")
    fetch_files("shapes", form(*files), Cache(tmp_path))
    assert server.paths() == ["/b", "/a"]


def test_what_must_be_found_by_hand_is_asked_for_before_anything_is_downloaded(server, tmp_path):
    server.pages["/x"] = [GOOD]
    files = wanted(server.url("/x")), wanted(name="y.zip")
    with pytest.raises(FetchError, match=r"^cannot download y.zip \(no source is known\)"):
        fetch_files("shapes", form(*files), Cache(tmp_path))
    assert server.requests == []
    (tmp_path / "downloads/shapes/y.zip").write_bytes(BYTES)
    fetch_files("shapes", form(*files), Cache(tmp_path))
    assert server.paths() == ["/x"]


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_mirror_is_asked_first(server, tmp_path, monkeypatch, given):
    server.pages["/mirror/shapes/x%20%23y.zip"], server.pages["/x"] = [Answer(status=404), GOOD], [GOOD]
    mirror = server.url("/mirror/")
    if given == "environment":
        monkeypatch.setenv("L2L_MIRROR", mirror)
    file = wanted(server.url("/x"), name="x #y.zip")
    for number, expected in enumerate((["/mirror/shapes/x%20%23y.zip", "/x"], ["/mirror/shapes/x%20%23y.zip"])):
        server.requests[:] = server.requests[:1] * number  # so that the mirror's second answer comes
        before = len(server.requests)
        cache = Cache(tmp_path / str(number))
        [path] = fetch_files("shapes", form(file), cache, mirror=mirror if given == "argument" else None)
        assert path.read_bytes() == BYTES
        assert server.paths()[before:] == expected


def test_a_mirror_serves_files_that_have_no_address(server, tmp_path):
    server.pages["/shapes/x.zip"] = [GOOD]
    [path] = fetch_files("shapes", form(wanted()), Cache(tmp_path), mirror=server.url(""))
    assert path.read_bytes() == BYTES


@pytest.mark.parametrize("mirror", ["http://files.example", "ftp://files.example", "file:///tmp"])
def test_a_mirror_elsewhere_speaks_https(tmp_path, contacted, mirror):
    with pytest.raises(FetchError, match=r": leads to .*, and only https is trusted\)"):
        fetch_files("shapes", form(wanted()), Cache(tmp_path), mirror=mirror)
    assert contacted == []


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_mirror_in_the_home_folder_of_nobody(server, tmp_path, monkeypatch, given):
    mirror = "~no-such-user-here/mirror"
    if given == "environment":
        monkeypatch.setenv("L2L_MIRROR", mirror)
    with pytest.raises(UsageError) as caught:
        fetch_files("shapes", form(wanted()), Cache(tmp_path), mirror=mirror if given == "argument" else None)
    assert str(caught.value) == (
        "cannot use the mirror '~no-such-user-here/mirror': there is no such home folder; "
        "give a full path with --mirror or L2L_MIRROR"
    )


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    (folder / "shapes").mkdir(parents=True)
    (folder / "shapes/x.zip").write_bytes(BYTES)
    return folder


def test_a_folder_as_mirror(server, tmp_path, mirror):
    [path] = fetch_files("shapes", form(wanted(server.url("/x"))), Cache(tmp_path / "new"), mirror=str(mirror))
    assert path.read_bytes() == BYTES
    assert listing(path.parent) == ["x.zip", "x.zip.receipt.json"]
    assert read_receipt(path).url == (mirror / "shapes/x.zip").as_uri()
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "x.zip cannot be read (No such file or directory)"),
        (BYTES[:-1], "599,999 bytes instead of 600,000"),
        (BYTES + b"!", "more than the 600,000 bytes that are allowed"),
        (WRONG, f"wrong content (sha256 {WRONG_SHA256[:12]}… instead of {SHA256[:12]}…)"),
    ],
)
def test_a_copy_is_checked_like_a_download(server, tmp_path, mirror, content, reason):
    server.pages["/x"] = [GOOD]
    (mirror / "shapes/x.zip").unlink() if content is None else (mirror / "shapes/x.zip").write_bytes(content)
    cache = Cache(tmp_path / "new")
    with pytest.raises(FetchError) as caught:
        fetch_files("shapes", form(wanted()), cache, mirror=str(mirror))
    assert str(caught.value).startswith(f"cannot download x.zip ({mirror / 'shapes'}: {reason}); get it another way")
    assert listing(cache.downloads("shapes")) == []
    [path] = fetch_files("shapes", form(wanted(server.url("/x"))), cache, mirror=str(mirror))
    assert path.read_bytes() == BYTES


def test_a_copy_that_no_checksum_decides_must_fit_its_name(tmp_path, mirror):
    (mirror / "shapes/a.zip").write_bytes(FILES["a.tgz"])
    with pytest.raises(FetchError, match=r"gzip data instead of a zip file\)"):
        fetch_files("shapes", form(unchecked()), Cache(tmp_path / "new"), mirror=str(mirror))
    (mirror / "shapes/a.zip").write_bytes(ZIP)
    [path] = fetch_files("shapes", form(unchecked()), Cache(tmp_path / "new"), mirror=str(mirror))
    assert path.read_bytes() == ZIP


def test_a_copy_onto_a_full_disk(tmp_path, mirror):
    with small_files_only(300_000), pytest.raises(CacheError, match="cannot write x.zip to .*larger than this system"):
        fetch_files("shapes", form(wanted()), Cache(tmp_path / "new"), mirror=str(mirror))
    assert listing(tmp_path / "new/downloads/shapes") == []


@pytest.mark.parametrize("given", ["argument", "1", "yes"])
def test_offline_nothing_is_contacted(server, tmp_path, monkeypatch, contacted, mirror, given):
    if given != "argument":
        monkeypatch.setenv("L2L_OFFLINE", given)
    offline = given == "argument"
    server.pages["/x"] = server.pages["/shapes/x.zip"] = [GOOD]
    cache, file = Cache(tmp_path / "new"), wanted(server.url("/x"))
    for web_mirror in (None, server.url("")):
        with pytest.raises(FetchError) as caught:
            fetch_files("shapes", form(file), cache, offline=offline, mirror=web_mirror)
        assert str(caught.value) == (
            "cannot download x.zip (no connection is made offline); get it another way (600,000 bytes, sha256 "
            f"{SHA256}) and place it at {cache.downloads('shapes') / 'x.zip'}, or give a copy with `l2l import`"
        )
    with pytest.raises(FetchError, match="No such file or directory.; no connection is made offline.; get it"):
        fetch_files("shapes", form(file), cache, offline=offline, mirror=str(tmp_path))
    for place in (str(mirror), None):  # from a folder, and then because it is there
        [path] = fetch_files("shapes", form(file), cache, offline=offline, mirror=place)
        assert path.read_bytes() == BYTES
    assert (contacted, server.requests) == ([], [])


def test_offline_must_be_meant(server, tmp_path, monkeypatch):
    server.pages["/x"] = [GOOD]
    for number, value in enumerate(["", "0", "no", "False"]):
        monkeypatch.setenv("L2L_OFFLINE", value)
        fetch_files("shapes", form(wanted(server.url("/x"))), Cache(tmp_path / str(number)))
    assert len(server.requests) == 4


def python(code: str, *arguments: str) -> subprocess.Popen:
    """A second process that runs this code with the package importable."""
    source = Path(cache_module.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, stdout=-1)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_at_once_download_once_and_all_succeed(server, tmp_path, processes):
    server.pages["/x"] = [Answer(BYTES[:20_000], drip_s=0.002)]
    sha256 = hashlib.sha256(BYTES[:20_000]).hexdigest()
    code = (
        "from pathlib import Path\n"
        "from l2l_core.fetch.cache import Cache\n"
        "from l2l_core.fetch.download import fetch_files\n"
        "from l2l_core.records import FileRecord, FormRecord\n"
        f"file = FileRecord('x.zip', ({server.url('/x')!r},), 20_000, sha256={sha256!r})\n"
        f"cache = Cache(Path({str(tmp_path)!r}))\n"
        "with cache.lock('shapes'):\n"
        "    [path] = fetch_files('shapes', FormRecord('p', 'P', 'image_folders', {}, (file,)), cache)\n"
        "print(path.stat().st_size)\n"
    )
    running = [python(code) for _ in range(processes)]
    assert [process.communicate(timeout=30)[0] for process in running] == ["20000\n"] * processes
    assert server.paths() == ["/x"]
    assert listing(tmp_path / "downloads/shapes") == ["x.zip", "x.zip.receipt.json"]
