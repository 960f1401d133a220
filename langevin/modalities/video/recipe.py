"""The model that follows from a set of clips where the user does not say otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from langevin.core.registry import build
from langevin.modalities.conditioned import condition_nodes
from langevin.modalities.video.catalogue import CODECS
from langevin.trees import merge

__all__ = ["defaults"]

LOOKED_AT = 256  # items
LONGEST = 16  # frames that are asked for by default
TOKENS = 512


def defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration for clips like those of ``data``: pixels in spacetime patches, a DiT that fits, the data's conditions.

    Args:
        data: a set of clips.
        given: keys of a model's configuration that stand as they are; see :func:`langevin.trees.merge`.

    Raises:
        BuildError, ValueError: keys whose values cannot be.
    """
    asked: dict[str, Any] = given["modality"] if isinstance(given.get("modality"), dict) else {}
    rows = np.linspace(0, len(data) - 1, min(len(data), LOOKED_AT)).astype(int).tolist()
    first, values = data.batch(rows[:32])
    codec: dict[str, Any] = dict(asked.get("codec") or {"name": "pixels"})
    if "size" not in codec:
        codec["size"] = _size(first, bool(asked.get("native")))
    made = build(CODECS, codec)
    frames = int(asked.get("frames") or min(LONGEST, int(np.median([len(clip) for clip in first]))))
    sides = [side // made.factor for side in made.size]
    patch = list(asked.get("patch") or _patch(made.elements(frames), sides))
    network = merge(_network(), given.get("network", {}))
    width = network.get("width", 256)
    texts = [
        len(text.encode())
        for name, kind in data.conditions.items()
        if kind == "text"
        for text in values[name]
    ]
    conditions = condition_nodes(data, rows, width, text=max(128, 2 * max(texts, default=0)))
    if any(node["name"] == "text" for node in conditions.values()):
        network.setdefault("context_width", max(64, width // 3))
    modality = {
        "name": "video",
        "codec": codec,
        "patch": patch,
        "process": {"name": "gaussian", "schedule": {"name": "linear"}},
        "conditions": conditions,
        "frames": frames,
        "fps": float(asked.get("fps") or np.median([clip.fps for clip in first])),
    }
    own = {
        "name": "my-clips",
        "modality": modality,
        "network": network,
        "parametrisation": "x",  # a patch of pixels may have more values than the network is wide
        "objective": {
            "target": "velocity",
            "times": {"name": "stratified", "base": {"name": "logit-normal", "mean": 1.0, "std": 1.0}},
            "given": 0.3,
            "forcing": 0.2,
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


def _size(clips: Any, native: bool = False) -> list[int]:
    """(height, width) of the first clips, down to multiples of 8; the medians of those that keep their own.

    Raises:
        ValueError: they differ; open the data with a size, or keep them.
    """
    sizes = [clip.size for clip in clips]
    if len(set(sizes)) > 1 and not native:
        raise ValueError(
            f"the clips have different sizes {sorted(set(sizes))[:4]}; give data.size=… to bring them to one, or "
            "model.modality.native=true to train on them as they are"
        )
    width, height = np.median(sizes, axis=0).astype(int).tolist()
    return [max(8, height // 8 * 8), max(8, width // 8 * 8)]


def _patch(elements: int, sides: list[int]) -> list[int]:
    """Frames, rows and columns of a token: single frames, in at most 512 tokens where patches of 16 allow it."""
    for p in (1, 2, 4, 8, 16):
        if all(side % p == 0 for side in sides) and elements * sides[0] * sides[1] // p**2 <= TOKENS:
            return [1, p, p]
    return next([1, p, p] for p in (16, 8, 4, 2, 1) if all(side % p == 0 for side in sides))


def _network() -> dict[str, Any]:
    """A small DiT in space and time."""
    return {
        "name": "dit", "width": 192, "depth": 6, "heads": 6, "mlp_ratio": 3.0, "modulation": "shared", "axes": 3,
    }  # fmt: skip
