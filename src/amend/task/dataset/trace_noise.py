"""Static noise: what happens to a worked solution after it was computed (Havrilla and Iyer 2024, arXiv 2402.04004).

    document    a solution is touched at all with probability ``doc``: the contamination
    characters  each digit in it, those of the last line too, is then replaced with probability ``char``
    lines       each line but the last, which has the answer, is then deleted with probability ``line``

A digit is replaced by one drawn uniformly from 0 to 9, so it stays with probability 1 - char + char / 10 and is, at any
char below 1, still the likeliest digit of its place: greedy decoding can undo such noise. The control that can not be
undone so is ``biased``: the digit's successor (9 by 0) always, which above one half is likelier than the truth.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Replacement = Literal["uniform", "biased"]


def add_noise(
    text: str, rng: np.random.Generator, *, doc: float, char: float, line: float, replacement: Replacement
) -> str:
    """The text with static noise in it."""
    if rng.random() >= doc:
        return text
    *steps, last = text.split("\n")
    kept = [step for step in steps if rng.random() >= line]
    return "\n".join("".join(_replaced(c, rng, char, replacement) for c in step) for step in (*kept, last))


def _replaced(character: str, rng: np.random.Generator, char: float, replacement: Replacement) -> str:
    if not (character.isascii() and character.isdigit()) or rng.random() >= char:
        return character
    return str((int(character) + 1) % 10 if replacement == "biased" else int(rng.integers(10)))
