r"""Did the second system, or the second attempt, win more often than chance would have it? On the same problems.

McNemar (1947), exact form. Only problems on which the two differ say anything: b won by the first alone, c by the
second alone. If neither is better, c is Binomial(b + c, 1/2), and the two-sided p-value is the chance of a split at
least as uneven:  p = min(1, 2 P[Binomial(b + c, 1/2) <= min(b, c)]).

Permutation tests (Fisher 1935), for any figure with one value a problem, or one a seed. Paired: were neither better, a
difference would be as likely with the other sign, so signs are flipped; all 2^n ways where there are few, else a sample
of them. Unpaired: were neither better, it would not matter which run is whose. Three seeds against three have 20 ways
to be dealt out, so no p-value below 0.1: seeds that few cannot reach significance this way, whatever they show.

Holm (1979) for several comparisons with one baseline: the i-th smallest of m p-values is multiplied by m - i + 1, none
below its forerunner; the chance of even one false claim stays below the level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binom, permutation_test

RESAMPLES = 9_999


def mcnemar(first: Bool[np.ndarray, " p"], second: Bool[np.ndarray, " p"]) -> float:
    """The exact two-sided p-value; 1.0 where the two never differ. Raises ValueError for unequal lengths."""
    if first.shape != second.shape:
        raise ValueError(f"not the same problems: {first.shape[0]} and {second.shape[0]}")
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    return min(1.0, 2.0 * float(binom.cdf(min(lost, won), lost + won, 0.5))) if lost + won else 1.0


def sign_flip(difference: Float[np.ndarray, " p"], generator: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """Two-sided p-value of the mean of paired differences; exact where 2^n is at most ``resamples``."""
    some = difference[difference != 0]  # the others are the same with either sign
    if not len(some):
        return 1.0
    if len(some) == 1:
        return 1.0  # either sign is as far from nothing
    found = permutation_test(
        (some,), np.mean, permutation_type="samples", n_resamples=resamples, vectorized=True, rng=generator, batch=1000
    )
    return float(found.pvalue)


def permutation(
    first: Float[np.ndarray, " s"],
    second: Float[np.ndarray, " r"],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> float:
    """Two-sided p-value of the difference of means of two independent sets of runs; exact where there are few."""

    def apart(one: np.ndarray, two: np.ndarray, axis: int) -> Any:
        return one.mean(axis=axis) - two.mean(axis=axis)

    found = permutation_test(
        (first, second), apart, permutation_type="independent", n_resamples=resamples, vectorized=True, rng=generator
    )
    return float(found.pvalue)


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Adjusted p-values, in the order in which they were given."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return adjusted
