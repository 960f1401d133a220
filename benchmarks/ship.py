"""Put a trained model among those that ship: its folder, and a card with data, licence, command, figures and loss curve.

    python benchmarks/ship.py runs/image-digits --figures digits.json --about digits.md

``figures`` is what shipped_models.py, shipped_sounds.py, shipped_clips.py, shipped_molecules.py or shipped_proteins.py wrote
with --out; ``about`` is the prose that a person wrote about the model, with its data and what it should not be used for.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langevin import folders, hub

SHIPPED = hub.SHIPPED
MEASURED = {
    "image": "shipped_models.py",
    "audio": "shipped_sounds.py",
    "molecule": "shipped_molecules.py",
    "video": "shipped_clips.py",
    "protein": "shipped_proteins.py",
}


def cell(value: Any) -> str:
    """A cell of a table: numbers to four digits, estimates with their interval."""
    if isinstance(value, dict) and "value" in value:
        return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def table(tree: dict[str, Any]) -> str:
    """A table as Markdown, its caption below."""
    rows = tree["rows"]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(c)) for c in columns) + " |" for row in rows]
    return "\n".join(lines) + f"\n\n{tree.get('caption', '')}\n"


def curve(path: Path, points: int = 12) -> str:
    """The loss curve of a run, thinned."""
    rows = list(csv.DictReader(path.open()))
    chosen: Sequence[int] = sorted({round(i * (len(rows) - 1) / (points - 1)) for i in range(points)})
    steps = " | ".join(rows[i]["step"] for i in chosen)
    losses = " | ".join(f"{float(rows[i]['loss']):.4f}" for i in chosen)
    return f"| step | {steps} |\n|{'---|' * (len(chosen) + 1)}\n| loss | {losses} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--about", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="a picture that the text of --about shows as held-out.png")
    options = parser.parse_args()
    info = hub.info(options.folder)
    config = folders.read_config(options.folder)
    name = str(config["name"])
    training, sampling = config["training"], {k: v for k, v in config["sampling"].items() if k != "density"}
    conditions = ", ".join(info.conditions) or "none"
    summary = str(config["summary"])
    protein = config["modality"]["name"] == "protein"
    seeds = "Design k has the seed k" if protein else "Consecutive samples of seed 0"
    began = ", begun from the weights of a model before" if training.get("start") else ""
    parts = [
        f"# {name}\n",
        f"{summary[0].upper()}{summary[1:]}. {info.parameters:,} parameters; conditions: {conditions}.\n",
        options.about.read_text().strip() + "\n",
        "## Licence\n",
        f"{info.licence}. {info.attribution.rstrip('.')}.\n",
        "## Training\n",
        f"`langevin train experiment={name.replace('-', '_')}`{began}: {training['steps']:,} steps of {training['batch']}, "
        f"{training['optimizer']}, learning rate {training['lr']}, seed {training['seed']}; the weights are the average of "
        f"relative width {training['average'][0]}, stored in half precision.\n",
        curve(options.folder / "log.csv"),
        "## Figures\n",
        f"{seeds}, none left out, one setting for every line: {sampling}. "
        f"Made by `benchmarks/{MEASURED[config['modality']['name']]}`.\n",
        *[table(tree) for tree in json.loads(options.figures.read_text())],
    ]
    target = SHIPPED / name
    target.mkdir(parents=True, exist_ok=True)
    for file in (folders.CONFIG, folders.WEIGHTS):
        shutil.copyfile(options.folder / file, target / file)
    if options.sheet:
        shutil.copyfile(options.sheet, target / "held-out.png")
    folders.write_atomic(target / folders.CARD, "\n".join(parts))
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    print(f"{target}; all shipped models: {size / 2**20:.1f} MiB of 32")


if __name__ == "__main__":
    main()
