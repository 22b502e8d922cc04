"""Aggregate algorithms over seeds and subjects: interquartile mean, probability of improvement, performance profile.

Agarwal et al. 2021 (``stats.aggregate``). Scores are [seeds, subjects]: the accuracy of the trained model's last
greedy attempt. Seeds are resampled within each subject. Algorithms with fewer than two seeds are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from amend.results.metrics.episode_table import EpisodeTable
from amend.results.stats.aggregate import iqm, performance_profile, probability_of_improvement, stratified_bootstrap
from amend.results.stats.intervals import Interval

BASELINE = "untrained"
SEED = 20_240_919
TAUS = np.linspace(0, 1, 41)


def subject_scores(table: EpisodeTable) -> dict[str, float]:
    """Accuracy of the last attempt by subject."""
    last = table.correct[:, :, -1].mean(axis=1) if len(table) else np.zeros(0)
    named = table.subject.astype(str)
    return {subject: float(last[named == subject].mean()) for subject in sorted(set(named.tolist()))}


class AggregateScore(NamedTuple):
    """The aggregate of one algorithm. Both intervals resample seeds alone.

    Attributes:
        mean: The interquartile mean, as a fraction.
        chance: The probability that a run is better than a run of the baseline on a subject; None for the baseline.
    """

    mean: Interval
    chance: Interval | None


def aggregate_scores(
    by_subject: Mapping[str, Sequence[Mapping[str, float]]],
) -> tuple[dict[str, AggregateScore], str, int]:
    """Aggregate the scores of all algorithms.

    Args:
        by_subject: By algorithm, the ``subject_scores`` of each seed.

    Returns:
        The aggregate of each algorithm, the baseline (``untrained``, or the first), and the number of subjects. The
        aggregates are empty if fewer than two algorithms can be compared.
    """
    scores, subjects = comparable(by_subject)
    if not scores:
        return {}, BASELINE, 0
    baseline = BASELINE if BASELINE in scores else next(iter(scores))
    generator = np.random.default_rng(SEED)
    found = {}
    for name, mine in scores.items():
        mean = stratified_bootstrap(iqm, mine, generator=generator)
        pair = mine, scores[baseline]
        chance = stratified_bootstrap(probability_of_improvement, *pair, generator=generator)
        found[name] = AggregateScore(mean, chance if name != baseline else None)
    return found, baseline, subjects


def comparable(
    by_subject: Mapping[str, Sequence[Mapping[str, float]]],
) -> tuple[dict[str, Float[np.ndarray, "s m"]], int]:
    """Return the scores [seeds, subjects] of algorithms with several seeds, and the number of shared subjects.

    The scores are empty if fewer than two algorithms can be compared.
    """
    several = {name: runs for name, runs in by_subject.items() if len(runs) > 1}
    shared = sorted(set.intersection(*(set(run) for runs in several.values() for run in runs))) if several else []
    if len(several) < 2 or not shared:
        return {}, 0
    return {name: np.array([[run[s] for s in shared] for run in runs]) for name, runs in several.items()}, len(shared)


def performance_profiles(by_subject: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, list[float]]:
    """Performance profiles: of each algorithm, the share of its scores above each of ``TAUS``."""
    return {name: performance_profile(scores, TAUS).tolist() for name, scores in comparable(by_subject)[0].items()}


def across(by_subject: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Describe the aggregates in one line; "" if fewer than two algorithms can be compared."""
    found, baseline, subjects = aggregate_scores(by_subject)
    if not found:
        return ""
    means = [f"{name} {in_points(of.mean)}" for name, of in found.items()]
    chances = [f"{name} {in_parts(of.chance)}" for name, of in found.items() if of.chance]
    return (
        f"Last attempt over seeds and {subjects} subject{'s' * (subjects > 1)}, interquartile mean: "
        f"{', '.join(means)}. Probability that a run is better than one of {baseline} on a subject: "
        f"{', '.join(chances)}. Their 95 % intervals resample seeds alone."
    )


def in_points(interval: Interval) -> str:
    """A fraction, times 100."""
    mean, low, high = (100 * value for value in interval)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def in_parts(interval: Interval) -> str:
    """A probability, as it is."""
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
