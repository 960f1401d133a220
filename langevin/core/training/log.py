"""The log of a run: log.csv always, TensorBoard events where tensorboard is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Any

from langevin.core.training.trainer import Progress

__all__ = ["Log"]

_COLUMNS = ("step", "loss", "lr", "grad_norm", "samples_per_second")


class Log:
    """Writes every :class:`Progress` of a run to ``log.csv`` and to TensorBoard.

    Args:
        folder: of the run.
        append: go on with the log that is there, as a resumed run does.
    """

    def __init__(self, folder: Path, append: bool = False) -> None:
        path = folder / "log.csv"
        fresh = not (append and path.exists())
        self._file = open(path, "w" if fresh else "a", newline="")  # noqa: SIM115 (closed by __exit__)
        self._rows = csv.writer(self._file)
        if fresh:
            self._rows.writerow(_COLUMNS)
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, line: Progress) -> None:
        """One row; on disk at once."""
        self._rows.writerow([getattr(line, name) for name in _COLUMNS])
        self._file.flush()
        if self._board is not None:
            for name in _COLUMNS[1:]:
                self._board.add_scalar(name, getattr(line, name), line.step)
            for name, value in line.parts.items():
                if name:
                    self._board.add_scalar(f"loss/{name}", value, line.step)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()
