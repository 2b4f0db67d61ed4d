"""Files that the user asked for: whole or not at all, and nothing else is replaced."""

import os
import threading
from pathlib import Path

import pytest

from l2l_core.errors import CacheError
from l2l_core.files import write_file


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "deep/a.json", b"old")
    write_file(tmp_path / "deep/a.json", b"new")
    assert (tmp_path / "deep/a.json").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_file(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_file(tmp_path / "pipe", b"through")
    reader.join(timeout=10)
    assert read == [b"through"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(CacheError, match="cannot write a to .*; choose another place"):
        write_file(tmp_path / "a", b"x")
    assert (tmp_path / "a").is_dir()
