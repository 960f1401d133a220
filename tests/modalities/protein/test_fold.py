"""Folds: what they say of structures, lengths, files, the potential of their adjacency, and designs of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from langevin.core import grids, so3
from langevin.core.rng import Stream
from langevin.core.samplers import Single, sample
from langevin.modalities.protein.adjacency import TOUCH, nearest, touching
from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.design import design
from langevin.modalities.protein.fold import Fold
from langevin.modalities.protein.guiding import guiding
from langevin.modalities.protein.metrics.fold import fold_agreement
from langevin.modalities.protein.potentials import Layout
from langevin.modalities.protein.protein import Protein, join, of_structure
from langevin.modalities.protein.rigid import betas
from langevin.modalities.protein.secondary import secondary
from tests.modalities.protein.backbones import HELIX, LOOP, protein
from tests.modalities.protein.chains import shared
from tests.modalities.protein.test_potentials import Cloud
from tests.modalities.protein.test_protein_modality import model

HOW = {"steps": 3, "progress": False}
LETTERS = "--HHHHHH---EEEE--EEEE-"
PAIRS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)


@pytest.fixture(scope="module")
def net() -> Any:
    return model()


@pytest.fixture
def fold() -> Fold:
    return Fold(LETTERS, PAIRS, "small")


def same(one: Fold, other: Fold) -> bool:
    return one.plain() == other.plain()


def beside(shift: float) -> Protein:
    """Two helices of twelve residues in one chain, loops at their ends, the second moved by so many Å along x."""
    one = protein([LOOP] * 3 + [HELIX] * 12 + [LOOP] * 3)
    parts = [one.backbone, one.backbone + np.array([shift, 0, 0], np.float32)]
    n = 2 * len(one)
    return Protein(
        np.concatenate(parts),
        np.tile(one.types, 2),
        np.full(n, "A"),
        np.arange(1, n + 1, dtype=np.int32),
        np.full(n, ""),
    )


class TestOfStructures:
    def test_cb_stands_where_real_chains_have_it(self) -> None:
        shared("sidechains.npz")
        for chain in list(read_archive(shared(), "validation", sidechains=True))[:3]:
            assert chain.side is not None
            there = chain.side.name == "CB"
            far = np.linalg.norm(
                betas(chain.backbone)[chain.side.residue[there]] - chain.side.xyz[there], axis=1
            )
            assert len(far) > 0.8 * len(chain) and float(np.median(far)) < 0.2

    def test_helices_touch_when_they_are_moved_together(self) -> None:
        for shift, near in ((7.0, True), (30.0, False)):
            item = beside(shift)
            found = Fold.of(item)
            assert [letter for letter, _, _ in found.blocks] == ["H", "H"]
            assert bool(found.adjacent[0, 1]) is near and found.secondary == secondary(item)

    def test_the_rule_is_a_cb_within_six(self) -> None:
        for chain in list(read_archive(shared(), "validation"))[:4]:
            found = Fold.of(chain)
            beta = betas(chain.backbone)
            for i, (_, a, b) in enumerate(found.blocks):
                for j, (_, c, d) in enumerate(found.blocks):
                    least = min(np.linalg.norm(x - y) for x in beta[a:b] for y in beta[c:d])
                    assert found.adjacent[i, j] == (i != j and least < TOUCH)

    def test_residues_without_atoms_touch_none(self) -> None:
        item = beside(7.0)
        blocks = [(3, 15), (21, 33)]
        assert touching(item, blocks)[0, 1]
        bare = np.array(item.backbone)
        bare[:15, 0] = np.nan
        item = Protein(bare, item.types, item.chains, item.numbers, item.insertions)
        assert not touching(item, blocks).any()

    def test_what_has_no_fold(self) -> None:
        with pytest.raises(ValueError, match="a fold is of one chain; there are 2"):
            Fold.of(join([protein(10), protein(8, chain="B", seed=1)]))
        trace = np.full((9, 4, 3), np.nan, np.float32)
        trace[:, 1] = 3.8 * np.arange(9)[:, None]
        bare = protein(9)
        with pytest.raises(ValueError, match="CA alone"):
            Fold.of(Protein(trace, bare.types, bare.chains, bare.numbers, bare.insertions))


class TestLengths:
    def test_blocks_and_their_adjacency_stay_while_lengths_vary(self, fold: Fold) -> None:
        loose = fold.resized(insertion=(1, 4), start=2, end=(3, 3))
        assert loose.range == (22 + 2 + 0 + 3, 22 + 8 + 2 + 3)
        drawn = loose.draw(Stream.of(0, 200))
        assert {len(one) for one in drawn} == set(range(27, 36))
        for one in drawn:
            assert (one.adjacent == PAIRS).all() and one.range == (len(one),) * 2
            assert [(x, b - a) for x, a, b in one.blocks] == [("H", 6), ("E", 4), ("E", 4)]
            first, second = one.blocks[:2]
            assert 4 <= second[1] - first[2] <= 7 and len(one) - one.blocks[2][2] == 4
        assert drawn[7].secondary == loose.draw(Stream.of(0, [7]))[0].secondary
        assert same(fold.draw(Stream.of(0, 1))[0], fold)

    def test_masks_open_loops_and_ends(self, fold: Fold) -> None:
        assert fold.masked().secondary == "XXHHHHHHXXXEEEEXXEEEEX"
        assert fold.masked(1).secondary == "XXXHHHHXXXXXEEXXXXEEXX"
        left = fold.masked(2)  # the strands are gone
        assert left.secondary == "XXXXHHXXXXXXXXXXXXXXXX" and left.adjacent.shape == (1, 1)
        (longer,) = fold.masked().resized(insertion=(2, 2)).draw(Stream.of(0, 1))
        assert longer.secondary == "XXHHHHHHXXXXXEEEEXXXXEEEEX"
        with pytest.raises(ValueError, match="from 0"):
            fold.masked(-1)

    def test_numbers_count_blocks_from_one(self, fold: Fold) -> None:
        assert "".join(map(str, fold.numbers)) == "0011111100022220033330"


class TestFiles:
    def test_a_fold_that_was_saved_is_the_same(self, fold: Fold, tmp_path: Path) -> None:
        loose = fold.masked(1).resized(insertion=3, end=(1, 2))
        path = loose.save(tmp_path / "small.json")
        assert same(Fold.read(path), loose) and same(Fold.given(str(path)), loose)
        assert json.loads(path.read_text())["adjacent"] == [[0, 1], [1, 2]]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[]", "expected an object"),
            ("{", "Expecting"),
            ("[" * 100_000, "recursion"),
            ('{"secondary": "HH--EE"}', "list of pairs"),
            ('{"secondary": "HHQ", "adjacent": []}', "letters H, E, - and X; got 'Q'"),
            ('{"secondary": "", "adjacent": []}', "at least one residue"),
            ('{"secondary": "HH--EE", "adjacent": [[0, 2]]}', r"\[0, 2\]; there are 2 blocks"),
            ('{"secondary": "HH--EE", "adjacent": [[0, -1]]}', "there are 2 blocks"),
            ('{"secondary": "HH--EE", "adjacent": [[1, 1]]}', "there are 2 blocks"),
            ('{"secondary": "HH--EE", "adjacent": [[0, true]]}', "list of pairs"),
            ('{"secondary": "HH", "adjacent": [], "start": [3, 1]}', "start of a fold is a range"),
            ('{"secondary": "HH", "adjacent": [], "start": 3}', "start is a pair"),
            ('{"secondary": "HH", "adjacent": [], "pickle": 3}', "unknown key 'pickle'"),
            (json.dumps({"secondary": "H-" * 9000, "adjacent": []}), "up to 4000 residues"),
        ],
    )
    def test_what_is_no_fold_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            Fold.read(tmp_path / "bad.json")
        assert "bad.json" in str(caught.value)

    def test_pickles_are_not_opened(self, tmp_path: Path) -> None:
        for name in ("2kl8_ss.pt", "2kl8_adj.pt"):
            with pytest.raises(ValueError, match="pickles, which can run anything"):
                Fold.given(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            Fold.given(tmp_path / "none.json")

    def test_matrices_are_square_symmetric_and_without_a_diagonal(self) -> None:
        for bad, message in (
            (PAIRS[:2, :2], r"\(K, K\) of its 3 blocks"),
            (np.triu(PAIRS), "symmetric"),
            (PAIRS | np.eye(3, dtype=bool), "no block is adjacent to itself"),
        ):
            with pytest.raises(ValueError, match=message):
                Fold(LETTERS, bad)


def layout(fold: Fold) -> Layout:
    return Layout(blocks=torch.from_numpy(fold.numbers), adjacent=torch.from_numpy(fold.adjacent))


class TestPotential:
    def test_it_is_that_of_the_formula(self, fold: Fold) -> None:
        draw = torch.Generator().manual_seed(1)
        ca = 7 * torch.randn(2, len(fold), 3, dtype=torch.float64, generator=draw)
        found = guiding("type:fold,weight:2").value(ca, None, layout(fold))

        def h(u: float) -> float:
            return 0 if u < 0 else u * u / 2 if u < 1 else u - 0.5

        for row, value in zip(ca.numpy(), found.tolist(), strict=True):
            total = 0.0
            for i, (_, a, b) in enumerate(fold.blocks):
                for j, (_, c, d) in enumerate(fold.blocks[:i]):
                    m = -np.log(sum(np.exp(-np.linalg.norm(x - y)) for x in row[a:b] for y in row[c:d]))
                    total += h(m - 6.0) if PAIRS[i, j] else h(7.5 - m)
            assert value == pytest.approx(-2 * total / 3, rel=1e-6)

    def test_slopes_are_finite_and_bounded_however_far_and_where_residues_coincide(self, fold: Fold) -> None:
        for scale in (0.0, 1e-3, 1e3):
            draw = torch.Generator().manual_seed(0)
            ca = (scale * torch.randn(1, len(fold), 3, generator=draw)).requires_grad_()
            slope = torch.autograd.grad(guiding("type:fold").value(ca, None, layout(fold)).sum(), ca)[0]
            assert bool(slope.isfinite().all()) and float(slope.norm(dim=-1).sum()) <= 2 + 1e-4
        assert float(slope.norm()) > 0.1

    def test_motions_and_mirrors_change_nothing(self, fold: Fold) -> None:
        ca = 9 * torch.randn(1, len(fold), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        turn = so3.exp(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))
        force = guiding("type:fold")
        plain = force.value(ca, None, layout(fold))
        torch.testing.assert_close(force.value(-(ca @ turn.T) + 40, None, layout(fold)), plain)

    def test_following_it_from_random_places_gives_the_adjacency(self) -> None:
        # four blocks in a ring: two of the six pairs must keep apart
        ring = np.roll(np.eye(4, dtype=bool), 1, 1)
        fold = Fold("-HHHHH--EEEEE--HHHHH--EEEEE-", ring | ring.T)
        draw = torch.Generator().manual_seed(0)
        ca = (12 * torch.randn(8, len(fold), 3, generator=draw)).requires_grad_()
        i, j = np.triu_indices(4, 1)
        asked, here = torch.from_numpy(fold.adjacent[i, j]), torch.from_numpy(fold.numbers).expand(8, -1)

        def right(x: Tensor) -> Tensor:
            return ((nearest(x, here, 4, 1.0) < 6.75) == asked).all(1)

        assert float(right(ca).float().mean()) < 0.5
        moves = torch.optim.Adam([ca], 0.2)
        for _ in range(300):
            moves.zero_grad()
            loss = -guiding("type:fold").value(ca, None, layout(fold)).sum()
            loss.backward()
            moves.step()
        assert bool(right(ca.detach()).all()) and float(loss.detach()) < 0.01

    def test_guided_samples_have_it(self, fold: Fold) -> None:
        like = {"positions": torch.zeros(8, len(fold), 3)}
        i, j = np.triu_indices(3, 1)
        asked, here = torch.from_numpy(fold.adjacent[i, j]), torch.from_numpy(fold.numbers).expand(8, -1)

        def share(denoiser: Any) -> float:
            *_, last = sample(denoiser, Single(0.0), grids.uniform(30), Stream.of(0, 8), like=like)
            found = nearest(10 * last.x["positions"], here, 3, 1.0) < 6.75  # type: ignore[index]
            return float((found == asked).float().mean())

        assert share(Cloud()) < 0.5
        assert share(fold.force(layout(fold), 10.0)(Cloud())) > 0.9

    def test_each_pair_is_pushed_alike_however_many_there_are(self, fold: Fold) -> None:
        assert fold.potential == "type:fold,weight:1.8"
        four = Fold("H-E-H-E", np.zeros((4, 4), bool))
        assert four.potential == "type:fold,weight:3.6"

    def test_without_a_fold(self) -> None:
        ca = torch.randn(1, 12, 3)
        with pytest.raises(ValueError, match="needs a fold"):
            guiding("type:fold").value(ca)
        one = Fold("--HHHHHHHH--", np.zeros((1, 1), bool))
        with pytest.raises(ValueError, match="there are 1"):
            guiding("type:fold").value(ca, None, layout(one))
        short = Fold("HHHH---EEEEE-HHH", np.zeros((3, 3), bool))
        with pytest.raises(ValueError, match="block 3 of 3 has no residue in sample 0"):
            guiding("type:fold").value(ca, None, layout(short))


class TestDesigns:
    def test_the_secondary_structure_is_kept_and_the_record_has_the_fold(self, net: Any, fold: Fold) -> None:
        samples = design(net, fold=fold, n=2, **HOW)
        wanted = torch.tensor(["HE-".index(x) for x in LETTERS])
        assert samples.state["secondary"].tolist() == [wanted.tolist()] * 2
        note = samples[0].xtra["note"]
        assert note["config"]["fold"] == fold.plain() and note["config"]["secondary"] == LETTERS
        assert len(of_structure(samples[0])) == len(fold)

    def test_the_adjacency_pushes(self, net: Any, fold: Fold) -> None:
        how = {**HOW, "steps": 8, "n": 4}
        force = guiding(fold.potential)

        def cost(samples: Any) -> float:
            # as drawn: of an untrained network no bond can be closed where it is
            ca = samples.state["positions"][:, : len(fold)] * net.modality.unit
            return -float(force.value(ca, None, layout(fold)).mean())

        plain = cost(design(net, str(len(fold)), secondary=LETTERS, **how))
        pushed = cost(design(net, fold=fold, **how))
        off = cost(design(net, fold=fold, potentials="type:fold,weight:0", **how))
        assert off == pytest.approx(plain, rel=1e-3) and pushed < 0.6 * plain

    def test_lengths_are_drawn_by_the_seed_in_any_batch(self, net: Any, fold: Fold) -> None:
        loose = fold.masked().resized(insertion=4, end=3)
        samples = design(net, fold=loose, n=5, seed=3, batch_size=2, **HOW)
        made = [of_structure(x) for x in samples]
        assert len({len(x) for x in made}) > 1
        for item, structure in zip(made, samples, strict=True):
            drawn = Fold(structure.xtra["note"]["config"]["secondary"], fold.adjacent)
            assert len(drawn) == len(item) and set(drawn.secondary) == set("HEX")
            assert 0 <= fold_agreement(item, drawn).f1 <= 1
        again = design(net, fold=loose, n=2, seed=3, first=2, **HOW)
        for one, two in zip(again, made[2:4], strict=True):
            assert np.allclose(of_structure(one).backbone, two.backbone, atol=1e-3)
        assert made[0].chain_ids == ["A"] and samples[0].xtra["note"]["contig"] == "22-33"

    def test_files_and_structures_are_folds(self, net: Any, fold: Fold, tmp_path: Path) -> None:
        fold.save(tmp_path / "one.json")
        (one,) = design(net, fold=tmp_path / "one.json", **HOW)
        assert one.xtra["note"]["config"]["fold"]["name"] == "small"
        (two,) = design(net, fold=beside(7.0), **HOW)
        assert len(of_structure(two)) == 36
        # nothing to push where there is one block alone
        (three,) = design(net, fold=Fold("-HHHHHHHHH-", np.zeros((1, 1), bool)), **HOW)
        assert len(of_structure(three)) == 11

    def test_a_contig_may_stand_beside_it_where_it_says_the_same(self, net: Any, fold: Fold) -> None:
        (made,) = design(net, "22", fold=fold, **HOW)
        assert len(of_structure(made)) == 22

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"secondary": LETTERS}, "secondary was given beside a fold: the fold says"),
            ({"symmetry": "C2"}, "symmetry was given beside a fold"),
            ({"partial": 0.4}, "partial was given beside a fold"),
            ({"contig": "5/A3-10/9", "input": protein(30)}, "builds all residues of one chain, here 22"),
            ({"contig": "23"}, "here 22, and cannot be drawn around a motif; got 23-23"),
            ({"contig": "11/0 11"}, "one chain"),
            ({"length": "30-40"}, "length"),
            ({"fold": "2kl8_ss.pt"}, "pickles"),
        ],
    )
    def test_what_does_not_go_with_it(self, net: Any, fold: Fold, more: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            design(net, **{"fold": fold, **more}, **HOW)

    def test_a_contig_or_a_fold(self, net: Any) -> None:
        with pytest.raises(ValueError, match="needs a contig"):
            design(net, **HOW)


class TestAgreement:
    def test_a_chain_agrees_with_its_own_fold(self) -> None:
        for chain in list(read_archive(shared(), "validation"))[:4]:
            assert fold_agreement(chain, Fold.of(chain)) == (1, 1, 1, 1)

    def test_shares_are_counted(self) -> None:
        near, far = beside(7.0), beside(30.0)
        one, two = Fold.of(near), Fold.of(far)
        assert one.secondary == two.secondary
        assert fold_agreement(far, one) == (1, 1, 0, 0) and fold_agreement(near, two) == (1, 0, 1, 0)
        # of the letters that are said, half are another's
        letters = one.secondary[:18] + one.secondary[18:].replace("H", "E")
        share = fold_agreement(near, Fold(letters, one.adjacent)).secondary
        assert share == pytest.approx(1 - letters.count("E") / len(letters))
        assert fold_agreement(near, one.masked()).secondary == 1
        with pytest.raises(ValueError, match="36 residues and the fold 35"):
            fold_agreement(near, Fold(one.secondary[:-1], one.adjacent))
