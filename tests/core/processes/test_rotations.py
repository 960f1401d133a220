"""Rotations: the exponential map, the heat kernel, and processes whose exact beliefs recover a mixture."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin.core import so3
from langevin.core.analytic import JointMixtureDenoiser
from langevin.core.posteriors import Tangent
from langevin.core.processes import IGSO3, Geodesic, Product, Rotations
from langevin.core.recall import believed
from langevin.core.rng import Stream
from langevin.core.samplers import Single
from langevin.core.schedules import VE, Cosine, Linear
from tests.core.exact import ks, last

KERNELS = {
    "geodesic": Geodesic(),
    "geodesic-cosine": Geodesic(Cosine()),
    "igso3": IGSO3(),
    "igso3-linear": IGSO3(Linear()),
}
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
eye = torch.eye(3, dtype=torch.float64)


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotations(*shape: int, seed: int = 0) -> Tensor:
    """Uniform rotations, by another way than the library's."""
    q, r = torch.linalg.qr(
        torch.randn(*shape, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return q * torch.linalg.det(q)[..., None, None]


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    return so3.log(a.mT @ b).norm(dim=-1)


def assert_rotations(r: Tensor, tolerance: float = 1e-5) -> None:
    assert float((r @ r.mT - torch.eye(3, dtype=r.dtype)).abs().max()) < tolerance
    assert float((torch.linalg.det(r) - 1).abs().max()) < tolerance


unit = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)).filter(
    lambda v: sum(a * a for a in v) > 0.01
)
angles = st.one_of(
    st.floats(0, math.pi), st.floats(0, 1e-6), st.floats(0, 1e-4).map(lambda d: math.pi - d), st.just(0.0)
)


@given(unit, angles)
@settings(max_examples=200, deadline=None)
def test_the_logarithm_undoes_the_exponential(axis: tuple[float, ...], angle: float) -> None:
    v = torch.tensor(axis, dtype=torch.float64)
    v = angle * v / v.norm()
    r = so3.exp(v)
    assert_rotations(r, 1e-14)
    assert torch.allclose(r, torch.linalg.matrix_exp(_cross(v)), atol=1e-13)
    back = so3.log(r)
    assert torch.allclose(so3.exp(back), r, atol=1e-13)
    assert float(back.norm()) == pytest.approx(angle, abs=1e-8)
    if angle < math.pi - 1e-6:  # at π itself, both ends of the axis are right
        assert torch.allclose(back, v, atol=1e-8)


def _cross(v: Tensor) -> Tensor:
    x, y, z = v.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)


def test_the_maps_are_stable_in_float32() -> None:
    v = vectors(500).float()
    v = torch.nn.functional.normalize(v, dim=-1)
    for angle in (1e-8, 1e-4, 1.0, 3.14, math.pi):
        r = so3.exp(v * angle)
        assert r.dtype == torch.float32 and bool(r.isfinite().all())
        assert torch.allclose(so3.exp(so3.log(r)), r, atol=2e-6)
        assert torch.allclose(so3.log(r).norm(dim=-1), torch.full((500,), angle), atol=3e-6)


def test_uniform_rotations_have_the_uniform_measure() -> None:
    r = so3.uniform(torch.empty(400, 100, 3, 3, dtype=torch.float64), Stream.of(0, 400))
    assert_rotations(r)
    fixed = so3.exp(torch.tensor([0.3, -2.0, 1.1], dtype=torch.float64))
    for turned in (r, fixed @ r, r @ fixed):  # invariant under both sides
        # the angle has density (1 − cos ω)/π
        assert ks(so3.log(turned).norm(dim=-1), lambda w: (w - w.sin()) / math.pi) < 2.0
    assert float(r.mean((0, 1)).abs().max()) < 4.5 / math.sqrt(3 * 40000)
    axis = torch.nn.functional.normalize(so3.log(r), dim=-1)
    assert ks(axis[..., 2], lambda z: (z + 1) / 2) < 2.0


SIGMAS = (0.02, 0.1, 0.5, 0.99, 1.0, 1.5, 3.0)


def integral(f: Tensor, omega: Tensor) -> float:
    """∫ f dμ over the uniform measure, by the midpoint rule."""
    return float((f * (1 - omega.cos()) / math.pi).sum() * (omega[1] - omega[0]))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_heat_kernel_has_the_characters_of_heat(sigma: float) -> None:
    n = 200_000
    omega = (torch.arange(n, dtype=torch.float64) + 0.5) * math.pi / n
    f = so3.igso3_log_density(omega, torch.tensor(sigma)).exp()
    # each harmonic decays as e^{−l(l+1)σ²/2}: l = 0 normalises, the others make it a semigroup in σ²
    for level in range(5):
        character = ((level + 0.5) * omega).sin() / (omega / 2).sin()
        expected = (2 * level + 1) * math.exp(-level * (level + 1) * sigma**2 / 2)
        assert integral(f * character, omega) == pytest.approx(expected, abs=1e-6), level


def test_the_two_formulas_meet() -> None:
    omega = torch.linspace(0, math.pi, 400, dtype=torch.float64)
    below, above = (
        so3.igso3_log_density(omega, torch.tensor(s, dtype=torch.float64)) for s in (1 - 1e-12, 1.0)
    )
    assert torch.allclose(below, above, atol=1e-9)


def test_a_narrow_kernel_is_a_normal_distribution() -> None:
    sigma = 1e-2
    omega = torch.linspace(0, 5 * sigma, 50, dtype=torch.float64)
    # with respect to the uniform measure, whose density in rotation vectors at 0 is 1/8π²
    expected = (
        -(omega**2) / (2 * sigma**2) - 1.5 * math.log(2 * math.pi * sigma**2) + math.log(8 * math.pi**2)
    )
    assert torch.allclose(so3.igso3_log_density(omega, torch.tensor(sigma)), expected, atol=1e-3)


def test_a_wide_kernel_is_uniform() -> None:
    omega = (torch.arange(2000, dtype=torch.float64) + 0.5) * math.pi / 2000
    excess = so3.igso3_log_density(omega, torch.tensor(3.0)).exp() - 1
    assert 1.0e-3 < float(excess.abs().max()) < 1.2e-3  # 9 exp(−σ²) at the identity
    assert float(excess[0]) == pytest.approx(9 * math.exp(-9), rel=1e-3)
    assert integral(excess.abs(), omega) / 2 < 2e-4  # total variation at the prior's σ


@pytest.mark.parametrize("sigma", [0.05, 0.4, 0.95, 1.2, 3.0])
def test_the_score_is_the_derivative_of_the_log_density(sigma: float) -> None:
    clean, noisy = rotations(40), rotations(40, seed=1)
    if sigma < 0.3:
        noisy = clean @ so3.exp(3 * sigma * vectors(40, seed=2))
    s = torch.tensor(sigma, dtype=torch.float64)
    score = so3.igso3_score(clean[:, None], noisy[:, None], s)[:, 0]

    def log_density(r: Tensor) -> Tensor:
        return so3.igso3_log_density(angle_between(r, clean), s)

    h = 1e-4
    for axis in range(3):
        turn = so3.exp(h * eye[axis])
        slope = (log_density(noisy @ turn) - log_density(noisy @ turn.mT)) / (2 * h)
        assert torch.allclose(score[:, axis], slope, atol=1e-4 * float(score.abs().max()), rtol=1e-4)
    # autograd agrees about its length
    omega = angle_between(clean, noisy).clone().requires_grad_()
    (slope,) = torch.autograd.grad(so3.igso3_log_density(omega, s).sum(), omega)
    assert torch.allclose(score.norm(dim=-1), -slope, rtol=1e-6, atol=1e-7 / sigma**2)


def test_the_score_vanishes_at_the_clean_rotation_and_at_its_antipode() -> None:
    clean = rotations(5)[:, None]
    s = torch.tensor(0.5, dtype=torch.float64)
    assert not bool(so3.igso3_score(clean, clean, s).abs().max() > 1e-9)
    opposite = clean @ so3.exp(torch.tensor([math.pi, 0.0, 0.0], dtype=torch.float64))
    assert float(so3.igso3_score(clean, opposite, torch.tensor(2.0, dtype=torch.float64)).abs().max()) < 1e-3


@pytest.mark.parametrize("sigma", SIGMAS)
def test_angles_are_drawn_from_the_density(sigma: float) -> None:
    u = Stream.of(1, 40).uniform((40, 250), torch.float64)
    drawn = so3.igso3_angle(u, torch.tensor(sigma))
    assert drawn.shape == u.shape
    omega = (torch.arange(100_000, dtype=torch.float64) + 0.5) * math.pi / 100_000
    mass = so3.igso3_log_density(omega, torch.tensor(sigma)).exp() * (1 - omega.cos())
    cumulative = mass.cumsum(0) / mass.sum()

    def cdf(w: Tensor) -> Tensor:
        return cumulative[(w / math.pi * 100_000).long().clamp(max=99_999)]

    assert ks(drawn, cdf) < 2.0


def harmonics(clean: Tensor, noisy: Tensor) -> list[tuple[float, float]]:
    """Mean and standard error of the first characters of R₀ᵀ R_t over 2l + 1."""
    omega = angle_between(clean, noisy).flatten()
    out = []
    for level in (1, 2):
        c = ((level + 0.5) * omega).sin() / (omega / 2).sin() / (2 * level + 1)
        out.append((float(c.mean()), float(c.std()) / math.sqrt(c.numel())))
    return out


def test_corruptions_compose_as_heat_does() -> None:
    process, rng = Rotations(IGSO3(VE(0.05, 3.0))), Stream.of(0, 100)
    x = rotations(100, 100)
    middle = process.corrupt(x, 0.5, rng.fold("a"))
    end = process.corrupt(middle, 0.7, rng.fold("b"), since=0.5)
    sigma = process.schedule.at(0.7)[1]
    for (found, error), level in zip(harmonics(x, end), (1, 2)):
        assert abs(found - math.exp(-level * (level + 1) * sigma**2 / 2)) < 4.5 * error
    assert_rotations(end)


@kernels
def test_noise_is_isotropic_and_complete_at_the_end(kernel: Any) -> None:
    process = Rotations(kernel)
    x = rotations(1).expand(100, 100, 3, 3)
    x_t = process.corrupt(x, 0.3, Stream.of(0, 100))
    axis = torch.nn.functional.normalize(so3.log(x.mT @ x_t), dim=-1)
    for k in range(3):
        assert ks(axis[..., k], lambda z: (z + 1) / 2) < 2.0
    end = process.corrupt(x, 1.0, Stream.of(0, 100))
    if kernel.schedule.at(1.0)[1] >= 3 or isinstance(kernel, Geodesic):
        assert ks(angle_between(x, end), lambda w: (w - w.sin()) / math.pi) < 2.0


def test_on_a_geodesic_the_angle_grows_in_proportion() -> None:
    process = Rotations(Geodesic(Cosine()))
    x = rotations(100, 100)
    x_t = process.corrupt(x, 0.4, Stream.of(0, 100))
    share = process.schedule.at(0.4)[1]
    omega = angle_between(x, x_t) / share
    assert ks(omega, lambda w: (w - w.sin()) / math.pi) < 2.0
    # from a state on the way, the rest of the way to a uniform end
    later = process.corrupt(x_t, 1.0, Stream.of(1, 100), since=0.4)
    assert ks(angle_between(x, later), lambda w: (w - w.sin()) / math.pi) < 2.0


@kernels
def test_processes_are_equivariant(kernel: Any) -> None:
    process, rng = Rotations(kernel), Stream.of(0, 5)
    x, turn, v = rotations(5, 4), rotations(1, seed=3)[0], vectors(5, 4)
    x_t = process.corrupt(x, 0.4, rng)
    if isinstance(kernel, IGSO3):
        assert torch.allclose(process.corrupt(turn @ x, 0.4, rng), turn @ x_t, atol=1e-12)
    here = process.update(x_t, Tangent(v, x_t), 0.4, 0.2, rng, eta=1.0)
    there = process.update(turn @ x_t, Tangent(v, turn @ x_t), 0.4, 0.2, rng, eta=1.0)
    assert torch.allclose(there, turn @ here, atol=1e-12)
    sigma = torch.tensor(process.schedule.at(0.4)[1], dtype=torch.float64)
    assert torch.allclose(kernel.target(turn @ x, turn @ x_t, sigma), kernel.target(x, x_t, sigma), atol=1e-8)


def test_the_truth_is_reached_in_one_step_along_the_geodesic() -> None:
    process, rng = Rotations(), Stream.of(0, 5)
    x = rotations(5, 4)
    x_t = process.corrupt(x, 0.8, rng)
    truth = process.posterior(x, x_t, 0.8)
    assert torch.allclose(process.update(x_t, truth, 0.8, 0.0, rng), x, atol=1e-9)
    halfway = process.update(x_t, truth, 0.8, 0.4, rng)
    assert torch.allclose(angle_between(x, halfway), angle_between(x, x_t) / 2, atol=1e-9)


def mixture(kernel: Any) -> tuple[JointMixtureDenoiser, Tensor]:
    frames = rotations(2, seed=4)
    return JointMixtureDenoiser(Product(frames=Rotations(kernel)), [0.7, 0.3], rotations=frames), frames


@pytest.mark.parametrize(
    ("kernel", "eta", "steps"),
    [(Geodesic(), 0.0, 40), (IGSO3(), 0.0, 60), (IGSO3(), 1.0, 60)],
    ids=["geodesic flow", "probability flow", "reverse diffusion"],
)
def test_an_exact_belief_recovers_a_mixture(kernel: Any, eta: float, steps: int) -> None:
    denoiser, frames = mixture(kernel)
    rows = 3000
    like = {"frames": torch.empty(rows, 1, 3, 3)}
    x = denoiser.process.prior(like, Stream.of(5, rows))
    times = [1 - i / steps for i in range(steps)] + [0.0]
    end = last(denoiser, Single(eta), times, x).x["frames"].double()  # type: ignore[call-overload]
    assert_rotations(end)
    away = torch.stack([angle_between(end[:, 0], frame) for frame in frames])
    assert float(away.min(0).values.max()) < 0.02
    found = float((away[0] < away[1]).double().mean())
    assert abs(found - 0.7) < 4 * math.sqrt(0.21 / rows) + 0.01


@kernels
def test_the_loss_is_0_at_the_truth_and_least_there(kernel: Any) -> None:
    process, rng = Rotations(kernel), Stream.of(0, 5)
    x, t = rotations(5, 4), torch.tensor([0.0, 0.1, 0.4, 0.8, 1.0], dtype=torch.float64)
    x_t = process.corrupt(x, t, rng)
    truth = process.posterior(x, x_t, t)
    assert float(process.loss(truth, x, x_t, t, rng).max()) < 1e-12
    for seed in range(3):
        off = Tangent(truth.vector + 0.1 * vectors(5, 4, seed=seed), x_t)
        loss = process.loss(off, x, x_t, t, rng)
        assert loss.shape == (5,) and bool((loss > 0).all()) and bool(loss.isfinite().all())


@kernels
def test_times_by_sample_and_by_element_do_what_floats_do(kernel: Any) -> None:
    process, rng = Rotations(kernel), Stream.of(0, 3)
    x, v = rotations(3, 4), vectors(3, 4)
    t, s = (torch.tensor(u, dtype=torch.float64) for u in ([0.9, 0.5, 0.2], [0.6, 0.5, 0.0]))
    x_t = process.corrupt(x, t, rng)
    by_row = process.update(x_t, Tangent(v, x_t), t, s, rng, eta=1.0)
    by_element = process.update(
        x_t, Tangent(v, x_t), t[:, None].expand(3, 4), s[:, None].expand(3, 4), rng, eta=1.0
    )
    assert torch.allclose(by_row, by_element, atol=1e-12)
    for i in range(3):
        u, w = float(t[i]), float(s[i])
        assert torch.allclose(x_t[i], process.corrupt(x, u, rng)[i], atol=1e-12)
        assert torch.allclose(
            by_row[i], process.update(x_t, Tangent(v, x_t), u, w, rng, eta=1.0)[i], atol=1e-12
        )


@kernels
def test_padding_is_the_identity_and_without_influence(kernel: Any) -> None:
    process, rng = Rotations(kernel), Stream.of(0, 2)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    x, v = rotations(2, 3), vectors(2, 3)
    wild = torch.where(mask[..., None, None], x, 7.0)
    states = [process.prior(x, rng, mask)]
    for each in (x, wild):
        x_t = process.corrupt(each, 0.5, rng, mask=mask)
        states += [x_t, process.update(x_t, Tangent(v, x_t), 0.5, 0.2, rng, eta=1.0, mask=mask)]
    assert all(torch.equal(state[~mask], eye.expand(3, 3, 3)) for state in states)
    assert torch.equal(states[1], states[3]) and torch.equal(states[2], states[4])
    losses = [
        process.loss(
            Tangent(torch.where(mask[..., None], v, w), states[1]), x, states[1], 0.5, rng, mask=mask
        )
        for w in (0.0, 9.0)
    ]
    assert torch.allclose(*losses)


@kernels
def test_a_rate_is_the_tangent_over_the_noise(kernel: Any) -> None:
    process, x_t, rate = Rotations(kernel), rotations(2, 3), vectors(2, 3)
    for t in (0.8, torch.tensor([0.3, 0.9]), torch.rand(2, 3)):
        sigma = process._sigma(t, x_t)[..., None].expand(2, 3, 1)
        found = process.posterior(rate, x_t, t, "rate").vector
        assert torch.allclose(found, rate * sigma, atol=1e-7)
        assert torch.equal(process.posterior(rate, x_t, t, "tangent").vector, rate)


def test_wrong_outputs_and_a_rising_grid_from_data_are_refused() -> None:
    process, x = Rotations(), rotations(2, 3)
    with pytest.raises(
        ValueError, match=r"must be tangents \(2, 3, 3\) or matrices \(2, 3, 3, 3\), got \(2, 3, 4\)"
    ):
        process.posterior(torch.zeros(2, 3, 4), x, 0.5)
    with pytest.raises(ValueError, match="did you mean 'rate'"):
        process.posterior(vectors(2, 3), x, 0.5, "rates")
    with pytest.raises(ValueError, match="begin the rising grid above 0"):
        process.update(x, Tangent(vectors(2, 3), x), 0.0, 0.5, Stream.of(0, 2))


@kernels
def test_nothing_is_rounded_where_networks_compute_in_half_precision(kernel: Any) -> None:
    """Autocast rounds products of matrices; training draws its states inside it."""
    process, x, rng = Rotations(kernel), rotations(4, 6).float(), Stream.of(0, 4)

    def all_of_it() -> list[Tensor]:
        x_t = process.corrupt(x, 0.4, rng)
        belief = process.posterior(x, x_t, 0.4)
        moved = process.update(x_t, belief, 0.4, 0.1, rng, eta=1.0)
        seen = believed(Tangent(belief.vector, x_t))
        return [x_t, moved, seen, process.loss(belief, x, x_t, 0.4, rng)]  # type: ignore[list-item]

    plain = all_of_it()
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        cast = all_of_it()
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))
