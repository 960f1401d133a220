"""``langevin train``: hydra composes the configuration, :func:`langevin.train_api.run` trains."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(overrides: list[str]) -> int:
    """Runs hydra over ``configs/train.yaml`` with these overrides (``--multirun`` sweeps).

    Returns:
        0: every run ended well.

    Raises:
        ValueError: overrides that cannot be composed.
        Exception: what stopped a run; of a sweep, the first of them, after all runs.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    stopped: list[Exception] = []

    def job(config: Any) -> None:
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            # a folder for every combination, named after it: none of them resumes another
            _train(plain, HydraConfig.get().runtime.output_dir if sweep else None)
        except Exception as error:  # hydra would print it in its own way
            stopped.append(error)
            if sweep:
                print(
                    f"langevin train: {config.out or HydraConfig.get().runtime.output_dir}: {error}",
                    file=sys.stderr,
                )

    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = ["langevin train", *overrides], "1"  # errors come here
    try:
        hydra.main(
            version_base="1.3", config_path=str(Path(__file__).parent / "configs"), config_name="train"
        )(job)()
        if stopped:
            raise stopped[0]
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())) from error
    finally:
        sys.argv = before[0]
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]
    return 0


def _train(plain: dict[str, Any], own: str | None) -> None:
    """One run: trains, and prints its folder; ``own`` is the folder of a point of a sweep."""
    from langevin.train_api import folder_of, run

    plain.pop("experiment", None)
    plain["data"]["path"] = str(plain["data"]["path"])  # a folder may be called 7
    if plain["out"] is None:
        plain["out"] = own or str(folder_of(plain, plain["model"]["name"]))
    run(plain, watch=_say)
    print(plain["out"])


def _say(line: Any) -> None:
    """A line of the log on standard error, where no bar is shown."""
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
