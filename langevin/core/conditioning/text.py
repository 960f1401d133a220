"""Text, byte by byte.

A text is its UTF-8 bytes, so that every language and every emoji can be written and no vocabulary has to be
kept. A convolution over the bytes sees the letters of a word together; the sum over the bytes of a word,
normalised, makes one element of the context out of it, and a small transformer lets the words see each
other. The context is as long as the text has words, not letters.

A word is a run of letters and digits; punctuation marks, and characters of three or four bytes (Chinese,
emoji), stand for themselves. An end mark closes every text, so the empty text has a context too.

Where the words of the training texts must be told apart quickly, each may also have an entry of its own in a
table (``hashed``), found by a hash of its bytes: no vocabulary is kept, and a word never seen in training finds
an entry that is still zero, or shares another's.

References: characters to words, Kim et al. 2016 (arXiv:1508.06615, §2); hashed entries, Svenstrup et al. 2017
(arXiv:1709.03933), Pagnoni et al. 2024 (arXiv:2412.09871, §3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from langevin.core.backbones.layers import attention_bias, xavier
from langevin.core.backbones.rotary import Rotary

from .embedded import Embedded
from .embedders import Embedder, Encoder

__all__ = ["END", "PAD", "TextEmbedder", "untokenize", "words"]

PAD, END = 256, 257
_PRIME, _BASE = 2_147_483_647, 1_000_003
_SPACE, _LETTER, _SINGLE, _CONTINUED = range(4)


def _kinds() -> Tensor:
    """What each byte is: a space, part of a word, a character of its own, or the rest of a character."""
    kinds = torch.full((258,), _SINGLE)
    for byte in range(256):
        if byte <= 32 or byte == 127:
            kinds[byte] = _SPACE
        elif (chr(byte).isascii() and chr(byte).isalnum()) or 0xC0 <= byte <= 0xDF:
            kinds[byte] = _LETTER
        elif 0x80 <= byte <= 0xBF:
            kinds[byte] = _CONTINUED
    kinds[PAD] = _SPACE
    return kinds


def _folded() -> Tensor:
    """Bytes to bytes, ASCII capitals to small letters."""
    table = torch.arange(258)
    table[ord("A") : ord("Z") + 1] += 32
    return table


def words(ids: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Which word each byte belongs to.

    Args:
        ids: (B, L) bytes with `PAD` and `END`.
        kinds: (258,) as `_kinds` makes it.

    Returns:
        word (B, L), counted from 0 (for spaces: meaningless), and real (B, L) bool, False for spaces and
        padding.
    """
    kind = kinds[ids]
    first = kind != _CONTINUED
    kind = torch.where(first, kind, F.pad(kind, (1, 0), value=_SINGLE)[:, :-1])  # é, я: two bytes, one kind
    before = F.pad(kind, (1, 0), value=_SPACE)[:, :-1]
    starts = first & ((kind == _SINGLE) | ((kind == _LETTER) & (before != _LETTER)))
    return starts.cumsum(1) - 1, kind != _SPACE


def _hashes(ids: Tensor, slot: Tensor, count: int, powers: Tensor) -> Tensor:
    """A number below 2^31 - 1 for each word, from its bytes in their order.

    Args:
        ids: (B, L) bytes.
        slot: (B, L) the word of each byte, `count` for what belongs to none.
        count: most words of a text.
        powers: (at least L,) powers of the base, modulo the prime.
    """
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    first = places.new_full((ids.shape[0], count + 1), ids.shape[1]).scatter_reduce(1, slot, places, "amin")
    terms = (ids + 1) * powers[places - first.gather(1, slot)]  # below 2^40: no sum of a text overflows
    return terms.new_zeros(ids.shape[0], count + 1).scatter_add(1, slot, terms)[:, :count] % _PRIME


def untokenize(ids: Tensor) -> list[str]:
    """The texts of `TextEmbedder.tokenize`; bytes that are not UTF-8 become U+FFFD."""
    return [bytes(i for i in row if i < 256).decode(errors="replace") for row in ids.tolist()]


class TextEmbedder(Embedder):
    """The built-in text encoder, trained together with the network it serves.

    Args:
        width: channels of the context.
        depth: layers of the transformer over words.
        length: most bytes a text may have.
        heads: heads of attention.
        vector_width: channels of the vector; the width of the context when not given.
        fold_case: read ASCII capitals as small letters.
        hashed: rows of the table of whole words, a few times as many as there are words in the training texts;
            0 for no table.

    Raises:
        ValueError: a length below 1.
    """

    kinds: Tensor
    folded: Tensor
    powers: Tensor

    def __init__(
        self,
        width: int,
        depth: int = 2,
        length: int = 128,
        heads: int = 4,
        vector_width: int | None = None,
        fold_case: bool = True,
        hashed: int = 0,
    ) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        vector_width = width if vector_width is None else vector_width
        super().__init__(vector_width=vector_width, context_width=width)
        self.length = length
        self.embedding = nn.Embedding(258, width)
        self.convolution = nn.Conv1d(width, width, kernel_size=5, padding=2)
        self.mix = nn.Linear(width, width)
        self.rotary = Rotary(width // heads, 1)
        self.encoder = Encoder(width, depth, heads)
        self.vector = nn.Linear(width, vector_width)
        nn.init.normal_(self.embedding.weight, std=1.0)
        xavier(self.mix)
        xavier(self.vector)
        self.table = nn.Embedding(hashed, width) if hashed else None
        if self.table is not None:
            nn.init.zeros_(self.table.weight)
        powers = [pow(_BASE, i, _PRIME) for i in range(length + 1)] if hashed else []
        self.register_buffer("powers", torch.tensor(powers, dtype=torch.long), persistent=False)
        self.register_buffer("kinds", _kinds(), persistent=False)
        self.register_buffer("folded", _folded() if fold_case else torch.arange(258), persistent=False)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Bytes, an end mark and padding: LongTensor (B, L), L the longest text here plus 1.

        Raises:
            TypeError: something that is not a text.
            ValueError: a text of more than `length` bytes.
        """
        rows = []
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"a text must be a str, not {type(text).__name__}: {text!r}")
            row = text.encode("utf-8", errors="replace")
            if len(row) > self.length:
                raise ValueError(
                    f"the text {text[:40]!r}… has {len(row)} bytes in UTF-8; "
                    f"this encoder takes at most {self.length}"
                )
            rows.append([*row, END])
        longest = max((len(row) for row in rows), default=1)
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows], dtype=torch.long).view(
            -1, longest
        )

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Texts -> LongTensor (B, L); see `tokenize`."""
        return self.tokenize(raw)

    def describe(self) -> str:
        """A text, and how long it may be."""
        return f"a text of at most {self.length} bytes in UTF-8"

    def forward(self, value: Tensor | Sequence[str]) -> Embedded:
        """Texts, or what `tokenize` made of them (B, L) -> one element of the context per word.

        Returns:
            vector (B, vector_width), context (B, M, width) with M the most words of a text, and the mask.
        """
        ids = value if isinstance(value, Tensor) else self.tokenize(value)
        ids = self.folded[ids.to(self.folded.device)]
        word, real = words(ids, self.kinds)
        x = self.embedding(ids) * (ids != PAD).unsqueeze(-1)
        x = x + F.gelu(self.convolution(x.transpose(1, 2)).transpose(1, 2), approximate="tanh")

        count = int(word.max()) + 1
        slot = torch.where(real, word, count)  # spaces: a slot that is cut off
        x = x.new_zeros(x.shape[0], count + 1, x.shape[2]).scatter_add(1, slot.unsqueeze(-1).expand_as(x), x)
        x = self.mix(F.layer_norm(x[:, :count], x.shape[-1:]))  # (B, M, C)
        if self.table is not None:
            x = x + self.table(_hashes(ids, slot, count, self.powers) % self.table.num_embeddings)
        counts = torch.where(real, word, -1).amax(1) + 1
        places = torch.arange(count, device=x.device)
        mask = places < counts.unsqueeze(1)
        x = x.masked_fill(~mask.unsqueeze(-1), 0)

        rotation = self.rotary(places.view(1, -1, 1))
        x = self.encoder(x, attention_bias(mask), rotation)
        x = x.masked_fill(~mask.unsqueeze(-1), 0)
        return Embedded(self.vector(x.sum(1) / counts.unsqueeze(1)), x, mask)
