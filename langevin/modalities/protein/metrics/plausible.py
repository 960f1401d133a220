"""A rule of thumb for single chains: is this what a real backbone looks like? It is not designability.

A design is plausible if each chain of it

    has secondary structure     helix and strand for more than 40 % of its residues
    is whole                    no broken bond
    does not clash              fewer than 1 pair of clashing residues per 100 residues
    is as compact as real ones  radius of gyration within 20 % of that of real chains of its length
    is left-handed nowhere      phi > 0 for fewer than 15 % of residues
    turns as real ones do       fewer than 5 % of residues outside the Ramachandran region of 99 % of real ones

Real chains do not all pass: those that are long helices or parts of complexes are not compact. The rule says nothing of
whether a sequence folds into the backbone; that takes a structure predictor (:mod:`designability`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from langevin.modalities.protein.metrics import geometry, ramachandran, shape
from langevin.modalities.protein.metrics.secondary import Shares, shares
from langevin.modalities.protein.protein import UNKNOWN, Protein

__all__ = ["RULES", "Measures", "has_sequence", "measure"]

RULES = {"structure": 0.40, "clashes": 1.0, "radius": 0.20, "phi": 0.15, "outside": 0.05}


@dataclass(frozen=True)
class Measures:
    """What is measured of one protein by itself.

    Attributes:
        residues, chains: how many.
        bonds: of neighbours in a chain; the counts below are of these.
        right: by quantity of :data:`geometry.BETWEEN`, how many bonds are as those of real chains (CA–CA: within .15 Å of
            trans or cis; others: within the 1st and 99th percentile).
        right_inside: by quantity of :data:`geometry.INSIDE`, likewise, of residues.
        known: by quantity, of how many bonds or residues that is known: atoms may be missing.
        broken, cis: bonds.
        clashes_ca, clashes_heavy, clashes: pairs of residues.
        torsions: residues with both phi and psi.
        positive: residues with phi > 0, of those that have a phi, ``phis``.
        outside: residues outside the Ramachandran region.
        counts: (36, 36) residues by phi and psi.
        structure: shares of helix and strand.
        radius, radius_off: of gyration, Å, and the share by which it differs from that of real chains of its length; of
            the chain where it differs most.
        long_range, contact_order: means over chains, weighted by residues.
        radius_usual, long_range_usual: whether these are within those of real chains of the same length, for each
            chain; None where real chains of such a length are not known.
    """

    residues: int
    chains: int
    bonds: int
    right: Mapping[str, int]
    right_inside: Mapping[str, int]
    known: Mapping[str, int]
    broken: int
    cis: int
    clashes_ca: int
    clashes_heavy: int
    clashes: int
    torsions: int
    phis: int
    positive: int
    outside: int
    counts: Any
    structure: Shares
    radius: float
    radius_off: float
    long_range: float
    contact_order: float
    radius_usual: bool | None
    long_range_usual: bool | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not plausible; empty if it is."""
        if not self.torsions:
            return ("no backbone",)
        tests = {
            "little secondary structure": sum(self.structure) <= RULES["structure"],
            "a break": self.broken > 0,
            "clashes": 100 * self.clashes >= RULES["clashes"] * self.residues,
            "radius of gyration": not self.radius_off <= RULES["radius"],
            "phi > 0": self.positive >= RULES["phi"] * self.phis,
            "Ramachandran": self.outside >= RULES["outside"] * self.torsions,
        }
        return tuple(name for name, failed in tests.items() if failed)

    @property
    def plausible(self) -> bool:
        """Whether the rule of this module holds."""
        return not self.reasons


def has_sequence(protein: Protein) -> bool:
    """Whether the types are those of a sequence: three different ones at least, as a placeholder for all has not."""
    return len(set(protein.types[protein.types != UNKNOWN].tolist())) >= 3


def measure(protein: Protein, typed: bool | None = None) -> Measures:
    """Everything about one protein that needs no other.

    Args:
        protein: of one or more chains.
        typed: whether Ramachandran regions go by the types of residues; None: where it has a sequence.

    Raises:
        ValueError: no residues.
    """
    if not len(protein):
        raise ValueError("the protein has no residues")
    atoms, joined = geometry.following(protein.backbone, geometry.follows(protein))
    between, inside = geometry.between(atoms, joined), geometry.inside(atoms)
    ranges = shape.real().ranges
    right = {"CA–CA": int(geometry.ca_ca_right(between["CA–CA"]).sum())}
    right |= {name: _within(between[name], ranges[name]) for name in geometry.BETWEEN[1:]}
    known = {name: int(np.isfinite(values).sum()) for name, values in {**between, **inside}.items()}
    clashing = geometry.clashes(atoms, protein.chains)
    angles = ramachandran.torsions(atoms, joined)
    if typed is None:
        typed = has_sequence(protein)
    traces = [atoms[protein.chains == chain, 1] for chain in protein.chain_ids]
    sizes = np.array([len(trace) for trace in traces])
    radii = np.array([shape.radius_of_gyration(trace) for trace in traces])
    expected = np.array([shape.expected_radius(len(trace)) for trace in traces])
    contacts = np.array([shape.long_range(trace) for trace in traces])
    worst = int(np.argmax(abs(radii / expected - 1)))
    return Measures(
        residues=len(protein),
        chains=len(traces),
        bonds=int(joined.sum()),
        right=right,
        right_inside={name: _within(values, ranges[name]) for name, values in inside.items()},
        known=known,
        broken=int(geometry.breaks(between).sum()),
        cis=int((abs(between["omega"]) > 90).sum()),
        clashes_ca=clashing.ca,
        clashes_heavy=clashing.heavy,
        clashes=len(clashing.pairs),
        torsions=int(np.isfinite(angles).all(1).sum()),
        phis=int(np.isfinite(angles[:, 0]).sum()),
        positive=int((angles[:, 0] > 0).sum()),
        outside=int(ramachandran.outside(angles, protein.types if typed else None).sum()),
        counts=ramachandran.counts(angles),
        structure=shares(protein),
        radius=float(radii[worst]),
        radius_off=float(abs(radii[worst] / expected[worst] - 1)),
        long_range=float((contacts * sizes).sum() / sizes.sum()),
        contact_order=float(sum(shape.contact_order(t) * len(t) for t in traces) / sizes.sum()),
        radius_usual=_usual([shape.usual_radius(int(n)) for n in sizes], radii),
        long_range_usual=_usual([shape.usual_contacts(int(n)) for n in sizes], contacts),
    )


def _within(values: Any, limits: tuple[float, float]) -> int:
    return int(((values >= limits[0]) & (values <= limits[1])).sum())


def _usual(limits: list[tuple[float, float] | None], values: Any) -> bool | None:
    """Whether every value is within its limits; None where one has none."""
    if any(limit is None for limit in limits):
        return None
    return all(low <= value <= high for (low, high), value in zip(limits, values.tolist()))  # type: ignore[misc]
