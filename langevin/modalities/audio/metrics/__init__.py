"""Measuring sounds: against the sound that was wanted, against sets of real ones, and by a judge that was trained apart.

signal.py       one sound against another: log-spectral distance, multi-resolution STFT, mel-cepstral distortion, SI-SNR
                and SI-SDR, chroma
levels.py       loudness, silence, clipping
joins.py        the seam of a loop, the edge of an edit
features.py     callables from sounds to (N, F): mel statistics, random convolutions
judge.py        a small classifier of sounds, its training and its file
reading.py      accuracy, entropy and agreement by a judge
pretrained.py   CLAP score and VGGish, from local weights
distances.py    Fréchet audio distance, its extrapolation to infinitely many sounds, kernel distance
evaluate.py     all of it at once, with the floor (real against real) and the controls (noise, copies,
                shuffled conditions)
alone.py        without a reference: readable, silent, loudness, variety, twins

What is said of features is the same in every modality: :mod:`langevin.modalities.distances` and
:mod:`langevin.modalities.neighbours`.
"""

from langevin.modalities.audio.metrics.alone import describe
from langevin.modalities.audio.metrics.distances import Extrapolated, distances, frechet_infinity, white_noise
from langevin.modalities.audio.metrics.evaluate import evaluate
from langevin.modalities.audio.metrics.features import MelStatistics, RandomConv
from langevin.modalities.audio.metrics.joins import Join, joins, seam
from langevin.modalities.audio.metrics.judge import Judge, load_judge, save_judge, train_judge
from langevin.modalities.audio.metrics.levels import clipping_rate, silence_rate, silent
from langevin.modalities.audio.metrics.pretrained import Clap, VGGish
from langevin.modalities.audio.metrics.reading import Reading, agreement, read, relative_accuracy
from langevin.modalities.audio.metrics.signal import (
    chroma,
    chroma_similarity,
    log_spectral_distance,
    mel_cepstra,
    mel_cepstral_distortion,
    multi_resolution_stft,
    si_sdr,
    si_snr,
    spectral_convergence,
)

__all__ = [
    "Clap",
    "Extrapolated",
    "Join",
    "Judge",
    "MelStatistics",
    "RandomConv",
    "Reading",
    "VGGish",
    "agreement",
    "chroma",
    "chroma_similarity",
    "clipping_rate",
    "describe",
    "distances",
    "evaluate",
    "frechet_infinity",
    "joins",
    "load_judge",
    "log_spectral_distance",
    "mel_cepstra",
    "mel_cepstral_distortion",
    "multi_resolution_stft",
    "read",
    "relative_accuracy",
    "save_judge",
    "seam",
    "si_sdr",
    "si_snr",
    "silence_rate",
    "silent",
    "spectral_convergence",
    "train_judge",
    "white_noise",
]
