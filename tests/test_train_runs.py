"""Runs of ``langevin train`` as processes: several of them for one model, and one for each point of a sweep."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import langevin as lv

ROOT = Path(__file__).parents[1]
SMALL = [
    "training.steps=3",
    "training.batch=8",
    "training.log=1",
    "+model.network={width: 16, depth: 1, heads: 2}",
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return folder


LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
    # the settings of accelerate's own that are not used must do no harm
    "accelerate": [
        "-m", "accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1", "--dynamo_backend=no",
        "--mixed_precision=bf16", "--gradient_accumulation_steps=4",
    ],
}  # fmt: skip


def train(folder: Path, *arguments: str, launcher: str | None = None) -> str:
    """What ``langevin train`` prints in a folder."""
    launch = LAUNCHERS[launcher] if launcher else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *launch, "-m", "langevin.cli.main", "train", *SMALL, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses(folder: Path) -> list[float]:
    with open(folder / "log.csv", encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_train_the_model_of_one(launcher: str, pictures: Path, tmp_path: Path) -> None:
    train(tmp_path, f"data.path={pictures}", "out=one")
    train(tmp_path, f"data.path={pictures}", "out=two", launcher=launcher)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 3  # one log, written by the first process
    assert two == pytest.approx(one, rel=1e-4)
    models = [lv.load(tmp_path / name, device="cpu").network.state_dict() for name in ("one", "two")]
    for name, value in models[0].items():
        assert (value - models[1][name]).abs().max() < 2e-3, name  # half precision, and sums in another order


@pytest.mark.slow
def test_every_point_of_a_sweep_has_its_own_run(pictures: Path, tmp_path: Path) -> None:
    output = train(tmp_path, f"data.path={pictures}", "training.lr=0.001,0.01", "--multirun")
    folders = [Path(line) for line in output.splitlines()]
    assert len(set(folders)) == 2 and all(lv.load(folder, device="cpu").parameters for folder in folders)
    first, second = map(losses, folders)
    assert (
        first[0] == second[0] and first[-1] != second[-1]
    )  # the same seed, another rate; neither resumed the other


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the names of threads are read from /proc")
def test_no_thread_of_a_group_of_processes_outlives_a_training(tmp_path: Path) -> None:
    """A group that something still holds at the end of a process aborts it now and then."""
    script = tmp_path / "child.py"
    script.write_text(
        "import pathlib, torch\n"
        "from langevin import accelerated\n"
        "def threads():\n"
        "    return [path.read_text().strip() for path in pathlib.Path('/proc/self/task').glob('*/comm')]\n"
        "with accelerated.engine('fp32', 'cpu') as engine:\n"
        "    torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])\n"
        "    engine.average([torch.ones(2)])\n"
        "    assert any('gloo' in name for name in threads())\n"
        "assert not any('gloo' in name for name in threads()), threads()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *LAUNCHERS["torchrun"], str(script)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
