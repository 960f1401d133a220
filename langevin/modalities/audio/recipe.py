"""The model that follows from a set of sounds where the user does not say otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from langevin.core.registry import build
from langevin.modalities.audio.catalogue import CODECS
from langevin.modalities.audio.mel import named, nearest
from langevin.modalities.conditioned import condition_nodes
from langevin.trees import merge

__all__ = ["defaults"]

FITTED = 2000  # items that the statistics of a codec are taken from
DURATION = 10.0  # s, the longest that is asked for by default
TOKENS = 256


def defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration for sounds like those of ``data``: log-mel spectrograms in patches, a DiT that fits, the data's
    conditions. What a codec takes from data (mean and spread of each bin) is taken here.

    Args:
        data: a set of sounds.
        given: keys of a model's configuration that stand as they are; see :func:`langevin.trees.merge`.

    Raises:
        BuildError, ValueError: keys whose values cannot be.
    """
    asked: dict[str, Any] = given["modality"] if isinstance(given.get("modality"), dict) else {}
    rows = np.linspace(0, len(data) - 1, min(len(data), FITTED)).astype(int).tolist()
    first, _ = data.batch(rows[:64])
    rates = [sound.rate for sound in first]
    codec = _codec(asked.get("codec"), max(set(rates), key=rates.count), data, rows)
    made = build(CODECS, codec)
    seconds = getattr(data, "seconds", None) or min(DURATION, float(np.median([s.seconds for s in first])))
    patch = tuple(asked.get("patch") or _patch(made.bins, made.frames(seconds)))
    tokens = max(1, made.bins // patch[0]) * max(1, -(-made.frames(seconds) // patch[1]))
    network = merge(_network(tokens), given.get("network", {}))
    width = network.get("width", 256)
    known = condition_nodes(data, rows, width)
    sound = {"name": "sound", "width": width, "rate": made.rate}
    conditions: dict[str, Any] = {name: dict(known.get(name, sound)) for name in data.conditions}
    modality = {
        "name": "audio",
        "codec": codec,
        "patch": list(patch),
        "process": {"name": "gaussian", "schedule": {"name": "linear"}},
        "conditions": conditions,
        "seconds": round(float(seconds), 6),
    }
    own = {
        "name": "my-sounds",
        "modality": modality,
        "network": network,
        "parametrisation": "velocity",
        "objective": {
            "target": "velocity",
            "times": {"name": "stratified", "base": {"name": "logit-normal", "mean": 0.0, "std": 1.0}},
        },
        "drop": dict.fromkeys(conditions, 0.1),
        "sampling": {"sampler": "angle", "steps": 20, "guidance": 2.0 if conditions else 1.0},
        "licence": getattr(data, "licence", None),
        "attribution": getattr(data, "attribution", None),
    }
    rest = {k: v for k, v in asked.items() if k != "codec"}
    given = {**given, "modality": rest} if asked else given
    both = {**own, **{key: merge(own.get(key), value) for key, value in given.items()}}
    if asked.get("name"):  # a named node would stand in the place of what follows from the data
        both["modality"] = {**modality, **rest}
    return {key: value for key, value in both.items() if value is not None}


def _codec(given: Any, rate: int, data: Any, rows: list[int]) -> dict[str, Any]:
    """A codec's configuration with its statistics, which are taken from the data unless they are given.

    ``spec`` may be the name of a preset, or {preset: name, …} with some fields changed; a vocoder takes its own from it.
    """
    node: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given or {"name": "log_mel"})
    node.setdefault("name", "log_mel")
    if node["name"] == "log_mel":
        spec = dataclasses.asdict(named(node.get("spec", nearest(rate))))
        node["spec"] = spec
        if isinstance(node.get("vocoder"), dict):
            node["vocoder"] = {"spec": spec, **node["vocoder"]}
    codec = build(CODECS, node)
    for part, made in ((node, codec), (node.get("vocoder"), getattr(codec, "vocoder", None))):
        if isinstance(part, dict) and "folder" in part:  # of a pipeline's, the one that is used
            part["folder"] = getattr(made, "folder", part["folder"])
    fixed = node.get("mean") or isinstance(node.get("scale"), (list, tuple))  # one number is no statistics
    if fixed or not hasattr(codec, "fitted"):
        return node
    sounds = (s for low in range(0, len(rows), 64) for s in data.batch(rows[low : low + 64])[0])
    fitted = codec.fitted(sounds)
    for key in ("mean", "std", "scale"):
        if hasattr(fitted, key):
            value = getattr(fitted, key)
            node[key] = [round(float(v), 4) for v in value] if isinstance(value, tuple) else float(value)
    return node


def _patch(bins: int, frames: int) -> tuple[int, int]:
    """Frequencies and frames of a token: about 256 of them at most, and about square; of latents, frames alone."""
    if bins == 1:
        return 1, next((q for q in (1, 2, 4, 8) if -(-frames // q) <= TOKENS), 16)
    for p, q in ((4, 4), (8, 4), (8, 8), (16, 8), (16, 16)):
        if bins % p == 0 and bins // p * -(-frames // q) <= TOKENS:
            return p, q
    return next(p for p in (16, 8, 4, 2, 1) if bins % p == 0), 16


def _network(tokens: int) -> dict[str, Any]:
    """A small DiT for few tokens, a larger one for many."""
    if tokens <= 128:
        return {"name": "dit", "width": 192, "depth": 6, "heads": 6, "mlp_ratio": 3.0, "modulation": "shared"}
    return {"name": "dit", "width": 256, "depth": 8, "heads": 8, "modulation": "shared"}
