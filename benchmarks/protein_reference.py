"""Measures the training chains of an archive, for the metrics of proteins to compare with.

    python -m benchmarks.protein_reference ../shared/data/proteins/proteins.npz

Writes langevin/modalities/protein/metrics/reference.json, or another file with --out.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np

from langevin.modalities.protein.archives import read_archive
from langevin.modalities.protein.metrics.reference import FILE, measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    chains = read_archive(options.archive, split="train")
    found = measured(
        [(protein.backbone.astype(np.float64), protein.types.astype(np.int64)) for protein in chains],
        f"{len(chains)} training chains of {options.archive.name}",
    )
    options.out.write_text(_text(asdict(found)), encoding="utf-8")


def _text(values: dict[str, object]) -> str:
    """JSON with the innermost lists on one line each."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


if __name__ == "__main__":
    main()
