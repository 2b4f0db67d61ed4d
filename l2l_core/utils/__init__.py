"""learn2learn's ``utils``: surgery on modules under that name too, settings made flat, and warnings given once.

``utils.lightning`` needs the extra `lightning` and is loaded when it is first asked for.
"""

import argparse
import dataclasses
import importlib
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.modules import (
    accuracy,
    clone_distribution,
    clone_module,
    clone_named_parameters,
    clone_parameters,
    detach_distribution,
    detach_module,
    magic_box,
    update_module,
)

__all__ = [
    "accuracy",
    "clone_distribution",
    "clone_module",
    "clone_named_parameters",
    "clone_parameters",
    "detach_distribution",
    "detach_module",
    "flatten_config",
    "magic_box",
    "update_module",
    "warn_once",
]

_SEVERITIES: Final[Mapping[str, type[Exception]]] = MappingProxyType(
    {"default": UserWarning, "deprecation": DeprecationWarning, "error": RuntimeError}
)
_warned: set[str] = set()


def __getattr__(name: str) -> Any:
    if name == "lightning":
        return importlib.import_module(f"{__name__}.lightning")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def flatten_config(args: object, prefix: str | None = None) -> dict[str, Any]:
    """Nested settings as one dictionary, in order: what is ``args.model.width`` stands under "model.width".

    Args:
        args: a namespace of `argparse`, a dataclass object or a dictionary, of values or of further such settings.
        prefix: goes before every name.

    Mended from learn2learn: dictionaries and dataclasses keep their values, which were all None, and dictionaries may
    nest, which failed.

    Raises:
        UsageError: `args` is none of these, and there is no prefix to put it under; or two settings get one name.
    """
    if isinstance(args, argparse.Namespace):
        inner: Mapping[Any, Any] = vars(args)
    elif isinstance(args, Mapping):
        inner = args
    elif dataclasses.is_dataclass(args) and not isinstance(args, type):
        inner = {field.name: getattr(args, field.name) for field in dataclasses.fields(args)}
    elif prefix is None:
        raise UsageError(
            f"flatten_config was given {type(args).__name__}; give a namespace, a dataclass object or a dictionary"
        )
    else:
        return {prefix: args}
    flat: dict[str, Any] = {}
    for name, value in inner.items():
        for key, setting in flatten_config(value, str(name) if prefix is None else f"{prefix}.{name}").items():
            if key in flat:
                raise UsageError(f"flatten_config found two settings that would both be {key!r}; rename one of them")
            flat[key] = setting
    return flat


def warn_once(message: str, severity: str | None = None) -> None:
    """Nothing; the message is given as a warning, unless this process has been given it before.

    Args:
        message: what to say.
        severity: "default" is a UserWarning, and so is None; "deprecation" a DeprecationWarning.

    Raises:
        RuntimeError: the severity is "error"; every time.
        UnknownNameError: no such severity.
    """
    severity = "default" if severity is None else severity
    if severity not in _SEVERITIES:
        raise UnknownNameError("severity", severity, _SEVERITIES)
    category = _SEVERITIES[severity]
    if not issubclass(category, Warning):
        raise category(message)
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, category, stacklevel=2)
