"""What beats nearest centroids on frozen embeddings of headlines? ``python -m tests.studies.headlines`` tries it.

Every row is a map of MiniLM's vectors that is learned from some classes and tried on others: on five of the twenty
training classes, learned from the other fifteen, eight times over; and on the five validation classes, learned from all
twenty. It prints by how many points the nearest centroid by cosine gains on that after CL2N, in 5-way episodes with 25
queries: over the eight with the standard error, and on validation. No test class is looked at. `Classemes` is what came
of it. The data set ``news-journals`` must be in the cache; it takes minutes on one core.

Letters in shapes: M examples, D embedding, C classes, B episodes, N ways, K shots, Q queries of a task.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l2l_core.algorithms.classemes import Classemes
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.nn.metric_heads import cl2n

WAYS, QUERIES, EPISODES = 5, 25, 600

#: Vectors [M, D] and labels [M] of the classes that may be learned from, to a map of vectors.
Fit = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    benchmark = load_benchmark("news-journals-5w1s", download=True).on("minilm")
    train, validation = (_by_class(benchmark.dataset(subset)) for subset in ("train", "validation"))
    plain = [
        {shots: accuracies(_centred(*learned)(tried), shots, number) for shots in (1, 5)}
        for number, (learned, tried) in enumerate(_divisions(train, validation))
    ]
    print(f"{'':<58}{'1 shot: held out':>17}{'validation':>11}{'5 shots: held out':>19}{'validation':>11}")
    for name, (fit, common) in VARIANTS.items():
        cells = ""
        gains = [
            [100 * (accuracies(mapped, shots, number, common) - plain[number][shots]).mean().item() for shots in (1, 5)]
            for number, (learned, tried) in enumerate(_divisions(train, validation))
            for mapped in [fit(*learned)(tried)]
        ]
        for held_out_8, on_validation in zip(np.array(gains[:-1]).T, gains[-1], strict=True):
            cells += f"{held_out_8.mean():>+10.2f} ± {held_out_8.std(ddof=1) / 8**0.5:.2f}{on_validation:>+11.2f}  "
        print(f"{name:<58}{cells}", flush=True)


def accuracies(vectors_CMD: Tensor, shots: int, seed: int, common: float = 0.0) -> Tensor:
    """Accuracy of the nearest centroid by cosine in each episode, [B]; `common` is as of `Classemes`."""
    rng = np.random.default_rng([seed, shots])
    ids_BNM = torch.from_numpy(
        rng.permuted(np.tile(np.arange(vectors_CMD.shape[1]), (EPISODES, WAYS, 1)), axis=2)[..., : shots + QUERIES]
    )
    found = []
    for ids_NM in ids_BNM:
        vectors_NMD = vectors_CMD[torch.arange(WAYS)[:, None], ids_NM]
        centroids_ND = vectors_NMD[:, :shots].mean(dim=1)
        shared_D = common * centroids_ND.mean(dim=0)
        queries = functional.normalize(vectors_NMD[:, shots:] - shared_D, dim=-1)
        nearest_NQ = (queries @ functional.normalize(centroids_ND - shared_D, dim=-1).mT).argmax(dim=-1)
        found.append((nearest_NQ == torch.arange(WAYS)[:, None]).float().mean())
    return torch.stack(found)


def _by_class(dataset: object) -> Tensor:
    """The vectors of a data set whose classes are of one size, [C, M, D]."""
    classes = len(dataset.classes)  # type: ignore[attr-defined]
    return dataset.gather(np.arange(len(dataset)).reshape(classes, -1))  # type: ignore[attr-defined,arg-type]


def _divisions(train: Tensor, validation: Tensor) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
    """What is learned from, as vectors and labels, and what is tried, [C, M, D]; validation comes last."""

    def labelled(vectors_CMD: Tensor) -> tuple[Tensor, Tensor]:
        return vectors_CMD.flatten(0, 1), torch.arange(len(vectors_CMD)).repeat_interleave(vectors_CMD.shape[1])

    for seed in (7, 8):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(train)))
        for held_out in order.split(WAYS):
            yield labelled(train[~torch.isin(torch.arange(len(train)), held_out)]), train[held_out]
    yield labelled(train), validation


def _centred(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda vectors: cl2n(vectors, x.mean(dim=0))


def _linear(matrix_of: Callable[[Tensor, Tensor], Tensor]) -> Fit:
    """CL2N, and a matrix [D, D] that is made of the class means [C, D] and the covariance within classes."""

    def fit(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        z = _centred(x, y)(x)
        means = torch.stack([z[y == row].mean(dim=0) for row in range(int(y.max()) + 1)])
        residuals = z - means[y]
        matrix = matrix_of(means - means.mean(dim=0), residuals.mT @ residuals / len(z))
        return lambda vectors: _centred(x, y)(vectors) @ matrix

    return fit


def _span(rows: Tensor) -> Tensor:
    """The projector onto the span of class vectors whose sum is 0."""
    basis = torch.linalg.svd(rows, full_matrices=False).Vh[: len(rows) - 1]
    return basis.mT @ basis


def _power(covariance: Tensor, exponent: float, floor: float = 0.0) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag((values.clamp_min(1e-8) + floor) ** exponent) @ vectors.mT


def _classemes(share: float = 0.5, common: float = 0.5, on_episodes: bool = False) -> tuple[Fit, float]:
    """As the method is trained; then, if so, its directions on episodes of the classes that are learned from."""

    def fit(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        torch.manual_seed(0)
        learner = Classemes(torch.nn.Identity(), x.shape[1], int(y.max()) + 1, share=share, common=common)
        optimiser = torch.optim.Adam(learner.parameters(), lr=0.003)
        for _ in range(300):
            rows = torch.randint(len(x), (512,))
            optimiser.zero_grad()
            learner.example_loss(x[rows], y[rows])[0].backward()
            optimiser.step()
        learner.base_mean.copy_(x.mean(dim=0))
        if on_episodes:
            _train_on_episodes(learner, x.reshape(int(y.max()) + 1, -1, x.shape[1]))
        return lambda vectors: learner.joined(vectors).detach()

    return fit, common


def _train_on_episodes(learner: Classemes, vectors_CMD: Tensor) -> None:
    """1,600 episodes of one shot, each without the directions of its own classes, as a test's classes have none."""
    directions_CD, rng = learner.classifier.weight, np.random.default_rng(0)
    optimiser = torch.optim.Adam([directions_CD], lr=0.001)
    truth_NQ = torch.arange(WAYS)[:, None].expand(WAYS, 5)
    for _ in range(1600):
        chosen = rng.choice(len(vectors_CMD), WAYS, replace=False)
        others = torch.from_numpy(np.setdiff1d(np.arange(len(vectors_CMD)), chosen))
        examples = torch.from_numpy(rng.choice(vectors_CMD.shape[1], 6, replace=False))
        partial = Classemes(learner.backbone, vectors_CMD.shape[2], len(others), share=learner.share)
        partial.base_mean = learner.base_mean
        del partial.classifier.weight
        partial.classifier.weight = directions_CD[others]  # not a parameter, so that gradients reach all directions
        joined_NMD = functional.normalize(partial.joined(vectors_CMD[torch.from_numpy(chosen)][:, examples]), dim=-1)
        logits_NQN = 10 * joined_NMD[:, 1:] @ joined_NMD[:, 0].mT
        optimiser.zero_grad()
        functional.cross_entropy(logits_NQN.flatten(0, 1), truth_NQ.flatten()).backward()
        optimiser.step()


VARIANTS: dict[str, tuple[Fit, float]] = {
    "span of class means stretched: I + 0.15 P": (_linear(lambda m, w: torch.eye(len(w)) + 0.15 * _span(m)), 0),
    "I + 0.25 P": (_linear(lambda m, w: torch.eye(len(w)) + 0.25 * _span(m)), 0),
    "I + 0.5 P": (_linear(lambda m, w: torch.eye(len(w)) + 0.5 * _span(m)), 0),
    "span of discriminants (LDA) stretched: I + 0.25 P": (
        _linear(
            lambda m, w: torch.eye(len(w)) + 0.25 * _span(torch.linalg.solve(w + 0.01 * torch.eye(len(w)), m.mT).mT)
        ),
        0,
    ),
    "covariance within classes, to the power 0.1": (_linear(lambda m, w: _power(w, 0.1)), 0),
    "to the power -0.5, shrunk by 0.01 (whitening)": (_linear(lambda m, w: _power(w, -0.5, 0.01)), 0),
    "half of what prototypes have in common taken away": (_linear(lambda m, w: torch.eye(len(w))), 0.5),
    "classemes, nothing in common taken away": _classemes(common=0),
    "classemes, share 0.25": _classemes(share=0.25),
    "classemes": _classemes(),
    "classemes, share 1": _classemes(share=1),
    "classemes, directions then trained on episodes": _classemes(on_episodes=True),
}
"""Name to how a map is learned, and the part of the prototypes' mean that is then taken away."""


if __name__ == "__main__":
    main()
