"""Given elements: shown clean at time 0, so that what is drawn follows the law of the rest given them."""

from __future__ import annotations

import pytest
import torch

from langevin.core import grids
from langevin.core.analytic import JointMixtureDenoiser
from langevin.core.denoiser import Denoiser
from langevin.core.guidance import chain, given, temperature
from langevin.core.guidance.base import at_rows
from langevin.core.keep import paste
from langevin.core.posteriors import Point
from langevin.core.processes import Discrete, Gaussian, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Multistep, Single, sample


class Asked(Denoiser):
    """Remembers what it is asked."""

    def __init__(self, inner: Denoiser) -> None:
        self.inner, self.process, self.questions = inner, inner.process, []

    def __call__(self, x_t, t, condition=None, mask=None, memory=None):
        self.questions.append((x_t, t))
        return self.inner(x_t, t, condition, mask, memory)


def test_the_network_sees_what_is_given_clean_at_time_0_and_the_rest_as_it_is(joint) -> None:
    x = joint.sample_data(4, Stream.of(5, 4))
    chosen = {"types": torch.ones_like(x["types"], dtype=torch.bool)}
    x_t = joint.process.corrupt(x, 0.6, Stream.of(6, 4))
    asked = Asked(joint)
    belief, _ = given(x, chosen)(asked)(x_t, 0.6)
    (shown, t), *_ = asked.questions
    assert torch.equal(shown["types"], x["types"])
    assert torch.equal(shown["positions"], x_t["positions"]) and torch.equal(shown["frames"], x_t["frames"])
    for name, time in t.items():
        assert (time == (0.0 if name == "types" else torch.tensor(0.6))).all()
    assert torch.equal(belief["types"].probabilities.argmax(-1), x["types"])
    point = belief["positions"]
    assert isinstance(point, Point) and point.t == 0.6  # a belief about what was asked
    torch.testing.assert_close(0.4 * point.x + 0.6 * point.eps, x_t["positions"])


def test_an_element_of_a_leaf_is_given(joint) -> None:
    x = joint.sample_data(4, Stream.of(5, 4))
    where = torch.tensor([True, *[False] * (x["positions"].shape[1] - 1)]).expand(4, -1)
    x_t = joint.process.prior(x, Stream.of(6, 4))
    asked = Asked(joint)
    belief, _ = given(x, {"positions": where})(asked)(x_t, 1.0)
    (shown, t), *_ = asked.questions
    assert torch.equal(shown["positions"], paste(x_t, x, {"positions": where})["positions"])
    assert torch.equal(t["positions"], torch.where(where, 0.0, 1.0)) and (t["types"] == 1).all()
    torch.testing.assert_close(belief["positions"].x[where], x["positions"][where])


@pytest.mark.parametrize("sampler", [Single(1.0), Multistep(2)], ids=["ancestral", "multistep"])
def test_what_is_drawn_has_the_law_of_the_rest_given_the_types(sampler) -> None:
    process = Product(positions=Gaussian(), types=Discrete(3))
    types = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]])
    denoiser = JointMixtureDenoiser(process, [0.6, 0.4], torch.tensor([[[-2.0]], [[2.0]]]), 0.3, types)
    n = 3000
    shown = torch.tensor([0, 1, 2]).repeat(n // 3)[:, None]
    like = {"positions": torch.zeros(n, 1, 1), "types": shown}
    exact = torch.tensor([0.6, 0.4])[:, None] * types
    exact = (exact / exact.sum(0))[1]  # of the component on the right, by type
    free = {"types": torch.ones_like(shown, dtype=torch.bool)}
    *_, last = sample(
        chain(temperature(0.5), given(like, free))(denoiser),
        sampler,
        grids.uniform(100),
        Stream.of(1, n),
        like=like,
    )
    assert torch.equal(last.x["types"], shown)
    for k in range(3):
        right = (last.x["positions"][k::3] > 0).double().mean()
        spread = (exact[k] * (1 - exact[k]) / (n // 3)).sqrt()
        assert abs(right - exact[k]) < 4.5 * spread + 0.01
    side = last.x["positions"].abs() - 2
    assert abs(float(side.mean())) < 0.03 and abs(float(side.std()) - 0.3) < 0.03


def test_rows_of_a_run_are_cut(joint) -> None:
    x = joint.sample_data(4, Stream.of(5, 4))
    chosen = {"types": torch.ones_like(x["types"], dtype=torch.bool)}
    cut = at_rows(given(x, chosen), slice(1, 3), 4)
    assert type(cut) is given and torch.equal(cut.x["types"], x["types"][1:3])
