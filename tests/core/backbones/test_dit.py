"""A DiT is the identity at first, sees relative positions, and never sees padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from langevin.core.backbones import DiT, FinalLayer, TimeEmbedding

KINDS = {
    "plain": {},
    "shared": {"modulation": "shared"},
    "context": {"context_width": 12},
    "pair": {"pair_width": 6},
    "skips": {"long_skips": True},
    "all": {
        "modulation": "shared",
        "context_width": 12,
        "pair_width": 6,
        "long_skips": True,
        "second_time": True,
        "axes": 3,
    },
}


def build(kind: str, awake: bool = True, **options) -> DiT:
    """A small DiT in float64; awake: no gate or bias is at zero."""
    torch.manual_seed(0)
    model = DiT(32, 5, 4, **{**KINDS[kind], **options}).double()
    if awake:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.15)
    return model


def inputs(model: DiT, batch: int = 3, count: int = 7, seed: int = 1, masked: bool = False) -> dict:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    given = {"tokens": draw(batch, count, 32), "vector": draw(batch, 32)}
    given["positions"] = draw(batch, count, model.rotary.axes)
    if masked:
        given["mask"] = torch.arange(count) < torch.tensor([count, count - 2, 1])[:, None]
    if model.pair_width:
        given["pair"] = draw(batch, count, count, model.pair_width)
    if model.context_width:
        given["context"] = draw(batch, 4, model.context_width)
        given["context_mask"] = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    if model.second is not None:
        given["second"] = draw(batch, 32)
    return given


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_is_the_identity(kind):
    model = build(kind, awake=False)
    given = inputs(model)
    out = model(**given)
    torch.testing.assert_close(out.tokens, given["tokens"], rtol=0, atol=0)
    if "pair" in given:
        torch.testing.assert_close(out.pair, given["pair"], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    model = build(kind)
    out = model(**inputs(model))
    (out.tokens.square().sum() + (0 if out.pair is None else out.pair.square().sum())).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_training_can_leave_the_identity():
    """From the zero initialisation gradient reaches the gates, the context's output and the skips at once."""
    model = build("all", awake=False)
    model(**inputs(model)).tokens.square().sum().backward()
    for name in ("modulation.weight", "blocks.0.table", "blocks.4.cross.out.weight", "skips.0.weight"):
        assert model.get_parameter(name).grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_no_influence_whatever_it_holds(kind):
    model = build(kind)
    given = inputs(model, masked=True)
    out = model(**given)
    mask = given["mask"]
    spoiled = {**given, "tokens": given["tokens"].clone()}
    spoiled["tokens"][~mask] = float("nan")
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

    row = {name: value[1:2] for name, value in given.items() if name != "mask"}  # row 1 alone, cut to length
    for name, axes in {"tokens": 1, "positions": 1, "pair": 2}.items():
        if name in row:
            row[name] = row[name][:, :5] if axes == 1 else row[name][:, :5, :5]
    alone = model(**row)
    torch.testing.assert_close(alone.tokens[0], out.tokens[1, :5])
    if "pair" in given:
        torch.testing.assert_close(alone.pair[0], out.pair[1, :5, :5])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_batch_do_not_see_each_other(kind):
    model = build(kind)
    given = inputs(model)
    together = model(**given).tokens
    for i in range(3):
        alone = model(**{name: value[i : i + 1] for name, value in given.items()}).tokens
        torch.testing.assert_close(alone[0], together[i])


def test_a_row_of_padding_only_stays_finite():
    model = build("all")
    given = inputs(model, masked=True)
    given["mask"][2] = False
    given["tokens"].requires_grad_()
    out = model(**given)
    (out.tokens.square().sum() + out.pair.square().sum()).backward()
    assert (out.tokens[2] == 0).all()
    assert given["tokens"].grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_attention_sees_relative_positions_only(axes):
    model = build("plain", axes=axes)
    given = inputs(model)
    out = model(**given).tokens
    shifted = model(**{**given, "positions": given["positions"] + torch.arange(1.0, axes + 1)}).tokens
    torch.testing.assert_close(shifted, out, rtol=1e-5, atol=1e-5)
    for axis in range(axes):  # and it does see every axis
        moved = given["positions"].clone()
        moved[:, 0, axis] += 1
        assert (model(**{**given, "positions": moved}).tokens - out).abs().max() > 1e-3


def test_tokens_are_a_set_when_their_positions_move_with_them():
    model = build("pair")
    given = inputs(model)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    moved = {**given, "tokens": given["tokens"][:, order], "positions": given["positions"][:, order]}
    moved["pair"] = given["pair"][:, order][:, :, order]
    out, other = model(**given), model(**moved)
    torch.testing.assert_close(other.tokens, out.tokens[:, order])
    torch.testing.assert_close(other.pair, out.pair[:, order][:, :, order])


def test_positions_shared_by_all_rows_may_be_given_once():
    model = build("plain")
    given = inputs(model)
    once = given["positions"][:1]
    torch.testing.assert_close(
        model(**{**given, "positions": once}).tokens,
        model(**{**given, "positions": once.expand(3, -1, -1)}).tokens,
    )


@pytest.mark.parametrize("kind", ["plain", "all"])
def test_one_vector_per_token_equals_one_per_row_when_they_agree(kind):
    model = build(kind)
    given = inputs(model)
    out = model(**given)
    each = given["vector"][:, None].expand(-1, 7, -1)
    torch.testing.assert_close(model(**{**given, "vector": each}).tokens, out.tokens)
    if "second" in given:
        second = given["second"][:, None].expand(-1, 7, -1)
        torch.testing.assert_close(model(**{**given, "vector": each, "second": second}).tokens, out.tokens)
        torch.testing.assert_close(model(**{**given, "second": second}).tokens, out.tokens)
    changed = each.clone()
    changed[:, 0] += 1
    assert (model(**{**given, "vector": changed}).tokens - out.tokens).abs().max() > 1e-3


def test_a_masked_context_says_nothing():
    model = build("context")
    given = inputs(model)
    out = model(**given).tokens
    silent = {name: value for name, value in given.items() if not name.startswith("context")}
    nothing = model(**silent).tokens
    torch.testing.assert_close(out[2], nothing[2])  # row 2 is masked altogether
    assert (out[0] - nothing[0]).abs().max() > 1e-3
    empty = {**silent, "context": torch.zeros(3, 0, 12, dtype=torch.float64)}
    torch.testing.assert_close(model(**empty).tokens, nothing)
    given["context"].requires_grad_()
    model(**given).tokens.square().sum().backward()
    grad = given["context"].grad
    assert (
        grad.isfinite().all()
        and (grad[2] == 0).all()
        and (grad[1, 2:] == 0).all()
        and grad[0].abs().sum() > 0
    )


def test_symmetric_pairs_stay_symmetric_and_steer_attention():
    model = build("pair")
    given = inputs(model)
    pair = given["pair"] + given["pair"].transpose(1, 2)
    out = model(**{**given, "pair": pair})
    torch.testing.assert_close(out.pair, out.pair.transpose(1, 2))
    assert (out.pair - pair).abs().max() > 1e-3
    directed = model(**given).pair
    assert (directed - directed.transpose(1, 2)).abs().max() > 1e-3
    other = pair.clone()
    other[:, 0, 1, 0] += 1
    assert (model(**{**given, "pair": other}).tokens[:, 0] - out.tokens[:, 0]).abs().max() > 1e-3


def test_shared_modulation_has_fewer_parameters():
    count = {m: sum(p.numel() for p in DiT(64, 8, 4, modulation=m).parameters()) for m in ("block", "shared")}
    assert count["block"] - count["shared"] == 7 * (6 * 64 * 64 + 6 * 64) - 8 * 6 * 64


def test_long_skips_carry_the_early_blocks():
    model = build("skips")
    given = inputs(model)
    assert len(model.skips) == 2  # blocks 0 -> 4 and 1 -> 3
    with torch.no_grad():
        for skip, block in ((0, 4), (1, 3)):  # hand on what was skipped, and nothing else
            model.skips[skip].weight.copy_(torch.cat((torch.zeros(32, 32), torch.eye(32)), dim=1))
            model.skips[skip].bias.zero_()
            model.blocks[block].modulation.weight.zero_()
            model.blocks[block].modulation.bias.zero_()
    seen = model(**given, features=("block.0", "block.1", "block.3", "block.4")).features
    torch.testing.assert_close(seen["block.3"], seen["block.1"])
    torch.testing.assert_close(seen["block.4"], seen["block.0"])
    assert (seen["block.1"] - seen["block.0"]).abs().max() > 1e-3


def test_new_long_skips_change_nothing():
    model = build("plain")
    fresh = build("skips", awake=False)
    missing = fresh.load_state_dict(model.state_dict(), strict=False)
    assert all(name.startswith("skips.") for name in missing.missing_keys) and not missing.unexpected_keys
    given = inputs(model)
    torch.testing.assert_close(fresh(**given).tokens, model(**given).tokens)


@pytest.mark.parametrize("modulation", ["block", "shared"])
def test_a_block_is_its_equation(modulation):
    """x + gate_a A(LN(x)(1 + scale_a) + shift_a), then the same with the perceptron."""
    model = build("plain", modulation=modulation, axes=0, qk_norm=False)
    given = inputs(build("plain"))
    x, vector = given["tokens"], nn.functional.silu(given["vector"])[:, None]
    layer_norm = nn.LayerNorm(32, eps=1e-6, elementwise_affine=False)
    shared = None if model.modulation is None else model.modulation(vector)
    for block in model.blocks:
        six = block.modulation(vector) if shared is None else shared + block.table.flatten()
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = six.split(32, dim=-1)
        q, k, v = block.attention.qkv(layer_norm(x) * (1 + scale_a) + shift_a).split(32, dim=-1)
        heads = [part.view(3, 7, 4, 8) for part in (q, k, v)]
        weights = (torch.einsum("bnhd,bmhd->bhnm", *heads[:2]) / 8**0.5).softmax(-1)
        y = block.attention.out(torch.einsum("bhnm,bmhd->bnhd", weights, heads[2]).flatten(2))
        x = x + gate_a * y
        hidden = block.mlp.up(layer_norm(x) * (1 + scale_m) + shift_m)
        x = x + gate_m * block.mlp.down(nn.functional.gelu(hidden, approximate="tanh"))
    torch.testing.assert_close(model(given["tokens"], given["vector"]).tokens, x)
    with torch.no_grad():  # where the activation is computed in place
        torch.testing.assert_close(model(given["tokens"], given["vector"]).tokens, x)


def test_features_are_what_the_blocks_return():
    model = build("plain")
    given = inputs(model, masked=True)
    out = model(**given, features=("block.1", "block.4"))
    assert set(out.features) == {"block.1", "block.4"}
    torch.testing.assert_close(out.features["block.4"][given["mask"]], out.tokens[given["mask"]])
    assert (out.features["block.1"] - out.tokens).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"unknown feature 'blok\.1'; did you mean 'block\.1'"):
        model(**given, features=("blok.1",))


def test_linear_layers_have_names_an_adapter_can_aim_at():
    names = {n for n, m in build("all").named_modules() if isinstance(m, nn.Linear)}
    for part in ("attention.qkv", "attention.out", "mlp.up", "mlp.down", "cross.q", "cross.kv", "cross.out"):
        assert f"blocks.0.{part}" in names


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("plain", {"positions": None}, "positions"),
        ("plain", {"positions": torch.zeros(1, 7, 3)}, "3 axes.*axes=2"),
        ("plain", {"pair": torch.zeros(3, 7, 7, 6)}, "pair_width=0"),
        ("plain", {"context": torch.zeros(3, 2, 5)}, "context_width=0"),
        ("plain", {"second": torch.zeros(3, 32)}, "second_time=False"),
        ("pair", {"pair": None}, "missing"),
        ("context", {"context": torch.zeros(3, 4, 5)}, "5 channels.*context_width=12"),
    ],
)
def test_an_input_the_model_was_not_built_for_is_refused(kind, change, message):
    model = build(kind)
    with pytest.raises(ValueError, match=message):
        model(**{**inputs(model), **change})


def test_bad_widths_are_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        DiT(30, 1, 4, axes=0)
    with pytest.raises(ValueError, match="along 3 axes"):
        DiT(16, 1, 4, axes=3)
    with pytest.raises(ValueError, match="pair_width"):
        DiT(16, 1, 4, pair_width=1)  # a LayerNorm over one channel is constant
    with pytest.raises(ValueError, match="did you mean 'shared'"):
        DiT(16, 1, 4, modulation="share")


def test_half_precision_goes_through():
    model = build("all").bfloat16()
    given = {k: v if v.dtype == torch.bool else v.bfloat16() for k, v in inputs(model, masked=True).items()}
    given["positions"] = given["positions"].float()
    out = model(**given)
    assert out.tokens.dtype == torch.bfloat16 and out.tokens.isfinite().all()


def test_final_layer_starts_at_zero_and_follows_the_vector():
    torch.manual_seed(0)
    layer = FinalLayer(16, 3)
    x, v = torch.randn(2, 5, 16), torch.randn(2, 16)
    assert (layer(x, v) == 0).all()
    for p in layer.parameters():
        nn.init.normal_(p)
    assert (layer(x, v) - layer(x, -v)).abs().max() > 0.1
    torch.testing.assert_close(layer(x, v), layer(x, v[:, None].expand(-1, 5, -1)))


def test_time_embedding_tells_times_apart_and_takes_one_per_token():
    torch.manual_seed(0)
    embed = TimeEmbedding(32)
    t = torch.linspace(0, 1, 11)
    features = embed(t)
    assert features.shape == (11, 32)
    torch.testing.assert_close(embed(t.expand(2, -1)), features.expand(2, -1, -1))
    torch.testing.assert_close(embed(t.double()), features)
    gaps = torch.cdist(features, features) + torch.eye(11)
    assert gaps.min() > 1e-3


@pytest.mark.parametrize("modulation", ["block", "shared"])
def test_a_vector_for_each_group_is_that_vector_for_each_of_its_tokens(modulation: str) -> None:
    torch.manual_seed(0)
    net = DiT(24, 3, 2, axes=1, modulation=modulation)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tokens, groups = torch.randn(2, 12, 24), torch.randn(2, 3, 24)
    positions = torch.arange(12.0)[None, :, None]
    each = net(tokens, groups.repeat_interleave(4, 1), positions).tokens
    assert torch.allclose(net(tokens, groups, positions).tokens, each, atol=1e-5)
    other = net(tokens, groups.roll(1, 1), positions).tokens
    assert not torch.allclose(other, each, atol=1e-2)


def test_an_order_hides_what_comes_later_and_nothing_else() -> None:
    torch.manual_seed(0)
    net = DiT(24, 3, 2, axes=1, modulation="shared")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tokens, vector = torch.randn(2, 12, 24), torch.randn(2, 24)
    positions, order = torch.arange(12.0)[None, :, None], torch.arange(4).repeat_interleave(3).expand(2, -1)
    whole = net(tokens, vector, positions, order=order).tokens
    later = tokens.clone()
    later[:, 6:] = torch.randn(2, 6, 24)
    assert torch.equal(net(later, vector, positions, order=order).tokens[:, :6], whole[:, :6])
    assert not torch.allclose(net(later, vector, positions, order=order).tokens[:, 6:], whole[:, 6:])
    part = net(tokens[:, :6], vector, positions[:, :6], order=order[:, :6]).tokens
    assert torch.allclose(part, whole[:, :6], atol=1e-5)  # as if the later ones were not there
    everyone = net(tokens, vector, positions, order=torch.zeros_like(order)).tokens
    assert torch.allclose(everyone, net(tokens, vector, positions).tokens, atol=1e-5)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, :3] = False  # the first real token of the second row is the fourth
    masked = net(tokens, vector, positions, mask, order=order).tokens
    alone = net(tokens[1:, 3:], vector[1:], positions[:, 3:], order=order[1:, 3:]).tokens
    assert torch.allclose(masked[1:, 3:], alone, atol=1e-5) and bool(torch.isfinite(masked).all())
