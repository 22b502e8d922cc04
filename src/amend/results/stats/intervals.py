r"""Compute intervals of means over problems.

Wilson (1927), for k successes in n independent trials, with p = k/n and the normal quantile z:

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)

This interval keeps its coverage for small n, and for p near 0 and 1.

The percentile bootstrap (Efron 1979) resamples problems, with all samples of a problem together (Miller 2024, "Adding
Error Bars to Evals"). Its width is 0 if all problems have the same value, so read it together with Wilson's interval.

These intervals do not include the variance between training seeds. The exception is ``bootstrap_many``, which resamples
seeds as well. A bootstrap over few seeds is too narrow, so ``random_effects`` computes the interval for several seeds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

LEVEL = 0.95
RESAMPLES = 10_000
_CHUNK = 4_000_000  # numbers in memory at once while resampling, about 32 MB
_DRAWS = 6  # sampling the count of one distinct value takes about as long as sampling this number of problems


class Interval(NamedTuple):
    """A mean with its interval, in the unit of the averaged values."""

    mean: float
    """The mean."""
    low: float
    """The lower end of the interval."""
    high: float
    """The upper end of the interval."""


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the share ``successes / n`` with its Wilson interval.

    Args:
        successes: The number k of successes.
        n: The number of trials.
        level: The coverage of the interval.

    Returns:
        The share and its interval, as fractions.

    Raises:
        ValueError: Unless 0 <= successes <= n and n >= 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n}; allowed: 0 to n successes of at least one trial")
    z = float(norm.ppf(0.5 + level / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Without these cases, rounding moves the end of the interval 1e-17 past the share.
    low = 0.0 if successes == 0 else float(middle - half)
    high = 1.0 if successes == n else float(middle + half)
    return Interval(share, low, high)


def bootstrap(
    values: Float[np.ndarray, " p"], generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Return the mean over problems with its percentile bootstrap interval.

    The mean of p resampled problems depends only on the counts of the distinct values, which are multinomial. If there
    are few distinct values, the counts are sampled, otherwise the problems. Both have the same distribution.

    Args:
        values: One value for each of p problems.
        generator: The source of randomness.
        level: The coverage of the interval.
        resamples: The number of bootstrap samples.

    Returns:
        The mean and its interval.

    Raises:
        ValueError: If there is no problem.
    """
    if values.size == 0:
        raise ValueError("0 problems; at least one is needed")
    distinct, counts = np.unique(values, return_counts=True)
    means = _resampled_means(distinct, counts, generator, resamples)
    return _percentile(float(values.mean()), means, level)


def paired_bootstrap(
    first: Float[np.ndarray, " p"],
    second: Float[np.ndarray, " p"],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the mean of ``second - first`` with its percentile bootstrap interval.

    Args:
        first: One value for each of p problems.
        second: Values of the same problems in the same order.
        generator: The source of randomness.
        level: The coverage of the interval.
        resamples: The number of bootstrap samples.

    Returns:
        The mean difference and its interval.

    Raises:
        ValueError: If the arrays have different lengths, or are empty.
    """
    if first.shape != second.shape:
        raise ValueError(f"not the same problems: {first.shape[0]} and {second.shape[0]}")
    return bootstrap(second - first, generator, level, resamples)


def _resampled_means(
    distinct: Float[np.ndarray, " u"], counts: np.ndarray, generator: np.random.Generator, resamples: int
) -> Float[np.ndarray, " r"]:
    """Return the mean of each of r resamples."""
    total = int(counts.sum())
    if _DRAWS * len(distinct) < total:
        parts = [
            generator.multinomial(total, counts / total, size=size) @ distinct / total
            for size in _chunks(resamples, len(distinct))
        ]
    else:
        values = np.repeat(distinct, counts)
        parts = [
            values[generator.integers(0, total, (size, total), dtype=np.uint32)].mean(axis=1)
            for size in _chunks(resamples, total)
        ]
    return np.concatenate(parts)


def _chunks(resamples: int, width: int) -> list[int]:
    """Return chunk sizes that add up to ``resamples``. A chunk with ``width`` numbers per resample fits into memory."""
    largest = max(1, _CHUNK // width)
    return [min(largest, resamples - start) for start in range(0, resamples, largest)]


def _percentile(mean: float, means: Float[np.ndarray, " r"], level: float) -> Interval:
    """Return the percentile interval of the means of r resamples."""
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(mean, float(low), float(high))


def bootstrap_many(
    values: Float[np.ndarray, "f s p"],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """Return the means of f metrics over s seeds and p problems, each with its bootstrap interval.

    Problems and seeds are resampled independently of each other (Owen 2007, "The pigeonhole bootstrap"). All metrics
    use the same resamples.

    Args:
        values: The value of each metric, seed and problem.
        generator: The source of randomness.
        level: The coverage of the intervals.
        resamples: The number of bootstrap samples.

    Returns:
        One interval for each metric.

    Raises:
        ValueError: If there is no metric, no seed or no problem.
    """
    metrics, seeds, problems = values.shape
    if not (metrics and seeds and problems):
        raise ValueError(f"{metrics} metrics x {seeds} seeds x {problems} problems; allowed: at least one of each")
    flat = values.reshape(metrics * seeds, problems).T
    means = []
    largest = max(1, _CHUNK // problems)
    for start in range(0, resamples, largest):
        size = min(largest, resamples - start)
        seed_means = (_resampled_counts(generator, size, problems) @ flat).reshape(size, metrics, seeds) / problems
        seed_weights = _resampled_counts(generator, size, seeds) / seeds if seeds > 1 else np.ones((size, 1))
        means.append(np.einsum("rfs,rs->fr", seed_means, seed_weights))
    ends = np.quantile(np.concatenate(means, axis=1), [0.5 - level / 2, 0.5 + level / 2], axis=1)
    centers = values.mean(axis=(1, 2))
    return [Interval(float(c), float(low), float(high)) for c, low, high in zip(centers, *ends, strict=True)]


def _resampled_counts(generator: np.random.Generator, size: int, number: int) -> Float[np.ndarray, "r number"]:
    """Return the count of each of ``number`` items in each of ``size`` resamples of the items."""
    items = generator.integers(number, size=(size, number)) + number * np.arange(size)[:, None]
    return np.bincount(items.ravel(), minlength=size * number).reshape(size, number).astype(float)
