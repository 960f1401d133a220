"""One table for ligands in pockets: what they do there, beside real ligands and beside two controls.

Columns:
    samples                   ligands that were generated for the pocket they lie in
    data                      the pockets' own ligands
    permuted                  the same ligands in another pocket, of another cluster: each keeps its place and its turn with
                              regard to the centre of its pocket
    unconditional             ligands that were made for no pocket, their mean at the centre, turned at random (seeded)
    samples − permuted, …     paired differences, of measures with a good direction: of the same ligands, of the same pockets

A model that does not look at the pocket does as well in the permuted ones; one that makes good molecules of the right
size does as well as the unconditional. Only differences whose intervals exclude 0 say that pockets were used.

Every figure is the mean over clusters of similar proteins of the means over their pockets of the means over the
pocket's ligands; clusters, not ligands, are what the 95 % bootstrap intervals resample. Failures count as bad in every
share, and are left out of means. Measures are those of :mod:`contacts` and of PoseBusters.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from langevin.core.errors import unknown
from langevin.core.progress import bar
from langevin.modalities.base import Failure
from langevin.modalities.molecule.contacts import contacts, heavy_positions, moved, shape, shape_likeness
from langevin.modalities.molecule.docking import posebusters_in_pocket
from langevin.modalities.molecule.pockets import Pocket
from langevin.modalities.molecule.soundness import posebusters_version, prepared
from langevin.modalities.statistics import Table, bootstrap

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["BETTER", "beats_controls", "evaluate_in_pockets", "permuted_pockets", "placed"]

Items: TypeAlias = "Mapping[str, Sequence[Mol | Failure]]"
Rows: TypeAlias = dict[str, list[dict[str, float]]]  # by pocket, one for each ligand

# which way is better; of the others, such as contacts, which atoms inside those of the protein have most of, the best
# is what real ligands have
BETTER = {
    "decoded": 1,
    "without clash": 1,
    "clashes": -1,
    "without overlap": 1,
    "volume overlap": -1,
    "atoms that touch and do not clash": 1,
    "polar contacts per N, O": 1,
    "shape likeness to the true ligand": 1,
    "PoseBusters": 1,
    "PoseBusters, protein": 1,
}
_SHARES = ("decoded", "without clash", "without overlap")  # of which a failure has 0


def evaluate_in_pockets(
    ligands: Items,
    pockets: Mapping[str, Pocket],
    references: Mapping[str, Mol | Sequence[Mol]] | None = None,
    *,
    unconditional: Sequence[Mol | Failure] = (),
    clusters: Mapping[str, Hashable] | None = None,
    permuted: bool = True,
    config: str | None = "dock_fast",
    subsample: int | None = 5,
    hydrogens: bool = False,
    seed: int = 0,
    repeats: int = 1000,
    show: bool | None = None,
) -> Table:
    """Measure ligands in their pockets, beside real ligands and the controls.

    Args:
        ligands: for each pocket by name, what was generated for it, in its frame.
        pockets: by the same names.
        references: the true ligand of each pocket, or several.
        unconditional: ligands made for no pocket; as many as a pocket has ligands are placed in it, drawn by the seed.
        clusters: of each pocket, what is the same for similar proteins (``Complex.cluster``); each pocket is its own when
            None.
        permuted: whether to measure the permuted control; it needs two clusters, none with more than half of the pockets.
        config: PoseBusters' configuration ("dock_fast", "dock"), or None for no such tests.
        subsample: of how many ligands of each pocket, from the first on, PoseBusters is asked; None for all.
        hydrogens: whether hydrogens are atoms of the ligands.
        seed: of the permutation, of turns and draws, and of the bootstrap.
        repeats: of the bootstrap.
        show: bars on standard error; None asks whether that is a terminal.

    Returns:
        One row per measure; ``better`` says which way is.

    Raises:
        ValueError: no ligands, a name that is not among the pockets, a pocket without ligands, or pockets that cannot be
            permuted.
    """
    _check(ligands, pockets)
    names = sorted(ligands)
    group = {name: clusters[name] if clusters is not None else name for name in names}
    true = {name: _several(references[name]) for name in names if references and name in references}

    def measured(items: Items, where: Mapping[str, str], what: str, alike: bool = True) -> Rows:
        out: Rows = {}
        for name in bar(names, len(names), f"{what} in pockets", show):
            if name in items:
                known = true.get(where[name], []) if alike else []
                out[name] = _rows(items[name], pockets[where[name]], known, config, subsample, hydrogens)
        return out

    own = {name: name for name in names}
    columns: dict[str, Rows] = {"samples": measured(ligands, own, "samples")}
    if true:
        columns["data"] = measured(true, own, "data", alike=False)
    if permuted:
        where = permuted_pockets(group, seed)
        there = {
            name: [_carried(m, pockets[name], pockets[where[name]]) for m in ligands[name]] for name in names
        }
        columns["permuted"] = measured(there, where, "permuted")
    if unconditional:
        made = {name: placed(unconditional, pockets[name], len(ligands[name]), name, seed) for name in names}
        columns["unconditional"] = measured(made, own, "unconditional")
    rows = _table(columns, names, group, repeats, seed)
    count = sum(map(len, ligands.values()))
    failed = sum(isinstance(item, Failure) for items in ligands.values() for item in items)
    tests = (
        f"; PoseBusters {posebusters_version()} ({config}) of the first {subsample or 'all'} of each pocket"
        * bool(config)
    )
    caption = (
        f"{count} ligands, of which {failed} failed, in {len(names)} pockets of {len(set(group.values()))} clusters{tests}. "
        f"Means over clusters with 95 % bootstrap intervals over clusters (seed {seed})."
    )
    return Table(rows, caption)


def beats_controls(table: Table, measure: str) -> bool:
    """Whether a table's samples are better than both controls in a measure, with intervals that exclude 0.

    Raises:
        ValueError: a measure without a good direction, or a table without one of the controls.
    """
    if measure not in BETTER:
        raise ValueError(unknown("measure with a good direction", measure, BETTER))
    row = table.row(measure=measure)
    found = []
    for control in ("permuted", "unconditional"):
        difference = row.get(f"samples − {control}")
        if difference is None:
            raise ValueError(f"the table has no difference from the control {control!r} in {measure!r}")
        found.append(difference.low > 0 if BETTER[measure] > 0 else difference.high < 0)
    return all(found)


def permuted_pockets(group: Mapping[str, Hashable], seed: int = 0) -> dict[str, str]:
    """For each pocket another one, of another cluster; every pocket is taken once.

    Pockets are put in an order that keeps clusters together, clusters and their pockets shuffled, and shifted by the size
    of the largest cluster.

    Raises:
        ValueError: a cluster with more than half of the pockets.
    """
    sizes = Counter(group.values())
    largest = max(sizes.values())
    if 2 * largest > len(group):
        raise ValueError(
            f"pockets cannot be permuted: {largest} of {len(group)} are of one cluster; give pockets of other proteins, or "
            "permuted=False"
        )
    rng = np.random.default_rng(seed)
    names = [sorted(group)[k] for k in rng.permutation(len(group))]
    first = {cluster: k for k, cluster in reversed(list(enumerate(group[name] for name in names)))}
    order = sorted(names, key=lambda name: first[group[name]])  # stable: shuffled within clusters too
    return {name: order[(k + largest) % len(order)] for k, name in enumerate(order)}


def placed(
    ligands: Sequence[Mol | Failure], pocket: Pocket, count: int, name: str = "", seed: int = 0
) -> list[Mol | Failure]:
    """``count`` of some ligands with their means at the centre of a pocket, turned at random.

    Args:
        ligands: with conformers; drawn without repetition while they last.
        pocket: where to.
        count: how many.
        name, seed: of the draws and turns.
    """
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    order = np.concatenate([rng.permutation(len(ligands)) for _ in range(-(-count // len(ligands)))])[:count]
    turns = Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix()
    out: list[Mol | Failure] = []
    for k, turn in zip(order.tolist(), turns):
        item = ligands[k]
        if not isinstance(item, Failure):
            item = moved(item, pocket.centre - heavy_positions(item).mean(0), turn)
        out.append(item)
    return out


def _check(ligands: Items, pockets: Mapping[str, Pocket]) -> None:
    if not ligands:
        raise ValueError("ligands must hold at least one pocket")
    for name, items in ligands.items():
        if name not in pockets:
            raise ValueError(unknown("pocket", name, pockets))
        if not len(items):
            raise ValueError(f"the pocket {name!r} has no ligands; a failure counts as one")


def _several(reference: Mol | Sequence[Mol]) -> list[Mol]:
    return list(reference) if isinstance(reference, Sequence) else [reference]


def _carried(item: Mol | Failure, one: Pocket, other: Pocket) -> Mol | Failure:
    """A ligand at the same place with regard to the centre of another pocket."""
    return item if isinstance(item, Failure) else moved(item, other.centre - one.centre)


def _rows(
    items: Sequence[Mol | Failure],
    pocket: Pocket,
    known: Sequence[Mol],
    config: str | None,
    subsample: int | None,
    hydrogens: bool,
) -> list[dict[str, float]]:
    """Figures of each ligand; a failure has 0 in every share and nothing else."""
    rows = [_figures(item, pocket, known) for item in items]
    if config is not None:
        tests = posebusters_in_pocket(
            items[:subsample], pocket, config=config, hydrogens=hydrogens, show=False
        )
        for row, found in zip(rows, tests):
            outer = [right for test, right in found.items() if _of_protein(test)]
            row["PoseBusters"] = float(bool(found) and all(found.values()))
            row["PoseBusters, protein"] = float(bool(outer) and all(outer))
    return rows


def _of_protein(test: str) -> bool:
    """Whether a test of PoseBusters looks at the surroundings."""
    return test.startswith(("protein", "minimum_distance", "volume_overlap"))


def _figures(item: Mol | Failure, pocket: Pocket, known: Sequence[Mol]) -> dict[str, float]:
    if isinstance(item, Failure):
        return dict.fromkeys(_SHARES, 0.0)
    mol, _ = prepared(item)
    try:
        found = contacts(mol, pocket)
    except ValueError:  # no coordinates that mean anything
        return dict.fromkeys(_SHARES, 0.0)
    row = {
        "decoded": 1.0,
        "without clash": float(not found.clashing),
        "clashes": float(found.clashes),
        "smallest distance / radii": found.smallest,
        "without overlap": float(not found.overlapping),
        "volume overlap": found.overlap,
        "atoms that touch and do not clash": found.fitting,
        "buried surface": found.buried,
        "atoms in contact": found.touching,
        "contacts per atom": found.contacts,
        "atoms inside": found.inside,
        "distance from the centre (Å)": found.from_centre,
    }
    if found.polar is not None:
        row["polar contacts per N, O"] = found.polar
    if known:
        row["shape likeness to the true ligand"] = float(np.mean([shape_likeness(mol, one) for one in known]))
    described = shape(mol)
    row["radius of gyration (Å)"] = described["gyration"]
    row["npr1 (0 rod, ½ disc, 1 sphere)"] = described["npr1"]
    row["heavy atoms"] = float(sum(atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()))
    return row


def _table(
    columns: Mapping[str, Rows], names: Sequence[str], group: Mapping[str, Hashable], repeats: int, seed: int
) -> list[dict[str, Any]]:
    measures = dict.fromkeys(
        m for rows in columns.values() for held in rows.values() for row in held for m in row
    )
    order = [*(m for m in BETTER if m in measures), *(m for m in measures if m not in BETTER)]
    out: list[dict[str, Any]] = []
    for measure in order:
        means = {column: _by_cluster(rows, names, group, measure) for column, rows in columns.items()}
        row: dict[str, Any] = {"measure": measure}
        for column, values in means.items():
            row[column] = bootstrap(list(values.values()), repeats=repeats, seed=seed) if values else None
        for control in ("permuted", "unconditional"):
            if control in means and measure in BETTER:
                both = [c for c in means["samples"] if c in means[control]]
                apart = [means["samples"][c] - means[control][c] for c in both]
                row[f"samples − {control}"] = bootstrap(apart, repeats=repeats, seed=seed) if apart else None
        row["better"] = {1: "higher", -1: "lower"}.get(BETTER.get(measure, 0))
        out.append(row)
    return out


def _by_cluster(
    rows: Rows, names: Sequence[str], group: Mapping[str, Hashable], measure: str
) -> dict[Hashable, float]:
    """Mean over its pockets' means, for each cluster in which the measure has a value."""
    held: dict[Hashable, list[float]] = {}
    for name in names:
        values = [row[measure] for row in rows.get(name, ()) if measure in row]
        if values:
            held.setdefault(group[name], []).append(float(np.mean(values)))
    return {cluster: float(np.mean(values)) for cluster, values in held.items()}
