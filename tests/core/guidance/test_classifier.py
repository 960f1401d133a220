"""Classifier guidance with the exact classifier is Bayes' rule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from langevin.core.analytic import GaussianDenoiser, JointMixtureDenoiser
from langevin.core.guidance import cfg, chain, classifier, dynamic_threshold
from langevin.core.processes import Gaussian, Geodesic, Product, Rotations
from langevin.core.rng import Stream
from langevin.core.schedules import VE, VP, Cosine, Linear

MEAN, STD, TAU = 0.7, 0.8, 0.5
Y = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
SCHEDULES = {"linear": Linear(), "vp": VP(), "cosine": Cosine(), "ve": VE()}


def evidence(mean: Tensor, variance: Tensor | float) -> Tensor:
    """log N(y; mean, variance) of each sample, up to a constant."""
    return (-((Y - mean) ** 2) / (2 * variance)).sum(1)


@pytest.mark.parametrize("on", ["x_t", "x"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_gaussian_likelihood_gives_the_exact_posterior(schedule: str, on: str, noise) -> None:
    process = Gaussian(SCHEDULES[schedule])
    d = GaussianDenoiser(process, MEAN, STD)
    gain = STD**2 / (STD**2 + TAU**2)
    truth = GaussianDenoiser(process, MEAN + gain * (Y[0] - MEAN), math.sqrt(gain) * TAU)

    for t in (0.0, 0.05, 0.5, 0.95):
        alpha, sigma = process.schedule.at(t)
        # y given x_t: what is not known about x, and the noise of y
        spread = STD**2 * sigma**2 / (alpha**2 * STD**2 + sigma**2) + TAU**2

        def log_prob(x: Tensor, time: float, spread: float = spread) -> Tensor:
            return evidence(x if on == "x" else d(x, time)[0].x, spread)

        x_t = alpha * noise(5, 2) + sigma * noise(5, 2, seed=1)
        with torch.no_grad():
            q, _ = classifier(log_prob, on=on)(d)(x_t, t)
        exact, _ = truth(x_t, t)
        torch.testing.assert_close(q.x, exact.x)
        torch.testing.assert_close(q.eps, exact.eps)
        torch.testing.assert_close(alpha * q.x + sigma * q.eps, x_t)
        assert not q.x.requires_grad and not q.x_t.requires_grad
        rows, _ = classifier(log_prob, on=on)(d)(x_t, torch.full((5,), t, dtype=torch.float64))
        torch.testing.assert_close(rows.x, exact.x)


def test_the_scale_multiplies_the_gradient_and_0_is_off(noise, counting) -> None:
    d = GaussianDenoiser(Gaussian(), MEAN, STD)
    x = noise(3, 2)
    plain, _ = d(x, 0.5)
    one, two = (classifier(lambda x_t, t: evidence(x_t, 1.0), scale)(d)(x, 0.5)[0] for scale in (1.0, 2.0))
    torch.testing.assert_close(two.eps - plain.eps, 2 * (one.eps - plain.eps))
    torch.testing.assert_close(one.eps, plain.eps - 0.5 * (Y - x))

    def refuse(x_t, t):
        raise AssertionError("asked")

    assert torch.equal(classifier(refuse, 0.0)(d)(x, 0.5)[0].x, plain.x)
    assert torch.equal(classifier(refuse, interval=(0.6, 1.0))(d)(x, 0.5)[0].x, plain.x)


def test_at_alpha_0_nothing_is_known_and_nothing_changes(noise) -> None:
    d, x = GaussianDenoiser(Gaussian(), MEAN, STD), noise(3, 2)
    for t in (1.0, torch.ones(3).double()):
        q, _ = classifier(lambda x_t, t: evidence(x_t, 1.0))(d)(x, t)
        torch.testing.assert_close(q.x, d(x, 1.0)[0].x)
        torch.testing.assert_close(q.eps, x)


def test_the_exact_classifier_of_a_product_gives_the_conditional_belief(joint) -> None:
    """Positions and IGSO(3) frames hear p(k | all leaves); a label's own belief is what they must become."""
    t = {"positions": 0.6, "types": 0.5, "frames": 0.55}
    x_t = joint.process.corrupt(joint.sample_data(8, Stream.of(0, 8)), t, Stream.of(1, 8))
    g = classifier(lambda x, u: joint.components(x, u)[:, 1])(joint)
    q, _ = g(x_t, t)
    c, _ = joint(x_t, t, {"label": torch.ones(8, dtype=torch.long)})
    torch.testing.assert_close(q["positions"].x, c["positions"].x)
    torch.testing.assert_close(q["frames"].vector, c["frames"].vector, rtol=1e-5, atol=1e-5)


def test_gradients_do_not_mix_samples(network, noise) -> None:
    x, label = noise(5, 4, 2), {"label": torch.arange(5)}
    g = classifier(lambda x0, t: -(x0**2).flatten(1).sum(1), 0.3, on="x")(network)
    q, _ = g(x, 0.6, label)
    one, _ = g(x[2:3], 0.6, {"label": label["label"][2:3]})
    torch.testing.assert_close(q.x[2:3], one.x)
    # the gradient passes through the network: by differences
    step = 1e-6 * noise(1, 4, 2, seed=3)

    def value(y: Tensor) -> Tensor:
        return -(network(y, 0.6, {"label": label["label"][2:3]})[0].x ** 2).sum()

    slope = (value(x[2:3] + step) - value(x[2:3] - step)) / 2
    shift = (network(x[2:3], 0.6, {"label": label["label"][2:3]})[0].eps - one.eps) / (0.6 * 0.3)
    torch.testing.assert_close((shift * step).sum(), slope, rtol=1e-5, atol=1e-12)


def test_each_condition_has_its_own_gradient(mixture, noise) -> None:
    x, label = noise(4, 2), {"label": torch.tensor([0, 1, 2, 0])}
    rule = classifier(lambda x0, t: -(x0**2).sum(1), 0.5, on="x")
    c, u = rule(mixture)(x, 0.5, label)[0], rule(mixture)(x, 0.5)[0]
    q, _ = chain(rule, cfg(3.0), dynamic_threshold(1.0, 9.0))(mixture)(x, 0.5, label)
    torch.testing.assert_close(q.x, 3 * c.x - 2 * u.x)


def test_centred_positions_stay_centred(noise) -> None:
    d = GaussianDenoiser(Gaussian(centred=True), torch.zeros(4, 3), 1.0)
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    x = d.process.centre(noise(2, 4, 3), mask)
    q, _ = classifier(lambda x_t, t: (x_t[..., 0] ** 3).sum(1))(d)(x, 0.5, mask=mask)
    moved = q.x - d(x, 0.5)[0].x
    assert moved.abs().max() > 0.01
    assert moved.sum(1).abs().max() < 1e-12 and moved[1, 3].abs().max() == 0


def test_leaves_without_a_score_stay_as_they_are() -> None:
    frames = torch.eye(3).double()[None]
    d = JointMixtureDenoiser(Product(frames=Rotations(Geodesic())), [1], rotations=frames)
    x_t = d.process.corrupt(d.sample_data(3, Stream.of(0, 3)), 0.5, Stream.of(1, 3))
    q, _ = classifier(lambda x, t: x["frames"].sum((1, 2, 3)))(d)(x_t, 0.5)
    assert torch.equal(q["frames"].vector, d(x_t, 0.5)[0]["frames"].vector)


def test_mistakes_are_named(mixture, noise) -> None:
    x = noise(3, 2)
    with pytest.raises(ValueError, match="one number for each of the 3 samples"):
        classifier(lambda x_t, t: x_t.sum())(mixture)(x, 0.5)
    with pytest.raises(ValueError, match="does not depend on the state"):
        classifier(lambda x_t, t: torch.zeros(3))(mixture)(x, 0.5)
    with pytest.raises(ValueError, match="unknown argument on of classifier 'x0'; did you mean 'x'"):
        classifier(lambda x_t, t: x_t.sum(1), on="x0")
    with pytest.raises(ValueError, match="scale must be a finite number"):
        classifier(lambda x_t, t: x_t.sum(1), float("nan"))
