"""Adaptive projected guidance: its limit is classifier-free guidance, and its momentum belongs to the
trajectory.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from langevin.core.guidance import apg, cfg, chain
from langevin.core.rng import Stream
from langevin.core.samplers import Heun, Single, sample

LABEL = {"label": torch.tensor([0, 1, 2, 0])}
GRID = torch.linspace(1, 0, 9).tolist()


def test_with_everything_kept_it_is_cfg(mixture, joint, noise) -> None:
    q, memory = apg(5.0, eta=1.0)(mixture)(noise(4, 2), 0.5, LABEL)
    p, _ = cfg(5.0)(mixture)(noise(4, 2), 0.5, LABEL)
    torch.testing.assert_close(q.x, p.x)
    torch.testing.assert_close(q.eps, p.eps)
    assert memory is None
    x_t = joint.process.corrupt(joint.sample_data(4, Stream.of(0, 4)), 0.5, Stream.of(1, 4))
    condition = {"label": torch.tensor([0, 1, 1, 0])}
    q, p = (g(joint)(x_t, 0.5, condition)[0] for g in (apg(5.0, eta=1.0), cfg(5.0)))
    torch.testing.assert_close(q["positions"].x, p["positions"].x)
    torch.testing.assert_close(q["types"].logits, p["types"].logits)
    torch.testing.assert_close(q["frames"].vector, p["frames"].vector)


def test_the_update_is_across_the_estimate_and_no_longer_than_its_norm(network, noise) -> None:
    x, condition = noise(3, 4, 2), {"label": torch.tensor([0, 1, 2])}
    c, _ = network(x, 0.5, condition)
    q, _ = apg(5.0, norm=0.1)(network)(x, 0.5, condition)
    update = (q.x - c.x).flatten(1) / 4
    assert (update * c.x.flatten(1)).sum(1).abs().max() < 1e-12
    assert (update.norm(dim=1) <= 0.1 + 1e-12).all()
    torch.testing.assert_close(0.5 * q.x + 0.5 * q.eps, x)


def test_it_is_that_of_diffusers(mixture, noise) -> None:
    reference = pytest.importorskip("diffusers.guiders.adaptive_projected_guidance")
    buffer, memory = reference.MomentumBuffer(-0.75), None
    g = apg(7.5, eta=0.2, norm=0.3, momentum=-0.75)(mixture)
    for i, t in enumerate((0.9, 0.6, 0.3)):
        x = noise(4, 2, seed=i)
        q, memory = g(x, t, LABEL, memory=memory)
        c, u = mixture(x, t, LABEL)[0].x, mixture(x, t)[0].x
        # its formula adds the whole scale to c; ours counts weight 1 as unguided
        expected = reference.normalized_guidance(c, u, 6.5, buffer, 0.2, 0.3, use_original_formulation=True)
        torch.testing.assert_close(q.x, expected)


def run(d, seed: int, **more):
    return sample(
        d, Single(0.0), GRID, Stream.of(seed, 4), like=torch.zeros(4, 2).double(), condition=LABEL, **more
    )


def test_interleaved_trajectories_are_two_separate_ones(mixture) -> None:
    d = apg(6.0, momentum=-0.5, interval=(0.2, 0.9))(mixture)
    alone = [[step.x for step in run(d, seed)] for seed in (0, 1)]
    both = list(zip(run(d, 0), run(d, 1)))
    for k in (0, 1):
        assert all(torch.equal(pair[k].x, x) for pair, x in zip(both, alone[k]))
    still = [step.x for step in run(apg(6.0, interval=(0.2, 0.9))(mixture), 0)]
    assert not torch.allclose(alone[0][-1], still[-1])


def test_a_resumed_run_goes_on_exactly(mixture) -> None:
    d = apg(6.0, momentum=-0.5)(mixture)
    *_, whole = run(d, 0)
    part = next(itertools.islice(run(d, 0), 3, None))
    assert all(value.shape[0] == 4 for value in part.memory.values())
    *_, rest = run(d, 0, resume=part)
    assert torch.equal(rest.x, whole.x)


def test_nested_momenta_do_not_mix(mixture) -> None:
    """The inner one's average of each condition is its own, whatever stands around it."""
    inner = apg(3.0, momentum=-0.5)
    one = [step.x for step in run(chain(inner, apg(1.0, momentum=0.9))(mixture), 0)]
    assert torch.equal(one[-1], [step.x for step in run(inner(mixture), 0)][-1])
    nested = chain(inner, apg(2.0, momentum=0.9, eta=1.0))(mixture)
    *_, last = sample(nested, Heun(), GRID, Stream.of(0, 4), like=torch.zeros(4, 2).double(), condition=LABEL)
    assert len(last.memory) > 1 and last.x.isfinite().all()


def test_an_average_outlasts_a_call_that_does_not_ask_for_it(mixture, noise) -> None:
    g, x = apg(3.0, momentum=0.5)(mixture), noise(4, 2)
    _, memory = g.many(x, 0.9, [LABEL, {"label": LABEL["label"].flip(0)}])
    _, later = g(x, 0.8, LABEL, memory=memory)
    assert set(later) == set(memory) and len(memory) == 2
    assert torch.equal(later["apg.1."], memory["apg.1."]) and not torch.equal(
        later["apg.0."], memory["apg.0."]
    )
