"""Model folders with parts, and folders that ask for more than they bring."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

import langevin as lv
from langevin import folders, optional
from langevin.assembly import build_model
from langevin.cli.main import main
from langevin.core.registry import BuildError
from langevin.modalities.image.vae import ConvVAE, save_vae
from tests.core.test_conditioning_pretrained import bert, write_tokenizer


def config(**modality: object) -> dict:
    return {
        "name": "tiny",
        "modality": {
            "name": "image",
            "codec": {"name": "pixels", "size": 8},
            "patch": 2,
            "conditions": {"label": {"name": "class", "classes": 3, "width": 16}},
            **modality,
        },
        "network": {"name": "dit", "width": 16, "depth": 1, "heads": 2},
    }


def test_a_latent_model_carries_its_autoencoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = ConvVAE(widths=(8, 16, 16))
    vae.fit_statistics([torch.rand(4, 3, 16, 16) * 2 - 1])
    save_vae(vae, tmp_path / "vae", "# a test")
    latent = config(codec={"name": "vae", "folder": str(tmp_path / "vae"), "size": 16})
    model = build_model(latent)
    model.save(tmp_path / "model")
    (tmp_path / "vae").rename(tmp_path / "gone")
    again = lv.load(tmp_path / "model", device="cpu")
    torch.testing.assert_close(
        again.sample(2, steps=2).state, model.sample(2, steps=2).state, atol=2e-2, rtol=0
    )
    assert again.sample(1, steps=2)[0].size == (16, 16)
    again.save(tmp_path / "copy")
    lv.load(tmp_path / "copy", device="cpu")


@pytest.mark.parametrize("elsewhere", ["/etc", "../vae", "parts/../../vae"])
def test_a_part_outside_the_folder_is_refused(tmp_path: Path, elsewhere: str) -> None:
    build_model(config()).save(tmp_path / "m")
    path = tmp_path / "m" / "config.yaml"
    path.write_text(
        path.read_text().replace("{name: pixels, size: 8}", f"{{name: vae, folder: {elsewhere}, size: 8}}")
    )
    with pytest.raises(lv.FolderError, match="outside the folder"):
        lv.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width: 16, depth: 1", "width: 65536, depth: 1"),
        ("depth: 1", "depth: 1000000000"),
        ("classes: 3", "classes: 4000000000"),
        # every number is smaller than the count of weights, and what they ask for is not
        ("prompt: {name: text, width: 16, depth: 1", "prompt: {name: text, width: 20000, depth: 60"),
        ("prompt: {name: text, width: 16, depth: 1", "prompt: {name: text, width: 8, depth: 9000000"),
    ],
)
def test_a_network_larger_than_its_weights_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    path = tampered(tmp_path, old, new)

    def never(*shape: object, **settings: object) -> None:
        raise AssertionError("weights were read, or memory was asked for")

    monkeypatch.setattr(folders, "read_weights", never)
    began = time.process_time()
    with pytest.raises(lv.FolderError, match=r"m/config.yaml: .*larger network"):
        lv.load(path)
    assert time.process_time() - began < 5


def tampered(tmp_path: Path, old: str, new: str) -> Path:
    """A model folder in whose configuration a text was replaced."""
    nodes = {
        "label": {"name": "class", "classes": 3, "width": 16},
        "prompt": {"name": "text", "width": 16, "depth": 1, "heads": 4},
    }
    sampling = {"sampler": "angle", "steps": 20, "guidance": 2.0, "density": [1.0, 2.0]}
    build_model({**config(conditions=nodes), "parametrisation": "v", "sampling": sampling}).save(
        tmp_path / "m"
    )
    path = tmp_path / "m" / "config.yaml"
    text = path.read_text()
    assert old in text, text
    path.write_text(text.replace(old, new, 1))
    return tmp_path / "m"


def test_an_untouched_folder_loads(tmp_path: Path) -> None:
    assert lv.load(tampered(tmp_path, "patch: 2", "patch: 2"), device="cpu").conditions == ("label", "prompt")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("patch: 2", "patch: 0", "patch must be at least 1, got 0"),
        ("patch: 2", "patch: -2", "patch must be at least 1, got -2"),
        ("size: 8", "size: -8", "size must lie in 1"),
        ("size: 8", "size: 320000", "size must lie in 1 … 9459 pixels, got 320000"),
        ("heads: 2", "heads: 0", "heads must be at least 1, got 0"),
        ("heads: 4", "heads: 0", "ZeroDivisionError"),
        ("heads: 2", "heads: 2, mlp_ratio: .inf", "infinity"),
        ("heads: 2", "heads: 2, mlp_ratio: .nan", "NaN"),
        ("heads: 2", "heads: 2, qk_norm: false", "do not fit its config.yaml"),
        ("parametrisation: v", "parametrisation: velocty", "did you mean 'velocity'"),
        ("parametrisation: v", "parametrisation: {x: v}", "unknown leaf 'x'"),
        ("sampler: angle", "sampler: nothere", "unknown sampler 'nothere'"),
        ("sampler: angle", "sampler: 3", "unknown sampler '3'"),
        ("steps: 20", "steps: x", "steps must be a whole number"),
        ("steps: 20", "steps: 0", "steps must be a whole number"),
        ("guidance: 2.0", "guidance: .nan", "guidance must be a finite number, got nan"),
        ("guidance: 2.0", "guidance: much", "guidance must be a finite number, got 'much'"),
        ("guidance: 2.0", "temperature: 0", "a temperature must be a positive number, got 0"),
        ("guidance: 2.0", "temperature: warm", "a temperature must be a positive number, got 'warm'"),
        ("guidance: 2.0", "temperature: {bonds: 0.5}", "unknown leaf of classes 'bonds'"),
        ("density: [1.0, 2.0]", "density: [1.0, a]", "density must hold finite numbers"),
        ("density: [1.0, 2.0]", "density: [0.0, 0.0]", "density must hold finite numbers"),
        ("density: [1.0, 2.0]", "density: 3", "density must hold finite numbers"),
        ("sampling:", "drop: 5\nsampling:", "drop must be a mapping, got 5"),
        ("network:", "objective: 5\nnetwork:", "objective must be a mapping, got 5"),
        (
            "network:",
            "objective: {target: velocty}\nnetwork:",
            "unknown target 'velocty'; did you mean 'velo",
        ),
        ("network:", "objective: {target: 3}\nnetwork:", "target: expected a string or a mapping"),
        ("network:", "objective: {target: {a: x}}\nnetwork:", "unknown leaf of the target 'a'"),
    ],
)
def test_values_that_cannot_be_are_named_with_their_file_when_a_folder_is_loaded(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = tampered(tmp_path, old, new)
    with pytest.raises(lv.FolderError, match=re.escape(str(path))) as caught:
        lv.load(path)
    assert "config.yaml" in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize("length", [-5, 0])
def test_a_text_of_no_bytes_is_refused_when_a_folder_is_loaded(tmp_path: Path, length: int) -> None:
    node = {"name": "text", "width": 16, "length": 31}
    build_model(config(conditions={"prompt": node})).save(tmp_path / "m")
    path = tmp_path / "m" / "config.yaml"
    path.write_text(path.read_text().replace("length: 31", f"length: {length}"))
    with pytest.raises(lv.FolderError, match=f"length must be at least 1, got {length}"):
        lv.load(tmp_path / "m")


def test_a_target_is_one_that_its_leaf_has() -> None:
    molecule = {"name": "molecule", "sizes": {"7": 1}}
    network = {"name": "dit", "width": 16, "depth": 1, "heads": 2, "axes": 0, "pair_width": 4}
    tree = {"modality": molecule, "network": network}
    for target in ("x", {"positions": "eps", "elements": "cross-entropy", "bonds": "elbo"}, None):
        assert build_model({**tree, "objective": {"target": target}}).objective.target == target
    with pytest.raises(
        BuildError, match="unknown target of bonds 'velocity'; .*allowed: cross-entropy, elbo"
    ):
        build_model({**tree, "objective": {"target": {"bonds": "velocity"}}})


def test_a_hostile_folder_is_one_line_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tampered(tmp_path, "patch: 2", "patch: 0")
    assert main(["sample", str(path), "-n", "1", "--out", str(tmp_path / "o")]) == 1
    said = capsys.readouterr().err
    assert "config.yaml" in said and "patch must be at least 1" in said and "Traceback" not in said


def test_a_pretrained_text_encoder_passes_the_check(tmp_path: Path) -> None:
    bert(optional.transformers()).save_pretrained(tmp_path / "encoder")
    write_tokenizer(tmp_path / "encoder")
    node = {"name": "transformers-text", "folder": str(tmp_path / "encoder"), "width": 24, "vector_width": 16}
    build_model(config(conditions={"prompt": node})).save(tmp_path / "m")
    assert lv.load(tmp_path / "m", device="cpu").sample(1, prompt="a b", steps=1)[0].size == (8, 8)
    path = tmp_path / "m" / "config.yaml"
    path.write_text(path.read_text().replace("width: 24", "width: 240000000", 1))
    with pytest.raises(lv.FolderError, match="larger network"):
        lv.load(tmp_path / "m")


def test_unknown_keys_are_errors_that_suggest() -> None:
    with pytest.raises(BuildError, match="did you mean 'network'"):
        build_model({**config(), "netwrk": {}})
    with pytest.raises(BuildError, match="did you mean 'guidance'"):
        build_model({**config(), "sampling": {"guidence": 2.0}})
    with pytest.raises(ValueError, match="did you mean 'image'"):
        build_model({**config(), "modality": {"name": "imag"}})


def test_the_initial_weights_follow_from_the_seed_and_leave_the_callers_stream_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b = build_model(config(), seed=1), build_model(config(), seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(x, y) for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True))
