r"""Few seeds, many problems: intervals that hold what they promise, and how many seeds or problems would be enough.

values y_ij of seed i on problem j, every seed on the same problems: y_ij = mu + a_i + b_j + e_ij. With the mean squares
of that two-way layout, MS_s between seeds, MS_p between problems, MS_e what is left, and S seeds, P problems,

    Var(mean) = (MS_s + MS_p - MS_e) / (S P)

and Student's t with Satterthwaite's (1946) degrees of freedom makes the interval. Three seeds are two degrees of
freedom: wide, as they should be. A percentile bootstrap is too narrow there (``amend.stat.interval`` has figures).

A contrast of arms that share seeds and problems is one such layout, of differences. Two algorithms that share problems
alone are two of them, so with D_j the difference of their means on problem j,

    Var(difference) = MS_s1 / (S1 P) + MS_s2 / (S2 P) + Var(D) / P - MS_e1 / (S1 P) - MS_e2 / (S2 P)

where the last two take back what the others count twice. From the same parts comes what other numbers of seeds or
problems would give, were the true difference the one that was seen: a difference is resolved when it is that large that
a repetition would find it, at this level, in 80 % of cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from amend.results.stats.intervals import LEVEL, Interval, bootstrap_many


def interval_over_runs(values: Float[np.ndarray, "f s p"]) -> list[Interval]:
    """The mean of each of ``f`` figures over s seeds and p problems, and its interval. ValueError where any is 0.

    Where it resamples, the draws depend on nothing but how many problems there are: the same runs, the same report.
    """
    if min(values.shape[1:]) > 1:
        return [seed_interval(of) for of in values]
    return bootstrap_many(values, np.random.default_rng(values.shape[1:]))


class MeanSquares(NamedTuple):
    """Mean squares of one algorithm's values, over ``seeds`` x ``problems``."""

    seed: float
    problem: float
    rest: float
    seeds: int
    problems: int


class Difference(NamedTuple):
    """``second`` minus ``first``.

    Attributes:
        interval: the mean difference and its confidence interval.
        p: two-sided p-value of the hypothesis that the true difference is 0.
        resolved: whether ``p`` is below 1 minus the confidence level.
    """

    interval: Interval
    p: float
    resolved: bool


def mean_squares(values: Float[np.ndarray, "s p"]) -> MeanSquares:
    """Mean squares of a two-way layout. Raises ValueError for fewer than two seeds or two problems."""
    s, p = values.shape
    if s < 2 or p < 2:
        raise ValueError(f"{s} seeds x {p} problems; at least two of each are needed")
    rows, columns, whole = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = ((values - rows[:, None] - columns + whole) ** 2).sum() / ((s - 1) * (p - 1))
    return MeanSquares(float(p * rows.var(ddof=1)), float(s * columns.var(ddof=1)), float(rest), s, p)


def seed_interval(values: Float[np.ndarray, "s p"], level: float = LEVEL) -> Interval:
    """The mean over seeds and problems with its t interval; row i holds seed i's value on every problem."""
    half = _half(one_run(mean_squares(values)), level)
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


def seed_p(m: MeanSquares, distance: float) -> float:
    """The two-sided p-value of a mean that is ``distance`` away from what it is held against."""
    return _p(distance, one_run(m))


def seed_difference(
    first: Float[np.ndarray, "s p"], second: Float[np.ndarray, "r p"], level: float = LEVEL
) -> Difference:
    """Two algorithms on the same problems in the same order, each row a seed of its own.

    Raises ValueError for other problems, or fewer than two seeds of either.
    """
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"not the same problems: {first.shape[1]} and {second.shape[1]}")
    one, two = mean_squares(first), mean_squares(second)
    mean = float(second.mean() - first.mean())
    apart = float((second.mean(axis=0) - first.mean(axis=0)).var(ddof=1))
    parts = variance_parts((one, two), apart)
    half, p = _half(parts, level), _p(mean, parts)
    return Difference(Interval(mean, mean - half, mean + half), p, p < 1 - level)


Part = tuple[float, float]  # a share of a variance, negative where it is taken back; its degrees of freedom


def one_run(m: MeanSquares) -> list[Part]:
    """Of one layout's mean. A mean square below the residual's is chance: never let it make an interval narrower than
    the other alone would."""
    cells = m.seeds * m.problems
    return [
        (max(m.seed, m.rest) / cells, m.seeds - 1.0),
        (max(m.problem, m.rest) / cells, m.problems - 1.0),
        (-m.rest / cells, (m.seeds - 1.0) * (m.problems - 1.0)),
    ]


def variance_parts(each: Sequence[MeanSquares], apart: float) -> list[Part]:
    parts = [(apart / each[0].problems, each[0].problems - 1.0)]
    for m in each:
        cells = m.seeds * m.problems
        parts.append((max(m.seed, m.rest) / cells, m.seeds - 1.0))
        parts.append((-m.rest / cells, (m.seeds - 1.0) * (m.problems - 1.0)))
    return parts


def standard_error(parts: Sequence[Part]) -> tuple[float, float]:
    """The standard error that the parts add up to, and Satterthwaite's degrees of freedom."""
    variance = sum(share for share, _ in parts)
    if variance <= 0:
        return 0.0, 1.0
    return float(np.sqrt(variance)), max(1.0, variance**2 / sum(share**2 / df for share, df in parts))


def _half(parts: Sequence[Part], level: float) -> float:
    error, freedom = standard_error(parts)
    return float(student.ppf(0.5 + level / 2, freedom) * error)


def _p(distance: float, parts: Sequence[Part]) -> float:
    error, freedom = standard_error(parts)
    if error > 0:
        return float(2 * student.sf(abs(distance) / error, freedom))
    return 1.0 if distance == 0 else 0.0
