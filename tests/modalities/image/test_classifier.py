from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from langevin.modalities.image.classifier import (
    SmallCNN,
    affine_jitter,
    load_classifier,
    save_classifier,
    train_classifier,
)
from langevin.modalities.image.data import NpzDataset
from langevin.modalities.image.metrics import Classifier, frechet, moments, neighbourhood
from langevin.modalities.image.shapes import Shapes

ROOT = Path(__file__).parents[3]
JUDGES = ROOT / "tests" / "data" / "judges"
DIGITS = Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "images" / "mnist_28.npz"


def colours(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    shapes = Shapes(28, seed=seed)
    return shapes.batch(range(n))[0], np.array(
        [a.colour in ("red", "orange") for a in shapes.attributes(range(n))], int
    )


def test_a_judge_learns_is_reproducible_and_reports_progress():
    images, labels = colours(256, 0)
    seen = []
    options = {"epochs": 10, "batch_size": 32, "width": 8, "class_names": ("cold", "warm")}
    net = train_classifier(images, labels, progress=seen.append, **options)
    test, wanted = colours(200, 1)
    assert (net.predict(test) == wanted).mean() > 0.93
    assert (seen[-1].step, seen[-1].steps) == (80, 80)
    assert seen[-1].loss < seen[0].loss
    state = torch.random.get_rng_state()
    again = train_classifier(images, labels, **options)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(again.head.weight, net.head.weight)


def test_features_are_the_penultimate_layer():
    net = SmallCNN(4, channels=1).eval()
    x = torch.randn(3, 1, 20, 24)
    features = net.features(x)
    assert features.shape == (3, 128)
    assert torch.equal(net.head(features), net(x))
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        net.features(torch.zeros(2, 3, 8, 8))
    assert net.judge(np.zeros((0, 8, 8, 1), np.uint8))[1].shape == (0, 128)


def test_judging_leaves_the_mode_alone():
    net = SmallCNN(2, channels=3)
    before = net.body[1].running_mean.clone()
    net.judge(np.zeros((2, 12, 12, 3), np.uint8))
    assert net.training
    assert torch.equal(net.body[1].running_mean, before)


def test_wrong_labels_are_refused():
    images = np.zeros((4, 12, 12, 1), np.uint8)
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        train_classifier(images, [0, 1])
    with pytest.raises(ValueError, match="0 … 1; got 0 … 2"):
        train_classifier(images, [0, 1, 2, 0], class_names="ab")
    with pytest.raises(ValueError, match="at least 2"):
        SmallCNN(1)
    with pytest.raises(ValueError, match="3 names; got 2"):
        SmallCNN(3, class_names="ab")


def test_a_judge_survives_saving_in_half_precision(tmp_path):
    net = SmallCNN(3, 1, width=8, class_names="abc").eval()
    save_classifier(net, tmp_path / "a" / "net.safetensors")
    loaded = load_classifier(tmp_path / "a" / "net.safetensors")
    x = torch.randn(2, 1, 16, 16)
    assert loaded.class_names == ("a", "b", "c")
    torch.testing.assert_close(loaded(x), net(x), atol=5e-3, rtol=1e-2)
    assert not list((tmp_path / "a").glob("*.part"))
    with pytest.raises(FileNotFoundError, match="no judge"):
        load_classifier(tmp_path / "absent")
    (tmp_path / "bad").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="does not hold a judge"):
        load_classifier(tmp_path / "bad")


def test_the_jitter_without_range_is_the_identity():
    x = torch.rand(3, 1, 9, 9)
    torch.testing.assert_close(affine_jitter(x, torch.Generator(), 0, 0, 0), x, atol=1e-5, rtol=0)
    assert not torch.allclose(affine_jitter(x, torch.Generator()), x, atol=1e-2)


def test_the_shipped_judge_fits_the_shipped_statistics():
    with np.load(JUDGES / "digits_reference.npz", allow_pickle=False) as archive:
        reference = {k: archive[k] for k in archive.files}
    net = load_classifier(JUDGES / "digits.safetensors")
    assert sum(p.numel() for p in net.parameters()) <= 120_000
    assert sum(f.stat().st_size for f in JUDGES.glob("digits*")) < 0.7e6
    assert reference["accuracy"] >= 0.99
    features = reference["test_features"].astype(np.float32)
    assert features.shape == (2000, 128)
    with torch.no_grad():
        answers = net.head(torch.from_numpy(features)).argmax(1).numpy()
    assert (answers == reference["test_label"]).mean() >= 0.985
    mean, cov = moments(features)
    floor = frechet(mean, cov, reference["mean"], reference["cov"])
    assert floor < 0.5
    shifted = frechet(mean + 0.2, cov, reference["mean"], reference["cov"])
    assert shifted > 5 * floor
    halves = neighbourhood(features[:1000], features[1000:])
    assert min(halves) > 0.85


def test_the_shipped_judge_reads_real_held_out_digits():
    if not DIGITS.exists():
        pytest.skip(f"no mnist_28.npz in {DIGITS.parent} (set LANGEVIN_DATA)")
    test = NpzDataset(DIGITS, "test")
    judge = Classifier(JUDGES / "digits.safetensors")
    assert (judge.predict(test.images[:2000]) == test.columns["label"][:2000]).mean() >= 0.985
    with np.load(JUDGES / "digits_reference.npz", allow_pickle=False) as archive:
        np.testing.assert_allclose(
            judge(test.images[:50]), archive["test_features"][:50], atol=0.02, rtol=0.01
        )
