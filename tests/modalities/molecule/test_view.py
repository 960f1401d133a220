"""Pictures show the molecule as it is: handedness, depth, colours; the viewer turns offline."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolTransforms
from rdkit.Geometry import Point3D

from langevin.modalities.base import Failure
from langevin.modalities.molecule.scene import REACH, Scene, _neighbours, render
from langevin.modalities.molecule.view import depict, picture, superpose, to_html
from langevin.report import Figure, Gallery, Page, Section, external_resources
from tests.browser import CHROMIUM, FLAGS, colours, needs_browser, screenshot

SMILES = ("CC(=O)Oc1ccccc1C(=O)O", "C#CC1CC1O", "[NH3+]CC([O-])=O", "C", "CC(F)(Cl)Br", "O=S(=O)(N)c1ccccc1")


def embedded(smiles: str, seed: int = 1) -> Any:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=seed) == 0
    return mol


def placed(
    symbols: str, places: list[tuple[float, float, float]], bonds: tuple[tuple[int, int], ...] = ()
) -> Any:
    """Atoms at given places, not sanitised."""
    mol = Chem.RWMol()
    for symbol in symbols:
        mol.AddAtom(Chem.Atom(symbol))
    for i, j in bonds:
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(symbols))
    for k, place in enumerate(places):
        conformer.SetAtomPosition(k, Point3D(*place))
    mol.AddConformer(conformer)
    return mol.GetMol()


def moved(mol: Any, seed: int = 0) -> Any:
    """The same molecule turned and shifted."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    matrix[:3, 3] = 5, -3, 2
    copy = Chem.Mol(mol)
    rdMolTransforms.TransformConformer(copy.GetConformer(), matrix)
    return copy


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("smiles", SMILES)
def test_the_scene_is_the_molecule_turned(smiles: str, mirrored: bool) -> None:
    """Distances and handedness stay; the picture does not depend on where the molecule lay."""
    mol = embedded(smiles)
    if mirrored:
        rdMolTransforms.TransformConformer(mol.GetConformer(), np.diag([-1.0, 1, 1, 1]))
    places, before = Scene.of([mol]).positions, mol.GetConformer().GetPositions()
    a, b = places - places.mean(0), before - before.mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    assert np.linalg.det(u @ vt) > 0.99
    assert np.abs(b @ u @ vt - a).max() < 1e-4
    if smiles != "C":  # whose axes are all alike
        again = Scene.of([moved(mol)]).positions
        assert np.abs(again - places).max() < 1e-3


@pytest.mark.parametrize("smiles", SMILES)
def test_all_fits_in_the_picture_however_it_is_turned(smiles: str) -> None:
    scene = Scene.of([embedded(smiles)])
    assert (np.linalg.norm(scene.positions, axis=1) + scene.radii).max() <= scene.radius
    widest = np.linalg.norm(scene.positions[:, None] - scene.positions, axis=-1).max()
    bound = 0.62 * widest + scene.radii.max()  # Jung: sqrt(3 / 8) of the width
    assert scene.radius <= max(2.11, 1.03 * bound)
    alpha = np.asarray(render(scene, 64))[..., 3]
    assert not alpha[0].any() and not alpha[-1].any() and not alpha[:, 0].any() and not alpha[:, -1].any()
    assert 0.04 < (alpha > 0).mean() < 0.6


def test_the_nearest_surface_is_seen() -> None:
    """Balls and sticks against a ray marched to each pixel in float64."""
    scene = Scene.of([embedded("C=CC#N")])
    alpha = np.asarray(render(scene, 48, detail=1))[..., 3]
    axis = ((np.arange(48) + 0.5) / 48 * 2 - 1) * scene.radius
    sticks = scene.sticks()
    z = np.linspace(scene.radius, -scene.radius, 2000)
    misses = 0
    for row in range(0, 48, 2):
        for column in range(0, 48, 2):
            ray = np.stack([np.full_like(z, axis[column]), np.full_like(z, -axis[row]), z], 1)
            inside = (np.linalg.norm(ray[:, None] - scene.positions, axis=-1) < scene.radii).any(1)
            for start, along, length, radius in zip(sticks.starts, sticks.axes, sticks.lengths, sticks.radii):
                s = (ray - start) @ along
                away = np.linalg.norm(ray - start - s[:, None] * along, axis=1)
                inside |= (away < radius) & (s > 0) & (s < length)
            if inside.any():
                expected = 1 - 0.3 * np.clip(0.15 - z[inside.argmax()] / scene.radius, 0, 1)
                misses += abs(alpha[row, column] / 255 - expected) > 0.005
            else:
                misses += alpha[row, column] > 0
    assert misses <= 4  # of 576: rays that graze an edge


def test_what_is_in_front_hides_what_is_behind() -> None:
    """An oxygen that stands between the reader and a nitrogen is red; handedness decides which it is."""
    places = [
        (0, 0, 0),
        (1.4, 0, 0),
        (-1.4, 0, 0),
        (0, 1.3, 0),
        (0, -1.3, 0),
        (0.2, 0.1, 1.2),
        (0.2, 0.1, -1.2),
    ]
    mol = placed("CFSPCNO", places)
    scene = Scene.of([mol])
    pixels = np.asarray(render(scene, 96).convert("RGB")).astype(int)
    front = max((5, 6), key=lambda k: scene.positions[k, 2])
    x, y, _ = scene.positions[front]
    r, _, b = pixels[int((1 - y / scene.radius) * 48), int((1 + x / scene.radius) * 48)]
    assert (b > r) if mol.GetAtomWithIdx(front).GetSymbol() == "N" else (r > b)


def test_bonds_are_drawn_by_their_order() -> None:
    for smiles, count in (("CC", 7), ("C=C", 6), ("C#C", 5)):
        scene = Scene.of([embedded(smiles)])
        assert len(scene.sticks().ends) == count
        for (i, j, order), away in zip(scene.bonds, scene.aside):
            axis = scene.positions[j] - scene.positions[i]
            assert abs(axis @ away) < 1e-5 and (np.linalg.norm(away) > 0.1) == (order > 1)
    ethene = Scene.of([embedded("C=C")])
    plane = np.linalg.svd(ethene.positions - ethene.positions.mean(0))[2][2]
    assert abs(ethene.aside[ethene.bonds[:, 2] == 2] @ plane).max() < 0.02  # both sticks in the plane
    benzene = Scene.of([embedded("c1ccccc1")])
    assert sorted(benzene.bonds[:, 2]) == [1] * 9 + [2] * 3


def test_near_atoms_shade() -> None:
    scene = Scene.of([embedded("CCO")])
    near = _neighbours(scene, scene.sticks().ends)
    away = np.linalg.norm(scene.positions[:, None] - scene.positions, axis=-1)
    for k in range(len(scene)):
        found = near[k][near[k] >= 0]
        assert k not in found and (away[k, found] < REACH).all()
    lone, pair = (Scene.of([placed("C" * n, [(0, 0, 0), (1.0, 0, 0)][:n])]) for n in (1, 2))
    assert (
        _neighbours(lone, lone.sticks().ends).max() == -1 and _neighbours(pair, pair.sticks().ends)[0, 0] == 1
    )


def test_hydrogens_can_be_left_out() -> None:
    mol = embedded("CCO")
    bare = Scene.of([mol], hydrogens=False)
    assert bare.numbers.tolist() == [6, 6, 8] and len(bare.bonds) == 2
    assert Scene.of([embedded("[H][H]")], hydrogens=False).numbers.tolist() == [1, 1]


def test_pictures() -> None:
    mol = embedded(SMILES[0])
    plain, clear = picture(mol, 96), picture(mol, 96, background=None)
    assert plain.mode == "RGB" and plain.size == (96, 96) and clear.mode == "RGBA"
    assert plain.getpixel((0, 0)) == (255, 255, 255) and clear.getpixel((0, 0))[3] == 0
    assert colours(plain) > 300
    assert np.array_equal(array(picture(mol, 96)), array(plain))
    dark = picture(mol, 96, background="#24242b")
    assert dark.getpixel((0, 0)) == (36, 36, 43)
    with pytest.raises(ValueError, match="at least 16"):
        picture(mol, 8)


BROKEN = [
    (Failure("valence of nitrogen is 5 & <more>"), "valence of nitrogen is 5"),
    (Chem.Mol(), "has no atoms"),
    (Chem.MolFromSmiles("CCO"), "has no conformer"),
    (placed("CC", [(0, 0, 0), (float("nan"), 0, 0)]), "not finite"),
    (None, "no molecule"),
]


@pytest.mark.parametrize(("item", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_what_cannot_be_shown_gives_its_reason(item: Any, why: str) -> None:
    assert colours(picture(item, 96)) > 2 and picture(item, 20).size == (20, 20)
    fragment = to_html(item)
    assert why in html.unescape(fragment) and "<more>" not in fragment and "<molecule-view" not in fragment
    good = embedded("CCO")
    assert depict([item, good]).size == (400, 160)
    assert why in html.unescape(to_html(good, over=[item])) or not isinstance(item, Failure)


@pytest.mark.parametrize(
    "mol",
    [
        placed("C", [(1e4, 0, 0)]),
        placed("CC", [(0, 0, 0), (0, 0, 0)], ((0, 1),)),  # on one another
        placed("CCC", [(0, 0, 0), (0, 0, 1.5), (0, 0, 3)], ((0, 1), (1, 2))),
        placed("CN", [(0, 0, 0), (90, 0, 0)]),  # two parts far from each other
        placed("NCCCCC", [(0, 0, 0), *((np.cos(k), np.sin(k), 0.1 * k) for k in range(5))],
               tuple((0, k) for k in range(1, 6))),  # a nitrogen with five bonds
        embedded("[*:1]CCI"),
    ],
)  # fmt: skip
def test_odd_molecules_are_drawn(mol: Any) -> None:
    assert colours(picture(mol, 64)) > 2
    assert "<molecule-view style" in to_html(mol)
    assert colours(depict([mol])) > 2


def test_aromatic_bonds_without_a_kekule_form_are_drawn() -> None:
    mol = placed("CCCCC", [(np.cos(1.26 * k), np.sin(1.26 * k), 0) for k in range(5)])
    mol = Chem.RWMol(mol)
    for k in range(5):
        mol.AddBond(k, (k + 1) % 5, Chem.BondType.AROMATIC)
        mol.GetAtomWithIdx(k).SetIsAromatic(True)
    for bond in mol.GetBonds():
        bond.SetIsAromatic(True)
    assert colours(picture(mol, 64)) > 20 and colours(depict([mol])) > 20


def test_drawings() -> None:
    mols = [embedded(smiles) for smiles in SMILES]
    captioned = depict(mols, captions=[f"<{k}>" for k in range(6)], columns=3, size=(120, 100))
    assert captioned.size == (360, 200) and depict([]).size == (200, 160) and depict(mols).size == (600, 320)
    one, other = depict([mols[0]]), depict([Chem.MolFromSmiles(SMILES[0])])
    assert np.abs(array(one) - array(other)).mean() < 1  # coordinates and hydrogens do not matter
    benzene, cyclohexane = depict([embedded("c1ccccc1")]), depict([embedded("C1CCCCC1")])
    assert np.abs(array(benzene) - array(cyclohexane)).max() > 100
    left, right = depict([embedded("C[C@H](N)C(=O)O")]), depict([embedded("C[C@@H](N)C(=O)O")])
    assert np.abs(array(left) - array(right)).max() > 100  # wedges
    with pytest.raises(ValueError, match="6 molecules; got 1"):
        depict(mols, captions=["a"])
    with pytest.raises(ValueError, match="columns"):
        depict(mols, columns=0)


def test_superpose_finds_the_turn() -> None:
    mol = embedded("CC(C)Cc1ccc(cc1)C(C)C(=O)O")
    back, distance = superpose(moved(mol), mol)
    assert distance < 1e-4
    assert np.abs(back.GetConformer().GetPositions() - mol.GetConformer().GetPositions()).max() < 1e-3


def test_superpose_matches_equivalent_atoms_and_never_reflects() -> None:
    toluene = embedded("Cc1ccccc1")
    relabelled = Chem.RenumberAtoms(toluene, [0, 1, 6, 5, 4, 3, 2, *range(7, 15)])
    assert superpose(relabelled, toluene)[1] < 1e-4
    right, left = embedded("C[C@H](N)C(=O)O"), embedded("C[C@@H](N)C(=O)O")
    assert superpose(left, right)[1] > 0.2
    part, distance = superpose(embedded("Cc1ccccc1"), embedded("CCc1ccccc1"))
    assert distance < 0.1 and part.GetNumAtoms() == 15


@pytest.mark.parametrize(
    ("mol", "onto", "why"),
    [
        ("C1CCCCC1", "CCO", "no part"),
        (None, "CCO", "mol has no conformer"),
        ("CCO", None, "onto has no conformer"),
    ],
)
def test_superpose_refuses(mol: str | None, onto: str | None, why: str) -> None:
    pair = [Chem.MolFromSmiles("CC") if smiles is None else embedded(smiles) for smiles in (mol, onto)]
    with pytest.raises(ValueError, match=why):
        superpose(*pair)


def test_an_overlay_shows_both() -> None:
    first = embedded("CCCCCO")
    second, distance = superpose(embedded("CCCCCO", 5), first)
    assert distance > 0.1
    scene = Scene.of([first, second])
    assert len(scene) == 2 * first.GetNumAtoms() and len(set(scene.radii.tolist())) == 1
    assert tuple(scene.colours[0]) != tuple(scene.colours[first.GetNumAtoms()])
    assert tuple(scene.colours[5]) == tuple(scene.colours[first.GetNumAtoms() + 5])  # oxygen stays red
    assert np.abs(array(picture(first, over=[second])) - array(picture(first))).max() > 50
    data = scene_of(to_html(first, over=[second]))
    assert data["n"][first.GetNumAtoms()] == 0 and len(data["e"]) == 36


def scene_of(fragment: str) -> dict[str, Any]:
    found = re.search(r"data-scene='({[^']*)'", fragment)
    assert found
    return json.loads(html.unescape(found[1]))


def test_the_fragment_holds_the_molecule() -> None:
    mol = embedded("[NH3+]CC([O-])=O")
    fragment = to_html(mol)
    data = scene_of(fragment)
    assert [data["s"][kind][0] for kind in data["e"]] == [a.GetSymbol() for a in mol.GetAtoms()]
    assert data["q"] == {"0": 1, "3": -1} and "n" not in data
    assert sorted(bond[2] for bond in data["b"]) == [1] * 8 + [2]
    places = np.reshape(data["p"], (-1, 3))
    for i, j, *_ in data["b"]:
        length = rdMolTransforms.GetBondLength(mol.GetConformer(), i, j)
        assert abs(np.linalg.norm(places[i] - places[j]) - length) < 3e-3
    assert "C2H5NO2" in fragment and '<img alt="C2H5NO2" src="data:image/webp;base64,' in fragment
    assert external_resources(fragment) == []
    assert "n" in scene_of(to_html(Chem.RenumberAtoms(mol, [9, *range(9)]), hydrogens=False))


def page(folder: Path, count: int = 4, script: str = "") -> Path:
    figures = [Figure(to_html(embedded(SMILES[k % 6])), SMILES[k % 6]) for k in range(count)]
    figures.append(Figure(to_html(Failure("no & <b>")), "a failure"))
    html_ = Page("Molecules", [Section("Samples", blocks=[Gallery(figures, 180)])]).html()
    path = folder / "page.html"
    path.write_text(html_.replace("</body>", f"{script}</body>"), encoding="utf-8")
    return path


def test_a_page_of_a_hundred_molecules_is_small(tmp_path: Path) -> None:
    fragments = [to_html(embedded(smiles)) for smiles in SMILES]
    figures = [Figure(fragments[k % 6]) for k in range(100)]
    text = Page("Molecules", [Section("Samples", blocks=[Gallery(figures, 180)])]).html()
    assert text.count("customElements.define(") == 1 and text.count("<molecule-view style") == 100
    assert len(text) < 1_600_000


LISTEN = """<script>
const said = [];
for (const kind of ['error', 'warn']) { console[kind] = (...text) => said.push(text.join(' ')); }
addEventListener('error', event => said.push(event.message));
addEventListener('unhandledrejection', event => said.push(String(event.reason)));
addEventListener('securitypolicyviolation', event => said.push('blocked ' + event.blockedURI));
const views = [...document.querySelectorAll('molecule-view')], [view, second] = views;
const key = (key, options = {}) => view.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true, ...options }));
const pointer = (kind, x, y) => view.dispatchEvent(new PointerEvent('pointer' + kind, { pointerId: 1, button: 0,
  clientX: view.getBoundingClientRect().left + x, clientY: view.getBoundingClientRect().top + y }));
window.requestAnimationFrame = draw => setTimeout(draw, 16);  // a page that is never shown has no frames
const wait = () => new Promise(done => setTimeout(done, 250));
const seen = () => { const c = view.shadowRoot.querySelector('canvas');
  return c.hidden ? '' : [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].join(); };
const told = () => view.shadowRoot.getElementById('told').textContent;
(async () => { const out = {};
  %s
  await wait();
  out.said = said;
  out.fetched = performance.getEntriesByType('resource').map(r => r.name).filter(name => !name.startsWith('data:'));
  document.body.dataset.out = JSON.stringify(out); })().catch(error => { document.body.dataset.out = JSON.stringify(
    { said: [String(error)] }); });
</script>"""


def acted(folder: Path, script: str) -> dict[str, Any]:
    """What a script found out about the page, without complaints and requests."""
    path = page(folder, script=LISTEN % script)
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        path.resolve().as_uri(),
    ]
    dom = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout.decode()
    found = re.search(r'data-out="([^"]*)"', dom)
    assert found, dom[-500:]
    out = json.loads(html.unescape(found[1]))
    assert out.pop("said") == [] and out.pop("fetched") == []
    return out


@pytest.mark.browser
@needs_browser
def test_a_molecule_turns_in_the_browser(tmp_path: Path) -> None:
    out = acted(
        tmp_path,
        """
  out.before = seen();                                   // the still picture only
  pointer('enter', 90, 90); await wait(); const first = seen();
  out.drawn = first.length > 0 && first.split(',').some(v => v > 0);
  pointer('down', 90, 90); pointer('move', 130, 100); pointer('up', 130, 100); await wait();
  out.dragged = seen() !== first; const turned = view.turn.join();
  const m = view.turn; out.rotation = m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6])
    + m[2] * (m[3] * m[7] - m[4] * m[6]);
  pointer('move', 20, 20); out.released = view.turn.join() === turned;
  key('0'); await wait(); out.reset = seen() === first;
  out.keys = {};
  for (const k of ['ArrowLeft', 'ArrowUp', '+', '-', 'l', 'h'])
    { key(k); await wait(); out.keys[k] = seen() !== first; key('0'); await wait(); }
  out.kept = !key('ArrowDown') && key('Tab') && key('ArrowDown', { ctrlKey: true });
  key('0');
  const wheel = () => view.dispatchEvent(new WheelEvent('wheel', { deltaY: -200, cancelable: true }));
  view.blur(); out.scrolls = wheel() && view.zoom === 1;
  view.focus(); out.zooms = !wheel() && view.zoom > 1;
  out.others = views.slice(1).every(v => !v.atoms);      // nothing is drawn before it is asked for
  out.roles = views.every(v => v.tabIndex === 0 && v.getAttribute('role') && v.getAttribute('aria-label'));
  """,
    )
    assert out.pop("before") == "" and abs(out.pop("rotation") - 1) < 1e-6
    keys = out.pop("keys")
    assert all(keys.values()) and all(out.values()), (keys, out)


@pytest.mark.browser
@needs_browser
def test_the_pointer_names_atoms_and_bonds(tmp_path: Path) -> None:
    out = acted(
        tmp_path,
        """
  const names = new Set(); pointer('enter', 0, 0); await wait();
  for (let y = 0; y < view.clientHeight; y += 2) for (let x = 0; x < view.clientWidth; x += 2)
    { pointer('move', x, y); names.add(told()); }
  pointer('leave', 0, 0); out.left = told(); out.names = [...names];
  """,
    )
    names = set(out["names"])
    mol = embedded(SMILES[0])
    assert out["left"] == "" and "" in names
    heavy = {f"{a.GetSymbol()} {a.GetIdx()}" for a in mol.GetAtoms() if a.GetAtomicNum() > 1}
    assert len(heavy & names) >= len(heavy) - 1
    bonds = [re.fullmatch(r"[A-Z](\d+) ([–=≡]) [A-Z](\d+), ([\d.]+) Å", name) for name in names]
    found = [match for match in bonds if match]
    assert len(found) > 10
    for match in found:
        i, j = int(match[1]), int(match[3])
        assert abs(float(match[4]) - rdMolTransforms.GetBondLength(mol.GetConformer(), i, j)) < 3e-3


@pytest.mark.browser
@needs_browser
def test_the_drawn_picture_is_the_still_one_until_it_is_turned(tmp_path: Path) -> None:
    """So that nothing jumps when the pointer arrives; and without scripts the still one is there."""
    still = screenshot(page(tmp_path), tmp_path, (900, 700))
    start = "<script>document.querySelectorAll('molecule-view').forEach(view => view.start())</script>"
    drawn = screenshot(page(tmp_path, script=start), tmp_path, (900, 700))
    press = "view.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }))"
    turned = screenshot(page(tmp_path, script=start.replace("view.start()", press)), tmp_path, (900, 700))
    silent = page(tmp_path)
    silent.write_text(
        re.sub(r"<script.*?</script>", "", silent.read_text(encoding="utf-8"), flags=re.DOTALL),
        encoding="utf-8",
    )
    without = screenshot(silent, tmp_path, (900, 700))
    assert ImageChops.difference(still, without).getbbox() is None
    jump, turn = (np.abs(array(drawn) - array(other)).mean() for other in (still, turned))
    assert 0 < jump < 0.25 * turn


@pytest.mark.browser
@needs_browser
def test_molecules_stand_out_on_light_and_dark(tmp_path: Path) -> None:
    path = page(tmp_path)
    light, dark = screenshot(path, tmp_path, (900, 700)), screenshot(path, tmp_path, (900, 700), dark=True)
    assert colours(light) > 1000 and colours(dark) > 1000
    assert array(light).mean() > 180 and array(dark).mean() < 70
