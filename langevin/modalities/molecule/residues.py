"""What is known of protein residues before a file is read: names, parents, heavy atoms, and what else crystals hold.

A residue has one of 21 types: the twenty that are coded, in the alphabetical order of their three letters, and one
for all others. A modified residue takes the type of its parent (selenomethionine that of methionine).
"""

from __future__ import annotations

from langevin.modalities.residues import BACKBONE, NUCLEOTIDES, SIDE_CHAINS, WATERS, parent_of

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

RESIDUES = (*SIDE_CHAINS, "other")
OTHER = RESIDUES.index("other")
LETTERS = "ARNDCQEGHILKMFPSTWYVX"  # in the order of RESIDUES

# of buffers, cryoprotectants and precipitants: in crystals by chance, not a part of a site
ADDITIVES = frozenset({
    "1PE", "ACT", "ACY", "AZI", "BCT", "BME", "BO3", "BR", "CIT", "CL", "CO3", "DIO", "DMF", "DMS", "DTT",
    "EDO", "EOH", "EPE", "FLC", "FMT", "GOL", "HED", "IMD", "IOD", "IPA", "MES", "MLI", "MPD", "MRD", "NH4", "NO3",
    "P6G", "PEG", "PG4", "PG0", "PGE", "PGO", "PO4", "POL", "SCN", "SO3", "SO4", "SPM", "TAR", "TLA", "TRS", "URE",
})  # fmt: skip
# atomic numbers: alkali and alkaline earth metals, transition metals, Al, Ga, In, Tl, Sn, Pb, Bi, lanthanides
METALS = frozenset({3, 4, 11, 12, 13, *range(19, 32), *range(37, 52), *range(55, 84)})


def type_of(name: str) -> int:
    """Index into RESIDUES of a residue by its name; OTHER where no parent is known."""
    return RESIDUES.index(parent_of(name) or "other")
