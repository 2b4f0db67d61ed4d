"""Kronecker maps against the dense matrices, and the cells against PyTorch's own with those matrices."""

import pytest
import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError
from l2l_core.nn.kronecker import KroneckerLinear, KroneckerLSTM, KroneckerRNN, kronecker_addmm
from tests.nn.second_order import check_copies, check_second_order

N, M = 3, 2


def columns(matrices: Tensor) -> Tensor:
    """Vectors [..., n·m] of the columns of matrices [..., n, m], one below the other."""
    return matrices.transpose(-1, -2).flatten(-2)


def dense(layer: KroneckerLinear) -> tuple[Tensor, Tensor]:
    """A [n·m, n·m] and b [n·m]."""
    left, right = layer.left.detach(), layer.right.detach()
    if layer.psd:
        left, right = left.T @ left, right.T @ right
    bias = torch.zeros(len(left) * len(right)) if layer.bias is None else columns(layer.bias.detach())
    return torch.kron(right.T.contiguous(), left), bias.to(left.dtype)


def drawn(module: nn.Module) -> nn.Module:
    """The module with parameters of its own in the place of identities and zeros."""
    torch.manual_seed(0)
    module = module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_addmm_is_the_product_with_the_dense_matrix() -> None:
    left, right, x, bias = normal(5, N, N)[0], normal(5, M, M)[1], normal(4, N, M), normal(N, M)
    found = kronecker_addmm(left, right, x, bias, alpha=0.5, beta=-2.0)
    matrix = torch.kron(right.T.contiguous(), left)
    torch.testing.assert_close(columns(found), 0.5 * columns(x) @ matrix.T - 2.0 * columns(bias))
    torch.testing.assert_close(columns(kronecker_addmm(left, right, x)), columns(x) @ matrix.T)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("psd", [True, False])
def test_linear_is_the_dense_map_of_vectors_and_of_matrices(bias: bool, psd: bool) -> None:
    layer = drawn(KroneckerLinear(N, M, bias=bias, psd=psd))
    matrix, shift = dense(layer)
    vector, matrices = normal(N * M), normal(5, 4, N, M)
    torch.testing.assert_close(layer(vector), matrix @ vector + shift)
    torch.testing.assert_close(columns(layer(matrices)), columns(matrices) @ matrix.T + shift)
    assert layer(matrices).shape == matrices.shape
    if psd:
        torch.testing.assert_close(matrix, matrix.T)
        assert torch.linalg.eigvalsh(matrix).min() > -1e-12


def test_linear_starts_as_the_identity() -> None:
    layer = KroneckerLinear(N, M)
    x = torch.rand(4, N, M)
    assert torch.equal(layer(x), x)
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "left": (N, N),
        "right": (M, M),
        "bias": (N, M),
    }
    assert set(KroneckerLinear(N, M, bias=False).state_dict()) == {"left", "right"}


def test_a_device_given_is_where_the_parameters_are_now() -> None:
    # No second device here but "meta", which has shapes only: the answer comes back to the caller's device or fails.
    layer = KroneckerLinear(N, M, device="meta").to_empty(device="cpu")
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    assert torch.equal(layer(torch.ones(N, M)), torch.full((N, M), N * M + 1.0))
    assert KroneckerLinear(N, M, device="meta")(torch.ones(N, M, device="meta")).device.type == "meta"


@pytest.mark.parametrize("shape", [(7,), (M, N), (4, N), (), (N * M, 1)])
def test_linear_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as raised:
        KroneckerLinear(N, M)(torch.rand(shape))
    assert str(raised.value) == (
        f"KroneckerLinear(3, 2) maps a vector [6] or matrices [..., 3, 2], but was given {list(shape)}; reshape it"
    )


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match=r"was asked for n = 0 and m = 2; give at least 1 of each"):
        KroneckerLSTM(0, 2)


@pytest.mark.parametrize("sigma", [None, torch.relu])
def test_the_rnn_is_a_plain_one_with_the_dense_matrices(sigma: object) -> None:
    cell = drawn(KroneckerRNN(N, M, sigma=sigma))
    plain = nn.RNNCell(N * M, N * M, nonlinearity="tanh" if sigma is None else "relu").double()
    x, h = normal(7, N, M)[:4], normal(9, N, M)[5:]
    _fill(plain, [cell.W_h], [cell.U_h])
    output, hidden = cell(x, h)
    torch.testing.assert_close(columns(hidden), plain(columns(x), columns(h)))
    matrix, shift = dense(cell.W_y)
    torch.testing.assert_close(columns(output), columns(hidden) @ matrix.T + shift)
    vector_output, vector_hidden = cell(columns(x[0]), columns(h[0]))
    torch.testing.assert_close(vector_output, columns(output[0]))
    torch.testing.assert_close(vector_hidden, columns(hidden[0]))


def test_the_lstm_is_a_plain_one_with_the_dense_matrices() -> None:
    cell = drawn(KroneckerLSTM(N, M))
    plain = nn.LSTMCell(N * M, N * M).double()
    _fill(plain, [cell.W_ii, cell.W_if, cell.W_ig, cell.W_io], [cell.W_hi, cell.W_hf, cell.W_hg, cell.W_ho])
    x, h, c = normal(3, 4, N, M)
    output, (hidden, cell_state) = cell(x, (h, c))
    expected_hidden, expected_state = plain(columns(x), (columns(h), columns(c)))
    torch.testing.assert_close(columns(output), expected_hidden)
    torch.testing.assert_close(columns(cell_state), expected_state)
    assert hidden is output


def test_the_lstm_takes_gates_of_ones_own_and_a_pair() -> None:
    x, h, c = normal(3, N, M)
    cell = drawn(KroneckerLSTM(N, M, sigma=torch.ones_like))
    _, (_, state) = cell(x, (h, c))
    torch.testing.assert_close(state, c + torch.tanh(cell.W_ig(x) + cell.W_hg(h)))
    with pytest.raises(UsageError, match=r"a pair \(h, c\), but was given 6 of them; give both, at first zeros"):
        cell(columns(x), columns(h))


def test_no_bias_anywhere_when_asked() -> None:
    for cell in (KroneckerRNN(N, M, bias=False), KroneckerLSTM(N, M, bias=False)):
        assert not [name for name, _ in cell.named_parameters() if "bias" in name]


@pytest.mark.parametrize("psd", [True, False])
def test_gradients_of_the_linear_map(psd: bool) -> None:
    layer = drawn(KroneckerLinear(N, M, psd=psd))
    check_second_order(layer, normal(4, N, M))
    check_copies(layer, normal(N * M))


def test_gradients_of_the_cells() -> None:
    x, h, c = normal(3, M, M)
    rnn, lstm = drawn(KroneckerRNN(M, M)), drawn(KroneckerLSTM(M, M))
    check_second_order(rnn, x, h)
    check_copies(rnn, x, h)
    check_second_order(lstm, x, (h, c))
    check_copies(lstm, x, (h, c))


def _fill(plain: nn.RNNCell | nn.LSTMCell, inputs: list[KroneckerLinear], hiddens: list[KroneckerLinear]) -> None:
    for suffix, layers in (("ih", inputs), ("hh", hiddens)):
        matrices, shifts = zip(*(dense(layer) for layer in layers), strict=True)
        getattr(plain, f"weight_{suffix}").data = torch.cat(matrices)
        getattr(plain, f"bias_{suffix}").data = torch.cat(shifts)
