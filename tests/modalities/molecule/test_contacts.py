"""Clashes, overlap and contacts are PoseBusters' and the literature's; the table compares pockets, not ligands."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import to_mol
from langevin.modalities.molecule.complexes import open_complexes
from langevin.modalities.molecule.contacts import CLASH, contacts, moved, radii, shape, shape_likeness
from langevin.modalities.molecule.docking import posebusters_in_pocket, vina
from langevin.modalities.molecule.pocket_evaluation import (
    beats_controls,
    evaluate_in_pockets,
    permuted_pockets,
    placed,
)
from langevin.modalities.molecule.pockets import Pocket, read_pocket
from langevin.optional import MissingPackage
from tests.modalities.molecule.pocket_files import ala, archive, hetero, ring, write


def at(symbols: str, places: Any) -> Any:
    """Atoms without bonds."""
    mol = Chem.RWMol()
    for symbol in symbols:
        mol.AddAtom(Chem.Atom(symbol))
    mol.AddConformer(Chem.Conformer(len(symbols)))
    mol.GetConformer().SetPositions(np.array(places, float))
    mol.UpdatePropertyCache(strict=False)
    return mol.GetMol()


@pytest.fixture
def pocket(tmp_path: Path) -> Pocket:
    zinc = hetero("ZN", "ZN", 501, 0, 9, 0, element="ZN")
    return read_pocket(write(tmp_path, [*ala(10, 0.0), zinc, *ring()]), "LIG")


def test_a_clash_begins_at_its_cutoff(pocket: Pocket) -> None:
    limit = CLASH * (radii("vdw")[6] + radii("vdw")[8])  # a carbon above the O at (1.3, 2.1, 0)
    for gap, clashes in ((limit - 0.01, 1), (limit + 0.01, 0)):
        found = contacts(at("C", [[1.3, 2.1 + gap, 0]]), pocket)
        assert found.clashes == clashes and found.smallest == pytest.approx(gap / limit * CLASH, abs=1e-4)
    metal = CLASH * (radii("covalent")[6] + radii("covalent")[30])  # at (0, 9, 0): covalent radii
    assert contacts(at("C", [[0, 9 - metal - 0.01, 0]]), pocket).clashes == 0
    assert contacts(at("C", [[0, 9 - metal + 0.01, 0]]), pocket).clashes == 1


def test_contacts_are_counted_within_their_distance(pocket: Pocket) -> None:
    far = contacts(at("C", [[0, 5.9, 0]]), pocket)
    assert (
        far.contacts == 1 and far.touching == 1 and far.fitting == 1
    )  # the O, 4.0 Å away; the zinc is no protein
    none = contacts(at("CC", [[0, 8, 0], [0, 12, 9]]), pocket)
    assert none.contacts == 0 and none.touching == 0 and none.polar is None
    clash = contacts(at("CC", [[0.1, 0, 0], [0, 5.9, 0]]), pocket)
    assert clash.touching == 1 and clash.fitting == 0.5 and clash.clashes > 0


def test_polar_contacts_need_a_donor_and_an_acceptor(pocket: Pocket) -> None:
    beside_o, beside_n = [[1.3, 5.0, 0]], [[-1.2, 3.7, 0]]  # 2.9 Å from O and from N alone
    water = at("O", beside_o)
    assert contacts(water, pocket).polar == 1  # gives its hydrogen to O
    ether = Chem.MolFromSmiles("COC")
    for place, count in ((beside_o, 0), (beside_n, 1)):
        ether.RemoveAllConformers()
        ether.AddConformer(Chem.Conformer(3))
        x = np.array(place[0])
        ether.GetConformer().SetPositions(np.array([x + [-1, 1, 0], x, x + [1, 1, 0]], float))
        assert contacts(ether, pocket).polar == count


def test_shape_knows_rods_discs_and_balls() -> None:
    t = np.arange(12) * np.pi / 6
    rod = shape(at("C" * 5, [[k, 0, 0] for k in range(5)]))
    assert (rod["npr1"], rod["npr2"]) == (pytest.approx(0), pytest.approx(1))
    assert rod["gyration"] == pytest.approx(np.sqrt(2))
    disc = shape(at("C" * 12, [[np.cos(a), np.sin(a), 0] for a in t]))
    assert (disc["npr1"], disc["npr2"]) == (pytest.approx(0.5), pytest.approx(0.5))
    ball = shape(at("C" * 6, [*np.eye(3), *-np.eye(3)]))
    assert (ball["npr1"], ball["npr2"]) == (pytest.approx(1), pytest.approx(1))
    one = at("CC", [[0, 0, 0], [1.5, 0, 0]])
    assert shape_likeness(one, one) == pytest.approx(1)
    assert shape_likeness(one, moved(one, np.array([20, 0, 0]))) == pytest.approx(0)


def test_what_has_no_figures_says_so(pocket: Pocket) -> None:
    for mol, words in ((Chem.MolFromSmiles("CC"), "conformer"), (at("H", [[0, 0, 0]]), "heavy"),
                       (at("C", [[np.nan, 0, 0]]), "finite")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            contacts(mol, pocket)


def test_moved_turns_about_the_mean_and_leaves_the_original() -> None:
    mol = at("CCO", [[1, 0, 0], [2, 0, 0], [3, 1, 0]])
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    out = moved(mol, np.array([1.0, 2, 3]), turn).GetConformer().GetPositions()
    np.testing.assert_allclose(out.mean(0), mol.GetConformer().GetPositions().mean(0) + [1, 2, 3])
    np.testing.assert_allclose(out[1] - out[0], [0, 1, 0], atol=1e-12)
    assert mol.GetConformer().GetPositions()[0].tolist() == [1, 0, 0]


@pytest.fixture(scope="module")
def shared() -> list[Any]:
    return open_complexes(archive(), "test", sources=("pdb",))[:8]


def test_clash_and_overlap_are_posebusters(shared: list[Any]) -> None:
    """Real poses, and the same moved by 0 to 6 Å, are judged as PoseBusters judges them, figures and verdicts."""
    from posebusters.modules.intermolecular_distance import check_intermolecular_distance
    from posebusters.modules.volume_overlap import check_volume_overlap

    ignored = {"hydrogens", "organic_cofactors", "inorganic_cofactors", "waters"}
    verdicts = set()
    for k, one in enumerate(shared):
        receptor = one.pocket.to_mol()
        for step in (0.0, 0.4, 1.0, 6.0):
            shift = np.random.default_rng(k).normal(size=3)
            mol = moved(to_mol(one.ligand), step * shift / np.linalg.norm(shift))
            mine = contacts(mol, one.pocket)
            theirs = check_intermolecular_distance(mol, receptor, ignore_types=ignored)["results"]
            volume = check_volume_overlap(
                mol, receptor, clash_cutoff=0.075, vdw_scale=0.8, ignore_types=ignored
            )["results"]
            assert mine.smallest == pytest.approx(theirs["most_extreme_relative_distance"], abs=1e-6)
            assert (
                mine.clashing == (not theirs["no_clashes"]) and mine.clashes == theirs["num_pairwise_clashes"]
            )
            assert mine.overlap == pytest.approx(
                0 if np.isnan(volume["volume_overlap"]) else volume["volume_overlap"], abs=1e-6
            )
            assert mine.overlapping == (not volume["no_volume_clash"])
            verdicts.add((mine.clashing, mine.overlapping))
    assert {(False, False), (True, True)} <= verdicts


def test_posebusters_with_a_receptor(shared: list[Any]) -> None:
    one = shared[0]
    mol = to_mol(one.ligand)
    away = moved(mol, np.array([0, 0, 60.0]))
    into = moved(mol, one.pocket.positions[0] - mol.GetConformer().GetPositions().mean(0))
    right, left, none, clash = posebusters_in_pocket([mol, away, Failure("no"), into], one.pocket, show=False)
    assert all(right.values()) and none == {}
    assert not left["protein-ligand_maximum_distance"] and not clash["minimum_distance_to_protein"]
    redocked = posebusters_in_pocket([mol, away], one.pocket, config="redock_fast", reference=mol, show=False)
    assert [row["rmsd_≤_2å"] for row in redocked] == [True, False]
    with pytest.raises(ValueError, match="give reference"):
        posebusters_in_pocket([mol], one.pocket, config="redock_fast")
    with pytest.raises(ValueError, match="unknown configuration of PoseBusters 'mol_fast'"):
        posebusters_in_pocket([mol], one.pocket, config="mol_fast")


def test_a_log_that_was_closed_fails_no_ligand(shared: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """PoseBusters leaves rdkit's log on the standard error of its last call, which a captured one closes."""
    import rdkit

    closed = io.StringIO()
    closed.close()
    one = shared[0]
    posebusters_in_pocket([to_mol(one.ligand)], one.pocket, show=False)
    monkeypatch.setattr(rdkit.log_handler, "stream", closed)
    assert posebusters_in_pocket([to_mol(one.ligand)], one.pocket, show=False)[0]["inchi_convertible"]


def test_vina_is_asked_for_by_name_where_it_is_missing(
    pocket: Pocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "vina" else find_spec(name, *rest)
    )
    monkeypatch.delitem(sys.modules, "vina", raising=False)
    with pytest.raises(MissingPackage, match="pip install vina meeko"):
        vina(at("C", [[0, 5, 0]]), pocket)


def test_vina_prefers_the_real_pose(shared: list[Any]) -> None:
    pytest.importorskip("vina", reason="vina is not installed")
    pytest.importorskip("meeko", reason="meeko is not installed")
    one = shared[2]
    mol = to_mol(one.ligand)
    real = vina(mol, one.pocket)
    assert real.score < -3 and real.minimised <= real.score + 0.1 and real.docked is None
    assert vina(moved(mol, np.array([2.5, 0, 0])), one.pocket).score > real.score


def test_permuted_pockets_are_of_other_clusters() -> None:
    group = {f"p{k}": k // 3 for k in range(9)} | {"x": 9, "y": 10}
    for seed in range(20):
        where = permuted_pockets(group, seed)
        assert sorted(where) == sorted(where.values()) == sorted(group)
        assert all(group[a] != group[b] for a, b in where.items())
    assert permuted_pockets(group, 1) == permuted_pockets(group, 1) != permuted_pockets(group, 2)
    with pytest.raises(ValueError, match="2 of 3 are of one cluster"):
        permuted_pockets({"a": 0, "b": 0, "c": 1})


def ethanol() -> Any:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return Chem.RemoveHs(mol)


def test_placed_ligands_are_at_the_centre_each_turned(pocket: Pocket) -> None:
    made = placed([ethanol(), Failure("no")], pocket, 5, "a", seed=3)
    mols = [mol for mol in made if not isinstance(mol, Failure)]
    assert len(made) == 5 and 2 <= len(mols) <= 3
    x = [mol.GetConformer().GetPositions() for mol in mols]
    for one in x:
        np.testing.assert_allclose(one.mean(0), pocket.centre, atol=1e-5)
        np.testing.assert_allclose(
            np.linalg.norm(one[1] - one[0]), np.linalg.norm(x[0][1] - x[0][0]), atol=1e-6
        )
    assert np.abs(x[0] - x[1]).max() > 0.1
    again = placed([ethanol(), Failure("no")], pocket, 5, "a", seed=3)
    np.testing.assert_array_equal(again[made.index(mols[0])].GetConformer().GetPositions(), x[0])


def test_real_ligands_beat_their_controls(shared: list[Any]) -> None:
    own = {one.name: [to_mol(one.ligand), Failure("no")] for one in shared}
    other = [to_mol(one.ligand) for one in shared]
    table = evaluate_in_pockets(
        own,
        {one.name: one.pocket for one in shared},
        {one.name: to_mol(one.ligand) for one in shared},
        unconditional=other,
        clusters={one.name: one.cluster for one in shared},
        config=None,
        show=False,
    )
    assert table.row(measure="decoded")["samples"].value == 0.5  # failures count as bad
    assert table.row(measure="without clash")["samples"].value == 0.5
    assert table.row(measure="without clash")["data"].value == 1
    row = table.row(measure="clashes")
    assert row["samples"].value == 0 and row["permuted"].value > 3 and row["unconditional"].value > 3
    assert (
        row["samples − permuted"].high < 0
        and row["better"] == "lower"
        and row["samples"].n == len({one.cluster for one in shared})
    )
    assert beats_controls(table, "clashes") and beats_controls(table, "volume overlap")
    assert not beats_controls(table, "decoded")
    assert "contacts per atom" in [r["measure"] for r in table.rows]
    with pytest.raises(
        ValueError, match="unknown measure with a good direction 'clashs'; did you mean 'clashes'"
    ):
        beats_controls(table, "clashs")


def test_samples_that_ignore_the_pocket_beat_nothing(shared: list[Any]) -> None:
    pockets = {one.name: one.pocket for one in shared}
    blind = {
        name: placed([to_mol(one.ligand) for one in shared], pocket, 2, name, 1)
        for name, pocket in pockets.items()
    }
    table = evaluate_in_pockets(
        blind, pockets, unconditional=[to_mol(one.ligand) for one in shared], config=None, seed=2, show=False
    )
    assert "data" not in table.columns
    assert not any(beats_controls(table, m) for m in ("without clash", "clashes", "volume overlap"))
    difference = table.row(measure="clashes")["samples − permuted"]
    assert difference.low < 0 < difference.high


def test_clusters_are_the_units(shared: list[Any]) -> None:
    """Eight pockets of two clusters give intervals of two values, whatever the number of ligands."""
    own = {one.name: [to_mol(one.ligand)] * 3 for one in shared[:4]}
    table = evaluate_in_pockets(
        own,
        {one.name: one.pocket for one in shared},
        clusters={one.name: k % 2 for k, one in enumerate(shared)},
        config=None,
        show=False,
    )
    assert table.row(measure="clashes")["samples"].n == 2
    sizes = [
        np.mean([len(shared[k].ligand) for k in (0, 2)]),
        np.mean([len(shared[k].ligand) for k in (1, 3)]),
    ]
    assert table.row(measure="heavy atoms")["samples"].value == pytest.approx(np.mean(sizes))


def test_requests_that_cannot_be_met(pocket: Pocket) -> None:
    with pytest.raises(ValueError, match="at least one pocket"):
        evaluate_in_pockets({}, {"a": pocket})
    with pytest.raises(ValueError, match="unknown pocket 'b'"):
        evaluate_in_pockets({"b": [ethanol()]}, {"a": pocket})
    with pytest.raises(ValueError, match="'a' has no ligands"):
        evaluate_in_pockets({"a": []}, {"a": pocket})
    with pytest.raises(ValueError, match="permuted=False"):
        evaluate_in_pockets({"a": [ethanol()]}, {"a": pocket}, config=None, show=False)
