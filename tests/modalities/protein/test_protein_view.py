"""Ribbons follow the chain and show it as it is; the viewer turns offline; odd input is drawn or gives its reason."""

from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from langevin.modalities.base import Failure
from langevin.modalities.protein.drawing import AROUND, render, surface
from langevin.modalities.protein.metrics.controls import from_torsions, helix
from langevin.modalities.protein.protein import Protein, SideChains, join, to_structure
from langevin.modalities.protein.ribbon import (
    ARROW,
    BALL,
    HELIX,
    TUBE,
    Strips,
    _ball,
    chain_strips,
    side_strips,
)
from langevin.modalities.protein.scene import GREY, KEPT, RAMP, Scene, kept_of
from langevin.modalities.protein.view import picture, superpose, to_html
from langevin.modalities.turning import rgb
from langevin.report import Figure, Gallery, Page, Section, external_resources
from tests.browser import CHROMIUM, FLAGS, colours, needs_browser, screenshot
from tests.modalities.protein.chains import shared, strand


def bundle(n: int = 36) -> Protein:
    """Two helices with a turn between them: a shape of which no mirror image is the same."""
    phi, psi = np.full(n, -60.0), np.full(n, -45.0)
    phi[n // 2 : n // 2 + 3], psi[n // 2 : n // 2 + 3] = -100.0, 120.0
    return from_torsions(phi.tolist(), psi.tolist())


def extended(n: int = 10) -> Protein:
    return from_torsions([-120.0] * n, [130.0] * n)


def trace(protein: Protein) -> Protein:
    """The CA atoms alone."""
    backbone = protein.backbone.copy()
    backbone[:, [0, 2, 3]] = np.nan
    return replace(protein, backbone=backbone)


def moved(protein: Protein, seed: int = 0, shift: float = 20.0, chain: str | None = None) -> Protein:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    out = replace(protein, backbone=(protein.backbone @ turn.T + shift).astype(np.float32), side=None)
    return out if chain is None else replace(out, chains=np.full(len(out), chain))


def dressed(protein: Protein) -> Protein:
    """With a CB and an OG for each residue."""
    n = len(protein)
    ca = protein.backbone[:, 1]
    out = ca - protein.backbone[:, 3]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    xyz = np.stack([ca + 1.53 * out, ca + 2.95 * out], 1).reshape(-1, 3)
    return replace(protein, side=SideChains(np.repeat(np.arange(n), 2), np.tile(["CB", "OG"], n), xyz))


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


def test_a_helix_is_a_band_along_its_axis() -> None:
    protein = helix(24)
    strips, passed = chain_strips(protein, "-" * 2 + "H" * 20 + "-" * 2)
    assert len(strips) == 1 and np.array_equal(passed, protein.backbone[:, 1])
    inside = np.isin(strips.residues, np.arange(6, 18))
    axis = protein.backbone[20, 1] - protein.backbone[2, 1]  # five turns on
    assert (np.abs(strips.sides[inside] @ axis) / np.linalg.norm(axis) > 0.85).all()
    np.testing.assert_allclose(strips.halves[inside], np.tile(HELIX, (inside.sum(), 1)), atol=1e-5)
    near = np.linalg.norm(strips.centres[:, None] - protein.backbone[None, :, 1], axis=-1).min(0)
    assert near.max() < 1e-4  # it passes every CA
    middle = np.linalg.lstsq(np.c_[np.ones(24), np.arange(24)], protein.backbone[:, 1], rcond=None)[0]
    away = strips.centres[inside] - middle[0]
    direction = middle[1] / np.linalg.norm(middle[1])
    away = np.linalg.norm(away - (away @ direction)[:, None] * direction, axis=1)
    assert away.min() > 0.85 * away.max()  # round, not a triangle


def test_a_strand_is_flat_and_ends_in_an_arrow() -> None:
    protein = extended(12)
    strips, passed = chain_strips(protein, "--EEEEEEEE--")
    widest = int(strips.halves[:, 0].argmax())
    assert strips.halves[widest, 0] == pytest.approx(ARROW, rel=0.01)
    assert 7 <= strips.residues[widest] <= 8  # of residues 2 to 9
    assert strips.halves[:, 0].min() < 1e-6  # round ends
    inside = (strips.residues >= 3) & (strips.residues <= 8)
    turns = (strips.sides[inside][1:] * strips.sides[inside][:-1]).sum(1)
    assert turns.min() > 0.9  # no twist by the pleats
    pleats, flat = (
        np.linalg.norm(np.diff(p[3:9], 2, axis=0), axis=1).mean() for p in (protein.backbone[:, 1], passed)
    )
    assert flat < 0.3 * pleats


def test_ca_atoms_alone_are_a_tube() -> None:
    scene = Scene.of([trace(helix(20))])
    assert scene.letters == "-" * 20 and scene.strips.halves.max() == pytest.approx(TUBE)
    assert Scene.of([helix(20)]).strips.halves.max() > 1


def test_breaks_part_the_ribbon_and_are_dashed() -> None:
    whole = bundle()
    gap = whole[np.r_[0:14, 20:36]]
    strips, _ = chain_strips(gap, "-" * 30)
    assert len(strips) > 2 and len(chain_strips(gap, "-" * 30, dashes=False)[0]) == 2
    assert len(chain_strips(whole, "-" * 36)[0]) == 1
    two = join([whole, moved(whole, 1, 30.0, "B")])
    assert len(chain_strips(two, "-" * 72)[0]) == 2  # no dashes from chain to chain


def test_side_chains_of_chosen_residues_are_sticks_in_two_halves() -> None:
    protein = dressed(helix(12))
    chosen = np.arange(12) == 5
    strips = side_strips(protein, chosen, protein.backbone[:, 1], ("N", "O", "S"))
    assert len(strips) == 4 and sorted(strips.tints.tolist()) == [-1, -1, -1, 1]  # CA–CB, CB–OG
    assert (strips.residues == 5).all()
    assert len(side_strips(helix(12), chosen, helix(12).backbone[:, 1], ())) == 0


def test_the_skin_is_closed_and_its_normals_point_outwards() -> None:
    centres, sides, halves = _ball(np.zeros(3), BALL)
    strips = Strips.of([(centres, sides, halves, np.zeros(7), -1)])
    skin = surface(strips, np.full((1, 3), 100.0))
    assert len(skin.triangles) == 6 * AROUND * 2
    a, b, c = (skin.points[skin.triangles[:, k]] for k in range(3))
    volume = (np.cross(a, b) * c).sum() / 6
    assert 0.85 < volume / (4 / 3 * np.pi * BALL**3) < 1.0
    assert (skin.normals * skin.points).sum(1).min() > 0.9 and (skin.open == 1).all()
    alpha = np.asarray(render(skin, np.zeros((7, 3), np.uint8), 2.0, 64))[..., 3] > 0
    assert alpha.mean() == pytest.approx(np.pi * BALL**2 / 16, rel=0.08)


def test_the_nearest_is_seen_and_near_residues_shade() -> None:
    balls = [(*_ball(np.array([0.0, 0, z]), BALL), np.full(7, k), -1) for k, z in enumerate((-3.0, 3.0))]
    skin = surface(Strips.of(balls), np.zeros((2, 3)))
    paint = np.repeat(np.array([[255, 0, 0], [0, 0, 255]], np.uint8), 7, 0)
    r, _, b, _ = np.asarray(render(skin, paint, 4.0, 64))[32, 32].astype(int)
    assert b > r + 60
    near = surface(Strips.of(balls), np.array([[9.0, 9, 9]] * 10 + [[0.0, 0, 0]]))
    assert near.open[: 7 * AROUND].min() < 0.9  # of the residue at the origin, which is ten further


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
def test_the_scene_is_the_protein_turned(mirrored: bool) -> None:
    """Distances and handedness stay; the picture does not depend on where the protein lay."""
    protein = bundle()
    if mirrored:
        protein = replace(protein, backbone=protein.backbone * np.array([-1, 1, 1], np.float32))
    places, before = Scene.of([protein]).places, protein.backbone[:, 1]
    a, b = places - places.mean(0), before - before.mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    assert np.linalg.det(u @ vt) > 0.99 and np.abs(b @ u @ vt - a).max() < 1e-3
    assert np.abs(Scene.of([moved(protein)]).places - places).max() < 0.02


@pytest.mark.parametrize("n", [12, 36, 80])
def test_all_fits_in_the_picture(n: int) -> None:
    alpha = np.asarray(Scene.of([bundle(n)]).picture(96))[..., 3]
    assert not alpha[0].any() and not alpha[-1].any() and not alpha[:, 0].any() and not alpha[:, -1].any()
    wide = np.flatnonzero(alpha.any(0))
    assert wide[-1] - wide[0] > 60


def test_pictures() -> None:
    protein = bundle()
    plain, clear = picture(protein, 96), picture(protein, 96, background=None)
    assert plain.mode == "RGB" and plain.size == (96, 96) and picture(protein).size == (240, 240)
    assert clear.mode == "RGBA" and clear.getpixel((0, 0))[3] == 0
    assert np.array_equal(array(picture(protein, 96)), array(plain)) and colours(plain) > 500
    assert np.array_equal(array(picture(to_structure(protein), 96)), array(plain))
    with pytest.raises(ValueError, match="at least 16"):
        picture(protein, 8)


def test_colours_run_from_blue_to_red_or_go_by_chain() -> None:
    protein = bundle()
    first = next(iter(Scene.of([protein]).colours.items()))
    assert first[0] == "N to C"
    assert tuple(first[1][0]) == rgb(RAMP[0]) and tuple(first[1][-1]) == rgb(RAMP[-1])
    two = join([protein, moved(protein, 1, 30.0, "B")])
    name, found = next(iter(Scene.of([two]).colours.items()))
    assert name == "chains" and len(np.unique(found, axis=0)) == 2
    ramp = Scene.of([two]).colours["N to C"]
    np.testing.assert_array_equal(ramp[:36], ramp[36:])


def test_kept_residues_stand_out_and_kept_chains_are_grey() -> None:
    protein = dressed(bundle())
    kept = np.zeros(36, bool)
    kept[5:12] = True
    scene = Scene.of([protein], kept)
    found = scene.colours["kept residues"]
    assert next(iter(scene.colours)) == "kept residues" and (found[kept] == rgb(KEPT)).all()
    assert (found[~kept] != rgb(KEPT)).any(1).all()
    assert (scene.strips.tints >= 0).sum() == 7  # an oxygen of each
    target = moved(protein, 1, 30.0, "B")
    binder = Scene.of([join([protein, target])], np.arange(72) >= 36)
    painted = binder.colours["kept residues"]
    assert (painted[36:] == rgb(GREY)).all() and tuple(painted[0]) == rgb(RAMP[0])
    assert not (binder.strips.tints >= 0).any()
    said = replace(protein, note={"kept": np.flatnonzero(kept).tolist()})
    assert np.array_equal(kept_of(said), kept) and not kept_of(protein).any()
    assert not kept_of(replace(protein, note={"kept": 12})).any()
    assert np.array_equal(array(picture(said, 64)), array(picture(protein, 64, kept=kept)))
    assert np.abs(array(picture(said, 64)) - array(picture(protein, 64))).max() > 50
    with pytest.raises(ValueError, match=r"0 … 35"):
        picture(protein, kept=[36])
    with pytest.raises(ValueError, match="36 residues"):
        picture(protein, kept=kept[:4])


def test_superpose_finds_the_turn_and_never_reflects() -> None:
    protein = dressed(bundle())
    back, distance = superpose(moved(protein), protein)
    assert distance < 1e-3 and np.abs(back.backbone - protein.backbone).max() < 1e-3
    mirror = replace(protein, backbone=protein.backbone * np.array([-1, 1, 1], np.float32))
    assert superpose(mirror, protein)[1] > 1
    motif = protein[8:16]
    laid, distance = superpose(moved(motif, 2), protein, [(k, k + 8) for k in range(8)])
    assert distance < 1e-3 and np.abs(laid.backbone - motif.backbone).max() < 1e-2
    with_side, _ = superpose(replace(protein, backbone=protein.backbone + 5), protein)
    assert with_side.side is not None and np.abs(with_side.side.xyz - protein.side.xyz + 5).max() < 1e-3
    with pytest.raises(ValueError, match="8 and 36 residues need pairs"):
        superpose(motif, protein)
    with pytest.raises(ValueError, match="beyond"):
        superpose(motif, protein, [(8, 0)])
    with pytest.raises(ValueError, match="pairs has the shape"):
        superpose(motif, protein, [])


def test_an_overlay_shows_both() -> None:
    protein = bundle()
    other = replace(protein, backbone=protein.backbone + np.float32(1.5))
    scene = Scene.of([protein, other])
    found = scene.colours["proteins"]
    assert len(scene.letters) == 72 and (found[:36] == rgb(GREY)).all()
    assert len(np.unique(found, axis=0)) == 2 and [run[0] for run in scene.names] == [0, 1]
    assert np.abs(array(picture(protein, over=[other])) - array(picture(protein))).max() > 50
    assert "72 residues of 2 proteins" in to_html(protein, over=[other])
    assert "reason" in to_html(protein, over=[Failure("the reason")])


BROKEN = [
    (Failure("no & <more>"), "no & <more>"),
    (bundle()[:0], "has no residues"),
    (None, "no protein"),
    ("text", "no protein"),
]


@pytest.mark.parametrize(("item", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_what_cannot_be_shown_gives_its_reason(item: Any, why: str) -> None:
    assert colours(picture(item, 96)) > 2
    fragment = to_html(item)
    assert why in html.unescape(fragment) and "<more>" not in fragment and "<protein-view" not in fragment


def without(protein: Protein, rows: slice, atom: int) -> Protein:
    backbone = protein.backbone.copy()
    backbone[rows, atom] = np.nan
    return replace(protein, backbone=backbone)


ODD = {
    "one residue": bundle()[:1],
    "two": bundle()[:2],
    "three": bundle()[:3],
    "no oxygens": without(bundle(), slice(None), 3),
    "some oxygens": without(bundle(), slice(None, None, 3), 3),
    "some nitrogens": without(bundle(), slice(None, None, 4), 0),
    "only CA": trace(bundle()),
    "one on another": replace(bundle(), backbone=np.zeros((36, 4, 3), np.float32)),
    "in a line": trace(strand("AAAAA")),
    "far away": moved(bundle(), shift=1e5),
    "far apart": join([bundle(), moved(bundle(), shift=300, chain="B")]),
    "each alone": replace(bundle(), chains=np.array([f"c{k}" for k in range(36)])),
    "chain <&'\">": replace(bundle(), chains=np.full(36, "<&'\">")),
}


@pytest.mark.parametrize("protein", ODD.values(), ids=ODD.keys())
def test_odd_proteins_are_drawn(protein: Protein) -> None:
    assert colours(picture(protein, 64)) > 2
    data = scene_of(to_html(protein))
    assert data["q"] == protein.sequence and len(data["l"]) == len(protein)
    runs = data["m"]
    assert sum(run[3] for run in runs) == len(protein) and runs[0][1] == protein.chains[0]


def test_insertions_have_names_of_their_own() -> None:
    protein = strand("ACDEF", insertions=["", "", "A", "", ""], numbers=[7, 8, 8, 9, 10])
    assert Scene.of([protein]).names == [
        (0, "A", 7, 2, ""), (0, "A", 8, 1, "A"), (0, "A", 9, 2, "")
    ]  # fmt: skip


def scene_of(fragment: str) -> dict[str, Any]:
    found = re.search(r"data-scene='({[^']*)'", fragment)
    assert found
    return json.loads(html.unescape(found[1]))


def test_the_fragment_holds_the_ribbon_and_nothing_from_elsewhere() -> None:
    import base64

    protein = bundle()
    fragment, scene = to_html(protein), Scene.of([protein])
    data = scene_of(fragment)
    raw, rungs = base64.b64decode(data["d"]), len(scene.strips.centres)
    assert len(raw) == 13 * rungs and sum(data["s"]) == rungs
    centres = np.frombuffer(raw, "<i2", 3 * rungs).reshape(-1, 3) * data["u"]
    np.testing.assert_allclose(centres, scene.strips.centres, atol=0.006)
    assert data["m"] == [[0, "A", 1, 36, ""]] and data["c"][0][0] == "N to C"
    assert fragment.count("aria-label=") == 1 and "36 residues, " in fragment and "% helix" in fragment
    assert external_resources(fragment) == [] and "http" not in fragment
    assert to_html(protein) == fragment


def test_fragments_are_small_and_share_their_script() -> None:
    protein = bundle(128)
    fragment = to_html(protein)
    assert len(fragment) < 60_000
    figures = [Figure(fragment)] * 20
    text = Page("Proteins", [Section("Samples", blocks=[Gallery(figures, 200)])]).html()
    assert text.count("customElements.define('protein-view'") == 1
    assert len(text) < 35_000 + 20 * 40_000
    large = join([moved(protein, k, 20.0 * k, f"c{k}") for k in range(8)])
    assert len(to_html(large)) < 200_000


def test_a_real_chain_has_arrows_and_bands() -> None:
    from langevin.modalities.protein.archives import read_archive

    archive = read_archive(shared())
    protein = archive[4]
    scene = Scene.of([protein])
    assert {"H", "E", "-"} == set(scene.letters)
    assert scene.strips.halves[:, 0].max() > 1.8 and colours(picture(protein, 96)) > 1000


def page(folder: Path, script: str = "") -> Path:
    kept = np.zeros(36, bool)
    kept[5:12] = True
    items = [
        to_html(bundle()),
        to_html(dressed(bundle()), kept=kept),
        to_html(trace(bundle())),
        to_html(None),
    ]
    blocks = [Gallery([Figure(item) for item in items], 180)]
    text = Page("Proteins", [Section("Samples", blocks=blocks)]).html()
    path = folder / "page.html"
    path.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    return path


SCRIPT = """<script>
window.requestAnimationFrame = draw => setTimeout(draw, 16);
const said = [];
addEventListener('error', event => said.push(event.message));
const views = [...document.querySelectorAll('protein-view')], [view] = views;
const wait = () => new Promise(done => setTimeout(done, 400));
const seen = () => { const c = view.shadowRoot.querySelector('canvas');
  return c.width < 2 || c.hidden ? '' : c.toDataURL(); };
const key = (key, more) => view.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true, ...more }));
const pointer = (kind, x, y) => { const box = view.getBoundingClientRect(); view.dispatchEvent(new PointerEvent(
  'pointer' + kind, { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true })); };
(async () => { const out = {};
  out.before = seen(); pointer('enter', 90, 90); await wait(); const first = seen(); out.drawn = first !== '';
  pointer('down', 90, 90); pointer('move', 130, 100); pointer('up', 130, 100); await wait();
  out.dragged = seen() !== first; key('0'); await wait(); out.reset = seen() === first;
  for (const k of ['ArrowLeft', 'ArrowUp', '+', '-', 'l', 'c'])
    { key(k); await wait(); out[k] = seen() !== first; key('0'); await wait(); }
  const names = new Set();
  for (let y = 0; y < view.clientHeight; y += 3) for (let x = 0; x < view.clientWidth; x += 3)
    { pointer('move', x, y); names.add(view.shadowRoot.getElementById('told').textContent); }
  out.names = [...names]; out.others = views.slice(1).every(v => !v.points); out.count = views.length;
  out.roles = views.every(v => v.tabIndex === 0 && v.getAttribute('role') && v.getAttribute('aria-label'));
  out.said = said;
  document.body.dataset.out = JSON.stringify(out); })().catch(error => { document.body.dataset.out = JSON.stringify(
    { said: [String(error)] }); });
</script>"""


@pytest.mark.browser
@needs_browser
def test_a_protein_turns_in_the_browser(tmp_path: Path) -> None:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=30000", "--dump-dom", page(tmp_path, SCRIPT).as_uri()]
    dom = subprocess.run(command, check=True, capture_output=True, timeout=240).stdout.decode()
    found = re.search(r'data-out="([^"]*)"', dom)
    assert found, dom[-500:]
    out = json.loads(html.unescape(found[1]))
    assert out.pop("said") == [] and out.pop("before") == "" and out.pop("count") == 3
    names = set(out.pop("names"))
    assert all(out.values()), out
    residues = {
        match[1] for name in names if (match := re.fullmatch(r"(?:any|Gly|Ala) A(\d+)(, helix)?", name))
    }
    assert len(residues) > 20 and "" in names


@pytest.mark.browser
@needs_browser
def test_the_drawn_picture_is_the_still_one_until_it_is_turned(tmp_path: Path) -> None:
    """So that nothing jumps when the pointer arrives; on light and on dark ground."""
    still = screenshot(page(tmp_path), tmp_path, (900, 700))
    start = "<script>document.querySelectorAll('protein-view').forEach(view => { view.start(); view.draw(); })</script>"
    drawn = screenshot(page(tmp_path, start), tmp_path, (900, 700))
    turn = start.replace("view.start();", "view.start(); view.turned(0, 0.15); view.moving = false;")
    turned = screenshot(page(tmp_path, turn), tmp_path, (900, 700))
    assert ImageChops.difference(still, drawn).getbbox() is not None
    jump, far = (np.abs(array(drawn) - array(other)).mean() for other in (still, turned))
    assert 0 < jump < 0.25 * far
    dark = screenshot(page(tmp_path), tmp_path, (900, 700), dark=True)
    assert array(still).mean() > 180 and array(dark).mean() < 70
