"""Rolling noise: times along the window, and samples of a known law."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core.processes import Gaussian
from langevin.core.rolling import delay, followed, rolled, times_of
from langevin.core.samplers import Single, Step
from langevin.core.schedules import Linear
from langevin.core.streaming import Windows


def test_times_rise_along_the_window_and_every_element_passes_all_of_them() -> None:
    grid = torch.linspace(1, 0, 9).tolist()
    behind = delay(8, 6, 2)
    assert behind == 2
    seen: dict[int, list[float]] = {k: [] for k in range(5)}
    for moves in range(8 + 4 * behind + 1):
        times = times_of(grid, behind, moves, -2, 7)
        assert times[:2] == [0.0, 0.0] and times[2:] == sorted(times[2:])
        for k in seen:
            seen[k].append(times[k + 2])
    for k, passed in seen.items():
        assert [t for n, t in enumerate(passed) if n >= k * behind][:9] == grid


class Walk:
    """Frames x_k = x_{k-1} + step: a Gaussian law whose exact belief is a linear solve; the model of a test."""

    name = "walk"

    def __init__(self, forcing: float = 1.0) -> None:
        self.process, self.device = Gaussian(Linear()), torch.device("cpu")
        self.objective: Any = type("Objective", (), {"forcing": forcing})()
        self.modality = self.network = self.denoiser = self

    def blank(self, numbers: Any, rng: Any, raw: Any, spec: Any) -> tuple[Tensor, None]:
        return torch.zeros(len(numbers), 6, 1), None

    def embed(self, condition: Any) -> Any:
        return condition

    parse = embed

    def rows(self, t: Any) -> int:
        return 1

    def __call__(self, x_t: Tensor, t: Tensor, condition: Any) -> Any:
        """E[x | x_t] for a stationary AR(1) with correlation 0.9, of variance 1."""
        k = torch.arange(x_t.shape[1])
        cov = 0.9 ** (k[:, None] - k).abs().double()
        time = t[0].double()
        a, s = 1 - time, time
        joint = a[:, None] * cov * a + torch.diag(s**2 + 1e-9)
        gain = (cov * a) @ torch.linalg.inv(joint)
        x = torch.einsum("ij,bjc->bic", gain, x_t.double()).float()
        from langevin.core.posteriors import Point

        scale = torch.where(t > 0, t, torch.ones_like(t))[..., None]
        eps = torch.where(t[..., None] > 0, (x_t - (1 - t[..., None]) * x) / scale, torch.zeros_like(x))
        return Point(x, eps, x_t, t, self.process.schedule), None


class Drawn:
    """What :func:`rolled` reads of a draw."""

    def __init__(self, n: int, steps: int, forcing: float = 1.0) -> None:
        self.model, self.n, self.numbers, self.seed, self.raw, self.spec = Walk(forcing), n, None, 0, {}, None
        times = torch.linspace(1, 0, steps + 1).tolist()
        self.run: Any = type("Run", (), {"times": times, "guidance": None, "sampler": Single()})()


def test_a_stationary_process_keeps_its_law_beyond_the_window() -> None:
    draw: Any = Drawn(3000, 60)
    windows = Windows(None, 6, 3, 20, lambda states: iter(()), rolling=True)
    costs = []
    parts = rolled(draw, windows, lambda evaluations, rows: costs.append(rows))
    x = torch.cat([next(parts) for _ in range(16)], 1)[..., 0]
    assert x.shape == (3000, 16) and len(costs) == 60 + 15 * 20 and set(costs) == {3000}
    late = x[:, 6:]
    assert float(late.mean().abs()) < 0.05
    # the deterministic moves are of first order; the law is approached as the steps grow finer
    assert float((late.var(0) - 1).abs().max()) < 0.2
    neighbours = (late[:, 1:] * late[:, :-1]).mean(0)
    assert float((neighbours / late.var(0)[1:] - 0.9).abs().max()) < 0.06


def test_rows_are_those_alone_and_models_without_clocks_of_elements_are_refused() -> None:
    windows = Windows(None, 6, 3, 20, lambda states: iter(()), rolling=True)
    many: Any = Drawn(4, 6)
    one: Any = Drawn(1, 6)
    a, b = (rolled(d, windows, lambda *_: None) for d in (many, one))
    for _ in range(9):
        assert torch.allclose(next(a)[:1], next(b), atol=1e-5)
    other: Any = Drawn(1, 6, forcing=0.0)
    with pytest.raises(ValueError, match="objective.forcing"):
        next(rolled(other, windows, lambda *_: None))


def test_batches_change_no_sample_and_are_halved_when_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = Windows(None, 6, 3, 20, lambda states: iter(()), rolling=True)
    whole: Any = Drawn(5, 6)
    expected = [part for _, part in zip(range(4), rolled(whole, windows, lambda *_: None))]
    believe, asked, costs = Walk.__call__, [], []

    def narrow(self: Walk, x_t: Tensor, t: Tensor, condition: Any) -> Any:
        asked.append(len(x_t))
        if len(x_t) > 2:
            raise torch.OutOfMemoryError
        return believe(self, x_t, t, condition)

    monkeypatch.setattr(Walk, "__call__", narrow)
    steps: list[Step] = []
    draw: Any = Drawn(5, 6)
    parts = rolled(draw, windows, lambda *cost: costs.append(cost), 4, steps.append)
    for want, found in zip(expected, parts, strict=False):
        assert torch.allclose(want, found, atol=1e-5)
    assert asked[0] == 4 and set(asked[1:]) == {1, 2}  # 4 at a time, then 2 for good
    assert set(costs) == {(1, 5)} and len(steps) == 3 * len(costs)
    assert steps[0].x.shape == (2, 6, 1) and steps[2].x.shape == (1, 6, 1) and steps[2].index == 0
    assert isinstance(steps[0].move.t, Tensor) and steps[0].move.t.shape == (2, 6)


def test_the_samplers_that_are_followed() -> None:
    assert followed(None, None, {}) == ("ddim", None)
    assert followed(None, None, {"sampler": "angle", "grid": "uniform"}) == ("ddim", "uniform")
    assert followed(None, "karras", {"sampler": "heun", "grid": "uniform"}) == ("ddim", "karras")
    assert followed(None, None, {"sampler": "ddpm"}) == (None, None)  # the model's own
    for allowed in ("ddpm", "euler", Single(0.5)):
        assert followed(allowed, None, {}) == (allowed, None)
    for other in ("heun", "dpm++2m", "angle-restart"):
        with pytest.raises(ValueError, match=r"cannot follow .*ddpm, ddpm-cool, ddim, .*Single"):
            followed(other, None, {})
