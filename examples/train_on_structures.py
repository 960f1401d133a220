"""A model of your own proteins, trained on a folder of PDB and mmCIF files.

Without a folder it makes one: designs of the model that ships, drawn in a minute. A model that trains for minutes has only
seen what a residue and a helix are; a good one takes thousands of chains and hours, or `start=` a shipped one.

    python examples/train_on_structures.py my/structures --steps 20000
    python examples/train_on_structures.py
"""

import argparse
from pathlib import Path

import langevin as lv
from langevin.modalities.protein.metrics.plausible import measure
from langevin.modalities.protein.protein import of_structure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "folder", nargs="?", help="your structures; chains are cut at breaks and to 40-128 residues"
)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--width", type=int, default=64, help="of the network")
args = parser.parse_args()
out = Path("runs/train_on_structures")

if args.folder is None:
    args.folder = out / "structures"
    lv.load("protein-backbone").sample(24, length=48, seed=0, steps=25).save(args.folder, overwrite=True)

network = {
    "name": "ipa",
    "width": args.width,
    "depth": 3,
    "heads": 4,
    "axes": 1,
    "mlp_ratio": 3.0,
    "modulation": "shared",
}
model = lv.train(
    args.folder, "protein", steps=args.steps, out=out / "model", model={"name": "mine", "network": network},
    batch=8, warmup=20, watch=print,
)  # fmt: skip
drawn = model.sample(4, seed=0)
drawn.save(out / "drawn", overwrite=True)
drawn.report(out / "report.html")
for item in drawn.valid:
    found = measure(of_structure(item))
    print(
        f"{found.residues} residues, {found.right['CA–CA']} of {found.bonds} CA–CA distances as in real chains"
    )
print(out / "report.html")
