"""How much memory a step takes, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest


def resident_mebibytes(before: str, step: str, *arguments: object) -> float:
    """Resident memory that `step` adds after `before` has run; both are Python code, `arguments` is sys.argv[1:]."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc/self/statm")
    code = (
        f"import resource, sys; from pathlib import Path\n{before}\n"
        "resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()\n"
        f"resident(); start = resident()\n{step}\nprint((resident() - start) / 2**20)"
    )
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return float(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def opening_mebibytes(store: Path) -> float:
    """Resident memory that opening a store takes."""
    before = "from l2l_core.store import open_store; path = Path(sys.argv[1])"
    return resident_mebibytes(before, "store = open_store(path)", store)
