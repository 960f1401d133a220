"""An MMDiT is the identity at first, and tokens and context see each other but no padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from langevin.core.backbones import MMDiT

KINDS = {
    "dual": {},
    "dual+single": {"single": 2},
    "shared": {"modulation": "shared", "single": 2, "second_time": True, "axes": 3},
    "shared dual": {"modulation": "shared", "qk_norm": False},
}


def build(kind: str, awake: bool = True) -> MMDiT:
    torch.manual_seed(0)
    model = MMDiT(32, 3, 4, context_width=12, **KINDS[kind]).double()
    if awake:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.15)
    return model


def inputs(model: MMDiT, masked: bool = True) -> dict:
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    given = {"tokens": draw(3, 7, 32), "vector": draw(3, 32), "context": draw(3, 4, 12)}
    given["positions"] = draw(3, 7, model.rotary.axes)
    if masked:
        given["mask"] = torch.arange(7) < torch.tensor([7, 5, 1])[:, None]
        given["context_mask"] = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    if model.second is not None:
        given["second"] = draw(3, 32)
    return given


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_is_the_identity(kind):
    model = build(kind, awake=False)
    given = inputs(model, masked=False)
    torch.testing.assert_close(model(**given).tokens, given["tokens"], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    model = build(kind)
    model(**inputs(model)).tokens.square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_no_influence_whatever_it_holds(kind):
    model = build(kind)
    given = inputs(model)
    out = model(**given, features=("context",))
    spoiled = {
        **given,
        "tokens": given["tokens"].masked_fill(~given["mask"][..., None], float("nan")),
        "context": given["context"].masked_fill(~given["context_mask"][..., None], float("nan")),
    }
    other = model(**spoiled, features=("context",))
    torch.testing.assert_close(other.tokens, out.tokens)
    torch.testing.assert_close(other.features["context"], out.features["context"])
    assert (out.tokens[~given["mask"]] == 0).all()
    assert (out.features["context"][~given["context_mask"]] == 0).all()

    row = {name: value[1:2] for name, value in given.items() if "mask" not in name}
    row |= {
        "tokens": row["tokens"][:, :5],
        "positions": row["positions"][:, :5],
        "context": row["context"][:, :2],
    }
    torch.testing.assert_close(model(**row).tokens[0], out.tokens[1, :5])
    row = {name: value[2:] for name, value in given.items() if "mask" not in name}
    row |= {
        "tokens": row["tokens"][:, :1],
        "positions": row["positions"][:, :1],
        "context": row["context"][:, :0],
    }
    torch.testing.assert_close(model(**row).tokens[0], out.tokens[2, :1])


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_context_see_each_other(kind):
    model = build(kind)
    given = inputs(model, masked=False)
    out = model(**given, features=("context",))
    context = given["context"].clone()
    context[:, 0] += 1
    assert (model(**{**given, "context": context}).tokens - out.tokens).abs().max() > 1e-3
    tokens = given["tokens"].clone()
    tokens[:, 0, 0] += 1
    other = model(**{**given, "tokens": tokens}, features=("context",))
    assert (other.features["context"] - out.features["context"]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_one_vector_per_token_equals_one_per_row_when_they_agree(kind):
    model = build(kind)
    given = inputs(model)
    out = model(**given).tokens
    each = given["vector"][:, None].repeat(1, 7, 1)
    each[~given["mask"]] = 100  # a padded token's time does not reach the context
    other = model(**{**given, "vector": each}).tokens
    torch.testing.assert_close(other[given["mask"]], out[given["mask"]])


@pytest.mark.parametrize("kind", ["dual", "dual+single"])
def test_attention_sees_relative_positions_only_and_the_context_has_none(kind):
    """The context sits at position 0, so a shift of tokens is seen through it, and through it alone."""
    model = build(kind)
    given = inputs(model, masked=False)
    given["context"] = given["context"][:, :0]
    shifted = {**given, "positions": given["positions"] + 2.5}
    torch.testing.assert_close(model(**shifted).tokens, model(**given).tokens, rtol=1e-5, atol=1e-5)
    given = inputs(model, masked=False)
    shifted = {**given, "positions": given["positions"] + 2.5}
    assert (model(**shifted).tokens - model(**given).tokens).abs().max() > 1e-3


def test_the_order_of_the_context_does_not_matter():
    """Its elements carry their own positions, if they need any."""
    model = build("dual+single")
    given = inputs(model, masked=False)
    out = model(**given).tokens
    torch.testing.assert_close(model(**{**given, "context": given["context"].flip(1)}).tokens, out)


def test_features():
    model = build("dual+single")
    given = inputs(model, masked=False)
    out = model(**given, features=("block.2", "single.1", "context"))
    assert {k: tuple(v.shape) for k, v in out.features.items()} == {
        "block.2": (3, 7, 32),
        "single.1": (3, 7, 32),
        "context": (3, 4, 32),
    }
    torch.testing.assert_close(out.features["single.1"], out.tokens)
    with pytest.raises(ValueError, match=r"did you mean 'single\.1'"):
        model(**given, features=("singel.1",))


def test_bad_input_is_refused():
    model = build("dual")
    given = inputs(model)
    with pytest.raises(ValueError, match="needs a context"):
        model(**{**given, "context": None})
    with pytest.raises(ValueError, match="no pair features"):
        model(**given, pair=torch.zeros(3, 7, 7, 2))
    with pytest.raises(ValueError, match="context_width=12"):
        model(**{**given, "context": torch.zeros(3, 4, 5)})
    with pytest.raises(ValueError, match="second_time=False"):
        model(**given, second=torch.zeros(3, 32))
    with pytest.raises(ValueError, match="at least 1"):
        MMDiT(32, 0, 4, context_width=12)
