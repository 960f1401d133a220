"""Protein–ligand complexes to train on: pairs of a pocket and a ligand, split so that no protein is on two sides.

The data are a folder, or a ``.tar``, ``.tar.xz`` or ``.tar.gz`` of it, with

    pdb/<name>/pocket.pdb, ligand.sdf          one complex each
    openff/<target>/pocket.pdb, ligands.sdf    a site with several ligands in it

A pocket is cut anew for each ligand, ``radius`` Å around it. Of ligands, heavy atoms are kept. A record that cannot be
used is kept with its reason.

Splitting. Complexes are grouped by the sequences of their pockets: of each chain the residues that the file has, in
order (files of pockets hold nothing else of the chain). Two chains are aligned with 1 for an identical residue, 0 for
another, −1 to open a gap and −0.1 to lengthen it (nothing at the ends), by Biopython's PairwiseAligner; their likeness
is the score over the length of the shorter, so at most their identity. Chains of SHORTEST residues and more count, or
the longest where there is none. Two complexes whose likeness is at least ``threshold``, and whatever is joined by a
row of such pairs, are one cluster (single linkage), so likeness across clusters is below the threshold always.

A cluster is in one split as a whole. Clusters are ordered by the SHA-256 of the name of their first member; validation
takes from the front, then test, each until it has a tenth of the clusters; clusters with more than a twentieth of the
sites train. The same files give the same split on any machine.

Likeness of pockets does not see what is outside them: two proteins with one fold and different sites may be apart, and
remote homologues are.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from langevin import optional
from langevin.core.errors import unknown
from langevin.modalities.molecule.atoms import Atoms, of_mol, to_mol
from langevin.modalities.molecule.pockets import Pocket, cut
from langevin.modalities.molecule.structures import Structure, read_structure
from langevin.modalities.samples import Failure

__all__ = ["ELEMENTS", "SOURCES", "Complex", "Complexes", "clusters", "likeness", "open_complexes"]

ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
MOST_HEAVY = 64
SOURCES = {"pdb": "ligand.sdf", "openff": "ligands.sdf"}
SPLITS = ("train", "validation", "test")
THRESHOLD = 0.4
SHORTEST = 18  # residues of a chain that can tell a protein
SHARE, LARGE = 0.1, 0.05
_MEMBER = re.compile(r"(?:\./)?((?:pdb|openff)/\w{1,32}/(?:pocket\.pdb|ligands?\.sdf))")
_BYTES = 16 << 20  # of a member
_TOTAL = 1 << 30


@dataclass(frozen=True, eq=False)
class Complex:
    """A ligand in its pocket, both in the frame of the file.

    Attributes:
        name: ``5sak_ZRY``; of a site with several ligands ``cdk2/record 3 (name)``.
        site: ``pdb/5sak_ZRY``, the folder.
        pocket: around the ligand.
        ligand: heavy atoms.
        cluster: number of its cluster; complexes in two splits are of different ones.
        split: "train", "validation" or "test".
    """

    name: str
    site: str
    pocket: Pocket
    ligand: Atoms
    cluster: int
    split: str


@dataclass(frozen=True, eq=False)
class Complexes(Sequence[Complex]):
    """Complexes that can be used, and reasons for the others.

    Attributes:
        items: in the order of names.
        failures: (name, reason) of records that cannot be used, of all splits.
        clusters: how many clusters all sites make.
        threshold: of likeness.
        digest: SHA-256 of the items' names, splits and arrays, for the card of a model.
    """

    items: tuple[Complex, ...]
    failures: tuple[tuple[str, str], ...]
    clusters: int
    threshold: float
    digest: str

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Complex: ...
    @overload
    def __getitem__(self, index: slice) -> list[Complex]: ...
    def __getitem__(self, index: int | slice) -> Complex | list[Complex]:
        return self.items[index] if isinstance(index, int) else list(self.items[index])

    @property
    def pairs(self) -> list[tuple[Pocket, Atoms]]:
        return [(item.pocket, item.ligand) for item in self.items]

    @property
    def report(self) -> str:
        """How many there are of what, and why the others are not, in lines."""
        splits = Counter(item.split for item in self.items)
        parts = []
        for split in SPLITS:
            if splits[split]:
                held = {item.cluster for item in self.items if item.split == split}
                sites = {item.site for item in self.items if item.split == split}
                parts.append(f"{split} {splits[split]} ligands in {len(sites)} sites of {len(held)} clusters")
        head = f"{len(self.items)} complexes: {'; '.join(parts)} (likeness of pockets below {self.threshold:g} across)"
        return "\n".join([head, *(f"  left out: {name}: {reason}" for name, reason in self.failures)])


def open_complexes(
    path: str | Path,
    split: str | None = None,
    *,
    sources: Sequence[str] = tuple(SOURCES),
    radius: float = 8.0,
    threshold: float = THRESHOLD,
    elements: Sequence[str] = ELEMENTS,
    most: int = MOST_HEAVY,
    errors: str = "skip",
) -> Complexes:
    """The complexes of a folder or archive.

    Args:
        path: the folder or the archive.
        split: "train", "validation", "test", or all when None.
        sources: of SOURCES; the split of a complex does not depend on which are asked for.
        radius: Å around each ligand; files of pockets may hold no more than 8.
        threshold: of likeness, above which two proteins are kept together.
        elements: symbols that a ligand may have.
        most: heavy atoms that a ligand may have.
        errors: "skip" keeps the reasons of records that cannot be used; "raise" raises them.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: an unknown split, source or element, a file that is no archive of complexes, a structure that
            cannot be read, records that cannot be used where ``errors`` is "raise", or nothing left.
    """
    path = Path(path)
    if split is not None and split not in SPLITS:
        raise ValueError(unknown("split", split, SPLITS))
    for source in sources:
        if source not in SOURCES:
            raise ValueError(unknown("source", source, SOURCES))
    if errors not in ("raise", "skip"):
        raise ValueError(unknown("value of errors", errors, ("raise", "skip")))
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie above 0 and not above 1; got {threshold}")
    if path.is_dir():
        return _opened(path, path, split, sources, radius, threshold, elements, most, errors)
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {str(path)!r}")
    with tempfile.TemporaryDirectory() as folder:
        _unpack(path, Path(folder))
        return _opened(Path(folder), path, split, sources, radius, threshold, elements, most, errors)


def clusters(sequences: Sequence[Mapping[str, str]], threshold: float = THRESHOLD) -> list[int]:
    """Clusters of proteins by single linkage of :func:`likeness`; the first member's place is the number.

    Args:
        sequences: of each protein, one letter for each residue, by chain.
        threshold: likeness from which two are one cluster.
    """
    parent = list(range(len(sequences)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    aligner = _aligner()
    telling = [_telling(held) for held in sequences]
    for j in range(len(sequences)):
        for i in range(j):
            a, b = root(i), root(j)
            if a != b and _likeness(telling[i], telling[j], aligner) >= threshold:
                parent[max(a, b)] = min(a, b)
    return [root(k) for k in range(len(sequences))]


def likeness(a: Mapping[str, str], b: Mapping[str, str]) -> float:
    """Of two proteins' chains the pair that is most alike, 0 to 1, as the module defines it."""
    return _likeness(_telling(a), _telling(b), _aligner())


def _aligner() -> Any:
    optional.biopython()
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(mode="global", match_score=1.0, mismatch_score=0.0)
    aligner.open_internal_gap_score, aligner.extend_internal_gap_score = -1.0, -0.1
    aligner.end_gap_score = 0.0
    return aligner


def _telling(held: Mapping[str, str]) -> list[str]:
    """The chains that count, unknown residues left out: an X is like nothing."""
    known = [sequence.replace("X", "") for sequence in held.values()]
    known = [sequence for sequence in known if sequence]
    return [sequence for sequence in known if len(sequence) >= SHORTEST] or sorted(known, key=len)[-1:]


def _likeness(a: Sequence[str], b: Sequence[str], aligner: Any) -> float:
    return max((aligner.score(x, y) / min(len(x), len(y)) for x in a for y in b), default=0.0)


def _unpack(path: Path, folder: Path) -> None:
    """The members that are expected, as plain files below ``folder``; no link, path or size is taken on trust."""
    total = found = 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                named = _MEMBER.fullmatch(member.name)
                if not named or not member.isreg():
                    continue
                total += member.size
                if member.size > _BYTES or total > _TOTAL:
                    raise ValueError(f"{path}: {member.name} is too large ({member.size} bytes)")
                file = archive.extractfile(member)
                assert file is not None
                target = folder / named.group(1)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
                found += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no archive of complexes ({error})") from None
    if not found:
        raise ValueError(f"{path} has no pdb/<name>/pocket.pdb or openff/<target>/pocket.pdb")


def _opened(
    folder: Path,
    called: Path,
    split: str | None,
    sources: Sequence[str],
    radius: float,
    threshold: float,
    elements: Sequence[str],
    most: int,
    errors: str,
) -> Complexes:
    sites = {
        f"{source}/{place.name}": place
        for source in SOURCES
        for place in sorted((folder / source).glob("*"))
        if (place / "pocket.pdb").is_file()
    }
    if not sites:
        raise ValueError(f"{called} has no pdb/<name>/pocket.pdb or openff/<target>/pocket.pdb")
    structures = {
        site: replace(read_structure(place / "pocket.pdb"), source=site) for site, place in sites.items()
    }
    groups = clusters([_sequences(structure) for structure in structures.values()], threshold)
    sides = _sides(list(sites), groups)
    items: list[Complex] = []
    failures: list[tuple[str, str]] = []
    for (site, place), cluster in zip(sites.items(), groups):
        if site.partition("/")[0] not in sources or split not in (None, sides[cluster]):
            continue
        for name, found in _records(site, place, structures[site], radius, elements, most):
            if isinstance(found, Failure):
                failures.append((name, found.reason))
            else:
                items.append(Complex(name, site, *found, cluster, sides[cluster]))
    if failures and errors == "raise":
        listed = "\n".join(f"  {name}: {reason}" for name, reason in failures)
        raise ValueError(f"{called}: {len(failures)} records cannot be used:\n{listed}")
    if not items:
        raise ValueError(f"{called} has no complexes{f' for {split}' if split else ''} that can be used")
    return Complexes(tuple(items), tuple(failures), len(set(groups)), threshold, _digest(items))


def _sequences(structure: Structure) -> dict[str, str]:
    """One letter for each residue with a CA, by chain."""
    from langevin.modalities.molecule.residues import LETTERS, type_of

    out: dict[str, str] = {}
    for residue in structure.residues:
        if "CA" in residue.names:
            out[residue.chain] = out.get(residue.chain, "") + LETTERS[type_of(residue.name)]
    return out


def _sides(sites: Sequence[str], groups: Sequence[int]) -> dict[int, str]:
    """The split of each cluster."""
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda cluster: hashlib.sha256(sites[cluster].encode()).hexdigest())
    small = [cluster for cluster in order if sizes[cluster] <= max(1, LARGE * len(sites))]
    each = round(SHARE * len(sizes))
    sides = dict.fromkeys(sizes, "train")
    sides |= dict.fromkeys(small[:each], "validation")
    sides |= dict.fromkeys(small[each : 2 * each], "test")
    return sides


def _records(
    site: str, place: Path, structure: Structure, radius: float, elements: Sequence[str], most: int
) -> Iterator[tuple[str, tuple[Pocket, Atoms] | Failure]]:
    """A name, and the pair or the reason, for each record of a site."""
    from langevin.modalities.molecule.files import read_records

    source, _, called = site.partition("/")
    path = place / SOURCES[source]
    if not path.is_file():
        yield called, Failure(f"has no {SOURCES[source]}")
        return
    for record in read_records(path).records:
        name = called if source == "pdb" else f"{called}/{record.place}"
        if isinstance(record.item, Failure):
            yield name, record.item
            continue
        try:
            atoms = of_mol(record.item).heavy()
            _check(atoms, elements, most)
            to_mol(atoms)
            yield name, (cut(structure, atoms.positions, radius), atoms)
        except ValueError as error:
            yield name, Failure(str(error))


def _check(atoms: Atoms, elements: Sequence[str], most: int) -> None:
    from langevin.modalities.molecule.records import number_of

    if len(atoms) > most:
        raise ValueError(f"has {len(atoms)} heavy atoms; at most {most} are taken")
    strange = set(atoms.numbers.tolist()) - {number_of(symbol) for symbol in elements}
    if strange:
        raise ValueError(
            f"has elements of the atomic numbers {sorted(strange)}; {', '.join(elements)} are taken"
        )


def _digest(items: Sequence[Complex]) -> str:
    hashed = hashlib.sha256()
    for item in items:
        hashed.update(f"{item.name}\n{item.split}\n".encode())
        for held, names in ((item.ligand, ("numbers", "positions", "charges", "bonds")),
                            (item.pocket, ("numbers", "positions", "residues", "roles", "owners"))):  # fmt: skip
            for name in names:
                array = np.ascontiguousarray(getattr(held, name))
                hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return hashed.hexdigest()
