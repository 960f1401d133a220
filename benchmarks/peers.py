"""diffusers' schedulers, answered by an exact belief at the exact σ of each step.

Each scheduler is taken at its best: the belief is asked at the level σ/α that its next step assumes and not at a rounded
timestep; the state at its first level lies on the exact trajectory; it ends at σ = 0 (those that stop at their smallest
σ, as DEIS does, give the clean estimate there). ``form`` says how a scheduler scales its state: "vp" α² + σ² = 1, "ve"
α = 1, "flow" α + σ = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from benchmarks.mixtures import BETAS, Problem, angle, believe, exact
from langevin import optional

__all__ = ["FLOW", "VP", "Peer", "peers"]


@dataclass(frozen=True)
class Peer:
    """One scheduler with one setting.

    Attributes:
        name: for the table.
        scheduler: class name in diffusers.
        form: how it scales its state.
        output: what it wants from the network: "eps", "v" or "velocity".
        settings: of its constructor.
        levels: how its steps are set: "count", or "pipeline" (σ from 1 to 1/N in even steps, as flow pipelines pass).
    """

    name: str
    scheduler: str
    form: str = "vp"
    output: str = "eps"
    settings: dict[str, Any] = field(default_factory=dict)
    levels: str = "count"

    def steps(self, budget: int) -> int:
        """The most steps that ``budget`` evaluations allow."""
        return (budget + 1) // 2 if self.scheduler == "HeunDiscreteScheduler" else budget

    def run(self, given: Problem, budget: int) -> tuple[Tensor, int]:
        """(endpoint, evaluations)."""
        scheduler = getattr(optional.diffusers(), self.scheduler)(**self.settings)
        steps = self.steps(budget)
        if self.levels == "pipeline":
            scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
        else:
            scheduler.set_timesteps(steps)
        angles = self._angles(scheduler)
        last = len(scheduler.timesteps) - 1
        start = min(angles[0], angle(given.schedule, 1.0))
        x = exact(given, start) / self._norm(start)
        for i, timestep in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(x, timestep) if self.form == "ve" else None
            theta = min(angles[i], start)
            belief = believe(given, x * self._norm(theta), theta)
            if i == last:  # a first-order step to σ = 0, exactly
                x = belief.x
            else:
                x = scheduler.step(self._output(belief, theta), timestep, x).prev_sample
        return x, last + 1

    def _angles(self, scheduler: Any) -> list[float]:
        """θ = atan(σ/α) of each evaluation."""
        if self.scheduler == "DDIMScheduler":
            alphas_bar = scheduler.alphas_cumprod[scheduler.timesteps].tolist()
            return [math.atan2(math.sqrt(1 - a), math.sqrt(a)) for a in alphas_bar]
        if self.scheduler == "IPNDMScheduler":
            return [math.atan2(b, a) for a, b in zip(scheduler.alphas.tolist(), scheduler.betas.tolist())]
        sigmas = scheduler.sigmas.tolist()
        if self.form == "flow":
            return [math.atan2(s, 1 - s) for s in sigmas]
        return [math.atan(s) for s in sigmas]

    def _norm(self, theta: float) -> float:
        """What a state in this form is multiplied by to have unit norm."""
        if self.form == "flow":
            return math.cos(theta) + math.sin(theta)
        return math.cos(theta) if self.form == "ve" else 1.0

    def _output(self, belief: Any, theta: float) -> Tensor:
        if self.output == "velocity":
            return belief.eps - belief.x
        if self.output == "v":
            return math.cos(theta) * belief.eps - math.sin(theta) * belief.x
        return belief.eps


_TABLE = {"trained_betas": BETAS}
_KARRAS, _EXPONENTIAL = {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}
_TRAILING = {"timestep_spacing": "trailing"}
_GRIDS: dict[str, dict[str, Any]] = {
    "": {},
    " karras": _KARRAS,
    " exponential": _EXPONENTIAL,
    " trailing": _TRAILING,
}
_DPM, _UNIPC, _DEIS = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"
_MULTISTEP: dict[str, tuple[str, dict[str, Any]]] = {
    "DPM++2M": (_DPM, {"solver_order": 2}),
    "DPM++3M": (_DPM, {"solver_order": 3}),
    "UniPC-2": (_UNIPC, {"solver_order": 2}),
    "UniPC-3": (_UNIPC, {"solver_order": 3}),
    "DEIS-2": (_DEIS, {"solver_order": 2}),
    "DEIS-3": (_DEIS, {"solver_order": 3}),
}

VP = [
    Peer("DDIM trailing", "DDIMScheduler", settings={**_TABLE, **_TRAILING, "clip_sample": False}),
    *(
        Peer(f"Euler{grid}", "EulerDiscreteScheduler", "ve", settings={**_TABLE, **_GRIDS[grid]})
        for grid in ("", " karras", " trailing")
    ),
    *(
        Peer(f"Heun{grid}", "HeunDiscreteScheduler", "ve", settings={**_TABLE, **_GRIDS[grid]})
        for grid in ("", " karras")
    ),
    *(
        Peer(f"LMS{grid}", "LMSDiscreteScheduler", "ve", settings={**_TABLE, **_GRIDS[grid]})
        for grid in ("", " karras")
    ),
    *(
        Peer(f"{name}{grid}", scheduler, settings={**_TABLE, **settings, **_GRIDS[grid]})
        for name, (scheduler, settings) in _MULTISTEP.items()
        for grid in _GRIDS
    ),
]

FLOW = [
    *(
        Peer(
            f"FlowMatchEuler shift {shift:g}",
            "FlowMatchEulerDiscreteScheduler",
            "flow",
            "velocity",
            {"shift": shift},
            "pipeline",
        )
        for shift in (1.0, 3.0)
    ),
    *(
        Peer(
            f"{name} flow shift {shift:g}",
            scheduler,
            "flow",
            settings={**settings, "use_flow_sigmas": True, "flow_shift": shift},
        )
        for name, (scheduler, settings) in _MULTISTEP.items()
        for shift in (1.0, 3.0)
    ),
    Peer("IPNDM", "IPNDMScheduler", "vp", "v"),
]


def peers(given: Problem) -> list[Peer]:
    """The schedulers that apply to the schedule of a problem."""
    return FLOW if given.name.endswith("/flow") else VP


Runner = Callable[[Problem, int], tuple[Tensor, int]]
