r"""Did the second system, or the second attempt, win more often than chance would have it? On the same problems.

McNemar (1947), exact form. Only problems on which the two differ say anything: b won by the first alone, c by the
second alone. If neither is better, c is Binomial(b + c, 1/2), and the two-sided p-value is the chance of a split at
least as uneven:  p = min(1, 2 P[Binomial(b + c, 1/2) <= min(b, c)]).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy.stats import binom


def mcnemar(first: Bool[np.ndarray, " p"], second: Bool[np.ndarray, " p"]) -> float:
    """The exact two-sided p-value; 1.0 where the two never differ. Raises ValueError for unequal lengths."""
    if first.shape != second.shape:
        raise ValueError(f"not the same problems: {first.shape[0]} and {second.shape[0]}")
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    return min(1.0, 2.0 * float(binom.cdf(min(lost, won), lost + won, 0.5))) if lost + won else 1.0
