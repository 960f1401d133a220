"""What parts that are trained before a model share: autoencoders and vocoders of any modality.

Their configuration has the same keys, their cards say the same things, their statistics are those of single channels, and
their folders hold a network under one key of config.yaml (:mod:`langevin.folders`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langevin import folders
from langevin.core.errors import unknown
from langevin.core.registry import BuildError, Registry, build
from langevin.core.training.data import Dataset, Order
from langevin.folders import FolderError

__all__ = ["card", "channel_statistics", "checked_keys", "drawn", "network_of"]

KEYS = ("name", "summary", "licence", "attribution", "autoencoder", "objective")
SMALLEST_STD = 1e-4  # of a latent channel; one that hardly varies is left near zero instead of being blown up


def checked_keys(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says about a trained part beside its network.

    Raises:
        BuildError: a key that is not known.
    """
    for key in given:
        if key not in KEYS:
            raise BuildError(unknown("key of an autoencoder's model", key, KEYS))
    return {key: value for key, value in given.items() if key != "autoencoder" and value is not None}


def drawn(data: Dataset, count: int, batch: int, seed: int) -> Iterator[Any]:
    """Batches of up to ``count`` items drawn from the data without repetition.

    Args:
        data: all of it where it has fewer items.
        batch: items at once.
        seed: of the draw.
    """
    count = min(count, len(data))
    order = Order(len(data), count, seed).indices(0)
    for start in range(0, count, batch):
        yield data.batch(order[start : start + batch])[0]


def channel_statistics(values: Iterable[Tensor], axis: int = 1) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of each channel, float64; a deviation is at least 10⁻⁴.

    Args:
        values: tensors with C channels along ``axis``; other sizes may differ.

    Raises:
        ValueError: none.
    """
    count, total, square = 0, torch.zeros(()), torch.zeros(())
    for value in values:
        rows = value.detach().cpu().double().movedim(axis, 0).flatten(1)  # (C, n)
        count += rows.shape[1]
        total, square = total + rows.sum(1), square + rows.square().sum(1)
    if not count:
        raise ValueError("fit_statistics needs at least one batch of items; got none")
    mean = total / count
    return mean, (square / count - mean.square()).clamp(min=0).sqrt().clamp(min=SMALLEST_STD)


def card(
    model: Any, summary: str, lines: Sequence[str], trained: str, measured: Sequence[str], data: Dataset
) -> str:
    """The text of a card: what it is, how it was trained, what was measured, whose it is.

    Args:
        model: has ``name``, ``about`` and ``network``.
        summary: where ``about`` has none.
        lines: facts of its kind.
        trained: steps, batch and items in words.
        measured: figures with what they were measured on.
        data: that it was trained on.
    """
    owed = {
        key: model.about.get(key) or getattr(data, key, None) or "not stated: that of your data"
        for key in ("licence", "attribution")
    }
    facts = [
        f"parameters: {sum(p.numel() for p in model.network.parameters()):,}",
        *lines,
        f"trained: {trained}",
        *measured,
        *(f"{key}: {value}" for key, value in owed.items()),
    ]
    summary = model.about.get("summary") or summary
    return f"# {model.name}\n\n{summary}\n\n" + "".join(f"- {fact}\n" for fact in facts)


def network_of(folder: str | Path, key: str, registry: Registry) -> Any:
    """The network of a folder of ours, in float32 and evaluation mode, without gradients.

    Args:
        folder: of config.yaml and model.safetensors.
        key: of config.yaml, under which the network's node stands.
        registry: of networks of that kind.

    Raises:
        FolderError: not a sound folder, or one of something else.
    """
    config = folders.read_config(folder)
    if key not in config:
        raise FolderError(f"{folder} holds no {key}: {folders.CONFIG} has no `{key}`")
    try:
        with torch.device("meta"):  # nothing is allocated before the weights are known to fit
            network = build(registry, config[key])
        network.load_state_dict(folders.read_weights(folder), assign=True)
    except FolderError:
        raise
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        raise FolderError(f"{folder}: the weights do not fit the {key}: {reason}") from None
    except (BuildError, ValueError) as error:
        raise FolderError(f"{folder}: {error}") from None
    return network.float().requires_grad_(False).eval()
