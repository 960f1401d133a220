"""Conditions: what is said becomes vectors and contexts; what is wrong is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from langevin.core.conditioning import (
    ClassEmbedder,
    Embedded,
    ImageEmbedder,
    NumberEmbedder,
    TextEmbedder,
    cat,
    dropout,
    join,
)
from langevin.core.conditioning.text import END, PAD, untokenize, words
from langevin.modalities.image.pixels import to_tensor


def text_embedder(**options) -> TextEmbedder:
    torch.manual_seed(0)
    return TextEmbedder(16, 2, **{"length": 64, "heads": 2, **options})


def segments(text: str) -> list[str]:
    """The words that the embedder sees in a text, without the end mark."""
    embed = text_embedder(length=1000)
    ids = embed.tokenize([text])
    word, real = words(ids, embed.kinds)
    groups: dict[int, list[int]] = {}
    for i, w, r in zip(ids[0].tolist(), word[0].tolist(), real[0].tolist(), strict=True):
        if r:
            groups.setdefault(w, []).append(i)
    assert groups.pop(max(groups)) == [END]
    assert sorted(groups) == list(range(len(groups)))
    return [bytes(group).decode() for group in groups.values()]


# Embedded


def embedded(rows: int, length: int | None = None, masked: bool = False, seed: int = 0) -> Embedded:
    g = torch.Generator().manual_seed(seed)
    context = None if length is None else torch.randn(rows, length, 3, generator=g)
    mask = torch.rand(rows, length, generator=g) < 0.5 if masked else None
    return Embedded(torch.randn(rows, 4, generator=g), context, mask)


def test_cat_pads_contexts_to_the_longest():
    a, b = embedded(2, 3), embedded(1, 5, masked=True)
    c = cat([a, b])
    assert c.rows == 3 and c.context.shape == (3, 5, 3)
    assert torch.equal(c.vector, torch.cat([a.vector, b.vector]))
    assert torch.equal(c.context[:2, :3], a.context) and (c.context[:2, 3:] == 0).all()
    assert c.mask[:2].tolist() == [[True, True, True, False, False]] * 2
    assert torch.equal(c.mask[2:], b.mask)


def test_cat_of_equal_lengths_needs_no_mask():
    assert cat([embedded(2, 3), embedded(1, 3)]).mask is None


def test_cat_refuses_what_does_not_belong_together():
    with pytest.raises(ValueError, match="some of the conditions have a context"):
        cat([embedded(2, 3), embedded(2)])
    with pytest.raises(ValueError, match="at least one"):
        cat([])


def test_join_adds_vectors_and_lines_up_contexts():
    a, b, c = embedded(2, 3, seed=1), embedded(2, seed=2), embedded(2, 2, masked=True, seed=3)
    j = join([a, b, c])
    torch.testing.assert_close(j.vector, a.vector + b.vector + c.vector)
    assert torch.equal(j.context, torch.cat([a.context, c.context], dim=1))
    assert j.mask[:, :3].all() and torch.equal(j.mask[:, 3:], c.mask)
    assert join([a, b]).mask is None and join([b]).context is None


def test_dropout_replaces_rows_by_the_null():
    a, null = embedded(3, 4, masked=True), embedded(3, 1, seed=9)
    keep = torch.tensor([True, False, True])
    d = dropout(a, null, keep)
    assert torch.equal(d.vector[keep], a.vector[keep]) and torch.equal(d.vector[1], null.vector[1])
    assert torch.equal(d.context[keep], a.context[keep]) and torch.equal(d.context[1, :1], null.context[1])
    assert torch.equal(d.mask[keep], a.mask[keep]) and d.mask[1].tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="both have a context"):
        dropout(a, embedded(3), keep)


def test_dropout_pads_a_condition_shorter_than_its_null():
    d = dropout(embedded(2, 1), embedded(2, 3), torch.tensor([True, False]))
    assert d.mask.tolist() == [[True, False, False], [True, True, True]]


def test_rows_can_be_selected_and_repeated():
    a = embedded(3, 2, masked=True)
    assert torch.equal(a.repeat(2).context[2:4], a.context[1:2].expand(2, -1, -1))
    assert torch.equal(a.select(torch.tensor([2, 0])).mask, a.mask[[2, 0]])
    assert (
        a.to(dtype=torch.float64).vector.dtype == torch.float64
        and a.to(dtype=torch.float64).mask.dtype == torch.bool
    )
    with pytest.raises(ValueError, match="no batch"):
        _ = Embedded().rows


# classes and numbers


def test_classes_by_name_and_by_index():
    embed = ClassEmbedder(["circle", "square", "ring"], 8)
    assert embed.parse(["ring", 0, "1", 2.0, torch.tensor(1)]).tolist() == [2, 0, 1, 2, 1]
    out = embed(torch.tensor([2, 0]))
    assert torch.equal(out.vector, embed.embedding.weight[[2, 0]]) and out.context is None


@pytest.mark.parametrize(
    ("classes", "value", "message"),
    [
        (["circle", "square"], "squar", "unknown class 'squar'; did you mean 'square'"),
        (["circle", "square"], 2, "class 2 is out of range: there are 2 classes, 0 … 1"),
        (10, -1, "out of range"),
        (10, "cat", "is a name, but these classes are numbers 0 … 9"),
        (10, 1.5, "not a whole number"),
        (10, None, "not a class"),
    ],
)
def test_a_wrong_class_is_refused(classes, value, message):
    with pytest.raises(ValueError, match=message):
        ClassEmbedder(classes, 4).parse([value])


def test_numbers_are_standardised():
    torch.manual_seed(0)
    a, b = NumberEmbedder(8, mean=0.0, std=1.0), NumberEmbedder(8, mean=-6.0, std=0.5)
    b.load_state_dict(a.state_dict())
    torch.testing.assert_close(b(torch.tensor([-6.0, -5.5])).vector, a(torch.tensor([0.0, 1.0])).vector)
    z = torch.linspace(-3, 3, 61)
    vectors = a(z).vector
    assert (torch.cdist(vectors, vectors) + torch.eye(61)).min() > 1e-3  # a tenth of a deviation is seen


@pytest.mark.parametrize("value", [math.nan, math.inf, "x", None])
def test_what_is_not_a_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="number"):
        NumberEmbedder(8).parse([1.0, value])


def test_nan_is_refused_by_the_embedder_too():
    with pytest.raises(ValueError, match="NaN"):
        NumberEmbedder(8)(torch.tensor([1.0, math.nan]))
    with pytest.raises(ValueError, match="std positive"):
        NumberEmbedder(8, std=0.0)


# text


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=16), min_size=1, max_size=4))
def test_every_text_survives_tokenising_and_has_an_embedding(texts):
    embed = text_embedder()
    ids = embed.tokenize(texts)
    assert untokenize(ids) == texts
    out = embed(ids)
    assert out.vector.isfinite().all() and out.context.isfinite().all() and out.mask.any(1).all()


def test_tokens_are_bytes_an_end_and_padding():
    assert text_embedder().tokenize(["hé", ""]).tolist() == [[104, 0xC3, 0xA9, END], [END, PAD, PAD, PAD]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red apple", ["a", "red", "apple"]),
        ("  two\n spaces ", ["two", "spaces"]),
        ("apple, no. 12!", ["apple", ",", "no", ".", "12", "!"]),
        ("une pâte à choux", ["une", "pâte", "à", "choux"]),
        ("красный мяч", ["красный", "мяч"]),
        ("日本 x", ["日", "本", "x"]),
        ("🍎🍏red", ["🍎", "🍏", "red"]),
        ("red🍎apple", ["red", "🍎", "apple"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert segments(text) == expected


def test_one_element_of_context_per_word_and_the_end():
    out = text_embedder()(["a red apple", "ring", ""])
    assert out.context.shape == (3, 4, 16)
    assert out.mask.sum(1).tolist() == [4, 2, 1]
    assert (out.context[~out.mask] == 0).all()


def test_a_text_is_embedded_alike_alone_and_in_company():
    embed = text_embedder()
    alone = embed(["a red apple"])
    company = embed(["a red apple", "a much longer text, with many more words in it", ""])
    torch.testing.assert_close(company.vector[:1], alone.vector)
    torch.testing.assert_close(company.context[:1, :4], alone.context)
    assert company.mask[0].sum() == 4


def test_order_and_letters_matter_and_case_does_not():
    embed = text_embedder()
    vectors = embed(["red on blue", "blue on red", "red on blve", "Red ON blue"]).vector
    gaps = torch.cdist(vectors, vectors)
    assert gaps[0, 1] > 1e-2 and gaps[0, 2] > 1e-2 and gaps[0, 3] < 1e-5
    # a convolution that sees two bytes beyond a word cannot tell these apart; the positions of words can
    swapped = embed(["oo orro obbo oo", "oo obbo orro oo"]).vector
    assert (swapped[0] - swapped[1]).norm() > 1e-2
    strict = text_embedder(fold_case=False)(["red", "Red"]).vector
    assert (strict[0] - strict[1]).norm() > 1e-2


def test_a_text_that_is_too_long_is_refused():
    embed = text_embedder(length=8)
    assert embed.tokenize(["12345678"]).shape == (1, 9)
    with pytest.raises(ValueError, match="has 12 bytes in UTF-8; this encoder takes at most 8"):
        embed.tokenize(["ok", "🍎🍎🍎"])
    with pytest.raises(TypeError, match="must be a str, not int"):
        embed.tokenize([3])


def test_lone_surrogates_are_written_as_question_marks():
    assert untokenize(text_embedder().tokenize(["a\ud800"])) == ["a?"]


def test_the_text_encoder_learns_to_read():
    """Twelve words in two places, told apart after sixty steps."""
    torch.manual_seed(0)
    first = ("red", "green", "blue", "black", "white", "gold")
    second = ("ring", "cube", "cone", "disc", "star", "moon")
    texts = [f"a {a} {b}" for a in first for b in second]
    target = torch.tensor([[i, j] for i in range(6) for j in range(6)])
    embed, head = TextEmbedder(32, 1, 32, heads=2), torch.nn.Linear(32, 12)
    optimiser = torch.optim.AdamW([*embed.parameters(), *head.parameters()], 3e-3)
    ids = embed.tokenize(texts)
    for _ in range(60):
        logits = head(embed(ids).vector).view(-1, 2, 6)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()
        optimiser.step()
    assert (logits.argmax(-1) == target).all()


def test_hashed_words_have_an_entry_of_their_own():
    plain, embed = text_embedder(), text_embedder(hashed=4096)
    embed.load_state_dict(plain.state_dict() | {"table.weight": embed.table.weight}, strict=True)
    # an entry that training has not touched says nothing
    torch.testing.assert_close(embed(["a red star"]).vector, plain(["a red star"]).vector, rtol=0, atol=0)
    embed.table.weight.data.normal_()
    embed(["star rats star", "Star 🍎"]).context.pow(3).sum().backward()
    touched = embed.table.weight.grad.abs().sum(1).nonzero().flatten()
    # star, rats, the apple and the end mark: the order of letters counts, case does not
    assert len(touched) == 4
    # alone, in company and further on in a text: the same entry
    alone = embed(["red star"])
    company = embed(["red star", "there are many more words before a red star here"])
    torch.testing.assert_close(company.vector[:1], alone.vector)
    words_ = [f"word{i}" for i in range(200)]
    embed.zero_grad()
    embed(words_).context.pow(3).sum().backward()
    # of 200 words and the end mark, few share an entry of 4,096
    assert int((embed.table.weight.grad.abs().sum(1) > 0).sum()) > 180


@given(st.lists(st.text(max_size=10), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_every_text_survives_hashing(texts):
    out = text_embedder(hashed=64)(texts)
    assert bool(out.vector.isfinite().all()) and out.mask.any(1).all()


# pictures, nulls, gradients


def test_patches_of_a_picture_are_read_in_order():
    torch.manual_seed(0)
    embed = ImageEmbedder(16, channels=3, size=(4, 8), patch=2, depth=0)
    picture = torch.randn(1, 3, 4, 8)
    out = embed(picture)
    assert out.context.shape == (1, 8, 16) and out.vector.shape == (1, 16)
    for row, column in ((0, 3), (1, 0), (1, 3)):
        changed = picture.clone()
        changed[..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += torch.randn(3, 2, 2)
        moved = (embed(changed).context - out.context).abs().amax(-1)[0] > 1e-6
        assert moved.nonzero().flatten().tolist() == [4 * row + column]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA", "1"])
def test_a_picture_of_pil_is_the_tensor_of_its_pixels(mode, channels):
    """As data are read: scaled to [-1, 1], transparency over white."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    opacity = np.random.default_rng(1).integers(0, 256, (4, 8), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(opacity))
    embed = ImageEmbedder(16, channels, (4, 8), 2)
    expected = to_tensor([picture], channels)
    torch.testing.assert_close(embed.parse([picture]), expected, atol=1.01 / 127.5, rtol=0)
    if not mode.endswith("A"):
        assert torch.equal(embed.parse([picture]), expected)
    with pytest.raises(ValueError, match=r"a picture of shape \(\d, 8, 4\) was given"):
        embed.parse([picture.rotate(90, expand=True)])


@pytest.mark.parametrize("value", ["a.png", object(), None])
def test_what_is_no_picture_is_named(value):
    with pytest.raises(ValueError, match="is not a picture; give a picture of 8 × 8 pixels"):
        ImageEmbedder(16, 3, 8, 4).parse([value])


@pytest.mark.parametrize("value", [True, np.False_, torch.tensor(True)])
def test_a_truth_is_neither_a_class_nor_a_number(value):
    for embed in (ClassEmbedder(10, 4), NumberEmbedder(4)):
        with pytest.raises(ValueError, match="is not a"):
            embed.parse([value])


def test_a_picture_of_another_shape_is_refused():
    embed = ImageEmbedder(16, channels=3, size=8, patch=4)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\) was given; \(C, H, W\) must be \(3, 8, 8\)"):
        embed.parse([torch.zeros(1, 8, 8)])
    assert embed.parse([torch.zeros(3, 8, 8)] * 2).shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="does not divide"):
        ImageEmbedder(16, channels=3, size=9, patch=4)


@pytest.mark.parametrize(
    ("embedder", "says"),
    [
        (ClassEmbedder(10, 4), "a class by its number, 0 … 9"),
        (ClassEmbedder(["ring", "star"], 4), "a class by its name or number, 0 … 1: ring, star"),
        (NumberEmbedder(4, 2.5, 0.1), "a number; in the training data 2.5 ± 0.1 (mean ± standard deviation)"),
        (TextEmbedder(16, 1, 32, heads=2), "a text of at most 32 bytes in UTF-8"),
        (
            ImageEmbedder(16, 3, 8, 4),
            "a picture of 8 × 8 pixels (PIL), or a tensor (3, 8, 8) (C, H, W) in [-1, 1]",
        ),
    ],
)
def test_embedders_say_what_they_take(embedder, says: str):
    assert embedder.describe() == says


def test_long_lists_of_classes_are_cut_short_in_words():
    said = ClassEmbedder([f"n{i}" for i in range(1000)], 4).describe()
    assert said.endswith("n28, n29, … (1000 in all)") and "n30" not in said


EMBEDDERS = {
    "class": (lambda: ClassEmbedder(3, 8), [0, 1, 2]),
    "number": (lambda: NumberEmbedder(8), [0.0, 1.0, 2.0]),
    "text": (lambda: TextEmbedder(16, 1, 32, heads=2, vector_width=8), ["red apple", "", "🍎"]),
    "image": (lambda: ImageEmbedder(16, 1, 4, 2, vector_width=8), [torch.randn(1, 4, 4) for _ in range(3)]),
}


@pytest.mark.parametrize("kind", EMBEDDERS)
def test_every_embedder_learns_its_values_and_its_null(kind):
    make, raw = EMBEDDERS[kind]
    torch.manual_seed(0)
    embed = make()
    value = embed(embed.parse(raw))
    assert value.vector.shape == (3, 8)
    keep = torch.tensor([True, True, False])
    out = dropout(value, embed.null(3), keep)
    nothing = embed.null(1)
    torch.testing.assert_close(out.vector[2:], nothing.vector)
    total = out.vector.square().sum() + (
        0 if out.context is None else (out.context.square() + out.context).sum()
    )
    total.backward()
    assert [n for n, p in embed.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []
