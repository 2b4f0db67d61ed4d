"""learn2learn's utilities: that the old names are the modules' own, flat settings, and warnings given once."""

import argparse
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest

from l2l_core import modules, utils
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.utils import flatten_config, warn_once


@dataclass
class Model:
    width: int = 8
    sizes: tuple[int, ...] = (1, 2)


@dataclass
class Run:
    lr: float = 0.5
    model: Model = field(default_factory=Model)
    more: dict[str, Any] = field(default_factory=lambda: {"a": None, "b": {"c": "text"}})


def test_the_names_are_those_of_modules() -> None:
    own = {"flatten_config", "warn_once"}
    assert own < set(utils.__all__)
    for name in set(utils.__all__) - own:
        assert getattr(utils, name) is getattr(modules, name)
    assert utils.lightning.EpisodicBatcher.__module__ == "l2l_core.utils.lightning"
    with pytest.raises(AttributeError, match=r"module 'l2l_core.utils' has no attribute 'lightening'"):
        _ = utils.lightening


def test_settings_become_flat() -> None:
    flat = {"lr": 0.5, "model.width": 8, "model.sizes": (1, 2), "more.a": None, "more.b.c": "text"}
    assert flatten_config(Run()) == flat
    assert list(flatten_config(Run())) == list(flat)
    assert flatten_config(argparse.Namespace(run=Run(), seed=3)) == {f"run.{k}": v for k, v in flat.items()} | {
        "seed": 3
    }
    assert flatten_config({"x": {1: {"y": 2}}, "empty": {}}) == {"x.1.y": 2}
    assert flatten_config(argparse.Namespace(a=1), "p") == {"p.a": 1}
    assert flatten_config(7, "p") == {"p": 7}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (7, "flatten_config was given int; give a namespace, a dataclass object or a dictionary"),
        (Run, "flatten_config was given type; give a namespace, a dataclass object or a dictionary"),
        ({"a.b": 1, "a": {"b": 2}}, "flatten_config found two settings that would both be 'a.b'; rename one of them"),
    ],
)
def test_what_is_no_settings_says_so(args: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        flatten_config(args)
    assert str(caught.value) == message


def test_a_warning_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "_warned", set())
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        for _ in range(3):
            warn_once("one")
            warn_once("two", "deprecation")
            warn_once("three", severity="default")
    assert [(str(each.message), each.category) for each in given] == [
        ("one", UserWarning),
        ("two", DeprecationWarning),
        ("three", UserWarning),
    ]
    assert {each.filename for each in given} == {__file__}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="^four$"):
            warn_once("four", "error")
    with pytest.raises(UnknownNameError, match="unknown severity 'eror'; did you mean 'error'"):
        warn_once("one", "eror")
