"""The one command: ``python run.py algo=score task=math``. Composes the configuration, checks it, and hands over."""

import sys

from amend.cli import main

if __name__ == "__main__":
    sys.exit(main())
