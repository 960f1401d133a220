"""What a run costs, and what a call may ask for: counts over batches, gradients, steering, seeds, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin.assembly import build_model

CONFIG = {
    "name": "tiny",
    "modality": {
        "name": "image",
        "codec": {"name": "pixels", "size": 8},
        "patch": 4,
        "conditions": {"label": {"name": "class", "classes": 3, "width": 16}},
    },
    "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
    "sampling": {"steps": 3},
}
G = lv.guidance


@pytest.fixture(scope="module")
def model() -> lv.Model:
    model = build_model(CONFIG)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.network.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model


def passes(model: lv.Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every pass through the network from here on."""
    seen: list[int] = []
    forward = type(model.network).forward

    def watched(self: Any, x_t: torch.Tensor, *rest: Any) -> Any:
        seen.append(x_t.shape[0])
        return forward(self, x_t, *rest)

    monkeypatch.setattr(type(model.network), "forward", watched)
    return seen


def test_an_adaptive_run_counts_all_its_batches(model: lv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"sampler": lv.samplers.Adaptive(rtol=0.3, atol=0.3), "label": 1, "guidance": 3.0}
    seen, each = passes(model, monkeypatch), []
    run = model.sample(4, batch_size=1, watch=lambda step: each.append(step.evaluations), **settings).run
    assert each[-1] < max(each)  # the last batch is not the longest
    assert run.evaluations == max(each) and run.network_rows == sum(seen) == 2 * sum(each)
    seen.clear()
    assert model.sample(4, batch_size=3, **settings).run.network_rows == sum(seen)


def test_a_batch_that_ran_out_of_memory_is_not_counted(
    model: lv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = type(model.network).forward, []

    def narrow(self: Any, x_t: torch.Tensor, *rest: Any) -> Any:
        calls.append(x_t.shape[0])
        if x_t.shape[0] > 2 and len(calls) == 2:  # in the second step of the first batch
            raise torch.OutOfMemoryError
        return forward(self, x_t, *rest)

    monkeypatch.setattr(type(model.network), "forward", narrow)
    run = model.sample(4, steps=3).run
    assert calls[:2] == [4, 4] and (run.network_rows, run.evaluations) == (12, 3)


def toward(x: torch.Tensor, t: Any) -> torch.Tensor:
    return x.flatten(1).mean(1)


@pytest.mark.parametrize(
    ("guidance", "gradients"),
    [
        (1.0, 0),
        (G.cfg(2.0), 0),
        (G.classifier(toward), 4),
        (G.classifier(toward, on="x"), 4),
        (G.classifier(toward, 0.0), 0),
        (G.classifier(toward, interval=(0.0, 0.6)), 2),
        (G.chain(G.classifier(toward), G.cfg(2.0)), 4),
        (G.chain(G.classifier(toward, on="x"), G.cfg(2.0)), 8),
        (G.chain(G.classifier(toward, on="x"), G.compose({"label": 2.0})), 8),
        (G.chain(G.cfg(2.0), G.classifier(toward, on="x")), 4),
        (G.chain(G.classifier(toward), G.classifier(toward, on="x")), 8),
    ],
)
def test_backward_passes_are_the_gradients_taken(
    model: lv.Model, monkeypatch: pytest.MonkeyPatch, guidance: Any, gradients: int
) -> None:
    taken: list[int] = []
    grad = torch.autograd.grad

    def counted(*args: Any, **given: Any) -> Any:
        taken.append(1)
        return grad(*args, **given)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    run = model.sample(2, label=1, guidance=guidance, steps=4, grid="uniform").run
    assert run.backward_passes == gradients == len(taken)


def test_the_weak_model_of_autoguidance_counts(model: lv.Model) -> None:
    weak = G.classifier(toward)(model.denoiser)
    assert model.sample(1, guidance=G.autoguidance(weak, 2.0), steps=4).run.backward_passes == 4


def brightness(items: list[Any]) -> list[float]:
    return [float(np.asarray(item).mean()) / 255 for item in items]


@pytest.mark.parametrize(
    "how",
    [
        {"strength": 20.0, "begin": 1.0, "rounds": 0, "sampler": "dpm++2m-sde"},
        {"strength": 20.0, "rounds": 2, "sampler": "dpm++2m-sde"},
        {"rounds": 2, "sampler": "heun"},
    ],
)
def test_steering_in_batches_is_steering_at_once(
    model: lv.Model, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"particles": 3, "steps": 5, "guidance": 2.0}
    settings |= {"label": [0, 1, 2], "negative": {"label": [1, 2, 0]}, **how}
    seen = passes(model, monkeypatch)
    whole = model.steer(brightness, **settings)
    assert whole.run.network_rows == sum(seen) == 3 * 3 * whole.run.evaluations * 2 and max(seen) == 18
    assert whole.run.steps == 5 and whole.run.sampler == how["sampler"] and whole.run.particles == 3
    assert whole.run.negative == {"label": [1, 2, 0]}
    seen.clear()
    split = model.steer(brightness, batch_size=1, **settings)
    torch.testing.assert_close(split.state, whole.state, atol=1e-5, rtol=0)
    assert max(seen) == 6 and split.conditions == whole.conditions
    told, same = (run.run.options["steering"] for run in (split, whole))
    for name, value in same.items():
        assert told[name] == pytest.approx(value, abs=2e-4), name


def test_steering_on_the_way_down_needs_a_sampler_that_draws(model: lv.Model) -> None:
    with pytest.raises(ValueError, match="stochastic inner sampler"):
        model.steer(brightness, sampler="heun", strength=1.0, begin=0.5)
    for wrong, says in (
        ({"particles": 0}, "at least 2 particles"),
        ({"begin": 0.5}, "give one, or begin=0"),
        ({"choose": "weight"}, "choose='best'"),
        ({"choose": "bes"}, "did you mean 'best'"),
    ):
        with pytest.raises(ValueError, match=says):
            model.steer(brightness, **wrong)
    with pytest.raises(ValueError, match="one number for each of the 8 objects"):
        model.steer(lambda items: 1.0, steps=2)
    with pytest.raises(ValueError, match="not finite"):
        model.steer(lambda items: [float("nan")] * len(items), steps=2)


def test_without_a_strength_the_best_that_was_judged_is_returned(model: lv.Model) -> None:
    seen: list[float] = []

    def reward(items: list[Any]) -> list[float]:
        seen.extend(brightness(items))
        return brightness(items)

    found = model.steer(reward, 1, particles=4, steps=4, rounds=3)
    assert brightness(list(found)) == [max(seen)] and len(seen) == 4 * 4 and max(seen) > max(seen[:4])
    told = found.run.options["steering"]
    assert told["judged"] == 16 and told["undecoded"] == 0 and told["time"] == [0.0] * 4
    assert len(told["ess"]) == len(told["lineages"]) == len(told["different"]) == 4
    assert len(told["accepted"]) == 3 and "log_normaliser" not in told
    assert found.run.evaluations == 4 + 3 * 2


def test_a_budget_of_evaluations_holds_all_rounds(model: lv.Model) -> None:
    found = model.steer(brightness, 1, particles=2, evaluations=20, rounds=4, back=0.5)
    assert found.run.evaluations == 19 and found.run.steps == 7  # 7 + 4 · 3; of 8 steps 4 are below
    with pytest.raises(ValueError, match="fits in 3 evaluations"):
        model.steer(brightness, 1, particles=2, evaluations=3, rounds=4, back=0.5)


def test_of_particles_one_is_drawn_by_weight_or_the_best_taken(model: lv.Model) -> None:
    settings: dict[str, Any] = {"particles": 4, "strength": 1e-3, "rounds": 0, "steps": 3, "seed": 2}
    drawn, best = (brightness(list(model.steer(brightness, 6, choose=c, **settings))) for c in (None, "best"))
    assert all(a <= b for a, b in zip(drawn, best)) and drawn != best


def test_what_cannot_be_decoded_has_the_floor_and_is_counted(
    model: lv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = type(model.modality).decode
    dark = sorted(brightness(list(model.sample(32, sampler="ddpm", steps=3))))[16]

    def some(self: Any, state: Any, mask: Any = None) -> list[Any]:
        items = decode(self, state, mask)
        return [lv.Failure("too bright") if b > dark else item for item, b in zip(items, brightness(items))]

    monkeypatch.setattr(type(model.modality), "decode", some)
    found = model.steer(brightness, 8, particles=8, rounds=0, steps=3, sampler="ddpm")
    told = found.run.options["steering"]
    assert 0 < told["undecoded"] < told["judged"] == 64
    assert not found.failures and "reward_floor" not in found.run.options
    refused = model.steer(brightness, 8, particles=8, rounds=0, steps=3, sampler="ddpm", floor=2.0)
    assert len(refused.failures) > 4 and refused.run.options["reward_floor"] == 2.0
    passed: list[bool] = []
    model.steer(
        lambda items: [passed.append(isinstance(i, lv.Failure)) or 0.0 for i in items],
        8,
        particles=8,
        rounds=0,
        steps=3,
        sampler="ddpm",
        floor=None,
    )
    assert len(passed) == 64 and any(passed)


@pytest.mark.parametrize("seed", [-1, 2**64, True, 1.0, "1"])
def test_a_seed_is_a_whole_number_of_64_bits(model: lv.Model, seed: Any) -> None:
    for verb in (
        lambda: model.sample(1, seed=seed),
        lambda: model.steer(brightness, seed=seed),
        lambda: model.score(Image.new("RGB", (8, 8)), seed=seed),
    ):
        with pytest.raises((ValueError, TypeError), match="seed must"):
            verb()


@pytest.mark.parametrize("size", [0, -1, True, 2.0])
def test_a_batch_has_at_least_one_row(model: lv.Model, size: Any) -> None:
    for verb in (model.sample, lambda **given: model.steer(brightness, **given)):
        with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
            verb(batch_size=size)


@pytest.mark.parametrize("label", [True, np.True_, torch.tensor(True), [False]])
def test_a_truth_is_no_class(model: lv.Model, label: Any) -> None:
    with pytest.raises(ValueError, match="is not a class"):
        model.sample(1, label=label)


def test_a_text_is_one_path(model: lv.Model, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    picture.save(tmp_path / "00000.png")
    path = str(tmp_path / "00000.png")
    drawn = model.sample(start=path, strength=0.5)
    assert len(drawn) == 1
    assert torch.equal(drawn.state, model.sample(start=picture, strength=0.5).state)
    assert len(model.sample(2, start=Path(path))) == 2 and len(model.invert(path, steps=1)) == 1
    kept = model.sample(like=path, keep=lv.keep.box(0, 0, 4, 8))[0]
    assert kept.crop((0, 0, 8, 4)).tobytes() == picture.crop((0, 0, 8, 4)).tobytes()
    with pytest.raises(ValueError, match="no-such"):
        model.sample(start="no-such.png")


def test_a_size_does_not_go_with_what_has_one(model: lv.Model) -> None:
    picture, keep = Image.new("RGB", (8, 8)), lv.keep.border(2)
    with pytest.raises(ValueError, match="start says what shape the samples have; leave out height, width"):
        model.sample(start=picture, height=16, width=16)
    with pytest.raises(ValueError, match="like says what shape .*; leave out width"):
        model.sample(like=picture, keep=keep, width=16)
    noise = model.invert(picture, steps=1)
    with pytest.raises(ValueError, match="noise has states of .*leave the size to the noise"):
        model.sample(noise=noise, height=16)
    assert len(model.sample(noise=noise, height=8, width=8)) == 1
    with pytest.raises(ValueError, match="noise has 1 states for 2 samples"):
        model.sample(2, noise=noise)
