"""Previews: a picture of what a run believes its samples to be, rewritten while it goes on.

    model.sample(16, prompt="a dog barking", watch=lv.preview(model, "preview.png"))

What is shown is the clean estimate of the last step; see :meth:`langevin.modalities.base.Modality.preview`.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langevin.core.progress import note
from langevin.folders import write_atomic

if TYPE_CHECKING:
    from langevin.core.model import Model
    from langevin.core.samplers import Step

__all__ = ["preview"]

SHARE = 0.1  # of the time of a run, that previews may take
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def preview(model: Model, path: str | Path, every: float = 1.0, most: int = 16) -> Callable[[Step], None]:
    """What writes a picture of the samples of a batch, for ``model.sample(..., watch=...)``.

    Each picture takes the place of the last one whole. No sample is changed. A file that can no longer be written ends the
    previews, with a line on standard error, and not the run.

    Args:
        model: whose modality makes the picture.
        path: .png, .jpg or .webp, in a folder that exists.
        every: least seconds between two pictures; 0 for one after every step. Pictures that take long are rarer, so that a
            run becomes slower by a tenth at most, unless this is 0.
        most: samples of a batch that are shown, the first ones.

    Raises:
        ValueError: another suffix, or a number that cannot be.
        FileNotFoundError: the folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"a preview is a picture ({', '.join(FORMATS)}), got {str(path)!r}")
    if not every >= 0 or most < 1:
        raise ValueError(f"every must be seconds from 0 and most at least 1, got {every} and {most}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} for a preview")
    return _Preview(model, path, float(every), most)


class _Preview:
    """Rewrites a picture at most so often."""

    def __init__(self, model: Model, path: Path, every: float, most: int) -> None:
        self.model, self.path, self.every, self.most = model, path, every, most
        self._next = 0.0  # on the clock of time.perf_counter
        self._ended = False

    def __call__(self, step: Step) -> None:
        begun = time.perf_counter()
        if self._ended or step.posterior is None or begun < self._next:
            return
        from langevin.core.batches import pick, to
        from langevin.core.samplers.particles import clean

        rows = slice(0, self.most)
        state = pick(clean(step.posterior, self.model.process, step.x), rows)
        picture = self.model.modality.preview(to(state, "cpu"), to(pick(step.mask, rows), "cpu"))
        try:
            write_atomic(self.path, _encoded(picture, self.path))
        except OSError as error:
            self._ended = True
            note(f"no more previews: {self.path} cannot be written ({error})")
        now = time.perf_counter()
        self._next = now + max(self.every, (now - begun) / SHARE) if self.every else now


def _encoded(picture: Any, path: Path) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, FORMATS[path.suffix.lower()])
    return buffer.getvalue()
