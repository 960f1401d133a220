"""diffusers' DiT in our blocks answers as the original does."""

from __future__ import annotations

import pytest
import torch

from langevin import optional
from langevin.bridge.dit import load_diffusers_dit

CONFIG = {
    "num_attention_heads": 4,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 3,
    "sample_size": 8,
    "num_embeds_ada_norm": 10,
}


def original(one_embedding: bool = False, **options):
    from_diffusers = optional.diffusers().DiTTransformer2DModel
    torch.manual_seed(0)
    model = from_diffusers(**{**CONFIG, **options}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    if one_embedding:
        first = model.transformer_blocks[0].norm1.emb.state_dict()
        for block in model.transformer_blocks[1:]:
            block.norm1.emb.load_state_dict(first)
    return model


@pytest.mark.parametrize("one_embedding", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"patch_size": 4, "out_channels": 4}, {"attention_bias": False}, {"norm_eps": 0.1}]
)
def test_answers_agree(one_embedding, options):
    model = original(one_embedding, **options)
    ours = load_diffusers_dit(model)
    assert len(ours.embedders) == (1 if one_embedding else 3)
    x = torch.randn(4, 4, 8, 8)
    timestep, label = torch.tensor([0, 1, 500, 999]), torch.tensor([1, 10, 3, 0])
    with torch.no_grad():
        theirs = model(x, timestep, label).sample
        torch.testing.assert_close(ours(x, timestep, label), theirs, rtol=0, atol=1e-5)
        assert theirs.std() > 0.1
        torch.testing.assert_close(
            ours(x, timestep[2], label), model(x, timestep[2].expand(4), label).sample, rtol=0, atol=1e-5
        )


def test_the_original_is_copied_not_shared():
    model = original()
    ours = load_diffusers_dit(model)
    for parameter in ours.parameters():
        torch.nn.init.zeros_(parameter)
    assert all(p.abs().sum() > 0 for p in model.parameters())
    assert load_diffusers_dit(model.double()).embed.weight.dtype == torch.float64


def test_what_our_blocks_cannot_do_is_refused():
    with pytest.raises(ValueError, match="activation_fn='geglu'"):
        load_diffusers_dit(original(activation_fn="geglu"))
    with pytest.raises(ValueError, match=r"takes \(4, 8, 8\)"):
        load_diffusers_dit(original())(torch.zeros(1, 4, 16, 16), torch.tensor(0), torch.tensor([0]))
