"""Linear maps whose matrix is a Kronecker product, and recurrent cells made of them.

A matrix X [n, m] and the vector x [n·m] of its columns, one below the other, are two forms of the same thing:
(Rᵀ ⊗ L) x is, as a matrix, L X R. So a map of n·m numbers costs n² + m² parameters, and no large matrix is ever built.

Letters in shapes: n rows, m columns.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError


def kronecker_addmm(
    mat1: Tensor, mat2: Tensor, mat3: Tensor, bias: Tensor | None = None, alpha: float = 1.0, beta: float = 1.0
) -> Tensor:
    """alpha · mat1 mat3 mat2 + beta · bias: as vectors of columns, alpha · (mat2ᵀ ⊗ mat1) vec(mat3) + beta · vec(bias).

    Args:
        mat1: L [n, n].
        mat2: R [m, m].
        mat3: X [..., n, m], one matrix or any batch of them.
        bias: [n, m], or None for none.
        alpha: of the product.
        beta: of the bias.

    Mended from learn2learn: there beta was passed in a way that PyTorch no longer has.
    """
    product = alpha * (mat1 @ mat3 @ mat2)
    return product if bias is None else product + beta * bias


class KroneckerLinear(nn.Module):
    """A linear map y = (Rᵀ ⊗ L) x + b, at the start the identity; its value is of the shape of x.

    Args:
        n: rows of L.
        m: rows of R.
        bias: whether there is a b, zero at the start.
        psd: use LᵀL and RᵀR in the place of L and R, so that the matrix is positive semi-definite.
        device: of the parameters; given one, x is brought to where the parameters are, and y back to where x was.

    Attributes:
        left: L [n, n].
        right: R [m, m].
        bias: b as a matrix [n, m], or None.

    Mended from learn2learn: a module that was moved after it was made brings x to its new device.

    Raises:
        UsageError: n or m below 1.

    Source: Jose et al. 2018, "Kronecker recurrent units", section 3; Arnold et al. 2021, "When MAML can adapt fast and
    how to assist when it cannot", section 4.
    """

    bias: nn.Parameter | None

    def __init__(
        self, n: int, m: int, bias: bool = True, psd: bool = False, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        if n < 1 or m < 1:
            raise UsageError(f"KroneckerLinear was asked for n = {n} and m = {m}; give at least 1 of each")
        self.left = nn.Parameter(torch.eye(n, device=device))
        self.right = nn.Parameter(torch.eye(m, device=device))
        self.register_parameter("bias", nn.Parameter(torch.zeros(n, m, device=device)) if bias else None)
        self.psd = psd
        self.device = device

    def forward(self, x: Tensor) -> Tensor:
        """y of x, which is a vector of columns [n·m], or matrices [..., n, m].

        Raises:
            UsageError: x has another shape.
        """
        n, m = len(self.left), len(self.right)
        if x.shape != (n * m,) and x.shape[-2:] != (n, m):
            raise UsageError(
                f"KroneckerLinear({n}, {m}) maps a vector [{n * m}] or matrices [..., {n}, {m}], but was given "
                f"{list(x.shape)}; reshape it"
            )
        home = x.device
        if self.device is not None:
            x = x.to(self.left.device)
        left: Tensor = self.left
        right: Tensor = self.right
        if self.psd:
            left, right = left.T @ left, right.T @ right
        if x.ndim == 1:
            y = kronecker_addmm(left, right, x.reshape(m, n).T, self.bias).T.flatten()
        else:
            y = kronecker_addmm(left, right, x, self.bias)
        return y.to(home)


class KroneckerRNN(nn.Module):
    """A recurrent cell: h' = σ(W_h x + U_h h), y = W_y h', each map a `KroneckerLinear`; its value is (y, h').

    Args:
        n, m, bias: as of `KroneckerLinear`.
        sigma: σ; None for tanh.

    Source: Jose et al. 2018, section 3.
    """

    def __init__(self, n: int, m: int, bias: bool = True, sigma: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.W_h = KroneckerLinear(n, m, bias=bias)
        self.U_h = KroneckerLinear(n, m, bias=bias)
        self.W_y = KroneckerLinear(n, m, bias=bias)
        self.sigma = nn.Tanh() if sigma is None else sigma

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The output y and the next hidden state h', both of the shape of x; the first h is the caller's, say zeros.

        Raises:
            UsageError: as `KroneckerLinear.forward`, for x or hidden.
        """
        hidden = self.sigma(self.W_h(x) + self.U_h(hidden))
        return self.W_y(hidden), hidden


class KroneckerLSTM(nn.Module):
    """A long short-term memory cell, each map a `KroneckerLinear`; its value is (h', (h', c')).

    i = σ(W_ii x + W_hi h), f = σ(W_if x + W_hf h), g = tanh(W_ig x + W_hg h), o = σ(W_io x + W_ho h),
    c' = f c + i g, h' = o tanh(c').

    Args:
        n, m, bias: as of `KroneckerLinear`.
        sigma: σ, of the gates; None for the sigmoid.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; its maps Jose et al. 2018,
    section 3.
    """

    def __init__(self, n: int, m: int, bias: bool = True, sigma: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.W_ii = KroneckerLinear(n, m, bias=bias)
        self.W_hi = KroneckerLinear(n, m, bias=bias)
        self.W_if = KroneckerLinear(n, m, bias=bias)
        self.W_hf = KroneckerLinear(n, m, bias=bias)
        self.W_ig = KroneckerLinear(n, m, bias=bias)
        self.W_hg = KroneckerLinear(n, m, bias=bias)
        self.W_io = KroneckerLinear(n, m, bias=bias)
        self.W_ho = KroneckerLinear(n, m, bias=bias)
        self.sigma = nn.Sigmoid() if sigma is None else sigma

    def forward(self, x: Tensor, hidden: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The output h' and the next hidden state (h', c'), all of the shape of x.

        Args:
            x: as of `KroneckerLinear.forward`.
            hidden: the pair (h, c), each as x; the first is the caller's, say zeros.

        Raises:
            UsageError: hidden is no pair; or as `KroneckerLinear.forward`, for x or h.
        """
        if len(hidden) != 2:
            raise UsageError(
                f"KroneckerLSTM takes the hidden state as a pair (h, c), but was given {len(hidden)} of them; "
                "give both, at first zeros of the shape of x"
            )
        h, c = hidden
        i = self.sigma(self.W_ii(x) + self.W_hi(h))
        f = self.sigma(self.W_if(x) + self.W_hf(h))
        g = torch.tanh(self.W_ig(x) + self.W_hg(h))
        o = self.sigma(self.W_io(x) + self.W_ho(h))
        c = f * c + i * g
        h = o * torch.tanh(c)
        return h, (h, c)
