"""What is causal in codecs of clips, what is exact when it is streamed, and what ours loses on real clips.

    python -m benchmarks.video_codecs
    python -m benchmarks.video_codecs --folder my/wan-pipeline --folder my/ltx-pipeline
    python -m benchmarks.video_codecs --vae runs/my-video-vae --data ../shared/data

The first table has a row for our autoencoder, for each layout of diffusers with few random weights, and for each folder.
Causality and exactness follow from the layout, the sizes of differences from the weights; all are the largest ones on a clip
of noise, in standard deviations of what they are differences of:

    code                       pixels a side and frames of an element, and its channels
    earlier latents            by how much later frames change them, over all places; 0 of a causal encoder
    leaks                      share of the places at which they do
    picture                    the first element of a clip, from that of its first frame alone
    earlier frames             by how much later elements change them; 0 of a decoder that does not look ahead
    streamed                   pieces, from the whole
    tiles                      frames that diffusers decodes in tiles of half a side, from the whole

The second table, of --vae, is of the test split of the sprites there and back: PSNR and SSIM (medians), flicker on the
pixels that stand still in the real clip (grey levels of 255; of real clips it is 0), values of the state for one value of
the frames, and frames that a second of one CPU core encodes and decodes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reporting import heading, table, write
from benchmarks.tiny_video_autoencoders import TINY, tiny
from langevin.modalities.video.autoencoders import DiffusersVideo
from langevin.modalities.video.causal_vae import CausalVAE
from langevin.modalities.video.causality import Behaviour, measured, tiling
from langevin.modalities.video.clip import Video
from langevin.modalities.video.codec import Codec, lasting
from langevin.modalities.video.data import open_data
from langevin.modalities.video.latents import Latents, VideoVAE, video_vae
from langevin.modalities.video.metrics.alone import flicker, static_pixels
from langevin.modalities.video.metrics.pairs import psnr, ssim

ELEMENTS = 6
SIDE = 64  # pixels


def codecs(vae: str | None, folders: list[str]) -> Iterator[tuple[str, Latents, Latents | None]]:
    """(name, codec, the same in tiles where it has any)."""
    if vae is None:
        yield "ours, random weights", VideoVAE(_random(), SIDE), None
    else:
        yield "ours", video_vae(vae, SIDE), None
    for name in TINY:
        with tempfile.TemporaryDirectory() as home:
            tiny(name).save_pretrained(home)
            yield f"{name}, random weights", DiffusersVideo(home, SIDE), _tiled(home)
    for folder in folders:
        yield folder, DiffusersVideo(folder, SIDE), _tiled(folder)


def _random() -> CausalVAE:
    torch.manual_seed(0)
    network = CausalVAE()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    network.fit_statistics([torch.rand(1, 9, 3, SIDE, SIDE) * 2 - 1])
    return network.eval()


def _tiled(folder: str) -> DiffusersVideo:
    codec = DiffusersVideo(folder, SIDE, tile=True)
    half, hop = SIDE // 2, SIDE // 4
    if hasattr(codec.vae, "tile_sample_stride_height"):
        codec.vae.enable_tiling(half, half, tile_sample_stride_height=hop, tile_sample_stride_width=hop)
    else:
        codec.vae.enable_tiling(half, half, 0.5, 0.5)  # CogVideoX takes shares of a tile
    return codec


def row(name: str, codec: Latents, found: Behaviour, tiles: float | None) -> dict[str, str]:
    """The figures of one codec."""
    return {
        "codec": name,
        "code": f"{codec.factor} x {codec.factor} x {codec.stride}, {codec.channels}",
        "earlier latents": f"{found.encoder:.2g}",
        "leaks": f"{found.leaks:.0%}",
        "picture": f"{found.picture:.1g}",
        "earlier frames": f"{found.decoder:.2g}",
        "streamed": f"{found.streamed:.1g}",
        "tiles": "" if tiles is None else f"{tiles:.2g}",
    }


def there_and_back(codec: Codec, clips: list[Video]) -> tuple[list[Video], float, float]:
    """What becomes of clips, and the seconds of one core that encoding and decoding took."""
    made, encoding, decoding = [], 0.0, 0.0
    for clip in clips[:1] + clips:  # what is computed once is computed with the first
        frames = lasting(clip.frames, codec.frames(codec.elements(len(clip))))
        start = time.process_time()
        state = codec.encode([frames])
        between = time.process_time()
        (back,) = codec.decode(state)
        encoding, decoding = encoding + between - start, decoding + time.process_time() - between
        made.append(Video(back[: len(clip)], clip.fps))
        if len(made) == 1:
            encoding = decoding = 0.0
    return made[1:], encoding, decoding


def losses(codec: Codec, clips: list[Video]) -> dict[str, str]:
    """What a codec loses on real clips, and what it costs."""
    made, encoding, decoding = there_and_back(codec, clips)
    pairs = list(zip(made, clips, strict=True))
    frames = sum(len(clip) for clip in clips)
    still = [flicker(a, static_pixels([b])) for a, b in pairs if static_pixels([b]).any()]
    kept = codec.channels * codec.elements(len(clips[0])) / (3 * codec.factor**2 * len(clips[0]))
    return {
        "clips": str(len(clips)),
        "PSNR (dB)": f"{np.median([psnr(a, b) for a, b in pairs]):.2f}",
        "SSIM": f"{np.median([ssim(a, b) for a, b in pairs]):.3f}",
        "flicker": f"{np.mean(still):.2f}",
        "values": f"1 / {1 / kept:.0f}",
        "encode (frames/s)": f"{frames / encoding:.0f}",
        "decode (frames/s)": f"{frames / decoding:.0f}",
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", action="append", default=[], help="a folder of diffusers; may be repeated"
    )
    parser.add_argument("--vae", help="a folder that langevin train experiment=video_vae left")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the shared sets")
    parser.add_argument("-n", type=int, help="clips, spread over the split; all by default")
    parser.add_argument("--out", help="write the rows to a .csv or .json file")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    heading(f"codecs of clips, {ELEMENTS} elements of {SIDE // 2} x {SIDE // 2} pixels, one thread")
    rows, said = [], []
    for name, codec, tiled in codecs(args.vae, args.folder):
        found = measured(codec, ELEMENTS, (SIDE // 2, SIDE // 2))
        tiles = None if tiled is None else tiling(codec, tiled, 2, (SIDE, SIDE))[1]
        rows.append(row(name, codec, found, tiles))
        said.append(f"{name}: {found.words}" + ("" if not tiles else "; blended in tiles"))
    table(rows)
    print("\n".join(said))
    write(args.out, rows)
    if args.vae is not None:
        data: Any = open_data(args.data / "video" / "lpc_sprites_64.npz", "test", size=SIDE)
        chosen = np.linspace(0, len(data) - 1, args.n or len(data)).astype(int).tolist()
        table([losses(video_vae(args.vae, SIDE), data.batch(chosen)[0])])
    return 0


if __name__ == "__main__":
    sys.exit(main())
