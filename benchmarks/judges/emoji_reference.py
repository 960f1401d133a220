"""Write the statistics by which tests find out whether a drawn pictogram is the one that was asked for.

    python benchmarks/judges/emoji_reference.py path/to/noto_emoji_64.npz --out tests/data/judges

Writes emoji_reference.npz:
    captions    of the training pictures, without skin tones
    features    of those pictures at 32 × 32, by RandomConv(0), standardised by mean and std; float16 (N, F)
    mean, std   (F,), over training and held-out pictures
Only statistics are written, no picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from langevin.modalities.image.data import open_data
from langevin.modalities.image.metrics import RandomConv


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="noto_emoji_64.npz")
    parser.add_argument("--out", type=Path, default=Path("tests/data/judges"))
    options = parser.parse_args()
    settings: dict[str, Any] = {"where": {"skin_tone": ""}, "size": 32}
    train, test = (open_data(options.data, split=split, **settings) for split in ("train", "test"))
    judge = RandomConv(0)
    features = judge(train.images)
    both = np.concatenate([features, judge(test.images)])
    mean, std = both.mean(0), both.std(0) + 1e-6
    path = options.out / "emoji_reference.npz"
    np.savez_compressed(
        path,
        captions=np.array([str(c) for c in train.columns["caption"]]),
        features=((features - mean) / std).astype(np.float16),
        mean=mean,
        std=std,
    )
    print(f"{path}: {len(features)} pictures, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
