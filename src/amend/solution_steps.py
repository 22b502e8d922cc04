"""Split a solution into its steps: lines, sentences or words."""

from __future__ import annotations

import re

BOUNDARIES = (
    re.compile(r"(?<=\n)(?=[^\S\n]*\S)"),  # before a line that is not blank
    re.compile(r"(?<=[.!?;])(?=\s+\S)"),  # after a sentence or a clause
    re.compile(r"(?<=[^\s:,])(?=\s+\S)"),  # between words, except after a colon or a comma
)


def split_steps(solution: str) -> list[str]:
    """Split a solution into steps: its lines; a single line into sentences; a single sentence into words.

    The concatenation of the steps is the solution.
    """
    for boundary in BOUNDARIES:
        pieces = boundary.split(solution)
        if not pieces[0].strip():  # leading blank lines are not a step
            pieces[:2] = ["".join(pieces[:2])]
        if len(pieces) > 1:
            return pieces
    return [solution]
