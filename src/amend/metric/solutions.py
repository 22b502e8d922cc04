"""How many different solutions: two are one solution if they do the same arithmetic in the same order.

Havrilla et al. (2024) count, for each problem, the distinct right solutions among its samples; a solution is told by
its sequence of arithmetic operations. Here an operation stands with its operands (``7*7``, ``12+5``), so two ways of
making a number from others are two, and words, spaces and marks around them make no difference.
"""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool, Int, Shaped

OPERATION = re.compile(r"\d+(?:\.\d+)?|[-+*/()^=]|\\(?:times|div|cdot)")


def operations(text: str) -> str:
    """The numbers and operators of a reply, in order; what it boxes at the end is not repeated."""
    return "".join(OPERATION.findall(text.split("\\boxed")[0]))


def unique_solutions(text: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]) -> Int[np.ndarray, " p"]:
    """Distinct solutions of each problem among those of its n samples that ``keep`` names (right ones, or all)."""
    found = [
        len({operations(str(reply)) for reply, kept in zip(replies, names, strict=True) if kept})
        for replies, names in zip(text.tolist(), keep.tolist(), strict=True)
    ]
    return np.array(found, dtype=int)


def unique_across(text: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]) -> int:
    """Distinct solutions among one output a problem, its first that ``keep`` names; a problem without one has none."""
    chosen = np.flatnonzero(keep.any(axis=1))
    return len({operations(str(reply)) for reply in text[chosen, keep.argmax(axis=1)[chosen]].tolist()})
