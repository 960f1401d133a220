"""The engine around accelerate: the arithmetic of torch by itself, and a state that is put back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import langevin as lv
from langevin import accelerated, optional
from langevin.core.losses import LossAdaptive, Objective
from langevin.core.training.engine import Plain
from langevin.core.training.loss import losses
from langevin.core.training.trainer import Settings, Trainer
from tests.core.training.test_trainer import Points, Tiny, run, same_state

CHOSEN: dict[str, Any] = {"steps": 12, "batch": 8, "warmup": 3, "save": 1, "log": 1}


class Adaptive(Tiny):
    """A model whose density of times learns from its losses."""

    def __init__(self) -> None:
        super().__init__()
        self.objective = Objective(times=LossAdaptive(bins=4))

    def loss(self, *batch: Any, rows: Any = None, times: Any = None) -> Any:
        items, _, rng = batch
        objective = replace(self.objective, times=times)
        return losses(self.denoiser, objective, items, {}, rng, rows=rows)[:2]


@pytest.mark.parametrize(
    "changes",
    [{}, {"accumulate": 2}, {"precision": "bf16"}, {"clip": 0.0, "optimizer": "adamw"}, {"clip": 0.01}],
    ids=str,
)
def test_one_process_computes_what_torch_by_itself_computes(changes: dict[str, Any]) -> None:
    settings = Settings(**CHOSEN, **changes)
    for model in (Tiny, Adaptive):
        plain = Trainer(model(), Points(), settings, engine=Plain("cpu", settings.precision))
        expected = [plain.advance() for _ in range(6)]
        with accelerated.engine(settings.precision, "cpu") as engine:
            assert (engine.device, engine.rank, engine.world) == ("cpu", 0, 1)
            trainer = Trainer(model(), Points(), settings, engine=engine)
            assert [trainer.advance() for _ in range(6)] == expected
            assert same_state(trainer, plain)


def test_trainings_of_several_precisions_follow_one_another_beside_an_accelerator_of_the_caller() -> None:
    own = optional.accelerate().Accelerator(cpu=True, gradient_accumulation_steps=3)
    for precision in ("bf16", "fp32"):
        with accelerated.engine(precision, "cpu") as engine:
            trainer = Trainer(Tiny(), Points(), Settings(**CHOSEN, precision=precision), engine=engine)
            before = run(Trainer(Tiny(), Points(), Settings(**CHOSEN, precision=precision)), 2)
            assert run(trainer, 2) == before
        assert own.mixed_precision == "no" and own.gradient_accumulation_steps == 3
        assert own.device.type == "cpu" and own.num_processes == 1


def test_a_scaled_loss_gives_the_same_gradients_and_resumes_with_its_scale(tmp_path: Path) -> None:
    """accelerate scales on GPUs alone; the scaler of the CPU stands for theirs, and the network stays in float32."""

    def trainer(engine: Any) -> Trainer:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        engine.accelerator.scaler, engine.accelerator.native_amp = scaler, True
        engine.accelerator.state._mixed_precision = "fp16"
        engine.autocast = Plain().autocast
        return Trainer(Tiny(), Points(), Settings(**CHOSEN), tmp_path, engine=engine)

    expected = Trainer(Tiny(), Points(), Settings(**CHOSEN))
    with accelerated.engine("fp32", "cpu") as engine:
        first = trainer(engine)
        # scales are powers of two, which change no digit
        assert [first.advance() for _ in range(5)] == [expected.advance() for _ in range(5)]
        assert engine.state()["scaler"]["scale"] == 2.0**11
        first.save()
        straight = run(first, 3)
    with accelerated.engine("fp32", "cpu") as engine:
        second = trainer(engine)
        assert second.resume() and engine.state()["scaler"]["scale"] == 2.0**11
        assert run(second, 3) == straight and same_state(first, second)
        # gradients that overflow are passed over: the weights stay, the scale is halved
        weight = second.network.inward.weight.detach().clone()  # type: ignore[union-attr,operator]
        second.network.inward.weight.register_hook(lambda grad: grad * math.inf)  # type: ignore[union-attr,operator]
        _, _, norm = second.advance()
        assert torch.equal(second.network.inward.weight, weight)  # type: ignore[union-attr,arg-type]
        assert not math.isfinite(norm) and second.step == 9
        assert engine.state()["scaler"]["scale"] == 2.0**11


def test_half_precision_is_refused_on_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="'fp16' needs a GPU, and this trains on the CPU; use 'bf16' or 'fp32'"
    ):
        lv.train("shapes", steps=1, precision="fp16", device="cpu", out=tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_launches_that_cannot_be_followed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ACCELERATE_USE_FSDP", "true")
        with (
            pytest.raises(ValueError, match="configured for FSDP, which shards weights"),
            accelerated.engine(),
        ):
            pass
    with pytest.raises(ValueError, match="unknown device 'gpu'"), accelerated.engine(device="gpu"):
        pass
