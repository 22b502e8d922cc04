"""The one exception a user is meant to read: one line that says what is wrong, where, and what is allowed."""


class UserError(Exception):
    """Something only the user can mend. The entry point prints its text on one line and exits with status 2."""
