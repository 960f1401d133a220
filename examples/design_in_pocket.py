"""Ligands inside a protein pocket, from a structure file to an SDF.

    langevin train experiment=pocket_demo data.path=pockets.tar.xz out=runs/pocket-demo     # 40 minutes of one core
    python examples/design_in_pocket.py runs/pocket-demo 1abc.pdb A:LIG:401
    python examples/design_in_pocket.py runs/pocket-demo 1abc.pdb reference.sdf

The ligand that is named says where the pocket is; the model sees the protein alone. Without a file the first complex of
$LANGEVIN_DATA/molecules/pockets.tar.xz is taken.
"""

import os
import sys
import tarfile
from pathlib import Path

import langevin as lv
from langevin.modalities.molecule.contacts import contacts
from langevin.modalities.molecule.design import design
from langevin.modalities.molecule.files import write_sdf
from langevin.modalities.molecule.pockets import read_pocket

if len(sys.argv) < 2:
    raise SystemExit(__doc__)
model, out, given = lv.load(sys.argv[1]), Path("runs/design"), sys.argv[2:]
out.mkdir(parents=True, exist_ok=True)
if not given:
    archive = Path(os.environ.get("LANGEVIN_DATA", "data")) / "molecules" / "pockets.tar.xz"
    if not archive.is_file():
        raise SystemExit(f"no structure file was given, and there is no {archive} (set LANGEVIN_DATA)")
    with tarfile.open(archive) as held:
        first = min(name for name in held.getnames() if name.endswith("pdb/5sak_ZRY/pocket.pdb"))
        for name in ("pocket.pdb", "ligand.sdf"):
            file = held.extractfile(first.replace("pocket.pdb", name))
            assert file is not None
            (out / name).write_bytes(file.read())
    given = [str(out / "pocket.pdb"), str(out / "ligand.sdf")]

structure, ligand = given
samples = design(model, structure, n=16, ligand=ligand, seed=0)
found = [mol for mol in samples if not isinstance(mol, lv.Failure)]
print(f"{len(found)} of {len(samples)} are molecules")
pocket = read_pocket(structure, ligand if ":" in ligand else samples.modality.read(Path(ligand)))
for mol in found:
    seen = contacts(mol, pocket)
    mol.SetIntProp("clashes", seen.clashes)
    mol.SetDoubleProp("contacts per atom", round(seen.contacts, 2))
found.sort(key=lambda mol: mol.GetIntProp("clashes"))
if found:
    write_sdf(found, out / "ligands.sdf")
    print(out / "ligands.sdf")
