"""A modality of coloured squares, for tests of what surrounds modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from langevin.core.tokens import Tokens
from langevin.modalities.base import Failure, Modality, Plugin, Table


@dataclass(frozen=True)
class Spec:
    side: int = field(default=8, metadata={"help": "side in pixels, 100 % of them"})
    tone: Literal["warm", "cold"] | None = None
    window: tuple[float, float] | None = None
    smooth: bool | None = None


class Squares(Modality):
    """A state is (B, 3), the colour; a red channel above 0.9 cannot be decoded."""

    name = "squares"
    suffix = ".png"
    suffixes = (".png",)
    spec = Spec

    @property
    def process(self) -> Any:
        raise AttributeError("the toy is not trained")

    @property
    def conditions(self) -> Mapping[str, Any]:
        return {}

    @property
    def inputs(self) -> dict[str, int]:
        return {"": 3}

    @property
    def outputs(self) -> dict[str, int]:
        return {"": 3}

    def encode(self, items: Sequence[Any]) -> tuple[Tensor, None]:
        return torch.tensor([item.getpixel((0, 0)) for item in items]) / 255, None

    def decode(self, state: Any, mask: Tensor | None = None) -> list[Any]:
        return [
            Failure("too <red>")
            if colour[0] > 0.9
            else Image.new("RGB", (8, 8), tuple(int(255 * c) for c in colour))
            for colour in state.tolist()
        ]

    def blank(
        self, indices: Sequence[int], rng: Any, conditions: Mapping[str, Any], spec: Spec
    ) -> tuple[Tensor, None]:
        return torch.zeros(len(indices), 3), None

    def tokens(self, state: Any, mask: Tensor | None = None) -> Tokens:
        return Tokens({"": state[:, None]}, torch.zeros(1, 1, 1), mask)

    def untokens(self, values: dict[str, Tensor], like: Any) -> Tensor:
        return values[""][:, 0]

    def save(self, item: Any, path: Path) -> None:
        item.save(path)

    def read(self, path: Path) -> Any:
        try:
            return Image.open(path).convert("RGB")
        except OSError as error:
            raise ValueError(f"{path.name} is not a picture: {error}") from None

    def picture(self, item: Any) -> Any:
        return item

    def evaluate(self, items: Sequence[Any], reference: Sequence[Any] | None = None) -> Table | None:
        sound = [item for item in items if not isinstance(item, Failure)]
        rows = [{"measure": "valid", "value": len(sound) / len(items), "n": len(items)}]
        if reference is not None:
            rows.append({"measure": "more", "value": float(len(items) - len(reference)), "n": len(reference)})
        return Table(rows, "share that could be read")


plugin = Plugin(
    "squares",
    "coloured squares",
    lambda settings: Squares(),
    open=list,
    defaults=lambda data, given: given,
    spec=Spec,
)
