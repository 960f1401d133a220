"""Whether a molecule holds together: as a graph, as a graph in space, and as a body.

strict    The graph that was generated, taken literally: rdkit sanitises it; no atom is a radical; where
          hydrogens are atoms of the model, no atom has another, hidden one (rdkit fills open valences of
          molecules read from files, so that asking for radicals alone proves nothing); it is in one piece;
          no (element, charge, valence) is outside a table of real molecules. Coordinates play no part.
agrees    The graph perceived from elements, coordinates and net charge is the generated one: the same pairs
          are bonded, and the canonical SMILES without stereo are equal (so two Kekulé or resonance forms of
          one molecule agree).
passes    PoseBusters' tests for molecules without a partner (Buttenschoen et al. 2024) in the configuration
          ``mol_fast``: all of ``mol`` but the energy ratio, which costs seconds to minutes for a molecule.
sound     all three.

Perception with hydrogens is rdkit's DetermineBonds (after Kim and Kim 2015): connect-the-dots connectivity and,
where no valences fit it, covalent radii times 1.2, 1.15, 1.1; the first that settles counts. QM9's files hold no
bonds, and where they were found in this way, all of its molecules agree by construction.

Without hydrogens, valences tell no orders. Then the pairs of atoms nearer than REACH times the sum of their
covalent radii must be the bonded ones (true of 99.97 % of QM9's training molecules), and the length of each bond
must lie in the range of the lengths that its elements and order have there (:data:`WINDOWS`, widened by 0.05 Å;
kinds with fewer than 100 examples have none). 99.8 % of QM9's held-out molecules agree; of those in which
one multiple bond is written as a single one, 24 %.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langevin import optional
from langevin.core.errors import unknown
from langevin.core.progress import bar
from langevin.modalities.base import Failure
from langevin.modalities.molecule.atoms import quiet
from langevin.modalities.molecule.valences import VALENCES, Triple, valences

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = [
    "REASONS",
    "WINDOWS",
    "Soundness",
    "agrees",
    "inspect",
    "open_log",
    "perceived",
    "posebusters",
    "posebusters_version",
    "prepared",
    "strict",
]

REASONS = (
    "not decoded",
    "no coordinates",
    "cannot be sanitised",
    "radical",
    "hidden hydrogen",
    "in pieces",
    "unknown valence",
)
REACH = 1.16
# Å, from the 0.2th to the 99.8th percentile of the lengths in QM9's training split; order 1.5 is aromatic.
WINDOWS: dict[tuple[str, str, float], tuple[float, float]] = {
    ("C", "C", 1.0): (1.40, 1.61), ("C", "C", 1.5): (1.33, 1.53),
    ("C", "C", 2.0): (1.32, 1.42), ("C", "C", 3.0): (1.20, 1.22),
    ("C", "N", 1.0): (1.34, 1.58), ("C", "N", 1.5): (1.27, 1.44),
    ("C", "N", 2.0): (1.24, 1.34), ("C", "N", 3.0): (1.15, 1.16),
    ("C", "O", 1.0): (1.32, 1.50), ("C", "O", 1.5): (1.31, 1.48),
    ("C", "O", 2.0): (1.18, 1.24), ("N", "N", 1.5): (1.20, 1.41),
    ("N", "O", 1.0): (1.22, 1.43), ("N", "O", 1.5): (1.33, 1.66),
    ("N", "O", 2.0): (1.21, 1.39),
}  # fmt: skip
WIDER = 0.05  # Å
_CONNECTIVITY: tuple[dict[str, Any], ...] = (
    {"useVdw": False},
    *({"useVdw": True, "covFactor": factor} for factor in (1.2, 1.15, 1.1)),
)
_ITERATIONS = 1000  # of the search for orders; real molecules of 30 atoms need a handful


@dataclass(frozen=True)
class Soundness:
    """What was found about one item.

    Attributes:
        reasons: why the graph is not strict, among :data:`REASONS`; empty if it is.
        agrees: whether the coordinates imply the same graph.
        tests: PoseBusters' tests and whether each passes; None where they were not run.
    """

    reasons: tuple[str, ...] = ()
    agrees: bool = False
    tests: Mapping[str, bool] | None = None

    @property
    def strict(self) -> bool:
        return not self.reasons

    @property
    def passes(self) -> bool | None:
        """Whether every test of PoseBusters does; None where they were not run."""
        return None if self.tests is None else bool(self.tests) and all(self.tests.values())

    @property
    def sound(self) -> bool | None:
        """Strict, agreeing and passing; None where only PoseBusters could tell and was not run."""
        return self.passes if self.strict and self.agrees else False


def prepared(mol: Mol) -> tuple[Mol, bool]:
    """A copy with rings, aromaticity and valences computed, and whether rdkit could sanitise it.

    One that cannot be is a copy as it stands, with valences taken literally.
    """
    from rdkit import Chem

    with quiet():
        copy = Chem.Mol(mol)
        try:
            Chem.SanitizeMol(copy)
            return copy, True
        except (ValueError, RuntimeError):
            copy = Chem.Mol(mol)
            copy.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(copy)
            return copy, False


def strict(
    item: Mol | Failure, *, hydrogens: bool = True, table: Collection[Triple] = VALENCES
) -> tuple[str, ...]:
    """Why a graph is not strict, among :data:`REASONS`; empty if it is.

    Args:
        item: a molecule, or a failure.
        hydrogens: whether hydrogens are meant to be atoms, so that none may be hidden.
        table: the valences that may occur.
    """
    if isinstance(item, Failure):
        return ("not decoded",)
    return _strict(*prepared(item), hydrogens, frozenset(table))


def perceived(mol: Mol) -> Mol | None:
    """The molecule that elements, coordinates and net charge imply, sanitised, its atoms in the same order.

    None where no way of connecting the atoms has fitting valences. Hydrogens must be atoms.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    bare = Chem.RWMol()
    for atom in mol.GetAtoms():
        bare.AddAtom(Chem.Atom(atom.GetAtomicNum()))
    bare.AddConformer(Chem.Conformer(mol.GetConformer()), assignId=True)
    charge = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
    with quiet():
        for options in _CONNECTIVITY:
            found = Chem.RWMol(bare)
            try:
                rdDetermineBonds.DetermineBonds(
                    found, charge=charge, embedChiral=False, maxIterations=_ITERATIONS, **options
                )
                Chem.SanitizeMol(found)
                return found.GetMol()
            except (ValueError, RuntimeError):  # no valences fit, or too many had to be tried
                continue
    return None


def agrees(mol: Mol, *, hydrogens: bool = True) -> bool:
    """Whether the coordinates of a sanitised molecule imply its own graph, as the module says."""
    from rdkit import Chem

    if not hydrogens:
        return _agrees_without_hydrogens(mol)
    found = perceived(mol)
    if found is None or _pairs(found) != _pairs(mol):
        return False
    return bool(Chem.MolToSmiles(found, isomericSmiles=False) == Chem.MolToSmiles(mol, isomericSmiles=False))


def posebusters(
    items: Sequence[Mol | Failure],
    *,
    config: str = "mol_fast",
    hydrogens: bool = True,
    show: bool | None = None,
) -> list[dict[str, bool]]:
    """PoseBusters' tests of each molecule by name; a failure has none and so passes none.

    Args:
        items: molecules with a conformer, and failures.
        config: "mol_fast", some 30 ms for a molecule of 18 atoms; "mol" adds the energy ratio, seconds or more.
        hydrogens: False for molecules without them, which get them before the tests.
        show: a bar on standard error; None asks whether that is a terminal.

    Raises:
        ValueError: another configuration.
    """
    if config not in ("mol_fast", "mol"):
        raise ValueError(unknown("configuration of PoseBusters", config, ("mol_fast", "mol")))
    package = optional.posebusters()
    judge = package.PoseBusters(config)
    open_log()
    found: list[dict[str, bool]] = []
    for item in bar(items, len(items), f"PoseBusters {config}", show):
        if isinstance(item, Failure) or not item.GetNumConformers():
            found.append({})
            continue
        mol, sanitised = prepared(item)
        with quiet():
            row = judge.bust(_with_hydrogens(mol) if sanitised and not hydrogens else mol).iloc[0]
        found.append({str(name): bool(value) for name, value in row.fillna(False).items()})
    return found


def open_log() -> None:
    """Puts rdkit's log on an open stream.

    PoseBusters leaves it on the standard error of its last call and flushes that in the next; where it was closed
    since (a captured one), each molecule would be said to have no InChI.
    """
    import rdkit

    handler: Any = getattr(rdkit, "log_handler", None)
    if handler is not None and getattr(handler.stream, "closed", False):
        handler.stream = sys.stderr


@cache
def posebusters_version() -> str:
    """The installed version of PoseBusters: its tests have changed between versions."""
    return importlib.metadata.version("posebusters")


def inspect(
    items: Sequence[Mol | Failure],
    *,
    hydrogens: bool = True,
    table: Collection[Triple] = VALENCES,
    busted: int | None = 0,
    show: bool | None = None,
) -> list[Soundness]:
    """What there is to find about each item.

    Args:
        items: molecules with one conformer, and failures.
        hydrogens: whether hydrogens are meant to be atoms.
        table: the valences that may occur.
        busted: of how many items, from the first on, PoseBusters is asked (``mol_fast``); None for all.
        show: bars on standard error; None asks whether that is a terminal.
    """
    known = frozenset(table)
    found = []
    for item in bar(items, len(items), "graphs", show):
        if isinstance(item, Failure):
            found.append(Soundness(("not decoded",)))
            continue
        mol, sanitised = prepared(item)
        reasons = _strict(mol, sanitised, hydrogens, known)
        seen = sanitised and "no coordinates" not in reasons
        found.append(Soundness(reasons, seen and agrees(mol, hydrogens=hydrogens)))
    tests = posebusters(items[:busted], hydrogens=hydrogens, show=show) if busted != 0 else []
    return [replace(one, tests=tests[k]) if k < len(tests) else one for k, one in enumerate(found)]


def _strict(mol: Mol, sanitised: bool, hydrogens: bool, known: frozenset[Triple]) -> tuple[str, ...]:
    from rdkit import Chem

    atoms = list(mol.GetAtoms())
    found = {
        "no coordinates": not atoms or not mol.GetNumConformers(),
        "cannot be sanitised": not sanitised,
        "radical": any(atom.GetNumRadicalElectrons() for atom in atoms),
        "hidden hydrogen": hydrogens and any(atom.GetTotalNumHs() for atom in atoms),
        "in pieces": len(Chem.GetMolFrags(mol)) != 1,
        "unknown valence": not known.issuperset(valences(mol)),
    }
    return tuple(reason for reason in REASONS if found.get(reason))


def _pairs(mol: Mol) -> set[tuple[int, int]]:
    ends = ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds())
    return {(min(pair), max(pair)) for pair in ends}


def _with_hydrogens(mol: Mol) -> Mol:
    from rdkit import Chem

    return Chem.AddHs(mol, addCoords=True)


@cache
def _radii() -> NDArray[np.float64]:
    """Covalent radii in Å by atomic number, as rdkit has them."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    return np.array([0.0, *(table.GetRcovalent(z) for z in range(1, 119))])


def _agrees_without_hydrogens(mol: Mol) -> bool:
    heavy = np.array([atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()])
    radii = _radii()[[atom.GetAtomicNum() for atom in mol.GetAtoms()]]
    x = mol.GetConformer().GetPositions()
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)  # (n, n)
    near = (distance < REACH * (radii[:, None] + radii[None])) & heavy[:, None] & heavy[None]
    bonded = np.zeros_like(near)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if not (heavy[i] and heavy[j]):
            continue
        bonded[i, j] = bonded[j, i] = True
        a, b = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
        low, high = WINDOWS.get((a, b, bond.GetBondTypeAsDouble()), (0.0, np.inf))
        if not low - WIDER <= distance[i, j] <= high + WIDER:
            return False
    np.fill_diagonal(near, False)
    return bool((near == bonded).all())
