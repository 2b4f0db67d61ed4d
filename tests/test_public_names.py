"""The public names: that what is listed is there, is documented, and nothing is listed twice."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import l2l_core
import l2l_core as l2l

LISTS = (
    "l2l_core",
    *(
        f"l2l_core.{package}"
        for package in ("data", "vision", "text", "audio", "evaluation", "algorithms", "nn", "optim", "utils")
    ),
)
MODULES = ("l2l_core", *(module.name for module in pkgutil.walk_packages(l2l_core.__path__, "l2l_core.")))


def members(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public functions and classes that a module defines, and the public methods and properties of these classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield name, value
            for inner_name, inner in vars(value).items():
                inner = inner.__func__ if isinstance(inner, classmethod | staticmethod) else inner
                if not inner_name.startswith("_") and (inspect.isroutine(inner) or isinstance(inner, property)):
                    yield f"{name}.{inner_name}", inspect.getattr_static(value, inner_name)
        elif inspect.isroutine(value):
            yield name, value


def undocumented(module: ModuleType) -> list[str]:
    """Names of what a module leaves without a docstring of its own."""
    missing = [] if (module.__doc__ or "").strip() else [module.__name__]
    for name, value in members(module):
        text = value.__doc__ or ""
        # A dataclass without a docstring is given its signature for one.
        if not text.strip() or text.startswith(f"{name}("):
            missing.append(f"{module.__name__}.{name}")
    return missing


@pytest.mark.parametrize("package", LISTS)
def test_every_listed_name_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
            assert (value.__doc__ or "").strip(), f"{package}.{name} has no docstring"
    assert set(module.__all__) - {"__version__"} <= set(dir(module))
    namespace: dict[str, object] = {}
    exec(f"from {package} import *", namespace)
    assert set(module.__all__) <= set(namespace)
    with pytest.raises(AttributeError):
        _ = module.no_such_name


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_and_documents_what_it_defines(name: str) -> None:
    if name == "l2l_core.__main__":
        return  # importing it runs the command
    assert undocumented(importlib.import_module(name)) == []


def test_the_walk_finds_the_modules() -> None:
    assert {"l2l_core.catalog", "l2l_core.fetch.cache", "l2l_core.cli.list_command", "l2l_core.nn.heads"} < set(MODULES)


def test_a_missing_docstring_is_found() -> None:
    source = """
from dataclasses import dataclass
from collections import OrderedDict

def silent(): pass
def _private(): pass

@dataclass
class Bare:
    number: int
    @property
    def half(self): return self.number / 2
    @classmethod
    def make(cls): return cls(1)
    def _inner(self): pass

class Told:
    "Has one."
    def run(self): "Has one too."
"""
    module = ModuleType("silent")
    exec(source, vars(module))
    assert undocumented(module) == ["silent", "silent.silent", "silent.Bare", "silent.Bare.half", "silent.Bare.make"]


def test_the_version_is_that_of_the_installed_package() -> None:
    assert l2l_core.__version__ == version("l2l-core")


def test_the_names_work_under_the_usual_alias() -> None:
    from l2l_core.data.datasets import MetaDataset
    from l2l_core.data.tasks import TaskDataset
    from l2l_core.evaluation.run import evaluate
    from l2l_core.modules import clone_module

    assert l2l.data.TaskDataset is l2l.TaskDataset is TaskDataset
    assert l2l.data.MetaDataset is l2l.MetaDataset is MetaDataset
    assert l2l.evaluate is l2l.evaluation.evaluate is evaluate
    assert l2l.clone_module is l2l.modules.clone_module is clone_module
    assert l2l.algorithms.MAML is importlib.import_module("l2l_core.algorithms.maml").MAML


@pytest.mark.parametrize(
    "stub", sorted(Path(l2l_core.__file__).parent.rglob("*.pyi")), ids=lambda path: path.parent.name
)
def test_type_checkers_see_what_a_stub_lists(stub: Path) -> None:
    imports = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert imports
    # Only `import name as name` exports a name from a stub.
    assert [alias.name for node in imports for alias in node.names if alias.asname != alias.name] == []
