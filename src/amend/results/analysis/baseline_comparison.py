"""Compare every algorithm with a baseline on the same problems, with p-values and the required sample size.

Seeds are the unit of a claim about an algorithm, and problems are shared, so a difference has the t interval of
``random_effects``. The p-values have Holm's correction over all algorithms that are compared with the baseline in a
metric. A difference that the data do not resolve comes with the number of seeds or problems that would resolve it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.results.stats.hypothesis_tests import holm
from amend.results.stats.intervals import LEVEL, Interval
from amend.results.stats.power_analysis import (
    POWER,
    describe_sample_size,
    required_for_difference,
    required_seeds,
    verdict,
)
from amend.results.stats.random_effects import interval_over_runs, mean_squares, seed_difference


def gain(values: Float[np.ndarray, "s p"]) -> Interval:
    """Return the mean of a gain with its interval; ``values`` has one row per seed."""
    return interval_over_runs(values[None])[0]


def unresolved(values: Float[np.ndarray, "s p"], name: str) -> str:
    """Describe a gain that does not differ significantly from 0; "" for one that does, and for a gain of exactly 0."""
    mean, low, high = (100 * value for value in gain(values))
    seeds, problems = values.shape
    if not low <= 0 <= high or not values.any():
        return ""
    said = f"{name}: {mean:+.1f} [{low:+.1f}, {high:+.1f}] does not differ significantly from 0 with "
    if seeds == 1:
        return f"{said}one seed, and no number of problems replaces further seeds."
    would = (
        describe_sample_size(required_seeds(mean_squares(values), mean / 100), seeds, problems)
        if problems > 1
        else "more problems"
    )
    return (
        f"{said}{seeds} seeds x {problems:,} problems; if it is the true change, showing it in {POWER:.0%} of "
        f"repetitions would take {would}."
    )


Values = Mapping[str, Float[np.ndarray, "s p"]]  # a figure's values, a row a seed


def compare_to_baseline(values: Mapping[str, Values], names: Sequence[str], baseline: str) -> dict[str, dict[str, Any]]:
    """Compare algorithms with ``baseline``.

    Args:
        values: The values per seed and problem, by algorithm and metric.
        names: The metrics to compare.
        baseline: The algorithm to compare with.

    Returns:
        By algorithm and metric: the difference with interval, p-value and verdict. It is empty without the baseline,
        and lacks algorithms with fewer than two seeds or with other problems than the baseline.
    """
    if baseline not in values:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        base = values[baseline].get(name)
        others = {
            algo: of[name]
            for algo, of in values.items()
            if algo != baseline and base is not None and name in of and of[name].shape[1] == base.shape[1]
            and min(len(of[name]), len(base)) > 1
        }  # fmt: skip
        if base is None or not others:
            continue
        each = {algo: seed_difference(base, of) for algo, of in others.items()}
        adjusted = holm(np.array([difference.p for difference in each.values()]))
        for (algo, difference), p in zip(each.items(), adjusted.tolist(), strict=True):
            resolved = p < 1 - LEVEL
            needed: tuple[int | None, int | None] = (None, None)
            if not resolved:
                # A difference that only the correction for many tests leaves open is planned at Bonferroni's level.
                level = 1 - (1 - LEVEL) / len(others) if difference.resolved else LEVEL
                if level == LEVEL or not seed_difference(base, others[algo], level).resolved:
                    needed = required_for_difference(base, others[algo], level)
            difference = difference._replace(p=p, resolved=resolved)
            most = max(len(base), len(others[algo]))
            would = "" if resolved else describe_sample_size(needed, most, base.shape[1], "seeds of each")
            said = verdict(difference, needed, len(base), len(others[algo]), base.shape[1])
            found.setdefault(algo, {})[name] = {
                **{key: float(value) for key, value in difference.interval._asdict().items()},
                "p": p, "resolved": resolved, "seeds": needed[0], "problems": needed[1],
                "verdict": said, "would": would,
            }  # fmt: skip
    return found
