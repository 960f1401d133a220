"""The figures on the cards of the shipped video models.

    python -m benchmarks.shipped_clips video-sprites --data ../shared/data --judges runs/judges
    python -m benchmarks.shipped_clips --folder runs/video-sprites video-sprites --data ../shared/data
    python -m benchmarks.shipped_clips --train-judges --judges runs/judges --data ../shared/data

Consecutive samples of seed 0, no rejection, the model's own defaults, the frames themselves (no video codec). Captions are
those of the test split, whose characters are in no training clip, taken in turn. The judges are trained here on the real
clips of the training split at 32 x 32 pixels, which takes about two minutes of one core, unless --judges has them; there
they are written, too. Prints tables and writes them as JSON with --out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import langevin as lv
from langevin.modalities.statistics import Table, bootstrap, wilson
from langevin.modalities.video import metrics
from langevin.modalities.video.clip import Video
from langevin.modalities.video.metrics import Judge, evaluate, load_judge, save_judge, train_judge

CHEAP = ("frechet", "kid", "neighbourhood", "memorisation", "copied", "diversity")
FPS = 8.0
FEW = 100  # clips that are continued, or begin with a given frame
ASKED = ("action", "direction", "race", "sex", "hair colour", "top colour")
COLOURS = ("brown", "maroon", "teal", "white")  # of tops; armour and mail have none in the caption


class Sprites(NamedTuple):
    """One split: clips, captions, the colour of the background, and for each attribute what the caption says of it
    ("" for nothing)."""

    clips: list[Video]
    captions: list[str]
    background: np.ndarray
    says: dict[str, list[str]]

    def taken(self, rows: Sequence[int]) -> Sprites:
        says = {name: [values[i] for i in rows] for name, values in self.says.items()}
        return Sprites(
            [self.clips[i] for i in rows], [self.captions[i] for i in rows], self.background[list(rows)], says
        )


def sprites(data: Path, split: str, size: tuple[int, int], fps: float = FPS) -> Sprites:
    """A split of the shared sprites at a size (width, height)."""
    with np.load(data / "video" / "lpc_sprites_64.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    rows = np.flatnonzero(arrays["split"] == split)
    clips = [Video(frames, fps).resized(*size) for frames in arrays["video"][rows]]
    says = {name: arrays[f"{name}_names"][arrays[name][rows]].tolist() for name in ("action", "direction")}
    race = arrays["race"][rows]
    says["race"] = race.tolist()
    # "an orc", "a skeleton": only captions of humans say a sex.
    says["sex"] = np.where(race == "human", arrays["sex"][rows], "").tolist()
    says["hair colour"] = arrays["hair_color"][rows].tolist()
    says["top colour"] = [
        next((word for word in top.split() if word in COLOURS), "") for top in arrays["top"][rows]
    ]
    return Sprites(clips, arrays["caption"][rows].tolist(), arrays["background_rgb"][rows], says)


def train_judges(train: Sprites, folder: Path | None) -> dict[str, Judge]:
    """A judge for each attribute, from a folder or trained on the clips whose captions say it, and written there."""
    judges: dict[str, Judge] = {}
    for name in ASKED:
        path = folder / f"sprite_{name.replace(' ', '_')}.safetensors" if folder else None
        if path is not None and path.exists():
            judges[name] = load_judge(path)
            continue
        said = [i for i, value in enumerate(train.says[name]) if value]
        names = sorted({train.says[name][i] for i in said})
        labels = [names.index(train.says[name][i]) for i in said]
        judges[name] = train_judge([train.clips[i] for i in said], labels, class_names=names, epochs=6)
        if path is not None:
            save_judge(judges[name], path)
            judges[name] = load_judge(path)  # its weights are rounded, and figures are those of the file
    return judges


def found(judge: Judge, clips: Sequence[Any], says: Sequence[str]) -> tuple[list[Any], list[str]]:
    """What a judge reads in the clips whose captions say something, and what they say."""
    rows = [i for i, value in enumerate(says) if value]
    wanted = [says[i] for i in rows]
    return metrics.read(judge, [clips[i] for i in rows], wanted).found, wanted


def accuracies(judges: dict[str, Judge], clips: Sequence[Any], asked: Sprites) -> dict[str, Any]:
    """Shares of clips read as asked, and of those whose border is within ΔE 5 of the asked colour."""
    right: dict[str, Any] = {}
    for name, judge in judges.items():
        answers, wanted = found(judge, clips, asked.says[name])
        right[name] = wilson(sum(a == w for a, w in zip(answers, wanted, strict=True)), len(wanted))
    near = [
        isinstance(c, Video) and metrics.border_difference(c, rgb) <= 5
        for c, rgb in zip(clips, asked.background, strict=True)
    ]
    return {**right, "border within ΔE 5": wilson(sum(near), len(near))}


def rolled(clips: Sequence[Video], by: Sequence[int]) -> list[Video]:
    """Clips that begin by so many frames later, and go round."""
    return [Video(np.roll(c.frames, -k, 0), c.fps) for c, k in zip(clips, by, strict=True)]


def judged(judges: dict[str, Judge], test: Sprites) -> Table:
    """The judges on real clips of characters that they have not seen, as they are and begun at a random frame."""
    rng = np.random.default_rng(0)
    late = rolled(test.clips, rng.integers(1, 8, len(test.clips)).tolist())
    rows = [
        {"row": row, "n": len(clips), **accuracies(judges, clips, test)}
        for row, clips in (("real test split", test.clips), ("real test split, rolled in time", late))
    ]
    return Table(
        rows,
        "The judges by themselves. Shares of the clips whose captions say the attribute; 95 % intervals.",
    )


def moving(
    name: str, clips: Sequence[Any], static: np.ndarray, real: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Motion, flicker and what motion leaves unexplained, and ratios to those of real clips."""
    there = [c for c in clips if isinstance(c, Video)]
    warps = [metrics.warp_error(c) for c in there]
    residual = [w.residual for w in warps if np.isfinite(w.residual)]
    cells: dict[str, Any] = {
        "row": name,
        "n": len(there),
        "motion": bootstrap([metrics.motion(c) for c in there]),
        "flicker": bootstrap([metrics.flicker(c, static) for c in there]),
        "largest flicker": max(metrics.flicker(c, static) for c in there),
        "warp residual": bootstrap(residual),
        "masked": float(np.mean([w.masked for w in warps])),
        "constancy": bootstrap([metrics.constancy(c) for c in there]),
        "drift": metrics.drift(there),
    }
    if real is not None:
        cells["motion ratio"] = cells["motion"].value / real["motion"].value
        cells["warp ratio"] = cells["warp residual"].value / real["warp residual"].value
    return cells


def continued(
    model: Any, judges: dict[str, Judge], made: Sequence[Any], asked: Sprites, test: Sprites
) -> Table:
    """Extension to three times the length, clips from their first frame, and loops of walks."""
    usual = np.concatenate([metrics.steps(c) for c in test.clips])
    rows: list[dict[str, Any]] = []

    def add(row: str, clips: Sequence[Any], says: Sprites, at: int | None, **more: Any) -> None:
        there = [c for c in clips if isinstance(c, Video)]
        cells: dict[str, Any] = {"row": row, "n": len(clips)}
        for name in ("action", "direction"):
            cells[name] = metrics.read(judges[name], clips, says.says[name]).accuracy
        if at is not None:
            smooth = sum(metrics.joins(c, [at], usual)[0].smooth for c in there)
            cells["join within real steps"] = wilson(smooth, len(there))
        rows.append({**cells, **more})

    # three times the length
    valid = [i for i, c in enumerate(made) if isinstance(c, Video)][:FEW]
    few, begun = asked.taken(valid), [made[i] for i in valid]
    length = len(begun[0])
    longer = list(model.extend(begun, frames=2 * length, prompt=few.captions, seed=0))
    ends = [Video(c.frames[-length:], c.fps) if isinstance(c, Video) else c for c in longer]
    same = [np.array_equal(c.frames[:length], b.frames) for c, b in zip(longer, begun, strict=True)]
    add("last third of clips extended to 24 frames", ends, few, None)
    joined = [metrics.joins(c, [length], usual)[0].smooth for c in longer if isinstance(c, Video)]
    rows[-1] |= {
        "begins exact": wilson(sum(same), len(same)),
        "join within real steps": wilson(sum(joined), len(joined)),
    }

    # from the first frame of a real clip
    first = test.taken(range(min(FEW, len(test.clips))))
    drawn = list(model.sample(like=first.clips, keep=lv.keep.frames(0), prompt=first.captions, seed=0))
    pairs = [(c, r) for c, r in zip(drawn, first.clips, strict=True) if isinstance(c, Video)]
    exact = sum(np.array_equal(c.frames[0], r.frames[0]) for c, r in pairs)
    own = {whole: np.mean([metrics.constancy(r, whole=whole) for _, r in pairs]) for whole in (False, True)}
    ours = {whole: np.mean([metrics.constancy(c, whole=whole) for c, _ in pairs]) for whole in (False, True)}
    speed = [np.mean([metrics.motion(c) for c in side]) for side in zip(*pairs, strict=True)]
    add(
        "from the first frame", drawn, first, 1,
        **{"begins exact": wilson(exact, len(drawn)),
           "colours of the figure, relative to real": float(ours[False] / own[False]),
           "colours of frames, relative to real": float(ours[True] / own[True]),
           "motion ratio": float(speed[0] / speed[1])},
    )  # fmt: skip
    frozen = [Video(np.repeat(r.frames[:1], len(r), 0), r.fps) for r in first.clips]
    add("first frame, frozen (control)", frozen, first, 1, **{"motion ratio": 0.0})
    add("real test clips", first.clips, first, 1, **{"motion ratio": 1.0})

    # loops of walks, rotated by half a period so that the seam lies in the middle of the clip
    walks = test.taken([i for i, a in enumerate(test.says["action"]) if a == "walk"])
    for row, clips in (
        ("walks drawn as loops", list(model.sample(loop=True, prompt=walks.captions, seed=0))),
        ("walks drawn with ends", list(model.sample(prompt=walks.captions, seed=0))),
        ("real walks", walks.clips),
    ):
        valid = [i for i, c in enumerate(clips) if isinstance(c, Video)]
        there = [clips[i] for i in valid]
        seams = [metrics.seam(c) for c in there]
        turned = rolled(there, [len(c) // 2 for c in there])
        pace = np.concatenate([metrics.steps(c) for c in walks.clips])
        cells = {
            "seam smooth": wilson(sum(metrics.seam(c, pace).smooth for c in there), len(there)),
            "seam moving": wilson(sum(s.moving for s in seams), len(seams)),
            "seam over mean step": bootstrap([s.change / max(s.mean, 1e-9) for s in seams]),
        }
        add(f"{row}, rotated by half a period", turned, walks.taken(valid), None, **cells)
    return Table(
        rows,
        "Joins are smooth within the 95th percentile of the steps of all real test clips, seams within that of real walks; "
        f"a seam moves by at least half of the clip's own mean step. {FEW} clips at most are continued.",
    )


def video_sprites(model: Any, n: int, data: Path, folder: Path | None) -> list[Table]:
    """Captions by independent judges, motion, copies, continuations, on characters never seen."""
    height, width = model.modality.codec.size
    fps = float(model.modality.fps)
    small = {split: sprites(data, split, (32, 32)) for split in ("train", "test")}
    judges = train_judges(small["train"], folder)
    train, test = (sprites(data, split, (width, height), fps) for split in ("train", "test"))
    asked = test.taken([i % len(test.clips) for i in range(n)])
    made = list(model.sample(n, prompt=asked.captions, seed=0))
    there = [c for c in made if isinstance(c, Video)]
    rng = np.random.default_rng(0)
    mixed = asked.taken(rng.permutation(n).tolist())
    frozen = [Video(np.repeat(c.frames[:1], len(c), 0), c.fps) for c in asked.clips]
    noise = metrics.white_noise(n, rng, test.clips)
    rows = [
        {"row": row, "n": len(clips), **accuracies(judges, clips, says)}
        for row, clips, says in (
            ("samples", made, asked),
            ("real test split (ceiling)", test.clips, test),
            ("samples, asks shuffled (control)", made, mixed),
            ("first frames of real clips, frozen (control)", frozen, asked),
            ("noise (control)", noise, asked),
        )
    ]
    shares = []
    for name in ASKED:
        answers, wanted = found(judges[name], made, asked.says[name])
        known, truth = found(judges[name], test.clips, test.says[name])
        shares.append(
            {
                "attribute": name,
                "n": len(wanted),
                "relative to real": metrics.relative_accuracy(answers, wanted, known, truth),
            }
        )
    static = metrics.static_pixels([*train.clips, *test.clips])
    real = moving("real clips of the same captions", asked.clips, static)
    motions = [
        moving("samples", there, static, real),
        real,
        moving("first frames, frozen (control)", frozen, static, real),
        moving("noise (control)", noise, static, real),
    ]
    labels, real_labels = (
        [f"{a} {d}" for a, d in zip(s.says["action"], s.says["direction"], strict=True)]
        for s in (asked, test)
    )
    sets = evaluate(
        made,
        train.clips,
        test.clips,
        features={
            "random features (3-D convolutions)": metrics.RandomConv3d(),
            "pixels": metrics.Pixels(),
            "action judge": judges["action"].embed,
        },
        labels=labels,
        real_labels=real_labels,
        metrics=CHEAP,
    )
    return [
        judged(judges, small["test"]),
        Table(
            rows, "Read as asked; failures count as wrong. Captions of characters never seen; 95 % intervals."
        ),
        Table(
            shares,
            "Accuracy on samples over that of the same judge on real test clips; 95 % by the bootstrap.",
        ),
        Table(
            motions,
            f"Grey levels of 255; flicker on the {static.mean():.0%} of pixels that change in no real clip.",
        ),
        sets,
        continued(model, judges, made, asked, test),
        _speed(model, test.captions[0]),
    ]


def _speed(model: Any, prompt: str) -> Table:
    """Wall time of one clip; the second of two runs."""
    for _ in range(2):
        started = time.perf_counter()
        made = model.sample(1, prompt=prompt, steps=20)
        took = time.perf_counter() - started
    return Table(
        [{"clips": 1, "frames": len(made[0]), "steps": 20, "wall s": round(took, 2)}],
        "Speed, with guidance, on the machine of this table.",
    )


MODELS: dict[str, tuple[Callable[[Any, int, Path, Path | None], list[Table]], int]] = {
    "video-sprites": (video_sprites, 500),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="video-sprites", choices=sorted(MODELS))
    parser.add_argument("-n", type=int, help="samples in the first rows")
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with video/…")
    parser.add_argument("--judges", type=Path, help="a folder of judges")
    parser.add_argument("--train-judges", action="store_true", help="only train the judges, and judge them")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    started = time.process_time()
    if options.train_judges:
        judges = train_judges(sprites(options.data, "train", (32, 32)), options.judges)
        print(f"{time.process_time() - started:.0f} CPU s\n")
        tables = [judged(judges, sprites(options.data, "test", (32, 32)))]
    else:
        run, count = MODELS[options.model]
        model = lv.load(options.folder or options.model, device="cpu")
        tables = run(model, options.n or count, options.data, options.judges)
        print(f"{model!r}\ndefaults {model.defaults}; {time.process_time() - started:.0f} CPU s\n")
    for table in tables:
        print(table, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(table.to_json()) for table in tables], indent=1))


if __name__ == "__main__":
    main()
