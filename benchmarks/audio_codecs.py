"""What codecs of sound lose and what they cost: real spoken digits there and back.

    python -m benchmarks.audio_codecs --data ../shared/data
    python -m benchmarks.audio_codecs --data ../shared/data --vocoder runs/my-vocoder --vae runs/my-waveform-vae

Rows, over the official test split:

    real                       the recordings themselves: what the judge cannot tell
    complex STFT               256 samples of transform, a quarter apart
    log-mel, Griffin-Lim       the preset "speech-8k", 32 iterations
    log-mel, our vocoder       the same spectrograms through the folder of --vocoder
    waveform VAE               the folder of --vae

Columns:

    digit                      share that a judge trained on the training split reads right, with its 95 % interval (Wilson)
    LSD                        log-spectral distance in dB
    MR-STFT                    multi-resolution STFT distance, windows of 128 to 16 ms
    SI-SDR                     in dB; of vocoders, which choose phases of their own, it says nothing
    values/s                   of the state for a second of sound
    encode, decode             seconds of sound for a second of one CPU core, clip by clip
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reporting import heading, write
from langevin.core.registry import build
from langevin.modalities.audio.catalogue import CODECS
from langevin.modalities.audio.codec import Codec, ComplexSTFT, LogMel
from langevin.modalities.audio.data import open_data
from langevin.modalities.audio.mel import PRESETS
from langevin.modalities.audio.metrics.judge import Judge, load_judge, save_judge, train_judge
from langevin.modalities.audio.metrics.signal import log_spectral_distance, si_sdr
from langevin.modalities.audio.sound import Audio
from langevin.modalities.audio.waveform_training import spectral
from langevin.modalities.statistics import wilson

RATE = 8000
SPEECH = PRESETS["speech-8k"]
PEAK = -3.0  # dBFS


def codecs(vocoder: str | None, vae: str | None) -> dict[str, Codec]:
    """Codecs by the names of their rows."""
    found: dict[str, Codec] = {
        "complex STFT": ComplexSTFT(RATE, 256, 64),
        "log-mel, Griffin-Lim": LogMel(SPEECH),
    }
    if vocoder is not None:
        node = {"name": "istft", "folder": vocoder}
        found["log-mel, our vocoder"] = LogMel(SPEECH, vocoder=build("vocoder", node))
    if vae is not None:
        found["waveform VAE"] = build(CODECS, {"name": "waveform_vae", "folder": vae})
    return found


def there_and_back(codec: Codec, sounds: list[Audio]) -> tuple[list[Audio], float, float]:
    """What becomes of sounds, and the seconds of one core that encoding and decoding took."""
    for sound in sounds[:2]:  # what is computed once is computed here
        codec.decode(codec.encode([sound]))
    made, encoding, decoding = [], 0.0, 0.0
    for sound in sounds:
        start = time.process_time()
        state = codec.encode([sound])
        between = time.process_time()
        (back,) = codec.decode(state)
        encoding, decoding = encoding + between - start, decoding + time.process_time() - between
        made.append(Audio(back.samples[:, : len(sound)], sound.rate))
    return made, encoding, decoding


def row(name: str, real: list[Audio], made: list[Audio], labels: list[int], judge: Judge) -> dict[str, Any]:
    """The figures of one row but for its cost."""
    right = int((judge.predict(made) == np.array(labels)).sum())
    low, high = interval(right, len(real))
    out = {"codec": name, "digit": f"{100 * right / len(real):.1f} % ({100 * low:.1f}–{100 * high:.1f})"}
    if made is real:
        return out
    pairs = list(zip(made, real, strict=True))
    apart = [
        float(spectral(torch.from_numpy(a.samples), torch.from_numpy(b.samples), RATE)) for a, b in pairs
    ]
    out["LSD"] = f"{np.mean([log_spectral_distance(a, b) for a, b in pairs]):.2f}"
    out["MR-STFT"] = f"{np.mean(apart):.3f}"
    out["SI-SDR"] = f"{np.mean([si_sdr(a, b) for a, b in pairs]):.1f}"
    return out


def measured(
    data: Path, vocoder: str | None, vae: str | None, judge: Path | None, n: int | None
) -> list[dict[str, Any]]:
    """All rows."""
    archive = str(data / "audio" / "fsdd_8k.npz")
    train, test = (open_data(archive, split=split, rate=RATE, peak=PEAK) for split in ("train", "test"))
    listening = _judge(train, judge)
    chosen = np.linspace(0, len(test) - 1, n or len(test)).astype(int).tolist()
    real, known = test.batch(chosen)
    total = sum(sound.seconds for sound in real)
    rows = [row("real", real, real, known["label"], listening)]
    for name, codec in codecs(vocoder, vae).items():
        made, encoding, decoding = there_and_back(codec, real)
        figures = row(name, real, made, known["label"], listening)
        figures["values/s"] = f"{codec.channels * codec.bins * codec.rate / codec.hop:.0f}"
        figures["encode"], figures["decode"] = f"{total / encoding:.0f}", f"{total / decoding:.0f}"
        rows.append(figures)
    return rows


def _judge(train: Any, path: Path | None) -> Judge:
    if path is not None and path.is_file():
        return load_judge(path)
    sounds, known = train.batch(range(len(train)))
    words = train.classes["label"]
    judge = train_judge(sounds, known["label"], class_names=words, rate=RATE, seconds=1.024)
    if path is None:
        return judge
    save_judge(judge, path)
    return load_judge(path)  # its weights are rounded there


def interval(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    found = wilson(right, n)
    return float(found.low), float(found.high)


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table of rows, numbers flush right."""
    columns = list(rows[-1])
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(r.get(c, "") for c in columns) + " |" for r in rows)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the shared sets")
    parser.add_argument("--vocoder", help="a folder that langevin train experiment=audio_vocoder left")
    parser.add_argument("--vae", help="a folder that langevin train experiment=audio_vae left")
    parser.add_argument("--judge", type=Path, help="file in which the judge is kept between runs")
    parser.add_argument("-n", type=int, help="recordings, spread over the split; all by default")
    parser.add_argument("--out", help="write the rows to a .csv or .json file")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    heading(f"codecs of sound, {args.n or 'all'} recordings of the test split, one thread")
    rows = measured(args.data, args.vocoder, args.vae, args.judge, args.n)
    print(markdown(rows))
    write(args.out, [{c: r.get(c, "") for c in rows[-1]} for r in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
