"""How much memory a step takes, measured in a process of its own."""

import subprocess
import sys
import time
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


def peak_anonymous_mebibytes(code: str, *arguments: object) -> float:
    """The most memory beyond mapped files that a process had that runs Python code; `arguments` is sys.argv[1:].

    The kernel keeps no highest value of that, so it is looked at every few milliseconds.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc/self/status")
    peak_kib = 0
    with subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)]) as process:
        while process.poll() is None:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak_kib = max([peak_kib, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))])
            time.sleep(0.005)
    assert process.returncode == 0
    return peak_kib / 2**10
