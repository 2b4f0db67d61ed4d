"""Encoders of texts: against slow loops, blind to padding, differentiable twice and alike for tasks side by side."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from l2l_core.algorithms import MAMLLearner
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.own import from_iterable
from l2l_core.data.tokens import TokenDataset
from l2l_core.errors import UsageError
from l2l_core.nn.text import TextCNN, TextTransformer
from l2l_core.text.tokens import Vocabulary
from tests.nn.second_order import check_copies

VOCABULARY = 11


def cnn(**options: Any) -> TextCNN:
    torch.manual_seed(0)
    return TextCNN(VOCABULARY, **{"width": 6, "channels": 3, **options})


def transformer(**options: Any) -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(VOCABULARY, **{"width": 6, "heads": 2, "layers": 2, **options})


NETS = [cnn, transformer]


def rows(*lengths: int, longest: int = 0, seed: int = 1) -> Tensor:
    """Texts of so many random tokens, int64 [M, L], none of them padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (len(lengths), max(longest, *lengths)), generator=generator)
    return ids * (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None])


def test_the_cnn_is_what_nested_loops_compute() -> None:
    net = cnn(kernels=(1, 2, 3, 4, 5)).double()
    ids = rows(1, 2, 7, 4)
    found = net(ids)
    assert found.shape == (4, 15)
    assert net.embedding_size == 15
    for text, embedding in zip(ids.tolist(), found, strict=True):
        words = [net.embedding.weight[token] for token in text if token]
        expected = []
        for size, convolution in zip((1, 2, 3, 4, 5), net.convolutions, strict=True):
            for channel in range(3):
                answers = []
                for centre in range(len(words)):
                    total = convolution.bias[channel]
                    for step in range(size):
                        place = centre + step - (size - 1) // 2
                        if 0 <= place < len(words):
                            total = total + words[place] @ convolution.weight[channel, :, step]
                    answers.append(max(0.0, total.item()))
                expected.append(max(answers))
        torch.testing.assert_close(embedding.detach(), torch.tensor(expected, dtype=torch.float64))


def slow_layer(layer: Any, x: Tensor) -> Tensor:
    """A layer of the transformer on one text [L, W] without padding, head by head and place by place."""
    W = x.shape[1]
    d = W // layer.heads
    normed = functional.layer_norm(x, (W,), layer.attention_norm.weight, layer.attention_norm.bias)
    parts = normed @ layer.queries_keys_values.weight.T + layer.queries_keys_values.bias
    q, k, v = parts[:, :W], parts[:, W : 2 * W], parts[:, 2 * W :]
    mixed = torch.zeros_like(x)
    for head in range(layer.heads):
        of_head = slice(head * d, (head + 1) * d)
        for place in range(len(x)):
            weights = torch.stack([(q[place, of_head] * k[other, of_head]).sum() for other in range(len(x))])
            weights = (weights / math.sqrt(d)).exp()
            mixed[place, of_head] = (weights[:, None] * v[:, of_head]).sum(dim=0) / weights.sum()
    x = x + mixed @ layer.mix.weight.T + layer.mix.bias
    normed = functional.layer_norm(x, (W,), layer.net_norm.weight, layer.net_norm.bias)
    first, _, last = layer.net
    return x + (normed @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias


@pytest.mark.parametrize("width", [6, 10])
def test_the_transformer_is_what_nested_loops_compute(width: int) -> None:
    net = transformer(width=width).double()
    ids = rows(1, 3, 7)
    found = net(ids)
    assert found.shape == (3, width)
    assert net.embedding_size == width
    for text, embedding in zip(ids.tolist(), found, strict=True):
        words = [net.embedding.weight[token] for token in text if token]
        half = width // 2
        places = [
            [
                (math.sin if column < half else math.cos)(place / 10_000 ** ((column % half) / half))
                for column in range(width)
            ]
            for place in range(len(words))
        ]
        x = torch.stack(words) + torch.tensor(places, dtype=torch.float64)
        for layer in net.layers:
            x = slow_layer(layer, x)
        x = functional.layer_norm(x, (width,), net.norm.weight, net.norm.bias)
        torch.testing.assert_close(embedding, x.mean(dim=0))


@pytest.mark.parametrize("make", NETS)
def test_padding_changes_nothing_and_may_be_all_there_is(make: Callable[..., nn.Module]) -> None:
    net = make()
    short = rows(1, 2, 5, 9)
    expected = net(short)
    for more in (1, 2, 40):
        found = net(functional.pad(short, (0, more)))
        assert (found - expected).abs().max() < 1e-6
    for text, embedding in zip(short, expected, strict=True):
        assert (net(text[text != 0][None])[0] - embedding).abs().max() < 1e-6, "nor does a text's company"
    assert not torch.equal(expected[2], expected[3])
    empty = net(torch.zeros(2, 4, dtype=torch.int64))
    assert torch.equal(empty, torch.zeros_like(empty))
    (net(torch.cat([short, torch.zeros_like(short)])) + 1).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())
    assert not net.embedding.weight.grad[0].any(), "padding learns nothing"  # type: ignore[union-attr, index]


def test_the_order_of_words_counts() -> None:
    for net in (cnn(), transformer()):
        assert not torch.allclose(net(torch.tensor([[1, 2, 3, 4]])), net(torch.tensor([[4, 3, 2, 1]])))


@pytest.mark.parametrize("make", NETS)
def test_gradients_of_gradients(make: Callable[..., nn.Module]) -> None:
    net = make().double()
    named = dict(net.named_parameters())
    ids = rows(2, 4, 0, 3)  # an empty text is among them

    def embeddings(*values: Tensor) -> Tensor:
        made: Tensor = functional_call(net, dict(zip(named, values, strict=True)), (ids,))
        return made

    values = tuple(parameter.detach().requires_grad_() for parameter in named.values())
    assert torch.autograd.gradcheck(embeddings, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(embeddings, values, fast_mode=True)
    check_copies(net, ids)


@pytest.mark.parametrize("make", NETS)
def test_tasks_side_by_side_are_as_one_after_the_other(make: Callable[..., nn.Module]) -> None:
    net = make().double()
    tasks = 3
    params = {
        name: torch.stack([value.detach() * (1 + task / 9) for task in range(tasks)])
        for name, value in net.named_parameters()
    }
    ids = torch.stack([rows(3, 0, 6, longest=6, seed=task) for task in range(tasks)])

    def gradients(own: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        def loss(values: dict[str, Tensor]) -> Tensor:
            return functional_call(net, values, (x,)).sin().sum()

        def after_a_step(values: dict[str, Tensor]) -> Tensor:
            moved = torch.func.grad(loss)(values)
            return loss({name: value - 0.1 * moved[name] for name, value in values.items()})

        return torch.func.grad(after_a_step)(own)

    together = torch.func.vmap(gradients)(params, ids)
    for task in range(tasks):
        alone = gradients({name: value[task] for name, value in params.items()}, ids[task])
        for name, value in alone.items():
            torch.testing.assert_close(together[name][task], value)


@pytest.mark.parametrize(("make", "strategy"), [(cnn, "loop"), (transformer, "together")])
def test_it_is_meta_trained_from_the_first_layer_on(make: Callable[..., Any], strategy: Any) -> None:
    names = ["ant", "bee", "cat", "dog"]
    pairs = [(name, f"{name} {'runs ' * (i % 3)}{name}") for name in names for i in range(4)]
    dataset = from_iterable(pairs)
    vocabulary = Vocabulary.of(text for _, text in pairs)
    episodes = TaskGenerator(TokenDataset(dataset, vocabulary), 2, 1, 2, seed=0)
    net = make()
    torch.manual_seed(1)
    learner = MAMLLearner(nn.Sequential(net, nn.Linear(net.embedding_size, 2)), lr=0.5, steps=2, strategy=strategy)
    optimiser = torch.optim.Adam(learner.parameters(), 0.03)
    losses = []
    for step in range(15):
        optimiser.zero_grad()
        loss, _ = learner.meta_loss(*episodes.batch(range(4 * step, 4 * step + 4)))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_vectors_to_start_from_are_copied() -> None:
    vectors = torch.arange(VOCABULARY * 6).reshape(VOCABULARY, 6).double()
    for net in (cnn(vectors=vectors), transformer(vectors=vectors)):
        assert torch.equal(net.embedding.weight.detach(), vectors.float())
        assert net.embedding.weight.requires_grad
    vectors.zero_()
    assert net.embedding.weight.any()
    same = cnn(vectors=(one := torch.ones(VOCABULARY, 6)))
    one.zero_()
    assert same.embedding.weight.all()


def test_they_are_small_enough_by_default() -> None:
    for net in (TextCNN(100), TextTransformer(100)):
        assert 64 <= net.embedding_size <= 128
        assert net(torch.ones(2, 5, dtype=torch.int32)).shape == (2, net.embedding_size)
        assert sum(parameter.numel() for parameter in net.parameters()) < 120_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextCNN(0), "TextCNN was asked for vocabulary = 0; give at least 1"),
        (lambda: TextCNN(9, width=0), "TextCNN was asked for width = 0; give at least 1"),
        (lambda: TextCNN(9, channels=-1), "TextCNN was asked for channels = -1; give at least 1"),
        (lambda: TextCNN(9, kernels=(3, 0)), "TextCNN was asked for kernels = 0; give at least 1"),
        (lambda: TextCNN(9, kernels=()), "TextCNN was asked for kernels = 0; give at least 1"),
        (lambda: TextTransformer(9, layers=0), "TextTransformer was asked for layers = 0; give at least 1"),
        (lambda: TextTransformer(9, heads=0), "TextTransformer was asked for heads = 0; give at least 1"),
        (
            lambda: TextTransformer(9, width=50),
            "TextTransformer was asked for width = 50 and heads = 4; give heads that divide the width",
        ),
        (
            lambda: TextCNN(9, 4, vectors=torch.zeros(9, 5)),
            "TextCNN was given vectors torch.float32 [9, 5]; give floats [9, 4], one row an id of the vocabulary, or "
            "the width that they have",
        ),
        (
            lambda: TextTransformer(9, 4, vectors=torch.zeros(9, 4, dtype=torch.int64)),
            "TextTransformer was given vectors torch.int64 [9, 4]; give floats [9, 4], one row an id of the "
            "vocabulary, or the width that they have",
        ),
        (
            lambda: cnn()(torch.zeros(2, 3)),
            "TextCNN takes token ids, int64 [M, L], but was given torch.float32 [2, 3]; make a TokenDataset of the "
            "texts",
        ),
        (
            lambda: transformer()(torch.zeros(3, dtype=torch.int64)),
            "TextTransformer takes token ids, int64 [M, L], but was given torch.int64 [3]; make a TokenDataset of the "
            "texts",
        ),
        (
            lambda: cnn()(torch.zeros(2, 0, dtype=torch.int64)),
            "TextCNN takes token ids, int64 [M, L], but was given torch.int64 [2, 0]; make a TokenDataset of the texts",
        ),
        (
            lambda: transformer()(torch.full((1, 2), VOCABULARY)),
            "TextTransformer was built for 11 ids, and was given one beyond them; build it with the size of the "
            "tokenizer",
        ),
    ],
)
def test_what_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message
