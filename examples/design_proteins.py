"""Backbones of proteins: new ones, a scaffold for a motif, three chains around an axis, and a sequence for a backbone.

Run it as it is; a motif of your own is taken with a contig in RFdiffusion's language:

    python examples/design_proteins.py
    python examples/design_proteins.py --input my.pdb --contig "10-20/A163-181/10-20"

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

given = lv.keep.leaves("positions", "frames", "secondary")
sequences = model.sample(4, like=new.valid[0], keep=given, seed=3, **how)
sequences.save(args.out / "sequences", overwrite=True)
print(args.out / "new.html", args.out / "scaffolds.html", args.out / "scaffolds" / "designs.json", sep="\n")
