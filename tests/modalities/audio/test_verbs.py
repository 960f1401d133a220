"""The verbs of the core on sounds, for codecs of three kinds: what holds whatever the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from langevin.core import keep
from langevin.core.backbones import DiT
from langevin.core.model import Model
from langevin.core.network import Network
from langevin.core.rng import Stream
from langevin.modalities.audio.codec import ComplexSTFT, LogMel
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.modality import AudioModality
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.vocoders import GriffinLim
from langevin.modalities.audio.waveform_vae import WaveformVAE, WaveVAE

FEW: dict[str, Any] = {"steps": 2, "progress": False}
RATE = 8000
MEL = preset("speech-8k")


def latents() -> WaveformVAE:
    """An untrained waveform autoencoder."""
    torch.manual_seed(0)
    network = WaveVAE(RATE, 4, (4, 4, 4), (4, 4, 8, 8)).eval()
    network.fit_statistics([0.1 * Stream.of(0, 2).normal((2, 4096))])
    return WaveformVAE(network)


CODECS: dict[str, tuple[Callable[[], Any], tuple[int, int]]] = {
    "mel": (lambda: LogMel(MEL, vocoder=GriffinLim(MEL, iterations=4)), (8, 4)),
    "stft": (lambda: ComplexSTFT(RATE, 256, 64), (16, 4)),
    "latents": (latents, (1, 4)),
}


@pytest.fixture(params=list(CODECS))
def model(request: Any) -> Model:
    make, patch = CODECS[request.param]
    modality = AudioModality(make(), patch, seconds=0.512)
    network = Network(modality, DiT(32, 1, 2, axes=2, modulation="shared"))
    made = Model(modality, network, modality.process)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))
    return made


@pytest.fixture
def own(tone: Callable[..., Audio], noise: Callable[..., Audio]) -> Audio:
    """Stereo at another rate than the model's."""
    return Audio(tone(0.5, 16000, channels=2).samples + 0.1 * noise(0.5, 16000, channels=2).samples, 16000)


def like(made: Any, own: Audio) -> bool:
    return (made.rate, made.samples.shape) == (own.rate, own.samples.shape)


def test_audio_to_audio_begins_from_the_encoded_sound_at_a_time(model: Any, own: Audio) -> None:
    """x_t of the encoded sound: α x + σ ε, where the failing way adds the sound to noise of full scale."""
    seen: list[Any] = []
    modality: AudioModality = model.modality
    model.sample(start=own, strength=0.4, grid=[0.4, 0.2, 0.0], seed=3, watch=seen.append, progress=False)
    state, _ = modality.encode([own])
    alpha, sigma = modality.process.schedule.at(0.4)  # type: ignore[attr-defined]
    noised = modality.noised(state, 0.4, Stream.of(3, 1).fold("sample", "start"))
    eps = (noised - alpha * state) / sigma
    both = torch.stack([eps.flatten(), state.flatten()])
    bound = 4 / both.shape[1] ** 0.5
    assert abs(float(eps.std()) - 1) < bound and abs(float(torch.corrcoef(both)[0, 1])) < bound
    belief = seen[0].posterior
    assert torch.allclose(belief.x_t, noised, atol=1e-5)


def test_a_strength_near_0_is_the_round_trip_of_the_codec(model: Any, own: Audio) -> None:
    trip = model.modality.collect(*model.modality.encode([own]), {}, {}, [own])[0]
    (near,) = model.sample(start=own, strength=1e-3, grid=[1e-3, 0.0], progress=False)
    (far,) = model.sample(start=own, strength=1.0, **FEW)
    assert like(near, own) and like(far, own)
    state, found = model.modality.encode([trip, near, far])[0], []
    for row in (1, 2):
        found.append(float((state[row] - state[0]).square().mean().sqrt()))
    assert found[0] < 0.1 * found[1]


def test_a_span_and_a_band_are_redrawn_and_the_rest_is_the_users_own(model: Any, own: Audio) -> None:
    at = np.arange(len(own)) / own.rate
    outside = (at < 0.2) | (at >= 0.35)
    span = keep.seconds(0.2, 0.35)
    latents = model.modality.codec.bins == 1
    if latents:
        with pytest.raises(ValueError, match="have no hertz"):
            model.sample(like=own, keep=~(span & keep.hertz(1500)), **FEW)
    for chosen in (~span, ~(span & keep.hertz(1500)))[: 1 if latents else 2]:
        (made,) = model.sample(like=own, keep=chosen, **FEW)
        assert like(made, own)
        assert np.array_equal(made.samples[:, outside], own.samples[:, outside])
        assert not np.array_equal(made.samples[:, ~outside], own.samples[:, ~outside])


def test_a_sound_is_extended_by_keeping_it_up_to_its_very_end(model: Any, own: Audio) -> None:
    """A frame that reaches beyond what is kept is drawn anew, so the end needs no care."""
    longer = Audio(np.pad(own.samples, ((0, 0), (0, 4000))), own.rate)
    (made,) = model.sample(like=longer, keep=keep.seconds(0, own.seconds), **FEW)
    assert np.array_equal(made.samples[:, : len(own)], own.samples)
    assert np.abs(made.samples[:, len(own) + 200 :]).max() > 1e-4
    (other,) = model.sample(like=longer, keep=keep.seconds(0, own.seconds), seed=1, **FEW)
    assert not np.array_equal(made.samples, other.samples)


def test_variations_paths_inversion_and_steering(model: Any, own: Audio, tone: Callable[..., Audio]) -> None:
    varied = model.vary(own, 0.3, n=2, **FEW)
    assert all(like(item, own) for item in varied)
    assert not np.array_equal(varied[0].samples, varied[1].samples)
    other = tone(0.5, hertz=700.0)
    path = model.interpolate(own, other, 3, steps=4)
    assert len(path) == 3 and all(item.rate == RATE for item in path)
    noise = model.invert(own, steps=8)
    (back,) = model.sample(noise=noise, guidance=1.0, grid=[k / 8 for k in range(8, -1, -1)], progress=False)
    state, _ = model.modality.encode([own])
    assert back.rate == RATE and noise.shape == state.shape

    def loud(sounds: list[Audio]) -> list[float]:
        return [sound.peak for sound in sounds]

    steered = model.steer(loud, 1, particles=2, rounds=1, progress=False, steps=2)
    assert steered[0].rate == RATE and steered[0].seconds == pytest.approx(0.512)


def test_sounds_go_on_and_close_to_circles(model: Any, own: Audio) -> None:
    (long,) = model.extend(own, seconds=0.7, **FEW)
    assert np.array_equal(long.samples[:, : len(own)], own.samples) and long.seconds == pytest.approx(1.2)
    (loop,) = model.sample(1, loop=True, **FEW)
    assert loop.loop and len(loop) == 4096
