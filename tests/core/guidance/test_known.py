"""Known elements: exact at the end, on the straight path before it, in every leaf; cut with the rows of a run."""

from __future__ import annotations

import pytest
import torch

from langevin.core import so3
from langevin.core.denoiser import Denoiser
from langevin.core.guidance import cfg, chain, known
from langevin.core.guidance.base import at_rows
from langevin.core.keep import paste
from langevin.core.posteriors import Categorical, Point, Tangent
from langevin.core.processes import Gaussian, Geodesic, Rotations, Torus
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample

LABEL = {"label": torch.tensor([0, 1, 1, 0])}


def given_elements(joint) -> tuple[dict, dict]:
    """Clean states of the product, and some elements of each leaf."""
    x = joint.sample_data(4, Stream.of(5, 4))
    return x, {name: torch.arange(part.shape[1]).expand(4, -1) % 2 == 0 for name, part in x.items()}


def test_the_belief_is_what_is_known_where_it_is_known_and_untouched_elsewhere(joint) -> None:
    x, chosen = given_elements(joint)
    x_t = joint.process.corrupt(x, 0.6, Stream.of(6, 4))
    before, _ = joint(x_t, 0.6, LABEL)
    after, _ = known(x, chosen)(joint)(x_t, 0.6, LABEL)
    for name, where in chosen.items():
        a, b = before[name], after[name]
        if isinstance(b, Point):
            alpha, sigma = b.schedule.at(b.t)
            assert torch.equal(b.x[where], x[name][where]) and torch.equal(b.x[~where], a.x[~where])
            torch.testing.assert_close(alpha * b.x + sigma * b.eps, x_t[name])
        elif isinstance(b, Categorical):
            one_hot = torch.nn.functional.one_hot(x[name], b.logits.shape[-1]).to(b.logits)
            assert torch.equal(b.probabilities[where], one_hot[where])
            assert torch.equal(b.logits[~where], a.logits[~where])
        else:
            assert isinstance(b, Tangent)
            assert torch.equal(b.vector[~where], a.vector[~where])
            assert not torch.equal(b.vector[where], a.vector[where])


def test_sampling_ends_at_what_is_known(joint) -> None:
    x, chosen = given_elements(joint)
    denoiser = chain(cfg(2.0), known(x, chosen))(joint)
    *_, last = sample(denoiser, Single(0.0), [1.0, 0.7, 0.3, 0.0], Stream.of(7, 4), like=x, condition=LABEL)
    exact = paste(last.x, x, chosen)
    assert torch.equal(last.x["types"], exact["types"])
    torch.testing.assert_close(last.x["positions"], exact["positions"].to(last.x["positions"]))


class Still(Denoiser):
    """Believes in no motion, in ``width`` numbers for each element."""

    def __init__(self, process, *width: int) -> None:
        self.process, self.width = process, width

    def __call__(self, x_t, t, condition=None, mask=None, memory=None):
        return Tangent(x_t.new_zeros(*x_t.shape[:2], *self.width), x_t), memory


def test_the_vector_to_a_known_angle_is_the_short_way() -> None:
    x_t, value = torch.tensor([[3.0, 1.0]]), torch.tensor([[-3.0, 0.0]])
    belief, _ = known(value, torch.tensor([[True, False]]))(Still(Torus()))(x_t, 0.5)
    torch.testing.assert_close(belief.vector, torch.tensor([[2 * torch.pi - 6, 0.0]]))


def test_the_vector_to_a_known_rotation_leads_there_along_the_geodesic() -> None:
    x = so3.exp(torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    process = Rotations(Geodesic())
    x_t = process.corrupt(x, 0.4, Stream.of(0, 2))
    belief, _ = known(x, torch.ones(2, 3, dtype=torch.bool))(Still(process, 3))(x_t, 0.4)
    torch.testing.assert_close(x_t @ so3.exp(belief.vector), x)


def test_many_conditions_share_one_batch_and_rows_are_counted(mixture, noise, counting) -> None:
    d, x = counting(mixture), noise(4, 2)
    g = known(x, torch.tensor([[True, False]] * 4))(cfg(2.0)(d))
    beliefs, _ = g.many(x, 0.5, [LABEL, {}])
    assert len(d.calls) == 1 and g.rows(0.5) == 2
    assert all(torch.equal(b.x[:, 0], x[:, 0]) for b in beliefs)


def test_rows_of_a_run_are_cut_and_a_lone_row_serves_all(mixture, noise) -> None:
    x, where = noise(4, 2), torch.tensor([[True, False]])
    whole = known(x, where.expand(4, 2))(mixture)(noise(4, 2, seed=1), 0.5)[0].x
    part = at_rows(known(x, where), slice(1, 3), 4)(mixture)(noise(4, 2, seed=1)[1:3], 0.5)[0].x
    torch.testing.assert_close(part, whole[1:3])
    lone = known(x[:1], where)
    assert torch.equal(lone.at(slice(1, 3), 4)(mixture)(noise(2, 2), 0.5)[0].x[:, 0], x[0, 0].expand(2))
    with pytest.raises(ValueError, match="have 4 rows for 5 samples; give one"):
        known(x, where).at(slice(0, 2), 5)


def test_names_that_are_no_leaf_are_refused(joint, mixture) -> None:
    x, chosen = given_elements(joint)
    with pytest.raises(KeyError, match="did you mean 'types'"):
        known(x, {"type": chosen["types"]})(joint)
    assert isinstance(mixture.process, Gaussian) and "tensor" not in repr(known(x, chosen))
