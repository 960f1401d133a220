"""``python -m langevin``: the command line where its script is not on the path."""

import sys

from langevin.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
