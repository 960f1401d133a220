"""What a plan tells: a table for people, plain data, and the mapping that is kept beside a design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langevin.modalities.protein.contigs import Built, Chain, Contig, Motif
from langevin.tables import Table

if TYPE_CHECKING:
    from langevin.modalities.protein.plan import Plan

__all__ = ["describe", "mapping", "plain"]

_NOTED = 8  # gaps and the like that one line tells


def plain(plan: Plan, name: str = "input") -> dict[str, Any]:
    """Segments, chains, lengths and notes of a plan."""
    from langevin.modalities.protein import fitting
    from langevin.modalities.protein.layout import named, numbers_fit

    contig, counts = plan.contig, plan.counts
    sizes = contig.sizes(counts)
    segments, chains, gaps = [], [], _gaps(plan)
    left = iter(range(len(contig.motifs)))
    for number, (chain, row, letter) in enumerate(zip(contig.chains, sizes, named(plan))):
        for one, (least, most) in zip(chain.segments, row):
            entry: dict[str, Any] = {"chain": letter, "segment": str(one), "what": _what(plan, one)}
            entry |= {"least": least, "most": most}
            if isinstance(one, Motif):
                entry["gaps"] = gaps[next(left)] if gaps else []
            segments.append(entry)
        numbers = "design"
        if chain.kept or (plan.partial and plan.numbering == "input") or numbers_fit(plan, number):
            numbers = "input"
        chains.append(
            {
                "chain": letter,
                "kept": chain.kept,
                "shown": not any(
                    _shared(one, plan.inpaint_str) for one in chain.segments if isinstance(one, Motif)
                ),
                "least": sum(a for a, _ in row),
                "most": sum(b for _, b in row),
                "numbers": numbers,
            }
        )
    total, designed = contig.range(counts), contig.designed(counts)
    kept = sum(a for one, (a, _) in _flat(plan) if isinstance(one, Motif))
    return {
        "contig": str(plan.asked or contig),
        "input": None if plan.protein is None else {"name": name, "has": fitting.ranges(plan.protein)},
        "copies": plan.copies,
        "segments": segments,
        "chains": chains,
        "length": list(contig.length) if contig.length else None,
        "total": list(total),
        "designed": list(designed),
        "kept": kept,
        "partial": plan.partial,
        "hotspots": [_listed([one]) for one in plan.hotspots],
        "notes": _notes(plan),
    }


def describe(plan: Plan, name: str = "input") -> str:
    """The same for people."""
    told = plain(plan, name)
    rows = []
    for segment in told["segments"]:
        rows.append(
            {
                "chain": segment["chain"],
                "segment": segment["segment"],
                "what": segment["what"],
                "residues": _range(segment["least"], segment["most"]),
                "gaps": ", ".join(segment.get("gaps", [])[:_NOTED]) or None,
            }
        )
    if not any(row["gaps"] for row in rows):
        rows = [{key: value for key, value in row.items() if key != "gaps"} for row in rows]
    lines = [f"contig  {told['contig']}"]
    lines.append(
        f"input   {told['input']['name']}: {told['input']['has']}" if told["input"] else "input   none given"
    )
    lines += ["", Table(rows).text(), ""]
    for chain in told["chains"]:
        how = "designed" if not chain["kept"] else "kept whole" if chain["shown"] else "of the input"
        numbers = "the numbers of the input" if chain["numbers"] == "input" else "numbers from 1"
        lines.append(f"chain {chain['chain']}: {_residues(chain['least'], chain['most'])}, {how}, {numbers}")
    least, most = told["total"]
    built = [n - told["kept"] for n in (least, most)]
    lines.append(f"in all {_residues(least, most)}, {_range(*built)} of them built")
    if told["length"]:
        lines.append(
            f"length {_range(*told['length'])} is asked for: {_residues(*told['designed'])} in the chains in which "
            "something is built"
        )
    if plan.copies > 1:
        whole = f"{_residues(least * plan.copies, most * plan.copies)}"
        lines.append(f"symmetry makes {plan.copies} copies of this: {whole}")
    if plan.partial:
        lines.append("partial diffusion: built residues start from the input")
    if plan.hotspots:
        lines.append(f"hotspots: {', '.join(told['hotspots'])}")
    lines += [f"note: {note}" for note in told["notes"]]
    return "\n".join(lines)


def mapping(plan: Plan, seed: int | None, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys of .trb files. Residues are [chain, number], where a code is inserted [chain, "52A"]; places count from 0.

    con_* are the chains in which something is built, receptor_* those that are kept whole, complex_* both; the latter
    two are there if a chain is kept whole. *_ref_* is the input, *_hal_* the design, in the order of its file. Of each
    residue of the design: mask_1d, whether it is one of the input; inpaint_seq and inpaint_str, whether its type and its
    place are those of the input. sampled_mask is the drawn contig, by chain. All copies of a symmetric assembly count.
    """
    lay, protein, chains = plan.assembly, plan.protein, _drawn(plan)
    kept = [chain.kept for chain in chains]
    parts = {"con": [k for k in range(len(lay)) if not kept[lay.chain[k]]]}
    if any(kept):
        parts["complex"] = list(range(len(lay)))
        parts["receptor"] = [k for k in range(len(lay)) if kept[lay.chain[k]]]
    out: dict[str, Any] = {}
    for name, places in parts.items():
        prefix = "con" if name == "con" else f"{name}_con"
        there = [k for k in places if lay.source[k] >= 0]
        sources = [int(lay.source[k]) for k in there]
        out[f"{prefix}_ref_pdb_idx"] = [_site(protein, k) for k in sources]
        out[f"{prefix}_hal_pdb_idx"] = [_site(lay, k) for k in there]
        out[f"{prefix}_ref_idx0"] = sources
        out[f"{prefix}_hal_idx0"] = there
    out["inpaint_str"] = lay.structure.tolist()
    out["inpaint_seq"] = lay.sequence.tolist()
    out["sampled_mask"] = [f"{chain}/0" if chain.kept else str(chain) for chain in chains]
    out["mask_1d"] = (lay.source >= 0).tolist()
    out["hotspots"] = [_site(lay, k) for k in range(len(lay)) if lay.hotspot[k]]
    out["secondary"] = lay.secondary.tolist() if plan.secondary else None
    out["start_idx0"] = lay.start.tolist() if plan.partial else None
    out["contig"] = str(plan.asked or plan.contig)
    out["length"] = list(plan.contig.length) if plan.contig.length else None
    out["copies"] = plan.copies
    out["seed"] = seed
    out["config"] = dict(settings or {})
    return out


def _drawn(plan: Plan) -> tuple[Chain, ...]:
    """Chains of all copies, with the lengths of the first."""
    one = plan.contig
    if not plan.others:
        return one.chains * plan.copies
    lengths = [built.least for built in one.built]
    return one.chains + Contig(plan.others).fix(lengths * len(plan.others)).chains


def _site(holder: Any, k: int) -> list[Any]:
    number, code = int(holder.numbers[k]), str(holder.insertions[k])
    return [str(holder.chains[k]), f"{number}{code}" if code else number]


def _flat(plan: Plan) -> list[tuple[Built | Motif, tuple[int, int]]]:
    sizes = [size for row in plan.contig.sizes(plan.counts) for size in row]
    return list(zip(plan.contig.segments, sizes))


def _what(plan: Plan, one: Built | Motif) -> str:
    if isinstance(one, Built):
        return "built from the input" if plan.partial else "built"
    hidden = _shared(one, plan.inpaint_str)
    what = "kept"
    if hidden:
        what = f"types kept, built at {_listed(hidden)}"
        for name, named in plan.secondary.items():
            if asked := _shared(one, named):
                what += f", {name} at {_listed(asked)}"
    if redesigned := _shared(one, plan.inpaint_seq):
        what += f", types open at {_listed(redesigned)}"
    return what


def _shared(one: Motif, named: Sequence[Motif]) -> list[Motif]:
    out = []
    for other in named:
        first, last = max(one.first, other.first), min(one.last, other.last)
        if other.chain == one.chain and first <= last:
            out.append(Motif(one.chain, first, last))
    return out


def _listed(motifs: Sequence[Motif]) -> str:
    names = [f"{m.name}{m.first}" if m.first == m.last else str(m) for m in motifs]
    return ", ".join(names[:_NOTED]) + (" …" if len(names) > _NOTED else "")


def _gaps(plan: Plan) -> list[list[str]]:
    """Of each motif, where its residues do not follow one another, or their numbers do not."""
    protein, located = plan.protein, plan.motifs
    if protein is None or located is None:
        return []
    breaks = protein.breaks
    out: list[list[str]] = []
    for indices in located:
        out.append([])
        for a, b in zip(indices[:-1].tolist(), indices[1:].tolist()):
            where = (
                f"{protein.numbers[a]}{protein.insertions[a]} and {protein.numbers[b]}{protein.insertions[b]}"
            )
            if breaks[b]:
                out[-1].append(f"broken between {where}")
            elif protein.numbers[b] - protein.numbers[a] > 1:
                out[-1].append(f"no numbers between {where}, which are bonded")
    return out


def _notes(plan: Plan) -> list[str]:
    """What is no error and yet worth knowing."""
    notes = []
    protein, located = plan.protein, plan.motifs
    if protein is None:
        if plan.contig.motifs or plan.partial:
            notes.append("nothing is checked against an input; give one")
        return notes
    from langevin.modalities.protein.protein import UNKNOWN

    left = iter(located or [])
    for chain in plan.contig.chains:
        before: int | None = None
        for one in chain.segments:
            if isinstance(one, Built):
                before = None if one.most else before
                continue
            indices = next(left)
            unknown = [protein.label(k) for k in indices.tolist() if protein.types[k] == UNKNOWN]
            if unknown:
                notes.append(f"of {_few(unknown)} the type is not known, so it is designed")
            if (
                before is not None
                and not chain.kept
                and (indices[0] != before + 1 or protein.breaks[indices[0]])
            ):
                notes.append(
                    f"{protein.label(before)} and {protein.label(int(indices[0]))} would be bonded in the design and are "
                    "not in the input; build residues between them"
                )
            before = int(indices[-1])
    if plan.partial:
        lay, breaks = plan.layout, protein.breaks
        for k in range(1, len(lay)):
            if lay.chain[k] == lay.chain[k - 1] and lay.source[k] < 0 and breaks[lay.start[k]]:
                a, b = protein.label(int(lay.start[k - 1])), protein.label(int(lay.start[k]))
                notes.append(f"the input is broken between {a} and {b}, which would be bonded in the design")
    if plan.hotspots and all(not chain.kept for chain in plan.contig.chains):
        notes.append("hotspots: no chain is kept whole, so there is no target")
    return notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NOTED]) + (f" and {len(names) - _NOTED} more" if len(names) > _NOTED else "")


def _range(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least}-{most}"


def _residues(least: int, most: int) -> str:
    return f"{_range(least, most)} residue{'' if (least, most) == (1, 1) else 's'}"
