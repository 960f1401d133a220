"""The model that follows from a set of proteins where the user does not say otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from langevin.trees import merge

__all__ = ["defaults", "sidechain_defaults", "trace_defaults"]


def defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A configuration for proteins like those of ``data``: their lengths, and invariant point attention.

    A network with a ``pair_width``, as the DiT needs, gets features of pairs, too.

    Args:
        data: a protein data set.
        given: keys of a model's configuration that stand as they are; see :func:`langevin.trees.merge`.
    """
    return _settled(_proteins(data, given), given)


def trace_defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """As :func:`defaults`, for CA traces: what is said there of frames does not arise."""
    own = _proteins(data, given)
    own["name"] = "my-traces"
    own["modality"]["name"] = "protein-trace"
    del own["modality"]["rotations"]
    for tree in (own["parametrisation"], own["objective"]["scales"], own["sampling"]["lag"]):
        del tree["frames"]
    return _settled(own, given)


def sidechain_defaults(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """As :func:`defaults`, for proteins with side chains, whose torsions are drawn when their types are."""
    own = _proteins(data, given)
    own["name"] = "my-sidechains"
    own["modality"]["name"] = "protein-sidechains"
    own["objective"]["scales"]["torsions"] = 1.0
    own["sampling"]["lag"]["torsions"] = own["sampling"]["lag"]["residues"]
    return _settled(own, given)


def _proteins(data: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What follows from the data."""
    network = given.get("network") or {}
    sizes, counts = np.unique(data.lengths, return_counts=True)
    return {
        "name": "my-proteins",
        "modality": {
            "name": "protein",
            "sizes": {str(n): int(count) for n, count in zip(sizes, counts, strict=True)},
            "pad": 16,
            "paired": bool(network.get("pair_width")),
            "rotations": {"name": "igso3"},
            "repulsion": 0.4,
        },
        "network": {
            "name": "ipa", "width": 160, "depth": 6, "heads": 8, "axes": 1, "mlp_ratio": 3.0, "modulation": "shared",
        },
        "parametrisation": {"positions": "velocity", "frames": "rate"},
        "objective": {
            "times": {"name": "stratified", "base": {"name": "logit-normal", "mean": -0.5, "std": 1.3}},
            "scales": {"positions": 1.0, "frames": 4.0, "residues": 0.05, "secondary": 0.1},
            "independent": 0.15,
            "given": 0.35,
            "auxiliary": 1.0,
        },
        "sampling": {
            "sampler": "ddpm-cool",
            "grid": "uniform",
            "steps": 100,
            "guidance": 1.0,
            "temperature": {"secondary": 0.5, "residues": 0.3},
            "lag": {"frames": 0.9, "residues": 0.3},
        },
        "licence": getattr(data, "licence", None),
        "attribution": getattr(data, "attribution", None),
    }  # fmt: skip


def _settled(own: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """With the given keys in their place, and without what nothing is known of."""
    both = {**own, **{key: merge(own.get(key), value) for key, value in given.items()}}
    return {key: value for key, value in both.items() if value is not None}
