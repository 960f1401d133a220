"""Processes: how clean data becomes noise, leaf by leaf, and the leaf rules of the way back."""

from langevin.core.processes.base import LeafProcess, Process, State, join, split
from langevin.core.processes.constant import Constant
from langevin.core.processes.discrete import Discrete
from langevin.core.processes.gaussian import Gaussian
from langevin.core.processes.product import Product
from langevin.core.processes.rotations import IGSO3, Geodesic, Rotations
from langevin.core.processes.symmetric import Symmetric
from langevin.core.processes.torus import Torus

__all__ = [
    "IGSO3",
    "Constant",
    "Discrete",
    "Gaussian",
    "Geodesic",
    "LeafProcess",
    "Process",
    "Product",
    "Rotations",
    "State",
    "Symmetric",
    "Torus",
    "join",
    "split",
]
