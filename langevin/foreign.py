"""Folders of networks as diffusers and transformers wrote them, read as data. Nothing is downloaded, no pickle is read.

    config.json          what the network is; at most 1 MiB
    *.safetensors        its weights: one file, of a variant such as fp16 where there is no other

Files must be regular and lie inside the folder, links included; in a cache of the hub, snapshots/ may link to the blobs/
beside it. Nothing else in the folder may lead a library to files that nobody has looked at (an index of shards, the
configuration of an adapter). A configuration that asks for more layers or for more numbers than the weights hold is refused
before anything is allocated; and every weight must have been read, or the error names those that were not.

The caller names the classes that it takes: what a configuration says is looked up among these alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langevin.core.errors import unknown
from langevin.folders import FolderError

__all__ = [
    "inside",
    "load",
    "network",
    "part",
    "read_config",
    "require_class",
    "require_fit",
    "require_inside",
    "require_plausible",
    "weights",
]

CONFIG = "config.json"
JSON_BYTES = 1 << 20
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LAYERS = ("layers", "blocks")  # parts of the names of settings that say how many of something there are
SLACK = 2  # tied weights are held once, and may be counted twice
HARMLESS = (
    1 << 26
)  # numbers that may be allocated in vain, so that the report can name a weight of another shape


def part(folder: str | Path, name: str) -> Path:
    """The folder of a network itself: of a pipeline's, its part of that name.

    Raises:
        FolderError: no such folder, or a part that is a link out of it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FolderError(f"there is no folder {str(folder)!r}")
    if (folder / CONFIG).exists() or not (folder / name).is_dir():
        return folder
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise FolderError(f"{folder / name} is a link that leads out of the folder")
    return folder / name


def inside(folder: Path, name: str) -> Path:
    """A regular file of a folder.

    Raises:
        FolderError: there is none, or it is a link that leads out of the folder.
    """
    try:
        path, home = (folder / name).resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise FolderError(f"{folder / name}: {error}") from None
    blobs = [parent.parent / "blobs" for parent in home.parents if parent.name == "snapshots"]
    if not path.is_file():
        raise FolderError(f"{folder} has no {name}")
    if not any(path.is_relative_to(place) for place in (home, *blobs)):
        raise FolderError(f"{folder / name} is a link that leads out of the folder")
    return path


def require_inside(folder: Path) -> None:
    """Refuses a folder with any file outside it, for libraries that choose by themselves what they read.

    Raises:
        FolderError: a link that leads out of the folder.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file():
            inside(folder, path.name)


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says.

    Raises:
        FolderError: no such folder, no such file, no mapping in it, or quantised weights.
    """
    if not folder.is_dir():
        raise FolderError(f"there is no folder {str(folder)!r}")
    config = _json(folder, CONFIG)
    if config.get("quantization_config") is not None:
        raise FolderError(f"{folder}: the weights are quantised, which is not read: save them whole")
    return config


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = inside(folder, name)
    if path.stat().st_size > JSON_BYTES:
        raise FolderError(f"{folder}: {name} is larger than {JSON_BYTES} bytes")
    try:
        tree = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{folder}: {name} cannot be read: {str(error)[:120]}") from None
    if not isinstance(tree, dict):
        raise FolderError(f"{folder}: {name} holds no mapping but a {type(tree).__name__}")
    return tree


def require_class(folder: Path, config: Mapping[str, Any], what: str, allowed: Sequence[str]) -> str:
    """The class of a configuration, one of those that are allowed.

    Args:
        folder: for the message.
        config: of diffusers, with ``_class_name``; or of transformers, with one of ``architectures``.
        what: what the classes are, for the message.
        allowed: names of classes.

    Raises:
        FolderError: another class, or none.
    """
    named = config.get("_class_name")
    if "architectures" in config:
        listed = config["architectures"]
        named = listed[0] if isinstance(listed, list) and len(listed) == 1 else listed
    if not isinstance(named, str) or named not in allowed:
        raise FolderError(f"{folder}: {unknown(what, named, allowed)}")
    return named


def weights(folder: Path, stem: str) -> Path:
    """The one file of weights in a folder, its name as it stands there.

    Args:
        folder: to look in.
        stem: of the name, as "model"; ``stem.safetensors``, else the only ``stem.VARIANT.safetensors``.

    Raises:
        FolderError: none, several, pickles in place of it, a link out of the folder, or a file beside it that would lead
            to others.
    """
    whole = f"{stem}.safetensors"
    if (folder / whole).exists():
        path = folder / whole
    else:
        found = sorted(folder.glob(f"{stem}.*.safetensors"))
        if len(found) != 1 or found[0].name.count(".") != 2:
            raise FolderError(_absent(folder, stem))
        path = found[0]
    inside(folder, path.name)
    for other in sorted(folder.iterdir()):  # diffusers and transformers prefer what these name
        if other.name.endswith(".index.json") or other.name == "adapter_config.json":
            raise FolderError(f"{folder} has {other.name}; weights are read from {path.name} alone")
    return path


def _absent(folder: Path, stem: str) -> str:
    whole = f"{stem}.safetensors"
    if list(folder.glob(f"{stem}*.safetensors")):
        return f"{folder} has its weights in several files; save one {whole}"
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    held = f"; {pickles[0]} is a pickle, which could run anything" if pickles else ""
    return f"{folder} has no {whole}{held}; pickled weights are not read: convert them"


def _shards(folder: Path, stem: str) -> list[Path]:
    """The files of weights in a folder: one, or those that its index names."""
    index = f"{stem}.safetensors.index.json"
    if (folder / f"{stem}.safetensors").exists() or not (folder / index).exists():
        return [weights(folder, stem)]
    if (folder / "adapter_config.json").exists():
        raise FolderError(f"{folder} has adapter_config.json; weights are read from its own files alone")
    named = _json(folder, index).get("weight_map")
    names = set(map(str, named.values())) if isinstance(named, dict) else set()
    for name in names:
        if not name.endswith(".safetensors") or Path(name).name != name:
            raise FolderError(
                f"{folder}: {index} names {name[:80]!r}, which is no safetensors of this folder"
            )
        inside(folder, name)
    if not names:
        raise FolderError(f"{folder}: {index} names no files")
    return [folder / name for name in sorted(names)]


def _sizes(files: Sequence[Path]) -> Iterator[int]:
    """How many numbers each tensor of some files has."""
    from safetensors import SafetensorError, safe_open

    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    yield math.prod(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise FolderError(f"{path}: {error}") from None


def require_plausible(folder: Path, config: Mapping[str, Any], held: int) -> None:
    """Refuses a configuration that asks for more layers than there are tensors, which could take hours to build.

    Args:
        folder: for the message.
        config: numbers of layers and of blocks are looked at, and how long lists are, in nested settings, too.
        held: tensors of the weights.

    Raises:
        FolderError: more layers than tensors.
    """
    for name, value in config.items():
        if isinstance(value, Mapping):
            require_plausible(folder, value, held)
        elif not name.startswith("latents_"):  # statistics, one for each channel
            counted = any(word in name for word in LAYERS)
            if any(n > held for n in _counts(value, counted)):
                raise FolderError(
                    f"{folder}: {name} = {str(value)[:60]} asks for more than {held} weights hold"
                )


def _counts(value: Any, counted: bool) -> Iterator[float]:
    """Lengths of lists, and numbers where these count something."""
    if isinstance(value, list):
        yield len(value)
        for each in value:
            yield from _counts(each, counted)
    elif counted and isinstance(value, (int, float)):
        yield value


def load(
    folder: Path, kind: Any, stem: str, config: Any = None, sharded: bool = False, **options: Any
) -> tuple[Any, Mapping[str, Any]]:
    """The network of a folder and the library's report of what it read.

    Args:
        folder: with config.json.
        kind: a class of diffusers or transformers, whose ``from_pretrained`` reads it.
        stem: of the file of weights.
        config: for an automatic class of transformers, the configuration that it read.
        sharded: the weights may be in several files that an index names.
        options: more keywords of ``from_pretrained``.

    Raises:
        FolderError: a folder that is refused, or one that the library cannot read.
    """
    settings = read_config(folder)
    files = _shards(folder, stem) if sharded else [weights(folder, stem)]
    sizes = list(_sizes(files))
    require_plausible(folder, settings, len(sizes))
    variant = files[0].name.removeprefix(stem).removesuffix("safetensors").strip(".") or None
    if len(files) == 1 and variant is not None:
        options["variant"] = variant
    try:
        asked = _numel(kind, folder, settings if config is None else config)
    except Exception as error:  # of foreign code, which may raise anything at what a file says
        raise FolderError(f"{folder}: {_said(error)}") from None
    if asked > max(HARMLESS, SLACK * sum(sizes)):
        raise FolderError(
            f"{folder}: the weights do not fit config.json: they hold {sum(sizes)} numbers, and the shapes it asks for "
            f"{asked}"
        )
    try:
        return kind.from_pretrained(  # type: ignore[no-any-return]
            str(folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them
            **options,
        )
    except Exception as error:
        raise FolderError(f"{folder}: {_said(error)}") from None


def _numel(kind: Any, folder: Path, config: Any) -> int:
    """How many numbers the network of a configuration has; none of them is allocated."""
    import torch

    with torch.device("meta"):
        if (
            getattr(kind, "config_class", None) is not None
        ):  # of transformers, which knows its part of a larger one's
            empty = kind(kind.config_class.from_pretrained(str(folder), local_files_only=True))
        else:
            empty = kind.from_config(config)
    return sum(parameter.numel() for parameter in empty.parameters())


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


def require_fit(folder: Path, report: Mapping[str, Any], others: bool = False) -> None:
    """Refuses what a library filled in by itself.

    Args:
        folder: for the message.
        report: of :func:`load`.
        others: weights of other networks may be there, too.

    Raises:
        FolderError: weights that are missing, left over or of another shape; the first ones are named.
    """
    kinds = ("missing_keys", "mismatched_keys", *(() if others else ("unexpected_keys",)))
    wrong = [_named(key) for kind in kinds for key in report[kind]]
    if wrong:
        raise FolderError(f"{folder}: the weights do not fit config.json: {', '.join(wrong[:5])}")


def _named(key: Any) -> str:
    """A key of a report; of another shape, with both of them."""
    if isinstance(key, str):
        return key
    name, held, asked = key
    return f"{name} has the shape {tuple(held)} and not {tuple(asked)}"


def network(folder: Path, kind: Any, stem: str, others: bool = False, **options: Any) -> Any:
    """The network of a folder, every weight of it read, in evaluation mode and without gradients.

    Args:
        folder: with config.json, whose class the caller has looked at.
        kind: a class of diffusers or transformers.
        stem: of the file of weights, as "model".
        others: weights of other networks may be there, too.
        options: more keywords of ``from_pretrained``.

    Raises:
        FolderError: as :func:`load` and :func:`require_fit`.
    """
    made, report = load(folder, kind, stem, **options)
    require_fit(folder, report, others)
    return made.requires_grad_(False).eval()
