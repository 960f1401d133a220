"""The examples run as they stand, with small settings, and leave what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import langevin as lv
from langevin import hub

EXAMPLES = Path(__file__).parents[1] / "examples"
needs_digits = pytest.mark.skipif("image-digits" not in hub.names(), reason="image-digits does not ship")


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints when it is run in a folder."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}:\n{done.stderr[-3000:]}"
    return done.stdout


def printed_files(output: str, folder: Path) -> list[Path]:
    """The files that an example names, each on a line of its own."""
    paths = [folder / line for line in output.splitlines() if line.startswith("runs/")]
    assert paths and all(path.is_file() and path.stat().st_size > 100 for path in paths), output
    return paths


def looks_drawn(path: Path) -> bool:
    """Whether a picture can be read and is not of one colour."""
    return float(np.asarray(Image.open(path).convert("L")).std()) > 1


def test_every_example_has_a_test_says_what_it_shows_and_how_to_run_it() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert f'"{path.name}"' in tested, f"{path.name} is not tested"
        assert text.startswith('"""') and f"    python examples/{path.name}" in text, path.name


@pytest.mark.slow
def test_the_new_sampler_has_the_order_that_it_declares(tmp_path: Path) -> None:
    output = run("write_a_sampler.py", tmp_path)
    orders = [
        float(line.split("order ")[1].split(",")[0]) for line in output.splitlines() if "Midpoint" in line
    ]
    assert len(orders) == 3 and min(orders) > 1.9


@pytest.mark.slow
@needs_digits
def test_the_new_sampler_draws_pictures(tmp_path: Path) -> None:
    files = printed_files(run("write_a_sampler.py", tmp_path, "--model", "image-digits"), tmp_path)
    assert len(files) == 16 and all(map(looks_drawn, files))


@pytest.mark.slow
def test_the_joint_mixture_is_recovered(tmp_path: Path) -> None:
    output = run("joint_mixture.py", tmp_path, "--samples", "2000", "--steps", "50")
    rows = [line.split() for line in output.splitlines()[2:5]]
    for share, true in ((float(row[1]), float(row[2])) for row in rows):
        assert abs(share - true) < 0.05
    assert all(float(row[-1]) > 0.97 for row in rows)  # the frame agrees with the position


@pytest.mark.slow
def test_text_diffusion_learns_to_write_sentences(tmp_path: Path) -> None:
    output = run("discrete_text.py", tmp_path, "--steps", "300", "--samples", "400")
    lines = [line for line in output.splitlines() if "% valid" in line]
    shares = [float(line.split("steps: ")[1].split("%")[0]) for line in lines]
    assert shares[-1] > shares[0]  # words that are revealed in one step do not see each other
    assert shares[-1] > 10  # six words at random: a chance of 2e-6


@pytest.mark.slow
def test_a_model_is_trained_on_a_folder(tmp_path: Path) -> None:
    files = printed_files(run("train_on_a_folder.py", tmp_path, "--steps", "6", "--batch", "8"), tmp_path)
    assert looks_drawn(files[0])
    folder = tmp_path / "runs" / "train_on_a_folder"
    assert len(list((folder / "samples").glob("*.png"))) == 16
    model = lv.load(folder / "model", device="cpu")
    assert len(model.sample(2, label=["disc", "square"], steps=2)) == 2


@pytest.mark.slow
def test_the_new_modality_trains_samples_and_reports(tmp_path: Path) -> None:
    output = run("write_a_modality.py", tmp_path, "--steps", "60")
    page = printed_files(output, tmp_path)[0].read_text(encoding="utf-8")
    assert page.count("<img") == 24 or "a point is far away" in page
    losses = [float(line.split("loss ")[1]) for line in output.splitlines() if line.startswith("step")]
    assert losses[-1] < 2
    assert (tmp_path / "runs" / "write_a_modality" / "samples.json").is_file()


@pytest.mark.slow
@needs_digits
def test_every_sampler_is_drawn_with(tmp_path: Path) -> None:
    options = ("--budgets", "6", "--reference", "24", "--conditions", "label=3,8")
    output = run("sample_with_every_sampler.py", tmp_path, "image-digits", *options)
    assert all(map(looks_drawn, printed_files(output, tmp_path)))
    seen = {line.split()[0] for line in output.splitlines() if not line.startswith("runs/")}
    assert seen == set(lv.samplers.PRESETS)
    assert output.count("stochastic") >= 4 and output.count("refused") < len(seen) / 2


@pytest.mark.slow
@needs_digits
def test_guidances_stand_side_by_side(tmp_path: Path) -> None:
    output = run("guidance.py", tmp_path, "--samples", "2", "--steps", "5")
    assert looks_drawn(printed_files(output, tmp_path)[0])
    costs = [int(line.split(" rows of")[0].split()[-1]) for line in output.splitlines() if " rows of" in line]
    assert costs[0] == costs[1] == 5 and costs[3] == 10  # a second branch costs a second row


@pytest.mark.slow
@needs_digits
def test_every_verb_leaves_a_picture(tmp_path: Path) -> None:
    output = run("verbs_on_pictures.py", tmp_path, "--steps", "6", "--particles", "2")
    files = printed_files(output, tmp_path)
    verbs = {"sample", "start", "keep", "vary", "invert", "interpolate", "steer", "score"}
    assert {path.stem for path in files} == verbs and all(map(looks_drawn, files))
    assert "kept pixels are the user's own: True" in output
