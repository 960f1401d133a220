"""Settings under RFdiffusion's names, as they stand on its command lines.

    request = read(["contigmap.contigs=[5-15/A10-25/30-40/0 B1-100]", "ppi.hotspot_res=[B30,B33]", "diffuser.T=50"])
    plan = request.plan(protein)

Values are written as there: lists in brackets, quotes where they are needed, ``null`` for nothing. What RFdiffusion knows
and has no counterpart here is an error that says so, and so is every other name. The same setting twice is an error, too
(there the last one counts).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langevin.core.errors import unknown
from langevin.modalities.protein.contigs import Contig, ContigError, Motif, positions, residues
from langevin.modalities.protein.plan import Plan

if TYPE_CHECKING:
    from langevin.modalities.protein.protein import Protein

__all__ = ["NAMES", "Request", "read"]

DECAYS = ("constant", "linear", "quadratic", "cubic")


@dataclass(frozen=True)
class Request:
    """What a command line of RFdiffusion asks for, under our names; the defaults are RFdiffusion's.

    Attributes:
        contig: with its length; None where none is given.
        inpaint_seq, inpaint_str, helix, strand, loop, provide_seq, hotspots: as of
            :class:`~langevin.modalities.protein.plan.Plan`.
        input: a file.
        steps: of the sampler (diffuser.T).
        partial_steps: how many of them are run, from the input noised as far (diffuser.partial_T); None for all.
        noise_positions, noise_rotations: factors of the noise that the sampler adds (denoiser.noise_scale_ca, _frame).
        symmetry: of the assembly, as "C4".
        designs: how many.
        first: number of the first one.
        prefix: of the files that are written.
        deterministic: the seed of a design is its number.
        cyclic: the chains of `cyclic_chains` are rings.
        cyclic_chains: their letters.
        potentials: one text each, as "type:monomer_ROG,weight:1".
        guide_scale, guide_decay, olig_intra_all, olig_inter_all, olig_custom_contact: of the potentials.
        given: the settings as they were written, without those that are null.
    """

    contig: Contig | None = None
    inpaint_seq: tuple[Motif, ...] = ()
    inpaint_str: tuple[Motif, ...] = ()
    helix: tuple[Motif, ...] = ()
    strand: tuple[Motif, ...] = ()
    loop: tuple[Motif, ...] = ()
    provide_seq: tuple[tuple[int, int], ...] = ()
    hotspots: tuple[Motif, ...] = ()
    input: str | None = None
    steps: int = 50
    partial_steps: int | None = None
    noise_positions: float = 1.0
    noise_rotations: float = 1.0
    symmetry: str | None = None
    designs: int = 10
    first: int = 0
    prefix: str = "samples/design"
    deterministic: bool = False
    cyclic: bool = False
    cyclic_chains: str = "a"
    potentials: tuple[str, ...] = ()
    guide_scale: float = 10.0
    guide_decay: str = "constant"
    olig_intra_all: bool = False
    olig_inter_all: bool = False
    olig_custom_contact: str | None = None
    given: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def copies(self) -> int:
        """Of the assembly; 1 without symmetry.

        Raises:
            ValueError: no such symmetry.
        """
        if self.symmetry is None:
            return 1
        from langevin.modalities.protein.groups import order

        return order(self.symmetry)

    @property
    def time(self) -> float | None:
        """The time in (0, 1] from which partial diffusion begins; None without it."""
        return None if self.partial_steps is None else self.partial_steps / self.steps

    def plan(self, protein: Protein | None = None, numbering: str = "input") -> Plan:
        """The plan of this request.

        Raises:
            ValueError: there is no contig; and as of :meth:`Plan.of`.
        """
        if self.contig is None:
            raise ValueError("contigmap.contigs is missing, as contigmap.contigs=[5-15/A10-25/30-40]")
        return Plan.of(
            self.contig,
            protein,
            inpaint_seq=self.inpaint_seq,
            inpaint_str=self.inpaint_str,
            provide_seq=self.provide_seq,
            helix=self.helix,
            strand=self.strand,
            loop=self.loop,
            hotspots=self.hotspots,
            partial=self.partial_steps is not None,
            numbering=numbering,
            copies=self.copies,
        )


def read(words: Iterable[str]) -> Request:
    """Settings ``section.name=value``; ``--config-name base`` or ``symmetry`` may stand among them.

    Raises:
        ValueError: an unknown name, one without counterpart, or a value that cannot be; the message begins with the name.
    """
    given: dict[str, str] = {}
    left = iter(words)
    for word in left:
        if word == "--config-name":
            word = f"--config-name={next(left, '')}"
        name, equals, value = word.lstrip("+").partition("=")
        if not equals:
            raise ValueError(f"expected a setting of RFdiffusion, name=value, got {word!r}")
        name, value = name.strip(), value.strip()
        if name in given:
            raise ValueError(f"{name} is given twice; give it once")
        if name not in NAMES and name != "--config-name":
            raise ValueError(_refusal(name))
        given[name] = value
    found: dict[str, Any] = {}
    config = given.get("--config-name", "base")
    if config not in ("base", "symmetry"):
        raise ValueError(unknown("--config-name", config, ["base", "symmetry"]))
    if config == "symmetry":
        found |= {"symmetry": "c2", "prefix": "samples/c2", "contig": Contig.of("100")}
    given = {name: value for name, value in given.items() if value not in ("null", "None", "~")}
    for name, value in given.items():
        if name == "--config-name":
            continue
        target, parse = NAMES[name]
        try:
            found[target] = parse(value)
        except ContigError as error:
            raise ContigError(f"{name}: {error.problem}", error.span) from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return _settled(found, given)


def _settled(found: dict[str, Any], given: Mapping[str, str]) -> Request:
    """What settings say together."""
    length, scaffolds = found.pop("length", None), found.pop("scaffolds", False)
    if length is not None:
        if "contig" not in found:
            raise ValueError("contigmap.length is given without contigmap.contigs")
        found["contig"] = Contig(found["contig"].chains, length)
    request = Request(**found, given=dict(given))
    if request.partial_steps is not None and request.partial_steps > request.steps:
        raise ValueError(
            f"diffuser.partial_T: {request.partial_steps} steps of {request.steps}; it is at most diffuser.T"
        )
    if scaffolds and not (request.helix or request.strand or request.loop):
        raise ValueError(f"scaffoldguided.scaffoldguided: {_REASONS['scaffoldguided']}")
    if request.cyclic_chains and not request.cyclic and "inference.cyc_chains" in given:
        raise ValueError("inference.cyc_chains is given without inference.cyclic=True")
    return request


# values


def _quoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _count(least: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", plain := _quoted(value)) or int(plain) < least:
            raise ValueError(f"expected a whole number from {least}, got {value!r}")
        return int(plain)

    return parse


def _factor(value: str) -> float:
    try:
        number = float(_quoted(value))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"expected a number from 0, got {value!r}")
    return number


def _switch(value: str) -> bool:
    plain = _quoted(value).lower()
    if plain not in ("true", "false"):
        raise ValueError(f"expected True or False, got {value!r}")
    return plain == "true"


def _text(value: str) -> str:
    if not (plain := _quoted(value)):
        raise ValueError("the value is empty")
    return plain


def _decay(value: str) -> str:
    if (plain := _quoted(value)) not in DECAYS:
        raise ValueError(unknown("decay", plain, DECAYS))
    return plain


def _texts(value: str) -> tuple[str, ...]:
    """Quoted texts of a list; without quotes all of it is one."""
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    found = re.findall(r"\\?[\"']([^\"'\\]*)\\?[\"']", inner)
    texts = tuple(text.strip() for text in found or [inner] if text.strip())
    for text in texts:
        if not re.search(r"(^|,)\s*type\s*:", text):
            raise ValueError(f'expected potentials as ["type:monomer_ROG,weight:1"], got {text!r}')
    return texts


def _length(value: str) -> tuple[int, int] | None:
    return Contig.of(1, _quoted(value)).length


def _contig(value: str) -> Contig:
    return Contig.of(value)


NAMES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "contigmap.contigs": ("contig", _contig),
    "contigmap.length": ("length", _length),
    "contigmap.inpaint_seq": ("inpaint_seq", residues),
    "contigmap.inpaint_str": ("inpaint_str", residues),
    "contigmap.inpaint_str_helix": ("helix", residues),
    "contigmap.inpaint_str_strand": ("strand", residues),
    "contigmap.inpaint_str_loop": ("loop", residues),
    "contigmap.provide_seq": ("provide_seq", positions),
    "ppi.hotspot_res": ("hotspots", residues),
    "diffuser.T": ("steps", _count(1)),
    "diffuser.partial_T": ("partial_steps", _count(1)),
    "denoiser.noise_scale_ca": ("noise_positions", _factor),
    "denoiser.noise_scale_frame": ("noise_rotations", _factor),
    "inference.symmetry": ("symmetry", _text),
    "inference.num_designs": ("designs", _count(1)),
    "inference.design_startnum": ("first", _count(0)),
    "inference.output_prefix": ("prefix", _text),
    "inference.input_pdb": ("input", _text),
    "inference.deterministic": ("deterministic", _switch),
    "inference.cyclic": ("cyclic", _switch),
    "inference.cyc_chains": ("cyclic_chains", _text),
    "potentials.guiding_potentials": ("potentials", _texts),
    "potentials.guide_scale": ("guide_scale", _factor),
    "potentials.guide_decay": ("guide_decay", _decay),
    "potentials.olig_intra_all": ("olig_intra_all", _switch),
    "potentials.olig_inter_all": ("olig_inter_all", _switch),
    "potentials.olig_custom_contact": ("olig_custom_contact", _text),
    "scaffoldguided.scaffoldguided": ("scaffolds", _switch),
}

# what RFdiffusion knows besides; of sections that are not listed name by name, every name
_OTHERS = {
    "inference": "ckpt_override_path model_directory_path schedule_directory_path trb_save_ckpt_path recenter radius "
    "model_only_neighbors write_trajectory empty_cache_per_design scaffold_guided model_runner cautious align_motif "
    "symmetric_self_cond final_step",
    "diffuser": "b_0 b_T schedule_type so3_type crd_scale so3_schedule_type min_b max_b min_sigma max_sigma",
    "denoiser": "final_noise_scale_ca ca_noise_schedule_type final_noise_scale_frame frame_noise_schedule_type",
    "potentials": "substrate",
    "scaffoldguided": "target_pdb target_path scaffold_list scaffold_dir sampled_insertion sampled_N sampled_C ss_mask "
    "systematic target_ss target_adj mask_loops contig_crop",
}
_SECTIONS = ("model", "preprocess", "logging", "contig_settings")
_REASONS = {
    "inference.ckpt_override_path": "weights of RFdiffusion cannot be loaded; name a model of langevin instead",
    "inference.cautious": "files that are there already are never written over; leave it out",
    "inference.write_trajectory": "trajectories are not written; leave it out",
    "potentials.substrate": "ligands in the input are not read; leave it out",
    "scaffoldguided": "folds from scaffold files are not supported: _ss.pt and _adj.pt are pickles, which can run anything; "
    "design(fold='scaffold.pdb') and langevin design --fold scaffold.pdb take the structure that they were made of; the "
    "structure of a peptide is asked for with contigmap.inpaint_str_helix, _strand and _loop",
    "contig_settings": "the mapping follows from contigmap.contigs; leave it out",
}


def _refusal(name: str) -> str:
    """Why a name is not taken."""
    section, _, rest = name.partition(".")
    if rest in _OTHERS.get(section, "").split() or (section in _SECTIONS and rest):
        reason = _REASONS.get(name) or _REASONS.get(section)
        return (
            f"{name}: {reason or 'a setting inside RFdiffusion, which has no counterpart here; leave it out'}"
        )
    bare = {full.partition(".")[2]: full for full in NAMES}
    if name in bare:
        return f"unknown setting {name!r}; did you mean {bare[name]!r}?"
    return unknown("setting", name, NAMES)
