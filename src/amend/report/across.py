"""Algorithms over seeds and subjects in one line: interquartile means, and how likely a run of one beats another's.

Agarwal et al. 2021 (``stat.aggregate``): scores are [seeds, subjects], accuracy of the trained model's last greedy
attempt; seeds are resampled within each subject. Only what was trained with two seeds or more is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from amend.metric.table import Table
from amend.report.against import BASELINE
from amend.stat.aggregate import iqm, probability_of_improvement, stratified_bootstrap

SEED = 20_240_919


def subject_scores(table: Table) -> dict[str, float]:
    """Accuracy of the last attempt by subject."""
    last = table.correct[:, :, -1].mean(axis=1) if len(table) else np.zeros(0)
    named = table.subject.astype(str)
    return {subject: float(last[named == subject].mean()) for subject in sorted(set(named.tolist()))}


def across(by_subject: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The line. ``by_subject``: of each algorithm, ``subject_scores`` of each seed. Empty without two to compare."""
    several = {name: runs for name, runs in by_subject.items() if len(runs) > 1}
    shared = set.intersection(*(set(run) for runs in several.values() for run in runs)) if several else set()
    if len(several) < 2 or not shared:
        return ""
    scores = {name: np.array([[run[s] for s in sorted(shared)] for run in runs]) for name, runs in several.items()}
    against = BASELINE if BASELINE in scores else next(iter(scores))
    generator = np.random.default_rng(SEED)
    means, chances = [], []
    for name, mine in scores.items():
        mean, low, high = (100 * value for value in stratified_bootstrap(iqm, mine, generator=generator))
        means.append(f"{name} {mean:.1f} [{low:.1f}, {high:.1f}]")
        if name != against:
            pair = mine, scores[against]
            chance = stratified_bootstrap(probability_of_improvement, *pair, generator=generator)
            chances.append(f"{name} {chance.mean:.2f} [{chance.low:.2f}, {chance.high:.2f}]")
    return (
        f"Last attempt over seeds and {len(shared)} subject{'s' * (len(shared) > 1)}, interquartile mean: "
        f"{', '.join(means)}. Probability that a run is better than one of {against} on a subject: "
        f"{', '.join(chances)}. Their 95 % intervals resample seeds alone."
    )
