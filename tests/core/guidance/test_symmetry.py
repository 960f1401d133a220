"""Samples are symmetric to rounding, whatever the network and the sampler."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core import grids, so3
from langevin.core.analytic import GaussianDenoiser
from langevin.core.denoiser import Denoiser, NetworkDenoiser
from langevin.core.guidance import Symmetry, cfg, chain, guided, known, symmetry
from langevin.core.processes import IGSO3, Discrete, Gaussian, Geodesic, Product, Rotations, Symmetric
from langevin.core.rng import Stream
from langevin.core.samplers import Churn, Heun, Langevin, Multistep, Particles, Restart, Single, sample

K, UNIT, ROWS = 4, 3, 2
SAMPLERS = {
    "ddim": Single(0.0),
    "ddpm": Single(1.0),
    "multistep": Multistep(3, of="v", corrector=True),
    "sde": Multistep(2, sde=True),
    "heun": Heun(),
    "restart": Restart(Single(0.0), 0.1, 0.5, 1),
    "restart from data": Restart(Multistep(2, of="v"), 0.0, 0.4, 1),
    "churn": Churn(),
    "langevin": Langevin(),
}


def rotations(count: int = K) -> Tensor:
    """C_n about z, or D2 for 4."""
    z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    if count == 4:
        flip = so3.exp(torch.tensor([math.pi, 0, 0], dtype=torch.float64))
        return torch.stack([r for a in (0.0, math.pi) for r in (so3.exp(a * z), flip @ so3.exp(a * z))])
    return so3.exp(2 * math.pi * torch.arange(count, dtype=torch.float64)[:, None] / count * z)


class Wild(torch.nn.Module):
    """A random network that treats every place in its own way and knows no rotations."""

    def __init__(self, length: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        width = length * 12
        self.register_buffer("first", torch.randn(width + 1, 64, generator=draw) / 8)
        self.register_buffer("last", torch.randn(64, length * 11, generator=draw) / 4)
        self.seen: list[Any] = []

    def forward(
        self, x_t: Any, t: Any, condition: Any, mask: Tensor | None, belief: Any = None
    ) -> dict[str, Tensor]:
        self.seen.append((x_t, belief))
        rows, length = x_t["types"].shape
        time = torch.as_tensor(t["positions"] if isinstance(t, dict) else t, dtype=torch.float32)
        time = (
            time.reshape(-1, *(1,) * (2 - time.ndim)).expand(rows, -1)[:, :1]
            if time.ndim
            else time.expand(rows, 1)
        )
        flat = [x_t["positions"].flatten(1), x_t["frames"].flatten(1), time]
        hidden = torch.tanh(torch.cat(flat, 1) @ self.first)  # type: ignore[operator]
        out = (hidden @ self.last).unflatten(1, (length, 11))  # type: ignore[operator]
        return {"positions": out[..., :3], "frames": out[..., 3:6], "types": out[..., 6:]}


def wild(length: int = K * UNIT, kernel: Any = None, centred: bool = True) -> NetworkDenoiser:
    process = Product(
        positions=Gaussian(centred=centred), frames=Rotations(kernel or Geodesic()), types=Discrete(5)
    )
    return NetworkDenoiser(Wild(length), process)


def like(length: int = K * UNIT, rows: int = ROWS) -> dict[str, Tensor]:
    return {
        "positions": torch.zeros(rows, length, 3),
        "frames": torch.eye(3).repeat(rows, length, 1, 1),
        "types": torch.zeros(rows, length, dtype=torch.long),
    }


def drawn(denoiser: Denoiser, sampler: Any, start: Any, steps: int = 20, **more: Any) -> Any:
    rng = Stream.of(0, len(start["types"]))
    for step in sample(denoiser, sampler, grids.uniform(steps), rng, like=start, **more):  # noqa: B007
        pass
    return step.x


def error(x: dict[str, Tensor], turns: Tensor, mask: Tensor | None = None) -> float:
    worst = 0.0
    for row in range(len(x["types"])):
        real = slice(None) if mask is None else mask[row]
        parts = {name: part[row][real].unflatten(0, (len(turns), -1)) for name, part in x.items()}
        for k, r in enumerate(turns.float()):
            for found, exact in (
                (parts["positions"][k], parts["positions"][0] @ r.T),
                (parts["frames"][k], r @ parts["frames"][0]),
                (parts["types"][k], parts["types"][0]),
            ):
                worst = max(worst, float((found - exact).abs().max()))
    return worst


@pytest.mark.parametrize("kernel", [Geodesic(), IGSO3()], ids=["flow", "diffusion"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_of_a_network_without_symmetry_are_symmetric(sampler: str, kernel: Any) -> None:
    x = drawn(Symmetry(rotations())(wild(kernel=kernel)), SAMPLERS[sampler], like())
    assert error(x, rotations()) < 1e-5
    assert float(x["positions"].mean(1).abs().max()) < 1e-5
    assert float(x["positions"].std()) > 0.05
    plain = drawn(wild(kernel=kernel), Single(0.0), like())
    assert error(plain, rotations()) > 0.1


def test_particles_are_symmetric() -> None:
    reward = lambda x: -x["positions"].square().sum((1, 2))  # noqa: E731
    particles = Particles(reward, 3, Single(1.0), begin=0.0, rounds=1)
    denoiser, rows = Symmetry(rotations())(wild()), 2
    rng = Stream.of(0, rows).particles(3)
    for step in sample(denoiser, particles, grids.uniform(8), rng, like=like(rows=6)):  # noqa: B007
        pass
    assert error(step.x, rotations()) < 1e-5  # type: ignore[arg-type]


def test_rows_of_different_lengths_and_what_is_given() -> None:
    mask = torch.arange(12) < torch.tensor([[12], [8]])
    x = drawn(symmetry(rotations())(wild()), Single(1.0), like(), mask=mask)
    assert error(x, rotations(), mask) < 1e-5 and float(x["positions"][~mask].abs().max()) == 0

    # what is known of the unit holds for all copies, wherever the rest of the known state lies
    value = {name: part.clone() for name, part in like().items()}
    value["positions"][:, 0] = torch.tensor([1.0, 2.0, 3.0])
    chosen = torch.zeros(1, 12, dtype=torch.bool)
    chosen[:, 0] = True
    held = chain(symmetry(rotations()), known(value, {"positions": chosen}))
    x = drawn(held(wild(centred=False)), Single(0.0), like())
    assert error(x, rotations()) < 1e-5
    copies = (rotations().float() @ torch.tensor([1.0, 2.0, 3.0]))[None].expand(ROWS, K, 3)
    torch.testing.assert_close(x["positions"][:, ::UNIT], copies)


def test_the_question_is_symmetric_even_where_the_state_is_not() -> None:
    inner = wild()
    x_t = {name: part.clone() for name, part in like().items()}
    x_t["positions"] = torch.randn(ROWS, 12, 3)
    t = torch.rand(ROWS, 12)
    belief, _ = Symmetry(rotations())(inner)(x_t, {"positions": t, "frames": 0.5, "types": 0.5})
    assert error(inner.network.seen[-1][0], rotations()) < 1e-6
    point = belief["positions"]  # type: ignore[index]
    torch.testing.assert_close(point.t, t[:, :UNIT].repeat(1, K))
    a = point.t[..., None]
    torch.testing.assert_close((1 - a) * point.x + a * point.eps, point.x_t)


def test_what_the_network_recalls_is_the_symmetric_belief() -> None:
    inner = wild()
    inner.network.recalls = True
    drawn(Symmetry(rotations())(inner), Single(0.0), like(), steps=3)
    recalled = [belief for _, belief in inner.network.seen[1:]]
    assert len(recalled) == 2
    for belief in recalled:
        points = belief.state["positions"].unflatten(1, (K, UNIT))
        torch.testing.assert_close(points[:, 1], points[:, 0] @ rotations()[1].float().T)


def test_an_equivariant_belief_about_a_symmetric_state_is_not_changed() -> None:
    inner = GaussianDenoiser(Gaussian(centred=True), 0.0, 0.7)
    denoiser = Symmetry(rotations(3), [""])(inner)
    x_t = denoiser.process.prior(torch.zeros(ROWS, 12, 3, dtype=torch.float64), Stream.of(0, ROWS))
    a, b = denoiser(x_t, 0.6)[0], inner(x_t, 0.6)[0]
    torch.testing.assert_close(a.x, b.x)  # type: ignore[union-attr]
    torch.testing.assert_close(a.eps, b.eps)  # type: ignore[union-attr]


@pytest.mark.parametrize("sampler", [Single(0.0), Single(1.0), Multistep(2, of="v")], ids=str)
def test_exact_beliefs_give_units_of_the_right_spread(sampler: Any) -> None:
    """Independent normal elements, so that a copy's law is that of the element alone."""
    inner, start = GaussianDenoiser(Gaussian(), 0.0, 0.5), torch.zeros(600, 9, 3, dtype=torch.float64)

    def spread(denoiser: Denoiser) -> float:
        *_, last = sample(denoiser, sampler, grids.uniform(30), Stream.of(0, 600), like=start)
        return float(last.x.std())  # type: ignore[union-attr]

    found, alone = spread(Symmetry(rotations(3), [""])(inner)), spread(inner)
    assert abs(found - alone) < 0.015 and abs(found - 0.5) < 0.1


def test_other_guidance_goes_around_it_and_sees_its_process() -> None:
    class Two(Denoiser):
        def __init__(self) -> None:
            self.process = Gaussian()

        def __call__(self, x_t, t, condition=None, mask=None, memory=None):  # type: ignore[no-untyped-def]
            shift = 1.0 if condition else 0.0
            return self.process.posterior(torch.full_like(x_t, shift), x_t, t, "x"), memory

    denoiser = guided(Two(), chain(symmetry(rotations(3), [""]), cfg(3.0)))
    assert isinstance(denoiser.process, Symmetric)
    x = denoiser.process.prior(torch.zeros(2, 6, 3), Stream.of(0, 2))
    belief, _ = denoiser(x, 0.5, {"label": torch.zeros(2)})
    # the mean of (1, 1, 1) over turns about z is (0, 0, 1), and guidance triples it
    torch.testing.assert_close(belief.x, torch.tensor([0.0, 0.0, 3.0]).expand(2, 6, 3))  # type: ignore[union-attr]


def test_a_process_that_has_no_such_points_is_refused() -> None:
    with pytest.raises(KeyError, match="unknown leaf 'positions'"):
        symmetry(rotations())(GaussianDenoiser(Gaussian(), 0.0, 1.0))
    with pytest.raises(ValueError, match="13 elements are not 4 copies"):
        drawn(symmetry(rotations())(wild(13)), Single(0.0), like(13))
