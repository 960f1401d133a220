"""Muon: momentum orthogonalised by Newton–Schulz, for the matrices of a trunk; AdamW for everything else.

torch.optim.Muon iterates in bfloat16, which CPUs without native bf16 emulate about fifty times slower than float32; here
the iteration runs in the dtype of the parameters unless another is asked for. Reference: Jordan et al., 2024, "Muon: an
optimizer for hidden layers"; the scale 0.2 √max(n, m), which lets it share AdamW's learning rate, is Liu et al., 2025,
arXiv 2502.16982.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MuonAdamW", "orthogonalise"]

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(matrix: Tensor, iterations: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values end between 0.7 and 1.2. Shape (n, m).

    Args:
        matrix: (n, m).
        iterations: of Newton–Schulz.
        dtype: in which to iterate; the matrix's own when None.
    """
    x = (matrix / matrix.norm().clamp(min=1e-12)).to(dtype or matrix.dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x.mT if tall else x).to(matrix.dtype)


class MuonAdamW(torch.optim.Optimizer):
    """Muon on the matrices of hidden layers, AdamW on vectors, embeddings and heads.

    Args:
        matrices: 2-D parameters of hidden layers.
        others: all other parameters.
        lr: learning rate of both.
        momentum: of Muon (Nesterov).
        betas: of AdamW.
        weight_decay: decoupled, on matrices and on others with at least two axes.
        dtype: of Newton–Schulz; that of the parameters when None.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.dtype = dtype
        groups: list[dict[str, Any]] = [
            {"params": list(matrices), "matrix": True},
            {"params": list(others), "matrix": False},
        ]
        groups = [group for group in groups if group["params"]]
        super().__init__(
            groups, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon if group["matrix"] else self._adamw
            for p in group["params"]:
                if p.grad is not None:
                    update(p, p.grad, group)
        return loss

    def _muon(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        beta = group["momentum"]
        state["momentum"].lerp_(grad, 1 - beta)
        direction = orthogonalise(grad.lerp(state["momentum"], beta), dtype=self.dtype)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(direction, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)

    def _adamw(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float64)
            state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        n = int(state["step"])
        beta_1, beta_2 = group["betas"]
        state["mean"].lerp_(grad, 1 - beta_1)
        state["square"].lerp_(grad * grad, 1 - beta_2)
        if p.ndim >= 2:
            p.mul_(1 - group["lr"] * group["weight_decay"])
        scale = (state["square"] / (1 - beta_2**n)).sqrt_().add_(1e-8)
        p.addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - beta_1**n))
