"""All benchmarks, one after another: ``python -m benchmarks [--quick]``."""

from __future__ import annotations

import subprocess
import sys

SCRIPTS = {
    "startup": [],
    "loop_overhead": ["--quick"],
    "sampler_accuracy": ["--quick"],
    "backbone_throughput": ["--rounds", "3"],
    "molecule_networks": ["--quick"],
    "packing": ["--quick"],
}


def main() -> int:
    """Runs each script in a process of its own; the exit status is that of the first that fails."""
    quick = "--quick" in sys.argv[1:]
    for name, options in SCRIPTS.items():
        print(f"\n== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *(options if quick else [])])
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
