"""Network: embeddings, a backbone and one head per leaf, around a modality's tokens.

    tokens --(Linear per leaf, summed)--> backbone(vector, context) --(FinalLayer per leaf)--> output by leaf
    pairs  --(PairEmbedding)------------>                           --(PairHead per leaf)---->

Where a token's place in the sample means something (rows and columns of a picture, seconds of a clip), the modality says
along how many axes (``places``), and a linear map of sines and cosines of the positions joins the embedding: rotary
attention alone sees differences of positions, so that left and right would look the same. Coordinates whose origin means
nothing (atoms) have none.

A backbone that moves points in space takes the leaf of the modality's points in place of the positions: it is not
embedded, and what it answers is the points' displacement. One that takes frames is given those of the tokens.

The vector holds the time of every leaf's clock and the global part of the conditions; the context holds their
sequences. A condition that is absent is its embedder's learned null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from langevin.core.backbones import FinalLayer, PairEmbedding, PairHead, TimeEmbedding
from langevin.core.backbones.dit import Output
from langevin.core.backbones.layers import per_token, zero
from langevin.core.conditioning import Embedded, Embedder, cat, dropout
from langevin.core.errors import unknown
from langevin.core.packing import Packing
from langevin.core.processes.base import State
from langevin.core.recall import Recalled
from langevin.core.rng import Stream
from langevin.core.times import Times
from langevin.core.tokens import Tokeniser

__all__ = ["Network"]

_WAVES = 8


class Network(nn.Module):
    """The trainable part of a model.

    Args:
        tokeniser: the modality's way between states and tokens.
        backbone: takes (tokens, vector, positions, mask, pair, context, context_mask); has ``width``.
        conditions: embedders by name; vectors as wide as the backbone.
        clocks: names of the leaves that have clocks of their own; empty for one clock.
        recalls: whether it is shown its last belief (:mod:`langevin.core.recall`).
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        backbone: nn.Module,
        conditions: Mapping[str, Embedder] | None = None,
        clocks: Sequence[str] = (),
        recalls: bool = False,
    ) -> None:
        super().__init__()
        width: int = backbone.width  # type: ignore[assignment]
        self.tokeniser = tokeniser
        self.backbone = backbone
        self.conditions = nn.ModuleDict(dict(conditions or {}))
        for name, embedder in (conditions or {}).items():
            if getattr(embedder, "vector_width", 0) not in (0, width):
                raise ValueError(
                    f"condition {name!r} gives vectors of width {embedder.vector_width}, and the network has width {width}"
                )
        self.clocks = tuple(clocks)
        self.width = width
        self.contextual = bool(getattr(backbone, "context_width", 0))
        self.time = nn.ModuleDict({_key(name): TimeEmbedding(width) for name in self.clocks or ("",)})
        self.points = _points(tokeniser, backbone)
        self.embed_in = nn.ModuleDict(
            {_key(k): nn.Linear(d, width) for k, d in tokeniser.inputs.items() if k != self.points}
        )
        self.places = int(getattr(tokeniser, "places", 0))
        self.place = nn.Linear(2 * _WAVES * self.places, width, bias=False) if self.places else None
        self.heads = nn.ModuleDict(
            {_key(k): FinalLayer(width, d) for k, d in tokeniser.outputs.items() if k != self.points}
        )
        pairs, pair_width = int(getattr(tokeniser, "pairs", 0)), int(getattr(backbone, "pair_width", 0))
        if bool(pairs) != bool(pair_width):
            raise ValueError(
                f"the modality gives {pairs} features of pairs and the backbone takes {pair_width} channels of them: "
                "both or neither"
            )
        self.pair_in = PairEmbedding(pairs, pair_width) if pairs else None
        self.recalls = recalls
        if recalls:  # silent at first
            self.recall = nn.ModuleDict(
                {_key(k): nn.Linear(d, width) for k, d in tokeniser.inputs.items() if k != self.points}
            )
            self.recall_pair = PairEmbedding(pairs, pair_width) if pairs else None
            last: list[Any] = [*self.recall.values(), *list(self.recall_pair or ())[-1:]]
            for layer in last:
                zero(layer)
        readings: Mapping[str, int] = getattr(tokeniser, "pair_outputs", {})
        self.pair_heads = nn.ModuleDict({k: PairHead(pair_width, d) for k, d in readings.items()})

    def embed(self, condition: Mapping[str, Any]) -> dict[str, Embedded]:
        """Raw condition tensors as embeddings, so that a sampling loop embeds them once.

        Raises:
            KeyError: a name that this network does not take.
        """
        for name in condition:
            if name not in self.conditions:
                raise KeyError(unknown("condition", name, self.conditions.keys()))
        return {
            name: value if isinstance(value, Embedded) else self.conditions[name](value)
            for name, value in condition.items()
        }

    def drop(
        self,
        condition: Mapping[str, Any],
        rates: Mapping[str, float],
        rng: Stream,
        absent: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Embedded]:
        """Embeddings in which each row is replaced by the null with the rate of its name (classifier-free training).

        Args:
            condition: raw tensors or embeddings by name.
            rates: by name, 0 where not given.
            rng: one row for each sample.
            absent: (B,) by name, rows that have no such condition.
        """
        embedded = self.embed(condition)
        for name, value in embedded.items():
            keep = rng.fold("drop", name).uniform((len(rng),)) >= rates.get(name, 0.0)
            if absent is not None and name in absent:
                keep &= ~absent[name]
            device = next(self.parameters()).device
            null = self.conditions[name].null(len(rng), device)  # type: ignore[operator]
            embedded[name] = dropout(value, null, keep.to(device))
        return embedded

    def batch(self, conditions: Sequence[Mapping[str, Any]], rows: int) -> dict[str, Embedded]:
        """Several conditions of ``rows`` samples each as one of their total; the null where a name is absent."""
        device = next(self.parameters()).device
        parts = [self.embed(condition) for condition in conditions]
        names = {name for part in parts for name in part}
        embedders: Mapping[str, Any] = self.conditions  # type: ignore[assignment]
        return {
            name: cat([part[name] if name in part else embedders[name].null(rows, device) for part in parts])
            for name in self.conditions
            if name in names
        }

    def forward(
        self,
        x_t: State,
        t: Times,
        condition: Mapping[str, Any] | None = None,
        mask: Tensor | None = None,
        belief: Recalled | None = None,
    ) -> Any:
        """The output by leaf, in the shapes of the state.

        Args:
            x_t: noisy state, a tensor (B, …) or a dict of them.
            t: a float, (), (B,) or (B, N) tensor, or a dict of these by clock.
            condition: raw tensors or embeddings by name.
            mask: (B, L), True on real elements.
            belief: the last answer, for a network that ``recalls``.
        """
        *inside, order, frames = self._inside(x_t, t, condition, mask, belief)
        more: dict[str, Any] = {} if order is None else {"order": order}
        if frames is not None:
            more["frames"] = frames
        return self._outside(self.backbone(*inside, **more), inside[1], inside[3], x_t)

    def packed(self, batches: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The outputs of batches of different shapes, whose tokens go through the backbone in one row
        (:mod:`langevin.core.packing`); through one that does not pack, as those with pairs, batch after batch.

        Args:
            batches: the arguments of :meth:`forward` for each.
        """
        if not getattr(self.backbone, "packs", False):
            return [self(*batch) for batch in batches]
        insides = [self._inside(*batch) for batch in batches]
        tokens, vectors, positions, masks, _, contexts, context_masks, orders, _ = zip(*insides, strict=True)
        of_tokens = [per_token(vector) for vector in vectors]
        packing = Packing(*zip(*((*h.shape[:2], v.shape[1]) for h, v in zip(tokens, of_tokens, strict=True))))
        mask = context = context_mask = None
        if any(own is not None for own in masks):
            mask = packing.row(
                h.new_ones(h.shape[:2], dtype=torch.bool) if own is None else own
                for h, own in zip(tokens, masks, strict=True)
            )
        if contexts[0] is not None:
            both = cat([Embedded(None, *pair) for pair in zip(contexts, context_masks, strict=True)])
            context, context_mask = both.context, both.mask
        out = self.backbone(
            packing.row(tokens),
            packing.row(of_tokens),
            packing.row(positions),
            mask,
            context=context,
            context_mask=context_mask,
            packing=packing,
            order=None if orders[0] is None else packing.row(orders),
        )
        return [
            self._outside(Output(own), vector, real, batch[0])
            for own, vector, real, batch in zip(
                packing.of_tokens(out.tokens), vectors, masks, batches, strict=True
            )
        ]

    def _inside(
        self,
        x_t: State,
        t: Times,
        condition: Mapping[str, Any] | None = None,
        mask: Tensor | None = None,
        belief: Recalled | None = None,
    ) -> tuple[Any, ...]:
        """What the backbone takes: tokens, vector, positions, mask, pairs, context, its mask, order and frames of tokens.

        Raises:
            ValueError: an order, for a backbone that takes none, or no frames, for one that needs them.
        """
        tokens = self.tokeniser.tokens(x_t, mask)
        first = next(iter(tokens.values.values()))
        rows = first.shape[0]
        hidden = sum(
            self.embed_in[_key(name)](value) for name, value in tokens.values.items() if name != self.points
        )
        if not self.embed_in:  # of points alone
            hidden = first.new_zeros(*first.shape[:2], self.width)
        if self.place is not None:
            waves = _waves(tokens.positions[..., : self.places])  # float32, whatever this computes in
            hidden = hidden + self.place(waves.to(self.place.weight.dtype)).to(first.dtype)
        vector = self._time(t, rows, first, x_t)
        if vector.ndim == 3 and not getattr(self.backbone, "grouped", False):
            vector = vector.repeat_interleave(first.shape[1] // vector.shape[1], 1)
        embedded = self.embed(condition or {})
        contexts = []
        for name, embedder in self.conditions.items():
            value = embedded[name] if name in embedded else embedder.null(rows, first.device)  # type: ignore[operator]
            if value.vector is not None:
                vector = vector + (value.vector if vector.ndim == 2 else value.vector[:, None])
            if value.context is not None and self.contextual:
                contexts.append(value)
        context, context_mask = _contexts(contexts)
        positions = tokens.positions if self.points is None else tokens.values[self.points]
        positions = positions.expand(rows, -1, -1)
        pair = self.pair_in(tokens.pair) if self.pair_in is not None else None
        if belief is not None:
            hidden, pair = self._recalled(belief, mask, hidden, pair)
        order = tokens.order
        if order is not None:
            if not getattr(self.backbone, "ordered", False):
                raise ValueError(
                    f"{type(self.backbone).__name__} takes no order of tokens, which this modality gives; "
                    "choose another network, such as dit"
                )
            order = order.expand(rows, -1)
        frames = None
        if getattr(self.backbone, "framed", False):
            frames = tokens.frames
            if frames is None:
                raise ValueError(
                    f"{type(self.backbone).__name__} sees tokens by their frames in space, and this modality gives none; "
                    "choose another network, such as dit"
                )
        return hidden, vector, positions, tokens.mask, pair, context, context_mask, order, frames

    def _outside(self, out: Output, vector: Tensor, mask: Tensor | None, x_t: State) -> Any:
        """The answer by leaf of what the backbone gave; mask (B, N) of tokens."""
        values: dict[str, Any] = {
            name: out.displacement if name == self.points else self.heads[_key(name)](out.tokens, vector)
            for name in self.tokeniser.outputs
        }
        for name, head in self.pair_heads.items():
            values[name] = head(out.pair)
            if mask is not None:  # a modality may sum over pairs
                both = mask[:, :, None] & mask[:, None]
                values[name] = values[name].masked_fill(~both[..., None], 0)
        return self.tokeniser.untokens(values, x_t)

    def _recalled(
        self, belief: Recalled, mask: Tensor | None, hidden: Tensor, pair: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Embeddings of tokens and pairs with those of a belief about them."""
        tokens = self.tokeniser.tokens(belief.state, mask)
        more = sum(self.recall[_key(k)](v) for k, v in tokens.values.items() if k != self.points)
        pairs = self.recall_pair(tokens.pair) if self.recall_pair is not None else None
        if belief.rows is not None:
            there = belief.rows.to(hidden.dtype)
            more = more * there[:, None, None]
            pairs = pairs * there[:, None, None, None] if pairs is not None else None
        return hidden + more, pair if pairs is None else pair + pairs

    def _time(self, t: Times, rows: int, like: Tensor, x_t: State) -> Tensor:
        """The summed embedding of every clock, (B, D), (B, N, D) or, of groups of tokens, (B, G, D)."""
        vectors, of_tokens = [], getattr(self.tokeniser, "token_times", None)
        for name in self.clocks or ("",):
            clock = t[name] if isinstance(t, dict) else t
            clock = torch.as_tensor(clock, dtype=torch.float32, device=like.device)
            if clock.ndim > 1 and of_tokens is not None:
                clock = of_tokens(clock, x_t)
            vectors.append(self.time[_key(name)](clock.expand(rows) if clock.ndim == 0 else clock))
        if any(vector.ndim == 3 for vector in vectors):  # some leaves have a time for each element
            vectors = [vector if vector.ndim == 3 else vector[:, None] for vector in vectors]
        return sum(vectors)  # type: ignore[return-value]


def _points(tokeniser: Tokeniser, backbone: nn.Module) -> str | None:
    """The leaf that a backbone takes as points in space; None where it takes none.

    Raises:
        ValueError: it needs one, and the modality has none.
    """
    if not getattr(backbone, "moves_points", False):
        return None
    points: str | None = getattr(tokeniser, "points", None)
    if points is None:
        raise ValueError(
            f"{type(backbone).__name__} moves points in space, and this modality names no leaf of points; "
            "choose another network, such as dit"
        )
    return points


def _contexts(values: Sequence[Embedded]) -> tuple[Tensor | None, Tensor | None]:
    """The sequences of all conditions one after another, with their masks."""
    if not values:
        return None, None
    masks = [
        v.mask
        if v.mask is not None
        else torch.ones(v.context.shape[:2], dtype=torch.bool, device=v.context.device)  # type: ignore[union-attr]
        for v in values
    ]
    return torch.cat([v.context for v in values], 1), torch.cat(masks, 1)  # type: ignore[misc]


def _waves(positions: Tensor) -> Tensor:
    """Sines and cosines of positions (B, N, p), of wavelengths from 2 to 256, (B, N, 2 · 8 · p)."""
    lengths = 2.0 ** torch.arange(1, _WAVES + 1, device=positions.device)
    angle = positions[..., None] * (2 * math.pi / lengths)
    return torch.cat([angle.sin(), angle.cos()], -1).flatten(2)


def _key(name: str) -> str:
    """A leaf's name as a module name (a lone leaf has the empty one)."""
    return name or "state"
