"""The import rule: modules import downwards only, and the half below the tasks does without torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import l2l_core
from l2l_core.prepare.readers import VERSIONS

PACKAGE = Path(l2l_core.__file__).parent

# From the bottom up; a module belongs to the layer with its longest prefix, and may import from its own and from those
# below. A new module finds its layer by its name, or needs one here.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "_version", "allocator"),
    ("files", "records"),
    ("fields",),
    ("results",),
    ("catalog",),
    ("fetch",),
    ("store",),
    ("prepare",),
    ("data.sampling", "data.index", "data.batches", "data.choices", "data.arrays"),
    ("data.descriptions",),
    # torch from here on
    ("text.encoders", "text.tokens"),
    ("distributed",),
    ("data",),
    ("modules",),
    ("nn",),
    ("optim",),
    ("algorithms",),
    ("evaluation",),
    ("training",),
    ("vision", "text", "audio", "utils"),
    ("alias",),
    ("cli", "__main__"),
)
FIRST_WITH_TORCH = LAYERS.index(("text.encoders", "text.tokens"))
KINDS = ("generator", "variable", "mixed", "semi_supervised", "incremental", "pretraining", "regression")
WITHOUT_TORCH_TO_IMPORT = (
    *("algorithms", "algorithms.methods", "evaluation", "cli"),
    *(
        "data",
        "data.ahead",
        "data.episodes",
        "data.hierarchy",
        "data.loading",
        "data.sources",
        "data.transforms",
        "data.weighted",
        *(f"data.{kind}" for kind in KINDS),
    ),
)
"""Modules above that line which are nevertheless imported without torch."""
TORCH = {"torch", "torchvision", "torchaudio"}
HEAVY = {"requests", "urllib3", "tqdm", "filelock", "platformdirs", "scipy", "matplotlib", "datasets"}
"""What modules below the tasks import inside functions only, for the commands that do without."""


def modules(package: Path) -> dict[str, ast.Module]:
    """Every module of a package by its name within it ("" for the package itself), parsed."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def imports(name: str, tree: ast.AST, *, is_package: bool = False) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it; ``from a import b`` gives ``a.b``."""
    home = ["l2l_core", *name.split(".")] if name else ["l2l_core"]
    if not is_package:
        home = home[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def layer(name: str) -> int:
    """Number of a module's layer; the package itself stands above all."""
    if not name:
        return len(LAYERS)
    found = [
        (len(prefix), number)
        for number, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if f"{name}.".startswith(f"{prefix}.")
    ]
    assert found, f"l2l_core.{name} is in no layer of tests/test_layering.py; give it one"
    return max(found)[1]


def upward(package: Path) -> list[tuple[str, str]]:
    """(importer, imported) of every import that goes up, names within the package."""
    trees = modules(package)
    found = set()
    for name, tree in trees.items():
        for full_name in imports(name, tree, is_package=(package / name.replace(".", "/")).is_dir()):
            root, _, imported = full_name.partition(".")
            while imported and imported not in trees:  # a function or class: its module
                imported = imported.rpartition(".")[0]
            if root == "l2l_core" and layer(imported) > layer(name):
                found.add((name, imported))
    return sorted(found)


def torch_imports(package: Path) -> list[tuple[str, str]]:
    """(importer, imported) of every import of torch in the layers that do without it, even inside a function."""
    return [
        (name, full_name)
        for name, tree in modules(package).items()
        if layer(name) < FIRST_WITH_TORCH
        for full_name in imports(name, tree)
        if full_name.partition(".")[0] in TORCH
    ]


def test_imports_point_downwards() -> None:
    assert upward(PACKAGE) == []


def test_the_lower_half_never_imports_torch() -> None:
    assert torch_imports(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("errors", "import l2l_core.records", ("errors", "records")),
        ("catalog", "from l2l_core.store import open_store", ("catalog", "store")),
        ("catalog", "def f():\n    from l2l_core.fetch.cache import Cache", ("catalog", "fetch.cache")),
        ("fetch.cache", "from l2l_core import prepare", ("fetch.cache", "prepare")),
        ("fetch.cache", "from ..prepare.build import fetch", ("fetch.cache", "prepare.build")),
        ("data.index", "from .datasets import MetaDataset", ("data.index", "data.datasets")),
        ("data.index", "from . import datasets", ("data.index", "data.datasets")),
        ("data.sampling", "from l2l_core.data import TaskDataset", ("data.sampling", "data")),
        ("modules", "import l2l_core", ("modules", "")),
        ("modules", "from l2l_core import load_dataset", ("modules", "")),
        ("nn", "from . import heads\nfrom ..algorithms import maml", ("nn", "algorithms.maml")),
    ],
)
def test_an_upward_import_is_found(module: str, line: str, expected: tuple[str, str], tmp_path: Path) -> None:
    for name in modules(PACKAGE):
        path = tmp_path / name.replace(".", "/")
        is_package = (PACKAGE / name.replace(".", "/")).is_dir()
        path = path / "__init__.py" if is_package else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line if name == module else "")
    assert upward(tmp_path) == [expected]


@pytest.mark.parametrize(
    "line", ["import torch.nn", "from torchvision import io", "def f():\n    from torch import nn"]
)
def test_an_import_of_torch_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text(line)
    (tmp_path / "modules.py").write_text(line)  # above the line, so free to
    assert [importer for importer, _ in torch_imports(tmp_path)] == ["store"]


def test_a_module_without_a_layer_is_found(tmp_path: Path) -> None:
    (tmp_path / "catalogue.py").write_text("")
    (tmp_path / "errors.py").write_text("import l2l_core.catalogue")
    with pytest.raises(AssertionError, match=r"l2l_core\.catalogue is in no layer"):
        upward(tmp_path)


def loaded_by(program: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after a program."""
    program += "\nimport sys\nprint('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(run.stdout.rpartition("loaded:")[2].split())


def test_importing_the_lower_half_loads_no_torch() -> None:
    names = [name for name in modules(PACKAGE) if name and layer(name) < FIRST_WITH_TORCH]
    assert {"catalog", "fetch.download", "store", "prepare.build", "data.index", "data.sampling"} < set(names)
    assert {f"prepare.readers.{reader}" for reader in VERSIONS} < set(names)
    loaded = loaded_by("\n".join(f"import l2l_core.{name}" for name in names))
    assert {"l2l_core", "numpy"} < loaded
    assert not loaded & (TORCH | HEAVY)
    cli = [name for name in modules(PACKAGE) if name.startswith("cli.")]
    loaded = loaded_by("\n".join(f"import l2l_core.{name}" for name in [*names, *WITHOUT_TORCH_TO_IMPORT, *cli]))
    assert {"l2l_core", "numpy", "typer"} < loaded
    assert not loaded & TORCH


def test_importing_the_package_alone_is_light() -> None:
    loaded = loaded_by("import l2l_core as l2l; l2l.errors; dir(l2l)") - loaded_by("")
    assert loaded - set(sys.stdlib_module_names) == {"l2l_core", "lazy_loader"}


def test_loaded_torch_is_seen() -> None:
    assert "torch" in loaded_by("import l2l_core.modules")
