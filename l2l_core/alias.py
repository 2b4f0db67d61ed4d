"""``learn2learn`` as another name of this package, for programs that were written for it.

    import l2l_core
    l2l_core.as_learn2learn()

    import learn2learn as l2l
    from learn2learn.data.transforms import NWays

The modules are this package's own under a second name, not second copies: a class imported either way is the same. So
they cannot be left to the usual search, which would find the same files and run them again. A finder, first in
`sys.meta_path`, answers for every module when it is imported, and not earlier: nothing is loaded that is not used.

learn2learn's programs for Lightning import ``pytorch_lightning``; let them import ``lightning.pytorch`` instead.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import MappingProxyType, ModuleType
from typing import Final

from l2l_core.errors import UsageError

_OURS: Final = "l2l_core"
_THEIRS: Final = "learn2learn"
_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "data.meta_dataset": "data",
        "data.samplers": "data.loaders",
        "data.task_dataset": "data",
        "data.utils": "data",
        "nn.kroneckers": "nn",
        "nn.metalayers": "nn",
        "nn.metaoptnet": "nn",
        "nn.misc": "nn",
        "nn.protonet": "nn",
        "optim.update_rules": "optim",
    }
)
"""learn2learn's modules that have no namesake here, and where their names are."""
_ABSENT: Final[Mapping[str, str]] = MappingProxyType(
    {"gym": "the environments of reinforcement learning are not part of l2l_core"}
)
"""learn2learn's modules whose names are nowhere here, and what to say."""


def as_learn2learn() -> None:
    """Nothing; from now on ``import learn2learn``, and of its modules, gives those of this package, in this process.

    A second call changes nothing.

    Raises:
        UsageError: learn2learn itself is installed, or imported already.
    """
    if any(isinstance(finder, _Learn2Learn) for finder in sys.meta_path):
        return
    try:
        installed = find_spec(_THEIRS)
    except ValueError:  # imported by other means than a file
        installed = ModuleSpec(_THEIRS, None)
    if installed is not None:
        raise UsageError(
            f"l2l_core was asked to answer to the name learn2learn, but learn2learn itself is here "
            f"({installed.origin or 'imported already'}); uninstall it, or import l2l_core as l2l"
        )
    sys.meta_path.insert(0, _Learn2Learn())


class _Learn2Learn(MetaPathFinder):
    """Finds learn2learn's modules by their names here, and by the same names where they have none.

    The latter under ``l2l_core``, too: ``from learn2learn.data import samplers`` asks for ``l2l_core.data.samplers``,
    after the package's own name.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root, _, name = fullname.partition(".")
        if root == _THEIRS:
            ours = fullname.replace(_THEIRS, _OURS, 1)
            return ModuleSpec(fullname, _SameModule(ours)) if find_spec(ours) else None
        if root != _OURS or not (name in _ELSEWHERE or name in _ABSENT) or PathFinder.find_spec(fullname, path):
            return None
        if name in _ABSENT:
            raise ImportError(f"learn2learn.{name} was asked for, but {_ABSENT[name]}", name=fullname)
        return ModuleSpec(fullname, _SameModule(f"{_OURS}.{_ELSEWHERE[name]}"))


class _SameModule(Loader):
    """Loads a module by importing it by its own name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It has run already. The import system has put its own spec in the meantime, with the other name.
        module.__spec__ = self.spec
