"""Number for number: diffusers' schedulers and ours, driven by the same network over the same noise levels.

The stand-in network is the exact belief about a mixture of two normals, as a function of the state x₀ + r ε
and the noise level r = σ/α itself, so that no look-up of timesteps can hide a difference between solvers.
Where diffusers' result is not the solution of the equation, tests say so and compare ours with the solution.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin import optional
from langevin.core import grids
from langevin.core.denoiser import Denoiser
from langevin.core.posteriors import Posterior
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Churn, Heun, Multistep, Sampler, Single, sample
from langevin.core.schedules import Linear, Schedule, Shifted
from langevin.core.times import scales
from tests.core.exact import TABLE, assert_moments, by_ratio, last, normal

pytestmark = pytest.mark.filterwarnings("ignore")  # of diffusers, about numpy and about itself

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
MEANS, STD = (-1.0, 1.2), 0.3


def scheduler(name: str, **settings: Any) -> Any:
    return getattr(optional.diffusers(), name)(**settings)


def clean(z: Tensor, r: Any) -> Tensor:
    """E[x | x + r ε = z] for the mixture, in its dtype."""
    variance = STD**2 + r * r
    logits = torch.stack([-((z - m) ** 2) / (2 * variance) for m in MEANS]) + torch.tensor(
        [0.7, 0.3]
    ).log().view(2, *(1,) * z.ndim)
    each = torch.stack([m + STD**2 / variance * (z - m) for m in MEANS])
    return (logits.softmax(0) * each).sum(0)


@dataclass(frozen=True)
class Mixture(Denoiser):
    """The same network behind our interface, in the parametrisation ``kind``."""

    process: Gaussian
    kind: str = "eps"

    def __call__(
        self, x_t: Any, t: Any, condition: Any = None, mask: Tensor | None = None, memory: Any = None
    ) -> tuple[Posterior, Any]:
        alpha, sigma = scales(self.process.schedule, t, x_t)
        if self.kind == "velocity":  # of the linear schedule, from α = 0 on
            return self.process.posterior(velocity(x_t, sigma), x_t, t, "velocity"), memory
        r = sigma / alpha
        x = clean(x_t / alpha, r)
        return self.process.posterior((x_t / alpha - x) / r, x_t, t, "eps"), memory


def velocity(x_t: Tensor, sigma: Any) -> Tensor:
    """(x_t − x̂) / σ on the linear path, with x̂ its limit at σ = 1."""
    mean = 0.7 * MEANS[0] + 0.3 * MEANS[1]
    x = torch.full_like(x_t, mean) if sigma == 1 else clean(x_t / (1 - sigma), sigma / (1 - sigma))
    return (x_t - x) / sigma


def ours(sampler: Sampler, times: Any, x: Tensor, schedule: Schedule = TABLE, kind: str = "eps") -> Tensor:
    end = last(Mixture(Gaussian(schedule), kind), sampler, times, x).x
    assert isinstance(end, Tensor)
    return end


def times_of_levels(levels: Any) -> list[float]:
    """Our times of diffusers' σ = σ/α."""
    r = torch.as_tensor(np.asarray(levels, dtype=np.float64))
    return [float(t) for t in TABLE.time(-2 * r.log())]


def noise(rows: int = 64) -> Tensor:
    return Stream.of(0, rows).normal((rows, 1), torch.float64)


def scaled(level: Any) -> float:
    """α of a level r on a variance-preserving schedule."""
    return 1 / math.sqrt(1 + float(level) ** 2)


def exploding(theirs: Any, x: Tensor, **options: Any) -> Tensor:
    """Runs a scheduler whose state is x₀ + σ ε (Euler, Heun, LMS)."""
    levels = theirs.sigmas
    z = x / scaled(levels[0])  # what our state at that level is, over α
    index = 0
    for t in theirs.timesteps:
        theirs.scale_model_input(z, t)
        r = levels[theirs.step_index].double()
        index = theirs.step_index
        z = theirs.step((z.double() - clean(z.double(), r)) / r, t, z, **options).prev_sample.double()
    assert index >= len(set(levels.tolist())) - 2
    return z


def preserving(theirs: Any, x: Tensor, noises: list[Tensor] | None = None) -> Tensor:
    """Runs a scheduler whose state is α x₀ + σ ε over its list of levels (DPM-Solver, DEIS, UniPC)."""
    for i, t in enumerate(theirs.timesteps):
        r = theirs.sigmas[i].double()
        z = x.double() / scaled(r)
        extra = {"variance_noise": noises[i]} if noises else {}
        x = theirs.step((z - clean(z, r)) / r, t, x, **extra).prev_sample
    return x.double()


@pytest.mark.parametrize("steps", [4, 20, 50])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_ddim(spacing: str, steps: int) -> None:
    theirs = scheduler("DDIMScheduler", **BETAS, clip_sample=False, timestep_spacing=spacing, steps_offset=1)
    theirs.set_timesteps(steps)
    x = start = noise()
    for k in theirs.timesteps.tolist():
        alpha = math.sqrt(float(theirs.alphas_cumprod[k]))
        r = math.sqrt(1 - alpha**2) / alpha
        x = theirs.step((x / alpha - clean(x / alpha, r)) / r, k, x, eta=0.0).prev_sample
    assert torch.allclose(ours(Single(), grids.named(spacing, steps), start), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_noise(eta: float) -> None:
    theirs = scheduler("DDIMScheduler", **BETAS, clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(20)
    denoiser, rng, start = Mixture(Gaussian(TABLE)), Stream.of(0, 64), noise()
    steps = list(sample(denoiser, Single(eta), grids.trailing(20), rng, x=start))
    x = start
    for i, k in enumerate(theirs.timesteps.tolist()):
        alpha = math.sqrt(float(theirs.alphas_cumprod[k]))
        r = math.sqrt(1 - alpha**2) / alpha
        z = rng.fold("move", i).fold("update").normal((64, 1), torch.float64)
        x = theirs.step((x / alpha - clean(x / alpha, r)) / r, k, x, eta=eta, variance_noise=z).prev_sample
        assert torch.allclose(steps[i].x, x, rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_ddpm_step_by_step(steps: int) -> None:
    theirs = scheduler(
        "DDPMScheduler", **BETAS, clip_sample=False, timestep_spacing="trailing", variance_type="fixed_small"
    )
    theirs.set_timesteps(steps)
    denoiser, rng, x = Mixture(Gaussian(TABLE)), Stream.of(0, 64), noise()
    times = grids.trailing(steps)(denoiser.process)
    for i, k in list(enumerate(theirs.timesteps.tolist()))[:: max(1, steps // 10)]:
        alpha = math.sqrt(float(theirs.alphas_cumprod[k]))
        r = math.sqrt(1 - alpha**2) / alpha
        eps = (x / alpha - clean(x / alpha, r)) / r
        generator = torch.Generator().manual_seed(i)
        stepped = theirs.step(eps, k, x, generator=generator).prev_sample
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        # the same step of ours, with its own noise taken off and theirs put on
        belief = denoiser(x, times[i])[0]
        step = denoiser.process.update(x, belief, times[i], times[i + 1], rng, eta=1.0)
        own = denoiser.process.noise(x, rng.fold("update"))
        still = denoiser.process.update(x, belief, times[i], times[i + 1], rng.fold("other"), eta=1.0)
        tau = ((step - still) / (own - denoiser.process.noise(x, rng.fold("other", "update")))).median()
        assert torch.allclose(step + tau * (z - own), stepped, rtol=1e-4, atol=1e-5)
        x = stepped


@pytest.mark.parametrize("steps", [5, 30])
@pytest.mark.parametrize("karras", [False, True])
def test_euler(karras: bool, steps: int) -> None:
    theirs = scheduler(
        "EulerDiscreteScheduler", **BETAS, use_karras_sigmas=karras, timestep_spacing="linspace"
    )
    theirs.set_timesteps(steps)
    x = noise()
    times = grids.karras(steps) if karras else times_of_levels(theirs.sigmas)
    assert torch.allclose(ours(Single(), times, x), exploding(theirs, x), rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("steps", [5, 30])
@pytest.mark.parametrize("karras", [False, True])
def test_heun(karras: bool, steps: int) -> None:
    theirs = scheduler("HeunDiscreteScheduler", **BETAS, use_karras_sigmas=karras)
    theirs.set_timesteps(steps)
    x = noise()
    levels = [s for s, _ in itertools.groupby(theirs.sigmas.tolist())]
    assert len(levels) == steps + 1
    assert torch.allclose(
        ours(Heun("sigma"), times_of_levels(levels), x), exploding(theirs, x), rtol=1e-4, atol=3e-5
    )


@pytest.mark.parametrize("steps", [3, 6, 25])
def test_lms(steps: int) -> None:
    theirs = scheduler("LMSDiscreteScheduler", **BETAS, use_karras_sigmas=True)
    theirs.set_timesteps(steps)
    x = noise()
    assert torch.allclose(
        ours(Multistep(4, of="sigma"), grids.karras(steps), x), exploding(theirs, x), rtol=1e-4, atol=3e-5
    )


@pytest.mark.parametrize("steps", [2, 8, 14, 15, 30])
def test_dpm_solver_2m(steps: int) -> None:
    theirs = scheduler("DPMSolverMultistepScheduler", **BETAS, use_karras_sigmas=True)
    assert (theirs.config.solver_order, theirs.config.solver_type, theirs.config.final_sigmas_type) == (
        2,
        "midpoint",
        "zero",
    )
    theirs.set_timesteps(steps)
    x = noise()
    times = times_of_levels(theirs.sigmas)
    assert times == pytest.approx(list(grids.karras(steps)(Gaussian(TABLE))), abs=1e-5)
    assert torch.allclose(
        ours(Multistep(2, midpoint=True), times, x), preserving(theirs, x), rtol=1e-4, atol=3e-5
    )


@pytest.mark.parametrize("steps", [2, 8, 20])
def test_dpm_solver_2m_heun_is_exact_integration(steps: int) -> None:
    # their "heun" form of the second-order term is the exact integral of the line through two beliefs
    theirs = scheduler("DPMSolverMultistepScheduler", **BETAS, use_karras_sigmas=True, solver_type="heun")
    theirs.set_timesteps(steps)
    x = noise()
    assert torch.allclose(
        ours(Multistep(2), times_of_levels(theirs.sigmas), x), preserving(theirs, x), rtol=1e-4, atol=3e-5
    )


@pytest.mark.parametrize("steps", [5, 20])
def test_dpm_solver_2m_sde(steps: int) -> None:
    theirs = scheduler(
        "DPMSolverMultistepScheduler", **BETAS, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"
    )
    theirs.set_timesteps(steps)
    x, rng = noise(), Stream.of(0, 64)
    drawn = [rng.fold("move", i).fold("update").normal((64, 1), torch.float64) for i in range(steps)]
    found = ours(Multistep(2, sde=True, midpoint=True), times_of_levels(theirs.sigmas), x)
    assert torch.allclose(found, preserving(theirs, x, drawn), rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [4, 14, 25])
def test_unipc(order: int, steps: int) -> None:
    theirs = scheduler(
        "UniPCMultistepScheduler", **BETAS, use_karras_sigmas=True, solver_order=order, solver_type="bh2"
    )
    theirs.set_timesteps(steps)
    x = noise()
    sampler = Multistep(order, corrector=True, midpoint=True, lower_final=True)
    assert torch.allclose(
        ours(sampler, times_of_levels(theirs.sigmas), x), preserving(theirs, x), rtol=1e-4, atol=5e-5
    )


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [5, 10, 14, 20])
def test_deis(order: int, steps: int) -> None:
    theirs = scheduler("DEISMultistepScheduler", **BETAS, solver_order=order, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    x = noise()
    # down to the first entry of the table; the order falls towards the end of fewer than 15 steps
    sampler = Multistep(order, of="eps", lower_final=steps < 15)
    assert torch.allclose(
        ours(sampler, times_of_levels(theirs.sigmas), x), preserving(theirs, x), rtol=1e-4, atol=3e-5
    )


def flow(theirs: Any, x: Tensor) -> Tensor:
    for t in theirs.timesteps:
        sigma = float(t) / 1000
        x = theirs.step(velocity(x.double(), sigma), t, x).prev_sample
    return x.double()


@pytest.mark.parametrize("steps", [1, 4, 28])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_euler(shift: float, steps: int) -> None:
    theirs = scheduler("FlowMatchEulerDiscreteScheduler", shift=shift)
    theirs.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    x = noise()
    found = ours(Single(), grids.shifted(steps, shift), x, Linear(), "velocity")
    assert torch.allclose(found, flow(theirs, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 10])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_heun(shift: float, steps: int) -> None:
    theirs = scheduler("FlowMatchHeunDiscreteScheduler", shift=shift)
    theirs.set_timesteps(steps)
    x = noise()
    levels = [s for s, _ in itertools.groupby(theirs.sigmas.tolist())]
    found = ours(Heun(), levels, x, Linear(), "velocity")
    assert torch.allclose(found, flow(theirs, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [6, 18])
def test_edm_euler_and_its_preconditioning(steps: int) -> None:
    theirs = scheduler("EDMEulerScheduler", sigma_data=0.5)
    theirs.set_timesteps(steps)
    from langevin.core.schedules import EDM

    process = Gaussian(EDM(80.0), sigma_data=0.5)
    z = noise() * 80.0
    start = z
    for i, t in enumerate(theirs.timesteps):
        r = float(theirs.sigmas[i])
        c_skip, c_out = 0.25 / (r**2 + 0.25), r * 0.5 / math.sqrt(r**2 + 0.25)
        z = theirs.step(
            (clean(z, r) - c_skip * z) / c_out, t, z, pred_original_sample=None
        ).prev_sample.double()

    @dataclass(frozen=True)
    class Raw(Denoiser):
        process: Gaussian

        def __call__(self, x_t: Any, t: Any, *rest: Any) -> tuple[Posterior, Any]:
            r = self.process.schedule.at(t)[1]
            c_skip, c_out = 0.25 / (r**2 + 0.25), r * 0.5 / math.sqrt(r**2 + 0.25)
            return self.process.posterior((clean(x_t, r) - c_skip * x_t) / c_out, x_t, t, "edm"), None

    assert torch.allclose(last(Raw(process), Single(), grids.karras(steps), start).x, z, rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]


# Where diffusers' numbers are not the solution.


def exact_eps(denoiser: Any, x: Tensor, r: float) -> Tensor:
    """ε of the exact belief about N(0.7, 0.4²) at level r, for a state α x₀ + σ ε."""
    alpha = scaled(r)
    sigma = r * alpha
    return sigma * (x - alpha * 0.7) / (alpha**2 * 0.16 + sigma**2)


def test_linspace_timesteps_do_not_converge_and_ours_do() -> None:
    denoiser = normal(TABLE)
    start = denoiser.quantiles(1.0)
    exact = denoiser.exact(start, 1.0, 0.0)
    theirs, mine = [], []
    for steps in (80, 320):
        ddim = scheduler("DDIMScheduler", **BETAS, clip_sample=False, timestep_spacing="linspace")
        ddim.set_timesteps(steps)
        x = start
        for k in ddim.timesteps.tolist():
            alpha = math.sqrt(float(ddim.alphas_cumprod[k]))
            x = ddim.step(exact_eps(denoiser, x, math.sqrt(1 - alpha**2) / alpha), k, x).prev_sample
        theirs.append(float((x - exact).abs().mean()))
        for grid in (grids.trailing, grids.uniform):
            mine.append(float((last(denoiser, Single(), grid(steps), start).x - exact).abs().mean()))  # type: ignore[operator]
    # their previous timestep is one fixed stride back, which linspace does not keep
    assert theirs[1] > 0.9 * theirs[0] and theirs[1] > 0.01
    assert mine[2] < mine[0] / 3 and mine[3] < mine[1] / 3


def test_churn_before_the_network_is_asked_and_after() -> None:
    # Karras et al., Alg. 2, adds noise and then asks; EulerDiscreteScheduler asks and then adds noise
    rows, steps = 4000, 40
    denoiser = normal(TABLE)
    start = denoiser.draw(1.0, rows)
    euler = scheduler("EulerDiscreteScheduler", **BETAS, use_karras_sigmas=True)
    euler.set_timesteps(steps)
    z, generator = start / scaled(euler.sigmas[0]), torch.Generator().manual_seed(0)
    for i, t in enumerate(euler.timesteps):
        r = float(euler.sigmas[i])
        euler.scale_model_input(z, t)
        eps = exact_eps(denoiser, z.double() * scaled(r), r)
        z = euler.step(eps, t, z, s_churn=20.0, generator=generator).prev_sample
    assert float(z.std()) > 0.44  # the data have 0.40
    for sampler, bias in ((Churn(Single(), 20.0), 0.055), (Churn(Heun("sigma"), 20.0), 0.01)):
        end = last(denoiser, sampler, grids.karras(steps), start).x
        assert_moments(end, 0.7, 0.4, bias)  # type: ignore[arg-type]
        assert float(end.std()) < 0.42  # type: ignore[union-attr]


def test_dpm_solver_3m_is_of_order_3_here_and_not_there() -> None:
    # their D2 is half the second difference: the published update without its factor 2
    denoiser = normal(TABLE)
    errors: dict[str, list[float]] = {"theirs": [], "ours": []}
    for steps in (32, 64):
        times = by_ratio(TABLE, 10.0, 0.1, steps)
        levels = [
            math.exp(math.log(10.0) + (math.log(0.1) - math.log(10.0)) * i / steps) for i in range(steps + 1)
        ]
        start = denoiser.quantiles(times[0])
        exact = denoiser.exact(start, times[0], times[-1])
        dpm = scheduler("DPMSolverMultistepScheduler", **BETAS, solver_order=3, lower_order_final=False)
        dpm.set_timesteps(steps)
        dpm.sigmas = torch.tensor(levels, dtype=torch.float64)
        dpm.timesteps = torch.arange(steps, 0, -1)
        x = start
        for i, t in enumerate(dpm.timesteps):
            x = dpm.step(exact_eps(denoiser, x.double(), levels[i]), t, x.double()).prev_sample
        errors["theirs"].append(float((x.double() - exact).abs().mean()))
        errors["ours"].append(float((last(denoiser, Multistep(3), times, start).x - exact).abs().mean()))  # type: ignore[operator]
    order = {name: math.log2(a / b) for name, (a, b) in errors.items()}
    assert order["ours"] > 2.8, order
    assert order["theirs"] < 2.5, order
    assert errors["ours"][1] < errors["theirs"][1] / 3


def test_unipc_with_bh1_is_not_a_number_at_the_end_and_ours_is() -> None:
    steps, x = 10, noise()
    theirs = scheduler("UniPCMultistepScheduler", **BETAS, use_karras_sigmas=True, solver_type="bh1")
    theirs.set_timesteps(steps)
    assert not bool(preserving(theirs, x).isfinite().all())
    end = ours(Multistep(2, corrector=True), grids.karras(steps), x)
    fine = ours(Multistep(2, of="v", corrector=True), grids.curvature(400, [1.0]), x)
    assert bool(end.isfinite().all()) and float((end - fine).abs().mean()) < 0.15


def test_times_are_never_looked_up() -> None:
    # their step finds its place by equality of floats: a timestep that took a detour through a sum is lost
    theirs = scheduler("FlowMatchEulerDiscreteScheduler")
    theirs.set_timesteps(sigmas=[1.0, 0.25400001, 0.1])
    with pytest.raises(IndexError):
        theirs.index_for_timestep(torch.tensor(254.0))
    denoiser = Mixture(Gaussian(Linear()), "velocity")
    near = [denoiser(noise(), t)[0].x for t in (0.254, math.nextafter(0.254, 1), 0.25400001)]  # type: ignore[union-attr]
    assert all(torch.allclose(other, near[0], atol=1e-6) for other in near[1:])


def test_a_shift_is_applied_once() -> None:
    # FlowMatchEulerDiscreteScheduler shifts its table, takes the ends of that, and shifts what lies between them again
    factor, steps = 3.0, 4

    def shift(t: float) -> float:
        return factor * t / (1 + (factor - 1) * t)

    theirs = scheduler("FlowMatchEulerDiscreteScheduler", shift=factor)
    theirs.set_timesteps(steps)
    low = shift(1 / 1000)
    between = [1 + (low - 1) * i / (steps - 1) for i in range(steps)]
    assert theirs.sigmas.tolist() == pytest.approx([*map(shift, between), 0.0], abs=1e-4)
    assert theirs.sigmas[-2] == pytest.approx(shift(low), abs=1e-4)  # shifted twice

    mine = list(grids.shifted(steps, factor)(Gaussian(Linear())))
    assert mine == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0])
    # the same levels by a shifted schedule, whose times are not shifted a second time
    path = Shifted(Linear(), factor)
    uniform = [path.at(t)[1] for t in grids.uniform(steps)(Gaussian(path))]
    assert uniform == pytest.approx(mine)
    assert [path.at(t)[1] for t in grids.trailing(steps)(Gaussian(path))] == pytest.approx(mine)


def test_a_pretrained_grid_of_few_steps_begins_at_pure_noise() -> None:
    # "leading", the default of many pipelines, starts at 981 of 999 with 50 steps; by that name ours does too
    process = Gaussian(TABLE)
    assert grids.leading(50)(process)[0] == pytest.approx(0.982)
    assert all(
        grids.named(name, 50)(process)[0] == 1 for name in ("trailing", "karras", "uniform", "curvature")
    )
