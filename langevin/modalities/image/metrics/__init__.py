"""Measuring pictures: distances of distributions, neighbours, accuracies with intervals, and tables that
carry their controls.

features.py     callables from pictures to (N, F): pixels, random convolutions, a judge, Inception, CLIP
evaluate.py     all of it at once, with the floor (real against real) and the controls (noise, copies,
                shuffled conditions)
alone.py        without a reference: readable, brightness, contrast, variety, twins

What is said of features is the same in every modality: :mod:`langevin.modalities.distances` (Fréchet distance and
its extrapolation, kernel distance, classifier two-sample test) and :mod:`langevin.modalities.neighbours` (precision,
recall, density, coverage; memorisation, copies; diversity within conditions).
"""

from langevin.modalities.distances import (
    c2st,
    frechet,
    frechet_distance,
    frechet_extrapolated,
    kid,
    moments,
)
from langevin.modalities.image.metrics.alone import describe
from langevin.modalities.image.metrics.evaluate import evaluate
from langevin.modalities.image.metrics.features import CLIP, Classifier, Inception, Pixels, RandomConv
from langevin.modalities.neighbours import (
    Neighbourhood,
    diversity_ratio,
    memorisation,
    neighbourhood,
    share_copied,
)
from langevin.modalities.statistics import Estimate, Table, accuracy, bootstrap, wilson

__all__ = [
    "CLIP",
    "Classifier",
    "Estimate",
    "Inception",
    "Neighbourhood",
    "Pixels",
    "RandomConv",
    "Table",
    "accuracy",
    "bootstrap",
    "c2st",
    "describe",
    "diversity_ratio",
    "evaluate",
    "frechet",
    "frechet_distance",
    "frechet_extrapolated",
    "kid",
    "memorisation",
    "moments",
    "neighbourhood",
    "share_copied",
    "wilson",
]
