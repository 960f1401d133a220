"""What is known of residues before a file is read: their names, their heavy atoms, and the parents of modified ones.

A modified residue counts as its parent (selenomethionine as methionine) by the table of the chemical component
dictionary that Biopython carries (``protein_letters_3to1_extended``).
"""

from __future__ import annotations

import functools

__all__ = ["BACKBONE", "LETTER", "NUCLEOTIDES", "SIDE_CHAINS", "WATERS", "parent_of"]

BACKBONE = ("N", "CA", "C", "O")
# heavy atoms of the side chains, by the three letters of the twenty coded residues in alphabetical order
SIDE_CHAINS: dict[str, tuple[str, ...]] = {
    name: tuple(atoms.split())
    for name, atoms in {
        "ALA": "CB", "ARG": "CB CG CD NE CZ NH1 NH2", "ASN": "CB CG OD1 ND2", "ASP": "CB CG OD1 OD2",
        "CYS": "CB SG", "GLN": "CB CG CD OE1 NE2", "GLU": "CB CG CD OE1 OE2", "GLY": "",
        "HIS": "CB CG ND1 CD2 CE1 NE2", "ILE": "CB CG1 CG2 CD1", "LEU": "CB CG CD1 CD2",
        "LYS": "CB CG CD CE NZ", "MET": "CB CG SD CE", "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
        "PRO": "CB CG CD", "SER": "CB OG", "THR": "CB OG1 CG2",
        "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
        "VAL": "CB CG1 CG2",
    }.items()
}  # fmt: skip
LETTER = dict(zip(SIDE_CHAINS, "ARNDCQEGHILKMFPSTWYV"))  # one letter by three

WATERS = frozenset({"HOH", "WAT", "H2O", "DOD", "D2O", "TIP", "TIP3", "TP3", "SOL", "SPC"})
NUCLEOTIDES = frozenset({"A", "C", "G", "U", "I", "DA", "DC", "DG", "DT", "DU", "DI"})

_SYNONYMS = {  # protonation states and disulphides as simulation programs write them
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS",
    "CYX": "CYS", "CYM": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG", "TYM": "TYR",
}  # fmt: skip


@functools.cache
def _parents() -> dict[str, str]:
    """Three letters of a modified residue to those of its parent."""
    from Bio.Data.PDBData import protein_letters_3to1_extended

    three = {letter: name for name, letter in LETTER.items()}
    return {
        name.strip(): three[letter]
        for name, letter in protein_letters_3to1_extended.items()
        if letter in three
    }


def parent_of(name: str) -> str | None:
    """Three letters of the coded residue that a residue is, or was made from; None where no parent is known."""
    return name if name in SIDE_CHAINS else _SYNONYMS.get(name) or _parents().get(name)
