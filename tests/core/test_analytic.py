"""Analytic denoisers: what they believe is the posterior, by independent means of computing it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.analytic import GaussianDenoiser, JointMixtureDenoiser, MixtureDenoiser
from langevin.core.analytic.leaves import geodesic_log_density
from langevin.core.processes import IGSO3, Discrete, Gaussian, Geodesic, Product, Rotations, Torus
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample
from langevin.core.schedules import EDM, VE, VP, Cosine, Linear, Shifted, Tabulated

SCHEDULES = {
    "linear": Linear(),
    "vp": VP(),
    "cosine": Cosine(),
    "ve": VE(),
    "edm": EDM(),
    "shifted": Shifted(Linear(), 3.0),
    "tabulated": Tabulated.from_betas(torch.linspace(1e-4, 0.02, 1000)),
}
COVARIANCE = torch.tensor([[1.0, 0.6, 0.1], [0.6, 0.9, -0.2], [0.1, -0.2, 0.3]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
FRAMES = so3.exp(torch.tensor([[0.0, 0.0, 0.0], [0.5, 1.0, -0.6]], dtype=torch.float64))
TYPES = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]], dtype=torch.float64)
KERNELS = {"geodesic": Geodesic(), "igso3": IGSO3()}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gaussian(schedule: str, kind: str) -> GaussianDenoiser:
    process = Gaussian(SCHEDULES[schedule])
    if kind == "diagonal":
        return GaussianDenoiser(process, MEAN, std=[0.4, 1.0, 1.7])
    return GaussianDenoiser(process, MEAN, covariance=COVARIANCE)


def mixture(schedule: str = "cosine", kind: str = "full") -> MixtureDenoiser:
    means = torch.stack([MEAN, -MEAN, 0 * MEAN])
    process = Gaussian(SCHEDULES[schedule])
    if kind == "diagonal":
        return MixtureDenoiser(process, [2, 1, 1], means, stds=[0.3, 0.5, 1.0])
    return MixtureDenoiser(process, [2, 1, 1], means, covariances=COVARIANCE / 4)


def joint(kernel: str = "geodesic", kind: str = "masked") -> JointMixtureDenoiser:
    process = Product(positions=Gaussian(), types=Discrete(3, kind=kind), frames=Rotations(KERNELS[kernel]))
    return JointMixtureDenoiser(process, [0.3, 0.7], [[-1.0, 0.5], [1.0, -0.5]], 0.3, TYPES, FRAMES)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_both_ends_are_exact(schedule: str, kind: str) -> None:
    d, x = gaussian(schedule, kind), noise(5, 3)
    q, _ = d(x, 0.0)
    torch.testing.assert_close(q.x, x)
    assert q.eps.abs().max() == 0
    alpha, sigma = d.process.schedule.at(1.0)
    q, _ = d(sigma * x, 1.0)
    torch.testing.assert_close(alpha * q.x + sigma * q.eps, sigma * x)
    if alpha == 0:
        torch.testing.assert_close(q.x, MEAN.expand(5, 3))


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("make", [gaussian, mixture])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_believed_noise_is_the_gradient_of_the_density(schedule: str, make, kind: str) -> None:
    d = make(schedule, kind)
    for t in (0.07, 0.5, 0.93):
        alpha, sigma = d.process.schedule.at(t)
        x_t = (alpha * noise(6, 3) + sigma * noise(6, 3, seed=1)).requires_grad_()
        (score,) = torch.autograd.grad(d.log_prob(x_t, t).sum(), x_t)
        q, _ = d(x_t.detach(), t)
        torch.testing.assert_close(q.eps, -sigma * score)
        torch.testing.assert_close(alpha * q.x + sigma * q.eps, x_t.detach())


def test_density_is_that_of_torch() -> None:
    x = noise(7, 3)
    normal = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)
    torch.testing.assert_close(gaussian("linear", "full").log_prob(x), normal.log_prob(x))
    parts = torch.distributions.MultivariateNormal(torch.stack([MEAN, -MEAN, 0 * MEAN]), COVARIANCE / 4)
    weights = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    torch.testing.assert_close(
        mixture().log_prob(x), (weights.log() + parts.log_prob(x[:, None])).logsumexp(1)
    )


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_times_per_sample_and_per_element_agree_with_a_float(make) -> None:
    for kind in ("diagonal", "full"):
        d, x = make("linear", kind), noise(4, 3)
        q, _ = d(x, 0.3)
        for shape in ((), (4,), (4, 3)):
            p, _ = d(x, torch.full(shape, 0.3, dtype=torch.float64))
            torch.testing.assert_close(p.x, q.x)
            torch.testing.assert_close(p.eps, q.eps)


def test_clean_elements_inform_noisy_ones_through_the_covariance() -> None:
    d, x = gaussian("linear", "full"), noise(4, 3)
    t = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64).expand(4, 3)
    q, _ = d(x, t)
    torch.testing.assert_close(q.x[:, [0, 2]], x[:, [0, 2]])
    given, here = [0, 2], [1]
    gain = COVARIANCE[here][:, given] @ torch.linalg.inv(COVARIANCE[given][:, given])
    torch.testing.assert_close(q.x[:, 1], MEAN[1] + ((x - MEAN)[:, given] @ gain.T)[:, 0])


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("schedule", ["linear", "vp", "ve"])
def test_the_exact_flow_solves_its_equation(schedule: str, kind: str) -> None:
    d, x = gaussian(schedule, kind), noise(5, 3)
    times = torch.linspace(0.9, 0.1, 101, dtype=torch.float64).tolist()

    def velocity(y: Tensor, u: float) -> Tensor:
        return d(y, u)[0].velocity

    y = x
    for t, s in itertools.pairwise(times):  # Runge and Kutta's fourth order
        h = s - t
        a = velocity(y, t)
        b = velocity(y + h / 2 * a, t + h / 2)
        c = velocity(y + h / 2 * b, t + h / 2)
        y = y + h / 6 * (a + 2 * b + 2 * c + velocity(y + h * c, s))
    torch.testing.assert_close(d.exact(x, times[0], times[-1]), y, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(d.exact(d.exact(x, 0.9, 0.2), 0.2, 0.9), x)
    rows = d.exact(x, torch.full((5,), 0.9, dtype=torch.float64), torch.full((5,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(rows, d.exact(x, 0.9, 0.1), rtol=1e-6, atol=1e-6)


def test_a_number_stands_for_features_of_any_shape() -> None:
    d = GaussianDenoiser(Gaussian(), 0.7, 0.4)
    for shape in ((2, 3), (2, 3, 4, 4)):
        q, _ = d(noise(*shape).float(), 0.5)
        assert q.x.shape == shape and q.x.dtype == torch.float32
    assert d.log_prob(noise(2, 3)).shape == (2,)


def test_data_of_no_width_is_a_point() -> None:
    d = GaussianDenoiser(Gaussian(), MEAN, 0.0)
    for t in (0.0, 0.4, 1.0):
        torch.testing.assert_close(d(MEAN.expand(2, 3), t)[0].x, MEAN.expand(2, 3))
    torch.testing.assert_close(d.exact(noise(2, 3), 1.0, 0.0), MEAN.expand(2, 3))
    with pytest.raises(ValueError, match="no density at t = 0"):
        d.log_prob(noise(2, 3))


def test_posterior_mean_by_monte_carlo() -> None:
    d = mixture("linear")
    x = d.sample_data(200_000, Stream.of(3, 200_000))
    x_t, t = noise(4, 3), 0.6
    alpha, sigma = d.process.schedule.at(t)
    for row in x_t:
        weight = (-((row - alpha * x) ** 2).sum(1) / (2 * sigma**2)).softmax(0)
        error = ((weight[:, None] * (x - (weight[:, None] * x).sum(0))) ** 2).sum(0).sqrt()
        belief = d(row[None], t)[0].x[0]
        assert (((weight[:, None] * x).sum(0) - belief).abs() < 5 * error).all()


def test_data_of_a_mixture_has_its_frequencies_and_moments() -> None:
    d, n = mixture(), 40_000
    x, index = d.draw(n, Stream.of(0, n))
    frequency = torch.bincount(index) / n
    torch.testing.assert_close(frequency, torch.tensor([0.5, 0.25, 0.25]), atol=0.01, rtol=0)
    for k, mean in enumerate((MEAN, -MEAN, 0 * MEAN)):
        torch.testing.assert_close(x[index == k].mean(0), mean, atol=0.03, rtol=0)
        torch.testing.assert_close(x[index == k].T.cov(), COVARIANCE / 4, atol=0.02, rtol=0)
    # a draw belongs to its sample, not to its batch
    torch.testing.assert_close(d.sample_data(1, Stream.of(0, [7])), x[7:8])


def test_labels_choose_components() -> None:
    d, x = mixture(), noise(3, 3)
    label = torch.tensor([0, 2, 1])
    q, _ = d(x, 0.4, {"label": label})
    for i, k in enumerate(label):
        mean = torch.stack([MEAN, -MEAN, 0 * MEAN])[k]
        alone = GaussianDenoiser(d.process, mean, covariance=COVARIANCE / 4)
        torch.testing.assert_close(q.x[i : i + 1], alone(x[i : i + 1], 0.4)[0].x)
    both = MixtureDenoiser(
        d.process, [2, 1, 1], [[0.0], [1.0], [2.0]], 0.5, labels=[[1, 1, 0], [0, 0, 1], [1, 0, 3]]
    )
    torch.testing.assert_close(
        both.log_weights({"label": torch.tensor([0, 1, 2])}, 3).exp(),
        torch.tensor([[2 / 3, 1 / 3, 0], [0, 0, 1], [0.4, 0, 0.6]], dtype=torch.float64),
    )


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.7, 1.0])
def test_the_geodesic_kernel_is_a_density(sigma: float) -> None:
    angle = (torch.arange(200_000, dtype=torch.float64) + 0.5) * math.pi / 200_000
    f = geodesic_log_density(angle, torch.tensor(sigma)).exp()
    # the uniform measure has the angle density (1 − cos ω)/π
    assert abs((f * (1 - angle.cos()) / math.pi).sum() * math.pi / 200_000 - 1) < 1e-4
    near = geodesic_log_density(torch.tensor(1e-6), torch.tensor(sigma)).exp()
    torch.testing.assert_close(near, torch.tensor(sigma, dtype=torch.float64) ** -3, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["masked", "uniform"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_joint_mixture_is_calibrated_on_what_its_process_draws(kernel: str, kind: str) -> None:
    """E[(truth − belief) h(x_t)] = 0 for any h: over data, components, types and frames, with three
    clocks.
    """
    d, n = joint(kernel, kind), 20_000
    x, index = d.draw(n, Stream.of(1, n))
    t = {"positions": 0.7, "types": 0.6, "frames": 0.45}
    x_t = d.process.corrupt(x, t, Stream.of(2, n))
    q, _ = d(x_t, t)
    angle = so3.log(x_t["frames"][:, 0].mT @ FRAMES[1]).norm(dim=-1)
    tests = torch.stack(
        [torch.ones(n), x_t["positions"][:, 0], x_t["types"][:, 0] == 0, angle, angle > 1.5], 1
    )
    truth = {
        "component": (index[:, None] == torch.arange(2)).double(),
        "positions": x["positions"],
        "types": torch.nn.functional.one_hot(x["types"][:, 0], 3).double(),
        "frames": d.process.leaves["frames"].posterior(x["frames"], x_t["frames"], t["frames"]).vector[:, 0],
    }
    belief = {
        "component": d.components(x_t, t).exp(),
        "positions": q["positions"].x,
        "types": q["types"].probabilities[:, 0],
        "frames": q["frames"].vector[:, 0],
    }
    for name, true in truth.items():
        products = (true - belief[name])[:, :, None] * tests.double()[:, None]
        error = products.std(0) / math.sqrt(n)
        assert (products.mean(0).abs() < 4.5 * error + 1e-4).all(), (name, products.mean(0) / error)


@pytest.mark.parametrize("clocks", ["coupled", "separate"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize(("kernel", "kind"), [("geodesic", "masked"), ("igso3", "uniform")])
def test_a_joint_mixture_is_recovered_with_its_correlations(
    kernel: str, kind: str, eta: float, clocks: str
) -> None:
    d, n, steps = joint(kernel, kind), 4000, 40
    times = torch.linspace(1, 0, steps + 1).tolist()
    grid = times
    if clocks == "separate":
        grid = {
            "positions": times,
            "types": [min(1.0, 1.25 * u) for u in times],
            "frames": [u**1.5 for u in times],
        }
    like = {
        "positions": torch.zeros(n, 2),
        "types": torch.zeros(n, 1, dtype=torch.long),
        "frames": torch.eye(3).expand(n, 1, 3, 3),
    }
    *_, last = sample(d, Single(eta), grid, Stream.of(1, n), like=like)
    x = last.x
    component = (x["positions"] @ torch.tensor([1.0, -0.5]) > 0).long()
    angles = so3.log(x["frames"].mT @ FRAMES[:, None, None].float()).norm(dim=-1)[..., 0]  # (2, n)
    assert angles.min(0).values.max() < 1e-3
    assert (angles.argmin(0) == component).float().mean() > 0.999
    # 4000 draws of probability 0.7 have a standard error of .007, 40 steps a bias of about .01
    assert abs(component.float().mean() - 0.7) < 0.03
    for k in (0, 1):
        mine = component == k
        frequency = torch.bincount(x["types"][mine, 0], minlength=3) / mine.sum()
        torch.testing.assert_close(frequency.double(), TYPES[k], atol=0.04, rtol=0)
        width = x["positions"][mine].std(0)
        torch.testing.assert_close(width, torch.full((2,), 0.3), atol=0.045, rtol=0)


def test_leaves_that_do_not_hear_each_other_lose_the_correlations() -> None:
    """The same check sees it when each leaf is believed from itself alone."""
    d, n = joint(), 1000
    lone = {
        "positions": JointMixtureDenoiser(
            Product(positions=Gaussian()), [0.3, 0.7], [[-1.0, 0.5], [1.0, -0.5]], 0.3
        ),
        "frames": JointMixtureDenoiser(Product(frames=Rotations()), [0.3, 0.7], rotations=FRAMES),
        "types": JointMixtureDenoiser(Product(types=Discrete(3)), [0.3, 0.7], type_probabilities=TYPES),
    }
    x = d.process.prior(d.sample_data(n, Stream.of(0, n)), Stream.of(1, n))
    times = torch.linspace(1, 0, 21).tolist()
    for i, (t, s) in enumerate(itertools.pairwise(times)):
        q = {name: part({name: x[name]}, t)[0][name] for name, part in lone.items()}
        x = d.process.update(x, q, t, s, Stream.of(2, n).fold(i))
    component = (x["positions"] @ torch.tensor([1.0, -0.5]).double() > 0).long()
    frame = so3.log(x["frames"].mT @ FRAMES[:, None, None]).norm(dim=-1)[..., 0].argmin(0)
    assert (frame == component).float().mean() < 0.7


def test_types_are_exact_at_both_ends() -> None:
    for kind in ("masked", "uniform"):
        d = JointMixtureDenoiser(Product(types=Discrete(3, kind=kind)), [0.5, 0.5], type_probabilities=TYPES)
        x = {"types": torch.tensor([[0], [2]])}
        sure, _ = d(x, 0.0)
        torch.testing.assert_close(sure["types"].probabilities[:, 0], torch.eye(3)[[0, 2]])
        blank, _ = d({"types": torch.full((2, 1), 3 if kind == "masked" else 0)}, 1.0)
        torch.testing.assert_close(blank["types"].probabilities[0, 0], TYPES.mean(0).float())


def test_pairs_count_once_and_padding_not_at_all() -> None:
    bonds = Discrete(3, pair=True)
    d = JointMixtureDenoiser(Product(bonds=bonds), [0.5, 0.5], type_probabilities=TYPES)
    x = torch.zeros(1, 2, 2, dtype=torch.long)
    expected = 3 * (TYPES[0, 0] / TYPES[1, 0]).log()  # (0, 0), (0, 1), (1, 1)
    r = d.components({"bonds": x}, 0.3)
    torch.testing.assert_close(r[0, 0] - r[0, 1], expected)
    wide = torch.nn.functional.pad(x, (0, 2, 0, 2), value=1)
    mask = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(d.components({"bonds": wide}, 0.3, mask=mask), r)
    p = JointMixtureDenoiser(Product(p=Gaussian()), [0.5, 0.5], [[[0.0]] * 4, [[1.0]] * 4], 0.5)
    y = noise(1, 4, 1)
    changed = torch.where(mask[..., None], y, 100.0)
    torch.testing.assert_close(
        p.components({"p": y}, 0.3, mask=mask), p.components({"p": changed}, 0.3, mask=mask)
    )


def test_a_sample_does_not_depend_on_its_batch() -> None:
    d = joint("igso3", "uniform")
    x_t = d.process.corrupt(d.sample_data(5, Stream.of(0, 5)), 0.5, Stream.of(1, 5))
    t = {"positions": torch.linspace(0.1, 0.9, 5), "types": 0.4, "frames": torch.linspace(0.9, 0.2, 5)}
    q, _ = d(x_t, t)
    one, _ = d(
        {k: v[3:4] for k, v in x_t.items()}, {k: v if isinstance(v, float) else v[3:4] for k, v in t.items()}
    )
    torch.testing.assert_close(q["positions"].x[3:4], one["positions"].x)
    torch.testing.assert_close(q["types"].logits[3:4], one["types"].logits)
    torch.testing.assert_close(q["frames"].vector[3:4], one["frames"].vector)


def test_leaves_without_element_axis_are_taken_too() -> None:
    d = joint()
    x = d.sample_data(3, Stream.of(0, 3))
    flat = {"positions": x["positions"], "types": x["types"][:, 0], "frames": x["frames"][:, 0]}
    a, _ = d(x, 0.4)
    b, _ = d(flat, 0.4)
    torch.testing.assert_close(a["types"].logits[:, 0], b["types"].logits)
    torch.testing.assert_close(a["frames"].vector[:, 0], b["frames"].vector)
    torch.testing.assert_close(a["positions"].x, b["positions"].x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianDenoiser(Gaussian(), 0.0), "either a standard deviation or a covariance"),
        (lambda: GaussianDenoiser(Gaussian(), MEAN, std=-1.0), "at least 0"),
        (lambda: GaussianDenoiser(Gaussian(), MEAN, covariance=torch.eye(2)), "need shape"),
        (lambda: GaussianDenoiser(Gaussian(), MEAN, covariance=-torch.eye(3)), "negative eigenvalues"),
        (lambda: gaussian("linear", "full")(noise(2, 4), 0.5), "samples of shape"),
        (lambda: MixtureDenoiser(Gaussian(), [1, -1], [[0.0], [1.0]], 1.0), "weights must be"),
        (lambda: MixtureDenoiser(Gaussian(), [1, 1, 1], [[0.0], [1.0]], 1.0), "one entry for each"),
        (
            lambda: mixture()(noise(2, 3), 0.5, {"label": torch.tensor([0, 3])}),
            "label needs 2 integers in 0 … 2",
        ),
        (lambda: mixture()(noise(2, 3), 0.5, {"lable": torch.tensor([0, 1])}), "did you mean 'label'"),
        (
            lambda: JointMixtureDenoiser(Product(a=Gaussian()), [1], [[0.0]], 1.0, TYPES[:1]),
            "type_probabilities",
        ),
        (lambda: JointMixtureDenoiser(Product(a=Gaussian()), [1]), "means describe"),
        (lambda: JointMixtureDenoiser(Product(a=Torus()), [1]), "cannot describe"),
        (
            lambda: JointMixtureDenoiser(Product(r=Rotations()), [1], rotations=2 * FRAMES[:1]),
            "must be matrices",
        ),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        make()
