"""Measuring clips: against the clip that was wanted, against sets of real ones, and by a judge that was trained apart.

pairs.py        one clip against another: PSNR, SSIM
colours.py      the border's colour, ΔE, colour histograms
warp.py         flow-warp error by block matching
alone.py        without a reference: motion, flicker on static pixels, smoothness, constancy, variety, twins
joins.py        the seam of a loop, the edge of kept frames
features.py     callables from clips to (N, F): random 3-D convolutions, pixels
judge.py        a small classifier of clips, its training and its file
reading.py      accuracy, entropy and agreement by a judge
pretrained.py   VideoMAE, from local weights
lpips.py        LPIPS, from local weights
evaluate.py     all of it at once, with the floor (real against real) and the controls (noise, copies,
                shuffled conditions)
vbench.py       clips and prompts as VBench takes them

What is said of features is the same in every modality: :mod:`langevin.modalities.distances` and
:mod:`langevin.modalities.neighbours`.
"""

from langevin.modalities.video.metrics.alone import (
    background,
    constancy,
    describe,
    drift,
    flicker,
    motion,
    smoothness,
    static_pixels,
    steps,
)
from langevin.modalities.video.metrics.colours import (
    border_colour,
    border_difference,
    delta_e,
    histogram,
    intersection,
    lab,
)
from langevin.modalities.video.metrics.evaluate import evaluate, white_noise
from langevin.modalities.video.metrics.features import Pixels, RandomConv3d
from langevin.modalities.video.metrics.joins import Join, changes, joins, seam
from langevin.modalities.video.metrics.judge import Judge, load_judge, save_judge, train_judge
from langevin.modalities.video.metrics.lpips import LPIPS
from langevin.modalities.video.metrics.pairs import compare_pairs, psnr, ssim
from langevin.modalities.video.metrics.pretrained import VideoMAE
from langevin.modalities.video.metrics.reading import Reading, agreement, read, relative_accuracy
from langevin.modalities.video.metrics.vbench import export_vbench
from langevin.modalities.video.metrics.warp import Warp, warp_error

__all__ = [
    "LPIPS",
    "Join",
    "Judge",
    "Pixels",
    "RandomConv3d",
    "Reading",
    "VideoMAE",
    "Warp",
    "agreement",
    "background",
    "border_colour",
    "border_difference",
    "changes",
    "compare_pairs",
    "constancy",
    "delta_e",
    "describe",
    "drift",
    "evaluate",
    "export_vbench",
    "flicker",
    "histogram",
    "intersection",
    "joins",
    "lab",
    "load_judge",
    "motion",
    "psnr",
    "read",
    "relative_accuracy",
    "save_judge",
    "seam",
    "smoothness",
    "ssim",
    "static_pixels",
    "steps",
    "train_judge",
    "warp_error",
    "white_noise",
]
