"""Measures of backbones: hand-made cases, and whether they tell real chains from helices, random walks and mirror images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from Bio.PDB.Structure import Structure

from langevin.modalities.base import Failure
from langevin.modalities.protein import metrics, rigid
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.metrics import geometry, ramachandran, secondary, shape
from langevin.modalities.protein.metrics.controls import from_torsions, protein_of
from langevin.modalities.protein.metrics.reference import measured, real
from langevin.modalities.protein.protein import Protein, join, to_structure, types_of
from tests.modalities.protein.chains import shared

N = 24  # chains of each kind


@pytest.fixture(scope="module")
def held() -> list[Protein]:
    archive = read_archive(shared(), "test")
    return [archive[k] for k in range(len(archive)) if archive.lengths[k] <= 128][:N]


def strand(n: int) -> Protein:
    return from_torsions([-120.0] * n, [130.0] * n)


def shifted(protein: Protein, first: int, by: float) -> Protein:
    """All residues from ``first`` on moved along x."""
    backbone = protein.backbone.copy()
    backbone[first:, :, 0] += by
    return dataclasses.replace(protein, backbone=backbone)


def turned(protein: Protein, seed: int = 0) -> Protein:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    turn *= np.linalg.det(turn)
    backbone = (protein.backbone @ turn.T + [5.0, -3.0, 9.0]).astype(np.float32)
    return dataclasses.replace(protein, backbone=backbone)


def test_a_chain_made_of_torsions_has_them_and_ideal_bonds() -> None:
    rng = np.random.default_rng(0)
    phi, psi = rng.uniform(-180, 180, (2, 12))
    made = from_torsions(phi, psi, omega=175.0)
    found = ramachandran.torsions(made.backbone)
    assert np.isnan(found[0, 0]) and np.isnan(found[-1, 1])
    np.testing.assert_allclose(found[1:, 0], phi[1:], atol=1e-3)
    np.testing.assert_allclose(found[:-1, 1], psi[:-1], atol=1e-3)
    bonds = geometry.between(made.backbone)
    for name, value in (
        ("C–N", rigid.C_N),
        ("CA–C–N", rigid.CA_C_N),
        ("C–N–CA", rigid.C_N_CA),
        ("omega", -5.0),
    ):
        np.testing.assert_allclose(bonds[name], value, atol=1e-3)
    inside = geometry.inside(made.backbone)
    np.testing.assert_allclose(inside["N–CA–C"], rigid.N_CA_C, atol=1e-3)
    np.testing.assert_allclose(inside["C–O"], rigid.C_O, atol=1e-3)


def test_cis_bonds_are_right_distances_and_counted() -> None:
    made = from_torsions([-60.0] * 4, [140.0] * 4, omega=0.0)
    bonds = geometry.between(made.backbone)
    assert (abs(bonds["omega"]) > 179).all()
    assert metrics.measure(made).cis == 3
    assert geometry.ca_ca_right([3.8, 3.94, 3.96, 2.95, 3.2]).tolist() == [True, True, False, True, False]


def test_a_gap_in_the_numbers_is_no_break_but_a_torn_bond_is() -> None:
    torn = shifted(strand(10), 5, 8.0)
    assert metrics.measure(torn).broken == 1
    gap = dataclasses.replace(torn, numbers=torn.numbers + 3 * (np.arange(10) > 4).astype(np.int32))
    one = metrics.measure(gap)
    assert (one.broken, one.bonds) == (0, 8)
    # numbers that jump over no gap, as of antibodies, leave the bond
    jump = dataclasses.replace(strand(10), numbers=gap.numbers)
    assert (metrics.measure(jump).broken, metrics.measure(jump).bonds) == (0, 9)


def test_without_other_atoms_ca_are_measured() -> None:
    backbone = strand(8).backbone.copy()
    backbone[:, [0, 2, 3]] = np.nan
    backbone[4:] += [9.0, 9.0, 9.0]
    one = metrics.measure(protein_of(backbone))
    assert one.right["CA–CA"] == 6 and one.broken == 1
    assert one.known["C–N"] == 0 and one.reasons == ("no backbone",)


def test_clashes_are_of_residues_three_apart_and_of_other_chains() -> None:
    chain = strand(12)
    assert geometry.clashes(chain.backbone).pairs.size == 0
    beside = dataclasses.replace(
        chain, backbone=chain.backbone + np.float32([0.5, 0, 0]), chains=np.full(12, "B")
    )
    both = join([chain, beside])
    found = geometry.clashes(both.backbone, both.chains)
    assert found.ca >= 12 and {(k, k + 12) for k in range(12)} <= set(map(tuple, found.pairs.tolist()))
    # C of residue 0 and N of residue 3 at 2.6 Å overlap by 0.65 Å, at 2.7 Å by 0.55 Å
    for distance, count in ((2.6, 1), (2.7, 0)):
        backbone = np.full((4, 4, 3), np.nan)
        backbone[:, 1] = 20.0 * np.arange(4)[:, None]
        backbone[0, 2], backbone[3, 0] = [0, 5, 0], [distance, 5, 0]
        assert geometry.clashes(backbone).heavy == count


def test_the_region_holds_the_share_with_the_fewest_cells() -> None:
    counts = np.zeros((36, 36))
    counts[3, 4], counts[20, 30], counts[0, 0] = 900, 95, 5
    inside = ramachandran.region(counts, 0.99, smoothing=0)
    assert inside.sum() == 2 and inside[3, 4] and inside[20, 30]
    assert ramachandran.grid(np.array([[-180.0, 180.0], [179.9, 0.0]])).tolist() == [[0, 0], [35, 18]]


def test_glycine_may_be_where_others_may_not() -> None:
    angles = np.tile([80.0, -170.0], (2, 1))
    letters = types_of("GV")
    assert ramachandran.outside(angles, letters).tolist() == [False, True]
    assert not ramachandran.outside(angles).any()


def test_histograms_of_helix_and_strand_at_equal_numbers() -> None:
    helices, strands = [secondary.Shares(1.0, 0.0)] * 10, [secondary.Shares(0.1, 0.5)] * 30
    assert secondary.against(helices, strands).value == 1 and secondary.against(helices, strands).n == 10
    assert secondary.against(strands, strands).value == 0 and secondary.against(strands, strands).n == 15
    mixed = [*helices, *strands]
    assert 0 < secondary.against(mixed, mixed).value < secondary.against(helices, mixed).value
    with pytest.raises(ValueError, match="n must lie in 1 … 10"):
        secondary.against(helices, strands, 11)


def test_shape_of_a_line() -> None:
    line = 3.8 * np.arange(40)[:, None] * np.array([1.0, 0, 0])
    assert shape.radius_of_gyration(line) == pytest.approx(3.8 * np.sqrt((40**2 - 1) / 12))
    assert shape.long_range(line) == 0 and shape.contact_order(line) == 0
    folded = np.concatenate([line[:20], line[19::-1] + [0, 5.0, 0]])
    assert shape.long_range(folded) > 0.5 and shape.contact_order(folded) > 0.3
    assert shape.usual_radius(39) is None and shape.usual_contacts(257) is None


def test_tm_scores_clusters_and_superposition() -> None:
    helix, other = metrics.helix(60), strand(60)
    traces = [p.backbone[:, 1] for p in (helix, turned(helix), other, turned(other, 1))]
    scores = metrics.pair_scores(traces)
    assert scores[0, 1] == pytest.approx(1, abs=1e-4) and scores[0, 2] < 0.5
    assert metrics.clusters(scores).tolist() in ([1, 1, 2, 2], [2, 2, 1, 1])
    varied = metrics.diversity(scores, [60] * 4)
    assert (
        varied.clusters.value == 0.5 and varied.same is not None and varied.same.value == pytest.approx(2 / 6)
    )
    assert np.isnan(metrics.pair_scores([traces[0], traces[2][:50]], alike=0.9)[0, 1])
    rotation, shift, rmsd = metrics.superposed(traces[0], traces[1])
    assert rmsd < 1e-4 and np.allclose(traces[0] @ rotation.T + shift, traces[1], atol=1e-3)
    assert metrics.superposed(-traces[0], traces[0])[2] > 1  # a mirror image is not superposed
    with pytest.raises(ValueError, match="5 residues"):
        metrics.tm_score(traces[0][:4], traces[1])


def test_motifs_copies_and_interfaces() -> None:
    motif = metrics.helix(12)
    design = turned(join([strand(6), motif, strand(5)]))
    assert metrics.motif_rmsd(design, range(6, 18), motif) < 1e-4
    assert metrics.motif_rmsd(design, range(5, 17), motif) > 0.5
    angle = 2 * np.pi / 3
    turns = [
        np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        for a in (0, angle, 2 * angle)
    ]
    unit = shifted(metrics.helix(20), 0, 6.0)
    ring = join(
        [
            dataclasses.replace(unit, backbone=(unit.backbone @ t.T), chains=np.full(20, c))
            for t, c in zip(turns, "ABC")
        ]
    )
    assert metrics.symmetry_rmsd(ring) < 1e-4 and metrics.symmetry_rmsd(ring, turns) < 1e-4
    moved = dataclasses.replace(ring, backbone=ring.backbone + (ring.chains == "C")[:, None, None] * 2.0)
    assert metrics.symmetry_rmsd(moved) < 1e-4 and metrics.symmetry_rmsd(moved, turns) > 3
    contacts = metrics.interfaces(ring)
    assert set(contacts) == {("A", "B"), ("A", "C"), ("B", "C")} and len(set(contacts.values())) == 1
    touched = metrics.hotspots_touched(ring, range(20))
    assert touched.any() and not metrics.hotspots_touched(ring[ring.chains == "A"], range(20)).any()
    with pytest.raises(ValueError, match="11 residues of the design were given for 12"):
        metrics.motif_rmsd(design, range(11), motif)


def test_the_nearest_chain_is_found_where_a_crop_was_copied() -> None:
    rng = np.random.default_rng(0)
    torsions = [rng.choice([(-60, -45), (-120, 130), (-70, 140)], (120,)) for _ in range(30)]
    chains = [from_torsions(t[:, 0], t[:, 1]).backbone[:, 1] for t in torsions]
    known = metrics.Known(chains, most=3)
    crop = turned(protein_of(from_torsions(torsions[17][:, 0], torsions[17][:, 1]).backbone[40:90]))
    noisy = crop.backbone[:, 1] + 0.5 * rng.standard_normal((50, 3))
    found = known.nearest(noisy)
    assert found.chain == 17 and found.score > 0.8 and found.aligned == 3
    # a chain within a longer design, and a window within a longer chain
    scores, begins = metrics.Known([chains[3][10:70], chains[17]]).windows(chains[3])
    assert begins[0] in (-9, -12) and scores[0] > 0.4 and scores[0] > scores[1]
    assert known.windows(noisy)[1][17] in (39, 42)
    mirrored = known.filtered(noisy * [-1, 1, 1])
    assert known.filtered(noisy)[17] > 2 * mirrored[17]
    with pytest.raises(ValueError, match="5 residues or more"):
        metrics.Known([])


def test_a_helix_is_no_real_chain_though_all_its_bonds_are() -> None:
    one = metrics.measure(metrics.helix(80))
    assert all(one.right[name] == one.known[name] for name in one.right) and one.outside == 0
    assert one.structure.helix > 0.9 and one.structure.strand == 0
    assert (
        one.reasons == ("radius of gyration",) and one.radius_usual is False and one.long_range_usual is False
    )
    traces = [metrics.helix(80).backbone[:, 1], turned(metrics.helix(80)).backbone[:, 1]]
    assert metrics.diversity(metrics.pair_scores(traces), [80, 80]).clusters.value == 0.5


def test_a_random_walk_fails_all_but_its_steps() -> None:
    one = metrics.measure(metrics.random_walk(80, np.random.default_rng(0)))
    assert one.right["CA–CA"] == 79 and one.right_inside["N–CA–C"] == 80
    assert max(one.right[name] for name in geometry.BETWEEN[1:]) < 0.2 * one.bonds
    assert {"a break", "clashes", "phi > 0", "Ramachandran"} <= set(one.reasons)


def test_real_chains_pass_and_their_mirror_images_do_not(held: list[Protein]) -> None:
    images = [metrics.mirrored(p) for p in held]
    ours, image = (metrics.figures([metrics.measure(p, False) for p in side]) for side in (held, images))
    for name in geometry.BETWEEN[1:]:
        assert ours[f"{name} within real 1–99 %"].value > 0.96
    assert ours["CA–CA within 0.15 Å of trans or cis"].value > 0.99
    assert ours["breaks per 100 bonds"].value == 0 and ours["clashes per 100 residues"].value < 0.5
    assert (
        ours["outside the Ramachandran region"].value
        < 0.02
        < 0.2
        < image["outside the Ramachandran region"].value
    )
    assert ours["phi > 0"].value < 0.1 < 0.9 < image["phi > 0"].value
    assert ours["plausible"].value > 0.6 and image["plausible"].value == 0
    for name in ("helix", "C–N within real 1–99 %", "both within real 2–98 %"):
        assert image[name].value == ours[name].value


def test_the_table_of_a_set_beside_real_chains(held: list[Protein]) -> None:
    samples: Sequence[Protein | Structure | Failure] = [
        to_structure(held[0]),
        *held[1:8],
        Failure("none"),
    ]
    table = metrics.evaluate(samples, held[8:], training=held[:2], subsample=3)
    first, whole = table.rows[0], table.row(measure="whole")
    assert first["measure"] == "decoded" and first["samples"].value == pytest.approx(8 / 9)
    assert whole["samples"].value == pytest.approx(8 / 9) and whole["reference"].value == 1
    assert "by the type of residue" in table.caption and "of which 1 could not be decoded" in table.caption
    assert table.row(measure="(helix, strand): total variation")["reference"].n == 8
    assert table.row(measure="TM of pairs at like lengths, median")
    assert table.row(measure="TM to training, highest: median")["samples"].n == 3
    untyped = metrics.evaluate([metrics.helix(50)], held[:4])
    assert "of all types together" in untyped.caption
    with pytest.raises(ValueError, match="at least one protein"):
        metrics.evaluate([])


def test_a_placeholder_for_all_residues_is_no_sequence() -> None:
    made = strand(10)
    glycines = dataclasses.replace(made, types=types_of("G" * 10))
    assert metrics.measure(glycines).outside == metrics.measure(made).outside
    rows = list(metrics.scores([glycines, Failure("none")]))
    assert rows[0]["residues"] == 10 and rows[1]["reasons"] == "not decoded" and set(rows[0]) == set(rows[1])


def test_failures_count_as_wrong() -> None:
    one = metrics.measure(metrics.helix(50))
    half = metrics.figures([one, None])
    assert half["C–N within real 1–99 %"].value == pytest.approx(0.5) and half[
        "phi > 0"
    ].value == pytest.approx(0.5)
    assert half["whole"].value == 0.5 and half["breaks per 100 bonds"].value == pytest.approx(50)


def test_the_reference_is_what_the_training_chains_measure() -> None:
    chains = read_archive(shared(), "train")
    assert real().chains == len(chains) and real().residues == sum(chains.lengths)
    few = [(p.backbone.astype(np.float64), p.types.astype(np.int64)) for p in chains[:150]]
    found = measured(few, "some")
    for name, (low, high) in real().ranges.items():
        assert found.ranges[name][0] == pytest.approx(low, rel=0.2, abs=0.02)
        assert found.ranges[name][1] == pytest.approx(high, rel=0.2, abs=0.02)
    assert sum(map(sum, found.ramachandran["glycine"])) == pytest.approx(
        sum(map(sum, real().ramachandran["glycine"])) * found.residues / found.chains * 150 / real().residues,
        rel=0.2,
    )
