"""Small encoders of texts that are trained from the first layer on: from token ids to embeddings.

Padding is the id 0, as a `Vocabulary` has it: no token. An embedding does not depend on how much padding stands behind
a text, and that of a row of padding alone is finite. All operations can be vectorised over tasks and differentiated
twice, as learners with an inner loop need, and none depends on the values of the ids.

Letters in shapes: M texts, L tokens, W width of a token's vector, D embedding.
"""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2l_core.errors import UsageError


class TextCNN(nn.Module):
    """Convolutions over the words of a text, and the strongest answer of each over the text; embeddings [M, D].

    For each kernel size k there are `channels` filters over k neighbouring words, a ReLU, and the maximum over all
    places; D is channels times the number of kernel sizes.

    One difference from the paper: a filter is centred on each word of the text, with zeros beyond both ends, where the
    paper takes only places at which it lies within the text; so a text may be shorter than a filter.

    Args:
        vocabulary: how many ids there are, that of padding included.
        width: W.
        channels: filters of each size.
        kernels: the sizes, in words.
        vectors: what the words' vectors start from, float [vocabulary, W], copied; normal random numbers for None.

    Attributes:
        embedding_size: D.

    Raises:
        UsageError: a number below 1, no kernel size, or vectors of another shape.

    Source: Kim 2014, "Convolutional neural networks for sentence classification", section 2.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 64,
        channels: int = 32,
        kernels: Sequence[int] = (3, 4, 5),
        vectors: Tensor | None = None,
    ) -> None:
        super().__init__()
        _check_sizes("TextCNN", vocabulary=vocabulary, width=width, channels=channels, kernels=min(kernels, default=0))
        self.embedding = _embedding("TextCNN", vocabulary, width, vectors)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, channels, size) for size in kernels)
        self.kernels = tuple(kernels)
        self.embedding_size = channels * len(self.kernels)

    def forward(self, ids_ML: Tensor) -> Tensor:
        """Embeddings [M, D] of token ids int64 [M, L].

        Raises:
            UsageError: these are no token ids, or some lie beyond the vocabulary.
        """
        words_MLW, present_ML1 = _embedded("TextCNN", self.embedding, ids_ML)
        words_MWL, present_M1L = words_MLW.transpose(1, 2), present_ML1.transpose(1, 2)
        strongest = []
        for size, convolution in zip(self.kernels, self.convolutions, strict=True):
            answers_MCL = convolution(functional.pad(words_MWL, ((size - 1) // 2, size // 2)))
            # After the ReLU no answer is below 0, so that 0 at the places of padding changes no maximum.
            strongest.append((functional.relu(answers_MCL) * present_M1L).amax(dim=2))
        return torch.cat(strongest, dim=1)


class TextTransformer(nn.Module):
    """The encoder of a transformer, and the mean of what it makes of a text's words; embeddings [M, D], D = W.

    Each layer adds attention among the words, then a net of each word alone, 4·W wide; places are told apart by sines
    and cosines, so that a text may be of any length. There is no dropout.

    Two differences from the paper: each part is given normalised words and its result is added to the words as they
    are, with one normalisation at the end (pre-norm), which trains without a warm-up; and vectors are not multiplied
    by √W, as they start at a variance of 1 and not 1/W.

    Args:
        vocabulary: how many ids there are, that of padding included.
        width: W.
        heads: of the attention; they divide W.
        layers: how many.
        vectors: what the words' vectors start from, float [vocabulary, W], copied; normal random numbers for None.

    Attributes:
        embedding_size: D.

    Raises:
        UsageError: a number below 1, heads that do not divide the width, or vectors of another shape.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3; Xiong et al. 2020, "On layer normalization in
    the transformer architecture", for pre-norm.
    """

    def __init__(
        self, vocabulary: int, width: int = 64, heads: int = 4, layers: int = 2, vectors: Tensor | None = None
    ) -> None:
        super().__init__()
        _check_sizes("TextTransformer", vocabulary=vocabulary, width=width, heads=heads, layers=layers)
        if width % heads:
            raise UsageError(
                f"TextTransformer was asked for width = {width} and heads = {heads}; give heads that divide the width"
            )
        self.embedding = _embedding("TextTransformer", vocabulary, width, vectors)
        self.layers = nn.Sequential(*(_Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.embedding_size = width

    def forward(self, ids_ML: Tensor) -> Tensor:
        """Embeddings [M, D] of token ids int64 [M, L].

        Raises:
            UsageError: these are no token ids, or some lie beyond the vocabulary.
        """
        words_MLW, present_ML1 = _embedded("TextTransformer", self.embedding, ids_ML)
        words_MLW = words_MLW + _places(words_MLW)
        for layer in self.layers:
            words_MLW = layer(words_MLW, present_ML1)
        counts_M1 = present_ML1.sum(dim=1).clamp_min(1)
        mean_MD: Tensor = (self.norm(words_MLW) * present_ML1).sum(dim=1) / counts_M1
        return mean_MD


class _Layer(nn.Module):
    """Attention among the words of a text, then a net of each word alone, each added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.net_norm = nn.LayerNorm(width)
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, words_MLW: Tensor, present_ML1: Tensor) -> Tensor:
        words_MLW = words_MLW + self._attended(self.attention_norm(words_MLW), present_ML1)
        return words_MLW + self.net(self.net_norm(words_MLW))  # type: ignore[no-any-return]  # untyped __call__

    def _attended(self, words_MLW: Tensor, present_ML1: Tensor) -> Tensor:
        # Written out, as torch's fused kernels have no second derivative.
        M, L, W = words_MLW.shape
        parts = self.queries_keys_values(words_MLW).reshape(M, L, 3, self.heads, W // self.heads)
        queries_MHLd, keys_MHLd, values_MHLd = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores_MHLL = queries_MHLd @ keys_MHLd.transpose(2, 3) * (W // self.heads) ** -0.5
        # The least number, not −∞, of which a row of padding alone would make no number at all.
        absent_M11L = (present_ML1 == 0).reshape(M, 1, 1, L)
        weights_MHLL = scores_MHLL.masked_fill(absent_M11L, torch.finfo(scores_MHLL.dtype).min).softmax(dim=3)
        mixed_MLW: Tensor = self.mix((weights_MHLL @ values_MHLd).transpose(1, 2).reshape(M, L, W))
        return mixed_MLW


def _places(words_MLW: Tensor) -> Tensor:
    """What tells the places of words apart, [L, W]: sines, then cosines, of wavelengths from 2π to 10,000 · 2π."""
    L, W = words_MLW.shape[1:]
    half = (W + 1) // 2
    steps = torch.arange(half, device=words_MLW.device, dtype=words_MLW.dtype)
    angles = torch.arange(L, device=words_MLW.device)[:, None] * torch.exp(-log(10_000) / half * steps)
    return torch.cat((angles.sin(), angles.cos()), dim=1)[:, :W]


def _embedding(net: str, vocabulary: int, width: int, vectors: Tensor | None) -> nn.Embedding:
    embedding = nn.Embedding(vocabulary, width)
    if vectors is None:
        return embedding
    if vectors.shape != (vocabulary, width) or not vectors.is_floating_point():
        raise UsageError(
            f"{net} was given vectors {vectors.dtype} {list(vectors.shape)}; give floats [{vocabulary}, {width}], one "
            "row an id of the vocabulary, or the width that they have"
        )
    embedding.weight = nn.Parameter(vectors.detach().to(embedding.weight, copy=True))
    return embedding


def _embedded(net: str, embedding: nn.Embedding, ids_ML: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of the tokens, [M, L, W], 0 for padding; and 1 where a token is, 0 where none is, [M, L, 1]."""
    if ids_ML.ndim != 2 or not ids_ML.shape[1] or ids_ML.dtype not in (torch.int64, torch.int32):
        raise UsageError(
            f"{net} takes token ids, int64 [M, L], but was given {ids_ML.dtype} {list(ids_ML.shape)}; make a "
            "TokenDataset of the texts"
        )
    try:
        vectors_MLW: Tensor = embedding(ids_ML)
    except IndexError:
        raise UsageError(
            f"{net} was built for {embedding.num_embeddings} ids, and was given one beyond them; build it with the "
            "size of the tokenizer"
        ) from None
    present_ML1 = (ids_ML != 0).unsqueeze(2).to(vectors_MLW.dtype)
    return vectors_MLW * present_ML1, present_ML1


def _check_sizes(net: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"{net} was asked for {name} = {size}; give at least 1")
