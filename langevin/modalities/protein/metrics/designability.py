"""Self-consistency: does a sequence made for a backbone fold back into it, says a structure predictor?

For each backbone ProteinMPNN (Dauparas et al. 2022, Science 378, 49) designs a few sequences, ESMFold (Lin et al. 2023,
Science 379, 1123) predicts the structure of each, and scRMSD is the RMSD of its CA from those of the backbone after
superposition. A design is counted as designable if the lowest scRMSD of its sequences is below 2 Å (Watson et al. 2023,
Nature 620, 1089; Yim et al. 2023, arXiv 2302.02277: 8 sequences). Published shares differ with the number of sequences,
their temperature, and CA-only sequence design: state them.

Neither program is part of this package, and nothing is fetched. What is needed:

    git clone https://github.com/dauparas/ProteinMPNN                          a program with its weights
    huggingface-cli download facebook/esmfold_v1 --local-dir esmfold_v1        8 GB; a GPU is wanted

    metrics.self_consistency(designs, proteinmpnn="ProteinMPNN", esmfold="esmfold_v1")

:func:`proteinmpnn_command` is the command that is run. Without the two there is an error, and no figure takes their place.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from langevin import optional
from langevin.core.progress import bar
from langevin.modalities.base import Failure
from langevin.modalities.protein.metrics.similarity import superposed
from langevin.modalities.protein.mpnn import read_sequences, with_sequences
from langevin.modalities.protein.protein import ALPHABET, Protein, of_structure

__all__ = [
    "DESIGNABLE",
    "Consistency",
    "Folded",
    "Folder",
    "proteinmpnn_command",
    "self_consistency",
]

DESIGNABLE = 2.0  # Å
SCRIPT = "protein_mpnn_run.py"
GET_MPNN = "git clone https://github.com/dauparas/ProteinMPNN"
GET_ESMFOLD = "huggingface-cli download facebook/esmfold_v1 --local-dir esmfold_v1"


class Folded(NamedTuple):
    """A prediction.

    Attributes:
        ca: (n, 3), Å.
        plddt: mean confidence, 0 … 100.
    """

    ca: NDArray[np.float64]
    plddt: float


@dataclass(frozen=True)
class Consistency:
    """What became of one design.

    Attributes:
        sequences: those that were folded.
        rmsd: scRMSD of each, Å.
        plddt: of each.
        reason: why there are none.
    """

    sequences: tuple[str, ...] = ()
    rmsd: tuple[float, ...] = ()
    plddt: tuple[float, ...] = ()
    reason: str = ""

    @property
    def best(self) -> float:
        """The lowest scRMSD; infinite where nothing was folded."""
        return min(self.rmsd, default=float("inf"))

    @property
    def designable(self) -> bool:
        """Whether it is below 2 Å."""
        return self.best < DESIGNABLE


class Folder:
    """ESMFold from a local folder, as the transformers package has it.

    Args:
        folder: with config.json and weights.
        device: for torch.

    Raises:
        FileNotFoundError: no such folder; the message has the command that fetches one.
        ValueError: the folder holds no ESMFold.
    """

    def __init__(self, folder: str | Path, device: str | torch.device = "cpu") -> None:
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"no ESMFold in {str(path)!r}; get it with: {GET_ESMFOLD}")
        transformers = optional.transformers()
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
        if not getattr(config, "is_folding_model", False):
            raise ValueError(f"{path} holds a model of the type {config.model_type!r}, which does not fold")
        self.network = transformers.EsmForProteinFolding.from_pretrained(path, local_files_only=True)
        self.network.to(device).eval()

    @torch.no_grad()
    def __call__(self, sequence: str) -> Folded:
        """The predicted structure of a single chain."""
        found = self.network.infer(sequence)
        ca = found["positions"][-1, 0, :, 1].double().cpu().numpy()  # of the last block, atom 1 of 14
        return Folded(ca, 100 * float(found["plddt"][0, :, 1].mean()))


def proteinmpnn_command(
    program: str | Path,
    pdb: str | Path,
    out: str | Path,
    *,
    sequences: int = 8,
    temperature: float = 0.1,
    seed: int = 37,
    ca_only: bool = False,
    python: str = sys.executable,
) -> list[str]:
    """The command that designs sequences for all chains of a PDB file; it writes ``out/seqs/<name>.fa``.

    Args:
        program: the folder of ProteinMPNN, or its script.
        pdb: the backbone.
        out: a folder.
        sequences: how many.
        temperature: at which they are drawn.
        seed: of ProteinMPNN; it takes 0 for a random one.
        ca_only: with the weights that see CA alone.
        python: that has torch.
    """
    path = Path(program)
    script = path if path.suffix == ".py" else path / SCRIPT
    command = [python, str(script), "--pdb_path", str(pdb), "--out_folder", str(out)]
    command += ["--num_seq_per_target", str(sequences), "--sampling_temp", str(temperature)]
    command += ["--seed", str(seed), "--batch_size", "1"]
    return [*command, "--ca_only"] if ca_only else command


def self_consistency(
    items: Sequence[Any],
    *,
    proteinmpnn: str | Path | None,
    esmfold: str | Path | Callable[[str], Folded],
    sequences: int = 8,
    temperature: float = 0.1,
    seed: int = 37,
    ca_only: bool = False,
    device: str | torch.device = "cpu",
    python: str = sys.executable,
    show: bool | None = None,
) -> list[Consistency]:
    """scRMSD of designs of one chain each.

    Args:
        items: Biopython structures, proteins and failures.
        proteinmpnn: its folder or script; None folds the sequences that the designs have.
        esmfold: its folder, a :class:`Folder`, or another predictor from sequences to :class:`Folded`.
        sequences, temperature, seed, ca_only, python: of :func:`proteinmpnn_command`.
        device: for ESMFold from a folder.
        show: a bar on standard error; None asks whether that is a terminal.

    Returns:
        One for each item; a failure, a design of several chains, and one without a sequence where its own is to be
        folded, have a reason and an infinite scRMSD.

    Raises:
        FileNotFoundError: one of the programs is not there; the message has the command that gets it.
        RuntimeError: ProteinMPNN failed, and the message has its command and the end of what it said; or its sequences do
            not fit.
    """
    if proteinmpnn is not None:
        command = proteinmpnn_command(proteinmpnn, "design.pdb", "out")
        if not Path(command[1]).is_file():
            raise FileNotFoundError(f"no ProteinMPNN at {command[1]!r}; get it with: {GET_MPNN}")
    fold = esmfold if callable(esmfold) else Folder(esmfold, device)
    found = []
    for item in bar(items, len(items), "self-consistency", show):
        if isinstance(item, Failure):
            found.append(Consistency(reason="not decoded"))
            continue
        protein = item if isinstance(item, Protein) else of_structure(item)
        if len(protein.chain_ids) != 1:
            found.append(Consistency(reason="several chains"))
            continue
        own = protein.sequence
        if proteinmpnn is None and not set(own) <= set(ALPHABET):
            found.append(Consistency(reason="no sequence"))
            continue
        tried = (
            [own]
            if proteinmpnn is None
            else _designed(
                protein,
                proteinmpnn,
                sequences=sequences,
                temperature=temperature,
                seed=seed,
                ca_only=ca_only,
                python=python,
            )
        )
        folded = [fold(sequence) for sequence in tried]
        ca = protein.backbone[:, 1]
        found.append(
            Consistency(
                tuple(tried),
                tuple(superposed(one.ca, ca)[2] for one in folded),
                tuple(one.plddt for one in folded),
            )
        )
    return found


def _designed(protein: Protein, program: str | Path, **options: Any) -> list[str]:
    """Sequences by ProteinMPNN, run in a folder of its own."""
    from langevin.modalities.protein.writing import write_pdb

    with tempfile.TemporaryDirectory() as folder:
        pdb, out = Path(folder) / "design.pdb", Path(folder) / "out"
        write_pdb(protein, pdb)
        command = proteinmpnn_command(program, pdb, out, **options)
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        fasta = out / "seqs" / "design.fa"
        if ran.returncode or not fasta.is_file():
            said = (ran.stderr or ran.stdout).strip()[-500:]
            raise RuntimeError(f"ProteinMPNN failed: {' '.join(command)}\n{said}")
        try:
            return [with_sequences(protein, record).sequence for record in read_sequences(fasta)]
        except ValueError as error:
            raise RuntimeError(f"ProteinMPNN wrote what does not fit its backbone: {error}") from None
