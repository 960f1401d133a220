"""Measures that rest on published networks, from local weights only; nothing is ever downloaded.

CLAP (Wu et al. 2023): sounds and texts in one space. The CLAP score of a sound is the cosine between it and the text that
it was made for. A long sound is heard in windows of what the model takes (10 s), whose embeddings are averaged; the
model's own random crops, and the random choice that its feature extractor makes for fusion models, are not used, so that
a sound has one embedding.

    hf download laion/clap-htsat-unfused --local-dir clap-htsat-unfused

VGGish (Hershey et al. 2017): the network of the original Fréchet audio distance (Kilgour et al. 2019). Windows of 0.96 s at
16 kHz without overlap, 64 mel bands from 125 to 7500 Hz of 25 ms frames, ln(magnitude + 0.01); 128 values before the
last rectifier, without the whitening of AudioSet's release, as the distance is computed. The file of the port to PyTorch
is a pickle, which is not read here; it is converted once:

    curl -LO https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth
    python -c "import torch, safetensors.torch as s; s.save_file(torch.load('vggish-10086976.pth', weights_only=True),
    'vggish.safetensors')"

VGGish hears 16 kHz and was trained on YouTube: it orders sounds worse than CLAP does (Gui et al. 2023), and is here for
comparison with published figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from langevin import foreign, optional
from langevin.modalities.audio.sound import Audio
from langevin.modalities.statistics import Estimate, bootstrap

__all__ = ["GET_CLAP", "GET_VGGISH", "Clap", "VGGish"]

GET_CLAP = "hf download laion/clap-htsat-unfused --local-dir clap-htsat-unfused"
GET_VGGISH = (
    "curl -LO https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth && "
    'python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('vggish-10086976.pth', weights_only=True), 'vggish.safetensors')\""
)


class Clap:
    """Embeddings of a CLAP model, normalised to length 1: a feature extractor, and the CLAP score.

    Args:
        folder: a local folder with model, feature extractor and tokenizer, as `save_pretrained` writes them.
        batch_size: windows at a time.

    Raises:
        FileNotFoundError: no such folder; the message has the command that fetches one.
        FolderError: pickled weights, links out of the folder, or weights that do not fit; see :mod:`langevin.foreign`.
        ImportError: transformers is not installed.
    """

    def __init__(self, folder: str | Path, device: str = "cpu", batch_size: int = 16) -> None:
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise FileNotFoundError(
                f"no CLAP model at {str(folder)!r}; nothing is downloaded: run `{GET_CLAP}` and give that folder"
            )
        transformers = optional.transformers()
        foreign.require_inside(path)
        self.device, self.batch_size = device, batch_size
        self.net: Any = foreign.network(path, transformers.ClapModel, "model", others=True).to(device)
        self.extract: Any = transformers.ClapFeatureExtractor.from_pretrained(
            str(path), local_files_only=True
        )
        self._folder = path
        self._tokenizer: Any = None

    @torch.no_grad()
    def __call__(self, sounds: Sequence[Audio]) -> NDArray[np.float32]:
        """(N, D) embeddings of sounds."""
        if len(sounds) == 0:
            raise ValueError("sounds must hold at least one; got none")
        rate, most = int(self.extract.sampling_rate), int(self.extract.nb_max_samples)
        windows, of = [], []
        for i, sound in enumerate(sounds):
            x = sound.mono().resampled(rate).samples[0]
            count = -(-len(x) // most)
            # Windows of one length, the last of which overlaps: a short rest would be heard repeated.
            for start in np.linspace(0, max(0, len(x) - most), count).round().astype(int):
                windows.append(x[start : start + most])
                of.append(i)
        found = [
            self._heard(windows[k : k + self.batch_size]) for k in range(0, len(windows), self.batch_size)
        ]
        total = torch.zeros(len(sounds), found[0].shape[1])
        total.index_add_(0, torch.tensor(of), torch.cat(found))
        return F.normalize(total, dim=1).numpy()

    def _heard(self, windows: list[NDArray[np.float32]]) -> Tensor:
        inputs = self.extract(windows, sampling_rate=int(self.extract.sampling_rate), return_tensors="pt")
        longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=self.device)
        out = self.net.get_audio_features(
            input_features=inputs["input_features"].to(self.device), is_longer=longer
        )
        return F.normalize(_pooled(out).float(), dim=1).cpu()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) embeddings of texts."""
        if self._tokenizer is None:
            transformers = optional.transformers()
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(self._folder), local_files_only=True, trust_remote_code=False
            )
        inputs = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        ids, mask = (inputs[k].to(self.device) for k in ("input_ids", "attention_mask"))
        out = self.net.get_text_features(input_ids=ids, attention_mask=mask)
        return F.normalize(_pooled(out).float(), dim=1).cpu().numpy()

    def scores(self, sounds: Sequence[Audio], texts: Sequence[str]) -> NDArray[np.float32]:
        """(N,) cosine of each sound with its text.

        Raises:
            ValueError: another number of texts than of sounds.
        """
        if len(sounds) != len(texts):
            raise ValueError(
                f"texts must have one entry for each of the {len(sounds)} sounds; got {len(texts)}"
            )
        return np.asarray((self(sounds) * self.texts(texts)).sum(1))

    def score(self, sounds: Sequence[Audio], texts: Sequence[str], seed: int = 0) -> Estimate:
        """The mean of :meth:`scores`, with a bootstrap interval. Beside it belongs that of real sounds, and that of
        shuffled texts."""
        return bootstrap(self.scores(sounds, texts), seed=seed)


def _pooled(out: Any) -> Tensor:
    """Embeddings; older transformers give the tensor itself."""
    return torch.as_tensor(getattr(out, "pooler_output", out))


class VGGish:
    """VGGish embeddings, 128 values for every 0.96 s, averaged for each sound.

    For the Fréchet audio distance as published, :meth:`windows` gives those of all windows apart.

    Args:
        weights: a safetensors file with the state of the PyTorch port.

    Raises:
        FileNotFoundError: no such file; the message has the command that makes one.
        ValueError: a file of something else.
    """

    RATE, FRAMES = 16_000, 96

    def __init__(self, weights: str | Path, device: str = "cpu") -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"no VGGish weights at {str(weights)!r}; nothing is downloaded: run `{GET_VGGISH}` and give that file"
            )
        with torch.device("meta"):  # 72 million weights that the file has
            self.net = _vgg()
        try:
            state = {k: v.float() for k, v in load_file(str(weights)).items() if not k.startswith("pproc")}
            self.net.load_state_dict(state, assign=True)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"{weights} does not hold VGGish's weights: {error}") from None
        self.net.to(device).eval()
        self.device = device

    @torch.no_grad()
    def windows(self, sounds: Sequence[Audio]) -> list[NDArray[np.float32]]:
        """(windows, 128) of each sound; one shorter than 0.975 s is padded with silence."""
        found = []
        for sound in sounds:
            x = _vggish_input(sound.mono().resampled(self.RATE).samples[0].astype(np.float64))
            parts = [self._embed(torch.from_numpy(x[k : k + 32])) for k in range(0, len(x), 32)]
            found.append(torch.cat(parts).numpy())
        return found

    def __call__(self, sounds: Sequence[Audio]) -> NDArray[np.float32]:
        """(N, 128): the mean over the windows of each sound."""
        if len(sounds) == 0:
            raise ValueError("sounds must hold at least one; got none")
        return np.stack([w.mean(0) for w in self.windows(sounds)])

    def _embed(self, x: Tensor) -> Tensor:
        y = self.net["features"](x[:, None].to(self.device))  # (B, 512, 6, 4)
        # The fully connected layers come from TensorFlow, whose channels are last.
        return torch.as_tensor(self.net["embeddings"](y.permute(0, 2, 3, 1).flatten(1))).cpu()


def _vgg() -> nn.ModuleDict:
    """Six convolutions and three linear layers, named as in the port."""
    layers: list[nn.Module] = []
    inputs = 1
    for outputs in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0):
        if outputs:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        else:
            layers.append(nn.MaxPool2d(2, 2))
    embeddings = [
        nn.Linear(512 * 4 * 6, 4096),
        nn.ReLU(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, 128),
    ]
    return nn.ModuleDict({"features": nn.Sequential(*layers), "embeddings": nn.Sequential(*embeddings)})


def _vggish_input(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """(windows, 96, 64) of samples at 16 kHz; frames begin within the sound, none is padded."""
    window, hop, n_fft = 400, 160, 512
    x = np.pad(x, (0, max(0, window + (VGGish.FRAMES - 1) * hop - len(x))))
    frames = np.lib.stride_tricks.sliding_window_view(x, window)[::hop]
    frames = frames[: len(frames) // VGGish.FRAMES * VGGish.FRAMES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    magnitude = np.abs(np.fft.rfft(frames * hann, n_fft))
    # Triangles are linear in mel there, not in Hz; the lowest bin is left out.
    mel = 1127 * np.log1p(np.arange(n_fft // 2 + 1) * VGGish.RATE / n_fft / 700)
    edges = np.linspace(1127 * np.log1p(125 / 700), 1127 * np.log1p(7500 / 700), 66)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    up, down = (mel[:, None] - low) / (centre - low), (high - mel[:, None]) / (high - centre)
    banks = np.clip(np.minimum(up, down), 0, None)
    banks[0] = 0
    return np.log(magnitude @ banks + 0.01).reshape(-1, VGGish.FRAMES, 64).astype(np.float32)
