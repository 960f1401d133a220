"""A network that sees its own last belief, and noise that is wider than its clock says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from langevin.assembly import build_model
from langevin.core.denoiser import NetworkDenoiser
from langevin.core.guidance import cfg
from langevin.core.losses import Objective
from langevin.core.processes import Discrete, Gaussian, Product, Rotations
from langevin.core.recall import believed, remembered, shown_twice
from langevin.core.rng import Stream
from langevin.core.samplers import Particles, Restart, Single, sample
from langevin.core.schedules import Linear
from langevin.core.training.distortion import distorted
from langevin.core.training.loss import losses

MOLECULES = {
    "modality": {"name": "molecule", "sizes": {"4": 1, "6": 1}},
    "network": {
        "name": "dit", "width": 16, "depth": 1, "heads": 2, "axes": 0, "modulation": "shared", "pair_width": 8,
    },
}  # fmt: skip


def _moved(network: torch.nn.Module, seed: int = 0) -> None:
    """Weights that are nowhere 0, so that nothing is silent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def _model(recall: float, moved: bool = True):
    model = build_model({**MOLECULES, "objective": {"recall": recall}})
    if moved:
        _moved(model.network)
    return model


def _state(model, rows: int = 3, t: float = 0.5):
    rng = Stream.of(0, rows)
    like, mask = model.modality.blank(range(rows), rng, {}, model.modality.spec())
    like["bonds"][:, 0, 1] = like["bonds"][:, 1, 0] = 1
    clean = model.process.prior(like, rng.fold("clean"), mask)
    x = {**like, "positions": clean["positions"]}
    return x, model.process.corrupt(x, t, rng, mask=mask), mask, rng


def test_layers_of_the_belief_are_silent_at_first_and_trained_ones_are_not() -> None:
    plain, recalling = _model(0.0, moved=False), _model(0.5, moved=False)
    weights = plain.network.state_dict()
    assert set(weights) < set(recalling.network.state_dict())
    recalling.network.load_state_dict(weights, strict=False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # heads are 0 at first too: both networks get the same others
        for name, parameter in recalling.network.named_parameters():
            if name in weights:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
                dict(plain.network.named_parameters())[name].copy_(parameter)
    _, x_t, mask, _ = _state(plain)
    expected, _ = plain.denoiser(x_t, 0.5, {}, mask)
    first, memory = recalling.denoiser(x_t, 0.5, {}, mask)
    second, _ = recalling.denoiser(x_t, 0.5, {}, mask, memory)
    for belief in (first, second):
        assert torch.equal(belief["positions"].x, expected["positions"].x)
        assert torch.equal(belief["bonds"].logits, expected["bonds"].logits)
    _moved(recalling.network)
    first, memory = recalling.denoiser(x_t, 0.5, {}, mask)
    second, _ = recalling.denoiser(x_t, 0.5, {}, mask, memory)
    assert not torch.allclose(first["positions"].x, second["positions"].x, atol=1e-4)


def test_the_memory_is_the_last_belief() -> None:
    model = _model(0.5)
    _, x_t, mask, _ = _state(model)
    belief, memory = model.denoiser(x_t, 0.5, {}, mask)
    last = remembered(model.process, memory)
    assert last is not None and last.rows is None
    assert torch.equal(last.state["positions"], belief["positions"].x)
    assert torch.allclose(last.state["bonds"].sum(-1), torch.ones(()))
    assert _model(0.0).denoiser(x_t, 0.5, {}, mask)[1] is None


def test_near_the_data_a_model_may_draw_without() -> None:
    model = _model(0.5)
    _, x_t, mask, _ = _state(model)
    _, memory = model.denoiser(x_t, 0.5, {}, mask)
    alone, _ = model.denoiser(x_t, 0.5, {}, mask)
    for recall, same in ((0.4, False), (0.6, True)):
        belief, _ = replace(model.denoiser, recall=recall)(x_t, 0.5, {}, mask, memory)
        assert torch.equal(belief["positions"].x, alone["positions"].x) == same
    clocks = {**dict.fromkeys(x_t, 0.3), "bonds": 0.7}  # the latest counts
    belief, _ = replace(model.denoiser, recall=0.6)(x_t, clocks, {}, mask, memory)
    assert not torch.equal(belief["positions"].x, model.denoiser(x_t, clocks, {}, mask)[0]["positions"].x)
    with pytest.raises(ValueError, match="recall must be a time from 0 to 1"):
        build_model({**MOLECULES, "sampling": {"recall": 2}})
    told = {**MOLECULES, "sampling": {"recall": 0.3}}
    assert build_model({**told, "objective": {"recall": 0.5}}).denoiser.recall == 0.3
    with pytest.raises(ValueError, match="recall is for models that see their last answer"):
        build_model(told)


def test_beliefs_on_manifolds_are_shown_as_points() -> None:
    from langevin.core import so3

    process, rng = Rotations(), Stream.of(0, 4)
    x = so3.uniform(torch.zeros(4, 5, 3, 3), rng)
    x_t = process.corrupt(x, 0.3, rng)
    exact = process.posterior(so3.log(x_t.mT @ x), x_t, 0.3)
    assert torch.allclose(believed(exact), x, atol=1e-5)


def test_rows_that_were_not_asked_twice_see_nothing() -> None:
    model = _model(0.5)
    _, x_t, mask, rng = _state(model, rows=8)
    memory = shown_twice(model.denoiser, 0.5, x_t, 0.5, {}, rng, mask)
    rows = remembered(model.process, memory).rows
    assert 0 < int(rows.sum()) < 8
    alone, _ = model.denoiser(x_t, 0.5, {}, mask)
    both, _ = model.denoiser(x_t, 0.5, {}, mask, memory)
    same = (alone["positions"].x - both["positions"].x).abs().flatten(1).amax(1) < 1e-6
    assert torch.equal(same, ~rows)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_first_answer_leaves_every_gradient(precision: torch.dtype) -> None:
    """Autocast keeps copies of weights that it made where no gradient was wanted; those must not be used again."""
    model = _model(1.0)
    x, x_t, mask, rng = _state(model)

    def gradients(memory):
        model.network.zero_grad()
        belief, _ = model.denoiser(x_t, 0.5, {}, mask, memory)
        model.process.loss(belief, x, x_t, 0.5, rng, model.objective.kinds(model.process), mask)[
            "positions"
        ].sum().backward()
        return {n: p.grad.clone() for n, p in model.network.named_parameters() if p.grad is not None}

    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        memory = shown_twice(model.denoiser, 1.0, x_t, 0.5, {}, rng, mask)
        first = gradients(shown_twice(model.denoiser, 1.0, x_t, 0.5, {}, rng, mask))
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        second = gradients(memory)
    assert first.keys() == second.keys() and any("qkv" in name for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_shows_beliefs_and_is_repeatable() -> None:
    model = _model(0.5)
    x, _, mask, rng = _state(model, rows=6)
    couple, parts = model.modality.couple, model.modality.parts

    def loss(objective: Objective) -> torch.Tensor:
        return losses(model.denoiser, objective, x, {}, rng, mask, couple=couple, parts=parts)[0]

    shown = loss(Objective(recall=0.5, given=0.5))
    assert torch.equal(shown, loss(Objective(recall=0.5, given=0.5)))
    assert not torch.equal(shown, loss(Objective(given=0.5)))


def test_samplers_guidance_and_batches_carry_the_belief() -> None:
    node = {**MOLECULES, "objective": {"recall": 0.5}}
    node["modality"] = {**node["modality"], "conditions": {"logp": {"name": "number", "width": 16}}}
    model = build_model(node)
    _moved(model.network)
    one = model.sample(4, logp=1.0, guidance=2.0, steps=4, seed=0, batch_size=4)
    two = model.sample(4, logp=1.0, guidance=2.0, steps=4, seed=0, batch_size=1)
    assert torch.allclose(one.state["positions"], two.state["positions"], atol=1e-4)
    apart = model.sample(4, logp=1.0, guidance=cfg(2.0, batched=False), steps=4, seed=0)
    assert torch.allclose(one.state["positions"], apart.state["positions"], atol=1e-4)
    model.network.recalls = False
    without = model.sample(4, logp=1.0, guidance=2.0, steps=4, seed=0)
    assert not torch.allclose(one.state["positions"], without.state["positions"], atol=1e-4)


def test_resampled_particles_take_their_beliefs_along() -> None:
    seen = []

    def network(x, t, condition, mask, belief=None):
        seen.append((x, None if belief is None else belief.state))
        return torch.zeros_like(x)  # velocity 0: the belief is the state itself

    network.recalls = True
    denoiser = NetworkDenoiser(network, Gaussian(Linear()))
    steered = Particles(lambda x: x[:, 0], 4, Single(0.1), strength=1.0, begin=1.0, rounds=0)
    rng = Stream.of(0, 3).particles(4)
    for _ in sample(denoiser, steered, [1.0, 0.9, 0.0], rng, x=10 * torch.arange(12.0)[:, None]):
        pass
    (first, nothing), (second, belief) = seen
    assert nothing is None
    assert not torch.equal(first, belief)  # some were resampled,
    assert torch.equal((second / 10).round(), belief / 10)  # and with velocity 0 states hardly move


def test_a_descent_that_is_over_is_forgotten() -> None:
    """Each passage of a restart, and each round of particles, begins without a belief, resumed or not."""
    shown: list[bool] = []

    def network(x, t, condition, mask, belief=None):
        shown.append(belief is not None)
        return torch.zeros_like(x)

    network.recalls = True
    denoiser, rng, like = NetworkDenoiser(network, Gaussian(Linear())), Stream.of(0, 2), torch.zeros(2, 1)
    restart = Restart(Single(0.0), low=0.0, high=0.5, times=2)
    steps = list(sample(denoiser, restart, [1.0, 0.5, 0.25, 0.0], rng, like=like))
    assert shown == [False, True, True, False, True, False, True]
    shown.clear()
    ended = next(step for step in steps if step.move.s == 0)
    list(sample(denoiser, restart, [1.0, 0.5, 0.25, 0.0], rng, resume=ended))
    assert shown == [False, True, False, True]
    shown.clear()
    rounds = Particles(lambda x: x[:, 0], 2, Single(0.0), strength=None, begin=0.0, rounds=1, back=0.5)
    list(sample(denoiser, rounds, [1.0, 0.5, 0.25, 0.0], rng.particles(2), like=torch.zeros(4, 1)))
    assert shown == [False, True, True, False, True]


def test_wider_noise_is_what_corrupt_and_loss_both_see() -> None:
    process = Product(a=Gaussian(Linear(), centred=True), b=Discrete(3, Linear()))
    wide = distorted(process, 2.0)
    rng = Stream.of(0, 400)
    x = {"a": torch.zeros(400, 8, 3), "b": torch.zeros(400, 8, dtype=torch.long)}
    x_t = wide.corrupt(x, 0.5, rng)
    plain = process.corrupt(x, 0.5, rng)
    assert torch.equal(x_t["b"], plain["b"])
    assert torch.allclose(x_t["a"].mean(1), torch.zeros(()), atol=1e-5)
    moved = (x_t["a"] - plain["a"]).abs().flatten(1).amax(1) > 1e-6
    assert (
        0.4 < moved.float().mean() < 0.56
    )  # half of the samples, nearly all of these with a displaced element
    exact = wide.posterior({"a": x_t["a"] * 2, "b": torch.zeros(400, 8, 3)}, x_t, 0.5)
    loss = wide.loss(exact, x, x_t, 0.5, rng, {"a": "velocity", "b": None})["a"]
    assert loss.abs().max() < 1e-8  # with x = 0 the velocity is eps' = x_t / sigma
    assert process.loss(exact, x, x_t, 0.5, rng, {"a": "velocity", "b": None})["a"].max() > 0.1
    assert distorted(process, 0.0) is process


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="recall must be a share"):
        Objective(recall=2)
    with pytest.raises(ValueError, match="distortion must be a finite number"):
        Objective(distortion=-1.0)
