from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from langevin.modalities.image.probe import accuracy, probe
from langevin.modalities.image.shapes import (
    COLOURS,
    COUNTS,
    HELD_OUT_PAIRS,
    POSITIONS,
    SHAPES,
    TEMPLATES,
    Attributes,
    Shapes,
    caption,
    compositions,
    parse,
    render,
)

EVERYTHING = compositions("all")


def shares(found: list[Attributes], wanted: list[Attributes]) -> dict[str, float]:
    return {name: right / total for name, (right, total) in accuracy(found, wanted).items()}


def test_the_hold_out_is_a_partition_with_whole_pairs_and_twelve_per_cent_more():
    train, test = set(compositions("train")), set(compositions("test"))
    assert train | test == set(EVERYTHING)
    assert not train & test
    assert len(EVERYTHING) == 800
    assert len(train) == 644
    pairs = {(a.shape, a.colour) for a in EVERYTHING} - {(a.shape, a.colour) for a in train}
    assert pairs == set(HELD_OUT_PAIRS)
    assert sum((a.shape, a.colour) not in HELD_OUT_PAIRS for a in test) == 96


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_single_value_occurs_in_both_splits(split):
    shapes, colours, counts, positions = map(set, zip(*compositions(split), strict=True))
    assert shapes == set(SHAPES)
    assert colours == set(COLOURS)
    assert counts == set(COUNTS)
    assert positions == set(POSITIONS)


@pytest.mark.parametrize(("split", "seed"), [("train", 0), ("train", 7), ("test", 0), ("test", -3)])
def test_a_split_only_draws_its_own_compositions(split, seed):
    drawn = Shapes(split=split, seed=seed).attributes(range(5000))
    assert set(drawn) <= set(compositions(split))
    assert len(set(drawn)) > 0.99 * len(compositions(split))


def test_an_item_is_the_same_in_every_batch_and_order():
    shapes = Shapes(seed=3)
    images, captions = shapes.batch([5, 900_000, 17, 5])
    again, captions_again = Shapes(seed=3).batch([17, 5])
    assert np.array_equal(images[[2, 0]], again)
    assert captions[2::-2] == captions_again
    picture, text, attributes = shapes[900_000]
    assert np.array_equal(picture, images[1])
    assert text == captions[1]
    assert parse(text) == attributes == shapes.attributes([900_000])[0]
    assert np.array_equal(shapes[-1][0], shapes[len(shapes) - 1][0])


def test_seeds_and_splits_give_different_pictures():
    first = Shapes(seed=0).batch(range(50))[0]
    for other in (Shapes(seed=1), Shapes(split="test"), Shapes(seed=2**64 - 1)):
        same = (other.batch(range(50))[0] == first).all((1, 2, 3))
        assert not same.any()


def test_no_two_pictures_of_one_composition_are_equal():
    pictures = render([EVERYTHING[123]] * 500)
    assert len({p.tobytes() for p in pictures}) == 500


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EVERYTHING), st.integers(0, 20))
def test_parse_inverts_caption(attributes, template):
    assert parse(caption(attributes, template)) == attributes


def test_captions_read_as_english():
    assert caption(Attributes("circle", "red", 2, "left")) == "two red circles on the left"
    assert caption(Attributes("star", "green", 1, "top")) == "a green star at the top"
    assert caption(Attributes("cross", "orange", 4, "centre")) == "four orange crosses in the centre"
    assert (
        caption(Attributes("square", "orange", 1, "bottom"), 2) == "there is an orange square at the bottom"
    )
    assert len({caption(EVERYTHING[0], k) for k in range(len(TEMPLATES))}) == len(TEMPLATES)
    assert parse("Two red circles in the middle") == Attributes("circle", "red", 2, "centre")


@pytest.mark.parametrize(
    "text", ["", "two red circles", "a red circle and a blue star on the left", "mauve blobs"]
)
def test_parse_refuses_what_it_cannot_read(text):
    with pytest.raises(ValueError, match="does not read as a caption"):
        parse(text)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="unknown split 'tset'; did you mean 'test'"):
        Shapes(split="tset")
    with pytest.raises(ValueError, match="at least 28"):
        Shapes(size=16)
    with pytest.raises(ValueError, match="did you mean 'circle'"):
        render([Attributes("circel", "red", 1, "left")])
    with pytest.raises(ValueError, match="count must be"):
        render([Attributes("circle", "red", 5, "left")])
    with pytest.raises(ValueError, match="keys must have shape"):
        render([EVERYTHING[0]], np.zeros(2, np.uint64))
    with pytest.raises(IndexError, match="1000000"):
        Shapes().batch([1_000_000])
    assert render([]).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("size", [28, 32, 48])
def test_objects_are_apart_inside_the_picture_and_large_enough(size):
    pictures = render(EVERYTHING, size=size).astype(float)
    for picture, a in zip(pictures, EVERYTHING, strict=True):
        away = np.abs(picture - np.median(picture.reshape(-1, 3), 0)).max(-1)
        labels, count = ndimage.label(away > 0.5 * away.max(), np.ones((3, 3)))
        assert count == a.count
        for box in ndimage.find_objects(labels):
            assert max(s.stop - s.start for s in box) >= 6 * size // 32  # half covered; tips of stars are not
        edge = np.concatenate([away[0], away[-1], away[:, 0], away[:, -1]])
        assert edge.max() <= 0.55 * away.max()  # at least half a pixel from the border


@pytest.mark.parametrize(("size", "split"), [(32, "train"), (32, "test"), (28, "test"), (48, "train")])
def test_the_probe_reads_clean_pictures(size, split):
    shapes, rows = Shapes(size, split), range(1000 if size == 32 else 300)
    right = shares(probe(shapes.batch(rows)[0]), shapes.attributes(rows))
    assert min(right.values()) >= 0.995, right


@pytest.mark.parametrize("blur", [0.0, 0.6])
def test_the_probe_withstands_slight_noise_and_blur(blur):
    shapes, rows = Shapes(), range(600)
    pictures = ndimage.gaussian_filter(shapes.batch(rows)[0].astype(float), (0, blur, blur, 0))
    pictures += np.random.default_rng(0).normal(0, 8, pictures.shape)
    right = shares(probe(np.clip(np.rint(pictures), 0, 255).astype(np.uint8)), shapes.attributes(rows))
    assert min(right.values()) >= 0.97, right


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "smooth", "shuffled pixels", "constant"])
def test_the_probe_is_not_right_above_chance_on_what_shows_nothing(kind):
    shapes, rows, rng = Shapes(), range(300), np.random.default_rng(1)
    real, wanted = shapes.batch(rows)[0], shapes.attributes(rows)
    noise = rng.normal(size=real.shape)
    pictures = {
        "uniform": rng.integers(0, 256, real.shape),
        "gaussian": 128 + 64 * noise,
        "smooth": 128 + 400 * ndimage.gaussian_filter(noise, (0, 2, 2, 0)),
        "shuffled pixels": rng.permuted(real.reshape(300, -1, 3), axis=1).reshape(real.shape),
        "constant": np.full(real.shape, 200),
    }[kind]
    right = shares(probe(np.clip(pictures, 0, 255).astype(np.uint8)), wanted)
    chance = {"shape": 1 / 5, "colour": 1 / 8, "count": 1 / 4, "position": 1 / 5, "all": 1 / 800}
    for name, share in right.items():
        assert share <= chance[name] + 2 * (chance[name] / 300) ** 0.5, (name, share)
    assert right["all"] == 0


def test_the_probe_is_at_chance_on_shuffled_captions():
    shapes = Shapes()
    wanted = shapes.attributes(range(800))
    found = probe(shapes.batch(range(800))[0])
    right = shares(found, wanted[1:] + wanted[:1])
    assert right["shape"] < 0.27
    assert right["count"] < 0.32
    assert right["all"] < 0.01


def test_the_probe_refuses_mixtures():
    one = render([Attributes("circle", "red", 1, "left"), Attributes("square", "blue", 1, "right")])
    mixed = np.where(np.arange(32)[None, :, None] < 16, one[0], one[1])[None]
    found = probe(mixed)[0]
    assert found.shape is None
    assert found.colour is None
    assert found.count == 2


def test_the_probe_checks_its_input():
    with pytest.raises(ValueError, match="uint8"):
        probe(np.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="2 pictures were probed for 1"):
        accuracy([EVERYTHING[0]] * 2, [EVERYTHING[0]])
    assert accuracy([Attributes(None, None, None, None)], [EVERYTHING[0]])["shape"] == (0, 1)
