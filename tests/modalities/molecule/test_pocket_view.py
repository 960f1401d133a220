"""A pocket is drawn as lines around its ligand, in pictures and in the viewer."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langevin.modalities.molecule.bound import read_ligand
from langevin.modalities.molecule.pockets import Pocket, read_pocket
from langevin.modalities.molecule.scene import LINE, THIN, Scene
from langevin.modalities.molecule.view import picture, to_html
from langevin.report import Figure, Gallery, Page, Section, external_resources
from tests.browser import CHROMIUM, needs_browser
from tests.modalities.molecule.pocket_files import ala, hetero, ring, write


@pytest.fixture
def site(tmp_path: Path) -> tuple[Any, Pocket]:
    lines = [
        *ala(10, 0.0),
        *ala(11, 9.0, y=4.0),
        *ala(12, 16.0, y=4.0),
        hetero("ZN", "ZN", 501, -4, 5, 0, element="ZN"),
    ]
    path = write(tmp_path, [*lines, *ring()])
    return read_ligand(path, "LIG", "c1ccccc1"), read_pocket(path, "LIG", radius=15.0)


def test_near_residues_are_lines_in_the_frame_of_the_ligand(site: tuple[Any, Pocket]) -> None:
    mol, pocket = site
    scene = Scene.inside(mol, pocket, reach=7.0)
    assert len(scene) == 6 + 11 and scene.around == 11  # of three residues the third is too far
    ours = np.concatenate([mol.GetConformer().GetPositions(), pocket.positions[scene.indices[6:]]])
    drawn = np.linalg.norm(scene.positions[:, None] - scene.positions[None], axis=-1)
    np.testing.assert_allclose(drawn, np.linalg.norm(ours[:, None] - ours[None], axis=-1), atol=1e-4)
    signed = [np.linalg.det(x[[1, 7, 10]] - x[6]) for x in (ours, scene.positions)]
    assert signed[0] == pytest.approx(signed[1], rel=1e-3)  # turned, not reflected
    radii = scene.sticks().radii
    assert np.isclose(radii, LINE).sum() == 8 and radii.max() == pytest.approx(THIN)
    assert (
        scene.bonds[:, :2].max(1) >= 6
    ).sum() == 8  # four bonds for each residue, none to the ligand or the zinc


def test_pictures_show_both_and_say_what_cannot_be_shown(site: tuple[Any, Pocket]) -> None:
    mol, pocket = site
    both, alone = (np.asarray(picture(mol, 96, **kind)) for kind in ({"pocket": pocket}, {}))
    assert both.shape == alone.shape and (both != alone).any()
    edge = np.concatenate([both[:8].ravel(), both[-8:].ravel()])
    assert (edge < 250).any()  # lines reach the edge; a molecule alone does not
    with pytest.raises(ValueError, match="one molecule"):
        picture(mol, over=[mol], pocket=pocket)
    assert "no molecule" in to_html(None, pocket=pocket)


def test_the_fragment_carries_the_pocket_beside_the_ligand(site: tuple[Any, Pocket]) -> None:
    mol, pocket = site
    fragment = to_html(mol, pocket=pocket)
    assert fragment.count("data-once=") == 2 and "<pocket-view" in fragment
    scene = json.loads(html.unescape(re.findall(r"data-scene='([^']*)'", fragment)[-1]))
    assert len(scene["e"]) == 6 and len(scene["b"]) == 6
    lines = scene["t"]
    assert len(lines["p"]) == 3 * len(lines["e"]) == 3 * len(lines["n"])
    assert lines["o"] == ["A:ALA10", "A:ZN501"] and [0, "CA"] in lines["n"] and len(lines["b"]) == 4
    page = Page("Site", [Section("Pockets", blocks=[Gallery([Figure(fragment)] * 3, 200)])]).html()
    assert page.count("customElements.define('pocket-view'") == 1 and not external_resources(page)


def test_a_molecule_alone_carries_nothing_of_it(site: tuple[Any, Pocket]) -> None:
    fragment = to_html(site[0])
    assert "pocket-view" not in fragment and '"t":' not in fragment


SCRIPT = """<script>
window.requestAnimationFrame = draw => setTimeout(draw, 16);
const said = [];
addEventListener('error', event => said.push(event.message));
const view = document.querySelector('pocket-view');
const wait = () => new Promise(done => setTimeout(done, 250));
const inked = () => { const c = view.shadowRoot.querySelector('canvas');
  return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, k) => k % 4 === 3 && v > 0).length; };
const key = key => view.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
(async () => { const out = {};
  view.start(); await wait(); out.both = inked(); out.atoms = view.atoms.length;
  key('p'); await wait(); out.alone = inked();
  key('p'); await wait(); out.again = inked();
  key('l'); await wait(); out.named = inked();
  key('ArrowLeft'); await wait(); out.said = said;
  document.body.dataset.out = JSON.stringify(out); })().catch(error => { document.body.dataset.out = JSON.stringify(
    { said: [String(error)] }); });
</script>"""


@pytest.mark.browser
@needs_browser
def test_the_pocket_comes_and_goes_in_the_browser(site: tuple[Any, Pocket], tmp_path: Path) -> None:
    import subprocess

    from tests.browser import FLAGS

    mol, pocket = site
    path = tmp_path / "page.html"
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="width:300px">{to_html(mol, pocket=pocket)}{SCRIPT}'
    )
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    dom = subprocess.run(
        [*command, path.as_uri()], check=True, capture_output=True, timeout=120
    ).stdout.decode()
    found = re.search(r'data-out="([^"]*)"', dom)
    assert found, dom[-500:]
    out = json.loads(html.unescape(found[1]))
    assert out["said"] == [] and out["atoms"] == 6 + 6
    assert out["alone"] < out["both"] == out["again"] < out["named"]
