"""Statistics that the tests compare amend's own with, and that amend itself does not use.

The crossed bootstrap (Owen 2007) resamples seeds and problems; the hierarchical bootstrap (Davison and Hinkley 1997,
section 3.8) resamples seeds and then the problems of each. Permutation tests (Fisher 1935) flip signs or exchange
runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.stats import permutation_test

from amend.results.stats.intervals import _CHUNK, LEVEL, RESAMPLES, Interval, _chunks, _percentile

SIGNS = 9_999  # resamples of a permutation test


def sign_flip(difference: Float[np.ndarray, " p"], generator: np.random.Generator, resamples: int = SIGNS) -> float:
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
    resamples: int = SIGNS,
) -> float:
    """Two-sided p-value of the difference of means of two independent sets of runs; exact where there are few."""

    def apart(one: np.ndarray, two: np.ndarray, axis: int) -> Any:
        return one.mean(axis=axis) - two.mean(axis=axis)

    found = permutation_test(
        (first, second), apart, permutation_type="independent", n_resamples=resamples, vectorized=True, rng=generator
    )
    return float(found.pvalue)


def crossed_bootstrap(
    values: Float[np.ndarray, "s p"], generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The mean over seeds and problems, both resampled; row i holds seed i's value on every problem.

    Raises ValueError for fewer than two seeds: one seed says nothing of what another would have done.
    """
    seeds, problems = values.shape
    if seeds < 2 or problems < 1:
        raise ValueError(f"{seeds} seeds x {problems} problems; at least two seeds and one problem are needed")
    means = []
    for size in _chunks(resamples, problems):
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        of_problems = generator.multinomial(problems, np.full(problems, 1 / problems), size=size) / problems
        means.append(((of_seeds @ values) * of_problems).sum(axis=1))
    return _percentile(float(values.mean()), np.concatenate(means), level)


def hierarchical_bootstrap(
    values: Float[np.ndarray, "s p"], generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The mean over seeds and problems, seeds resampled and then the problems of each; row i is seed i's.

    A seed that is drawn twice has its problems drawn twice. Raises ValueError for fewer than two seeds.
    """
    seeds, problems = values.shape
    if seeds < 2 or problems < 1:
        raise ValueError(f"{seeds} seeds x {problems} problems; at least two seeds and one problem are needed")
    drawn = generator.integers(0, seeds, (resamples, seeds))
    totals = np.zeros(resamples)
    for row in range(seeds):
        times = (drawn == row).sum(axis=1)  # so often this seed was drawn, each time with ``problems`` of its own
        for count in np.unique(times[times > 0]):
            here = np.flatnonzero(times == count)
            distinct, counts = np.unique(values[row], return_counts=True)
            for at in range(0, len(here), size := max(1, _CHUNK // len(distinct))):
                some = here[at : at + size]
                of = generator.multinomial(int(count) * problems, counts / problems, size=len(some))
                totals[some] += of @ distinct
    return _percentile(float(values.mean()), totals / (seeds * problems), level)


def paired_crossed_bootstrap(
    first: Float[np.ndarray, "s p"],
    second: Float[np.ndarray, "r p"],
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of ``second`` less that of ``first``: each one's seeds resampled for itself, problems for both."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"not the same problems: {first.shape[1]} and {second.shape[1]}")
    if min(len(first), len(second)) < 2:
        raise ValueError(f"{len(first)} and {len(second)} seeds; at least two of each are needed")
    problems = first.shape[1]
    means = []
    for size in _chunks(resamples, problems):
        of = [generator.multinomial(len(v), np.full(len(v), 1 / len(v)), size=size) / len(v) for v in (first, second)]
        of_problems = generator.multinomial(problems, np.full(problems, 1 / problems), size=size) / problems
        means.append(((of[1] @ second - of[0] @ first) * of_problems).sum(axis=1))
    return _percentile(float(second.mean() - first.mean()), np.concatenate(means), level)


def maj_sampled(
    answer: Shaped[np.ndarray, "p n"],
    correct: Bool[np.ndarray, "p n"],
    k: int,
    draws: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " p"]:
    """maj@k of each problem as the papers estimate it: the mean of ``draws`` votes among k drawn without replacement.

    The same rules as ``maj_at_k``, which it tends to as ``draws`` grows. Raises ValueError for k outside 1 to n.
    """
    found = []
    for answers, verdicts in zip(answer.tolist(), correct.tolist(), strict=True):
        known = {a: i for i, a in enumerate(dict.fromkeys(a for a in answers if a is not None))}
        voted = np.array([known.get(a, len(known)) for a in answers])  # the last column takes those that do not vote
        judged = np.bincount(voted, weights=np.array(verdicts, dtype=float), minlength=len(known) + 1)
        right = judged / np.maximum(np.bincount(voted, minlength=len(known) + 1), 1)
        chosen = generator.permuted(np.tile(voted, (draws, 1)), axis=1)[:, :k]
        votes = (chosen[:, :, None] == np.arange(len(known))).sum(axis=1)
        winners = (votes == votes.max(axis=1, keepdims=True, initial=1)) & (votes > 0)
        share = winners / np.maximum(winners.sum(axis=1, keepdims=True), 1)  # a fair draw among the tied
        found.append(float((share @ right[: len(known)]).mean()))
    return np.array(found, dtype=float)
