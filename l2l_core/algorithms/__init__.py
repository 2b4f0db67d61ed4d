"""Few-shot algorithms: learners by name, and their parts. The names stand in ``__init__.pyi``, loaded on first use."""

import lazy_loader

_getattr, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = _getattr
# Those for Lightning need an extra, which `from l2l_core.algorithms import *` must not.
__all__ = [name for name in _names if not name.startswith("Lightning")]
