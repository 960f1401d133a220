"""The models that ship: sound folders, within their size, and as good as their cards say. No data needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import langevin as lv
from langevin import hub
from langevin.modalities.audio.metrics import load_judge, read, silent
from langevin.modalities.image.classifier import load_classifier
from langevin.modalities.image.hues import HUES, leading_hue
from langevin.modalities.image.metrics import RandomConv, frechet, moments, neighbourhood
from langevin.modalities.image.probe import probe
from langevin.modalities.image.shapes import caption, compositions
from langevin.modalities.molecule import edits
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.properties import smiles
from langevin.modalities.molecule.soundness import inspect
from langevin.modalities.protein.design import design
from langevin.modalities.protein.metrics.geometry import BETWEEN
from langevin.modalities.protein.metrics.plausible import measure
from langevin.modalities.protein.protein import of_structure
from langevin.modalities.video.metrics import border_difference
from langevin.modalities.video.metrics import load_judge as load_clip_judge
from langevin.modalities.video.metrics import read as read_clips

JUDGES = Path(__file__).parent / "data" / "judges"
NAMES = hub.names()


def test_all_weights_fit_in_32_mib() -> None:
    assert sum(path.stat().st_size for path in hub.SHIPPED.rglob("*") if path.is_file()) < 32 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_says_what_it_is_and_draws(name: str) -> None:
    info = hub.info(name)
    assert info.licence != "not stated" and info.attribution and info.summary
    assert info.conditions or info.modality in ("molecule", "protein")
    card = (info.path / "card.md").read_text()
    for part in ("## Licence", "## Training", "## Figures", "langevin train", "| loss |"):
        assert part in card, f"the card of {name} lacks {part!r}"
    assert "/tmp" not in card + (info.path / "config.yaml").read_text()
    model = lv.load(name, device="cpu")
    drawn = model.sample(2, seed=0, steps=4)
    assert len(drawn) == 2 and (len(drawn.valid) == 2 or info.modality == "molecule")
    assert drawn.run.licence == info.licence  # weights' licence goes with every sample


@pytest.mark.slow
@pytest.mark.skipif("image-digits" not in NAMES, reason="image-digits does not ship")
def test_digits_are_read_as_asked_and_vary_as_real_ones() -> None:
    judge = load_classifier(JUDGES / "digits.safetensors")
    reference = np.load(JUDGES / "digits_reference.npz", allow_pickle=False)
    assert float(reference["accuracy"]) > 0.99
    labels = [i % 10 for i in range(250)]
    drawn = lv.load("image-digits", device="cpu").sample(250, label=labels, steps=20, guidance=2.0, seed=0)
    pictures = np.stack([np.asarray(item)[..., None] for item in drawn])
    probabilities, features = judge.judge(pictures)
    assert (probabilities.argmax(1) == labels).mean() >= 0.97
    real = reference["test_features"].astype(np.float64)
    floor = frechet(*moments(real[:250]), *moments(real[250:500]))
    assert frechet(*moments(features), *moments(real[250:500])) <= 3 * floor
    ours, theirs = neighbourhood(features, real[250:500]), neighbourhood(real[:250], real[250:500])
    assert ours.coverage >= 0.6 * theirs.coverage and ours.recall >= 0.6 * theirs.recall


@pytest.mark.slow
@pytest.mark.skipif("audio-digits" not in NAMES, reason="audio-digits does not ship")
def test_digits_are_spoken_as_asked_by_whom_is_asked() -> None:
    digit, speaker = (load_judge(JUDGES / f"{name}.safetensors") for name in ("spoken_digits", "speakers"))
    pairs = [(word, name) for word in digit.class_names for name in speaker.class_names]
    prompts = [f"the digit {word} spoken by {name}" for word, name in pairs]
    drawn = list(lv.load("audio-digits", device="cpu").sample(60, prompt=prompts, seed=0))
    words, voices = (
        read(digit, drawn, [word for word, _ in pairs]),
        read(speaker, drawn, [v for _, v in pairs]),
    )
    assert words.accuracy is not None and words.accuracy.value >= 0.85
    assert voices.accuracy is not None and voices.accuracy.value >= 0.85
    assert not any(silent(sound) for sound in drawn)


@pytest.mark.slow
@pytest.mark.skipif("audio-scenes" not in NAMES, reason="audio-scenes does not ship")
def test_environmental_sounds_are_read_as_asked() -> None:
    judge = load_judge(JUDGES / "scenes.safetensors")
    kinds = [kind for kind in judge.class_names for _ in range(5)]
    drawn = list(lv.load("audio-scenes", device="cpu").sample(len(kinds), label=kinds, seed=0))
    found = read(judge, drawn, kinds)
    assert (
        found.accuracy is not None and found.accuracy.value >= 0.62
    )  # the card's .76 less the spread of 50 samples
    assert not any(silent(sound) for sound in drawn)


@pytest.mark.slow
@pytest.mark.skipif("image-shapes" not in NAMES, reason="image-shapes does not ship")
def test_shapes_follow_compositions_held_out_of_training() -> None:
    held_out = compositions("test")
    wanted = [held_out[i * 7919 % len(held_out)] for i in range(150)]
    drawn = lv.load("image-shapes", device="cpu").sample(150, prompt=[caption(a) for a in wanted], seed=0)
    found = probe(np.stack([np.asarray(item) for item in drawn]))
    for name, bar in {"shape": 0.95, "colour": 0.92, "count": 0.95, "position": 0.95}.items():
        right = np.mean([getattr(f, name) == getattr(w, name) for f, w in zip(found, wanted, strict=True)])
        assert right >= bar, (name, right)  # the figures of the card less the spread of 150 samples


@pytest.mark.slow
@pytest.mark.skipif("image-emoji" not in NAMES, reason="image-emoji does not ship")
def test_pictograms_are_those_asked_for_in_the_asked_hue() -> None:
    model, judge = lv.load("image-emoji", device="cpu"), RandomConv(0)
    reference = np.load(JUDGES / "emoji_reference.npz", allow_pickle=False)
    bank = reference["features"].astype(np.float32)
    asked = np.random.default_rng(1).permutation(len(bank))[:60]
    drawn = model.sample(60, prompt=[str(reference["captions"][i]) for i in asked], seed=0)
    found = judge(np.stack([np.asarray(item) for item in drawn]))
    found = (found - reference["mean"]) / reference["std"]
    nearest = ((found[:, None] - bank[None]) ** 2).sum(-1).argsort(1)[:, :5]
    assert (nearest == asked[:, None]).any(1).mean() >= 0.8
    pairs = [(hue, thing) for thing in ("apple", "heart", "octopus") for hue in HUES]
    coloured = model.sample(len(pairs), prompt=[f"{hue} {thing}" for hue, thing in pairs], seed=0)
    led = [leading_hue(np.asarray(item)) for item in coloured]
    assert np.mean([got == hue for got, (hue, _) in zip(led, pairs, strict=True)]) >= 0.6


@pytest.mark.slow
@pytest.mark.skipif("molecule-qm9-heavy" not in NAMES, reason="molecule-qm9-heavy does not ship")
def test_molecules_of_heavy_atoms_are_sound_and_not_twice_the_same() -> None:
    drawn = list(lv.load("molecule-qm9-heavy", device="cpu").sample(200, seed=0))
    judged = inspect(drawn, hydrogens=False, busted=None)
    sound = [smiles(mol) for mol, found in zip(drawn, judged, strict=True) if found.sound]
    assert len(sound) >= 176 and len(set(sound)) >= 0.97 * len(sound)
    symbols = [
        atom.GetSymbol() for mol in drawn if not isinstance(mol, lv.Failure) for atom in mol.GetAtoms()
    ]
    shares = {"C": 0.727, "N": 0.113, "O": 0.160}  # of the test split
    assert all(abs(symbols.count(s) / len(symbols) - share) < 0.05 for s, share in shares.items())


@pytest.mark.slow
@pytest.mark.skipif("molecule-qm9" not in NAMES, reason="molecule-qm9 does not ship")
def test_molecules_are_drawn_whole_and_in_part() -> None:
    model = lv.load("molecule-qm9", device="cpu")
    judged = inspect(list(model.sample(120, seed=0)), busted=None)
    assert sum(bool(found.sound) for found in judged) >= 90
    asked = "C[C@H](O)C(N)=O"
    placed = list(edits.geometry(model, asked, n=12, seed=0))
    assert sum(not isinstance(mol, lv.Failure) and smiles(mol) == asked for mol in placed) >= 11
    known = [of_smiles(text) for text in ("CC(=O)O", "c1ccoc1", "CC#N", "C[C@H](N)C=O", "C1CC1O", "NC=O")]
    found = list(edits.bonds(model, known, seed=0))
    right = [
        not isinstance(a, lv.Failure) and smiles(a) == smiles(b) for a, b in zip(found, known, strict=True)
    ]
    assert sum(right) >= 5


@pytest.mark.slow
@pytest.mark.skipif("video-sprites" not in NAMES, reason="video-sprites does not ship")
def test_sprites_act_as_asked_on_the_asked_background() -> None:
    judges = {
        name: load_clip_judge(JUDGES / f"sprite_{name}.safetensors") for name in ("action", "direction")
    }
    acts = {
        "walk": "walking",
        "slash": "slashing",
        "thrust": "thrusting",
        "shoot": "shooting",
        "spellcast": "casting a spell",
    }
    faces = {"up": "facing away", "left": "facing left", "down": "facing the viewer", "right": "facing right"}
    ways = {
        "up": "away from the viewer",
        "left": "to the left",
        "down": "toward the viewer",
        "right": "to the right",
    }
    grounds = {"a white": (255, 255, 255), "a gray": (128, 128, 128)}
    pairs = [(act, way) for act in acts for way in faces]
    prompts = [
        f"a man with plain brown hair and tanned skin wearing a white shirt and teal pants, "
        f"{acts[act]} {ways[way] if act == 'walk' else faces[way]}, on {list(grounds)[k % 2]} background"
        for k, (act, way) in enumerate(pairs)
    ]
    model = lv.load("video-sprites", device="cpu")
    drawn = list(model.sample(len(pairs), prompt=prompts, seed=0))
    found = {
        name: read_clips(judge, drawn, [pair[k] for pair in pairs])
        for k, (name, judge) in enumerate(judges.items())
    }
    for name, bar in {"action": 0.85, "direction": 0.85}.items():
        accuracy = found[name].accuracy
        assert accuracy is not None and accuracy.value >= bar, (name, accuracy)
    near = [border_difference(clip, list(grounds.values())[k % 2]) for k, clip in enumerate(drawn)]
    assert np.mean(np.array(near) <= 5) >= 0.9
    (moved,) = model.sample(1, like=drawn[0], keep=lv.keep.frames(0), prompt=prompts[0], seed=1)
    assert np.array_equal(moved.frames[0], drawn[0].frames[0])


@pytest.mark.slow
@pytest.mark.skipif("protein-backbone" not in NAMES, reason="protein-backbone does not ship")
def test_backbones_are_like_real_ones_and_hold_a_motif() -> None:
    model = lv.load("protein-backbone", device="cpu")
    drawn = [item for n in (50, 80, 110) for item in model.sample(5, length=n, seed=n)]
    found = [measure(of_structure(item)) for item in drawn]
    bonds, residues = sum(m.bonds for m in found), sum(m.residues for m in found)
    for name in BETWEEN:
        bar = 0.98 if name == "CA–CA" else 0.85
        assert sum(m.right[name] for m in found) >= bar * bonds, name
    assert sum(m.outside for m in found) <= 0.1 * sum(m.torsions for m in found)
    assert sum(m.positive for m in found) <= 0.12 * sum(m.phis for m in found)
    assert sum(m.clashes for m in found) <= 0.005 * residues and not sum(m.broken for m in found)
    assert sum(m.plausible for m in found) >= 0.25 * len(found)
    assert sum(bool(m.radius_usual and m.long_range_usual) for m in found) >= 0.5 * len(found)
    source = of_structure(drawn[5])
    for item in design(model, "10-20/A20-35/10-20", drawn[5], n=2, seed=1):
        places = item.xtra["note"]["con_hal_idx0"]
        assert np.abs(of_structure(item).backbone[places, :3] - source.backbone[19:35, :3]).max() < 0.01
