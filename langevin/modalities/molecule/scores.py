"""What a folder of sampled molecules holds beside a file for each: all of them in one SDF, and a table of scores.

    molecules.sdf    the molecules in their order, each with how it was made: model, seed, sample (its number), sampler,
                     steps, guidance, conditions, langevin's version, licence
    scores.csv       a line for each sample, failures too, with their reason: smiles, name, sample, the measures of
                     :data:`~langevin.modalities.molecule.filters.SCORES`, why its graph is not strict, and whatever else
                     was measured of it (strain, mol_fast …), as a filter does; of a geometry that was drawn for a graph, its
                     heavy-atom RMSD in Å and to what (:mod:`langevin.modalities.molecule.kept`)

A molecule's name, in both, is made of the model, the seed and its number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langevin import __version__
from langevin.modalities.base import Failure, Samples
from langevin.modalities.molecule.filters import SCORES, Measured
from langevin.modalities.molecule.kept import compared

__all__ = ["files", "provenance", "rows"]


def files(samples: Samples, hydrogens: bool) -> dict[str, Callable[[Path], object]]:
    """Writers by name of the file; there is no SDF where every sample is a failure.

    Args:
        samples: of a molecule model.
        hydrogens: whether hydrogens are meant to be atoms.
    """
    found: dict[str, Callable[[Path], object]] = {}
    if len(samples.valid):
        found["molecules.sdf"] = functools.partial(_write_sdf, samples)
    if len(samples):
        found["scores.csv"] = functools.partial(_write_scores, samples, hydrogens)
    return found


def provenance(samples: Samples) -> dict[str, Any]:
    """How the samples were made, by name of an SDF property; what was not said is left out."""
    run = samples.run
    held = {
        "model": run.model,
        "seed": run.seed if isinstance(run.seed, int) else None,
        "sampler": run.sampler,
        "steps": run.made_in,
        "evaluations": run.evaluations,
        "guidance": run.guidance,
        "temperature": run.options.get("temperature"),
        "langevin": __version__,
        "licence": run.licence,
        "attribution": run.attribution,
    }
    return {name: value for name, value in held.items() if value not in (None, "")}


def rows(samples: Samples, hydrogens: bool) -> list[dict[str, Any]]:
    """The scores of each sample, by name; of a failure its number only."""
    more = list(dict.fromkeys(name for scores in samples.scores for name in scores if name not in SCORES))
    found = []
    for index, item, known in zip(samples.indices, samples, samples.scores):
        row: dict[str, Any] = {"sample": index}
        if not isinstance(item, Failure):
            one = Measured(item, hydrogens)
            row |= {name: known[name] if name in known else one.value(name) for name in SCORES}
            row |= {"reasons": "; ".join(one.reasons), **{name: known.get(name) for name in more}}
            beside = compared(item)
            if beside is not None:
                row |= {"rmsd": round(beside.rmsd, 4), "reference": beside.source}
        found.append(row)
    return found


def _named(samples: Samples) -> list[Any]:
    """The molecules under their names, and the failures."""
    from rdkit import Chem

    model, named = Path(samples.run.model).name or "molecule", []
    for index, seed, item in zip(samples.indices, samples.seeds, samples):
        if not isinstance(item, Failure):
            item = Chem.Mol(item)
            item.SetProp("_Name", f"{model}-{seed}-{index}")
        named.append(item)
    return named


def _write_sdf(samples: Samples, path: Path) -> None:
    from langevin.modalities.molecule.writing import write_sdf

    there = samples.valid
    every = zip(there.indices, there.seeds, there.conditions)
    one = isinstance(there.run.seed, int)
    own: list[Mapping[str, Any]] = [
        {"sample": index, **({} if one else {"seed": seed}), **condition} for index, seed, condition in every
    ]
    write_sdf(_named(there), path, provenance(samples), own)


def _write_scores(samples: Samples, hydrogens: bool, path: Path) -> None:
    from langevin.modalities.molecule.writing import write_smiles

    write_smiles(_named(samples), path, rows(samples, hydrogens))
