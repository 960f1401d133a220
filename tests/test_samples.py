"""Samples: native objects in a sequence, folders that say how to repeat them, one page that shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from langevin.folders import FolderError
from langevin.modalities.base import Failure, Run, Samples
from langevin.modalities.samples import MANIFEST, read_manifest
from langevin.report import external_resources
from tests.toy import Squares

RUN = Run(
    model="toy-squares",
    modality="squares",
    sampler="ddim",
    grid=[1.0, 0.5, 0.0],
    guidance=4.0,
    seed=7,
    evaluations=4,
    network_rows=8,
    licence="CC0-1.0",
    attribution="nobody",
)
COLOURS = torch.tensor([[0.2, 0.4, 0.6], [0.95, 0.0, 0.0], [0.0, 0.5, 0.0]])
PROMPTS = [{"prompt": 'a "red", = <apple> 🍎'}, {"prompt": "b"}, {"prompt": "c"}]
NAMES = ["0000_seed7_a-red-apple.png", "0002_seed7_c.png"]


@pytest.fixture
def samples() -> Samples:
    modality = Squares()
    return Samples(modality.decode(COLOURS), modality, RUN, COLOURS, None, PROMPTS)


class TestSequence:
    def test_items_failures_and_the_raw_state(self, samples: Samples) -> None:
        assert len(samples) == 3 and samples[0].size == (8, 8) and samples[-1].getpixel((0, 0)) == (0, 127, 0)
        assert samples[1] == Failure("too <red>") and samples.state is COLOURS
        assert repr(samples) == "Samples(3 of toy-squares, 1 failed)"

    def test_selections_keep_rows_together(self, samples: Samples) -> None:
        assert samples.valid.indices == (0, 2) and samples.failures.indices == (1,)
        assert torch.equal(samples.valid.state, COLOURS[[0, 2]])
        assert samples[1:].conditions == (PROMPTS[1], PROMPTS[2]) and samples[::2].indices == (0, 2)
        leaves = Samples(samples.items, samples.modality, RUN, {"a": COLOURS}, COLOURS > 0.1)
        assert torch.equal(leaves.valid.state["a"], COLOURS[[0, 2]]) and leaves.valid.mask.shape == (2, 3)

    def test_lengths_must_agree(self) -> None:
        with pytest.raises(ValueError, match="3 samples cannot have 1 conditions"):
            Samples([1, 2, 3], Squares(), conditions=[{}])
        with pytest.raises(ValueError, match="1 samples cannot have 2 indices"):
            Samples([1], Squares(), indices=[0, 1])


class TestFolder:
    def test_native_files_and_how_to_repeat_them(self, samples: Samples, tmp_path: Path) -> None:
        paths = samples.save(tmp_path / "out")
        assert [path.name for path in paths] == NAMES
        manifest = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))
        assert manifest["format"] == 1 and manifest["seed"] == 7 and manifest["guidance"] == 4.0
        assert manifest["grid"] == [1.0, 0.5, 0.0] and manifest["licence"] == "CC0-1.0"
        assert {"langevin", "python", "torch"} <= set(manifest["versions"])
        assert manifest["samples"] == [
            {"file": NAMES[0], "index": 0, "condition": PROMPTS[0]},
            {"file": None, "index": 1, "condition": PROMPTS[1], "failure": "too <red>"},
            {"file": NAMES[1], "index": 2, "condition": PROMPTS[2]},
        ]
        for entry in manifest["samples"]:
            assert entry["file"] is None or (tmp_path / "out" / entry["file"]).is_file()
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [*NAMES, MANIFEST]

    def test_the_same_run_may_be_saved_again(self, samples: Samples, tmp_path: Path) -> None:
        assert samples.save(tmp_path) == samples.save(tmp_path)

    def test_files_have_the_suffix_that_is_asked_for(
        self, samples: Samples, tmp_path: Path, monkeypatch: Any
    ) -> None:
        with pytest.raises(ValueError, match=r"unknown suffix of squares files '\.webp'; .*\.png"):
            samples.save(tmp_path, suffix=".webp")
        assert not list(tmp_path.iterdir())
        monkeypatch.setattr(Squares, "written", (".png", ".webp"))
        names = [path.name for path in samples.save(tmp_path, suffix=".webp")]
        assert names == [name.replace(".png", ".webp") for name in NAMES]
        assert [e["file"] for e in read_manifest(tmp_path)["samples"]] == [names[0], None, names[1]]
        samples.save(tmp_path, overwrite=True)
        assert sorted(p.name for p in tmp_path.iterdir()) == [*NAMES, MANIFEST]

    def test_another_run_is_not_overwritten_unless_asked(self, samples: Samples, tmp_path: Path) -> None:
        samples.save(tmp_path)
        (tmp_path / "mine.txt").write_text("mine")
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        other = Samples(samples.items[:1], samples.modality, Run(model="other", seed=1))
        with pytest.raises(FileExistsError, match="holds 3 samples of toy-squares with seed 7"):
            other.save(tmp_path)
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        other.save(tmp_path, overwrite=True)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["0000_seed1.png", "mine.txt", MANIFEST]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_files_that_belong_to_no_run_are_never_replaced(
        self, samples: Samples, tmp_path: Path, overwrite: bool
    ) -> None:
        (tmp_path / NAMES[1]).write_text("mine")
        with pytest.raises(FileExistsError, match=r"0002_seed7_c\.png is there already"):
            samples.save(tmp_path, overwrite=overwrite)
        assert [p.name for p in tmp_path.iterdir()] == NAMES[1:]
        assert (tmp_path / NAMES[1]).read_text() == "mine"

    def test_a_failure_while_saving_leaves_nothing(
        self, samples: Samples, tmp_path: Path, monkeypatch: Any
    ) -> None:
        def save(self: Squares, item: Any, path: Path) -> None:
            if path.name.startswith(".0002"):
                raise OSError(28, "No space left on device")
            item.save(path)

        monkeypatch.setattr(Squares, "save", save)
        with pytest.raises(OSError, match="No space left"):
            samples.save(tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[", "not a list of samples"),
            ("[]", "not a list of samples"),
            ('{"format": 1}', "not a list of samples"),
            ('{"format": 2, "samples": []}', "of format 2"),
            ('{"format": 1, "samples": [{"file": 3}]}', "not a list of samples"),
            ('{"format": 1, "samples": [{"file": "../x.png"}]}', "not a file in the folder"),
            ('{"format": 1, "samples": [{"file": "/etc/passwd"}]}', "not a file in the folder"),
            ('{"format": 1, "samples": [{"file": "a\\\\b.png"}]}', "not a file in the folder"),
        ],
    )
    def test_lists_of_strangers_are_checked(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(FolderError, match=message):
            read_manifest(tmp_path)

    def test_values_without_a_plain_form_are_named(self, tmp_path: Path) -> None:
        conditions = [
            {"x": torch.tensor([1.0, float("inf")]), "big": torch.zeros(1000), "o": object(), "n": None}
        ]
        Samples([Failure("")], Squares(), conditions=conditions).save(tmp_path)
        condition = read_manifest(tmp_path)["samples"][0]["condition"]
        assert condition["x"] == [1.0, "inf"] and condition["n"] is None
        assert condition["o"] == {"given": "object"} and condition["big"]["given"] == "torch.Tensor"
        assert len(condition["big"]["sha256"]) == 64


class TestPage:
    def test_the_page_shows_every_sample_and_escapes_text(self, samples: Samples, tmp_path: Path) -> None:
        html = samples.report(tmp_path / "a" / "report.html").read_text(encoding="utf-8")
        assert html.count("data:image/png;base64,") == 2 and external_resources(html) == []
        assert "too &lt;red&gt;" in html and "too <red>" not in html and "&lt;apple&gt; 🍎" in html
        assert "toy-squares" in html and "CC0-1.0" in html and "nobody" in html
        assert "<td>valid</td>" in html and "share that could be read" in html

    def test_a_selection_is_called_one(self, samples: Samples) -> None:
        assert "none left out" in samples.page().html() and "none left out" not in samples.valid.page().html()

    def test_the_recipe_is_the_call(self, samples: Samples) -> None:
        html = samples.page().html()
        assert "model = lv.load(&#x27;toy-squares&#x27;)" in html
        for argument in ("grid=[1.0, 0.5, 0.0]", "guidance=4.0", "seed=7"):
            assert argument in html

    def test_notebooks_show_a_gallery(self, samples: Samples) -> None:
        html = samples._repr_html_()
        assert html.count("<img") == 2 and "<apple>" not in html and external_resources(html) == []


class TestCollect:
    def test_a_record_becomes_a_run(self) -> None:
        record = {
            "model": "m",
            "sampler": "ddim",
            "seed": 3,
            "strength": None,
            "keep": "box",
            "evaluations": 5,
        }
        samples = Squares().collect(COLOURS, None, record, {"prompt": ["a", "b", "c"]})
        assert samples.run == Run(
            model="m", modality="squares", sampler="ddim", seed=3, evaluations=5, options={"keep": "box"}
        )
        assert samples.conditions[1] == {"prompt": "b"} and isinstance(samples[1], Failure)
