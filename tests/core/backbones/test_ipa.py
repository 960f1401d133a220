"""IPA gives the same answer wherever in space the frames lie, tells mirror images apart, and never sees padding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from langevin.core import so3
from langevin.core.backbones import IPA
from langevin.core.backbones.ipa import InvariantPointAttention
from langevin.core.catalogue import BACKBONES
from langevin.core.network import Network
from langevin.core.processes import Gaussian, Product, Rotations
from langevin.core.registry import build as build_node
from langevin.core.rng import Stream
from langevin.core.tokens import Tokens

KINDS = {
    "plain": {},
    "shared": {"modulation": "shared"},
    "context": {"context_width": 12},
    "pair": {"pair_width": 6},
    "all": {
        "modulation": "shared",
        "context_width": 12,
        "pair_width": 6,
        "second_time": True,
        "axes": 1,
        "query_points": 2,
        "value_points": 3,
    },
}


def build(kind: str, awake: bool = True, **options) -> IPA:
    """A small IPA in float64; awake: no gate or bias is at zero."""
    torch.manual_seed(0)
    model = IPA(32, 3, 4, **{**KINDS[kind], **options}).double()
    if awake:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.15)
    return model


def inputs(model: IPA, batch: int = 3, count: int = 7, masked: bool = False) -> dict:
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    given = {"tokens": draw(batch, count, 32), "vector": draw(batch, 32)}
    given["frames"] = (so3.exp(2 * draw(batch, count, 3)), 2 * draw(batch, count, 3))
    if masked:
        given["mask"] = torch.arange(count) < torch.tensor([count, count - 2, 1])[:, None]
    if model.rotary is not None:
        given["positions"] = draw(batch, count, 1)
    if model.pair_width:
        given["pair"] = draw(batch, count, count, model.pair_width)
    if model.context_width:
        given["context"] = draw(batch, 4, model.context_width)
        given["context_mask"] = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    if model.second is not None:
        given["second"] = draw(batch, 32)
    return given


def moved(frames, turn, shift):
    """The frames after x -> turn x + shift of space."""
    return turn @ frames[0], frames[1] @ turn.mT + shift


def single(value):
    if isinstance(value, tuple):
        return tuple(map(single, value))
    return value.float() if value.is_floating_point() else value


TURN = so3.exp(torch.tensor([0.7, -1.9, 1.1], dtype=torch.float64))
SHIFT = torch.tensor([3.0, -2.0, 4.0], dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_motion_of_space_changes_nothing(kind):
    model = build(kind)
    given = inputs(model, masked=True)
    there = {**given, "frames": moved(given["frames"], TURN, SHIFT)}
    out, other = model(**given), model(**there)
    assert (out.tokens - given["tokens"])[given["mask"]].abs().max() > 0.1
    torch.testing.assert_close(other.tokens, out.tokens, rtol=0, atol=1e-10)
    if out.pair is not None:
        torch.testing.assert_close(other.pair, out.pair, rtol=0, atol=1e-10)
    model = model.float()
    out, other = (model(**{k: single(v) for k, v in one.items()}) for one in (given, there))
    torch.testing.assert_close(other.tokens, out.tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirror_image_and_any_other_change_of_the_frames_are_seen(kind):
    model = build(kind)
    given = inputs(model)
    out = model(**given).tokens
    rotations, translations = given["frames"]
    flip = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    # axes made of mirrored atoms: the first two are mirrored, the third is their product
    for frames in (
        (flip @ rotations @ flip, translations @ flip),
        (rotations, 1.3 * translations),
        (rotations @ TURN, translations),
        (TURN @ rotations, translations),
    ):
        assert (model(**{**given, "frames": frames}).tokens - out).abs().max() > 1e-3


def test_scores_far_from_the_origin_keep_their_digits():
    model = build("plain").float()
    given = {k: single(v) for k, v in inputs(model).items()}
    rotations, translations = given["frames"]
    whole = (translations * 64).round() / 64  # the shift below rounds none of them
    out = model(**{**given, "frames": (rotations, whole)}).tokens
    far = model(**{**given, "frames": (rotations, whole + 1024.0)}).tokens
    torch.testing.assert_close(far, out, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_a_set(kind):
    model = build(kind)
    given = inputs(model)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    other = {k: v[:, order] if k in ("tokens", "positions") else v for k, v in given.items()}
    other["frames"] = tuple(part[:, order] for part in given["frames"])
    if "pair" in given:
        other["pair"] = given["pair"][:, order][:, :, order]
    out, other = model(**given), model(**other)
    torch.testing.assert_close(other.tokens, out.tokens[:, order], rtol=0, atol=1e-10)
    if out.pair is not None:
        torch.testing.assert_close(other.pair, out.pair[:, order][:, :, order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_no_influence_whatever_it_holds(kind):
    model = build(kind)
    given = inputs(model, masked=True)
    mask, out = given["mask"], model(**given)
    spoiled = {**given, "tokens": given["tokens"].masked_fill(~mask[..., None], float("nan"))}
    spoiled["frames"] = (
        given["frames"][0].masked_fill(~mask[..., None, None], float("nan")),
        given["frames"][1].masked_fill(~mask[..., None], float("nan")),
    )
    if "pair" in given:
        both = mask[:, None] & mask[:, :, None]
        spoiled["pair"] = given["pair"].masked_fill(~both[..., None], float("nan"))
    if "context" in given:
        spoiled["context"] = given["context"].masked_fill(~given["context_mask"][..., None], float("nan"))
    other = model(**spoiled)
    torch.testing.assert_close(other.tokens, out.tokens)
    assert (out.tokens[~mask] == 0).all()
    if "pair" in given:
        torch.testing.assert_close(other.pair, out.pair)

    row = {name: value[1:2] for name, value in given.items() if name not in ("mask", "frames")}
    row["frames"] = tuple(part[1:2, :5] for part in given["frames"])  # row 1 alone, cut to length
    for name, axes in {"tokens": 1, "positions": 1, "pair": 2}.items():
        if name in row:
            row[name] = row[name][:, :5] if axes == 1 else row[name][:, :5, :5]
    alone = model(**row)
    torch.testing.assert_close(alone.tokens[0], out.tokens[1, :5])
    if "pair" in given:
        torch.testing.assert_close(alone.pair[0], out.pair[1, :5, :5])


def naive(layer: InvariantPointAttention, x, frames, mask, pair):
    """The algorithm token by token, head by head and point by point."""
    rotations, translations = frames
    B, N, D = x.shape
    H, P, V = layer.heads, layer.query_points, layer.value_points
    q, k, v = layer.qkv(x).view(B, N, 3, H, D // H).unbind(2)
    if layer.q_norm is not None:
        q, k = layer.q_norm(q), layer.k_norm(k)
    points = layer.points(x).view(B, N, H, 2 * P + V, 3)
    z = None if pair is None else layer.pair_bias.norm(pair)
    gamma = nn.functional.softplus(layer.sharpness)
    w_c, w_l = math.sqrt(2 / (9 * P)), math.sqrt(1 / (2 if pair is None else 3))
    rows = []
    for b in range(B):
        real = [j for j in range(N) if mask is None or mask[b, j]]

        def place(j, u, b=b):
            return rotations[b, j] @ u + translations[b, j]

        for i in range(N):
            heard = [[], [], [], []]
            for h in range(H):
                scores = []
                for j in real:
                    score = q[b, i, h] @ k[b, j, h] / math.sqrt(D // H)
                    for p in range(P):
                        gap = place(i, points[b, i, h, p]) - place(j, points[b, j, h, P + p])
                        score = score - gamma[h] * w_c / 2 * (gap @ gap)
                    if z is not None:
                        score = score + layer.pair_bias.linear.weight[h] @ z[b, i, j]
                    scores.append(w_l * score)
                a = torch.stack(scores).softmax(0)
                heard[0].append(sum(a[n] * v[b, j, h] for n, j in enumerate(real)))
                for p in range(2 * P, 2 * P + V):
                    mean = sum(a[n] * place(j, points[b, j, h, p]) for n, j in enumerate(real))
                    own = rotations[b, i].T @ (mean - translations[b, i])
                    heard[1].append(own)
                    heard[2].append((own @ own + 1e-8).sqrt()[None])
                if z is not None:
                    heard[3].append(sum(a[n] * z[b, i, j] for n, j in enumerate(real)))
            rows.append(layer.out(torch.cat([part for kind in heard for part in kind])))
    return torch.stack(rows).view(B, N, D)


@pytest.mark.parametrize("qk_norm", [True, False], ids=["qk-norm", "no qk-norm"])
@pytest.mark.parametrize("pair_width", [0, 4])
def test_the_attention_is_that_of_the_algorithm(pair_width, qk_norm):
    torch.manual_seed(0)
    layer = InvariantPointAttention(
        8, 2, pair_width=pair_width, query_points=3, value_points=2, qk_norm=qk_norm
    ).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    frames = (so3.exp(2 * torch.randn(2, 5, 3, dtype=torch.float64)), torch.randn(2, 5, 3).double())
    pair = torch.randn(2, 5, 5, pair_width, dtype=torch.float64) if pair_width else None
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    torch.testing.assert_close(
        layer(x, frames, mask, pair), naive(layer, x, frames, mask, pair), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        layer(x, frames, None, pair), naive(layer, x, frames, None, pair), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_is_the_identity(kind):
    model = build(kind, awake=False)
    given = inputs(model)
    out = model(**given)
    torch.testing.assert_close(out.tokens, given["tokens"], rtol=0, atol=0)
    if "pair" in given:
        torch.testing.assert_close(out.pair, given["pair"], rtol=0, atol=0)
    gamma = nn.functional.softplus(model.blocks[0].attention.sharpness)
    torch.testing.assert_close(gamma, torch.ones_like(gamma), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    model = build(kind)
    out = model(**inputs(model))
    (out.tokens.square().sum() + (0 if out.pair is None else out.pair.square().sum())).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("modulation", ["block", "shared"])
def test_training_can_leave_the_identity(modulation):
    model = build("all", awake=False, modulation=modulation)
    model(**inputs(model)).tokens.square().sum().backward()
    names = {"shared": ("modulation.weight", "blocks.0.table"), "block": ("blocks.0.modulation.weight",)}
    for name in (*names[modulation], "blocks.2.cross.out.weight"):
        assert model.get_parameter(name).grad.abs().sum() > 0, name


def test_gradients_are_finite_where_frames_coincide_and_in_rows_of_padding():
    model = build("all")
    given = inputs(model, masked=True)
    given["mask"][2] = False
    rotations, translations = given["frames"]
    rotations[0, 1], translations[0, 1] = rotations[0, 0], translations[0, 0]
    rotations[1], translations[1] = rotations[1, :1], translations[1, :1]  # all at one place
    with torch.no_grad():  # points at the origins: what is heard there has length 0
        for block in model.blocks:
            block.attention.points.weight.zero_()
            block.attention.points.bias.zero_()
    given["tokens"].requires_grad_()
    given["frames"] = (rotations.requires_grad_(), translations.requires_grad_())
    out = model(**given)
    (out.tokens.square().sum() + out.pair.square().sum()).backward()
    for grad in (given["tokens"].grad, rotations.grad, translations.grad):
        assert grad.isfinite().all() and grad[0].abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert (out.tokens[2] == 0).all()


def test_every_token_may_have_its_own_time_and_intermediate_tokens_come_out():
    model = build("all")
    given = inputs(model)
    out = model(**given, features=("block.0", "block.2"))
    assert set(out.features) == {"block.0", "block.2"}
    torch.testing.assert_close(out.features["block.2"], out.tokens)
    assert (out.features["block.0"] - out.tokens).abs().max() > 1e-3
    each = given["vector"][:, None].expand(-1, 7, -1)
    torch.testing.assert_close(model(**{**given, "vector": each}).tokens, out.tokens)
    changed = each.clone()
    changed[:, 0] += 1
    assert (model(**{**given, "vector": changed}).tokens - out.tokens).abs().max() > 1e-3


def test_points_are_placed_in_single_precision_where_the_network_is_rounded():
    model = build("all").float()
    given = {k: single(v) for k, v in inputs(model, masked=True).items()}
    there = {**given, "frames": moved(given["frames"], TURN.float(), SHIFT.float())}
    out = model(**given).tokens
    with torch.autocast("cpu", torch.bfloat16):
        rounded, turned = model(**given).tokens, model(**there).tokens
    torch.testing.assert_close(rounded, out, rtol=0.1, atol=0.1)
    torch.testing.assert_close(turned, rounded, rtol=0.05, atol=0.05)
    half = {k: v.bfloat16() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in given.items()}
    answer = model.bfloat16()(**half).tokens
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer.float(), out, rtol=0.2, atol=0.2)


def test_no_tensor_has_pairs_of_tokens_times_heads_times_points():
    """Memory in the forward and backward pass stays that of a few scores (B, H, N, N)."""
    model = IPA(32, 1, 4, pair_width=2, query_points=8, value_points=8)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    count = 64
    x, vector = torch.randn(1, count, 32), torch.randn(1, 32)
    frames = (so3.exp(torch.randn(1, count, 3)), torch.randn(1, count, 3))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(x, vector, pair=torch.randn(1, count, count, 2), frames=frames).tokens.sum().backward()
    assert max(kept) <= count * count * 4  # of 4 heads


@pytest.mark.slow
def test_the_whole_forward_is_one_graph():
    model = build("all").float()
    given = {k: single(v) for k, v in inputs(model, masked=True).items()}
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(**given).tokens, model(**given).tokens)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="pair_width must be 0 or at least 2"):
        IPA(8, 1, 2, pair_width=1)
    with pytest.raises(ValueError, match="must be positive, not 0 and 8"):
        IPA(8, 1, 2, query_points=0)
    with pytest.raises(ValueError, match="width 8 is not a multiple of heads 3"):
        IPA(8, 1, 3)
    with pytest.raises(ValueError, match="did you mean 'shared'"):
        IPA(8, 1, 2, modulation="share")
    model = build("plain")
    given = inputs(model)
    rotations, translations = given["frames"]
    for wrong, message in (
        ({"frames": None}, "frames, rotations .* are missing"),
        ({"frames": (translations, rotations)}, r"rotations \(3, 7, 3, 3\) .* got \(3, 7, 3\) and"),
        ({"frames": (rotations[:1], translations[:1])}, "frames of 7 tokens in 3 rows"),
        ({"context": torch.zeros(3, 1, 4)}, "context_width=0"),
        ({"pair": torch.zeros(3, 7, 7, 2)}, "built with pair_width=0"),
        ({"features": ("block.3",)}, "unknown feature 'block.3'"),
        ({"second": given["vector"]}, "second_time=False"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**{**given, **wrong})
    with pytest.raises(ValueError, match=r"pair features \(B, N, N, 6\) are missing"):
        build("pair")(**given)
    every = build("all")
    with pytest.raises(ValueError, match=r"positions \(B, N, 1\) are missing; build with axes=0"):
        every(**{**inputs(every), "positions": None})


@dataclass(frozen=True)
class Bodies:
    """Rigid bodies in a row: a rotation and a place of each; the first is marked."""

    inputs: ClassVar = {"ends": 2}
    outputs: ClassVar = {"positions": 3, "frames": 3}
    pairs = 2
    framed: bool = True

    def tokens(self, state, mask=None):
        x, r = state["positions"], state["frames"]
        place = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        gap = (place[:, None] - place).clamp(-2, 2).expand(x.shape[0], -1, -1)
        pair = torch.stack((gap, (x[:, :, None] - x[:, None]).square().sum(-1).log1p()), -1)
        ends = torch.stack((place == 0, place >= 0), -1).to(x).expand(x.shape[0], -1, -1)
        return Tokens(
            {"ends": ends}, place[None, :, None], mask, pair, frames=(r, x) if self.framed else None
        )

    def untokens(self, values, like):
        return {**values, "positions": (like["frames"] * values["positions"].unsqueeze(-2)).sum(-1)}


def bodies(count: int, length: int = 6, dtype=torch.float32) -> dict:
    """Pieces of one helix, turned and shifted at random: their frames know each other's places."""
    step = torch.arange(length, dtype=torch.float64)
    angle = 1.7 * step
    places = torch.stack((0.5 * angle.cos(), 0.5 * angle.sin(), 0.3 * step), -1)
    rotations = so3.exp(torch.stack((0 * angle, 0 * angle, angle), -1))
    turn = so3.exp(3 * torch.randn(count, 1, 3, generator=torch.Generator().manual_seed(4)).double())
    x = (turn @ places[..., None])[..., 0]
    x = x - x.mean(1, keepdim=True)
    return {"positions": x.to(dtype), "frames": (turn @ rotations).to(dtype)}


def test_what_a_network_answers_turns_with_the_frames():
    torch.manual_seed(0)
    network = Network(
        Bodies(), build_node(BACKBONES, {"name": "ipa", "width": 16, "depth": 2, "heads": 2, "pair_width": 4})
    )
    network = network.double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = bodies(3, dtype=torch.float64)
    there = {"positions": state["positions"] @ TURN.mT + SHIFT, "frames": TURN @ state["frames"]}
    here, there = network(state, 0.3), network(there, 0.3)
    assert here["positions"].abs().max() > 1e-2 and here["frames"].abs().max() > 1e-2
    torch.testing.assert_close(there["positions"], here["positions"] @ TURN.mT, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        there["frames"], here["frames"], rtol=0, atol=1e-10
    )  # tangents in the body frame


def test_a_network_learns_where_bodies_belong():
    torch.manual_seed(0)
    process = Product(positions=Gaussian(centred=True), frames=Rotations())
    network = Network(Bodies(), IPA(32, 2, 4, pair_width=8))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    x, losses = bodies(16), []
    for step in range(80):
        rng = Stream.of(step, 16)
        t = rng.fold("t").uniform((16,)) * 0.8 + 0.1
        x_t = process.corrupt(x, t, rng)
        belief = process.posterior(network(x_t, t), x_t, t, {"positions": "velocity", "frames": None})
        parts = [leaf.mean() for leaf in process.loss(belief, x, x_t, t, rng).values()]
        loss = sum(parts)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(torch.stack(parts).detach())
    first, last = torch.stack(losses[:10]).mean(0), torch.stack(losses[-10:]).mean(0)
    assert last[0] < 0.5 * first[0] and last[1] < 0.9 * first[1]  # places and rotations


def test_a_modality_without_frames_is_told_to_choose_another_network():
    network = Network(Bodies(framed=False), IPA(16, 2, 2, pair_width=4))
    with pytest.raises(
        ValueError, match="IPA sees tokens by their frames.* choose another network, such as dit"
    ):
        network(bodies(2), 0.3)


def test_other_networks_do_not_look_at_frames():
    torch.manual_seed(0)
    dit = build_node(
        BACKBONES, {"name": "dit", "width": 16, "depth": 2, "heads": 2, "axes": 1, "pair_width": 4}
    )
    network, other = Network(Bodies(), dit), Network(Bodies(framed=False), dit)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    other.load_state_dict(network.state_dict())
    out = network(bodies(2), 0.3)
    assert out["positions"].abs().max() > 1e-2
    torch.testing.assert_close(other(bodies(2), 0.3), out, rtol=0, atol=0)
