"""What a sampling loop costs beside the network: µs of CPU time per step, with a denoiser that does next to nothing.

The state is 1 x 4 x 8 x 8 float32, one thread, 50 steps a run. The denoiser of ours returns one Point made once, a peer's
network one tensor made once: what is left is the loop. Rows take turns within each repetition, so that a load that comes
and goes hits all; the least and the median over repetitions are shown. ``plan`` is what is paid once a run (for peers
``set_timesteps``) and is not in the per-step figures: a plan is made before the clock starts for all.

    python -m benchmarks.loop_overhead --repetitions 15
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.mixtures import BETAS
from benchmarks.reporting import heading, table, write
from langevin import optional
from langevin.core.denoiser import Denoiser
from langevin.core.grids import Grid
from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Heun, Multistep, Sampler, Single, sample
from langevin.core.schedules import Linear, Tabulated

SHAPE, STEPS = (1, 4, 8, 8), 50
Run = Callable[[], tuple[float, float, int]]  # ↦ (seconds to plan, seconds of the loop, steps)


class Still(Denoiser):
    """Believes one thing."""

    def __init__(self, process: Gaussian) -> None:
        self.process = process
        x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        self.belief = Point(x, x.flip(-1), x, 0.5, process.schedule)

    def __call__(self, x_t: Any, t: Any, condition: Any = None, mask: Any = None, memory: Any = None) -> Any:
        return self.belief, memory


def ours(sampler: Sampler, process: Gaussian) -> Run:
    denoiser, like = Still(process), torch.zeros(SHAPE)
    rng = Stream.of(0, 1)
    times = [1 - i / STEPS for i in range(STEPS)] + [0.0]
    grid = Grid("listed", STEPS, lambda _: times)

    def run() -> tuple[float, float, int]:
        start = time.process_time()
        plan = sampler.plan(process, grid)
        planned = time.process_time()
        for _ in sample(denoiser, sampler, grid, rng, x=like):
            pass
        done = time.process_time()
        # the driver plans too: its share is what planning by itself has cost
        return planned - start, done - planned - (planned - start), len(plan)

    return run


def bare(multistep: bool) -> Run:
    """The least that Python and torch allow: float coefficients from a list, no branches."""
    x_hat = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    eps = x_hat.flip(-1)
    coefficients = [(1 - i / STEPS, i / STEPS, 0.3, 0.7) for i in range(STEPS)]

    def run() -> tuple[float, float, int]:
        x, old = torch.zeros(SHAPE), x_hat
        start = time.process_time()
        with torch.no_grad():
            if multistep:
                for a, b, c, d in coefficients:
                    mean = torch.add(x_hat * c, old, alpha=d)
                    x, old = torch.add(x * a, mean, alpha=b), x_hat
            else:
                for a, b, _, _ in coefficients:
                    x = torch.add(x_hat * a, eps, alpha=b)
        return 0.0, time.process_time() - start, STEPS

    return run


def diffusers(name: str, **settings: Any) -> Run:
    scheduler = getattr(optional.diffusers(), name)(**settings)
    output = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))

    def run() -> tuple[float, float, int]:
        x = torch.zeros(SHAPE)
        start = time.process_time()
        scheduler.set_timesteps(STEPS)
        planned = time.process_time()
        with torch.no_grad():
            for t in scheduler.timesteps:
                scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else None
                x = scheduler.step(output, t, x, return_dict=False)[0]
        return planned - start, time.process_time() - planned, len(scheduler.timesteps)

    return run


def rows() -> dict[str, Run]:
    flow, vp = Gaussian(Linear()), Gaussian(Tabulated.from_betas(BETAS))
    table: dict[str, Any] = {"trained_betas": BETAS}
    return {
        "bare loop, Euler": bare(multistep=False),
        "bare loop, 2M": bare(multistep=True),
        "langevin Single(0) (ddim)": ours(Single(), vp),
        "langevin Single(1) (ddpm)": ours(Single(1.0), vp),
        "langevin Multistep(2, of=x) (dpm++2m)": ours(Multistep(2, of="x", midpoint=True), vp),
        "langevin Multistep(2, of=v, corrector) (angle)": ours(Multistep(2, of="v", corrector=True), flow),
        "langevin Heun": ours(Heun(), flow),
        "diffusers DDIM": diffusers("DDIMScheduler", **table),
        "diffusers DDPM": diffusers("DDPMScheduler", **table),
        "diffusers DPM++2M": diffusers("DPMSolverMultistepScheduler", **table),
        "diffusers UniPC-2": diffusers("UniPCMultistepScheduler", **table),
        "diffusers Heun (99 half-steps)": diffusers("HeunDiscreteScheduler", **table),
        "diffusers FlowMatchEuler": diffusers("FlowMatchEulerDiscreteScheduler"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="five repetitions")
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--out", help="write the figures to this .json or .csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    heading(f"sampling loops without a network: CPU µs per step, {STEPS} steps of {SHAPE} float32, 1 thread")
    chosen = {name: run for name, run in rows().items() if not options.only or options.only in name}
    loops: dict[str, list[float]] = {name: [] for name in chosen}
    plans: dict[str, list[float]] = {name: [] for name in chosen}
    for run in chosen.values():  # warm: caches of coefficients, lazy imports
        run()
    names = list(chosen)
    for i in range(5 if options.quick else options.repetitions):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            plan, loop, steps = chosen[name]()
            plans[name].append(plan * 1e6)
            loops[name].append(loop / steps * 1e6)
    records = [
        {
            "loop": name,
            "least": round(min(loops[name]), 1),
            "median": round(statistics.median(loops[name]), 1),
            "plan, ms": round(statistics.median(plans[name]) / 1e3, 2),
        }
        for name in names
    ]
    table(records)
    write(options.out, records)


if __name__ == "__main__":
    main()
