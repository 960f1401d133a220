"""Train the judge of handwritten digits and write it with the statistics of real digits that tests compare
against.

    python benchmarks/judges/train_digit_judge.py path/to/mnist_28.npz --out tests/data/judges

Writes digits.safetensors (the judge, half precision) and digits_reference.npz:
    test_features, test_label     the first 2,000 pictures of the real test split, float16 features
    train_features, train_label   the first 1,000 pictures of the real training split, for nearest-neighbour
                                  figures
    mean, cov, count              of the features of the whole test split
    accuracy                      of the judge on the whole test split, as stored
Only statistics are written, no picture. About ten minutes on one CPU thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from langevin.modalities.image.classifier import Progress, load_classifier, save_classifier, train_classifier
from langevin.modalities.image.data import NpzDataset


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="npz with train_image, train_label, test_image, test_label")
    parser.add_argument("--out", type=Path, default=Path("tests/data/judges"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    train, test = NpzDataset(options.data, "train"), NpzDataset(options.data, "test")
    start = time.monotonic()

    def report(p: Progress) -> None:
        if p.step % 100 == 0 or p.step == p.steps:
            spent = time.monotonic() - start
            left = spent / p.step * (p.steps - p.step)
            print(
                f"step {p.step}/{p.steps}  loss {p.loss:.4f}  {spent:.0f} s, {left:.0f} s left",
                file=sys.stderr,
            )

    net = train_classifier(
        train.images, train.columns["label"], class_names=train.class_names, epochs=options.epochs,
        seed=options.seed, device=options.device, progress=report,
    )  # fmt: skip
    path = options.out / "digits.safetensors"
    save_classifier(net.cpu(), path)

    net = load_classifier(path)  # figures are those of the stored half-precision weights
    probabilities, features = net.judge(test.images)
    accuracy = float((probabilities.argmax(1) == test.columns["label"]).mean())
    _, train_features = net.judge(train.images[:1000])
    exact = features.astype(np.float64)
    reference = path.with_name("digits_reference.npz")
    np.savez_compressed(
        reference,
        test_features=features[:2000].astype(np.float16),
        test_label=test.columns["label"][:2000],
        train_features=train_features.astype(np.float16),
        train_label=train.columns["label"][:1000],
        mean=exact.mean(0).astype(np.float32),
        cov=np.cov(exact, rowvar=False).astype(np.float32),
        count=np.int64(len(exact)),
        accuracy=np.float64(accuracy),
    )
    parameters = sum(p.numel() for p in net.parameters())
    spent = time.monotonic() - start
    print(f"{parameters} parameters, {len(test)} real test digits: accuracy {accuracy:.4f}, {spent:.0f} s")
    for file in (path, reference):
        print(file, file.stat().st_size)


if __name__ == "__main__":
    main()
