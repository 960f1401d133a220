from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import linalg

from langevin.folders import FolderError
from langevin.modalities.image.metrics import (
    CLIP,
    Estimate,
    Inception,
    Pixels,
    RandomConv,
    Table,
    accuracy,
    bootstrap,
    c2st,
    describe,
    diversity_ratio,
    evaluate,
    frechet,
    frechet_distance,
    frechet_extrapolated,
    kid,
    memorisation,
    moments,
    neighbourhood,
    share_copied,
    wilson,
)
from langevin.modalities.image.shapes import Shapes
from langevin.modalities.neighbours import nearest


def normal(n: int, width: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, width))


# --- Fréchet ------------------------------------------------------------------------------------------------


def test_frechet_of_isotropic_gaussians_is_closed_form():
    a, b = np.zeros(5), np.full(5, 0.3)
    assert frechet(a, 4 * np.eye(5), b, 9 * np.eye(5)) == pytest.approx(5 * (0.09 + 1))
    assert frechet([1.0], [[4.0]], [3.0], [[1.0]]) == pytest.approx(4 + 1)


def test_frechet_equals_the_matrix_square_root_formula():
    rng = np.random.default_rng(1)
    a, b = (m @ m.T + 0.1 * np.eye(6) for m in rng.normal(size=(2, 6, 6)))
    m, n = rng.normal(size=(2, 6))
    expected = ((m - n) ** 2).sum() + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert frechet(m, a, n, b) == pytest.approx(expected)
    assert frechet(n, b, m, a) == pytest.approx(expected)


def test_frechet_is_stable_with_singular_covariances():
    x = normal(10, 40)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-7)
    assert frechet_distance(x, x + 1) == pytest.approx(40, rel=1e-6)


def test_the_bias_falls_like_one_over_n_and_is_extrapolated_away():
    width, shift = 12, 0.25
    truth = width * shift**2
    plain = {n: np.mean([frechet_distance(normal(n, width, s), normal(n, width, 99 + s)) for s in range(8)])
             for n in (200, 800)}  # fmt: skip
    assert plain[200] / plain[800] == pytest.approx(4, rel=0.25)
    inside = 0
    for seed in range(6):
        x, y = normal(500, width, seed), normal(500, width, 50 + seed, shift)
        found = frechet_extrapolated(x, y, seed=seed)
        inside += found.low <= truth <= found.high
        assert found.value < frechet_distance(x, y)
    assert inside >= 5


@pytest.mark.parametrize("function", [frechet_distance, kid, frechet_extrapolated, c2st])
def test_too_few_items_are_refused(function):
    with pytest.raises(ValueError, match="at least"):
        function(normal(1, 3), normal(5, 3))
    with pytest.raises(ValueError, match=r"shape \(N, F\)"):
        function(np.zeros(4), normal(5, 3))
    with pytest.raises(ValueError, match="equally many features"):
        function(normal(20, 3), normal(20, 4))
    with pytest.raises(ValueError, match="not finite"):
        function(np.full((20, 3), np.nan), normal(20, 3))


def test_moments_are_unbiased():
    mean, cov = moments([[0.0, 0.0], [2.0, 4.0]])
    assert mean.tolist() == [1, 2]
    assert cov.tolist() == [[2, 4], [4, 8]]
    assert moments([[1.0], [3.0]])[1].shape == (1, 1)


# --- kernel distance and two-sample test --------------------------------------------------------------------


def test_kid_has_mean_zero_on_one_distribution_and_equals_its_definition():
    values = [kid(normal(100, 8, 2 * s), normal(100, 8, 2 * s + 1)).value for s in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(60)
    assert min(values) < 0
    x, y = normal(6, 3, 0), normal(6, 3, 1, 0.5)
    k = lambda a, b: (np.dot(a, b) / 3 + 1) ** 3  # noqa: E731
    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(6) for j in range(6) if i != j) / 30
    between = sum(k(a, b) for a in x for b in y) / 36
    assert kid(x, y).value == pytest.approx(within - 2 * between)


def test_kid_of_subsets_has_a_spread():
    found = kid(normal(400, 4), normal(400, 4, 1, 1.0), subsets=20, subset_size=100)
    assert found.low < found.value < found.high
    assert found.value > 0.5


@pytest.mark.parametrize("hidden", [0, 16])
def test_c2st_is_a_half_on_one_distribution_and_one_on_two(hidden):
    same = c2st(normal(300, 5), normal(300, 5, 1), hidden)
    assert same.accuracy.value < 0.56
    assert same.p > 0.01
    apart = c2st(normal(100, 5), normal(120, 5, 1, 3.0), hidden)
    assert apart.accuracy.value > 0.98
    assert apart.p < 1e-6


def test_only_a_hidden_layer_sees_a_difference_of_scale():
    x, y = normal(400, 3), normal(400, 3, 1, scale=3.0)
    assert c2st(x, y).accuracy.value < 0.6
    assert c2st(x, y, hidden=32).accuracy.value > 0.75


# --- neighbours ---------------------------------------------------------------------------------------------


def test_identical_sets_are_covered_and_distant_ones_not():
    x = normal(60, 4)
    found = neighbourhood(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density >= 1
    assert neighbourhood(x + 100, x) == (0, 0, 0, 0)


def test_collapse_keeps_precision_and_loses_recall_and_coverage():
    real = normal(300, 4)
    found = neighbourhood(0.05 * normal(300, 4, 1), real)
    assert found.precision == 1
    assert found.recall < 0.1
    assert found.coverage < 0.2


def test_fresh_samples_score_about_one():
    found = neighbourhood(normal(500, 6, 1), normal(500, 6))
    assert min(found.precision, found.recall) > 0.75
    assert found.density == pytest.approx(1, abs=0.15)
    assert found.coverage > 0.93


def test_density_on_a_line_is_counted_by_hand():
    real = np.array([[0.0], [1.0], [3.0]])  # k = 1: radii 1, 1, 2
    found = neighbourhood(np.array([[0.5], [10.0], [10.5]]), real, k=1)
    assert found.precision == pytest.approx(1 / 3)
    assert found.density == pytest.approx(2 / 3)
    assert found.coverage == pytest.approx(2 / 3)
    assert found.recall == 1  # the ball around 0.5 reaches to 10
    with pytest.raises(ValueError, match="at least 4"):
        neighbourhood(real, real, k=3)
    with pytest.raises(ValueError, match="k must be"):
        neighbourhood(real, real, k=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 300), st.integers(1, 6), st.integers(0, 10**6))
def test_nearest_equals_brute_force(n, m, width, seed):
    a, b = normal(n, width, seed, 5.0), normal(m, width, seed + 1, 5.0)
    apart = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    np.testing.assert_allclose(nearest(a, b), apart.min(1), rtol=1e-9)
    own = np.sqrt(((b[:, None] - b[None]) ** 2).sum(-1)) + np.diag(np.full(m, np.inf))
    np.testing.assert_allclose(nearest(b, b, skip_self=True), own.min(1), rtol=1e-9)


@pytest.mark.parametrize("apart", [True, False])
def test_memorisation_tells_fresh_items_copies_and_noise(apart):
    train, held = normal(800, 6), normal(400, 6, 1) if apart else None
    fresh, noise = normal(300, 6, 2), normal(300, 6, 3, scale=4.0)
    copies = train[:300] + 1e-3 * normal(300, 6, 4)
    assert memorisation(fresh, train, held).value == pytest.approx(1, abs=0.12)
    assert memorisation(copies, train, held).high < 0.05
    assert memorisation(noise, train, held).low > 2
    assert share_copied(fresh, train, held).low <= 0.01
    assert share_copied(copies, train, held).value > 0.95
    assert share_copied(train[:50], train, held).value == 1
    assert share_copied(noise, train, held).value == 0
    half = np.concatenate([fresh[:150], copies[:150]])
    assert share_copied(half, train, held).value == pytest.approx(0.5, abs=0.05)


def test_diversity_is_a_ratio_within_conditions():
    real, labels = normal(400, 3), np.arange(400) % 4
    assert diversity_ratio(0.5 * normal(400, 3, 1), labels, real, labels) == pytest.approx(0.5, abs=0.05)
    assert diversity_ratio(np.zeros((8, 3)), labels[:8], real, labels) == 0
    centres = 50 * labels[:, None]
    assert diversity_ratio(0.5 * normal(400, 3, 1) + centres, labels, real + centres, labels) < 0.6
    with pytest.raises(ValueError, match="labels must fit"):
        diversity_ratio(real, labels[:5], real, labels)
    with pytest.raises(ValueError, match="no condition"):
        diversity_ratio(real[:4], labels[:4], real, labels)


# --- intervals and tables -----------------------------------------------------------------------------------


def test_wilson_agrees_with_its_published_values():
    found = wilson(81, 263)  # Newcombe 1998, table I, method 3
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert (wilson(0, 20).low, round(wilson(0, 20).high, 4)) == (0, 0.1611)
    assert wilson(20, 20).high == 1
    for right, total in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="0 … total"):
            wilson(right, total)


def test_accuracy_keeps_failures_in_the_denominator():
    assert accuracy([1, None, 2, 2], [1, None, 2, 3]).value == 0.5
    with pytest.raises(ValueError, match="2 answers were given for 1"):
        accuracy([1, 2], [1])


def test_the_bootstrap_covers_the_mean():
    inside = sum(b.low <= 0 <= b.high for b in (bootstrap(normal(80, 1, s), repeats=300) for s in range(40)))
    assert inside >= 34
    assert bootstrap([2.0, 2.0]) == Estimate(2, 2, 2, 2)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([])


def test_a_table_prints_and_is_written(tmp_path):
    table = Table(
        [
            {"row": "a <b>", "x": 0.12345, "y": Estimate(0.5, 0.4, 0.6, 10)},
            {"row": "c", "x": math.nan, "n": 3},
        ],
        "C",
    )
    text = str(table)
    assert "0.5 [0.4, 0.6]" in text
    assert text.splitlines()[-1] == "C"
    found = json.loads(table.to_json(tmp_path / "t.json"))
    assert found == json.loads((tmp_path / "t.json").read_text())
    assert found["rows"][0]["y"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    assert found["rows"][1]["x"] is None
    lines = table.to_csv(tmp_path / "t.csv").splitlines()
    assert lines[0] == "row,x,y,y_low,y_high,n"
    assert lines[2] == "c,nan,,,,3"
    assert "<td>a &lt;b&gt;</td>" in table._repr_html_()
    assert table.row(row="c")["n"] == 3
    with pytest.raises(KeyError):
        table.row(row="d")
    assert str(Table([])) == ""


# --- features and the whole table ---------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_features_do_not_depend_on_the_batch(channels):
    images = np.random.default_rng(0).integers(0, 256, (140, 20, 20, channels), dtype=np.uint8)
    for extract, width in ((Pixels(4), 16 * channels), (RandomConv(1), 224)):
        whole = extract(images)
        assert whole.shape == (140, width)
        np.testing.assert_allclose(extract(images[130:133]), whole[130:133], rtol=1e-4, atol=1e-5)
    assert not np.allclose(RandomConv(1)(images[:2]), RandomConv(2)(images[:2]))


def test_pixels_are_means():
    images = np.zeros((1, 4, 4, 1), np.uint8)
    images[0, :2, :2] = 255
    assert Pixels(2)(images).tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize("extractor", [Inception, CLIP])
def test_weights_are_local_or_refused(extractor, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        extractor(tmp_path / "absent")


@pytest.mark.slow
def test_clip_embeds_from_a_local_folder(tmp_path):
    from langevin import optional

    transformers = optional.transformers()
    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16,
        patch_size=8, projection_dim=12,
    )  # fmt: skip
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), dtype=np.uint8)
    found = CLIP(tmp_path)(images)
    assert found.shape == (5, 12)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-4)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FolderError, match=r"pytorch_model\.bin is a pickle"):
        CLIP(tmp_path)


def test_evaluate_carries_its_floor_and_controls():
    def make(seed: int, n: int) -> tuple[np.ndarray, list[str]]:
        shapes = Shapes(28, seed=seed)
        return shapes.batch(range(n))[0], [str(a.colour) for a in shapes.attributes(range(n))]

    def judge(images: np.ndarray) -> list[str]:
        from langevin.modalities.image.probe import probe

        return [str(a.colour) for a in probe(images)]

    (train, _), (held, held_colours), (samples, colours) = make(1, 200), make(2, 120), make(3, 60)
    broken = [*samples[:59], None]
    table = evaluate(
        broken,
        train,
        held,
        features={"pixels": Pixels()},
        labels=colours,
        real_labels=held_colours,
        judge=judge,
        metrics=("frechet", "kid", "neighbourhood", "memorisation", "copied", "diversity"),
    )
    ours, floor, copies, noise = (
        table.row(row=r, features="pixels")
        for r in ("samples", "real against real", "copies of training", "noise")
    )
    assert ours["n"] == floor["n"] == noise["n"] == 59
    assert ours["failed"] == 1 and "failed" not in floor
    assert ours["frechet"] < 2 * floor["frechet"] < noise["frechet"]
    assert 0.85 < ours["nearest ratio"].value < 1.15
    assert (copies["nearest ratio"].value, copies["copied"].value) == (0, 1)
    assert noise["recall"] == 0
    assert ours["diversity"] == pytest.approx(1, abs=0.2)
    assert table.row(row="samples", features="judge")["accuracy"].value == pytest.approx(59 / 60)
    assert table.row(row="shuffled conditions", features="judge")["accuracy"].value < 0.35
    assert table.row(row="real against real", features="judge")["accuracy"].value == 1
    assert "60 samples, of which 1 failed" in table.caption


def test_evaluate_without_held_out_pictures_halves_the_reference():
    shapes = Shapes(28)
    real, samples = shapes.batch(range(80))[0], shapes.batch(range(100, 140))[0]
    table = evaluate(samples, real, features=Pixels(4), metrics=("frechet", "memorisation", "copied"))
    floor = table.row(row="real against real")
    assert floor["n"] == 40
    assert floor["nearest ratio"].value > 0.7
    assert floor["copied"].value < 0.2
    assert table.row(row="copies of training")["copied"].value == 1
    table = evaluate(samples[:12], real, features=Pixels(2))
    assert table.row(row="samples")["n"] == 12
    assert table.columns[3:7] == ["failed", "frechet", "frechet ∞", "kid"]


def test_evaluate_checks_its_input():
    real = Shapes(28).batch(range(40))[0]
    with pytest.raises(ValueError, match="unknown metric 'fid'"):
        evaluate(real, real, metrics=("fid",))
    with pytest.raises(ValueError, match="judge needs labels"):
        evaluate(real, real, judge=list)
    with pytest.raises(ValueError, match="at least 12 pictures for k = 5; got 3"):
        evaluate(real[:3], real)
    with pytest.raises(ValueError, match="held_out must hold"):
        evaluate(real, real, [])
    with pytest.raises(ValueError, match="labels must have one entry"):
        evaluate(real, real, labels=[1])


def test_pictures_alone_are_counted_and_their_variety_measured():
    samples = list(Shapes(28).batch(range(40))[0])
    table = describe([*samples, None])
    value = {row["measure"]: row["value"] for row in table.rows}
    assert value["readable"].value == 40 / 41 and value["failed"] == 1 and value["sizes"] == 1
    assert value["brightness"].value == pytest.approx(np.mean(samples) / 255)
    assert value["contrast"].value == pytest.approx(np.mean([s.std() for s in samples]) / 255)
    assert "41 pictures, of which 1 failed; 28 × 28 (40)" in table.caption
    collapsed = {row["measure"]: row["value"] for row in describe([*samples[:2], *[samples[2]] * 38]).rows}
    assert value["twins"].value == 0 and collapsed["twins"].value == 38 / 40
    assert collapsed["pair distance"].high < value["pair distance"].low
    assert collapsed["nearest neighbour"].value == 0 < 0.2 < value["nearest neighbour"].value


def test_the_interval_of_the_pair_distance_covers_other_draws():
    pairs = [
        describe(list(Shapes(28, seed=s).batch(range(30))[0])).row(measure="pair distance")["value"]
        for s in range(12)
    ]
    middle = np.mean([p.value for p in pairs])
    assert sum(p.low <= middle <= p.high for p in pairs) >= 10
    assert np.mean([p.high - p.low for p in pairs]) < 8 * np.std([p.value for p in pairs])


def test_pictures_alone_may_be_few_grey_and_of_any_size(monkeypatch):
    big, grey = Image.new("RGB", (700, 300), "red"), Image.new("L", (5, 4), 255)
    table = describe([big, grey, big])
    value = {row["measure"]: row["value"] for row in table.rows}
    assert (
        value["sizes"] == 2 and value["twins"].value == 2 / 3 and "700 × 300 (2), 5 × 4 (1)" in table.caption
    )
    assert describe([grey]).row(measure="brightness")["value"] == 1.0
    assert describe([None]).row(measure="readable")["value"].value == 0.0
    assert [row["measure"] for row in describe([]).rows] == ["failed", "sizes"]
    assert "nearest neighbour" not in {row["measure"] for row in describe([grey, grey]).rows}
    monkeypatch.setattr("langevin.modalities.image.metrics.alone.MOST", 3)
    assert describe([big] * 5).row(measure="pair distance")["n"] == 3
