"""Gradient transforms against NumPy, index by index."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import l2l_core.optim as optim
from l2l_core.errors import UsageError
from l2l_core.nn.kronecker import KroneckerLinear
from l2l_core.optim.transforms import (
    KroneckerTransform,
    MetaCurvatureTransform,
    ModuleTransform,
    ReshapedTransform,
    TransformDictionary,
)
from tests.optim.nets import shaken

SHAPES = [(), (3,), (2, 3), (2, 3, 4), (2, 3, 2, 2)]


class Kron(nn.Module):
    """left @ x @ right + bias, made as `KroneckerLinear` is."""

    def __init__(self, n: int, m: int, bias: bool = True, psd: bool = False) -> None:
        super().__init__()
        self.asked = (n, m, bias, psd)
        self.left = nn.Parameter(torch.eye(n))
        self.right = nn.Parameter(torch.eye(m))

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1:] == self.asked[:2]
        return self.left @ x @ self.right


def gradient(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def parameter(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
def test_meta_curvature_is_a_matrix_along_each_axis(shape: tuple[int, ...]) -> None:
    transform = MetaCurvatureTransform(parameter(shape), lr=0.5)
    grad = gradient(shape)
    torch.testing.assert_close(transform(grad), 0.5 * grad)  # the identity, at first

    torch.manual_seed(0)
    shaken(transform)
    weights = {name: weight.detach().numpy() for name, weight in transform.named_parameters()}
    G = grad.numpy()
    if len(shape) < 2:
        assert list(weights) == ["mc"]
        expected = weights["mc"] * G
    else:
        flat = G.reshape(*shape[:2], -1)
        of_filter = weights.get("mc_f", np.eye(1))
        expected = np.zeros_like(flat)
        for i, o, f in np.ndindex(flat.shape):
            for a, b, g in np.ndindex(flat.shape):
                expected[i, o, f] += weights["mc_in"][i, a] * weights["mc_out"][b, o] * of_filter[f, g] * flat[a, b, g]
    np.testing.assert_allclose(transform(grad).detach().numpy(), 0.5 * expected.reshape(shape), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_kronecker_transform_sees_matrices(shape: tuple[int, ...]) -> None:
    n, m = {0: (1, 1), 1: (3, 1), 2: (2, 3), 3: (3, 4), 4: (3, 4)}[len(shape)]
    transform = KroneckerTransform(Kron, bias=True)(parameter(shape))
    assert isinstance(transform, ReshapedTransform)
    assert transform.transform.asked == (n, m, True, True)
    assert KroneckerTransform(kronecker_cls=Kron, psd=False)(parameter(shape)).transform.asked == (n, m, False, False)
    torch.manual_seed(0)
    shaken(transform)
    left, right = (weight.detach().numpy() for weight in transform.parameters())
    grad = gradient(shape)
    # (right ⊗ left) on the stacked columns of each matrix
    factored = np.kron(right.T, left)
    expected = [factored @ matrix.T.reshape(-1) for matrix in grad.numpy().reshape(-1, n, m)]
    expected = np.stack([row.reshape(m, n).T for row in expected]).reshape(shape)
    np.testing.assert_allclose(transform(grad).detach().numpy(), expected, rtol=1e-12)


def test_a_module_transform_sees_one_row() -> None:
    torch.manual_seed(0)
    transform = ModuleTransform(nn.Linear)(parameter((2, 3)))
    assert transform.transform.weight.shape == (6, 6)
    assert transform.transform.weight.dtype == torch.float64
    grad = gradient((2, 3))
    expected = transform.transform.weight @ grad.reshape(6) + transform.transform.bias
    torch.testing.assert_close(transform(grad), expected.reshape(2, 3))


def test_gradients_may_have_any_memory_layout() -> None:
    grad = gradient((2, 3, 2, 2))
    for transform in (MetaCurvatureTransform(parameter(grad.shape)), ReshapedTransform(nn.Identity(), (2, -1))):
        torch.testing.assert_close(transform(grad.to(memory_format=torch.channels_last)), grad)


def test_a_dictionary_makes_the_transform_listed_last_and_none_for_others() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    of = TransformDictionary({model[0]: MetaCurvatureTransform, model[0].bias: ModuleTransform(nn.Linear)})
    assert isinstance(of(model[0].weight), MetaCurvatureTransform)
    assert of(model[0].weight, lr=0.25).lr == 0.25
    assert isinstance(of(model[0].bias), ReshapedTransform)
    assert of(model[1].weight) is None
    twin, twin_of = pickle.loads(pickle.dumps((model, of)))
    assert isinstance(twin_of(twin[0].bias), ReshapedTransform)
    assert twin_of(model[0].bias) is None
    with pytest.raises(UsageError) as error:
        TransformDictionary({"0.weight": MetaCurvatureTransform})
    assert str(error.value) == "TransformDictionary was given a str as a key; give modules or parameters"


def test_transforms_can_be_copied() -> None:
    torch.manual_seed(0)
    for transform in (shaken(MetaCurvatureTransform(parameter((2, 3)))), KroneckerTransform(Kron)(parameter((2, 3)))):
        for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
            assert torch.equal(twin(gradient((2, 3))), transform(gradient((2, 3))))


def test_the_names_stand_where_learn2learn_has_them() -> None:
    assert optim.transforms.KroneckerTransform is optim.KroneckerTransform is KroneckerTransform
    assert {"ModuleTransform", "ReshapedTransform", "MetaCurvatureTransform", "TransformDictionary"} < set(
        optim.__all__
    )
    assert all(hasattr(optim, name) for name in optim.__all__)


def test_a_matrix_that_no_machine_holds_is_refused() -> None:
    wide = torch.empty(2, 72_576)
    for make in (lambda: MetaCurvatureTransform(wide), lambda: KroneckerTransform(KroneckerLinear)(wide)):
        with pytest.raises(UsageError) as caught:
            make()
        assert str(caught.value) == (
            "a transform along an axis of 72,576 needs a matrix of 20 GiB; leave that parameter out with a "
            "TransformDictionary, or take a backbone with shorter embeddings"
        )
