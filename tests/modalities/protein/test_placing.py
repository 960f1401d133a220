"""Free motifs with an untrained network: rigid bodies that lie where the run puts them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langevin.assembly import save_model
from langevin.cli.main import main
from langevin.core import so3
from langevin.core.guidance.base import Question
from langevin.core.guidance.classifier import clean
from langevin.core.posteriors import Point, Tangent
from langevin.core.rng import Stream
from langevin.modalities.protein.contigs import Contig
from langevin.modalities.protein.design import design
from langevin.modalities.protein.designing import DesignFlags, _options, _read
from langevin.modalities.protein.files import write_pdb
from langevin.modalities.protein.metrics.similarity import superposed
from langevin.modalities.protein.placing import Placing, bodies_of, placed
from langevin.modalities.protein.protein import Protein, SideChains, of_structure
from langevin.modalities.protein.rigid import ideal_atoms
from tests.modalities.protein.backbones import protein
from tests.modalities.protein.test_protein_modality import TURN, model, turned

HOW = {"steps": 3, "progress": False}
CONTIG = "4/A3-9/5-8/A15-22/4"
ONE, TWO = list(range(2, 9)), list(range(14, 22))  # residues of the input


@pytest.fixture(scope="module")
def net() -> Any:
    return model()


@pytest.fixture(scope="module")
def source() -> Protein:
    item = protein(30)
    off = np.random.default_rng(0).normal(0, 0.03, item.backbone.shape)  # real residues are not ideal ones
    item = replace(item, backbone=(item.backbone + off).astype(np.float32))
    owner = np.array([4, 17], np.int32)
    xyz = item.backbone[owner, 1] + np.array([1.5, 0.2, -0.3], np.float32)
    return replace(item, side=SideChains(owner, np.array(["CB", "CB"]), xyz))


def atoms(item: Protein, places: list[int]) -> np.ndarray:
    """N, CA and C of residues, and their side chains."""
    side = item.side
    assert side is not None
    there = [k for owner in places for k in np.flatnonzero(side.residue == owner)]
    return np.concatenate([item.backbone[places, :3].reshape(-1, 3), side.xyz[there]])


def apart(item: Protein, source: Protein, one: list[int], two: list[int]) -> tuple[float, float, float]:
    """RMSD of two motifs from those of the input, each by itself and both at once."""
    own, theirs = (atoms(item, places) for places in (one, two)), (atoms(source, at) for at in (ONE, TWO))
    pairs = list(zip(own, theirs, strict=True))
    assert all(len(a) == len(b) for a, b in pairs)
    first, second = (superposed(a, b)[2] for a, b in pairs)
    return first, second, superposed(*(np.concatenate(part) for part in zip(*pairs, strict=True)))[2]


def test_free_motifs_are_rigid_and_lie_apart_from_the_input(
    net: Any, source: Protein, tmp_path: Path
) -> None:
    samples = design(net, CONTIG, source, n=3, free=True, **HOW)
    for structure in samples:
        note, made = structure.xtra["note"], of_structure(structure)
        one, two = note["free_idx0"]
        assert note["con_hal_idx0"] == one + two == note["kept"] and note["config"]["free"] is True
        first, second, both = apart(made, source, one, two)
        assert first < 0.01 and second < 0.01 and both > 0.5
        assert note["motif_rmsd"] < 0.01 and np.isfinite(made.backbone).all()
        assert made[np.array(one + two)].sequence == source[np.array(ONE + TWO)].sequence
    samples.save(tmp_path / "out")
    told = json.loads((tmp_path / "out" / "designs.json").read_text())
    assert told[1]["free_idx0"] == samples[1].xtra["note"]["free_idx0"]


def test_seeds_place_motifs_differently(net: Any, source: Protein) -> None:
    contig = "4/A3-9/6/A15-22/4"
    made = [of_structure(design(net, contig, source, seed=k, free="each", **HOW)[0]) for k in (0, 0, 1)]
    both = [4 + k for k in range(7)] + [17 + k for k in range(8)]
    same, other = (superposed(atoms(made[0], both), atoms(item, both))[2] for item in made[1:])
    assert same < 0.01 and other > 0.5


def test_one_body_of_all_motifs_keeps_their_relative_place(net: Any, source: Protein) -> None:
    (structure,) = design(net, CONTIG, source, free="A3-9,A15-22", **HOW)
    (places,) = structure.xtra["note"]["free_idx0"]
    made = of_structure(structure)
    assert superposed(atoms(made, places), atoms(source, ONE + TWO))[2] < 0.01
    # as a design without free bodies has them, but for where they lie
    (still,) = design(net, CONTIG, source, **HOW)
    assert superposed(atoms(made, places), atoms(of_structure(still), places))[2] < 0.01
    assert np.abs(atoms(made, places) - atoms(source, ONE + TWO)).max() > 1.0


def test_motifs_that_are_not_named_stay_where_they_are(net: Any, source: Protein) -> None:
    (structure,) = design(net, CONTIG, source, free="A15-22", **HOW)
    made, note = of_structure(structure), structure.xtra["note"]
    one = [k for k in note["con_hal_idx0"] if k not in note["free_idx0"][0]]
    first, second, both = apart(made, source, one, note["free_idx0"][0])
    assert first < 0.01 and second < 0.01 and both > 0.5
    assert np.abs(atoms(made, one) - atoms(source, ONE)).max() < 2e-3


@pytest.mark.parametrize("name", ["protein-trace", "protein-sidechains"])
def test_traces_and_side_chains(source: Protein, name: str) -> None:
    kinds = {"positions": "velocity"} | ({} if name == "protein-trace" else {"frames": "rate"})
    (structure,) = design(
        model(modality={"name": name}, parametrisation=kinds), CONTIG, source, free=True, **HOW
    )
    made = of_structure(structure)
    for places, theirs in zip(structure.xtra["note"]["free_idx0"], (ONE, TWO), strict=True):
        assert superposed(made.backbone[places, 1], source.backbone[theirs, 1])[2] < 0.01


def rigid(rows: int, seed: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    turns = so3.exp(torch.randn(rows, 9, 3, generator=rng))
    return {"positions": torch.randn(rows, 9, 3, generator=rng), "frames": turns}


BODIES = torch.tensor([[-1, 0, 0, 0, -1, 1, 1, 1, -1]])


class TestPlaced:
    def test_bodies_are_moved_as_they_are_and_others_not(self) -> None:
        x, state = rigid(1, 0), rigid(2, 1)
        made = placed(BODIES, state, x, 10.0)
        for name in ("positions", "frames"):
            assert torch.equal(made[name][:, BODIES[0] < 0], state[name][:, BODIES[0] < 0])
        for row in range(2):
            for number in range(2):
                there = BODIES[0] == number
                found, own, believed = (
                    ideal_atoms(part["frames"][k][there], 10 * part["positions"][k][there]).reshape(-1, 3)
                    for part, k in ((made, row), (x, 0), (state, row))
                )
                assert superposed(found, own)[2] < 1e-4
                # the best of all places: as near to what was believed as superposition by other means
                off = float((found - believed).square().sum(-1).mean().sqrt())
                assert off == pytest.approx(superposed(own, believed)[2], rel=1e-4)

    def test_turns_with_what_is_believed(self) -> None:
        x, state = rigid(1, 0), rigid(2, 1)
        once = turned(placed(BODIES, state, x, 10.0), TURN)
        again = placed(BODIES, turned(state, TURN), x, 10.0)
        for name in ("positions", "frames"):
            assert torch.allclose(once[name], again[name], atol=1e-4)

    def test_what_is_there_already_stays(self) -> None:
        x = rigid(1, 0)
        made = placed(BODIES, turned(x, TURN), x, 10.0)
        assert torch.allclose(made["positions"], x["positions"] @ TURN.T, atol=1e-5)

    def test_a_row_that_is_not_finite_is_its_own_matter(self) -> None:
        x, state = rigid(1, 0), rigid(2, 1)
        broken = {name: part.clone() for name, part in state.items()}
        broken["positions"][0, 2] = torch.nan
        made, whole = placed(BODIES, broken, x, 10.0), placed(BODIES, state, x, 10.0)
        assert torch.allclose(made["positions"][1], whole["positions"][1], atol=1e-5)
        assert made["positions"][0].isnan().any()


def test_the_belief_has_the_bodies_and_noise_follows(net: Any, source: Protein) -> None:
    state, _ = net.modality.encode([source])
    bodies = torch.full((1, 30), -1)
    bodies[0, ONE], bodies[0, TWO] = 0, 1
    guided = Placing(state, bodies, net.modality.unit)(net.denoiser)
    noisy = net.modality.process.corrupt(state, 0.6, Stream.of(0, 1))
    belief, _ = guided(noisy, 0.6)
    point, tangent = belief["positions"], belief["frames"]
    assert isinstance(point, Point) and isinstance(tangent, Tangent)
    assert torch.allclose(0.4 * point.x + 0.6 * point.eps, noisy["positions"], atol=1e-4)
    found = clean(belief, noisy)
    for number, there in enumerate((ONE, TWO)):
        own, made = (
            ideal_atoms(part["frames"][0, there], 10 * part["positions"][0, there]).detach().reshape(-1, 3)
            for part in (state, found)
        )
        assert superposed(made, own)[2] < 1e-3, number
    (plain,), _ = Placing(state, bodies.clamp(max=-1), 10.0).believe(net.denoiser, Question(noisy, 0.6, [{}]))
    bare, _ = net.denoiser(noisy, 0.6)
    assert torch.allclose(plain["positions"].x, bare["positions"].x, atol=1e-5)  # no bodies, nothing moves


def test_bodies_by_name() -> None:
    contig = Contig.of("10/A10-25/20-30/A60-72/10/0 B1-5")
    assert bodies_of(contig, True) == bodies_of(contig, "each") == [-1, 0, -1, 1, -1, 2]
    assert bodies_of(contig, "A60-72, B1-5; A10-25") == [-1, 1, -1, 0, -1, 0]
    assert bodies_of(contig, "B1-5") == [-1, -1, -1, -1, -1, 0]


@pytest.mark.parametrize(
    ("contig", "more", "message"),
    [
        ("10", {}, "at least two; the contig keeps none"),
        ("5/A3-9/5", {}, "at least two; the contig keeps A3-9"),
        ("24", {"symmetry": "C3"}, "symmetry"),
        ("7/A8-15/15", {"partial": 0.5}, "partial"),
        (CONTIG, {"free": "A3-8"}, r"A3-8 is no stretch .* keeps A3-9, A15-22"),
        (CONTIG, {"free": "A3-9;A3-9"}, "A3-9 stands twice"),
        (CONTIG, {"free": "A3-9;;"}, "without residues"),
        (CONTIG, {"free": ""}, "without residues"),
        (CONTIG, {"free": 2}, "got 2"),
        (CONTIG, {"inpaint_str": "A3-4"}, "inpaint_str"),
    ],
)
def test_what_cannot_be_free(net: Any, source: Protein, contig: str, more: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        design(net, contig, source, **{"free": True, **more}, **HOW)


def test_the_flag(net: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(net, Path("net"))
    write_pdb(protein(30), "in.pdb")
    asked = _read([CONTIG], DesignFlags(model="net", input="in.pdb", free="A3-9;A15-22"))
    assert _options(net, asked) == {"free": "A3-9;A15-22"} == {"free": asked.plain()["free"]}
    ask = ["design", CONTIG, "--input", "in.pdb", "--model", "net", "--steps", "3", "-n", "1", "--out", "out"]
    assert main([*ask, "--free", "each"]) == 0
    (told,) = json.loads(Path("out/designs.json").read_text())
    assert [len(places) for places in told["free_idx0"]] == [7, 8] and told["motif_rmsd"] < 0.01
