"""Long form: what a modality says of samples that go on along an axis, and streams of them as files.

Sounds and clips go on; pictures and molecules do not. A modality of the former answers :meth:`LongForm.windowed`,
:meth:`LongForm.windows`, :meth:`LongForm.joined` and :meth:`LongForm.writer`; the core
(:mod:`langevin.core.streaming`) does the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from langevin.modalities.samples import MANIFEST, Samples, described, read_manifest, suffix_of

if TYPE_CHECKING:
    from langevin.core.denoiser import Denoiser
    from langevin.core.streaming import Streaming, Windows

__all__ = ["LongForm", "Writer", "save"]

COSTS = ("evaluations", "network_rows", "backward_passes")  # of samples.json, not known before a run is made


class Writer(Protocol):
    """A native file that grows by pieces, in a ``with`` block: whole when it ends, gone when it raises."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...

    def append(self, piece: Any) -> None:
        """Adds what follows."""
        ...


class LongForm:
    """The part of a :class:`~langevin.modalities.base.Modality` that serves long samples; by default there are none."""

    name: ClassVar[str]

    def windowed(self, spec: Any) -> bool:
        """Whether ``spec`` asks for windows, so that ``model.sample`` draws in them."""
        return False

    def windows(self, spec: Any, after: Sequence[Any] | None = None) -> Windows:
        """How long samples are drawn, window after window; see :mod:`langevin.core.streaming`.

        Args:
            spec: an instance of :attr:`spec`.
            after: a native object for each sample, which it continues; None for new ones.

        Raises:
            ValueError: this modality's samples do not go on, or lengths that cannot be.
        """
        raise ValueError(
            f"samples of {self.name} cannot be streamed: they have no axis along which they go on"
        )

    def seen(self, denoiser: Denoiser, spec: Any, times: Sequence[Any]) -> Denoiser:
        """The denoiser as samples of ``spec`` are to be seen by it, as on a circle; itself by default.

        Args:
            denoiser: the network's, inside any guidance.
            spec: an instance of :attr:`spec`.
            times: of the run's grid.
        """
        return denoiser

    def joined(self, pieces: Sequence[Any]) -> Any:
        """One native object of pieces of it that follow one another.

        Raises:
            ValueError: this modality's samples do not go on.
        """
        raise ValueError(f"samples of {self.name} cannot be joined")

    def writer(self, path: Path, piece: Any) -> Writer:
        """What writes a native object to a file piece by piece, with memory that does not grow.

        Args:
            path: of the file; its suffix is one of those that the modality writes.
            piece: the first one, which says what the file has to hold; it is not written yet.

        Raises:
            ValueError: this modality's samples do not go on.
        """
        raise ValueError(f"samples of {self.name} cannot be written in pieces")

    def save_stream(
        self, stream: Streaming, path: Path, overwrite: bool = False, suffix: str | None = None
    ) -> list[Path]:
        """Writes a stream while it is drawn; see :meth:`langevin.core.streaming.Streaming.save`."""
        from langevin.modalities.streams import save

        return save(stream, path, overwrite, suffix)


def save(stream: Streaming, path: Path, overwrite: bool = False, suffix: str | None = None) -> list[Path]:
    """Writes a stream while it is drawn, to a file or to a folder; see :meth:`Streaming.save`.

    A folder is written when all samples are: until then they are in a folder beside it, whose name ends in ".partial".
    """
    from langevin.core.streaming import Costs

    modality, costs = stream.modality, Costs()
    kind, suffix = path.suffix.lower(), suffix_of(stream.modality, suffix)
    if kind in (modality.written or (modality.suffix,)) and not path.is_dir():
        if stream.draw.n != 1:
            raise ValueError(f"{path} is one file, for {stream.draw.n} samples; give a folder")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is there already; choose another name, or overwrite it")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {str(path.parent)!r} for {path.name}")
        _write(stream, [path], costs)
        return [path]
    if kind and not kind[1:].isdigit() and not path.is_dir():  # numbers, as in v1.5, are no formats
        suffix_of(modality, kind)
    asked = json.loads(json.dumps(stream.gathered([path] * stream.draw.n, costs).manifest(suffix)))
    if (path / MANIFEST).exists() and not overwrite:
        earlier, ours = ({k: v for k, v in m.items() if k not in COSTS} for m in (read_manifest(path), asked))
        if earlier != ours:
            raise FileExistsError(
                f"{path} holds {described(earlier)}; choose another folder, or overwrite them"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as beside:
        files = [Path(beside) / f"{k}{suffix}" for k in range(stream.draw.n)]
        _write(stream, files, costs)
        made = stream.gathered(files, costs)
        moving: Any = _Moving(modality)
        return Samples(files, moving, made.run, None, None, made.conditions, made.indices).save(
            path, overwrite, suffix
        )


class _Moving:
    """A modality for samples that are in files already: saving moves these."""

    def __init__(self, modality: Any) -> None:
        self.modality = modality

    def __getattr__(self, name: str) -> Any:
        return getattr(self.modality, name)

    def save(self, item: Path, path: Path) -> None:
        os.replace(item, path)


def _write(stream: Streaming, files: Sequence[Path], costs: Any) -> None:
    """Each sample of a stream to its file."""
    with contextlib.ExitStack() as stack:
        writers: list[Writer] = []
        for pieces in stream.played(costs):
            if not writers:
                writers = [
                    stack.enter_context(stream.modality.writer(file, piece))
                    for file, piece in zip(files, pieces, strict=True)
                ]
            for writer, piece in zip(writers, pieces, strict=True):
                writer.append(piece)
