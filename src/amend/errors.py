"""The one exception a user is meant to read: one line that says what is wrong, where, and what is allowed."""

from __future__ import annotations

import sys

REFUSED, INTERRUPTED = 2, 130  # exit statuses: as argparse's, and as shells count Ctrl-C


def print_error(what: object) -> None:
    """One line to the user."""
    print(f"amend: {' '.join(str(what).split())}", file=sys.stderr)


class UserError(Exception):
    """Something only the user can mend. The entry point prints its text on one line and exits with status 2."""
