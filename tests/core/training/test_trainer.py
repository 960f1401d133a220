"""Runs of training: they resume and divide exactly, and a checkpoint is whole or absent."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from langevin.core.denoiser import NetworkDenoiser
from langevin.core.losses import Objective, Stratified
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.training import checkpoint, ema
from langevin.core.training.loss import losses
from langevin.core.training.trainer import Progress, Settings, Trainer, train


class Net(nn.Module):
    """A network with hidden matrices under the name that the optimiser looks for."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inward, self.outward = nn.Linear(3, width), nn.Linear(width, 2)
        self.backbone = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(width, width) for _ in range(2)])})

    def forward(self, x_t: Tensor, t: Any, condition: Any, mask: Any) -> Tensor:
        h = self.inward(torch.cat([x_t, t[:, None].to(x_t.dtype)], 1))
        for block in self.backbone["blocks"]:  # type: ignore[union-attr]
            h = h + torch.nn.functional.silu(block(h))
        return self.outward(h)


class Tiny:
    """What the trainer needs of a model."""

    def __init__(self, width: int = 16) -> None:
        self.network = Net(width)
        self.denoiser = NetworkDenoiser(self.network, Gaussian(), "velocity")
        self.objective = Objective(times=Stratified())

    def loss(
        self, items: Tensor, conditions: Any, rng: Stream, rows: Any = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        each, parts, _ = losses(self.denoiser, self.objective, items, {}, rng, rows=rows)
        return each, parts


class Points:
    """Forty points on a circle."""

    def __len__(self) -> int:
        return 40

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, dict[str, Any]]:
        angle = torch.tensor(list(indices)) * (2 * math.pi / 40)
        return torch.stack([angle.cos(), angle.sin()], 1), {}


def run(trainer: Trainer, steps: int) -> list[float]:
    return [trainer.advance()[0] for _ in range(steps)]


def settings_of(**changes: Any) -> Settings:
    return Settings(**{"steps": 12, "batch": 8, "warmup": 3, "save": 1, "log": 1, **changes})


def same_state(a: Trainer, b: Trainer) -> bool:
    (one, _), (other, _) = a.state(), b.state()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2}, {"constant": 0.9}], ids=["plain", "accumulated", "constant"]
)
def test_a_resumed_run_repeats_the_straight_run_bit_for_bit(
    optimizer: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    chosen = settings_of(optimizer=optimizer, **changes)
    straight = Trainer(Tiny(), Points(), chosen)
    expected = run(straight, 12)
    first = Trainer(Tiny(), Points(), chosen, tmp_path)
    assert not first.resume()
    before = run(first, 5)
    first.save()
    second = Trainer(Tiny(), Points(), chosen, tmp_path)
    assert second.resume() and second.step == 5 and same_state(first, second)
    assert before + run(second, 7) == expected
    assert same_state(second, straight)
    assert expected[-1] < expected[0]


def test_shares_of_a_batch_add_up_to_the_batch() -> None:
    whole, parts = (Trainer(Tiny(), Points(), settings_of(accumulate=k)) for k in (1, 4))
    assert run(whole, 6) == pytest.approx(run(parts, 6), rel=1e-5)
    for a, b in zip(whole.network.parameters(), parts.network.parameters()):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_averages_follow_the_weights_by_their_rules() -> None:
    trainer = Trainer(Tiny(), Points(), settings_of(average=(0.1, 0.05)))
    tracked = [{k: v.clone() for k, v in trainer.network.state_dict().items()} for _ in range(2)]
    for n in range(1, 7):
        trainer.advance()
        for w, average in zip((0.1, 0.05), tracked):
            ema.update(average, trainer.network.state_dict(), ema.Power(w).keep(n))
    for mine, expected in zip(trainer.averages, tracked):
        assert all(torch.equal(mine[k], expected[k]) for k in expected)
    assert trainer.averaged() is trainer.averages[0]


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    chosen = Settings(steps=1000, lr=2.0, warmup=10)
    assert chosen.rate(0) == pytest.approx(0.2) and chosen.rate(9) == pytest.approx(2.0, rel=1e-3)
    assert chosen.rate(500) == pytest.approx(1.0) and chosen.rate(1000) == 0
    constant = Settings(steps=1000, lr=2.0, warmup=10, decay="constant")
    assert constant.rate(4) == 1.0 and constant.rate(999) == 2.0


def test_the_log_has_the_means_since_its_last_line(tmp_path: Path) -> None:
    expected = run(Trainer(Tiny(), Points(), settings_of()), 12)
    lines = list(Trainer(Tiny(), Points(), settings_of(log=5), tmp_path).run())
    assert [line.step for line in lines] == [5, 10, 12]
    assert [line.loss for line in lines] == pytest.approx(
        [sum(expected[:5]) / 5, sum(expected[5:10]) / 5, sum(expected[10:]) / 2]
    )
    assert lines[0].lr == settings_of().rate(4) and lines[0].parts.keys() == {""}
    assert checkpoint.read(tmp_path)[1]["step"] == 12


def test_an_interruption_saves_what_was_done(tmp_path: Path) -> None:
    def stop(line: Any) -> None:
        if line.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Trainer(Tiny(), Points(), settings_of(save=100), tmp_path), stop)
    again = Trainer(Tiny(), Points(), settings_of(save=100), tmp_path)
    assert again.resume() and again.step == 4


def test_a_loss_that_is_not_finite_stops_the_run_and_changes_nothing() -> None:
    trainer = Trainer(Tiny(), Points(), settings_of())
    run(trainer, 2)
    with torch.no_grad():
        trainer.network.outward.bias.fill_(math.nan)  # type: ignore[union-attr,operator]
    before = trainer.network.inward.weight.detach().clone()  # type: ignore[union-attr,operator]
    with pytest.raises(FloatingPointError, match="the loss is nan at step 2; lower training.lr"):
        trainer.advance()
    assert torch.equal(trainer.network.inward.weight, before) and trainer.step == 2  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": "cosin"}, "unknown training.decay 'cosin'; did you mean 'cosine'"),
        ({"optimizer": "adam"}, "did you mean 'adamw'"),
        ({"precision": "fp8"}, "unknown training.precision 'fp8'; did you mean"),
        ({"steps": 0}, "training.steps must be at least 1"),
        ({"batch": 9, "accumulate": 2}, "must be a multiple of accumulate 2"),
        ({"average": ()}, "at least one width"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**changes)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(Tiny(), Points(), settings_of(), tmp_path)
    run(trainer, 1)
    trainer.save()

    class Fewer(Points):
        def __len__(self) -> int:
            return 39

    for model, data, changes, message in (
        (Tiny(), Points(), {"batch": 4}, "was made with training.batch = 8, not 4"),
        (Tiny(), Points(), {"seed": 1}, "training.seed = 0, not 1"),
        (Tiny(), Points(), {"average": (0.1,)}, "training.average"),
        (Tiny(), Fewer(), {}, "saw 40 items, the data now has 39"),
        (Tiny(8), Points(), {}, r"do not fit this network: .*\(16, 3\) for \(8, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(model, data, settings_of(**changes), tmp_path).resume()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint of langevin"):
        Trainer(Tiny(), Points(), settings_of(), tmp_path).resume()


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write(tmp_path, {"a": torch.ones(3)}, {"step": 1})

    def full(*paths: Any) -> None:
        raise OSError("no space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="no space left"):
                checkpoint.write(tmp_path, {"a": torch.zeros(3)}, {"step": 2})
        tensors, meta = checkpoint.read(tmp_path)
        assert torch.equal(tensors["a"], torch.ones(3)) and meta == {"step": 1}
        assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_snapshots_are_kept_in_half_precision_for_reconstruction(tmp_path: Path) -> None:
    chosen = settings_of(steps=6, save=2, snapshots=2, average=(0.1, 0.05))
    trainer = Trainer(Tiny(), Points(), chosen, tmp_path)
    for _ in trainer.run():
        pass
    files = sorted((tmp_path / "snapshots").glob("*.safetensors"))
    assert [p.stem for p in files] == ["000000004", "000000006"]
    from safetensors import safe_open

    with safe_open(files[-1], framework="pt") as file:
        meta = json.loads(file.metadata()["langevin"])
        assert meta == {"step": 6, "averages": [{"width": 0.1}, {"width": 0.05}]}
        stored = file.get_tensor("1.inward.weight")
    assert stored.dtype == torch.float16
    assert torch.allclose(stored.float(), trainer.averages[1]["inward.weight"], atol=2e-3)


def test_any_width_is_rebuilt_from_the_snapshots_of_a_folder(tmp_path: Path) -> None:
    chosen = settings_of(
        steps=60, save=10, log=60, snapshots=6, average=(0.1, 0.05), lr=0.03, decay="constant"
    )
    trainer = Trainer(Tiny(), Points(), chosen, tmp_path)
    wanted = {k: torch.zeros_like(v) for k, v in trainer.network.state_dict().items()}
    while trainer.step < 60:
        trainer.advance()
        ema.update(wanted, trainer.network.state_dict(), ema.Power(0.07).keep(trainer.step))
        if trainer.step % 10 == 0:
            trainer.save()
    rebuilt = ema.from_folder(tmp_path, 0.07)
    assert rebuilt.keys() == wanted.keys()

    def distance(other: dict[str, Tensor]) -> float:
        return math.sqrt(sum(float((other[k] - wanted[k]).square().sum()) for k in wanted))

    # what remains is the rounding of snapshots to half precision
    assert distance(rebuilt) < 0.2 * min(map(distance, trainer.averages))
    assert {v.dtype for v in rebuilt.values()} == {torch.float32}
    Net().load_state_dict(rebuilt)
    earlier = ema.from_folder(tmp_path, 0.1, step=30)
    assert not torch.equal(earlier["inward.weight"], rebuilt["inward.weight"])
    with pytest.raises(ValueError, match="step 61 is after the last snapshot, 60"):
        ema.from_folder(tmp_path, 0.07, step=61)
    with pytest.raises(ValueError, match=r"width must lie in \(0, 0.28\)"):
        ema.from_folder(tmp_path, 0.5)


def test_a_snapshot_says_what_each_average_is(tmp_path: Path) -> None:
    chosen = settings_of(steps=4, save=2, snapshots=2, average=(0.1, 0.05), constant=0.9)
    for _ in Trainer(Tiny(), Points(), chosen, tmp_path).run():
        pass
    found = checkpoint.read_snapshots(tmp_path)
    assert [(step, rules) for step, rules, _ in found] == [
        (step, [{"decay": 0.9}, {"width": 0.05}]) for step in (2, 4)
    ]
    # the average of constant rate takes no part
    (a, _, first), (b, _, second) = found
    only = [{"w": s["1.inward.weight"].float()} for s in (first, second)]
    expected = ema.reconstruct(only, [a, b], [0.05, 0.05], 4, 0.06)["w"]
    assert torch.equal(ema.from_folder(tmp_path, 0.06)["inward.weight"], expected)
    with pytest.raises(ValueError, match="holds 0 snapshots of power-function averages"):
        ema.from_folder(tmp_path / "snapshots", 0.06)


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "snapshots").mkdir()
    stale = [
        tmp_path / f".checkpoint.safetensors.{gone.pid}",
        tmp_path / f".checkpoint.safetensors.{os.getpid()}",  # a number that was given again
        tmp_path / "snapshots" / f".000000004.safetensors.{gone.pid}",
    ]
    others = [
        tmp_path / f".checkpoint.safetensors.{os.getppid()}",
        tmp_path / ".hidden",
        tmp_path / "notes.1",
    ]
    trainer = Trainer(Tiny(), Points(), settings_of(), tmp_path)
    for act in (trainer.resume, trainer.save):
        for path in (*stale, *others):
            path.write_bytes(b"half a checkp")
        act()
        assert not any(path.exists() for path in stale) and all(path.exists() for path in others)


def test_a_line_of_the_log_reads_as_the_command_line_prints_it() -> None:
    line = Progress(20, 0.51239, {"": 0.5}, 2e-3, 1.3, 118.7)
    assert str(line) == "step 20  loss 0.5124  lr 2.00e-03  119 samples/s"


def test_half_precision_with_a_scaled_loss_is_refused_without_an_engine_that_scales() -> None:
    with pytest.raises(ValueError, match="'fp16' needs a scaled loss: .*langevin.accelerated"):
        Trainer(Tiny(), Points(), settings_of(precision="fp16"))


CHILD = """
import sys
import torch
sys.path[:0] = {path!r}
torch.set_num_threads(1)
from tests.core.training.test_trainer import Points, Settings, Tiny, Trainer
"""


def start_child(script: str) -> subprocess.Popen[str]:
    code = CHILD.format(path=[str(Path(__file__).parents[3])]) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_kill_9_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    chosen = {"steps": 10**6, "batch": 8, "save": 1}
    step = -1
    for wait in (0.05, 0.23):
        child = start_child(f"""
            trainer = Trainer(Tiny(400), Points(), Settings(**{chosen!r}), {str(tmp_path)!r})
            trainer.resume()
            for _ in trainer.run():
                pass
        """)
        deadline = time.monotonic() + 120
        # wait until this process has written, then kill it in the middle of things
        while not checkpoint.exists(tmp_path) or checkpoint.read(tmp_path)[1]["step"] <= step:
            assert child.poll() is None and time.monotonic() < deadline, child.stdout and child.stdout.read()
            time.sleep(0.02)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        trainer = Trainer(Tiny(400), Points(), Settings(**chosen), tmp_path)  # type: ignore[arg-type]
        assert trainer.resume() and trainer.step > step
        step = trainer.step
    straight = Trainer(Tiny(400), Points(), Settings(**chosen))  # type: ignore[arg-type]
    torch.set_num_threads(1)
    run(straight, step)
    assert all(
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(straight.network.parameters(), trainer.network.parameters())
    )


@pytest.mark.slow
def test_two_processes_are_one_with_the_same_global_batch(tmp_path: Path) -> None:
    children = [
        start_child(f"""
            import json
            import torch.distributed as dist
            import torch.distributed.nn  # before the group, which it would else hold beyond its end
            dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank={rank}, world_size=2)
            found = []
            for accumulate in (1, 2):
                chosen = Settings(steps=6, batch=8, warmup=3, accumulate=accumulate)
                trainer = Trainer(Tiny(), Points(), chosen)
                found.append([trainer.advance()[0] for _ in range(6)])
                found.append([p.double().sum().item() for p in trainer.network.parameters()])
            print(json.dumps(found))
            dist.destroy_process_group()
        """)
        for rank in range(2)
    ]
    answers = []
    for child in children:
        out, _ = child.communicate(timeout=120)
        assert child.returncode == 0, out
        answers.append(json.loads(out.strip().splitlines()[-1]))
    assert answers[0] == answers[1]
    for k, accumulate in enumerate((1, 2)):
        trainer = Trainer(Tiny(), Points(), Settings(steps=6, batch=8, warmup=3, accumulate=accumulate))
        assert answers[0][2 * k] == pytest.approx(run(trainer, 6), abs=1e-6)
        sums = [p.double().sum().item() for p in trainer.network.parameters()]
        assert answers[0][2 * k + 1] == pytest.approx(sums, abs=1e-4)
