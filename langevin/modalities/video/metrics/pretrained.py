"""Features of a published network, from local weights only; nothing is ever downloaded.

VideoMAE (Tong et al. 2022): the mean of the last hidden states over all spacetime patches. The Fréchet distance in features
of a self-supervised network follows motion where that of the I3D network, the usual FVD (Unterthiner et al. 2018), mostly
follows single frames (Ge et al. 2024). It is not the published FVD, and no figure of it compares with one.

    hf download MCG-NJU/videomae-base --local-dir videomae-base

    from langevin.modalities.distances import frechet_distance
    extract = VideoMAE("videomae-base")
    frechet_distance(extract(samples), extract(real))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from langevin import optional
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics.features import looked_at

__all__ = ["GET_VIDEOMAE", "VideoMAE"]

GET_VIDEOMAE = "hf download MCG-NJU/videomae-base --local-dir videomae-base"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as the network was trained


class VideoMAE:
    """Features (N, D) of a VideoMAE model, a feature extractor.

    Clips are looked at in as many frames and at the size that the model has, at even distances.

    Args:
        folder: a local folder as `save_pretrained` writes it.
        batch_size: clips at a time.

    Raises:
        FileNotFoundError: no such folder; the message has the command that fetches one.
        ImportError: transformers is not installed.
    """

    def __init__(self, folder: str | Path, device: str = "cpu", batch_size: int = 8) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise FileNotFoundError(
                f"no VideoMAE model at {str(folder)!r}; nothing is downloaded: run `{GET_VIDEOMAE}` and give that folder"
            )
        transformers = optional.transformers()
        self.device, self.batch_size = device, batch_size
        self.net: Any = transformers.VideoMAEModel.from_pretrained(str(folder), local_files_only=True)
        self.net = self.net.to(device).eval()

    @torch.no_grad()
    def __call__(self, clips: Sequence[Video]) -> NDArray[np.float32]:
        """(N, D) of clips. Raises ValueError for none."""
        config = self.net.config
        mean, deviation = (torch.tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
        rows = []
        for start in range(0, max(1, len(clips)), self.batch_size):
            x = looked_at(clips[start : start + self.batch_size], config.num_frames, config.image_size)
            x = ((x + 1) / 2 - mean) / deviation
            rows.append(self.net(x.to(self.device)).last_hidden_state.mean(1).float().cpu().numpy())
        return np.concatenate(rows)
