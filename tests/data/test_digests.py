"""Digests of kinds of episode: the same for the same tasks, another for any other, none where bytes have no name."""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2l_core.data.arrays import ArrayDataset, load_arrays
from l2l_core.data.datasets import MetaDataset, load_dataset
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.mixed import SOURCE, MixedTasks
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.regression import HarmonicTasks, RegressionTasks, SinusoidTasks
from l2l_core.data.semi_supervised import SemiSupervisedTasks
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import UsageError
from tests.data.test_changed_length import Growing
from tests.data.test_tasks import words
from tests.data.test_variable import numbered

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


def test_a_mixture_is_named_by_its_sources_weights_and_seed() -> None:
    def sources(first: int = 0) -> list[Any]:
        return [TaskGenerator(numbered([20] * 8), 5, 1, 5, seed=first), VariableTasks(numbered([20] * 9), 0)]

    def digest(seed: int = 0, first: int = 0, weights: tuple[float, ...] = (1, 4), tasks: int = 8) -> str:
        return MixedTasks(sources(first), seed, weights=weights).digest(tasks)

    assert digest() == digest()
    others = [digest(seed=1), digest(first=1), digest(weights=(1, 2)), digest(tasks=7)]
    assert len({digest(), *others}) == 5
    assert digest(weights=(2, 8)) == digest()
    slow = hashlib.sha256(f"mixed 0 [0.25, 1.0] {' '.join(source.digest(8) for source in sources())} 8".encode())
    for number in range(8):
        slow.update(struct.pack("<q", words(0, SOURCE, number, 1)[0] * 5 >> 64 > 0))
    assert digest() == slow.hexdigest() == "dff0b7eb062e3e4b88ee381b009f702558c0906599e67e86eac2d860065675df"


def test_only_sources_that_are_drawn_from_need_a_digest() -> None:
    named, nameless = TaskGenerator(numbered([20] * 8), 5, 1, 5, seed=0), TaskGenerator(Growing(), 5, 1, 5, seed=0)
    assert MixedTasks([named, nameless], 0, weights=[1, 0]).digest(3)
    with pytest.raises(
        UsageError, match="^only tasks of a prepared data set have a digest; load it with load_dataset$"
    ):
        MixedTasks([named, nameless], 0).digest(3)

    class Own(VariableTasks):
        digest = None  # type: ignore[assignment]

    with pytest.raises(UsageError, match="^source 1 is a Own, which has no digest; leave it out$"):
        MixedTasks([named, Own(numbered([20] * 9), 0)], 0).digest(3)


@pytest.mark.parametrize("kind", [SinusoidTasks, HarmonicTasks])
def test_regression_tasks_are_named_by_the_bits_of_their_numbers(kind: type[RegressionTasks]) -> None:
    digests = [
        kind(3, 4, 0).digest(5),
        kind(4, 3, 0).digest(5),
        kind(3, 4, 1).digest(5),
        kind(3, 4, 0).digest(4),
        kind(3, 4, 0, noise_std=0.1).digest(5),
    ]
    assert len(set(digests)) == 5
    slow = hashlib.sha256(b"regression 3 4 5")
    for part in kind(3, 4, 0).describe(range(5)):
        for number in part.flatten().tolist():
            (bits,) = struct.unpack("<i", struct.pack("<f", number))
            slow.update(struct.pack("<q", bits))
    assert digests[0] == slow.hexdigest()
