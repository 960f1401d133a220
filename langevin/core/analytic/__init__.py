"""Analytic denoisers: data of which the belief is known in closed form, which is how a new sampler is tested.

* :class:`GaussianDenoiser`: one normal; knows the exact probability flow, against which orders are measured.
* :class:`MixtureDenoiser`: a mixture of normals, with labels; for guidance and for what is not linear.
* :class:`JointMixtureDenoiser`: a mixture over positions × types × frames; for products, their clocks and
  correlations.

All are exact at both ends (α = 0, σ = 0), for times per batch, per sample and per element, in float32 and
float64.
"""

from langevin.core.analytic.gaussian import GaussianDenoiser
from langevin.core.analytic.mixture import JointMixtureDenoiser, MixtureDenoiser

__all__ = ["GaussianDenoiser", "JointMixtureDenoiser", "MixtureDenoiser"]
