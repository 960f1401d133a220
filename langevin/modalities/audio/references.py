"""A set of sounds with references: to each item another one that it is to sound like.

The reference of an item has the same value in a column, as another recording of the same speaker has, or is another crop
of the same clip. It follows from the seed and the item's number. Items that a set repeats, as crops are, come with different
ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from langevin.core.errors import unknown
from langevin.core.rng import Stream
from langevin.modalities.audio.data import SoundDataset
from langevin.modalities.audio.sound import Audio

__all__ = ["CLIP", "Referenced"]

CLIP = "clip"  # in the place of a column: another item of the same clip


class Referenced:
    """A set of sounds whose items have references among their conditions.

    A reference is another clip with the item's value in the column. Where the item's clip is the only one, it is another
    crop of that clip, and the item itself only where the clip has no other.

    Args:
        data: the set.
        references: condition to column of the source ("speaker"), or to "clip" for another crop of the same clip.
        seed: of what is drawn.

    Raises:
        ValueError: no such column, or a condition that the set has already.
    """

    def __init__(self, data: SoundDataset, references: Mapping[str, str], seed: int = 0) -> None:
        if not isinstance(references, Mapping) or not references:
            raise ValueError(
                f"data.references must be a mapping of condition to column, as {{style: speaker}}; got {references!r}"
            )
        columns = data.source.columns
        for name, column in references.items():
            if column != CLIP and column not in columns:
                raise ValueError(f"data.references: {unknown('column', column, [*columns, CLIP])}")
            if name in data.conditions:
                raise ValueError(
                    f"data.references: the set has a condition {name!r} already; choose another name"
                )
        self.data, self.seed = data, seed
        self.conditions = {**data.conditions, **dict.fromkeys(references, "sound")}
        self.classes, self.class_names = data.classes, data.class_names
        self.licence, self.attribution = data.licence, data.attribution
        self.lengths, self.seconds, self.rate = data.lengths, data.seconds, data.rate
        self._rows = np.asarray(data.rows)
        self._of = {
            name: _groups(self._rows if column == CLIP else columns[column][self._rows])
            for name, column in references.items()
        }

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Sequence[int]) -> tuple[list[Audio], dict[str, list[Any]]]:
        """Sounds and the conditions' raw values; those of references are sounds."""
        sounds, values = self.data.batch(indices)
        return sounds, {
            **values,
            **{
                name: self.data.batch([self.reference(name, int(i)) for i in indices])[0] for name in self._of
            },
        }

    def reference(self, name: str, index: int) -> int:
        """The number of the item that is the reference of another."""
        index %= len(self)
        group, members = self._of[name]
        alike = members[group[index]]
        other = alike[self._rows[alike] != self._rows[index]]
        if not len(other):
            other = alike[alike != index]
        if not len(other):
            return index
        return int(
            other[int(Stream.of(self.seed, [index]).fold("reference", name).integers(len(other), (1,)))]
        )


def _groups(values: Any) -> tuple[Any, list[Any]]:
    """(the group of each item, the items of each group)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    return group, np.split(order, np.cumsum(np.bincount(group))[:-1])
