"""Measures of designs beside what was asked: joins, clashes across, kept motifs, interfaces, patches of a surface; and their
rows in the benchmark, by a network that knows nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import protein_binders, protein_designs, protein_motifs
from benchmarks.reporting import judged
from langevin.modalities.protein.design import design
from langevin.modalities.protein.metrics import geometry
from langevin.modalities.protein.metrics.joins import across, joins, limits, right
from langevin.modalities.protein.metrics.motif import interfaces, kept_rmsd, partners
from langevin.modalities.protein.metrics.surface import exposed, half_sphere, patch
from langevin.modalities.protein.plan import Plan
from langevin.modalities.protein.protein import Protein, SideChains, join, of_structure
from langevin.modalities.statistics import wilson
from tests.modalities.protein.backbones import HELIX, protein
from tests.modalities.protein.chains import FOLDER, shared
from tests.modalities.protein.test_protein_modality import model

HOW = {"steps": 2, "progress": False}
TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
IDEAL = {"C–N": (1.28, 1.38), "CA–C–N": (116.2, 118.2), "C–N–CA": (120.7, 122.7)}  # those of `built`, ± 1°


def moved(item: Protein, turn: Any = TURN, shift: Any = (3.0, -7.0, 2.0)) -> Protein:
    side = item.side
    if side is not None:
        side = SideChains(side.residue, side.name, (side.xyz @ turn.T + shift).astype(np.float32))
    return replace(item, backbone=(item.backbone @ turn.T + shift).astype(np.float32), side=side)


def lone(ca: Any, chains: str) -> Protein:
    """Residues of which only CA are there."""
    atoms = np.full((len(chains), 4, 3), np.nan, np.float32)
    atoms[:, 1] = ca
    n = len(chains)
    return Protein(
        atoms, np.zeros(n, np.int8), np.array(list(chains)), np.arange(n, dtype=np.int32), np.full(n, "")
    )


class TestJoins:
    def test_joins_are_where_kept_and_built_residues_meet_in_a_chain(self) -> None:
        kept = np.array([0, 0, 1, 1, 0, 1], bool)
        assert joins(kept).tolist() == [2, 4, 5]
        assert joins(~kept).tolist() == [2, 4, 5]
        assert joins(kept, np.array([0, 1, 0, 1, 1, 1], bool)).tolist() == [4, 5]  # a chain begins at 2
        assert joins(np.ones(4, bool)).tolist() == [] and joins([]).tolist() == []

    def test_limits_are_four_deviations_around_the_mean(self) -> None:
        chains = [protein(50), protein(30, seed=1)]
        same = limits(chains)
        assert same["C–N"] == pytest.approx((1.28, 1.38))
        assert same["CA–C–N"] == pytest.approx((117.2, 117.2), abs=0.01)  # all of `built` are alike
        bent = [replace(c, backbone=c.backbone + np.random.default_rng(0).normal(0, 0.02, c.backbone.shape))
                for c in chains]  # fmt: skip
        values = np.concatenate([geometry.between(c.backbone)["C–N–CA"] for c in bent])
        low, high = limits(bent)["C–N–CA"]
        assert (low + high) / 2 == pytest.approx(values.mean()) and high - low == pytest.approx(
            8 * values.std()
        )
        half = limits(bent, 2.0)["C–N–CA"]
        assert half[1] - half[0] == pytest.approx(4 * values.std())
        with pytest.raises(ValueError, match="limits of angles take real bonds; 0 chains"):
            limits([])

    @pytest.mark.parametrize(
        ("shift", "good"),
        [((0, 0, 0), True), ((0.04, 0, 0), True), ((0.06, 0, 0), False), ((-0.06, 0, 0), False)],
    )
    def test_a_bond_is_right_within_its_limits(self, shift: Any, good: bool) -> None:
        item = protein(12)
        atoms = np.array(item.backbone, np.float64)
        along = atoms[6, 0] - atoms[5, 2]
        atoms[6:] += shift[0] * along / np.linalg.norm(along)
        assert right(atoms, [6], IDEAL).tolist() == [good]
        assert right(atoms, [7, 3], IDEAL).tolist() == [True, True]

    def test_an_angle_counts_too_and_the_order_is_kept(self) -> None:
        atoms = np.array(protein(12).backbone, np.float64)
        c, ca, n = atoms[5, 2], atoms[5, 1], atoms[6, 0]
        axis = np.cross(ca - c, n - c)
        axis /= np.linalg.norm(axis)
        for degrees, good in ((0.5, True), (5.0, False)):
            a = np.radians(degrees)
            x = atoms[6:] - c
            turned = (
                x * np.cos(a) + np.cross(axis, x) * np.sin(a) + axis * (x @ axis)[..., None] * (1 - np.cos(a))
            )
            bent = np.concatenate([atoms[:6], turned + c])
            assert right(bent, [9, 6, 2], IDEAL).tolist() == [True, good, True]

    def test_a_bond_without_an_atom_is_not_right_and_the_first_residue_has_none(self) -> None:
        atoms = np.array(protein(8).backbone)
        atoms[4, 0] = np.nan
        assert right(atoms, [4, 5], IDEAL).tolist() == [False, True]
        assert right(atoms, [], IDEAL).tolist() == []
        with pytest.raises(ValueError, match=r"residues 1 … 7 .* got \[0\]"):
            right(atoms, [0], IDEAL)

    def test_clashes_across_are_those_with_one_residue_on_either_side(self) -> None:
        pairs = [(0, 3), (1, 4), (4, 5), (0, 5)]
        side = np.array([1, 1, 0, 0, 0, 0], bool)
        assert across(pairs, side) == across(pairs, ~side) == 3
        assert across(np.zeros((0, 2), np.int64), side) == 0
        one = protein([HELIX] * 12)
        laid = join([one, replace(one, chains=np.full(12, "B"))])  # every residue on its own copy
        found = geometry.clashes(laid.backbone, laid.chains).pairs
        assert across(found, laid.chains == "A") >= 12 and across(found, np.arange(24) < 0) == 0


class TestMotif:
    def source(self) -> Protein:
        item = protein(20)
        owner = np.array([4, 4, 6, 9], np.int32)
        names = np.array(["CB", "CG", "CB", "OXT"])
        return replace(item, side=SideChains(owner, names, item.backbone[owner, 1] + np.arange(4)[:, None]))

    def test_what_is_kept_is_kept_wherever_it_lies(self) -> None:
        item, rows = self.source(), list(range(3, 10))
        made = moved(item)[3:]
        assert kept_rmsd(made, [k - 3 for k in rows], item, rows) < 1e-5
        assert made.side is not None
        side = SideChains(
            made.side.residue, made.side.name, made.side.xyz + np.float32([[0], [0.3], [0], [0]])
        )
        # one of 7 · 3 + 3 atoms moved by 0.3 √3 Å; the superposition makes up for little of it
        bent = kept_rmsd(replace(made, side=side), [k - 3 for k in rows], item, rows)
        assert 0.08 < bent <= 0.3 * np.sqrt(3 / 24) + 1e-6
        assert kept_rmsd(made, [k - 2 for k in rows], item, rows) > 0.1  # wrong numbers

    def test_oxygens_do_not_count_and_a_lost_type_or_atom_does(self) -> None:
        item, rows = self.source(), [4, 5, 6, 9]
        atoms = np.array(item.backbone)
        atoms[:, 3] += 1.0
        assert kept_rmsd(replace(item, backbone=atoms), rows, item, rows) < 1e-5
        assert kept_rmsd(replace(item, side=None), rows, item, rows) == np.inf
        assert kept_rmsd(replace(item, side=None), [5, 9], item, [5, 9]) < 1e-5  # OXT is not a side chain
        types = np.array(item.types)
        types[5] = (types[5] + 1) % 20
        assert kept_rmsd(replace(item, types=types), rows, item, rows) == np.inf
        with pytest.raises(ValueError, match="2 residues of the design were given for 1"):
            kept_rmsd(item, [1, 2], item, [1])

    def test_a_mirror_image_is_not_the_motif(self) -> None:
        item, rows = self.source(), list(range(3, 10))
        assert kept_rmsd(moved(item, np.diag([1.0, 1.0, -1.0])), rows, item, rows) > 0.3


class TestAssemblies:
    def test_interfaces_hold_chains_by_ten_contacts(self) -> None:
        # four lines of 12 residues along x: A and B 6 Å apart (34 contacts), B and C 7.9 Å (12), C and D 30 Å
        x = np.stack([3.8 * np.arange(12), np.zeros(12), np.zeros(12)], 1)
        lines = [x + [0, y, 0] for y in (0.0, 6.0, 13.9, 43.9)]
        three = lone(np.concatenate(lines[:3]), "A" * 12 + "B" * 12 + "C" * 12)
        assert interfaces(three) == {("A", "B"): 34, ("B", "C"): 12}
        assert partners(three) == (True, True)
        assert partners(three, 13) == (False, False)  # C only grazes
        four = lone(np.concatenate(lines), "A" * 12 + "B" * 12 + "C" * 12 + "D" * 12)
        assert partners(four) == (False, False)
        pairs = lone(np.concatenate([lines[0], lines[1], lines[0] + 90, lines[1] + 90]),
                     "A" * 12 + "B" * 12 + "C" * 12 + "D" * 12)  # fmt: skip
        assert partners(pairs) == (True, False)  # two dimers

    def test_a_chain_by_itself_has_none(self) -> None:
        assert partners(protein(10)) == (False, False)


class TestSurface:
    def test_neighbours_are_counted_where_the_side_chain_points(self) -> None:
        item = protein([HELIX] * 3)
        n, ca, c = item.backbone[1, :3].astype(np.float64)
        outward = (ca - n) / np.linalg.norm(ca - n) + (ca - c) / np.linalg.norm(ca - c)
        outward /= np.linalg.norm(outward)
        alone = half_sphere(item.backbone)[1]
        for distance, more in ((12.5, 1), (13.5, 0), (-8.0, 0)):
            far = np.concatenate(
                [item.backbone, item.backbone[:1] + (ca + distance * outward - item.backbone[0, 1])]
            )
            assert half_sphere(far)[1] - alone == more

    def test_exposure_does_not_depend_on_how_a_chain_lies(self) -> None:
        item = protein(60)
        assert half_sphere(moved(item).backbone).tolist() == half_sphere(item.backbone).tolist()
        assert patch(moved(item)).tolist() == patch(item).tolist()

    def test_a_patch_is_of_exposed_residues_that_are_near_and_hydrophobic_where_there_are(self) -> None:
        item = protein([HELIX] * 40, types="K" * 40)
        there = exposed(item)
        assert not there[[0, 1, 38, 39]].any() and 10 <= there.sum() <= 36
        types = np.array(item.types)
        first = patch(item, 4)
        far = patch(item, away=first)
        types[far] = "ACDEFGHIKLMNPQRSTVWY".index("L")
        greasy = replace(item, types=types)
        chosen = patch(greasy)
        assert set(chosen.tolist()) == set(far.tolist()) and there[chosen].all() and len(first) == 4
        ca = item.backbone[:, 1]
        assert np.linalg.norm(ca[far][:, None] - ca[first], axis=-1).min() >= 12
        with pytest.raises(ValueError, match="a patch of 3 residues was asked for; 0 are exposed"):
            patch(item, away=range(40))


class TestBenchmark:
    def held(self) -> list[Protein]:
        shared("sidechains.npz"), shared()
        return protein_designs.held_out(FOLDER.parent)

    def test_a_row_says_whether_its_bar_is_met(self) -> None:
        assert judged("a", "b", 0.02, 0.01) == {
            "case": "a", "figure": "b", "value": "0.02", "bar": "≤ 0.01", "met": "no",
        }  # fmt: skip
        share = [judged("", "", wilson(k, 10), 0.5, least=True, lower=0.25)["met"] for k in (6, 3, 2)]
        assert share == ["yes", "CPU's", "no"]
        assert judged("", "", wilson(1, 2))["met"] == "" == judged("", "", wilson(1, 2))["bar"]

    def test_motifs_and_targets_are_among_the_held_out_chains(self) -> None:
        held = {one.note["name"]: one for one in self.held()}
        for case in protein_motifs.MOTIFS:
            plan = Plan.of(case.contig, held[case.chain], length=case.length)
            low, high = plan.contig.designed(plan.counts)
            assert 60 <= low <= high <= 100
            assert held[case.chain].side is not None
        site = held["1birA"]
        letters = {number: site.sequence[site.where("A", number)] for number in (38, 40, 58, 77, 92)}
        assert letters == {38: "Y", 40: "H", 58: "E", 77: "R", 92: "H"}
        for name in protein_binders.TARGETS:
            target = held[name]
            hot = patch(target)
            assert len(target) <= 75 and len(target.chain_ids) == 1 and not target.breaks[1:].any()
            assert exposed(target)[[*hot, *patch(target, away=hot)]].all()

    def test_clashes_of_real_chains_are_of_every_place_of_the_motif(self) -> None:
        one = protein([HELIX] * 12)
        lines = np.stack([3.8 * np.arange(6), np.zeros(6), np.zeros(6)], 1)
        hairpin = lone(np.concatenate([lines, lines[::-1] + [0, 3.0, 0]]), "A" * 12)
        # residues k and 11 − k lie 3 Å apart; those three or more apart in the chain, k = 0 … 4, clash
        assert len(geometry.clashes(hairpin.backbone).pairs) == 5
        found = protein_motifs.real_clashes(np.array([0, 1]), [one, hairpin, one[:1]])
        # two residues from k on: 2 clashes across, but 1 of 4–5 and 6–7, and none of 5–6
        assert found == pytest.approx([0.0, 100 * (8 * 2 + 2 * 1 + 0) / 11 / 12])

    def test_the_networks_own_belief_has_the_atoms_of_each_design(self) -> None:
        net, items = model(), [protein(14), protein(10, seed=1)]
        exact, far = protein_motifs.own(net, items, 1e-3), protein_motifs.own(net, items, 0.9)
        for (own, shown), (_, noise), item in zip(exact, far, items, strict=True):
            assert own.shape == shown.shape == (len(item), 3, 3)
            assert protein_motifs.moved(shown, item.backbone[:, :3]) < 0.1
            assert protein_motifs.moved(noise, item.backbone[:, :3]) > 3
        again = protein_motifs.own(net, items, 0.9)
        assert all(np.array_equal(a[0], b[0]) for a, b in zip(far, again, strict=True))

    def test_motifs_of_designs_are_found_by_name(self) -> None:
        source = moved(protein(30))
        (item,) = design(model(), "4-8/A8-15/5/A20-22/3", source, **HOW)
        made = protein_motifs.reread(of_structure(item))
        rows, of = protein_motifs.rows_of(made, source)
        assert of == [*range(7, 15), *range(19, 22)] and rows == made.note["con_hal_idx0"]
        assert kept_rmsd(made, rows, source, of) < 2e-3

    def test_residues_with_insertion_codes_are_found(self) -> None:
        numbers = np.array([*range(-3, 10), *[9] * 2, *range(10, 25)], np.int32)
        codes = np.array([*[""] * 13, "A", "B", *[""] * 15])
        source = replace(protein(30), numbers=numbers, insertions=codes)
        (item,) = design(model(), "4/A-2-9B/5/A20-22/3", source, **HOW)
        made = protein_motifs.reread(of_structure(item))
        rows, of = protein_motifs.rows_of(made, source)
        assert of == [*range(1, 15), *range(25, 28)] and rows == made.note["con_hal_idx0"]
        # a binder beside residues 9A and 9B, far from 9
        ca = np.zeros((4, 3)) + [[100.0, 0, 0], [0, 0, 0], [4, 0, 0], [0, 4, 0]]
        made = replace(
            lone(ca, "TTTB"),
            numbers=np.array([9, 9, 9, 1], np.int32),
            insertions=np.array(["", "A", "B", ""]),
        )
        assert protein_binders.scored(made, made[np.arange(3)], [1, 2])[0]

    def test_binders_are_scored_at_the_hotspots(self) -> None:
        target = protein([HELIX] * 20)
        near = replace(moved(target, np.eye(3), (6.0, 0, 0)), chains=np.full(20, "B"))
        made = join([near, target])
        touch, rate = protein_binders.scored(made, target, [5, 9, 12])
        assert touch and rate == pytest.approx(
            100 * len(geometry.clashes(made.backbone, made.chains).pairs) / 40
        )
        away = join([replace(moved(target, np.eye(3), (60.0, 0, 0)), chains=np.full(20, "B")), target])
        assert protein_binders.scored(away, target, [5, 9, 12]) == (False, 0.0)

    def test_rows_of_assemblies(self) -> None:
        rows = protein_designs.assemblies(
            model(sampling={"steps": 2}), [protein(40)], n=1, residues=6, large=4, steps=2, progress=False
        )
        exact = [row for row in rows if row["figure"].startswith("RMSD from perfect copies")]
        assert len(exact) == 7 and {row["met"] for row in exact} == {"yes"}
        assert [row["case"] for row in exact[-3:]] == [f"{name} of 4 residues a chain" for name in "TOI"]

    @pytest.mark.slow
    def test_a_run_writes_its_rows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held()
        net = model(sampling={"steps": 2})
        monkeypatch.setattr(protein_designs.lv, "load", lambda *_, **__: net)
        for part, cases in (("motifs", 6), ("binders", 4)):
            out = tmp_path / f"{part}.json"
            assert (
                protein_designs.main(
                    ["--data", str(FOLDER.parent), "--only", part, "-n", "1", "--out", str(out)]
                )
                == 0
            )
            rows = json.loads(out.read_text())["rows"]
            assert sum(bool(row["case"]) for row in rows) == cases
            kept = [row for row in rows if row["figure"].startswith("RMSD of what is kept")]
            assert all(row["met"] == "yes" for row in kept)
