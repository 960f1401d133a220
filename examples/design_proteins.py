"""Backbones of proteins: new ones, a scaffold for a motif, three chains around an axis, a binder, variations, sequences.

Run it as it is; a motif of your own is taken with a contig in RFdiffusion's language:

    python examples/design_proteins.py
    python examples/design_proteins.py --input my.pdb --contig "10-20/A63-81/10-20" --binder "40/0 A1-90" --hotspots A70,A74

Writes PDB files, designs.json with what became of each residue of the input, and a page to look at them.
"""

import argparse
from pathlib import Path

import langevin as lv
from langevin.modalities.protein.design import design

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", default="protein-backbone", help="a shipped model, or a folder")
parser.add_argument("--input", help="a PDB or mmCIF file with the motif; one of the new backbones by default")
parser.add_argument("--contig", default="10-20/A20-35/10-20")
parser.add_argument("--binder", help="a contig: a chain that is built, and the target that stays")
parser.add_argument("--hotspots", default="A22,A26", help="residues that the binder should touch")
parser.add_argument("--length", type=int, default=80, help="residues of the new backbones")
parser.add_argument("--steps", type=int, help="of the sampler")
parser.add_argument("--out", type=Path, default=Path("runs/proteins"))
args = parser.parse_args()

model = lv.load(args.model)
how = {} if args.steps is None else {"steps": args.steps}
new = model.sample(4, length=args.length, seed=0, **how)
new.save(args.out / "new", overwrite=True)
new.report(args.out / "new.html")

motif = args.input or new.valid[0]
scaffolds = design(model, args.contig, motif, n=4, seed=1, **how)
scaffolds.save(args.out / "scaffolds", overwrite=True)
scaffolds.report(args.out / "scaffolds.html")

ring = design(model, "120", symmetry="C3", seed=2, **how)
ring.save(args.out / "ring", overwrite=True)

# the target stays as it is, and a chain of 40 residues is drawn beside it
binders = design(
    model, args.binder or f"40/0 A1-{args.length}", motif, n=2, hotspots=args.hotspots, seed=4, **how
)
binders.save(args.out / "binders", overwrite=True)
binders.report(args.out / "binders.html")

# noised to t = 0.3 and redrawn: variations on the first backbone
near = design(model, str(args.length), new.valid[0], partial=0.3, n=4, seed=5, **how)
near.save(args.out / "variations", overwrite=True)

given = lv.keep.leaves("positions", "frames", "secondary")
sequences = model.sample(4, like=new.valid[0], keep=given, seed=3, **how)
sequences.save(args.out / "sequences", overwrite=True)
print(args.out / "new.html", args.out / "scaffolds.html", args.out / "scaffolds" / "designs.json", sep="\n")
print(args.out / "binders.html", args.out / "binders" / "scores.csv", sep="\n")
