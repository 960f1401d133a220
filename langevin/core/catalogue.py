"""The names under which configurations find what the core offers. A new object is one line here."""

from __future__ import annotations

from langevin.core import backbones, conditioning, losses, processes, samplers, schedules
from langevin.core.registry import Registry

__all__ = ["BACKBONES", "CONDITIONS", "KERNELS", "PROCESSES", "SAMPLERS", "SCHEDULES", "TIMES", "WEIGHTINGS"]

SCHEDULES = Registry("schedule", schedules.Schedule)
PROCESSES = Registry("process", processes.Process)
KERNELS = Registry("kernel", processes.rotations.Kernel)  # type: ignore[attr-defined]
SAMPLERS = Registry("sampler", samplers.Sampler)
WEIGHTINGS = Registry("weighting", losses.Weighting)  # type: ignore[type-abstract]
TIMES = Registry("times", losses.Times)  # type: ignore[type-abstract]
CONDITIONS = Registry("condition", conditioning.Embedder)
BACKBONES = Registry("backbone")

for registry, entries in {
    SCHEDULES: {
        "linear": schedules.Linear,
        "vp": schedules.VP,
        "cosine": schedules.Cosine,
        "sigmoid": schedules.Sigmoid,
        "ve": schedules.VE,
        "edm": schedules.EDM,
        "tabulated": schedules.Tabulated,
        "shifted": schedules.Shifted,
        "zero-terminal": schedules.ZeroTerminal,
    },
    PROCESSES: {
        "gaussian": processes.Gaussian,
        "discrete": processes.Discrete,
        "rotations": processes.Rotations,
        "torus": processes.Torus,
        "product": processes.Product,
    },
    KERNELS: {"geodesic": processes.Geodesic, "igso3": processes.IGSO3},
    SAMPLERS: {
        "single": samplers.Single,
        "heun": samplers.Heun,
        "multistep": samplers.Multistep,
        "churn": samplers.Churn,
        "restart": samplers.Restart,
        "langevin": samplers.Langevin,
        "adaptive": samplers.Adaptive,
    },
    WEIGHTINGS: {
        "uniform": losses.Uniform,
        "min-snr": losses.MinSNR,
        "p2": losses.P2,
        "sigmoid": losses.Sigmoid,
    },
    TIMES: {
        "uniform": losses.UniformTimes,
        "logit-normal": losses.LogitNormal,
        "mode": losses.Mode,
        "stratified": losses.Stratified,
        "loss-adaptive": losses.LossAdaptive,
    },
    CONDITIONS: {
        "class": conditioning.ClassEmbedder,
        "number": conditioning.NumberEmbedder,
        "text": conditioning.TextEmbedder,
        "image": conditioning.ImageEmbedder,
        "transformers-text": conditioning.TransformersTextEmbedder,
    },
    BACKBONES: {
        "dit": backbones.DiT,
        "mmdit": backbones.MMDiT,
        "egnn": backbones.EGNN,
        "ipa": backbones.IPA,
    },
}.items():
    for name, target in entries.items():  # type: ignore[attr-defined]
        registry.register(name)(target)
