"""``python -m amend`` is ``python run.py``."""

import sys

from amend.cli import main

if __name__ == "__main__":
    sys.exit(main())
