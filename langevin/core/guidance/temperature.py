r"""Temperature: beliefs about classes made sharper, p^{1/τ} / Σ p^{1/τ}.

A reverse step of discrete leaves reveals several elements at once, each drawn from its own belief and blind to the others;
an unlikely class that is drawn once stays. Below 1 the likelier classes are drawn more often: samples are sounder and less
diverse (Zheng et al., 2024, arXiv 2409.02908, §5, on what sharpening does to masked diffusion). Gaussian leaves and
tangents stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.guidance.base import Guidance, Question, answer, checked_leaves
from langevin.core.posteriors import Categorical, Posterior
from langevin.core.processes import Process, join, split

__all__ = ["Temperature", "temperature"]


@dataclass(frozen=True)
class Temperature(Guidance):
    """Classes are drawn from p^{1/τ}; ``temperature(0.5)``.

    Args:
        value: τ > 0; 1 changes nothing.
        leaves: which discrete leaves of a product; None for all.

    Raises:
        ValueError: τ is not a positive number.
        KeyError: when applied, a name that is no leaf.
    """

    value: float
    leaves: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.value < float("inf"):
            raise ValueError(f"a temperature must be a positive number, got {self.value}")

    def check(self, inner: Denoiser) -> None:
        checked_leaves(inner.process, self.leaves)

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        return [self._sharper(inner.process, belief) for belief in beliefs], memory

    def _sharper(self, process: Process, belief: Posterior) -> Posterior:
        parts = dict(split(belief))
        for name, leaf in parts.items():
            if isinstance(leaf, Categorical) and (self.leaves is None or name in self.leaves):
                parts[name] = Categorical(leaf.logits / self.value)
        return join(process, parts)


temperature = Temperature
