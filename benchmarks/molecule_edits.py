"""What a molecule model draws beside whole molecules, on molecules held out of its training.

    python benchmarks/molecule_edits.py molecule-qm9 --data ../shared/data

    bonds        share of graphs that are exactly those of the data, beside rdkit's rdDetermineBonds (given the net charge)
    elements     share of heavy atoms and of molecules that are those of the data, and the perplexity of the model's belief
                 for one element, beside that of the elements' frequencies
    geometry     share of R/S and E/Z that come out as the SMILES asks, and heavy-atom RMSD to the DFT minimum, beside
                 ETKDG and ETKDG + MMFF: the first geometry, and the best of 8
    linking      a ring or chain is cut out of a molecule and drawn anew between its ends: share that is sound
    analogues    molecules noised to t and drawn again: soundness, and Tanimoto similarity to where they began

The first four need a model that was trained with given parts. Seeds from 0, no rejection. A QM9 molecule has one minimum in
the data, so that a geometry is a prediction of it and not a sample of conformers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem, DataStructs
from rdkit.Chem import rdDetermineBonds, rdDistGeom, rdFingerprintGenerator, rdForceFieldHelpers, rdMolAlign

import langevin as lv
from langevin.core.guidance import Given
from langevin.modalities.molecule import edits
from langevin.modalities.molecule.archives import read_archive
from langevin.modalities.molecule.atoms import quiet, smiles, to_mol
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.statistics import Table, wilson


def share(found: Sequence[Any]) -> Any:
    return wilson(sum(map(bool, found)), len(found))


def bonds(model: Any, mols: list[Any], hydrogens: bool) -> list[dict[str, Any]]:
    drawn = edits.bonds(model, mols)
    ours = [not isinstance(a, lv.Failure) and smiles(a) == smiles(b) for a, b in zip(drawn, mols)]
    rows = [{"task": "bonds", "measure": "exact graph", "langevin": share(ours)}]
    if hydrogens:
        theirs = []
        for mol in mols:
            bare = Chem.RWMol()
            for atom in mol.GetAtoms():
                bare.AddAtom(Chem.Atom(atom.GetAtomicNum()))
            bare.AddConformer(mol.GetConformer())
            try:
                rdDetermineBonds.DetermineBonds(bare, charge=Chem.GetFormalCharge(mol))
                Chem.AssignStereochemistryFrom3D(bare)
                theirs.append(smiles(bare) == smiles(mol))
            except (ValueError, RuntimeError):
                theirs.append(False)
        rows[0]["rdDetermineBonds"] = share(theirs)
    return rows


def elements(model: Any, mols: list[Any]) -> list[dict[str, Any]]:
    drawn = edits.elements(model, mols)
    heavy, whole = [], []
    for made, mol in zip(drawn, mols):
        right = [
            not isinstance(made, lv.Failure)
            and made.GetAtomWithIdx(a.GetIdx()).GetAtomicNum() == a.GetAtomicNum()
            for a in mol.GetAtoms()
            if a.GetAtomicNum() > 1
        ]
        heavy += right
        whole.append(all(right))
    x, mask = model.modality.encode(mols)
    chosen = {"positions": mask, "bonds": mask[:, :, None] & mask[:, None]}
    noisy = model.process.prior(x, lv.Stream.of(0, len(mols)), mask)
    with torch.no_grad():
        belief, _ = Given(x, chosen)(model.denoiser)(noisy, 1.0, None, mask)
    counted = mask & (x["elements"] != 0) if model.modality.hydrogens else mask
    own = belief["elements"].logits.log_softmax(-1).gather(-1, x["elements"][..., None])[..., 0][counted]
    frequency = torch.bincount(x["elements"][counted], minlength=len(model.modality.elements)).double()
    frequency = frequency / frequency.sum()
    entropy = -(frequency * frequency.clamp(min=1e-12).log()).sum()
    return [
        {"task": "elements", "measure": "heavy atoms", "langevin": share(heavy)},
        {"task": "elements", "measure": "whole molecules", "langevin": share(whole)},
        {
            "task": "elements",
            "measure": "perplexity of a heavy atom",
            "langevin": float((-own.mean()).exp()),
            "frequencies": float(entropy.exp()),
        },
    ]


def rmsd(a: Any, b: Any) -> float:
    """Heavy-atom RMSD in Å, over equivalent orders of atoms."""
    return float(rdMolAlign.GetBestRMS(Chem.RemoveHs(a), Chem.RemoveHs(b)))


def embedded(mol: Any, count: int, relax: bool) -> list[Any]:
    graph = Chem.AddHs(Chem.MolFromSmiles(smiles(mol)))
    found = list(rdDistGeom.EmbedMultipleConfs(graph, count, randomSeed=7))
    if relax and found:
        rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(graph, maxIters=2000)
    return [Chem.Mol(graph, confId=k) for k in found]


def geometry(model: Any, mols: list[Any], count: int = 8) -> list[dict[str, Any]]:
    asked, first, best = [], {}, {}
    for mol in mols:
        text = smiles(mol)
        drawn = list(edits.geometry(model, text, n=count, progress=False))
        made = [m for m in drawn if not isinstance(m, lv.Failure)]
        if any(mark in text for mark in "@/\\"):
            asked += [not isinstance(m, lv.Failure) and smiles(m) == text for m in drawn]
        for name, found in {
            "langevin": made,
            "ETKDG": embedded(mol, count, False),
            "ETKDG + MMFF": embedded(mol, count, True),
        }.items():
            distances = [rmsd(m, mol) for m in found]
            first.setdefault(name, []).append(distances[0] if distances else np.nan)
            best.setdefault(name, []).append(min(distances, default=np.nan))
    return [
        {"task": "geometry", "measure": "R/S and E/Z as asked", "langevin": share(asked)},
        {"task": "geometry", "measure": "median RMSD (Å)"}
        | {k: float(np.nanmedian(v)) for k, v in first.items()},
        {"task": "geometry", "measure": f"median RMSD, best of {count} (Å)"}
        | {k: float(np.nanmedian(v)) for k, v in best.items()},
    ]


def linking(model: Any, mols: list[Any], hydrogens: bool) -> list[dict[str, Any]]:
    drawn, kept = [], []
    for i, mol in enumerate(mols):
        inner = [
            a.GetIdx() for a in mol.GetAtoms() if sum(b.GetAtomicNum() > 1 for b in a.GetNeighbors()) > 1
        ]
        if len(inner) < 2:
            continue
        made = edits.replace(model, mol, inner[: max(2, len(inner) // 2)], n=2, seed=i, progress=False)
        drawn += list(made)
    judged = inspect(drawn, hydrogens=hydrogens, busted=None)
    kept = [s.sound for s in judged]
    return [{"task": "a part drawn anew", "measure": "sound", "langevin": share(kept)}]


def analogues(model: Any, mols: list[Any], hydrogens: bool) -> list[dict[str, Any]]:
    prints = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    rows = []
    for t in (0.2, 0.4, 0.6, 0.8, 1.0):
        drawn = list(model.sample(len(mols), start=mols, strength=t, seed=0))
        judged = inspect(drawn, hydrogens=hydrogens, busted=None)
        alike = [
            DataStructs.TanimotoSimilarity(*(prints.GetFingerprint(Chem.RemoveHs(x)) for x in pair))
            for pair in zip(drawn, mols)
            if not isinstance(pair[0], lv.Failure)
        ]
        same = [not isinstance(a, lv.Failure) and smiles(a) == smiles(b) for a, b in zip(drawn, mols)]
        rows.append(
            {
                "t": t,
                "sound": share([s.sound for s in judged]),
                "mean similarity": float(np.mean(alike)),
                "unchanged": share(same),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=500, help="molecules for bonds, elements and analogues")
    parser.add_argument(
        "--few", type=int, default=100, help="molecules for geometries and for parts drawn anew"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with molecules/…")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with quiet():
        measure(options)


def measure(options: argparse.Namespace) -> None:
    model = lv.load(options.model, device="cpu")
    hydrogens = model.modality.hydrogens
    data = read_archive(options.data / "molecules" / "qm9.npz", "test")
    chosen = np.random.default_rng(0).permutation(len(data))[: options.n].tolist()
    atoms = [data[i] if hydrogens else data[i].heavy() for i in chosen]
    mols = [to_mol(a, explicit=hydrogens) for a in atoms]
    few = mols[: options.few]
    tables = []
    if model.objective.given:
        rows = [
            *bonds(model, mols, hydrogens),
            *elements(model, mols),
            *geometry(model, few),
            *linking(model, few, hydrogens),
        ]
        about = f"Molecules of the test split: {len(mols)}, geometries and parts {len(few)}. Intervals: 95 %."
        tables.append(Table(rows, about))
    about = f"{len(mols)} molecules of the test split, noised to t and drawn again. Intervals: 95 %."
    tables.append(Table(analogues(model, mols, hydrogens), about))
    for table in tables:
        print(table, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(t.to_json()) for t in tables], indent=1))


if __name__ == "__main__":
    main()
