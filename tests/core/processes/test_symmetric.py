"""Symmetric states stay symmetric, and each element has the noise that it would have alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.processes import (
    IGSO3,
    Constant,
    Discrete,
    Gaussian,
    Geodesic,
    Process,
    Product,
    Rotations,
    Symmetric,
    Torus,
)
from langevin.core.processes.symmetric import Copies
from langevin.core.rng import Stream

K, UNIT, ROWS = 3, 5, 4


def turns(count: int) -> Tensor:
    """C_n about z."""
    angles = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    return so3.exp(torch.stack([0 * angles, 0 * angles, angles], -1))


def dihedral() -> Tensor:
    flip = so3.exp(torch.tensor([math.pi, 0, 0], dtype=torch.float64))
    return torch.stack([r for turn in turns(2) for r in (turn, flip @ turn)])


def process(kernel: object = None, centred: bool = True) -> Product:
    return Product(
        positions=Gaussian(centred=centred),
        frames=Rotations(kernel or Geodesic()),  # type: ignore[arg-type]
        types=Discrete(6),
        torsions=Torus(),
        places=Constant(),
    )


def blank(rows: int = ROWS, length: int = K * UNIT) -> dict[str, Tensor]:
    return {
        "positions": torch.zeros(rows, length, 3),
        "frames": torch.eye(3).expand(rows, length, 3, 3),
        "types": torch.zeros(rows, length, dtype=torch.long),
        "torsions": torch.zeros(rows, length, 2),
        "places": torch.arange(length).float()[None, :, None].repeat(rows, 1, 1),
    }


def error(x: dict[str, Tensor], rotations: Tensor, mask: Tensor | None = None) -> float:
    """The largest deviation of any copy of any leaf from the unit's."""
    worst = 0.0
    for row in range(len(x["types"])):
        real = slice(None) if mask is None else mask[row]
        parts = {name: part[row][real].unflatten(0, (len(rotations), -1)) for name, part in x.items()}
        for k, r in enumerate(rotations.float()):
            worst = max(
                worst,
                float((parts["positions"][k] - parts["positions"][0] @ r.T).abs().max()),
                float((parts["frames"][k] - r @ parts["frames"][0]).abs().max()),
                float((parts["types"][k] != parts["types"][0]).sum()),
                float((parts["torsions"][k] - parts["torsions"][0]).abs().max()),
            )
    return worst


@pytest.mark.parametrize("kernel", [Geodesic(), IGSO3()], ids=["flow", "diffusion"])
@pytest.mark.parametrize("rotations", [turns(3), dihedral()], ids=["C3", "D2"])
def test_noise_and_moves_are_symmetric(rotations: Tensor, kernel: object) -> None:
    symmetric = Symmetric(process(kernel), rotations, ["positions"])
    rng, like = Stream.of(0, ROWS), blank(length=len(rotations) * UNIT)
    x = symmetric.prior(like, rng)
    assert isinstance(x, dict) and error(x, rotations) < 1e-6
    assert torch.equal(x["places"], like["places"])  # what is constant is each copy's own
    later = symmetric.corrupt(x, 0.8, rng, since=0.3)
    assert error(later, rotations) < 1e-6  # type: ignore[arg-type]
    outputs = {
        "positions": torch.randn(x["positions"].shape, generator=torch.Generator().manual_seed(0)),
        "frames": torch.randn(*x["types"].shape, 3, generator=torch.Generator().manual_seed(1)),
        "types": torch.randn(*x["types"].shape, 6, generator=torch.Generator().manual_seed(2)),
        "torsions": torch.randn(x["torsions"].shape, generator=torch.Generator().manual_seed(3)),
        "places": None,
    }
    belief = symmetric.posterior(outputs, x, 0.8)
    for eta in (0.0, 1.0):
        moved = symmetric.update(x, belief, 0.8, 0.5, rng, eta)
        assert error(moved, rotations) < 1e-6  # type: ignore[arg-type]
        assert torch.equal(moved["places"], like["places"])  # type: ignore[index]


@pytest.mark.parametrize("rotations", [turns(3), dihedral()], ids=["C3", "D2"])
def test_an_element_has_the_variance_that_it_would_have_alone(rotations: Tensor) -> None:
    rows, count = 4000, len(rotations)
    like = torch.zeros(rows, count * UNIT, 3)
    free = Symmetric(Gaussian(), rotations, [""]).prior(like, Stream.of(0, rows))
    assert isinstance(free, Tensor)
    torch.testing.assert_close(free.var((0, 1)), torch.ones(3), atol=0.03, rtol=0)
    centred = Symmetric(Gaussian(centred=True), rotations, [""]).prior(like, Stream.of(0, rows))
    assert isinstance(centred, Tensor)
    along = 1 - 1 / UNIT if count == 3 else 1.0  # of C3 the unit's centre is held along the axis
    torch.testing.assert_close(centred.var((0, 1)), torch.tensor([1.0, 1.0, along]), atol=0.03, rtol=0)
    assert float(centred.mean(1).abs().max()) < 1e-6
    assert float(centred[:, :UNIT, :2].mean(1).var()) > 0.15  # across it, the unit may stand off


def test_the_centre_stays_on_the_axis_and_at_its_middle() -> None:
    rotations = turns(3)
    symmetric = Symmetric(Gaussian(centred=True), rotations, [""])
    rng, like = Stream.of(1, ROWS), torch.zeros(ROWS, K * UNIT, 3)
    x: Tensor = symmetric.prior(like, rng)  # type: ignore[assignment]
    # a belief that draws everything along the axis and aside
    belief = symmetric.posterior(torch.ones_like(x) * 3, x, 0.7, "x")
    moved: Tensor = symmetric.update(x, belief, 0.7, 0.2, rng, 1.0)  # type: ignore[assignment]
    assert float(moved.mean(1).abs().max()) < 1e-6
    off = Symmetric(Gaussian(), rotations, [""]).update(x, belief, 0.7, 0.2, rng)
    assert float(off.mean(1)[:, 2].abs().min()) > 0.5  # type: ignore[union-attr]


def test_ragged_rows_are_symmetric_each_by_itself_and_padding_changes_nothing() -> None:
    rotations = turns(3)
    symmetric = Symmetric(process(), rotations, ["positions"])
    sizes = torch.tensor([3, 15, 9, 12])
    mask = torch.arange(15) < sizes[:, None]
    rng = Stream.of(0, ROWS)
    x = symmetric.prior(blank(), rng, mask)
    assert isinstance(x, dict) and error(x, rotations, mask) < 1e-6
    assert float(x["positions"][~mask].abs().max()) == 0
    assert torch.equal(x["frames"][0, 3:], torch.eye(3).expand(12, 3, 3))
    t = torch.linspace(0.2, 0.9, ROWS)
    belief = symmetric.posterior(
        {
            "positions": x["positions"] + 1,
            "frames": torch.zeros(ROWS, 15, 3),
            "types": torch.zeros(ROWS, 15, 6),
            "torsions": x["torsions"],
            "places": None,
        },
        x,
        t,
    )
    moved = symmetric.update(x, belief, t, t / 2, rng, 1.0, mask)
    assert error(moved, rotations, mask) < 1e-6  # type: ignore[arg-type]
    alone = symmetric.prior(blank(1, 9), Stream.of(0, [2]))
    torch.testing.assert_close(alone["positions"][0], x["positions"][2, :9])  # type: ignore[index]


def test_padding_may_follow_every_copy() -> None:
    mask = torch.tensor([[True, True, False] * 3, [True] * 9])
    at = Copies.of(9, 3, mask, torch.device("cpu"))
    value = torch.arange(18.0).reshape(2, 9)
    assert at.all(value)[0, :, :2].tolist() == [[0, 1], [3, 4], [6, 7]]
    spread = at.spread(at.unit(value))
    assert spread[0][mask[0]].tolist() == [0, 1] * 3 and spread[1].tolist() == [9, 10, 11] * 3


def test_a_symmetric_belief_is_the_mean_in_the_frame_of_the_unit() -> None:
    rotations = dihedral()
    symmetric = Symmetric(process(), rotations, ["positions"])
    x = symmetric.prior(blank(2, 8), Stream.of(0, 2))
    assert isinstance(x, dict)
    outputs = {
        "positions": torch.randn(2, 8, 3),
        "frames": torch.randn(2, 8, 3),
        "types": torch.randn(2, 8, 6),
        "torsions": torch.randn(2, 8, 2),
        "places": None,
    }
    belief = symmetric.believed(symmetric.posterior(outputs, x, 0.6), x)
    plain = symmetric.posterior(outputs, x, 0.6)
    copies = plain["positions"].x.unflatten(1, (4, 2))  # type: ignore[index,union-attr]
    by_hand = torch.stack([copies[:, k] @ rotations[k].float() for k in range(4)]).mean(0)
    point = belief["positions"]  # type: ignore[index]
    torch.testing.assert_close(point.x[:, :2], by_hand)
    torch.testing.assert_close(point.x[:, 4:6], by_hand @ rotations[2].float().T)
    torch.testing.assert_close(0.4 * point.x + 0.6 * point.eps, x["positions"])
    tangents = outputs["frames"].unflatten(1, (4, 2)).mean(1)  # type: ignore[union-attr]
    torch.testing.assert_close(belief["frames"].vector, tangents.repeat(1, 4, 1))  # type: ignore[index]
    logits = outputs["types"].unflatten(1, (4, 2)).mean(1)  # type: ignore[union-attr]
    torch.testing.assert_close(belief["types"].logits, logits.repeat(1, 4, 1))  # type: ignore[index]


def test_symmetric_states_are_left_as_they_are_and_others_follow_their_unit() -> None:
    rotations = turns(3)
    symmetric = Symmetric(process(centred=False), rotations, ["positions"])
    x = symmetric.prior(blank(), Stream.of(0, ROWS))
    assert isinstance(x, dict)
    again = symmetric.symmetrised(x)
    assert all(torch.equal(again[name], x[name]) for name in x)  # type: ignore[index]
    odd = {**x, "positions": x["positions"].clone()}
    odd["positions"][:, UNIT:] = 7.0
    torch.testing.assert_close(symmetric.symmetrised(odd)["positions"], x["positions"])  # type: ignore[index]


def test_the_loss_is_that_of_the_unit() -> None:
    rotations = turns(3)
    symmetric = Symmetric(Gaussian(), rotations, [""])
    rng = Stream.of(0, ROWS)
    x: Tensor = symmetric.prior(torch.zeros(ROWS, K * UNIT, 3), rng.fold("data"))  # type: ignore[assignment]
    x_t: Tensor = symmetric.corrupt(x, 0.5, rng)  # type: ignore[assignment]
    exact = symmetric.posterior(x, x_t, 0.5, "x")
    assert float(symmetric.loss(exact, x, x_t, 0.5, rng).abs().max()) < 1e-9
    wrong = symmetric.posterior(x + 1, x_t, 0.5, "x")
    assert float(symmetric.loss(wrong, x, x_t, 0.5, rng).min()) > 1


@pytest.mark.parametrize(
    ("inner", "rotations", "points", "message"),
    [
        (Gaussian(), torch.eye(3), [""], "shape"),
        (Gaussian(), turns(3)[1:], [""], "identity"),
        (Gaussian(), turns(3), ["positions"], "unknown leaf"),
        (process(), turns(3), ["frames"], "Gaussian leaf; 'frames' is Rotations"),
        (Product(x=Gaussian(), bonds=Discrete(3, pair=True)), turns(3), ["x"], "pairs"),
    ],
)
def test_what_cannot_be_symmetric_is_named(
    inner: Process, rotations: Tensor, points: list[str], message: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        Symmetric(inner, rotations, points)


def test_elements_that_do_not_divide_are_named() -> None:
    symmetric = Symmetric(Gaussian(), turns(3), [""])
    with pytest.raises(
        ValueError, match="10 elements are not 3 copies of a unit; the nearest number is 9 or 12"
    ):
        symmetric.prior(torch.zeros(2, 10, 3), Stream.of(0, 2))
    mask = torch.arange(9) < torch.tensor([[9], [8]])
    with pytest.raises(ValueError, match="8 elements"):
        symmetric.prior(torch.zeros(2, 9, 3), Stream.of(0, 2), mask)
