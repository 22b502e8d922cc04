"""What a condition gained over its base model, and what would tell where its runs cannot.

The interval is the t interval over seeds and problems (``stat.seeds``), which holds what it promises with few seeds.
One run says nothing of other seeds: its interval is over problems, and so is what would resolve it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from amend.stat.interval import Interval
from amend.stat.many import over_runs
from amend.stat.seeds import POWER, enough, seeds_needed, squares


def gain(values: Float[np.ndarray, "s p"]) -> Interval:
    """The mean of a gain on every problem, a row a seed."""
    return over_runs(values[None])[0]


def unresolved(values: Float[np.ndarray, "s p"], name: str) -> str:
    """The gain in a sentence, where it cannot be told from nothing; empty where it can, or where nothing changed."""
    mean, low, high = (100 * value for value in gain(values))
    seeds, problems = values.shape
    if not low <= 0 <= high or not values.any():
        return ""
    said = f"{name}: {mean:+.1f} [{low:+.1f}, {high:+.1f}] cannot be told from 0 with "
    if seeds == 1:
        return f"{said}one seed, and no number of problems would make one run speak for others."
    would = enough(seeds_needed(squares(values), mean / 100), seeds, problems) if problems > 1 else "more problems"
    return (
        f"{said}{seeds} seeds x {problems:,} problems; if it is the true change, showing it in {POWER:.0%} of "
        f"repetitions would take {would}."
    )
