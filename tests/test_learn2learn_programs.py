"""Short programs in the manner of learn2learn's documentation, each run under its name: every public name is in one.

They are our own. The data is `glyphs`, which needs no network, where theirs would download Omniglot.
"""

import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from l2l_core.alias import as_learn2learn
from l2l_core.vision.datasets import Pictures
from tests.data.test_examples import IN_LIGHTNING_ITSELF, QUIET


@pytest.fixture(autouse=True)
def _as_learn2learn(glyphs_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The alias, for one program."""
    monkeypatch.setenv("L2L_HOME", str(glyphs_home))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    torch.manual_seed(0)
    before = set(sys.modules)
    as_learn2learn()
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "learn2learn":
            del sys.modules[name]


def regression_task() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1, 1, 12)[:, None]
    return x, torch.sin(3 * x)


def test_cloning_by_hand() -> None:
    import learn2learn as l2l

    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    x, y = regression_task()
    clone = l2l.clone_module(model)
    error = functional.mse_loss(clone(x), y)
    gradients = torch.autograd.grad(error, clone.parameters(), create_graph=True)
    clone = l2l.update_module(clone, updates=[-0.1 * g for g in gradients])
    assert functional.mse_loss(clone(x), y) < error
    functional.mse_loss(clone(x), y).backward()
    assert all(p.grad is not None for p in model.parameters())
    l2l.detach_module(clone, keep_requires_grad=True)
    assert all(p.is_leaf and p.requires_grad for p in clone.parameters())
    log_prob = torch.tensor(-0.5, requires_grad=True)
    (2 * l2l.magic_box(log_prob)).backward()
    assert log_prob.grad == 2


def test_the_utilities_by_their_module() -> None:
    from learn2learn.utils import (
        accuracy,
        clone_distribution,
        clone_module,
        clone_named_parameters,
        clone_parameters,
        detach_distribution,
        detach_module,
        flatten_config,
        magic_box,
        update_module,
        warn_once,
    )
    from torch.distributions import Normal

    model = nn.Linear(2, 2)
    assert len(clone_parameters(list(model.parameters()))) == 2
    assert set(clone_named_parameters(dict(model.named_parameters()))) == {"weight", "bias"}
    for p in model.parameters():
        p.update = torch.ones_like(p)
    clone = clone_module(model)
    for p, q in zip(clone.parameters(), model.parameters(), strict=True):
        p.update = q.update
    assert torch.equal(update_module(clone).bias, model.bias + 1)
    detach_module(clone)
    policy = Normal(model(torch.ones(2)), 1.0)
    assert clone_distribution(policy).loc.requires_grad
    assert not detach_distribution(policy).loc.requires_grad
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 1])) == torch.tensor(2 / 3)
    parser = ArgumentParser()
    parser.add_argument("--lr", default=0.1)
    assert flatten_config(parser.parse_args([])) == {"lr": 0.1}
    assert magic_box("text") == "text"
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        for _ in range(2):
            warn_once("said by a program", severity="deprecation")
    assert len(given) == 1


def test_tasks_of_one_s_own_data() -> None:
    import learn2learn as l2l
    from learn2learn.data.samplers import TasksetSampler
    from learn2learn.data.transforms import (
        ConsecutiveLabels,
        FilterLabels,
        FusedNWaysKShots,
        KShots,
        LoadData,
        NWays,
        RemapLabels,
        TaskTransform,
    )

    data = TensorDataset(torch.randn(120, 4), torch.arange(120) % 6)
    dataset = l2l.data.MetaDataset(data)
    assert sorted(dataset.labels) == list(range(6))
    assert len(dataset.labels_to_indices[0]) == 20
    assert dataset.indices_to_labels[7] == 1
    union = l2l.data.UnionMetaDataset([dataset, l2l.data.FilteredMetaDataset(dataset, [1, 2])])
    assert union[120][1] == 6

    class First(TaskTransform):
        def __call__(self, task_description):
            if task_description is None:
                task_description = self.new_task()
            return task_description[:5]

    transforms = [FilterLabels(dataset, [0, 1, 2, 3]), NWays(dataset, n=3), KShots(dataset, k=4), LoadData(dataset)]
    for remap in ([RemapLabels(dataset), ConsecutiveLabels(dataset)], [RemapLabels(dataset, shuffle=False)]):
        taskset = l2l.data.TaskDataset(dataset, task_transforms=[*transforms, *remap], num_tasks=20)
        for x, y in taskset:
            assert x.shape == (12, 4)
            assert sorted(y.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    fused = l2l.data.Taskset(dataset, [FusedNWaysKShots(dataset, n=2, k=3), LoadData(dataset)])
    x, y = fused.sample()
    (support, support_y), (query, query_y) = l2l.data.partition_task(x, y, shots=1)
    assert (support.shape, query.shape) == ((2, 4), (4, 4))
    description = fused.sample_task_description()
    assert isinstance(description[0], l2l.data.DataDescription)
    assert fused.get_task(description)[0].shape == (6, 4)
    (ids,) = l2l.data.Taskset(dataset, [First(dataset)], num_tasks=1)
    assert ids.tolist() == [0, 1, 2, 3, 4]
    on_device = l2l.data.OnDeviceDataset(data)
    assert len(on_device) == 120
    batches = l2l.data.InfiniteIterator(DataLoader(data, batch_size=60))
    assert len([next(batches) for _ in range(5)]) == 5
    for x, _ in DataLoader(data, batch_sampler=TasksetSampler(taskset)):
        assert x.shape == (12, 4)


def test_data_sets_and_benchmarks_of_pictures() -> None:
    import learn2learn as l2l
    from learn2learn.vision.transforms import RandomClassRotation

    names = {
        *("FullOmniglot", "MiniImagenet", "TieredImagenet", "CIFARFS", "FC100", "VGGFlower102", "FGVCAircraft"),
        *("CUBirds200", "DescribableTextures", "Quickdraw", "FGVCFungi"),
    }
    import learn2learn.vision.datasets

    assert all(issubclass(getattr(l2l.vision.datasets, name), Pictures) for name in names)
    for name in names:
        with pytest.raises(l2l.errors.StoreError, match="get it with"):
            getattr(l2l.vision.datasets, name)("nowhere")
    from learn2learn.text.datasets import NewsClassification

    with pytest.raises(l2l.errors.StoreError, match="get it with"):
        NewsClassification("nowhere", train=True, transform=None, download=False)

    assert {"omniglot", "mini-imagenet", "tiered-imagenet", "fc100", "cifarfs"} <= set(
        l2l.vision.benchmarks.list_tasksets()
    )
    tasksets = l2l.vision.benchmarks.get_tasksets("glyphs", train_ways=3, train_samples=4, test_ways=2, num_tasks=5)
    assert tasksets.train.sample()[0].shape == (12, 1, 28, 28)
    assert tasksets.validation.sample()[0].shape == tasksets.test.sample()[0].shape == (20, 1, 28, 28)
    dataset = tasksets.train.dataset
    steps = [*tasksets.train.task_transforms, RandomClassRotation(dataset, [0.0, 90.0, 180.0, 270.0])]
    assert l2l.data.Taskset(dataset, steps, num_tasks=2)[1][0].shape == (12, 1, 28, 28)


def test_maml_with_the_arange_idiom() -> None:
    import learn2learn as l2l

    ways, shots = 3, 2
    tasks = l2l.vision.benchmarks.get_tasksets("glyphs", train_ways=ways, train_samples=2 * shots, num_tasks=50).train
    maml = l2l.algorithms.MAML(nn.Sequential(nn.Flatten(), nn.Linear(784, ways)), lr=0.1, first_order=False)
    optimizer = torch.optim.Adam(maml.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        for _ in range(2):
            data, labels = tasks.sample()
            is_support = torch.zeros(len(data), dtype=torch.bool)
            is_support[torch.arange(shots * ways) * 2] = True
            learner = maml.clone()
            learner.adapt(functional.cross_entropy(learner(data[is_support]), labels[is_support]))
            error = functional.cross_entropy(learner(data[~is_support]), labels[~is_support])
            error.backward()
        for p in maml.parameters():
            p.grad.mul_(1.0 / 2)
        optimizer.step()
    assert error.isfinite()
    assert isinstance(learner.module[1], nn.Linear)
    x, y = regression_task()
    model = nn.Linear(1, 1)
    gradients = torch.autograd.grad(functional.mse_loss(model(x), y), model.parameters(), create_graph=True)
    assert l2l.algorithms.maml_update(model, 0.1, gradients) is model


@IN_LIGHTNING_ITSELF
def test_lightning() -> None:
    pytest.importorskip("lightning")
    import learn2learn as l2l
    import lightning.pytorch as pl
    from learn2learn.algorithms.lightning import (
        LightningANIL,
        LightningEpisodicModule,
        LightningMAML,
        LightningMetaOptNet,
        LightningPrototypicalNetworks,
    )
    from learn2learn.utils.lightning import EpisodicBatcher, NoLeaveProgressBar, TrackTestAccuracyCallback

    parser = LightningMAML.add_model_specific_args(ArgumentParser())
    args = parser.parse_args(["--train_queries", "2", "--test_queries", "2", "--adaptation_lr", "0.5"])
    tasksets = l2l.vision.benchmarks.get_tasksets("glyphs", train_samples=3, test_samples=3, num_tasks=10)
    features, classifier = nn.Sequential(nn.Flatten(), nn.Linear(784, 8)), nn.Linear(8, 5)
    for module in (
        LightningMAML(nn.Sequential(features, classifier), **vars(args)),
        LightningANIL(features, classifier, **vars(args)),
        LightningPrototypicalNetworks(features, **vars(args)),
        LightningMetaOptNet(features, **vars(args)),
    ):
        assert isinstance(module, LightningEpisodicModule)
        data = EpisodicBatcher(tasksets.train, tasksets.validation, tasksets.test, epoch_length=2)
        options = {**QUIET, "enable_progress_bar": True}
        callbacks = [NoLeaveProgressBar(), TrackTestAccuracyCallback()]
        trainer = pl.Trainer(max_epochs=1, callbacks=callbacks, log_every_n_steps=1, **options)
        trainer.fit(module, data)
        assert 0 <= trainer.callback_metrics["test_accuracy"] <= 1


def test_prototypes() -> None:
    import learn2learn as l2l

    support, labels = torch.randn(6, 4), torch.tensor([2, 0, 1, 0, 2, 1])
    classifier = l2l.nn.PrototypicalClassifier(support=support, labels=labels, distance="euclidean")
    assert torch.allclose(classifier.prototypes[0], support[[1, 3]].mean(0))
    assert classifier(support).shape == (6, 3)
    cosine = l2l.nn.PrototypicalClassifier(distance="cosine")
    cosine.fit_(support, labels)
    assert cosine(support).abs().max() <= 1 + 1e-6


# What follows uses names that other files wire up.


def test_every_public_name_is_where_it_was() -> None:
    import learn2learn as l2l

    names = {
        "": "magic_box clone_module detach_module update_module clone_parameters clone_named_parameters",
        "data": "MetaDataset UnionMetaDataset FilteredMetaDataset Taskset TaskDataset DataDescription OnDeviceDataset "
        "InfiniteIterator partition_task",
        "algorithms": "MAML maml_update MetaSGD meta_sgd_update GBML",
        "nn": "Lambda Flatten Scale freeze unfreeze PrototypicalClassifier SVClassifier KroneckerLinear KroneckerRNN "
        "KroneckerLSTM kronecker_addmm MetaModule ParameterTransform",
        "optim": "LearnableOptimizer ParameterUpdate DifferentiableSGD",
        "optim.transforms": "ModuleTransform ReshapedTransform KroneckerTransform MetaCurvatureTransform "
        "TransformDictionary",
        "vision.models": "get_pretrained_backbone fc_init_ maml_init_ ConvBlock ConvBase OmniglotFC OmniglotCNN CNN4 "
        "MiniImagenetCNN CNN4Backbone ResNet12 ResNet12Backbone WRN28 WRN28Backbone",
        "vision.transforms": "RandomClassRotation",
        "vision.benchmarks": "list_tasksets get_tasksets",
        "vision.datasets": "FullOmniglot MiniImagenet",
        "text.datasets": "NewsClassification",
        "utils": "accuracy flatten_config warn_once clone_distribution detach_distribution",
    }
    missing = []
    for module, listed in names.items():
        for name in listed.split():
            value = l2l
            for part in [*filter(None, module.split(".")), name]:
                value = getattr(value, part, None)
            missing += [f"{module}.{name}"] if value is None else []
    assert missing == []


def test_models_of_pictures() -> None:
    import learn2learn as l2l
    from learn2learn.vision.models import CNN4, WRN28, OmniglotCNN, OmniglotFC, ResNet12

    x = torch.randn(2, 1, 28, 28)
    for model in (OmniglotFC(28**2, output_size=5), OmniglotCNN(output_size=5, hidden_size=8, layers=4)):
        assert model(x).shape == (2, 5)
        assert torch.allclose(model.classifier(model.features(x)), model(x))
    assert CNN4(5, hidden_size=8, embedding_size=5 * 5 * 8)(torch.randn(2, 3, 84, 84)).shape == (2, 5)
    assert l2l.vision.models.MiniImagenetCNN is CNN4
    assert l2l.vision.models.ConvBase(hidden=4, channels=1, max_pool=True)(x).shape[:2] == (2, 4)
    assert isinstance(l2l.vision.models.ConvBlock(1, 4, (3, 3)), nn.Module)
    for model in (ResNet12(output_size=5), WRN28(output_size=5)):
        assert model.features is not None
        assert model.classifier(torch.randn(2, 640)).shape == (2, 5)
    for backbone in ("CNN4Backbone", "ResNet12Backbone", "WRN28Backbone"):
        assert issubclass(getattr(l2l.vision.models, backbone), nn.Module)
    layer = l2l.vision.models.fc_init_(nn.Linear(3, 2))
    assert not layer.bias.any()
    assert not l2l.vision.models.maml_init_(nn.Linear(3, 2)).bias.any()


def test_layers() -> None:
    import learn2learn as l2l

    x = torch.randn(3, 2, 2)
    assert l2l.nn.Lambda(lambda t: t + 1)(x).equal(x + 1)
    assert l2l.nn.Flatten()(x).shape == (3, 4)
    assert l2l.nn.Scale(shape=4, alpha=2.0)(torch.ones(4)).tolist() == [2.0] * 4
    net = nn.Linear(4, 4)
    l2l.nn.freeze(net)
    assert not net.weight.requires_grad
    l2l.nn.unfreeze(net)
    assert net.weight.requires_grad
    svm = l2l.nn.SVClassifier(torch.randn(6, 8), torch.arange(6) % 3, ways=3, C_reg=0.1, max_iters=15)
    assert svm(torch.randn(5, 8)).shape == (5, 3)
    assert l2l.nn.KroneckerLinear(2, 3)(torch.randn(4, 2, 3)).shape == (4, 2, 3)
    out, hidden = l2l.nn.KroneckerRNN(2, 3)(torch.randn(2, 3), torch.zeros(2, 3))
    assert out.shape == hidden.shape == (2, 3)
    out, _ = l2l.nn.KroneckerLSTM(2, 3)(torch.randn(2, 3), (torch.zeros(2, 3), torch.zeros(2, 3)))
    assert out.shape == (2, 3)
    assert l2l.nn.kronecker_addmm(torch.eye(2), torch.eye(2), torch.ones(2, 2), bias=torch.ones(2, 2)).eq(2).all()


def test_meta_modules() -> None:
    import learn2learn as l2l

    class Scaled(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module, self.by = module, nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.by * self.module(x)

    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    meta = l2l.nn.MetaModule(net, {nn.Linear: Scaled}, freeze_module=True)
    assert meta(torch.ones(1, 4)).shape == (1, 2)
    assert len(list(meta.meta_parameters())) == 2
    assert isinstance(meta.module(), nn.Sequential)

    class Add(nn.Module):
        def __init__(self, param):
            super().__init__()
            self.delta = nn.Parameter(torch.ones_like(param))

        def forward(self, param):
            return param + self.delta

    layer = nn.Linear(2, 1)
    shifted = l2l.nn.ParameterTransform(layer, Add)
    assert torch.allclose(shifted(torch.ones(1, 2)), layer(torch.ones(1, 2)) + 3)


def test_meta_sgd_and_gbml() -> None:
    import learn2learn as l2l

    x, y = regression_task()
    net = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    transform = l2l.optim.ModuleTransform(nn.Linear)
    for learner in (
        l2l.algorithms.MetaSGD(net, lr=0.1),
        l2l.algorithms.GBML(net, transform, lr=0.1, adapt_transform=False),
        l2l.algorithms.GBML(net, l2l.optim.MetaCurvatureTransform, lr=0.1, first_order=True),
    ):
        clone = learner.clone()
        for _ in range(2):
            clone.adapt(functional.mse_loss(clone(x), y))
        functional.mse_loss(clone(x), y).backward()
        assert all(p.grad is not None for p in net.parameters())
    model = nn.Linear(1, 1)
    gradients = torch.autograd.grad(functional.mse_loss(model(x), y), model.parameters(), create_graph=True)
    rates = [torch.full_like(p, 0.1) for p in model.parameters()]
    assert l2l.algorithms.meta_sgd_update(model, lrs=rates, grads=gradients) is model


def test_learned_optimisers() -> None:
    import learn2learn as l2l
    from learn2learn.optim.transforms import KroneckerTransform, ReshapedTransform, TransformDictionary

    x, y = regression_task()
    net = nn.Linear(1, 1)
    optimizer = l2l.optim.LearnableOptimizer(net, l2l.optim.ModuleTransform(nn.Linear), lr=0.1)
    of_optimizer = torch.optim.SGD(optimizer.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        of_optimizer.zero_grad()
        functional.mse_loss(net(x), y).backward()
        of_optimizer.step()
        optimizer.step()

    net = nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 1))
    update = l2l.optim.ParameterUpdate(net.parameters(), KroneckerTransform(l2l.nn.KroneckerLinear, bias=True))
    clone = l2l.clone_module(net)
    updates = update(functional.mse_loss(clone(x), y), clone.parameters(), create_graph=True, retain_graph=True)
    l2l.optim.DifferentiableSGD(lr=0.1)(clone, updates)
    functional.mse_loss(clone(x), y).backward()
    assert all(p.grad is not None for p in net.parameters())
    reshaped = ReshapedTransform(transform=nn.Linear(4, 4), shape=(-1, 4))
    assert reshaped(torch.ones(2, 2)).shape == (2, 2)
    made = TransformDictionary({net[0]: l2l.optim.ModuleTransform(nn.Linear)})
    assert made(net[0].weight) is not None
    assert made(net[1].weight) is None
