"""Fetching and preparing, killed at 200 moments, in several processes at once, and on a full disk: all ends well."""

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_core.store import open_store, verify_store
from tests.fetch.server import Answer, Server, serving
from tests.prepare.killing import Order
from tests.small import write_small_data

STEPS, MOMENTS = 80, 20
"""Kills before seeded lines of the package, and after seeded times, which also hit the middle of a write."""
WRITERS = ("/files.py", "/store.py", *(f"/fetch/{step}.py" for step in ("cache", "partial", "receipts", "download")))
"""Modules that write to the cache."""
CHAIN = 2
"""Kills of a cache in a row before it is let finish."""

Fetcher = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The small data set with some more bytes, so that its download takes several pieces."""
    small = write_small_data(tmp_path_factory.mktemp("small"))
    out = io.BytesIO(small.archive.read_bytes())
    with zipfile.ZipFile(out, "a") as packed:
        packed.writestr("noise.bin", np.random.default_rng(0).bytes(900_000))
    return out.getvalue()


@pytest.fixture
def server(archive: bytes) -> Iterator[Server]:
    with serving() as server:
        server.pages["/small.zip"] = [Answer(archive, headers={"ETag": '"1"'}, ranges=True)]
        yield server


@pytest.fixture
def fetcher(server: Server, archive: bytes, tmp_path: Path) -> Iterator[Fetcher]:
    """A function that has children fetch, killed or not, and says how they ended."""
    catalog = write_small_data(tmp_path / "catalogue").catalog
    file = {"name": "small.zip", "size_bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}
    words = [sys.executable, "-m", "tests.prepare.killing", server.url("/small.zip"), json.dumps(file)]
    environment = {
        **os.environ,
        "L2L_CATALOG": str(catalog),
        # A process with threads of its own should not fork.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def fetch(root: Path, **order: Any) -> dict[str, Any]:
            print(json.dumps(asdict(Order(str(root), **order))), file=process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield fetch
        process.stdin.close()


def files_of(root: Path) -> dict[str, bytes]:
    """Downloads and stores by relative path; litter begins with a dot."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("downloads", "stores")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def without_receipts(files: dict[str, bytes], archive: bytes) -> dict[str, bytes]:
    """The files, of which each receipt is found to be true."""
    for path, content in files.items():
        if path.endswith(".receipt.json"):
            receipt = json.loads(content)
            assert receipt["size_bytes"] == len(archive)
            assert receipt["sha256"] == hashlib.sha256(archive).hexdigest()
    return {path: content for path, content in files.items() if not path.endswith(".receipt.json")}


@pytest.mark.parametrize("checksum", [True, False])
def test_killed_at_any_moment_the_next_run_finishes(
    checksum: bool, fetcher: Fetcher, server: Server, archive: bytes, tmp_path: Path
) -> None:
    whole = fetcher(tmp_path / "whole", checksum=checksum, trace=str(tmp_path / "lines"))
    assert whole["ends"] == [0], whole["said"]
    good = without_receipts(files_of(tmp_path / "whole"), archive)
    store = whole["said"][0].removeprefix(f"{tmp_path / 'whole'}/")
    assert good.keys() == {"downloads/small/small.zip", store}
    untraced_s = fetcher(tmp_path / "untraced")["seconds"]
    kills = planned_kills((tmp_path / "lines").read_text().splitlines(), untraced_s, random.Random(checksum))

    killed = 0
    for number in range(0, len(kills), CHAIN):
        root, chain = tmp_path / f"killed-{number}", kills[number : number + CHAIN]
        for kill in chain:
            (end,) = fetcher(root, checksum=checksum, **kill)["ends"]
            assert end in (0, -9), kill
            killed += end == -9
            for path, content in without_receipts(files_of(root), archive).items():
                half_written = Path(path).name.startswith(".")
                assert half_written or content == good[path], f"{path} under its final name after {kill}"
        done = fetcher(root, checksum=checksum)
        assert done["ends"] == [0], (chain, done["said"])
        assert without_receipts(files_of(root), archive) == good, chain
        assert "downloads/small/small.zip.receipt.json" in files_of(root), chain
        assert {path.name for path in root.iterdir()} == {"downloads", "stores", "locks"}
        shutil.rmtree(root)
    # Of the second kills some come when all is done; of the timed ones too.
    assert killed > 0.6 * len(kills)
    assert any(server.asked("Range")), "no run went on where another had been killed"


def planned_kills(lines: Sequence[str], seconds: float, draws: random.Random) -> list[dict[str, Any]]:
    """When to kill a run that passes these lines in this time."""
    # A half of the kills falls on the lines of the modules that write, each of which counts once; a quarter on the
    # download, which passes a few lines again and again; the rest are spread over the whole run.
    first = {line: number for number, line in reversed([*enumerate(lines)])}
    writing = [number for line, number in first.items() if line.startswith(WRITERS)]
    assert len(writing) > STEPS, "the lines of the package are counted"
    downloading = [number for number, line in enumerate(lines) if line.startswith("/fetch/partial.py")]
    steps = draws.sample(writing, STEPS // 2) + draws.sample(downloading, STEPS // 4)
    steps += draws.sample(range(len(lines)), STEPS - len(steps))
    kills: list[dict[str, Any]] = [{"step": step} for step in steps]
    kills += [{"delay_s": draws.uniform(0, 1.2 * seconds)} for _ in range(MOMENTS)]
    draws.shuffle(kills)
    return kills


@pytest.mark.parametrize("children", [2, 4])
def test_several_processes_at_once_download_once(
    children: int, fetcher: Fetcher, server: Server, archive: bytes, tmp_path: Path
) -> None:
    for number in range(3):
        server.requests.clear()
        root = tmp_path / f"shared-{number}"
        done = fetcher(root, children=children)
        assert done["ends"] == [0] * children, done["said"]
        (store,) = set(done["said"])
        verify_store(open_store(Path(store)))
        assert server.paths() == ["/small.zip"]
        assert files_of(root)["downloads/small/small.zip"] == archive
        assert not [path for path in files_of(root) if Path(path).name.startswith(".")]


def test_one_of_several_is_killed_and_the_others_finish(fetcher: Fetcher, archive: bytes, tmp_path: Path) -> None:
    good = without_receipts(files_of(tmp_path / "whole"), archive) if fetcher(tmp_path / "whole")["ends"] == [0] else {}
    for step in (300, 600, 900):
        root = tmp_path / f"killed-{step}"
        assert fetcher(root, children=3, step=step)["ends"] == [-9] * 3
        assert fetcher(root, children=3)["ends"] == [0] * 3
        assert without_receipts(files_of(root), archive) == good


@pytest.mark.parametrize(("limit_bytes", "what"), [(300_000, "small.zip"), (3_000, "pictures-")])
def test_where_the_disk_is_full_nothing_is_lost(
    limit_bytes: int, what: str, fetcher: Fetcher, server: Server, archive: bytes, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    older = Path(fetcher(root)["said"][0])
    content = older.read_bytes()
    if what == "small.zip":
        shutil.rmtree(root / "downloads")
    full = fetcher(root, image_size=8, limit_bytes=limit_bytes)
    assert full["ends"] == [1]
    (said,) = full["said"]
    assert said.startswith(f"CacheError: cannot write {what}")
    assert said.endswith(": the file is larger than this system allows; choose another folder with --root or L2L_HOME")
    assert older.read_bytes() == content
    verify_store(open_store(older))
    assert {Path(path).name for path in files_of(root / "stores")} <= {older.name}
    if what != "small.zip":
        assert files_of(root)["downloads/small/small.zip"] == archive
    server.requests.clear()
    done = fetcher(root, image_size=8)
    assert done["ends"] == [0]
    newer = Path(done["said"][0])
    assert newer != older
    assert open_store(newer).examples.shape == (96, 1, 8, 8)
    assert not older.exists(), "a data set has one store"
    if what == "small.zip":
        assert server.asked("Range") == [f"bytes={limit_bytes}-"], "what came before is not asked for again"
    else:
        assert server.paths() == []
