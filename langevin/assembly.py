"""Models from configurations and back: the one place where plain trees become modality, network and model.

name, summary, licence, attribution        what it is and whose
modality: {name, …}                        its codec, process and conditions
network: {name: dit, …}                    the backbone
parametrisation, objective, drop           what it is trained for
sampling: {sampler, grid, steps, guidance, temperature, lag, recall, density}    defaults of model.sample
training: {…}                              how it was trained, for the record
"""

from __future__ import annotations

import contextlib
import copy
import math
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from langevin import folders, names
from langevin.core import catalogue
from langevin.core.errors import unknown
from langevin.core.grids import GRIDS, lagged
from langevin.core.guidance import Temperature
from langevin.core.losses import Objective
from langevin.core.model import Model
from langevin.core.network import Network
from langevin.core.parametrisations import PARAMETRISATIONS
from langevin.core.registry import BuildError, Registry, build
from langevin.core.samplers.presets import PRESETS
from langevin.modalities.base import Modality
from langevin.modalities.plugins import modality_of

__all__ = ["build_model", "load_model", "pick_device", "save_model"]

_SAMPLING = ("sampler", "grid", "steps", "guidance", "temperature", "lag", "recall", "density")
_MOST_STEPS = 100_000
_LARGER = "it describes a larger network than there are weights for"
_PARTS = {
    "autoencoder": "an autoencoder, which a model uses as its codec",
    "vocoder": "a vocoder, which a model uses in its codec",
}

# what a run of training leaves beside the part that it made
_LEFT = shutil.ignore_patterns(
    "checkpoint*.safetensors", "snapshots*", "log.csv", "tensorboard", "samples-*.png", ".*"
)

OBJECTIVES = Registry("objective", Objective)
OBJECTIVES.register("objective")(Objective)


def build_model(config: Mapping[str, Any], seed: int = 0) -> Model:
    """An untrained model from a plain tree.

    Args:
        config: as this module's page lists.
        seed: of the initial weights.

    Raises:
        BuildError: a key or name that is not known, with the nearest that is, or an argument that is refused.
    """
    _check(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modality = modality_of(config["modality"])
        return _assembled(config, modality, modality.conditions, _objective(config))


def _assembled(
    config: Mapping[str, Any], modality: Any, conditions: Mapping[str, Any], objective: Objective
) -> Model:
    """The model around a modality; only learned parameters are made here."""
    backbone = build(catalogue.BACKBONES, config["network"])
    network = Network(modality, backbone, conditions, modality.clocks, objective.recall > 0)
    parametrisation = config.get("parametrisation", "velocity")
    by_leaf = parametrisation if isinstance(parametrisation, Mapping) else {}
    for leaf in by_leaf:
        if leaf not in modality.process.leaves:
            raise BuildError(f"parametrisation: {unknown('leaf', leaf, modality.process.leaves)}")
    if not by_leaf and parametrisation not in PARAMETRISATIONS:
        raise BuildError(unknown("parametrisation", parametrisation, PARAMETRISATIONS))
    for leaf, kind in by_leaf.items():
        allowed = modality.process.leaves[leaf].parametrisations
        if kind is not None and kind not in allowed:
            raise BuildError(unknown(f"parametrisation of {leaf}", kind, allowed))
    _check_targets(objective, modality.process)
    if objective.auxiliary and type(modality).auxiliary is Modality.auxiliary:
        raise BuildError(
            f"objective: the modality {modality.name} has no auxiliary loss; leave auxiliary at 0"
        )
    sampling = config.get("sampling") or {}
    if sampling.get("recall") and not network.recalls:
        raise BuildError(
            "sampling: recall is for models that see their last answer; objective.recall is 0 here"
        )
    try:
        Temperature(sampling.get("temperature", 1.0)).fits(modality.process)
        if not isinstance(sampling.get("lag") or {}, Mapping):
            raise ValueError(f"lag must be times by leaf, got {sampling['lag']!r}")
        lagged([1.0], sampling.get("lag") or {}, modality.process)
    except ValueError as error:
        raise BuildError(f"sampling: {error}") from None
    return Model(
        modality,
        network,
        modality.process,
        parametrisation,
        objective,
        config.get("drop"),
        config.get("sampling"),
        {**config, "conditions": list(modality.conditions)},
    )


def _objective(config: Mapping[str, Any]) -> Objective:
    found: Objective = build(OBJECTIVES, {"name": "objective", **(config.get("objective") or {})})
    return found


def _check_targets(objective: Objective, process: Any) -> None:
    """Whether every leaf has the loss that is asked of it, which else would be found out in training.

    Raises:
        BuildError: one has not.
    """
    try:
        kinds = objective.kinds(process)
    except ValueError as error:
        raise BuildError(f"objective: {error}") from None
    for name, kind in kinds.items():
        if kind is not None and kind not in process.leaves[name].targets:
            of = f" of {name}" if name else ""
            raise BuildError(f"objective: {unknown(f'target{of}', kind, process.leaves[name].targets)}")


def _check(config: Mapping[str, Any]) -> None:
    """Keys of a configuration, and values that nothing else checks before a sample is drawn.

    Raises:
        BuildError: one that is wrong.
    """
    for key in config:
        if key not in names.MODEL:
            raise BuildError(unknown("key of a model", key, names.MODEL))
    for key in ("modality", "network"):
        if key not in config:
            raise BuildError(f"a model needs {key!r}")
        if not isinstance(config[key], (str, Mapping)):
            raise BuildError(f"{key} must be a name or {{name: …}}, got {config[key]!r}")
    for key in ("objective", "drop", "sampling"):
        if not isinstance(config.get(key) or {}, Mapping):
            raise BuildError(f"{key} must be a mapping, got {config[key]!r}")
    network = config["network"] if isinstance(config["network"], Mapping) else {}
    for key in ("width", "heads"):
        if isinstance(network.get(key), int) and network[key] < 1:
            raise BuildError(f"network: {key} must be at least 1, got {network[key]}")
    sampling = {key: value for key, value in (config.get("sampling") or {}).items() if value is not None}
    for key in sampling:
        if key not in _SAMPLING:
            raise BuildError(unknown("key of sampling", key, _SAMPLING))
    sampler, steps = sampling.get("sampler", "angle"), sampling.get("steps", 1)
    if not isinstance(sampler, str) or sampler not in PRESETS:
        raise BuildError(f"sampling: {unknown('sampler', sampler, PRESETS)}")
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= _MOST_STEPS:
        raise BuildError(f"sampling: steps must be a whole number from 1 to {_MOST_STEPS}, got {steps!r}")
    if not _finite(sampling.get("guidance", 1.0)):
        raise BuildError(f"sampling: guidance must be a finite number, got {sampling['guidance']!r}")
    if sampling.get("grid") not in (None, *GRIDS):
        raise BuildError(f"sampling: {unknown('grid', sampling['grid'], GRIDS)}")
    if not _finite(sampling.get("recall", 0.0)) or not 0 <= sampling.get("recall", 0.0) <= 1:
        raise BuildError(f"sampling: recall must be a time from 0 to 1, got {sampling['recall']!r}")
    density = sampling.get("density", [1.0])
    sound = isinstance(density, Sequence) and all(_finite(d) and d >= 0 for d in density)
    if not sound or not math.isfinite(sum(density)) or not sum(density):
        raise BuildError("sampling: density must hold finite numbers of at least 0, not all 0")


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def load_model(path: Path, device: str | None = None, dtype: Any = None) -> Model:
    """The model of a folder, on a device.

    Args:
        path: holds config.yaml and model.safetensors.
        device: the best there is when None.
        dtype: in which the network computes ("float32", "bfloat16" or a torch dtype); float32 when None.

    Raises:
        FolderError: not a sound folder, or weights that do not fit the configuration.
    """
    config = {"name": path.name, **folders.read_config(path)}
    for part, use in _PARTS.items():
        if part in config:
            raise folders.FolderError(f"{path} holds {use}: {{name: …, folder: {path}}}")
    inside = _parts_inside(config, path)
    with _named(path):
        _check(inside)
        _affordable(inside, folders.read_header(path), path)
        model = build_model(inside)
    weights = {k: v.float() if v.is_floating_point() else v for k, v in folders.read_weights(path).items()}
    model.network.load_state_dict(weights)
    model.network.eval().requires_grad_(False)
    return model.to(pick_device(device)).cast(dtype)


def pick_device(name: str | None) -> str:
    """The device asked for, or the best there is.

    Raises:
        ValueError: it is not there.
    """
    if name is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = str(name).split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise ValueError(unknown("device", name, there))
    if not there[kind]:
        raise ValueError(
            f"device {name!r} is not available here; available: {[k for k, ok in there.items() if ok]}"
        )
    return str(name)


def save_model(model: Model, path: Path, card: str | None = None) -> Path:
    """Writes a model folder with the weights in half precision.

    Raises:
        ValueError: the model was not built from a configuration, so that it could not be read back.
    """
    if not {"modality", "network"} <= set(model.config):
        raise ValueError(
            "this model has no configuration to save; build it with langevin.assembly.build_model"
        )
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in model.network.state_dict().items()}
    text = card if card is not None else _card(model)
    config = _parts_copied({k: v for k, v in model.config.items() if v is not None}, path)
    folders.write_model(path, config, tensors, text)
    return path


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """What goes wrong inside comes from a folder's values: a FolderError that names its configuration."""
    try:
        yield
    except (folders.FolderError, ImportError):
        raise
    except Exception as error:  # a stranger's values may meet any check, in any package
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise folders.FolderError(f"{path / folders.CONFIG}: {reason}") from error


def _affordable(config: Mapping[str, Any], entries: Mapping[str, folders.Entry], path: Path) -> None:
    """Refuses a network other than the one whose weights are beside it, before any memory is asked for.

    All that is learned (conditions, backbone, heads) is made on the meta device, where a tensor has a shape and no
    values, and given up as soon as it is larger than the weights; then every name and shape is compared with the header.
    What is not learned (codec, process, tables) is made as it is, and so are conditions with a folder of their own, whose
    widths must be among the sizes in the header.

    Raises:
        FolderError: it is larger, or does not fit.
    """
    node = config["modality"]
    plain = {k: v for k, v in node.items() if k != "conditions"} if isinstance(node, Mapping) else node
    nodes = (node.get("conditions") or {}) if isinstance(node, Mapping) else {}
    modality, objective = modality_of(plain), _objective(config)
    sizes = {size for entry in entries.values() for size in entry.shape}
    parts = {name: each for name, each in nodes.items() if isinstance(each, Mapping) and "folder" in each}
    for each in parts.values():
        if any(isinstance(v, int) and v not in sizes for k, v in each.items() if k.endswith("width")):
            raise folders.FolderError(f"{path / folders.CONFIG}: {_LARGER}")
    made = {name: build(catalogue.CONDITIONS, each) for name, each in parts.items()}
    with _no_more_than(entries), torch.device("meta"):
        made = {name: made.get(name) or build(catalogue.CONDITIONS, each) for name, each in nodes.items()}
        network = _assembled(config, modality, {**modality.conditions, **made}, objective).network
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    stored = {name: entry.shape for name, entry in entries.items()}
    wrong = sorted(name for name in own.keys() | stored.keys() if own.get(name) != stored.get(name))
    if wrong:
        raise folders.FolderError(f"the weights in {path} do not fit its config.yaml: {', '.join(wrong[:4])}")


@contextlib.contextmanager
def _no_more_than(entries: Mapping[str, folders.Entry]) -> Iterator[None]:
    """Inside, this thread makes no more parameters on the meta device than a header declares.

    Raises:
        ValueError: from within, where a parameter is made that is too much.
    """
    here, left = threading.get_ident(), [sum(entry.numel for entry in entries.values()), len(entries)]

    def count(module: Any, name: str, parameter: Any) -> None:
        if parameter is None or not parameter.is_meta or threading.get_ident() != here:
            return
        left[0], left[1] = left[0] - parameter.numel(), left[1] - 1
        if min(left) < 0:
            raise ValueError(_LARGER)

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every dict of a plain tree."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _parts_inside(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration with the folders of its parts (autoencoder, vocoder, text encoder) found below its own.

    Raises:
        FolderError: a part that lies elsewhere: a model from a stranger does not choose what is read here.
    """
    out = copy.deepcopy(dict(config))
    for node in _nodes(out.get("modality")):
        if isinstance(node.get("folder"), str):
            part = (path / node["folder"]).resolve()
            if Path(node["folder"]).is_absolute() or not part.is_relative_to(path.resolve()):
                raise folders.FolderError(
                    f"{path / folders.CONFIG} names a part outside the folder: {node['folder']!r}"
                )
            node["folder"] = str(part)
    return out


def _parts_copied(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration with its parts' folders copied below ``path`` and named relative to it."""
    out = copy.deepcopy(dict(config))
    for i, node in enumerate(
        node for node in _nodes(out.get("modality")) if isinstance(node.get("folder"), str)
    ):
        source, target = Path(node["folder"]), path / "parts" / f"{i}-{node.get('name', 'part')}"
        if source.resolve() != target.resolve() and source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=_LEFT)
        node["folder"] = target.relative_to(path).as_posix()
    return out


def _card(model: Model) -> str:
    """A card with what is known without being told: to be completed by whoever publishes the model."""
    config = model.config
    owed = {key: config.get(key, "not stated") for key in ("licence", "attribution")}
    return (
        f"# {model.name}\n\n{config.get('summary', '')}\n\n"
        f"- parameters: {model.parameters:,}\n- conditions: {', '.join(model.conditions) or 'none'}\n"
        f"- licence: {owed['licence']}\n- attribution: {owed['attribution']}\n"
    )
