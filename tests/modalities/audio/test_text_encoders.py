"""Sound from text by encoders of transformers: tiny ones with random weights, written to a folder first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langevin as lv
from langevin import optional
from langevin.assembly import build_model
from langevin.core.rng import Stream
from langevin.modalities.audio.sound import Audio
from tests.core.test_conditioning_pretrained import clap, t5, whole_clap, write_tokenizer


@pytest.mark.parametrize("make", [t5, clap, whole_clap])
def test_a_model_with_a_frozen_text_encoder_is_trained_saved_and_moved(
    make: Callable[[Any], Any], tmp_path: Path, noise: Callable[..., Audio], tone: Callable[..., Audio]
) -> None:
    torch.manual_seed(0)
    encoder = tmp_path / "encoder"
    make(optional.transformers()).save_pretrained(encoder)
    write_tokenizer(encoder)
    modality = {
        "name": "audio",
        "codec": {"name": "complex_stft", "rate": 8000, "n_fft": 128, "hop": 32},
        "patch": [16, 8],
        "seconds": 0.256,
        "conditions": {
            "prompt": {"name": "transformers-text", "folder": str(encoder), "width": 24, "vector_width": 32}
        },
    }
    network = {
        "name": "dit",
        "width": 32,
        "depth": 1,
        "heads": 2,
        "modulation": "shared",
        "context_width": 24,
    }
    model = build_model({"name": "told", "modality": modality, "network": network, "drop": {"prompt": 0.2}})
    frozen = [p.clone() for p in model.network.conditions["prompt"]._frozen[0].parameters()]
    optimiser = torch.optim.Adam(model.network.parameters(), lr=1e-2)
    sounds, said = [noise(0.256), tone(0.256)] * 4, ["hiss", "a tone"] * 4
    model.network.train()
    for step in range(12):
        loss, _ = model.loss(sounds, {"prompt": said}, Stream.of(step, 8))
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    embedder = model.network.conditions["prompt"]
    for learned in (embedder.context.weight, embedder.vector.weight):  # both ways in are used
        assert learned.grad is not None and float(learned.grad.abs().sum()) > 0
    assert all(map(torch.equal, frozen, embedder._frozen[0].parameters()))

    model.save(tmp_path / "m")
    shutil.rmtree(encoder)  # the folder of the model has its own copy
    shutil.move(tmp_path / "m", tmp_path / "elsewhere")
    loaded = lv.load(tmp_path / "elsewhere", device="cpu")
    how: dict[str, Any] = {"steps": 2, "guidance": 3.0, "seed": 1}
    plain, again = (m.sample(prompt=["hiss", "a tone"], **how) for m in (model, loaded))
    assert float((plain.state - again.state).abs().max()) < 0.02  # weights are stored in half precision
    away = loaded.sample(prompt=["hiss", "a tone"], negative={"prompt": ["a tone", "hiss"]}, **how)
    one = loaded.sample(prompt=["hiss", "a tone"], negative="a tone", **how)
    assert float((away.state - again.state).abs().max()) > 1e-3
    np.testing.assert_allclose(away.state[0], one.state[0], atol=1e-4)
    assert float((away.state[1] - one.state[1]).abs().max()) > 1e-3
