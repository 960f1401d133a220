"""Diffusion over text: a masked discrete leaf and the same transformer as for pictures, on a toy grammar.

Subject and verb must agree in number over the words between them, and an animal eats only its own food, so
that a sentence is valid only if words that are revealed at different steps fit each other.

    python examples/discrete_text.py            # trains for half a minute, then prints sentences
"""

import itertools

import torch

import langevin as lv
from langevin.core.backbones import DiT
from langevin.core.denoiser import NetworkDenoiser
from langevin.core.losses import Objective, Stratified
from langevin.core.network import Network
from langevin.core.tokens import Tokens
from langevin.core.training.loss import losses

FOOD, LOOKS = {"cat": "fish", "cow": "hay", "bird": "seeds", "bear": "honey"}, ("big", "old", "shy", "wet")
ONE = itertools.product(("a", "this"), LOOKS, FOOD, ("eats", "finds"), LOOKS)
MANY = itertools.product(("two", "these"), LOOKS, [s + "s" for s in FOOD], ("eat", "find"), LOOKS)
SENTENCES = [(d, a, s, v, b, FOOD[s.removesuffix("s")]) for d, a, s, v, b in (*ONE, *MANY)]
WORDS = sorted({word for sentence in SENTENCES for word in sentence})


class WordTokens:
    """A token is a word or the mask, one-hot, at its place in the sentence; logits on the way out."""

    inputs, outputs, places = {"": len(WORDS) + 1}, {"": len(WORDS)}, 1

    def tokens(self, state, mask=None):
        return Tokens({"": torch.eye(len(WORDS) + 1)[state]}, torch.arange(6.0)[None, :, None], mask)

    def untokens(self, values, like):
        return values[""]


# in an order by chance; the second half is never shown
SENTENCES = [SENTENCES[i] for i in torch.randperm(len(SENTENCES), generator=torch.manual_seed(0))]
data = torch.tensor([[WORDS.index(word) for word in sentence] for sentence in SENTENCES])
network, process = Network(WordTokens(), DiT(64, 3, 4, axes=1)), lv.processes.Discrete(len(WORDS))
denoiser, optimizer = NetworkDenoiser(network, process), torch.optim.AdamW(network.parameters(), lr=2e-3)
for step in range(401):
    rng = lv.Stream.of(0, 128).fold("step", step)
    rows = rng.fold("rows").integers(len(data) // 2, (128,))
    # a masked leaf is trained for the ELBO: the mean over times of this loss bounds −log p, per word
    loss = losses(denoiser, Objective(times=Stratified()), data[rows], {}, rng)[0].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step}: {6 * loss.item():.2f} nats a sentence")

for steps in (2, 8, 64):  # words that are revealed in one step do not see each other
    rng, sampler = lv.Stream.of(2, len(data)), lv.samplers.Single()
    *_, last = lv.samplers.sample(denoiser, sampler, lv.grids.uniform(steps), rng, like=data)
    valid = [text for row in last.x.tolist() if (text := tuple(WORDS[i] for i in row)) in SENTENCES]
    new = set(valid) & set(SENTENCES[len(data) // 2 :])
    print(f"{steps:2} steps: {len(valid) / len(data):.1%} valid, {len(new)} kinds of them never shown")
print(*(" ".join(text) for text in valid[:8]), sep="\n")
