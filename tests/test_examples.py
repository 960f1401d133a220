"""The examples run as they stand, with small settings, and leave what they say."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import langevin as lv
from langevin import hub
from langevin.assembly import build_model
from langevin.modalities.audio.files import read
from langevin.modalities.audio.mel import preset
from langevin.modalities.audio.sound import Audio
from langevin.modalities.video.files import read as clip_of

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


def lines_of_code(text: str) -> int:
    """Lines that are neither empty, nor comments, nor documentation."""
    tree = ast.parse(text)
    documented: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            first = node.body[0]
            documented |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        i not in documented and not line.strip().startswith("#") and bool(line.strip()) for i, line in lines
    )


def test_an_example_is_read_in_a_minute() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert 10 <= lines_of_code(path.read_text(encoding="utf-8")) <= 40, path.name


def test_every_example_has_a_test_says_what_it_shows_and_how_to_run_it() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert f'"{path.name}"' in tested, f"{path.name} is not tested"
        assert text.startswith('"""') and f"    python examples/{path.name}" in text, path.name


@pytest.mark.slow
@needs_digits
def test_the_new_sampler_has_the_order_that_it_declares_and_draws_pictures(tmp_path: Path) -> None:
    output = run("write_a_sampler.py", tmp_path)
    orders = [float(line.split("order ")[1].split(",")[0]) for line in output.splitlines() if "Midp" in line]
    assert len(orders) == 3 and min(orders) > 1.9
    files = printed_files(output, tmp_path)
    assert len(files) == 16 and all(map(looks_drawn, files))


@pytest.mark.slow
def test_the_joint_mixture_is_recovered(tmp_path: Path) -> None:
    output = run("joint_mixture.py", tmp_path)
    rows = [line.split() for line in output.splitlines()[2:5]]
    for share, true in ((float(row[1]), float(row[2])) for row in rows):
        assert abs(share - true) < 0.05
    assert all(float(row[-1]) > 0.97 for row in rows)  # the frame agrees with the position


@pytest.mark.slow
def test_text_diffusion_learns_to_write_sentences(tmp_path: Path) -> None:
    output = run("discrete_text.py", tmp_path)
    lines = [line for line in output.splitlines() if "% valid" in line]
    shares = [float(line.split("steps: ")[1].split("%")[0]) for line in lines]
    assert shares[-1] > shares[0]  # words that are revealed in one step do not see each other
    assert shares[-1] > 10  # six words at random: a chance of 2e-6


@pytest.mark.slow
def test_a_model_is_trained_on_a_folder(tmp_path: Path) -> None:
    files = printed_files(run("train_on_a_folder.py", tmp_path, "--steps", "6"), tmp_path)
    assert looks_drawn(files[0])
    folder = tmp_path / "runs" / "train_on_a_folder"
    assert len(list((folder / "samples").glob("*.png"))) == 16
    model = lv.load(folder / "model", device="cpu")
    assert len(model.sample(2, label=["triangle", "square"], steps=2)) == 2


@pytest.mark.slow
def test_a_model_is_trained_on_sounds_and_sounds_are_made_from_text(tmp_path: Path) -> None:
    files = printed_files(run("train_on_sounds.py", tmp_path, "--steps", "6"), tmp_path)
    folder = tmp_path / "runs" / "train_on_sounds"
    assert [path.name for path in files] == [
        *(f"000{k}_seed0_{('held', 'plucked')[k % 2]}.wav" for k in range(4)), "spectrograms.png"
    ]  # fmt: skip
    assert looks_drawn(files[-1]) and lv.load(folder / "model", device="cpu").conditions == ("label",)
    # the same on sounds with captions, and a model that is told in words
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for k, path in enumerate(files[:-1]):
        (sounds / path.name).write_bytes(path.read_bytes())
        (sounds / path.name).with_suffix(".txt").write_text(("held", "plucked")[k % 2])
    run("train_on_sounds.py", sounds, str(sounds), "--steps", "1", "--seconds", "0.1")
    output = run(
        "text_to_sound.py", tmp_path, str(sounds / "runs/train_on_sounds/model"), "--prompt", "held, long", "--steps", "2",
        "--seconds", "0.5",
    )  # fmt: skip
    made = printed_files(output, tmp_path)
    assert [path.name for path in made] == ["0000_seed0_held-long.wav", "spectrograms.png", "report.html"]
    assert "held, long: Audio(0.500 s" in output


@pytest.mark.slow
@pytest.mark.skipif("audio-digits" not in hub.names(), reason="audio-digits does not ship")
def test_sentences_become_sounds(tmp_path: Path) -> None:
    files = printed_files(run("text_to_sound.py", tmp_path), tmp_path)
    assert [path.name for path in files[:3]] == [
        f"000{k}_seed0_the-digit-{digit}-spoken-by-theo.wav"
        for k, digit in enumerate(("six", "three", "zero"))
    ]
    assert looks_drawn(files[3])


@pytest.mark.slow
def test_the_new_modality_trains_samples_and_reports(tmp_path: Path) -> None:
    output = run("write_a_modality.py", tmp_path)
    page = printed_files(output, tmp_path)[0].read_text(encoding="utf-8")
    assert page.count("<img") == 24 or "a point is far away" in page
    asked = [line.split()[3:] for line in output.splitlines() if line.startswith("asked")]
    assert len(asked) == 3  # "0.6:", its mean, "±", its deviation
    for wanted, mean, _, spread in asked:
        assert abs(float(wanted[:-1]) - float(mean)) < 0.15 and float(spread) < 0.2


def small_sounds(folder: Path) -> str:
    """The folder of an untrained model of sounds."""
    codec = {"name": "complex_stft", "rate": 8000, "n_fft": 128, "hop": 32}
    label = {"name": "class", "classes": ["six", "seven"], "width": 32}
    modality = {
        "name": "audio",
        "codec": codec,
        "patch": [16, 8],
        "seconds": 0.512,
        "conditions": {"label": label},
    }
    network = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}
    build_model({"name": "small", "modality": modality, "network": network}).save(folder / "model")
    return str(folder / "model")


@pytest.mark.slow
def test_a_long_sound_is_streamed_to_a_file(tmp_path: Path) -> None:
    model = small_sounds(tmp_path)
    output = run("long_sound.py", tmp_path, model, "--seconds", "3", "--steps", "1", "--on", "label=seven")
    (file,) = printed_files(output, tmp_path)
    assert output.startswith("8 windows") and len(read(file)) == 24000


@pytest.mark.slow
def test_loops_are_drawn_and_their_seams_measured(tmp_path: Path) -> None:
    model = small_sounds(tmp_path)
    output = run("loop_sound.py", tmp_path, model, "--seconds", "0.512", "--steps", "2")
    files = printed_files(output, tmp_path)
    assert output.count("change at the seam") == 4 and len(files) == 4
    assert [len(read(file)) for file in files] == [4096] * 2 + [3 * 4096] * 2


@pytest.mark.slow
def test_a_recording_is_transformed(tmp_path: Path) -> None:
    model = small_sounds(tmp_path)
    t = np.arange(11025) / 22050
    Audio(0.3 * np.stack([np.sin(2500 * t), np.sin(3100 * t)]), 22050).save(tmp_path / "own.wav")
    output = run("transform_a_recording.py", tmp_path, model, "--recording", "own.wav", "--steps", "2")
    assert output.count("the recording's own: True") == 3
    sounds = [read(file) for file in printed_files(output, tmp_path)]
    assert [len(sound) for sound in sounds] == [11025] * 5 + [22050]
    assert {(sound.rate, sound.channels) for sound in sounds} == {(22050, 2)}


@pytest.mark.slow
@needs_digits
def test_every_sampler_is_drawn_with(tmp_path: Path) -> None:
    output = run("sample_with_every_sampler.py", tmp_path, "--budgets", "6", "--reference", "24")
    assert all(map(looks_drawn, printed_files(output, tmp_path)))
    seen = {line.split()[0] for line in output.splitlines() if not line.startswith("runs/")}
    assert seen == set(lv.samplers.PRESETS)
    assert output.count("stochastic") >= 4


@pytest.mark.slow
@needs_digits
def test_guidances_stand_side_by_side(tmp_path: Path) -> None:
    output = run("guidance.py", tmp_path, "--steps", "5")
    assert looks_drawn(printed_files(output, tmp_path)[0])
    costs = [int(line.split(" rows of")[0].split()[-1]) for line in output.splitlines() if " rows of" in line]
    assert costs[0] == costs[1] == 5 and costs[3] == 10  # a second branch costs a second row


@pytest.mark.slow
@needs_digits
def test_every_verb_leaves_a_picture(tmp_path: Path) -> None:
    output = run("verbs_on_pictures.py", tmp_path, "--steps", "6")
    files = printed_files(output, tmp_path)
    verbs = {"sample", "start", "keep", "vary", "invert", "interpolate", "steer", "score"}
    assert {path.stem for path in files} == verbs and all(map(looks_drawn, files))
    assert "kept pixels are the user's own: True" in output


@pytest.mark.slow
@pytest.mark.skipif("molecule-qm9-heavy" not in hub.names(), reason="molecule-qm9-heavy does not ship")
def test_molecules_are_drawn_judged_and_varied(tmp_path: Path) -> None:
    output = run("molecules.py", tmp_path)
    assert output.startswith("24 of ") and "five atoms kept" in output
    out = tmp_path / "runs/molecules"
    assert looks_drawn(out / "sound.png") and "5 atoms kept" in (out / "report.html").read_text()
    assert (out / "sound/molecules.sdf").read_text().count("$$$$") == 24
    like = [float(x) for x in re.findall(r"similarity ([\d.]+)", output)]
    assert len(like) == 4 and like[0] > like[-1] + 0.2  # analogues grow less like the lead


@pytest.mark.slow
@pytest.mark.skipif("molecule-qm9" not in hub.names(), reason="molecule-qm9 does not ship")
def test_the_rest_of_molecules_is_drawn(tmp_path: Path) -> None:
    output = run("molecule_parts.py", tmp_path)
    lines = dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)
    assert set(lines) == {"geometry", "bonds", "grown", "linked", "another core"}
    assert lines["geometry"].endswith("C[C@H](O)C(N)=O") and lines["bonds"].endswith("C[C@H](N)C(=O)O")
    out = tmp_path / "runs/molecule-parts"
    assert looks_drawn(out / "geometry.png") and "Å to ETKDG + MMFF" in (out / "geometry.html").read_text()
    for smiles in lines["linked"].split(": ", 1)[1].split():
        assert smiles.count("#N") + smiles.count("N#") >= 2


@pytest.mark.slow
@pytest.mark.skipif("molecule-qm9" not in hub.names(), reason="molecule-qm9 does not ship")
def test_a_shipped_model_is_trained_further_on_an_sdf(tmp_path: Path) -> None:
    output = run("train_on_your_sdf.py", tmp_path, "--steps", "12")
    assert printed_files(output, tmp_path)[0].name == "report.html"
    asked = [float(x) for x in re.findall(r"logP (-?[\d.]+) asked", output)]
    assert len(asked) == 2 and asked[1] > asked[0] + 0.5
    folder = tmp_path / "runs" / "train_on_your_sdf"
    assert len(list(folder.glob("logP=*/samples.json"))) == 2
    model = lv.load(folder / "model", device="cpu")
    assert model.conditions == ("asked",) and "molecule-qm9" in (folder / "model" / "card.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif("molecule-qm9-heavy" not in hub.names(), reason="molecule-qm9-heavy does not ship")
def test_steering_brings_molecules_nearer_to_the_target_than_the_best_of_plain_samples(
    tmp_path: Path,
) -> None:
    output = run("steer_molecules.py", tmp_path)
    plain = [float(x) for x in re.findall(r"plain (-?[\d.]+)", output)]
    steered = [float(x) for x in re.findall(r"steered: mean (-?[\d.]+)", output)]
    best = [float(x) for x in re.findall(r"best of 8: mean (-?[\d.]+)", output)]
    assert len(plain) == len(steered) == len(best) == 2
    assert steered[0] > best[0] + 0.1 and steered[1] > best[1] and best[0] > plain[0]
    costs = re.findall(r"(\d+) and (\d+) rows of the network", output)
    assert len(costs) == 2 and all(int(ours) <= int(theirs) for ours, theirs in costs)
    assert output.count("lineages: ") == output.count("ess: ") == 2
    assert (tmp_path / "runs/steered/QED/molecules.sdf").exists()


@pytest.mark.slow
def test_a_hifigan_takes_the_place_of_griffin_lim(tmp_path: Path) -> None:
    output = run("plug_in_a_hifigan.py", tmp_path)
    assert "random weights" in output
    sounds = {path.stem: read(path) for path in printed_files(output, tmp_path)}
    assert {(sound.rate, len(sound)) for sound in sounds.values()} == {(8000, 16000)}
    assert np.abs(sounds["hifigan"].samples - sounds["griffin_lim"].samples).max() > 0.1
    for name in ("speech-8k", "audioldm-16k"):
        codec = {"name": "log_mel", "spec": {**vars(preset(name))}}
        modality = {"name": "audio", "codec": codec, "patch": [8, 8], "seconds": 0.3}
        network = {"name": "dit", "width": 32, "depth": 1, "heads": 2}
        build_model({"modality": modality, "network": network}).save(tmp_path / name)
    vocoder = str(
        tmp_path / "runs/plug_in_a_hifigan/vocoder"
    )  # its preset is found by its rate, hop and mels
    output = run("plug_in_a_hifigan.py", tmp_path, vocoder, "--model", str(tmp_path / "speech-8k"))
    assert [read(path).seconds for path in printed_files(output, tmp_path)] == [0.3, 0.3]
    with pytest.raises(AssertionError, match="the vocoder was made for another spectrogram"):
        run("plug_in_a_hifigan.py", tmp_path, vocoder, "--model", str(tmp_path / "audioldm-16k"))


@pytest.mark.slow
def test_ligands_are_designed_in_a_pocket(tmp_path: Path) -> None:
    from langevin.assembly import build_model
    from tests.modalities.molecule.pocket_files import ala, ring, write
    from tests.modalities.molecule.test_binding import SMALL

    # untrained: atoms by themselves
    modality = {"name": "pocket", "pocket_atoms": 20, "sizes": {"400": {"1": 1}}}
    objective = {"given": 0.3}
    build_model({"modality": modality, "network": SMALL, "objective": objective}).save(tmp_path / "m")
    file = write(tmp_path, [line for k in range(5) for line in ala(k, 3.8 * k - 8)] + ring())
    output = run("design_in_pocket.py", tmp_path, str(tmp_path / "m"), str(file), "A:LIG:401")
    assert "16 of 16 are molecules" in output
    printed_files(output, tmp_path)


def small_clips(folder: Path) -> str:
    """The folder of an untrained model of clips."""
    model = build_model(
        {
            "name": "small",
            "modality": {
                "name": "video", "codec": {"name": "pixels", "size": 16}, "patch": [1, 8, 8], "frames": 6,
                "conditions": {"prompt": {"name": "text", "width": 16, "depth": 1, "heads": 2, "vector_width": 32}},
            },
            "network": {"name": "dit", "width": 32, "depth": 1, "heads": 2, "axes": 3},
            "parametrisation": "x",
            "objective": {"given": 0.3, "forcing": 0.2},
        }
    )  # fmt: skip
    return str(model.save(folder / "small"))


@pytest.mark.slow
def test_a_model_is_trained_on_clips_and_clips_are_made_from_text(tmp_path: Path) -> None:
    files = printed_files(run("train_on_clips.py", tmp_path, "--steps", "4"), tmp_path)
    assert [path.suffix for path in files] == [".mp4"] * 4 + [".png"] and looks_drawn(files[-1])
    model = lv.load(tmp_path / "runs" / "train_on_clips" / "model", device="cpu")
    assert model.conditions == ("label",) and len(model.sample(1, label="left", steps=2)[0]) == 6
    made = run(
        "text_to_clip.py",
        tmp_path,
        small_clips(tmp_path),
        "--prompt",
        "a cat",
        "--frames",
        "3",
        "--steps",
        "2",
    )
    names = [path.name for path in printed_files(made, tmp_path)]
    assert names == ["0000_seed0_a-cat.mp4", "first.apng", "frames.png", "report.html"]


@pytest.mark.slow
def test_pictures_move_and_clips_are_extended_looped_and_restyled(tmp_path: Path) -> None:
    model = small_clips(tmp_path)
    output = run("animate_a_picture.py", tmp_path, model, "--steps", "2", "-n", "2")
    assert output.count("first frame as given: True") == 2 and len(printed_files(output, tmp_path)) == 3
    output = run("extend_a_clip.py", tmp_path, model, "--steps", "2", "--frames", "7")
    assert output.count("the clip's own are in it: True") == 5 and len(printed_files(output, tmp_path)) == 5
    assert "windows: 13 frames" in output and "slow: 11 frames" in output
    output = run("loop_a_clip.py", tmp_path, model, "--steps", "2", "-n", "1")
    assert [path.suffix for path in printed_files(output, tmp_path)] == [".mp4", ".gif", ".gif"]
    output = run("restyle_a_video.py", tmp_path, model, "--steps", "2")
    clips = [clip_of(path) for path in printed_files(output, tmp_path)]
    assert [clip.size for clip in clips] == [(16, 16)] * 2 and all(clip.audio is not None for clip in clips)


@pytest.mark.slow
def test_proteins_are_designed(tmp_path: Path) -> None:
    network = {"name": "ipa", "width": 32, "depth": 1, "heads": 2, "axes": 1}
    node = {
        "name": "small",
        "modality": {"name": "protein", "paired": False},
        "network": network,
        "parametrisation": {"positions": "velocity", "frames": "rate"},
    }
    build_model(node).save(tmp_path / "model", card="# small\n")
    output = run("design_proteins.py", tmp_path, str(tmp_path / "model"), "--steps", "2", "--length", "40")
    designs = json.loads(printed_files(output, tmp_path)[2].read_text())
    assert len(designs) == 4 and all(len(one["con_ref_idx0"]) == 16 for one in designs)
    assert all(
        len(list((tmp_path / "runs/proteins" / name).glob("*.pdb"))) == 4 for name in ("new", "sequences")
    )
    assert len(list((tmp_path / "runs/proteins/ring").glob("*.pdb"))) == 1
    scores = (tmp_path / "runs/proteins/binders/scores.csv").read_text().splitlines()
    assert len(scores) == 3 and len(list((tmp_path / "runs/proteins/variations").glob("*.pdb"))) == 4


@pytest.mark.slow
@pytest.mark.skipif("protein-backbone" not in hub.names(), reason="protein-backbone does not ship")
def test_a_model_learns_from_a_folder_of_structures(tmp_path: Path) -> None:
    output = run("train_on_structures.py", tmp_path, "--steps", "8", "--width", "32")
    assert printed_files(output, tmp_path)[-1].name == "report.html"
    assert output.count("CA–CA distances as in real chains") == 4
    folder = tmp_path / "runs" / "train_on_structures"
    assert len(list((folder / "structures").glob("*.pdb"))) == 24
    assert lv.load(folder / "model", device="cpu").name == "mine"
