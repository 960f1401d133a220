"""Other people's judgement of a ligand in a pocket: PoseBusters' tests with a protein, and AutoDock Vina's score.

PoseBusters (Buttenschoen et al. 2024), configurations with a protein:

    dock_fast, dock        tests of the molecule, and its distances to and overlap with protein, cofactors and metals
    redock_fast, redock    these, and identity with and RMSD ≤ 2 Å to a reference ligand; for poses of a known molecule

the ones with ``_fast`` without the energy ratio, which costs seconds to minutes for a molecule.

Vina (Trott and Olson 2010; Eberhardt et al. 2021) is run only where the packages ``vina`` and ``meeko`` are installed, and
nothing stands in for it where they are not. Its receptor is the pocket alone, with the polar hydrogens that rdkit
places, so scores are close to, not equal to, those with the whole protein.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langevin import optional
from langevin.core.errors import unknown
from langevin.core.progress import bar
from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import quiet, reason
from langevin.modalities.molecule.contacts import heavy_positions
from langevin.modalities.molecule.pockets import Pocket
from langevin.modalities.molecule.soundness import open_log, prepared

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["CONFIGURATIONS", "VinaScore", "posebusters_in_pocket", "vina"]

CONFIGURATIONS = ("dock_fast", "dock", "redock_fast", "redock")
MARGIN = 8.0  # Å between the ligand and the walls of Vina's box

_METALS = {12: "Mg", 20: "Ca", 25: "Mn", 26: "Fe", 30: "Zn"}  # that Vina has parameters for
_TYPES = {6: "C", 7: "N", 8: "OA", 9: "F", 15: "P", 16: "SA", 17: "Cl", 34: "S", 35: "Br", 53: "I"}


@dataclass(frozen=True)
class VinaScore:
    """Energies of a ligand in kcal/mol; lower is better.

    Attributes:
        score: of the pose as it is.
        minimised: after a local optimisation of the pose.
        docked: of the best pose that a search finds; None where none was asked for.
        version: of Vina.
    """

    score: float
    minimised: float
    docked: float | None
    version: str


def posebusters_in_pocket(
    ligands: Sequence[Mol | Failure],
    pocket: Pocket,
    *,
    config: str = "dock_fast",
    reference: Mol | None = None,
    hydrogens: bool = False,
    show: bool | None = None,
) -> list[dict[str, bool]]:
    """PoseBusters' tests of each ligand by name; a failure has none and so passes none.

    Args:
        ligands: with a conformer in the frame of the pocket, and failures.
        pocket: the receptor.
        config: of CONFIGURATIONS.
        reference: the true ligand, for "redock".
        hydrogens: whether hydrogens are atoms of the ligands; else they get some before the tests.
        show: a bar on standard error; None asks whether that is a terminal.

    Raises:
        ValueError: another configuration, or "redock" without a reference.
    """
    if config not in CONFIGURATIONS:
        raise ValueError(unknown("configuration of PoseBusters", config, CONFIGURATIONS))
    if config.startswith("redock") and reference is None:
        raise ValueError(
            f"config {config!r} compares with a true ligand; give reference, or take 'dock_fast'"
        )
    from rdkit import Chem

    judge = optional.posebusters().PoseBusters(config)
    open_log()
    receptor = pocket.to_mol()
    true = {"mol_true": reference} if config.startswith("redock") else {}
    found: list[dict[str, bool]] = []
    for item in bar(ligands, len(ligands), f"PoseBusters {config}", show):
        if isinstance(item, Failure) or not item.GetNumConformers():
            found.append({})
            continue
        mol, sanitised = prepared(item)
        with quiet():
            full = Chem.AddHs(mol, addCoords=True) if sanitised and not hydrogens else mol
            row = judge.bust(full, mol_cond=receptor, **true).iloc[0]
        found.append({str(name): bool(value) for name, value in row.fillna(False).items()})
    return found


def vina(
    ligand: Mol, pocket: Pocket, *, dock: bool = False, exhaustiveness: int = 8, seed: int = 0
) -> VinaScore:
    """Vina's energies of a ligand in a pocket.

    Args:
        ligand: one fragment, with a conformer in the frame of the pocket; missing hydrogens are added.
        pocket: the receptor.
        dock: also search for the best pose, seconds to minutes on one core.
        exhaustiveness: of that search.
        seed: of that search; 0 is taken as 1, since Vina's 0 means a random one.

    Raises:
        MissingPackage: ``vina`` or ``meeko`` is not installed; the message says how to install them.
        ValueError: a ligand or a pocket that they cannot prepare.
    """
    package, tools = optional.vina(), optional.meeko()
    receptor, prepared_ligand = _receptor(pocket), _prepared(ligand, tools)
    x = heavy_positions(ligand)
    box = np.ptp(x, axis=0) + 2 * MARGIN
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "receptor.pdbqt"
        path.write_text(receptor, encoding="ascii")
        engine = package.Vina(sf_name="vina", cpu=1, seed=seed or 1, verbosity=0)
        engine.set_receptor(str(path))
        engine.set_ligand_from_string(prepared_ligand)
        engine.compute_vina_maps(center=((x.min(0) + x.max(0)) / 2).tolist(), box_size=box.tolist())
        score = float(engine.score()[0])
        minimised = float(engine.optimize()[0])
        docked = None
        if dock:
            engine.dock(exhaustiveness=exhaustiveness, n_poses=1)
            docked = float(engine.energies(n_poses=1)[0][0])
    return VinaScore(score, minimised, docked, importlib.metadata.version("vina"))


def _prepared(ligand: Mol, tools: Any) -> str:
    """The ligand in the format of AutoDock."""
    from rdkit import Chem

    mol, sanitised = prepared(ligand)
    if not sanitised or len(Chem.GetMolFrags(mol)) != 1:
        raise ValueError("Vina scores molecules that can be sanitised and are of one fragment")
    try:
        with quiet():
            full = Chem.AddHs(mol, addCoords=True)
            setup = tools.MoleculePreparation().prepare(full)[0]
            text, right, why = tools.PDBQTWriterLegacy.write_string(setup)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"meeko cannot prepare the ligand ({reason(error)})") from None
    if not right:
        raise ValueError(f"meeko cannot prepare the ligand ({why})")
    return str(text)


def _receptor(pocket: Pocket) -> str:
    """The pocket in the format of AutoDock, rigid, with its polar hydrogens and no charges, which Vina does not use."""
    from rdkit import Chem

    try:
        with quiet():
            mol = Chem.MolFromPDBBlock(Chem.MolToPDBBlock(pocket.to_mol()), removeHs=True)
            if mol is None:
                raise ValueError("rdkit cannot sanitise it")
            mol = Chem.AddHs(mol, addCoords=True)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the pocket of {pocket.source} cannot be prepared ({reason(error)})") from None
    lines: list[str] = []
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions()):
        number = atom.GetAtomicNum()
        if number == 1:
            if atom.GetNeighbors()[0].GetAtomicNum() not in (7, 8):
                continue
            kind = "HD"
        elif number in _METALS:
            kind = _METALS[number]
        elif number not in _TYPES:
            raise ValueError(
                f"Vina has no parameters for {atom.GetSymbol()} in the pocket of {pocket.source}"
            )
        elif number == 7 and not atom.GetTotalNumHs(includeNeighbors=True) and atom.GetDegree() < 3:
            kind = "NA"
        else:
            kind = "A" if number == 6 and atom.GetIsAromatic() else _TYPES[number]
        serial = len(lines) % 99999 + 1
        lines.append(
            f"ATOM  {serial:>5} {atom.GetSymbol():<4} REC A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00     0.000 {kind:<2}"
        )
    return "\n".join([*lines, "TER", ""])
