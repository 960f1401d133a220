"""Composition: several conditions at once; autoguidance: a weaker model under the same one; names for
configuration.
"""

from __future__ import annotations

import pytest
import torch

from langevin.core.analytic import GaussianDenoiser, MixtureDenoiser
from langevin.core.guidance import GUIDANCE, Guidance, apg, autoguidance, cfg, chain, compose
from langevin.core.processes import Gaussian, Torus
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample

LABEL = {"label": torch.tensor([0, 1, 2, 0])}


def test_one_condition_is_cfg(mixture, noise, counting) -> None:
    x, d = noise(4, 2), counting(mixture)
    p, _ = cfg(2.5)(mixture)(x, 0.5, LABEL)
    for parts in ({"label": 2.5}, [(LABEL, 2.5)], [("label", 2.5)]):
        g = compose(parts)(d)
        q, _ = g(x, 0.5, LABEL)
        torch.testing.assert_close(q.x, p.x)
        torch.testing.assert_close(q.eps, p.eps)
        assert g.rows(0.5) == 2
    assert [len(c) for c in d.calls] == [2, 2, 2]


def test_composition_is_the_product_of_likelihoods(noise) -> None:
    """Two independent attributes: with weights 1 their composition is the belief under both."""
    means = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    factors = [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]]
    d = MixtureDenoiser(Gaussian(), [1, 1, 1, 1], means, 0.5, labels=factors)
    right, up, both = ({"label": torch.tensor([k])} for k in (1, 3, 4))
    x = noise(6, 2)
    q, _ = compose([(right, 1.0), (up, 1.0)])(d)(x, 0.4)
    truth, _ = d(x, 0.4, {"label": torch.full((6,), 4)})
    torch.testing.assert_close(q.x, truth.x)
    # a negative weight turns an attribute round, as far as the score of its absence allows
    q, _ = compose([(right, 1.0), (up, -1.0)])(d)(x, 0.9)
    plain, _ = compose([(right, 1.0)])(d)(x, 0.9)
    assert (q.x[:, 1] < plain.x[:, 1]).all()
    torch.testing.assert_close(q.x[:, 0], plain.x[:, 0])
    assert both["label"].shape == (1,)


def test_branches_that_weigh_nothing_are_not_asked_for(mixture, noise, counting) -> None:
    d = counting(mixture)
    a, b = ({"label": torch.tensor([k])} for k in (0, 1))
    g = compose([(a, 0.3), (b, 0.7), ({"label": torch.tensor([2])}, 0.0)])(d)
    q, _ = g(noise(4, 2), 0.5)
    assert d.asked == 2 == g.rows(0.5)  # the weights sum to 1: no null
    parts = [mixture(noise(4, 2), 0.5, {"label": torch.full((4,), k)})[0].x for k in (0, 1)]
    torch.testing.assert_close(q.x, 0.3 * parts[0] + 0.7 * parts[1])


def test_conditions_that_are_not_weighed_are_part_of_every_branch(network, noise, counting) -> None:
    d = counting(network)
    both = {"label": torch.tensor([0, 1]), "style": torch.tensor([2, 0])}
    compose({"label": 2.0})(d)(noise(2, 4, 2), 0.5, both)
    compose({"label": 2.0, "style": 3.0})(d)(noise(2, 4, 2), 0.5, both)
    compose([({"label": torch.tensor([3])}, 2.0)])(d)(noise(2, 4, 2), 0.5, both)
    assert [[set(c) for c in call] for call in d.calls] == [
        [{"style"}, {"label", "style"}],
        [set(), {"label"}, {"style"}],
        [{"style"}, {"label", "style"}],
    ]
    assert d.calls[2][1]["label"].tolist() == [3, 3]


def test_sequential_composition_is_the_same(network, noise, counting) -> None:
    d = counting(network)
    both = {"label": torch.tensor([0, 1]), "style": torch.tensor([2, 0])}
    a, _ = compose({"label": 2.0, "style": 3.0})(network)(noise(2, 4, 2), 0.5, both)
    b, _ = compose({"label": 2.0, "style": 3.0}, batched=False)(d)(noise(2, 4, 2), 0.5, both)
    torch.testing.assert_close(a.x, b.x)
    assert [len(c) for c in d.calls] == [1, 1, 1]


def test_every_leaf_of_a_product_is_composed(joint) -> None:
    x_t = joint.process.corrupt(joint.sample_data(4, Stream.of(0, 4)), 0.5, Stream.of(1, 4))
    condition = {"label": torch.tensor([0, 1, 1, 0])}
    q, p = (g(joint)(x_t, 0.5, condition)[0] for g in (compose({"label": 3.0}), cfg(3.0)))
    torch.testing.assert_close(q["types"].logits, p["types"].logits)
    torch.testing.assert_close(q["frames"].vector, p["frames"].vector)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({}, ValueError, "compose needs weights by name"),
        (["label"], ValueError, "compose needs weights by name"),
        ({"label": float("nan")}, ValueError, "the weight of 'label' must be a finite number"),
        ([(3, 1.0)], TypeError, "weighs names or conditions"),
    ],
)
def test_wrong_parts_are_named(parts, error, message: str) -> None:
    with pytest.raises(error, match=message):
        compose(parts)


def test_unknown_names_are_named(mixture, noise) -> None:
    with pytest.raises(KeyError, match="did you mean 'label'"):
        compose({"lable": 2.0})(mixture)(noise(4, 2), 0.5, LABEL)


def test_autoguidance_goes_from_the_weak_through_the_strong(noise, counting) -> None:
    strong, weak = (counting(GaussianDenoiser(Gaussian(), 0.5, std)) for std in (0.4, 0.8))
    x = noise(4, 2)
    c, u = strong.inner(x, 0.5)[0], weak.inner(x, 0.5)[0]
    g = autoguidance(weak, 2.0, interval=(0.3, 0.7))(strong)
    q, _ = g(x, 0.5, LABEL)
    torch.testing.assert_close(q.x, 2 * c.x - u.x)
    assert weak.calls == strong.calls == [[LABEL]] and g.rows(0.5) == 2
    for off in (g, autoguidance(weak, 1.0)(strong)):
        q, _ = off(x, 0.1, LABEL)
        assert torch.equal(q.x, strong.inner(x, 0.1)[0].x) and off.rows(0.1) == 1
    assert len(weak.calls) == 1


def test_autoguidance_under_cfg_and_with_momentum(mixture) -> None:
    weak = MixtureDenoiser(Gaussian(), mixture.weights, mixture.parts[""].normals.mean, 0.8)
    rule = chain(apg(3.0, momentum=0.3), autoguidance(apg(2.0, momentum=-0.5)(weak), 1.5))
    grid = torch.linspace(1, 0, 7).tolist()

    def run(**more):
        return list(
            sample(
                rule(mixture),
                Single(0.0),
                grid,
                Stream.of(0, 4),
                like=torch.zeros(4, 2),
                condition=LABEL,
                **more,
            )
        )

    steps = run()
    assert {k.split(".")[1] for k in steps[0].memory} == {"weak", "inner"}
    assert torch.equal(run(resume=steps[2])[-1].x, steps[-1].x)


def test_the_weak_denoiser_keeps_its_own_memory(mixture, noise) -> None:
    weak, x = apg(4.0, momentum=-0.5)(mixture), noise(4, 2)
    g = autoguidance(weak, 2.0)(mixture)
    _, memory = g(x, 0.9, LABEL)
    q, _ = g(x, 0.7, LABEL, memory=memory)
    _, behind = weak(x, 0.9, LABEL)
    u, _ = weak(x, 0.7, LABEL, memory=behind)
    torch.testing.assert_close(q.x, 2 * mixture(x, 0.7, LABEL)[0].x - u.x)


def test_the_weak_denoiser_must_be_of_the_same_process(mixture) -> None:
    class Angles(GaussianDenoiser):
        def __init__(self) -> None:
            self.process = Torus()

    with pytest.raises(ValueError, match="of another process"):
        autoguidance(Angles(), 2.0)(mixture)
    with pytest.raises(ValueError, match="weight must be"):
        autoguidance(mixture, float("inf"))


def test_guidances_have_names_and_say_what_they_are(mixture) -> None:
    assert {"cfg", "apg", "cfg_zero_star", "autoguidance", "compose", "classifier"} <= set(GUIDANCE)
    assert isinstance(GUIDANCE["apg"](weight=3.0, norm=2.5), Guidance)
    assert repr(cfg(3.0, interval=[0.2, 0.8])) == (
        "CFG(weight=3.0, interval=(0.2, 0.8), names=None, batched=True, rescale=0.0)"
    )
    assert "LongTensor" not in repr(cfg(3.0, negative=LABEL)) and "tensor" not in repr(
        cfg(3.0, negative=LABEL)
    )
