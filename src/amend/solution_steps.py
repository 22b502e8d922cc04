"""Split a solution into its steps: the places where one line, sentence or calculation ends and the next begins."""

from __future__ import annotations

import re

BOUNDARIES = (
    re.compile(r"(?<=\n)(?=[^\S\n]*\S)"),  # before a line that is not blank
    re.compile(r"(?<=[.!?;])(?=\s+\S)"),  # after a sentence, or a part of one
    re.compile(r"(?<=[^\s:,])(?=\s+\S)"),  # between words; after : and , more of the same is to come
)


def split_steps(solution: str) -> list[str]:
    """The solution in pieces that join to it again: its lines, else its sentences, else its words."""
    for boundary in BOUNDARIES:
        pieces = boundary.split(solution)
        if not pieces[0].strip():  # blank lines at the top are no step
            pieces[:2] = ["".join(pieces[:2])]
        if len(pieces) > 1:
            return pieces
    return [solution]
