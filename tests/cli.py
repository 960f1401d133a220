"""A shipped model that remembers what it was asked, and commands in a fresh interpreter, for tests of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import langevin
import langevin.cli.evaluate  # before its names are replaced, or the replacement would be what is put back
from langevin import folders, hub
from langevin.modalities import plugins
from langevin.modalities.base import Run, Samples
from tests import toy

COLOURS = torch.tensor([[0.2, 0.4, 0.6], [0.95, 0.0, 0.0], [0.0, 0.5, 0.0]])


def shell(cases: list[list[str]]) -> list[dict[str, Any]]:
    """Code, output, errors and heavy packages of commands, one after the other in a fresh interpreter."""
    script = """
        import contextlib, io, json, sys
        from langevin.cli.main import main
        results = []
        for argv in json.loads(sys.argv[1]):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(argv)
            names = ("torch", "numpy", "diffusers", "transformers", "hydra", "PIL", "safetensors")
            heavy = [name for name in names if name in sys.modules]
            results.append({"code": code, "out": out.getvalue(), "err": err.getvalue(), "heavy": heavy})
        print(json.dumps(results))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), json.dumps(cases)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


class Model:
    """Stands for a trained model: remembers what it was asked and gives three colours, one of which fails."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.modality = toy.Squares()

    def sample(self, n: int, **settings: Any) -> Samples:
        self.asked = {"n": n, **settings}
        colours = COLOURS.repeat(6, 1)[:n]
        run = Run(model="toy-squares", modality="squares", seed=settings["seed"])
        return Samples(self.modality.decode(colours), self.modality, run, colours)


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A shipped model called toy-squares, in a folder of its own."""
    config = {"modality": {"name": "squares"}, "conditions": ["prompt", "heavy_atoms"], "licence": "CC0-1.0"}
    folders.write_model(tmp_path / "weights" / "toy-squares", config, {"w": torch.zeros(200_000)}, "card")
    folders.write_model(
        tmp_path / "weights" / "toy-plain", {"modality": "squares"}, {"w": torch.zeros(9)}, "card"
    )
    fake = Model()
    monkeypatch.setattr(hub, "SHIPPED", tmp_path / "weights")
    monkeypatch.setattr(langevin, "load", lambda name, device=None: fake, raising=False)
    monkeypatch.setattr(plugins, "plugins", lambda: {"squares": toy.plugin})
    monkeypatch.setattr("langevin.cli.evaluate.plugins", lambda: {"squares": toy.plugin})
    monkeypatch.chdir(tmp_path)
    return fake
