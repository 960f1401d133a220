"""Throughput of the backbone beside diffusers' DiT, in one process, taking turns.

The model is DiT-S/2 on latents of 32 x 32 x 4: 256 tokens, 384 wide, 12 blocks, 6 heads. Rows:

    diffusers            DiTTransformer2DModel
    langevin, as theirs  the same network (sincos positions, no QK-norm, same weights) in our blocks
    langevin             our DiT with rotary attention and QK-norm, patch embedding and final layer

Each round times every row once, in an order that rotates; the ratio of a row is the median over rounds of
(its images per second / diffusers' of the same round), so a load that comes and goes hits both. GFLOP/s
counts matrix products only (torch's counter).

    python benchmarks/backbone_throughput.py --threads 1 --batch 8 --rounds 7
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from langevin import optional
from langevin.bridge.dit import load_diffusers_dit
from langevin.core.backbones import DiT, FinalLayer, TimeEmbedding

WIDTH, DEPTH, HEADS, SIZE, PATCH, CHANNELS, CLASSES = 384, 12, 6, 32, 2, 4, 1000


class Ours(nn.Module):
    """Our DiT as a user's network: patches in, patches out."""

    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(CHANNELS * PATCH**2, WIDTH)
        self.time = TimeEmbedding(WIDTH)
        self.classes = nn.Embedding(CLASSES + 1, WIDTH)
        self.trunk = DiT(WIDTH, DEPTH, HEADS, axes=2)
        self.final = FinalLayer(WIDTH, CHANNELS * PATCH**2)
        side = torch.arange(SIZE // PATCH, dtype=torch.float32)
        self.register_buffer("positions", torch.cartesian_prod(side, side)[None])

    def forward(self, x: Tensor, timestep: Tensor, label: Tensor) -> Tensor:
        tokens = self.embed(rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=PATCH, q=PATCH))
        vector = self.time(timestep / 1000) + self.classes(label)
        tokens = self.final(self.trunk(tokens, vector, self.positions).tokens, vector)
        return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", h=SIZE // PATCH, p=PATCH, q=PATCH)


def measure(networks: dict[str, Callable[..., Tensor]], batch: int, rounds: int, train: bool) -> None:
    x, timestep = torch.randn(batch, CHANNELS, SIZE, SIZE), torch.randint(1000, (batch,))
    label = torch.randint(CLASSES, (batch,))

    def once(network: Callable[..., Tensor]) -> None:
        if train:
            network(x, timestep, label).square().mean().backward()
        else:
            with torch.no_grad():
                network(x, timestep, label)

    work: dict[str, int] = {}
    for name, network in networks.items():
        with FlopCounterMode(display=False) as counter:
            once(network)  # warms up too
        work[name] = counter.get_total_flops()
    speeds: dict[str, list[float]] = {name: [] for name in networks}
    names = list(networks)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter()
            once(networks[name])
            speeds[name].append(batch / (time.perf_counter() - start))
    base = names[0]
    for name in names:
        ratios = [a / b for a, b in zip(speeds[name], speeds[base])]
        middle = statistics.median(speeds[name])
        kind = "forward+backward" if train else "forward"
        print(
            f"{kind:17} {name:20} {middle:8.2f} {max(speeds[name]):8.2f} "
            f"{work[name] * middle / batch / 1e9:8.1f} {statistics.median(ratios):8.3f} "
            f"{min(ratios):6.2f} - {max(ratios):.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    theirs = optional.diffusers().DiTTransformer2DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        in_channels=CHANNELS,
        num_layers=DEPTH,
        sample_size=SIZE,
        patch_size=PATCH,
        num_embeds_ada_norm=CLASSES,
    )
    first = theirs.transformer_blocks[0].norm1.emb.state_dict()
    for block in theirs.transformer_blocks[1:]:  # as in the published weights
        block.norm1.emb.load_state_dict(first)
    networks = {
        "diffusers": lambda x, t, y: theirs(x, t, y).sample,
        "langevin, as theirs": load_diffusers_dit(theirs),
        "langevin": Ours(),
    }
    print(
        f"DiT-S/2, {options.threads} thread(s), batch {options.batch}, {options.rounds} rounds, float32, "
        f"torch {torch.__version__}"
    )
    print(f"{'':17} {'':20} {'img/s':>8} {'best':>8} {'GFLOP/s':>8} {'ratio':>8} range")
    for train in (False, True):
        measure(networks, options.batch, options.rounds, train)


if __name__ == "__main__":
    main()
