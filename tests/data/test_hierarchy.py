"""Class hierarchies: superclasses as groups, and the nodes of a graph, against collapsing it step by step."""

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_core.catalog import open_catalog
from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.datasets import MetaDataset, PreparedDataset, load_dataset
from l2l_core.data.hierarchy import Hierarchy, as_hierarchy, graph_hierarchy, superclass_hierarchy, wordnet_hierarchy
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import CatalogError, TaskError, UsageError
from l2l_core.prepare.held import Held
from tests.data.test_tasks import toy
from tests.data.test_variable import numbered, numbered_tensors


def plain(hierarchy: Hierarchy) -> dict[str, list[Hashable]]:
    return {name: list(labels) for name, labels in hierarchy.groups.items()}


def test_superclasses_are_groups() -> None:
    dataset = numbered([4] * 7, ["vowels", "stops", "vowels", "stops", "stops", "nasals", "vowels"])
    hierarchy = superclass_hierarchy(dataset)
    assert plain(hierarchy) == {"vowels": [0, 2, 6], "stops": [1, 3, 4], "nasals": [5]}
    assert not hierarchy.whole
    tasks = VariableTasks(dataset, seed=0, hierarchy=hierarchy, min_ways=1)
    for classes_N in tasks.describe(range(50)).classes_BN.tolist():
        assert len({dataset.superclasses[row] for row in classes_N if row >= 0}) == 1


def test_superclasses_that_are_missing() -> None:
    with pytest.raises(TaskError) as caught:
        superclass_hierarchy(numbered([4] * 3))
    assert str(caught.value) == "numbers has no superclasses; give a Hierarchy of your own groups"
    with pytest.raises(TaskError) as caught:
        superclass_hierarchy(MetaDataset(toy()))
    assert str(caught.value) == "MetaDataset has no superclasses; give a Hierarchy of your own groups"
    with pytest.raises(TaskError) as caught:
        superclass_hierarchy(numbered([4] * 3, ["a", "b"]))
    assert str(caught.value) == "class 'c2' has no superclass; give a Hierarchy of your own groups"


def test_alphabets_of_omniglot_come_first(omniglot_home: Path) -> None:
    dataset = load_dataset("omniglot", "train", "meta-dataset", root=omniglot_home)
    tasks = VariableTasks(MetaDataset(dataset), seed=0, hierarchy=superclass_hierarchy(MetaDataset(dataset)))
    met = set()
    for classes_N in tasks.describe(range(300)).classes_BN.tolist():
        alphabets = {dataset.superclasses[row] for row in classes_N if row >= 0}
        assert len(alphabets) == 1
        met |= alphabets
    assert met == set(dataset.superclasses)
    assert {name.split("/")[1] for name in dataset.classes} == met


def test_a_graph_gives_its_nodes_with_the_classes_below() -> None:
    graph = {
        "thing": ["animal", "plant", "thing that is no class"],
        "animal": ["dog", "pet"],
        "dog": ["c0", "c1"],
        "pet": ["c1", "only"],
        "only": ["c2"],
        "plant": ["tree"],
        "tree": ["c3", "c4"],
        "thing that is no class": ["c9"],
    }
    hierarchy = graph_hierarchy(numbered([4] * 6), graph)
    # `only` has a single child and `plant` too; class c5 is not in the graph, c9 not in the data set.
    assert plain(hierarchy) == {
        "animal": [0, 1, 2],
        "dog": [0, 1],
        "pet": [1, 2],
        "thing": [0, 1, 2, 3, 4],
        "tree": [3, 4],
    }
    assert hierarchy.whole
    assert plain(graph_hierarchy(numbered([4] * 6), graph, largest=3)) == {
        name: labels for name, labels in plain(hierarchy).items() if name != "thing"
    }


def slow_groups(children: Mapping[str, Iterable[str]], classes: set[str]) -> dict[str, set[str]]:
    """Prune what leads to no class, then take out nodes with one child, one at a time, until there is none."""

    def leads(node: str) -> bool:
        return node in classes or any(leads(child) for child in children.get(node, ()))

    below = {node: {child for child in kids if leads(child)} for node, kids in children.items() if leads(node)}
    while single := [node for node, kids in below.items() if len(kids) == 1]:
        node = single[0]
        (child,) = below.pop(node)
        for kids in below.values():
            if node in kids:
                kids.remove(node)
                kids.add(child)

    def reached(node: str) -> set[str]:
        return {node} if node in classes else set().union(*(reached(child) for child in below[node]))

    return {node: reached(node) for node in below}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_slow_collapsing_leaves_the_same_groups(data: st.DataObject) -> None:
    inner = [f"n{number}" for number in range(data.draw(st.integers(1, 9)))]
    leaves = [f"c{number}" for number in range(6)]
    # A node's children come behind it, so that there are no circles.
    children = {
        node: data.draw(st.lists(st.sampled_from([*inner[place + 1 :], *leaves]), unique=True, max_size=4), label=node)
        for place, node in enumerate(inner)
    }
    classes = {f"c{number}" for number in range(4)}
    expected = slow_groups(children, classes)
    if not expected:
        with pytest.raises(TaskError, match="no node of the graph is above 2 to 392 of the 4 classes"):
            graph_hierarchy(numbered([3] * 4), children)
        return
    groups = plain(graph_hierarchy(numbered([3] * 4), children))
    assert groups == {node: sorted(int(name[1:]) for name in found) for node, found in expected.items()}
    assert list(groups) == sorted(groups)


def test_nodes_too_small_are_passed_over_and_too_large_ones_subsampled() -> None:
    graph = {"all": ["few", "c3", "c4", "c5", "c6"], "few": ["c0", "c1", "c2"]}
    dataset = numbered_tensors([4] * 7)
    # Classes of arrays are named by their labels.
    graph = {node: [child.removeprefix("c") for child in kids] for node, kids in graph.items()}
    tasks = VariableTasks(dataset, seed=0, hierarchy=graph_hierarchy(dataset, graph), max_ways=6)
    classes_BN = tasks.describe(range(200)).classes_BN
    assert classes_BN.shape == (200, 6)
    assert {tuple(sorted(classes_N)) for classes_N in classes_BN.tolist()} == {
        tuple(row for row in range(7) if row != left_out) for left_out in range(7)
    }


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"a": ["b"], "b": ["a", "c0"]}, "the graph leads from 'a' back to itself; a hierarchy has no circles"),
        ({"a": ["c0", "c1"], "c0": ["c1"]}, "class 'c0' is above class 'c1'; leave one of them out"),
        (
            {"a": ["c0"]},
            "no node of the graph is above 2 to 392 of the 3 classes, such as 'c0'; name the nodes as the classes are",
        ),
        (
            {},
            "no node of the graph is above 2 to 392 of the 3 classes, such as 'c0'; name the nodes as the classes are",
        ),
    ],
)
def test_graphs_that_are_no_hierarchy(graph: dict[str, list[str]], message: str) -> None:
    with pytest.raises(TaskError) as caught:
        graph_hierarchy(numbered([4] * 3), graph)
    assert str(caught.value) == message


def ancestors(node: str, parents: Mapping[str, set[str]]) -> set[str]:
    """All nodes above a node."""
    return {above for parent in parents.get(node, ()) for above in {parent, *ancestors(parent, parents)}}


def test_wordnet_leads_from_every_class_of_imagenet_to_one_root() -> None:
    catalog = open_catalog()
    graph = catalog.graph("wordnet")
    parents: dict[str, set[str]] = {}
    for parent, children in graph.items():
        for child in children:
            parents.setdefault(child, set()).add(parent)
    splits = [catalog.split(name) for name in ("mini-imagenet", "mini-imagenet-vinyals", "tiered-imagenet")]
    classes = {name for split in splits for name in split.classes()}
    assert len(classes) == 696
    assert not classes & set(graph), "no class is above another"
    assert set(parents) - set(graph) == classes, "what has nothing below it is a class"
    assert {node for node in graph if node not in parents} == {"n00001740"}
    # Ids of WordNet 3.0 that Ren et al. took superclasses from: hound, terrier, feline, snake, aquatic bird.
    split, whole = splits[2], {"hound, hound dog": "n02087551", "terrier": "n02092468", "feline, felid": "n02120997"}
    whole |= {"snake, serpent, ophidian": "n01726692", "aquatic bird": "n01844917"}
    for name, node in whole.items():
        members = {each for each, superclass in split.superclass_of.items() if superclass == name}
        assert members == {each for each in split.classes() if node in ancestors(each, parents)}, name


def test_nodes_of_wordnet_group_the_classes_of_imagenet() -> None:
    names = tuple(sorted(open_catalog().split("tiered-imagenet").classes("train")))
    held = Held("tiered-imagenet", names, "arrays", np.zeros((20 * len(names), 1)), np.arange(len(names) + 1) * 20)
    dataset = ArrayDataset(held)
    hierarchy = wordnet_hierarchy(dataset)
    assert max(map(len, plain(hierarchy).values())) == 351, "the root is not above more classes than may be"
    assert len(plain(wordnet_hierarchy(dataset, largest=50))) < len(plain(hierarchy))
    tasks = VariableTasks(dataset, seed=0, hierarchy=hierarchy)
    ways = {int((classes_N >= 0).sum()) for classes_N in tasks.describe(range(200)).classes_BN}
    assert min(ways) >= 5
    assert max(ways) <= 50
    with pytest.raises(TaskError, match="no node of the graph is above 2 to 392 of the 4 classes, such as 'c0'"):
        wordnet_hierarchy(numbered([4] * 4))


def test_a_graph_that_is_not_there_is_named() -> None:
    with pytest.raises(CatalogError, match=r"metadata/graphs/wordnot\.csv: No such file"):
        open_catalog().graph("wordnot")


def test_superclasses_are_not_those_of_other_classes() -> None:
    dataset = PreparedDataset(
        Held("numbers", ("a", "b"), "arrays", np.zeros((8, 1)), np.array([0, 4, 8])), superclass_of={"a": "x", "b": "y"}
    )
    assert plain(superclass_hierarchy(MetaDataset(dataset))) == {"x": [0], "y": [1]}
    others = MetaDataset(dataset, indices_to_labels={i: i % 4 for i in range(8)})
    with pytest.raises(TaskError, match="MetaDataset has no superclasses; give a Hierarchy of your own groups"):
        superclass_hierarchy(others)


def test_a_root_leaves_out_what_is_not_below_it() -> None:
    graph = {
        "root": ["test_root", "other"],
        "test_root": ["a", "b"],
        "a": ["c0", "c1", "c2"],
        "b": ["c3", "c4", "c5", "c6", "c7"],
        "other": ["c0", "c3", "c5", "elsewhere"],
    }
    dataset = numbered([4] * 8)
    everything = plain(graph_hierarchy(dataset, graph))
    assert set(everything) == {"a", "b", "other", "root", "test_root"}
    assert plain(graph_hierarchy(dataset, graph, root="test_root")) == {
        node: everything[node] for node in ("a", "b", "test_root")
    }
    with pytest.raises(TaskError) as caught:
        graph_hierarchy(dataset, graph, root="c0")
    assert str(caught.value) == "the graph has nothing below 'c0'; name one of its nodes, or None for all"


def test_groups_may_be_gone_through_once() -> None:
    hierarchy = Hierarchy({"a": (label for label in range(6))})
    for _ in range(2):
        assert VariableTasks(numbered([4] * 8), seed=0, hierarchy=hierarchy)[0]


def test_groups_alone_are_a_hierarchy() -> None:
    hierarchy = Hierarchy({"a": [0, 1]}, whole=True)
    assert as_hierarchy(hierarchy) is hierarchy
    assert as_hierarchy({"a": {0: "x", 1: "y"}}) == Hierarchy({"a": [0, 1]})
    tensors = Hierarchy({"a": torch.arange(6)})
    assert plain(tensors) == {"a": list(range(6))}, "labels as a data set has them"


@pytest.mark.parametrize(
    ("groups", "kind", "message"),
    [
        (
            ["a", "b"],
            UsageError,
            "the groups of a Hierarchy came as a list; give a mapping of the name of each group to its labels",
        ),
        ({"a": 5}, UsageError, "group 'a': 5 is no list of labels; give [5] for a single one"),
        (
            {"a": [0], "b": [[1]]},
            TaskError,
            "group 'b': [1] cannot be a label (unhashable type: 'list'); give int",
        ),
    ],
)
def test_groups_that_are_none(groups: Any, kind: type[Exception], message: str) -> None:
    for make in (Hierarchy, as_hierarchy):
        with pytest.raises(kind) as caught:
            make(groups)
        assert str(caught.value).startswith(message)


def test_a_graph_is_a_mapping() -> None:
    with pytest.raises(UsageError) as caught:
        graph_hierarchy(numbered([4] * 3), [("a", "c0"), ("a", "c1")])
    assert str(caught.value) == "the graph came as a list; give a mapping of each parent to its children"


@pytest.mark.parametrize("upwards", [False, True])
def test_a_graph_may_be_as_deep_as_it_likes(upwards: bool) -> None:
    levels = list(range(20_000))
    graph = {f"n{level:05}": [f"n{level + 1:05}", "c2"] if level == 7 else [f"n{level + 1:05}"] for level in levels}
    graph["n20000"] = ["c0", "c1"]
    if upwards:
        graph = dict(reversed(graph.items()))
    assert plain(graph_hierarchy(numbered([4] * 3), graph)) == {"n00007": [0, 1, 2], "n20000": [0, 1]}
    graph["n20000"] = ["n00100", "c0"]
    with pytest.raises(TaskError, match="^the graph leads from 'n.*' back to itself; a hierarchy has no circles$"):
        graph_hierarchy(numbered([4] * 3), graph)
