"""Run the command line: ``python -m amend`` is the same as ``python run.py``."""

import sys

from amend.cli import main

if __name__ == "__main__":
    sys.exit(main())
