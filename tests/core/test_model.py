"""The verbs of a model, on a small untrained one: what holds whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin.assembly import build_model

CONFIG = {
    "name": "tiny",
    "licence": "Apache-2.0",
    "modality": {
        "name": "image",
        "codec": {"name": "pixels", "size": 8, "channels": 3},
        "patch": 2,
        "conditions": {
            "label": {"name": "class", "classes": 3, "width": 32},
            "prompt": {"name": "text", "width": 32, "depth": 1, "length": 32, "heads": 2, "vector_width": 32},
        },
    },
    "network": {"name": "dit", "width": 32, "depth": 2, "heads": 2, "modulation": "shared"},
    "drop": {"label": 0.1, "prompt": 0.1},
    "sampling": {"steps": 4, "guidance": 2.0},
}


@pytest.fixture(scope="module")
def model() -> lv.Model:
    model = build_model(CONFIG)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # zero-initialised gates and heads would make every belief the same
        for p in model.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_sample_does_not_depend_on_how_many_there_are_or_on_the_batch_size(model: lv.Model) -> None:
    many = model.sample(5, label=[0, 1, 2, 0, 1], seed=3, sampler="ddpm")
    split = model.sample(5, label=[0, 1, 2, 0, 1], seed=3, sampler="ddpm", batch_size=2)
    few = model.sample(2, label=[0, 1], seed=3, sampler="ddpm")
    torch.testing.assert_close(split.state, many.state, atol=1e-5, rtol=0)
    torch.testing.assert_close(few.state, many.state[:2], atol=1e-5, rtol=0)
    assert not torch.allclose(many.state[0], many.state[3])


def test_running_out_of_memory_halves_the_batch_and_changes_no_sample(
    model: lv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.sample(5, label=1)
    forward, seen = type(model.network).forward, []

    def narrow(self, x_t, *rest):  # type: ignore[no-untyped-def]
        seen.append(x_t.shape[0])
        if x_t.shape[0] > 4:  # two rows for each sample under guidance
            raise torch.OutOfMemoryError
        return forward(self, x_t, *rest)

    monkeypatch.setattr(type(model.network), "forward", narrow)
    torch.testing.assert_close(model.sample(5, label=1).state, whole.state, atol=1e-5, rtol=0)
    assert max(seen) > 4 >= seen[-1]


def test_seeds_reproduce_and_differ(model: lv.Model) -> None:
    a, b, c = (model.sample(2, seed=seed).state for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)


def test_kept_pixels_are_the_users_own_and_the_rest_is_generated(
    model: lv.Model, picture: Image.Image
) -> None:
    keep = lv.keep.box(0, 0, 4, 8)
    for sampler in ("angle", "ddpm", "heun", "dpm++2m", "unipc"):
        made = model.sample(2, like=picture, keep=keep, sampler=sampler, label=1)
        for item in made:
            assert np.array_equal(np.asarray(item)[:4], np.asarray(picture)[:4])
            assert not np.array_equal(np.asarray(item)[4:], np.asarray(picture)[4:])
    outside = model.sample(1, like=picture, keep=~keep)
    assert np.array_equal(np.asarray(outside[0])[4:], np.asarray(picture)[4:])


def test_a_variation_goes_to_its_origin_as_the_amount_goes_to_zero(
    model: lv.Model, picture: Image.Image
) -> None:
    x = model.modality.encode([picture])[0]
    grid = [1.0, 0.8, 0.5, 0.2, 0.02, 0.0]
    distances = [
        (model.sample(4, start=picture, strength=s, grid=grid).state - x).abs().mean().item()
        for s in (0.02, 0.2, 0.8)
    ]
    assert distances[0] < 0.1 < distances[2]
    assert distances == sorted(distances)


def test_strength_spends_all_steps_below_it(model: lv.Model, picture: Image.Image) -> None:
    made = model.sample(1, start=picture, strength=0.5, steps=6, sampler="euler")
    assert made.run.evaluations == 6
    explicit = model.sample(1, start=picture, strength=0.5, grid=[1.0, 0.7, 0.45, 0.2, 0.0])
    assert explicit.run.evaluations == 2  # from 0.45, the time nearest to 0.5
    assert made.run.options["strength"] == 0.5


def test_inversion_and_sampling_return_the_picture(model: lv.Model, picture: Image.Image) -> None:
    noise = model.invert(picture, steps=200)
    back = model.sample(noise=noise, grid=lv.grids.uniform(200), guidance=1.0)
    x = model.modality.encode([picture])[0]
    assert (back.state - x).abs().max() < 0.02


def test_interpolation_ends_at_its_ends(model: lv.Model, picture: Image.Image) -> None:
    other = Image.fromarray(255 - np.asarray(picture))
    path = model.interpolate(picture, other, 5, steps=150)
    ends = model.modality.encode([picture, other])[0]
    assert (path.state[0] - ends[0]).abs().max() < 0.05
    assert (path.state[-1] - ends[1]).abs().max() < 0.05
    assert len(path) == 5


def test_steering_raises_the_reward(model: lv.Model) -> None:
    def reward(items: list[Image.Image]) -> list[float]:
        return [float(np.asarray(item).mean()) / 255 for item in items]

    plain = reward(list(model.sample(16, steps=10, sampler="ddpm", guidance=1.0)))
    steered = reward(list(model.steer(reward, 16, particles=8, strength=200.0, steps=10, guidance=1.0)))
    assert np.mean(steered) > np.mean(plain) + 0.01


def test_an_evaluation_budget_is_the_largest_plan_that_fits(model: lv.Model) -> None:
    assert model.sample(1, evaluations=9, sampler="heun").run.evaluations == 9
    assert model.sample(1, evaluations=8, sampler="heun").run.evaluations == 7
    assert model.sample(1, evaluations=8, sampler="euler").run.evaluations == 8


def test_guidance_of_one_costs_one_row_and_more_costs_two(model: lv.Model) -> None:
    assert model.sample(3, label=1, steps=4, guidance=1.0).run.network_rows == 12
    assert model.sample(3, label=1, steps=4, guidance=3.0).run.network_rows == 24


def test_a_negative_prompt_changes_what_is_drawn(model: lv.Model) -> None:
    plain = model.sample(2, prompt="a cat").state
    away = model.sample(2, prompt="a cat", negative="a dog").state
    named = model.sample(2, prompt="a cat", negative={"prompt": "a dog"}).state
    assert not torch.allclose(plain, away)
    torch.testing.assert_close(away, named)


def test_a_negative_condition_that_would_do_nothing_is_refused(model: lv.Model) -> None:
    with pytest.raises(ValueError, match=r"at guidance=1 a negative condition has no effect"):
        model.sample(2, prompt="a cat", negative="a dog", guidance=1.0)


def same(a, b) -> None:  # type: ignore[no-untyped-def]
    torch.testing.assert_close(a.state, b.state, atol=1e-5, rtol=0)


def test_embedded_values_are_the_conditions_made_by_hand(model: lv.Model) -> None:
    cfg = lv.guidance.cfg
    by_hand = cfg(2.5, negative={"label": torch.tensor([1])})
    embedded = cfg(2.5, negative=model.embed(label=1))
    assert model.embed(label=1)["label"].rows == 1
    drawn = model.sample(3, label=[0, 2, 2], guidance=embedded)
    assert torch.equal(drawn.state, model.sample(3, label=[0, 2, 2], guidance=by_hand).state)
    same(drawn, model.sample(3, label=[0, 2, 2], guidance=2.5, negative={"label": 1}))
    assert not torch.allclose(drawn.state, model.sample(3, label=[0, 2, 2], guidance=2.5).state, atol=1e-3)


def test_one_row_is_n_equal_rows_whatever_the_batch_size(model: lv.Model) -> None:
    one = model.embed(prompt="a red star", label=1)
    many = model.embed(5, prompt="a red star", label=1)
    assert {name: value.rows for name, value in many.items()} == {"prompt": 5, "label": 5}
    for make in (
        lambda condition: lv.guidance.cfg(2.0, negative=condition),
        lambda condition: lv.guidance.apg(2.0, negative=condition, momentum=-0.5),
        lambda condition: lv.guidance.compose([(condition, 2.0), ("label", -0.5)]),
        lambda condition: lv.guidance.chain(
            lv.guidance.compose([(condition, 2.0)]),
            lv.guidance.autoguidance(lv.guidance.cfg(1.5, negative=condition)(model.denoiser), 1.2),
        ),
    ):
        whole = model.sample(5, guidance=make(one), label=2, steps=2)
        same(model.sample(5, guidance=make(many), label=2, steps=2), whole)
        same(model.sample(5, guidance=make(many), label=2, steps=2, batch_size=2), whole)


def test_each_sample_has_its_own_row_of_a_guidance(model: lv.Model) -> None:
    labels = [0, 1, 2, 0, 1]
    own = lv.guidance.compose([(model.embed(label=labels), 2.0)])
    same(model.sample(5, guidance=own, batch_size=2), model.sample(5, label=labels, guidance=2.0))
    away = model.sample(3, prompt="a cat", negative={"label": [0, 1, 2]}, batch_size=2)
    for k in range(3):
        lone = model.sample(3, prompt="a cat", negative={"label": k}).state[k]
        torch.testing.assert_close(away.state[k], lone, atol=1e-5, rtol=0)


def test_particles_of_a_sample_share_its_row_of_a_guidance(model: lv.Model) -> None:
    def indifferent(items: list[Image.Image]) -> list[float]:
        return [0.0] * len(items)

    own = lv.guidance.compose([(model.embed(label=[0, 2]), 2.0)])
    same(
        model.steer(indifferent, 2, particles=3, guidance=own),
        model.steer(indifferent, 2, particles=3, guidance=2.0, label=[0, 2]),
    )


@pytest.mark.parametrize("batch_size", [None, 3])
def test_rows_that_are_not_those_of_the_run_are_refused(model: lv.Model, batch_size: int | None) -> None:
    guidance = lv.guidance.cfg(2.0, negative=model.embed(label=[0, 1, 2]))
    with pytest.raises(ValueError, match="'label' of a guidance has 3 rows for 6 samples; give one"):
        model.sample(6, prompt="a cat", guidance=guidance, batch_size=batch_size)
    with pytest.raises(ValueError, match="has 3 rows for 6 samples"):
        model.sample(6, prompt="a cat", negative={"label": [0, 1, 2]})
    with pytest.raises(TypeError, match=r"model\.embed\(prompt=…\) makes one"):
        model.sample(2, guidance=lv.guidance.compose([({"prompt": "a cat"}, 2.0)]))


def test_values_that_cannot_be_embedded_are_named(model: lv.Model) -> None:
    with pytest.raises(TypeError, match="did you mean 'label'"):
        model.embed(lable=1)
    with pytest.raises(ValueError, match="out of range"):
        model.embed(label=3)
    with pytest.raises(ValueError, match="2 values for 3 samples"):
        model.embed(3, label=[0, 1])
    assert model.embed(label=None) == {}
    assert not any(p.requires_grad for p in [model.embed(label=1)["label"].vector])


def test_a_record_of_a_guidance_holds_names_and_weights_not_tensors(model: lv.Model) -> None:
    guidance = lv.guidance.compose([(model.embed(label=1), 2.0), ("label", 0.5)])
    assert repr(guidance) == "Composed(parts=[({'label': …}, 2.0), ('label', 0.5)], batched=True)"
    (what, weight), named = model.sample(1, label=0, guidance=guidance).run.guidance["parts"]
    assert what["label"].keys() == {"given", "sha256"} and weight == 2.0 and named == ["label", 0.5]


def test_choices_say_what_a_condition_takes(model: lv.Model) -> None:
    assert model.choices("label") == "a class by its number, 0 … 2"
    assert model.choices("prompt") == "a text of at most 32 bytes in UTF-8"
    with pytest.raises(KeyError, match="unknown condition 'promt'; did you mean 'prompt'"):
        model.choices("promt")


@pytest.mark.parametrize("text", ['a "red", apple', "x = 1, y = {2}", "🍎 🍏", "${oc.env:HOME}", "%s {0}"])
def test_any_text_is_a_prompt(model: lv.Model, text: str) -> None:
    assert model.sample(1, prompt=text).conditions[0]["prompt"] == text


def test_new_sizes(model: lv.Model) -> None:
    wide = model.sample(1, height=8, width=12)
    assert wide[0].size == (12, 8)
    with pytest.raises(ValueError, match="width must be a multiple of 2"):
        model.sample(1, width=9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be a whole number"),
        ({"n": 2, "lable": 1}, "did you mean 'label'"),
        ({"n": 2, "label": [1, 2, 0]}, "3 values for 2 samples"),
        ({"label": 3}, "out of range"),
        ({"steps": 4, "evaluations": 4}, "steps and evaluations"),
        ({"steps": 4, "grid": [1.0, 0.0]}, "steps and grid"),
        ({"sampler": "eular"}, "did you mean 'euler'"),
        ({"grid": "karas"}, "did you mean 'karras'"),
        ({"strength": 0.5}, "give start as well"),
        ({"keep": lv.keep.border(1)}, "like and keep go together"),
        ({"grid": [1.0, 0.5, 0.7, 0.0]}, "must fall"),
        ({"grid": [1.2, 0.0]}, r"must lie in \[0, 1\]"),
        ({"guidance": float("nan")}, "guidance|weight"),
        ({"prompt": "x" * 40}, "at most 32"),
    ],
)
def test_wrong_arguments_say_what_is_right(model: lv.Model, arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        model.sample(**arguments)


def test_keeping_everything_or_nothing_that_fits_is_refused(model: lv.Model, picture: Image.Image) -> None:
    with pytest.raises(ValueError, match="nothing is left to generate"):
        model.sample(1, like=picture, keep=lv.keep.box(0, 0, 8, 8))
    with pytest.raises(ValueError, match="does not lie in a picture of 8 x 8"):
        model.sample(1, like=picture, keep=lv.keep.box(0, 0, 9, 8))
    with pytest.raises(ValueError, match="selects on a grid"):
        model.sample(1, like=picture, keep=lv.keep.mask(np.zeros((4, 4), dtype=bool)))


def test_a_saved_model_draws_what_it_drew(model: lv.Model, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for p in model.network.parameters():  # what half precision keeps
        p.data = p.data.half().float()
    model.save(tmp_path / "m")
    again = lv.load(tmp_path / "m", device="cpu")
    assert torch.equal(again.sample(2, label=1).state, model.sample(2, label=1).state)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "card.md",
        "config.yaml",
        "model.safetensors",
    ]


def test_weights_that_do_not_fit_are_refused_by_name(model: lv.Model, tmp_path) -> None:  # type: ignore[no-untyped-def]
    model.save(tmp_path / "m")
    config = (tmp_path / "m" / "config.yaml").read_text()
    (tmp_path / "m" / "config.yaml").write_text(config.replace("depth: 2", "depth: 1"))
    with pytest.raises(lv.FolderError, match=r"do not fit.*backbone\.blocks\.1"):
        lv.load(tmp_path / "m")
    (tmp_path / "m" / "config.yaml").write_text(config.replace("name: dit", "name: dti"))
    with pytest.raises(lv.FolderError, match="did you mean 'dit'"):
        lv.load(tmp_path / "m")


def test_an_item_may_lack_a_condition(model: lv.Model, picture: Image.Image) -> None:
    def losses(labels: list[int | None], rate: float = 0.0) -> torch.Tensor:
        model.drop["label"] = rate
        return model.loss([picture] * 3, {"label": labels}, lv.Stream.of(0, 3))[0].detach()

    whole, none, some = losses([0, 1, 2]), losses([None] * 3), losses([0, None, 2])
    torch.testing.assert_close(some[[0, 2]], whole[[0, 2]])
    torch.testing.assert_close(some[1], none[1])
    assert not torch.allclose(whole[1], none[1])
    torch.testing.assert_close(none, losses([0, 1, 2], rate=1.0))  # as where it is dropped
    model.drop["label"] = 0.1
