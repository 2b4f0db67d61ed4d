"""Memory that is kept, in a process of its own."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from l2l_core.allocator import keep_memory

if sys.argv[1] == "kept":
    assert keep_memory()
def fill(times):
    for _ in range(times):
        torch.ones(2**26, dtype=torch.uint8)
fill(20)  # until what lies between the blocks has found its place
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill(4)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    line = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_memory_that_is_kept_is_not_filled_with_zeros_again() -> None:
    # 64 MiB are at least 32 pages, however large the system makes them.
    assert faults("as it is") >= 4 * 32
    assert faults("kept") < 32
