"""Start-up: CPU seconds of fresh processes, beside what peers need before their first line of work.

python -m benchmarks.startup
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

RUNS = 5
COMMANDS = {
    "langevin --help": ["-m", "langevin.cli.main", "--help"],
    "langevin, a usage error": ["-m", "langevin.cli.main", "sampel"],
    "langevin models": ["-m", "langevin.cli.main", "models"],
    "import langevin": ["-c", "import langevin"],
    "load image-digits": ["-c", "import langevin as lv; lv.load('image-digits', device='cpu')"],
    "import torch": ["-c", "import torch"],
    "from diffusers import DDIMScheduler": [
        "-c",
        "from langevin import optional; optional.diffusers(); from diffusers import DDIMScheduler",
    ],
}


def seconds(command: list[str]) -> float:
    """User and system time of one run of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the median of five runs after one that is not counted."""
    width = max(map(len, COMMANDS))
    print(f"{'command':<{width}}  CPU s (median of {RUNS})")
    for name, command in COMMANDS.items():
        seconds(command)
        print(f"{name:<{width}}  {statistics.median(seconds(command) for _ in range(RUNS)):.2f}")


if __name__ == "__main__":
    main()
