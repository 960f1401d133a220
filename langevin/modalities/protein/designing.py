"""``langevin design``: designs from a contig, or from a command line of RFdiffusion, into a folder that can be continued.

    langevin design "5-15/A10-25/30-40" --input motif.pdb -n 100 --out runs/scaffolds
    langevin design 'contigmap.contigs=[5-15/A10-25/30-40]' inference.input_pdb=motif.pdb denoiser.noise_scale_ca=0.5

Designs are written as they are made, batch after batch, with all files of a folder of samples; ``request.json`` says what
was asked for. The same request with the same ``--out`` goes on where it was left, or makes more. This module is read by
the command line, so it imports numpy and torch only where designs are made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langevin.modalities.base import Command
from langevin.modalities.protein.planning import requested

if TYPE_CHECKING:
    from langevin.modalities.base import Samples
    from langevin.modalities.protein.rfdiffusion import Request

__all__ = ["REQUEST", "DesignFlags", "command"]

REQUEST = "request.json"
_MODEL, _COUNT, _BATCH = "protein-backbone", 10, 4
_ELSEWHERE = ("n", "out", "format", "device", "batch_size", "json")  # of the flags, which change no design


def _flag(text: str, **more: Any) -> Any:
    return field(default=None, metadata={"help": text, **more})


@dataclass(frozen=True)
class DesignFlags:
    """The flags of ``langevin design``."""

    model: str | None = _flag(f"a shipped model or a folder ({_MODEL})")
    n: int | None = _flag(
        f"how many designs ({_COUNT}); more than there are in --out: the rest", short=("-n",)
    )
    out: str | None = _flag("where to write (a new folder under runs/)")
    seed: int | None = _flag("of the random stream (0); lengths are drawn from it, too")
    input: str | None = _flag("the file whose residues the contig keeps, PDB or mmCIF")
    length: str | None = _flag("residues of the chains in which something is built, 55 or 55-60")
    hotspots: str | None = _flag("residues that something built should touch, A30,A33")
    inpaint_seq: str | None = _flag("kept residues whose type is not shown, A1/A30-40")
    inpaint_str: str | None = _flag("kept residues whose place is not shown, B165-178")
    helix: str | None = _flag("those of them that should be helix")
    strand: str | None = _flag("those of them that should be strand")
    loop: str | None = _flag("those of them that should be neither")
    provide_seq: str | None = _flag("places, from 0, whose type is shown in partial diffusion, 100-119")
    secondary: str | None = _flag("of the design, a letter for each residue: H, E, -, X where it is open")
    fold: str | None = _flag("a structure, or a .json, whose secondary structure and adjacency designs have")
    partial: float | None = _flag("partial diffusion: the time from 0 to 1 to which the input is noised")
    symmetry: str | None = _flag(
        "of the assembly, whose residues the contig names in all: C4, D2, tetrahedral …"
    )
    potential: tuple[str, ...] | None = _flag(
        "a guiding potential, type:monomer_ROG,weight:1; may be repeated"
    )
    guide_scale: float | None = _flag("of the potentials (2; of RFdiffusion's settings 10)")
    guide_decay: Literal["constant", "linear", "quadratic", "cubic"] | None = _flag(
        "of the potentials with time (quadratic; of RFdiffusion's settings constant)"
    )
    steps: int | None = _flag("solver steps (the model's own)")
    noise_scale: float | None = _flag("of the sampler's noise, from 0 to 1 (the model's own sampler)")
    repulsion: float | None = _flag(
        "force that moves overlapping residues apart, 0 for none (the model's own)"
    )
    numbering: Literal["input", "design"] | None = _flag(
        "numbers of designed residues: of the input where they fit (default), or from 1"
    )
    format: Literal["pdb", "cif"] | None = _flag("of the files (pdb)")
    batch_size: int | None = _flag(
        f"designs at a time, after which they are written ({_BATCH}); changes no design"
    )
    device: str | None = _flag("cpu, cuda, cuda:N or mps (the best there is)")
    json: bool | None = _flag("print one JSON object instead of paths")
    config_name: str | None = _flag("taken from command lines of RFdiffusion: base or symmetry")


@dataclass(frozen=True)
class _Asked:
    request: Request
    flags: DesignFlags

    @property
    def count(self) -> int:
        said = "inference.num_designs" in self.request.given
        return self.flags.n or (self.request.designs if said else _COUNT)

    @property
    def time(self) -> float | None:
        """Of partial diffusion."""
        return self.flags.partial if self.flags.partial is not None else self.request.time

    @property
    def sampler(self) -> Any:
        """The sampler whose noise is scaled as asked; None for the model's own."""
        scales = {
            leaf: getattr(self.request, name)
            for leaf, name in (("positions", "noise_positions"), ("frames", "noise_rotations"))
            if _SAID[name] in self.request.given
        }
        if self.flags.noise_scale is None and not scales:
            return None
        from langevin.core.samplers import Single

        return Single(1.0, self.flags.noise_scale if self.flags.noise_scale is not None else scales)

    def plain(self) -> dict[str, Any]:
        """The request as JSON: what a design depends on."""
        own = {f.name: getattr(self.flags, f.name) for f in fields(self.flags) if f.name not in _ELSEWHERE}
        given = {k: v for k, v in self.request.given.items() if k not in _NAMES_ELSEWHERE}
        told: dict[str, Any] = {
            **{name: value for name, value in own.items() if value is not None},
            "model": Path(self.flags.model or _MODEL).name,
            "settings": given,
        }
        for name, path in (("sha256", self.request.input), ("fold_sha256", self.flags.fold)):
            if path is not None:
                told[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return json.loads(json.dumps(told))  # type: ignore[no-any-return]


_SAID = {"noise_positions": "denoiser.noise_scale_ca", "noise_rotations": "denoiser.noise_scale_frame"}
_NAMES_ELSEWHERE = ("inference.num_designs", "inference.output_prefix", "inference.input_pdb")


def _read(words: Sequence[str], flags: DesignFlags) -> _Asked:
    """Raises ValueError: what ``langevin plan`` refuses, numbers that cannot be, or a model that there is not."""
    from langevin import hub
    from langevin.modalities.protein.rfdiffusion import Request

    if flags.secondary is not None and not re.fullmatch("[HEX-]*", flags.secondary):
        raise ValueError(f"--secondary has the letters H, E, - and X, got {flags.secondary!r}")
    for name, least in (("n", 1), ("steps", 1), ("batch_size", 1)):
        value = getattr(flags, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}: expected a whole number from {least}, got {value}")
    if flags.partial is not None and not 0 < flags.partial <= 1:
        raise ValueError(f"--partial is a time above 0 and up to 1, got {flags.partial}")
    for name in ("noise_scale", "guide_scale", "repulsion"):
        value = getattr(flags, name)
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"--{name.replace('_', '-')}: expected a number from 0, got {value}")
    if flags.fold is not None and not Path(flags.fold).is_file():
        raise ValueError(f"--fold: there is no file {flags.fold!r}")
    request = (
        Request()  # a fold is its own contig
        if flags.fold is not None and not words
        else requested(words, flags, "design", flags.partial is not None)
    )
    if request.cyclic:
        raise ValueError("inference.cyclic: chains that close on themselves are not drawn; leave it out")
    said = [name for name in _SAID.values() if name in request.given]
    if flags.noise_scale is not None and said:
        raise ValueError(f"--noise-scale and {said[0]} both scale the sampler's noise; give one")
    if flags.potential and request.potentials:
        raise ValueError("--potential and potentials.guiding_potentials are the same; give one")
    try:
        hub.info(flags.model or _MODEL)
    except hub.UnknownModel as error:
        raise ValueError(f"--model: {error}") from None
    return _Asked(request, flags)


def _run(asked: _Asked) -> str:
    """The paths, or one JSON object.

    Raises:
        ValueError: what does not fit the input, or the model is not one of proteins.
        FileExistsError: the folder holds designs of another request.
    """
    import langevin
    from langevin.core.progress import bar
    from langevin.modalities.base import Failure
    from langevin.modalities.protein.modality import ProteinModality
    from langevin.modalities.samples import read_manifest

    out = _folder(asked)
    earlier = _earlier(out, asked)
    first, total = asked.request.first, asked.count
    plan = None
    if asked.request.contig is not None:
        plan = asked.request.plan(_protein(asked), asked.flags.numbering or "input")
    model = langevin.load(asked.flags.model or _MODEL, device=asked.flags.device)
    if not isinstance(model.modality, ProteinModality):
        raise ValueError(
            f"{asked.flags.model} is a model of {model.modality.name}; designs need one of proteins"
        )
    made = _continued(model, out, earlier)
    done = 0 if made is None else len(made)
    out.mkdir(parents=True, exist_ok=True)
    if not earlier:
        from langevin.folders import write_atomic

        write_atomic(out / REQUEST, json.dumps(asked.plain(), indent=1) + "\n")
    size = asked.flags.batch_size or _BATCH
    starts = range(done, total, size)
    paths: list[Path] = []
    for start in bar(starts, len(starts), f"designs, {size} at a time"):
        new = _drawn(model, plan, asked, first + start, min(size, total - start))
        made = new if made is None else made.joined([new])
        # templates differ from batch to batch; what was asked for stands in the request, and of each in designs.json
        options = {k: v for k, v in made.run.options.items() if k not in ("like", "keep", "start")}
        made.run = replace(made.run, options={**options, "request": REQUEST})
        paths = made.save(out, overwrite=True, suffix=asked.flags.format and f".{asked.flags.format}")
    if made is not None and not paths:
        paths = [out / entry["file"] for entry in read_manifest(out)["samples"] if entry["file"]]
    failures = [item.reason for item in made or () if isinstance(item, Failure)]
    if asked.flags.json:
        return json.dumps({"out": str(out), "files": [str(path) for path in paths], "failures": failures})
    return "\n".join([*map(str, paths), *(f"failed: {reason}" for reason in failures)])


def _protein(asked: _Asked) -> Any:
    if asked.request.input is None:
        return None
    from langevin.modalities.protein.files import read_protein

    return read_protein(asked.request.input)


def _drawn(model: Any, plan: Any, asked: _Asked, first: int, count: int) -> Samples:
    from langevin.modalities.protein.design import design

    request, flags = asked.request, asked.flags
    options: dict[str, Any] = {}
    if request.potentials:  # of RFdiffusion's settings, with its defaults
        options |= {name: getattr(request, name) for name in ("potentials", "guide_scale", "guide_decay")}
        options |= {
            name: getattr(request, name)
            for name in ("olig_intra_all", "olig_inter_all", "olig_custom_contact")
        }
    elif flags.potential:
        options["potentials"] = flags.potential
    for name in ("guide_scale", "guide_decay", "secondary", "fold", "steps", "repulsion"):
        if getattr(flags, name) is not None:
            options[name] = getattr(flags, name)
    if flags.steps is None and "diffuser.T" in request.given:
        options["steps"] = request.steps
    if (sampler := asked.sampler) is not None:
        options["sampler"] = sampler
    return design(
        model,
        plan,
        n=count,
        symmetry=request.symmetry,
        partial=asked.time,
        seed=flags.seed or 0,
        first=first,
        progress=False,
        **options,
    )


def _folder(asked: _Asked) -> Path:
    if asked.flags.out is not None:
        return Path(asked.flags.out)
    if "inference.output_prefix" in asked.request.given:
        return Path(asked.request.prefix)
    from langevin.folders import fresh

    return fresh(Path("runs"), Path(asked.flags.model or _MODEL).name)


def _earlier(out: Path, asked: _Asked) -> bool:
    """Whether the folder holds designs of this request.

    Raises:
        FileExistsError: it holds something else.
    """
    from langevin.folders import read_text
    from langevin.modalities.samples import MANIFEST

    if not (out / REQUEST).exists():
        if (out / MANIFEST).exists() or out.is_file():
            raise FileExistsError(f"{out} holds other samples; choose another folder")
        return False
    try:
        found = json.loads(read_text(out, REQUEST, limit=1 << 20))
    except ValueError:
        found = None
    if found != asked.plain():
        raise FileExistsError(
            f"{out} holds designs of another request ({REQUEST}); choose another folder, or ask for the same"
        )
    return True


def _continued(model: Any, out: Path, earlier: bool) -> Samples | None:
    """The designs that are in the folder already, as samples."""
    from langevin.modalities.samples import MANIFEST

    if not earlier or not (out / MANIFEST).exists():
        return None
    from langevin.modalities.protein.rereading import reread

    return reread(model.modality, out)


command = Command(
    "design",
    "design proteins: motifs, binders, symmetric assemblies, variations",
    "CONTIG",
    DesignFlags,
    _read,
    _run,
    """A contig names residues to keep (A10-25, A100) and lengths to build (30, 5-15), with '/' between them and '/0 '
between chains; `langevin plan` says what it means. Settings of RFdiffusion are taken as well, name=value.
A folder that holds designs of the same request is continued: -n is what there is to be in the end.

for example:
  langevin design 80-100 -n 8 --seed 0 --out runs/free
  langevin design "10-40/A163-181/10-40" --input 5TPN.pdb -n 100 --out runs/scaffolds
  langevin design "60/0 B1-70" --input target.pdb --hotspots B30,B33 --potential type:hotspot_ncontacts
  langevin design 180 --symmetry C3
  langevin design --fold scaffold.pdb -n 20
  langevin design 'contigmap.contigs=[79-79]' inference.input_pdb=2KL8.pdb diffuser.partial_T=10 diffuser.T=50
""",
)
