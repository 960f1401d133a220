"""Where models are: those that ship with the package, and folders of yours.

Listing and naming need neither torch nor the weights, only the head of each config.yaml:

    format: 1
    name: image-emoji
    summary: pictograms of 32 × 32 pixels from a short text
    modality: image                    # or a node {name: image, …}
    conditions: {prompt: {…}}          # by name; a list of names will do
    licence: Apache-2.0
    attribution: Noto Emoji, © Google  # text, or a list of texts
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langevin import folders
from langevin.core.errors import unknown

if TYPE_CHECKING:
    from langevin.core.model import Model

__all__ = ["ModelInfo", "UnknownModel", "find", "info", "load", "models", "names"]

SHIPPED = Path(__file__).parent / "weights"


class UnknownModel(folders.FolderError, LookupError):
    """A name that is neither a shipped model nor a folder."""


@dataclass(frozen=True)
class ModelInfo:
    """What can be said about a model without building it.

    Attributes:
        name: what :func:`load` takes.
        modality: "image", "audio", …
        parameters: number of trained values.
        licence: SPDX identifier of the weights' licence.
        attribution: whom the training data and weights are owed to.
        conditions: names of what the model can be conditioned on.
        summary: one line.
        path: the folder.
    """

    name: str
    modality: str
    parameters: int
    licence: str
    attribution: str
    conditions: tuple[str, ...]
    summary: str
    path: Path

    def as_dict(self) -> dict[str, Any]:
        """The attributes as plain values."""
        return {**asdict(self), "conditions": list(self.conditions), "path": str(self.path)}


def names() -> list[str]:
    """The names of the shipped models; looks at folder names only."""
    if not SHIPPED.is_dir():
        return []
    return sorted(path.name for path in SHIPPED.iterdir() if (path / folders.CONFIG).is_file())


def find(name: str | Path) -> Path:
    """The folder of a model.

    Args:
        name: a shipped model, or the path of a folder; a shipped name comes first, ``./name`` is always a
            path.

    Raises:
        UnknownModel: neither; the nearest shipped name is suggested.
    """
    if str(name) in names():
        return SHIPPED / name
    path = Path(name).expanduser()
    if (path / folders.CONFIG).exists():
        return path
    if path.is_dir():
        raise UnknownModel(f"the folder {str(name)!r} holds no model: it has no {folders.CONFIG}")
    raise UnknownModel(f"{unknown('model', name, names())}, nor is there a folder of that name")


def info(name: str | Path) -> ModelInfo:
    """What a model's folder says about it.

    Raises:
        FolderError: no such model, or not a sound folder.
    """
    path = find(name)
    config = folders.read_config(path)
    entries = folders.read_header(path).values()
    modality = config.get("modality", "")
    attribution = config.get("attribution") or ""
    return ModelInfo(
        name=path.name if path.parent == SHIPPED else str(config.get("name") or path.name),
        modality=str(modality.get("name", "")) if isinstance(modality, dict) else str(modality),
        parameters=sum(entry.numel for entry in entries if entry.dtype in folders.FLOATS),
        licence=str(config.get("licence") or "not stated"),
        attribution="; ".join(map(str, attribution)) if isinstance(attribution, list) else str(attribution),
        conditions=tuple(map(str, config.get("conditions") or ())),
        summary=str(config.get("summary") or ""),
        path=path,
    )


def models() -> list[ModelInfo]:
    """The shipped models, by name; one that cannot be read is left out with a warning."""
    found = []
    for name in names():
        try:
            found.append(info(name))
        except folders.FolderError as error:
            warnings.warn(f"the shipped model {name!r} cannot be read: {error}", stacklevel=2)
    return found


def load(name: str | Path, device: str | None = None, dtype: Any = None) -> Model:
    """A model, ready to sample.

    Args:
        name: a shipped name (:func:`models`) or the path of a folder.
        device: "cpu", "cuda", "cuda:1", "mps"; the best there is when None.
        dtype: in which the network computes; a sound choice for the device when None.

    Raises:
        UnknownModel: no such model; the nearest name is suggested.
        FolderError: not a sound model folder.
    """
    path = find(name)
    from langevin.core.model import Model

    model = Model.load(path, device=device, dtype=dtype)
    model.source = str(name)
    return model
