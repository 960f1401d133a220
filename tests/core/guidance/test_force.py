"""A force moves the flow by what it says, in however many steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids
from langevin.core.analytic import GaussianDenoiser
from langevin.core.denoiser import Denoiser
from langevin.core.guidance import chain, force, known
from langevin.core.processes import Constant, Discrete, Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, Single, sample
from langevin.core.schedules import VP, Cosine, Linear

SCHEDULES = {"linear": Linear(), "vp": VP(), "cosine": Cosine()}


def wide(schedule: Any = None, std: float = 1.0) -> GaussianDenoiser:
    return GaussianDenoiser(Gaussian(schedule or Linear()), 0.0, std)


class Still(Denoiser):
    """A flow that stands still wherever it is."""

    def __init__(self) -> None:
        self.process = Gaussian()

    def __call__(self, x_t, t, condition=None, mask=None, memory=None):  # type: ignore[no-untyped-def]
        return self.process.posterior(torch.zeros_like(x_t), x_t, t, "velocity"), memory


def drawn(denoiser: Any, steps: int, sampler: Any = None, rows: int = 3) -> Tensor:
    like = torch.zeros(rows, 4, 3, dtype=torch.float64)
    rng = Stream.of(0, rows)
    for step in sample(denoiser, sampler or Multistep(2, of="v"), grids.uniform(steps), rng, like=like):  # noqa: B007
        pass
    return step.x  # type: ignore[return-value]


def rising(x: Tensor, q: Any) -> Tensor:
    """A potential whose gradient is 1 along the last axis."""
    return x[..., 2].sum(1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_velocity_gains_minus_the_force(schedule: str, noise: Any) -> None:
    inner = wide(SCHEDULES[schedule])
    x_t = noise(2, 4, 3)
    for t, power in ((0.9, 0), (0.5, 2), (0.1, 1)):
        plain, pushed = inner(x_t, t)[0], force(rising, 0.3, power)(inner)(x_t, t)[0]
        gained = pushed.velocity - plain.velocity
        expected = torch.zeros_like(gained)
        expected[..., 2] = -0.3 * t**power
        torch.testing.assert_close(gained, expected)
        alpha, sigma = SCHEDULES[schedule].at(t)
        torch.testing.assert_close(alpha * pushed.x + sigma * pushed.eps, x_t)


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_all_pushes_come_to_the_same_in_any_number_of_steps(power: int) -> None:
    """Where the denoiser does not answer to them, x moves by s ∫ t^p dt."""
    inner = Still()
    for steps in (20, 80):
        moved = drawn(force(rising, 2.0, power)(inner), steps) - drawn(inner, steps)
        torch.testing.assert_close(moved[..., :2], torch.zeros_like(moved[..., :2]))
        exact = torch.full_like(moved[..., 2], 2 / (power + 1))
        torch.testing.assert_close(moved[..., 2], exact, rtol=1e-2, atol=0)


def test_the_estimate_at_the_end_is_the_sample_and_is_not_moved(noise: Any) -> None:
    x = noise(2, 4, 3)
    torch.testing.assert_close(force(rising, 5.0)(wide())(x, 0.0)[0].x, wide()(x, 0.0)[0].x)


def test_times_by_element_and_the_interval(noise: Any) -> None:
    x, inner = noise(2, 4, 3), wide()
    t = torch.tensor([[0.2, 0.4, 0.6, 0.8], [0.5, 0.5, 0.5, 0.5]], dtype=torch.float64)
    gained = force(rising, 1.0, 1, interval=(0.3, 0.7))(inner)(x, t)[0].velocity - inner(x, t)[0].velocity
    inside = (t >= 0.3) & (t <= 0.7)
    torch.testing.assert_close(gained[..., 2], torch.where(inside, -t, 0.0))


def test_a_gaussian_is_drawn_together_and_known_elements_stay(noise: Any) -> None:
    near = lambda x, q: -x.square().sum((1, 2))  # noqa: E731
    inner = wide()
    plain, close = drawn(inner, 20), drawn(force(near, 3.0)(inner), 20)
    assert float(close.std()) < 0.5 * float(plain.std())
    value = torch.full((1, 4, 3), 3.0, dtype=torch.float64)
    chosen = torch.tensor([[True, False, False, False]])
    held = drawn(chain(force(near, 3.0), known(value, chosen))(inner), 20, Single(0.0))
    torch.testing.assert_close(held[:, 0], torch.full((3, 3), 3.0, dtype=torch.float64))


def test_of_a_product_only_points_move_and_the_centre_stays(noise: Any) -> None:
    process = Product(positions=Gaussian(centred=True), types=Discrete(3), places=Constant())

    class Plain(GaussianDenoiser):
        def __init__(self) -> None:
            self.process = process

        def __call__(self, x_t, t, condition=None, mask=None, memory=None):  # type: ignore[no-untyped-def]
            out = {
                "positions": x_t["positions"],
                "types": torch.zeros(*x_t["types"].shape, 3, dtype=torch.float64),
                "places": None,
            }
            return self.process.posterior(out, x_t, t, "x"), memory

    x = {
        "positions": noise(2, 4, 3),
        "types": torch.full((2, 4), 3),
        "places": torch.arange(8.0).reshape(2, 4, 1),
    }
    seen = []

    def first(state: Any, q: Any) -> Tensor:
        seen.append({name: tuple(part.shape) for name, part in state.items()})
        assert torch.equal(state["places"], x["places"])
        return state["positions"][:, 0, 0]

    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    a, b = Plain()(x, 0.5, mask=mask)[0], force(first, 1.0)(Plain())(x, 0.5, mask=mask)[0]
    moved = (b["positions"].x - a["positions"].x)[..., 0]
    torch.testing.assert_close(moved[0], 0.5 * torch.tensor([0.75, -0.25, -0.25, -0.25], dtype=torch.float64))
    torch.testing.assert_close(
        moved[1], 0.5 * torch.tensor([2 / 3, -1 / 3, -1 / 3, 0.0], dtype=torch.float64)
    )
    assert torch.equal(a["types"].logits, b["types"].logits)
    assert seen[0] == {"positions": (2, 4, 3), "types": (2, 4, 3), "places": (2, 4, 1)}


def test_what_it_holds_for_each_sample_is_cut_to_the_rows_of_a_batch(noise: Any) -> None:
    class Towards:
        def __init__(self, target: Tensor) -> None:
            self.target = target

        def __call__(self, x: Tensor, q: Any) -> Tensor:
            return (x[..., 0] * self.target[:, None]).sum(1)

        def at(self, index: Any, total: int) -> Towards:
            return Towards(self.target[index])

    x, rule = noise(3, 4, 3), force(Towards(torch.tensor([1.0, 2.0, 3.0])), 1.0)
    whole = rule(wide())(x, 0.5)[0].x
    torch.testing.assert_close(rule.at(slice(1, 3), 3)(wide())(x[1:], 0.5)[0].x, whole[1:])


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (lambda x, q: x.sum(), "one number for each of the 2 samples"),
        (lambda x, q: x.detach().sum((1, 2)), "by a differentiable way"),
        (lambda x, q: (x - x).sqrt().sum((1, 2)), "not finite"),
    ],
)
def test_potentials_that_cannot_be_followed_are_named(potential: Any, message: str, noise: Any) -> None:
    with pytest.raises(ValueError, match=message):
        force(potential)(wide())(noise(2, 4, 3), 0.5)


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="power"):
        force(rising, 1.0, -1)
    with pytest.raises(ValueError, match="scale"):
        force(rising, float("inf"))
