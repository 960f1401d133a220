"""An EGNN turns with its points, never sees padding, and stays finite where points coincide."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from langevin.core.backbones import EGNN
from langevin.core.network import Network
from langevin.core.tokens import PlainTokens, Tokens

KINDS = {"plain": {}, "pair": {"pair_width": 6}, "second": {"second_time": True, "pair_width": 4}}


def build(kind: str, awake: bool = True, **options) -> EGNN:
    """A small EGNN in float64; awake: nothing is at or near zero."""
    torch.manual_seed(0)
    model = EGNN(16, 3, **{**KINDS[kind], **options}).double()
    if awake:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.25)
    return model


def inputs(model: EGNN, batch: int = 3, count: int = 7, axes: int = 3, masked: bool = False) -> dict:
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    given = {"tokens": draw(batch, count, 16), "vector": draw(batch, 16)}
    given["positions"] = draw(batch, count, axes)
    if masked:
        given["mask"] = torch.arange(count) < torch.tensor([count, count - 2, 1])[:, None]
    if model.pair_width:
        pair = draw(batch, count, count, model.pair_width)
        given["pair"] = pair + pair.transpose(1, 2)
    if model.second is not None:
        given["second"] = draw(batch, 16)
    return given


def orthogonal(axes: int, proper: bool) -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(axes, axes, generator=torch.manual_seed(2), dtype=torch.float64))[0]
    q[:, 0] *= torch.sign(torch.det(q)) * (1 if proper else -1)
    return q


@pytest.mark.parametrize("proper", [True, False], ids=["rotation", "reflection"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_displacement_turns_with_the_points_and_all_else_stays(kind, axes, proper):
    model = build(kind)
    given = inputs(model, axes=axes, masked=True)
    r = orthogonal(axes, proper)
    here = model(**given)
    there = model(**{**given, "positions": given["positions"] @ r.mT + 5.0})
    assert here.displacement.abs().max() > 1e-2
    torch.testing.assert_close(there.displacement, here.displacement @ r.mT, rtol=0, atol=1e-10)
    torch.testing.assert_close(there.tokens, here.tokens, rtol=0, atol=1e-10)
    if here.pair is not None:
        torch.testing.assert_close(there.pair, here.pair, rtol=0, atol=1e-10)


def test_what_is_not_a_motion_is_seen():
    model = build("plain")
    given = inputs(model)
    here, there = model(**given), model(**{**given, "positions": 1.3 * given["positions"]})
    assert (there.tokens - here.tokens).abs().max() > 1e-3
    later = model(**{**given, "vector": given["vector"] + 1})
    assert (later.displacement - here.displacement).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_a_set(kind):
    model = build(kind)
    given = inputs(model)
    p = torch.randperm(7, generator=torch.manual_seed(3))
    moved = {k: v[:, p] if k in ("tokens", "positions") else v for k, v in given.items()}
    if "pair" in given:
        moved["pair"] = given["pair"][:, p][:, :, p]
    here, there = model(**given), model(**moved)
    torch.testing.assert_close(there.tokens, here.tokens[:, p], rtol=0, atol=1e-10)
    torch.testing.assert_close(there.displacement, here.displacement[:, p], rtol=0, atol=1e-10)
    if here.pair is not None:
        torch.testing.assert_close(there.pair, here.pair[:, p][:, :, p], rtol=0, atol=1e-10)
        torch.testing.assert_close(here.pair, here.pair.transpose(1, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_no_influence_whatever_it_holds(kind):
    model = build(kind)
    given = inputs(model, masked=True)
    mask, out = given["mask"], model(**given)
    spoiled = {k: v.clone() for k, v in given.items()}
    spoiled["tokens"][~mask] = float("nan")
    spoiled["positions"][~mask] = float("nan")
    if "pair" in given:
        spoiled["pair"].masked_fill_(~(mask[:, None] & mask[:, :, None])[..., None], float("nan"))
    other = model(**spoiled)
    for name in ("tokens", "displacement", "pair"):
        if getattr(out, name) is not None:
            torch.testing.assert_close(getattr(other, name), getattr(out, name))
    assert (out.tokens[~mask] == 0).all() and (out.displacement[~mask] == 0).all()

    row = {name: value[1:2] for name, value in given.items() if name != "mask"}  # row 1 alone, cut to length
    for name, axes in {"tokens": 1, "positions": 1, "pair": 2}.items():
        if name in row:
            row[name] = row[name][:, :5] if axes == 1 else row[name][:, :5, :5]
    alone = model(**row)
    torch.testing.assert_close(alone.tokens[0], out.tokens[1, :5])
    torch.testing.assert_close(alone.displacement[0], out.displacement[1, :5])
    if "pair" in given:
        torch.testing.assert_close(alone.pair[0], out.pair[1, :5, :5])


def test_gradients_are_finite_where_points_coincide_and_in_rows_of_padding():
    model = build("pair")
    given = inputs(model, masked=True)
    given["mask"][2] = False
    given["positions"][0, 1] = given["positions"][0, 0]
    given["positions"].requires_grad_()
    out = model(**given)
    (out.tokens.square().sum() + out.displacement.square().sum() + out.pair.square().sum()).backward()
    assert given["positions"].grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert (out.tokens[2] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    model = build(kind)
    out = model(**inputs(model))
    pairs = 0 if out.pair is None else out.pair.square().sum()
    (out.tokens.square().sum() + out.displacement.square().sum() + pairs).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_new_model_hardly_moves_points_and_leaves_pairs():
    model = build("pair", awake=False)
    given = inputs(model)
    out = model(**given)
    assert 0 < out.displacement.abs().max() < 0.05
    torch.testing.assert_close(out.pair, given["pair"], rtol=0, atol=0)


def test_no_point_goes_further_than_the_reach_allows():
    model = build("plain", reach=0.5, neighbours=2.0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=5.0)
    moved = model(**inputs(model)).displacement.norm(dim=-1)
    assert 0.1 < moved.max() <= 0.5 * 6 / 2  # each of six lines at most once its weight


def test_inference_and_training_agree():
    model = build("pair")
    given = inputs(model, masked=True)
    out = model(**given)
    with torch.no_grad():
        quiet = model(**given)
    for name in ("tokens", "displacement", "pair"):
        torch.testing.assert_close(getattr(quiet, name), getattr(out, name), rtol=0, atol=0)


def test_every_token_may_have_its_own_time_and_intermediate_tokens_come_out():
    model = build("plain")
    given = inputs(model)
    out = model(**given, features=("block.0", "block.2"))
    assert set(out.features) == {"block.0", "block.2"}
    torch.testing.assert_close(out.features["block.2"], out.tokens)
    same = model(**{**given, "vector": given["vector"][:, None].expand(-1, 7, -1)})
    torch.testing.assert_close(same.displacement, out.displacement)


def test_points_move_in_single_precision_where_the_network_is_rounded():
    model = build("pair").float()
    given = {k: v.float() for k, v in inputs(model).items()}
    out = model(**given)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(**given)
    assert rounded.displacement.dtype == torch.float32
    torch.testing.assert_close(rounded.displacement, out.displacement, rtol=0.1, atol=0.05)
    half = model.bfloat16()(**{k: v.bfloat16() for k, v in given.items()})
    assert half.displacement.dtype == torch.bfloat16 and half.tokens.isfinite().all()


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="pair_width must be 0 or at least 2"):
        EGNN(8, 1, pair_width=1)
    with pytest.raises(ValueError, match="depth, neighbours and reach must be positive"):
        EGNN(8, 1, neighbours=0.0)
    model = build("plain")
    given = inputs(model)
    for wrong, message in (
        ({"positions": None}, "positions .* are missing"),
        ({"context": torch.zeros(3, 1, 4)}, "takes no context"),
        ({"pair": torch.zeros(3, 7, 7, 2)}, "built with pair_width=0"),
        ({"features": ("block.3",)}, "unknown feature 'block.3'"),
        ({"second": given["vector"]}, "second_time=False"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**{**given, **wrong})
    with pytest.raises(ValueError, match=r"pair features \(B, N, N, 6\) are missing"):
        build("pair")(**given)


class Points(PlainTokens):
    """Points in space and nothing else."""

    points = ""


def test_a_network_of_points_alone_moves_them():
    torch.manual_seed(0)
    network = Network(Points(3), EGNN(16, 2)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    r = orthogonal(3, True)
    assert not network.embed_in and not network.heads
    here, there = network(x, 0.3), network(x @ r.mT, 0.3)
    assert here.abs().max() > 1e-2
    torch.testing.assert_close(there, here @ r.mT, rtol=0, atol=1e-10)
    assert isinstance(network.tokeniser.tokens(x), Tokens)


def test_a_modality_without_points_is_told_to_choose_another_network():
    with pytest.raises(ValueError, match="EGNN moves points in space.* choose another network, such as dit"):
        Network(PlainTokens(3), EGNN(16, 2))
