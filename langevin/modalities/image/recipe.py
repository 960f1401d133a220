"""The model that follows from a data set of pictures where the user does not say otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from langevin.trees import merge

__all__ = ["defaults"]


def defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration for pictures like those of ``data``: pixels in patches, a DiT that fits, the data's conditions.

    Args:
        data: an image data set.
        given: keys of a model's configuration that stand as they are; see :func:`langevin.trees.merge`.

    Raises:
        ValueError: pictures of unequal sizes; open the data with a size. Keys whose values cannot be.
    """
    side, channels = shape(data)
    _, values = data.batch([0])
    _sound(given)
    asked: dict[str, Any] = given["modality"] if isinstance(given.get("modality"), dict) else {}
    codec: dict[str, Any] = {"name": "pixels", "size": side, "channels": channels}
    units = side
    sizes: tuple[int, ...] = (4, 2) if side <= 48 else (8, 4, 2)
    if asked.get("codec", {}).get("name", "pixels") != "pixels":
        codec = {"size": side, **asked["codec"]}
        # patches of 2 × 2 latents are what latent diffusion uses
        units, sizes = int(codec["size"]) // _factor(codec), (2,)
        given = {**given, "modality": {**asked, "codec": codec}}
    patch = asked.get("patch", next((p for p in sizes if units % p == 0), 1))
    network = merge(_network((units // patch) ** 2), given.get("network", {}))
    width = network.get("width", 256)
    conditions: dict[str, Any] = {}
    if "prompt" in values:
        conditions["prompt"] = {
            "name": "text", "width": max(64, width // 2), "depth": 2, "length": 128, "heads": 4, "vector_width": width,
        }  # fmt: skip
    if "label" in values:
        names = getattr(data, "class_names", None)
        labels = names if names else int(max(_labels(data))) + 1
        conditions["label"] = {
            "name": "class",
            "classes": list(labels) if not isinstance(labels, int) else labels,
            "width": width,
        }
    modality = {
        "name": "image",
        "codec": codec,
        "patch": patch,
        "process": {"name": "gaussian", "schedule": {"name": "linear"}},
        "conditions": conditions,
    }
    own = {
        "name": "my-model",
        "modality": modality,
        "network": network,
        "parametrisation": "velocity",
        "objective": {
            "times": {"name": "stratified", "base": {"name": "logit-normal", "mean": 0.0, "std": 1.0}}
        },
        "drop": dict.fromkeys(conditions, 0.1),
        "sampling": {"sampler": "angle", "steps": 20, "guidance": 2.0 if conditions else 1.0},
        "licence": getattr(data, "licence", None),
        "attribution": getattr(data, "attribution", None),
    }
    both = {**own, **{key: merge(own.get(key), value) for key, value in given.items()}}
    return {key: value for key, value in both.items() if value is not None}


def shape(data: Any) -> tuple[int, int]:
    """(shorter side, channels) of the pictures of a data set, by its first two.

    Raises:
        ValueError: pictures of unequal sizes; open the data with a size.
    """
    images, _ = data.batch([0, min(1, len(data) - 1)])
    shapes = {np.asarray(image).shape for image in images}
    if len(shapes) != 1:
        raise ValueError(
            f"the pictures have different sizes {sorted(shapes)}; give size=… to bring them to one"
        )
    found = shapes.pop()
    return min(found[:2]), 1 if len(found) == 2 else found[2]


def _sound(given: dict[str, Any]) -> None:
    """Refuses the given values that others follow from, where they cannot be.

    Raises:
        ValueError: no mapping, or no whole number from 1.
    """
    nodes = {"model.modality": given.get("modality"), "model.network": given.get("network")}
    held = nodes["model.modality"]
    nodes["model.modality.codec"] = held.get("codec") if isinstance(held, dict) else None
    for name, node in nodes.items():
        if node is not None and not isinstance(node, dict):
            raise ValueError(f"{name} must be a mapping, as {{name: …}}, got {node!r}")
        for key in ("patch", "width", "size"):
            value = (node or {}).get(key, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}.{key} must be a whole number from 1, got {value!r}")


def _factor(codec: dict[str, Any]) -> int:
    """Pixels per side of one latent of a codec.

    Raises:
        BuildError, FolderError: a codec that cannot be built.
    """
    from langevin.core.registry import build
    from langevin.modalities.image.modality import CODECS

    return int(build(CODECS, codec).factor)


def _network(tokens: int) -> dict[str, Any]:
    """A small DiT for few tokens, a larger one for many."""
    if tokens <= 64:
        return {"name": "dit", "width": 192, "depth": 6, "heads": 6, "mlp_ratio": 3.0, "modulation": "shared"}
    return {"name": "dit", "width": 256, "depth": 8, "heads": 8, "modulation": "shared"}


def _labels(data: Any) -> list[int]:
    """All labels of a data set, read in batches."""
    out: list[int] = []
    for low in range(0, len(data), 4096):
        _, values = data.batch(list(range(low, min(low + 4096, len(data)))))
        out += [int(v) for v in values["label"]]
    return out
