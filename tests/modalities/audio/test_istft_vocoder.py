from __future__ import annotations

import dataclasses

import pytest
import torch

from langevin.core.registry import BuildError, build
from langevin.folders import FolderError
from langevin.modalities.audio import chunks
from langevin.modalities.audio.catalogue import CODECS, VOCODERS
from langevin.modalities.audio.codec import LogMel
from langevin.modalities.audio.istft_vocoder import (
    IstftNetwork,
    IstftVocoder,
    istft_vocoder,
    save_istft_vocoder,
)
from langevin.modalities.audio.mel import PRESETS, preset
from langevin.modalities.audio.vocoders import GriffinLim

SPEECH = PRESETS["speech-8k"]
SPECS = [SPEECH, preset("bigvgan-24k", rate=8000, fmax=4000, mels=40), preset("hifigan-16k", mels=40)]


def network(spec=SPEECH, depth=2) -> IstftNetwork:
    """Random weights, of which those of the head are large enough that neighbours are heard."""
    torch.manual_seed(0)
    net = IstftNetwork(spec, 16, depth)
    for block in net.blocks:
        block.gamma.data.fill_(1.0)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("spec", SPECS, ids=["speech-8k", "not centred", "log10"])
def test_pieces_equal_the_whole(spec, noise, tone):
    codec = LogMel(spec, vocoder=IstftVocoder(network(spec)))
    for sound in (noise(1.4, spec.rate), tone(1.4, spec.rate)):
        assert max(chunks.difference(codec, sound, 0.3)) < 1e-5


def test_the_margin_is_what_is_seen():
    """By the gradient of one frame's samples with respect to all frames."""
    net = network(depth=3)
    assert net.margin == 4 * 3 + 4
    frames = 2 * net.margin + 9
    log_mel = (2 * torch.randn(1, 64, frames) - 4).requires_grad_()
    net(log_mel)[:, frames // 2 * 128 : (frames // 2 + 1) * 128].square().sum().backward()
    assert log_mel.grad is not None
    seen = (log_mel.grad.abs().sum((0, 1)) > 0).nonzero().flatten() - frames // 2
    assert net.margin - 2 <= max(-int(seen[0]), int(seen[-1])) <= net.margin


def test_without_corrections_the_magnitudes_are_those_of_least_squares(noise):
    net = network()
    net.head.weight.zero_()
    net.head.bias.zero_()
    log_mel = SPEECH.spectrogram(torch.from_numpy(noise(0.5).samples))
    found = net.spectra(log_mel)
    assert torch.allclose(found.real, SPEECH.magnitudes(log_mel).clamp(min=1e-5))
    assert found.imag.abs().max() == 0
    assert net(log_mel).shape == (1, log_mel.shape[2] * SPEECH.hop)


def test_silence_stays_silent():
    made = network()(torch.full((1, 64, 30), SPEECH.lowest))
    assert made.abs().max() < 10 ** (-50 / 20)


def test_a_folder_carries_its_specification(tmp_path, noise):
    net = network()
    save_istft_vocoder(net, tmp_path, "# a card\n", {"name": "mine"})
    found = istft_vocoder(str(tmp_path), SPEECH)
    assert found.spec == SPEECH and found.margin == net.margin
    log_mel = SPEECH.spectrogram(torch.from_numpy(noise(0.5).samples))
    assert torch.equal(found(log_mel), net(log_mel))
    spec = dataclasses.asdict(SPEECH)
    node = {"name": "log_mel", "spec": spec, "vocoder": {"name": "istft", "folder": str(tmp_path)}}
    assert build(CODECS, node).decode_margin == net.margin
    with pytest.raises(BuildError, match="another spectrogram than the codec's: hop 128 and 64"):
        build(CODECS, {**node, "spec": {**spec, "hop": 64}})
    node["vocoder"] = {**node["vocoder"], "spec": {**spec, "fmax": 3800.0}}
    with pytest.raises(BuildError, match=r"another spectrogram than spec: fmax 4000\.0 and 3800\.0"):
        build(VOCODERS, node["vocoder"])
    with pytest.raises(BuildError, match="holds no autoencoder"):
        build(CODECS, {"name": "waveform_vae", "folder": str(tmp_path)})
    config = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config.replace("depth: 2", "depth: 3"))
    with pytest.raises(FolderError, match="weights do not fit the vocoder"):
        istft_vocoder(str(tmp_path))


def test_sizes_that_cannot_be():
    for arguments in ((0, 2), (8, 0), (8, 65)):
        with pytest.raises(ValueError, match="width must be positive and depth 1 … 64"):
            IstftNetwork(SPEECH, *arguments)


def test_a_few_steps_on_one_tone_beat_no_training(tone):
    """The distance that is trained falls below that of the untrained network, whose phases fit nothing."""
    from langevin.modalities.audio.vocoder_training import Resynthesis

    torch.manual_seed(0)
    net, loss = IstftNetwork(SPEECH, 16, 1), Resynthesis()
    x = torch.from_numpy(tone(0.512).samples + tone(0.512, hertz=1300, peak=0.2).samples)
    log_mel = SPEECH.spectrogram(x.double(), x.shape[1] // 128).float()
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    found = []
    for _ in range(40):
        value = loss(x, net(log_mel), SPEECH)[0].mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(float(value.detach()))
    assert found[-1] < 0.5 * found[0]
    plain = float(loss(x, GriffinLim(SPEECH, 0)(log_mel), SPEECH)[0])
    assert found[-1] < plain
