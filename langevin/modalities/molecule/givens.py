"""Which parts of molecules are given in training, and the frame of a given part.

A share of the samples shows one of four parts clean: a fragment of one or two connected pieces, the graph (elements, charges
and bonds), positions and elements, or positions and bonds. A model so trained draws the rest of a molecule, its geometry,
its bonds, or its elements.

With a fragment the frame is centred on the fragment. The centre of the whole is not known when the rest is drawn, and would
tell where the rest lies (the leak of ligand poses that centring on the true ligand makes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from langevin.core.keep import Keep
from langevin.core.parts import Part
from langevin.core.processes import Process, Product, State
from langevin.core.rng import Stream
from langevin.modalities.molecule.atoms import Atoms, of_mol

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["centred_on", "fragments", "free", "parts", "restored"]

# of the samples of which something is given
_FRAGMENT, _GRAPH, _BONDS_ASKED = 0.4, 0.35, 0.15  # the rest: elements asked


def parts(process: Process, x: State, rng: Stream, mask: Tensor | None, share: float) -> list[Part]:
    """A batch of molecules by what is given of it: those with a given fragment, and all others."""
    assert isinstance(x, dict)
    u = rng.uniform((len(rng),)).to(x["positions"].device) / max(share, 1e-12)
    whole = torch.ones_like(x["elements"], dtype=torch.bool) if mask is None else mask
    with_fragment = (u < _FRAGMENT) & (whole.sum(1) > 1)
    out = []
    for some in (torch.nonzero(with_fragment)[:, 0], torch.nonzero(~with_fragment)[:, 0]):
        if not len(some):
            continue
        state, real = {name: part[some] for name, part in x.items()}, whole[some]
        if bool(with_fragment[some[0]]):
            atoms = fragments(state["bonds"], real, rng.rows(some.cpu()).fold("fragment"))
            given = {"positions": atoms, "elements": atoms, "charges": atoms}
            given["bonds"] = atoms[:, :, None] & atoms[:, None]
            out.append(Part(some, centred_on(state, atoms, real), given, free(process)))
            continue
        v = u[some]
        graph = (v >= _FRAGMENT) & (v < _FRAGMENT + _GRAPH)
        bonds_asked = (v >= _FRAGMENT + _GRAPH) & (v < _FRAGMENT + _GRAPH + _BONDS_ASKED)
        elements_asked = (v >= _FRAGMENT + _GRAPH + _BONDS_ASKED) & (v < 1)
        given = {
            "positions": bonds_asked | elements_asked,
            "elements": graph | bonds_asked,
            "charges": graph,
            "bonds": graph | elements_asked,
        }
        out.append(Part(some, state, given, process))
    return out


def fragments(bonds: Tensor, mask: Tensor, rng: Stream) -> Tensor:
    """Atoms (B, N) that are given: the neighbourhoods of one or two random atoms, 1 … n − 1 atoms in all.

    Args:
        bonds: orders (B, N, N), 0 for none.
        mask: (B, N), True on real atoms.
        rng: one row for each sample.
    """
    rows, most = mask.shape
    device = mask.device
    tie = rng.fold("tie").uniform((rows, most)).to(device)  # in (0, 1): orders atoms of one distance
    count = mask.sum(1)
    order = tie.masked_fill(~mask, 2.0).argsort(1)  # real atoms first, at random
    two = (rng.fold("pieces").uniform((rows,)).to(device) < 0.5) & (count > 2)
    far = float(most)
    distance = torch.full((rows, most), far, device=device)
    distance.scatter_(1, order[:, :1], 0.0)
    second = torch.where(two, order[:, 1 if most > 1 else 0], order[:, 0])
    distance.scatter_(1, second[:, None], 0.0)
    joined = bonds > 0
    for _ in range(most):
        near = distance[:, None].expand(-1, most, -1).masked_fill(~joined, far).amin(2) + 1
        closer = torch.minimum(distance, near)
        if torch.equal(closer, distance):
            break
        distance = closer
    share = rng.fold("size").uniform((rows,)).to(device)
    least = 1 + two.long()
    size = (least + (share * (count - least)).long()).clamp(max=count - 1)
    rank = (distance + tie).masked_fill(~mask, 2 * far + 2).argsort(1).argsort(1)
    return (rank < size[:, None]) & mask


def centred_on(x: Mapping[str, Tensor], atoms: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """States moved so that the centre of ``atoms`` (B, N) is the origin; places outside the mask stay 0."""
    weight = atoms.to(x["positions"].dtype)[..., None]
    centre = (x["positions"] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    moved = x["positions"] - centre
    return {**x, "positions": moved if mask is None else moved * mask[..., None]}


def free(process: Process) -> Process:
    """The process with noise whose centre is not held at the origin, for frames of a given part."""
    leaves = dict(process.leaves)
    return Product(**{**leaves, "positions": replace(leaves["positions"], centred=False)})  # type: ignore[type-var]


def restored(item: Mol, original: Any, keep: Keep, hydrogens: bool) -> Mol:
    """A drawn molecule moved to the frame of the one that it keeps parts of, with its very coordinates there.

    Args:
        item: has the atoms of the state, in its order.
        original: Mol or Atoms.
        keep: atoms, or whole leaves, of the state.
        hydrogens: whether hydrogens are atoms of the state.
    """
    atoms = original if isinstance(original, Atoms) else of_mol(original)
    atoms = atoms if hydrogens else atoms.heavy()
    if keep.leaves:
        kept = np.full(len(atoms), "positions" in keep.leaves)
    else:
        kept = keep((len(atoms),)).numpy()
    if kept.any():
        conformer = item.GetConformer()
        drawn = conformer.GetPositions()
        drawn += (atoms.positions[kept].astype(np.float64) - drawn[kept]).mean(0)
        drawn[kept] = atoms.positions[kept]
        conformer.SetPositions(drawn)
    return item
