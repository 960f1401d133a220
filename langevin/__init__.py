"""langevin: diffusion models for pictures, sound, video, molecules and proteins on one core.

    import langevin as lv

    model = lv.load("image-shapes")
    samples = model.sample(16, prompt="a green star at the top", steps=20, seed=0)
    samples.save("out/")

Names are resolved when they are first used: ``import langevin`` imports neither torch nor anything else
that is heavy. ``langevin.core`` is the theory (schedules, processes, posteriors, samplers, guidance),
``langevin.modalities`` what it is applied to.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langevin import prompts
    from langevin.core import analytic, grids, guidance, keep, posteriors, processes, samplers, schedules
    from langevin.core.model import Model
    from langevin.core.rng import Stream
    from langevin.folders import FolderError
    from langevin.hub import ModelInfo, load, models
    from langevin.modalities.base import Failure, Modality, Samples
    from langevin.previews import preview
    from langevin.train_api import train, train_codec

__version__ = "0.1.0"

# public name -> "module" or "module:attribute"
WHERE = {
    "load": "langevin.hub:load",
    "models": "langevin.hub:models",
    "ModelInfo": "langevin.hub:ModelInfo",
    "train": "langevin.train_api:train",
    "train_codec": "langevin.train_api:train_codec",
    "Model": "langevin.core.model:Model",
    "Samples": "langevin.modalities.base:Samples",
    "Failure": "langevin.modalities.base:Failure",
    "Modality": "langevin.modalities.base:Modality",
    "FolderError": "langevin.folders:FolderError",
    "preview": "langevin.previews:preview",
    "prompts": "langevin.prompts",
    "Stream": "langevin.core.rng:Stream",
    "schedules": "langevin.core.schedules",
    "processes": "langevin.core.processes",
    "posteriors": "langevin.core.posteriors",
    "grids": "langevin.core.grids",
    "samplers": "langevin.core.samplers",
    "guidance": "langevin.core.guidance",
    "keep": "langevin.core.keep",
    "analytic": "langevin.core.analytic",
}

__all__ = [
    "Failure",
    "FolderError",
    "Modality",
    "Model",
    "ModelInfo",
    "Samples",
    "Stream",
    "__version__",
    "analytic",
    "grids",
    "guidance",
    "keep",
    "load",
    "models",
    "posteriors",
    "preview",
    "processes",
    "prompts",
    "samplers",
    "schedules",
    "train",
    "train_codec",
]


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module 'langevin' has no attribute {name!r}")
    module, _, attribute = WHERE[name].partition(":")
    value = importlib.import_module(module)
    value = getattr(value, attribute) if attribute else value
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *WHERE})
