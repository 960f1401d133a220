r"""Temperature: beliefs about classes made sharper, p^{1/τ} / Σ p^{1/τ}.

A reverse step of discrete leaves reveals several elements at once, each drawn from its own belief and blind to the others;
an unlikely class that is drawn once stays. Below 1 the likelier classes are drawn more often: samples are sounder and less
diverse (Zheng et al., 2024, arXiv 2409.02908, §5, on what sharpening does to masked diffusion). The likelier class is also
the more frequent one: sharper elements are more carbon, while sharper bonds, which follow from the atoms around them, hardly
change what is drawn. Hence a temperature of its own for each leaf. Gaussian leaves and tangents stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from langevin.core.denoiser import Denoiser, Memory
from langevin.core.errors import unknown
from langevin.core.guidance.base import Guidance, Question, answer
from langevin.core.posteriors import Categorical, Posterior
from langevin.core.processes import Discrete, Process, join, split

__all__ = ["Temperature", "temperature"]


@dataclass(frozen=True)
class Temperature(Guidance):
    """Classes are drawn from p^{1/τ}; ``temperature(0.5)``, or ``temperature({"bonds": 0.3})``.

    Args:
        value: τ > 0 of every discrete leaf, or by the name of the leaf; 1 changes nothing.

    Raises:
        ValueError: τ is not a positive number, or, when applied, a name that is no discrete leaf.
    """

    value: float | Mapping[str, float]

    def __post_init__(self) -> None:
        for value in self.value.values() if isinstance(self.value, Mapping) else (self.value,):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ValueError(f"a temperature must be a positive number, got {value!r}")

    def check(self, inner: Denoiser) -> None:
        self.fits(inner.process)

    def fits(self, process: Process) -> None:
        """Whether the names are leaves of classes.

        Raises:
            ValueError: one is not.
        """
        classes = [name for name, leaf in process.leaves.items() if isinstance(leaf, Discrete)]
        for name in self.value if isinstance(self.value, Mapping) else ():
            if name not in classes:
                raise ValueError(unknown("leaf of classes", name, classes))

    def believe(self, inner: Denoiser, q: Question) -> tuple[list[Posterior], Memory]:
        beliefs, memory = answer(inner, q)
        return [self._sharper(inner.process, belief) for belief in beliefs], memory

    def _sharper(self, process: Process, belief: Posterior) -> Posterior:
        parts = dict(split(belief))
        for name, leaf in parts.items():
            tau = self.value.get(name, 1.0) if isinstance(self.value, Mapping) else self.value
            if isinstance(leaf, Categorical) and tau != 1:
                parts[name] = Categorical(leaf.logits / tau)
        return join(process, parts)


temperature = Temperature
