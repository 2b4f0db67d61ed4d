"""Every error this package raises on purpose. It imports nothing of the package.

L2LError                    catch this one to catch them all
├── UsageError              an argument that cannot be: ways below 1, an unknown method (also a ValueError)
│   └── UnknownNameError    no entry of that name; carries the nearest known names
├── CatalogError            catalog/ or metadata/ is malformed; carries every problem found
├── CacheError              a file, of the cache or one that was asked for, cannot be written: read-only, full
├── FetchError              no source gave the file; carries what each source answered
├── ConsentError            the data comes under terms that nobody has accepted yet
├── ArchiveError            not an archive, cut off, or with a member that must not be unpacked
├── ContentError            the files are readable, but they are not the data set they should be
├── StoreError              a prepared store is absent, damaged or of another version
├── TaskError               no such task can be drawn from this data set (also a ValueError)
├── DivergedError           the training loss is no longer a finite number
└── DistributedError        the processes of a job cannot be joined, or one of them is lost

A message says what was asked, what was found and what to do, in one sentence; the command line prints it as it is.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class L2LError(Exception):
    """Base of every error raised on purpose by this package."""


class UsageError(L2LError, ValueError):
    """An argument has a value that no run could honour."""


class UnknownNameError(UsageError):
    """No entry of that name exists.

    Attributes:
        name: what was asked for; anything but a string resembles no name.
        nearest: known names that resemble it, best first, at most three.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        folded = {known_name.casefold(): known_name for known_name in reversed(names)}
        close = get_close_matches(str(name).casefold(), list(folded), n=3, cutoff=0.6)
        self.name = name
        self.nearest: Sequence[str] = [folded[key] for key in close]
        if self.nearest:
            advice = f"did you mean {' or '.join(repr(near) for near in self.nearest)}?"
        elif names:
            shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
            advice = f"known: {shown}"
        else:
            advice = "none is known"
        super().__init__(f"unknown {kind} {name!r}{' ' + where if where else ''}; {advice}")


class CatalogError(L2LError):
    """The catalogue is malformed.

    Attributes:
        problems: one line each, ``file: field: what is wrong``.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            f"the catalogue has {count} problem{'s' if count > 1 else ''}:\n  " + "\n  ".join(self.problems)
        )


class CacheError(L2LError):
    """A file of the cache, or one that the user asked for, cannot be read or written."""


class FetchError(L2LError):
    """No source gave the file that was asked for."""


class ConsentError(L2LError):
    """A licence asks for the user's consent, which was not given."""


class ArchiveError(L2LError):
    """An archive or folder cannot be read safely."""


class ContentError(L2LError):
    """Readable files that are not the data set they should be."""


class StoreError(L2LError):
    """A prepared store is absent, damaged or of another version."""


class TaskError(L2LError, ValueError):
    """The data set cannot give the task that was asked for."""


class DivergedError(L2LError):
    """The training loss is no longer a finite number."""


class DistributedError(L2LError):
    """The processes of a job cannot be joined, or one of them is lost."""
