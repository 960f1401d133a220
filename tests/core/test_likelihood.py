"""log p along the flow, against Gaussians whose density is known."""

from __future__ import annotations

import math

import pytest
import torch

from langevin.core import grids
from langevin.core.analytic import GaussianDenoiser
from langevin.core.likelihood import log_likelihood
from langevin.core.processes import Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.schedules import EDM, VP, Cosine, Linear, Schedule, ZeroTerminal


@pytest.mark.parametrize(
    "schedule", [Linear(), Cosine(), ZeroTerminal(VP()), EDM(sigma_max=300.0)], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("exact", [True, False])
def test_the_likelihood_of_a_gaussian(schedule: Schedule, exact: bool) -> None:
    mean, std = 0.7, 0.5
    denoiser = GaussianDenoiser(Gaussian(schedule), mean, std)
    x = mean + std * Stream.of(0, 6).normal((6, 4), torch.float64)
    # at the start time data has a little noise: the density there, in units of data, is the one that is compared
    start = 1e-3
    alpha, sigma = schedule.at(start)
    std_start = math.hypot(alpha * std, sigma) / alpha
    truth = torch.distributions.Normal(mean, std_start).log_prob(x).sum(1)
    found = log_likelihood(
        denoiser, x, Stream.of(1, 6), grid=grids.uniform(400), exact=exact, probes=1, start=start
    )
    # the flow of an isotropic Gaussian has a Jacobian in proportion to the identity: one probe is exact too; what is
    # left is the step size, and for EDM the mean of the data in the prior, at most 4 z mean / sigma_max
    assert torch.all((found - truth).abs() < 0.04)


def test_hutchinsons_probes_agree_with_the_exact_divergence_on_average() -> None:
    covariance = torch.tensor([[1.0, 0.6, 0.0], [0.6, 0.8, 0.1], [0.0, 0.1, 0.3]], dtype=torch.float64)
    denoiser = GaussianDenoiser(
        Gaussian(Linear()), torch.zeros(3, dtype=torch.float64), covariance=covariance
    )
    x = Stream.of(0, 1).normal((1, 3), torch.float64).expand(64, 3)
    exact = log_likelihood(denoiser, x[:1], Stream.of(2, 1), grid=grids.uniform(60), exact=True)
    guesses = log_likelihood(denoiser, x, Stream.of(2, 64), grid=grids.uniform(60), probes=4)
    error = (guesses.mean() - exact[0]).abs()
    assert guesses.std() > 0  # the probes differ from sample to sample
    assert error < 4 * guesses.std() / 8


def test_likelier_data_scores_higher_and_batches_do_not_matter() -> None:
    denoiser = GaussianDenoiser(Gaussian(Linear()), 0.0, 1.0)
    x = torch.tensor([[0.0, 0.0], [1.0, -1.0], [4.0, 4.0]], dtype=torch.float64)
    together = log_likelihood(denoiser, x, Stream.of(0, 3))
    alone = torch.cat([log_likelihood(denoiser, x[i : i + 1], Stream.of(0, [i])) for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert together[0] > together[1] > together[2]


def test_what_has_no_density_is_refused() -> None:
    x = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="centred"):
        log_likelihood(GaussianDenoiser(Gaussian(Linear(), centred=True), 0.0, 1.0), x, Stream.of(0, 1))
    with pytest.raises(TypeError, match="one Gaussian leaf"):
        log_likelihood(GaussianDenoiser(Product(a=Gaussian()), 0.0, 1.0), x, Stream.of(0, 1))
