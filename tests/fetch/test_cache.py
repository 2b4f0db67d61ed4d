"""The folders, the locks, and files that appear whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from l2l_core.errors import CacheError, L2LError, UnknownNameError, UsageError
from l2l_core.fetch import cache as cache_module
from l2l_core.fetch.cache import Cache, Entry, entries, home, remove
from l2l_core.files import replacing, writing

ADVICE = "choose another folder with --root or L2L_HOME"


def all_files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def python(code: str, **kwargs) -> subprocess.Popen:
    """A second process that runs this code with the package importable."""
    source = Path(cache_module.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **kwargs)


def test_home_is_the_argument_then_the_environment_then_the_user_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("L2L_HOME", "~/from-environment")
    assert home("~/given") == tmp_path / "given"
    assert home(tmp_path / "path") == tmp_path / "path"
    assert home() == tmp_path / "from-environment"
    monkeypatch.setenv("L2L_HOME", "")
    assert "l2l_core" in home().parts
    assert home().is_absolute()
    monkeypatch.chdir(tmp_path)
    assert home("here") == tmp_path / "here"


def test_home_of_nobody_is_refused():
    with pytest.raises(CacheError) as caught:
        home("~no-such-user-here/data")
    assert str(caught.value) == (
        "cannot keep data in '~no-such-user-here/data': there is no such home folder; "
        "give a full path with --root or L2L_HOME"
    )


def test_a_cache_names_its_folders_and_touches_no_disk(tmp_path):
    cache = Cache.at(tmp_path / "data")
    assert cache.downloads("omniglot") == tmp_path / "data/downloads/omniglot"
    assert cache.stores("omniglot") == tmp_path / "data/stores/omniglot"
    assert list(tmp_path.iterdir()) == []


def test_importing_the_cache_imports_nothing_slow():
    code = "import sys, l2l_core.fetch.cache; print(*sys.modules)"
    loaded = python(code, stdout=subprocess.PIPE).communicate(timeout=20)[0].split()
    assert "l2l_core.fetch.cache" in loaded
    assert not {"requests", "urllib3", "tqdm", "zipfile", "filelock", "platformdirs", "numpy", "torch"} & {*loaded}


def test_replacing_shows_nothing_until_it_is_done(tmp_path):
    target = tmp_path / "new/folder/file.bin"
    with replacing(target) as part:
        part.write_bytes(b"new")
        assert part.parent == target.parent
        assert part.name.startswith(".file.bin.")
        assert part.name.endswith(".part")
        assert not target.exists()
    assert all_files(tmp_path) == {"new/folder/file.bin": b"new"}


def test_replacing_syncs_the_bytes_before_the_rename(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append("fsync"), fsync(number)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (steps.append("replace"), replace(path, to)))
    with replacing(tmp_path / "file") as part:
        part.write_bytes(b"new")
    assert steps == ["fsync", "replace"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "file") as first, replacing(tmp_path / "file") as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert all_files(tmp_path) == {"file": b"first"}  # the outer context ends last


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), ValueError("bad"), OSError(5, "bad")])
def test_an_interrupted_replacing_leaves_the_target_as_it_was(tmp_path, error):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(type(error)) as caught, replacing(target) as part:
        part.write_bytes(b"half of it")
        raise error
    assert caught.value is error
    assert all_files(tmp_path) == {"file": b"old"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_last_step_leaves_the_target_as_it_was(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    target = tmp_path / "file"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(CacheError) as caught, replacing(target) as part:
        part.write_bytes(b"new")
    assert str(caught.value) == f"cannot write file to {target}: the disk quota is used up; {ADVICE}"
    assert all_files(tmp_path) == {"file": b"old"}


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "root").write_bytes(b"mine")
    target = tmp_path / "root/downloads/file"
    with pytest.raises(CacheError) as caught, replacing(target):
        pytest.fail("there is nowhere to write to")
    assert str(caught.value) == f"cannot write file to {target}: a file stands where a folder should be; {ADVICE}"
    assert all_files(tmp_path) == {"root": b"mine"}


def test_a_folder_in_the_place_of_the_file(tmp_path):
    target = tmp_path / "file"
    (target / "inner").mkdir(parents=True)
    with pytest.raises(CacheError, match="a folder stands where the file should be"), replacing(target) as part:
        part.write_bytes(b"new")
    assert all_files(tmp_path) == {}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EPERM, "permission is denied"),
        (errno.EFBIG, "the file is larger than this system allows"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_writing_gives_the_reason(number, reason):
    with pytest.raises(CacheError) as caught, writing("the store of x", Path("/data/x.bin")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"cannot write the store of x to /data/x.bin: {reason}; {ADVICE}"
    assert caught.value.__cause__.errno == number


def test_a_read_only_folder_cannot_be_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(CacheError, match="the file system is read-only; choose another"), replacing(tmp_path / "a/b"):
        pytest.fail("there is nowhere to write to")
    with pytest.raises(CacheError, match="cannot write the lock of x to .*x.lock: the file system is read-only"):
        Cache(tmp_path / "data").lock("x").__enter__()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_says_how_much_is_free(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10000, 8766, 1234))
    with (
        pytest.raises(CacheError) as caught,
        writing("x.bin", Path("/dev/full")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"byte")
    assert str(caught.value) == (
        f"cannot write x.bin to /dev/full: the disk is full (1,234 bytes free); free some space or {ADVICE}"
    )


def test_free_bytes_are_those_of_the_nearest_folder_that_exists(tmp_path):
    free = r"the disk is full \([\d,]+ bytes free\)"
    with pytest.raises(CacheError, match=free), writing("x", tmp_path / "not/yet/there"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [L2LError("ours"), KeyError("x"), KeyboardInterrupt()])
def test_writing_leaves_other_errors_alone(error):
    with pytest.raises(type(error)) as caught, writing("x", Path("x")):
        raise error
    assert caught.value is error


def test_one_holder_at_a_time_and_the_waiting_one_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache_module, "WAIT_NOTICE_S", 0.05)
    cache = Cache(tmp_path)
    hold = (
        "from pathlib import Path; from l2l_core.fetch.cache import Cache; import sys\n"
        f"with Cache(Path({str(tmp_path)!r})).lock('omniglot'):\n"
        "    print('held', flush=True); sys.stdin.readline(); print('released', flush=True)\n"
    )
    with python(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "held\n"
        with cache.lock("glyphs"):  # another data set's lock is free
            pass
        assert capsys.readouterr().err == ""
        let_go = threading.Timer(0.3, lambda: print(file=other.stdin, flush=True))
        let_go.start()
        with cache.lock("omniglot"):
            assert other.stdout.readline() == "released\n"
        let_go.join()
    captured = capsys.readouterr()
    lock = tmp_path / "locks/omniglot.lock"
    assert captured.err == f"waiting for another process that is working on omniglot (it holds {lock})\n"
    assert captured.out == ""


def test_a_lock_excludes_threads_too_and_is_free_after_an_error(tmp_path):
    inside = []

    def work():
        with cache.lock("x"):
            inside.append("in")
            time.sleep(0.02)
            inside.append("out")

    cache = Cache(tmp_path)
    with pytest.raises(ValueError, match="mine"), cache.lock("x"):
        raise ValueError("mine")
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert inside == ["in", "out"] * 4


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path):
    cache = Cache(tmp_path)
    finished = cache.downloads("omniglot") / "a.zip"
    finished.parent.mkdir(parents=True)
    finished.write_bytes(b"old")
    elsewhere = cache.downloads("glyphs") / ".b.zip.0123.part"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(b"another data set's, whose lock is not held")
    killed = (
        "import time; from pathlib import Path\n"
        "from l2l_core.fetch.cache import Cache; from l2l_core.files import replacing\n"
        f"cache = Cache(Path({str(tmp_path)!r}))\n"
        "with cache.lock('omniglot'), replacing(cache.downloads('omniglot') / 'a.zip') as part, \\\n"
        "     replacing(cache.stores('omniglot') / 'store.safetensors') as store:\n"
        "    part.write_bytes(b'half'); store.write_bytes(b'half'); print('ready', flush=True); time.sleep(30)\n"
    )
    with python(killed, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "ready\n"
        other.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.rglob(".*.part"))) == 3
    with cache.lock("omniglot"):
        files = all_files(tmp_path)
    assert {name for name in files if not name.startswith("locks/")} == {
        "downloads/omniglot/a.zip",
        "downloads/glyphs/.b.zip.0123.part",
    }
    assert finished.read_bytes() == b"old"


def test_half_a_download_is_kept_for_a_month(tmp_path):
    cache = Cache(tmp_path)
    folder = cache.downloads("omniglot")
    folder.mkdir(parents=True)
    kept = {
        ".a.zip.12.partial": 29,
        ".a.zip.12.partial.json": 31,
        ".e.zip.12.partial": 31,
        ".e.zip.12.partial.json": 29,
    }
    removed = {
        ".b.zip.12.partial": 31,
        ".b.zip.12.partial.json": 32,
        ".f.zip.12.partial": 31,
        ".g.zip.12.partial.json": 31,
    }
    days = {**kept, **removed, ".c.part": 0, "d.part": 99}
    for name, age in days.items():
        (folder / name).write_bytes(b"half")
        then = time.time() - age * 24 * 3600
        os.utime(folder / name, (then, then))
    with cache.lock("glyphs"):
        assert len(list(folder.iterdir())) == 10
    with cache.lock("omniglot"):
        assert {path.name for path in folder.iterdir()} == {*kept, "d.part"}


@pytest.fixture
def filled(tmp_path):
    """A cache with two data sets in it."""
    cache = Cache(tmp_path / "data")
    for name, size in {
        "downloads/shapes/x.zip": 1000,
        "downloads/shapes/x.zip.receipt.json": 20,
        "downloads/shapes/.y.zip.12.partial": 3,
        "downloads/shapes/inner/z": 5,
        "stores/shapes/1.safetensors": 700,
        "stores/letters/2.safetensors": 11,
        "locks/shapes.lock": 0,
        "accepted_licences.json": 2,
    }.items():
        (cache.root / name).parent.mkdir(parents=True, exist_ok=True)
        (cache.root / name).write_bytes(bytes(size))
    return cache


def test_what_is_in_a_cache(filled):
    assert entries(filled) == [
        Entry("letters", "stores", filled.stores("letters"), 11),
        Entry("shapes", "downloads", filled.downloads("shapes"), 1028),
        Entry("shapes", "stores", filled.stores("shapes"), 700),
    ]


def test_nothing_is_in_no_cache(tmp_path):
    assert entries(Cache(tmp_path / "absent")) == []
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_nothing(filled):
    filled.downloads("letters").mkdir()
    filled.stores("empty").mkdir()
    assert [(entry.dataset, entry.kind) for entry in entries(filled)] == [
        ("letters", "stores"),
        ("shapes", "downloads"),
        ("shapes", "stores"),
    ]


def test_a_folder_that_vanishes_while_it_is_looked_at_is_nothing(filled, monkeypatch):
    iterdir = Path.iterdir

    def vanishing(path):
        if path == filled.stores("letters"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return iter(sorted(iterdir(path)))

    monkeypatch.setattr(Path, "iterdir", vanishing)
    assert [entry.dataset for entry in entries(filled)] == ["shapes", "shapes"]


@pytest.mark.parametrize("place", ["", "downloads"])
def test_a_file_where_the_cache_should_be(tmp_path, place):
    root = tmp_path / "data"
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_bytes(b"mine")
    for ask in (lambda: entries(Cache(root)), lambda: remove(Cache(root), "x", downloads=True, stores=True)):
        with pytest.raises(CacheError) as caught:
            ask()
        assert str(caught.value) == (
            f"cannot look into {root / 'downloads'}: Not a directory; make it a folder that can be read, or {ADVICE}"
        )
    assert all_files(tmp_path) == {f"data/{place}".rstrip("/"): b"mine"}


def test_a_link_is_counted_as_itself_and_not_followed(filled, tmp_path):
    (tmp_path / "elsewhere").write_bytes(bytes(10**6))
    (filled.stores("letters") / "link").symlink_to(tmp_path / "elsewhere")
    (filled.stores("letters") / "loop").symlink_to(filled.root)
    assert entries(filled)[0].size_bytes < 1000


def test_a_folder_that_cannot_be_looked_into(filled, monkeypatch):
    def refuse(path):
        if Path(path) == filled.downloads("shapes"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    look = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CacheError) as caught:
        entries(filled)
    assert str(caught.value) == (
        f"cannot look into {filled.downloads('shapes')}: Permission denied; "
        f"make it a folder that can be read, or {ADVICE}"
    )


@pytest.mark.parametrize(
    ("downloads", "stores", "freed"), [(True, False, 1028), (False, True, 700), (True, True, 1728), (False, False, 0)]
)
def test_removing_frees_what_is_asked_for_and_nothing_else(filled, downloads, stores, freed):
    before = all_files(filled.root)
    assert remove(filled, "shapes", downloads=downloads, stores=stores) == freed
    gone = ("downloads/shapes/",) * downloads + ("stores/shapes/",) * stores
    kept = {name: data for name, data in before.items() if not name.startswith(gone)}
    assert all_files(filled.root) == kept
    if not (downloads and stores):
        assert remove(filled, "shapes", downloads=downloads, stores=stores) == 0


@pytest.mark.parametrize(
    ("name", "advice"), [("shape", "did you mean 'shapes'?"), ("omniglot", "known: letters, shapes")]
)
def test_what_is_not_there_cannot_be_removed(filled, name, advice):
    before = all_files(filled.root)
    with pytest.raises(UnknownNameError) as caught:
        remove(filled, name, downloads=True, stores=True)
    assert str(caught.value) == f"unknown data set {name!r} in the cache; {advice}"
    assert all_files(filled.root) == before


def test_nothing_is_written_where_there_is_nothing_to_remove(tmp_path):
    with pytest.raises(UnknownNameError, match="^unknown data set 'shapes' in the cache; none is known$"):
        remove(Cache(tmp_path / "absent"), "shapes", downloads=True, stores=True)
    assert list(tmp_path.iterdir()) == []


def test_removing_waits_for_the_lock(filled):
    with filled.lock("shapes"):
        remover = threading.Thread(target=remove, args=(filled, "shapes"), kwargs={"downloads": True, "stores": True})
        remover.start()
        time.sleep(0.1)
        assert len(entries(filled)) == 3
    remover.join(10)
    assert [entry.dataset for entry in entries(filled)] == ["letters"]


@pytest.mark.parametrize("name", ["", ".", "..", "../letters", "shapes/inner", "/etc"])
def test_removing_stays_in_its_folder(filled, name):
    before = all_files(filled.root)
    with pytest.raises(UsageError) as caught:
        remove(filled, name, downloads=True, stores=True)
    assert str(caught.value) == (f"cannot remove {name!r}: that is not the name of a data set; `l2l cache` lists them")
    assert all_files(filled.root) == before


def test_what_cannot_be_removed_is_named(filled, monkeypatch):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path / "1.safetensors"))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(CacheError) as caught:
        remove(filled, "shapes", downloads=False, stores=True)
    assert str(caught.value) == (
        f"cannot remove {filled.stores('shapes') / '1.safetensors'}: Permission denied; "
        "make it and its folder writable, or remove it by hand"
    )
