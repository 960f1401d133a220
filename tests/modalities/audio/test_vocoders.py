from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from langevin import optional
from langevin.folders import FolderError
from langevin.modalities.audio.codec import LogMel
from langevin.modalities.audio.mel import PRESETS, preset
from langevin.modalities.audio.vocoders import GriffinLim, HifiGan

SPEECH = PRESETS["speech-8k"]


def mels(noise, frames: int = 40, rows: int = 3) -> torch.Tensor:
    x = torch.cat([torch.from_numpy(noise(1.0, seed=k).samples) for k in range(rows)])
    return SPEECH.spectrogram(x, frames)


def test_griffin_lim_finds_a_signal_of_these_magnitudes(tone):
    """Spectral convergence improves with iterations, and momentum helps, as Perraudin et al. report."""
    x = torch.from_numpy(tone(1.0).samples + tone(1.0, hertz=1500, peak=0.1).samples)
    framing = SPEECH.framing
    log_mel = SPEECH.spectrogram(x, framing.count(8000))
    wanted = SPEECH.magnitudes(log_mel)

    def error(iterations: int, momentum: float) -> float:
        got = framing.analyse(GriffinLim(SPEECH, iterations, momentum)(log_mel)[:, :8000]).abs()
        return float((got[..., : wanted.shape[2]] - wanted).norm() / wanted.norm())

    assert error(32, 0.99) < error(32, 0.0) < error(2, 0.0) < error(0, 0.0)
    assert error(32, 0.99) < 0.2


def test_griffin_lim_does_not_depend_on_the_batch(noise):
    vocoder, log_mel = GriffinLim(SPEECH, 8), mels(noise)
    whole = vocoder(log_mel)
    assert whole.shape == (3, 40 * SPEECH.hop)
    for k in range(3):
        assert torch.equal(vocoder(log_mel[k : k + 1])[0], whole[k])
    assert torch.equal(vocoder(log_mel.flip(0)).flip(0), whole)
    assert torch.equal(vocoder(log_mel), whole)
    assert not torch.allclose(GriffinLim(SPEECH, 8, seed=1)(log_mel), whole)


def test_griffin_lim_depends_on_its_margin_alone(noise):
    vocoder, log_mel = GriffinLim(SPEECH, 2), mels(noise, 60, 1)
    m = vocoder.margin
    assert m == 12
    part = vocoder(log_mel[:, :, 20 - m : 30 + m], start=20 - m)
    whole = vocoder(log_mel)
    hop = SPEECH.hop
    assert (part[:, m * hop : (m + 10) * hop] - whole[:, 20 * hop : 30 * hop]).abs().max() < 1e-6
    assert (vocoder(log_mel[:, :, 20 - m : 30 + m]) - part).abs().max() > 1e-3  # phases belong to places


def test_griffin_lim_options():
    with pytest.raises(ValueError, match="momentum in"):
        GriffinLim(SPEECH, momentum=1.0)
    with pytest.raises(ValueError, match="iterations must be from 0"):
        GriffinLim(SPEECH, iterations=-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    transformers = optional.transformers()
    torch.manual_seed(0)
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=80, sampling_rate=16000, upsample_initial_channel=16, upsample_rates=[16, 16],
        upsample_kernel_sizes=[32, 32], resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 3], [1, 2]],
    )  # fmt: skip
    path = tmp_path_factory.mktemp("vocoder")
    network = transformers.SpeechT5HifiGan(config)
    network.scale.fill_(2.0)
    for parameter in network.parameters():  # so that changes of the input are heard at the output
        parameter.data.mul_(6)
    network.save_pretrained(path)
    return path, network.eval()


def test_hifigan_is_read_from_a_folder_and_gives_what_transformers_gives(folder):
    path, network = folder
    vocoder = HifiGan(str(path))
    assert vocoder.spec == PRESETS["hifigan-16k"]
    log_mel = torch.randn(2, 80, 9)
    with torch.no_grad():
        assert torch.allclose(vocoder(log_mel), network(log_mel.transpose(1, 2)))
    assert vocoder(log_mel).shape == (2, 9 * 256)
    sounds = LogMel(vocoder.spec, vocoder=vocoder).decode(torch.randn(1, 1, 80, 5))
    assert (sounds[0].rate, len(sounds[0])) == (16000, 5 * 256)


def test_hifigan_depends_on_its_margin_alone(folder):
    vocoder = HifiGan(str(folder[0]))
    m, x = vocoder.margin, torch.randn(1, 80, 60)
    changed = x.clone()
    changed[..., : 30 - m] = 9.0
    changed[..., 31 + m :] = -9.0
    here = slice(30 * 256, 31 * 256)
    assert (vocoder(x)[:, here] - vocoder(changed)[:, here]).abs().max() < 1e-6
    near = x.clone()
    near[..., 28] = 9.0
    assert (vocoder(x)[:, here] - vocoder(near)[:, here]).abs().max() > 1e-4


def test_a_vocoder_of_another_spectrogram_is_refused(folder):
    vocoder = HifiGan(str(folder[0]))
    with pytest.raises(ValueError, match=r"made for another spectrogram.*fmax 7600\.0 and 8000\.0"):
        LogMel(preset("hifigan-16k", fmax=8000), vocoder=vocoder)
    with pytest.raises(ValueError, match="rate 8000 and 16000, hop 128 and 256, mels 64 and 80"):
        HifiGan(str(folder[0]), SPEECH)


def test_folders_that_hold_no_vocoder(folder, tmp_path):
    with pytest.raises(FolderError, match="no folder"):
        HifiGan(str(tmp_path / "absent"))
    with pytest.raises(FolderError, match=r"has no config\.json"):
        HifiGan(str(tmp_path))
    (tmp_path / "config.json").write_text("{oops")
    with pytest.raises(FolderError, match="cannot be read"):
        HifiGan(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    with pytest.raises(FolderError, match="unknown architecture"):
        HifiGan(str(tmp_path))
    config = (folder[0] / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(FolderError, match="pickled weights are not read"):
        HifiGan(str(tmp_path))
    (tmp_path / "model.safetensors").symlink_to(folder[0] / "model.safetensors")
    with pytest.raises(FolderError, match="leads out of the folder"):
        HifiGan(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").write_bytes((folder[0] / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(config.replace("[\n    3,\n    5\n  ]", "[\n    3,\n    7\n  ]"))
    with pytest.raises(FolderError, match="weights do not fit"):
        HifiGan(str(tmp_path))
    (tmp_path / "config.json").write_text(config.replace("16000", "12000"))
    with pytest.raises(ValueError, match="no preset has rate 12000"):
        HifiGan(str(tmp_path))


def test_digits_survive(needs):
    """Log-spectral distance of real digits through mel and Griffin-Lim."""
    archive = np.load(needs("fsdd_8k.npz"))
    rows, framing = np.flatnonzero(archive["split"] == "test")[::60], SPEECH.framing

    def distance(vocoder: GriffinLim) -> float:
        found = []
        for i in rows:
            x = archive["samples"][archive["offsets"][i] : archive["offsets"][i + 1]] / 32768
            x = torch.from_numpy(x / np.abs(x).max()).float()[None]
            log_mel = SPEECH.spectrogram(x, framing.count(x.shape[1]))
            real, made = (
                framing.analyse(s).abs().clamp(min=1e-3) for s in (x, vocoder(log_mel)[:, : x.shape[1]])
            )
            found.append(float((20 * torch.log10(real / made)).square().mean(1).sqrt().mean()))
        return float(np.mean(found))

    assert distance(GriffinLim(SPEECH)) < min(8.0, 0.8 * distance(GriffinLim(SPEECH, 0)))
