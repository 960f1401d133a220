"""Classifier-free guidance is u + w (c − u) in posterior space, and costs nothing where it is off."""

from __future__ import annotations

import pytest
import torch

from langevin.core import so3
from langevin.core.analytic import JointMixtureDenoiser
from langevin.core.conditioning import Embedded
from langevin.core.guidance import apg, cfg, cfg_zero_star, chain, dynamic_threshold, guided
from langevin.core.posteriors import combine
from langevin.core.processes import Discrete, Product
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample

LABEL = {"label": torch.tensor([0, 1, 2, 0])}
ZERO_LIKE = [cfg, apg, cfg_zero_star]


@pytest.mark.parametrize("make", ZERO_LIKE)
def test_weight_1_costs_one_call_and_changes_no_bit(make, mixture, counting, noise) -> None:
    d, x = counting(mixture), noise(4, 2)
    q, _ = make(1.0)(d)(x, 0.99, LABEL)
    plain, _ = mixture(x, 0.99, LABEL)
    assert d.calls == [[LABEL]]
    assert torch.equal(q.x, plain.x) and torch.equal(q.eps, plain.eps)
    assert make(1.0)(d).rows(0.99) == 1


@pytest.mark.parametrize("make", ZERO_LIKE)
def test_outside_its_interval_guidance_is_one_call(make, mixture, counting, noise) -> None:
    x = noise(4, 2)
    for t, asked in ((0.1, 1), (0.2, 2), (0.5, 2), (0.8, 2), (0.81, 1)):
        d = counting(mixture)
        g = make(3.0, interval=(0.2, 0.8))(d)
        q, _ = g(x, t, LABEL)
        assert d.asked == asked == g.rows(t) and len(d.calls) == 1
        assert torch.equal(q.x, mixture(x, t, LABEL)[0].x) == (asked == 1)
    # a time in float32 is not pushed out of the interval by its rounding
    d = counting(mixture)
    make(3.0, interval=(0.2, 0.8))(d)(x, torch.full((4,), 0.8), LABEL)
    assert d.asked == 2


def test_without_a_condition_there_is_nothing_to_guide(mixture, counting, noise) -> None:
    d = counting(mixture)
    q, _ = cfg(3.0)(d)(noise(4, 2), 0.5)
    assert d.asked == 1 and torch.equal(q.x, mixture(noise(4, 2), 0.5)[0].x)


@pytest.mark.parametrize("weight", [-1.0, 0.0, 0.4, 2.5, 8.0])
def test_on_a_mixture_it_is_the_closed_form(weight: float, mixture, noise) -> None:
    x, t = noise(4, 2), 0.6
    alpha, sigma = 1 - t, t
    q, _ = cfg(weight)(mixture)(x, t, LABEL)
    # the score of the guided density p(x_t)^(1 − w) p(x_t | c)^w
    x.requires_grad_()
    log = (1 - weight) * mixture.log_prob(x, t) + weight * mixture.log_prob(x, t, LABEL)
    (score,) = torch.autograd.grad(log.sum(), x)
    torch.testing.assert_close(q.eps, -sigma * score)
    torch.testing.assert_close(q.x, (x.detach() + sigma**2 * score) / alpha)


def test_on_classes_it_is_the_tempered_product() -> None:
    types = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], dtype=torch.float64)
    d = JointMixtureDenoiser(Product(a=Discrete(3, kind="uniform")), [0.5, 0.5], type_probabilities=types)
    x, condition = {"a": torch.tensor([[0], [2]])}, {"label": torch.tensor([1, 0])}
    u, c = (d(x, 0.5, k)[0]["a"].probabilities for k in (None, condition))
    q, _ = cfg(3.0)(d)(x, 0.5, condition)
    expected = u**-2 * c**3
    torch.testing.assert_close(q["a"].probabilities, expected / expected.sum(-1, keepdim=True))


def test_on_a_product_every_leaf_is_guided(joint, noise) -> None:
    data = joint.sample_data(6, Stream.of(0, 6))
    t = {"positions": 0.7, "types": 0.5, "frames": 0.6}
    x_t = joint.process.corrupt(data, t, Stream.of(1, 6))
    condition = {"label": torch.tensor([0, 1] * 3)}
    u, c = joint(x_t, t)[0], joint(x_t, t, condition)[0]
    q, _ = cfg(2.0)(joint)(x_t, t, condition)
    torch.testing.assert_close(q["positions"].x, 2 * c["positions"].x - u["positions"].x)
    torch.testing.assert_close(q["frames"].vector, 2 * c["frames"].vector - u["frames"].vector)
    log = 2 * c["types"].logits.log_softmax(-1) - u["types"].logits.log_softmax(-1)
    torch.testing.assert_close(q["types"].probabilities, log.softmax(-1))
    # each leaf has its own clock in the interval
    q, _ = cfg(2.0, interval=(0.55, 0.65))(joint)(x_t, t, condition)
    assert torch.equal(q["positions"].x, c["positions"].x) and torch.equal(
        q["types"].logits, c["types"].logits
    )
    torch.testing.assert_close(q["frames"].vector, 2 * c["frames"].vector - u["frames"].vector)


@pytest.mark.parametrize(("weight", "share"), [(0.0, 0.7), (4.0, 1.0)])
def test_samples_follow_their_condition_on_every_leaf(weight: float, share: float, joint) -> None:
    n = 500
    like = {
        "positions": torch.zeros(n, 2),
        "types": torch.zeros(n, 1, dtype=torch.long),
        "frames": torch.eye(3).expand(n, 1, 3, 3),
    }
    condition, grid = {"label": torch.ones(n, dtype=torch.long)}, torch.linspace(1, 0, 21).tolist()
    *_, last = sample(cfg(weight)(joint), Single(0.0), grid, Stream.of(1, n), like=like, condition=condition)
    right = last.x["positions"] @ torch.tensor([1.0, -0.5]) > 0
    turned = so3.log(last.x["frames"][:, 0]).norm(dim=-1) > 0.6
    assert abs(right.float().mean() - share) < 0.05
    assert (right == turned).float().mean() > 0.99


def test_times_per_sample_are_guided_sample_by_sample(mixture, noise) -> None:
    x, t = noise(4, 2), torch.tensor([0.1, 0.3, 0.7, 0.9], dtype=torch.float64)
    q, _ = cfg(3.0, interval=(0.2, 0.8))(mixture)(x, t, LABEL)
    for i in range(4):
        one = {"label": LABEL["label"][i : i + 1]}
        p, _ = cfg(3.0, interval=(0.2, 0.8))(mixture)(x[i : i + 1], t[i].item(), one)
        torch.testing.assert_close(q.x[i : i + 1], p.x)
        torch.testing.assert_close(q.eps[i : i + 1], p.eps)


def test_a_negative_condition_takes_the_place_of_the_null(mixture, noise) -> None:
    x = noise(4, 2)
    c, n = mixture(x, 0.5, LABEL)[0], mixture(x, 0.5, {"label": torch.tensor([2] * 4)})[0]
    for negative in (torch.tensor([2]), torch.tensor([2] * 4)):
        q, _ = cfg(2.0, negative={"label": negative})(mixture)(x, 0.5, LABEL)
        torch.testing.assert_close(q.x, 2 * c.x - n.x)
    with pytest.raises(ValueError, match="'label' of a guidance has 3 rows for 4 samples; give one"):
        cfg(2.0, negative={"label": torch.tensor([0, 1, 2])})(mixture)(x, 0.5, LABEL)


def test_embedded_negatives_spread_over_the_batch(network, noise) -> None:
    x, both = noise(3, 4, 2), {"label": torch.tensor([0, 1, 2])}
    value = network.network.embed({"label": torch.tensor([4])})["label"]
    assert isinstance(value, Embedded)
    a, _ = cfg(2.0, negative={"label": value})(network)(x, 0.5, both)
    b, _ = cfg(2.0, negative={"label": torch.tensor([4])})(network)(x, 0.5, both)
    torch.testing.assert_close(a.x, b.x)


def test_names_choose_what_the_weak_branch_drops(network, noise, counting) -> None:
    both = {"label": torch.tensor([0, 1]), "style": torch.tensor([2, 0])}
    d = counting(network)
    cfg(2.0, names=["style"])(d)(noise(2, 4, 2), 0.5, both)
    assert [set(c) for c in d.calls[0]] == [{"label", "style"}, {"label"}]
    with pytest.raises(KeyError, match="did you mean 'style'"):
        cfg(2.0, names=["stile"])(d)(noise(2, 4, 2), 0.5, both)


def test_one_batch_equals_one_after_the_other(network, noise, counting) -> None:
    x, condition = noise(3, 4, 2), {"label": torch.tensor([0, 1, 2])}
    mask = torch.tensor([[True] * 4, [True] * 3 + [False], [True] * 2 + [False] * 2])
    for t in (0.5, torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)):
        d, e = counting(network), counting(network)
        a, _ = cfg(3.0)(d)(x, t, condition, mask)
        b, _ = cfg(3.0, batched=False)(e)(x, t, condition, mask)
        torch.testing.assert_close(a.x, b.x)
        assert [len(c) for c in d.calls] == [2] and [len(c) for c in e.calls] == [1, 1]


@pytest.mark.parametrize(
    "guidance",
    [
        cfg(3.0, rescale=0.7),
        apg(6.0, norm=0.5),
        cfg_zero_star(3.0),
        chain(cfg(9.0), dynamic_threshold(0.9, 0.5)),
    ],
    ids=["cfg", "apg", "zero-star", "chain"],
)
def test_a_sample_does_not_depend_on_its_batch(guidance, network, noise) -> None:
    x, label = noise(5, 4, 2), torch.tensor([0, 1, 2, 3, 4])
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[3, 2:] = False
    g = guidance(network)
    q, _ = g(x, 0.4, {"label": label}, mask)
    one, _ = g(x[3:4], 0.4, {"label": label[3:4]}, mask[3:4])
    torch.testing.assert_close(q.x[3:4], one.x)
    # nor on what stands in its padding
    padded = torch.where(mask[..., None], x, x + 50)
    moved, _ = g(padded, 0.4, {"label": label}, mask)
    torch.testing.assert_close(moved.x[mask], q.x[mask])


def test_rescale_restores_the_standard_deviation(network, noise) -> None:
    x, condition, t = noise(3, 4, 2), {"label": torch.tensor([0, 1, 2])}, 0.6
    c, plain = network(x, t, condition)[0], cfg(6.0)(network)(x, t, condition)[0]
    full, _ = cfg(6.0, rescale=1.0)(network)(x, t, condition)
    torch.testing.assert_close(full.x.flatten(1).std(1), c.x.flatten(1).std(1))
    half, _ = cfg(6.0, rescale=0.5)(network)(x, t, condition)
    torch.testing.assert_close(half.x, (full.x + plain.x) / 2)
    torch.testing.assert_close((1 - t) * half.x + t * half.eps, x)


def test_rescale_is_that_of_diffusers(mixture, noise) -> None:
    utils = pytest.importorskip("diffusers.guiders.guider_utils")
    x, t = noise(4, 2), 0.6
    c, g = mixture(x, t, LABEL)[0], cfg(5.0)(mixture)(x, t, LABEL)[0]
    ours, _ = cfg(5.0, rescale=0.7)(mixture)(x, t, LABEL)
    torch.testing.assert_close(ours.x, utils.rescale_noise_cfg(g.x, c.x, 0.7))


def test_guidances_nest_and_share_one_batch(mixture, noise, counting) -> None:
    x, d = noise(4, 2), counting(mixture)
    inner = cfg(2.0)
    q, _ = chain(inner, cfg(3.0))(d)(x, 0.5, LABEL)
    c, u = inner(mixture)(x, 0.5, LABEL)[0], mixture(x, 0.5)[0]
    torch.testing.assert_close(q.x, combine((-2.0, 3.0), (u, c)).x)
    # cfg of cfg asks about (c, ∅) and their weak branches (∅, ∅), together
    assert len(d.calls) == 1
    assert chain(inner, cfg(3.0))(d).rows(0.5) == 4
    assert guided(d, None) is d and guided(d, inner).process is mixture.process
    assert guided(d, inner).without(LABEL) == {}


@pytest.mark.parametrize("make", ZERO_LIKE)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": float("nan")}, "weight must be a finite number"),
        ({"weight": float("inf")}, "weight must be a finite number"),
        ({"weight": 2.0, "interval": (0.8, 0.2)}, "must rise from low to high"),
        ({"weight": 2.0, "interval": (-0.1, 0.5)}, r"in \[0, 1\]"),
        ({"weight": 2.0, "interval": (0.1, 1.5)}, r"in \[0, 1\]"),
        ({"weight": 2.0, "interval": (0.1, 0.2, 0.3)}, "two times"),
        ({"weight": "3"}, "weight must be a number"),
        ({"weight": 2.0, "names": "label"}, "write \\['label'\\]"),
    ],
)
def test_mistakes_are_named(make, arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make(**arguments)


def test_settings_have_their_own_limits() -> None:
    with pytest.raises(ValueError, match=r"rescale must be a finite number in \[0, 1\]"):
        cfg(2.0, rescale=1.5)
    with pytest.raises(ValueError, match="momentum must lie in"):
        apg(2.0, momentum=-1.0)
    with pytest.raises(ValueError, match="nothing would move"):
        cfg_zero_star(2.0, zero_init=1.0)
