"""What is known of protein residues before a file is read: names, parents, heavy atoms, and what else crystals hold.

A residue has one of 21 types: the twenty that are coded, in the alphabetical order of their three letters, and one
for all others. A modified residue takes the type of its parent (selenomethionine that of methionine) by the table of
the chemical component dictionary that Biopython carries (``protein_letters_3to1_extended``).
"""

from __future__ import annotations

import functools

__all__ = [
    "ADDITIVES",
    "BACKBONE",
    "LETTERS",
    "METALS",
    "NUCLEOTIDES",
    "OTHER",
    "RESIDUES",
    "SIDE_CHAINS",
    "WATERS",
    "type_of",
]

BACKBONE = ("N", "CA", "C", "O")
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
RESIDUES = (*SIDE_CHAINS, "other")
OTHER = RESIDUES.index("other")
LETTERS = "ARNDCQEGHILKMFPSTWYVX"  # in the order of RESIDUES

WATERS = frozenset({"HOH", "WAT", "H2O", "DOD", "D2O", "TIP", "TIP3", "TP3", "SOL", "SPC"})
NUCLEOTIDES = frozenset({"A", "C", "G", "U", "I", "DA", "DC", "DG", "DT", "DU", "DI"})
# of buffers, cryoprotectants and precipitants: in crystals by chance, not a part of a site
ADDITIVES = frozenset({
    "1PE", "ACT", "ACY", "AZI", "BCT", "BME", "BO3", "BR", "CIT", "CL", "CO3", "DIO", "DMF", "DMS", "DTT",
    "EDO", "EOH", "EPE", "FLC", "FMT", "GOL", "HED", "IMD", "IOD", "IPA", "MES", "MLI", "MPD", "MRD", "NH4", "NO3",
    "P6G", "PEG", "PG4", "PG0", "PGE", "PGO", "PO4", "POL", "SCN", "SO3", "SO4", "SPM", "TAR", "TLA", "TRS", "URE",
})  # fmt: skip
# atomic numbers: alkali and alkaline earth metals, transition metals, Al, Ga, In, Tl, Sn, Pb, Bi, lanthanides
METALS = frozenset({3, 4, 11, 12, 13, *range(19, 32), *range(37, 52), *range(55, 84)})

_SYNONYMS = {  # protonation states and disulphides as simulation programs write them
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS",
    "CYX": "CYS", "CYM": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG", "TYM": "TYR",
}  # fmt: skip


@functools.cache
def _parents() -> dict[str, str]:
    """Three letters of a modified residue to those of its parent."""
    from Bio.Data.PDBData import protein_letters_3to1, protein_letters_3to1_extended

    full = {letter: name.strip().upper() for name, letter in protein_letters_3to1.items()}
    return {
        name.strip(): full[letter] for name, letter in protein_letters_3to1_extended.items() if letter in full
    }


def type_of(name: str) -> int:
    """Index into RESIDUES of a residue by its name; OTHER where no parent is known."""
    if name in SIDE_CHAINS:
        return RESIDUES.index(name)
    parent = _SYNONYMS.get(name) or _parents().get(name, "other")
    return RESIDUES.index(parent)
