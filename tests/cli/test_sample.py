"""``l2l sample``: the episodes of the Python `TaskGenerator`, as text, JSON and a picture."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from l2l_core.cli import sample_command
from l2l_core.data.datasets import load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.records import Subset
from tests.cli.command import Command
from tests.small import CLASSES, SmallData


def _check(found: dict[str, Any], number: int, *form: int, subset: Subset = "train") -> None:
    """The line is episode `number` of Python: the examples that it names have these very pixels and classes."""
    dataset = load_dataset("small", subset)
    ways, shots, queries, seed = form
    episode = TaskGenerator(dataset, *form)[number]
    assert (found["episode"], found["seed"]) == (number, seed)
    for ids, each, pictures in (
        (found["support"], shots, episode.support_x),
        (found["query"], queries, episode.query_x),
    ):
        assert np.shape(ids) == (ways, each)
        examples = [[dataset[i] for i in row] for row in ids]
        assert torch.equal(torch.stack([picture for row in examples for picture, _ in row]), pictures)
        assert [{dataset.classes[label] for _, label in row} for row in examples] == [{n} for n in found["classes"]]


def test_json_lines_agree_with_the_pictures_of_python(l2l: Command, imported: SmallData) -> None:
    form = ("--ways", 3, "--shots", 2, "--queries", 4, "--seed", 11, "--json")
    found = [json.loads(line) for line in l2l("sample", "small", *form, "--start", 5, "--episodes", 3).lines]
    for line, number in zip(found, (5, 6, 7), strict=True):
        _check(line, number, 3, 2, 4, 11)
    first = [json.loads(line) for line in l2l("sample", "small", *form, "--episodes", 6).lines]
    assert first[5] == found[0]


def test_many_episodes_come_in_order(l2l: Command, imported: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("sample", "small", "--ways", 2, "--queries", 1, "--episodes", 7, "--start", 3, "--json")
    at_once = l2l(*words).lines
    monkeypatch.setattr(sample_command, "_CHUNK", 3)
    assert l2l(*words).lines == at_once
    assert [json.loads(line)["episode"] for line in at_once] == list(range(3, 10))


def test_text_says_the_same(l2l: Command, imported: SmallData) -> None:
    words = ("sample", "small", "--ways", 2, "--queries", 3, "--episodes", 2)
    lines = l2l(*words).lines
    expected = []
    for text in l2l(*words, "--json").lines:
        episode = json.loads(text)
        expected.append(f"episode {episode['episode']}")
        for name, support, query in zip(episode["classes"], episode["support"], episode["query"], strict=True):
            expected.append(f"  {name}: support {' '.join(map(str, support))} | query {' '.join(map(str, query))}")
    assert lines == expected


def test_a_benchmark_brings_its_settings_and_options_override_them(l2l: Command, imported: SmallData) -> None:
    _check(l2l("sample", "small-3w2s", "--json").json, 0, 3, 2, 3, 7, subset="test")
    changed = l2l("sample", "small-3w2s", "--subset", "train", "--ways", 4, "--seed", 1, "--json").json
    _check(changed, 0, 4, 2, 3, 1)


def test_a_data_set_has_5_ways_1_shot_and_its_training_classes(l2l: Command, imported: SmallData) -> None:
    found = l2l("sample", "small", "--queries", 2, "--json").json
    _check(found, 0, 5, 1, 2, 0)
    assert set(found["classes"]) < set(CLASSES[:6])


@pytest.mark.parametrize(("episodes", "drawn"), [(1, 1), (9, 8)])
def test_png(l2l: Command, imported: SmallData, tmp_path: Path, episodes: int, drawn: int) -> None:
    path = tmp_path / "new" / "episode.png"
    done = l2l("sample", "small-3w2s", "--episodes", episodes, "--png", path)
    assert len(done.lines) == 4 * episodes
    assert done.err == f"drew {drawn} of {episodes} episodes into {path}\n"
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.height > 200 * drawn


def test_svg(l2l: Command, imported: SmallData, tmp_path: Path) -> None:
    path = tmp_path / "episode.svg"
    assert l2l("sample", "small-3w2s", "--svg", path).err == f"drew 1 of 1 episodes into {path}\n"
    assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_glyphs_are_here_without_being_fetched(l2l: Command, glyphs_home: Path) -> None:
    found = l2l("sample", "glyphs-5w1s", "--root", glyphs_home, "--json").json
    assert len(found["classes"]) == 5
    assert np.shape(found["query"]) == (5, 15)
