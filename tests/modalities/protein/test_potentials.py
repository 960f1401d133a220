"""Guiding potentials: their values, their gradients, and what they do to samples."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin.core import grids, so3
from langevin.core.analytic import GaussianDenoiser
from langevin.core.guidance import Question, Symmetry
from langevin.core.posteriors import Point
from langevin.core.processes import Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample
from langevin.modalities.protein.guiding import contact_matrix, guiding, of_places, potential, written
from langevin.modalities.protein.potentials import POTENTIALS, Layout, Substrate
from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.symmetry import group

N, LENGTH = 2, 9
STRINGS = {
    "monomer_ROG": "type:monomer_ROG,weight:2,min_dist:3",
    "binder_ROG": "type:binder_ROG,binderlen:4,min_dist:2",
    "dimer_ROG": "type:dimer_ROG,binderlen:4,min_dist:2",
    "binder_ncontacts": "type:binder_ncontacts,binderlen:5",
    "interface_ncontacts": "type:interface_ncontacts,binderlen:5,r_0:6",
    "monomer_contacts": "type:monomer_contacts,d_0:1",
    "olig_contacts": "type:olig_contacts,weight_intra:1,weight_inter:0.1",
    "substrate_contacts": "type:substrate_contacts,rep_r_0:7,s:2",
    "hotspot_ncontacts": "type:hotspot_ncontacts,r_0:5",
    "repulsion": "type:repulsion,reach:9",
    "fold": "type:fold,weight:3,near:5,apart:12,softness:2",
}


def points(scale: float = 6.0) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return scale * torch.randn(N, LENGTH, 3, dtype=torch.float64, generator=draw)


def layout(ca: Tensor) -> Layout:
    """The first three residues are a motif beside which there are two atoms."""
    designed = torch.arange(LENGTH) > 2
    atoms = torch.tensor([[5.0, 0.0, 0.0], [0.0, 6.0, 1.0]], dtype=torch.float64)
    motif = torch.tensor([[0.0, 0.0, 0.0], [3.8, 0.0, 0.0], [5.0, 3.6, 0.0]], dtype=torch.float64)
    hotspots = torch.arange(LENGTH) == 1
    return Layout(
        designed=designed,
        substrate=Substrate(atoms, motif, torch.arange(3)),
        hotspots=hotspots,
        blocks=torch.tensor([1, 1, 0, 2, 2, 2, 0, 3, 3]),
        adjacent=torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool(),
    )


def value(name: str, ca: Tensor, mask: Tensor | None = None, where: Layout | None = None) -> Tensor:
    guide = guiding(STRINGS[name], chains=3, olig_intra_all=True, olig_inter_all=True)
    return guide.value(ca, mask, where or layout(ca))


@pytest.mark.parametrize("name", POTENTIALS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    ca = points().requires_grad_()
    place = dict.fromkeys(range(3, 9)) if name == "substrate_contacts" else dict.fromkeys(range(9))
    # the motif places the substrate, which takes no gradient
    slope = torch.autograd.grad(value(name, ca).sum(), ca)[0]
    step = 1e-5
    for i in place:
        for axis in range(3):
            moved = torch.zeros_like(ca)
            moved[:, i, axis] = step
            with torch.no_grad():
                rise = (value(name, ca + moved) - value(name, ca - moved)) / (2 * step)
            torch.testing.assert_close(slope[:, i, axis], rise, atol=1e-6, rtol=1e-5)
    assert float(slope.abs().max()) > 1e-4


@pytest.mark.parametrize("name", POTENTIALS)
def test_motions_of_space_change_nothing(name: str) -> None:
    ca = points()
    turn = so3.exp(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))
    moved = ca @ turn.T + torch.tensor([30.0, -8.0, 5.0], dtype=torch.float64)
    torch.testing.assert_close(value(name, moved), value(name, ca))
    mirrored = ca * torch.tensor([1.0, 1.0, -1.0])
    assert torch.allclose(value(name, mirrored), value(name, ca)) == (name != "substrate_contacts")


@pytest.mark.parametrize("name", POTENTIALS)
def test_padding_changes_nothing(name: str) -> None:
    ca = points()
    padded = torch.cat([ca, torch.full((N, 3, 3), 50.0, dtype=torch.float64)], 1).requires_grad_()
    mask = (torch.arange(LENGTH + 3) < LENGTH).expand(N, -1)
    found = value(name, padded, mask)
    torch.testing.assert_close(found, value(name, ca))
    slope = torch.autograd.grad(found.sum(), padded)[0]
    assert float(slope[:, LENGTH:].abs().max()) == 0


def test_values_are_those_of_the_formulas() -> None:
    ca = points()[:1]
    x = ca[0].numpy()
    d = np.linalg.norm(x[:, None] - x[None], axis=-1)

    def contacts(distance: Any, r_0: float, d_0: float) -> Any:
        u = (distance - d_0) / r_0
        return (1 - u**6) / (1 - u**12)

    def gyration(part: Any, least: float) -> float:
        far = np.maximum(least, np.linalg.norm(part - part.mean(0), axis=1))
        return float(np.sqrt((far**2).mean()))

    chain = np.arange(LENGTH) // 3
    weight = np.where(chain[:, None] == chain[None], 1.0, 0.1)
    expected = {
        "monomer_ROG": -2 * gyration(x, 3),
        "binder_ROG": -gyration(x[:4], 2),
        "dimer_ROG": -(gyration(x[:4], 2) + gyration(x[4:], 2)) / 2,
        "binder_ncontacts": contacts(d[:5, :5], 8, 4).sum(),
        "interface_ncontacts": contacts(d[:5, 5:], 6, 6).sum(),
        "monomer_contacts": contacts(d, 8, 1).sum(),
        "olig_contacts": (contacts(d, 8, 2) * weight).sum() / 2,
    }
    for name, exact in expected.items():
        assert float(value(name, ca)) == pytest.approx(exact, rel=1e-9), name


def test_the_substrate_moves_with_the_motif_and_repels_what_is_too_near() -> None:
    motif = torch.tensor([[0.0, 0.0, 0.0], [3.8, 0.0, 0.0], [5.0, 3.6, 0.0]], dtype=torch.float64)
    substrate = Substrate(torch.tensor([[0.0, 0.0, 10.0]], dtype=torch.float64), motif, torch.arange(3))
    turn = so3.exp(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(
        substrate.placed((motif @ turn.T + 7)[None])[0, 0],
        turn @ torch.tensor([0.0, 0.0, 10.0], dtype=torch.float64) + 7,
    )
    far = torch.tensor([[30.0, 30.0, 30.0]], dtype=torch.float64)

    def at(height: float) -> float:
        last = torch.tensor([[0.0, 0.0, 10.0 + height]], dtype=torch.float64)
        ca = torch.cat([motif, far, last])[None]  # the fourth residue is beside the motif, and does not count
        here = Layout(designed=torch.arange(5) > 2, substrate=substrate)
        return float(value("substrate_contacts", ca, where=here))

    assert at(8.0) > at(14.0) > at(40.0) and at(8.0) > at(0.5)
    with pytest.raises(ValueError, match="needs a substrate"):
        guiding("type:substrate_contacts").value(points())
    with pytest.raises(ValueError, match="takes three that are not on a line"):
        Substrate(torch.zeros(1, 3), torch.arange(9.0).reshape(3, 3), torch.arange(3))


def test_coincident_residues_have_finite_gradients() -> None:
    ca = torch.zeros(1, 6, 3, dtype=torch.float64, requires_grad=True)
    for text in ("type:monomer_contacts", "type:monomer_ROG,min_dist:0"):
        slope = torch.autograd.grad(guiding(text).value(ca).sum(), ca)[0]
        assert bool(slope.isfinite().all())


def test_the_binder_may_be_anywhere() -> None:
    ca = points()
    first = guiding("type:interface_ncontacts,binderlen:4").value(ca)
    order = torch.tensor([4, 5, 0, 1, 2, 3, 6, 7, 8])
    binder = (torch.arange(LENGTH) < 4)[order]
    torch.testing.assert_close(
        guiding("type:interface_ncontacts").value(ca[:, order], None, Layout(binder=binder)), first
    )
    with pytest.raises(ValueError, match="binder_ROG needs to know the binder"):
        guiding("type:binder_ROG").value(ca)
    with pytest.raises(ValueError, match="all residues are of one of the two"):
        guiding("type:interface_ncontacts,binderlen:20").value(ca)


def test_chains_are_equal_shares_or_those_that_are_named() -> None:
    ca = points()
    guide = guiding("type:olig_contacts", chains=3, olig_custom_contact="A&B,B!C")
    named = Layout(chains=torch.arange(LENGTH) // 3)
    torch.testing.assert_close(guide.value(ca, None, named), guide.value(ca))
    other = guide.value(ca, None, Layout(chains=torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2])))
    assert not torch.allclose(other, guide.value(ca))
    with pytest.raises(ValueError, match=r"\[9, 9\] residues are not 2 equal chains"):
        guiding("type:olig_contacts", chains=2, olig_intra_all=True).value(ca)
    with pytest.raises(ValueError, match="of 3 chains, and there are 4"):
        guide.value(ca, None, Layout(chains=torch.arange(LENGTH) // 2.5))


def test_strings_are_read_with_the_defaults_of_their_type() -> None:
    one = potential("type:olig_contacts, weight_intra:1, weight_inter:0.1", contact_matrix(2, True))
    assert one.weight_inter == 0.1 and one.r_0 == 8 and one.d_0 == 2  # type: ignore[attr-defined]
    assert written(one) == "type:olig_contacts,weight_inter:0.1"
    for name, cls in POTENTIALS.items():
        again = potential(STRINGS[name], contact_matrix(3, True))
        assert potential(written(again), contact_matrix(3, True)) == again
        assert all(f.default is not None or f.name == "binderlen" for f in fields(cls) if f.init)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight:1", "has no type"),
        ("type:monomer_rog", "did you mean 'monomer_ROG'"),
        ("type:monomer_ROG,wieght:1", "did you mean 'weight'"),
        ("type:monomer_ROG,weight:big", "must be a number, got 'big'"),
        ("type:monomer_ROG,weight:inf", "must be finite"),
        ("type:monomer_contacts,r_0:0", "above 0"),
        ("type:monomer_ROG,min_dist:-1", "at least 0"),
        ("type:fold,softness:0", "above 0"),
        ("type:binder_ROG,binderlen:2.5", "number of residues"),
        ("type:monomer_ROG,weight", r"expected name:value(.|\n)*\n {4}type:monomer_ROG,weight\n {21}\^{6}$"),
        ("type:monomer_ROG,weight:1,weight:2", "weight stands twice"),
        ("type:olig_contacts", "needs to know which chains touch"),
        ("type:olig_contacts,contact_matrix:1", "unknown parameter"),
    ],
)
def test_strings_that_cannot_be_read_are_pointed_at(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        potential(text)


def test_contact_matrices() -> None:
    assert contact_matrix(2, True, False) == ((1, 0), (0, 1))
    assert contact_matrix(3, True, True, "A!B") == ((1, -1, 1), (-1, 1, 1), (1, 1, 1))
    assert contact_matrix(3) == ()
    with pytest.raises(ValueError, match=r"there are 2 chains, A to B(.|\n)*\n {4}A&B,A!C\n {8}\^\^\^$"):
        contact_matrix(2, contacts="A&B,A!C")
    with pytest.raises(ValueError, match="expected A&B"):
        contact_matrix(2, contacts="AB")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"potentials": []}, "needs a potential"),
        ({"potentials": "type:monomer_ROG", "guide_decay": "linaer"}, "did you mean 'linear'"),
        ({"potentials": "type:monomer_ROG", "guide_scale": -1}, "guide_scale"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guiding(**settings)
    with pytest.raises(TypeError, match="are strings"):
        guiding([{"type": "monomer_ROG"}])  # type: ignore[list-item]


class Cloud(GaussianDenoiser):
    """Residues that are independent normals, 15 Å wide, as a state of positions and places."""

    def __init__(self, centred: bool = True) -> None:
        super().__init__(Gaussian(centred=centred), 0.0, 1.5)
        self.process: Any = Product(positions=self.process)

    def __call__(self, x_t: Any, t: Any, condition: Any = None, mask: Any = None, memory: Any = None) -> Any:
        a, s = 1 - t, t
        x = 1.5**2 * a / (a**2 * 1.5**2 + s**2) * x_t["positions"]
        eps = (x_t["positions"] - a * x) / s
        leaf = self.process.leaves["positions"]
        return {"positions": Point(x, eps, x_t["positions"], t, leaf.schedule)}, memory


def radius(x: Tensor) -> Tensor:
    return 10 * (x - x.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()


@pytest.mark.parametrize("decay", ["constant", "linear", "quadratic", "cubic"])
def test_an_exact_gaussian_is_drawn_to_a_smaller_radius_of_gyration(decay: str) -> None:
    like = {"positions": torch.zeros(6, 40, 3)}

    def drawn(scale: float, steps: int = 30) -> Tensor:
        guide = guiding("type:monomer_ROG,min_dist:5", guide_scale=scale, guide_decay=decay)
        denoiser = guide.guidance()(Cloud())
        *_, last = sample(denoiser, Single(0.0), grids.uniform(steps), Stream.of(0, 6), like=like)
        return radius(last.x["positions"])  # type: ignore[index]

    plain, little, much = drawn(0.0), drawn(1.0), drawn(4.0)
    assert bool((little < plain).all()) and bool((much < little).all())
    assert 0.6 < float((much / plain).mean()) < 0.97
    torch.testing.assert_close(drawn(4.0, 60), much, rtol=0.05, atol=0)


def test_pushes_are_those_of_fifty_steps_in_angstrom() -> None:
    guide = guiding("type:monomer_ROG,min_dist:0", guide_scale=3.0)
    x_t = {"positions": points(2.0)}
    plain, pushed = (d(x_t, 0.5)[0]["positions"] for d in (Cloud(), guide.guidance()(Cloud())))
    ca = (10 * plain.x).requires_grad_()
    slope = torch.autograd.grad(guide.value(ca).sum(), ca)[0]
    # the flow from 1 to 0 gains −velocity, in a fiftieth of the way
    torch.testing.assert_close(10 * (plain.velocity - pushed.velocity) / 50, 3.0 * slope)


def test_under_symmetry_the_units_are_drawn_together() -> None:
    rotations, like = group("C3"), {"positions": torch.zeros(4, 30, 3)}
    contacts = guiding(
        "type:olig_contacts,weight_intra:0,weight_inter:1", chains=3, olig_inter_all=True, guide_scale=4.0
    )

    def drawn(*rules: Any) -> Tensor:
        denoiser: Any = Symmetry(rotations)(Cloud())
        for rule in rules:
            denoiser = rule(denoiser)
        *_, last = sample(denoiser, Single(0.0), grids.uniform(20), Stream.of(0, 4), like=like)
        x = last.x["positions"]  # type: ignore[index]
        torch.testing.assert_close(x[:, 10:20], x[:, :10] @ rotations[1].float().T, atol=1e-5, rtol=0)
        return x

    plain, pushed = drawn(), drawn(contacts.guidance())
    assert bool((contacts.value(10 * pushed) > contacts.value(10 * plain)).all())


def test_a_layout_of_each_sample_is_cut_to_the_rows_of_a_batch() -> None:
    binder = torch.zeros(3, LENGTH, dtype=torch.bool)
    binder[0, :2], binder[1, :5], binder[2, 3:] = True, True, True
    guide = guiding("type:binder_ROG,min_dist:0", layout=Layout(binder=binder))
    ca = points()[:1].expand(3, -1, -1)
    q = Question({"positions": ca}, 0.5, [{}])
    rows = guide.at(slice(1, 3), 3)({"positions": ca[1:] / 10}, Question({"positions": ca[1:]}, 0.5, [{}]))
    torch.testing.assert_close(rows, guide({"positions": ca / 10}, q)[1:])
    with pytest.raises(ValueError, match="3 rows for 5 samples"):
        guide.at(slice(0, 2), 5)


def test_chains_may_be_read_from_the_state() -> None:
    ca = points()
    places = torch.stack([torch.arange(LENGTH) // 3, torch.arange(LENGTH) % 3], -1).float().expand(N, -1, -1)
    guide = guiding("type:olig_contacts", chains=3, olig_inter_all=True, layout=of_places)
    q = Question({"positions": ca, "places": places}, 0.5, [{}])
    torch.testing.assert_close(guide({"positions": ca / 10}, q), guide.value(ca))


def protein(chains: str) -> Protein:
    n = len(chains)
    ca = points()[0, :n].numpy().astype(np.float32)
    backbone = np.stack([ca - 0.8, ca, ca + 0.8, ca + 1.2], 1).astype(np.float32)
    return Protein(
        backbone, np.zeros(n, np.int8), np.array(list(chains)), np.arange(n, dtype=np.int32), np.full(n, "")
    )


def test_potentials_are_rewards_of_structures() -> None:
    item = protein("AAAABBBBB")
    ca = torch.from_numpy(item.backbone[:, 1]).double()[None]
    plain = guiding("type:monomer_ROG,min_dist:2")
    assert plain.reward()([item, item]) == pytest.approx([float(plain.value(ca))] * 2)
    interface = guiding("type:binder_ROG,min_dist:2")
    first, second = (interface.reward(binder=name)([item])[0] for name in ("A", "B"))
    assert first == pytest.approx(float(value("binder_ROG", ca)), rel=1e-6) and first != second
    assert interface.reward()([item])[0] == first
    with pytest.raises(ValueError, match="no chain 'C' is the binder's; there are A, B"):
        interface.reward(binder="C")([item])
    olig = guiding("type:olig_contacts", chains=2, olig_inter_all=True)
    assert olig.reward()([item])[0] > 0
