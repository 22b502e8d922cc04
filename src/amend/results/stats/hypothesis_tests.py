r"""Test hypotheses about two systems, or two attempts, on the same problems.

McNemar (1947), exact form. Only the first system solves b problems, and only the second system solves c problems; all
other problems are ignored. If neither system is better, c is Binomial(b + c, 1/2). The two-sided p-value is the
probability of a split that is at least as uneven:

    p = min(1, 2 P[Binomial(b + c, 1/2) <= min(b, c)])

Holm (1979), for several comparisons with one baseline. The i-th smallest of m p-values is multiplied by m - i + 1, and
no adjusted p-value is below the previous one. With this correction, the probability of at least one false rejection is
at most the significance level.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binom


def mcnemar(first: Bool[np.ndarray, " p"], second: Bool[np.ndarray, " p"]) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Args:
        first: Whether the first system solves each of p problems.
        second: Whether the second system solves the same problems, in the same order.

    Returns:
        The p-value; 1.0 if the two never differ.

    Raises:
        ValueError: If the arrays have different lengths.
    """
    if first.shape != second.shape:
        raise ValueError(f"not the same problems: {first.shape[0]} and {second.shape[0]}")
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    return min(1.0, 2.0 * float(binom.cdf(min(lost, won), lost + won, 0.5))) if lost + won else 1.0


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Adjust p-values for multiple comparisons.

    Args:
        p: The p-values of m tests.

    Returns:
        The adjusted p-values, in the order of ``p``.
    """
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return adjusted
