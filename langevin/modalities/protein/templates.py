"""What is known of designs before they are drawn: residues that are kept, and places for those that are not.

A :class:`Template` has the kept residues where the input has them, and the others in one place: only what ``given`` names
counts. :class:`KeepTemplates` is the choice that goes with it, ``model.sample(like=templates, keep=KeepTemplates())``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langevin.core.keep import Keep
from langevin.modalities.protein.protein import ALPHABET, UNKNOWN, Protein, SideChains
from langevin.modalities.protein.rigid import IDEAL
from langevin.modalities.protein.secondary import secondary

if TYPE_CHECKING:
    from langevin.modalities.protein.plan import Plan

__all__ = ["ALIKE", "KeepTemplates", "Template", "bodies_in", "template_of"]

ALIKE = 1.0  # Å, to which the copies in an input may differ from the first, turned
_TOLD = 4  # residues that one message tells


@dataclass(frozen=True, eq=False)
class Template(Protein):
    """Residues of a design.

    Attributes:
        places: (n, 3), number of the chain, of the residue in it, and whether it is a hotspot.
        letters: secondary structure, one letter for each residue; of residues for which it is not given any.
        given: by leaf, (n,) bool.
        motif: (n,) bool, residues of the input, whether or not their places are given.
        bodies: (n,), the number of the free rigid body that a residue is of (:mod:`~langevin.modalities.protein.placing`),
            from 0; −1 for others. The places of bodies are not given.
        copies: of a unit that the residues are, one after another, in a symmetric assembly.
        about: of the design, for its record; plain data.
    """

    places: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    letters: str = ""
    given: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    motif: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    bodies: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    copies: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)


class KeepTemplates(Keep):
    """Keeps what each template says is given."""

    def __init__(self) -> None:
        super().__init__(lambda shape: torch.zeros(tuple(shape), dtype=torch.bool), "templates")

    def chosen(self, items: Sequence[Any], rows: int, most: int) -> dict[str, Tensor]:
        """(rows, most) by leaf, of templates, one for all rows or one for each. Leaves of which nothing is given are left
        out, but for the positions.

        Raises:
            ValueError: an item that is no template.
        """
        for item in items:
            if not isinstance(item, Template):
                raise ValueError(f"this choice is of templates; got a {type(item).__name__}")
        names = list(dict.fromkeys(name for item in items for name in item.given))
        out = {name: torch.zeros(rows, most, dtype=torch.bool) for name in names}
        for row in range(rows):
            item = items[row if len(items) > 1 else 0]
            for name, there in item.given.items():
                out[name][row, : len(item)] = torch.from_numpy(np.asarray(there))
        return {name: there for name, there in out.items() if name == "positions" or bool(there.any())}


def template_of(
    plan: Plan,
    asked: str | None = None,
    copies: NDArray[np.float64] | None = None,
    bodies: Sequence[int] | None = None,
) -> Template:
    """The template of a plan whose lengths are fixed.

    Args:
        plan: one of ``plan.draw``.
        asked: secondary structure of the design, one letter for each residue: H, E, - and X where it is left open.
        copies: (K, 3, 3), rotations of a symmetric assembly, of which the plan is one subunit.
        bodies: the free body of each segment of the contig, −1 for none; no free bodies when None.

    Raises:
        ValueError: a text of another length or with other letters; what the contig names for a copy is not that of the
            first subunit, turned.
    """
    lay, protein = plan.layout, plan.protein
    n = len(lay)
    from_input = np.maximum(lay.source, lay.start)  # residues that have something of the input
    there = from_input >= 0
    backbone = np.tile(_residue(), (n, 1, 1))
    types = np.full(n, UNKNOWN, np.int8)
    letters = np.full(n, "-")
    side = None
    if protein is not None and there.any():
        backbone[there] = protein.backbone[from_input[there]]
        centre = np.nanmean(protein.backbone[from_input[there], 1], 0)
        backbone[~there] += centre
        types[there] = protein.types[from_input[there]]
        letters[there] = np.array(list(secondary(protein)))[from_input[there]]
        if protein.side is not None:
            taken = protein.side.pick(from_input[there].astype(np.int64))
            side = SideChains(np.flatnonzero(there)[taken.residue].astype(np.int32), taken.name, taken.xyz)
    known = lay.structure.copy()
    said = lay.secondary != ""
    letters[said] = lay.secondary[said]
    known |= said
    if asked is not None:
        total = n * (1 if copies is None else len(copies))
        if len(asked) not in (n, total) or set(asked) - set("HE-X"):
            raise ValueError(
                f"secondary must be a text of {n} letters H, E, - or X, one for each residue; got {len(asked)}: "
                f"{asked[:40]!r}"
            )
        wanted = np.array(list(asked[:n]))
        letters = np.where(wanted != "X", wanted, letters)
        known |= wanted != "X"
    body = np.full(n, -1) if bodies is None else np.asarray(bodies)[lay.segment]
    given = {
        "positions": lay.structure & (body < 0),
        "frames": lay.structure & (body < 0),
        "residues": lay.sequence,
        "secondary": known,
        "torsions": lay.structure & lay.sequence,
    }
    places = np.column_stack([_places(lay.chain, from_input, plan), lay.hotspot.astype(np.float32)])
    one = Template(
        backbone.astype(np.float32),
        types,
        lay.chains,
        lay.numbers,
        lay.insertions,
        side,
        places=places,
        letters="".join(letters.tolist()),
        given=given,
        motif=lay.source >= 0,
        bodies=body,
    )
    if copies is None:
        return one
    _compare(plan, copies)
    return _copied(one, copies, plan.assembly.chains)


def bodies_in(items: Sequence[Any], most: int) -> Tensor:
    """(B, most), the free bodies of the residues of templates; −1 beyond them, and of what is no template."""
    out = torch.full((len(items), most), -1)
    for row, item in enumerate(items):
        if isinstance(item, Template):
            out[row, : len(item.bodies)] = torch.from_numpy(item.bodies)
    return out


def _residue() -> NDArray[np.float64]:
    """N, CA, C and O of a residue that lies anywhere."""
    return np.array([*IDEAL, (2.0, 1.9, 0.0)])


def _places(chain: NDArray[np.int64], source: NDArray[np.int64], plan: Plan) -> NDArray[np.float32]:
    """Chains are counted from 0, and residues in each from 0 on, without gaps: a contig joins its segments."""
    number = np.zeros(len(chain), np.int64)
    for k in range(1, len(chain)):
        number[k] = number[k - 1] + 1 if chain[k] == chain[k - 1] else 0
        if plan.protein is not None and plan.contig.chains[int(chain[k])].kept and number[k]:
            # a chain that is kept whole has the gaps of its file
            both = source[k] > 0 and source[k - 1] >= 0 and plan.protein.breaks[source[k]]
            number[k] += int(both)
    return np.stack([chain, number], 1).astype(np.float32)


def _compare(plan: Plan, copies: NDArray[np.float64]) -> None:
    """ValueError where the residues that the contig names for a copy are not those of the first subunit, turned."""
    if plan.protein is None or not plan.subunits:
        return
    protein, lay = plan.protein, plan.assembly
    sources = lay.source.reshape(len(copies), -1)
    names = lay.chains.reshape(len(copies), -1)[:, 0]
    placed, typed = plan.layout.structure, plan.layout.sequence
    first = sources[0]
    for k, turn in enumerate(copies[1:], 1):
        rows = sources[k]
        a, b = protein.types[first], protein.types[rows]
        others = np.flatnonzero(typed & (a != b) & (b != UNKNOWN))
        if len(others):
            told = ", ".join(
                f"{protein.label(int(rows[j]))} is {(ALPHABET + 'X')[b[j]]} and {protein.label(int(first[j]))} is "
                f"{(ALPHABET + 'X')[a[j]]}"
                for j in others[:_TOLD]
            )
            raise ValueError(
                f"the chains of a symmetric design are alike, but {plan.others[k - 1]}, of chain {names[k]}, has other "
                f"types than {plan.contig.chains[0]}: {told}; name residues of the same types in every chain, in the same "
                "order, or leave those of the first chain open with inpaint_seq"
            )
        if not placed.any():
            continue
        turned = protein.backbone[first[placed], :3].astype(np.float64) @ turn.T
        off = protein.backbone[rows[placed], :3] - turned
        rmsd = float(np.sqrt((off**2).sum(-1).mean()))
        if rmsd > ALIKE:
            raise ValueError(
                f"the input is not symmetric where the contig keeps it: the residues of {plan.others[k - 1]}, of chain "
                f"{names[k]}, are {rmsd:.1f} Å (RMSD of N, CA and C) from those of {plan.contig.chains[0]} after turn "
                f"{k + 1} of {len(copies)}, where at most {ALIKE:g} Å is allowed; put the axes of the input's symmetry on "
                "those of the group, through the origin (of C2, C3 … and D2, D3 … the axis of order n on z), and name the "
                "chains in the order of its turns (langevin.modalities.protein.symmetry)"
            )


def _copied(unit: Template, copies: NDArray[np.float64], named: NDArray[np.str_]) -> Template:
    """The copies of a subunit, in the order of the group, whose residues are of the chains ``named``."""
    many, chains = len(copies), int(unit.places[:, 0].max()) + 1
    backbone = np.concatenate([(unit.backbone @ turn.T).astype(np.float32) for turn in copies])
    places = np.concatenate([unit.places + np.array([k * chains, 0, 0], np.float32) for k in range(many)])
    side = None
    if unit.side is not None:
        side = SideChains(
            np.concatenate([unit.side.residue + k * len(unit) for k in range(many)]).astype(np.int32),
            np.tile(unit.side.name, many),
            np.concatenate([unit.side.xyz @ turn.T for turn in copies]).astype(np.float32),
        )
    return Template(
        backbone,
        np.tile(unit.types, many),
        named,
        np.tile(unit.numbers, many),
        np.tile(unit.insertions, many),
        side,
        places=places,
        letters=unit.letters * many,
        given={name: np.tile(there, many) for name, there in unit.given.items()},
        motif=np.tile(unit.motif, many),
        bodies=np.tile(unit.bodies, many),
        copies=many,
    )
