"""Heavy packages come through one door, which mends torchaudio and says what to install."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from langevin import optional


def run(script: str) -> str:
    """The output of a script in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_transformers_and_diffusers_import_and_torchaudio_computes() -> None:
    out = run("""
        from langevin import optional
        assert optional.transformers().CLIPTextModel.__name__ == "CLIPTextModel"
        assert optional.diffusers().DDIMScheduler.__name__ == "DDIMScheduler"
        import torch
        audio = optional.torchaudio()
        mel = audio.transforms.MelSpectrogram(sample_rate=16000, n_fft=256, n_mels=16)
        sine = torch.sin(torch.arange(16000) * 2 * torch.pi * 440 / 16000)
        frames = mel(sine)
        assert frames.shape == (16, 126) and bool(frames.isfinite().all()) and float(frames.max()) > 1
        half = audio.functional.resample(sine, 16000, 8000)
        expected = torch.sin(torch.arange(8000) * 2 * torch.pi * 440 / 8000)
        assert half.shape == (8000,) and float((half - expected)[100:-100].abs().max()) < 1e-2
        filtered = audio.functional.lfilter(sine, torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]))
        assert torch.allclose(filtered, 0.5 * sine)
        print(optional.mend_torchaudio())
    """)
    assert out.strip() in ("native", "python-only")


PACKAGE = {
    "__init__.py": "from . import late, _extension\nfrom ._extension import _IS_ALIGN_AVAILABLE\n",
    "late.py": "",
    "_extension/__init__.py": "raise OSError('libcudart.so.13: cannot open shared object file')\n",
}


@pytest.mark.parametrize(
    ("late", "said"),
    [("", ["python-only", "python-only", "True", "True"]), ("1 / 0", ["broken", "broken", "False", "False"])],
    ids=["its compiled part is replaced", "anything else that is wrong with it is not hidden"],
)
def test_a_torchaudio_that_does_not_load(tmp_path: Path, late: str, said: list[str]) -> None:
    for name, text in {**PACKAGE, "late.py": late}.items():
        path = tmp_path / "torchaudio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    out = run(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from langevin import optional
        print(optional.mend_torchaudio(), optional.mend_torchaudio())
        print("libcudart" in (optional.torchaudio_reason() or ""), "torchaudio" in sys.modules)
    """)
    assert out.split() == said


def test_an_absent_package_says_how_to_install_it() -> None:
    package = optional.Package("langevin_no_such_module", "no-such-distribution", "nothing")
    with pytest.raises(
        optional.MissingPackage, match="needed for nothing; install it with: pip install no-such-dist"
    ):
        package()


def test_what_is_of_use_together_is_installed_together() -> None:
    assert optional.vina.install == optional.install("vina") == "pip install vina meeko gemmi"
    assert optional.meeko.install == "pip install meeko vina gemmi"
    assert optional.install("tqdm") == "pip install tqdm" and optional.install("rdkit") == "pip install rdkit"
    assert {"vina", "meeko", "posebusters"} <= set(optional.status())


def test_a_broken_package_gives_its_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "langevin_broken_module.py").write_text("raise RuntimeError('half a wheel')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(optional.BrokenPackage, match="RuntimeError: half a wheel"):
        optional.Package("langevin_broken_module", "broken", "nothing")()


def test_the_status_names_versions_without_importing() -> None:
    out = run("""
        import sys
        from langevin import optional
        found = optional.status()
        print(found["torch"] is not None, "soundfile" in found, "torch" in sys.modules)
    """)
    assert out.split() == ["True", "True", "False"]
