"""Samples of several lengths in one row: the same answers as batch by batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from langevin.core.backbones import DiT
from langevin.core.conditioning import ClassEmbedder
from langevin.core.denoiser import NetworkDenoiser, Question
from langevin.core.losses import MinSNR, Objective, Stratified
from langevin.core.network import Network
from langevin.core.packing import Batch, Packing
from langevin.core.parts import Part
from langevin.core.processes import Gaussian
from langevin.core.rng import Stream
from langevin.core.schedules import Linear
from langevin.core.tokens import PlainTokens
from langevin.core.training.loss import losses, losses_of

PACKING = Packing((2, 1, 3), (5, 7, 2), (1, 7, 2))
WIDTH, CONTEXT = 24, 10


def moved(module: torch.nn.Module, seed: int = 0) -> Any:
    """Weights that are nowhere 0, so that nothing is silent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestPacking:
    def test_a_row_and_back(self) -> None:
        parts = [drawn(b, n, 3) for b, n in zip(PACKING.samples, PACKING.tokens)]
        row = PACKING.row(parts)
        assert row.shape == (1, 23, 3)
        assert torch.equal(row[0, 5:10], parts[0][1]) and torch.equal(row[0, 10:17], parts[1][0])
        assert all(torch.equal(a, b) for a, b in zip(PACKING.of_tokens(row), parts, strict=True))

    def test_vectors_and_samples(self) -> None:
        assert [p.shape for p in PACKING.of_vectors(drawn(1, 15, 4))] == [(2, 1, 4), (1, 7, 4), (3, 2, 4)]
        assert [len(p) for p in PACKING.of_samples(drawn(6, 9, 4))] == [2, 1, 3]

    def test_what_does_not_fit(self) -> None:
        with pytest.raises(RuntimeError, match="split"):
            PACKING.of_tokens(drawn(1, 24, 3))


class TestBackbone:
    @pytest.mark.parametrize("modulation", ["block", "shared"])
    @pytest.mark.parametrize("skips", [False, True])
    def test_answers_and_gradients_are_those_of_each_batch(self, modulation: str, skips: bool) -> None:
        torch.manual_seed(0)
        dit = moved(
            DiT(WIDTH, 3, 2, modulation=modulation, context_width=CONTEXT, long_skips=skips, second_time=True)
        )
        shapes = list(zip(PACKING.samples, PACKING.tokens, PACKING.vectors, strict=True))
        tokens = [drawn(b, n, WIDTH, seed=1) for b, n, _ in shapes]
        vectors = [drawn(b, g, WIDTH, seed=2) for b, _, g in shapes]
        seconds = [drawn(b, g, WIDTH, seed=3) for b, _, g in shapes]
        positions = [drawn(b, n, 2, seed=4) for b, n, _ in shapes]
        masks = [torch.ones(b, n, dtype=torch.bool) for b, n, _ in shapes]
        masks[0][1, 3:] = False
        contexts, real = drawn(6, 4, CONTEXT, seed=5), torch.ones(6, 4, dtype=torch.bool)
        real[1, 2:] = False
        real[4] = False  # a sample that is told nothing

        expected, start = [], 0
        for k, (b, _, _) in enumerate(shapes):
            own = slice(start, start + b)
            answer = dit(
                tokens[k], vectors[k], positions[k], masks[k], None, contexts[own], real[own], seconds[k]
            )
            expected.append(answer.tokens)
            start += b
        weights = [drawn(*part.shape, seed=6) for part in expected]
        torch.cat([(a * w).flatten() for a, w in zip(expected, weights)]).sum().backward()
        slopes = {name: p.grad.clone() for name, p in dit.named_parameters()}
        dit.zero_grad()

        row = PACKING.row
        out = dit(
            row(tokens), row(vectors), row(positions), row(masks), None, contexts, real, row(seconds),
            features=["block.1"], packing=PACKING,
        )  # fmt: skip
        assert out.features["block.1"].shape == (1, 23, WIDTH)
        parts = PACKING.of_tokens(out.tokens)
        for a, b in zip(parts, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        torch.cat([(a * w).flatten() for a, w in zip(parts, weights)]).sum().backward()
        for name, p in dit.named_parameters():
            assert slopes[name].abs().max() > 0, name
            torch.testing.assert_close(p.grad, slopes[name], rtol=1e-3, atol=1e-3, msg=name)

    def test_samples_do_not_see_each_other(self) -> None:
        dit = moved(DiT(WIDTH, 2, 2, axes=0))
        tokens, vectors = drawn(1, 23, WIDTH), drawn(1, 15, WIDTH, seed=1)
        changed = tokens.clone()
        changed[0, 5:10] += 1  # the second sample of the first batch
        a, b = (dit(x, vectors, packing=PACKING).tokens[0] for x in (tokens, changed))
        same = (a == b).all(-1)
        assert bool(same[:5].all()) and bool(same[10:].all()) and not bool(same[5:10].any())


def network(backbone: torch.nn.Module | None = None, recalls: bool = False) -> Network:
    torch.manual_seed(0)
    backbone = backbone or DiT(WIDTH, 2, 2, axes=1)
    return moved(Network(PlainTokens(3), backbone, {"label": ClassEmbedder(4, WIDTH)}, recalls=recalls))


class TestNetwork:
    def batches(self) -> list[tuple[Any, ...]]:
        mask = torch.ones(2, 6, dtype=torch.bool)
        mask[0, 4:] = False
        return [
            (drawn(2, 6, 3), torch.tensor([0.3, 0.8]), {"label": torch.tensor([0, 2])}, mask),
            (drawn(1, 9, 3), torch.linspace(0.1, 0.9, 9)[None], {}, None),
            (drawn(3, 2, 3), 0.5, {"label": torch.tensor([1, 1, 3])}, None),
        ]

    @pytest.mark.parametrize("packs", [True, False])
    def test_outputs_are_those_of_each_batch(self, packs: bool) -> None:
        backbone = DiT(WIDTH, 2, 2, axes=1)
        backbone.packs = packs
        net = network(backbone)
        calls = []
        handle = backbone.register_forward_hook(lambda *_: calls.append(1))
        found = net.packed(self.batches())
        handle.remove()
        assert len(calls) == (1 if packs else 3)
        for out, batch in zip(found, self.batches(), strict=True):
            real = slice(None) if batch[3] is None else batch[3]
            torch.testing.assert_close(out[real], net(*batch)[real], rtol=1e-4, atol=1e-5)

    def test_a_denoiser_asks_all_at_once(self) -> None:
        net, process = network(), Gaussian(Linear())
        denoiser = NetworkDenoiser(net, process)
        questions = [Question(process, *batch) for batch in self.batches()]
        for q, belief in zip(questions, denoiser.together(questions), strict=True):
            alone, _ = denoiser(q.x_t, q.t, q.condition, q.mask)
            real = slice(None) if q.mask is None else q.mask
            torch.testing.assert_close(belief.x[real], alone.x[real], rtol=1e-4, atol=1e-5)


def halves(x: Any, rng: Stream, mask: Tensor | None, share: float) -> list[Part]:
    """The first element of some samples is given, and nothing of the others."""
    some = rng.uniform((len(rng),)) < share
    given = torch.zeros(x.shape[:2], dtype=torch.bool)
    given[:, 0] = True
    process, out = Gaussian(Linear()), []
    for rows, what in ((some, {"": given}), (~some, None)):
        i = torch.nonzero(rows)[:, 0]
        if len(i):
            out.append(Part(i, x[i], None if what is None else {"": given[i]}, process))
    return out


class TestLoss:
    ROWS = ([4, 0], [2], [1, 3, 5])
    LENGTHS = (6, 9, 2)

    @pytest.mark.parametrize(
        "objective",
        [
            Objective(times=Stratified()),
            Objective(forcing=0.5),
            Objective(forcing=1.0, weighting=MinSNR()),
            Objective(given=0.5),
            Objective(recall=0.5),
            Objective(distortion=0.3),
        ],
        ids=["plain", "forcing", "forcing, weighted", "given", "recall", "distortion"],
    )
    def test_loss_and_gradient_of_a_sample_are_those_it_has_alone(self, objective: Objective) -> None:
        net = network(recalls=objective.recall > 0)
        denoiser = NetworkDenoiser(net, Gaussian(Linear()))
        states = [drawn(len(i), n, 3, seed=n) for i, n in zip(self.ROWS, self.LENGTHS)]
        condition = net.embed({"label": torch.tensor([0, 1, 2, 3, 0, 1])})
        rng = Stream.of(7, 6).fold("train", 3)
        batches = [Batch(torch.tensor(i), x) for i, x in zip(self.ROWS, states, strict=True)]
        parts = halves if objective.given else None
        each, by_leaf, t = losses_of(denoiser, objective, batches, condition, rng, parts=parts)
        assert each.shape == (6,) and torch.equal(by_leaf[""], each)
        assert len(t) == 6  # type: ignore[arg-type]
        each.sum().backward()
        slopes = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        net.zero_grad()

        condition = net.embed({"label": torch.tensor([0, 1, 2, 3, 0, 1])})
        for rows, x in zip(self.ROWS, states, strict=True):
            for k, i in enumerate(rows):
                own = {name: value.select(slice(i, i + 1)) for name, value in condition.items()}
                alone, _, _ = losses(
                    denoiser, objective, x[k : k + 1], own, rng.rows([i]), rows=(i, 6), parts=parts
                )
                torch.testing.assert_close(alone[0], each[i], rtol=1e-4, atol=1e-6)
                alone.sum().backward(retain_graph=True)
        assert len(slopes) > 20
        for name, p in net.named_parameters():
            if name in slopes:
                torch.testing.assert_close(p.grad, slopes[name], rtol=2e-3, atol=1e-4, msg=name)

    def test_masks_travel_with_their_batch(self) -> None:
        net = network()
        denoiser, x, rng = NetworkDenoiser(net, Gaussian(Linear())), drawn(2, 6, 3), Stream.of(0, 3)
        mask = torch.ones(2, 6, dtype=torch.bool)
        mask[0, 4:] = False
        other = drawn(1, 3, 3)
        batches = [Batch(torch.tensor([0, 2]), x, mask), Batch(torch.tensor([1]), other)]
        each, _, _ = losses_of(denoiser, Objective(), batches, {}, rng)
        cut, _, _ = losses(denoiser, Objective(), x[:1, :4], {}, rng.rows([0]), rows=(0, 3))
        torch.testing.assert_close(each[0], cut[0], rtol=1e-4, atol=1e-6)
