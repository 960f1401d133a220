"""``langevin train``: hydra composes the configuration, :func:`langevin.train_api.run` trains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(overrides: list[str]) -> int:
    """Runs hydra over ``configs/train.yaml`` with these overrides (``--multirun`` sweeps).

    Returns:
        0 when every run ended well.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    def job(config: Any) -> None:
        from langevin.train_api import folder_of, run

        plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        plain.pop("experiment", None)
        if plain["out"] is None and HydraConfig.get().mode == RunMode.MULTIRUN:
            # a folder for every combination, named after it: none of them resumes another
            plain["out"] = HydraConfig.get().runtime.output_dir
        if plain["out"] is None:
            plain["out"] = str(folder_of(plain, plain["model"]["name"]))
        run(plain, watch=_say)
        print(plain["out"])

    before = sys.argv
    sys.argv = ["langevin train", *overrides]
    try:
        hydra.main(
            version_base="1.3", config_path=str(Path(__file__).parent / "configs"), config_name="train"
        )(job)()
    finally:
        sys.argv = before
    return 0


def _say(line: Any) -> None:
    """A line of the log on standard error, where no bar is shown."""
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
