r"""Training the autoencoder of pictures.

The loss of one picture, all means over its C H W values:

    l1 |x̂ − x|  +  mse (x̂ − x)²  +  edge |∇x̂ − ∇x|  +  kl Σ KL(q(z | x) ‖ N(0, 1)) / (C H W)

with x̂ decoded from one draw of z, KL = (mean² + e^log_var − log_var − 1) / 2 and ∇ the differences of
neighbouring pixels. The KL term is so weak that it only keeps latents from drifting (Rombach et al., 2022,
App. G); unit variance is the matter of the statistics, taken with the averaged weights after training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from langevin.core.registry import Registry, build
from langevin.core.rng import Stream
from langevin.core.training.data import Dataset
from langevin.core.training.trainer import Progress, Settings, Trainer
from langevin.core.training.trainer import train as run
from langevin.modalities.image.latents import VAECodec
from langevin.modalities.image.pixels import to_images, to_tensor
from langevin.modalities.image.recipe import shape
from langevin.modalities.image.vae import AUTOENCODERS, ConvVAE, save_vae
from langevin.modalities.sheets import sheet
from langevin.modalities.trained import card, checked_keys, drawn

__all__ = ["Reconstruction", "VAEModel", "fit", "train_vae", "vae_model", "vae_of_config"]


@dataclass(frozen=True)
class Reconstruction:
    """Weights of the terms of the loss.

    Args:
        l1: of absolute errors.
        mse: of squared errors.
        edge: of absolute errors of the differences between neighbouring pixels; sharpens outlines.
        kl: of the KL divergence from the standard normal.
    """

    l1: float = 1.0
    mse: float = 1.0
    edge: float = 0.0
    kl: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("l1", "mse", "edge", "kl"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")

    def __call__(
        self, x: Tensor, guess: Tensor, mean: Tensor, log_var: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each picture (B,) and its terms, unweighted.

        Args:
            x, guess: pictures and their reconstructions (B, C, H, W).
            mean, log_var: of q(z | x), (B, latent, h, w).
        """
        error = guess - x
        terms = {
            "l1": error.abs().mean((1, 2, 3)),
            "mse": error.square().mean((1, 2, 3)),
            "kl": (mean.square() + log_var.exp() - log_var - 1).sum((1, 2, 3)) / 2 / x[0].numel(),
        }
        if self.edge:
            terms["edge"] = error.diff(dim=2).abs().mean((1, 2, 3)) + error.diff(dim=3).abs().mean((1, 2, 3))
        return sum((getattr(self, name) * term for name, term in terms.items()), torch.zeros(())), terms


LOSSES = Registry("loss of an image autoencoder", Reconstruction)
LOSSES.register("reconstruction")(Reconstruction)


@dataclass
class VAEModel:
    """An autoencoder as the trainer sees it.

    Args:
        network: what is trained.
        objective: weights of the loss.
        size: side to which pictures are scaled and cropped; None takes them as they are.
        about: name, summary, licence, attribution and settings of the loss, for its folder.
    """

    network: ConvVAE
    objective: Reconstruction
    size: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.about.get("name", "my-vae"))

    @property
    def codec(self) -> VAECodec:
        """The codec with the weights as they are.

        Raises:
            ValueError: no size, or one that the autoencoder cannot halve so often.
        """
        return VAECodec(self.network, self.size or 0)

    def loss(
        self, items: Any, conditions: Any, rng: Stream, rows: tuple[int, int] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each picture (B,) and its terms; conditions are not used."""
        x = to_tensor(items, self.network.channels, self.size).to(self.network.device)
        height, width = (side // self.network.factor for side in x.shape[2:])
        noise = rng.fold("latent").normal((len(x), self.network.latent, height, width)).to(x)
        # under autocast the terms would be sums in half precision
        return self.objective(x, *(value.float() for value in self.network(x, noise)))

    @torch.no_grad()
    def reconstructed(self, data: Dataset, pictures: int) -> tuple[Tensor, Tensor]:
        """The first pictures of the data and their reconstructions from the means of q, (B, C, H, W)."""
        items, _ = data.batch(list(range(min(pictures, len(data)))))
        x = to_tensor(items, self.network.channels, self.size)
        self.network.eval()
        return x, torch.cat([self.network(part.to(self.network.device))[0].cpu() for part in x.split(16)])

    def sheet(self, data: Dataset) -> Any:
        """Eight pictures of the data above their reconstructions."""
        x, guess = self.reconstructed(data, 8)
        return sheet([*to_images(x), *to_images(guess.clamp(-1, 1))], columns=len(x))

    def complete(self, data: Dataset, seed: int) -> None:
        """Set the statistics of the latents; the network is left in evaluation mode, without gradients."""
        self.network.eval().requires_grad_(False)
        fit(self.network, data, size=self.size, seed=seed)

    def save(self, folder: Path, record: Mapping[str, Any], trained: str, data: Dataset) -> VAECodec:
        """Write the folder that ``{name: vae, folder: …}`` names as a codec, with the error of reconstruction."""
        vae, about = self.network, self.about
        x, guess = self.reconstructed(data, 64)
        decibels = 10 * math.log10(4 / max(float((guess.clamp(-1, 1) - x).square().mean()), 1e-12))
        text = card(
            self,
            "An autoencoder of pictures trained with langevin.",
            [f"latents: {vae.latent} channels, one for {vae.factor} × {vae.factor} pixels"],
            trained,
            [f"reconstruction: PSNR {decibels:.1f} dB over {len(x)} pictures of the training data"],
            data,
        )
        save_vae(vae, folder, text, record={**about, **record})
        return self.codec


def vae_model(
    channels: int = 3,
    latent: int = 4,
    widths: tuple[int, ...] = (32, 64, 128),
    blocks: int = 1,
    *,
    size: int | None = None,
    objective: Reconstruction | None = None,
    seed: int = 0,
) -> VAEModel:
    """A fresh autoencoder for the trainer; the seed alone decides its first weights.

    Args:
        channels, latent, widths, blocks: as of :class:`ConvVAE`.
        size: side of the pictures; None takes them as they are.
        objective: weights of the loss.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = ConvVAE(channels, latent, widths, blocks)
    return VAEModel(vae, objective or Reconstruction(), size)


def vae_of_config(data: Dataset, given: Mapping[str, Any], seed: int = 0) -> VAEModel:
    """A fresh autoencoder for pictures like those of the data, from the ``model`` of a training configuration.

    Args:
        data: items are pictures of one size.
        given: ``autoencoder`` (a node; channels follow from the data), ``objective`` (fields of
            :class:`Reconstruction`), ``name``, ``summary``, ``licence``, ``attribution``.
        seed: of the weights.

    Raises:
        BuildError: a key or name that is not known, with the nearest that is.
        ValueError: pictures of unequal sizes, or of a side that the autoencoder cannot halve so often.
    """
    about = checked_keys(given)
    side, channels = shape(data)
    objective = build(LOSSES, {"name": "reconstruction", **(given.get("objective") or {})})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = build(
            AUTOENCODERS, {"name": "conv_vae", "channels": channels, **(given.get("autoencoder") or {})}
        )
    model = VAEModel(vae, objective, side, about)
    assert model.codec.size == side  # refuses other sides before anything is computed
    return model


def fit(
    vae: ConvVAE,
    data: Dataset,
    pictures: int = 2048,
    *,
    size: int | None = None,
    batch: int = 64,
    seed: int = 0,
) -> None:
    """Set the statistics of the latents from pictures drawn from the data without repetition.

    Args:
        vae: changed in place.
        data: items are pictures.
        pictures: how many; all where there are fewer.
        size: side of the pictures; None takes them as they are.
        batch: pictures at once.
        seed: of the draw.
    """
    items = drawn(data, pictures, batch, seed)
    vae.fit_statistics(to_tensor(part, vae.channels, size) for part in items)


def train_vae(
    data: Dataset,
    model: VAEModel | None = None,
    settings: Settings | None = None,
    *,
    out: str | Path | None = None,
    device: str = "cpu",
    watch: Callable[[Progress], None] = lambda progress: None,
) -> ConvVAE:
    """Train an autoencoder on pictures.

    Args:
        data: items are pictures; conditions are not used.
        model: what to train, from :func:`vae_model`; the default one when None.
        settings: how; AdamW, as nothing of it is a transformer's matrix.
        out: folder of checkpoints; a run that was interrupted there goes on. None keeps nothing.
        device: where to train.
        watch: called with each line of the log.

    Returns:
        The averaged autoencoder with its statistics, in evaluation mode.

    Raises:
        FloatingPointError: the loss is not finite.
        ValueError: pictures that the autoencoder cannot take, or a checkpoint of another run.
    """
    model = model or vae_model()
    settings = settings or Settings(optimizer="adamw", batch=64, steps=5_000)
    trainer = Trainer(model, data, settings, None if out is None else Path(out), device)
    trainer.resume()
    run(trainer, watch)
    vae = model.network
    vae.load_state_dict(trainer.averaged())
    vae.eval()
    fit(vae, data, size=model.size, seed=settings.seed)
    return vae
