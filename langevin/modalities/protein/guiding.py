r"""Guiding potentials in a run: read from their strings, with a scale and a decay, as a guidance or as a reward.

    guide = guiding(["type:monomer_ROG,weight:1,min_dist:5"], guide_scale=2, guide_decay="quadratic")
    model.sample(4, length=100, guidance=guide.guidance())
    model.steer(guide.reward(), 4, length=100)

``guide_scale`` and ``guide_decay`` mean what they do in RFdiffusion, where each of 50 steps adds guide_scale · decay(t) · ∇U
to the positions in Å. Here that push is a :class:`~langevin.core.guidance.Force`: all pushes together are the same in
any number of steps. As a reward the sum of the potentials of finished structures steers particles, with no gradient;
scale and decay do not enter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from langevin.core.errors import unknown
from langevin.core.guidance import Force, Question
from langevin.modalities.protein.potentials import POTENTIALS, Layout, OligomerContacts, Potential
from langevin.modalities.protein.protein import Protein, of_structure

__all__ = ["DECAYS", "Guiding", "contact_matrix", "guiding", "of_places", "potential", "written"]

DECAYS = {"constant": 0, "linear": 1, "quadratic": 2, "cubic": 3}  # powers of t
_STEPS = 50  # in which RFdiffusion's guide_scale is a push of each


@dataclass(frozen=True, eq=False)
class Guiding:
    """Potentials with what a run needs to follow them; :func:`guiding` makes it of strings.

    Attributes:
        potentials: whose sum is followed.
        guide_scale: Å of push in each fiftieth of the way, where the gradient is 1 per Å.
        guide_decay: of the push with t: "constant", "linear", "quadratic" or "cubic".
        layout: which residues are what; or a function that reads it from a question, as :func:`of_places`.
        unit: Å of one unit of the state.
    """

    potentials: tuple[Potential, ...]
    guide_scale: float = 10.0
    guide_decay: str = "constant"
    layout: Layout | Callable[[Question], Layout] = Layout()
    unit: float = 10.0

    def __post_init__(self) -> None:
        if not self.potentials:
            raise ValueError("guiding needs a potential, as 'type:monomer_ROG'")
        if self.guide_decay not in DECAYS:
            raise ValueError(unknown("guide_decay", self.guide_decay, DECAYS))
        if not (isinstance(self.guide_scale, (int, float)) and 0 <= self.guide_scale < math.inf):
            raise ValueError(f"guide_scale must be a number of at least 0, got {self.guide_scale!r}")

    def __call__(self, x: Any, q: Question) -> Tensor:
        """The sum of the potentials of clean estimates, (B,)."""
        layout = self.layout if isinstance(self.layout, Layout) else self.layout(q)
        return self.value(x["positions"] * self.unit, q.mask, layout)

    def at(self, index: Tensor | slice, total: int) -> Guiding:
        """The same for some rows of a run of ``total`` samples."""
        return replace(self, layout=self.layout.at(index, total)) if isinstance(self.layout, Layout) else self

    def value(self, ca: Tensor, mask: Tensor | None = None, layout: Layout | None = None) -> Tensor:
        """The sum of the potentials, (B,).

        Args:
            ca: (B, N, 3) Å.
            mask: (B, N), True on real residues.
            layout: which residues are what; nothing is said when None.
        """
        real = torch.ones_like(ca[..., 0], dtype=torch.bool) if mask is None else mask
        each = [one(ca, real, layout or Layout()) for one in self.potentials]
        return torch.stack(each).sum(0)

    def guidance(self) -> Force:
        """The push, as a guidance of ``model.sample``; chain it with others."""
        # a gradient by the state is ``unit`` times that by Å, and a push in Å is 1 / unit of one in the state
        return Force(self, _STEPS * self.guide_scale / self.unit**2, DECAYS[self.guide_decay])

    def reward(
        self, binder: str | Sequence[str] | None = None, layout: Layout | None = None
    ) -> Callable[[Sequence[Any]], list[float]]:
        """The sum of the potentials of decoded structures, for ``model.steer``.

        Args:
            binder: names of the binder's chains; the first chain by default, where there are several.
            layout: with a substrate, or which residues are designed.
        """
        names = [binder] if isinstance(binder, str) else binder

        def of(item: Any) -> float:
            protein = item if isinstance(item, Protein) else of_structure(item)
            ids = protein.chain_ids
            chosen = names if names is not None else ids[:1]
            missing = [name for name in chosen if name not in ids]
            if missing:
                raise ValueError(f"no chain {missing[0]!r} is the binder's; there are {', '.join(ids)}")
            here = replace(layout or Layout(), chains=_numbers(protein, ids))
            if here.binder is None and len(ids) > 1:
                here = replace(here, binder=torch.from_numpy(np.isin(protein.chains, chosen)))
            ca = torch.from_numpy(protein.backbone[:, 1].astype(np.float64))
            return float(self.value(ca[None], None, here))

        return lambda items: [of(item) for item in items]


def _numbers(protein: Protein, ids: Sequence[str]) -> Tensor:
    """(n,) the number of each residue's chain."""
    number = {name: k for k, name in enumerate(ids)}
    return torch.tensor([number[name] for name in protein.chains.tolist()])


def of_places(q: Question) -> Layout:
    """A layout with the chains that the state's leaf ``places`` names."""
    assert isinstance(q.x_t, dict)
    return Layout(chains=q.x_t["places"][..., 0].round().long())


def guiding(
    potentials: str | Sequence[str],
    *,
    guide_scale: float = 10.0,
    guide_decay: str = "constant",
    chains: int = 1,
    olig_intra_all: bool = False,
    olig_inter_all: bool = False,
    olig_custom_contact: str | None = None,
    layout: Layout | Callable[[Question], Layout] | None = None,
    unit: float = 10.0,
) -> Guiding:
    """Potentials of a run, under RFdiffusion's names.

    Args:
        potentials: one string, or several in a list; see :mod:`langevin.modalities.protein.potentials`.
        guide_scale, guide_decay, layout, unit: as of :class:`Guiding`.
        chains: how many there are, or copies under a symmetry.
        olig_intra_all, olig_inter_all, olig_custom_contact: which chains ``olig_contacts`` draws together; see
            :func:`contact_matrix`.

    Raises:
        TypeError: no strings.
        ValueError: a string that cannot be read, or a setting that cannot be; the message points at it.
    """
    texts = [potentials] if isinstance(potentials, str) else list(potentials)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"potentials are strings, as 'type:monomer_ROG,weight:1'; got {potentials!r}")
    matrix = contact_matrix(chains, olig_intra_all, olig_inter_all, olig_custom_contact)
    read = tuple(potential(text, matrix) for text in texts)
    return Guiding(read, guide_scale, guide_decay, layout or Layout(), unit)


def potential(text: str, contact_matrix: Sequence[Sequence[int]] = ()) -> Potential:
    """The potential that a string describes, as ``type:monomer_ROG,weight:1,min_dist:5``.

    Args:
        text: ``name:value`` pairs with commas between them, ``type`` among them.
        contact_matrix: of chains, for ``olig_contacts``.

    Raises:
        ValueError: not such a string, an unknown type or parameter, or a value that cannot be; the message points at it.
    """
    given: dict[str, str] = {}
    start = 0
    for entry in text.split(","):
        name, colon, value = (part.strip() for part in entry.partition(":"))
        if not (name and colon and value):
            raise ValueError(_pointed(text, start, entry, "expected name:value, as weight:1"))
        if name in given:
            raise ValueError(_pointed(text, start, entry, f"{name} stands twice"))
        given[name] = value
        start += len(entry) + 1
    kind = given.pop("type", None)
    if kind is None:
        raise ValueError(
            f"potential {text!r} has no type; write type:monomer_ROG,… (types: {', '.join(POTENTIALS)})"
        )
    if kind not in POTENTIALS:
        raise ValueError(unknown("potential", kind, POTENTIALS))
    known = {f.name: f for f in fields(POTENTIALS[kind]) if f.metadata.get("written", True)}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(unknown(f"parameter of {kind}", name, known))
        settings[name] = _number(kind, name, value, "int" in str(known[name].type))
    if kind == OligomerContacts.type:
        settings["contact_matrix"] = tuple(tuple(int(v) for v in row) for row in contact_matrix)
    return POTENTIALS[kind](**settings)


def written(one: Potential) -> str:
    """The string of a potential, with the parameters that are not the defaults."""
    parts = [
        f"{f.name}:{getattr(one, f.name):g}"
        for f in fields(one)
        if f.metadata.get("written", True) and f.default is not MISSING and getattr(one, f.name) != f.default
    ]
    return ",".join([f"type:{one.type}", *parts])


def contact_matrix(
    count: int, intra_all: bool = False, inter_all: bool = False, contacts: str | None = None
) -> tuple[tuple[int, ...], ...]:
    """Which of ``count`` chains attract (1) and repel (−1) one another.

    Args:
        count: chains, A, B, ….
        intra_all: every chain attracts itself.
        inter_all: all chains attract one another.
        contacts: pairs with commas between them, which come before the two above: ``A&B`` attract, ``A!C`` repel.

    Raises:
        ValueError: a pair that cannot be read, or a chain that there is not; the message points at it.
    """
    rows = [[int(intra_all if i == j else inter_all) for j in range(count)] for i in range(count)]
    start = 0
    for pair in contacts.split(",") if contacts else ():
        plain = pair.strip()
        if len(plain) != 3 or plain[1] not in "&!" or not (plain[0] + plain[2]).isalpha():
            raise ValueError(_pointed(contacts or "", start, pair, "expected A&B (attract) or A!B (repel)"))
        i, j = (ord(letter.upper()) - ord("A") for letter in (plain[0], plain[2]))
        if max(i, j) >= count:
            last = chr(ord("A") + count - 1) if count <= 26 else f"the {count}th"
            raise ValueError(_pointed(contacts or "", start, pair, f"there are {count} chains, A to {last}"))
        rows[i][j] = rows[j][i] = 1 if plain[1] == "&" else -1
        start += len(pair) + 1
    return tuple(tuple(row) for row in rows) if any(any(row) for row in rows) else ()


def _number(kind: str, name: str, value: str, whole: bool) -> float | int:
    """A parameter's value.

    Raises:
        ValueError: no finite number; a length that is not positive, a binder that has no residues.
    """
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} of {kind} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} of {kind} must be finite, got {value}")
    if whole:
        if number != int(number) or number < 1:
            raise ValueError(f"{name} of {kind} is a number of residues, at least 1; got {value}")
        return int(number)
    if name in ("r_0", "rep_r_0", "softness") and number <= 0:
        raise ValueError(f"{name} of {kind} is a length in Å above 0, got {value}")
    if name in ("d_0", "min_dist") and number < 0:
        raise ValueError(f"{name} of {kind} is a length in Å, at least 0; got {value}")
    return number


def _pointed(text: str, start: int, entry: str, what: str) -> str:
    """A message with a mark below the place in the text."""
    lead = len(entry) - len(entry.lstrip())
    return f"{what}; here:\n    {text}\n    {' ' * (start + lead)}{'^' * max(1, len(entry.strip()))}"
