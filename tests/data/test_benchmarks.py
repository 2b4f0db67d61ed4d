"""Opened protocols: which episodes they give, and what they do with training pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_core.catalog import open_catalog
from l2l_core.data.augment import standard_training
from l2l_core.data.benchmarks import Benchmark, load_benchmark, training_augmentation
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.hierarchy import superclass_hierarchy
from l2l_core.data.variable import VariableTasks
from l2l_core.errors import StoreError
from l2l_core.records import TRAINING_AUGMENTATIONS


def variable(home: Path) -> Benchmark:
    """The drawn glyphs with Meta-Dataset's episodes."""
    benchmark = load_benchmark("glyphs-5w1s", root=home)
    return replace(benchmark, record=replace(benchmark.record, kind="variable", ways=0, shots=0, queries=0))


def test_a_variable_protocol_gives_meta_dataset_s_episodes_of_one_group(glyphs_home: Path) -> None:
    benchmark = variable(glyphs_home)
    tasks, dataset = benchmark.episodes(seed=3), benchmark.dataset()
    assert isinstance(tasks, VariableTasks)
    assert tasks.digest(20) == VariableTasks(dataset, 3, hierarchy=superclass_hierarchy(dataset)).digest(20)
    assert tasks.digest(20) != VariableTasks(dataset, 3).digest(20)
    assert benchmark.episodes().seed == benchmark.record.seed
    for classes_N in tasks.describe(range(20)).classes_BN:
        groups = {dataset.superclasses[row] for row in classes_N[classes_N >= 0]}
        assert len(groups) == 1


def test_a_fixed_protocol_gives_its_ways_shots_and_queries(glyphs_home: Path) -> None:
    tasks = load_benchmark("glyphs-20w5s", root=glyphs_home).episodes()
    assert isinstance(tasks, TaskGenerator)
    assert (tasks.ways, tasks.shots, tasks.queries) == (20, 5, 15)


def test_every_augmentation_has_a_name_and_stays_in_range(glyphs_home: Path) -> None:
    benchmark = load_benchmark("glyphs-5w1s", root=glyphs_home)
    assert TRAINING_AUGMENTATIONS[0] == "none"
    assert list(training_augmentation(benchmark.record)) == []
    for name in TRAINING_AUGMENTATIONS[1:]:
        record = replace(benchmark.record, augmentation=name)
        changed = TaskGenerator(benchmark.dataset("train"), seed=0, augmentations=training_augmentation(record))[0]
        plain = TaskGenerator(benchmark.dataset("train"), seed=0)[0]
        assert changed.support_x.shape == plain.support_x.shape
        assert not torch.equal(changed.support_x, plain.support_x)
        assert 0 <= changed.support_x.min() <= changed.support_x.max() <= 1


def test_crop_flip_jitter_is_what_standard_training_does_before_it_normalises(glyphs_home: Path) -> None:
    benchmark = load_benchmark("glyphs-5w1s", root=glyphs_home)
    record = replace(benchmark.record, augmentation="crop-flip-jitter")
    dataset = benchmark.dataset("train")
    ours = TaskGenerator(dataset, seed=1, augmentations=training_augmentation(record))[0].support_x
    theirs = TaskGenerator(dataset, seed=1, augmentations=standard_training(28, 0.25, 0.5))[0].support_x
    np.testing.assert_allclose((ours - 0.25) / 0.5, theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["mini-imagenet-5w1s", "meta-dataset-cub", "tiered-imagenet-sample-5w5s"])
def test_data_that_is_not_here_names_both_ways_to_get_it(name: str, tmp_path: Path) -> None:
    dataset = open_catalog().benchmark(name).dataset
    with pytest.raises(StoreError) as caught:
        load_benchmark(name, root=tmp_path).episodes()
    assert f"`l2l fetch {dataset}`" in str(caught.value)
    assert f"`l2l import {dataset} PATH`" in str(caught.value)
