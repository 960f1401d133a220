"""Which molecules to keep: conditions on measures, and patterns that must or must not occur.

    model.passing(100, "sound and strain < 20", must=["[#6]C(=O)N"], must_not=["[F,Cl,Br,I]"])
    langevin sample molecule-qm9 -n 100 --filter "sound and strain < 20" --must "[#6]C(=O)N"

The language of conditions is that of :mod:`langevin.modalities.expressions`, the measures are those of :data:`MEASURES`.
A measure is taken once of a molecule, and only if the answer depends on it: patterns first, then the cheap
measures, PoseBusters last.

Patterns are SMARTS. They are matched with stereo, against the molecule without its explicit hydrogens, so that "D" and "X"
mean the same for models with and without them; a pattern in which a hydrogen is an atom, ``[H]OC``, is matched
against the molecule with all of them.

This module is read by the command line, so it imports rdkit and numpy only where a molecule is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from langevin.core.errors import unknown
from langevin.modalities.expressions import Expression, Name

if TYPE_CHECKING:
    from rdkit.Chem import Mol
else:
    Mol: TypeAlias = Any

__all__ = ["ELEMENTS", "MEASURES", "SCORES", "Measured", "MoleculeFilter", "MoleculeTest", "measure"]

ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
MEASURES: Mapping[str, Name] = {
    "sound": Name("strict, agrees and mol_fast at once", True, 42),
    "strict": Name(
        "rdkit sanitises it; no radical, no hidden hydrogen, one piece, only valences of real molecules", True
    ),
    "agrees": Name("its coordinates imply the bonds that it has", True, 1),
    "mol_fast": Name("every test of PoseBusters' mol_fast passes", True, 40),
    "valid": Name("rdkit sanitises it", True),
    "stable": Name("every atom is stable by EDM's rule; unknown without explicit hydrogens", True),
    "unique": Name("its SMILES is not among those kept before it", True),
    "strain": Name("what MMFF94s gains by relaxing it, kcal/mol", cost=20),
    "rmsd": Name("how far its heavy atoms move meanwhile, Å", cost=20),
    "qed": Name("drug-likeness, 0 to 1", cost=2),
    "sa": Name("difficulty of synthesis, 1 to 10", cost=2),
    "logp": Name("octanol–water partition by Crippen's rule", cost=2),
    "tpsa": Name("topological polar surface, Å²"),
    "weight": Name("molecular weight, g/mol"),
    "charge": Name("net formal charge"),
    "atoms": Name("atoms that are there: hydrogens only where the model has them"),
    "heavy_atoms": Name("atoms other than hydrogen"),
    "pieces": Name("parts that no bond joins"),
    "rings": Name("rings, as the smallest set of smallest ones"),
    "aromatic_rings": Name("aromatic ones among them"),
    "largest_ring": Name("atoms of the largest of them; 0 without rings"),
    "rotatable": Name("rotatable bonds"),
    "donors": Name("donors of hydrogen bonds"),
    "acceptors": Name("acceptors of hydrogen bonds"),
    "stereocentres": Name("tetrahedral centres with a stereo label"),
    **{symbol: Name(f"{symbol} atoms{', implicit ones too' * (symbol == 'H')}") for symbol in ELEMENTS},
}
# what scores.csv holds of every sample, whatever was asked
SCORES = ("strict", "agrees", "qed", "sa", "logp", "weight", "charge", "atoms", "heavy_atoms", "rings")
SMARTS_LETTERS = 1000


@dataclass(frozen=True)
class MoleculeFilter:
    """What molecules may be asked to be; its fields are keywords of ``model.passing`` and flags of the command line.

    Args:
        filter: a condition on :data:`MEASURES`.
        must: SMARTS, each of which must occur.
        must_not: SMARTS, none of which may.

    Raises:
        ValueError: a condition or a SMARTS that is none.
    """

    filter: str = field(
        default="", metadata={"help": f"a condition, as 'sound and strain < 20', on {', '.join(MEASURES)}"}
    )
    must: Sequence[str] = field(
        default=(), metadata={"help": "a pattern that must occur; may be repeated", "metavar": "SMARTS"}
    )
    must_not: Sequence[str] = field(
        default=(), metadata={"help": "a pattern that must not occur; may be repeated", "metavar": "SMARTS"}
    )

    measures: ClassVar[Mapping[str, Name]] = MEASURES

    def __post_init__(self) -> None:
        if self.filter:
            Expression(self.filter, MEASURES)
        for name in ("must", "must_not"):
            asked = getattr(self, name)
            asked = (asked,) if isinstance(asked, str) else tuple(asked)
            object.__setattr__(self, name, asked)
            for smarts in asked:
                pattern(smarts)


class MoleculeTest:
    """Whether molecules are what they are asked to be, one after the other: ``unique`` remembers those that passed.

    Args:
        asked: what they are asked to be.
        hydrogens: whether hydrogens are meant to be atoms.
    """

    def __init__(self, asked: MoleculeFilter, hydrogens: bool = True) -> None:
        self.asked, self.hydrogens = asked, hydrogens
        self._condition = Expression(asked.filter, MEASURES) if asked.filter else None
        self._must, self._must_not = ([pattern(s) for s in group] for group in (asked.must, asked.must_not))
        self._kept: set[str] = set()

    @property
    def record(self) -> dict[str, Any]:
        """What is asked, for ``samples.json``; what is not asked is left out."""
        given = {"filter": self.asked.filter, "must": self.asked.must, "must_not": self.asked.must_not}
        return {
            name: value if isinstance(value, str) else list(value) for name, value in given.items() if value
        }

    def __call__(self, item: Mol) -> tuple[bool, dict[str, Any]]:
        """Whether a molecule passes, and what was measured to tell."""
        found = Measured(item, self.hydrogens, self._kept)
        passed = (
            all(found.has(each) for each in self._must)
            and not any(found.has(each) for each in self._must_not)
            and (self._condition is None or self._condition(found.value) is True)
        )
        if passed and found.smiles is not None:
            self._kept.add(found.smiles)
        return passed, {name: value for name, value in found.values.items() if name != "unique"}


class Measured:
    """One molecule and what was measured of it, each measure once.

    Args:
        mol: with one conformer, sanitised or not.
        hydrogens: whether hydrogens are meant to be atoms.
        kept: SMILES that ``unique`` compares with.

    Attributes:
        values: of the measures asked for so far; None where the molecule has none.
    """

    def __init__(self, mol: Mol, hydrogens: bool = True, kept: Iterable[str] = ()) -> None:
        from langevin.modalities.molecule.soundness import prepared

        self.hydrogens, self._kept = hydrogens, kept
        self.mol, self.sanitised = prepared(mol)
        self.values: dict[str, Any] = {}
        self._held: dict[str, Any] = {}

    def value(self, name: str) -> Any:
        """A measure by its name; None where the molecule has none.

        Raises:
            ValueError: an unknown name.
        """
        if name not in MEASURES:
            raise ValueError(unknown("measure", name, MEASURES))
        if name not in self.values:
            self.values[name] = self._measure(name)
        return self.values[name]

    @property
    def smiles(self) -> str | None:
        """Canonical, without hydrogens, with stereo; None where rdkit cannot sanitise the molecule."""
        from langevin.modalities.molecule import properties

        return self._once("smiles", lambda: properties.smiles(self.mol)) if self.sanitised else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is not strict; empty if it is."""
        from langevin.modalities.molecule.soundness import strict

        return self._once("reasons", lambda: strict(self.mol, hydrogens=self.hydrogens))  # type: ignore[no-any-return]

    def has(self, sought: Any) -> bool:
        """Whether a pattern (:func:`pattern`) occurs; none does in what rdkit cannot sanitise."""
        if not self.sanitised:
            return False
        named = any(atom.GetAtomicNum() == 1 for atom in sought.GetAtoms())
        return bool((self._full if named else self._bare).HasSubstructMatch(sought, useChirality=True))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._held:
            self._held[name] = make()
        return self._held[name]

    @property
    def _bare(self) -> Mol:
        from rdkit import Chem

        from langevin.modalities.molecule.atoms import quiet

        with quiet():
            return self._once("bare", lambda: Chem.RemoveHs(self.mol))

    @property
    def _full(self) -> Mol:
        from rdkit import Chem

        return self._once("full", lambda: Chem.AddHs(self.mol))

    def _measure(self, name: str) -> Any:
        if name in ELEMENTS:
            symbols = [atom.GetSymbol() for atom in self.mol.GetAtoms()]
            hidden = sum(a.GetTotalNumHs() for a in self.mol.GetAtoms()) if name == "H" else 0
            return symbols.count(name) + hidden
        if name in _OF_GRAPH:
            return _OF_GRAPH[name](self._bare) if self.sanitised else None
        return getattr(self, f"_{name}")()

    def _sound(self) -> bool:
        return bool(self.value("strict") and self.value("agrees") and self.value("mol_fast"))

    def _strict(self) -> bool:
        return not self.reasons

    def _agrees(self) -> bool:
        from langevin.modalities.molecule.soundness import agrees

        there = self.sanitised and bool(self.mol.GetNumConformers())
        return there and agrees(self.mol, hydrogens=self.hydrogens)

    def _mol_fast(self) -> bool:
        from langevin.modalities.molecule.soundness import posebusters

        tests = posebusters([self.mol], hydrogens=self.hydrogens, show=False)[0]
        return bool(tests) and all(tests.values())

    def _valid(self) -> bool:
        return self.sanitised

    def _stable(self) -> bool | None:
        from langevin.modalities.molecule.stability import stable_atoms

        if not self.hydrogens or not self.mol.GetNumConformers():
            return None
        return all(each is not None and bool(each.all()) for each in stable_atoms([self.mol]))

    def _unique(self) -> bool | None:
        return None if self.smiles is None else self.smiles not in self._kept

    def _relaxed(self) -> Any:
        from langevin.modalities.molecule.geometry import strain

        return self._once("relaxed", lambda: strain(self.mol))

    def _strain(self) -> float | None:
        return _finite(self._relaxed().energy)

    def _rmsd(self) -> float | None:
        return _finite(self._relaxed().rmsd)

    def _figures(self) -> dict[str, float]:
        from langevin.modalities.molecule import properties

        return self._once("figures", lambda: properties.figures(self.mol) if self.sanitised else {})  # type: ignore[no-any-return]

    def _qed(self) -> float | None:
        return self._figures().get("qed")

    def _sa(self) -> float | None:
        return self._figures().get("sa")

    def _logp(self) -> float | None:
        return self._figures().get("logp")

    def _charge(self) -> int:
        return sum(atom.GetFormalCharge() for atom in self.mol.GetAtoms())

    def _atoms(self) -> int:
        return int(self.mol.GetNumAtoms())

    def _heavy_atoms(self) -> int:
        return int(self.mol.GetNumHeavyAtoms())

    def _pieces(self) -> int:
        from rdkit import Chem

        return len(Chem.GetMolFrags(self.mol))


def pattern(smarts: str) -> Any:
    """A SMARTS as a query.

    Raises:
        ValueError: it is none, or longer than SMARTS_LETTERS.
    """
    from rdkit import Chem

    from langevin.modalities.molecule.atoms import quiet

    if not isinstance(smarts, str):
        raise ValueError(f"a SMARTS is a text, got {smarts!r:.60}")
    if len(smarts) > SMARTS_LETTERS:
        raise ValueError(
            f"the SMARTS {smarts[:40]!r}… has {len(smarts)} letters; at most {SMARTS_LETTERS} are taken"
        )
    try:
        with quiet():
            found = Chem.MolFromSmarts(smarts)
    except (ValueError, RuntimeError, UnicodeEncodeError):
        found = None
    if found is None or not found.GetNumAtoms():
        raise ValueError(f"{smarts!r} is not a SMARTS; a pattern is written as '[#6]C(=O)N' or 'c1ccccc1'")
    return found


def measure(items: Sequence[Any], names: Sequence[str], hydrogens: bool = True) -> list[dict[str, Any]]:
    """Measures of molecules by name, with the SMILES; nothing of a failure.

    Args:
        items: molecules, and failures.
        names: of :data:`MEASURES`; ``unique`` compares with the molecules before.
        hydrogens: whether hydrogens are meant to be atoms.

    Raises:
        ValueError: an unknown name.
    """
    kept: set[str] = set()
    rows: list[dict[str, Any]] = []
    for name in names:
        if name not in MEASURES:
            raise ValueError(unknown("measure", name, MEASURES))
    for item in items:
        rows.append({})
        if not hasattr(item, "GetNumAtoms"):
            continue
        found = Measured(item, hydrogens, kept)
        rows[-1] = {name: found.value(name) for name in names}
        if found.smiles is not None:
            kept.add(found.smiles)
    return rows


def _of_graph() -> dict[str, Callable[[Mol], float]]:
    """Measures of a sanitised molecule without explicit hydrogens that rdkit has under a name of its own."""

    def descriptor(name: str) -> Callable[[Mol], float]:
        def of(mol: Mol) -> float:
            from rdkit.Chem import rdMolDescriptors

            return getattr(rdMolDescriptors, name)(mol)  # type: ignore[no-any-return]

        return of

    names = {
        "tpsa": "CalcTPSA",
        "weight": "_CalcMolWt",
        "rings": "CalcNumRings",
        "aromatic_rings": "CalcNumAromaticRings",
        "rotatable": "CalcNumRotatableBonds",
        "donors": "CalcNumHBD",
        "acceptors": "CalcNumHBA",
    }
    own: dict[str, Callable[[Mol], float]] = {name: descriptor(rdkit) for name, rdkit in names.items()}
    own["largest_ring"] = lambda mol: max(map(len, mol.GetRingInfo().AtomRings()), default=0)
    own["stereocentres"] = _centres
    return own


def _centres(mol: Mol) -> float:
    from rdkit import Chem

    return len(Chem.FindMolChiralCenters(mol, includeUnassigned=False, useLegacyImplementation=False))


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


_OF_GRAPH = _of_graph()
