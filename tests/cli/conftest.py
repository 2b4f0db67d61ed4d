"""The command, and a catalogue with a small data set for it."""

import hashlib

import pytest

from tests.cli.command import Command, make_command
from tests.opened import enlarge
from tests.small import SmallData


@pytest.fixture
def mine(small: SmallData, monkeypatch: pytest.MonkeyPatch) -> SmallData:
    """The small data set in the catalogue, but not in the cache."""
    enlarge(small.catalog)
    monkeypatch.setenv("L2L_CATALOG", str(small.catalog))
    return small


@pytest.fixture
def l2l(mine: SmallData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, where the small data set is in the catalogue."""
    return make_command(monkeypatch, capsys)


@pytest.fixture
def served(mine: SmallData) -> SmallData:
    """The small data set, whose entry says where its archive is served."""
    entry = mine.catalog / "catalog/datasets/small.toml"
    content = mine.archive.read_bytes()
    file = (
        f'{{ name = "small.zip", urls = ["https://example.org/small.zip"], size_bytes = {len(content)}, '
        f'sha256 = "{hashlib.sha256(content).hexdigest()}" }}'
    )
    reader = 'reader = "image_folders"'
    entry.write_text(entry.read_text().replace(reader, f"{reader}\nfiles = [{file}]"))
    return mine


@pytest.fixture
def imported(l2l: Command, mine: SmallData) -> SmallData:
    """The small data set, in the cache too."""
    assert l2l("import", "small", mine.folder).status == 0
    return mine
