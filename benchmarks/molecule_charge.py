"""Net charge asked of a molecule model, and what came out, by rdkit.

    python -m benchmarks.molecule_charge --data ../shared/data --out runs/molecule-charge

QM9 is neutral, so that ions are made of its training split, a molecule being dealt at random to one of

    +1    one aliphatic amine takes a proton: nitrogen with no neighbours but hydrogen and saturated carbon, which leaves
          out amides, anilines, enamines, amidines, nitriles and aromatic nitrogen
    -1    one hydroxyl group gives its proton: of a carboxylic acid if there is one (QM9 has none), else on an aromatic
          ring, an enol or an oxime, else an alcohol
     0    as it is

in equal numbers; ions only of molecules without formal charges. Heavy atoms keep their coordinates, which are those of the
neutral molecules, and alcoholates are there for their charge, not for their chemistry. A model of heavy atoms writes an
ion as a formal charge, from which rdkit fills in one hydrogen more or less. The molecules are written as an SDF, and a
shipped model is trained on it with net charge and formula as conditions.

Rows:

    real                ions of the test split, made in the same way, and neutral molecules
    nothing asked       samples of the trained model without conditions, against no charge
    -1, 0, +1           samples asked for this charge
    all                 these together
    shuffled (chance)   the same samples against the charges that were asked of others
    with formula        samples asked for charge and formula of the real row's molecules, one for each

    as asked            net charge is what was asked; what could not be decoded is not
    strict, sound       of all samples; see langevin/modalities/molecule/soundness.py
    both                net charge as asked, and sound
    formula             the atoms are those asked for
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import langevin as lv
from benchmarks.reporting import heading
from benchmarks.ship import table as markdown
from langevin.core.progress import bar
from langevin.modalities.molecule.archives import Archive, read_archive
from langevin.modalities.molecule.atoms import Atoms, quiet, to_mol
from langevin.modalities.molecule.descriptors import describe, formula_of
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.molecule.writing import write_sdf
from langevin.modalities.samples import Failure
from langevin.modalities.statistics import Table, wilson

CHARGES = (-1, 0, 1)
SITES = {  # by change of charge: kinds of atoms as SMARTS for molecules without explicit hydrogens, the first that occurs
    1: {"amine": "[NX3;+0;!$(N~[!$([CX4])])]"},
    -1: {
        "carboxylic acid": "[OX2H1;$(O[CX3]=O)]",
        "aromatic hydroxyl": "[OX2H1;$(O-c)]",
        "enol": "[OX2H1;$(O-C=C)]",
        "oxime": "[OX2H1;$(O-N=C)]",
        "alcohol": "[OX2H1;$(O-[CX4])]",
    },
}
COLUMNS = ("asked", "guidance", "as asked", "strict", "sound", "both", "unique of sound", "formula")
Bools = NDArray[np.bool_]


@cache
def patterns(change: int) -> dict[str, Any]:
    from rdkit import Chem

    return {kind: Chem.MolFromSmarts(smarts) for kind, smarts in SITES[change].items()}


def ion(atoms: Atoms, change: int, rng: np.random.Generator) -> tuple[Atoms, str] | None:
    """A molecule with one proton more (1) or less (-1) at a site drawn from those of its first kind, and the kind.

    None where it has no site, or has formal charges already.

    Args:
        atoms: heavy atoms only.
    """
    if atoms.charges.any():
        return None
    mol = to_mol(atoms, explicit=False)
    for kind, pattern in patterns(change).items():
        places = [match[0] for match in mol.GetSubstructMatches(pattern)]
        if places:
            charges = atoms.charges.copy()
            charges[rng.choice(places)] = change
            return replace(atoms, charges=charges), kind
    return None


def dealt(archive: Archive, each: int, seed: int) -> tuple[list[Atoms], list[int], Counter[str]]:
    """So many molecules of each charge, the charges, and how many of each kind of site.

    Molecules come in random order, each dealt to one of the charges that still lack some; one that cannot have the
    charge that it was dealt is left out.

    Raises:
        ValueError: the archive has not that many.
    """
    rng = np.random.default_rng(seed)
    missing, atoms, charges = dict.fromkeys(CHARGES, each), [], []
    kinds: Counter[str] = Counter()
    for k in bar(rng.permutation(len(archive)).tolist(), len(archive), "making ions", None):
        open_ = [charge for charge, count in missing.items() if count]
        if not open_:
            break
        change = int(rng.choice(open_))
        heavy = archive[k].heavy()
        made = ion(heavy, change, rng) if change else (heavy, "neutral")
        if made is not None:
            missing[change] -= 1
            atoms.append(made[0])
            charges.append(change)
            kinds[made[1]] += 1
    if any(missing.values()):
        raise ValueError(
            f"the data have too few molecules for --each {each}: {missing} are missing by charge"
        )
    return atoms, charges, kinds


def written(options: argparse.Namespace) -> Path:
    """The SDF to train on; where it lies there already, that one."""
    path: Path = options.out / f"ions-{options.each}.sdf"
    if not path.exists():
        archive = read_archive(options.data / "molecules" / "qm9.npz", "train")
        atoms, charges, kinds = dealt(archive, options.each, seed=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"net_charge": charge} for charge in charges]
        write_sdf([to_mol(one, explicit=False) for one in atoms], path, rows=rows)
        print(f"{path}: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}", flush=True)
    return path


def trained(path: Path, options: argparse.Namespace) -> Any:
    """The model trained further; where its folder has one of as many steps, that one."""
    started, spent = time.perf_counter(), time.process_time()
    lv.train(
        path,
        "molecule",
        start=options.start,
        steps=options.steps,
        batch=128,
        lr=options.lr,
        warmup=50,
        decay="cosine",
        save=100,
        out=options.out / "model",
        model={
            "name": "molecule-charge",
            "summary": "small organic molecules and ions in 3-D, heavy atoms only, by net charge and formula",
            "objective": {"given": 0.0},
        },
        options={"hydrogens": False, "descriptors": ["charge", "formula"]},
        device="cpu",
    )
    print(
        f"{options.steps} steps of 128, less those that the folder had: {time.process_time() - spent:.0f} s of one thread, "
        f"{time.perf_counter() - started:.0f} s by the clock",
        flush=True,
    )
    return lv.load(options.out / "model", device="cpu")


def charge_of(mol: Any) -> int | None:
    """Net charge by rdkit; None of what could not be decoded."""
    return None if isinstance(mol, Failure) else int(describe(mol, "charge", hydrogens=False)["charge"])


def share(found: Sequence[Any] | Bools) -> Any:
    return wilson(int(np.sum(found)), len(found))


def different(mols: Sequence[Any]) -> float:
    """Share of canonical SMILES that are not among those before."""
    from rdkit import Chem

    with quiet():
        return len({Chem.MolToSmiles(mol) for mol in mols}) / max(1, len(mols))


@dataclass(frozen=True)
class Judged:
    """Samples, their net charges, and which are strict and sound."""

    mols: list[Any]
    charges: list[int | None]
    strict: Bools
    sound: Bools

    @classmethod
    def of(cls, mols: Sequence[Any]) -> Judged:
        found = inspect(mols, hydrogens=False, busted=None)
        strict, sound = ([one.strict for one in found], [bool(one.sound) for one in found])
        return cls(
            list(mols), [charge_of(mol) for mol in mols], np.array(strict, bool), np.array(sound, bool)
        )

    def part(self, at: slice) -> Judged:
        return Judged(self.mols[at], self.charges[at], self.strict[at], self.sound[at])

    def against(self, asked: Sequence[int]) -> Bools:
        """Which have the net charge that is asked."""
        return np.array([found == wanted for found, wanted in zip(self.charges, asked, strict=True)], bool)

    def cells(self, asked: Sequence[int] | None = None) -> dict[str, Any]:
        good = [mol for mol, ok in zip(self.mols, self.sound, strict=True) if ok]
        own = {"strict": share(self.strict), "sound": share(self.sound), "unique of sound": different(good)}
        if asked is None:
            return own
        right = self.against(asked)
        return {"as asked": share(right), **own, "both": share(right & self.sound)}


def measured(model: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the table, printed as they are found."""
    rows: list[dict[str, Any]] = []

    def add(asked: str, guidance: float | None, cells: dict[str, Any]) -> None:
        rows.append({"asked": asked, "guidance": guidance, **cells})
        print(" | ".join(f"{k} {v}" for k, v in rows[-1].items() if v is not None), flush=True)

    def draw(count: int, guidance: float = 1.0, **conditions: Any) -> Judged:
        return Judged.of(list(model.sample(count, guidance=guidance, seed=0, progress=False, **conditions)))

    test = read_archive(options.data / "molecules" / "qm9.npz", "test")
    atoms, charges, _ = dealt(test, -(-options.n // len(CHARGES)), seed=1)
    real = [to_mol(one, explicit=False) for one in atoms]
    formulas = [formula_of(mol) for mol in real]
    add("real", None, Judged.of(real).cells(charges))
    free = draw(options.n)
    add("nothing asked", None, free.cells())
    print("net charges where nothing is asked:", dict(Counter(free.charges).most_common()), flush=True)
    asked = [charge for charge in CHARGES for _ in range(options.n)]
    other = np.random.default_rng(0).permutation(asked).tolist()
    for guidance in options.guidance:
        drawn = draw(len(asked), guidance, charge=asked)
        for k, charge in enumerate(CHARGES):
            at = slice(k * options.n, (k + 1) * options.n)
            add(f"{charge:+d}" if charge else "0", guidance, drawn.part(at).cells(asked[at]))
        add("all", guidance, drawn.cells(asked))
        right = drawn.against(other)
        add("shuffled (chance)", guidance, {"as asked": share(right), "both": share(right & drawn.sound)})
        fitted = draw(len(charges), guidance, charge=charges, formula=formulas)
        same = [
            not isinstance(mol, Failure) and formula_of(mol) == wanted
            for mol, wanted in zip(fitted.mols, formulas, strict=True)
        ]
        add("with formula", guidance, {**fitted.cells(charges), "formula": share(same)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start", default="molecule-qm9-heavy", help="what is trained; heavy atoms only")
    parser.add_argument("--each", type=int, default=9000, help="molecules of each charge to train on")
    parser.add_argument("--steps", type=int, default=2000, help="of training")
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("-n", type=int, default=500, help="samples of each charge")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with molecules/…")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/molecule-charge"), help="folder of ions and model"
    )
    parser.add_argument("--json", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    heading("asked against obtained: net charge")
    model = trained(written(options), options)
    table = Table(
        [{column: row.get(column) for column in COLUMNS} for row in measured(model, options)],
        f"Net charge by rdkit, {options.n} samples for each charge. Intervals: 95 %.",
    )
    print(f"\n{markdown(table.plain())}")
    if options.json:
        table.to_json(options.json)


if __name__ == "__main__":
    main()
