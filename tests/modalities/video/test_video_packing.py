"""Clips of several sizes and lengths in one training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin.assembly import build_model
from langevin.core.rng import Stream
from langevin.core.training.settings import Settings
from langevin.core.training.trainer import Trainer
from langevin.modalities.video.clip import Video
from langevin.modalities.video.data import open_data
from langevin.modalities.video.modality import make
from langevin.modalities.video.recipe import defaults

SHAPES = [(6, 16, 16), (3, 24, 16), (6, 16, 16), (2, 8, 40), (5, 16, 16), (1, 16, 24)]
CONDITIONS = {"prompt": ["left", "up", None, "round and round", "down", "a"]}


def noise(shape: tuple[int, int, int], seed: int = 0) -> Video:
    return Video(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8), 8.0)


def clips() -> list[Video]:
    return [noise(shape, seed) for seed, shape in enumerate(SHAPES)]


def model(network: dict[str, Any] | None = None, **objective: Any) -> Any:
    torch.manual_seed(0)
    made = build_model(
        {
            "name": "tiny",
            "modality": {
                "name": "video", "codec": {"name": "pixels", "size": 16}, "patch": [1, 8, 8], "frames": 6, "native": True,
                "conditions": {"prompt": {"name": "text", "width": 16, "depth": 1, "vector_width": 24, "heads": 2}},
            },
            "network": {
                "name": "dit", "width": 24, "depth": 2, "heads": 2, "axes": 3, "context_width": 16, **(network or {}),
            },
            "parametrisation": "x",
            "objective": {"target": "velocity", **objective},
            "drop": {"prompt": 0.3},
        }
    )  # fmt: skip
    for parameter in made.network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


class TestStates:
    def test_clips_keep_their_size_down_to_whole_patches(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}, "native": True})
        clip = noise((3, 21, 35))
        (back,) = modality.decode(modality.encode([clip])[0])
        assert back.size == (32, 16)
        assert np.array_equal(back.frames, clip.frames[:, 2:18, 1:33])  # cut out, not scaled
        fixed = make({"codec": {"name": "pixels", "size": 16}})
        assert fixed.decode(fixed.encode([clip])[0])[0].size == (16, 16)

    def test_batches_are_by_length_and_size(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}, "native": True})
        batches = modality.batches(clips())
        assert [batch.rows.tolist() for batch in batches] == [[0, 2], [1], [3], [4], [5]]
        assert batches[1].x.shape == (1, 3, 3, 24, 16) and batches[1].mask is None
        assert torch.equal(batches[0].x[1:], modality.encode(clips()[2:3])[0])

    def test_lengths_go_up_to_whole_patches(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}, "patch": [2, 8, 8]})
        short, long = noise((5, 16, 16)), noise((6, 16, 16))
        (batch,) = modality.batches([short, long])
        assert batch.x.shape[1] == 6 and torch.equal(batch.x[0, 5], batch.x[0, 4])

    def test_sizes_that_cannot_be(self) -> None:
        modality = make({"codec": {"name": "pixels", "size": 16}, "native": True})
        with pytest.raises(ValueError, match="8 x 40, 16 x 16"):
            modality.encode(clips())
        with pytest.raises(ValueError, match="item 1 has 7 x 16 pixels, less than one patch"):
            modality.batches([clips()[0], noise((2, 7, 16))])


class TestTraining:
    @pytest.mark.parametrize(
        "objective", [{}, {"given": 0.5, "forcing": 0.5}], ids=["plain", "given and forcing"]
    )
    @pytest.mark.parametrize("modulation", ["block", "shared"])
    def test_loss_and_gradient_of_a_clip_are_those_it_has_alone(
        self, objective: dict[str, float], modulation: str
    ) -> None:
        made, rng = model({"modulation": modulation}, **objective), Stream.of(3, 6).fold("train", 1)
        calls: list[int] = []
        handle = made.network.backbone.register_forward_hook(lambda *_: calls.append(1))
        each, _ = made.loss(clips(), CONDITIONS, rng, rows=(0, 6))
        handle.remove()
        assert len(calls) == 1
        each.sum().backward()
        slopes = {name: p.grad.clone() for name, p in made.network.named_parameters() if p.grad is not None}
        made.network.zero_grad()
        for i, clip in enumerate(clips()):
            condition = {name: values[i : i + 1] for name, values in CONDITIONS.items()}
            alone, _ = made.loss([clip], condition, rng.rows([i]), rows=(i, 6))
            torch.testing.assert_close(alone[0], each[i], rtol=1e-4, atol=1e-6)
            alone.sum().backward()
        for name, slope in slopes.items():
            found = dict(made.network.named_parameters())[name].grad
            torch.testing.assert_close(
                found, slope, rtol=2e-3, atol=2e-3 * slope.abs().max().item(), msg=name
            )

    def test_networks_that_do_not_pack_are_asked_one_after_another(self) -> None:
        made, rng = model({"name": "mmdit"}), Stream.of(3, 6)
        each, _ = made.loss(clips(), CONDITIONS, rng)
        condition = {name: values[:1] for name, values in CONDITIONS.items()}
        torch.testing.assert_close(
            made.loss(clips()[:1], condition, rng.rows([0]))[0][0], each[0], rtol=1e-4, atol=1e-6
        )

    def test_a_folder_of_clips_of_their_own_sizes(self, tmp_path: Path) -> None:
        for i, clip in enumerate(clips()[:4]):
            clip.save(tmp_path / f"{i}.apng")
        data = open_data(tmp_path)
        with pytest.raises(ValueError, match=r"native=true"):
            defaults(data, {})
        network = {"width": 24, "depth": 1, "heads": 2}
        config = defaults(data, {"modality": {"native": True}, "network": network})
        assert config["modality"]["codec"]["size"] == [16, 16] and config["modality"]["native"]
        made = build_model(config)
        trainer = Trainer(made, data, Settings(steps=2, batch=4, lr=1e-3))
        assert all(np.isfinite(trainer.advance()[0]) for _ in range(2))


class TestSampling:
    def test_a_clip_is_edited_at_its_own_size(self) -> None:
        made, clip = model(), noise((4, 24, 16))
        (drawn,) = made.sample(start=clip, strength=0.5, steps=2)
        assert drawn.size == (16, 24) and len(drawn) == 4
        (kept,) = made.sample(like=clip, keep=lv.keep.frames(0), steps=2)
        assert np.array_equal(kept.frames[0], clip.frames[0])
