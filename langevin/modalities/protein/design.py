"""Designs of proteins: contigs, symmetric assemblies, binders, partial diffusion; each a use of the core's verbs.

    design(model, "80-100", n=8)                                        new chains
    design(model, "5-15/A10-25/30-40", "5tpn.pdb", n=8)                 a scaffold for a motif (keep)
    design(model, "10/A10-25/20-30/A60-72/10", "5tpn.pdb", free=True)   for two that may lie anywhere (a guidance)
    design(model, "60/0 B1-100", "target.pdb", hotspots="B30,B33")      a binder for a target (keep)
    design(model, "120", symmetry="C3")                                 three chains of forty around an axis (a guidance)
    design(model, "90", "own.pdb", partial=0.4)                         the given chain, redrawn from t = 0.4 (start from)
    design(model, "60/0 B1-70", "complex.pdb", partial=0.4)             its first chain, beside the second (both)
    design(model, "60", secondary="-" + 18 * "H" + …)                   with the secondary structure given (keep)
    design(model, fold="scaffold.pdb", n=8)                             and which helices and strands touch (a guidance)

What a contig says is in :mod:`langevin.modalities.protein.contigs`, and ``langevin plan`` prints it. Every design has its
mapping with the keys of RFdiffusion's .trb files in ``designs.json`` of a saved folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from langevin.core.guidance import cfg
from langevin.core.guidance.base import Chain, Guidance
from langevin.core.guidance.symmetry import symmetry as symmetric
from langevin.core.rng import Stream
from langevin.modalities.protein.docking import CLEARANCE, LARGEST, Docking
from langevin.modalities.protein.fold import Fold, numbered
from langevin.modalities.protein.guiding import guiding
from langevin.modalities.protein.placing import Placing, bodies_of
from langevin.modalities.protein.plan import Plan
from langevin.modalities.protein.potentials import Layout
from langevin.modalities.protein.protein import Protein, of_structure
from langevin.modalities.protein.symmetry import group
from langevin.modalities.protein.templates import KeepTemplates, Template, bodies_in, template_of

if TYPE_CHECKING:
    from langevin.core.model import Model
    from langevin.modalities.base import Samples

__all__ = ["design", "planned"]


def design(
    model: Model,
    contig: str | int | Sequence[str | int] | Plan | None = None,
    input: Any = None,
    n: int = 1,
    *,
    length: str | int | None = None,
    inpaint_seq: str | None = None,
    inpaint_str: str | None = None,
    provide_seq: str | None = None,
    helix: str | None = None,
    strand: str | None = None,
    loop: str | None = None,
    hotspots: str | None = None,
    secondary: str | None = None,
    fold: Any = None,
    symmetry: str | None = None,
    potentials: str | Sequence[str] = (),
    guide_scale: float = 2.0,
    guide_decay: str = "quadratic",
    olig_intra_all: bool = True,
    olig_inter_all: bool = True,
    olig_custom_contact: str | None = None,
    partial: float | None = None,
    free: bool | str = False,
    clearance: float = CLEARANCE,
    numbering: str = "input",
    seed: int = 0,
    first: int = 0,
    **options: Any,
) -> Samples:
    """Draws designs.

    Args:
        model: of proteins.
        contig: of the whole assembly, in RFdiffusion's grammar; or a plan, which has all that is said about residues.
            Left out where there is a fold.
        input: a file, a Biopython structure or a :class:`~langevin.modalities.protein.protein.Protein`, whose residues the
            contig names.
        n: how many.
        length: total of the chains in which something is built.
        inpaint_seq, inpaint_str, provide_seq, helix, strand, loop, hotspots: as of
            :class:`~langevin.modalities.protein.plan.Plan`. Models are told of hotspots as in training; the potential
            "type:hotspot_ncontacts" draws to them, too.
        secondary: of the design, one letter for each residue (H, E, -; X where it is open); a contig of fixed length.
        fold: a :class:`~langevin.modalities.protein.fold.Fold`, its file, or a structure that has it. Its secondary
            structure is kept, and the potential "type:fold" pushes towards its adjacency, with a linear decay; where
            ``potentials`` have one of that type it is taken instead, with ``guide_scale`` and ``guide_decay``.
        symmetry: "C3", "D2", "tetrahedral", "octahedral", "icosahedral"; the input lies on the axes of the group.
        potentials: RFdiffusion's strings, as "type:monomer_ROG,weight:1".
        guide_scale, guide_decay: of the potentials; see :mod:`langevin.modalities.protein.guiding`.
        olig_intra_all, olig_inter_all, olig_custom_contact: which chains the potential olig_contacts is about, as of
            :func:`~langevin.modalities.protein.guiding.guiding`.
        partial: time in (0, 1] to which what the contig builds is noised from the input, and from which it is redrawn.
        free: kept stretches that lie where the run puts them, each a rigid body, and not as in the input: True for all, or
            "A10-25;A60-72,B1-5", where those with a comma between them stay together and those that are not named stay in
            the frame of the input; see :mod:`langevin.modalities.protein.placing`.
        clearance: Å of CA that chains keep between them, about. Chains that are built whole move as rigid bodies off
            others, onto the hotspots, or, where there are none, up to them; see
            :mod:`langevin.modalities.protein.docking`. 0 leaves all chains where the network puts them.
        numbering: "input" or "design", of the residues of the designs.
        seed, first: of the random numbers; lengths are drawn from them, too.
        options: of ``model.sample``: steps, sampler, guidance, batch_size …

    Raises:
        ValueError: what cannot be designed; the message points at it.
        FileNotFoundError: no such input.
    """
    whole = None if fold is None else Fold.given(fold)
    if whole is not None:
        contig = whole.contig(contig, length, secondary=secondary, symmetry=symmetry, partial=partial)
        length = None
    elif contig is None:
        raise ValueError("a design needs a contig, as '5-15/A10-25/30-40', or a fold")
    copies = group(symmetry) if symmetry is not None else None
    said = {
        "length": length,
        "inpaint_seq": inpaint_seq,
        "inpaint_str": inpaint_str,
        "provide_seq": provide_seq,
        "helix": helix,
        "strand": strand,
        "loop": loop,
        "hotspots": hotspots,
    }
    if isinstance(contig, Plan):
        plan, twice = contig, [name for name, value in {"input": input, **said}.items() if value is not None]
        if twice:
            raise ValueError(f"{twice[0]} is part of the plan; give it to Plan.of")
        if plan.copies != (1 if copies is None else len(copies)):
            raise ValueError(
                f"the plan is of {plan.copies} copies, the symmetry {symmetry!r} of another number"
            )
        if plan.partial != (partial is not None):
            raise ValueError("partial is said of the plan and of the design, or of neither")
    else:
        plan = Plan.of(
            contig,
            _read(input),
            partial=partial is not None,
            numbering=numbering,
            copies=1 if copies is None else len(copies),
            **said,  # type: ignore[arg-type]
        )
    if isinstance(clearance, bool) or not (isinstance(clearance, (int, float)) and 0 <= clearance <= LARGEST):
        raise ValueError(f"clearance is in Å, from 0 to {LARGEST:g}, got {clearance!r}")
    strings = [potentials] if isinstance(potentials, str) else list(potentials)
    settings = {
        "hotspots": hotspots if plan is not contig else ",".join(map(str, plan.hotspots)) or None,
        "secondary": secondary,
        "fold": None if whole is None else whole.plain(),
        "symmetry": symmetry,
        "potentials": list(strings),
        "guide_scale": guide_scale,
        "guide_decay": guide_decay,
        "partial": partial,
        "free": free,
        "clearance": clearance,
    }
    bodies = None if free is False else _bodies(plan, free, symmetry, partial)
    turns = None if copies is None else copies.double().numpy()
    made = planned(plan, n, seed, first, secondary, turns, settings, whole, bodies)
    layout = _layout(made, whole)
    more: list[Guidance] = [symmetric(copies)] if copies is not None else []
    pushed = whole is not None and len(whole.blocks) > 1
    if strings:
        force = guiding(
            strings,
            guide_scale=guide_scale,
            guide_decay=guide_decay,
            chains=plan.copies,
            olig_intra_all=olig_intra_all,
            olig_inter_all=olig_inter_all,
            olig_custom_contact=olig_custom_contact,
            layout=layout,
            unit=model.modality.unit,
        )
        more.append(force.guidance())
        pushed = pushed and all(one.type != "fold" for one in force.potentials)
    if whole is not None and pushed:
        more.append(whole.force(layout, model.modality.unit))
    last: list[Guidance] = []
    if clearance and (together := _docking(made, layout, clearance, model.modality.unit)) is not None:
        last.append(together)
    if bodies is not None:
        state, _ = model.modality.encode(made)
        last.append(Placing(state, bodies_in(made, state["residues"].shape[1]), model.modality.unit))
    if more or last:
        given = options.pop("guidance", None)
        weight = model.config.get("sampling", {}).get("guidance", 1.0) if given is None else given
        if not isinstance(weight, Guidance):
            weight = None if weight == 1 else cfg(float(weight))
        options["guidance"] = Chain((*more, *([weight] if weight is not None else []), *last))
    options |= {"seed": seed, "first": first}
    if partial is None:
        return model.sample(n, like=made, keep=KeepTemplates(), **options)  # type: ignore[no-any-return]
    if all(item.given["positions"].all() for item in made):
        raise ValueError(
            f"partial diffusion redraws nothing of {plan.contig}: residues that are named are kept; write their number, "
            f"{len(made[0])}, for those that are to be redrawn"
        )
    kept = KeepTemplates() if any(there.any() for item in made for there in item.given.values()) else None
    return model.sample(n, start=made, strength=partial, keep=kept, **options)  # type: ignore[no-any-return]


def planned(
    plan: Plan,
    n: int,
    seed: int = 0,
    first: int = 0,
    secondary: str | None = None,
    copies: Any = None,
    settings: Mapping[str, Any] | None = None,
    fold: Fold | None = None,
    bodies: Sequence[int] | None = None,
) -> list[Template]:
    """The templates of ``n`` designs; lengths that a plan leaves open are drawn for each, design k by number ``first`` + k.

    Those of a fold are drawn by the fold, of whose contig the plan is, and ``secondary`` follows from it. Where segments of
    the contig are of free ``bodies``, the mapping has the places of the residues of each under "free_idx0".

    Raises:
        ValueError: as :func:`~langevin.modalities.protein.templates.template_of`.
    """
    numbers = list(range(first, first + n))
    rng = Stream.of(seed, numbers).fold("contig")
    drawn = [(one, secondary) for one in plan.draw(rng)] if fold is None else fold.plans(plan, rng)
    out = []
    for number, (one, letters) in zip(numbers, drawn, strict=True):
        template = template_of(one, letters, copies, bodies)
        told = settings if fold is None else {**(settings or {}), "secondary": letters}
        about = {**one.mapping(seed, told), "sample": number}
        if bodies is not None:
            about["free_idx0"] = [
                np.flatnonzero(template.bodies == k).tolist() for k in range(max(bodies) + 1)
            ]
        out.append(replace(template, about=about))
    return out


def _bodies(plan: Plan, free: bool | str, symmetry: str | None, partial: float | None) -> list[int]:
    """The free body of each segment of the contig, −1 for none.

    Raises:
        ValueError: what does not go with free bodies; as of :func:`~langevin.modalities.protein.placing.bodies_of`.
    """
    for name, value in (("symmetry", symmetry), ("partial", partial)):
        if value is not None:
            raise ValueError(f"free stretches do not go with {name}, which needs their places; leave one out")
    if plan.inpaint_str:
        raise ValueError(
            f"inpaint_str leaves the places of {plan.inpaint_str[0]} open, and free stretches are rigid; leave one out"
        )
    return bodies_of(plan.contig, free)


def _docking(made: Sequence[Template], layout: Layout, clearance: float, unit: float) -> Docking | None:
    """What moves the chains that are built whole, where a design has such a chain beside another."""
    chains = [item.places[:, 0] for item in made]
    moving = [
        ~np.isin(chain, chain[item.given["positions"]]) for chain, item in zip(chains, made, strict=True)
    ]
    if all(len(np.unique(chain)) == 1 for chain in chains) or not any(part.any() for part in moving):
        return None
    most = max(map(len, made))
    both = (_rows([chain + 1 for chain in chains], most, np.int64) - 1, _rows(moving, most, bool))
    return Docking(*both, layout.hotspots, clearance, unit=unit)


def _read(source: Any) -> Protein | None:
    """The input as residues."""
    if source is None or isinstance(source, Protein):
        return source
    if isinstance(source, str | Path):
        from langevin.modalities.protein.files import read_protein

        return read_protein(source)
    return of_structure(source)


def _layout(made: Sequence[Template], fold: Fold | None) -> Layout:
    """Which residues are what, of all designs, (n, N)."""
    most = max(map(len, made))
    new = _rows([~item.given["positions"] for item in made], most, bool)
    hot = [item.places[:, 2] > 0 for item in made]
    return Layout(
        chains=_rows([item.places[:, 0] for item in made], most, np.int64),
        binder=new,
        designed=new,
        hotspots=_rows(hot, most, bool) if any(there.any() for there in hot) else None,
        blocks=None if fold is None else _rows([numbered(item.letters) for item in made], most, np.int64),
        adjacent=None if fold is None else torch.from_numpy(fold.adjacent),
    )


def _rows(columns: Iterable[Any], most: int, kind: Any) -> torch.Tensor:
    """What there is of each residue, of all designs, (n, ``most``); 0 where a design has no more."""
    columns = list(columns)
    out = np.zeros((len(columns), most), kind)
    for row, column in enumerate(columns):
        out[row, : len(column)] = column
    return torch.from_numpy(out)
