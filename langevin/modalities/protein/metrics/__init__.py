"""Measuring backbones: each by itself, beside real ones, and against what was asked for.

geometry.py       bonds between residues and inside them, breaks, cis bonds, clashes
ramachandran.py   phi and psi, the region of real residues, distances of distributions
secondary.py      spread of helix and strand over designs
shape.py          radius of gyration, contact order, long-range contacts, by length
plausible.py      all of this for one protein, and a rule of thumb
similarity.py     TM-scores, clusters, superposition
novelty.py        the nearest training chain, windows searched
motif.py          motif and symmetry RMSD, interfaces, hotspots
fold.py           secondary structure and block adjacency against those of a fold
joins.py          bonds between kept and built residues, clashes across
surface.py        exposed residues and patches of them
designability.py  self-consistency by ProteinMPNN and ESMFold, where the user has them
controls.py       an ideal helix, a random walk, mirror images
reference.py      what the training chains measure
evaluate.py       all of it at once, beside a reference
"""

from langevin.modalities.protein.metrics.controls import helix, mirrored, random_walk
from langevin.modalities.protein.metrics.designability import (
    Consistency,
    Folder,
    proteinmpnn_command,
    self_consistency,
)
from langevin.modalities.protein.metrics.evaluate import evaluate, figures, scores
from langevin.modalities.protein.metrics.fold import FoldAgreement, fold_agreement
from langevin.modalities.protein.metrics.motif import hotspots_touched, interfaces, motif_rmsd, symmetry_rmsd
from langevin.modalities.protein.metrics.novelty import Known, Nearest
from langevin.modalities.protein.metrics.plausible import Measures, measure
from langevin.modalities.protein.metrics.similarity import (
    Diversity,
    clusters,
    diversity,
    pair_scores,
    superposed,
    tm_score,
)

__all__ = [
    "Consistency",
    "Diversity",
    "FoldAgreement",
    "Folder",
    "Known",
    "Measures",
    "Nearest",
    "clusters",
    "diversity",
    "evaluate",
    "figures",
    "fold_agreement",
    "helix",
    "hotspots_touched",
    "interfaces",
    "measure",
    "mirrored",
    "motif_rmsd",
    "pair_scores",
    "proteinmpnn_command",
    "random_walk",
    "scores",
    "self_consistency",
    "superposed",
    "symmetry_rmsd",
    "tm_score",
]
