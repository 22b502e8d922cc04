r"""Several runs on several tasks (or subjects, or levels) in one figure, as Agarwal et al. 2021 ask.

"Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264). Scores are [runs, tasks]:

    IQM                           mean of the middle half of all scores: robust, and no run decides it alone
    probability of improvement    mean over tasks of P(X > Y) + P(X = Y) / 2, X a run of one algorithm, Y of the other
    performance profile           share of scores above tau, for each tau

with intervals by the stratified bootstrap: runs are drawn with replacement within each task, for itself. No best seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from amend.results.stats.intervals import LEVEL, Interval

RESAMPLES = 2_000  # as the paper


def iqm(scores: Float[np.ndarray, "s m"]) -> float:
    """The interquartile mean of all scores: a quarter of them is cut off at either end."""
    flat = np.sort(scores, axis=None)  # as scipy.stats.trim_mean, at a tenth of its price in a bootstrap
    cut = len(flat) // 4
    return float(flat[cut : len(flat) - cut].mean())


def probability_of_improvement(ours: Float[np.ndarray, "s m"], theirs: Float[np.ndarray, "r m"]) -> float:
    """How likely a run of ours scores above a run of theirs on a task taken at random; ties count half."""
    above = ours[:, None, :] > theirs[None, :, :]
    equal = ours[:, None, :] == theirs[None, :, :]
    return float((above + 0.5 * equal).mean())


def performance_profile(scores: Float[np.ndarray, "s m"], taus: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """Share of all scores above each of ``taus``."""
    found: np.ndarray = (scores.ravel()[:, None] > taus).mean(axis=0)
    return found


def stratified_bootstrap(
    statistic: Callable[..., float],
    *scores: Float[np.ndarray, "_ m"],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """``statistic(*scores)`` with its percentile interval, runs resampled within each task.

    Raises ValueError for a matrix of fewer than two runs: they are all that is resampled.
    """
    if any(len(one) < 2 for one in scores):
        raise ValueError(f"{min(map(len, scores))} run a task; at least two are needed")
    drawn = [
        statistic(*(np.take_along_axis(one, generator.integers(0, len(one), one.shape), axis=0) for one in scores))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(statistic(*scores)), float(low), float(high))
