"""Scaffolds for six motifs: whether they keep the motif, how it is joined, and whether the network knows it.

The motifs of RFdiffusion's benchmark are of entries of the PDB that are not among the shared chains (1BCF, 5TPN,
5IUS, 3IXT, 5YUI, 1PRW, 4JHW, 4ZYP, 5WN9, 6VW1, 7MRX, 2KL8, 1QJG, 6E6R, 6EXZ, 1YCR). :data:`MOTIFS` has six of the
same kinds, of held-out chains (validation and test, 40 to 128 residues), with contigs in its manner.

What is reported of a motif, of ``n`` designs:

    RMSD of what is kept    N, CA, C and all side-chain atoms of the motif's residues from the input's,
                            superposed; the largest. Designs are written to a PDB file and read again, and the
                            residues found in both by chain and number, as the design's mapping names them, so
                            that a lost side chain or a wrong number shows here
    joins right             share of bonds between kept and built residues with the C–N and the two angles of
                            real ones (:mod:`langevin.modalities.protein.metrics.joins`; 4 sd of the held-out
                            chains' angles)
    clashes of motif and scaffold   pairs of residues on either side, per 100 residues of the design. Real: the
                            motif's stretches, as far apart as in its own chain, laid on every place of every
                            held-out chain
    pass                    designs with all of these (clashes at most twice real) and no broken bond
    RMSD of the network's own   the belief about designs of which nothing is given, noised to t = 0.1 and 0.3:
                            RMSD of N, CA and C of the motif from the input, superposed; beside that of the
                            noised designs themselves
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_letters
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.protein_tasks import drawn
from benchmarks.reporting import judged
from langevin.core.recall import believed
from langevin.core.rng import Stream
from langevin.modalities.protein.design import design
from langevin.modalities.protein.files import read_protein, write
from langevin.modalities.protein.metrics import geometry
from langevin.modalities.protein.metrics.joins import across, joins, limits, right
from langevin.modalities.protein.metrics.motif import kept_rmsd
from langevin.modalities.protein.metrics.similarity import superposed
from langevin.modalities.protein.protein import Protein, to_structure
from langevin.modalities.protein.rigid import ideal_atoms
from langevin.modalities.statistics import bootstrap, wilson

EXACT = 0.01  # Å
TIMES = (0.1, 0.3)
BATCH = 20  # designs that the network is asked about at a time


@dataclass(frozen=True)
class Case:
    """A motif.

    Attributes:
        kind: what it is.
        chain: the held-out chain that it is of.
        contig: with free lengths around and between its stretches.
        length: of designs.
        why: why it was chosen.
    """

    kind: str
    chain: str
    contig: str
    length: str
    why: str


MOTIFS = (
    Case("helix", "1em7A", "20-40/A23-36/20-40", "60-90", "protein G: its one helix; one stretch, as 1YCR"),
    Case(
        "helix pair",
        "1dowA",
        "5-20/A149-168/4-15/A175-194/5-20",
        "60-90",
        "alpha-catenin, where it binds beta-catenin: two antiparallel helices whose loop is drawn anew, as 1BCF's bundle",
    ),
    Case(
        "strand hairpin",
        "1exqA",
        "15-35/A4-25/15-35",
        "60-90",
        "HIV integrase: two strands with their turn, whose other edges are open; one stretch, as 5TPN's loop and helix",
    ),
    Case(
        "peptide groove",
        "1be9A",
        "5-20/A21-30/20-45/A71-80/5-20",
        "60-100",
        "PSD-95's third PDZ domain: GLGF loop with its strand, and the helix beside it, between which a peptide binds",
    ),
    Case(
        "EF-hand pair",
        "1dtlA",
        "5-20/A20-40/10-25/A57-76/5-20",
        "65-100",
        "cardiac troponin C: two calcium loops, each with halves of its helices; the site that 1PRW is in calmodulin",
    ),
    Case(
        "catalytic site",
        "1birA",
        "5-15/A37-41/10-20/A57-59/10-20/A76-78/8-20/A91-93/5-15",
        "60-100",
        "ribonuclease T1: Tyr 38, His 40, Glu 58, Arg 77 and His 92 with a neighbour on either side, as 1QJG's residues",
    ),
)


def reread(made: Protein) -> Protein:
    """A design as its PDB file has it, with the mapping that it had."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "design.pdb"
        write(to_structure(made), path)
        return replace(read_protein(path), note=made.note)


def rows_of(made: Protein, source: Protein) -> tuple[list[int], list[int]]:
    """The motif's residues in a design and in the input, indices, by the names that the design's mapping has for them."""
    here = [_row(made, *site) for site in made.note["con_hal_pdb_idx"]]
    return here, [_row(source, *site) for site in made.note["con_ref_pdb_idx"]]


def _row(protein: Protein, chain: str, number: int | str) -> int:
    """The index of a residue, whose number has its insertion code behind it: 52, or "52A"."""
    digits = str(number).rstrip(ascii_letters)
    return protein.where(chain, int(digits), str(number)[len(digits) :])


def real_clashes(shape: NDArray[np.int64], chains: Sequence[Protein]) -> list[float]:
    """Clashes per 100 residues between a motif and the rest of real chains; of each chain that has room for it.

    Args:
        shape: (m,) places of the motif's residues, counted from the first, in ascending order.
        chains: in each of which the mean is taken over all places where this shape fits.
    """
    out = []
    for chain in chains:
        pairs, n = geometry.clashes(chain.backbone).pairs, len(chain)
        counts = [across(pairs, np.isin(np.arange(n), shape + k)) for k in range(n - int(shape[-1]))]
        if counts:
            out.append(100 * float(np.mean(counts)) / n)
    return out


def moved(made: NDArray[Any], motif: NDArray[Any]) -> float:
    """RMSD of N, CA and C (k, 3, 3) after superposition, Å."""
    return superposed(made.reshape(-1, 3), motif.reshape(-1, 3))[2]


@torch.no_grad()
def own(model: Any, designs: Sequence[Protein], t: float, seed: int = 0) -> list[tuple[Any, Any]]:
    """N, CA and C (n, 3, 3), Å, of what the network believes of each design noised to ``t``, and of what it was
    shown. Nothing is given, and no guidance replaces anything."""
    out = []
    for start in range(0, len(designs), BATCH):
        some = designs[start : start + BATCH]
        state, mask = model.modality.encode(some)
        state, mask = {name: part.to(model.device) for name, part in state.items()}, mask.to(model.device)
        rng = Stream.of(seed, range(start, start + len(some))).fold(f"own {t}")
        x_t = model.modality.noised(state, t, rng, mask)
        belief, _ = model.denoiser(x_t, t, model.embed(len(some)), mask)
        states: tuple[Any, Any] = (believed(belief), x_t)
        both = [
            ideal_atoms(x["frames"].double(), x["positions"].double() * model.modality.unit).cpu().numpy()
            for x in states
        ]
        out += [(both[0][k, : len(one)], both[1][k, : len(one)]) for k, one in enumerate(some)]
    return out


def motifs(model: Any, held: Sequence[Protein], n: int = 100, **options: Any) -> list[dict[str, str]]:
    """Rows of all motifs.

    Args:
        model: of proteins.
        held: chains with their side chains, those of the motifs among them.
        n: designs of each.
        options: of the designs.
    """
    named = {one.note["name"]: one for one in held}
    usual = limits(held)
    rows = []
    for case in MOTIFS:
        source = named[case.chain]
        rows += _rows(
            case, source, drawn(design(model, case.contig, source, n, length=case.length, **options)), held,
            model, usual,
        )  # fmt: skip
    return rows


def _rows(
    case: Case, source: Protein, designs: Sequence[Protein], held: Sequence[Protein], model: Any, usual: Any
) -> list[dict[str, str]]:
    designs = [reread(made) for made in designs]
    places = [rows_of(made, source) for made in designs]
    shape = np.array(places[0][1]) - places[0][1][0]
    real = bootstrap(real_clashes(shape, held))
    most = 2 * real.value
    off, joined, met, rates = [], [], [], []
    for made, (rows, of) in zip(designs, places, strict=True):
        kept = np.isin(np.arange(len(made)), rows)
        off.append(kept_rmsd(made, rows, source, of))
        good = right(made.backbone, joins(kept), usual)
        joined += good.tolist()
        rates.append(100 * across(geometry.clashes(made.backbone).pairs, kept) / len(made))
        broken = geometry.breaks(geometry.between(made.backbone)).any()
        met.append(off[-1] <= EXACT and bool(good.all()) and rates[-1] <= most and not broken)
    n = len(designs)
    out = [
        judged(
            f"{case.kind}, {case.chain} {case.contig}", "RMSD of what is kept, Å, largest", max(off), EXACT
        ),
        judged("", "joins right", wilson(sum(joined), len(joined)), 0.9, least=True),
        judged("", "clashes of motif and scaffold per 100 residues", bootstrap(rates), most),
        judged("", "… of real chains", real),
        judged("", f"pass, of {n}", wilson(sum(met), n), 0.5, least=True, lower=0.25),
    ]
    for t in TIMES:
        found = own(model, designs, t)
        pairs = [
            [moved(atoms[rows], source.backbone[of, :3]) for atoms in both]
            for both, (rows, of) in zip(found, places, strict=True)
        ]
        own_rmsd, noised = np.array(pairs).T
        out += [
            judged("", f"RMSD of the network's own, t = {t}, Å", bootstrap(own_rmsd)),
            judged("", "… of what it was shown", bootstrap(noised)),
        ]
    return out
