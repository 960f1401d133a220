"""Encoders of transformers as conditions: tiny ones with random weights, written to a folder first."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from langevin import optional
from langevin.core.conditioning import TransformersTextEmbedder


def write_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = {"<pad>": 0, "<end>": 1} | {
        c: i + 2 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    optional.transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", model_max_length=20
    ).save_pretrained(folder)


def clip(t):
    return t.CLIPTextModel(
        t.CLIPTextConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            eos_token_id=1,
            pad_token_id=0,
            bos_token_id=2,
        )
    )


def t5(t):
    return t.T5EncoderModel(
        t.T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2, pad_token_id=0)
    )


def bert(t):
    return t.BertModel(
        t.BertConfig(
            vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
        )
    )


def whole_clip(t):
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return t.CLIPModel(
        t.CLIPConfig(
            text_config={**small, "vocab_size": 300, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 2},
            vision_config={**small, "image_size": 8, "patch_size": 4},
            projection_dim=16,
        )
    )


def clap_text(t):
    return t.ClapTextConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        pad_token_id=0,
    )


def clap(t):
    return t.ClapTextModelWithProjection(clap_text(t))


def whole_clap(t):
    audio = t.ClapAudioConfig(
        hidden_size=16, patch_embeds_hidden_size=8, depths=[1, 1], num_attention_heads=[2, 2],
        num_hidden_layers=2, num_mel_bins=16, spec_size=32, patch_size=4, window_size=4, projection_dim=16,
    )  # fmt: skip
    return t.ClapModel(
        t.ClapConfig(text_config=clap_text(t).to_dict(), audio_config=audio.to_dict(), projection_dim=16)
    )


def test_a_folder_without_an_encoder_of_text_is_refused(tmp_path):
    t = optional.transformers()
    t.ClapAudioConfig().save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="holds a 'clap_audio_model', which is no encoder of text"):
        TransformersTextEmbedder(tmp_path, 8)


@pytest.mark.parametrize("make", [clip, whole_clip, t5, bert, clap, whole_clap])
def test_an_encoder_from_a_folder_gives_its_hidden_states(make, tmp_path):
    torch.manual_seed(0)
    model = make(optional.transformers()).eval()
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    embed = TransformersTextEmbedder(tmp_path, 24, vector_width=8)
    out = embed(["a red apple", "ring"])
    assert out.vector.shape == (2, 8) and out.context.shape == (2, 11, 24)
    assert out.mask.sum(1).tolist() == [11, 4]

    ids, attended = embed.parse(["a red apple", "ring"]).unbind(1)
    whole = getattr(model, "text_model", model)
    hidden = whole(input_ids=ids, attention_mask=attended).last_hidden_state
    torch.testing.assert_close(out.context, embed.context(hidden))

    alone = embed(["ring"])
    torch.testing.assert_close(alone.vector[0], out.vector[1])
    torch.testing.assert_close(alone.context[0], out.context[1, :4])


def test_the_encoder_is_frozen_and_not_saved_with_the_model(tmp_path):
    bert(optional.transformers()).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    embed = TransformersTextEmbedder(tmp_path, 24)
    assert set(embed.state_dict()) == {
        "null_vector", "null_context", "context.weight", "context.bias", "vector.weight", "vector.bias"
    }  # fmt: skip
    embed.train()
    torch.testing.assert_close(embed(["ring"]).context, embed(["ring"]).context)  # no dropout
    embed(["ring"]).context.sum().backward()
    assert embed.context.weight.grad.abs().sum() > 0


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        TransformersTextEmbedder(tmp_path / "absent", 8)
    bert(optional.transformers()).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    weights = tmp_path / "model.safetensors"
    kept = load_file(weights)
    save_file(
        {k: v for k, v in kept.items() if "layer.1.attention.self.query" not in k}, weights, {"format": "pt"}
    )
    with pytest.raises(ValueError, match=r"lack 2 parameters, such as 'encoder\.layer\.1"):
        TransformersTextEmbedder(tmp_path, 8)
    save_file(kept, weights, {"format": "pt"})
    embed = TransformersTextEmbedder(tmp_path, 24)
    with pytest.raises(ValueError, match="21 tokens; this encoder takes at most 20"):
        embed.parse(["x" * 21])


def test_a_folder_of_shards_is_read_and_what_leads_elsewhere_is_not(tmp_path):
    folder = tmp_path / "encoder"
    model = bert(optional.transformers()).eval()
    model.save_pretrained(folder, max_shard_size="4KB")
    write_tokenizer(folder)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    embed = TransformersTextEmbedder(folder, 8)
    for name, value in embed._frozen[0].named_parameters():
        assert torch.equal(value, model.get_parameter(name))
    shards[0].rename(tmp_path / "elsewhere.safetensors")
    shards[0].symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ValueError, match="leads out of the folder"):
        TransformersTextEmbedder(folder, 8)
    for path in folder.glob("model*"):
        path.unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle"):
        TransformersTextEmbedder(folder, 8)


def test_weights_of_another_shape_are_named(tmp_path):
    bert(optional.transformers()).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    weights = tmp_path / "model.safetensors"
    kept = load_file(weights)
    name = "encoder.layer.1.output.dense.weight"
    save_file({**kept, name: torch.zeros(2, 3)}, weights, {"format": "pt"})
    with pytest.raises(ValueError, match=f"lack 1 parameters, such as '{name}'"):
        TransformersTextEmbedder(tmp_path, 8)
