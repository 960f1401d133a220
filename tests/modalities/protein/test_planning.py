"""``langevin plan``: light where it refuses, exact where it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langevin.cli.main import main
from langevin.modalities import plugins
from langevin.modalities.base import Plugin
from langevin.modalities.protein import planning
from langevin.modalities.protein.files import write_pdb
from tests.modalities.protein.inputs import protein


def _never(*args: Any) -> Any:
    raise AssertionError


PLUGIN = Plugin("proteins-here", "of this test", _never, _never, _never, commands=(planning.command,))


@pytest.fixture(autouse=True)
def _plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {PLUGIN.name: PLUGIN})
    monkeypatch.chdir(tmp_path)
    write_pdb(protein("A3-44, A51-90, B1-30"), "in.pdb")


def asked(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["plan", *argv])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_it_is_listed_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and "plan    " in capsys.readouterr().out
    code, out, _ = asked(capsys, "--help")
    assert code == 0 and "--hotspots" in out and "langevin plan" in out


def test_a_contig_beside_an_input(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(
        capsys, "5-15/A10-25/30-40/0 B1-30", "--input", "in.pdb", "--length", "60", "--seed", "0"
    )
    assert code == 0 and err == ""
    assert "input   in.pdb: A 3-44 51-90, B 1-30" in out and "in all 90 residues" in out
    assert "\nseed 0 draws " in out and ": 90 residues" in out
    settings = [
        "contigmap.contigs=[5-15/A10-25/30-40/0 B1-30]",
        "inference.input_pdb=in.pdb",
        "contigmap.length=60-60",
    ]
    assert asked(capsys, *settings, "--seed", "0") == (0, out, "")
    assert asked(capsys, *settings[:2], "--seed", "0", settings[2]) == (0, out, "")
    unquoted = ["--input=in.pdb", "5-15/A10-25/30-40/0", "B1-30", "--length=60", "--seed=0"]
    assert asked(capsys, *unquoted) == (0, out, "")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(
        capsys, "5-15/A10-25/0 B1-30", "--input", "in.pdb", "--hotspots", "B3", "--seed", "1", "--json"
    )
    told = json.loads(out)
    assert code == 0 and told["designed"] == [21, 31] and told["hotspots"] == ["B3"]
    assert told["input"] == {"name": "in.pdb", "has": "A 3-44 51-90, B 1-30"}
    assert told["mapping"]["con_ref_pdb_idx"][0] == ["A", 10] and told["mapping"]["seed"] == 1
    assert told["mapping"]["config"]["contigmap.contigs"] == "5-15/A10-25/0 B1-30"
    _, out, _ = asked(capsys, "5-15/A10-25", "--seed", "1", "--json")
    assert json.loads(out)["mapping"] is None and "A10-25" in json.loads(out)["drawn"]


def test_what_does_not_fit_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(capsys, "5/A40-60/5", "--input", "in.pdb")
    assert code == 1 and out == ""
    assert "A45-50 are not in the input (chain A has 3-44 51-90)\n  5/A40-60/5\n    ^^^^^^" in err
    assert "a contig that fits: 5-5/A40-44/6-6/A51-60/5-5" in err
    code, _, err = asked(capsys, "90/0 30", "--input", "in.pdb", "--partial")
    assert code == 1 and "has 112 residues" in err and "a contig that fits: 82-82/0 30-30" in err
    code, out, _ = asked(capsys, "82/0 30", "--input", "in.pdb", "diffuser.partial_T=10")
    assert code == 0 and "broken between A44 and A51, which would be bonded" in out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "which contig?"),
        (["A10-25/0B1"], "a chain break is '/0 ' with a blank after it\n  A10-25/0B1\n        ^^"),
        (["5-15/A10-25", "--length", "300"], "give a length from 21 to 31"),
        (["5-15", "--lenght", "3"], "unknown flag '--lenght'; did you mean '--length'?"),
        (["5-15", "--input", "no.pdb"], "there is no file 'no.pdb'"),
        (["5-15", "contigmap.contigs=[3]"], "two contigs"),
        (
            ["5-15", "--length=5", "contigmap.length=5"],
            "--length and contigmap.length are the same; give one",
        ),
        (["contigmap.contig=[3]"], "did you mean 'contigmap.contigs'?"),
        (["diffuser.T=50"], "contigmap.contigs is missing"),
        (["5-15", "--seed", "-1"], "expected a whole number from 0"),
        (["5-15", "--numbering", "inputs"], "did you mean 'input'?"),
        (
            ["5-15/A10-25", "--hotspots", "A30"],
            "hotspots: A30 is not among the residues that the contig keeps",
        ),
        (["5-15", "inference.ckpt_override_path=x"], "weights of RFdiffusion cannot be loaded"),
    ],
)
def test_mistakes_of_usage(capsys: pytest.CaptureFixture[str], argv: list[str], says: str) -> None:
    code, out, err = asked(capsys, *argv)
    assert code == 2 and out == "" and says in err and err.startswith("langevin plan: error: ")


def test_refusals_import_nothing_heavy() -> None:
    script = """
import sys
from langevin.modalities.protein import planning
for words, flags in ([["A10-25/0B1"], {}], [["5-15/A10-25"], {"length": "300"}], [["5/A3"], {"hotspots": "A9"}]):
    try:
        planning.command.read(words, planning.PlanFlags(**flags))
    except ValueError:
        continue
    raise AssertionError(words)
planning.command.read(["5-15/A10-25/0 B1-30"], planning.PlanFlags(hotspots="B3", length="25"))
print([name for name in ("torch", "numpy", "Bio") if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
