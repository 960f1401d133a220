"""The command line: light where it can be, exact with what it is given, and clear about what is wrong."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import langevin
import langevin.core.model
from langevin import hub, train_api
from langevin.cli import doctor, extensions, overrides
from langevin.cli.main import main
from langevin.cli.sample import ASKED
from langevin.modalities.base import Samples
from tests.cli import COLOURS, Model, install, shell


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    return install(tmp_path, monkeypatch)


LIGHT: list[tuple[list[str], int, str]] = [
    (["--help"], 0, "usage: langevin COMMAND"),
    ([], 0, "usage: langevin COMMAND"),
    (["--version"], 0, f"langevin {langevin.__version__}"),
    (["sample", "--help"], 0, "--guidance"),
    (["train", "--help"], 0, "key=value"),
    (["evaluate", "--help"], 0, "REFERENCE"),
    (["demo", "--help"], 0, "demo-report"),
    (["doctor", "--help"], 0, "installation"),
    (["models"], 0, ""),
    (["models", "--json"], 0, "["),
    (["smaple"], 2, "unknown command 'smaple'; did you mean 'sample'?"),
    (["--verison"], 2, "unknown flag '--verison'; did you mean '--version'?"),
    (["sample"], 2, "which model?"),
    (["plan"], 2, "which contig?"),
    (["plan", "A10-25/0B1"], 2, "a chain break is '/0 '"),
    (["sample", "no-such-model"], 2, "unknown model 'no-such-model'"),
    (["sample", "--promt", "x"], 2, "unknown flag '--promt'; did you mean '--prompt'?"),
    (
        ["sample", "x", "--sampler", "dpm++2s"],
        2,
        "unknown sampler 'dpm++2s'; did you mean 'dpm++2m'?",
    ),
    (["sample", "x", "--grid", "karas"], 2, "unknown grid 'karas'; did you mean 'karras'?"),
    (["sample", "x", "-n", "0"], 2, "expected a whole number from 1, got '0'"),
    (
        ["sample", "x", "--steps", "1.5"],
        2,
        "argument --steps: expected a whole number from 1, got '1.5'",
    ),
    (["sample", "x", "--strength", "2"], 2, "expected a number above 0 and at most 1"),
    (["sample", "x", "--guidance", "nan"], 2, "expected a number from 0, got 'nan'"),
    (["sample", "x", "--temperature", "0"], 2, "--temperature: expected a number above 0, got '0'"),
    (["sample", "x", "--temperature", "bonds=x"], 2, "bonds: expected a number above 0, got 'x'"),
    (["sample", "x", "--temperature", "bonds=1,"], 2, "expected LEAF=NUMBER,LEAF=NUMBER…, got 'bonds=1,'"),
    (["sample", "x", "--temperature", "a=1,a=2"], 2, "a is given twice in 'a=1,a=2'"),
    (["sample", "x", "--lag", "0.7"], 2, "--lag: expected LEAF=NUMBER,LEAF=NUMBER…, got '0.7'"),
    (["sample", "x", "--lag", "bonds=2"], 2, "bonds: expected a number above 0 and at most 1, got '2'"),
    (["sample", "x", "--device", "gpu"], 2, "expected cpu, cuda, cuda:N or mps, got 'gpu'"),
    (["sample", "image-digits", "--label", "3", "--label", "4"], 2, "--label is given twice"),
    (["sample", "image-digits", "--label", "eleven"], 2, "--label: class 'eleven' is a name, but"),
    (["sample", "image-digits", "--label", "11"], 2, "class 11 is out of range: there are 10 classes"),
    (["sample", "image-shapes", "--prompt", "a \udcff b"], 2, "--prompt: the text is not UTF-8"),
    (["sample", "image-shapes", "--negative", "a \udcff b"], 2, "--negative: the text is not UTF-8"),
    (["train", "steps"], 2, "expected key=value, got 'steps'"),
    (["train", "--multirn"], 2, "unknown flag '--multirn'; did you mean '--multirun'?"),
    (["train"], 2, "data.path is missing: give data.path=my/pictures"),
    (["train", "data.path=no/such"], 2, "data.path=no/such: there is no such file or folder"),
    (["train", "data.path='no such'"], 2, "data.path=no such: there is no such file or folder"),
    (["train", "data=shapes", "training.stepz=3"], 2, "key of training 'stepz'; did you mean 'steps'?"),
    (["train", "data=shapes", "+training.foo=1"], 2, "unknown key of training 'foo'; (allowed: accumulate"),
    (["train", "data=shapes", "steps=3"], 2, "unknown key 'steps'; did you mean 'training.steps'?"),
    (["train", "data=shapes", "trainig.steps=3"], 2, "unknown key 'trainig'; did you mean 'training'?"),
    (["train", "data=shapes", "+model.netwrk.width=3"], 2, "did you mean 'network'?"),
    (["train", "data=shapes", "training.lr=abc"], 2, "training.lr must be a finite number, got 'abc'"),
    (["train", "data=shapes", "training.steps=-4"], 2, "training.steps must be at least 1, got -4"),
    (["train", "data=shapes", "training.steps=1.5"], 2, "training.steps must be a whole number, got 1.5"),
    (["train", "data=shapes", "training.compile=3"], 2, "training.compile must be true or false, got 3"),
    (["train", "data=shapes", "training.average=[0.1,x]"], 2, "training.average must be a list of numbers"),
    (["train", "data=shapes", "training.optimizer=adam"], 2, "did you mean 'adamw'?"),
    (["train", "data=shapes", "data.size=abc"], 2, "data.size must be a whole number from 1, got 'abc'"),
    (["train", "data=shapes", "+data.hues=x"], 2, "data.hues must be a share from 0 to 1, got 'x'"),
    (["train", "data=shapes", "+data.hues=2"], 2, "data.hues must be a share from 0 to 1, got 2"),
    (["train", "data=shapes", "resume=perhaps"], 2, "resume must be true or false, got 'perhaps'"),
    (["evaluate", "no-such-folder"], 2, "there is no folder 'no-such-folder'"),
    (["models", "--jsn"], 2, "unknown flag '--jsn'; did you mean '--json'?"),
]


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return shell([argv for argv, _, _ in LIGHT])


class TestLight:
    """Nothing heavy is imported where nothing is computed."""

    @pytest.mark.parametrize("case", range(len(LIGHT)), ids=[" ".join(argv) for argv, _, _ in LIGHT])
    def test_help_and_mistakes(self, results: list[dict[str, Any]], case: int) -> None:
        _, code, says = LIGHT[case]
        result = results[case]
        assert result["code"] == code and result["heavy"] == []
        assert says in result["out" if code == 0 else "err"]
        assert result["err"] == "" if code == 0 else "Traceback" not in result["err"]


class TestSample:
    def test_what_was_asked_arrives_verbatim(self, model: Model) -> None:
        prompt = """ a "red" apple, = 'no' ${HOME} 🍎\n100 % -- """
        argv = [
            "sample",
            "toy-squares",
            "--prompt",
            prompt,
            "-n",
            "3",
            "--steps",
            "20",
            "--sampler",
            "dpm++2m",
        ]
        assert (
            main([*argv, "--guidance", "4", "--seed", "5", "--negative", "a, b=c", "--batch-size", "2"]) == 0
        )
        assert model.asked == {
            "n": 3,
            "prompt": prompt,
            "steps": 20,
            "sampler": "dpm++2m",
            "guidance": 4.0,
            "seed": 5,
            "negative": "a, b=c",
            "batch_size": 2,
        }

    @pytest.mark.parametrize(
        ("flag", "value", "arrives"),
        [
            ("temperature", "0.5", 0.5),
            ("temperature", "elements=0.5, bonds=1e-1", {"elements": 0.5, "bonds": 0.1}),
            ("lag", "bonds=0.7", {"bonds": 0.7}),
            ("lag", "none", {}),
        ],
    )
    def test_values_by_leaf(self, model: Model, flag: str, value: str, arrives: Any) -> None:
        assert main(["sample", "toy-squares", f"--{flag}", value]) == 0
        assert model.asked[flag] == arrives

    def test_every_number_of_the_model_is_a_flag(self) -> None:
        taken = inspect.signature(langevin.core.model.Model.sample).parameters
        ours = {"self", "n", "first", "like", "keep", "noise", "progress", "watch", "conditions"}
        flags = {*ASKED, "seed", "start"}
        assert flags == set(taken) - ours  # what is a file or a function of the caller has none

    @pytest.mark.parametrize("prompt", ["-x", "--help", "", "="])
    def test_prompts_that_look_like_flags(self, model: Model, prompt: str) -> None:
        assert main(["sample", "toy-squares", f"--prompt={prompt}"]) == 0
        assert model.asked["prompt"] == prompt

    def test_only_what_was_given_is_passed_on(self, model: Model) -> None:
        assert main(["sample", "toy-squares"]) == 0
        assert model.asked == {"n": 16, "seed": 0}

    def test_conditions_and_sizes_of_the_model_are_flags(
        self, model: Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = "sample toy-squares --heavy-atoms 9 --side 4 --tone warm --window 0.5 1 --no-smooth"
        assert main(argv.split()) == 0
        assert model.asked["heavy_atoms"] == "9"
        sizes = {"side": 4, "tone": "warm", "window": (0.5, 1.0), "smooth": False}
        assert sizes.items() <= model.asked.items()
        assert main(["sample", "toy-squares", "--help"]) == 0
        out = capsys.readouterr().out
        assert "--heavy-atoms" in out and "side in pixels, 100 % of them" in out and "--label" not in out

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (["--tone", "wram"], "unknown tone 'wram'; did you mean 'warm'?"),
            (["--label", "3"], "toy-squares takes no --label; it takes --prompt, --heavy-atoms"),
            (["--steps", "3", "--evaluations", "9"], "give one"),
            (["--strength", "0.5"], "give --start FILE"),
            (["--start", "no.png"], "there is no file 'no.png'"),
            (["--prompt"], "expected one argument; a value that starts with '-' is written --flag=VALUE"),
            (["a", "red", "apple"], "unexpected argument 'a'; a value with spaces needs quotes"),
            (["--sied", "3"], "unknown flag '--sied'; did you mean '--side'?"),
        ],
    )
    def test_mistakes(
        self, model: Model, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
    ) -> None:
        assert main(["sample", "toy-squares", *argv]) == 2
        assert says in capsys.readouterr().err and model.asked == {}

    def test_a_model_without_conditions_says_so(
        self, model: Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["sample", "toy-plain", "--prompt", "x"]) == 2
        assert "toy-plain takes no --prompt; it is not conditional" in capsys.readouterr().err

    def test_results_are_paths_and_failures_are_told(
        self, model: Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["sample", "toy-squares", "-n", "3", "--out", "a/b"]) == 0
        out = capsys.readouterr()
        assert (
            out.out.splitlines() == ["a/b/0000_seed0.png", "a/b/0002_seed0.png"]
            and Path("a/b/samples.json").is_file()
        )
        assert "1 of 3 failed: too <red>" in out.err
        assert main(["sample", "toy-squares", "-n", "3", "--out", "c", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "out": "c",
            "files": ["c/0000_seed0.png", "c/0002_seed0.png"],
            "failures": ["too <red>"],
        }

    def test_a_new_folder_is_taken_each_time(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        for _ in range(2):
            assert main(["sample", "toy-squares", "-n", "1"]) == 0
        assert capsys.readouterr().out.split() == [
            "runs/toy-squares/0000_seed0.png",
            "runs/toy-squares-2/0000_seed0.png",
        ]

    def test_start_is_read_by_the_modality(self, model: Model) -> None:
        model.modality.save(model.modality.decode(COLOURS)[0], Path("x.png"))
        assert main(["sample", "toy-squares", "--start", "x.png", "--strength", "0.6"]) == 0
        assert model.asked["start"].size == (8, 8) and model.asked["strength"] == 0.6

    def test_a_broken_model_is_an_error_of_its_own(
        self, model: Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (hub.SHIPPED / "toy-squares" / "model.safetensors").write_bytes(b"PK\x03\x04")
        assert main(["sample", "toy-squares"]) == 1
        assert "zip archive" in capsys.readouterr().err


class TestOtherCommands:
    def test_models(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models"]) == 0
        out = capsys.readouterr().out
        assert "toy-squares" in out and "0.2 M" in out and "prompt, heavy_atoms" in out and "CC0-1.0" in out
        assert main(["models", "--json"]) == 0
        first = json.loads(capsys.readouterr().out)[1]
        assert first["name"] == "toy-squares" and first["parameters"] == 200_000

    def test_evaluate(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        main(["sample", "toy-squares", "-n", "3", "--out", "o"])
        capsys.readouterr()
        assert main(["evaluate", "o"]) == 0
        out = capsys.readouterr().out
        assert "valid    0.6667  3" in out and out.endswith("\n\nshare that could be read\n")
        assert main(["evaluate", "o", "o", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"][1] == {"measure": "more", "value": 0.0, "n": 3}
        assert main(["evaluate", "o", "--csv"]) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[0] == "measure,value,n" and "share" not in out
        assert "share that could be read" in err

    def test_evaluate_takes_anybodys_files(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        main(["sample", "toy-squares", "-n", "3", "--out", "o"])
        Path("o/samples.json").unlink()
        Path("o/broken.png").write_bytes(b"no picture")
        Path("o/notes.txt").write_text("x")
        assert main(["evaluate", "o"]) == 2
        assert "add --modality NAME" in capsys.readouterr().err
        assert main(["evaluate", "o", "--modality", "squares"]) == 0
        out = capsys.readouterr()
        assert "valid    0.6667  3" in out.out and "broken.png is not a picture" in out.err
        Path("empty").mkdir()
        assert main(["evaluate", "empty", "--modality", "squares"]) == 2
        assert main(["evaluate", "o", "--modality", "sqares"]) == 2
        assert "did you mean 'squares'" in capsys.readouterr().err

    def test_every_key_of_a_training_run_can_be_overridden(self) -> None:
        assert set(train_api._KEYS) <= set(overrides.KEYS)

    def test_train_checks_choices_and_passes_the_rest(
        self,
        model: Model,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        passed: list[str] = []
        monkeypatch.setattr("langevin.training_cli.main", lambda overrides: passed.extend(overrides))
        monkeypatch.setattr("langevin.cli.train.CONFIGS", tmp_path / "configs")
        (tmp_path / "configs" / "experiment").mkdir(parents=True)
        for name in ("image_digits", "image_emoji"):
            (tmp_path / "configs" / "experiment" / f"{name}.yaml").touch()
        (tmp_path / "a b").mkdir()
        given = [
            "experiment=image_digits",
            "training.steps=20",
            "start=image-digits",
            "+model.summary='x, y=z'",
            "~model.name",
            f"data.path={tmp_path}/a b",
        ]
        assert main(["train", *given]) == 0 and passed == given
        assert (
            main(["train", "-m", "experiment=image_digits,image_emoji"]) == 0 and passed[-1] == "--multirun"
        )
        assert main(["train", "experiment=image_digit"]) == 2
        assert "unknown experiment 'image_digit'; did you mean 'image_digits'?" in capsys.readouterr().err
        assert main(["train", "--help"]) == 0
        assert "experiment=image_digits|image_emoji" in capsys.readouterr().out

    def test_commands_of_other_packages(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(extensions, "commands", lambda: ["plan"])
        monkeypatch.setattr(extensions, "command", lambda name: lambda argv: 0 if argv == ["--x"] else 3)
        assert main(["plan", "--x"]) == 0 and main(["plan"]) == 3
        assert main(["--help"]) == 0 and "plan" in capsys.readouterr().out
        assert main(["plna"]) == 2 and "did you mean 'plan'" in capsys.readouterr().err


class TestDoctor:
    def test_findings(
        self, model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(doctor, "_imports", lambda: iter(()))
        assert main(["doctor", "--json"]) == 0
        findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)}
        assert {
            "python",
            "packages",
            "devices",
            "threads",
            "torchaudio",
            "disk",
            "chromium",
            "ffmpeg",
        } <= set(findings)
        assert findings["toy-squares"]["says"].startswith("intact")
        absent = [findings[name] for name in ("vina", "meeko") if name in findings]
        assert all(f["state"] == "note" and "pip install" in f["says"] for f in absent)
        assert ("vina" in findings) == (importlib.util.find_spec("vina") is None)
        with (hub.SHIPPED / "toy-squares" / "model.safetensors").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x01")
        assert main(["doctor"]) == 1
        out = capsys.readouterr().out
        assert "bad   toy-squares" in out and "SHA-256" in out and "1 to be mended" in out


class TestEndings:
    def test_interruptions_end_with_130(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        def sample(n: int, **settings: Any) -> Samples:
            raise KeyboardInterrupt

        model.sample = sample  # type: ignore[method-assign]
        assert main(["sample", "toy-squares"]) == 130
        assert "interrupted" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "error", [ValueError("no"), RuntimeError("no"), KeyError("no"), OSError(28, "no")]
    )
    def test_what_cannot_be_done_ends_with_1_and_one_line(
        self,
        model: Model,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
    ) -> None:
        def sample(n: int, **settings: Any) -> Samples:
            raise error

        model.sample = sample  # type: ignore[method-assign]
        assert main(["sample", "toy-squares"]) == 1
        message = capsys.readouterr().err
        assert message.startswith("langevin sample: ") and "no" in message and "Traceback" not in message
        monkeypatch.setenv("LANGEVIN_TRACEBACK", "1")
        with pytest.raises(type(error)):
            main(["sample", "toy-squares"])

    @pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes are those of POSIX")
    def test_ctrl_c_from_outside(self) -> None:
        script = (
            "import sys, time, langevin.cli.models as m\n"
            "def run(argv):\n    print('ready', flush=True); time.sleep(60)\n"
            "m.run = run\nfrom langevin.cli.main import main\nsys.exit(main(['models']))"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            error = process.stderr.read()
        assert "interrupted" in error and "Traceback" not in error

    @pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes are those of POSIX")
    def test_a_reader_that_goes_away(self) -> None:
        script = (
            "import sys, langevin.cli.models as m\n"
            "def run(argv):\n    for k in range(100_000):\n        print('a result', k)\n    return 0\n"
            "m.run = run\nfrom langevin.cli.main import main\nsys.exit(main(['models']))"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(20) == 141
            assert process.stderr.read() == ""


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "langevin", "--version"], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == f"langevin {langevin.__version__}\n"
