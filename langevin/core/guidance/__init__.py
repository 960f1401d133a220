"""Guidance: rules from denoiser to denoiser.

They are written once in posterior space, so that they hold for means, logits and tangents alike, and nest
freely.

    guided = cfg(3.0, interval=(0.2, 0.8))(denoiser)
    guided = chain(apg(8.0, norm=2.5), dynamic_threshold())(denoiser)          # the first is innermost

============================ =================================================================================
cfg                          classifier-free, with interval, negative condition and rescaling
apg                          adaptive projected: momentum, limited norm, no part along the estimate
cfg_zero_star                classifier-free for flows, with optimised scale and a still start
autoguidance                 by a weaker version of the model
compose                      several conditions at once, each with its weight
classifier                   by the gradient of a log-probability of x_t or of x̂
force                        up the gradient of a potential by x̂: a push that needs no pass through the network
dynamic_threshold, static_…  clean estimates kept in the range of the data
known                        the clean value of some elements is given: inpainting and its kin
given                        the same, shown clean at time 0, for models that were trained so
symmetry                     copies of a unit under a group of rotations, whatever the denoiser knows
temperature                  beliefs about classes made sharper
============================ =================================================================================
"""

from collections.abc import Callable
from typing import Any

from langevin.core.guidance.auto import Auto, autoguidance
from langevin.core.guidance.base import Guidance, Guided, Question, answer, chain, guided
from langevin.core.guidance.classifier import Classifier, classifier
from langevin.core.guidance.classifier_free import CFG, Contrast, cfg
from langevin.core.guidance.composition import Composed, compose
from langevin.core.guidance.cyclic import Cyclic
from langevin.core.guidance.force import Force, force
from langevin.core.guidance.given import Given, given
from langevin.core.guidance.known import Known, known
from langevin.core.guidance.projected import APG, apg
from langevin.core.guidance.symmetry import Symmetry, symmetry
from langevin.core.guidance.temperature import Temperature, temperature
from langevin.core.guidance.thresholds import (
    DynamicThreshold,
    StaticThreshold,
    dynamic_threshold,
    static_threshold,
)
from langevin.core.guidance.zero_star import CFGZeroStar, cfg_zero_star

GUIDANCE: dict[str, Callable[..., Any]] = {
    "apg": apg,
    "autoguidance": autoguidance,
    "cfg": cfg,
    "cfg_zero_star": cfg_zero_star,
    "classifier": classifier,
    "compose": compose,
    "dynamic_threshold": dynamic_threshold,
    "force": force,
    "static_threshold": static_threshold,
    "symmetry": symmetry,
    "temperature": temperature,
}
"""Guidances by name, for configuration and the command line."""

__all__ = [
    "APG",
    "CFG",
    "GUIDANCE",
    "Auto",
    "CFGZeroStar",
    "Classifier",
    "Composed",
    "Contrast",
    "Cyclic",
    "DynamicThreshold",
    "Force",
    "Given",
    "Guidance",
    "Guided",
    "Known",
    "Question",
    "StaticThreshold",
    "Symmetry",
    "Temperature",
    "answer",
    "apg",
    "autoguidance",
    "cfg",
    "cfg_zero_star",
    "chain",
    "classifier",
    "compose",
    "dynamic_threshold",
    "force",
    "given",
    "guided",
    "known",
    "static_threshold",
    "symmetry",
    "temperature",
]
