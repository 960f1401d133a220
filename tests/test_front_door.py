"""``import langevin`` is light, and every name it offers is there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import langevin


def run(script: str) -> str:
    """The output of a script in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "script", ["import langevin", "import langevin as lv; dir(lv); lv.models()", "import langevin.hub"]
)
def test_nothing_heavy_is_imported(script: str) -> None:
    heavy = {
        "torch",
        "numpy",
        "diffusers",
        "transformers",
        "torchaudio",
        "rdkit",
        "hydra",
        "PIL",
        "matplotlib",
    }
    out = run(f"{script}\nimport sys\nprint(*sorted({heavy!r} & set(sys.modules)))")
    assert out.split() == []


def test_the_table_the_list_and_the_types_agree() -> None:
    assert {*langevin.WHERE, "__version__"} == set(langevin.__all__)
    assert set(langevin.__all__) <= set(dir(langevin))
    tree = ast.parse(Path(langevin.__file__).read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.asname or alias.name for node in typed.body for alias in node.names}  # type: ignore[attr-defined]
    assert names == set(langevin.WHERE)


@pytest.mark.parametrize("name", sorted(langevin.WHERE))
def test_every_name_resolves(name: str) -> None:
    assert getattr(langevin, name) is getattr(langevin, name)


def test_analytic_denoisers_are_at_the_front_door() -> None:
    script = (
        "import langevin as lv, sys; print('torch' in sys.modules, lv.analytic.GaussianDenoiser.__name__)"
    )
    assert run(script).split() == ["False", "GaussianDenoiser"]


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        langevin.lode  # noqa: B018
    assert not hasattr(langevin, "nothing")


def test_the_names_of_the_command_line_are_those_of_the_core() -> None:
    from langevin import names
    from langevin.core.grids import GRIDS
    from langevin.core.samplers.presets import PRESETS

    assert set(names.SAMPLERS) == set(PRESETS)
    assert set(names.GRIDS) == set(GRIDS)


@pytest.mark.parametrize("link", ["core", "modalities", "configs"])
def test_the_links_at_the_root_lead_into_the_package(link: str) -> None:
    package = Path(langevin.__file__).parent
    path = package.parent / link
    if not path.is_symlink():
        pytest.skip(f"this checkout has no link {link}")
    assert path.resolve() == (package / link).resolve()
    assert importlib.util.find_spec("langevin") is not None
