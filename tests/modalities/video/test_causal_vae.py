"""The causal autoencoder: what an element sees, pictures, streams, statistics, folders."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin.core.registry import build
from langevin.folders import FolderError
from langevin.modalities.base import Failure
from langevin.modalities.video.catalogue import CODECS
from langevin.modalities.video.causal_vae import AUTOENCODERS, CausalVAE
from langevin.modalities.video.codec import to_frames
from langevin.modalities.video.latents import VideoVAE, load_video_vae, save_video_vae

LAYOUTS: list[dict[str, Any]] = [
    {"latent": 4, "widths": (4, 6, 8), "time": (2, 2), "space": (2, 2), "patch": 2},
    {"latent": 3, "widths": (4, 6), "time": (3,), "space": (2,), "patch": 1},
    {"latent": 2, "widths": (4, 4, 6), "time": (4, 1), "space": (1, 3), "patch": 2, "blocks": 2},
    {"latent": 4, "widths": (6,), "time": (), "space": (), "patch": 4},
]
NAMES = ["2-2", "3", "4-1", "pictures"]
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=NAMES)


def network(layout: dict[str, Any] | None = None, seed: int = 0) -> CausalVAE:
    """Random weights of which none is zero, so that all that can be seen is seen."""
    torch.manual_seed(seed)
    vae = CausalVAE(**(layout or LAYOUTS[0]))
    for parameter in vae.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    vae.fit_statistics([clip(vae, 4, 2)])
    return vae.eval().requires_grad_(False)


def clip(vae: CausalVAE, elements: int, sides: int = 1, seed: int = 0, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, vae.frames(elements), 3, sides * vae.factor, sides * vae.factor)
    return torch.rand(shape, generator=generator) * 2 - 1


@layouts
def test_later_frames_do_not_touch_earlier_latents(layout: dict[str, Any]) -> None:
    """To the bit, and the first frame that is an element's own does."""
    vae = network(layout)
    x = clip(vae, 6, 2)
    state = vae.encode(x)
    assert state.shape == (1, 6, vae.latent, 2, 2)
    for t in range(1, 6):
        other = x.clone()
        other[:, vae.frames(t) :] = clip(vae, 6, 2, seed=1)[:, vae.frames(t) :]
        found = vae.encode(other)
        assert torch.equal(found[:, :t], state[:, :t])
        assert not torch.equal(found[:, t], state[:, t])


@layouts
def test_later_elements_do_not_touch_earlier_frames(layout: dict[str, Any]) -> None:
    vae = network(layout)
    z = torch.randn(1, 6, vae.latent, 2, 2)
    x = vae.decode(z)
    assert x.shape[1] == vae.frames(6)
    for t in range(1, 6):
        other = torch.cat([z[:, :t], torch.randn(1, 6 - t, vae.latent, 2, 2)], 1)
        assert torch.equal(vae.decode(other)[:, : vae.frames(t)], x[:, : vae.frames(t)])


@layouts
def test_what_is_seen_is_what_the_layout_says(layout: dict[str, Any]) -> None:
    """By the gradient of the last element with respect to all frames, and of the last frame with respect to all elements."""
    vae = network(layout)
    elements = 3 + max(-(-vae.encode_past // vae.stride), vae.decode_past)
    x = clip(vae, elements).requires_grad_()
    vae.encode(x)[:, -1].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 2, 3, 4)).nonzero().flatten()
    assert len(seen) == vae.encode_past + 1 and int(seen[-1]) == x.shape[1] - 1
    z = torch.randn(1, elements, vae.latent, 1, 1, requires_grad=True)
    for frame in range(1, vae.stride + 1):
        (slope,) = torch.autograd.grad(vae.decode(z)[:, -frame].sum(), z)
        seen = slope.abs().sum((0, 2, 3, 4)).nonzero().flatten()
        assert int(seen[-1]) == elements - 1 and len(seen) <= vae.decode_past + 1
    assert len(seen) >= vae.decode_past  # of the element's first frame


@layouts
def test_a_picture_is_a_clip_of_one_frame(layout: dict[str, Any]) -> None:
    vae = network(layout)
    x = clip(vae, 5, 2)
    assert torch.allclose(vae.encode(x[:, :1]), vae.encode(x)[:, :1], atol=1e-5)
    z = vae.encode(x)
    assert torch.allclose(vae.decode(z[:, :1]), vae.decode(z)[:, :1], atol=1e-5)


@layouts
def test_a_clip_that_stands_still_has_one_latent(layout: dict[str, Any]) -> None:
    """What comes before the first frame is the first frame."""
    vae = network(layout)
    x = clip(vae, 1, 2).expand(-1, vae.frames(5), -1, -1, -1)
    state = vae.encode(x)
    assert torch.allclose(state, state[:, :1].expand_as(state), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 4))
def test_pieces_of_any_lengths_equal_the_whole(which: int, lengths: list[int], seed: int) -> None:
    vae = network(LAYOUTS[which])
    elements = vae.elements(sum(lengths))
    x = clip(vae, elements, seed=seed, batch=2)
    rest = x.shape[1] - sum(lengths)
    pieces = x.split([*lengths, rest] if rest else lengths, 1)
    state = vae.encode(x)
    streamed = torch.cat(list(vae.encode_stream(pieces)), 1)
    assert streamed.shape == state.shape and (streamed - state).abs().max() < 1e-4
    parts = [state[:, k : k + n] for k, n in zip(np.cumsum([0, *lengths]), lengths, strict=False)]
    z = torch.cat(parts, 1)
    found = torch.cat(list(vae.decode_stream(parts)), 1)
    assert found.shape[1] == vae.frames(z.shape[1]) and (found - vae.decode(z)).abs().max() < 1e-4


def test_elements_come_as_soon_as_they_are_complete() -> None:
    vae = network()
    x = clip(vae, 4)
    given: list[int] = []

    def pieces() -> Any:
        for frame in x.split(1, 1):
            given.append(1)
            yield frame

    assert [len(given) for _ in vae.encode_stream(pieces())] == [1, 5, 9, 13]


def test_memory_does_not_grow_with_the_duration() -> None:
    """Numbers that tensors hold while frame 40 and frame 400 come out."""
    vae = network()

    def held() -> int:
        gc.collect()
        tensors = {t.untyped_storage().data_ptr(): t for t in gc.get_objects() if type(t) is Tensor}
        return sum(t.untyped_storage().nbytes() for t in tensors.values())

    def at(count: int) -> int:
        for k, _ in enumerate(
            vae.decode_stream(
                vae.encode_stream(torch.full((1, 4, 3, 8, 8), 0.1 * (j % 7)) for j in range(101))
            )
        ):
            if k == count:
                return held()
        raise AssertionError

    assert at(90) <= at(9) + 1024


def test_frames_that_are_no_whole_elements_are_refused() -> None:
    vae = network()
    with pytest.raises(ValueError, match=r"1 \+ k · 4 frames; got 4"):
        vae.encode(torch.zeros(1, 4, 3, 8, 8))
    with pytest.raises(ValueError, match="it ended after 7"):
        list(vae.encode_stream(torch.zeros(1, 7, 3, 8, 8).split(3, 1)))
    with pytest.raises(ValueError, match="multiples of 8"):
        vae.encode(torch.zeros(1, 5, 3, 8, 12))
    with pytest.raises(ValueError, match="shape"):
        vae.encode(torch.zeros(1, 5, 1, 8, 8))


def test_statistics_bring_states_to_unit_scale() -> None:
    vae = network()
    x = [clip(vae, n, 2, seed=n) for n in (2, 3, 5)]
    vae.fit_statistics(x)
    z = torch.cat([vae.encode(part) for part in x], 1)
    assert z.mean((0, 1, 3, 4)).abs().max() < 1e-4
    assert (z.std((0, 1, 3, 4), unbiased=False) - 1).abs().max() < 1e-3
    with pytest.raises(ValueError, match="at least one batch"):
        vae.fit_statistics([])
    with pytest.raises(ValueError, match="no statistics"):
        VideoVAE(CausalVAE(**LAYOUTS[0]), 16).encode([np.zeros((1, 16, 16, 3), np.uint8)])


class TestCodec:
    def test_it_does_what_the_network_does_in_pieces(self) -> None:
        vae = network()
        x = clip(vae, 6, 2, batch=2)
        clips = [to_frames(row) for row in x]
        exact = torch.stack([torch.tensor(c) for c in clips]).movedim(-1, 2).float() / 127.5 - 1
        codec = VideoVAE(vae, (16, 16), chunk=3)
        state = codec.encode(clips)
        assert torch.allclose(state, vae.encode(exact), atol=1e-4)
        assert (codec.channels, codec.factor, codec.stride) == (4, 8, 4)
        assert [codec.elements(n) for n in (1, 2, 5, 6, 8, 9)] == [1, 2, 2, 3, 3, 3] and codec.frames(3) == 9
        for made, row in zip(codec.decode(state), vae.decode(state), strict=True):
            assert made.shape == (21, 16, 16, 3) and made.dtype == np.uint8
            assert np.abs(made.astype(int) - to_frames(row)).max() <= 1

    def test_a_stream_of_states_is_the_whole(self) -> None:
        codec = VideoVAE(network(), 16)
        state = torch.randn(2, 7, 4, 2, 2)
        rows = list(codec.decode_stream(state.split([1, 2, 4], 1)))
        for k, made in enumerate(codec.decode(state)):
            pieces = np.concatenate([row[k] for row in rows])
            assert len(pieces) == 25 and np.abs(pieces.astype(int) - made).max() <= 1

    def test_a_state_that_is_not_finite_fails_alone(self) -> None:
        codec = VideoVAE(network(), 16)
        state = torch.randn(2, 3, 4, 2, 2)
        state[1, 1] = float("nan")
        good, bad = codec.decode(state)
        assert len(good) == 9 and isinstance(bad, Failure)
        rows = list(codec.decode_stream(state.split(1, 1)))
        assert [isinstance(row[1], Failure) for row in rows] == [False, True, True]
        assert np.abs(np.concatenate([row[0] for row in rows]).astype(int) - good).max() <= 1

    def test_sizes_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="multiple of 8.*near which are 8 and 16"):
            VideoVAE(network(), (16, 12))
        with pytest.raises(ValueError, match="size must be a side"):
            VideoVAE(network(), (16, 12, 3))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"1 \+ k · 4 frames"):
            VideoVAE(network(), 8).encode([np.zeros((4, 8, 8, 3), np.uint8)])
        for wrong, message in (
            ({"widths": []}, "widths"),
            ({"time": [2]}, "time must hold 2 strides"),
            ({"space": [2, 5]}, "space must hold 2 strides"),
            ({"latent": 0}, "latent"),
        ):
            with pytest.raises(ValueError, match=message):
                build(AUTOENCODERS, {"name": "video_vae", **wrong})


class TestFolders:
    def test_a_folder_holds_all_of_it(self, tmp_path: Path) -> None:
        vae = network()
        save_video_vae(vae, tmp_path / "vae", "# a card\n", {"name": "mine"})
        codec = build(CODECS, {"name": "video_vae", "folder": str(tmp_path / "vae"), "size": 16})
        frames = [to_frames(clip(vae, 3, 2)[0])]
        assert torch.equal(codec.encode(frames), VideoVAE(vae, 16).encode(frames))
        assert codec.network.time == (2, 2) and not codec.network.training

    def test_what_is_no_such_folder_is_refused(self, tmp_path: Path) -> None:
        save_video_vae(network(), tmp_path, "# a card\n")
        config = (tmp_path / "config.yaml").read_text()
        (tmp_path / "config.yaml").write_text(config.replace("latent: 4", "latent: 5"))
        with pytest.raises(FolderError, match="weights do not fit the autoencoder"):
            load_video_vae(tmp_path)
        (tmp_path / "config.yaml").write_text(config.replace("video_vae", "video_van"))
        with pytest.raises(FolderError, match="did you mean 'video_vae'"):
            load_video_vae(tmp_path)
        (tmp_path / "config.yaml").write_text(config.replace("autoencoder:", "thing:"))
        with pytest.raises(FolderError, match="holds no autoencoder"):
            load_video_vae(tmp_path)
