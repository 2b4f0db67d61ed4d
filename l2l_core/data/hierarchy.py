"""Class hierarchies, from which Meta-Dataset takes the classes of an episode: related ones, hard to tell apart."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from l2l_core.catalog import open_catalog
from l2l_core.data.arrays import ArrayDataset
from l2l_core.data.sources import source_of
from l2l_core.data.transforms import checked_labels
from l2l_core.errors import TaskError, UsageError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

LARGEST_NODE: Final = 392
"""Nodes of ImageNet's graph above more classes than this are not drawn from: the least bound, as Meta-Dataset's authors
found, that still reaches every class, so that the classes of an episode are as closely related as can be."""


@dataclass(frozen=True)
class Hierarchy:
    """Groups of classes; all classes of an episode come from one group, drawn uniformly.

    Attributes:
        groups: name of each group to the labels of its classes; a class may be in several groups.
        whole: whether an episode has all classes of its group, chosen among only where they are too many, and groups
            of too few classes are passed over, as on ImageNet; else the number of ways is drawn, as on Omniglot.

    Raises:
        UsageError: the groups are no mapping, or a group is no list of labels.
        TaskError: a label cannot tell classes apart.
    """

    groups: Mapping[str, Iterable[Hashable]]
    whole: bool = False

    def __post_init__(self) -> None:
        _check_mapping("the groups of a Hierarchy", self.groups, "the name of each group to its labels")
        # What can be gone through once only would be empty the second time.
        groups = {name: tuple(checked_labels(labels, f"group {name!r}")) for name, labels in self.groups.items()}
        object.__setattr__(self, "groups", groups)


def as_hierarchy(groups: Hierarchy | Mapping[str, Iterable[Hashable]]) -> Hierarchy:
    """The hierarchy, or one of these groups; raises as `Hierarchy` does."""
    return groups if isinstance(groups, Hierarchy) else Hierarchy(groups)


def superclass_hierarchy(dataset: "ArrayDataset | Dataset[Any]") -> Hierarchy:
    """The superclasses of a prepared data set as groups: Omniglot's alphabets, tiered-ImageNet's categories.

    Raises:
        TaskError: the data set has no superclasses, or a class has none.

    Source: Triantafillou et al. (2020), Meta-Dataset, §3.2.
    """
    inner: Any = getattr(dataset, "dataset", dataset)
    superclasses = getattr(inner, "superclasses", ())
    index = source_of(dataset).class_index
    # Classes that somebody else made of the examples are not those that the superclasses are of.
    if not any(superclasses) or index is not inner.class_index:
        raise TaskError(f"{_name(dataset)} has no superclasses; give a Hierarchy of your own groups")
    groups: dict[str, list[Hashable]] = {}
    for row, superclass in enumerate(superclasses):
        if not superclass:
            raise TaskError(f"class {index.name(row)!r} has no superclass; give a Hierarchy of your own groups")
        groups.setdefault(superclass, []).append(index.labels[row])
    return Hierarchy(groups)


def wordnet_hierarchy(dataset: "ArrayDataset | Dataset[Any]", largest: int = LARGEST_NODE) -> Hierarchy:
    """The nodes of WordNet above the classes of mini-ImageNet or tiered-ImageNet as groups; see `graph_hierarchy`.

    Args:
        dataset: its classes are named by WordNet ids, such as n02085620.
        largest: nodes above more classes are left out.

    Raises:
        TaskError: no node is above 2 to `largest` of the classes.

    Source: Miller (1995), WordNet, CACM 38(11); the relation "is a" of WordNet 3.0 (copyright 2006 by Princeton
    University), as far as it leads up from these classes. Drawn from as by Triantafillou et al. (2020), §3.2.
    """
    return graph_hierarchy(dataset, open_catalog().graph("wordnet"), largest)


def graph_hierarchy(
    dataset: "ArrayDataset | Dataset[Any]",
    children: Mapping[str, Iterable[str]],
    largest: int = LARGEST_NODE,
    root: str | None = None,
) -> Hierarchy:
    """The inner nodes of a graph as groups, each of the classes below it: for ImageNet and the like.

    Only nodes above some class of the data set count. One with a single child left is taken out and the child put in
    its place, since it would only come as a second group of the same classes. Groups are in the order of their names.

    Args:
        dataset: its class names are nodes of the graph.
        children: name of each parent to those of its children; a node may have several parents.
        largest: nodes above more classes are left out.
        root: where to begin: nodes that are not below it are left out, as Meta-Dataset does with a node for each of its
            validation and test subsets. None for the whole graph.

    Raises:
        UsageError: `children` is no mapping.
        TaskError: there is no such root, the graph has a circle, a class is above another, or no node is above 2 to
            `largest` classes.

    Source: Triantafillou et al. (2020), Meta-Dataset, §3.2 and the appendix on ImageNet.
    """
    _check_mapping("the graph", children, "each parent to its children")
    index = source_of(dataset).class_index
    label_of = {index.name(row): label for row, label in enumerate(index.labels)}
    children = {node: tuple(nodes) for node, nodes in children.items()}
    if root is not None and root not in children:
        raise TaskError(f"the graph has nothing below {root!r}; name one of its nodes, or None for all")
    stands_for: dict[str, str | None] = {}
    """What is in the place of each node done: itself, its single child, or nothing where no class is below."""
    classes_of: dict[str, frozenset[str]] = {}
    """The classes at and below each node that stands for itself."""
    for node in _children_first(children, children if root is None else [root]):
        kept = {place for child in children.get(node, ()) if (place := stands_for[child]) is not None}
        below = frozenset[str]().union(*(classes_of[place] for place in kept))
        if node in label_of:
            if below:
                raise TaskError(f"class {node!r} is above class {min(below)!r}; leave one of them out")
            stands_for[node], classes_of[node] = node, frozenset([node])
        elif len(kept) > 1:
            stands_for[node], classes_of[node] = node, below
        else:
            stands_for[node] = next(iter(kept), None)
    groups = {node: classes_of[node] for node in sorted(classes_of) if node not in label_of}
    labels = {
        node: [label for name, label in label_of.items() if name in classes]
        for node, classes in groups.items()
        if len(classes) <= largest
    }
    if not labels:
        raise TaskError(
            f"no node of the graph is above 2 to {largest} of the {len(label_of)} classes, such as "
            f"{next(iter(label_of))!r}; name the nodes as the classes are"
        )
    return Hierarchy(labels, whole=True)


def _children_first(children: Mapping[str, Iterable[str]], starts: Iterable[str]) -> Iterator[str]:
    """Each node at or below some others once, behind all its children.

    Raises:
        TaskError: the graph has a circle.
    """
    done: set[str] = set()
    for start in starts:
        # The nodes from there down to where we are, each with the children still to be seen: however many, as a
        # function that calls itself could not go down.
        way = {start: iter(children.get(start, ()))} if start not in done else {}
        while way:
            node, left = next(reversed(way.items()))
            for child in left:
                if child in way:
                    raise TaskError(f"the graph leads from {child!r} back to itself; a hierarchy has no circles")
                if child not in done:
                    way[child] = iter(children.get(child, ()))
                    break
            else:
                del way[node]
                done.add(node)
                yield node


def _check_mapping(what: str, value: object, of: str) -> None:
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} came as a {type(value).__name__}; give a mapping of {of}")


def _name(dataset: object) -> str:
    return str(getattr(dataset, "name", type(dataset).__name__))
