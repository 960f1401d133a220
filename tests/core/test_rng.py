"""Random numbers belong to samples: nothing but (seed, sample, names, coordinates) can change them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin.core.rng import Stream
from tests.core.exact import assert_frequencies, ks, normal_cdf

seeds = st.integers(-(2**80), 2**80)
samples = st.lists(st.integers(0, 2**40), min_size=1, max_size=6, unique=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seeds, samples, st.data())
@settings(max_examples=40, deadline=None)
def test_noise_of_a_sample_is_bit_equal_for_any_batch_order_and_padding(
    dtype: torch.dtype, seed: int, rows: list[int], data: st.DataObject
) -> None:
    together = Stream.of(seed, rows).fold("step", 3).normal((len(rows), 7, 3), dtype)
    order = data.draw(st.permutations(range(len(rows))))
    length, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    for k in order:
        alone = Stream.of(seed, [rows[k]]).fold("step", 3).normal((1, length, width), dtype)
        common = (slice(0, min(7, length)), slice(0, min(3, width)))
        assert torch.equal(alone[0][common], together[k][common])
    shuffled = Stream.of(seed, [rows[k] for k in order]).fold("step", 3).normal((len(rows), 7, 3), dtype)
    assert torch.equal(shuffled, together[list(order)])


def test_rows_select_what_their_samples_draw() -> None:
    rng = Stream.of(3, 6)
    everything = rng.normal((6, 4))
    for index in ([4, 1], slice(2, 5), torch.tensor([5, 0, 0]), torch.tensor([True, False] * 3)):
        part = rng.rows(index)
        assert torch.equal(part.normal((len(part), 4)), everything[index])


@pytest.mark.parametrize("draw", ["normal", "uniform", "integers"])
def test_a_draw_is_a_function_of_its_key(draw: str) -> None:
    rng = Stream.of(1, 3).fold("leaf")

    def once() -> torch.Tensor:
        return rng.integers(10, (3, 5)) if draw == "integers" else getattr(rng, draw)((3, 5))

    assert torch.equal(once(), once())


def test_the_order_and_the_spelling_of_names_matter() -> None:
    rng = Stream.of(0, 2)
    chains = [
        (),
        ("a",),
        ("b",),
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        ("a", "a"),
        (1,),
        ("1",),
        (1, 2),
        (2, 1),
        (-1,),
        (0,),
    ]
    keys = [rng.fold(*chain).keys for chain in chains]
    for one, other in itertools.combinations(keys, 2):
        assert not bool((one == other).any())
    assert torch.equal(rng.fold("a", "b").keys, rng.fold("a").fold("b").keys)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_any_integer_is_a_seed_of_which_64_bits_count(seed: int) -> None:
    here = Stream.of(seed, 2).keys
    assert torch.equal(here, Stream.of(seed % 2**64, 2).keys)
    assert not bool((here == Stream.of(seed + 1, 2).keys).any())


@pytest.mark.parametrize("seed", [1.0, "1", None, True])
def test_a_seed_that_is_no_integer_is_refused(seed: object) -> None:
    with pytest.raises(TypeError, match="seed must be an integer"):
        Stream.of(seed, 2)  # type: ignore[arg-type]


def test_wrong_shapes_and_ranges_are_refused() -> None:
    rng = Stream.of(0, 3)
    for shape in ((), (2, 4), (4,)):
        with pytest.raises(ValueError, match="must begin with the number of rows, 3"):
            rng.normal(shape)
    with pytest.raises(ValueError, match="high must be at least 1, got 0"):
        rng.integers(0, (3, 2))


def test_normals_are_standard_normal() -> None:
    x = Stream.of(11, 64).normal((64, 16384), torch.float64)
    n = x.numel()
    assert abs(float(x.mean())) < 4 / math.sqrt(n)
    assert abs(float(x.var()) - 1) < 4 * math.sqrt(2 / n)
    assert abs(float((x**3).mean())) < 4 * math.sqrt(15 / n)
    assert abs(float((x**4).mean()) - 3) < 4 * math.sqrt(96 / n)
    assert ks(x, normal_cdf()) < 2.0
    assert float(x.abs().max()) > 4.2  # tails are there


def test_uniforms_are_uniform_in_the_open_interval() -> None:
    x = Stream.of(5, 64).uniform((64, 4096), torch.float64)
    assert ks(x, lambda u: u) < 2.0
    assert ks(x.frac().mul(1024).frac(), lambda u: u) < 2.0  # low bits too


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_no_uniform_is_0_or_1_in_any_precision(dtype: torch.dtype) -> None:
    class Extreme(Stream):
        """A stream whose words are the smallest and the largest."""

        def _bits(self, shape: object) -> torch.Tensor:
            return torch.tensor([0, -1])  # 0…0 and 1…1

    u = Extreme(torch.zeros(2, dtype=torch.int64)).uniform((2,), dtype)
    assert u.dtype == dtype and 0 < float(u[0]) < 1e-4 and 0.99 < float(u[1]) < 1


@pytest.mark.parametrize("high", [1, 2, 7, 1000])
def test_integers_are_uniform(high: int) -> None:
    k = Stream.of(8, 50).integers(high, (50, 2000))
    assert k.dtype == torch.int64 and int(k.min()) >= 0 and int(k.max()) < high
    assert_frequencies(k, [1 / high] * high)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """The correlation of two samples in units of its standard error."""
    a, b = a.flatten().double(), b.flatten().double()
    return abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) * math.sqrt(a.numel())


def test_neighbours_are_uncorrelated() -> None:
    x = Stream.of(0, 200).normal((200, 40, 25))
    pairs = {
        "samples": (x[1:], x[:-1]),
        "elements": (x[:, 1:], x[:, :-1]),
        "features": (x[..., 1:], x[..., :-1]),
        "seeds": (x, Stream.of(1, 200).normal((200, 40, 25))),
        "negative seeds": (x, Stream.of(-1, 200).normal((200, 40, 25))),
        "seed and sample exchanged": (
            Stream.of(1, [0]).normal((1, 50000)),
            Stream.of(0, [1]).normal((1, 50000)),
        ),
        "steps": tuple(Stream.of(0, 200).fold("move", i).normal((200, 1000)) for i in (0, 1)),
        "a name and its parent": (x, Stream.of(0, 200).fold("noise").normal((200, 40, 25))),
        "squares of elements": (x[:, 1:] ** 2, x[:, :-1] ** 2),
    }
    far = {name: _correlation(*pair) for name, pair in pairs.items()}
    assert max(far.values()) < 4.5, far


def test_no_number_is_drawn_twice() -> None:
    keys = [Stream.of(seed, 40).fold("a", k) for seed in range(5) for k in range(5)]
    x = torch.cat([key.uniform((40, 50), torch.float64) for key in keys])
    assert x.unique().numel() == x.numel()


def test_particles_stand_behind_their_sample_and_are_independent() -> None:
    rng = Stream.of(2, 3)
    four = rng.particles(4)
    assert len(four) == 12
    # particle k of sample i does not depend on how many particles or samples there are
    assert torch.equal(four.keys.view(3, 4)[:, :2], rng.particles(2).keys.view(3, 2))
    assert torch.equal(four.keys.view(3, 4)[1], rng.rows([1]).particles(4).keys)
    x = Stream.of(2, 500).particles(8).normal((4000, 25)).view(500, 8, 25)
    assert _correlation(x[:, 1:], x[:, :-1]) < 4.5
    assert _correlation(x[1:], x[:-1]) < 4.5
    assert _correlation(x[:, 0], Stream.of(2, 500).normal((500, 25))) < 4.5
    assert not bool(torch.isin(four.keys, rng.keys).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_draws_are_the_float64_draws_rounded(dtype: torch.dtype) -> None:
    rng = Stream.of(4, 3)
    assert rng.normal((3, 9), dtype).dtype == dtype
    assert torch.equal(rng.normal((3, 9)), rng.normal((3, 9), torch.float64).float())


def test_scaled_streams_draw_the_same_numbers_times_a_factor() -> None:
    key = Stream.of(3, 4)
    cool = key.scaled(0.5).scaled(0.5)
    for one, other in (
        (key, cool),
        (key.fold("a", 1), cool.fold("a", 1)),
        (key.rows([2, 0]), cool.rows([2, 0])),
        (key.particles(2), cool.particles(2)),
        (key.to("cpu"), cool.to("cpu")),
    ):
        shape = (len(one), 3)
        assert torch.equal(0.25 * one.normal(shape), other.normal(shape))
        assert torch.equal(one.uniform(shape), other.uniform(shape))
