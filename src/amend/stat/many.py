r"""Many figures over the same seeds and problems: the interval that each of them gets wherever runs are shown.

Several seeds are given Student's t interval of ``amend.stat.seeds``, which holds what it promises with as few as three;
one seed says nothing of others, and problems alone are resampled: the bootstrap of ``interval``, drawn once for all.

A report has hundreds of figures of one set of runs. Resampling is the same for all of them: draw which seeds and which
problems, then average; so the draws are made once, as weights, and every figure is two products with them,

    mean_r = sum_s sum_p  u_rs w_rp x_sp        u: shares of seeds, w: shares of problems in resample r

With several seeds this is the crossed bootstrap (Owen 2007), with one the bootstrap over problems; ``interval`` says
what they are worth. That figures share their resamples changes nothing about any one of them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from amend.stat.interval import LEVEL, RESAMPLES, Interval
from amend.stat.seeds import seed_interval

_CHUNK = 4_000_000  # weights held at once, about 32 MB


def over_runs(values: Float[np.ndarray, "f s p"]) -> list[Interval]:
    """The mean of each of ``f`` figures over s seeds and p problems, and its interval. ValueError where any is 0.

    Where it resamples, the draws depend on nothing but how many problems there are: the same runs, the same report.
    """
    if min(values.shape[1:]) > 1:
        return [seed_interval(of) for of in values]
    return bootstrap_many(values, np.random.default_rng(values.shape[1:]))


def bootstrap_many(
    values: Float[np.ndarray, "f s p"],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """The mean of each of ``f`` figures over s seeds and p problems with its interval. ValueError where any is 0."""
    figures, seeds, problems = values.shape
    if not (figures and seeds and problems):
        raise ValueError(f"{figures} figures x {seeds} seeds x {problems} problems; allowed: at least one of each")
    flat = values.reshape(figures * seeds, problems).T
    means = []
    most = max(1, _CHUNK // problems)
    for start in range(0, resamples, most):
        size = min(most, resamples - start)
        of_problems = (_counts(generator, size, problems) @ flat).reshape(size, figures, seeds) / problems
        of_seeds = _counts(generator, size, seeds) / seeds if seeds > 1 else np.ones((size, 1))
        means.append(np.einsum("rfs,rs->fr", of_problems, of_seeds))
    ends = np.quantile(np.concatenate(means, axis=1), [0.5 - level / 2, 0.5 + level / 2], axis=1)
    centre = values.mean(axis=(1, 2))
    return [Interval(float(c), float(low), float(high)) for c, low, high in zip(centre, *ends, strict=True)]


def _counts(generator: np.random.Generator, size: int, of: int) -> Float[np.ndarray, "r of"]:
    """How often each of ``of`` things was drawn in each of ``size`` resamples of as many."""
    drawn = generator.integers(of, size=(size, of)) + of * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * of).reshape(size, of).astype(float)
