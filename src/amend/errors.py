"""The exception for errors that the user can correct.

Its message is one line: what is wrong, the value, and what is allowed.
"""

from __future__ import annotations

import sys

REFUSED, INTERRUPTED = 2, 130  # exit statuses: that of argparse, and that of a shell after Ctrl-C


def print_error(what: object) -> None:
    """Print an error as one line."""
    print(f"amend: {' '.join(str(what).split())}", file=sys.stderr)


class UserError(Exception):
    """An error that only the user can correct.

    The command line prints its message as one line and exits with status 2.
    """
