"""Loops, long form and continuation of a model of environmental sounds, measured on sounds that last.

    python -m benchmarks.sustained_sounds runs/audio-scenes/model --data ../shared/data --judges runs/judges

Loops are written to wav, read again and judged across the seam: smooth where the change is within the 95th percentile of
those inside the sound, seamless where the energy there is at least half of the sound's mean, too. Beside them stand sounds
drawn with ends and real clips, whose end and beginning do not know each other. Long sounds are cut into stretches as long as
a window, each of which a judge reads. Continuations of real clips are measured at the join, beside the same place of the
clip itself. Consecutive samples of seed 0, no rejection, the model's own defaults.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import langevin as lv
from benchmarks.shipped_sounds import _judge, _read
from langevin.modalities.audio.data import open_data
from langevin.modalities.audio.files import read
from langevin.modalities.audio.metrics.joins import Join, joins, seam
from langevin.modalities.audio.sound import Audio, level
from langevin.modalities.statistics import Table, bootstrap, wilson

LASTING = ("rain", "sea waves", "helicopter", "chainsaw", "fire crackling")
KNOWN = 3.0  # s of a clip that is continued


def _row(name: str, found: Sequence[Join]) -> dict[str, Any]:
    n = len(found)
    return {
        "row": name,
        "n": n,
        "smooth": wilson(sum(join.smooth for join in found), n),
        "seamless": wilson(sum(join.seamless for join in found), n),
        "change dB": bootstrap(np.array([join.change for join in found])),
    }


def _from_file(sounds: Sequence[Audio]) -> list[Audio]:
    """The sounds as they are in their files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{k}.wav") for k in range(len(sounds))]
        for sound, path in zip(sounds, paths, strict=True):
            sound.save(path)
        return [read(path) for path in paths]


def loops(model: Any, names: Sequence[str], n: int, real: Sequence[Audio]) -> Table:
    asked = [names[k % len(names)] for k in range(n)]
    closed = _from_file(model.sample(n, label=asked, loop=True, seed=0).valid)
    ends = _from_file(model.sample(n, label=asked, seed=0).valid)
    rows = [
        _row("loops", [seam(sound) for sound in closed]),
        _row("drawn with ends (control)", [seam(sound) for sound in ends]),
        _row("real clips, end to beginning (control)", [seam(sound) for sound in real]),
    ]
    return Table(rows, f"Seams, of {', '.join(names)}.")


def long_form(model: Any, names: Sequence[str], n: int, seconds: float, judge: Any) -> Table:
    asked = [names[k % len(names)] for k in range(n)]
    window = model.modality.seconds
    sounds = model.stream(n, label=asked, seconds=seconds, window=window, seed=0).collect().valid
    rows = []
    for low in np.arange(0, seconds - window / 2, window):
        parts = [sound.cropped(float(low), window) for sound in sounds]
        rows.append(
            {
                "stretch": f"{low:g} … {low + window:g} s",
                "n": n,
                "class": _read(judge, parts, asked),
                "level dBFS": bootstrap(np.array([level(part.samples, part.rate) for part in parts])),
            }
        )
    return Table(rows, f"Streams of {seconds:g} s in windows of {window:g} s, stretch by stretch.")


def continuations(model: Any, clips: Sequence[Audio], labels: Sequence[str]) -> Table:
    known = [clip.cropped(0, KNOWN) for clip in clips]
    longer = model.extend(known, label=list(labels), seconds=model.modality.seconds - KNOWN, seed=0).valid
    rows = [
        _row("continued", [joins(sound, [KNOWN])[0] for sound in longer]),
        _row("the real clips there", [joins(clip, [KNOWN])[0] for clip in clips]),
        _row(
            "other real clips after it (control)",
            [
                joins(Audio(np.concatenate([a.samples, b.samples[:, len(a) :]], 1), a.rate), [KNOWN])[0]
                for a, b in zip(known, [*clips[1:], clips[0]], strict=True)
            ],
        ),
    ]
    return Table(rows, f"Joins {KNOWN:g} s after the beginning.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a folder")
    parser.add_argument("-n", type=int, default=100, help="loops, and sounds with ends")
    parser.add_argument("--long", type=int, default=20, help="long sounds")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a long sound")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with audio/…")
    parser.add_argument("--judges", type=Path, help="a folder of judges")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    model = lv.load(options.model, device="cpu")
    path = str(options.data / "audio" / "esc10_16k.tar")
    train, test = (open_data(path, split=split, rate=16_000) for split in ("train", "test"))
    real, known = train.batch(range(len(train)))
    held, asked = test.batch(range(len(test)))
    classes = train.classes["label"]
    names = [name for name in classes if name in LASTING]
    how: dict[str, Any] = {"rate": 16_000, "seconds": 5.0, "epochs": 60}
    judge = _judge("scenes", options.judges, real, known["label"], class_names=classes, **how)
    labels = [classes[k] for k in asked["label"]]
    lasting = [k for k, label in enumerate(labels) if label in names]
    clips, kinds = [held[k] for k in lasting], [labels[k] for k in lasting]
    tables = [
        loops(model, names, options.n, clips),
        long_form(model, names, options.long, options.seconds, judge),
        continuations(model, clips, kinds),
    ]
    for table in tables:
        print(table, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(table.to_json()) for table in tables], indent=1))


if __name__ == "__main__":
    main()
