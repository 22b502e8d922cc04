"""Add static noise to a worked solution after its computation (Havrilla and Iyer 2024, arXiv 2402.04004).

There are three probabilities:

    doc   the solution receives noise at all (document contamination)
    char  each digit of such a solution is replaced, also in the last line
    line  each line of such a solution is deleted, except the last line, which contains the answer

With ``uniform`` replacement, the new digit is sampled uniformly from 0 to 9. A digit then keeps its value with
probability 1 - char + char / 10. For char below 1, the true digit remains the most likely digit at its position, so
greedy decoding can remove the noise. The control condition is ``biased``: the new digit is always the successor (9
becomes 0). For char above 0.5, the wrong digit is more likely than the true one, so greedy decoding cannot remove it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Replacement = Literal["uniform", "biased"]


def add_noise(
    text: str, rng: np.random.Generator, *, doc: float, char: float, line: float, replacement: Replacement
) -> str:
    """Return a text with static noise.

    Args:
        text: The worked solution; its last line contains the answer.
        rng: The random generator.
        doc: Probability that the text receives noise.
        char: Probability that a digit is replaced.
        line: Probability that a line is deleted.
        replacement: "uniform" or "biased", see the module.

    Returns:
        The text, possibly with noise.
    """
    if rng.random() >= doc:
        return text
    *steps, last = text.split("\n")
    remaining = [step for step in steps if rng.random() >= line]
    return "\n".join("".join(_replace_digit(c, rng, char, replacement) for c in step) for step in (*remaining, last))


def _replace_digit(character: str, rng: np.random.Generator, char: float, replacement: Replacement) -> str:
    if not (character.isascii() and character.isdigit()) or rng.random() >= char:
        return character
    return str((int(character) + 1) % 10 if replacement == "biased" else int(rng.integers(10)))
