"""The autoencoder of pictures: tiles equal the whole, states are normalised, folders and runs round-trip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langevin import folders
from langevin.core.registry import BuildError
from langevin.core.rng import Stream
from langevin.core.training.trainer import Settings
from langevin.modalities.image.data import ShapesDataset
from langevin.modalities.image.pixels import to_tensor
from langevin.modalities.image.vae import ConvVAE, load_vae, save_vae, vae_of
from langevin.modalities.image.vae_training import Reconstruction, fit, train_vae, vae_model


def small(
    widths: tuple[int, ...] = (8, 12, 16), channels: int = 3, blocks: int = 1, seed: int = 0
) -> ConvVAE:
    """A VAE all of whose branches are alive."""
    vae = vae_model(channels, 4, widths, blocks, seed=seed).network
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        vae.mean.copy_(torch.randn(4))
        vae.std.copy_(torch.rand(4) + 0.5)
        vae.fitted.fill_(True)
    return vae.eval()


def pictures(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


class Few:
    """The first pictures of the shapes."""

    def __init__(self, count: int) -> None:
        self.images, _ = ShapesDataset(size=32).batch(range(count))

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Any) -> tuple[Any, dict[str, list[Any]]]:
        return self.images[list(indices)], {}


@pytest.mark.parametrize("widths", [(8,), (8, 12), (8, 12, 16)])
@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_shapes(widths: tuple[int, ...], channels: int) -> None:
    vae = small(widths, channels)
    assert vae.factor == 2 ** (len(widths) - 1)
    x = pictures(2, 24, 16, channels)
    mean, log_var = vae.encode_moments(x)
    assert mean.shape == log_var.shape == (2, 4, 24 // vae.factor, 16 // vae.factor)
    assert vae.decode(vae.encode(x)).shape == x.shape
    assert vae(x)[0].shape == x.shape


@torch.no_grad()
def test_decode_after_encode_is_the_reconstruction_whatever_the_statistics() -> None:
    vae, x = small(), pictures(2, 16, 16)
    torch.testing.assert_close(vae.decode(vae.encode(x)), vae(x)[0], atol=1e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    tile=st.integers(4, 40),
    widths=st.sampled_from([(6,), (6, 8), (6, 8, 8)]),
    blocks=st.integers(1, 2),
)
@torch.no_grad()
def test_tiles_equal_the_whole(
    height: int, width: int, tile: int, widths: tuple[int, ...], blocks: int
) -> None:
    vae = small(widths, blocks=blocks)
    x = pictures(1, height * vae.factor * 2, width * vae.factor * 2)
    z = vae.encode(x)
    torch.testing.assert_close(vae.encode_tiled(x, tile), z, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vae.decode_tiled(z, tile), vae.decode(z), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("widths", [(6, 8), (6, 8, 8)])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_the_margin_is_the_receptive_field(side: str, widths: tuple[int, ...]) -> None:
    vae = small(widths).double()
    f, n, middle = vae.factor, 31, 15
    x = pictures(1, n * f, n * f).double() if side == "encoder" else torch.randn(1, 4, n, n).double()
    x.requires_grad_(True)
    if side == "encoder":
        part = vae.encode(x)[0, :, middle, middle]
    else:
        part = vae.decode(x)[0, :, middle * f : (middle + 1) * f, middle * f : (middle + 1) * f]
    (grad,) = torch.autograd.grad(part.square().sum(), x)
    touched = grad[0].abs().sum((0, 2)).nonzero().flatten() // (f if side == "encoder" else 1)
    margin = vae.encoder_margin if side == "encoder" else vae.decoder_margin
    # it suffices on both sides, and one less would not do on the worse
    assert max(middle - int(touched.min()), int(touched.max()) - middle) == margin


@torch.no_grad()
def test_a_margin_that_is_too_small_shows() -> None:
    vae, z = small(), torch.randn(1, 4, 20, 20)
    vae.decoder_margin -= 2
    assert (vae.decode_tiled(z, 16) - vae.decode(z)).abs().max() > 1e-4


@torch.no_grad()
def test_statistics_make_states_standard_channel_by_channel() -> None:
    vae = small()
    x = pictures(24, 16, 16)
    vae.fit_statistics([x[:5], x[5:17], x[17:]])
    state = vae.encode(x).transpose(0, 1).flatten(1)  # (latent, elements)
    torch.testing.assert_close(state.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(state.std(1, correction=0), torch.ones(4), atol=1e-5, rtol=0)
    assert bool(vae.fitted)


@torch.no_grad()
def test_a_latent_that_does_not_vary_stays_finite() -> None:
    vae = small()
    vae.encoder[-1].weight[0] = 0
    vae.fit_statistics([pictures(4, 16, 16)])
    state = vae.encode(pictures(4, 16, 16))
    assert state.isfinite().all() and state[:, 0].abs().max() < 1e-2


def test_statistics_need_pictures() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        small().fit_statistics([])


@torch.no_grad()
def test_samples_of_the_posterior_belong_to_their_row_and_have_its_moments() -> None:
    vae = small()
    x = pictures(1, 16, 16).expand(4096, -1, -1, -1)
    mean, log_var = vae.encode_moments(x[:1])
    std = (0.5 * log_var[0]).exp()
    z = vae.sample(x, Stream.of(0, 4096))
    assert torch.equal(z[:3], vae.sample(x[:3], Stream.of(0, 3)))
    assert not torch.equal(z[:3], vae.sample(x[:3], Stream.of(1, 3)))
    raw = z * vae.std[:, None, None] + vae.mean[:, None, None]
    assert ((raw.mean(0) - mean[0]).abs() < 6 * std / 4096**0.5 + 1e-5).all()
    torch.testing.assert_close(raw.std(0), std, atol=1e-5, rtol=0.1)


@pytest.mark.parametrize(("height", "width"), [(17, 16), (16, 18), (3, 4)])
def test_sides_that_are_no_multiples_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"multiples of 4; got {width} × {height}"):
        small().encode(pictures(1, height, width))
    with pytest.raises(ValueError, match="multiples of 4"):
        small().encode_tiled(pictures(1, height, width), 8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused_and_the_sample_named(bad: float) -> None:
    vae, x, z = small(), pictures(3, 8, 8), torch.zeros(3, 4, 2, 2)
    x[1, 0, 0, 0] = bad
    z[2, 0, 0, 0] = bad
    for call in (vae.encode, vae.encode_moments, vae, vae.encode_tiled):
        with pytest.raises(ValueError, match="pictures must be finite.*sample 1"):
            call(x)
    for call in (vae.decode, vae.decode_tiled):
        with pytest.raises(ValueError, match="latents must be finite.*sample 2"):
            call(z)


def test_wrong_channels_and_sizes_are_refused() -> None:
    vae = small()
    with pytest.raises(
        ValueError, match=r"pictures must have shape \(B, 3, height, width\); got \(1, 1, 8, 8\)"
    ):
        vae.encode(pictures(1, 8, 8, 1))
    with pytest.raises(ValueError, match="latents must have shape"):
        vae.decode(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="tile must be at least 4"):
        vae.decode_tiled(torch.zeros(1, 4, 2, 2), 3)
    for wrong in ({"channels": 2}, {"widths": ()}, {"widths": (8,) * 9}, {"latent": 0}, {"blocks": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ConvVAE(**wrong)  # type: ignore[arg-type]


# --- folders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
@torch.no_grad()
def test_a_folder_gives_the_same_autoencoder(tmp_path: Path, half: bool) -> None:
    vae, x = small(), pictures(2, 16, 16)
    save_vae(vae, tmp_path / "vae", "# A test", half)
    again = load_vae(tmp_path / "vae")
    assert not again.training and again.std.dtype == torch.float32
    torch.testing.assert_close(again.std, vae.std, atol=0, rtol=0)
    assert (again.channels, again.latent, again.widths, again.blocks) == (3, 4, (8, 12, 16), 1)
    torch.testing.assert_close(
        again.encode(x), vae.encode(x), atol=2e-2 if half else 0, rtol=2e-2 if half else 0
    )


def test_a_folder_that_claims_more_than_it_holds_is_refused_before_anything_is_allocated() -> None:
    tensors = small().state_dict()
    with pytest.raises(ValueError, match="do not fit the autoencoder"):
        vae_of({"name": "conv_vae", "widths": [10**6, 10**6]}, tensors)  # 288 TB, were it built
    with pytest.raises(BuildError, match="did you mean 'widths'"):
        vae_of({"name": "conv_vae", "width": [8]}, tensors)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    folders.write_model(tmp_path, {"modality": "image"}, small().state_dict(), "")
    with pytest.raises(folders.FolderError, match="no autoencoder"):
        load_vae(tmp_path)


# --- training -----------------------------------------------------------------------------------------------


def test_the_loss_is_what_the_module_says() -> None:
    x, guess = pictures(2, 4, 4).double(), pictures(4, 4, 4)[2:].double()
    mean, log_var = torch.randn(2, 4, 1, 1).double(), torch.randn(2, 4, 1, 1).double()
    total, terms = Reconstruction(l1=0.3, mse=0.7, edge=0.2, kl=0.01)(x, guess, mean, log_var)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, (0.5 * log_var).exp()), normal(0.0, 1.0)).sum(
        (1, 2, 3)
    )
    torch.testing.assert_close(terms["kl"], kl / 48)
    error = (guess - x).numpy()
    edge = np.abs(np.diff(error, axis=2)).mean((1, 2, 3)) + np.abs(np.diff(error, axis=3)).mean((1, 2, 3))
    rest = 0.3 * np.abs(error).mean((1, 2, 3)) + 0.7 * (error**2).mean((1, 2, 3)) + 0.2 * edge
    torch.testing.assert_close(total, torch.from_numpy(rest) + 0.01 * kl / 48)


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="kl must not be negative"):
        Reconstruction(kl=-1.0)


def test_a_pictures_loss_does_not_depend_on_its_batch() -> None:
    model, data = vae_model(widths=(8, 12)), Few(4)
    whole, _ = model.loss(*data.batch(range(4)), Stream.of(0, 4))
    part, _ = model.loss(*data.batch([2, 3]), Stream.of(0, [2, 3]))
    torch.testing.assert_close(whole[2:], part)


def test_the_seed_decides_the_weights_and_the_run() -> None:
    tiny = Settings(optimizer="adamw", steps=3, batch=2, warmup=1)
    before = torch.random.get_rng_state()

    def run(seed: int) -> ConvVAE:
        return train_vae(Few(4), vae_model(widths=(4, 4), seed=seed), tiny)

    a, b, other = run(0).state_dict(), run(0).state_dict(), run(1).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["encoder.0.weight"], other["encoder.0.weight"])
    assert bool(a["fitted"])
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_interrupted_run_goes_on_exactly(tmp_path: Path) -> None:
    def run(out: Path, stop: int | None) -> ConvVAE | None:
        def watch(progress: Any) -> None:
            if progress.step == stop:
                raise KeyboardInterrupt

        setup = Settings(optimizer="adamw", steps=4, batch=2, warmup=1, log=1)
        try:
            return train_vae(Few(4), vae_model(widths=(4, 4)), setup, out=out, watch=watch)
        except KeyboardInterrupt:
            return None

    straight = run(tmp_path / "a", None)
    assert run(tmp_path / "b", 2) is None
    resumed = run(tmp_path / "b", None)
    assert straight is not None and resumed is not None
    again = resumed.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in straight.state_dict().items())


def test_statistics_come_from_as_many_pictures_as_asked() -> None:
    seen: list[int] = []

    class Counting(Few):
        def batch(self, indices: Any) -> tuple[Any, dict[str, list[Any]]]:
            seen.extend(indices)
            return super().batch(indices)

    fit(small(), Counting(10), pictures=7, batch=3)
    assert len(seen) == len(set(seen)) == 7
    seen.clear()
    fit(small(), Counting(10), pictures=100, batch=3)
    assert sorted(seen) == list(range(10))


@pytest.mark.slow
@torch.no_grad()
def test_eight_pictures_are_learned_to_30_dB() -> None:
    data = Few(8)
    with torch.enable_grad():
        vae = train_vae(data, vae_model(), Settings(optimizer="adamw", steps=250, batch=8, warmup=20))
    x = to_tensor(data.images)
    mse = (vae.decode(vae.encode(x)).clamp(-1, 1) - x).square().mean()
    assert 10 * torch.log10(4 / mse) > 30
