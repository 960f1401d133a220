"""The code in the documentation runs: the blocks of a page one after the other, and the commands it shows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from langevin import hub

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TRAINING = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()
            if re.match(r"    langevin train [^\[]*$", line)]  # fmt: skip


def blocks(page: Path) -> str:
    """The Python of a page on its own lines, so that an error names the line of the page; the rest is blank.

    A block that opens with ```python no-run is left out.
    """
    out, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = line.startswith("```")
        out.append("" if fence or not inside else line)
        inside = line.strip() == "```python" if fence and not inside else inside and not fence
    return "\n".join(out)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p).strip()], ids=lambda p: p.name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    source = blocks(page)
    missing = set(re.findall(r'lv\.load\("([\w-]+)"', source)) - set(hub.names())
    if missing:
        pytest.skip(f"{page.name} needs models that do not ship: {', '.join(sorted(missing))}")
    script = tmp_path / page.name
    script.write_text(source, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, f"{page.name}:\n{run.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", prose):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("line", TRAINING, ids=str.strip)
def test_a_training_command_composes(line: str) -> None:
    from hydra import compose, initialize_config_dir

    words = shlex.split(line, comments=True)[2:]
    overrides = [word for word in words if not word.startswith("-")]
    with initialize_config_dir(str(ROOT / "langevin" / "configs"), version_base="1.3"):
        chosen = [o.split(",")[0] if "--multirun" in words else o for o in overrides]
        groups = [
            o for o in chosen if o.split("=")[0] in ("data", "model", "experiment")
        ]  # keys may be theirs
        for override in chosen:
            assert compose("train", [*(o for o in groups if o != override), override])
        tree = compose("train", chosen)
    assert {"data", "training", "model"} <= set(tree)


def test_the_configuration_that_models_md_shows_is_that_of_the_model_it_names() -> None:
    from langevin import trees
    from langevin.folders import read_config

    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    shown = trees.read(page.split("```yaml\n")[1].split("```")[0])
    shipped = read_config(hub.SHIPPED / shown["name"])
    del shipped["sampling"]["density"]
    written_by_save = {"training", "data", "conditions", "weights"}
    assert shown == {key: value for key, value in shipped.items() if key not in written_by_save}
