"""Chains that stand off one another: shifts of points, and designs with an untrained network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin.core import so3
from langevin.modalities.protein.design import design
from langevin.modalities.protein.designing import DesignFlags, _options, _read
from langevin.modalities.protein.docking import CLEARANCE, Docking, parted
from langevin.modalities.protein.metrics.motif import symmetry_rmsd
from langevin.modalities.protein.protein import of_structure
from langevin.modalities.protein.symmetry import group
from tests.modalities.protein.backbones import HELIX, protein
from tests.modalities.protein.test_protein_modality import model

HOW = {"steps": 20, "sampler": "ddpm-cool", "progress": False}
SLACK = 0.3  # Å that a descent leaves
HELIX_CA = torch.from_numpy(protein([HELIX] * 20).backbone[:, 1]).double()


@pytest.fixture(scope="module")
def net() -> Any:
    return model()


def nearest(x: Tensor, chains: Tensor) -> Tensor:
    """The least distance of residues of different chains, (B,)."""
    other = (chains[:, :, None] != chains[:, None]) & (chains[:, :, None] >= 0) & (chains[:, None] >= 0)
    return torch.cdist(x, x).masked_fill(~other, torch.inf).amin((1, 2))


def crossed(count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Helices inside of one another, of chain 0, 1, …: CA (1, N, 3), chains and that all move (1, N)."""
    parts = []
    for k in range(count):
        turn = so3.exp(torch.tensor([0.0, 0.9 * k, 0.4 * k], dtype=torch.float64))
        parts.append((HELIX_CA - HELIX_CA.mean(0)) @ turn.T + torch.tensor([2.0 * k, 1.0 * k, 0.0]))
    chains = torch.arange(count).repeat_interleave(20)[None]
    return torch.cat(parts)[None], chains, torch.ones_like(chains, dtype=torch.bool)


@pytest.mark.parametrize("count", [2, 3])
def test_chains_inside_of_one_another_part_as_rigid_bodies(count: int) -> None:
    x, chains, moving = crossed(count)
    shift = parted(x, chains, moving)
    assert nearest(x, chains) < 2 < CLEARANCE - SLACK < nearest(x + shift, chains)
    for k in range(count):
        own = shift[chains == k]
        assert torch.allclose(own, own[:1].expand_as(own))
    touching = torch.cdist(x + shift, x + shift)[0][chains[0][:, None] != chains[0]] < 8
    assert int(touching.sum()) // 2 >= 5  # side by side, and not far apart


def test_a_chain_that_stays_is_left_by_the_other_out_of_its_hotspots() -> None:
    x, chains, moving = crossed()
    moving = moving & (chains == 0)
    hot = torch.zeros_like(moving)
    hot[0, [30, 33, 34]] = True  # one side of the helix that stays
    moved = x + parted(x, chains, moving, hot)
    assert torch.equal(moved[chains == 1], x[chains == 1])
    assert nearest(moved, chains) > CLEARANCE - SLACK
    assert int((torch.cdist(moved[hot], moved[chains == 0]).amin(1) < 8).sum()) >= 2
    # and from far away it comes up to them, and not into the other
    for way in ([20.0, -20.0, 0.0], [15.0, 15.0, 15.0], [-30.0, 0.0, 10.0]):
        far = x.clone()
        far[chains == 0] += torch.tensor(way)
        back = far + parted(far, chains, moving, hot)
        assert bool(
            (torch.cdist(back[hot], back[chains == 0]).amin(1) < 8).any()
        )  # from behind not all of them
        assert nearest(back, chains) > CLEARANCE - SLACK


def test_hotspots_all_round_do_not_draw_a_chain_into_the_other() -> None:
    x, chains, moving = crossed()
    moving = moving & (chains == 0)
    assert nearest(x + parted(x, chains, moving, chains == 1), chains) > CLEARANCE - SLACK


def test_a_chain_between_two_that_stay_leaves_them_as_it_would_leave_one() -> None:
    x, chains, _ = crossed()
    order = torch.cat(
        [torch.arange(20, 30), torch.arange(20), torch.arange(30, 40)]
    )  # half of B, A, half of B
    halves = torch.tensor([1, 0, 2]).repeat_interleave(torch.tensor([10, 20, 10]))[None]
    own = parted(x, chains, chains == 0)[:, :20]
    assert torch.allclose(parted(x[:, order], halves, halves == 0)[:, 10:30], own, atol=1e-6)


@pytest.mark.parametrize("name", ["C3", "C6", "D3", "T", "O"])
def test_copies_go_no_further_than_they_must(name: str) -> None:
    turns = group(name)
    unit = HELIX_CA - HELIX_CA.mean(0) + torch.tensor([3.0, 2.0, 1.0])
    x = torch.cat([unit @ turn.T for turn in turns])[None]
    chains = torch.arange(len(turns)).repeat_interleave(20)[None]
    moved = x + parted(x, chains, torch.ones_like(chains, dtype=torch.bool))
    assert nearest(x, chains) < 4 and CLEARANCE - SLACK < nearest(moved, chains) < 8


def test_chains_that_lost_each_other_meet_again() -> None:
    x, chains, moving = crossed()
    x = x + torch.where(chains == 0, 30.0, 0.0)[..., None]
    moved = x + parted(x, chains, moving)
    assert nearest(x, chains) > 30 and CLEARANCE - SLACK < nearest(moved, chains) < 8


def test_chains_that_stand_clear_stay() -> None:
    x, chains, moving = crossed()
    x = x + parted(x, chains, moving)
    again = parted(x, chains, moving)
    assert float(again.abs().max()) < 0.2
    one = torch.zeros_like(chains)
    assert not parted(x, one, moving).any()  # a single chain
    assert not parted(x, chains, torch.zeros_like(moving)).any()


def test_shifts_turn_with_the_chains_and_rows_are_their_own() -> None:
    x, chains, moving = crossed()
    turn = so3.exp(torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64))
    own, turned = parted(x, chains, moving), parted(x @ turn.T + 3.0, chains, moving)
    assert torch.allclose(own @ turn.T, turned, atol=0.01)  # a descent that is cut short
    y = x.clone()
    y[:, 20:] += torch.tensor([1.0, 0.0, 2.0])
    both = parted(torch.cat([x, y]), chains.expand(2, -1), moving.expand(2, -1))
    assert torch.allclose(both[:1], own, atol=1e-9) and not torch.allclose(both[1:], own, atol=0.1)
    settled = x + own
    beside = parted(torch.cat([settled, x]), chains.expand(2, -1), moving.expand(2, -1))
    assert torch.allclose(beside[:1], parted(settled, chains, moving), atol=1e-9)
    lost = torch.cat([x, torch.full_like(x, torch.nan)])
    assert torch.allclose(parted(lost, chains.expand(2, -1), moving.expand(2, -1))[:1], own, atol=1e-6)


def test_padding_is_not_there() -> None:
    x, chains, moving = crossed()
    pad = torch.nn.functional.pad
    wide = parted(pad(x, (0, 0, 0, 8)), pad(chains, (0, 8), value=-1), pad(moving, (0, 8)))
    assert torch.allclose(wide[:, :40], parted(x, chains, moving), atol=1e-9) and not wide[:, 40:].any()


def least(samples: Any) -> list[float]:
    """Å of CA between chains as they were drawn; of an untrained network no bond can be closed where it is."""
    found = []
    for ca, made in zip(samples.state["positions"] * 10, map(of_structure, samples), strict=True):
        other = torch.from_numpy(made.chains[:, None] != made.chains)
        found.append(float(torch.cdist(ca[: len(made)], ca[: len(made)])[other].min()))
    return found


def test_binders_stand_clear_of_their_targets_unless_told_otherwise(net: Any) -> None:
    target = protein([HELIX] * 30)
    clear, close = (
        design(net, "12-14/0 A1-30", target, 4, clearance=c, repulsion=0.0, **HOW) for c in (5.0, 0.0)
    )
    assert min(least(clear)) > 4.0 > 3.0 > min(least(close))
    for made in map(of_structure, clear):
        rows = made.chains == "A"
        assert np.allclose(made.backbone[rows, :3], target.backbone[:, :3], atol=2e-3)


def test_the_copies_of_an_assembly_part_and_stay_copies(net: Any) -> None:
    clear, close = (
        design(net, "48", symmetry="D2", n=2, clearance=c, repulsion=0.0, **HOW) for c in (5.0, 0.0)
    )
    assert min(least(clear)) > 4.0 > 3.0 > min(least(close))
    for made in map(of_structure, clear):
        assert symmetry_rmsd(made, group("D2").double().numpy()) < 1e-3


def test_designs_are_the_same_in_any_batch(net: Any) -> None:
    target = protein([HELIX] * 20)
    one, two = (
        design(net, "10-16/0 A1-20", target, 5, hotspots="A5,A9", batch_size=size, repulsion=0.0, **HOW)
        for size in (5, 2)
    )
    assert len({len(of_structure(item)) for item in one}) > 1
    for a, b, item in zip(one.state["positions"], two.state["positions"], one, strict=True):
        n = len(of_structure(item))
        assert torch.allclose(a[:n], b[:n], atol=1e-3)


def test_nothing_moves_before_chains_are_chains(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    plain = Docking._parted

    def seen(self: Docking, process: Any, belief: Any, q: Any) -> Any:
        times.append(float(torch.as_tensor(q.t["positions"] if isinstance(q.t, dict) else q.t).max()))
        return plain(self, process, belief, q)

    monkeypatch.setattr(Docking, "_parted", seen)
    design(net, "10/0 A1-20", protein([HELIX] * 20), 1, **HOW)
    assert len(times) == 12 and max(times) <= 0.6 + 1e-6
    times.clear()
    design(net, "10/A1-20", protein([HELIX] * 20), 1, **HOW)  # a single chain
    assert not times


def test_traces_and_free_motifs_and_weights_of_guidance(net: Any) -> None:
    source = protein([HELIX] * 30)
    trace = model(modality={"name": "protein-trace"}, parametrisation={"positions": "velocity"})
    samples = design(trace, "12/0 A1-20", source, 2, repulsion=0.0, **HOW)
    assert min(least(samples)) > 4.0
    samples = design(net, "4/A3-9/5/A15-22/4/0 12", source, 2, free=True, repulsion=0.0, **HOW)
    assert min(least(samples)) > 4.0
    assert all(item.xtra["note"]["motif_rmsd"] < 0.01 for item in samples)
    plain, weighed = (design(net, "10/0 10", n=1, guidance=w, **HOW) for w in (None, 1.0))
    assert torch.equal(plain.state["positions"], weighed.state["positions"])
    assert len(design(net, "10/0 10", n=1, guidance=2.0, **HOW)) == 1


def test_what_is_no_clearance_is_refused(net: Any) -> None:
    for wrong in (-1.0, float("nan"), True, "5"):
        with pytest.raises(ValueError, match="clearance is in Å"):
            design(net, "10/0 10", clearance=wrong, **HOW)  # type: ignore[arg-type]
    for wrong in (-1.0, 200.0):
        with pytest.raises(ValueError, match="--clearance"):
            _read(["10/0 10"], DesignFlags(clearance=wrong))
    asked = _read(["10/0 10"], DesignFlags(clearance=6.0))
    assert _options(net, asked)["clearance"] == 6.0
