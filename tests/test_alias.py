"""The name learn2learn: one set of modules under two names, imported when asked for, and refused where it is taken."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import l2l_core
from l2l_core import alias
from l2l_core.alias import as_learn2learn
from l2l_core.errors import UsageError


@pytest.fixture(autouse=True)
def _taken_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "learn2learn" or name.removeprefix("l2l_core.") in alias._ELSEWHERE:
            del sys.modules[name]


def test_the_modules_are_the_same_ones() -> None:
    as_learn2learn()
    import learn2learn
    import learn2learn.data.transforms
    import learn2learn.vision.transforms as rotations
    from learn2learn.algorithms.maml import MAML
    from learn2learn.data import samplers
    from learn2learn.data.samplers import TasksetSampler
    from learn2learn.data.utils import partition_task

    import l2l_core.algorithms.maml
    import l2l_core.data.loaders
    import l2l_core.vision.transforms

    assert learn2learn is l2l_core
    assert learn2learn.data.transforms is l2l_core.data.transforms
    assert rotations is l2l_core.vision.transforms
    assert MAML is l2l_core.algorithms.maml.MAML
    assert isinstance(MAML(__import__("torch").nn.Linear(1, 1), 0.1), l2l_core.algorithms.MAML)
    assert samplers is l2l_core.data.loaders is sys.modules["learn2learn.data.samplers"]
    assert TasksetSampler is l2l_core.data.TasksetSampler
    assert partition_task is l2l_core.data.partition_task


def test_a_module_keeps_its_own_name_and_spec() -> None:
    as_learn2learn()
    import learn2learn.evaluation.statistics as statistics

    assert statistics.__name__ == statistics.__spec__.name == "l2l_core.evaluation.statistics"
    assert statistics.__spec__.loader is statistics.__loader__
    assert l2l_core.__spec__.name == "l2l_core"


@pytest.mark.parametrize("theirs", list(alias._ELSEWHERE))
def test_every_module_that_is_elsewhere_is_there(theirs: str) -> None:
    as_learn2learn()
    module = __import__(f"learn2learn.{theirs}", fromlist=["*"])
    assert module is sys.modules[f"l2l_core.{alias._ELSEWHERE[theirs]}"]
    assert not Path(l2l_core.__file__).parent.joinpath(*f"{theirs}.py".split(".")[:-1]).with_suffix(".py").exists()


def test_what_is_not_there_says_so() -> None:
    as_learn2learn()
    absent = "^learn2learn.gym was asked for, but the environments of reinforcement learning are not part of l2l_core$"
    for line in ("import learn2learn.gym", "import learn2learn.gym.envs.mujoco", "from learn2learn import gym"):
        with pytest.raises(ImportError, match=absent):
            exec(line)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'learn2learn\.dat'$"):
        exec("import learn2learn.dat")
    with pytest.raises(ImportError, match="cannot import name 'NWay' from 'l2l_core.data.transforms'"):
        exec("from learn2learn.data.transforms import NWay")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'l2l_core\.dat'"):
        exec("import l2l_core.dat")


def test_a_second_call_changes_nothing() -> None:
    as_learn2learn()
    finders = list(sys.meta_path)
    exec("import learn2learn")
    as_learn2learn()
    assert sys.meta_path == finders


def test_learn2learn_itself_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "learn2learn").mkdir()
    init = tmp_path / "learn2learn" / "__init__.py"
    init.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    message = (
        f"^l2l_core was asked to answer to the name learn2learn, but learn2learn itself is here .{init}.; uninstall"
    )
    with pytest.raises(UsageError, match=message):
        as_learn2learn()
    exec("import learn2learn")
    with pytest.raises(UsageError, match=message):
        as_learn2learn()
    monkeypatch.undo()
    sys.modules["learn2learn"].__spec__ = None
    with pytest.raises(
        UsageError, match="learn2learn itself is here .imported already.; uninstall it, or import l2l_core"
    ):
        as_learn2learn()


def test_nothing_is_loaded_that_is_not_asked_for() -> None:
    program = """
import sys
from l2l_core.alias import as_learn2learn
as_learn2learn()
import learn2learn as l2l
import learn2learn.data
assert not {"torch", "lightning", "numpy"} & set(sys.modules), sorted(sys.modules)
from learn2learn.data.transforms import NWays
assert NWays is l2l.data.transforms.NWays is sys.modules["l2l_core.data.transforms"].NWays
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=120)
