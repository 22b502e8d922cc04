r"""Compute intervals over few seeds and many problems, with seeds and problems as crossed random effects.

S seeds are evaluated on the same P problems. The value of seed i on problem j is y_ij = mu + a_i + b_j + e_ij. With the
mean squares MS_s between seeds, MS_p between problems and MS_e of the residual,

    Var(mean) = (MS_s + MS_p - MS_e) / (S P)

The interval uses Student's t with the degrees of freedom of Satterthwaite (1946). Three seeds have only two degrees of
freedom, so the interval is wide if seeds differ. A percentile bootstrap over so few seeds is too narrow.

If two conditions share seeds and problems, the values y_ij are their differences. If two algorithms share only the
problems, each has mean squares MS_s1, MS_e1 and MS_s2, MS_e2 over its S1 or S2 seeds. With the difference D_j of their
means on problem j,

    Var(difference) = MS_s1 / (S1 P) + MS_s2 / (S2 P) + Var(D) / P - MS_e1 / (S1 P) - MS_e2 / (S2 P)

The last two terms subtract residual variance that the other terms count twice. ``power_analysis`` extrapolates the same
terms to other numbers of seeds and problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student_t

from amend.results.stats.intervals import LEVEL, Interval, bootstrap_many


def interval_over_runs(values: Float[np.ndarray, "f s p"]) -> list[Interval]:
    """Compute the mean of each metric over seeds and problems, with its interval.

    The interval is a t interval, or a bootstrap interval if there is only one seed or one problem. The seed of the
    bootstrap is the shape of ``values``, so that the report of the same runs is always the same.

    Args:
        values: The values of f metrics, s seeds and p problems.

    Returns:
        One interval for each metric.

    Raises:
        ValueError: If there is no metric, no seed or no problem.
    """
    if min(values.shape[1:]) > 1:
        return [seed_interval(metric) for metric in values]
    return bootstrap_many(values, np.random.default_rng(values.shape[1:]))


class MeanSquares(NamedTuple):
    """The mean squares of a two-way layout of seeds and problems, in squared units of the values."""

    seed: float
    """MS_s, between seeds."""
    problem: float
    """MS_p, between problems."""
    rest: float
    """MS_e, of the residual."""
    seeds: int
    """S, the number of seeds."""
    problems: int
    """P, the number of problems."""


class Difference(NamedTuple):
    """The difference of two algorithms, second minus first."""

    interval: Interval
    """The mean difference and its confidence interval, in the unit of the values."""
    p: float
    """The two-sided p-value of the hypothesis that the true difference is 0."""
    resolved: bool
    """Whether ``p`` is below 1 minus the confidence level."""


def mean_squares(values: Float[np.ndarray, "s p"]) -> MeanSquares:
    """Compute the mean squares of a two-way layout.

    Args:
        values: The values of s seeds and p problems.

    Returns:
        The mean squares.

    Raises:
        ValueError: If there are fewer than two seeds or two problems.
    """
    s, p = values.shape
    if s < 2 or p < 2:
        raise ValueError(f"{s} seeds x {p} problems; at least two of each are needed")
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((s - 1) * (p - 1))
    return MeanSquares(float(p * rows.var(ddof=1)), float(s * columns.var(ddof=1)), float(rest), s, p)


def seed_interval(values: Float[np.ndarray, "s p"], level: float = LEVEL) -> Interval:
    """Compute the mean over seeds and problems with its t interval.

    Args:
        values: The values of s seeds and p problems.
        level: The coverage of the interval.

    Returns:
        The mean and its interval, in the unit of the values.

    Raises:
        ValueError: If there are fewer than two seeds or two problems.
    """
    half = _half_width(one_run(mean_squares(values)), level)
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


def seed_p(m: MeanSquares, distance: float) -> float:
    """Compute the two-sided p-value of the hypothesis that a mean has a given value.

    Args:
        m: The mean squares of the values.
        distance: The observed mean minus the value of the hypothesis, in the unit of the values.

    Returns:
        The p-value.
    """
    return _p_value(distance, one_run(m))


def seed_difference(
    first: Float[np.ndarray, "s p"], second: Float[np.ndarray, "r p"], level: float = LEVEL
) -> Difference:
    """Compare two algorithms that share problems but not seeds.

    Args:
        first: The values of the first algorithm, for s seeds and p problems.
        second: The values of the second algorithm, for r seeds and the same problems in the same order.
        level: The confidence level.

    Returns:
        The difference, second minus first.

    Raises:
        ValueError: If the numbers of problems differ, or if there are fewer than two seeds or two problems.
    """
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"not the same problems: {first.shape[1]} and {second.shape[1]}")
    one, two = mean_squares(first), mean_squares(second)
    mean = float(second.mean() - first.mean())
    apart = float((second.mean(axis=0) - first.mean(axis=0)).var(ddof=1))
    parts = variance_parts((one, two), apart)
    half, p = _half_width(parts, level), _p_value(mean, parts)
    return Difference(Interval(mean, mean - half, mean + half), p, p < 1 - level)


Part = tuple[float, float]
"""A term of a variance, and its degrees of freedom. The term is negative if it is subtracted."""


def one_run(m: MeanSquares) -> list[Part]:
    """Compute the terms of the variance of the mean of one layout.

    A mean square below the residual's is due to chance. It is raised to the residual's, so that the interval is never
    narrower than an interval with the other source of variance alone.

    Args:
        m: The mean squares of the layout.

    Returns:
        The terms MS_s / (S P), MS_p / (S P) and -MS_e / (S P).
    """
    cells = m.seeds * m.problems
    return [
        (max(m.seed, m.rest) / cells, m.seeds - 1.0),
        (max(m.problem, m.rest) / cells, m.problems - 1.0),
        (-m.rest / cells, (m.seeds - 1.0) * (m.problems - 1.0)),
    ]


def variance_parts(each: Sequence[MeanSquares], apart: float) -> list[Part]:
    """Compute the terms of the variance of a difference of two algorithms that share only the problems.

    A mean square of seeds below the residual's is raised to the residual's, as in ``one_run``.

    Args:
        each: The mean squares of each algorithm.
        apart: The variance Var(D) over problems of the difference of the two means over seeds.

    Returns:
        The terms Var(D) / P, and MS_s / (S P) and -MS_e / (S P) of each algorithm.
    """
    parts = [(apart / each[0].problems, each[0].problems - 1.0)]
    for m in each:
        cells = m.seeds * m.problems
        parts.append((max(m.seed, m.rest) / cells, m.seeds - 1.0))
        parts.append((-m.rest / cells, (m.seeds - 1.0) * (m.problems - 1.0)))
    return parts


def standard_error(parts: Sequence[Part]) -> tuple[float, float]:
    """Compute the standard error of a sum of variance terms.

    Args:
        parts: The terms.

    Returns:
        The standard error and Satterthwaite's degrees of freedom, at least 1. (0, 1) if the sum is not positive.
    """
    variance = sum(share for share, _ in parts)
    if variance <= 0:
        return 0.0, 1.0
    return float(np.sqrt(variance)), max(1.0, variance**2 / sum(share**2 / df for share, df in parts))


def _half_width(parts: Sequence[Part], level: float) -> float:
    """Return half the width of the t interval."""
    error, freedom = standard_error(parts)
    return float(student_t.ppf(0.5 + level / 2, freedom) * error)


def _p_value(distance: float, parts: Sequence[Part]) -> float:
    """Return the two-sided p-value of ``distance`` in a t test."""
    error, freedom = standard_error(parts)
    if error > 0:
        return float(2 * student_t.sf(abs(distance) / error, freedom))
    return 1.0 if distance == 0 else 0.0
