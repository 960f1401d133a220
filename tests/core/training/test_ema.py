"""Averages of weights: their profiles, and any width rebuilt from two."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin.core.training import ema


@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_gamma_is_the_papers(width: float, gamma: float) -> None:
    assert ema.gamma_of(width) == pytest.approx(gamma, abs=0.005)  # EDM2, §3.1


@given(st.floats(0.01, 0.27))
@settings(max_examples=30, deadline=None)
def test_gamma_solves_its_cubic(width: float) -> None:
    g = ema.gamma_of(width)
    assert (g + 1) / ((g + 2) ** 2 * (g + 3)) == pytest.approx(width**2, rel=1e-9)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_a_power_average_weighs_each_step_by_its_power(width: float) -> None:
    steps, rule = 400, ema.Power(width)
    shares = torch.zeros(steps, dtype=torch.float64)
    for n in range(1, steps + 1):
        shares *= rule.keep(n)
        shares[n - 1] += 1 - rule.keep(n)
    tau, power = torch.arange(steps + 1, dtype=torch.float64), ema.gamma_of(width) + 1
    assert torch.allclose(shares, (tau[1:] ** power - tau[:-1] ** power) / steps**power, atol=1e-12)
    # its standard deviation is the named share of the run
    middle = (tau[1:] - 0.5) / steps
    mean = (shares * middle).sum()
    assert math.sqrt(float((shares * (middle - mean) ** 2).sum())) == pytest.approx(width, rel=0.01)


def test_a_constant_average_warms_up() -> None:
    rule = ema.Constant(0.99)
    assert rule.keep(1) == 0
    assert rule.keep(10) == pytest.approx(11 / 20) and rule.keep(100_000) == 0.99


def walk(steps: int, seed: int = 0) -> Tensor:
    """Weights that drift and settle, (steps, 6), as trained weights do."""
    noise = torch.randn(steps, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    settle = (1 - torch.exp(-torch.arange(steps, dtype=torch.float64) / 300))[:, None]
    return settle * torch.linspace(1, 2, 6, dtype=torch.float64) + 0.02 * noise.cumsum(0) / math.sqrt(steps)


@pytest.mark.parametrize("width", [0.06, 0.08, 0.12, 0.15])
def test_an_average_of_any_width_is_rebuilt_from_snapshots_of_two(width: float) -> None:
    path, kept = walk(2000), (0.05, 0.1)
    tracked = {w: {"w": torch.zeros(6, dtype=torch.float64), "n": torch.tensor(0)} for w in (*kept, width)}
    snapshots, steps, widths = [], [], []
    wanted: dict[int, Tensor] = {}
    for n in range(1, 2001):
        for w, average in tracked.items():
            ema.update(average, {"w": path[n - 1], "n": torch.tensor(n)}, ema.Power(w).keep(n))
        if n % 125 == 0:
            for w in kept:
                snapshots.append({k: v.clone() for k, v in tracked[w].items()})
                steps.append(n)
                widths.append(w)
        if n in (1000, 2000):
            wanted[n] = tracked[width]["w"].clone()
    for step, exact in wanted.items():
        rebuilt = ema.reconstruct(snapshots, steps, widths, step, width)["w"]
        other = tracked[0.1]["w"] if step == 2000 else path[step - 1]
        error = float((rebuilt - exact).norm() / exact.norm())
        assert error < 0.01
        assert error < 0.3 * float(
            (other - exact).norm() / exact.norm()
        )  # and not because all averages are alike
    assert rebuilt.dtype == torch.float64
    # what was stored is given back
    same = ema.reconstruct(snapshots, steps, widths, 2000, 0.1)
    assert torch.allclose(same["w"], tracked[0.1]["w"], rtol=1e-6)
    assert int(same["n"]) == 2000  # what is not floating point is the last one's


def test_averages_that_cannot_be_rebuilt_are_refused() -> None:
    one = {"w": torch.ones(2)}
    for arguments in (([], [], []), ([one], [1, 2], [0.1]), ([one], [1], [])):
        with pytest.raises(ValueError, match="as many steps and widths as snapshots"):
            ema.reconstruct(*arguments, 1, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step 5 is after the last snapshot, 4"):
        ema.reconstruct([one], [4], [0.1], 5, 0.1)
    for width in (0.0, 0.3):
        with pytest.raises(ValueError, match=r"width must lie in \(0, 0.28\)"):
            ema.Power(width)
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\)"):
        ema.Constant(1.0)
