"""Digests of kinds of episode: the same for the same tasks, another for any other, none where bytes have no name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2l_core.data.arrays import ArrayDataset, load_arrays
from l2l_core.data.datasets import MetaDataset, load_dataset
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import UsageError
from tests.data.test_changed_length import Growing

KINDS: dict[str, Callable[[Any, int], Any]] = {
    "variable": lambda dataset, seed: VariableTasks(dataset, seed),
    "semi-supervised": lambda dataset, seed: SemiSupervisedTasks(dataset, seed=seed),
    "incremental": lambda dataset, seed: IncrementalSessions(
        dataset, max(len(dataset.class_index) - 20, 10), 5, 2, 5, seed
    ),
    "plain": lambda dataset, seed: ExampleBatches(dataset, 64, seed),
}


@pytest.fixture
def arrays(glyphs_home: Path) -> ArrayDataset:
    return load_arrays("glyphs", "test", root=glyphs_home)


@pytest.mark.parametrize("kind", KINDS)
def test_a_digest_names_tasks_and_tells_others_apart(kind: str, arrays: ArrayDataset, glyphs_home: Path) -> None:
    make = KINDS[kind]
    digest = make(arrays, 0).digest(4)
    tensors = load_dataset("glyphs", "test", root=glyphs_home)
    assert digest == make(tensors, 0).digest(4) == make(MetaDataset(tensors), 0).digest(4)
    others = [make(arrays, 1).digest(4), make(arrays, 0).digest(3)]
    others.append(make(load_arrays("glyphs", "train", root=glyphs_home), 0).digest(4))
    assert len({digest, *others}) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_name_has_no_digest(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        KINDS[kind](MetaDataset(Growing()), 0).digest(1)
    assert str(caught.value) == "only tasks of a prepared data set have a digest; load it with load_dataset"
