"""Rigid residues: frames and back, oxygens, and peptide bonds that are closed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin.core import so3
from langevin.core.rng import Stream
from langevin.modalities.protein import rigid
from langevin.modalities.protein.closure import closed
from langevin.modalities.protein.rigid import C_N, backbone_of, frames_of, ideal_atoms
from tests.modalities.protein.backbones import HELIX, LOOP, STRAND, built, protein


def atoms(n: int = 60, seed: int = 0) -> Tensor:
    return torch.from_numpy(protein(n, seed=seed).backbone).double()


def bonds(backbone: Tensor) -> dict[str, Tensor]:
    """Lengths and angles over the bonds between residues."""
    n, ca, c = backbone[1:, 0], backbone[:-1, 1], backbone[:-1, 2]

    def angle(p: Tensor, q: Tensor, r: Tensor) -> Tensor:
        u, v = torch.nn.functional.normalize(p - q, dim=-1), torch.nn.functional.normalize(r - q, dim=-1)
        return torch.rad2deg((u * v).sum(-1).clamp(-1, 1).arccos())

    return {
        "C-N": (n - c).norm(dim=-1),
        "CA-C-N": angle(ca, c, n),
        "C-N-CA": angle(c, n, backbone[1:, 1]),
        "CA-CA": (backbone[1:, 1] - ca).norm(dim=-1),
    }


def test_ideal_atoms_go_there_and_back() -> None:
    x = atoms()
    made = backbone_of(*frames_of(x))
    assert (made[:, :3] - x[:, :3]).abs().max() < 1e-5
    assert (made[:-1, 3] - x[:-1, 3]).norm(dim=-1).max() < 0.02


@pytest.mark.parametrize("torsions", [HELIX, STRAND])
def test_the_last_oxygen_is_where_one_can_be(torsions: tuple[float, float]) -> None:
    x = torch.from_numpy(built([torsions] * 12)).double()
    made = backbone_of(*frames_of(x))[-1]
    assert abs((made[3] - made[2]).norm() - rigid.C_O) < 1e-9
    assert 2.3 < (made[3] - made[1]).norm() < 2.5 and (made[3] - made[0]).norm() > 2.6


def test_frames_turn_with_the_protein_and_are_rotations() -> None:
    x = atoms()
    turn = so3.uniform(torch.zeros(1, 3, 3, dtype=torch.float64), Stream.of(0, 1))[0]
    r, ca = frames_of(x)
    turned, moved = frames_of(x @ turn.T + 5)
    assert torch.allclose(turned, turn @ r, atol=1e-9) and torch.allclose(moved, ca @ turn.T + 5)
    assert torch.allclose(torch.det(r), torch.ones(len(r), dtype=torch.float64))
    mirrored, _ = frames_of(x * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    assert not torch.allclose(backbone_of(mirrored, ca)[:, :3], backbone_of(r, ca)[:, :3], atol=0.1)


def test_atoms_on_a_line_have_no_rotation() -> None:
    x = torch.tensor([[[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]], [[0, 0, 0]] * 3])
    assert torch.equal(frames_of(x)[0], torch.eye(3).expand(2, 3, 3))


def test_an_angle_that_is_not_ideal_is_shared_between_both_atoms() -> None:
    x = atoms(5)[:1, :3].clone()
    x[0, 2] = (
        x[0, 1] + (x[0, 2] - x[0, 1]) @ so3.exp(torch.tensor([0.02, 0.03, -0.05], dtype=torch.float64)).T
    )
    off = (backbone_of(*frames_of(x))[:, :3] - x).norm(dim=-1)[0]
    assert off[1] < 1e-9 and abs(off[0] - off[2]) < 0.1 * off[0]


class TestClosure:
    def shaken(self, angle: float = 3.0, shift: float = 0.05) -> tuple[Tensor, Tensor, Tensor]:
        r, ca = frames_of(atoms())
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(2, len(ca), 3, generator=generator, dtype=torch.float64)
        return r @ so3.exp(np.deg2rad(angle) * noise[0]), ca + shift * noise[1], torch.arange(len(ca)) > 0

    def test_bonds_are_closed_nearby(self) -> None:
        r, ca, follows = self.shaken()
        before, after = bonds(backbone_of(r, ca)), bonds(backbone_of(*closed(r, ca, follows)))
        ideal = {"C-N": 1.329, "CA-C-N": 117.2, "C-N-CA": 121.7, "CA-CA": 3.80}
        limit = {"C-N": 0.02, "CA-C-N": 6.0, "C-N-CA": 6.0, "CA-CA": 0.06}
        for name, wanted in ideal.items():
            off = (after[name] - wanted).abs()
            assert off.max() < limit[name], name
            assert off.mean() < 0.3 * (before[name] - wanted).abs().mean(), name
        moved = (closed(r, ca, follows)[1] - ca).norm(dim=-1)
        assert moved.max() < 0.25

    def test_what_is_closed_stays(self) -> None:
        x = atoms()
        r, ca = frames_of(x)
        made = backbone_of(*closed(r, ca, torch.arange(len(ca)) > 0))
        assert (made[:, :3] - x[:, :3]).norm(dim=-1).max() < 0.03

    def test_fixed_residues_do_not_move_and_chains_do_not_see_each_other(self) -> None:
        r, ca, follows = self.shaken()
        fixed = torch.zeros(len(ca), dtype=torch.bool)
        fixed[10:20] = True
        turned, at = closed(r, ca, follows, fixed=fixed)
        assert torch.equal(turned[10:20], r[10:20]) and torch.equal(at[10:20], ca[10:20])
        assert not torch.equal(at[:10], ca[:10])
        follows[30] = False
        one, _ = closed(r, ca, follows)
        two, _ = closed(r[:30], ca[:30], follows[:30])
        assert torch.allclose(one[:30], two, atol=5e-3)  # they share the steps of a descent, and its end

    def test_a_cis_bond_stays_cis(self) -> None:
        x = torch.from_numpy(built([STRAND] * 12, cis=6)).double()
        assert bonds(x)["CA-CA"][5] < 3.1
        r, ca = frames_of(x)
        noise = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        made = backbone_of(*closed(r @ so3.exp(0.05 * noise), ca, torch.arange(12) > 0))
        assert abs(bonds(made)["CA-CA"][5] - 2.95) < 0.1 and bonds(made)["CA-CA"][4] > 3.7

    def test_no_gradient_is_asked_of_the_caller(self) -> None:
        r, ca, follows = self.shaken()
        with torch.no_grad():
            turned, at = closed(r.float(), ca.float(), follows)
        assert turned.dtype == torch.float32 and not at.requires_grad


def test_residues_that_overlap_are_moved_apart() -> None:
    x = atoms(40)
    r, ca = frames_of(x)
    ca = torch.cat([ca[:20], ca[20:] - ca[20:].mean(0) + ca[:20].mean(0)])  # two chains through one another
    follows = torch.arange(40) > 0
    follows[20] = False

    def closest(backbone: Tensor) -> Tensor:
        d = torch.cdist(backbone[:20, 1], backbone[20:, 1])
        return d.amin()

    plain = backbone_of(*closed(r, ca, follows), follows)
    apart = backbone_of(*closed(r, ca, follows, apart=True, steps=200), follows)
    assert closest(apart) > closest(plain) + 0.2
    assert (bonds(apart[:20])["C-N"] - 1.329).abs().max() < 0.1
    spread = frames_of(x)[1] * 1.0
    still = (
        closed(r[:20], spread[:20], follows[:20])[1]
        - closed(r[:20], spread[:20], follows[:20], apart=True)[1]
    )
    assert still.norm(dim=-1).max() < 0.3  # what does not overlap hardly moves


def test_a_short_way_to_a_kept_residue_is_a_gap_and_no_cis_bond() -> None:
    x = atoms(24)
    r, ca = frames_of(x)
    kept = torch.arange(24) >= 12
    pushed = ca.clone()
    pushed[:12] += 0.7 * torch.nn.functional.normalize(ca[12] - ca[11], dim=-1)
    assert (pushed[12] - pushed[11]).norm() < 3.2
    joined = bonds(backbone_of(*closed(r, pushed, torch.arange(24) > 0, fixed=kept)))
    assert abs(joined["CA-CA"][11] - 3.80) < 0.05 and abs(joined["C-N"][11] - C_N) < 0.01
    assert abs(joined["CA-C-N"][11] - 117.2) < 3 and abs(joined["C-N-CA"][11] - 121.7) < 3


def test_copies_of_a_unit_move_alike() -> None:
    r, ca, follows = TestClosure().shaken()
    turn = so3.exp(torch.tensor([0.0, 0.0, math.pi], dtype=torch.float64))
    away = ca + torch.tensor([12.0, 0.0, 0.0])
    both = torch.cat([r, turn @ r]), torch.cat([away, away @ turn.T]), torch.cat([follows, follows])
    turned, at = closed(*both, apart=True, copies=2)
    n = len(ca)
    assert torch.allclose(turn @ turned[:n], turned[n:], atol=1e-12)
    assert torch.allclose(at[:n] @ turn.T, at[n:], atol=1e-9) and not torch.equal(at, both[1])


def test_what_is_built_is_bound_to_the_atoms_that_kept_residues_have() -> None:
    """Real residues are not the rigid one: bonds to them are closed where their own atoms are."""
    chain = protein([LOOP] * 24)
    bent = torch.from_numpy(chain.backbone[:, :3].astype(np.float64))
    kept = torch.zeros(24, dtype=torch.bool)
    kept[8:16] = True
    to_n, to_c = bent[:, 0] - bent[:, 1], bent[:, 2] - bent[:, 1]
    normal = torch.nn.functional.normalize(torch.linalg.cross(to_n, to_c), dim=-1)
    for atom, bond, side in ((0, to_n, -1), (2, to_c, 1)):  # the angle N-CA-C is five degrees wider
        turn = so3.exp(math.radians(side * 2.5) * normal)
        bent[:, atom] = bent[:, 1] + (turn @ bond[..., None])[..., 0]
    rotations, ca = frames_of(bent)
    follows = torch.arange(24) > 0
    noise = torch.Generator().manual_seed(0)
    ca = torch.where(kept[:, None], ca, ca + 0.4 * torch.randn(24, 3, generator=noise, dtype=torch.float64))

    def worst(anchors: torch.Tensor | None) -> float:
        """Largest error (Å) of C–N at the two joins, with the kept residues' own atoms."""
        made = ideal_atoms(*closed(rotations, ca, follows, fixed=kept, anchors=anchors))
        made = torch.where(kept[:, None, None], bent, made)
        bonds = (made[1:, 0] - made[:-1, 2]).norm(dim=-1)
        return float((bonds[[7, 15]] - C_N).abs().max())

    still, x = closed(rotations, ca, follows, fixed=kept, anchors=bent)
    assert torch.equal(x[kept], ca[kept]) and torch.equal(still[kept], rotations[kept])
    assert worst(bent) < 0.005 < 0.01 < worst(None)
