"""Compute the number of seeds or problems that resolves a difference with 80 % power.

The variance components of the observed data (``random_effects``) are extrapolated to other numbers of seeds and
problems. A sample size resolves a difference if 80 % of repetitions find it significant at the confidence level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student_t

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
MOST_SEEDS, MOST_PROBLEMS = 10_000, 10_000_000  # larger sample sizes are impractical and reported as None


def required_seeds(m: MeanSquares, distance: float, level: float = LEVEL) -> tuple[int | None, int | None]:
    """Compute the sample size that resolves a mean difference between two conditions with the same seeds and problems.

    Args:
        m: The mean squares of the differences, with the observed numbers of seeds and problems.
        distance: The mean difference to resolve, in the unit of the values.
        level: The confidence level.

    Returns:
        The number of seeds (with the observed problems) and the number of problems (with the observed seeds). None if
        ``distance`` is 0, or if no number up to ``MOST_SEEDS`` or ``MOST_PROBLEMS`` is enough.
    """
    seed_variance = max(m.seed - m.rest, 0.0) / m.problems
    problem_variance = max(m.problem - m.rest, 0.0) / m.seeds

    def resolves(seeds: int, problems: int) -> bool:
        planned = MeanSquares(
            seed_variance * problems + m.rest, problem_variance * seeds + m.rest, m.rest, seeds, problems
        )
        return _is_resolved(one_run(planned), distance, level)

    if distance == 0:
        return None, None
    return (
        _find_smallest(lambda s: resolves(s, m.problems), 2, MOST_SEEDS),
        _find_smallest(lambda p: resolves(m.seeds, p), 2, MOST_PROBLEMS),
    )


def required_sample_size(
    one: MeanSquares, two: MeanSquares, apart: float, mean: float, level: float
) -> tuple[int | None, int | None]:
    """Compute the sample size that resolves a mean difference between two algorithms with different seeds.

    Args:
        one: The mean squares of the first algorithm.
        two: The mean squares of the second algorithm, on the same problems.
        apart: The variance over problems of the difference of the two means over seeds.
        mean: The mean difference to resolve, in the unit of the values.
        level: The confidence level.

    Returns:
        The number of seeds of each algorithm (with the observed problems) and the number of problems (with the observed
        seeds). None if ``mean`` is 0, or if no number up to ``MOST_SEEDS`` or ``MOST_PROBLEMS`` is enough.
    """
    # Subtract the residual variance, to estimate the variances between seeds and between problems.
    seed_variance = [max(m.seed - m.rest, 0.0) / m.problems for m in (one, two)]
    rest = [m.rest for m in (one, two)]
    problem_variance = max(apart - sum(r / m.seeds for r, m in zip(rest, (one, two), strict=True)), 0.0)

    def resolves(seeds: Sequence[int], problems: int) -> bool:
        planned = [
            MeanSquares(v * problems + r, 0.0, r, s, problems)
            for v, r, s in zip(seed_variance, rest, seeds, strict=True)
        ]
        planned_apart = problem_variance + sum(r / s for r, s in zip(rest, seeds, strict=True))
        return _is_resolved(variance_parts(planned, planned_apart), mean, level)

    if mean == 0:
        return None, None
    observed = (one.seeds, two.seeds)
    return (
        _find_smallest(lambda s: resolves((s, s), one.problems), 2, MOST_SEEDS),
        _find_smallest(lambda p: resolves(observed, p), 2, MOST_PROBLEMS),
    )


def required_for_difference(
    first: Float[np.ndarray, "s p"], second: Float[np.ndarray, "r p"], level: float = LEVEL
) -> tuple[int | None, int | None]:
    """Compute the sample size that resolves the observed difference of two algorithms, if it is the true difference.

    Args:
        first: The values of the first algorithm, for s seeds and p problems.
        second: The values of the second algorithm, for r seeds and the same problems.
        level: The confidence level.

    Returns:
        The number of seeds of each algorithm (with the observed problems) and the number of problems (with the observed
        seeds). None if the difference is 0, or if no number up to ``MOST_SEEDS`` or ``MOST_PROBLEMS`` is enough.

    Raises:
        ValueError: If there are fewer than two seeds or two problems.
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
    """Describe a difference in one sentence, with the required sample size if the difference is not resolved.

    Args:
        found: The difference.
        required: The required numbers of seeds and problems, from ``required_for_difference``.
        one: The number of seeds of the first algorithm.
        two: The number of seeds of the second algorithm.
        problems: The number of problems.
        unit: The factor by which printed values are multiplied.
        name: The name of the printed unit.

    Returns:
        The sentence, without a full stop.
    """
    mean, low, high = (unit * value for value in found.interval)
    difference = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}] {name}"
    if found.resolved:
        return f"{difference}, p = {found.p:.2g}"
    sample_size = describe_sample_size(required, max(one, two), problems, "seeds of each")
    return (
        f"{difference}: not resolved by {one} and {two} seeds x {problems:,} problems; "
        f"detecting a true difference of this size with {POWER:.0%} power requires {sample_size}"
    )


def describe_sample_size(needed: tuple[int | None, int | None], seeds: int, problems: int, name: str = "seeds") -> str:
    """Describe the required sample size in words.

    Args:
        needed: The required numbers of seeds and problems; None if no number is enough.
        seeds: The observed number of seeds.
        problems: The observed number of problems.
        name: The unit of the number of seeds.

    Returns:
        The numbers that are larger than the observed ones, for example ``9 seeds or 4,000 problems``.
    """
    options = [
        f"{number:,} {unit}"
        for number, observed, unit in zip(needed, (seeds, problems), (name, "problems"), strict=True)
        if number is not None and number > observed
    ]
    return " or ".join(options) or "more of both, or more than can be run"


def _is_resolved(parts: Sequence[Part], distance: float, level: float) -> bool:
    """Return whether a share ``POWER`` of repetitions finds ``distance`` significant at ``level``."""
    error, freedom = standard_error(parts)
    return bool(abs(distance) >= error * (student_t.ppf(0.5 + level / 2, freedom) + student_t.ppf(POWER, freedom)))


def _find_smallest(condition: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest number from ``low`` to ``high`` that meets a monotone condition; None if none does."""
    if not condition(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if condition(middle) else (middle + 1, high)
    return low
