from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from langevin.modalities import judging
from langevin.modalities.judging import FEATURES, JudgeNetwork


class Tiny(JudgeNetwork):
    stamp, about, batch_size = "tiny", ("classes", "width", "class_names"), 4

    def __init__(self, classes, width=4, class_names=None):
        super().__init__(classes, 1, width, class_names, (1, 2, 1, 2, 1), 4 * width)

    def inputs(self, items):
        return torch.stack(list(items))[:, None]

    def features(self, x):
        return torch.relu(self.neck(self.body(x).mean((2, 3))))


class Other(Tiny):
    stamp = "other"


def stripes(n: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Pictures with stripes across or down, in noise."""
    generator = torch.Generator().manual_seed(0)
    x, labels = 0.5 * torch.randn(n, 12, 12, generator=generator), torch.arange(n) % 2
    x[labels == 0, ::2] += 1
    x[labels == 1, :, ::2] += 1
    return list(x), labels


def trained(seed: int, seen: list | None = None) -> Tiny:
    x, labels = stripes(64)
    target, classes = judging.checked(labels.numpy(), len(x), None, "picture")
    net = judging.seeded(seed, lambda: Tiny(classes))
    return judging.fit(
        net,
        lambda rows, generator: torch.stack([x[i] for i in rows])[:, None],
        target,
        epochs=10,
        batch_size=16,
        peak=4e-3,
        smoothing=0.05,
        seed=seed,
        progress=None if seen is None else seen.append,
    )


def test_training_follows_from_the_seed_alone_and_learns():
    torch.manual_seed(7)
    state, seen = torch.random.get_rng_state(), []
    one = trained(0, seen)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(8)
    assert torch.equal(trained(0).head.weight, one.head.weight)
    assert not torch.equal(trained(1).head.weight, one.head.weight)
    assert (seen[-1].step, seen[-1].steps) == (40, 40)
    assert seen[-1].loss < 0.8 * seen[0].loss
    x, labels = stripes(40)
    assert (one.predict(x) == labels.numpy()).mean() > 0.9


def test_judging_does_not_depend_on_the_size_of_batches():
    net, (x, _) = Tiny(3, class_names="abc").eval(), stripes(10)
    p, f = net.judge(x)
    assert p.shape == (10, 3)
    assert f.shape == (10, FEATURES)
    assert net.judge(x, batch_size=10)[0] == pytest.approx(p, abs=1e-6)
    assert net.judge([])[0].shape == (0, 3)


def test_files_say_what_they_hold_and_another_kind_of_judge_is_refused(tmp_path):
    net, (x, _) = Tiny(2, 8, ("up", "down")).eval(), stripes(6)
    path = tmp_path / "deep" / "judge.safetensors"
    judging.save(net, path, torch.float32)
    with safe_open(str(path), framework="pt") as file:
        assert json.loads(file.metadata()["tiny"]) == {
            "classes": 2,
            "width": 8,
            "class_names": ["up", "down"],
        }
    again = judging.load(path, Tiny)
    assert not again.training
    assert again.class_names == ("up", "down")
    assert (again.judge(x)[0] == net.judge(x)[0]).all()
    assert [p.name for p in path.parent.iterdir()] == ["judge.safetensors"]
    with pytest.raises(ValueError, match="does not hold a judge"):
        judging.load(path, Other)
    with pytest.raises(FileNotFoundError, match="no judge"):
        judging.load(tmp_path / "none", Tiny)


def test_labels_must_fit_the_items():
    assert judging.checked([0, 1, 2], 3, None, "sound")[1] == 3
    assert judging.checked([0, 1], 2, "abc", "sound")[1] == 3
    for labels, count, names, message in (
        ([0, 1], 3, None, "one for each sound"),
        ([], 0, None, "one for each sound"),
        ([0, 2], 2, "ab", "0 … 1; got 0 … 2"),
        ([-1, 0], 2, None, "got -1 … 0"),
    ):
        with pytest.raises(ValueError, match=message):
            judging.checked(labels, count, names, "sound")
