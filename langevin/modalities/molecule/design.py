"""Ligands drawn for a pocket of one's own.

    model = lv.load("runs/pocket-demo")
    ligands = design(model, "1abc.pdb", 20, ligand="A:LIG:401", seed=0)
    grown = design(model, "1abc.pdb", 20, (18, 24), centre=(11.2, 4.0, -7.5), fragment=piece, seed=0)

The ligand or the point that is named says which residues are the pocket, and nothing more: the model sees the protein
alone. A fragment is kept with the user's coordinates, and the rest is drawn around it. What was left out of the file, or
is missing in it, is said on standard error and stands in the samples' record.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from langevin.core.progress import note
from langevin.core.request import checked_seed
from langevin.core.rng import Stream
from langevin.modalities.molecule.atoms import Atoms, of_mol, quiet, reason
from langevin.modalities.molecule.binding import MOST, Placed, PocketModality
from langevin.modalities.molecule.binding_plugin import RADIUS
from langevin.modalities.molecule.edits import KeepAtoms
from langevin.modalities.molecule.plugin import SUFFIXES
from langevin.modalities.molecule.pockets import Pocket, read_pocket

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from langevin.core.model import Model
    from langevin.modalities.samples import Samples
else:
    Mol: TypeAlias = Any

__all__ = ["asked", "design"]

Size: TypeAlias = int | tuple[int, int]
_FAR = 8.0  # Å: a fragment with no atom of the pocket nearer than this lies elsewhere


def design(
    model: Model,
    pocket: Pocket | str | Path,
    n: int = 1,
    atoms: Size | None = None,
    *,
    ligand: Mol | str | Path | None = None,
    centre: Sequence[float] | None = None,
    radius: float | None = None,
    fragment: Mol | None = None,
    at: Sequence[int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Samples:
    """``n`` ligands in a pocket, in the frame of its file.

    Args:
        model: of pockets.
        pocket: a pocket, or a PDB or mmCIF file, with ``ligand`` or ``centre`` to say where in it.
        n: how many.
        atoms: heavy atoms of the ligands, those of the fragment among them, or (fewest, most); drawn from the sizes of
            the training ligands in pockets as large when None.
        ligand: what lies in the pocket: a residue of the file, ``A:LIG:401``, a molecule, or a file of one.
        centre: a point in the pocket in Å, in place of a ligand.
        radius: Å around the ligand or the centre; 8 by default.
        fragment: a molecule in the frame of the file that all ligands hold. Its dummy atoms (``[*:1]``) are attachment
            points.
        at: indices of the fragment's atoms that new ones may be bonded to, in place of dummy atoms; None, and no dummy
            atoms: any.
        seed: of all random numbers.
        options: as for ``model.sample``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a model without pockets, a file, residue or point that gives no pocket, a fragment that does not lie in
            the pocket, or sizes that are none.
    """
    modality = model.modality
    if not isinstance(modality, PocketModality):
        raise ValueError(
            f"{model.name} is a model of the modality {modality.name!r} and sees no pockets; train one with "
            "`langevin train experiment=pocket_demo`"
        )
    if isinstance(pocket, Pocket):
        if ligand is not None or centre is not None or radius is not None:
            raise ValueError(
                "ligand, centre and radius say where in a file a pocket is; this one has been cut already"
            )
        held = pocket
    else:
        held = _read(pocket, ligand, centre, radius)
    rng = Stream.of(checked_seed(seed), n).fold("sample")
    like, keep = _places(modality, held, rng, atoms, fragment, at)
    return model.sample(n, like=like, keep=keep, seed=seed, **options)  # type: ignore[no-any-return]


def asked(modality: PocketModality, spec: Any, rng: Stream) -> tuple[list[Placed], KeepAtoms]:
    """What a :class:`~langevin.modalities.molecule.binding_plugin.PocketSpec` asks for.

    Raises:
        FileNotFoundError, ValueError: as :func:`design`.
    """
    if spec.pocket is None:
        raise ValueError("ligand, centre, radius and atoms are of a pocket; give pocket, a PDB or mmCIF file")
    return _places(modality, _read(spec.pocket, spec.ligand, spec.centre, spec.radius), rng, spec.atoms)


def _read(
    path: str | Path,
    ligand: Mol | str | Path | None,
    centre: Sequence[float] | None,
    radius: float | None,
) -> Pocket:
    """The pocket of a file, with a word on standard error about what was done to get it."""
    path = Path(path)
    named = isinstance(ligand, (str, Path))
    if not path.is_file() or not (ligand is None or named):
        return read_pocket(path, ligand, centre, RADIUS if radius is None else radius)  # type: ignore[arg-type]
    point = None if centre is None else tuple(float(x) for x in centre)
    stamp = path.stat().st_mtime_ns
    return _read_once(
        path, stamp, None if ligand is None else str(ligand), point, RADIUS if radius is None else radius
    )


@functools.lru_cache(maxsize=8)
def _read_once(
    path: Path, stamp: int, ligand: str | None, centre: tuple[float, ...] | None, radius: float
) -> Pocket:
    """A run that draws until enough pass asks for the pocket with every batch."""
    from langevin.modalities.molecule.files import read_one

    where: Any = ligand
    if ligand is not None and (ligand.lower().endswith(SUFFIXES) or Path(ligand).is_file()):
        where = read_one(Path(ligand))
    pocket = read_pocket(path, where, centre, radius)
    note(pocket.report)
    return pocket


def _places(
    modality: PocketModality,
    pocket: Pocket,
    rng: Stream,
    atoms: Size | None = None,
    fragment: Mol | None = None,
    at: Sequence[int] | None = None,
) -> tuple[list[Placed], KeepAtoms]:
    """The pocket with places for a ligand of each sample, and what is kept of both.

    Raises:
        ValueError: sizes that are none, or a fragment that cannot be kept.
    """
    if fragment is None and at is not None:
        raise ValueError("at names atoms of a fragment; give fragment as well")
    held, open_ = (_EMPTY, None) if fragment is None else _prepared(fragment, at)
    first = len(held)
    if first:
        away = float(np.linalg.norm(pocket.positions[:, None] - held.positions, axis=-1).min())
        if away > _FAR:
            raise ValueError(
                f"the fragment lies {away:.1f} Å from the nearest atom of the pocket; it must be in the frame of the file"
            )
    counts = _counts(modality, pocket, rng, atoms, first)
    items = [Placed(pocket, _extended(held, count - first, pocket.centre)) for count in counts]
    seen = len(modality.shown(items[0]))

    def select(shape: Sequence[int]) -> Tensor:
        return torch.arange(shape[0]) < seen + first

    name = f"a pocket of {seen} atoms" + (f", a fragment of {first}" if first else "")
    return items, KeepAtoms(select, name, (), None if open_ is None else tuple(seen + k for k in open_))


def _counts(
    modality: PocketModality, pocket: Pocket, rng: Stream, atoms: Size | None, first: int
) -> list[int]:
    """Heavy atoms of each ligand."""
    if atoms is None:
        return [min(MOST, max(count, first + 1)) for count in modality.size(pocket, rng)]
    low, high = (atoms, atoms) if isinstance(atoms, int) else atoms
    if not first < low <= high <= MOST:
        least = f"more than the {first} of the fragment" if first else "at least 1"
        raise ValueError(f"atoms must be {least} and at most {MOST}, or a range that rises; got {atoms}")
    u = rng.fold("range").uniform((len(rng),)).tolist()
    return [low + int(v * (high - low + 1)) for v in u]


def _prepared(fragment: Mol, at: Sequence[int] | None) -> tuple[Atoms, list[int] | None]:
    """A fragment's heavy atoms without dummies, and which of them are open; None for all.

    Raises:
        ValueError: no heavy atoms, an index that is none, or a fragment that has no Kekulé form or conformer.
    """
    from rdkit import Chem

    count = fragment.GetNumAtoms()
    for place in at or ():
        if not 0 <= place < count or fragment.GetAtomWithIdx(int(place)).GetAtomicNum() <= 1:
            raise ValueError(f"at: {place} is no heavy atom of the fragment, whose atoms are 0 … {count - 1}")
    mol = Chem.RWMol(fragment)
    try:
        with quiet():
            Chem.Kekulize(mol, clearAromaticFlags=True)
        whole = of_mol(mol, partial=True)
    except ValueError as error:
        raise ValueError(f"the fragment {reason(error)}") from None
    stay = np.flatnonzero(whole.numbers > 1)
    dummies = set(np.flatnonzero(whole.numbers == 0).tolist())
    if dummies and at is not None:
        raise ValueError("the fragment has attachment points; leave out at")
    if not len(stay):
        raise ValueError("the fragment has no heavy atoms")
    new = np.full(len(whole), -1)
    new[stay] = np.arange(len(stay))
    rows = whole.bonds.tolist()
    inner = np.array([(new[i], new[j], o) for i, j, o in rows if new[i] >= 0 and new[j] >= 0], np.int16)
    ends = [i if j in dummies else j for i, j, _ in rows if (i in dummies) != (j in dummies)]
    open_ = sorted({int(new[k]) for k in (ends if dummies else at or ())})
    held = Atoms(whole.numbers[stay], whole.positions[stay], whole.charges[stay], inner.reshape(-1, 3))
    return held, open_ if dummies or at is not None else None


def _extended(held: Atoms, count: int, centre: Any) -> Atoms:
    """Atoms with places for ``count`` new ones behind them."""
    return Atoms(
        np.concatenate([held.numbers, np.full(count, 6, np.uint8)]),
        np.concatenate([held.positions, np.repeat(np.asarray(centre)[None], count, 0)]).astype(np.float32),
        np.concatenate([held.charges, np.zeros(count, np.int8)]),
        held.bonds,
    )


_EMPTY = Atoms(
    np.zeros(0, np.uint8), np.zeros((0, 3), np.float32), np.zeros(0, np.int8), np.zeros((0, 3), np.int16)
)
