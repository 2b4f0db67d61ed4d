"""Plain classification of the training classes, and the mean embedding that follows it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from l2l_core.algorithms.simple_shot import SimpleShot
from l2l_core.errors import UsageError
from tests.algorithms.metric_tasks import WIDTH, backbone, tasks
from tests.optim.nets import assert_gradients


def batch(seed: int, examples: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 1, 4, 4, dtype=torch.float64, generator=generator)
    return x, torch.randint(0, 5, (examples,), generator=generator)


def test_the_example_loss_is_the_classifiers_and_differentiable() -> None:
    learner = SimpleShot(backbone(), WIDTH, 5).double()
    x, y = batch(0)
    loss, accuracy = learner.example_loss(x, y)
    logits = learner.backbone(x).flatten(1) @ learner.classifier.weight.T + learner.classifier.bias
    torch.testing.assert_close(loss, functional.cross_entropy(logits, y))
    assert accuracy == (logits.argmax(dim=1) == y).float().mean()
    assert not accuracy.requires_grad
    loss.backward()
    assert_gradients(learner.parameters(), lambda: learner.example_loss(x, y)[0].item())


def test_the_base_mean_is_plain_at_first_and_forgets_from_the_hundredth_batch_on() -> None:
    learner = SimpleShot(nn.Flatten(), 16, 5).double()
    expected = torch.zeros(16, dtype=torch.float64)
    for number in range(1, 131):
        x, y = batch(number, examples=3)
        learner.example_loss(x, y)
        expected += (x.flatten(1).sum(dim=0) / 3 - expected) / min(number, 100)
        if number == 100:
            whole = torch.cat([batch(n, examples=3)[0].flatten(1) for n in range(1, 101)]).mean(dim=0)
            torch.testing.assert_close(learner.base_mean, whole)
    torch.testing.assert_close(learner.base_mean, expected)
    assert learner.base_batches == 130
    assert not learner.base_mean.requires_grad


def test_only_plain_batches_in_train_mode_move_the_base_mean() -> None:
    learner = SimpleShot(backbone(), WIDTH, 5).double()
    learner.eval().example_loss(*batch(0))
    learner.train().meta_loss(*tasks())
    learner.adapt(*tasks()[:2])(tasks()[2])
    assert learner.base_batches == 0
    assert not learner.base_mean.any()
    learner.example_loss(*batch(0))
    assert learner.base_batches == 1
    assert learner.base_mean.all()
    twin = SimpleShot(backbone(), WIDTH, 5)
    twin.load_state_dict(learner.state_dict())
    torch.testing.assert_close(twin.base_mean, learner.base_mean.float())


def test_plain_training_raises_the_accuracy_on_new_classes() -> None:
    """Four of sixteen pixels tell classes apart, the others are louder noise; the test classes are new."""
    generator = torch.Generator().manual_seed(0)

    def pictures(centres: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        informative = centres.gather(1, y[..., None].expand(*y.shape, 4))
        informative = informative + 0.2 * torch.randn(informative.shape, generator=generator)
        noise = 1.5 * torch.randn(*y.shape, 12, generator=generator)
        return torch.cat([informative, noise], dim=2).reshape(*y.shape, 1, 4, 4)

    torch.manual_seed(0)
    learner = SimpleShot(nn.Sequential(nn.Flatten(), nn.Linear(16, 16)), 16, 20)
    novel = torch.randn(60, 5, 4, generator=generator)
    support_y, query_y = torch.arange(5).repeat(60, 1), torch.arange(10).repeat(60, 1) % 5
    support_x, query_x = pictures(novel, support_y), pictures(novel, query_y)

    def accuracy() -> float:
        logits = learner.eval().adapt(support_x, support_y)(query_x)
        return (logits.argmax(dim=2) == query_y).float().mean().item()

    untrained = accuracy()
    learner.train()
    base = torch.randn(1, 20, 4, generator=generator)
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(150):
        y = torch.randint(0, 20, (1, 64), generator=generator)
        loss, _ = learner.example_loss(pictures(base, y)[0], y[0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert accuracy() > untrained + 0.2


def test_vectors_and_token_ids_are_inputs_too() -> None:
    y = torch.tensor([0, 1, 1])
    on_ids = SimpleShot(nn.EmbeddingBag(9, WIDTH, padding_idx=0), WIDTH, 2)
    loss, _ = on_ids.example_loss(torch.tensor([[1, 2, 0], [3, 0, 0], [8, 8, 8]]), y)
    weight = on_ids.backbone.weight.detach()
    embedded = torch.stack([(weight[1] + weight[2]) / 2, weight[3], weight[8]])
    torch.testing.assert_close(loss, functional.cross_entropy(on_ids.classifier(embedded), y))
    torch.testing.assert_close(on_ids.base_mean, embedded.mean(dim=0))
    on_vectors = SimpleShot(nn.Identity(), WIDTH, 2)
    loss, _ = on_vectors.example_loss(embedded, y)
    torch.testing.assert_close(loss, functional.cross_entropy(on_vectors.classifier(embedded), y))


def test_what_cannot_be_is_refused_in_words() -> None:
    learner = SimpleShot(backbone(), WIDTH, 5).double()
    x, y = batch(0)
    refused = {
        "SimpleShot was asked for width = 0 and classes = 5; give at least 1 of each": lambda: SimpleShot(
            backbone(), 0, 5
        ),
        "the labels run from 0 to 5, but SimpleShot was built for the classes 0..4; build it with as many classes as "
        "the training set has": lambda: learner.example_loss(x, torch.tensor([0, 5, 1, 1, 1, 1])),
        "the labels run from -1 to 1, but SimpleShot was built for the classes 0..4; build it with as many classes as "
        "the training set has": lambda: learner.example_loss(x, torch.tensor([0, -1, 1, 1, 1, 1])),
        "SimpleShot trains on inputs [M, …], such as pictures [M, C, H, W], and labels [M], but was given [6, 1, 4, 4] "
        "and [5]; give one label for each input, and at least one of them": lambda: learner.example_loss(x, y[:5]),
        "SimpleShot trains on inputs [M, …], such as pictures [M, C, H, W], and labels [M], but was given [0, 1, 4, 4] "
        "and [0]; give one label for each input, and at least one of them": lambda: learner.example_loss(x[:0], y[:0]),
        "SimpleShot trains on floating-point pictures and int64 labels, but was given torch.float64 and torch.int32; "
        "convert them, as in x.float() / 255 and y.long()": lambda: learner.example_loss(x, y.int()),
        "SimpleShot trains on floating-point pictures and int64 labels, but was given torch.uint8 and torch.int64; "
        "convert them, as in x.float() / 255 and y.long()": lambda: learner.example_loss(x.byte(), y),
        "SimpleShot trains on inputs [M, …], such as pictures [M, C, H, W], and labels [M], but was given [6] and [6]; "
        "give one label for each input, and at least one of them": lambda: learner.example_loss(x[:, 0, 0, 0], y),
        "SimpleShot was built for embeddings of 3 numbers, but its backbone gives 4; build it with width=4": lambda: (
            SimpleShot(backbone(), 3, 5).double().example_loss(x, y)
        ),
    }
    for message, call in refused.items():
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == message
    assert learner.base_batches == 0
