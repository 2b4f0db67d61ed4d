"""A word to the C library about large blocks of memory, which a training step frees and asks for again and again."""

import ctypes
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
"""Names of glibc's parameters, from its ``malloc.h``."""


def keep_memory() -> bool:
    """Whether this process now keeps the memory that it frees, for its next allocation.

    Otherwise glibc hands blocks of more than 32 MiB back to the system at once and takes new ones, every page of which
    the system fills with zeros when it is first touched: on a processor, a training step on a few hundred pictures then
    takes up to twice as long (see README). It is a setting of the whole process, so programs make it and libraries do
    not. Some blocks are taken several times over before they are used again, so a process may become larger by a few
    times its largest block. Where there is another C library nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_parameter = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    set_parameter.argtypes, set_parameter.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(set_parameter(_M_MMAP_MAX, 0)) and bool(set_parameter(_M_TRIM_THRESHOLD, 2**31 - 1))
