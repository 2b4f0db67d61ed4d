"""learn2learn's Lightning modules: their losses against plain computations, their settings, and a Trainer's runs."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

pytest.importorskip("lightning")
from lightning.pytorch import Trainer

from l2l_core.algorithms.lightning import (
    LightningANIL,
    LightningEpisodicModule,
    LightningMAML,
    LightningMetaOptNet,
    LightningPrototypicalNetworks,
)
from l2l_core.data.lightning import TaskDataModule
from l2l_core.errors import UnknownNameError, UsageError
from l2l_core.utils.lightning import EpisodicBatcher, TrackTestAccuracyCallback
from l2l_core.vision.benchmarks import get_tasksets
from tests.data.test_examples import IN_LIGHTNING_ITSELF, QUIET

WAYS, SHOTS, QUERIES, WIDTH = 3, 2, 4, 6
SIZE: dict[str, Any] = {
    f"{stage}_{name}": value
    for stage in ("train", "test")
    for name, value in (("ways", WAYS), ("shots", SHOTS), ("queries", QUERIES))
}


def features() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, WIDTH), nn.BatchNorm1d(WIDTH), nn.Tanh()).double()


def classifier() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(WIDTH, WAYS).double()


MAKERS: dict[str, Callable[..., LightningEpisodicModule]] = {
    "maml": lambda **kw: LightningMAML(nn.Sequential(*features(), classifier()), **kw),
    "anil": lambda **kw: LightningANIL(features(), classifier(), **kw),
    "protonet": lambda **kw: LightningPrototypicalNetworks(features(), **kw),
    "metaoptnet": lambda **kw: LightningMetaOptNet(features(), **kw),
}
EACH = pytest.mark.parametrize("make", list(MAKERS.values()), ids=list(MAKERS))


def task(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and labels, the examples of a class side by side, its support first; classes in the order 2, 0, 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([2, 0, 1]).repeat_interleave(SHOTS + QUERIES)
    inputs = torch.randn(len(labels), 5, generator=generator, dtype=torch.float64)
    return inputs + labels[:, None], labels


def learn(module: LightningEpisodicModule, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return module.meta_learn(batch, 0, WAYS, SHOTS, QUERIES)


def by_hand(name: str, x: Tensor, y: Tensor, steps: int, lr: float) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Loss of a task, its gradients and the parameters: plain tensors, without a module of ours."""
    net, head = features(), classifier()
    leaves = [*net.parameters()] + ([*head.parameters()] if name in ("maml", "anil") else [])
    is_support = (torch.arange(len(y)) % (SHOTS + QUERIES)) < SHOTS

    def embed(params: list[Tensor], inputs: Tensor) -> Tensor:
        weight, bias, scale, shift = params[:4]
        hidden = inputs @ weight.T + bias
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
        return torch.tanh(hidden * scale + shift)

    if name == "protonet":
        embedded = embed(leaves, x)
        means = torch.stack([embedded[is_support & (y == n)].mean(0) for n in range(WAYS)])
        logits = -((embedded[~is_support, None] - means[None]) ** 2).sum(2)
    else:
        adapted = list(leaves)
        # MAML embeds support and query apart, and adapts everything; ANIL at once, and adapts the head.
        at_once = embed(leaves, x)
        for _ in range(steps):
            hidden = at_once[is_support] if name == "anil" else embed(adapted, x[is_support])
            loss = functional.cross_entropy(hidden @ adapted[4].T + adapted[5], y[is_support])
            moving = adapted[4:] if name == "anil" else adapted
            gradients = torch.autograd.grad(loss, moving, create_graph=True)
            moved = [p - lr * g for p, g in zip(moving, gradients, strict=True)]
            adapted = adapted[: -len(moved)] + moved
        hidden = at_once[~is_support] if name == "anil" else embed(adapted, x[~is_support])
        logits = hidden @ adapted[4].T + adapted[5]
    loss = functional.cross_entropy(logits, y[~is_support])
    return loss, list(torch.autograd.grad(loss, leaves)), leaves


@pytest.mark.parametrize("name", ["maml", "anil", "protonet"])
def test_loss_and_gradient_are_those_of_the_paper(name: str) -> None:
    settings = {} if name == "protonet" else {"adaptation_steps": 3, "adaptation_lr": 0.4}
    module = MAKERS[name](**SIZE, **settings)
    x, y = task()
    loss, _ = learn(module, (x, y))
    loss.backward()
    expected, gradients, leaves = by_hand(name, x, y, 3, 0.4)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    parameters = list(module.parameters())
    assert len(parameters) == len(leaves)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)


def test_the_support_vector_machine_is_that_of_nn() -> None:
    from l2l_core.nn.svm import SVClassifier

    module = LightningMetaOptNet(features(), **SIZE, svm_C_reg=0.05, svm_max_iters=9)
    x, y = task()
    loss, accuracy = learn(module, (x, y))
    is_support = (torch.arange(len(y)) % (SHOTS + QUERIES)) < SHOTS
    embedded = features().train()(x)
    head = SVClassifier(embedded[is_support], y[is_support], C_reg=0.05, max_iters=9)
    logits = head(embedded[~is_support])
    torch.testing.assert_close(loss, functional.cross_entropy(logits, y[~is_support]), rtol=1e-8, atol=0)
    assert accuracy == (logits.argmax(1) == y[~is_support]).float().mean()
    assert (module.classifier.C_reg, module.classifier.max_iters) == (0.05, 9)


@EACH
def test_the_order_of_examples_does_not_matter_and_tasks_may_be_stacked(
    make: Callable[..., LightningEpisodicModule],
) -> None:
    module = make(**SIZE)
    x, y = task()
    loss, accuracy = learn(module, (x, y))
    # Support and queries of the classes interleaved; each class in its own order, as that says what is support.
    order = torch.arange(len(y)).reshape(WAYS, -1).T.flatten()
    shuffled, its_accuracy = learn(module, (x[order], y[order]))
    torch.testing.assert_close(shuffled, loss, rtol=1e-10, atol=0)
    assert its_accuracy == accuracy
    others, other_y = task(1)
    both, its_accuracy = learn(module, (torch.stack([x, others]), torch.stack([y, other_y])))
    other, other_accuracy = learn(module, (others, other_y))
    torch.testing.assert_close(both, (loss + other) / 2, rtol=1e-10, atol=0)
    assert torch.isclose(its_accuracy, (accuracy + other_accuracy) / 2)
    assert loss.requires_grad
    assert not accuracy.requires_grad


@EACH
def test_evaluation_leaves_everything_as_it_was(make: Callable[..., LightningEpisodicModule]) -> None:
    module = make(**SIZE)
    trained, _ = learn(module, task())
    assert any("running_mean" in name and buffer.any() for name, buffer in module.named_buffers())
    module.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.inference_mode():
        x, y = task()
        assert x.is_inference()
        loss, _ = learn(module, (x, y))
    torch.testing.assert_close(loss, trained.detach(), rtol=1e-10, atol=0)
    assert not any(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None and parameter.is_leaf for parameter in module.parameters())


@EACH
def test_a_loss_of_one_s_own_is_used(make: Callable[..., LightningEpisodicModule]) -> None:
    given = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        given.append(tuple(logits.shape))
        return 3 * functional.cross_entropy(logits, labels)

    learn(make(loss=loss, **SIZE), task())
    assert given[-1] == (WAYS * QUERIES, WAYS)


def test_settings_come_from_the_command_line_and_are_kept() -> None:
    parent = argparse.ArgumentParser()
    parent.add_argument("--seed", type=int, default=42)
    parser = LightningMAML.add_model_specific_args(parent)
    args = vars(parser.parse_args(["--train_shots", "3", "--adaptation_lr", "0.25", "--seed", "7"]))
    module = LightningMAML(classifier(), **args)
    assert args["seed"] == 7
    assert dict(module.hparams) == {
        **{"train_ways": 5, "train_shots": 3, "train_queries": 1, "test_ways": 5, "test_shots": 1, "test_queries": 1},
        **{"lr": 0.001, "scheduler_step": 20, "scheduler_decay": 1.0, "adaptation_lr": 0.25, "adaptation_steps": 1},
    }
    assert (module.train_shots, module.model.lr, LightningMAML.train_shots) == (3, 0.25, 1)
    args = vars(LightningPrototypicalNetworks.add_model_specific_args(parent).parse_args([]))
    assert args["distance_metric"] == "euclidean"
    args = vars(LightningMetaOptNet.add_model_specific_args(parent).parse_args(["--svm_max_iters", "3"]))
    assert (args["svm_C_reg"], args["svm_max_iters"]) == (0.1, 3)
    assert "distance_metric" not in args
    module = LightningMAML(classifier(), lr=0.3, scheduler_step=2, scheduler_decay=0.5)
    (optimizer,), (schedule,) = module.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == [0.3, 0.3, 0.15, 0.15, 0.075]


def test_mistakes_are_named() -> None:
    for make in (lambda **kw: LightningMAML(classifier(), **kw), lambda **kw: LightningANIL(features(), None, **kw)):
        with pytest.raises(UsageError, match="for train_ways = 4 and test_ways = 5, but its classifier has one number"):
            make(train_ways=4)
    with pytest.raises(UnknownNameError, match="unknown distance 'cosin'; did you mean 'cosine'"):
        LightningPrototypicalNetworks(features(), distance_metric="cosin")
    module = LightningPrototypicalNetworks(features(), **SIZE)
    x, y = task()
    message = (
        r"^the task has 18 examples of 3 classes, but ways = 3, shots = 1 and queries = 4 make 15 of 3; "
        "give the module the numbers that the tasks have$"
    )
    with pytest.raises(UsageError, match=message):
        module.meta_learn((x, y), 0, WAYS, 1, QUERIES)
    with pytest.raises(UsageError, match="but ways = 2, shots = 3 and queries = 6 make 18 of 2; give"):
        module.meta_learn((x, y), 0, 2, 3, 6)
    with pytest.raises(NotImplementedError, match="LightningEpisodicModule is an episodic module without meta_learn"):
        LightningEpisodicModule().training_step((x, y), 0)


@IN_LIGHTNING_ITSELF
@pytest.mark.parametrize("name", list(MAKERS))
def test_a_trainer_trains_and_tests_on_glyphs(name: str, glyphs_home: Path) -> None:
    torch.manual_seed(0)
    size = {f"{stage}_{what}": value for stage in ("train", "test") for what, value in (("shots", 2), ("queries", 4))}
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.BatchNorm1d(32), nn.ReLU())
    kinds = {
        "maml": lambda: LightningMAML(nn.Sequential(net, nn.Linear(32, 5)), lr=0.002, adaptation_lr=0.3, **size),
        "anil": lambda: LightningANIL(net, nn.Linear(32, 5), lr=0.01, adaptation_lr=0.5, **size),
        "protonet": lambda: LightningPrototypicalNetworks(net, lr=0.01, **size),
        "metaoptnet": lambda: LightningMetaOptNet(net, lr=0.01, **size),
    }
    module = kinds[name]()
    tasksets = get_tasksets("glyphs", train_samples=6, test_samples=6, num_tasks=40, root=glyphs_home, seed=0)
    data = EpisodicBatcher(tasksets.train, tasksets.validation, tasksets.test, epoch_length=20)
    trainer = Trainer(max_epochs=2, callbacks=[TrackTestAccuracyCallback()], **QUIET)
    (untrained,) = trainer.test(module, data, verbose=False)
    trainer.fit(module, data)
    assert {"train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "test_loss", "test_accuracy"} <= set(
        trainer.callback_metrics
    )
    (trained,) = trainer.test(module, data, verbose=False)
    assert trained["test_accuracy"] > untrained["test_accuracy"] > 0.2


@IN_LIGHTNING_ITSELF
def test_settings_come_back_from_a_checkpoint_and_tasks_come_in_batches(glyphs_home: Path, tmp_path: Path) -> None:
    tasks = get_tasksets("glyphs", train_samples=3, num_tasks=6, root=glyphs_home, seed=0).train
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
    module = LightningPrototypicalNetworks(net, train_queries=2, test_queries=2, distance_metric="cosine")
    trainer = Trainer(max_epochs=1, **QUIET)
    trainer.fit(module, TaskDataModule(tasks, tasks, batch_size=3))
    assert trainer.global_step == 2
    trainer.save_checkpoint(tmp_path / "module.ckpt")
    again = LightningPrototypicalNetworks.load_from_checkpoint(
        tmp_path / "module.ckpt", features=nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
    )
    assert again.hparams == module.hparams
    assert (again.train_queries, again.distance_metric) == (2, "cosine")
    assert torch.equal(again.features[1].weight, net[1].weight)
    x, y = tasks[0]
    logits = []
    for each in (module, again):
        each.meta_learn((x, y), 0, 5, 1, 2)
        logits.append(each.predict_step(x))
    assert logits[0].shape == (15, 5)
    assert torch.equal(*logits)
