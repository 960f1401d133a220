"""How far designs have the fold that was asked for: their secondary structure, and which of its blocks touch.

Blocks are the asked ones, at their places along the chain, whatever became of them; two touch by the rule of
:mod:`langevin.modalities.protein.adjacency`. With TP the pairs that touch and should, FP those that touch and should
not, and FN those that should and do not, precision is TP / (TP + FP), recall TP / (TP + FN), and F1 is
2 TP / (2 TP + FP + FN); each is 1 where there is nothing to get wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from langevin.modalities.protein.adjacency import touching
from langevin.modalities.protein.fold import Fold
from langevin.modalities.protein.protein import Protein
from langevin.modalities.protein.secondary import secondary

__all__ = ["FoldAgreement", "fold_agreement"]


class FoldAgreement(NamedTuple):
    """Shares from 0 to 1.

    Attributes:
        secondary: of the residues for which the fold has H, E or -, those that have it.
        precision, recall, f1: of adjacent blocks.
    """

    secondary: float
    precision: float
    recall: float
    f1: float


def fold_agreement(design: Protein, fold: Fold) -> FoldAgreement:
    """What a design has of a fold.

    Args:
        design: one chain.
        fold: of its length; of designs whose lengths were drawn, that with the letters in their record.

    Raises:
        ValueError: another length.
    """
    if len(design) != len(fold):
        raise ValueError(
            f"the design has {len(design)} residues and the fold {len(fold)}; take that which was drawn"
        )
    said = [(a, b) for a, b in zip(secondary(design), fold.secondary, strict=True) if b != "X"]
    pairs = np.triu_indices(len(fold.blocks), 1)
    found = touching(design, [(first, stop) for _, first, stop in fold.blocks])[pairs]
    asked = fold.adjacent[pairs]
    both, either = int((found & asked).sum()), int(found.sum() + asked.sum())
    return FoldAgreement(
        sum(a == b for a, b in said) / len(said) if said else 1.0,
        both / int(found.sum()) if found.any() else 1.0,
        both / int(asked.sum()) if asked.any() else 1.0,
        2 * both / either if either else 1.0,
    )
