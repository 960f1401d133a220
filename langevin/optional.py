"""The one place where heavy packages are imported: ``optional.diffusers()`` is the module.

Call these inside the function that needs the package, never at module scope, so that ``import langevin``
and the command line's help stay light.

torchaudio's compiled part refuses to load beside a torch of another build (a CUDA wheel beside the CPU
build of torch), with OSError; and because transformers imports torchaudio wherever it is installed, and
diffusers imports transformers, all three fail. So before any of them is imported, :func:`mend_torchaudio`
tries the native import and, where that fails, imports torchaudio again with a stand-in for its
``_extension`` module. Everything that is written in Python then works (mel spectrograms, resampling,
Griffin–Lim, lfilter); forced alignment and the CUDA decoder do not, and say so.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "BrokenPackage",
    "MissingPackage",
    "TorchaudioState",
    "accelerate",
    "av",
    "biopython",
    "diffusers",
    "hydra",
    "ipython",
    "matplotlib",
    "meeko",
    "mend_torchaudio",
    "peft",
    "posebusters",
    "pyloudnorm",
    "rdkit",
    "safetensors",
    "scipy",
    "soundfile",
    "status",
    "tensorboard",
    "tmtools",
    "torchaudio",
    "torchmetrics",
    "transformers",
    "vina",
]

TorchaudioState = Literal["native", "python-only", "broken", "absent"]
STUB = "torchaudio._extension"
LOCK = threading.RLock()


class MissingPackage(ImportError):
    """A package that is not installed; the message says what it is for and how to install it."""


class BrokenPackage(ImportError):
    """A package that is installed and cannot be imported; the message gives its own reason."""


@dataclass(frozen=True)
class Package:
    """How a heavy package is called and imported.

    Attributes:
        module: what is imported.
        distribution: what pip installs.
        use: what langevin uses it for, to complete "… is needed for".
        after_torchaudio: it may import torchaudio, which has to be mended first.
        beside: what pip is to install with it: it is of use with these alone, or does not name them itself.
    """

    module: str
    distribution: str
    use: str
    after_torchaudio: bool = False
    beside: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install {' '.join((self.distribution, *self.beside))}"

    def __call__(self) -> types.ModuleType:
        """The module.

        Raises:
            MissingPackage: it is not installed.
            BrokenPackage: it is installed and its import fails.
        """
        with LOCK:
            if self.module in sys.modules:
                return sys.modules[self.module]
            if not _installed(self.module):
                raise MissingPackage(
                    f"{self.distribution} is needed for {self.use}; install it with: {self.install}"
                )
            if self.after_torchaudio:
                mend_torchaudio()
            try:
                return importlib.import_module(self.module)
            except (ImportError, OSError, RuntimeError, AttributeError) as error:
                raise BrokenPackage(
                    f"{self.distribution} is installed but cannot be imported "
                    f"({type(error).__name__}: {error}); see `langevin doctor`"
                ) from error


torchaudio = Package("torchaudio", "torchaudio", "spectrograms and resampling", after_torchaudio=True)
transformers = Package("transformers", "transformers", "pretrained text encoders", after_torchaudio=True)
diffusers = Package("diffusers", "diffusers", "pretrained pipelines", after_torchaudio=True)
peft = Package("peft", "peft", "low-rank adapters of pretrained pipelines", after_torchaudio=True)
torchmetrics = Package("torchmetrics", "torchmetrics", "some metrics", after_torchaudio=True)
accelerate = Package("accelerate", "accelerate", "training on several devices", after_torchaudio=True)
hydra = Package("hydra", "hydra-core", "composing training configurations")
safetensors = Package("safetensors", "safetensors", "reading and writing weights")
rdkit = Package("rdkit", "rdkit", "molecules")
vina = Package("vina", "vina", "Vina's scores", beside=("meeko", "gemmi"))
meeko = Package("meeko", "meeko", "Vina's scores", beside=("vina", "gemmi"))
posebusters = Package("posebusters", "posebusters", "PoseBusters' tests of molecules")
biopython = Package("Bio", "biopython", "protein structures")
tmtools = Package("tmtools", "tmtools", "TM-scores of proteins")
matplotlib = Package("matplotlib", "matplotlib", "figures")
scipy = Package("scipy", "scipy", "optimisation and statistics")
tensorboard = Package("tensorboard", "tensorboard", "training curves")
soundfile = Package("soundfile", "soundfile", "reading and writing sound files")
av = Package("av", "av", "reading and writing video, and sound in its containers")
pyloudnorm = Package("pyloudnorm", "pyloudnorm", "loudness by ITU-R BS.1770")
ipython = Package("IPython", "ipython", "players in notebooks")


def mend_torchaudio() -> TorchaudioState:
    """Make ``import torchaudio`` work, and everything that imports it.

    Returns:
        "native": its compiled part loads. "python-only": a stand-in took its place. "broken": it cannot be
        imported even so. "absent": it is not installed.
    """
    with LOCK:
        if "torchaudio" in sys.modules:
            return "python-only" if hasattr(sys.modules.get(STUB), "langevin_reason") else "native"
        if not _installed("torchaudio"):
            return "absent"
        try:
            importlib.import_module("torchaudio")
            return "native"
        except Exception as error:  # OSError from the linker, RuntimeError or ImportError from its own checks
            reason = f"{type(error).__name__}: {error}"
        _forget_torchaudio()
        sys.modules[STUB] = _stub(reason)
        try:
            importlib.import_module("torchaudio")
            return "python-only"
        except Exception:
            _forget_torchaudio()
            return "broken"


def torchaudio_reason() -> str | None:
    """Why torchaudio's compiled part did not load, where it was replaced."""
    return getattr(sys.modules.get(STUB), "langevin_reason", None)


def status() -> dict[str, str | None]:
    """The installed version of every package that langevin may use, or None; imports nothing."""
    found: dict[str, str | None] = {}
    for name in ("torch", "einops", "numpy", "pyyaml", "pillow", "tqdm", *sorted(_PACKAGES)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def install(name: str) -> str:
    """The command that installs a package of :func:`status`."""
    return _PACKAGES[name].install if name in _PACKAGES else f"pip install {name}"


_PACKAGES = {value.distribution: value for value in list(globals().values()) if isinstance(value, Package)}


def _installed(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None


def _forget_torchaudio() -> None:
    for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
        del sys.modules[name]


def _stub(reason: str) -> types.ModuleType:
    """A stand-in for torchaudio._extension that loads nothing and refuses what needs compiled code."""
    stub: Any = types.ModuleType(STUB, "Stands in for torchaudio's compiled part, which did not load.")
    stub.__spec__ = importlib.machinery.ModuleSpec(STUB, loader=None, is_package=True)
    stub.__path__ = []
    stub.langevin_reason = reason
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = stub._IS_RIR_AVAILABLE = False
    stub._check_cuda_version = lambda: None
    stub._load_lib = lambda library: False

    def fail(function: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError(
                f"{function.__name__} needs torchaudio's compiled part, which did not load ({reason})"
            )

        return refuse

    stub.fail_if_no_align = stub.fail_if_no_rir = fail
    return stub
