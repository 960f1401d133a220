"""``langevin doctor``: what this installation is made of, what works in it, how to mend the rest."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langevin import __version__, folders, hub, optional
from langevin.cli.arguments import Parser
from langevin.modalities.plugins import plugins

__all__ = ["Finding", "examine", "run"]

NEEDED = ("torch", "einops", "numpy", "pyyaml", "safetensors", "pillow", "tqdm")
DISK_GIB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: "ok"; "note", worth knowing; "bad", something that ought to work does not.
        what: what was looked at.
        says: what was found, and what to do.
    """

    state: str
    what: str
    says: str


def run(argv: Sequence[str]) -> int:
    """Print the findings; the exit code is 1 where one of them is bad."""
    parser = Parser(prog="langevin doctor", description="Check this installation.")
    parser.add_argument("--json", action="store_true", help="print a list of findings")
    args = parser.parse(argv)
    findings = []
    for finding in examine():
        findings.append(finding)
        if not args.json:
            print(f"{finding.state:<4}  {finding.what:<14}  {finding.says}", flush=True)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=1))
    bad = sum(finding.state == "bad" for finding in findings)
    if not args.json:
        print(f"\n{bad} to be mended" if bad else "\nall is well")
    return 1 if bad else 0


def examine() -> Iterator[Finding]:
    """Every check, in order; each is yielded as soon as it is made."""
    yield Finding("ok", "langevin", f"{__version__} in {Path(__file__).parents[1]}")
    sound = sys.version_info >= (3, 11)
    says = f"{platform.python_version()} on {platform.platform()}"
    yield Finding("ok" if sound else "bad", "python", says if sound else f"{says}; 3.11 or newer is needed")
    yield from _packages()
    yield from _torch()
    yield _torchaudio()
    yield from _imports()
    yield _disk()
    yield from _programs()
    yield Finding("ok", "modalities", ", ".join(sorted(plugins())))
    yield from _models()


def _packages() -> Iterator[Finding]:
    versions = optional.status()
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding("ok", "packages", there)
    for name, version in versions.items():
        if version is None:
            needed = name in NEEDED
            says = f"not installed; {'' if needed else 'where needed: '}{optional.install(name)}"
            yield Finding("bad" if needed else "note", name, says)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("bad", "torch", f"cannot be imported: {error}")
        return
    devices = [f"cpu ({os.cpu_count()} cores)"]
    for k in range(torch.cuda.device_count()):
        gib = torch.cuda.get_device_properties(k).total_memory / 2**30
        devices.append(f"cuda:{k} ({torch.cuda.get_device_name(k)}, {gib:.0f} GiB)")
    if torch.backends.mps.is_available():
        devices.append("mps")
    yield Finding("ok", "devices", ", ".join(devices))
    # older releases of torch cannot say
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if able:
        fast = [name for name in ("avx512_bf16", "amx_bf16", "bf16") if able.get(name)]
        says = f"fast on this CPU ({', '.join(fast)})" if fast else "not faster than float32 on this CPU"
        yield Finding("ok", "bfloat16", says)
    threads, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    says = f"{threads} for torch; OMP_NUM_THREADS is {variable or 'not set'}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    over = threads > cores
    yield Finding(
        "note" if over else "ok", "threads", f"{says}; more than the {cores} cores" if over else says
    )


def _torchaudio() -> Finding:
    state = optional.mend_torchaudio()
    if state == "python-only":
        reason = (optional.torchaudio_reason() or "").splitlines()[0]
        says = (
            f"its compiled part does not load beside this torch ({reason}); langevin works without it: "
            "spectrograms and resampling run, forced alignment does not"
        )
        return Finding("note", "torchaudio", says)
    if state == "broken":
        return Finding(
            "bad", "torchaudio", "cannot be imported; pip uninstall torchaudio, or install torch's own build"
        )
    return Finding("ok" if state == "native" else "note", "torchaudio", state)


def _imports() -> Iterator[Finding]:
    """transformers and diffusers fail late and in surprising ways; try what the bridge needs of them."""
    versions = optional.status()
    for package, name in ((optional.transformers, "CLIPTextModel"), (optional.diffusers, "DDIMScheduler")):
        if versions[package.distribution] is None:
            continue
        try:
            getattr(package(), name)
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            yield Finding(
                "bad", package.distribution, f"{name} cannot be imported: {str(error).splitlines()[0]}"
            )
        else:
            yield Finding("ok", package.distribution, f"{name} imports")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    says = f"{free:.1f} GiB free in {Path.cwd()}"
    return Finding("ok" if free > DISK_GIB else "note", "disk", says)


def _programs() -> Iterator[Finding]:
    for program, use in (
        ("chromium", "page tests open a browser"),
        ("ffmpeg", "not needed: PyAV brings its own"),
    ):
        path = shutil.which(program)
        yield Finding("ok" if path else "note", program, path or f"not on the PATH ({use})")


def _models() -> Iterator[Finding]:
    names = hub.names()
    if not names:
        yield Finding("note", "models", f"none ship with this installation ({hub.SHIPPED})")
    for name in names:
        try:
            info = hub.info(name)
            folders.read_card(info.path)
            folders.read_weights(info.path)
        except (folders.FolderError, ImportError) as error:
            yield Finding("bad", name, str(error))
        else:
            yield Finding("ok", name, f"intact, {info.parameters / 1e6:.1f} M parameters, {info.licence}")
