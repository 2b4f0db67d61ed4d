"""``l2l evaluate`` on a trained backbone and ``l2l list weights``: nothing is fetched, the weights are placed."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from l2l_core.data.benchmarks import load_benchmark
from l2l_core.evaluation.embedded import base_mean_of
from l2l_core.evaluation.run import evaluate
from l2l_core.nn import Conv4
from l2l_core.training import build_learner
from tests.cli.command import Command
from tests.small import SmallData


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights of a ResNet-18 where torchvision looks for its own."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torch.manual_seed(0)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "hub/checkpoints/resnet18-f37072fd.pth")


@pytest.mark.usefixtures("placed")
def test_simpleshot_on_torchvision_is_centred_by_the_training_classes(l2l: Command, imported: SmallData) -> None:
    words = ("evaluate", "small-3w2s", "--method", "simpleshot", "--backbone", "torchvision:resnet18", "--json")
    found = l2l(*words, "--episodes", 12).json
    assert found["backbone"] == "torchvision:resnet18"
    benchmark = load_benchmark("small-3w2s")
    learner = build_learner(benchmark, "simpleshot", backbone="torchvision:resnet18").eval()
    train = benchmark.dataset("train")
    with torch.no_grad():
        mean = learner.backbone(train.gather(np.arange(len(train)))).mean(dim=0)
        torch.testing.assert_close(base_mean_of(learner, train), mean, rtol=1e-4, atol=1e-5)
    assert not learner.base_mean.any()
    report = evaluate(benchmark, learner, 12)
    torch.testing.assert_close(learner.base_mean, mean, rtol=1e-4, atol=1e-5)
    assert found["accuracies"] == list(report.accuracies)


def test_only_what_no_training_tells_the_mean_is_given_it(l2l: Command, imported: SmallData) -> None:
    benchmark = load_benchmark("small-3w2s")
    learner = build_learner(benchmark, "simpleshot")
    evaluate(benchmark, learner, 2)
    assert not learner.base_mean.any(), "its backbone learns"
    learner.backbone.requires_grad_(False)
    learner.base_batches += 1
    evaluate(benchmark, learner, 2)
    assert not learner.base_mean.any(), "its training has told it"
    learner.base_batches -= 1
    evaluate(benchmark, learner, 2)
    assert learner.base_mean.any()


def test_the_mean_of_many_examples_is_that_of_some_spread_evenly(
    l2l: Command, imported: SmallData, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load_benchmark("small-3w2s")
    learner, train = build_learner(benchmark, "simpleshot").eval(), benchmark.dataset("train")
    monkeypatch.setattr("l2l_core.evaluation.embedded.BASE_EXAMPLES", 7)
    with torch.no_grad():
        expected = learner.backbone(train.gather(np.array([i * len(train) // 7 for i in range(7)]))).mean(dim=0)
        torch.testing.assert_close(base_mean_of(learner, train), expected)


def test_list_weights_shows_what_the_cards_say(l2l: Command, mine: SmallData) -> None:
    assert not any(row["name"] == "small-3w2s-protonet" for row in l2l("list", "weights", "--json").json)
    zoo = mine.catalog / "metadata/zoo"
    zoo.mkdir(parents=True)
    card = {"method": "protonet", "benchmark": "small-3w2s", "accuracy": 0.9876, "ci95": 0.0012}
    tensors = {f"backbone.{name}": value for name, value in Conv4(hidden=4).state_dict().items()}
    for name, said in (("small-3w2s-protonet", card), ("unmeasured", {"method": "maml", "benchmark": "small-3w2s"})):
        safetensors.torch.save_file(tensors, zoo / f"{name}.safetensors", {"card": json.dumps(said)})
    rows = {row["name"]: row for row in l2l("list", "weights", "--json").json}
    size = (zoo / "small-3w2s-protonet.safetensors").stat().st_size
    assert rows["small-3w2s-protonet"] == {
        **{"name": "small-3w2s-protonet", "method": "protonet", "benchmark": "small-3w2s"},
        **{"accuracy": "98.76 ± 0.12 %", "size": f"{size / 1000:.1f} kB", "size_bytes": size},
    }
    assert rows["unmeasured"]["accuracy"] is None
    (line,) = (line for line in l2l("list", "weights").lines if line.startswith("unmeasured"))
    assert line.split()[:4] == ["unmeasured", "maml", "small-3w2s", "unknown"]
    (zoo / "unmeasured.safetensors").write_bytes(b"")
    assert "holds no weights with a card" in l2l("list", "weights").mistake
