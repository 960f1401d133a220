"""A model of your own molecules: a shipped one is trained further on an SDF, with one of its data items as a condition.

Without a file it makes one: small nitriles, placed by ETKDG and MMFF, with their logP. A model that trains for minutes leans
towards your molecules; for one that knows them well, give it many more steps.

    python examples/train_on_your_sdf.py my.sdf --property pIC50 --steps 5000
    python examples/train_on_your_sdf.py
"""

import argparse
from pathlib import Path

from rdkit import Chem
from rdkit.Chem.Crippen import MolLogP

import langevin as lv
from langevin.modalities.molecule.conformers import of_smiles
from langevin.modalities.molecule.files import write_sdf

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("sdf", nargs="?", help="your molecules, with conformers")
parser.add_argument("--property", default="logP", help="a data item with a number (logP)")
parser.add_argument("--steps", type=int, default=150)
args = parser.parse_args()
out = Path("runs/train_on_your_sdf")

if args.sdf is None:
    chains = ("C", "CC", "CCC", "C(C)", "C(C)C", "C1CC1", "CC(C)", "CC1CC1", "CCCC", "C=CC")
    tails = ("", "O", "N", "OC", "NC", "C=O", "CO", "C(N)=O", "C#C", "C(C)=O", "CCC", "C#N")
    mols = [of_smiles(f"N#C{chain}{tail}") for chain in chains for tail in tails]
    out.mkdir(parents=True, exist_ok=True)
    args.sdf = out / "nitriles.sdf"
    write_sdf(mols, args.sdf, rows=[{"logP": MolLogP(mol)} for mol in mols])

options = {"properties": {"asked": args.property}}  # a condition of this name
model = lv.train(
    args.sdf, "molecule", start="molecule-qm9", steps=args.steps, options=options, out=out / "model",
    batch=32, warmup=10, watch=print,
)  # fmt: skip
values = model.modality.conditions["asked"]
for value in (values.mean - values.std, values.mean + values.std):
    drawn = model.sample(16, asked=round(float(value), 2), guidance=2.0, seed=0)
    drawn.save(out / f"{args.property}={value:.1f}", overwrite=True)
    names = [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in drawn.valid]
    print(f"{args.property} {value:.2f} asked, {len(names)} of 16 decoded:", *names)
    if args.property == "logP":
        print(f"logP {sum(map(MolLogP, drawn.valid)) / max(1, len(names)):.2f} on average")
drawn.report(out / "report.html")
print(out / "report.html")
