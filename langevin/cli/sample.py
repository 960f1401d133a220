"""``langevin sample NAME …``: draws samples, writes native files and samples.json, prints the paths.

Flags come in four groups: those here, one for each condition of the model (``--prompt``, ``--label`` …), one for
each field of its modality's spec (size, seconds, atoms …), and one for each field of its filter, if it has measures. All
are known, and checked, before torch is imported.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langevin import hub, names, prompts
from langevin.cli.arguments import (
    Parser,
    add_fields,
    count,
    device,
    lag,
    one_of,
    positive,
    seed,
    share,
    temperature,
)
from langevin.core.errors import unknown
from langevin.core.values import class_index, finite
from langevin.folders import fresh, read_config
from langevin.modalities import plugins as modalities
from langevin.modalities.samples import MANIFEST, PASSING, described, read_manifest

__all__ = ["run"]

EPILOG = """\
What a model can be conditioned on has a flag of its own; `langevin sample NAME --help` lists them.
The same model, settings, seed and version give the same samples.

  langevin sample image-shapes --prompt "a green star" -n 16 --steps 20 --guidance 4 --seed 0 --out runs/star
  langevin sample image-shapes --start star.png --strength 0.9 --prompt "a red star"

A file has a row for each prompt; its columns are conditions, sizes, seed, n and negative:

  langevin sample image-shapes --prompts prompts.csv --preview now.png --out runs/many

Models whose samples can be measured take --filter, and draw until N samples pass (--draws at most):

  langevin sample molecule-qm9-heavy -n 100 --filter "sound and strain < 20" --must-not "[r3]" --out runs/sound
"""
HOW = ("steps", "sampler", "grid", "guidance", "strength", "temperature", "lag")
ASKED = (*HOW, "evaluations", "negative", "batch_size")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CONDITIONS = {"prompt": "a text, taken verbatim", "label": "a class, by name or number"}


def run(argv: Sequence[str]) -> int:
    """Sample and save; prints one path per line, or one JSON object."""
    known, extra = _parser().parse_known_args([a for a in argv if a not in ("-h", "--help")])
    help_ = any(a in ("-h", "--help") for a in argv)
    if known.model is None:
        parser = _parser()
        if help_:
            parser.parse(argv)
        if extra:
            parser.refuse(extra[0])
        parser.error(f"which model? one of {', '.join(hub.names()) or '(none ships)'}, or a folder")
    try:
        info = hub.info(known.model)
    except hub.UnknownModel as error:
        if extra and not help_:
            _parser().refuse(extra[0])
        _parser().error(str(error))
    parser, spec, asks = _parser_for(info)
    args = parser.parse(argv)
    _check(parser, args, info)
    asked = _check_filter(parser, args, info, asks)
    _check_conditions(parser, info, [{name: getattr(args, f"on_{name}") for name in info.conditions}])
    _check_text(parser, "negative", args.negative)
    rows = _rows(parser, args, info, asked)
    out = Path(args.out) if args.out else fresh(Path("runs"), info.name)
    if not args.overwrite:
        _check_folder(parser, out, args, info, spec, asked, rows)

    import langevin

    suffix = args.format and f".{args.format}"
    model = langevin.load(known.model, device=args.device)
    settings = _settings(args, info, spec, model)
    if args.preview is not None:
        settings["watch"] = langevin.preview(model, args.preview)
    if rows is None and not asked and not args.measure and args.start is None:
        windowed = model.modality.windowed(
            model.modality.spec(**{k: v for k, v in settings.items() if k in spec})
        )
        if windowed:  # to files while they are drawn
            return _tell(args, out, model.stream(args.count, **settings).save(out, args.overwrite, suffix))
    if rows is not None:
        each = {"n": args.count} if "count" in args.flags_given else {}
        samples = langevin.prompts.sample(model, rows, **each, **settings)
    elif asked:
        draws = {} if args.draws is None else {"draws": args.draws}
        samples = model.passing(args.count, **asked, **draws, **settings)
    else:
        samples = model.sample(args.count, **settings)
    if args.measure:
        samples = samples.measured(*args.measure)
    paths = samples.save(out, args.overwrite, suffix)
    failures = [item.reason for item in samples.failures]
    passing = samples.run.options.get("passing")
    share = _share(passing) if passing else None
    _tell(args, out, paths, failures, {"passing": {**passing, "yield": share}} if passing else {})
    if failures:
        print(f"langevin sample: {len(failures)} of {len(samples)} failed: {failures[0]}", file=sys.stderr)
    if passing and share:
        said = f"{share['value']:.1%}, 95 % interval {share['low']:.1%} to {share['high']:.1%}"
        lost = f"; {len(passing['failures'])} could not be decoded" if passing["failures"] else ""
        more = f"; --draws raises the limit of {passing['draws']}" if passing["stopped"] == "draws" else ""
        print(
            f"langevin sample: {passing['passed']} of {passing['drawn']} drawn passed ({said}){lost}{more}",
            file=sys.stderr,
        )
    if passing and passing["stopped"]:
        return 130 if passing["stopped"] == "interrupted" else 1
    return 0 if len(samples.valid) else 1


def _tell(
    args: argparse.Namespace,
    out: Path,
    paths: Sequence[Path],
    failures: Sequence[str] = (),
    more: dict[str, Any] | None = None,
) -> int:
    """Prints the paths, or one object; 0."""
    if args.json:
        told = {"out": str(out), "files": [str(path) for path in paths], "failures": list(failures)}
        print(json.dumps(told | (more or {})))
    else:
        for path in paths:
            print(path)
    return 0


def _share(passing: dict[str, Any]) -> dict[str, float]:
    """The yield with its interval."""
    from langevin.modalities.statistics import wilson

    found = wilson(passing["passed"], passing["drawn"])
    return {"value": found.value, "low": found.low, "high": found.high}


def _parser(
    conditions: Sequence[str] = tuple(CONDITIONS), measured: bool = False, formats: Sequence[str] = ()
) -> Parser:
    """The flags of every model, and those of the given conditions.

    The usual conditions, and the flags of filters, are always parsed, so that the error can say what a model takes
    instead.

    Args:
        conditions: names of those that the model takes.
        formats: of its files, where there are several.
        measured: whether its samples can be filtered by measures; those flags are then left to the caller.
    """
    parser = Parser(prog="langevin sample", epilog=EPILOG, description="Draw samples from a model.")
    parser.add_argument(
        "model", nargs="?", metavar="NAME", help="a shipped model (`langevin models`) or a folder"
    )
    parser.add_argument("-n", dest="count", type=count, default=16, metavar="N", help="how many (16)")
    parser.add_argument("--seed", type=seed, default=0, help="of the random stream (0)")
    parser.add_argument("--out", metavar="DIR", help="where to write (a new folder under runs/)")
    kind: Any = {"type": one_of("format", formats), "help": f"of the files: {', '.join(formats)}"}
    parser.add_argument("--format", metavar="NAME", **(kind if formats else {"help": argparse.SUPPRESS}))
    parser.add_argument("--overwrite", action="store_true", help="replace other samples in DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of paths")
    parser.add_argument("--device", type=device, help="cpu, cuda, cuda:N or mps (the best there is)")
    parser.add_argument("--batch-size", type=count, metavar="N", help="samples at a time; changes no sample")
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="a .csv, .tsv or .txt with a row for each; -n is then for each row (1)",
    )
    parser.add_argument(
        "--preview", metavar="FILE", help="a picture of what is being made, rewritten every second"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--steps", type=count, help="solver steps")
    how.add_argument(
        "--evaluations", type=count, metavar="N", help="or: a budget of network evaluations per sample"
    )
    how.add_argument(
        "--sampler", type=one_of("sampler", names.SAMPLERS), metavar="NAME", help=", ".join(names.SAMPLERS)
    )
    how.add_argument("--grid", type=one_of("grid", names.GRIDS), metavar="NAME", help=", ".join(names.GRIDS))
    how.add_argument(
        "--guidance", type=positive, metavar="SCALE", help="scale of classifier-free guidance; 1 is none"
    )
    how.add_argument(
        "--temperature",
        type=temperature,
        metavar="TAU",
        help="of draws of classes; below 1 the likelier come more often. A number, or one by leaf: elements=0.5,bonds=0.2",
    )
    how.add_argument(
        "--lag",
        type=lag,
        metavar="LEAF=TIME,…",
        help="when the clock of a leaf begins to fall: elements=0.7,bonds=0.7; none: all leaves fall together",
    )
    how.add_argument("--start", metavar="FILE", help="start from this instead of from noise")
    how.add_argument(
        "--strength", type=share, help="with --start: how much of it is noised, from 0 (kept) to 1"
    )
    what = parser.add_argument_group("what")
    for name in dict.fromkeys([*conditions, *CONDITIONS]):
        about = CONDITIONS.get(name) if name in conditions else argparse.SUPPRESS
        what.add_argument(f"--{name.replace('_', '-')}", dest=f"on_{name}", metavar="X", help=about)
    about = "a prompt to be guided away from" if "prompt" in conditions else argparse.SUPPRESS
    what.add_argument("--negative", metavar="TEXT", help=about)
    for name in () if measured else _filters():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, dest=name, action="append", help=argparse.SUPPRESS)
    return parser


def _filters() -> list[str]:
    """Names of the flags that some modality has for filtering."""
    classes = [getattr(found, "filter", None) for found in modalities.plugins().values()]
    own = [f.name for found in classes if found is not None for f in dataclasses.fields(found)]
    return list(dict.fromkeys([*own, "filter", "draws", "measure"]))


def _formats(info: hub.ModelInfo) -> list[str]:
    """Formats in which samples can be written, the usual one first; none where there is one alone."""
    return [suffix[1:] for suffix in getattr(modalities.plugin(info.modality), "written", ())]


def _parser_for(info: hub.ModelInfo) -> tuple[Parser, list[str], list[str]]:
    """The flags of one model, and the names of those that its modality adds: of the spec, and of the filter."""
    found = modalities.plugin(info.modality)
    filter_: Any = getattr(found, "filter", None)
    parser = _parser(info.conditions, filter_ is not None, _formats(info))
    parser.prog = f"langevin sample {info.name}"
    spec = add_fields(parser.add_argument_group(f"size ({info.modality})"), found.spec)  # type: ignore[arg-type]
    if filter_ is None:
        return parser, spec, []
    group: Any = parser.add_argument_group(f"draw until N pass ({info.modality})")
    asks = add_fields(group, filter_)
    group.add_argument(
        "--draws", type=count, metavar="N", help="draw at most so many (20 for each, from 1000)"
    )
    group.add_argument(
        "--measure", action="append", metavar="NAME", help="score every sample by this, too; may be repeated"
    )
    return parser, spec, asks


def _check_filter(
    parser: Parser, args: argparse.Namespace, info: hub.ModelInfo, asks: Sequence[str]
) -> dict[str, Any]:
    """What samples are to pass, by name of the flag; what is no condition is refused before a model is loaded."""
    filter_: Any = getattr(modalities.plugin(info.modality), "filter", None)
    if filter_ is None:
        for name in _filters():
            if getattr(args, name) is not None:
                flag = name.replace("_", "-")
                parser.error(f"samples of {info.modality} have no measures, so {info.name} takes no --{flag}")
        return {}
    given = {name: getattr(args, name) for name in asks if getattr(args, name) is not None}
    if args.draws is not None and not given:
        parser.error("--draws says how many are drawn until enough pass; say with --filter what passes")
    for name in args.measure or ():
        if name not in filter_.measures:
            parser.error(f"--measure: {unknown('measure', name, filter_.measures)}")
    try:
        filter_(**given)
    except ValueError as error:
        parser.error(str(error))
    return given


def _check(parser: Parser, args: argparse.Namespace, info: hub.ModelInfo) -> None:
    for name in CONDITIONS:
        if name not in info.conditions and getattr(args, f"on_{name}") is not None:
            takes = ", ".join(f"--{c.replace('_', '-')}" for c in info.conditions)
            parser.error(
                f"{info.name} takes no --{name}; it {f'takes {takes}' if takes else 'is not conditional'}"
            )
    if args.format is not None and not _formats(info):
        parser.error(f"files of {info.modality} have one format, so {info.name} takes no --format")
    if args.negative is not None and "prompt" not in info.conditions:
        parser.error(f"{info.name} takes no --negative: it has no prompt")
    if args.steps is not None and args.evaluations is not None:
        parser.error("--steps and --evaluations both say how long to go on; give one")
    if args.strength is not None and args.start is None:
        parser.error("--strength says how much of --start is noised; give --start FILE")
    if args.start is not None and not Path(args.start).is_file():
        parser.error(f"--start: there is no file {args.start!r}")
    if args.preview is not None:
        if Path(args.preview).suffix.lower() not in PICTURES:
            parser.error(f"--preview: expected a file of {', '.join(PICTURES)}, got {args.preview!r}")
        if not Path(args.preview).parent.is_dir():
            parser.error(f"--preview: there is no folder {str(Path(args.preview).parent)!r}")


def _rows(
    parser: Parser, args: argparse.Namespace, info: hub.ModelInfo, asked: dict[str, Any]
) -> list[dict[str, Any]] | None:
    """The rows of --prompts, refused before a model is loaded; None without."""
    if args.prompts is None:
        return None
    if asked:
        parser.error("--prompts says how many samples there are, so nothing is drawn until enough pass")
    try:
        rows = prompts.rows_of(args.prompts, info.conditions, modalities.plugin(info.modality).spec)
    except (OSError, ValueError) as error:
        parser.error(f"--prompts: {error}")
    _check_conditions(parser, info, rows, f"--prompts: {args.prompts}: prompt")
    return rows


def _check_text(parser: Parser, name: str, text: str | None) -> None:
    if text is not None and any("\ud800" <= c <= "\udfff" for c in text):
        parser.error(f"--{name.replace('_', '-')}: the text is not UTF-8")


def _check_conditions(
    parser: Parser, info: hub.ModelInfo, rows: Sequence[dict[str, Any]], where: str = ""
) -> None:
    """Refuse what no model would take before one is loaded; the model checks the rest.

    Args:
        parser: that says it.
        info: of the model.
        rows: values of conditions by name; what else they hold is left alone.
        where: what is said before the number of the row; empty for flags.
    """
    modality = read_config(info.path).get("modality")
    found = modality.get("conditions") if isinstance(modality, dict) else None
    kinds = found if isinstance(found, dict) else {}
    nodes = {name: node if isinstance(node, dict) else {} for name, node in kinds.items()}
    for number, row in enumerate(rows, 1):
        for name in info.conditions:
            value, node = row.get(name), nodes.get(name, {})
            if value is None:
                continue
            _check_text(parser, name, value)
            try:
                if node.get("name") == "class" and isinstance(node.get("classes"), (int, list)):
                    class_index(value, node["classes"])
                elif node.get("name") == "number":
                    finite(value)
                elif node.get("name") == "sound" and not Path(value).is_file():
                    raise ValueError(f"there is no file {value!r}")
            except ValueError as error:
                here = f"{where} {number}: {name}" if where else f"--{name.replace('_', '-')}"
                parser.error(f"{here}: {error}")


def _check_folder(
    parser: Parser,
    out: Path,
    args: argparse.Namespace,
    info: hub.ModelInfo,
    spec: Sequence[str],
    asked_to_pass: dict[str, Any],
    rows: list[dict[str, Any]] | None,
) -> None:
    """Refuse a folder with other samples before any work is done; saving checks the rest."""
    if out.exists() and not out.is_dir():
        parser.error(f"--out: {out} is a file")
    if not (out / MANIFEST).exists():
        return
    earlier = read_manifest(out)
    found = {**earlier, **(earlier.get("options") or {})}
    asked: dict[str, Any] = {"seed": args.seed} if rows is None else {}
    asked |= {name: getattr(args, name) for name in HOW if getattr(args, name) is not None}
    if args.lag == {}:
        asked["lag"] = None
    if "negative" in earlier:  # runs of before it was written down are not known to differ
        asked["negative"] = None if args.negative is None else {"prompt": args.negative}
        asked["spec"] = {k: v for k, v in ((k, getattr(args, k)) for k in spec) if v is not None}
    said = {name: getattr(args, f"on_{name}") for name in info.conditions}
    if rows is not None or found.get("prompts"):
        known = found.get("prompts") or {}
        usual = {**said, "negative": args.negative, **{k: getattr(args, k) for k in spec}}
        usual = {k: v for k, v in usual.items() if v is not None}
        for_each = args.count if "count" in args.flags_given else 1
        wanted = {"rows": rows, "seed": args.seed, "n": for_each, "usual": usual}
        wanted["count"] = sum(row.get("n", for_each) for row in rows or ())
        if json.loads(json.dumps(wanted)) != known:
            parser.error(
                f"--out: {out} holds {described(earlier)}; choose another folder, or add --overwrite"
            )
        asked, said = {k: v for k, v in asked.items() if k in HOW}, {}
    passing = found.get("passing") or {}
    suffix = args.format or "".join(_formats(info)[:1])
    same = (
        info.name == Path(str(earlier.get("model"))).name
        and (rows is not None or args.count == passing.get("wanted", len(earlier["samples"])))
        and {k: v for k, v in passing.items() if k not in PASSING} == asked_to_pass
        and all((entry["file"] or suffix).endswith(suffix) for entry in earlier["samples"])
        and all(found.get(name) == value for name, value in asked.items())
        and all(_said(entry, name) == value for entry in earlier["samples"] for name, value in said.items())
    )
    if not same:
        parser.error(f"--out: {out} holds {described(earlier)}; choose another folder, or add --overwrite")


def _settings(
    args: argparse.Namespace, info: hub.ModelInfo, spec: Sequence[str], model: Any
) -> dict[str, Any]:
    """The keywords of ``model.sample``: what was given, nothing else."""
    given = {name: getattr(args, f"on_{name}") for name in info.conditions}
    for name in ASKED:
        given[name] = getattr(args, name)
    for name in spec:
        value = getattr(args, name)
        given[name] = tuple(value) if isinstance(value, list) else value
    if args.start is not None:
        given["start"] = model.modality.read(Path(args.start))
    given = {name: value for name, value in given.items() if value is not None}
    return {**given, "seed": args.seed}


def _said(entry: dict[str, Any], name: str) -> str | None:
    """The condition of a listed sample as a flag has it."""
    value = (entry.get("condition") or {}).get(name)
    return None if value is None else str(value)
