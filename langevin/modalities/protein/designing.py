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
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langevin.modalities.base import Command
from langevin.modalities.protein.planning import OF_FLAG, ContigFlags, flag, requested

if TYPE_CHECKING:
    from langevin.modalities.base import Samples
    from langevin.modalities.protein.rfdiffusion import Request

__all__ = ["REQUEST", "DesignFlags", "command"]

REQUEST = "request.json"
_MODEL, _COUNT, _BATCH = "protein-backbone", 10, 4
_NOISE = {"positions": "denoiser.noise_scale_ca", "frames": "denoiser.noise_scale_frame"}
_DOUBLES = {  # settings of RFdiffusion that say the same as a flag; those of contigs are in OF_FLAG
    "n": ("inference.num_designs",),
    "out": ("inference.output_prefix",),
    "partial": ("diffuser.partial_T",),
    "steps": ("diffuser.T", "diffuser.partial_T"),
    "noise_scale": tuple(_NOISE.values()),
    "potential": ("potentials.guiding_potentials",),
    "guide_scale": ("potentials.guide_scale",),
    "guide_decay": ("potentials.guide_decay",),
}
_BESIDE_A_FOLD = "does not go with --fold, whose designs are one chain and built whole; leave it out"
# what is no part of a request: the flags and settings that change no design, and names of files, whose content is
_ELSEWHERE = ("n", "out", "format", "device", "batch_size", "json")
_NAMES_ELSEWHERE = ("inference.num_designs", "inference.output_prefix", "inference.input_pdb")
_PATHS = ("input", "fold")


@dataclass(frozen=True)
class DesignFlags(ContigFlags):
    """The flags of ``langevin design``."""

    model: str | None = flag(f"a shipped model or a folder ({_MODEL})")
    n: int | None = flag(
        f"how many designs ({_COUNT}); more than there are in --out: the rest", short=("-n",)
    )
    out: str | None = flag("where to write (a new folder under runs/)")
    seed: int | None = flag("of the random stream (0); lengths are drawn from it, too")
    secondary: str | None = flag("of the design, a letter for each residue: H, E, -, X where it is open")
    fold: str | None = flag("a structure, or a .json, whose secondary structure and adjacency designs have")
    partial: float | None = flag("partial diffusion: the time from 0 to 1 to which the input is noised")
    free: str | None = flag(
        "kept stretches that lie where the run puts them: each, or bodies of them, A10-25;A60-72,B1-5"
    )
    potential: tuple[str, ...] | None = flag(
        "a guiding potential, type:monomer_ROG,weight:1; may be repeated"
    )
    guide_scale: float | None = flag("of the potentials (2; of RFdiffusion's settings 10)")
    guide_decay: Literal["constant", "linear", "quadratic", "cubic"] | None = flag(
        "of the potentials with time (quadratic; of RFdiffusion's settings constant)"
    )
    steps: int | None = flag("solver steps (the model's own)")
    noise_scale: float | None = flag("of the sampler's noise, from 0 to 1 (the model's own sampler)")
    repulsion: float | None = flag(
        "force that moves overlapping residues apart, 0 for none (the model's own)"
    )
    clearance: float | None = flag(
        "Å of CA that chains built whole keep from others (5); 0 leaves them where they are drawn"
    )
    format: Literal["pdb", "cif"] | None = flag("of the files (pdb, or that of the designs in --out)")
    batch_size: int | None = flag(
        f"designs at a time, after which they are written ({_BATCH}); changes no design but for rounding"
    )
    device: str | None = flag("cpu, cuda, cuda:N or mps (the best there is)")
    json: bool | None = flag("print one JSON object instead of paths")


@dataclass(frozen=True)
class _Asked:
    request: Request
    flags: DesignFlags

    @property
    def count(self) -> int:
        said = "inference.num_designs" in self.request.given
        return self.flags.n or (self.request.designs if said else _COUNT)

    @property
    def seed(self) -> int:
        return self.flags.seed or 0

    @property
    def time(self) -> float | None:
        """Of partial diffusion."""
        return self.flags.partial if self.flags.partial is not None else self.request.time

    def plain(self) -> dict[str, Any]:
        """The request as JSON: what a design depends on, and the names of its files for people."""
        from langevin import hub
        from langevin.folders import CONFIG, WEIGHTS

        name = self.flags.model or _MODEL
        apart = (*_ELSEWHERE, *OF_FLAG)  # the latter are among the settings
        own = {f.name: getattr(self.flags, f.name) for f in fields(self.flags) if f.name not in apart}
        told: dict[str, Any] = {
            **{name: value for name, value in own.items() if value is not None},
            "model": Path(name).name,
            "model_sha256": [_digest(hub.find(name) / part) for part in (CONFIG, WEIGHTS)],
            "seed": self.seed,
            "settings": {k: v for k, v in self.request.given.items() if k not in _NAMES_ELSEWHERE},
        }
        for what, path in (("input", self.request.input), ("fold", self.flags.fold)):
            if path is not None:
                told |= {what: path, f"{what}_sha256": _digest(Path(path))}
        return json.loads(json.dumps(told))  # type: ignore[no-any-return]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(words: Sequence[str], flags: DesignFlags) -> _Asked:
    """Raises ValueError: what ``langevin plan`` refuses, numbers that cannot be, or a model that there is not."""
    from langevin import hub

    if flags.secondary is not None and not re.fullmatch("[HEX-]*", flags.secondary):
        raise ValueError(f"--secondary has the letters H, E, - and X, got {flags.secondary!r}")
    for name, least in (("n", 1), ("steps", 1), ("batch_size", 1)):
        value = getattr(flags, name)
        if value is not None and value < least:
            raise ValueError(f"{_spelt(name)}: expected a whole number from {least}, got {value}")
    if flags.partial is not None and not 0 < flags.partial <= 1:
        raise ValueError(f"--partial is a time above 0 and up to 1, got {flags.partial}")
    for name in ("noise_scale", "guide_scale", "repulsion", "clearance"):
        value = getattr(flags, name)
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"{_spelt(name)}: expected a number from 0, got {value}")
    if flags.clearance is not None:
        from langevin.modalities.protein.docking import LARGEST

        if flags.clearance > LARGEST:
            raise ValueError(f"--clearance is in Å, from 0 to {LARGEST:g}, got {flags.clearance:g}")
    if flags.fold is not None:
        if not Path(flags.fold).is_file():
            raise ValueError(f"--fold: there is no file {flags.fold!r}")
        for name in (*OF_FLAG, "secondary", "partial", "free"):
            if getattr(flags, name) is not None:
                raise ValueError(f"{_spelt(name)} {_BESIDE_A_FOLD}")
    request = requested(words, flags, "design", flags.partial is not None, flags.fold is not None)
    _check(request, flags)
    try:
        hub.info(flags.model or _MODEL)
    except hub.UnknownModel as error:
        raise ValueError(f"--model: {error}") from None
    return _Asked(request, flags)


def _check(request: Request, flags: DesignFlags) -> None:
    """ValueError for what settings cannot say, alone or beside the flags."""
    kept = request.contig.motifs if request.contig is not None else ()
    if flags.fold is not None:
        if kept:
            raise ValueError(f"a contig that keeps {kept[0]} {_BESIDE_A_FOLD}")
        for full in (*OF_FLAG.values(), "diffuser.partial_T"):
            if full in request.given:
                raise ValueError(f"{full} {_BESIDE_A_FOLD}")
    for name, doubles in _DOUBLES.items():
        for full in doubles:
            if getattr(flags, name) is not None and full in request.given:
                raise ValueError(f"{_spelt(name)} and {full} are the same; give one")
    if request.cyclic:
        raise ValueError("inference.cyclic: chains that close on themselves are not drawn; leave it out")
    if request.input is None:
        if kept:
            raise ValueError(f"the contig keeps {kept[0]} of an input; name its file with --input")
        if request.partial_steps is not None:
            raise ValueError("partial diffusion begins with an input; name its file with --input")


def _spelt(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _run(asked: _Asked) -> str:
    """The paths, or one JSON object.

    Raises:
        ValueError: what does not fit the input, or the model is not one of proteins.
        FileExistsError: the folder holds designs of another request, or files that stand in the way.
    """
    import langevin
    from langevin.core.progress import bar
    from langevin.folders import write_atomic
    from langevin.modalities.base import Failure
    from langevin.modalities.protein.modality import ProteinModality
    from langevin.modalities.protein.rereading import reread
    from langevin.modalities.slugs import file_name

    out, told = _folder(asked), asked.plain()
    earlier = _earlier(out, told)
    suffix = _suffix(out, earlier, asked.flags.format)
    first, total = asked.request.first, asked.count
    plan = None
    if asked.request.contig is not None:
        plan = asked.request.plan(_protein(asked), asked.flags.numbering or "input")
    if plan is not None and suffix == ".pdb":
        _check_chains(plan, asked)
    done = 0 if earlier is None else len(earlier["samples"])
    _check_names(out, earlier, [file_name(first + k, asked.seed, {}, suffix) for k in range(done, total)])
    model = langevin.load(asked.flags.model or _MODEL, device=asked.flags.device)
    if not isinstance(model.modality, ProteinModality):
        raise ValueError(
            f"{asked.flags.model} is a model of {model.modality.name}; designs need one of proteins"
        )
    options = _options(model, asked)
    made = None if earlier is None else reread(model.modality, out)
    size = asked.flags.batch_size or _BATCH
    starts = range(done, total, size)
    paths: list[Path] = []
    for start in bar(starts, len(starts), f"designs, {size} at a time"):
        new = _drawn(model, plan, asked, options, first + start, min(size, total - start))
        made = new if made is None else made.joined([new])
        # templates differ from batch to batch; what was asked for stands in the request, and of each in designs.json
        rest = {k: v for k, v in made.run.options.items() if k not in ("like", "keep", "start")}
        made.run = replace(made.run, options={**rest, "request": REQUEST})
        if not (out / REQUEST).exists():  # only now: a request that fails has no folder
            out.mkdir(parents=True, exist_ok=True)
            write_atomic(out / REQUEST, json.dumps(told, indent=1) + "\n")
        paths = made.save(out, overwrite=True, suffix=suffix)
    if earlier is not None and not paths:
        files = [entry["file"] for entry in earlier["samples"] if entry["file"]]
        paths = [out / name for name in (*files, *earlier.get("files", ()))]
    failures = [item.reason for item in made or () if isinstance(item, Failure)]
    if asked.flags.json:
        return json.dumps({"out": str(out), "files": [str(path) for path in paths], "failures": failures})
    return "\n".join([*map(str, paths), *(f"failed: {reason}" for reason in failures)])


def _protein(asked: _Asked) -> Any:
    if asked.request.input is None:
        return None
    from langevin.modalities.protein.files import read_protein

    return read_protein(asked.request.input)


def _options(model: Any, asked: _Asked) -> dict[str, Any]:
    """What is said of the drawing by flags, else by settings; what neither says is left to the defaults.

    Raises:
        ValueError: noise of a leaf that the model does not have.
    """
    request, flags = asked.request, asked.flags
    drawing = ("guide_scale", "guide_decay", "secondary", "fold", "free", "steps", "repulsion", "clearance")
    own = ("potentials", *drawing)
    of_flags = {name: getattr(flags, "potential" if name == "potentials" else name) for name in own}
    options = {name: value for name, value in of_flags.items() if value is not None}
    if request.potentials:
        options["potentials"] = request.potentials
    more = ("guide_scale", "guide_decay", "olig_intra_all", "olig_inter_all", "olig_custom_contact")
    for name in more:  # beside RFdiffusion's potentials with its defaults
        if name not in options and (request.potentials or f"potentials.{name}" in request.given):
            options[name] = getattr(request, name)
    if "diffuser.partial_T" in request.given:
        options["steps"] = request.partial_steps
    elif "diffuser.T" in request.given:
        options["steps"] = request.steps
    if (scale := _noise_scale(model, asked)) is not None:
        from langevin.core.samplers import Single

        options["sampler"] = Single(1.0, scale)
    return options


def _noise_scale(model: Any, asked: _Asked) -> float | dict[str, float] | None:
    """Of the sampler, as asked; None for the model's own sampler."""
    from langevin.modalities.protein.rfdiffusion import NAMES

    given = {leaf: full for leaf, full in _NOISE.items() if full in asked.request.given}
    if asked.flags.noise_scale is not None or not given:
        return asked.flags.noise_scale
    scales = {
        leaf: getattr(asked.request, NAMES[full][0])
        for leaf, full in given.items()
        if leaf in model.process.leaves  # a trace has no frames
    }
    if not scales:
        (leaf, full), *_ = given.items()
        raise ValueError(f"{full}: {asked.flags.model} is a model without {leaf}; leave it out")
    return scales


def _drawn(model: Any, plan: Any, asked: _Asked, options: dict[str, Any], first: int, count: int) -> Samples:
    from langevin.modalities.protein.design import design

    return design(
        model,
        plan,
        n=count,
        symmetry=asked.request.symmetry,
        partial=asked.time,
        seed=asked.seed,
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


def _earlier(out: Path, told: dict[str, Any]) -> dict[str, Any] | None:
    """What ``samples.json`` says, where the folder holds designs of this request.

    Raises:
        FileExistsError: it holds something else.
    """
    from langevin.folders import read_text
    from langevin.modalities.samples import MANIFEST, read_manifest

    if not (out / REQUEST).exists():
        if (out / MANIFEST).exists() or out.is_file():
            raise FileExistsError(f"{out} holds other samples; choose another folder")
        return None
    try:
        found = json.loads(read_text(out, REQUEST, limit=1 << 20))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or _content(found) != _content(told):
        raise FileExistsError(
            f"{out} holds designs of another request ({REQUEST}); choose another folder, or ask for the same"
        )
    return read_manifest(out) if (out / MANIFEST).exists() else None


def _content(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in _PATHS}


def _suffix(out: Path, earlier: dict[str, Any] | None, asked: str | None) -> str:
    """Of the files: as asked for, or as those in the folder have it.

    Raises:
        FileExistsError: these are different.
    """
    listed = [entry["file"] for entry in (earlier or {"samples": ()})["samples"] if entry["file"]]
    if not listed:
        return f".{asked or 'pdb'}"
    there = Path(listed[0]).suffix
    if asked is not None and f".{asked}" != there:
        raise FileExistsError(
            f"{out} holds designs as {there} files; leave out --format to go on, or choose another folder"
        )
    return there


def _check_chains(plan: Any, asked: _Asked) -> None:
    """ValueError where PDB files cannot name the chains of the designs."""
    from langevin.modalities.protein.design import planned
    from langevin.modalities.protein.symmetry import group
    from langevin.modalities.protein.writing import check_chains

    symmetry = asked.request.symmetry
    turns = None if symmetry is None else group(symmetry).double().numpy()
    (one,) = planned(plan, 1, asked.seed, asked.request.first, copies=turns)
    try:
        check_chains(list(dict.fromkeys(one.chains.tolist())))
    except ValueError as error:
        raise ValueError(f"{error}, with --format cif") from None


def _check_names(out: Path, earlier: dict[str, Any] | None, new: Sequence[str]) -> None:
    """FileExistsError where a file that no list has bears a name that will be written."""
    from langevin.modalities.protein.records import NAMES

    known = (earlier or {}).get("files", ())
    for name in (*new, *(name for name in NAMES if name not in known)) if new else ():
        if (out / name).exists():
            raise FileExistsError(
                f"{out / name} is there already and belongs to no samples.json, as files of a run that was cut off; "
                "delete it, or choose another folder"
            )


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
  langevin design "60/0 B1-70" --input target.pdb --hotspots B30,B33
  langevin design 180 --symmetry C3
  langevin design --fold scaffold.pdb -n 20
  langevin design 'contigmap.contigs=[79-79]' inference.input_pdb=2KL8.pdb diffuser.partial_T=10 diffuser.T=50
""",
)
