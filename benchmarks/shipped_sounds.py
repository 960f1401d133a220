"""The figures on the cards of the shipped sound models.

    python benchmarks/shipped_sounds.py audio-digits --data ../shared/data
    python benchmarks/shipped_sounds.py --folder runs/audio-scenes audio-scenes --data ../shared/data

Consecutive samples of seed 0, no rejection, the model's own defaults. The judges are trained here, on the real sounds of
the training split, which takes about a minute, unless --judges has them; there they are written, too. Prints tables and
writes them as JSON with --out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import langevin as lv
from langevin.modalities.audio import metrics
from langevin.modalities.audio.data import open_data
from langevin.modalities.audio.metrics import Judge, evaluate, load_judge, save_judge, silent, train_judge
from langevin.modalities.audio.sound import Audio
from langevin.modalities.statistics import Table, wilson

CHEAP = ("frechet", "kid", "neighbourhood", "memorisation", "copied", "diversity")
PEAK = -3.0  # dBFS, as the sounds of training have it
SEEN = "the digit {label} spoken by {speaker}"
UNSEEN = (
    "a voice counts {label} in the manner of {speaker}",
    "here {speaker} utters {label}",
    "{speaker} reading out the number {label}",
)


def _judge(
    name: str, folder: Path | None, sounds: Sequence[Audio], labels: Sequence[int], **options: Any
) -> Judge:
    """The judge of that name in a folder; trained, and written there, where there is none."""
    path = folder / f"{name}.safetensors" if folder else None
    if path is not None and path.exists():
        return load_judge(path)
    judge = train_judge(sounds, labels, **options)
    if path is None:
        return judge
    save_judge(judge, path)
    return load_judge(path)  # its weights are rounded there, and figures are those of the file


def _read(judge: Judge, sounds: Sequence[Any], wanted: Sequence[str]) -> Any:
    return metrics.read(judge, sounds, wanted).accuracy


def _silent(sounds: Sequence[Any]) -> Any:
    return wilson(sum(not isinstance(s, Audio) or silent(s) for s in sounds), len(sounds))


def digits(model: Any, n: int, data: Path, folder: Path | None) -> list[Table]:
    """Digit and speaker by independent judges, for texts and labels, on pairs and phrasings seen and held out."""
    path = str(data / "audio" / "fsdd_8k.npz")
    train, test = (open_data(path, split=split, rate=8000, peak=PEAK) for split in ("train", "test"))
    real, known = train.batch(range(len(train)))
    held, asked = test.batch(range(len(test)))
    words, speakers = train.classes["label"], train.classes["speaker"]
    how: dict[str, Any] = {"rate": 8000, "seconds": 1.024, "epochs": 24}
    judges = {
        "digit": _judge("spoken_digits", folder, real, known["label"], class_names=words, **how),
        "speaker": _judge("speakers", folder, real, known["speaker"], class_names=speakers, **how),
    }
    left = {(str(pair["digit"]), str(pair["speaker"])) for pair in model.config["data"]["leave_out"]}
    pairs = [(word, speaker) for speaker in speakers for word in words]
    seen = [pair for pair in pairs if pair not in left]
    unseen = [pair for pair in pairs if pair in left]

    def row(name: str, sounds: Sequence[Any], wanted: Sequence[tuple[str, str]]) -> dict[str, Any]:
        return {
            "row": name,
            "n": len(sounds),
            "digit": _read(judges["digit"], sounds, [word for word, _ in wanted]),
            "speaker": _read(judges["speaker"], sounds, [speaker for _, speaker in wanted]),
            "silent": _silent(sounds),
        }

    def drawn(wanted: Sequence[tuple[str, str]], phrasing: str | None) -> list[Any]:
        if phrasing is None:
            labels, voices = [word for word, _ in wanted], [speaker for _, speaker in wanted]
            return list(model.sample(len(wanted), label=labels, speaker=voices, seed=0))
        texts = [phrasing.format(label=word, speaker=speaker) for word, speaker in wanted]
        return list(model.sample(len(wanted), prompt=texts, seed=0))

    many = [seen[i % len(seen)] for i in range(n)]
    few = [unseen[i % len(unseen)] for i in range(n // 3)]
    by_text = drawn(many, SEEN)
    rows = [
        row("text", by_text, many),
        row("label and speaker", drawn(many, None), many),
        row("text, pairs held out", drawn(few, SEEN), few),
        row("label and speaker, pairs held out", drawn(few, None), few),
    ]
    third = many[: n // 3]
    rows += [row(f"text held out: {phrasing}", drawn(third, phrasing), third) for phrasing in UNSEEN]
    truth = [(words[a], speakers[b]) for a, b in zip(asked["label"], asked["speaker"], strict=True)]
    codec = model.modality
    rebuilt = codec.decode(*codec.encode([_padded(sound) for sound in held]))
    order = np.random.default_rng(0).permutation(n)
    rows += [
        row("real test split (ceiling of the judges)", held, truth),
        row("real test split through codec and vocoder (ceiling of the model)", rebuilt, truth),
        row("text, asks shuffled (control)", by_text, [many[i] for i in order]),
    ]
    caption = (
        "Read as asked by judges trained on the real training split; failures and silent sounds count as wrong. "
        "95 % intervals."
    )
    judge = judges["digit"]
    copies = evaluate(
        by_text,
        real,
        held,
        features={"digit judge": judge.embed},
        labels=[word for word, _ in many],
        real_labels=[words[k] for k in asked["label"]],
        metrics=CHEAP,
    )
    return [Table(rows, caption), copies, _speed(model)]


def _padded(sound: Audio, seconds: float = 1.024) -> Audio:
    """A clip as the model draws it, in silence up to the duration."""
    short = max(0, round(seconds * sound.rate) - len(sound))
    return Audio(np.pad(sound.samples, ((0, 0), (short // 2, short - short // 2))), sound.rate)


def scenes(model: Any, n: int, data: Path, folder: Path | None) -> list[Table]:
    """Agreement with the asked class by an independent judge, beside the judge's accuracy on the real test fold."""
    path = str(data / "audio" / "esc10_16k.tar")
    train, test = (open_data(path, split=split, rate=16_000) for split in ("train", "test"))
    real, known = train.batch(range(len(train)))
    held, asked = test.batch(range(len(test)))
    names = train.classes["label"]
    how: dict[str, Any] = {"rate": 16_000, "seconds": 5.0, "epochs": 60}
    judge = _judge("scenes", folder, real, known["label"], class_names=names, **how)
    wanted = [names[i % len(names)] for i in range(n)]
    made = list(model.sample(n, label=wanted, seed=0))
    truth = [names[k] for k in asked["label"]]
    codec = model.modality
    rebuilt = codec.decode(*codec.encode(held))
    found, real_found = (metrics.read(judge, *pair) for pair in ((made, wanted), (held, truth)))
    share = metrics.relative_accuracy(found.found, wanted, real_found.found, truth)
    order = np.random.default_rng(0).permutation(n)
    rows = [
        {
            "row": "samples",
            "n": n,
            "class": found.accuracy,
            "relative to real": share,
            "silent": _silent(made),
        },
        {"row": "real test fold", "n": len(held), "class": real_found.accuracy, "silent": _silent(held)},
        {
            "row": "real test fold through codec and vocoder",
            "n": len(held),
            "class": _read(judge, rebuilt, truth),
        },
        {"row": "asks shuffled (control)", "n": n, "class": _read(judge, made, [wanted[i] for i in order])},
    ]
    copies = evaluate(
        made,
        real,
        held,
        features={"judge": judge.embed},
        labels=wanted,
        real_labels=truth,
        metrics=CHEAP,
    )
    by_class = metrics.agreement(found.found, wanted)
    return [Table(rows, "Read as asked by a judge trained on the real training folds."), by_class, copies]


def _speed(model: Any) -> Table:
    """Wall time of eight clips in one batch, vocoder included; the second of two runs."""
    for _ in range(2):
        started = time.perf_counter()
        made = model.sample(8, prompt=SEEN.format(label="seven", speaker="theo"), steps=20)
        took = time.perf_counter() - started
    return Table(
        [
            {
                "clips": len(made),
                "seconds of sound": round(sum(sound.seconds for sound in made), 2),
                "steps": 20,
                "network forwards for each": (made.run.network_rows or 0) // len(made),
                "wall s": round(took, 2),
            }
        ],
        "Speed, with guidance and vocoder, on the machine of this table.",
    )


MODELS: dict[str, tuple[Callable[[Any, int, Path, Path | None], list[Table]], int]] = {
    "audio-digits": (digits, 504),
    "audio-scenes": (scenes, 500),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("-n", type=int, help="samples in the first rows")
    parser.add_argument("--folder", help="a model folder in place of the shipped one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with audio/…")
    parser.add_argument("--judges", type=Path, help="a folder of judges")
    parser.add_argument("--out", type=Path, help="write the tables as JSON")
    options = parser.parse_args()
    run, count = MODELS[options.model]
    model = lv.load(options.folder or options.model, device="cpu")
    started = time.process_time()
    tables = run(model, options.n or count, options.data, options.judges)
    defaults = {k: v for k, v in model.defaults.items() if k != "density"}
    print(f"{model!r}\ndefaults {defaults}; {time.process_time() - started:.0f} CPU s\n")
    for table in tables:
        print(table, "\n")
    if options.out:
        options.out.write_text(json.dumps([json.loads(table.to_json()) for table in tables], indent=1))


if __name__ == "__main__":
    main()
