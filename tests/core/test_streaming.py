"""Streams of strips: windows that follow one another, with memory that does not grow."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import langevin as lv
from langevin.core.backbones import DiT
from langevin.core.model import Model
from langevin.core.network import Network
from langevin.core.processes import Gaussian
from langevin.core.streaming import Windows
from langevin.core.tokens import PlainTokens, Tokens
from langevin.modalities.base import Modality

WIDTH = 2


@dataclass(frozen=True)
class Length:
    length: int = 8
    window: int | None = None
    overlap: int = 2


class Strips(Modality):
    """Rows of points, (T, 2); a native object is such a tensor."""

    name = "strips"
    suffix = ".txt"
    suffixes = (".txt",)
    spec = Length
    conditions: Mapping[str, Any] = {}  # type: ignore[assignment]
    process = Gaussian()  # type: ignore[assignment]
    inputs: Mapping[str, int] = {"": WIDTH}  # type: ignore[assignment]
    outputs: Mapping[str, int] = {"": WIDTH}  # type: ignore[assignment]

    def encode(self, items: Sequence[Any]) -> tuple[Tensor, None]:
        return torch.stack(list(items)), None

    def decode(self, state: Any, mask: Tensor | None = None) -> list[Any]:
        return list(state)

    def blank(self, indices: Sequence[int], rng: Any, conditions: Any, spec: Any) -> tuple[Tensor, None]:
        return torch.zeros(len(indices), spec.length, WIDTH), None

    def windowed(self, spec: Any) -> bool:
        return spec.window is not None

    def windows(self, spec: Any, after: Sequence[Any] | None = None) -> Windows:
        def play(parts: Iterable[Tensor]) -> Iterator[list[Any]]:
            left = spec.length
            if after is not None:
                yield list(after)
            for k, part in enumerate(parts):
                part = part[:, context.shape[1] :] if k == 0 and context is not None else part
                yield list(part[:, :left])
                left -= part.shape[1]

        context = None if after is None else torch.stack(list(after))[:, -spec.overlap :]
        total = spec.length + (0 if context is None else context.shape[1])
        size = min(spec.window or 8, total)
        return Windows(Length(size), size, spec.overlap, total, play, context=context)

    def joined(self, pieces: Sequence[Any]) -> Any:
        return torch.cat(list(pieces))

    def tokens(self, state: Any, mask: Tensor | None = None) -> Tokens:
        return PlainTokens(WIDTH).tokens(state, mask)

    def untokens(self, values: dict[str, Tensor], like: Any) -> Tensor:
        return values[""]

    def save(self, item: Any, path: Path) -> None:
        raise NotImplementedError

    def read(self, path: Path) -> Any:
        raise NotImplementedError

    def picture(self, item: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def model() -> Model:
    modality = Strips()
    made = Model(modality, Network(modality, DiT(16, 1, 2, axes=1)), modality.process)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return made


def test_windows_cover_what_is_wanted_and_no_more() -> None:
    def windows(total: int) -> int:
        return Windows(None, 8, 2, total, iter).count  # type: ignore[arg-type]

    assert [windows(total) for total in (1, 8, 9, 14, 15, 20, 21)] == [1, 1, 2, 2, 3, 3, 4]


def test_one_window_is_what_is_drawn_at_once(model: Model) -> None:
    streamed = model.stream(3, length=8, window=20, steps=3, seed=5).collect()
    assert torch.equal(streamed.state, model.sample(3, length=8, steps=3, seed=5).state)


def test_a_stream_that_ends_sooner_is_the_beginning_of_a_longer_one(model: Model) -> None:
    long = model.stream(2, length=40, window=8, steps=3, seed=1).collect()
    short = model.stream(2, length=20, window=8, steps=3, seed=1).collect()
    assert long.state.shape == (2, 40, WIDTH) and short.state.shape == (2, 20, WIDTH)
    assert torch.equal(long.state[:, :20], short.state)
    assert [tuple(item.shape) for item in long] == [(40, WIDTH)] * 2


def test_windows_hold_the_end_of_those_before_and_noise_of_their_own(model: Model) -> None:
    seen: list[Tensor] = []
    stream = model.stream(1, length=26, window=8, overlap=2, steps=2, watch=lambda step: seen.append(step.x))
    whole = stream.collect().state
    assert len(seen) == 2 * 4
    for k, last in enumerate(seen[1::2]):  # the last state of each window, before what is known is put back
        assert torch.equal(last[:, 2:], whole[:, 6 * k + 2 : 6 * k + 8])
    first = [step[:, 2:] for step in seen[::2]]
    assert not torch.allclose(first[1], first[2])


def test_samples_of_a_stream_do_not_depend_on_the_batch(model: Model) -> None:
    options: dict[str, Any] = {"length": 20, "window": 8, "steps": 2}
    many = model.stream(3, **options).collect()
    apart = model.stream(3, batch_size=1, **options).collect()
    last = model.stream(1, first=2, **options).collect()
    assert torch.allclose(many.state, apart.state, atol=1e-6)
    assert torch.allclose(many.state[2:], last.state, atol=1e-6) and last.indices == (2,)


def test_sample_draws_in_windows_where_these_are_asked_for(model: Model) -> None:
    one = model.sample(2, length=20, window=8, steps=2)
    two = model.stream(2, length=20, window=8, steps=2).collect()
    assert torch.equal(one.state, two.state) and one.run.options["windows"] == 3
    assert one.run.evaluations == 6 and one.run.network_rows == 12
    with pytest.raises(ValueError, match="does not go with window"):
        model.sample(noise=torch.zeros(1, 8, WIDTH), window=8)


def test_what_is_continued_begins_the_result(model: Model) -> None:
    item = torch.randn(10, WIDTH, generator=torch.Generator().manual_seed(0))
    other = item.flip(0)
    made = model.extend([item, other], length=14, window=8, steps=2)
    assert torch.equal(made[0][:10], item) and torch.equal(made[1][:10], other)
    assert made[0].shape == (24, WIDTH) and torch.equal(made.state[0, :2], item[-2:])
    assert "after" in made.run.options
    with pytest.raises(ValueError, match="2 objects for 3 samples"):
        model.extend([item, other], 3)


def test_a_long_stream_is_begun_and_left_and_holds_a_window(model: Model) -> None:
    alive: list[weakref.ref[Tensor]] = []
    stream = iter(model.stream(1, length=10**9, window=8, steps=1, progress=False))
    for _ in range(12):
        (piece,) = next(stream)
        alive.append(weakref.ref(piece.untyped_storage()))
    del piece
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 2


def test_what_does_not_go_on_cannot_be_streamed() -> None:
    from langevin.assembly import build_model

    codec = {"name": "pixels", "size": 8, "channels": 3}
    pictures = build_model(
        {
            "name": "tiny",
            "modality": {"name": "image", "codec": codec, "patch": 2},
            "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
        }
    )
    with pytest.raises(ValueError, match="samples of image cannot be streamed"):
        pictures.stream(2)
    assert isinstance(pictures, lv.Model)
