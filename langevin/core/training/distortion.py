"""Distortion: some elements of a sample are further off in training than their clock says.

A sampler's state is never quite one of training: what earlier steps got wrong stays in it. A network that meets such
elements in training learns to put them right (Dunn & Koes, 2025, FlowMol3, arXiv 2508.12629, who displace a share of the
atoms). Here the noise of a share of the elements, in half of the samples, is wider,

    eps' = eps + distortion · n,     n standard normal,

so that what the network is told is α x + σ eps' and what it is asked for follows from eps' like any target.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from langevin.core.processes import Gaussian, Process, Product
from langevin.core.rng import Stream

__all__ = ["distorted"]

_SAMPLES, _ELEMENTS = 0.5, 0.25  # shares


@dataclass(frozen=True)
class _Wider(Gaussian):
    """A Gaussian leaf with heavier tails of its noise.

    Args:
        distortion: deviation of what is added, in units of the noise.
    """

    distortion: float = 0.0

    def noise(self, like: Tensor, rng: Stream, mask: Tensor | None = None) -> Tensor:
        eps = super().noise(like, rng, mask)
        rows, elements = like.shape[:2]
        sample = rng.fold("distorted").uniform((rows,)) < _SAMPLES
        element = rng.fold("displaced").uniform((rows, elements)) < _ELEMENTS
        chosen = (sample[:, None] & element).to(like.device)
        chosen = chosen.reshape(rows, elements, *(1,) * (like.ndim - 2))
        more = rng.fold("displacement").normal(like.shape, like.dtype).to(like.device)
        eps = eps + torch.where(chosen, self.distortion * more, torch.zeros_like(more))
        return self.centre(eps, mask) if self.centred else self.fill(eps, mask)


def distorted(process: Process, distortion: float) -> Process:
    """The process with wider noise on its Gaussian leaves whose elements are not pairs; itself where it is 0."""
    if not distortion:
        return process
    leaves = {
        name: _Wider(**{f.name: getattr(leaf, f.name) for f in fields(leaf)}, distortion=distortion)
        if type(leaf) is Gaussian and not leaf.pair
        else leaf
        for name, leaf in process.leaves.items()
    }
    return leaves[""] if "" in leaves else Product(**leaves)
