"""``langevin plan``: what a contig means, before anything runs.

    langevin plan "5-15/A10-25/30-40/0 B1-100" --input 1abc.pdb --hotspots B30,B33
    langevin plan 'contigmap.contigs=[5-15/A10-25/30-40]' inference.input_pdb=1abc.pdb

This module is read by the command line, so it imports numpy and torch only where a plan is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langevin.modalities.base import Command

if TYPE_CHECKING:
    from langevin.modalities.protein.rfdiffusion import Request

__all__ = ["OF_FLAG", "ContigFlags", "PlanFlags", "command", "flag", "requested"]

_SETTING = re.compile(r"\+{0,2}[a-z_]+(\.[A-Za-z0-9_]+)*=")
OF_FLAG = {  # RFdiffusion's names of the flags
    "input": "inference.input_pdb",
    "length": "contigmap.length",
    "hotspots": "ppi.hotspot_res",
    "inpaint_seq": "contigmap.inpaint_seq",
    "inpaint_str": "contigmap.inpaint_str",
    "helix": "contigmap.inpaint_str_helix",
    "strand": "contigmap.inpaint_str_strand",
    "loop": "contigmap.inpaint_str_loop",
    "provide_seq": "contigmap.provide_seq",
    "symmetry": "inference.symmetry",
    "config_name": "--config-name",
}


def flag(text: str, **more: Any) -> Any:
    """A field that is None where its flag was not given."""
    return field(default=None, metadata={"help": text, **more})


@dataclass(frozen=True)
class ContigFlags:
    """The flags of all commands that read a contig."""

    input: str | None = flag("the file whose residues the contig keeps, PDB or mmCIF")
    length: str | None = flag("residues of the chains in which something is built, 55 or 55-60")
    hotspots: str | None = flag("residues that something built should touch, A30,A33")
    inpaint_seq: str | None = flag("kept residues whose type is not shown, A1/A30-40")
    inpaint_str: str | None = flag("kept residues whose place is not shown, B165-178")
    helix: str | None = flag("those of them that should be helix")
    strand: str | None = flag("those of them that should be strand")
    loop: str | None = flag("those of them that should be neither")
    provide_seq: str | None = flag("places, from 0, whose type is shown in partial diffusion, 100-119")
    symmetry: str | None = flag(
        "of the assembly, whose residues the contig names in all: C4, D2, tetrahedral …"
    )
    numbering: Literal["input", "design"] | None = flag(
        "numbers of designed residues: of the input where they fit (default), or from 1"
    )
    config_name: str | None = flag("taken from command lines of RFdiffusion: base or symmetry")


@dataclass(frozen=True)
class PlanFlags(ContigFlags):
    """The flags of ``langevin plan``."""

    partial: bool | None = flag("partial diffusion: what is built starts from the input")
    seed: int | None = flag("draw the lengths, too")
    json: bool | None = flag("print JSON; with --seed the mapping of residues, too")


@dataclass(frozen=True)
class _Asked:
    request: Request
    flags: PlanFlags


def requested(
    words: Sequence[str], flags: Any, called: str, partial: bool = False, fold: bool = False
) -> Request:
    """What words and flags ask for: a contig, or settings of RFdiffusion.

    Args:
        words: of the command line.
        flags: an object with the fields that :data:`OF_FLAG` names, or some of them; None where a flag was not given.
        called: the command, for messages.
        partial: the design starts from the input, where the settings do not say it.
        fold: there is a fold, which can do without a contig.

    Raises:
        ValueError: no contig, something said twice, no such file, or what cannot be read.
    """
    from langevin.modalities.protein.contigs import ContigError
    from langevin.modalities.protein.rfdiffusion import read

    settings = [word for word in words if _SETTING.match(word)]
    contig = " ".join(word for word in words if not _SETTING.match(word))
    names = {word.lstrip("+").partition("=")[0] for word in settings}
    values = {
        full: getattr(flags, name) for name, full in OF_FLAG.items() if getattr(flags, name, None) is not None
    }
    for name, full in OF_FLAG.items():
        if full in names & {*values}:
            raise ValueError(f"--{name.replace('_', '-')} and {full} are the same; give one")
    if contig and "contigmap.contigs" in names:
        raise ValueError(f"two contigs: {contig!r} and that of contigmap.contigs; give one")
    if flags.seed is not None and not 0 <= flags.seed < 2**64:
        raise ValueError(f"argument --seed: expected a whole number from 0 to 2^64 - 1, got {flags.seed}")
    if contig:
        settings.append(f"contigmap.contigs={contig}")
    if not settings and not fold:
        raise ValueError(f'which contig? for example langevin {called} "5-15/A10-25/30-40" --input 1abc.pdb')
    try:
        request = read([*settings, *(f"{name}={value}" for name, value in values.items())])
    except ContigError as error:
        raise ContigError(error.problem.removeprefix("contigmap.contigs: "), error.span) from None
    if partial and request.partial_steps is None:
        request = replace(request, partial_steps=request.steps)
    if request.contig is None and not fold:
        request.plan()
    if request.input is not None and not Path(request.input).is_file():
        raise ValueError(f"there is no file {request.input!r}")
    if request.symmetry is None and request.contig is not None:
        request.plan()
    return request


def _read(words: Sequence[str], flags: PlanFlags) -> _Asked:
    """Raises ValueError: no contig, or what cannot be read."""
    return _Asked(requested(words, flags, "plan", bool(flags.partial)), flags)


def _run(asked: _Asked) -> str:
    """The plan as text or JSON.

    Raises:
        ValueError: what does not fit the input; it says what would.
    """
    request, flags = asked.request, asked.flags
    protein = None
    if request.input is not None:
        from langevin.modalities.protein.files import read_protein

        protein = read_protein(request.input)
    name = Path(request.input).name if request.input else "input"
    plan = request.plan(protein, flags.numbering or "input")
    drawn = None
    if flags.seed is not None:
        from langevin.core.rng import Stream

        drawn = plan.draw(Stream.of(flags.seed, 1))[0]
    whole = drawn is not None and (protein is not None or not plan.contig.motifs)
    if flags.json:
        told = plan.plain(name)
        if drawn is not None:
            told["drawn"] = str(drawn.contig)
            told["mapping"] = drawn.mapping(flags.seed, dict(request.given)) if whole else None
        return json.dumps(told, ensure_ascii=False, indent=1)
    text = plan.describe(name)
    if drawn is not None:
        text += f"\nseed {flags.seed} draws {drawn.contig}: {drawn.contig.range(drawn.counts)[0]} residues"
    return text


command = Command(
    "plan",
    "say what a contig means, before anything runs",
    "CONTIG",
    PlanFlags,
    _read,
    _run,
    """A contig names residues to keep (A10-25, A100) and lengths to build (30, 5-15), with '/' between them and '/0 '
between chains. Settings of RFdiffusion are taken as well, name=value.

for example:
  langevin plan "10-40/A163-181/10-40" --input 5TPN.pdb --length 80
  langevin plan "A1-150/0 70-100" --input target.pdb --hotspots A59,A83,A91 --seed 0
  langevin plan 'contigmap.contigs=[79-79]' inference.input_pdb=2KL8.pdb diffuser.partial_T=10
""",
)
