"""How many seeds or problems would resolve a difference with 80 % power.

The variance components of the observed data are extrapolated to other numbers of seeds and problems
(``random_effects``). A difference is resolved if a repetition would find it at this confidence level in 80 % of cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from amend.results.stats.intervals import LEVEL
from amend.results.stats.random_effects import (
    Difference,
    MeanSquares,
    Part,
    mean_squares,
    one_run,
    standard_error,
    variance_parts,
)

POWER = 0.8
MOST_SEEDS, MOST_PROBLEMS = 10_000, 10_000_000  # beyond which "more" says enough


def required_seeds(m: MeanSquares, distance: float, level: float = LEVEL) -> tuple[int | None, int | None]:
    """How many seeds (with these problems), and how many problems (with these seeds), would resolve ``distance``."""
    own = max(m.seed - m.rest, 0.0) / m.problems
    between = max(m.problem - m.rest, 0.0) / m.seeds

    def resolves(seeds: int, problems: int) -> bool:
        then = MeanSquares(own * problems + m.rest, between * seeds + m.rest, m.rest, seeds, problems)
        return _resolves(one_run(then), distance, level)

    if distance == 0:
        return None, None
    return (
        _least(lambda s: resolves(s, m.problems), 2, MOST_SEEDS),
        _least(lambda p: resolves(m.seeds, p), 2, MOST_PROBLEMS),
    )


def required_sample_size(
    one: MeanSquares, two: MeanSquares, apart: float, mean: float, level: float
) -> tuple[int | None, int | None]:
    """How many seeds of each (with these problems), and how many problems (with these seeds), would resolve ``mean``.

    ``apart`` is the variance over problems of the difference of the algorithms' means. None where not even 10,000
    seeds, or 10,000,000 problems, would.
    """
    own = [max(m.seed - m.rest, 0.0) / m.problems for m in (one, two)]  # between seeds, in truth
    rest = [m.rest for m in (one, two)]
    between = max(apart - sum(r / m.seeds for r, m in zip(rest, (one, two), strict=True)), 0.0)

    def resolves(seeds: Sequence[int], problems: int) -> bool:
        then = [MeanSquares(o * problems + r, 0.0, r, s, problems) for o, r, s in zip(own, rest, seeds, strict=True)]
        return _resolves(
            variance_parts(then, between + sum(r / s for r, s in zip(rest, seeds, strict=True))), mean, level
        )

    if mean == 0:
        return None, None
    now = (one.seeds, two.seeds)
    return (
        _least(lambda s: resolves((s, s), one.problems), 2, MOST_SEEDS),
        _least(lambda p: resolves(now, p), 2, MOST_PROBLEMS),
    )


def required_for_difference(
    first: Float[np.ndarray, "s p"], second: Float[np.ndarray, "r p"], level: float = LEVEL
) -> tuple[int | None, int | None]:
    """Compute the sample size that would resolve the observed difference of two algorithms, if it is the true one.

    Args:
        first: values of one algorithm, a row for each seed and a column for each problem.
        second: values of the other algorithm on the same problems.
        level: confidence level.

    Returns:
        Seeds of each algorithm (with as many problems), and problems (with as many seeds); None where no number up to
        ``MOST_SEEDS`` or ``MOST_PROBLEMS`` is enough.
    """
    apart = float((second.mean(axis=0) - first.mean(axis=0)).var(ddof=1))
    mean = float(second.mean() - first.mean())
    return required_sample_size(mean_squares(first), mean_squares(second), apart, mean, level)


def verdict(
    found: Difference,
    required: tuple[int | None, int | None],
    one: int,
    two: int,
    problems: int,
    unit: float = 100.0,
    name: str = "points",
) -> str:
    """The difference in a sentence: how large and how sure, or that these data cannot tell, and what could.

    ``one`` and ``two`` are the numbers of seeds; values are shown times ``unit``.
    """
    mean, low, high = (unit * value for value in found.interval)
    said = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}] {name}"
    if found.resolved:
        return f"{said}, p = {found.p:.2g}"
    would = describe_sample_size(required, max(one, two), problems, "seeds of each")
    return (
        f"{said}: cannot tell yet from {one} and {two} seeds x {problems:,} problems; if that is the true difference, "
        f"showing it in {POWER:.0%} of repetitions would take {would}"
    )


def describe_sample_size(needed: tuple[int | None, int | None], seeds: int, problems: int, name: str = "seeds") -> str:
    """What would do, in words: numbers of seeds or of problems that are more than these."""
    ways = [
        f"{wanted:,} {what}"
        for wanted, now, what in zip(needed, (seeds, problems), (name, "problems"), strict=True)
        if wanted is not None and wanted > now
    ]
    return " or ".join(ways) or "more of both, or more than can be run"


def _resolves(parts: Sequence[Part], distance: float, level: float) -> bool:
    """Whether a repetition would find ``distance`` at this level in ``POWER`` of cases."""
    error, freedom = standard_error(parts)
    return bool(abs(distance) >= error * (student.ppf(0.5 + level / 2, freedom) + student.ppf(POWER, freedom)))


def _least(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number from ``low`` to ``high`` that holds, for a rule that holds of all larger ones too."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
