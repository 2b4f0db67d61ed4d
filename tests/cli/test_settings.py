"""``--set NAME=VALUE``: what a value is, and texts that are no such pair."""

import pytest

from l2l_core.cli.options import parse_settings
from l2l_core.errors import UsageError
from tests.cli.command import Command
from tests.small import SmallData


def test_values_are_json_or_else_texts() -> None:
    texts = ["a=1", "b=0.5", "c=1e-3", "d=null", "e=true", "f=[[0.5, 0.1]]", "g=cosine", 'h="1"', "i=x=y", "j="]
    expected = {"a": 1, "b": 0.5, "c": 1e-3, "d": None, "e": True, "f": [[0.5, 0.1]], "g": "cosine", "h": "1"}
    found = parse_settings(texts)
    assert found == {**expected, "i": "x=y", "j": ""}
    assert [type(found[name]) for name in "ae"] == [int, bool]
    assert parse_settings(None) == parse_settings([]) == {}


@pytest.mark.parametrize("texts", [["decay"], ["=1"], [""], ["a=1", "a=2"], ["a=1", "b=2", "a=1"]])
def test_texts_that_are_no_pair_or_come_twice(texts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(texts)
    assert str(caught.value) == f"found --set {texts[-1]}; give --set NAME=VALUE, each name once"


@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("decay", "found --set decay; give --set NAME=VALUE, each name once"),
        ("decay=fast", "decay = 'fast' was asked for; choose None, 'linear', 'cosine'"),
        ("meta_batch=2.5", "meta_batch = 2.5 was asked for; give a whole number of at least 1"),
        ("scal=2", "unknown setting 'scal' of ProtoNet or its training; did you mean 'scale'"),
    ],
)
def test_a_mistake_is_one_line(l2l: Command, imported: SmallData, setting: str, mistake: str) -> None:
    words = ("train", "small-3w2s", "--method", "protonet", "--episodes", 1, "--set", setting)
    assert l2l(*words).mistake.startswith(mistake)
