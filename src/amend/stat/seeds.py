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

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from amend.stat.interval import LEVEL, Interval

POWER = 0.8
MOST_SEEDS, MOST_PROBLEMS = 10_000, 10_000_000  # beyond which "more" says enough


class Squares(NamedTuple):
    """Mean squares of one algorithm's values, over ``seeds`` x ``problems``."""

    seed: float
    problem: float
    rest: float
    seeds: int
    problems: int


class Difference(NamedTuple):
    """``second`` less ``first``: its interval and p-value, and, where unresolved, what would do (None: nothing)."""

    interval: Interval
    p: float
    resolved: bool
    seeds: int | None
    """Seeds of each algorithm that would, with as many problems."""
    problems: int | None
    """Problems that would, with as many seeds."""


def squares(values: Float[np.ndarray, "s p"]) -> Squares:
    """Mean squares of a two-way layout. Raises ValueError for fewer than two seeds or two problems."""
    s, p = values.shape
    if s < 2 or p < 2:
        raise ValueError(f"{s} seeds x {p} problems; at least two of each are needed")
    rows, columns, whole = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = ((values - rows[:, None] - columns + whole) ** 2).sum() / ((s - 1) * (p - 1))
    return Squares(float(p * rows.var(ddof=1)), float(s * columns.var(ddof=1)), float(rest), s, p)


def seed_interval(values: Float[np.ndarray, "s p"], level: float = LEVEL) -> Interval:
    """The mean over seeds and problems with its t interval; row i holds seed i's value on every problem."""
    half = _half(_alone(squares(values)), level)
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


def seed_p(m: Squares, distance: float) -> float:
    """The two-sided p-value of a mean that is ``distance`` away from what it is held against."""
    return _p(distance, _alone(m))


def seeds_needed(m: Squares, distance: float, level: float = LEVEL) -> tuple[int | None, int | None]:
    """How many seeds (with these problems), and how many problems (with these seeds), would resolve ``distance``."""
    own = max(m.seed - m.rest, 0.0) / m.problems
    between = max(m.problem - m.rest, 0.0) / m.seeds

    def resolves(seeds: int, problems: int) -> bool:
        then = Squares(own * problems + m.rest, between * seeds + m.rest, m.rest, seeds, problems)
        return _resolves(_alone(then), distance, level)

    if distance == 0:
        return None, None
    return (
        _least(lambda s: resolves(s, m.problems), 2, MOST_SEEDS),
        _least(lambda p: resolves(m.seeds, p), 2, MOST_PROBLEMS),
    )


def seed_difference(
    first: Float[np.ndarray, "s p"], second: Float[np.ndarray, "r p"], level: float = LEVEL
) -> Difference:
    """Two algorithms on the same problems in the same order, each row a seed of its own.

    Raises ValueError for other problems, or fewer than two seeds of either.
    """
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"not the same problems: {first.shape[1]} and {second.shape[1]}")
    one, two = squares(first), squares(second)
    mean = float(second.mean() - first.mean())
    apart = float((second.mean(axis=0) - first.mean(axis=0)).var(ddof=1))
    parts = _parts((one, two), apart)
    half, p = _half(parts, level), _p(mean, parts)
    resolved = p < 1 - level
    seeds, problems = (None, None) if resolved else needed(one, two, apart, mean, level)
    return Difference(Interval(mean, mean - half, mean + half), p, resolved, seeds, problems)


def needed(one: Squares, two: Squares, apart: float, mean: float, level: float) -> tuple[int | None, int | None]:
    """How many seeds of each (with these problems), and how many problems (with these seeds), would resolve ``mean``.

    ``apart`` is the variance over problems of the difference of the algorithms' means. None where not even 10,000
    seeds, or 10,000,000 problems, would.
    """
    own = [max(m.seed - m.rest, 0.0) / m.problems for m in (one, two)]  # between seeds, in truth
    rest = [m.rest for m in (one, two)]
    between = max(apart - sum(r / m.seeds for r, m in zip(rest, (one, two), strict=True)), 0.0)

    def resolves(seeds: Sequence[int], problems: int) -> bool:
        then = [Squares(o * problems + r, 0.0, r, s, problems) for o, r, s in zip(own, rest, seeds, strict=True)]
        return _resolves(_parts(then, between + sum(r / s for r, s in zip(rest, seeds, strict=True))), mean, level)

    if mean == 0:
        return None, None
    now = (one.seeds, two.seeds)
    return (
        _least(lambda s: resolves((s, s), one.problems), 2, MOST_SEEDS),
        _least(lambda p: resolves(now, p), 2, MOST_PROBLEMS),
    )


def verdict(found: Difference, one: int, two: int, problems: int, unit: float = 100.0, name: str = "points") -> str:
    """The difference in a sentence: how large and how sure, or that these data cannot tell, and what could.

    ``one`` and ``two`` are the numbers of seeds; values are shown times ``unit``.
    """
    mean, low, high = (unit * value for value in found.interval)
    said = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}] {name}"
    if found.resolved:
        return f"{said}, p = {found.p:.2g}"
    would = enough((found.seeds, found.problems), max(one, two), problems, "seeds of each")
    return (
        f"{said}: cannot tell yet from {one} and {two} seeds x {problems:,} problems; if that is the true difference, "
        f"showing it in {POWER:.0%} of repetitions would take {would}"
    )


def enough(needed: tuple[int | None, int | None], seeds: int, problems: int, name: str = "seeds") -> str:
    """What would do, in words: numbers of seeds or of problems that are more than these."""
    ways = [
        f"{wanted:,} {what}"
        for wanted, now, what in zip(needed, (seeds, problems), (name, "problems"), strict=True)
        if wanted is not None and wanted > now
    ]
    return " or ".join(ways) or "more of both, or more than can be run"


Part = tuple[float, float]  # a share of a variance, negative where it is taken back; its degrees of freedom


def _alone(m: Squares) -> list[Part]:
    """Of one layout's mean. A mean square below the residual's is chance: never let it make an interval narrower than
    the other alone would."""
    cells = m.seeds * m.problems
    return [
        (max(m.seed, m.rest) / cells, m.seeds - 1.0),
        (max(m.problem, m.rest) / cells, m.problems - 1.0),
        (-m.rest / cells, (m.seeds - 1.0) * (m.problems - 1.0)),
    ]


def _parts(each: Sequence[Squares], apart: float) -> list[Part]:
    parts = [(apart / each[0].problems, each[0].problems - 1.0)]
    for m in each:
        cells = m.seeds * m.problems
        parts.append((max(m.seed, m.rest) / cells, m.seeds - 1.0))
        parts.append((-m.rest / cells, (m.seeds - 1.0) * (m.problems - 1.0)))
    return parts


def _spread(parts: Sequence[Part]) -> tuple[float, float]:
    """The standard error that the parts add up to, and Satterthwaite's degrees of freedom."""
    variance = sum(share for share, _ in parts)
    if variance <= 0:
        return 0.0, 1.0
    return float(np.sqrt(variance)), max(1.0, variance**2 / sum(share**2 / df for share, df in parts))


def _half(parts: Sequence[Part], level: float) -> float:
    error, freedom = _spread(parts)
    return float(student.ppf(0.5 + level / 2, freedom) * error)


def _p(distance: float, parts: Sequence[Part]) -> float:
    error, freedom = _spread(parts)
    if error > 0:
        return float(2 * student.sf(abs(distance) / error, freedom))
    return 1.0 if distance == 0 else 0.0


def _resolves(parts: Sequence[Part], distance: float, level: float) -> bool:
    """Whether a repetition would find ``distance`` at this level in ``POWER`` of cases."""
    error, freedom = _spread(parts)
    return bool(abs(distance) >= error * (student.ppf(0.5 + level / 2, freedom) + student.ppf(POWER, freedom)))


def _least(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number from ``low`` to ``high`` that holds, for a rule that holds of all larger ones too."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
