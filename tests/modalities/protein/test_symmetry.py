"""Point groups are groups, on the axes that their names promise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from langevin.core import grids, so3
from langevin.core.analytic import GaussianDenoiser
from langevin.core.guidance import Symmetry
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample
from langevin.modalities.protein.symmetry import deviation, group, order, unit_length

ORDERS = {"C2": 2, "c3": 3, "C7": 7, "D2": 4, "d5": 10, "tetrahedral": 12, "O": 24, "Icosahedral": 60}


@pytest.mark.parametrize(("name", "count"), ORDERS.items())
def test_a_group_is_closed_has_its_order_and_proper_rotations(name: str, count: int) -> None:
    rotations = group(name)
    assert rotations.shape == (count, 3, 3) and order(name) == count
    assert torch.equal(rotations[0], torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(count, dtype=torch.float64))
    torch.testing.assert_close(
        rotations @ rotations.mT, torch.eye(3, dtype=torch.float64).expand_as(rotations)
    )
    products = (rotations[:, None] @ rotations[None]).reshape(-1, 1, 9)
    far = (products - rotations.reshape(1, -1, 9)).abs().amax(-1)  # of every product from every element
    assert float(far.amin(1).max()) < 1e-12
    own = (rotations.reshape(-1, 1, 9) - rotations.reshape(1, -1, 9)).abs().amax(-1)
    assert int((own < 1e-6).sum()) == count  # none stands twice


def turns(name: str) -> dict[tuple[int, int, int], set[int]]:
    """The degrees of the turns about each axis (rounded to tenths, up to sign)."""
    out: dict[tuple[int, int, int], set[int]] = {}
    for v in so3.log(group(name))[1:]:
        axis = v / v.norm()
        sign = 1 if float(axis[axis.abs() > 1e-6][0]) > 0 else -1
        key = tuple((10 * sign * axis).round().int().tolist())
        out.setdefault(key, set()).add(round(math.degrees(float(v.norm()))))
    return out


def test_axes_are_those_of_rfdiffusion() -> None:
    assert turns("C4") == {(0, 0, 10): {90, 180}}
    assert turns("D2") == {(10, 0, 0): {180}, (0, 10, 0): {180}, (0, 0, 10): {180}}
    assert {axis for axis, angles in turns("T").items() if 180 in angles} == {
        (10, 0, 0),
        (0, 10, 0),
        (0, 0, 10),
    }
    assert turns("T")[(6, 6, 6)] == {120}
    assert {axis for axis, angles in turns("O").items() if 90 in angles} == {
        (10, 0, 0),
        (0, 10, 0),
        (0, 0, 10),
    }
    fifths = {axis for axis, angles in turns("I").items() if 72 in angles}
    assert fifths == {(9, 5, 0), (9, -5, 0), (5, 0, 9), (5, 0, -9), (0, 9, 5), (0, 9, -5)}


def test_copies_come_in_the_order_of_rfdiffusion() -> None:
    x = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
    turn = math.radians(120)
    torch.testing.assert_close(
        group("C3")[1] @ x,
        torch.tensor(
            [2 * math.cos(turn) - math.sin(turn), 2 * math.sin(turn) + math.cos(turn), 3.0],
            dtype=torch.float64,
        ),
    )
    torch.testing.assert_close(group("D3")[1] @ x, torch.tensor([2.0, -1.0, -3.0], dtype=torch.float64))
    torch.testing.assert_close(group("D3")[2] @ x, group("C3")[1] @ x)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("C1", "no symmetry; leave it out"),
        ("c0", "must be 2"),
        ("D1", "write C2"),
        ("C61", "must be 2 … 60"),
        ("C2.5", "no whole number"),
        ("octohedral", "did you mean 'octahedral'"),
        ("", "C2, C3 …, D2"),
        (3, "name of a point group"),
    ],
)
def test_orders_that_cannot_be_are_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group(name)


def test_a_total_is_shared_by_the_copies() -> None:
    assert unit_length(360, "tetrahedral") == 30
    with pytest.raises(ValueError, match="100 residues are not 3 copies of a unit .*99 or 102"):
        unit_length(100, "C3")
    with pytest.raises(ValueError, match="nearest total is 12"):
        unit_length(5, "T")


def test_the_deviation_is_that_of_the_noise() -> None:
    rotations = group("D2")
    unit = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def assembly(noise: float) -> Tensor:
        whole = (rotations @ unit.T).mT.reshape(-1, 3)
        return whole + noise * torch.randn(
            whole.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )

    assert float(deviation(assembly(0.0), rotations)) < 1e-12
    # of 4 copies with noise s, √(3 · 3/4) s from their mean
    assert abs(float(deviation(assembly(0.1), rotations)) - 0.1 * 1.5) < 0.02
    assert float(deviation(assembly(0.0) + torch.tensor([0.0, 0.0, 5.0]), rotations)) > 1
    with pytest.raises(ValueError, match="not 4 copies"):
        deviation(torch.zeros(6, 3), rotations)


@pytest.mark.parametrize("name", ORDERS)
def test_assemblies_of_every_group_are_exact_and_centred(name: str) -> None:
    rotations = group(name)
    # of a denoiser that believes something else about every residue of every copy
    draw = torch.Generator().manual_seed(2)
    mean = torch.randn(3 * len(rotations), 3, generator=draw)
    denoiser = Symmetry(rotations, [""])(GaussianDenoiser(Gaussian(centred=True), mean, 1.0))
    like = torch.zeros(2, *mean.shape)
    *_, last = sample(denoiser, Single(1.0), grids.uniform(20), Stream.of(0, 2), like=like)
    assert isinstance(last.x, Tensor)
    assert float(deviation(last.x, rotations).max()) < 1e-6
    assert float(last.x.mean(1).abs().max()) < 1e-6
    assert float(last.x.std()) > 0.3
