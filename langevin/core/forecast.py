"""How long a run takes: told once, on standard error, near its beginning and only where it is long.

The time of one evaluation is that of the run's own second step, as the first one also warms things up; of its first where
that alone takes seconds.
"""

from __future__ import annotations

import math
import time

import torch

from langevin.core.progress import note

__all__ = ["Forecast", "duration"]

WORTH = 30.0  # s; shorter runs are not announced
PATIENCE = 5.0  # s; a first step that takes longer is estimate enough


class Forecast:
    """Times the first steps of a run.

    Args:
        samples: of the run.
        device: of the network, whose work is waited for where it runs by itself.
    """

    def __init__(self, samples: int, device: torch.device) -> None:
        self.samples, self.device = samples, device
        self._done = False
        self._times: list[tuple[float, int]] = []  # after each step: s, evaluations

    def begin(self) -> None:
        """A batch begins."""
        if not self._done:
            self._times = [(self._now(), 0)]

    def step(self, evaluations: int, of: int, rows: int, steps: int) -> None:
        """A step of the first batch is made.

        Args:
            evaluations: of the network since the batch began.
            of: evaluations that the batch takes.
            rows: samples of the batch.
            steps: of the run.
        """
        if self._done or evaluations == self._times[-1][1]:
            return
        self._times.append((self._now(), evaluations))
        (begun, _), *_, (before, known), (now, asked) = [self._times[0], *self._times]
        each = (now - before) / (asked - known)
        left = each * max(0.0, of * self.samples / rows - asked)
        whole = now - begun + left
        if whole >= WORTH and len(self._times) == 2 and now - begun < PATIENCE and asked < of:
            return  # wait for a step that is warm
        self._done = True
        if whole >= WORTH:
            batches = math.ceil(self.samples / rows)
            some = f"{batches} batch{'es' if batches > 1 else ''} of {rows}"
            note(f"about {duration(whole)}: {some}, {steps} step{'s' if steps > 1 else ''}")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def duration(seconds: float) -> str:
    """A duration in round words: "45 s", "2 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{5 * max(1, round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
