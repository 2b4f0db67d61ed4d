"""Training learners, and what becomes of their weights. The names stand in ``__init__.pyi``, loaded on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
