"""Files of prompts: what a row says, what is wrong with it, and the samples that come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from langevin import prompts
from langevin.assembly import build_model
from langevin.cli.main import main
from langevin.modalities.image.plugin import ImageSpec
from langevin.modalities.recipes import recipe
from tests.toy import Spec

CONDITIONS = ("prompt", "speaker")
TEXT = {"name": "text", "width": 16, "depth": 1, "length": 64, "heads": 2, "vector_width": 32}
TABLE = """\
prompt,seed,speaker,side,n,negative
"seven, spoken by theo",7,theo,,,
three,,,4,2,a cat
drei,18446744073709551615,anna,4,,
"""


def model(name: str = "small") -> Any:
    """An untrained model of pictures."""
    modality = {
        "name": "image",
        "codec": {"name": "pixels", "size": 8},
        "patch": 4,
        "conditions": {
            "prompt": TEXT,
            "speaker": {"name": "class", "classes": ["theo", "anna"], "width": 32},
        },
    }
    network = {"name": "dit", "width": 32, "depth": 1, "heads": 2, "modulation": "shared"}
    return build_model({"name": name, "modality": modality, "network": network})


def written(folder: Path, text: str | bytes, name: str = "p.csv") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


class TestFiles:
    def test_cells_take_the_types_of_their_columns(self, tmp_path: Path) -> None:
        assert prompts.rows_of(written(tmp_path, TABLE), CONDITIONS, Spec) == [
            {"prompt": "seven, spoken by theo", "seed": 7, "speaker": "theo"},
            {"prompt": "three", "side": 4, "n": 2, "negative": "a cat"},
            {"prompt": "drei", "seed": 2**64 - 1, "speaker": "anna", "side": 4},
        ]
        text = "speaker\ttone\twindow\tsmooth\r\n3\twarm\t0.5 1\tno\r\n\r\n"
        rows = prompts.rows_of(written(tmp_path, b"\xef\xbb\xbf" + text.encode(), "p.tsv"), CONDITIONS, Spec)
        assert rows == [{"speaker": "3", "tone": "warm", "window": (0.5, 1.0), "smooth": False}]

    def test_a_text_has_a_prompt_on_each_line(self, tmp_path: Path) -> None:
        path = written(tmp_path, 'a red star \n\n 🍎, "two"\n', "p.txt")
        assert prompts.rows_of(path, CONDITIONS, Spec) == [{"prompt": "a red star"}, {"prompt": '🍎, "two"'}]
        with pytest.raises(ValueError, match="this model has no prompt; it takes label"):
            prompts.rows_of(path, ("label",), Spec)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "prompt,sied\na,1\n",
                r"row 1: unknown column 'sied'; did you mean 'side'\?.*prompt, seed, side",
            ),
            ("prompt,prompt\na,b\n", "row 1: the column 'prompt' is there twice"),
            ("prompt,seed\na,1\nb,-1\n", "row 3: seed must be a whole number from 0 to .*, got '-1'"),
            ("prompt,seed\na,1.5\n", "row 2: seed must be a whole number"),
            ("prompt,n\na,0\n", "row 2: n must be a whole number from 1"),
            ("prompt,side\na,four\n", "row 2: side must be a whole number, got 'four'"),
            ("prompt,tone\na,wram\n", r"row 2: unknown tone 'wram'; did you mean 'warm'\?"),
            ("prompt,window\na,1 2 3\n", "row 2: window takes 2 numbers, got '1 2 3'"),
            ("prompt,window\na,1 nan\n", "row 2: window must be a number, got 'nan'"),
            ("prompt,smooth\na,perhaps\n", "row 2: smooth must be yes or no"),
            ("prompt,seed\na, b,1\n", "row 2 has 3 cells for 2 columns; quote what holds commas"),
            ('prompt,seed\n"a,1\n', "row 2 is no row of a table"),
            ("", "has no rows"),
            ("prompt\n\n", "has no rows"),
            (b"prompt\na\n\xff\xfe\n", "row 3 is not UTF-8"),
            (b"prompt\na\0b\n", "row 2 holds a NUL byte"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_row(self, tmp_path: Path, text: str | bytes, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            prompts.rows_of(written(tmp_path, text), CONDITIONS, Spec)

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="there is no file"):
            prompts.rows_of(tmp_path / "absent.csv", CONDITIONS, Spec)
        with pytest.raises(ValueError, match="rows come from .csv, .tsv, .txt"):
            prompts.rows_of(written(tmp_path, "a", "p.xlsx"), CONDITIONS, Spec)
        with pytest.raises(ValueError, match="takes no negative: it has no prompt"):
            prompts.rows_of(written(tmp_path, "label,negative\n1,a\n"), ("label",), Spec)
        large = tmp_path / "large.csv"
        with large.open("wb") as file:
            file.truncate(2 << 30)  # takes no room on the disk
        with pytest.raises(ValueError, match="larger than 64 MiB"):
            prompts.rows_of(large, CONDITIONS, Spec)

    def test_a_choice_of_numbers_is_not_taken_for_text(self) -> None:
        assert prompts._typed("x", "yes", Literal["yes", "no"]) == "yes"


class TestSamples:
    def test_a_row_gives_what_it_gives_alone(self) -> None:
        made = model()
        rows = [
            {"prompt": "seven", "seed": 7, "speaker": "theo"},
            {"prompt": "three", "height": 12, "n": 2},
            {"prompt": "nine", "seed": 7, "speaker": "anna", "negative": "a cat"},
            {"prompt": "one", "speaker": "theo", "seed": 3, "n": 2},
        ]
        how = {"steps": 2, "guidance": 2.0, "batch_size": 2}
        samples = prompts.sample(made, rows, seed=5, **how)
        assert samples.seeds == (7, 5, 5, 7, 3, 3) and samples.indices == (0, 1, 2, 0, 0, 1)
        alone = [
            *made.sample(1, prompt="seven", speaker="theo", seed=7, **how),
            *made.sample(2, prompt="three", height=12, seed=5, first=1, **how),
            *made.sample(1, prompt="nine", speaker="anna", negative="a cat", seed=7, **how),
            *made.sample(2, prompt="one", speaker="theo", seed=3, **how),
        ]
        for ours, theirs in zip(samples, alone, strict=True):
            assert ours.size == theirs.size
            assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1  # of 255: another batch
        assert samples[1].size == (8, 12)
        assert "Samples of several seeds." in samples.page().html()
        # rows that do not differ in shape keep their states, and the code in reports makes them again
        some = prompts.sample(made, [rows[0], rows[3]], speaker="anna", **how)
        assert some.state.shape == (3, 3, 8, 8) and some.conditions[0] == {
            "prompt": "seven",
            "speaker": "theo",
        }
        scope: dict[str, Any] = {"model": made}
        exec(recipe(samples)[0].replace("samples.save('out/')", "").replace("…", "model"), scope)  # noqa: S102 - our own code
        assert all(
            np.array_equal(np.asarray(a), np.asarray(b))
            for a, b in zip(samples, scope["samples"], strict=True)
        )

    def test_a_list_of_seeds_is_a_seed_for_each(self) -> None:
        made = model()
        both = made.sample(prompt="a", seed=[4, 9], n=2, steps=2)
        for k, seed in enumerate((4, 9)):
            alone = made.sample(1, prompt="a", seed=seed, steps=2)
            np.testing.assert_allclose(both.state[k], alone.state[0], atol=1e-5)
        assert both[1:].seeds == (9,) and both.joined([alone]).seeds == (4, 9, 9)
        assert "seed=[4, 9]" in recipe(both)[0]
        with pytest.raises(ValueError, match="seed has 3 values for 2 samples"):
            made.sample(2, seed=[1, 2, 3])
        with pytest.raises(TypeError, match="seed must be a whole number, got '4'"):
            made.sample(2, seed=[1, "4"])

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([], "there are no rows"),
            ([{"prompt": "a"}, {"promt": "b"}], r"row 2: unknown column 'promt'; did you mean 'prompt'\?"),
            ([{"speaker": "theodor"}], "row 1: .*theodor.*theo"),
            ([{"prompt": "a", "n": 0}], "row 1: n must be a whole number of at least 1, got 0"),
            ([{"prompt": "a", "seed": -1}], "row 1: seed must lie in"),
        ],
    )
    def test_rows_that_cannot_be_are_named(self, rows: list[dict[str, Any]], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            prompts.sample(model(), rows)
        with pytest.raises(ValueError, match="noise does not go with rows"):
            prompts.sample(model(), [{"prompt": "a"}], noise=[0])


class TestCommandLine:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        model("m").save(tmp_path / "m")
        return tmp_path

    def test_a_batch_from_a_file(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        written(folder, "prompt,seed,speaker\nthe digit seven,7,theo\nüber alles,,anna\n")
        argv = ["sample", "m", "--prompts", "p.csv", "--steps", "2", "--out", "o", "--device", "cpu"]
        assert main(argv) == 0
        names = ["0000_seed7_the-digit-seven.png", "0001_seed0_uber-alles.png"]
        assert capsys.readouterr().out.splitlines() == [f"o/{name}" for name in names]
        manifest = json.loads((folder / "o/samples.json").read_text())
        assert [(e["file"], e["seed"], e["index"]) for e in manifest["samples"]] == [
            (names[0], 7, 0),
            (names[1], 0, 1),
        ]
        assert manifest["samples"][0]["condition"] == {"prompt": "the digit seven", "speaker": "theo"}
        assert main(argv) == 0  # the same again
        for other in (
            ["--seed", "1"],
            ["--guidance", "3"],
            ["-n", "2"],
            ["--negative", "x", "--guidance", "2"],
        ):
            assert main([*argv, *other]) == 2
        assert "o holds 2 samples of m with seeds of their own" in capsys.readouterr().err
        written(folder, "prompt,seed,speaker\nthe digit seven,8,theo\nüber alles,,anna\n")
        assert main(argv) == 2 and main([*argv, "--overwrite"]) == 0
        assert (
            sorted(path.name for path in (folder / "o").glob("*.png"))[0] == "0000_seed8_the-digit-seven.png"
        )

    def test_mistakes_are_told_before_the_model_is_loaded(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "langevin.load", lambda *_, **__: pytest.fail("the model is loaded"), raising=False
        )
        for text, says in (
            ("prompt,speeker\na,b\n", "did you mean 'speaker'?"),
            ("prompt,speaker\na,theodor\n", "prompt 1: speaker: "),
            ("", "p.csv has no rows"),
        ):
            written(folder, text)
            assert main(["sample", "m", "--prompts", "p.csv"]) == 2
            assert says in capsys.readouterr().err
        assert main(["sample", "m", "--prompts", "absent.csv"]) == 2
        assert main(["sample", "m", "--preview", "x.gif"]) == 2
        assert "--preview: expected a file of .png" in capsys.readouterr().err
        assert main(["sample", "m", "--preview", "no/x.png"]) == 2
        assert "there is no folder 'no'" in capsys.readouterr().err


@pytest.mark.parametrize(("column", "cell"), [("height", "1" * 400), ("seed", "1" * 5000)])
def test_endless_numbers_are_refused(tmp_path: Path, column: str, cell: str) -> None:
    path = tmp_path / "many.csv"
    path.write_text(f"label,{column}\n1,{cell}\n")
    with pytest.raises(ValueError, match=f"{column} must be a whole number"):
        prompts.rows_of(path, ("label",), ImageSpec)
