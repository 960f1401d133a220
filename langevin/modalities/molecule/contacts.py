"""What a ligand has to do with the pocket it lies in: clashes, overlap, contacts, burial, shape.

Distances are between heavy atoms, radii those of rdkit's periodic table, and the cutoffs those of the sources:

    clash          d_ij < 0.75 (r_i + r_j), r van der Waals radii; metals: covalent radii
                   (PoseBusters, Buttenschoen et al. 2024, tests "minimum distance to protein" and "… to inorganic
                   cofactors"; here as there, waters are not looked at)
    overlap        share of the ligand's volume that the protein takes too, van der Waals radii times 0.8; above 0.075 is
                   a clash (PoseBusters, "volume overlap with protein")
    contacts       protein atoms within 4.5 Å of a ligand atom, mean over the ligand's atoms (the cutoff of contact
                   definitions in docking, e.g. Bouvier et al. 2010)
    touching       share of the ligand's atoms with one such contact
    fitting        share of the ligand's atoms with one such contact and without a clash
    polar          pairs of a donor and an acceptor, N or O, 2.4 to 3.5 Å apart (Baker and Hubbard 1984, without angles,
                   which hydrogens would be needed for), per ligand N or O
    inside         share of the ligand's atoms within the convex hull of the pocket's atoms
    buried         1 − SASA in the pocket / SASA alone, of the ligand (Lee and Richards 1971; Shrake and Rupley 1973 as
                   rdkit's FreeSASA has it, probe 1.4 Å)
    from centre    distance of the ligand's mean from the centre of the pocket, Å

Contacts, burial and the share inside are larger the deeper a ligand sits, in the protein's atoms too: what real ligands
have is right, not more. And of the shape that lies there:

    likeness       1 − shape Tanimoto distance to a reference ligand as both lie, 1 for the same volume (rdkit's
                   ShapeTanimotoDist; Grant et al. 1996)
    gyration       radius of gyration, Å
    npr1, npr2     normalised moments of inertia (Sauer and Schwarz 2003): (0, 1) a rod, (½, ½) a disc, (1, 1) a sphere
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from langevin.modalities.molecule.atoms import quiet
from langevin.modalities.molecule.pockets import Pocket, Role
from langevin.modalities.molecule.residues import RESIDUES

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["CLASH", "Contacts", "contacts", "heavy_positions", "moved", "radii", "shape", "shape_likeness"]

CLASH = 0.75  # of the sum of radii
OVERLAP, SCALE = 0.075, 0.8
CONTACT = 4.5  # Å
POLAR = (2.4, 3.5)  # Å
PROBE = 1.4  # Å

# donors and acceptors of the protein by residue and atom; the backbone's N (but of proline) and O besides
_DONORS = {
    "ARG": ("NE", "NH1", "NH2"), "ASN": ("ND2",), "GLN": ("NE2",), "HIS": ("ND1", "NE2"), "LYS": ("NZ",),
    "SER": ("OG",), "THR": ("OG1",), "TRP": ("NE1",), "TYR": ("OH",),
}  # fmt: skip
_ACCEPTORS = {
    "ASN": ("OD1",), "ASP": ("OD1", "OD2"), "GLN": ("OE1",), "GLU": ("OE1", "OE2"), "HIS": ("ND1", "NE2"),
    "SER": ("OG",), "THR": ("OG1",), "TYR": ("OH",),
}  # fmt: skip


@dataclass(frozen=True)
class Contacts:
    """Figures of one ligand in one pocket, as the module defines them.

    Attributes:
        clashes: pairs of a ligand and a protein atom.
        smallest: the smallest d_ij / (r_i + r_j) to the protein.
        overlap: share of the ligand's volume, 0 to 1.
        contacts: protein atoms within 4.5 Å, per ligand atom.
        touching: share of the ligand's atoms with such a contact.
        fitting: share of the ligand's atoms that have one and do not clash.
        polar: donor–acceptor pairs per N or O of the ligand; None for a ligand without any.
        inside: share of the ligand's atoms.
        buried: share of the ligand's surface.
        from_centre: Å.
    """

    clashes: int
    smallest: float
    overlap: float
    contacts: float
    touching: float
    fitting: float
    polar: float | None
    inside: float
    buried: float
    from_centre: float

    @property
    def clashing(self) -> bool:
        return self.clashes > 0

    @property
    def overlapping(self) -> bool:
        """Whether the overlap is above what PoseBusters allows."""
        return self.overlap > OVERLAP


def contacts(ligand: Mol, pocket: Pocket) -> Contacts:
    """The figures of a ligand in a pocket, both in one frame.

    Args:
        ligand: with a conformer; hydrogens are not looked at.
        pocket: waters are not part of it.

    Raises:
        ValueError: the ligand has no conformer or no heavy atoms, or the pocket has no protein.
    """
    x = heavy_positions(ligand)
    numbers = np.array([a.GetAtomicNum() for a in ligand.GetAtoms() if a.GetAtomicNum() > 1])
    protein, metals = pocket.protein, pocket.roles == Role.METAL
    if not protein.any():
        raise ValueError(f"the pocket of {pocket.source} has no atoms of a protein")
    d = np.linalg.norm(x[:, None] - pocket.positions[None], axis=-1)  # (n, m)
    relative = d / (radii("vdw")[numbers][:, None] + radii("vdw")[pocket.numbers])
    bare = d / (radii("covalent")[numbers][:, None] + radii("covalent")[pocket.numbers])
    clash = np.where(metals, bare, relative) < CLASH
    near = d[:, protein] < CONTACT
    return Contacts(
        int(clash.sum()),
        float(relative[:, protein].min()),
        _overlap(ligand, pocket),
        float(near.sum(1).mean()),
        float(near.any(1).mean()),
        float((near.any(1) & ~clash.any(1)).mean()),
        _polar(ligand, pocket, d),
        _inside(x, pocket.positions),
        _buried(numbers, x, pocket),
        float(np.linalg.norm(x.mean(0) - pocket.centre)),
    )


def shape(ligand: Mol) -> Mapping[str, float]:
    """Radius of gyration (Å) and the normalised moments of inertia of the heavy atoms, without weights.

    Keys: gyration, npr1, npr2.
    """
    x = heavy_positions(ligand)
    x = x - x.mean(0)
    gyration = float(np.sqrt((x**2).sum(1).mean()))
    along = np.linalg.eigvalsh(x.T @ x)  # ascending
    moments = np.sort([along[1] + along[2], along[0] + along[2], along[0] + along[1]])
    if moments[2] < 1e-9:
        return {"gyration": gyration, "npr1": 1.0, "npr2": 1.0}
    return {
        "gyration": gyration,
        "npr1": float(moments[0] / moments[2]),
        "npr2": float(moments[1] / moments[2]),
    }


def shape_likeness(ligand: Mol, reference: Mol) -> float:
    """How much of the volume of two ligands is the same as they lie, 0 to 1."""
    from rdkit.Chem import rdShapeHelpers

    with quiet():
        return 1 - float(rdShapeHelpers.ShapeTanimotoDist(ligand, reference, ignoreHs=True))


def heavy_positions(mol: Mol) -> NDArray[np.float64]:
    """(n, 3) Å.

    Raises:
        ValueError: no conformer, no heavy atoms, or coordinates that are not finite.
    """
    if not mol.GetNumConformers():
        raise ValueError("the ligand has no conformer")
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    if not heavy:
        raise ValueError("the ligand has no heavy atoms")
    positions = np.asarray(mol.GetConformer().GetPositions(), np.float64)[heavy]
    if not np.isfinite(positions).all():
        raise ValueError("the ligand has coordinates that are not finite")
    return positions


def moved(mol: Mol, shift: NDArray[Any], rotation: NDArray[Any] | None = None) -> Mol:
    """A copy at another place: turned about the mean of its heavy atoms by ``rotation`` (3, 3), then shifted by (3,) Å."""
    from rdkit import Chem

    middle = heavy_positions(mol).mean(0)
    out = Chem.Mol(mol)
    positions = np.asarray(out.GetConformer().GetPositions(), np.float64)
    if rotation is not None:
        positions = (positions - middle) @ np.asarray(rotation, np.float64).T + middle
    out.GetConformer().SetPositions(positions + np.asarray(shift, np.float64))
    return out


@cache
def radii(kind: str) -> NDArray[np.float64]:
    """(119,) Å by atomic number, van der Waals ("vdw") or "covalent", as rdkit has them."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    of = {"vdw": table.GetRvdw, "covalent": table.GetRcovalent}[kind]
    return np.array([0.0, *(of(z) for z in range(1, 119))])


def _overlap(ligand: Mol, pocket: Pocket) -> float:
    """Share of the ligand's volume that atoms of the protein within 6 Å × SCALE take too."""
    from rdkit import Chem
    from rdkit.Chem import rdShapeHelpers

    every = np.asarray(ligand.GetConformer().GetPositions())
    d = np.linalg.norm(every[:, None] - pocket.positions[None], axis=-1).min(0)
    near = np.flatnonzero(pocket.protein & (d <= 6.0 * SCALE))
    if not len(near):
        return 0.0
    body = Chem.RWMol()
    for number in pocket.numbers[near].tolist():
        body.AddAtom(Chem.Atom(number))
    conformer = Chem.Conformer(len(near))
    conformer.SetPositions(pocket.positions[near].astype(np.float64))
    body.AddConformer(conformer, assignId=True)
    with quiet():
        return float(
            rdShapeHelpers.ShapeTverskyIndex(
                ligand, body.GetMol(), alpha=1.0, beta=0.0, vdwScale=SCALE, ignoreHs=True
            )
        )


def _polar(ligand: Mol, pocket: Pocket, d: NDArray[Any]) -> float | None:
    """Donor–acceptor pairs per N or O; d is (n, m) between heavy atoms."""
    heavy = [atom for atom in ligand.GetAtoms() if atom.GetAtomicNum() > 1]
    polar = np.array([atom.GetAtomicNum() in (7, 8) for atom in heavy])
    if not polar.any():
        return None
    gives = np.array([p and atom.GetTotalNumHs(includeNeighbors=True) > 0 for p, atom in zip(polar, heavy)])
    takes = np.array([p and _lone_pair(atom) for p, atom in zip(polar, heavy)])
    donors, acceptors = _protein_polar(pocket)
    paired = (gives[:, None] & acceptors[None]) | (takes[:, None] & donors[None])
    within = (d >= POLAR[0]) & (d <= POLAR[1])
    return float((paired & within).sum() / polar.sum())


def _lone_pair(atom: Any) -> bool:
    """Whether a nitrogen or an oxygen can accept: not positive, and no nitrogen whose pair is in a π system."""
    if atom.GetFormalCharge() > 0:
        return False
    if atom.GetAtomicNum() == 8:
        return True
    if atom.GetIsAromatic():
        return atom.GetTotalNumHs(includeNeighbors=True) == 0 and atom.GetDegree() == 2
    conjugated = any(bond.GetIsConjugated() for bond in atom.GetBonds())
    multiple = any(bond.GetBondTypeAsDouble() > 1 for bond in atom.GetBonds())
    return multiple or not conjugated


def _protein_polar(pocket: Pocket) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(m,) donors and acceptors among the pocket's atoms."""
    donors, acceptors = np.zeros(len(pocket), bool), np.zeros(len(pocket), bool)
    for k in np.flatnonzero(pocket.protein & np.isin(pocket.numbers, (7, 8))).tolist():
        residue, name = RESIDUES[pocket.residues[k]], pocket.names[k]
        donors[k] = (name == "N" and residue != "PRO") or name in _DONORS.get(residue, ())
        acceptors[k] = name in ("O", "OXT") or name in _ACCEPTORS.get(residue, ())
    return donors, acceptors


def _inside(x: NDArray[Any], body: NDArray[Any]) -> float:
    try:
        hull = ConvexHull(body)
    except QhullError:  # fewer than four atoms, or all in a plane
        return 0.0
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    return float((x @ normals.T + offsets <= 1e-9).all(1).mean())


def _buried(numbers: NDArray[Any], x: NDArray[Any], pocket: Pocket) -> float:
    from rdkit import Chem
    from rdkit.Chem import rdFreeSASA

    near = np.linalg.norm(x[:, None] - pocket.positions[None], axis=-1).min(0) < 2 * (PROBE + 2.5)

    def surface(elements: NDArray[Any], places: NDArray[Any]) -> float:
        mol = Chem.RWMol()
        for number in elements.tolist():
            mol.AddAtom(Chem.Atom(int(number)))
        conformer = Chem.Conformer(len(elements))
        conformer.SetPositions(places.astype(np.float64))
        mol.AddConformer(conformer, assignId=True)
        rdFreeSASA.CalcSASA(mol, radii("vdw")[elements].tolist(), confIdx=-1)
        return sum(float(mol.GetAtomWithIdx(k).GetProp("SASA")) for k in range(len(numbers)))

    alone = surface(numbers, x)
    if alone <= 0:
        return 1.0
    both = surface(
        np.concatenate([numbers, pocket.numbers[near]]), np.concatenate([x, pocket.positions[near]])
    )
    return 1 - both / alone
