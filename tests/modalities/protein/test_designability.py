"""Self-consistency, with a stand-in for ProteinMPNN and an ESMFold of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from langevin import optional
from langevin.modalities.base import Failure
from langevin.modalities.protein import metrics
from langevin.modalities.protein.metrics.designability import Folded
from langevin.modalities.protein.protein import join

# Writes what ProteinMPNN writes: the input first, then as many sequences as were asked for.
STAND_IN = """
import argparse, pathlib
parser = argparse.ArgumentParser()
for name in ("pdb_path", "out_folder", "num_seq_per_target", "sampling_temp", "seed", "batch_size"):
    parser.add_argument("--" + name, required=True)
options = parser.parse_args()
lines = open(options.pdb_path).read().splitlines()
n = sum(line.startswith("ATOM") and line[12:16].strip() == "CA" for line in lines)
folder = pathlib.Path(options.out_folder) / "seqs"
folder.mkdir(parents=True)
text = ">design, score=2.1, global_score=2.1, fixed_chains=[], designed_chains=['A']\\n" + "G" * n + "\\n"
for k in range(int(options.num_seq_per_target)):
    text += f">T={options.sampling_temp}, sample={k + 1}, score=0.9, seq_recovery=0.1\\n" + "ACDEFGHIKL"[k] * n + "\\n"
(folder / (pathlib.Path(options.pdb_path).stem + ".fa")).write_text(text)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "ProteinMPNN"
    folder.mkdir()
    (folder / "protein_mpnn_run.py").write_text(STAND_IN)
    return folder


def test_the_lowest_rmsd_of_the_designed_sequences_counts(program: Path) -> None:
    design = metrics.helix(30)

    def fold(sequence: str) -> Folded:
        wrong = 8.0 * np.random.default_rng(0).standard_normal((30, 3)) * (sequence[0] != "C")
        return Folded(design.backbone[:, 1] + wrong, 80.0)

    rows = metrics.self_consistency(
        [design, Failure("none"), join([design, metrics.random_walk(5, np.random.default_rng(0))])[:30]],
        proteinmpnn=program,
        esmfold=fold,
        sequences=3,
    )
    assert rows[0].sequences == ("A" * 30, "C" * 30, "D" * 30)
    assert rows[0].best < 1e-3 < 2 < rows[0].rmsd[0] and rows[0].designable and rows[2].designable
    assert rows[1].reason == "not decoded" and rows[1].best == np.inf and not rows[1].designable


def test_without_the_programs_there_is_an_error_with_the_command(tmp_path: Path, program: Path) -> None:
    with pytest.raises(FileNotFoundError, match="git clone https://github.com/dauparas/ProteinMPNN"):
        metrics.self_consistency([], proteinmpnn=tmp_path, esmfold=lambda s: Folded(np.zeros((1, 3)), 0.0))
    with pytest.raises(FileNotFoundError, match="esmfold_v1"):
        metrics.self_consistency([], proteinmpnn=program, esmfold=tmp_path)
    (program / "protein_mpnn_run.py").write_text(STAND_IN.replace("[k] * n", "[k] * (n - 1)"))
    with pytest.raises(
        RuntimeError, match="does not fit its backbone: .*design.fa: .* has 9 residues and the first one 10"
    ):
        metrics.self_consistency(
            [metrics.helix(10)], proteinmpnn=program, esmfold=lambda s: Folded(np.zeros((1, 3)), 0.0)
        )
    (program / "protein_mpnn_run.py").write_text("raise SystemExit('no weights')")
    with pytest.raises(RuntimeError, match="(?s)protein_mpnn_run.py.*no weights"):
        metrics.self_consistency(
            [metrics.helix(10)], proteinmpnn=program, esmfold=lambda s: Folded(np.zeros((1, 3)), 0.0)
        )


def test_designs_without_a_sequence_of_their_own_have_a_reason() -> None:
    found = metrics.self_consistency(
        [metrics.helix(10)], proteinmpnn=None, esmfold=lambda s: Folded(np.zeros((1, 3)), 0.0)
    )
    assert found[0].reason == "no sequence" and found[0].rmsd == ()


def test_the_command() -> None:
    command = metrics.proteinmpnn_command("mpnn", "a.pdb", "out", sequences=2, ca_only=True, python="python3")
    assert command[:2] == ["python3", str(Path("mpnn/protein_mpnn_run.py"))]
    assert " ".join(command[2:]) == (
        "--pdb_path a.pdb --out_folder out --num_seq_per_target 2 --sampling_temp 0.1 --seed 37 --batch_size 1 --ca_only"
    )


@pytest.mark.slow
def test_esmfold_folds_from_a_local_folder(tmp_path: Path) -> None:
    transformers = optional.transformers()
    module = {"sequence_dim": 16, "pairwise_dim": 8, "ipa_dim": 4, "resnet_dim": 8, "num_heads_ipa": 2}
    module |= {"num_qk_points": 2, "num_v_points": 2, "num_blocks": 1, "num_resnet_blocks": 1}
    trunk = {"num_blocks": 1, "sequence_state_dim": 16, "pairwise_state_dim": 8, "sequence_head_width": 8}
    trunk |= {"pairwise_head_width": 4, "position_bins": 4, "max_recycles": 1, "structure_module": module}
    config = transformers.EsmConfig(
        vocab_size=33,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        position_embedding_type="rotary",
        pad_token_id=1,
        mask_token_id=32,
        is_folding_model=True,
        esmfold_config={"fp16_esm": False, "lddt_head_hid_dim": 8, "trunk": trunk},
    )
    torch.manual_seed(0)
    transformers.EsmForProteinFolding(config).save_pretrained(tmp_path / "esmfold")
    fold = metrics.Folder(tmp_path / "esmfold")
    found = fold("ACDEFGHIKLMN")
    assert found.ca.shape == (12, 3) and np.isfinite(found.ca).all() and 0 <= found.plddt <= 100
    transformers.EsmConfig(vocab_size=33).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="does not fold"):
        metrics.Folder(tmp_path / "other")
