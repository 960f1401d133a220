"""Text by a pretrained encoder of transformers (CLIP, T5, CLAP, …), frozen, read from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from langevin.core.backbones.layers import xavier

from .embedded import Embedded
from .embedders import Embedder

__all__ = ["TransformersTextEmbedder"]


_BESIDE = ("vision_model", "audio_model", "text_projection")  # of CLIP and CLAP, beside their encoder of text


def _class_of(transformers: Any, config: Any, folder: Path) -> Any:
    """What reads the encoder of a configuration: T5 without its decoder; CLAP's text model, which has no automatic class."""
    if type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return transformers.AutoModelForTextEncoding
    if type(config) in transformers.MODEL_MAPPING:
        return transformers.AutoModel
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and getattr(found, "config_class", None) is type(config):
            return found
    raise ValueError(f"{folder} holds a {config.model_type!r}, which is no encoder of text")


class TransformersTextEmbedder(Embedder):
    """A frozen encoder of transformers and a learned projection of its last hidden states.

    Only the projection and the null are parameters of a model: the encoder stays in its folder, and is
    neither trained nor saved with the model. Nothing is downloaded; weights are read from safetensors only.

    Args:
        folder: a folder with a tokenizer and an encoder, as `save_pretrained` writes them.
        width: channels of the context.
        length: most tokens of a text; the tokenizer's own limit when not given.
        vector_width: channels of the vector; the width of the context when not given.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: its weights are not those of its encoder, are pickled or lie outside it, or it is no encoder of text.
    """

    def __init__(
        self, folder: str | Path, width: int, length: int | None = None, vector_width: int | None = None
    ) -> None:
        vector_width = width if vector_width is None else vector_width
        super().__init__(vector_width=vector_width, context_width=width)
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"no folder {self.folder} with a text encoder; nothing is downloaded")
        from langevin import foreign, optional

        transformers = optional.transformers()
        foreign.require_inside(self.folder)
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **local)
        config = transformers.AutoConfig.from_pretrained(self.folder, **local)
        kind = _class_of(transformers, config, self.folder)
        encoder, report = foreign.load(
            self.folder, kind, "model", config, sharded=True, trust_remote_code=False
        )
        if encoder.config.is_encoder_decoder:
            encoder = encoder.get_encoder()
        elif hasattr(encoder, "text_model") and any(hasattr(encoder, part) for part in _BESIDE):
            encoder = encoder.text_model
        names = tuple(name for name, _ in encoder.named_parameters() if "pooler" not in name)
        wrong = [*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])]
        missing = [key for key in wrong if key.endswith(names)]
        if missing:
            raise ValueError(
                f"the weights in {self.folder} lack {len(missing)} parameters, such as {missing[0]!r}"
            )
        self._frozen = [encoder.eval().requires_grad_(False)]  # in a list: not a submodule
        channels = encoder.config.hidden_size
        if length is not None and length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length = min(length or 512, self.tokenizer.model_max_length, 4096)
        self.context = nn.Linear(channels, width)
        self.vector = nn.Linear(channels, vector_width)
        xavier(self.context)
        xavier(self.vector)

    def parse(self, raw: Sequence[Any]) -> Tensor:
        """Texts -> LongTensor (B, 2, L): token ids and which of them are real.

        Raises:
            ValueError: a text of more tokens than the encoder takes.
        """
        batch = self.tokenizer(list(raw), padding=True, return_tensors="pt")
        if batch.input_ids.shape[1] > self.length:
            raise ValueError(
                f"a text has {batch.input_ids.shape[1]} tokens; this encoder takes at most {self.length}"
            )
        return torch.stack((batch.input_ids, batch.attention_mask), dim=1)

    def describe(self) -> str:
        """A text, and how long it may be."""
        return f"a text of at most {self.length} tokens of the encoder in {self.folder.name!r}"

    def forward(self, value: Tensor | Sequence[str]) -> Embedded:
        """Texts, or what `parse` made of them -> vector (B, vector_width), context (B, L, width)."""
        value = value if isinstance(value, Tensor) else self.parse(value)
        device = self.context.weight.device
        ids, attended = value.to(device).unbind(1)
        encoder = self._frozen[0].to(device)
        with torch.no_grad():
            hidden = encoder(input_ids=ids, attention_mask=attended).last_hidden_state.to(
                self.context.weight.dtype
            )
        mask = attended.bool()
        mean = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return Embedded(self.vector(mean), self.context(hidden), mask)
