"""One table for a set of molecules: how many hold together, how like real ones they are, how varied and new.

Columns:
    samples      what is judged
    reference    real molecules, or other samples, in the place of the samples; a distance is that of one half of
                 the reference from the other, its floor at equal numbers

Rows, where failures stay in every denominator of a share:
    decoded …            soundness, as :mod:`soundness` defines it, with each reason and each test of PoseBusters
    unique, in …         different canonical SMILES (with stereo, without hydrogens) among the sound and the strict
                         ones; how many of these are in given sets, such as the training data
    EDM …                :mod:`stability`; only where hydrogens are atoms
    corrected valence …  :mod:`valences`; likewise
    strain, RMSD         :mod:`geometry`; medians, a failure counting as infinite
    QED, SA, logP        :mod:`properties`; means over what rdkit can sanitise
    … distance           Jensen–Shannon distances of shapes, elements, sizes and rings; the divergence beside those
                         of shapes, since tables of others often give it under the name of the distance

PoseBusters and strain cost most, so both look at some items only, as many as ``subsample`` says, taken at random: a file
may be sorted.

Hydrogens are meant to be atoms where most molecules that need any have some among their atoms; each side decides
for itself. If the samples have none, those of the reference are left out; if the reference has none, it is
measured without them, and distances are those of heavy atoms.

Molecules without a conformer (SMILES, drawings) are graphs: they fail whatever asks for coordinates. Where no molecule has
any, those rows are left out, and the caption says so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from langevin.modalities.base import Failure
from langevin.modalities.molecule import properties
from langevin.modalities.molecule.atoms import hidden_hydrogens, quiet
from langevin.modalities.molecule.geometry import divergence, shapes, strain, strains
from langevin.modalities.molecule.soundness import (
    REASONS,
    Soundness,
    inspect,
    posebusters,
    posebusters_version,
    prepared,
)
from langevin.modalities.molecule.stability import edm, shares, stable_atoms
from langevin.modalities.molecule.valences import VALENCES, Triple, stable_by_valence
from langevin.modalities.statistics import Table, bootstrap, median, wilson

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["SUBSAMPLE", "evaluate", "histograms", "scores"]

SUBSAMPLE = 300
Cells = dict[str, Any]


def evaluate(
    items: Sequence[Mol | Failure],
    reference: Sequence[Mol | Failure] | None = None,
    *,
    known: Mapping[str, Collection[str]] | None = None,
    edm_known: Collection[str] | None = None,
    hydrogens: bool | None = None,
    table: Collection[Triple] = VALENCES,
    subsample: int | None = SUBSAMPLE,
    full: bool = False,
    seed: int = 0,
    show: bool | None = None,
) -> Table:
    """Measure molecules, beside others if given.

    Args:
        items: molecules with one conformer, sanitised or not, and failures.
        reference: real molecules, or other samples; as many as there are items are measured.
        known: sets of SMILES as :func:`properties.smiles` writes them, by name: "training", "held out".
        edm_known: what :func:`stability.edm_smiles` gives for the training data, for EDM's novelty.
        hydrogens: whether hydrogens are meant to be atoms; None decides by what most molecules have.
        table: the valences that may occur in a strict graph.
        subsample: of how many items PoseBusters and strain are computed; None for all.
        full: ask PoseBusters for its energy ratio too, seconds for a molecule.
        seed: of the order in which items and reference are taken.
        show: bars on standard error; None asks whether that is a terminal.

    Returns:
        One row per measure; shares, means and medians with 95 % intervals.

    Raises:
        ValueError: no items, or a reference of fewer than two molecules.
    """
    if not items:
        raise ValueError("items must hold at least one molecule or failure")
    explicit, said = (hydrogens, "") if hydrogens is not None else _explicit(items)
    if reference is not None or (subsample is not None and subsample < len(items)):
        items = _shuffled(items, seed)
    spaces = {"samples": _in_space(items)}
    settings = _Settings(known or {}, edm_known, frozenset(table), subsample, full, show)
    suited = [_suited(item, explicit) for item in items]
    columns = {"samples": _figures(suited, explicit, spaces["samples"], settings)}
    says = ""
    if reference is not None:
        theirs = explicit and (hydrogens is not None or _explicit(reference)[0])
        other = [_suited(item, theirs) for item in _shuffled(reference, seed)]
        spaces["reference"] = _in_space(other)
        suited = [_suited(item, theirs) for item in items]
        n, cells, floor = _distances(suited, other, all(spaces.values()))
        columns["samples"] |= cells
        columns["reference"] = _figures(other[: len(items)], theirs, spaces["reference"], settings) | floor
        says = f"distances of {n} molecules from {n} of the reference, whose other {n} give the floor (seed {seed}); "
        if explicit and not theirs:
            says += "hydrogens are no atoms of the reference, so distances leave them out; "
    rows = [
        {"measure": name, **{column: cells.get(name) for column, cells in columns.items()}}
        for name in dict.fromkeys(name for cells in columns.values() for name in cells)
    ]
    failed = sum(isinstance(item, Failure) for item in items)
    looked = len(items) if subsample is None else min(subsample, len(items))
    which = f"all {looked}" if looked == len(items) else f"{looked} taken at random (seed {seed})"
    dear = f"PoseBusters {posebusters_version()} ({'mol' if full else 'mol_fast'}) and strain of {which}"
    parts = [dear] if any(spaces.values()) else []
    parts += [
        f"there are no coordinates in the {column}, so soundness, PoseBusters, strain, stability and shapes cannot be "
        "measured there"
        for column, space in spaces.items()
        if not space
    ]
    caption = (
        f"{len(items)} samples, of which {failed} could not be decoded; hydrogens are {'' if explicit else 'no '}atoms"
        f"{said}; {says}{'; '.join(parts)}. Intervals: 95 %."
    )
    return Table(rows, caption)


@dataclass(frozen=True)
class _Settings:
    """Of :func:`evaluate`, the same for every column."""

    known: Mapping[str, Collection[str]]
    edm_known: Collection[str] | None
    table: frozenset[Triple]
    subsample: int | None
    full: bool
    show: bool | None


def histograms(items: Sequence[Mol | Failure], reference: Sequence[Mol | Failure] | None = None) -> Table:
    """Shares of each element, number of atoms, ring size and number of rings, beside those of the reference.

    Failures have none of them.
    """
    columns = {"samples": properties.histograms(_sanitised(items))}
    if reference is not None:
        columns["reference"] = properties.histograms(_sanitised(reference))
    rows = []
    for name in columns["samples"]:
        for value in sorted(
            {value for found in columns.values() for value in found[name]}, key=lambda v: (str(type(v)), v)
        ):
            shares = {c: found[name][value] / max(found[name].total(), 1) for c, found in columns.items()}
            rows.append({"histogram": name, "value": value, **shares})
    return Table(rows, f"shares among {len(items)} samples")


def scores(
    items: Sequence[Mol | Failure], *, hydrogens: bool = True, table: Collection[Triple] = VALENCES
) -> Iterator[dict[str, Any]]:
    """Figures of each item, to filter by or to write beside it; None where an item has none.

    Yields:
        reasons (text, empty if the graph is strict), strict, agrees, posebusters, sound, stable (by EDM's rule),
        strain (kcal/mol), rmsd (Å), qed, sa, logp, smiles.
    """
    for item in items:
        found = inspect([item], hydrogens=hydrogens, table=table, busted=None, show=False)[0]
        row: dict[str, Any] = {
            "reasons": "; ".join(found.reasons),
            "strict": found.strict,
            "agrees": found.agrees,
            "posebusters": found.passes,
            "sound": found.sound,
            "stable": False,
            **dict.fromkeys(("strain", "rmsd", "qed", "sa", "logp", "smiles")),
        }
        if not isinstance(item, Failure):
            mol, sanitised = prepared(item)
            if mol.GetNumConformers():
                row["stable"] = all(
                    stable is not None and bool(stable.all()) for stable in stable_atoms([mol])
                )
            if sanitised:
                relaxed = strain(mol)
                row |= {"strain": _finite(relaxed.energy), "rmsd": _finite(relaxed.rmsd)}
                row |= {**properties.figures(mol), "smiles": properties.smiles(mol)}
        yield row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _explicit(items: Sequence[Mol | Failure]) -> tuple[bool, str]:
    """Whether most molecules that need hydrogens have some among their atoms; in words, where they do not agree."""
    have = need = 0
    for item in items:
        if isinstance(item, Failure):
            continue
        there = any(atom.GetAtomicNum() == 1 for atom in item.GetAtoms())
        have += there
        need += not there and hidden_hydrogens(item) > 0
    mixed = f" (they are in {have} molecules, and in {need} they are not)" if have and need else ""
    return have > 0 and have >= need, mixed


def _shuffled(items: Sequence[Any], seed: int) -> list[Any]:
    return [items[k] for k in np.random.default_rng(seed).permutation(len(items)).tolist()]


def _in_space(items: Sequence[Mol | Failure]) -> bool:
    """Whether a molecule has coordinates, or there is none."""
    mols = [item for item in items if not isinstance(item, Failure)]
    return not mols or any(mol.GetNumConformers() for mol in mols)


def _suited(item: Mol | Failure, explicit: bool) -> Mol | Failure:
    """Without its hydrogens where these are not meant to be atoms."""
    from rdkit import Chem

    if explicit or isinstance(item, Failure):
        return item
    with quiet():
        return Chem.RemoveAllHs(item, sanitize=False)


def _sanitised(items: Sequence[Mol | Failure]) -> list[Mol]:
    """The molecules that rdkit can sanitise, in the state that it leaves them in."""
    found = (prepared(item) for item in items if not isinstance(item, Failure))
    return [mol for mol, right in found if right]


def _figures(items: Sequence[Mol | Failure], hydrogens: bool, space: bool, settings: _Settings) -> Cells:
    """Every measure that needs no second set; of graphs alone where no molecule has coordinates."""
    subsample, show = settings.subsample, settings.show
    judged = inspect(
        items, hydrogens=hydrogens, table=settings.table, busted=subsample if space else 0, show=show
    )
    if not space:
        judged = [
            replace(one, reasons=tuple(r for r in one.reasons if r != "no coordinates")) for one in judged
        ]
    good = _sanitised(items)
    cells = _judged(items, judged, settings.known, space)
    if space and settings.full:
        tests = posebusters(items[:subsample], config="mol", hydrogens=hydrogens, show=show)
        passed = sum(bool(row) and all(row.values()) for row in tests)
        cells["PoseBusters mol, with the energy ratio"] = wilson(passed, len(tests))
    if space and hydrogens:
        cells |= _stability(items, settings.edm_known)
    found = [one for one in strains(items[:subsample], show) if not math.isnan(one.energy)] if space else []
    if found:
        cells["strain, median (kcal/mol)"] = median([one.energy for one in found])
        cells["RMSD on relaxing, median (Å)"] = median([one.rmsd for one in found])
    figures = [properties.figures(mol) for mol in good]
    for key, name in (("qed", "QED"), ("sa", "SA"), ("logp", "logP")):
        if figures:
            cells[f"{name}, mean"] = bootstrap([row[key] for row in figures])
    if len(good) > 1:
        cells["diversity"] = properties.diversity(good)
    return cells


def _judged(
    items: Sequence[Mol | Failure],
    judged: Sequence[Soundness],
    known: Mapping[str, Collection[str]],
    space: bool = True,
) -> Cells:
    """Shares of decoded, strict, agreeing, passing and sound items, with reasons; of unique and known ones."""
    n = len(items)
    busted = [one for one in judged if one.tests is not None]
    cells: Cells = {
        "decoded": wilson(sum("not decoded" not in one.reasons for one in judged), n),
        "strict": wilson(sum(one.strict for one in judged), n),
    }
    for reason in REASONS[1 if space else 2 :]:
        cells[f"not strict: {reason}"] = wilson(sum(reason in one.reasons for one in judged), n)
    if space:
        cells["coordinates agree with the graph"] = wilson(sum(one.agrees for one in judged), n)
    if busted:
        cells["PoseBusters mol_fast"] = wilson(sum(bool(one.passes) for one in busted), len(busted))
        for test in dict.fromkeys(test for one in busted for test in one.tests or {}):
            passed = sum(bool((one.tests or {}).get(test)) for one in busted)
            cells[f"PoseBusters: {test}"] = wilson(passed, len(busted))
        cells["sound"] = wilson(sum(bool(one.sound) for one in busted), len(busted))
    for kind in ("sound", "strict"):
        chosen = [item for item, one in zip(items, judged) if getattr(one, kind)]
        written = [properties.smiles(mol) for mol in _sanitised(chosen)]
        if written:
            cells[f"unique of {kind}"] = wilson(len(set(written)), len(written))
            for name, held in known.items():
                cells[f"of {kind} in {name}"] = wilson(sum(s in held for s in written), len(written))
    return cells


def _stability(items: Sequence[Mol | Failure], edm_known: Collection[str] | None) -> Cells:
    """EDM's figures, and stability by corrected valences; a molecule without coordinates counts as a failure."""
    items = [
        item if isinstance(item, Failure) or item.GetNumConformers() else Failure("no coordinates")
        for item in items
    ]
    rule = edm(items, edm_known)
    cells: Cells = {
        "EDM atom stability": rule.atoms,
        "EDM molecule stability": rule.molecules,
        "EDM validity": rule.validity,
        "EDM uniqueness": rule.uniqueness,
        "EDM novelty": rule.novelty,
    }
    found = stable_by_valence([item if isinstance(item, Failure) else prepared(item)[0] for item in items])
    cells["corrected valence, atoms"], cells["corrected valence, molecules"] = shares(found)
    return {name: cell for name, cell in cells.items() if cell is not None}


def _distances(
    items: Sequence[Mol | Failure], reference: Sequence[Mol | Failure], space: bool = True
) -> tuple[int, Cells, Cells]:
    """How many molecules each side has, the distances of the samples, and those of the reference from itself."""
    real = [item for item in reference if not isinstance(item, Failure)]
    if len(real) < 2:
        raise ValueError(f"reference must hold at least 2 molecules; got {len(real)}")
    made = [item for item in items if not isinstance(item, Failure)]
    n = min(len(made), len(real) // 2)
    sides = [_described(side) for side in (made[:n], real[:n], real[n : 2 * n])]
    against = sides[2]
    cells: list[Cells] = []
    for side in sides[:2]:
        cells.append({})
        for name, (found, both) in side.items():
            if both and not space:
                continue
            other = against[name][0]
            apart = divergence(found, other) if found.total() and other.total() else None
            cells[-1][f"{name}: Jensen–Shannon distance"] = None if apart is None else math.sqrt(apart)
            if both:
                cells[-1][f"{name}: Jensen–Shannon divergence (bits)"] = apart
    return n, cells[0], cells[1]


def _described(mols: Sequence[Mol]) -> dict[str, tuple[Any, bool]]:
    """Every histogram of a set, and whether it is one of shapes."""
    every = [prepared(mol)[0] for mol in mols]
    return {
        **{name: (found, True) for name, found in shapes(every).items()},
        **{name: (found, False) for name, found in properties.histograms(every).items()},
    }
