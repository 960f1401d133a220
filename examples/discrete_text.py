"""Diffusion over text: a masked discrete leaf and the same transformer as for pictures, on a toy grammar.

Subject and verb must agree in number over the words between them, and an animal eats only its own food, so
that a sentence is valid only if words that are revealed at different steps fit each other.

    python examples/discrete_text.py            # trains for half a minute, then prints sentences
"""

import argparse
import itertools
import math

import torch

import langevin as lv
from langevin.core.backbones import DiT
from langevin.core.denoiser import NetworkDenoiser
from langevin.core.losses import Objective, Stratified
from langevin.core.network import Network
from langevin.core.tokens import Tokens
from langevin.core.training.loss import losses

FOOD = {"cat": "fish", "cow": "grass", "bird": "seeds", "bear": "honey", "child": "cake"}
PLURAL = {"cat": "cats", "cow": "cows", "bird": "birds", "bear": "bears", "child": "children"}
DETERMINERS, ADJECTIVES = {False: ("a", "this"), True: ("two", "these")}, ("small", "old", "hungry", "quiet")
VERBS = {False: ("eats", "finds"), True: ("eat", "find")}
SENTENCES = {
    f"{d} {a} {PLURAL[s] if many else s} {v} {b} {FOOD[s]}"
    for many in (False, True)
    for s, d, v, a, b in itertools.product(FOOD, DETERMINERS[many], VERBS[many], ADJECTIVES, ADJECTIVES)
}
WORDS, LENGTH = sorted({word for sentence in SENTENCES for word in sentence.split()}), 6


class WordTokens:
    """A token is a word or the mask, one-hot, at its place in the sentence; logits on the way out."""

    inputs, outputs, places = {"": len(WORDS) + 1}, {"": len(WORDS)}, 1

    def tokens(self, state, mask=None):
        values = torch.nn.functional.one_hot(state, len(WORDS) + 1).float()  # (B, L, words + 1)
        return Tokens({"": values}, torch.arange(LENGTH).float()[None, :, None], mask)

    def untokens(self, values, like, pair=None):
        return values[""]


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--samples", type=int, default=500)
args = parser.parse_args()

torch.manual_seed(0)
data = torch.tensor([[WORDS.index(word) for word in sentence.split()] for sentence in sorted(SENTENCES)])
hidden = lv.Stream.of(1, len(data)).uniform((len(data),)) < 0.5  # half of the sentences are never shown
shown = data[~hidden]
process = lv.processes.Discrete(len(WORDS), kind="masked")
network = Network(WordTokens(), DiT(64, 3, 4, axes=1))
denoiser = NetworkDenoiser(network, process)
objective = Objective(target="elbo", times=Stratified())  # its mean over times bounds −log p, per word
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
bound = 0.0
for step in range(1, args.steps + 1):
    rng = lv.Stream.of(0, 128).fold("step", step)
    rows = rng.fold("rows").integers(len(shown), (128,))
    loss = losses(denoiser, objective, shown[rows], {}, rng)[0].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    bound += loss.item() * LENGTH / 100
    if step % 100 == 0:
        print(f"step {step}: {bound:.2f} nats a sentence; log of their number is {math.log(len(data)):.2f}")
        bound = 0.0

known = {tuple(row) for row in shown.tolist()}
rng = lv.Stream.of(2, args.samples)
like = torch.zeros(args.samples, LENGTH, dtype=torch.long)
for steps in (2, 8, 64):  # words that are revealed in one step do not see each other
    *_, last = lv.samplers.sample(denoiser, lv.samplers.Single(), lv.grids.uniform(steps), rng, like=like)
    drawn = [tuple(row) for row in last.x.tolist()]
    valid = [row for row in drawn if " ".join(WORDS[i] for i in row) in SENTENCES]
    kinds, new = len(set(valid)), len(set(valid) - known)
    print(
        f"{steps:2} steps: {len(valid) / len(drawn):.1%} valid, {kinds} kinds, {new} never shown in training"
    )
for row in drawn[:8]:
    print(" ", " ".join(WORDS[i] for i in row))
