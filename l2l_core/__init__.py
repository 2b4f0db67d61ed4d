"""Few-shot data sets, the tasks drawn from them, and a small core of algorithms to evaluate on them.

The names below are loaded when they are first used, so that importing the package, or the half of it that needs no
torch, stays quick. They stand in ``__init__.pyi``.
"""

import lazy_loader

from l2l_core._version import __version__

_getattr, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = _getattr
__all__ = [*_names, "__version__"]
